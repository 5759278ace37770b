//! Stand-in until the room is merged.
#![allow(missing_docs, unused)]
use banyan_model::{
    Operation, Path, ResponsePrimitive, Scl,
    outbox::OutboxEntry,
    placement::{NodeId, Shard, ShardId},
    validate::Policy,
};
use banyan_raft::{Group, Groups};
use banyan_storage::Store;
use std::{sync::Arc, time::Duration};
#[derive(Debug, Clone)]
pub struct Config {
    pub requests_max: usize,
    pub subtrees_max: usize,
    pub idle: Duration,
    pub listings_max: usize,
    pub outbox_bytes_max: usize,
    pub housekeeping: Duration,
    pub policy: Policy,
}
impl Default for Config {
    fn default() -> Config {
        Config {
            requests_max: 512,
            subtrees_max: 4096,
            idle: Duration::from_secs(60),
            listings_max: 16,
            outbox_bytes_max: 1 << 20,
            housekeeping: Duration::from_secs(600),
            policy: Policy {
                expiration_default_ms: 0,
                expiration_min_ms: 0,
                expiration_max_ms: 0,
                content_bytes_max: 1 << 20,
                instances_default: 0,
                outbox_entries_max: 100_000,
                subscriptions_per_resource_max: 1000,
                name_seed: 0,
            },
        }
    }
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    #[error("not the leader")]
    NotLeader { leader: Option<NodeId> },
    #[error("defect")]
    Defect,
}
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("stopping")]
    Stopping,
}
pub trait Rights: Send + Sync + 'static {}
#[derive(Clone)]
pub struct Shards;
#[derive(Clone)]
pub struct ShardHandle {
    group: Group,
    scl: Arc<Scl>,
}
impl Shards {
    pub fn new(_c: Config, _g: Arc<Groups>, _s: Store, _r: Arc<dyn Rights>) -> Shards {
        Shards
    }
    pub async fn start(&self, _shard: &Shard, _scl: Arc<Scl>) -> Result<Group, StartError> {
        Err(StartError::Stopping)
    }
    pub fn get(&self, _id: ShardId) -> Option<ShardHandle> {
        None
    }
    pub fn all(&self) -> Vec<ShardHandle> {
        Vec::new()
    }
    pub async fn stop(&self) {}
}
impl ShardHandle {
    pub fn id(&self) -> ShardId {
        ShardId(self.group.id())
    }
    pub fn group(&self) -> &Group {
        &self.group
    }
    pub fn scl(&self) -> &Arc<Scl> {
        &self.scl
    }
    pub async fn operate(&self, _o: Operation) -> Result<ResponsePrimitive, ShardError> {
        Err(ShardError::Defect)
    }
    pub fn deliveries(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }
    pub fn take_queues(&self) -> Vec<Path> {
        Vec::new()
    }
    pub fn outbox(&self, _q: &Path, _m: usize) -> Result<Vec<OutboxEntry>, ShardError> {
        Ok(Vec::new())
    }
    pub fn resource(&self, _p: &Path) -> Result<Option<banyan_model::record::Resource>, ShardError> {
        Ok(None)
    }
}
