//! Whose a device certificate is: by its subjectAltName URI `urn:...:<Node-ID>`, or as the operator wrote down.

use super::{
    now,
    sessions::{Owner, Sessions},
};
use banyan_binding::{
    session::Known,
    tls::{CertificateDer, Owners, certificate},
};
use banyan_model::{
    Timestamp,
    security::{KeyRef, M2mNodeId},
};
use std::{collections::HashMap, sync::Arc};

/// Nodes by their certificates.
pub(crate) struct DeviceCertificates {
    /// By serial number, in hexadecimal digits of lower case without leading zeros.
    pub(crate) nodes: Arc<HashMap<String, M2mNodeId>>,
    pub(crate) sessions: Arc<Sessions>,
}

impl Owners for DeviceCertificates {
    fn owner(&self, leaf: &CertificateDer<'_>) -> Result<Known, String> {
        let epoch = self.sessions.epoch();
        let node = node(&self.nodes, leaf)?;
        let key = KeyRef::Certificate(certificate::sha256(leaf));
        // How long is the sessions' business: they have an age.
        let owner = Owner {
            node,
            scl: None,
            key,
            expires: Timestamp(now().0.saturating_add(YEAR_MS)),
            identity: None,
        };
        self.sessions.open(owner, epoch).ok_or_else(|| "something was closed meanwhile".to_owned())
    }
}

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

fn node(nodes: &HashMap<String, M2mNodeId>, leaf: &CertificateDer<'_>) -> Result<M2mNodeId, String> {
    let serial = certificate::serial(leaf).map_err(|failure| failure.to_string())?;
    if let Some(node) = nodes.get(&spelled(&serial)) {
        return Ok(*node);
    }
    let uris = certificate::uris(leaf).map_err(|failure| failure.to_string())?;
    let mut named = uris.iter().filter_map(|uri| {
        let (urn, id) = uri.rsplit_once(':')?;
        urn.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("urn:"))?;
        M2mNodeId::parse(id)
    });
    match (named.next(), named.next()) {
        (Some(node), None) => Ok(node),
        (None, _) => Err("the certificate names no node".to_owned()),
        (Some(_), Some(_)) => Err("the certificate names several nodes".to_owned()),
    }
}

/// A serial number as the settings have it.
pub(crate) fn spelled(serial: &[u8]) -> String {
    let digits: String = serial.iter().map(|octet| format!("{octet:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}
