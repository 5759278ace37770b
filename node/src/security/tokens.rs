//! Bearer tokens of applications: what edges ask about them, and what an operator does with them.
//!
//! Only digests come here. Whoever makes a token draws it and keeps it; nothing in the cluster can tell it again.

use super::{Inner, KeysError, audit::Event, clock, place, replica};
use banyan_proto::{
    convert::Malformed,
    v1::{self, keys_command, keys_outcome},
};
use prost::Message;
use std::ops::ControlFlow;

/// Tokens of one answer.
const LIST_MAX: u32 = 1_000;
/// Digits of a digest that name a token in the audit log, and at least in a revocation.
const SHOWN_DIGITS: usize = 16;
const DIGITS_MIN: usize = 8;

impl Inner {
    /// Whom a token speaks for; `None`: nobody.
    pub(super) fn resolve_token(&self, question: &v1::ResolveToken) -> Result<Option<v1::Token>, KeysError> {
        let record: Option<v1::TokenRecord> = self.find(&place::token(&question.digest))?;
        let now = clock::now().0;
        let record = record.filter(|record| record.expires_ms == 0 || record.expires_ms > now);
        Ok(record.map(|record| v1::Token { entity: record.entity, expires_ms: record.expires_ms }))
    }

    pub(super) async fn create_token(&self, create: v1::CreateToken) -> Result<v1::ListedToken, KeysError> {
        let v1::CreateToken { digest, entity, label, lifetime_ms, source } = create;
        let now = clock::now().0;
        let expires_ms = match lifetime_ms {
            0 => 0,
            lifetime => now.saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX)),
        };
        let event = event("create token", &digest, &entity, &label, source.clone());
        let record = v1::TokenRecord { entity, label, created_ms: now, created_by: source, expires_ms };
        let add = v1::AddToken { digest: digest.clone(), record: Some(record) };
        let added = async {
            match self.propose(keys_command::Kind::AddToken(add)).await? {
                keys_outcome::Kind::Token(record) => Ok(record),
                _ => Err(KeysError::Unknown),
            }
        };
        let record = self.audited(event, added).await?;
        Ok(v1::ListedToken { digest, record: Some(record) })
    }

    pub(super) fn list_tokens(&self, list: &v1::ListTokens) -> Result<v1::ListedTokens, KeysError> {
        let limit = list.limit.clamp(1, LIST_MAX) as usize;
        let mut tokens = Vec::new();
        let mut more = false;
        self.each_token(&list.after, |token| {
            more = tokens.len() == limit;
            match more {
                true => ControlFlow::Break(()),
                false => {
                    tokens.push(token);
                    ControlFlow::Continue(())
                }
            }
        })?;
        Ok(v1::ListedTokens { tokens, more })
    }

    pub(super) async fn revoke_token(&self, revoke: v1::RevokeToken) -> Result<v1::ListedToken, KeysError> {
        let v1::RevokeToken { named, source } = revoke;
        let token = self.token_named(&named)?;
        let record = token.record.as_ref().ok_or(Malformed::Missing("record"))?;
        let event = event("revoke token", &token.digest, &record.entity, &record.label, source);
        let digest = token.digest.clone();
        let revoked = async { self.propose(keys_command::Kind::RevokeToken(digest)).await.map(drop) };
        self.audited(event, revoked).await?;
        Ok(token)
    }

    /// The one token that is meant by the first digits of its digest, or by its label.
    fn token_named(&self, named: &str) -> Result<v1::ListedToken, KeysError> {
        let refused = |why: &str| Err(KeysError::Refused(format!("{named:?} {why}")));
        let digits = named.to_ascii_lowercase();
        let is_digits = digits.len() >= DIGITS_MIN && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        if named.is_empty() {
            return refused("names no token");
        }
        let mut meant = Vec::new();
        self.each_token(&[], |token| {
            let is_label = token.record.as_ref().is_some_and(|record| record.label == named);
            if is_label || is_digits && hex(&token.digest).starts_with(&digits) {
                meant.push(token);
            }
            // Two are too many already.
            if meant.len() > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match (meant.pop(), meant.is_empty()) {
            (Some(token), true) => Ok(token),
            (Some(_), false) => refused("names several tokens: give more digits"),
            (None, _) => refused(&format!("is no label and no {DIGITS_MIN} digits of a token")),
        }
    }

    fn each_token(
        &self,
        after: &[u8],
        mut see: impl FnMut(v1::ListedToken) -> ControlFlow<()>,
    ) -> Result<(), KeysError> {
        let (from, to) = place::tokens_after(after);
        let mut unreadable = None;
        let scanned =
            self.state.view().scan(
                &from,
                &to,
                false,
                &mut |key, value| match v1::TokenRecord::decode(value) {
                    Ok(record) => {
                        let digest = place::digest_of(key).to_vec().into();
                        see(v1::ListedToken { digest, record: Some(record) })
                    }
                    Err(error) => {
                        unreadable = Some(error);
                        ControlFlow::Break(())
                    }
                },
            );
        scanned.map_err(replica::unreadable)?;
        match unreadable {
            Some(error) => Err(Malformed::from(error).into()),
            None => Ok(()),
        }
    }
}

fn event(what: &str, digest: &[u8], entity: &str, label: &str, source: String) -> Event {
    let digits = hex(digest);
    Event {
        what: what.to_owned(),
        key: format!("token {}", digits.get(..SHOWN_DIGITS).unwrap_or(&digits)),
        source,
        detail: format!("for {entity:?}, label {label:?}"),
        ..Event::default()
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
