//! The gateway's way to its NSCL: a channel of mId to the first edge that takes it.

use super::{backoff::Backoff, connection::is_root_refused, edges::Edges};
use crate::clock;
use banyan_binding::http::{Connecting, Stream, Uplink};
use banyan_model::entity::normal_authority;
use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// What [`Secure::connect`] returns.
pub type Securing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Makes connections to an edge as secure as mId is to be.
pub trait Secure: fmt::Debug + Send + Sync + 'static {
    /// Sets a channel up with the edge at `host:port`.
    fn connect<'a>(&'a self, edge: &'a str) -> Securing<'a>;
}

/// Access network security: the operator's network is trusted (security.md 5).
#[derive(Clone, Copy, Debug)]
pub struct Trusted;

impl Secure for Trusted {
    fn connect<'a>(&'a self, edge: &'a str) -> Securing<'a> {
        Box::pin(async { Ok(Box::new(tcp(edge).await?) as Box<dyn Stream>) })
    }
}

/// A link over which nothing comes back for so long is gone. Without that a poll, which has nothing to send, waits for its
/// whole time on a connection that the network forgot.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// An idle connection is tried after the first, then at the second.
const PROBES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));

/// TCP to an edge.
pub(super) async fn tcp(edge: &str) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(edge).await?;
    let options = SockRef::from(&socket);
    let probes = TcpKeepalive::new().with_time(PROBES.0).with_interval(PROBES.1);
    let set = [
        socket.set_nodelay(true),
        options.set_tcp_keepalive(&probes),
        // Of probes as of what is sent.
        options.set_tcp_user_timeout(Some(SILENCE_MAX)),
    ];
    if let Some(failure) = set.into_iter().find_map(Result::err) {
        tracing::debug!(%failure, "an option of TCP could not be set");
    }
    Ok(socket)
}

/// How long one edge gets for TCP and what makes the channel, at most a bootstrap, a service connection and the channel
/// itself: less than a client waits for its connection in all, so that there is time left for another edge.
const EDGE_TIMEOUT: Duration = Duration::from_secs(4);

/// The uplink to one NSCL.
#[derive(Debug)]
pub struct NsclUplink {
    /// Of the URIs that go this way, as written.
    scheme: String,
    authority: String,
    edges: Mutex<Edges>,
    secure: Arc<dyn Secure>,
    /// The last edge that said anything refused the root key.
    key_refused: AtomicBool,
}

impl NsclUplink {
    /// An uplink to the NSCL of this authority by these edges.
    pub fn new(scheme: &str, authority: &str, edges: &[String], secure: Arc<dyn Secure>) -> NsclUplink {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        NsclUplink {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            edges: Mutex::new(Edges::new(edges, &backoff)),
            secure,
            key_refused: AtomicBool::new(false),
        }
    }

    /// Whether the NSCL does not take, or no longer takes, the root key of this node. It shows with the next channel: at once
    /// where the gateway polls, for a revocation closes the poll's.
    pub fn is_key_refused(&self) -> bool {
        self.key_refused.load(Ordering::Relaxed)
    }

    async fn try_in_order(&self) -> io::Result<Box<dyn Stream>> {
        let order = self.edges.lock().order(clock::now());
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no edge is configured");
        for edge in order {
            let attempt = timeout(EDGE_TIMEOUT, self.secure.connect(&edge)).await;
            let attempt = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            self.edges.lock().tried(&edge, attempt.is_ok(), clock::now(), rand::random());
            match attempt {
                Ok(stream) => {
                    self.key_refused.store(false, Ordering::Relaxed);
                    return Ok(stream);
                }
                Err(error) => {
                    if is_root_refused(&error) {
                        self.key_refused.store(true, Ordering::Relaxed);
                    }
                    tracing::debug!(edge, %error, "an edge of the NSCL was not reached");
                    failure = io::Error::new(error.kind(), format!("{edge}: {error}"));
                }
            }
        }
        Err(failure)
    }
}

impl Uplink for NsclUplink {
    fn covers(&self, scheme: &str, authority: &str) -> bool {
        normal_authority(scheme, authority) == normal_authority(&self.scheme, &self.authority)
    }

    fn connect(&self) -> Connecting<'_> {
        Box::pin(self.try_in_order())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn an_uplink_covers_the_nscl_and_nobody_else() {
        let uplink = NsclUplink::new("http", "NSCL.example.com", &[], Arc::new(Trusted));
        assert!(uplink.covers("http", "nscl.example.com:80"));
        assert!(!uplink.covers("http", "nscl.example.com:8080"));
        assert!(!uplink.covers("http", "gw.example.com"));
    }

    #[tokio::test]
    async fn the_next_edge_is_called_when_one_is_not_there() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let there = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let edges = [&gone, &there].map(|listener| listener.local_addr().expect("bound").to_string());
        drop(gone);
        let uplink = NsclUplink::new("http", "nscl", &edges, Arc::new(Trusted));
        assert!(uplink.connect().await.is_ok());
        assert_eq!(uplink.edges.lock().order(clock::now()), [edges[1].clone()]);
        drop(there);
        assert!(uplink.connect().await.is_err());
    }
}
