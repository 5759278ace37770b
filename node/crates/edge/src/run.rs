//! Starting and stopping an edge: ports are bound once everything was checked, doors open when the cluster is found.

mod mid;

use self::mid::{MidListeners, MidSide};
use crate::{
    Config, ConfigError,
    admin::Admin,
    closures::{self, Closable},
    config::{Checked, millis},
    egress::{self, Courier},
    forward::{Counted, Forwarder},
    listing::Listings,
    metrics::Metrics,
    mid::Owned,
    poll::Polls,
    tokens::Tokens,
};
use banyan_binding::{
    http::{self as binding, Binding, Channel, Plain, Response, Server, ServerConfig, Service, Uplink},
    identity::{Identity, Peer},
};
use banyan_client::Client;
use banyan_codec::Format;
use banyan_model::{Scl, StatusCode};
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tracing::{error, info, warn};

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings.
    #[error("configuration")]
    Config(#[from] ConfigError),
    /// TLS by pre-shared keys.
    #[error("mid.listen_psk")]
    Psk(#[from] banyan_binding::mid::PskError),
    /// A port.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where an edge listens, ports as they were given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Addresses {
    pub http: Option<SocketAddr>,
    pub https: Option<SocketAddr>,
    pub mid_psk: Option<SocketAddr>,
    pub mid_bootstrap: Option<SocketAddr>,
    pub mid_tls: Option<SocketAddr>,
    pub mid_plain: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// An edge whose ports are bound; nothing is accepted before [`Edge::serve`].
pub struct Edge {
    config: Config,
    checked: Checked,
    addresses: Addresses,
    http: Option<TcpListener>,
    https: Option<TcpListener>,
    mid: MidListeners,
    admin: Option<TcpListener>,
    uplink: Option<Arc<dyn Uplink>>,
}

/// Checks the settings, binds the ports and serves until `shutdown` resolves and what was in flight has ended.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    Edge::bind(config).await?.serve(shutdown).await
}

impl Edge {
    /// Checks the settings, then binds the ports.
    pub async fn bind(config: Config) -> Result<Edge, StartError> {
        let checked = config.check()?;
        let http = listen(config.listen).await?;
        let https = listen(config.listen_tls).await?;
        let mid = MidListeners {
            psk: listen(config.mid.listen_psk).await?,
            bootstrap: listen(config.mid.listen_bootstrap).await?,
            tls: listen(config.mid.listen_tls).await?,
            plain: listen(config.mid.listen_plain).await?,
        };
        let admin = listen(config.admin).await?;
        let address =
            |listener: &Option<TcpListener>| listener.as_ref().and_then(|one| one.local_addr().ok());
        let addresses = Addresses {
            http: address(&http),
            https: address(&https),
            mid_psk: address(&mid.psk),
            mid_bootstrap: address(&mid.bootstrap),
            mid_tls: address(&mid.tls),
            mid_plain: address(&mid.plain),
            admin: address(&admin),
        };
        Ok(Edge { config, checked, addresses, http, https, mid, admin, uplink: None })
    }

    /// From now on requests to what the uplink covers go over it, whoever asks for them.
    #[must_use]
    pub fn with_uplink(self, uplink: Arc<dyn Uplink>) -> Edge {
        Edge { uplink: Some(uplink), ..self }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `shutdown` resolves. Then it accepts nothing more, lets requests and deliveries in flight end
    /// (for at most `drain_timeout_ms`), closes the egress streams and last the admin port.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let Edge { config, checked, addresses, http, https, mid, admin, uplink } = self;
        if config.open {
            warn!("OPEN MODE: every client is believed to be whoever it says it is");
        }
        let client = Client::new(checked.client).map_err(ConfigError::from)?;
        let metrics = Arc::new(Metrics::default());
        let counted = || Arc::new(Counted { service: Door::default(), metrics: Arc::clone(&metrics) });
        let doors = Doors { mia: counted(), mid: counted(), plain: counted() };
        let door = Arc::clone(&doors.mia);
        let entrance = Arc::clone(&door);
        let (stop, stopping) = watch::channel(false);
        let config = Arc::new(config);

        let mut tasks = JoinSet::new();
        let secured = checked.server_tls.map(|tls| tls as Arc<dyn Channel>);
        for (listener, channel) in [(http, Some(Arc::new(Plain) as Arc<dyn Channel>)), (https, secured)] {
            let (Some(listener), Some(channel)) = (listener, channel) else { continue };
            let server = Server { config: server_config(&config), channel };
            tasks.spawn(server.serve(listener, Arc::clone(&door), stopped(stopping.clone())));
        }
        let side = config.mid.listens().then(|| {
            let (policy, sources) = (checked.mid.policy, Arc::clone(&checked.mid.sources));
            MidSide::new(policy, sources, client.clone(), Arc::clone(&metrics))
        });
        let of_mid = match &side {
            Some(side) => side.serve(&config, checked.mid, mid, &doors, &stopping, &mut tasks)?,
            None => None,
        };
        let tokens = Arc::default();
        let takes_tokens = config.tokens && !config.open;
        if takes_tokens || of_mid.is_some() {
            let here = Closable { mid: of_mid, tokens: Arc::clone(&tokens) };
            tasks.spawn(closures::follow(client.clone(), here, Arc::clone(&metrics), stopping.clone()));
        }
        tasks.spawn(found(Found {
            client: client.clone(),
            config: Arc::clone(&config),
            contact_tls: checked.contact_tls,
            uplink,
            addresses,
            doors,
            side,
            tokens: takes_tokens.then_some(tokens),
            metrics: Arc::clone(&metrics),
            stopping: stopping.clone(),
        }));
        let (end, ended) = watch::channel(false);
        let mut operator = JoinSet::new();
        if let Some(listener) = admin {
            let is_open = move || entrance.service.0.get().is_some();
            let service = Arc::new(Admin { client, metrics, stopping, is_open });
            operator.spawn(Server::default().serve(listener, service, stopped(ended)));
        }
        info!(?addresses, "edge started");

        shutdown.await;
        info!("edge stopping");
        let _ = stop.send(true);
        join(&mut tasks).await;
        let _ = end.send(true);
        // A scraper's open connection must not hold the process.
        if timeout(millis(config.drain_timeout_ms), join(&mut operator)).await.is_err() {
            operator.shutdown().await;
        }
        info!("edge stopped");
        Ok(())
    }
}

async fn join(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(failure) = ended {
            error!(%failure, "a part of the edge failed");
        }
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(source) => Err(StartError::Listen { address, source }),
    }
}

