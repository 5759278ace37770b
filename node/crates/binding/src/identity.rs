//! Who asks: from a connection and its headers to the requestingEntity (bindings.md 3.2).
//!
//! The tree believes whatever this room says, so a header alone is believed only in the open mode.
//! Standard: TS 102 921 C.2.3.

mod certificates;
mod credentials;
mod open;
mod scl;
mod token;

pub use credentials::{Credential, CredentialError, Credentials, Secret};
pub use open::Open;
pub use scl::{OfScl, Registered};
pub use token::{Digest, LookingUp, TokenLookup};

use crate::{percent, session::Session};
use banyan_model::{Entity, Refusal, StatusCode, primitive::ReferencePoint};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, header};
use rustls::pki_types::CertificateDer;
use std::{net::SocketAddr, pin::Pin, sync::Arc};

/// The other end of a connection, as far as the transport vouches for it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its verified certificate chain, leaf first; empty without mutual TLS.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// What a channel of mId proved.
    pub session: Option<Arc<Session>>,
}

/// What a request says about who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// The requestingEntity, normalised.
    Known(Entity),
    /// A token that only the cluster knows: [`Identity::resolve`] tells.
    Token(Claim),
}

/// A bearer token, and whatever else the request says about who asks; all of it must agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// SHA-256 of the token.
    pub digest: Digest,
    /// Whom the client's certificate speaks for.
    pub certified: Option<Entity>,
    /// `From`.
    pub from: Option<Entity>,
}

/// What [`Identity::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Entity, Refusal>> + Send + 'a>>;

/// Tells the requestingEntity of a request: at once where it can, so that nothing is allocated for a future that has
/// nothing to wait for.
pub trait Identity: Send + Sync + 'static {
    /// The requestingEntity or what there is to find out, or the refusal: `RequestingEntityMissing` (D-5), `BadRequest` for a header
    /// that cannot be read, `PermissionDenied` for a credential that is not known, `Forbidden` for a `From` that the
    /// credential does not cover.
    fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Said, Refusal>;

    /// Whom a token speaks for; `ServiceUnavailable` if that cannot be told now.
    fn resolve(&self, claim: Claim) -> Resolving<'_> {
        let _ = claim;
        Box::pin(async { Err(not_accepted()) })
    }

    /// Over which reference point those come who are told here.
    fn reference_point(&self) -> ReferencePoint {
        ReferencePoint::Mia
    }

    /// What WWW-Authenticate says beside a 401, if authenticating (again) could help.
    fn challenge(&self) -> Option<&'static str> {
        None
    }
}

impl<T: Identity + ?Sized> Identity for Arc<T> {
    fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Said, Refusal> {
        T::identify(self, peer, headers)
    }

    fn resolve(&self, claim: Claim) -> Resolving<'_> {
        T::resolve(self, claim)
    }

    fn reference_point(&self) -> ReferencePoint {
        T::reference_point(self)
    }

    fn challenge(&self) -> Option<&'static str> {
        T::challenge(self)
    }
}

/// The refusal of a credential that is not known.
fn not_accepted() -> Refusal {
    Refusal::new(StatusCode::PermissionDenied, "Authorization: not accepted")
}

/// The refusal of a request that names nobody.
fn missing(info: &str) -> Refusal {
    Refusal::new(StatusCode::RequestingEntityMissing, info)
}

/// The `From` header; `None` when absent or empty. Twice is refused: which one would be meant?
fn from_header(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    Ok(single(headers, &header::FROM)?.filter(|from| !from.is_empty()))
}

/// What the Authorization header says.
enum Authorization {
    /// HTTP Basic: user part as sent, password.
    Basic { user: String, password: String },
    /// A bearer token (RFC 6750).
    Bearer(String),
    /// A scheme that is not spoken here.
    Other,
}

fn authorization(headers: &HeaderMap) -> Result<Option<Authorization>, Refusal> {
    let Some(value) = single(headers, &header::AUTHORIZATION)? else { return Ok(None) };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(Authorization::Bearer(rest.trim().to_owned())));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(Some(Authorization::Other));
    }
    let text = BASE64_STANDARD.decode(rest.trim()).ok().and_then(|octets| String::from_utf8(octets).ok());
    let text = text.ok_or_else(|| bad("Authorization: not Base64 of UTF-8"))?;
    // OM2M sends `admin/admin` with no colon at all: then the whole is the user.
    let (user, password) = text.split_once(':').unwrap_or((&text, ""));
    Ok(Some(Authorization::Basic { user: user.to_owned(), password: password.to_owned() }))
}

/// V1.1.1 URI-encodes the user part, because an entity's URI contains colons.
fn decode_user(user: &str) -> Result<String, Refusal> {
    let decoded = percent::decode(user, false).filter(|text| !text.chars().any(char::is_control));
    decoded.ok_or_else(|| bad("Authorization: the user part is not URI-encoded"))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(&format!("{name}: given twice")));
    }
    let text = first.to_str().map_err(|_| bad(&format!("{name}: not visible ASCII")))?;
    Ok(Some(text.trim()))
}

fn bad(info: &str) -> Refusal {
    Refusal::new(StatusCode::BadRequest, info)
}
