//! `banyan gateway`: a GSCL. A tree of its own (one replica on the same engine as a cluster's), dIa for device
//! applications, and the registration at the NSCL, in one process.
//!
//! Stop, in this order: the registration ends while both ways still stand, then dIa, then the tree.

use super::node::{self, Node, RunError, StartError};
use crate::{
    admin::{self, Metric, Probe, Report},
    config::{
        ConfigError,
        gateway::{Checked, Config, Protection},
    },
    gateway::{
        Gateway, Status,
        bootstrapped::Bootstrapped,
        connection::Connected,
        root_key::RootKeyError,
        uplink::{NsclUplink, Secure, Trusted},
    },
};
use banyan_binding::mid::{ConnectorConfig, PskConnector, PskError};
use banyan_edge::Edge;
use clap::Args;
use futures_util::{FutureExt, future::BoxFuture};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
    time::timeout,
};

/// What the admin port gets for open connections.
const ADMIN_END: Duration = Duration::from_millis(500);

/// Where a bootstrapped root key is kept, in the gateway's folder.
const ROOT_KEY: &str = "kmr.toml";

/// Options of `banyan gateway`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Settings in TOML (docs/configuration.md).
    #[arg(long)]
    config: PathBuf,
    /// Check the settings and end.
    #[arg(long)]
    check: bool,
}

impl Arguments {
    /// Threads of the runtime that is to run this gateway.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Parse`].
    pub fn workers(&self) -> Result<usize, ConfigError> {
        Ok(Config::read(&self.config)?.workers())
    }
}

