//! The directory: who is a member, which shard owns a slot and where its replicas are, what the SCL calls itself.
//!
//! Raft group 0. The founders are its voters, every further node is a learner, so every node reads it locally:
//! [`Directory::views`] has the newest state and every newer one. [`Directory::run`] founds the cluster or joins it,
//! starts group 0, keeps this node's own entry true and starts the replicas that the map gives to this node.
//!
//! A cluster is founded once. A node that has a cluster never founds again; founders that were given different lists
//! or settings refuse each other; a founder that lost its data is a new node and has to join.
//!
//! Invariants: the state changes only by entries of group 0; its epoch grows with every change; the shard map covers
//! every slot exactly once.

mod change;
mod founding;
mod map;
mod meta_group;
mod placer;
mod registration;
mod restore;
mod shards;
mod tend;

#[cfg(test)]
mod tests;

pub use change::ChangeRefused;
pub use founding::FoundingError;
pub use map::View;
pub use restore::RestoreError;

use banyan_model::placement::{NodeId, Shard};
use banyan_proto::v1;
use banyan_raft::{ChangeError, Group, Groups, StartError};
use banyan_storage::{Fatal, KeyRange, Store};
use meta_group::MetaGroup;
use restore::Restore;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    future::Future,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::watch;

/// The directory's Raft group; shards count from 1.
pub const GROUP: u64 = 0;
/// The Raft group that keeps keys; it owns no slot.
pub const KEYS_GROUP: u64 = 1 << 32;

/// Settings of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` at which the other members and the edges reach this node's gRPC server.
    pub address: String,
    /// The failure zone of this node; free text, may be empty.
    pub zone: String,
    /// Addresses of all founders, this node's included; the same list, in any order, at every founder. Looked at
    /// only by a node that has no cluster yet. Default empty.
    pub founders: Vec<String>,
    /// Addresses of members of a running cluster, to join it. Looked at only by a node that has no cluster yet and
    /// no founders. Default empty.
    pub join: Vec<String>,
    /// Folder of a backup that the cluster is founded from; the same backup at every founder. Looked at only by a
    /// founder that has no cluster yet. Default none: the cluster is founded empty.
    pub restore: Option<PathBuf>,
    /// Settings of a cluster that is founded; the same at every founder.
    pub founding: Founding,
    /// How shards are moved.
    pub placement: Placement,
}

/// How shards are moved between members; the same at every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// How long the first replica of a shard must have been up before the leadership goes to it by itself. Zero: never.
    /// Default 10 s.
    pub leader_return: Duration,
    /// How long a member may be gone before its replicas are made elsewhere. Default 10 min.
    pub node_gone_after: Duration,
    /// Shards that move at the same time, in the whole cluster. Default 2.
    pub moves_max: usize,
}

impl Default for Placement {
    fn default() -> Placement {
        Placement {
            leader_return: Duration::from_secs(10),
            node_gone_after: Duration::from_secs(600),
            moves_max: 2,
        }
    }
}

/// What a cluster is founded with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// Number of shards, fixed until shards can be split. Default 16.
    pub shards: u64,
    /// Replicas of each shard; fewer if there are fewer founders. Default 3.
    pub replication_factor: u32,
    /// The SCL's id. Default `nscl`.
    pub scl_id: String,
    /// Path of sclBase. Default `/m2m`.
    pub scl_base: String,
    /// `host[:port]` values that mean this SCL; empty: every authority. Default empty.
    pub authorities: Vec<String>,
}

impl Default for Founding {
    fn default() -> Founding {
        Founding {
            shards: 16,
            replication_factor: 3,
            scl_id: "nscl".to_owned(),
            scl_base: "/m2m".to_owned(),
            authorities: Vec::new(),
        }
    }
}

/// How the directory talks to other nodes; the rpc room implements it.
pub trait Neighbours: Send + Sync + 'static {
    /// Tells the node at `address` who we are and hears who it is.
    fn identify(
        &self,
        address: &str,
        me: v1::NodeInfo,
    ) -> impl Future<Output = Result<v1::NodeInfo, NeighbourError>> + Send;

    /// Asks the node at `address` to let us in, or to take our new address.
    fn join(
        &self,
        address: &str,
        me: v1::NodeInfo,
    ) -> impl Future<Output = Result<v1::JoinReply, NeighbourError>> + Send;

    /// How the replicas of the node at `address` are.
    fn replicas(
        &self,
        address: &str,
    ) -> impl Future<Output = Result<v1::ReplicasReply, NeighbourError>> + Send;

    /// The directory's state as the node at `address` has it.
    fn state(&self, address: &str)
    -> impl Future<Output = Result<v1::DirectoryState, NeighbourError>> + Send;
}

