//! What an edge asks of the group that keeps keys and tokens (TS 102 690 clause 8).

use crate::{Client, RequestError, client::unexpected, request::Place};
use banyan_model::{
    Timestamp,
    security::{KEY_OCTETS, KeyRef, M2mNodeId},
};
use banyan_proto::{
    convert::{self, Malformed},
    v1::{self, answer::What, keys_answer, keys_question},
};
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// A secret, wiped when it is dropped.
pub type Secret = Zeroizing<[u8; KEY_OCTETS]>;

/// A key and whose it is.
#[derive(Clone)]
pub struct ResolvedKey {
    /// The key itself.
    pub secret: Secret,
    /// Its name.
    pub key: KeyRef,
    /// The node that has it.
    pub node: M2mNodeId,
    /// The sclId that its record allows.
    pub scl: Option<String>,
    /// When its life ends.
    pub expires: Timestamp,
}

/// What a bootstrap made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bootstrapped {
    /// securityKmrIndex.
    pub index: u32,
    /// securityLifetime of Kmr.
    pub expires: Timestamp,
    /// securityMasFqdn.
    pub mas_fqdn: String,
    /// The sclId that the node is to register with.
    pub scl: Option<String>,
}

/// A service connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedConnection {
    /// securityConnectionId.
    pub connection: u64,
    /// securityKmcIndex.
    pub index: u32,
    /// securityLifetime of Kmc.
    pub expires: Timestamp,
    /// The sclId of the node.
    pub scl: String,
    /// securityEncryptedM2MKey, 40 octets.
    pub wrapped_kmc: Vec<u8>,
    /// FQDN of the NSCL, for the PSK identity of later channels.
    pub nscl_fqdn: String,
}

/// What was closed since it was asked last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Closures {
    /// To be asked after next.
    pub number: u64,
    /// What was closed.
    pub closed: Vec<Closed>,
    /// Some of it is not known any more: everything has to be looked at again.
    pub everything: bool,
}

/// Something that may not be used any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// Sessions made with this key.
    Key(KeyRef),
    /// All sessions of this node.
    Node(M2mNodeId),
    /// The token with this SHA-256.
    Token([u8; 32]),
}

/// Whom a token speaks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The requestingEntity.
    pub entity: String,
    /// When it ends; `None`: never.
    pub expires: Option<Timestamp>,
}

