//! Bearer tokens: who they speak for, by their SHA-256.
//!
//! One that is revoked or past its time leaves nothing behind: 256 random bits are never drawn again.

use super::{Ledger, Records, Said, find, place, refused};
use banyan_proto::{convert::Malformed, v1};
use bytes::Bytes;

/// Tokens of the whole cluster.
pub(super) const TOKENS_MAX: u32 = 10_000;
/// Tokens of one entity.
pub(super) const TOKENS_OF_ENTITY_MAX: usize = 32;
/// Octets of an entity.
const ENTITY_OCTETS_MAX: usize = 1_024;
/// Octets of a label.
const LABEL_OCTETS_MAX: usize = 128;
/// Octets of a SHA-256.
const DIGEST_OCTETS: usize = 32;

impl<R: Records> Ledger<'_, R> {
    pub(super) fn add_token(&mut self, add: v1::AddToken) -> Result<Said, Malformed> {
        let v1::AddToken { digest, record } = add;
        let record = record.ok_or(Malformed::Missing("record"))?;
        if let Err(why) = sound(&digest, &record) {
            return Ok(refused(why));
        }
        let key = place::token(&digest);
        if let Some(known) = find::<_, v1::TokenRecord>(self.records, &key)? {
            return Ok(match known.entity == record.entity && known.label == record.label {
                true => Said::Token(known),
                false => refused("there is a token with this digest"),
            });
        }
        let tokens = self.tokens()?;
        if tokens >= TOKENS_MAX {
            return Ok(refused(format!("there are {TOKENS_MAX} tokens, which is the most: revoke one")));
        }
        let of_entity = self.records.keys(place::tokens_of(&record.entity), TOKENS_OF_ENTITY_MAX)?;
        if of_entity.len() >= TOKENS_OF_ENTITY_MAX {
            let why =
                format!("{} has {TOKENS_OF_ENTITY_MAX} tokens, which is the most: revoke one", record.entity);
            return Ok(refused(why));
        }
        self.records.put(place::token_of(&record.entity, &digest), Bytes::new());
        if record.expires_ms != 0 {
            self.records.put(place::due(record.expires_ms, &key), Bytes::new());
        }
        self.put(place::token_count(), &v1::TokenCount { tokens: tokens + 1 });
        self.put(key, &record);
        Ok(Said::Token(record))
    }

    pub(super) fn revoke_token(&mut self, digest: Bytes) -> Result<Said, Malformed> {
        let Some(record) = find::<_, v1::TokenRecord>(self.records, &place::token(&digest))? else {
            return Ok(refused("there is no such token"));
        };
        self.remove_token(&digest, &record)?;
        self.closed.push(v1::Closed { token: digest, ..Default::default() });
        Ok(Said::Done(1))
    }

    /// Takes a token away, unheard: of one that expired every edge knows when.
    pub(super) fn remove_token(&mut self, digest: &[u8], record: &v1::TokenRecord) -> Result<(), Malformed> {
        let key = place::token(digest);
        self.records.delete(place::token_of(&record.entity, digest));
        self.records.delete(place::due(record.expires_ms, &key));
        self.records.delete(key);
        let tokens = self.tokens()?.saturating_sub(1);
        self.put(place::token_count(), &v1::TokenCount { tokens });
        Ok(())
    }

    fn tokens(&self) -> Result<u32, Malformed> {
        let count: Option<v1::TokenCount> = find(self.records, &place::token_count())?;
        Ok(count.map_or(0, |count| count.tokens))
    }
}

fn sound(digest: &[u8], record: &v1::TokenRecord) -> Result<(), String> {
    if digest.len() != DIGEST_OCTETS {
        return Err(format!("digest: must have {DIGEST_OCTETS} octets"));
    }
    let v1::TokenRecord { entity, label, .. } = record;
    let is_absolute = entity.starts_with('/') || entity.contains("://");
    if !is_absolute || entity.len() > ENTITY_OCTETS_MAX || entity.chars().any(char::is_control) {
        return Err(format!(
            "entity: must be a path with sclBase or a URI of at most {ENTITY_OCTETS_MAX} octets"
        ));
    }
    if label.len() > LABEL_OCTETS_MAX || label.chars().any(char::is_control) {
        return Err(format!("label: must have at most {LABEL_OCTETS_MAX} octets, all visible"));
    }
    Ok(())
}
