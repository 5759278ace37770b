//! What a peer's certificate allows.
//!
//! A certificate is for [`NODE_NAME`] or [`EDGE_NAME`], and the cluster's own CA signed it: that was checked when the
//! connection was made. One that is for neither may nothing.

use banyan_client::{EDGE_NAME, NODE_NAME};
use tokio_rustls::rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use tonic::{Request, Status};

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Node,
    Edge,
}

/// Tells who asks.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    /// Whether connections are by TLS. Without it everybody is believed to be a node.
    pub(super) secure: bool,
}

impl Guard {
    /// Refuses whoever is neither a node nor an edge.
    pub(super) fn role<T>(self, request: &Request<T>) -> Result<Role, Status> {
        if !self.secure {
            return Ok(Role::Node);
        }
        let certificates = request.peer_certs();
        let leaf = certificates.as_ref().and_then(|chain| chain.first());
        leaf.and_then(role_of)
            .ok_or_else(|| Status::permission_denied("the certificate is neither a node's nor an edge's"))
    }

    /// Refuses whoever is not a node.
    pub(super) fn node<T>(self, request: &Request<T>) -> Result<(), Status> {
        match self.role(request)? {
            Role::Node => Ok(()),
            Role::Edge => Err(Status::permission_denied("only for nodes")),
        }
    }
}

pub(super) fn role_of(certificate: &CertificateDer<'_>) -> Option<Role> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let is_for = |name: &'static str| {
        ServerName::try_from(name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    // An edge's first: a certificate for both names has the lesser right.
    if is_for(EDGE_NAME) {
        return Some(Role::Edge);
    }
    is_for(NODE_NAME).then_some(Role::Node)
}