impl Client {
    /// The key of a PSK identity as a peer showed it; `None`: nobody may use it. `source`: where the peer is.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn resolve_key(
        &self,
        identity: &[u8],
        source: &str,
        deadline: Instant,
    ) -> Result<Option<ResolvedKey>, RequestError> {
        let question = v1::ResolveKey { identity: identity.to_vec().into(), source: source.to_owned() };
        match self.ask_keys(keys_question::Kind::ResolveKey(question), deadline).await? {
            None => Ok(None),
            Some(keys_answer::Kind::Resolved(key)) => {
                let secret = secret(&key.secret)?;
                Ok(Some(ResolvedKey {
                    secret,
                    key: convert::key_ref(key.key)?,
                    node: convert::node_id(&key.node)?,
                    scl: key.scl_id,
                    expires: Timestamp(key.expires_ms),
                }))
            }
            Some(other) => Err(not_asked_for(&other)),
        }
    }

    /// Records the Kmr that a bootstrap by certificate made; it is pending until a service connection uses it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn bootstrap(
        &self,
        node: M2mNodeId,
        kmr: &[u8; KEY_OCTETS],
        certificate: [u8; 32],
        source: &str,
        deadline: Instant,
    ) -> Result<Bootstrapped, RequestError> {
        let question = v1::Bootstrap {
            node: node.0.to_vec().into(),
            kmr: kmr.to_vec().into(),
            certificate: certificate.to_vec().into(),
            source: source.to_owned(),
        };
        match self.ask_keys(keys_question::Kind::Bootstrap(question), deadline).await? {
            Some(keys_answer::Kind::Bootstrapped(made)) => Ok(Bootstrapped {
                index: made.index,
                expires: Timestamp(made.expires_ms),
                mas_fqdn: made.mas_fqdn,
                scl: made.scl_id,
            }),
            other => Err(instead(other)),
        }
    }

    /// Records the Kmc that a service connection made, by the Kmr of this index, or by a certificate without one.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn open_connection(
        &self,
        node: M2mNodeId,
        kmr_index: Option<u32>,
        kmc: &[u8; KEY_OCTETS],
        source: &str,
        deadline: Instant,
    ) -> Result<OpenedConnection, RequestError> {
        let question = v1::OpenConnection {
            node: node.0.to_vec().into(),
            kmr_index,
            kmc: kmc.to_vec().into(),
            source: source.to_owned(),
        };
        match self.ask_keys(keys_question::Kind::OpenConnection(question), deadline).await? {
            Some(keys_answer::Kind::Opened(opened)) => Ok(OpenedConnection {
                connection: opened.connection,
                index: opened.index,
                expires: Timestamp(opened.expires_ms),
                scl: opened.scl_id,
                wrapped_kmc: opened.wrapped_kmc.to_vec(),
                nscl_fqdn: opened.nscl_fqdn,
            }),
            other => Err(instead(other)),
        }
    }

    /// What was closed after `after`; waits for something at most for `hold`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn closures(
        &self,
        after: u64,
        hold: Duration,
        deadline: Instant,
    ) -> Result<Closures, RequestError> {
        let hold_ms = u32::try_from(hold.as_millis()).unwrap_or(u32::MAX);
        let question = v1::AwaitClosures { after, hold_ms };
        match self.hold_keys(keys_question::Kind::AwaitClosures(question), hold, deadline).await? {
            Some(keys_answer::Kind::Closures(found)) => Ok(Closures {
                number: found.number,
                closed: found.closed.into_iter().map(closed).collect::<Result<_, _>>()?,
                everything: found.everything,
            }),
            other => Err(instead(other)),
        }
    }

    /// Has an event of an edge written to the audit log; returns once it stands there.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn audit(&self, event: v1::AuditEvent, deadline: Instant) -> Result<(), RequestError> {
        match self.ask_keys(keys_question::Kind::Audit(event), deadline).await? {
            None => Ok(()),
            Some(other) => Err(not_asked_for(&other)),
        }
    }

    /// Whom the token with this SHA-256 speaks for; `None`: nobody.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn resolve_token(
        &self,
        digest: [u8; 32],
        deadline: Instant,
    ) -> Result<Option<Token>, RequestError> {
        let question = v1::ResolveToken { digest: digest.to_vec().into() };
        match self.ask_keys(keys_question::Kind::ResolveToken(question), deadline).await? {
            None => Ok(None),
            Some(keys_answer::Kind::Token(token)) => Ok(Some(Token {
                entity: token.entity,
                expires: (token.expires_ms != 0).then_some(Timestamp(token.expires_ms)),
            })),
            Some(other) => Err(not_asked_for(&other)),
        }
    }

    /// Carries a question of an operator to whom it concerns; an edge is refused.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn operate_keys(
        &self,
        kind: keys_question::Kind,
        deadline: Instant,
    ) -> Result<v1::KeysAnswer, RequestError> {
        Ok(v1::KeysAnswer { kind: self.ask_keys(kind, deadline).await? })
    }

    async fn ask_keys(
        &self,
        kind: keys_question::Kind,
        deadline: Instant,
    ) -> Result<Option<keys_answer::Kind>, RequestError> {
        let question = v1::internal::Kind::Keys(v1::KeysQuestion { kind: Some(kind) });
        answered(self.internal(Place::Keys, question, deadline).await?)
    }

    async fn hold_keys(
        &self,
        kind: keys_question::Kind,
        hold: Duration,
        deadline: Instant,
    ) -> Result<Option<keys_answer::Kind>, RequestError> {
        let question = v1::internal::Kind::Keys(v1::KeysQuestion { kind: Some(kind) });
        answered(self.internal_held(Place::Keys, question, 0, hold, deadline).await?)
    }
}

fn answered(answer: What) -> Result<Option<keys_answer::Kind>, RequestError> {
    match answer {
        What::Keys(answer) => match answer.kind {
            Some(keys_answer::Kind::Refused(refused)) => Err(RequestError::Refused(refused.why)),
            kind => Ok(kind),
        },
        other => Err(unexpected(&other)),
    }
}

fn secret(octets: &[u8]) -> Result<Secret, Malformed> {
    let mut secret = Secret::default();
    if octets.len() != KEY_OCTETS {
        return Err(Malformed::Missing("secret"));
    }
    secret.copy_from_slice(octets);
    Ok(secret)
}

fn closed(closed: v1::Closed) -> Result<Closed, Malformed> {
    if closed.key.is_some() {
        return Ok(Closed::Key(convert::key_ref(closed.key)?));
    }
    match <[u8; 32]>::try_from(closed.token.as_ref()) {
        Ok(digest) => Ok(Closed::Token(digest)),
        Err(_) => Ok(Closed::Node(convert::node_id(&closed.node)?)),
    }
}

fn instead(answer: Option<keys_answer::Kind>) -> RequestError {
    answer.as_ref().map_or(RequestError::Answer(Malformed::Missing("answer")), not_asked_for)
}

/// By its kind only: an answer may hold a secret.
fn not_asked_for(answer: &keys_answer::Kind) -> RequestError {
    let what = match answer {
        keys_answer::Kind::Resolved(_) => "resolved",
        keys_answer::Kind::Bootstrapped(_) => "bootstrapped",
        keys_answer::Kind::Opened(_) => "opened",
        keys_answer::Kind::Closures(_) => "closures",
        keys_answer::Kind::Token(_) => "token",
        keys_answer::Kind::Imported(_) => "imported",
        keys_answer::Kind::Listed(_) => "listed",
        keys_answer::Kind::Rotated(_) => "rotated",
        keys_answer::Kind::TokenMade(_) => "token made",
        keys_answer::Kind::TokensListed(_) => "tokens listed",
        keys_answer::Kind::TokenRevoked(_) => "token revoked",
        keys_answer::Kind::Refused(_) => "refused",
    };
    RequestError::Answer(Malformed::Unknown { what, value: "not asked for".to_owned() })
}
