//! How an accepted connection becomes a stream and a peer: plain, TLS, or whatever else proves who is there.

use crate::{identity::Peer, tls::Watched};
use std::{fmt, io, net::SocketAddr, pin::Pin};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

/// The octets of a connection once its channel stands.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What [`Channel::accept`] returns.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<(Box<dyn Stream>, Peer)>> + Send + 'a>>;

/// Makes connections secure. The server bounds its time; dropping the future gives the connection up.
pub trait Channel: fmt::Debug + Send + Sync + 'static {
    /// Sets the channel up.
    ///
    /// # Errors
    /// The handshake failed; the peer gets nothing more than the alert that was sent.
    fn accept(&self, socket: TcpStream, address: SocketAddr) -> Accepting<'_>;

    /// Whether that is a handshake, of which a source may have only so many.
    fn shakes_hands(&self) -> bool {
        true
    }
}

/// Plain TCP: nothing is proved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Channel for Plain {
    fn accept(&self, socket: TcpStream, address: SocketAddr) -> Accepting<'_> {
        let peer = Peer { address, certificates: Vec::new(), secure: false, session: None };
        Box::pin(async { Ok((Box::new(socket) as Box<dyn Stream>, peer)) })
    }

    fn shakes_hands(&self) -> bool {
        false
    }
}

impl Channel for Watched {
    fn accept(&self, socket: TcpStream, address: SocketAddr) -> Accepting<'_> {
        let acceptor = TlsAcceptor::from(self.current());
        Box::pin(async move {
            let stream = acceptor.accept(socket).await?;
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
            let peer = Peer { address, certificates, secure: true, session: None };
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }
}
