//! Whom a client's certificate speaks for on mIa.
//!
//! An operator's list goes first; else a URI of subjectAltName names an application of this SCL. A certificate of another
//! role (node, edge, device of mId) never speaks for anybody here, whatever else it says. One that names nobody is no
//! proof of who asks: then another proof has to be there.

use super::CredentialError;
use crate::tls::certificate;
use banyan_model::{Entity, Refusal, Scl, StatusCode, security::M2mNodeId};
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;

const APPLICATION_URN: &str = "urn:banyan:app:";

/// The operator's list.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    by_digest: HashMap<[u8; 32], Entity>,
    by_name: HashMap<String, Entity>,
    /// DNS names, in lower case, of certificates that have another role.
    pub(super) other_roles: Vec<String>,
}

impl Certificates {
    /// `subject`: SHA-256 in hexadecimal digits (colons may stand between them), else the commonName.
    pub(super) fn add(&mut self, at: usize, subject: &str, entity: Entity) -> Result<(), CredentialError> {
        let before = match fingerprint(subject) {
            Some(digest) => self.by_digest.insert(digest, entity),
            None => self.by_name.insert(subject.to_owned(), entity),
        };
        match before {
            None => Ok(()),
            Some(_) => Err(CredentialError::CertificateTwice { at }),
        }
    }

    /// Whom the certificate speaks for; `None`: nobody.
    pub(super) fn entity(&self, scl: &Scl, leaf: &CertificateDer<'_>) -> Result<Option<Entity>, Refusal> {
        let unreadable = |_| forbidden("certificate: cannot be read");
        let uris = certificate::uris(leaf).map_err(unreadable)?;
        let names = certificate::dns_names(leaf).map_err(unreadable)?;
        if names.iter().any(|name| self.other_roles.contains(name)) || uris.iter().any(|uri| is_device(uri)) {
            return Err(forbidden("certificate: of a node, an edge or a device, which is no application"));
        }
        let listed = match self.by_digest.get(&certificate::sha256(leaf)) {
            Some(entity) => Some(entity),
            None => {
                certificate::common_name(leaf).map_err(unreadable)?.and_then(|name| self.by_name.get(&name))
            }
        };
        if let Some(entity) = listed {
            return Ok(Some(entity.clone()));
        }
        let mut named = uris.iter().filter_map(|uri| application(scl, uri));
        let first = named.next();
        match named.all(|other| Some(&other) == first.as_ref()) {
            true => Ok(first),
            false => Err(forbidden("certificate: names more than one application")),
        }
    }
}

/// The application of this SCL that a URI names.
fn application(scl: &Scl, uri: &str) -> Option<Entity> {
    let entity = match uri.strip_prefix(APPLICATION_URN) {
        Some(id) if !id.is_empty() => scl.normalise(&format!("{}/applications/{id}", scl.base)),
        Some(_) => return None,
        None if uri.starts_with("https://") || uri.starts_with("http://") => scl.normalise(uri),
        None => return None,
    };
    let path = scl.local_path(&entity.0)?;
    matches!(path.segments(), [collection, _] if collection == "applications").then_some(entity)
}

/// `urn:...:<M2M-Node-ID>`.
fn is_device(uri: &str) -> bool {
    let node = uri.strip_prefix("urn:").filter(|_| !uri.starts_with(APPLICATION_URN));
    node.and_then(|rest| M2mNodeId::parse(rest.rsplit(':').next()?)).is_some()
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16))
        .map(|d| d.map(|d| d as u8))
        .collect::<Option<_>>()?;
    let octets: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| octets.try_into().ok()).flatten()
}

fn forbidden(info: &str) -> Refusal {
    Refusal::new(StatusCode::Forbidden, info)
}
