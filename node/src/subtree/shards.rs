//! All shards of this node.

use super::{
    Config, Rights, ShardHandle, StartError,
    handle::Inner,
    hot::Hot,
    registry::Registry,
    replica::ShardReplica,
    signals::Signals,
    supervisor::{self, STOP_MAX, Supervisor},
    view,
};
use banyan_model::{
    Path, Scl,
    placement::{Shard, ShardId},
};
use banyan_raft::{Group, Groups};
use banyan_storage::{KeyRange, Store};
use parking_lot::RwLock;
use ractor::{Actor, ActorRef};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{OnceCell, Semaphore};

/// All shards of this node; cheap to clone.
#[derive(Clone)]
pub struct Shards {
    node: Arc<Node>,
}

/// Does not keep the shards.
#[derive(Clone)]
pub struct WeakShards {
    node: Weak<Node>,
}

struct Node {
    config: Arc<Config>,
    groups: Arc<Groups>,
    store: Store,
    rights: Arc<dyn Rights>,
    listings: Arc<Semaphore>,
    shards: RwLock<BTreeMap<ShardId, ShardHandle>>,
    supervisor: OnceCell<ActorRef<supervisor::Message>>,
    stopping: AtomicBool,
}

impl Shards {
    /// None yet.
    pub fn new(config: Config, groups: Arc<Groups>, store: Store, rights: Arc<dyn Rights>) -> Shards {
        let listings = Arc::new(Semaphore::new(config.listings_max));
        Shards {
            node: Arc::new(Node {
                config: Arc::new(config),
                groups,
                store,
                rights,
                listings,
                shards: RwLock::default(),
                supervisor: OnceCell::new(),
                stopping: AtomicBool::new(false),
            }),
        }
    }

    /// Opens this node's replica of a shard, and starts its actor. It serves nothing until its group has a leader.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self, shard: &Shard, scl: Arc<Scl>) -> Result<Group, StartError> {
        let node = &*self.node;
        if node.stopping.load(Ordering::Acquire) {
            return Err(StartError::Stopping);
        }
        let supervisor = node.supervisor.get_or_try_init(start_supervisor).await?;
        let state = node.store.state(shard.id.0);
        let signals = Arc::new(Signals::new(node.rights.clone()));
        let hot = Arc::new(Hot::default());
        let replica =
            ShardReplica::new(shard.clone(), scl.clone(), state.clone(), hot.clone(), signals.clone());
        let group = node.groups.start(shard.id.0, Arc::new(replica)).await?;
        let inner = Arc::new(Inner {
            shard: shard.clone(),
            scl,
            config: node.config.clone(),
            group: group.clone(),
            groups: node.groups.clone(),
            state,
            hot,
            signals,
            rights: node.rights.clone(),
            subtrees: Registry::default(),
            listings: node.listings.clone(),
            failed: OnceLock::new(),
        });
        ractor::call!(supervisor, |reply| supervisor::Message::Start(inner.clone(), reply))
            .map_err(|error| StartError::Actor(error.to_string()))?
            .map_err(StartError::Actor)?;
        node.shards.write().insert(shard.id, ShardHandle { inner });
        Ok(group)
    }

    /// Ends a shard's actor, if it runs, and lets go of the replica: nothing is asked of it any more. Its group goes on;
    /// stop it next. Returns where the shard's records are.
    pub async fn end(&self, shard: &Shard) -> Vec<KeyRange> {
        self.node.shards.write().remove(&shard.id);
        if let Some(supervisor) = self.node.supervisor.get()
            && let Err(error) = ractor::call!(supervisor, |reply| supervisor::Message::Stop(shard.id, reply))
        {
            tracing::warn!(shard = shard.id.0, %error, "a shard's actor does not end");
        }
        view::ranges(shard)
    }

    /// Gives this node's replica of a shard its first state from the file of a backup, before it is started.
    ///
    /// # Errors
    /// [`banyan_raft::StartError`].
    pub async fn load(&self, shard: &Shard, file: PathBuf) -> Result<(), banyan_raft::StartError> {
        let voters = shard.replicas.iter().map(|node| node.0).collect();
        self.node.groups.load(shard.id.0, view::ranges(shard), file, voters).await
    }

    /// This node's replica of a shard.
    pub fn get(&self, id: ShardId) -> Option<ShardHandle> {
        self.node.shards.read().get(&id).cloned()
    }

    /// Every replica of this node, by number.
    pub fn all(&self) -> Vec<ShardHandle> {
        self.node.shards.read().values().cloned().collect()
    }

    /// This node's replica of the shard that owns a path.
    pub fn owner(&self, path: &Path) -> Option<ShardHandle> {
        let slot = path.slot();
        self.node.shards.read().values().find(|shard| shard.inner.owns_slot(slot)).cloned()
    }

    /// Ends all actors, answers what waits in them, and lets go of the replicas. The groups go on; stop them next.
    pub async fn stop(&self) {
        self.node.stopping.store(true, Ordering::Release);
        if let Some(supervisor) = self.node.supervisor.get() {
            // First the shards, whose end closes their subtrees, then the root.
            supervisor.get_cell().stop_children_and_wait(None, Some(STOP_MAX)).await;
            if let Err(error) = supervisor.get_cell().stop_and_wait(None, Some(STOP_MAX)).await {
                tracing::warn!(%error, "the root actor does not end");
            }
        }
        self.node.shards.write().clear();
    }

    /// For those whom the shards hold themselves.
    pub fn downgrade(&self) -> WeakShards {
        WeakShards { node: Arc::downgrade(&self.node) }
    }
}

impl WeakShards {
    /// The shards, if the node still has them.
    pub fn upgrade(&self) -> Option<Shards> {
        self.node.upgrade().map(|node| Shards { node })
    }
}

async fn start_supervisor() -> Result<ActorRef<supervisor::Message>, StartError> {
    match Supervisor::spawn(None, Supervisor, ()).await {
        Ok((supervisor, _)) => Ok(supervisor),
        Err(error) => Err(StartError::Actor(error.to_string())),
    }
}
