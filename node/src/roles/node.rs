//! `banyan node`: a cluster member, put together.
//!
//! Start, in this order: the store (who we are), the groups, the directory, the shards, the doors. Stop, in the other:
//! not ready any more, deliveries end, leaderships go to others, streams end, replicas end, the store closes.

mod condition;

use crate::{
    admin,
    config::{Arguments, Checked, ConfigError},
    delivery::Delivery,
    directory::{self, Directory, DirectoryError, View},
    handover,
    request::{Desk, RightsCache},
    rpc,
    security::Keys,
    subtree::Shards,
};
use banyan_binding::tls::Watched;
use banyan_client::Client;
use banyan_model::placement::{NodeId, Shard};
use banyan_raft::{Group, Groups, Links};
use banyan_storage::{Fatal, KeyRange, OpenError, Store};
use bytes::Bytes;
use condition::Condition;
use std::{
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Under which the store keeps the node's number.
const NODE: &str = "node/id";
/// What deliveries under way get when the node stops.
const DELIVERIES_END: Duration = Duration::from_secs(1);
/// What requests under way get.
const STREAMS_END: Duration = Duration::from_secs(2);
/// What the admin port gets for open connections.
const ADMIN_END: Duration = Duration::from_millis(500);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings.
    #[error("configuration")]
    Config(#[from] ConfigError),
    /// The node's folder.
    #[error("the node's folder cannot be opened")]
    Open(#[from] OpenError),
    /// The node's folder takes no first write.
    #[error("the node's folder cannot be written")]
    Storage(#[from] Fatal),
    /// What the folder says of the node.
    #[error("the stored number of this node is not readable")]
    Identity,
    /// A port.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory.
    #[error("the directory cannot be opened")]
    Directory(#[from] DirectoryError),
    /// The hand-over port's certificates.
    #[error("TLS of the hand-over port")]
    Handover(#[from] banyan_binding::tls::TlsError),
    /// The client towards the other nodes.
    #[error("the way to the other nodes")]
    Client(#[from] banyan_client::ConfigError),
    /// The thread that writes the audit log.
    #[error("the audit log's thread cannot be started")]
    Audit(#[source] io::Error),
    /// The runtime is ending.
    #[error("interrupted")]
    Interrupted,
}

/// Why a running node had to leave.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not even start.
    #[error("the node does not start")]
    Start(#[from] StartError),
    /// Storage ended trust: whatever is asked of it is refused.
    #[error("storage failed")]
    Storage(#[from] Fatal),
    /// Its directory stopped.
    #[error("the directory failed")]
    Directory(#[from] DirectoryError),
    /// Its port is not served any more.
    #[error("the node's port failed")]
    Serve(#[from] rpc::ServeError),
    /// A part of it panicked, or ended though nobody had asked for it.
    #[error("a part of the node ended: {0}")]
    Part(String),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signal(#[source] io::Error),
}

/// Where a node listens, ports as they were given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC.
    pub rpc: SocketAddr,
    /// HTTP for the operator.
    pub admin: Option<SocketAddr>,
    /// Where keys are handed over.
    pub handover: Option<SocketAddr>,
}

/// A running member.
pub struct Node {
    addresses: Addresses,
    step_down_timeout: Duration,
    store: Store,
    groups: Arc<Groups>,
    shards: Shards,
    desk: Desk,
    keys: Keys,
    condition: Arc<Condition>,
    /// Not ready any more.
    draining: watch::Sender<bool>,
    /// The doors close.
    stopping: watch::Sender<bool>,
    /// The operator's door closes.
    ending: watch::Sender<bool>,
    /// None of them may end before the node stops.
    parts: JoinSet<Result<(), RunError>>,
    delivery: JoinHandle<()>,
    links: JoinHandle<()>,
    handover: Option<JoinHandle<()>>,
    admin: Option<JoinHandle<()>>,
}

/// Runs a node until it is told to end by a signal.
///
/// # Errors
/// [`RunError`]: the process ends with a failure.
pub async fn run(arguments: Arguments) -> Result<(), RunError> {
    let check = arguments.check;
    let checked = arguments.settings().and_then(|config| config.check()).map_err(StartError::from)?;
    if check {
        return Ok(());
    }
    // Before anything is bound, so that no signal finds the default handler.
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let node = Node::start(checked).await?;
    node.run(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}

impl Node {
    /// Opens the store, binds the ports and starts. The node is ready later: see `/readyz`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Checked) -> Result<Node, StartError> {
        let store = open(&config.data, config.storage.clone()).await?;
        let listener = listen(config.listen).await?;
        Node::start_on(config, store, listener).await
    }

    /// As [`Node::start`], with a store and a port that are open already.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on(config: Checked, store: Store, listener: TcpListener) -> Result<Node, StartError> {
        let Checked { tls, .. } = config;
        let operator_listener = match config.admin {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let handover = match config.handover {
            Some(handover::Config { listen: address, keys, clients }) => {
                let tls = Watched::read(keys, Some(clients))?;
                Some((listen(address).await?, tls, address))
            }
            None => None,
        };
        let addresses = Addresses {
            rpc: bound(&listener, config.listen)?,
            admin: operator_listener
                .as_ref()
                .zip(config.admin)
                .map(|(listener, address)| bound(listener, address))
                .transpose()?,
            handover: handover
                .as_ref()
                .map(|(listener, _, address)| bound(listener, *address))
                .transpose()?,
        };
        let id = identity(&store).await?;
        let links = Links::new(config.raft.link_queue_bytes_max);
        let groups = Groups::new(id.0, store.clone(), links.clone(), config.raft);
        let directory = Directory::open(config.directory, id, store.clone(), groups.clone())?;
        let client = Client::new(config.client)?;
        let rights = Arc::new(RightsCache::new(&config.request));
        let shards = Shards::new(config.subtree, groups.clone(), store.clone(), rights.clone());
        rights.connect(&shards, client.clone());
        let desk = Desk::new(config.request, shards.clone(), directory.views(), client.clone());
        rights.reach_out(&desk);
        let keys = Keys::new(config.keys, &store, groups.clone()).map_err(StartError::Audit)?;
        desk.keep_keys(keys.clone());
        let operated = client.clone();
        let delivery = Delivery::new(config.delivery, shards.clone(), desk.clone(), client);

        let [draining, stopping, ending] = [(); 3].map(|()| watch::Sender::new(false));
        let condition = Arc::new(Condition {
            store: store.clone(),
            groups: groups.clone(),
            directory: directory.clone(),
            shards: shards.clone(),
            keys: keys.clone(),
            deliveries: delivery.counters(),
            edges: delivery.edges().count(),
            draining: draining.subscribe(),
        });
        let handover = handover.map(|(listener, tls, _)| {
            let keeper = Arc::new(operated.clone());
            tokio::spawn(handover::serve(listener, tls, keeper, stopping.subscribe()))
        });
        let services = rpc::Services {
            desk: desk.clone(),
            directory: directory.clone(),
            links: links.clone(),
            edges: delivery.edges(),
            operator: condition.clone(),
            client: operated,
        };
        let mut parts = JoinSet::new();
        parts.spawn({
            let served = rpc::serve(listener, tls.clone(), services, stopping.subscribe());
            async move { Ok(served.await?) }
        });
        parts.spawn({
            let (directory, neighbours) = (directory.clone(), rpc::Remote { tls: tls.clone() });
            let starter = Starter { shards: shards.clone(), keys: keys.clone() };
            async move {
                match directory.run(neighbours, starter).await {
                    Err(error) => Err(error.into()),
                }
            }
        });
        parts.spawn(trusted(store.clone()));
        let links = tokio::spawn(rpc::keep_linked(directory, links, tls));
        let delivery = tokio::spawn({
            let draining = draining.subscribe();
            async move { delivery.run(draining).await }
        });
        let admin = operator_listener
            .map(|listener| tokio::spawn(admin::serve(listener, condition.clone(), ending.subscribe())));
        tracing::info!(node = id.0, rpc = %addresses.rpc, admin = ?addresses.admin, "node started");
        Ok(Node {
            addresses,
            step_down_timeout: config.step_down_timeout,
            store,
            groups,
            shards,
            desk,
            keys,
            condition,
            draining,
            stopping,
            ending,
            parts,
            delivery,
            links,
            handover,
            admin,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Takes requests of this process.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// This node's part of the keys' group.
    pub fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// What an operator may ask; outlives the node.
    pub fn probe(&self) -> Arc<dyn admin::Probe> {
        self.condition.clone()
    }

    /// Tells why this node cannot do its part now, if so; outlives the node.
    pub fn readiness(&self) -> impl Fn() -> Option<String> + Send + Sync + use<> {
        let condition = self.condition.clone();
        move || admin::Probe::not_ready(&*condition)
    }

    /// Serves until `shutdown` resolves, then leaves in order.
    ///
    /// # Errors
    /// [`RunError`]: the node can do nothing more; the process should end.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            () = shutdown => {}
            Some(ended) = self.parts.join_next() => return Err(match ended {
                Ok(Ok(())) => RunError::Part("though nobody asked for it".to_owned()),
                Ok(Err(error)) => error,
                Err(panic) => RunError::Part(panic.to_string()),
            }),
        }
        self.stop().await
    }

    async fn stop(mut self) -> Result<(), RunError> {
        tracing::info!("node stopping");
        self.draining.send_replace(true);
        if timeout(DELIVERIES_END, &mut self.delivery).await.is_err() {
            tracing::debug!("deliveries were under way; the next leader makes them again");
            self.delivery.abort();
        }
        let left = match self.condition.has_peers() {
            true => self.groups.step_down_all(self.step_down_timeout).await,
            // Nobody to step down for.
            false => 0,
        };
        if left > 0 {
            tracing::warn!(groups = left, "groups are still led by this node");
        }
        self.stopping.send_replace(true);
        let server_ended = async {
            while let Some(ended) = self.parts.join_next().await {
                match ended {
                    // The port is served by the only part that ends well.
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => {
                        tracing::warn!(error = &error as &dyn Error, "a part failed while the node stopped");
                    }
                    Err(panic) => tracing::error!(%panic, "a part failed while the node stopped"),
                }
            }
        };
        if timeout(STREAMS_END, server_ended).await.is_err() {
            tracing::warn!("requests were still under way when the node stopped");
        }
        self.links.abort();
        if let Some(handover) = &self.handover {
            handover.abort();
        }
        self.parts.shutdown().await;
        self.shards.stop().await;
        self.groups.shutdown().await;
        let store = self.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.map_err(|panic| RunError::Part(panic.to_string()))??;
        self.ending.send_replace(true);
        if let Some(mut admin) = self.admin.take()
            && timeout(ADMIN_END, &mut admin).await.is_err()
        {
            // A scraper's open connection must not hold the process.
            admin.abort();
        }
        tracing::info!("node stopped");
        Ok(())
    }
}

/// Opens the node's folder on a thread that may block.
///
/// # Errors
/// [`StartError::Open`].
pub async fn open(data: &Path, config: banyan_storage::Config) -> Result<Store, StartError> {
    let data = data.to_owned();
    let opened = tokio::task::spawn_blocking(move || Store::open(&data, config)).await;
    Ok(opened.map_err(|_| StartError::Interrupted)??)
}

/// This node's number: random, made when the folder is new. A node whose folder is gone comes back as another one.
async fn identity(store: &Store) -> Result<NodeId, StartError> {
    if let Some(bytes) = store.meta(NODE) {
        let bytes: [u8; 8] = bytes.as_ref().try_into().map_err(|_| StartError::Identity)?;
        return Ok(NodeId(u64::from_be_bytes(bytes)));
    }
    let id = rand::random_range(1..=u64::MAX);
    let (store, bytes) = (store.clone(), Bytes::copy_from_slice(&id.to_be_bytes()));
    let written = tokio::task::spawn_blocking(move || store.put_meta(NODE, bytes)).await;
    written.map_err(|_| StartError::Interrupted)??;
    Ok(NodeId(id))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn bound(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { address, source })
}

/// Ends when storage ends trust.
async fn trusted(store: Store) -> Result<(), RunError> {
    let mut fatal = store.fatal();
    let failure = fatal.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
    match failure {
        Some(failure) => Err(failure.into()),
        // The store says nothing more: it is closed.
        None => std::future::pending().await,
    }
}

/// Starts the shards' replicas for the directory.
struct Starter {
    shards: Shards,
    keys: Keys,
}

impl directory::Shards for Starter {
    async fn start(&self, shard: &Shard, view: &View) -> Result<Group, Box<dyn Error + Send + Sync>> {
        Ok(self.shards.start(shard, Arc::new(view.map.scl.clone())).await?)
    }

    async fn load(&self, shard: &Shard, file: PathBuf) -> Result<(), Box<dyn Error + Send + Sync>> {
        match shard.id.0 {
            directory::KEYS_GROUP => Ok(self.keys.load(shard, file).await?),
            _ => Ok(self.shards.load(shard, file).await?),
        }
    }

    async fn start_keys(&self, _keys: &Shard) -> Result<Group, Box<dyn Error + Send + Sync>> {
        Ok(self.keys.start().await?)
    }

    async fn stop(&self, shard: &Shard) -> Vec<KeyRange> {
        match shard.id.0 {
            directory::KEYS_GROUP => self.keys.end(),
            _ => self.shards.end(shard).await,
        }
    }
}
