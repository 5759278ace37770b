//! Who may speak for which entity: a configured list, certificates, and the tokens of the cluster.
//!
//! Every proof that a request brings must hold, and all must be for the same entity.

use super::{
    Authorization, Claim, Digest, Identity, Peer, Resolving, Said, TokenLookup, authorization,
    certificates::Certificates, from_header, missing, not_accepted, token,
};
use crate::percent;
use banyan_model::{Entity, Refusal, Scl, StatusCode};
use http::HeaderMap;
use std::{collections::HashMap, fmt, sync::Arc};
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
    /// A client certificate that a root of the listener signed.
    Certificate {
        /// Its SHA-256 in hexadecimal digits, else the commonName of its subject.
        subject: String,
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
    #[error("credential {at}: the certificate is listed twice")]
    CertificateTwice { at: usize },
}

/// Checks HTTP Basic or bearer tokens against the list. Secrets are compared in constant time (their length, which is
/// no secret, apart); every token of the list is compared, so that time does not tell which one came near.
#[derive(Debug)]
pub struct Credentials {
    scl: Scl,
    users: HashMap<String, (Secret, Entity)>,
    tokens: Vec<(Secret, Entity)>,
    certificates: Certificates,
    /// Knows the tokens that are not in the list.
    cluster: Option<Arc<dyn TokenLookup>>,
    /// Whether passwords and tokens are taken from a connection that anybody may read along.
    plaintext: bool,
}

impl Credentials {
    /// Takes the list; the position in an error counts from 1.
    pub fn new(scl: Scl, list: Vec<Credential>) -> Result<Credentials, CredentialError> {
        let mut known = Credentials {
            scl,
            users: HashMap::new(),
            tokens: Vec::new(),
            certificates: Certificates::default(),
            cluster: None,
            plaintext: false,
        };
        for (at, credential) in (1..).zip(list) {
            known.add(at, credential)?;
        }
        Ok(known)
    }

    /// Has tokens that are not in the list looked up.
    #[must_use]
    pub fn with_tokens(self, cluster: Arc<dyn TokenLookup>) -> Credentials {
        Credentials { cluster: Some(cluster), ..self }
    }

    /// Takes passwords and tokens from plain connections, too.
    #[must_use]
    pub fn in_plaintext(self, plaintext: bool) -> Credentials {
        Credentials { plaintext, ..self }
    }

    /// DNS names of certificates that never speak for anybody here.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Credentials {
        self.certificates.other_roles = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self
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
            Credential::Certificate { subject, entity } => {
                filled(&subject, "certificate")?;
                filled(&entity, "entity")?;
                self.certificates.add(at, &subject, self.scl.normalise(&entity))?;
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

/// What the Authorization header proves.
enum Proof<'a> {
    Entity(&'a Entity),
    Token(Digest),
    Nothing,
}

impl Credentials {
    fn proof(&self, peer: &Peer, headers: &HeaderMap) -> Result<Proof<'_>, Refusal> {
        let Some(authorization) = authorization(headers)? else { return Ok(Proof::Nothing) };
        if !peer.secure && !self.plaintext {
            let info =
                "Authorization: not taken over a connection without TLS; whatever was sent is to be changed";
            return Err(Refusal::new(StatusCode::Forbidden, info));
        }
        let listed = match &authorization {
            Authorization::Basic { user, password } => self.user(user, password),
            Authorization::Bearer(token) => self.token(token),
            Authorization::Other => None,
        };
        match (listed, authorization) {
            (Some(entity), _) => Ok(Proof::Entity(entity)),
            (None, Authorization::Bearer(bearer)) if self.cluster.is_some() => {
                token::digest(&bearer).map(Proof::Token).ok_or_else(not_accepted)
            }
            (None, _) => Err(not_accepted()),
        }
    }
}

/// What was proved, if all that was said agrees with it.
fn agreed(proved: Entity, certified: Option<&Entity>, from: Option<&Entity>) -> Result<Entity, Refusal> {
    let forbidden = |info| Err(Refusal::new(StatusCode::Forbidden, info));
    if certified.is_some_and(|certified| *certified != proved) {
        return forbidden("Authorization: speaks for another entity than the certificate");
    }
    if from.is_some_and(|from| *from != proved) {
        return forbidden("From: the credential speaks for another entity");
    }
    Ok(proved)
}

impl Identity for Credentials {
    fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Said, Refusal> {
        let from = from_header(headers)?.map(|from| self.scl.normalise(from));
        let certified = match peer.certificates.first() {
            Some(leaf) => self.certificates.entity(&self.scl, leaf)?,
            None => None,
        };
        let proved = match (self.proof(peer, headers)?, &certified) {
            (Proof::Token(digest), _) => return Ok(Said::Token(Claim { digest, certified, from })),
            (Proof::Entity(entity), _) | (Proof::Nothing, Some(entity)) => entity.clone(),
            // A From alone proves nothing.
            (Proof::Nothing, None) if from.is_some() => return Err(not_accepted()),
            (Proof::Nothing, None) if !peer.certificates.is_empty() => {
                let info = "certificate: names no application";
                return Err(Refusal::new(StatusCode::PermissionDenied, info));
            }
            (Proof::Nothing, None) => {
                return Err(missing("requestingEntity: no Authorization header names one"));
            }
        };
        agreed(proved, certified.as_ref(), from.as_ref()).map(Said::Known)
    }

    fn resolve(&self, claim: Claim) -> Resolving<'_> {
        Box::pin(async move {
            let Some(cluster) = &self.cluster else { return Err(not_accepted()) };
            let entity = cluster.look_up(claim.digest).await?.ok_or_else(not_accepted)?;
            agreed(entity, claim.certified.as_ref(), claim.from.as_ref())
        })
    }

    fn challenge(&self) -> Option<&'static str> {
        Some("Basic realm=\"m2m\", charset=\"UTF-8\"")
    }
}
