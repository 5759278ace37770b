//! Sessions of mId by certificates (TS 102 690 clause 8): TLS whose client proves a node, and whose exporter makes a key.
//!
//! In TLS 1.3 the client has ended its handshake, and exported a key, before its certificate was judged here; so a
//! session exists only once the server's side has ended, and what a refused client exported is known to nobody else.

use super::Watched;
use crate::{
    http::{Accepting, Channel, Stream},
    identity::Peer,
    session::{Key, Known, Session},
};
use rustls::pki_types::CertificateDer;
use std::{fmt, io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Knows whose a verified certificate is.
pub trait Owners: Send + Sync + 'static {
    /// Whose, as far as this listener is concerned.
    ///
    /// # Errors
    /// Why nobody's, for the log.
    fn owner(&self, certificate: &CertificateDer<'_>) -> Result<Known, String>;
}

/// Demands a client certificate and makes a session of it.
pub struct Certified<O> {
    tls: Watched,
    label: &'static str,
    owners: O,
}

impl<O: Owners> Certified<O> {
    /// `tls` is of [`Watched::exporting`]; `label` is the exporter's.
    pub fn new(tls: Watched, label: &'static str, owners: O) -> Certified<O> {
        Certified { tls, label, owners }
    }

    async fn handshake(&self, socket: TcpStream, address: SocketAddr) -> io::Result<(Box<dyn Stream>, Peer)> {
        let stream = TlsAcceptor::from(self.tls.current()).accept(socket).await?;
        let connection = stream.get_ref().1;
        let certificates = connection.peer_certificates().unwrap_or_default();
        let leaf = certificates.first().ok_or_else(|| io::Error::other("no certificate"))?;
        let known = self.owners.owner(leaf).map_err(io::Error::other)?;
        let mut secret = Zeroizing::new([0_u8; banyan_model::security::KEY_OCTETS]);
        connection
            .export_keying_material(secret.as_mut(), self.label.as_bytes(), None)
            .map_err(io::Error::other)?;
        let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
        let session = Arc::new(Session::new(known, Key::new(*secret)));
        let peer = Peer { address, certificates, secure: true, session: Some(session) };
        Ok((Box::new(stream), peer))
    }
}

impl<O: Owners> Channel for Certified<O> {
    fn accept(&self, socket: TcpStream, address: SocketAddr) -> Accepting<'_> {
        Box::pin(self.handshake(socket, address))
    }
}

impl<O> fmt::Debug for Certified<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certified").field("label", &self.label).finish_non_exhaustive()
    }
}