fn server_config(config: &Config) -> ServerConfig {
    ServerConfig {
        connections_max: config.limits.connections_max,
        header_bytes_max: config.limits.header_bytes_max,
        idle_timeout: millis(config.limits.idle_timeout_ms),
        header_timeout: millis(config.limits.header_timeout_ms),
        answer_rate_min: config.limits.answer_rate_min,
        source_connections_max: config.limits.source_connections_max,
        source_half_open_max: config.limits.source_half_open_max,
        handshakes_per_second: config.limits.handshakes_per_second,
        drain_timeout: millis(config.drain_timeout_ms),
        ..ServerConfig::default()
    }
}

/// Resolves once `true` was said, or nobody can say it any more.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// What waits for the cluster.
struct Found {
    client: Client,
    config: Arc<Config>,
    contact_tls: Option<Arc<banyan_binding::tls::ClientConfig>>,
    uplink: Option<Arc<dyn Uplink>>,
    addresses: Addresses,
    doors: Doors,
    side: Option<MidSide>,
    /// Where the tokens are to be found by who follows what was closed.
    tokens: Option<Arc<OnceLock<Arc<Tokens>>>>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
}

/// Waits for the first map, which says what the SCL calls itself; then opens the door and the egress streams.
async fn found(parts: Found) {
    let Found { client, config, contact_tls, uplink, addresses, doors, side, tokens, metrics, stopping } =
        parts;
    let mut maps = client.map();
    let scl = tokio::select! {
        () = stopped(stopping.clone()) => return,
        map = maps.wait_for(Option::is_some) => match map.ok().and_then(|map| map.clone()) {
            Some(map) => map.scl.clone(),
            None => return,
        },
    };
    let tokens = tokens.map(|place| {
        let timeout = millis(config.request_timeout_ms);
        Arc::clone(place.get_or_init(|| Arc::new(Tokens::new(client.clone(), scl.clone(), timeout))))
    });
    let identity = match config.identity(scl.clone(), tokens) {
        Ok(identity) => identity,
        // The list was found sound before anything was bound. Should it not be now, the edge is never ready.
        Err(failure) => return error!(error = &failure as &dyn std::error::Error, "credentials"),
    };
    let polls = Polls::new(&config, stopping.clone());
    let listings = Listings::new(config.limits.listings_max, millis(config.request_timeout_ms));
    let timeout = millis(config.request_timeout_ms);
    let mid = side.as_ref().map(|side| side.rules(&scl));
    let forwarder = Forwarder { client: client.clone(), timeout, polls, listings, mid };
    let public_uri = public_uri(&config, &scl, addresses);
    let courier = Courier::new(&config, contact_tls, uplink, &public_uri, &scl).with_cluster(client.clone());
    let relay = courier.relay(timeout);
    info!(scl = %scl.id, base = %scl.base, %public_uri, "cluster found");
    let settings = binding_config(&config, scl);
    let made = |identity| {
        let made = Binding::new(settings.clone(), identity, forwarder.clone());
        made.with_relay(relay.clone())
    };
    let mia = made(identity);
    if let Some(side) = side {
        let (session, network) = side.identities(&settings.scl);
        doors.mid.service.open(made(session).sharing(&mia));
        doors.plain.service.open(made(network).sharing(&mia));
    }
    // Last: it is what readiness looks at.
    doors.mia.service.open(mia);
    if config.egress.slots > 0 {
        egress::run(client, courier, metrics, &config, stopping.clone()).await;
    }
}

