//! A configured list of who may speak for which entity.

use super::{Authorization, Identity, Peer, authorization, from_header, missing};
use crate::percent;
use banyan_model::{Entity, Refusal, Scl, StatusCode};
use http::HeaderMap;
use std::{collections::HashMap, fmt};
use subtle::ConstantTimeEq;

/// A password or token. Printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One way to prove that one speaks for an entity.
#[derive(Clone, Debug)]
pub enum Credential {
    /// HTTP Basic.
    Basic {
        /// The user, as sent or URI-encoded (V1 clients send the entity's URI, encoded).
        user: String,
        /// The password.
        password: Secret,
        /// Whom it speaks for: a URI or a local path.
        entity: String,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// The token.
        token: Secret,
        /// Whom it speaks for.
        entity: String,
    },
}

/// Why a list of credentials is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CredentialError {
    #[error("credential {at}: {what} is empty")]
    Empty { at: usize, what: &'static str },
    #[error("credential {at}: user {user:?} is listed twice")]
    UserTwice { at: usize, user: String },
    #[error("credential {at}: the token is listed twice")]
    TokenTwice { at: usize },
}

/// Checks HTTP Basic or bearer tokens against the list. Secrets are compared in constant time (their length, which is
/// no secret, apart); every token of the list is compared, so that time does not tell which one came near.
#[derive(Debug)]
pub struct Credentials {
    scl: Scl,
    users: HashMap<String, (Secret, Entity)>,
    tokens: Vec<(Secret, Entity)>,
}

impl Credentials {
    /// Takes the list; the position in an error counts from 1.
    pub fn new(scl: Scl, list: Vec<Credential>) -> Result<Credentials, CredentialError> {
        let mut known = Credentials { scl, users: HashMap::new(), tokens: Vec::new() };
        for (at, credential) in (1..).zip(list) {
            known.add(at, credential)?;
        }
        Ok(known)
    }

    fn add(&mut self, at: usize, credential: Credential) -> Result<(), CredentialError> {
        let filled = |text: &str, what| match text.trim().is_empty() {
            true => Err(CredentialError::Empty { at, what }),
            false => Ok(()),
        };
        match credential {
            Credential::Basic { user, password, entity } => {
                filled(&user, "user")?;
                filled(&password.0, "password")?;
                filled(&entity, "entity")?;
                let entity = self.scl.normalise(&entity);
                if self.users.contains_key(&user) {
                    return Err(CredentialError::UserTwice { at, user });
                }
                self.users.insert(user, (password, entity));
            }
            Credential::Bearer { token, entity } => {
                filled(&token.0, "token")?;
                filled(&entity, "entity")?;
                if self.tokens.iter().any(|(known, _)| *known == token) {
                    return Err(CredentialError::TokenTwice { at });
                }
                self.tokens.push((token, self.scl.normalise(&entity)));
            }
        }
        Ok(())
    }

    fn user(&self, user: &str, password: &str) -> Option<&Entity> {
        let decoded = percent::decode(user, false);
        let found = self.users.get(user).or_else(|| self.users.get(decoded.as_deref()?));
        let (expected, entity) = found?;
        same(&expected.0, password).then_some(entity)
    }

    fn token(&self, token: &str) -> Option<&Entity> {
        let mut found = None;
        for (expected, entity) in &self.tokens {
            if same(&expected.0, token) {
                found = Some(entity);
            }
        }
        found
    }
}

fn same(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}

impl Identity for Credentials {
    fn identify(&self, _peer: &Peer, headers: &HeaderMap) -> Result<Entity, Refusal> {
        let from = from_header(headers)?;
        let entity = match authorization(headers)? {
            Some(Authorization::Basic { user, password }) => self.user(&user, &password),
            Some(Authorization::Bearer(token)) => self.token(&token),
            Some(Authorization::Other) => None,
            None if from.is_none() => {
                return Err(missing("requestingEntity: no Authorization header names one"));
            }
            // A From alone proves nothing.
            None => None,
        };
        let refused = || Refusal::new(StatusCode::PermissionDenied, "Authorization: not accepted");
        let entity = entity.ok_or_else(refused)?;
        match from {
            Some(from) if self.scl.normalise(from) != *entity => {
                Err(Refusal::new(StatusCode::Forbidden, "From: the credential speaks for another entity"))
            }
            _ => Ok(entity.clone()),
        }
    }

    fn challenge(&self) -> Option<&'static str> {
        Some("Basic realm=\"m2m\", charset=\"UTF-8\"")
    }
}