/// Why a gateway did not start, or had to leave.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The settings.
    #[error("configuration")]
    Config(#[from] ConfigError),
    /// A port.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tree did not start.
    #[error("the tree does not start")]
    Start(#[from] StartError),
    /// The tree failed.
    #[error("the tree failed")]
    Node(#[from] RunError),
    /// dIa did not start.
    #[error("dIa does not start")]
    Edge(#[source] Box<banyan_edge::StartError>),
    /// TLS by pre-shared keys.
    #[error("TLS with pre-shared keys")]
    Psk(#[from] PskError),
    /// The root key that a bootstrap left.
    #[error("the root key cannot be read")]
    RootKey(#[from] RootKeyError),
    /// A part panicked, or ended though nobody had asked for it.
    #[error("a part of the gateway ended: {0}")]
    Part(String),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signal(#[source] io::Error),
}

impl From<banyan_edge::StartError> for GatewayError {
    fn from(error: banyan_edge::StartError) -> GatewayError {
        GatewayError::Edge(Box::new(error))
    }
}

/// A gateway that has started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Where device applications reach it.
    pub dia: SocketAddr,
    /// How its registration is.
    pub status: Status,
}

/// Runs a gateway until it is told to end by a signal.
///
/// # Errors
/// [`GatewayError`].
pub async fn run(arguments: Arguments) -> Result<(), GatewayError> {
    let config = Config::read(&arguments.config)?;
    config.check()?;
    if arguments.check {
        return Ok(());
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(GatewayError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(GatewayError::Signal)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // Nobody waits for the word that it has started.
    serve(config, stop, oneshot::channel().0).await
}

/// Serves until `stop` resolves, then leaves in order. `started` is told once the ports are bound.
///
/// # Errors
/// [`GatewayError`].
pub async fn serve(
    config: Config,
    stop: impl Future<Output = ()>,
    started: oneshot::Sender<Started>,
) -> Result<(), GatewayError> {
    let checked = config.check()?;
    let admin_listener = match checked.admin {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let rpc_listener = listen((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let rpc = bound(&rpc_listener, checked.listen)?;
    let edge = Edge::bind(config.edge(&[rpc.to_string()])).await?;
    let dia = edge.addresses().http.unwrap_or(checked.listen);
    let secure = secure(&checked)?;
    let mut node_config = config.node(rpc, dia).check()?;
    node_config.request.others_by = Some(checked.gateway.nscl_id.clone());
    let store = node::open(&node_config.data, node_config.storage.clone()).await?;
    let node = Node::start_on(node_config, store, rpc_listener).await?;

    let (scheme, authority) = (&checked.nscl_scheme, &checked.nscl_authority);
    let uplink = Arc::new(NsclUplink::new(scheme, authority, &checked.edges, secure));
    let edge = edge.with_uplink(uplink.clone());
    let key = uplink.clone();
    let gateway = Gateway::new(checked.gateway, uplink, node.desk());
    let status = gateway.status();
    let [leaving, ending, stopping, closing] = [(); 4].map(|()| watch::Sender::new(false));
    let probe = Arc::new(GatewayProbe { node: node.probe(), status: status.clone(), uplink: key });
    let admin =
        admin_listener.map(|listener| tokio::spawn(admin::serve(listener, probe, closing.subscribe())));
    let mut node = spawn(node.run(said(&stopping)));
    let mut dia_part = spawn(edge.serve(said(&ending)));
    let left = said(&leaving);
    let mut registration = spawn(async move {
        gateway.run(left).await;
        Ok::<_, GatewayError>(())
    });
    tracing::info!(%dia, admin = ?checked.admin, "gateway started");
    // Nobody may care.
    let _ = started.send(Started { dia, status });

    let outcome = tokio::select! {
        () = stop => Ok(()),
        ended = joined(&mut node) => Err(unasked(ended)),
        ended = joined(&mut dia_part) => Err(unasked(ended)),
        ended = joined(&mut registration) => Err(unasked(ended)),
    };
    tracing::info!("gateway stopping");
    let mut ends = vec![outcome];
    for (say, part) in [(leaving, &mut registration), (ending, &mut dia_part), (stopping, &mut node)] {
        say.send_replace(true);
        ends.push(joined(part).await);
    }
    closing.send_replace(true);
    if let Some(mut admin) = admin
        && timeout(ADMIN_END, &mut admin).await.is_err()
    {
        // A scraper's open connection must not hold the process.
        admin.abort();
    }
    tracing::info!("gateway stopped");
    ends.into_iter().collect()
}

/// How channels of mId are made.
fn secure(checked: &Checked) -> Result<Arc<dyn Secure>, GatewayError> {
    let nscl = checked.nscl_authority.split(':').next().unwrap_or_default();
    let scl_id = &checked.gateway.scl_id;
    let psk = || Ok::<_, PskError>(Arc::new(PskConnector::new(&ConnectorConfig::default())?));
    Ok(match &checked.protection {
        Protection::Network => Arc::new(Trusted),
        Protection::Key(root) => Arc::new(Connected::new(psk()?, root.clone(), scl_id, nscl)),
        Protection::Bootstrap(msbf) => {
            let file = checked.data.join(ROOT_KEY);
            Arc::new(Bootstrapped::new(msbf.clone(), file, psk()?, scl_id, nscl)?)
        }
    })
}

type Part = JoinSet<Result<(), GatewayError>>;

fn spawn<E: Into<GatewayError>>(part: impl Future<Output = Result<(), E>> + Send + 'static) -> Part {
    let mut set = JoinSet::new();
    set.spawn(async move { part.await.map_err(Into::into) });
    set
}

/// How a part ended; well, if it was asked before.
async fn joined(part: &mut Part) -> Result<(), GatewayError> {
    match part.join_next().await {
        Some(Err(panic)) => Err(GatewayError::Part(panic.to_string())),
        Some(Ok(ended)) => ended,
        None => Ok(()),
    }
}

fn unasked(ended: Result<(), GatewayError>) -> GatewayError {
    ended.err().unwrap_or_else(|| GatewayError::Part("though nobody asked for it".to_owned()))
}

/// Resolves once `true` was said, or nobody can say it any more.
fn said(sender: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut receiver = sender.subscribe();
    async move {
        let _ = receiver.wait_for(|said| *said).await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, GatewayError> {
    TcpListener::bind(address).await.map_err(|source| GatewayError::Listen { address, source })
}

fn bound(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, GatewayError> {
    listener.local_addr().map_err(|source| GatewayError::Listen { address, source })
}

/// What an operator may ask of a gateway: its tree, and its registration.
struct GatewayProbe {
    node: Arc<dyn Probe>,
    status: Status,
    uplink: Arc<NsclUplink>,
}

impl Probe for GatewayProbe {
    fn not_ready(&self) -> Option<String> {
        let why = match (self.uplink.is_key_refused(), self.status.is_registered()) {
            (true, _) => Some("the NSCL refuses the root key of this node"),
            (false, false) => Some("not registered at the NSCL"),
            (false, true) => None,
        };
        self.node.not_ready().or_else(|| why.map(str::to_owned))
    }

    fn report(&self) -> BoxFuture<'_, Report> {
        async {
            let mut report = self.node.report().await;
            report.values.push(Metric {
                name: "gateway_registered",
                help: "1 while the NSCL knows this SCL and the way to it.",
                value: u64::from(self.status.is_registered()),
            });
            report.values.push(Metric {
                name: "gateway_key_refused",
                help: "1 while the NSCL refuses the root key of this node.",
                value: u64::from(self.uplink.is_key_refused()),
            });
            report
        }
        .boxed()
    }
}
