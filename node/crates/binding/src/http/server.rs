//! The listening side: connections, their limits and their end. What a request means is the [`Service`]'s business.
//!
//! Who is over a limit of its source finds its connection reset before anything was computed for it. One watch a
//! connection bounds every way of holding it without asking anything; the [`Guard`] bounds slow headers and answers
//! that are not read. Bodies have a deadline and a rate of their own ([`super::Config::body_timeout`]).

use super::{
    Response,
    channel::{Channel, Plain, Stream},
    guard::{Guard, Pace},
    rate::Rates,
    source::{Held, One, Source},
};
use crate::{identity::Peer, session::Session};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, error, warn};

/// Answers HTTP requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Must end: the server waits for it when it stops.
    fn call(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Response> + Send;
}

impl<S: Service> Service for Arc<S> {
    fn call(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Response> + Send {
        S::call(self, request, peer)
    }
}

/// Limits of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// Connections at once; further ones wait in the kernel's backlog. Default 10,000.
    pub connections_max: usize,
    /// Octets of a request's line and headers, at least 8,192; more is answered with 431. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection. Default 128.
    pub streams_max: u32,
    /// The TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// From the first octet of a request (of the first one: from the handshake) to the end of its header. Default 10 s.
    pub header_timeout: Duration,
    /// Connections of one source (IPv4 address, IPv6 /64) at once; further ones are reset. Default 5,000; 0: any.
    pub source_connections_max: usize,
    /// Connections of one source whose handshake or first header is not complete. Default 1,024; 0: any.
    pub source_half_open_max: usize,
    /// Handshakes a second of one network (IPv4 /24, IPv6 /64), twice as many at once. Default 1,000; 0: any.
    pub handshakes_per_second: u32,
    /// Octets of answers a second that a peer must take once one has waited for 60 s. Default 100; 0: any.
    pub answer_rate_min: u64,
    /// From the start or the last answer to the next request. It ends idle keep-alive connections. Default 60 s.
    pub idle_timeout: Duration,
    /// How long requests in flight may take once the server stops. Default 10 s.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            connections_max: 10_000,
            header_bytes_max: 16 << 10,
            streams_max: 128,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            source_connections_max: 5_000,
            source_half_open_max: 1_024,
            handshakes_per_second: 1_000,
            answer_rate_min: 100,
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// An HTTP/1.1 and HTTP/2 server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its limits.
    pub config: ServerConfig,
    /// What makes its connections secure. Default: nothing.
    pub channel: Arc<dyn Channel>,
}

impl Default for Server {
    fn default() -> Server {
        Server { config: ServerConfig::default(), channel: Arc::new(Plain) }
    }
}

/// How long an answer may wait before it must be taken at a rate.
const ANSWER_GRACE: Duration = Duration::from_secs(60);

/// Streams that an HTTP/2 client may open and reset before anybody looked at them, and errors of its own that it may
/// make us answer with a reset; beyond either the connection ends (CVE-2023-44487, CVE-2025-8671).
const PENDING_RESETS_MAX: usize = 20;
const ERROR_RESETS_MAX: usize = 256;

/// How long a connection that was told to end may still linger when nothing is in flight on it.
const LINGER: Duration = Duration::from_secs(5);