fn binding_config(config: &Config, scl: Scl) -> binding::Config {
    let mut made = binding::Config::new(scl);
    made.public_uri = config.public_uri.as_deref().map(|uri| uri.trim_end_matches('/').to_owned());
    made.limits.bytes_max = config.limits.body_bytes_max;
    made.body_timeout = millis(config.limits.body_timeout_ms);
    made.edition = config.edition.into();
    made.bodies_bytes_max = config.limits.bodies_bytes_max;
    made.body_rate_min = config.limits.body_rate_min;
    made.rates = binding::PerSecond {
        source: config.limits.source_requests_per_second,
        identity: config.limits.identity_requests_per_second,
        tenant: config.limits.tenant_requests_per_second,
    };
    made
}

fn public_uri(config: &Config, scl: &Scl, addresses: Addresses) -> String {
    if let Some(uri) = &config.public_uri {
        return uri.clone();
    }
    if let Some(authority) = scl.authorities.first() {
        return format!("http://{authority}");
    }
    match (addresses.http, addresses.https) {
        (Some(http), _) => format!("http://{http}"),
        (None, Some(https)) => format!("https://{https}"),
        (None, None) => String::new(),
    }
}

/// The binding, once the cluster was found.
#[derive(Default)]
struct Door(OnceLock<Binding<Forwarder, Arc<dyn Identity>>>);

impl Door {
    fn open(&self, binding: Binding<Forwarder, Arc<dyn Identity>>) {
        if self.0.set(binding).is_err() {
            error!("the door was open already");
        }
    }
}

/// One for each way in; they differ in who says who asks.
struct Doors {
    mia: Arc<Counted<Door>>,
    mid: Arc<Counted<Door>>,
    plain: Arc<Counted<Door>>,
}

impl Service for Door {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        match self.0.get() {
            Some(binding) => binding.call(request, peer).await,
            None => not_found_yet(),
        }
    }
}

fn not_found_yet() -> Response {
    let format = Format::Xml;
    let body =
        banyan_codec::error_info(format, StatusCode::ServiceUnavailable, "the cluster is not found yet");
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

impl Owned for Arc<Counted<Door>> {
    fn own(&self) -> Option<&Scl> {
        self.service.0.get().map(Binding::scl)
    }
}