/// A neighbour did not answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {address}: {why}")]
pub struct NeighbourError {
    /// Who was asked.
    pub address: String,
    /// Why, for the log.
    pub why: String,
}

/// Starts the shards' replicas; the room that owns them implements it.
pub trait Shards: Send + Sync + 'static {
    /// Starts this node's replica of `shard` and returns its group. Not called again before [`Shards::stop`].
    fn start(
        &self,
        shard: &Shard,
        view: &View,
    ) -> impl Future<Output = Result<Group, Box<dyn Error + Send + Sync>>> + Send;

    /// Gives this node's replica of `shard`, or of the keys' group, its first state from the file of a backup; on disk when
    /// it returns. Called before the replica is started, and again after a crash.
    fn load(
        &self,
        shard: &Shard,
        file: PathBuf,
    ) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send;

    /// Starts this node's replica of the keys' group, likewise.
    fn start_keys(
        &self,
        keys: &Shard,
    ) -> impl Future<Output = Result<Group, Box<dyn Error + Send + Sync>>> + Send;

    /// Lets go of this node's replica of `shard` or of the keys' group, if it runs: nobody asks it any more. Its group
    /// goes on. Returns where its records are.
    fn stop(&self, shard: &Shard) -> impl Future<Output = Vec<KeyRange>> + Send;
}

/// Why the directory does not run. The node cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The settings cannot work.
    #[error("{setting}: {why}")]
    Config {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        why: String,
    },
    /// The cluster cannot be founded or joined as it was asked for.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// The backup cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// What is stored here cannot be read.
    #[error("the stored {what} cannot be read: {why}")]
    Stored {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Storage ended trust.
    #[error("storage failed")]
    Storage(#[from] Fatal),
    /// Group 0 cannot start.
    #[error("the directory's group cannot start")]
    Start(#[from] StartError),
    /// Group 0 or a shard's group cannot be founded.
    #[error("group {group} cannot be founded")]
    Found {
        /// The group.
        group: u64,
        /// Why.
        #[source]
        source: ChangeError,
    },
    /// A shard's replica cannot start.
    #[error("the replica of shard {shard} cannot start")]
    Shard {
        /// The shard.
        shard: u64,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Group 0 has stopped on this node.
    #[error("the directory's group has stopped")]
    Stopped,
}

/// This node's part of the directory; cheap to clone.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    node: NodeId,
    store: Store,
    groups: Arc<Groups>,
    replica: Arc<MetaGroup>,
    restore: Restore,
    /// The cluster's number; 0 until it is founded or joined.
    cluster: watch::Sender<u64>,
    /// Members known from the founding or from joining, until group 0 knows more.
    book: watch::Sender<BTreeMap<NodeId, String>>,
    peers: watch::Sender<BTreeMap<NodeId, String>>,
    group: OnceLock<Group>,
}

impl Directory {
    /// Reads what is stored here. Nothing runs yet, but questions of other nodes can be answered.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(
        config: Config,
        node: NodeId,
        store: Store,
        groups: Arc<Groups>,
    ) -> Result<Directory, DirectoryError> {
        config.validate()?;
        let replica = Arc::new(MetaGroup::open(store.state(GROUP))?);
        let (cluster, book) = founding::stored(&store)?;
        let restore = Restore::plan(&config, &store)?;
        let inner = Inner {
            config,
            node,
            store,
            groups,
            replica,
            restore,
            cluster: watch::Sender::new(cluster),
            book: watch::Sender::new(book),
            peers: watch::Sender::default(),
            group: OnceLock::new(),
        };
        inner.publish_peers();
        Ok(Directory { inner: Arc::new(inner) })
    }

    /// Founds or joins the cluster if this node has none, then keeps the directory going for as long as it is polled.
    ///
    /// # Errors
    /// [`DirectoryError`]: the node cannot serve.
    pub async fn run<N: Neighbours, S: Shards>(
        &self,
        neighbours: N,
        shards: S,
    ) -> Result<Infallible, DirectoryError> {
        let founders = self.enter(&neighbours).await?;
        self.load(&shards).await?;
        let inner = &self.inner;
        let group = inner.groups.start(GROUP, inner.replica.clone()).await?;
        if inner.group.set(group.clone()).is_err() {
            return Err(StartError::AlreadyStarted(GROUP).into());
        }
        if !founders.is_empty() {
            let voters = founders.keys().map(|node| node.0).collect();
            group.found(voters).await.map_err(|source| DirectoryError::Found { group: GROUP, source })?;
        }
        tokio::select! {
            end = self.propose_founding(&group, founders) => end,
            end = self.keep_registered(&group, &neighbours) => end,
            end = self.start_shards(&shards) => end,
            end = self.found_keys(&group) => end,
            end = self.tend_groups() => end,
            end = self.place_shards(&group, &neighbours) => end,
            end = self.follow_peers() => end,
            end = stopped(&group) => end,
        }
    }

    /// The newest state, and every newer one; `None` until the cluster is founded and this node has heard of it.
    pub fn views(&self) -> watch::Receiver<Option<Arc<View>>> {
        self.inner.replica.views()
    }

    /// Addresses of the other members, as far as they are known.
    pub fn peers(&self) -> watch::Receiver<BTreeMap<NodeId, String>> {
        self.inner.peers.subscribe()
    }

    /// The cluster's number; 0 until it is founded or joined.
    pub fn cluster(&self) -> u64 {
        *self.inner.cluster.borrow()
    }

    /// This node's number.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Whether a node was a member and may not come back.
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.views().borrow().as_ref().is_some_and(|view| view.state.removed.contains(&node.0))
    }

    /// What this node says of itself.
    pub fn info(&self) -> v1::NodeInfo {
        let Inner { config, node, .. } = &*self.inner;
        v1::NodeInfo {
            node: node.0,
            address: config.address.clone(),
            zone: config.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.cluster(),
            founding: self.founding_digest(),
        }
    }

    /// The directory's group once it runs on this node.
    pub fn group(&self) -> Option<&Group> {
        self.inner.group.get()
    }

    /// Keeps the peers as the directory has them.
    async fn follow_peers(&self) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        loop {
            self.inner.publish_peers();
            views.changed().await.map_err(|_| DirectoryError::Stopped)?;
        }
    }
}