impl Server {
    /// Serves until `stop` resolves, then lets what is in flight end and returns.
    pub async fn serve<S: Service>(self, listener: TcpListener, service: S, stop: impl Future<Output = ()>) {
        let drain_timeout = self.config.drain_timeout;
        let slots = Arc::new(Semaphore::new(self.config.connections_max.min(Semaphore::MAX_PERMITS)));
        let (stopping, stopped) = watch::channel(false);
        let sources = Sources::new(&self);
        let shared = Arc::new(Shared { builder: self.builder(), server: self, service, stopped });
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(panic) = ended {
                        error!(%panic, "a connection's task failed");
                    }
                    continue;
                }
                accepted = accept(&listener, &slots) => accepted,
            };
            match accepted {
                Ok((socket, address, slot)) => match sources.admit(address) {
                    Ok(place) => {
                        let shared = Arc::clone(&shared);
                        connections.spawn(async move {
                            let _slot = slot;
                            connection(&shared, socket, address, place).await;
                        });
                    }
                    Err(over) => {
                        debug!(%address, over, "connection reset");
                        // Without it the peer's socket lingers on ours; nothing was written that could be lost.
                        if let Err(failure) = socket.set_zero_linger() {
                            debug!(%address, %failure, "failed to reset a connection");
                        }
                    }
                },
                // Out of file descriptors, or a peer that was gone before it was accepted: not the listener's end.
                Err(failure) => {
                    warn!(%failure, "failed to accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        let _ = stopping.send(true);
        let drained =
            timeout(drain_timeout, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!(connections = connections.len(), "requests were still in flight when the server stopped");
            connections.shutdown().await;
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let config = &self.config;
        let header_list_max = u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(config.idle_timeout)
            // hyper refuses to go below its own minimum.
            .max_buf_size(config.header_bytes_max.max(8_192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.streams_max)
            .max_header_list_size(header_list_max)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(ERROR_RESETS_MAX)
            .keep_alive_interval(config.idle_timeout)
            .keep_alive_timeout(config.handshake_timeout);
        builder
    }
}

struct Shared<S> {
    server: Server,
    builder: auto::Builder<TokioExecutor>,
    service: S,
    stopped: watch::Receiver<bool>,
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, address) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok((socket, address, slot))
}

/// What sources may hold of a listener.
struct Sources {
    connections: Held,
    half_open: Held,
    handshakes: Option<Rates>,
}

/// A connection's share of that.
struct Place {
    _connection: One,
    half_open: One,
}

impl Sources {
    fn new(server: &Server) -> Sources {
        let config = &server.config;
        Sources {
            connections: Held::new(config.source_connections_max),
            half_open: Held::new(config.source_half_open_max),
            handshakes: Rates::new(config.handshakes_per_second).filter(|_| server.channel.shakes_hands()),
        }
    }

    /// `Err`: the limit that it is over.
    fn admit(&self, address: SocketAddr) -> Result<Place, &'static str> {
        let source = Source::of(address);
        let connection = self.connections.take(source).ok_or("connections of one source")?;
        let half_open = self.half_open.take(source).ok_or("half-open connections of one source")?;
        if let Some(handshakes) = &self.handshakes
            && handshakes.take(source.network()).is_err()
        {
            return Err("handshakes a second of one network");
        }
        Ok(Place { _connection: connection, half_open })
    }
}

async fn connection<S: Service>(
    shared: &Arc<Shared<S>>,
    socket: TcpStream,
    address: SocketAddr,
    place: Place,
) {
    let handshake = shared.server.channel.accept(socket, address);
    match timeout(shared.server.config.handshake_timeout, handshake).await {
        Ok(Ok((stream, peer))) => {
            let config = &shared.server.config;
            let pace = Pace {
                header_timeout: config.header_timeout,
                answer_grace: ANSWER_GRACE,
                answer_rate_min: config.answer_rate_min,
            };
            exchange(shared, Guard::new(stream, pace, place.half_open), peer).await;
        }
        Ok(Err(failure)) => debug!(%address, %failure, "handshake failed"),
        Err(_) => debug!(%address, "handshake took too long"),
    }
}

/// Runs one connection to its end: the peer's, an idle one's, or the server's.
async fn exchange<S: Service>(shared: &Arc<Shared<S>>, stream: Guard<Box<dyn Stream>, One>, peer: Peer) {
    let activity = Arc::new(Activity::new());
    let peer = Arc::new(peer);
    let service = hyper::service::service_fn({
        let (shared, activity, peer) = (Arc::clone(shared), Arc::clone(&activity), Arc::clone(&peer));
        move |request| {
            let (shared, peer) = (Arc::clone(&shared), Arc::clone(&peer));
            let (busy, watched) = (Activity::begin(&activity), Arc::clone(&activity));
            async move {
                let mut response = shared.service.call(request, &peer).await;
                drop(busy);
                if response.body().is_listing() {
                    // It is at work as long as somebody reads it.
                    response.body_mut().watch(move || watched.touch());
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let mut connection = pin!(shared.builder.serve_connection(TokioIo::new(stream), service));
    let mut stopped = shared.stopped.clone();
    let mut closed = pin!(closed(peer.session.as_deref()));
    let mut closing = false;
    let mut look = Instant::now() + shared.server.config.idle_timeout;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(failure) = ended {
                    debug!(address = %peer.address, %failure, "connection ended");
                }
                return;
            }
            () = &mut closed => {
                debug!(address = %peer.address, "session closed");
                return;
            }
            _ = stopped.wait_for(|stopped| *stopped), if !closing => {}
            () = sleep_until(look) => {
                let quiet = activity.quiet_for();
                let limit = if closing { LINGER } else { shared.server.config.idle_timeout };
                match quiet {
                    Some(quiet) if quiet >= limit && closing => return,
                    Some(quiet) if quiet >= limit => {}
                    quiet => {
                        look = Instant::now() + limit.saturating_sub(quiet.unwrap_or_default());
                        continue;
                    }
                }
            }
        }
        closing = true;
        look = Instant::now() + LINGER;
        connection.as_mut().graceful_shutdown();
    }
}

/// Resolves when the session that a connection belongs to is closed.
async fn closed(session: Option<&Session>) {
    if let Some(session) = session
        && session.closed.clone().wait_for(|closed| *closed).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// What a connection is doing: requests in the service, and when the last one began or ended.
struct Activity {
    born: Instant,
    open: AtomicUsize,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity { born: Instant::now(), open: AtomicUsize::new(0), last_ms: AtomicU64::new(0) }
    }

    fn begin(this: &Arc<Activity>) -> Busy {
        this.open.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(this))
    }

    fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// How long nothing has been in flight; `None` while something is.
    fn quiet_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        (self.open.load(Ordering::Relaxed) == 0).then(|| self.born.elapsed().saturating_sub(last))
    }
}

/// A request in flight.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
