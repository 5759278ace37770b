//! TCP or TLS to the host of a URI, if that host may be reached.

use super::{super::Stream, Reach, Uplink};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{host} does not resolve")]
    Resolve {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("{host} has no address that may be reached from here")]
    OutOfReach { host: String },
    #[error("failed to connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no connection within {waited:?}")]
    Timeout { waited: Duration },
    #[error("no trusted roots are configured for https")]
    NoTls,
    #[error("{host} is no name for TLS")]
    Name {
        host: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("TLS with {host} failed")]
    Tls {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("the uplink failed")]
    Uplink(#[source] io::Error),
}

#[derive(Clone)]
pub(super) struct Connector {
    tls: Option<TlsConnector>,
    reach: Reach,
    uplink: Option<Arc<dyn Uplink>>,
    limit: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("reach", &self.reach)
            .field("uplink", &self.uplink)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(
        tls: Option<Arc<ClientConfig>>,
        reach: Reach,
        uplink: Option<Arc<dyn Uplink>>,
        limit: Duration,
    ) -> Connector {
        Connector { tls: tls.map(TlsConnector::from), reach, uplink, limit }
    }

    async fn connect(self, uri: Uri) -> Result<Link, ConnectError> {
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let covers =
            |uplink: &&Arc<dyn Uplink>| authority.is_some_and(|one| uplink.covers(scheme, one.as_str()));
        if let Some(uplink) = self.uplink.as_ref().filter(covers) {
            let stream = uplink.connect().await.map_err(ConnectError::Uplink)?;
            return Ok(Link::Uplink(TokioIo::new(stream)));
        }
        let secure = scheme == "https";
        // An IPv6 host stands in brackets, which neither the resolver nor TLS wants.
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = self.reach(&host, port).await?;
        if !secure {
            return Ok(Link::Plain(TokioIo::new(tcp)));
        }
        let tls = self.tls.ok_or(ConnectError::NoTls)?;
        let name = ServerName::try_from(host.clone())
            .map_err(|source| ConnectError::Name { host: host.clone(), source })?;
        let stream = tls.connect(name, tcp).await.map_err(|source| ConnectError::Tls { host, source })?;
        Ok(Link::Tls(TokioIo::new(Box::new(stream))))
    }

    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let resolved = lookup_host((host, port)).await;
        let resolved = resolved.map_err(|source| ConnectError::Resolve { host: host.to_owned(), source })?;
        let mut failed = ConnectError::OutOfReach { host: host.to_owned() };
        for address in resolved.filter(|address| self.reach.covers(address.ip())) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    if let Err(failure) = stream.set_nodelay(true) {
                        tracing::debug!(%failure, "TCP_NODELAY could not be set");
                    }
                    return Ok(stream);
                }
                Err(source) => failed = ConnectError::Connect { address, source },
            }
        }
        Err(failed)
    }
}

impl Reach {
    fn covers(self, address: IpAddr) -> bool {
        // ::ffff:127.0.0.1 is 127.0.0.1.
        let address = address.to_canonical();
        let routable = match address {
            IpAddr::V4(v4) => {
                !(v4.is_loopback() || v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0)
            }
            IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local()),
        } && !address.is_multicast();
        let private = match address {
            // 100.64.0.0/10 is the carriers' shared range.
            IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64),
            IpAddr::V6(v6) => v6.is_unique_local(),
        };
        match self {
            Reach::Any => true,
            Reach::Routable => routable,
            Reach::Public => routable && !private,
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let waited = this.limit;
            timeout(waited, this.connect(uri)).await.unwrap_or(Err(ConnectError::Timeout { waited }))
        })
    }
}

/// A connection as hyper wants it.
pub(super) enum Link {
    Plain(TokioIo<TcpStream>),
    Tls(TokioIo<Box<TlsStream<TcpStream>>>),
    Uplink(TokioIo<Box<dyn Stream>>),
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Plain(io) => Pin::new(io).poll_read(cx, into),
            Link::Tls(io) => Pin::new(io).poll_read(cx, into),
            Link::Uplink(io) => Pin::new(io).poll_read(cx, into),
        }
    }
}

impl Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Link::Plain(io) => Pin::new(io).poll_write(cx, from),
            Link::Tls(io) => Pin::new(io).poll_write(cx, from),
            Link::Uplink(io) => Pin::new(io).poll_write(cx, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Plain(io) => Pin::new(io).poll_flush(cx),
            Link::Tls(io) => Pin::new(io).poll_flush(cx),
            Link::Uplink(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Link::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Link::Uplink(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_goes_by_the_address() {
        for (address, routable, public) in [
            ("127.0.0.1", false, false),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("10.1.2.3", true, false),
            ("192.168.1.1", true, false),
            ("100.64.1.1", true, false),
            ("fd00::1", true, false),
            ("8.8.8.8", true, true),
            ("2001:db8::1", true, true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(Reach::Any.covers(address));
            let seen = (Reach::Routable.covers(address), Reach::Public.covers(address));
            assert_eq!(seen, (routable, public), "{address}");
        }
    }
}