impl Inner {
    fn publish_peers(&self) {
        let mut peers = self.book.borrow().clone();
        if let Some(view) = &*self.replica.views().borrow() {
            peers.extend(view.map.members.iter().map(|(node, member)| (*node, member.address.clone())));
        }
        peers.remove(&self.node);
        self.peers.send_if_modified(|last| {
            let changed = *last != peers;
            *last = peers;
            changed
        });
    }
}

impl Config {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// [`DirectoryError::Config`].
    pub fn validate(&self) -> Result<(), DirectoryError> {
        let refuse = |setting, why: &str| Err(DirectoryError::Config { setting, why: why.to_owned() });
        if self.address.is_empty() {
            return refuse("address", "must be the host:port at which other nodes reach this one");
        }
        if self.restore.is_some() && self.founders.is_empty() {
            return refuse(
                "restore",
                "a backup is restored by the founders of a new cluster: set founders, too",
            );
        }
        if self.founding.shards == 0 || self.founding.shards > 4_096 {
            return refuse("shards", "must be between 1 and 4096");
        }
        if self.founding.replication_factor == 0 || self.founding.replication_factor > 9 {
            return refuse("replication_factor", "must be between 1 and 9");
        }
        if self.placement.moves_max == 0 {
            return refuse("moves_max", "must not be 0");
        }
        if !self.founding.scl_base.starts_with('/') || self.founding.scl_base.ends_with('/') {
            return refuse("scl_base", "must begin with a slash and not end with one");
        }
        if self.founding.scl_id.is_empty() {
            return refuse("scl_id", "must not be empty");
        }
        Ok(())
    }
}

/// Ends when group 0 does.
async fn stopped(group: &Group) -> Result<Infallible, DirectoryError> {
    let mut leadership = group.leadership();
    while leadership.changed().await.is_ok() {}
    Err(DirectoryError::Stopped)
}
