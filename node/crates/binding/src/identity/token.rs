//! Bearer tokens of the cluster: what they look like, and who knows them.
//!
//! A token is `bny_` and 43 characters of base64url: 256 random bits. So a plain SHA-256 is enough to keep it by: what
//! makes a password need a slow digest, that it can be guessed, does not apply. Whatever does not look like one is
//! refused without asking anybody.

use aws_lc_rs::digest;
use banyan_model::{
    Entity, Refusal,
    security::{TOKEN_CHARACTERS, TOKEN_PREFIX},
};
use std::{fmt, pin::Pin};

/// SHA-256 of a token.
pub type Digest = [u8; 32];

/// What [`TokenLookup::look_up`] returns.
pub type LookingUp<'a> = Pin<Box<dyn Future<Output = Result<Option<Entity>, Refusal>> + Send + 'a>>;

/// Knows tokens by their digest. Bounds its time.
pub trait TokenLookup: fmt::Debug + Send + Sync + 'static {
    /// Whom the token speaks for; `None`: nobody, it is unknown, expired or revoked.
    ///
    /// # Errors
    /// It cannot be told now.
    fn look_up(&self, digest: Digest) -> LookingUp<'_>;
}

/// The digest of what looks like a token of the cluster.
pub(super) fn digest(token: &str) -> Option<Digest> {
    let random = token.strip_prefix(TOKEN_PREFIX)?;
    let is_base64url = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    (random.len() == TOKEN_CHARACTERS && random.bytes().all(is_base64url)).then_some(())?;
    let mut octets = [0; 32];
    octets.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    Some(octets)
}
