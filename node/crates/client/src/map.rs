//! The map of the cluster: members, shards, and what the SCL calls itself; watched on any node that answers.

use crate::{Tls, TransportError, connect};
use banyan_model::{
    Scl,
    placement::{NodeId, Shard, ShardMap},
};
use banyan_proto::{
    convert::Malformed,
    v1::{self, directory_client::DirectoryClient},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// The cluster as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The cluster's number.
    pub cluster: u64,
    /// Which shard owns a slot, and where its replicas are.
    pub shards: ShardMap,
    /// The keys' group: owns no slot. `None`: the cluster has none yet.
    pub keys: Option<Shard>,
    /// Every member.
    pub members: BTreeMap<NodeId, Member>,
    /// What the SCL calls itself.
    pub scl: Scl,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `host:port` of its gRPC server.
    pub address: String,
    /// Its failure zone.
    pub zone: String,
    /// Its release.
    pub version: String,
}

impl TryFrom<&v1::DirectoryState> for Map {
    type Error = Malformed;

    fn try_from(state: &v1::DirectoryState) -> Result<Map, Malformed> {
        let member = |info: &v1::NodeInfo| {
            let member = Member {
                address: info.address.clone(),
                zone: info.zone.clone(),
                version: info.version.clone(),
            };
            (NodeId(info.node), member)
        };
        let settings = state.settings.as_ref().ok_or(Malformed::Missing("settings"))?;
        Ok(Map {
            cluster: state.cluster,
            shards: state.try_into()?,
            keys: state.keys.as_ref().map(Into::into),
            members: state.members.iter().map(member).collect(),
            scl: Scl {
                id: settings.scl_id.clone(),
                base: settings.scl_base.clone(),
                authorities: settings.authorities.clone(),
                founded_at: banyan_model::Timestamp(settings.founded_at_ms),
            },
        })
    }
}

/// A node that is not founded yet has no map to send: look elsewhere after this long.
const FIRST_MAP_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two rounds over all known nodes.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// Keeps `map` as new as the directory on some node, for ever. `publish` gets each newer map.
pub(crate) async fn follow(
    seeds: Vec<String>,
    tls: Option<Tls>,
    publish: impl Fn(Map),
    map: watch::Receiver<Option<Arc<Map>>>,
) {
    loop {
        let mut addresses = seeds.clone();
        if let Some(map) = &*map.borrow() {
            let learned = map.members.values().map(|member| &member.address);
            addresses.extend(learned.filter(|address| !seeds.contains(address)).cloned());
        }
        // Not all clients on the same node.
        let first = rand::random_range(0..addresses.len().max(1));
        addresses.rotate_left(first);
        for address in addresses {
            if let Err(error) = follow_one(&address, tls.as_ref(), &publish, &map).await {
                tracing::debug!(
                    node = address,
                    error = &error as &dyn std::error::Error,
                    "no directory here"
                );
            }
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("not reachable")]
    Transport(#[from] TransportError),
    #[error("ended by the node: {0}")]
    Status(String),
    #[error("no map in time: not founded yet")]
    NoMap,
    #[error("unreadable map")]
    Malformed(#[from] Malformed),
    #[error("belongs to cluster {theirs:016x}, not to {ours:016x}")]
    OtherCluster { ours: u64, theirs: u64 },
}

impl From<tonic::Status> for FollowError {
    fn from(status: tonic::Status) -> FollowError {
        FollowError::Status(format!("{}: {}", status.code(), status.message()))
    }
}

async fn follow_one(
    address: &str,
    tls: Option<&Tls>,
    publish: &impl Fn(Map),
    map: &watch::Receiver<Option<Arc<Map>>>,
) -> Result<(), FollowError> {
    let known = || map.borrow().as_ref().map(|map| (map.cluster, map.shards.epoch));
    let channel = connect(address, tls).await?;
    let request = v1::WatchRequest { after_epoch: known().map_or(0, |(_, epoch)| epoch) };
    let opening = tokio::time::timeout(FIRST_MAP_TIMEOUT, async {
        let mut states = DirectoryClient::new(channel).watch(request).await?.into_inner();
        // Who has a map already need not be sent one soon.
        let first = if known().is_none() { states.message().await? } else { None };
        Ok::<_, tonic::Status>((states, first))
    });
    let (mut states, mut next) = opening.await.map_err(|_| FollowError::NoMap)??;
    loop {
        if let Some(state) = next {
            let newer = Map::try_from(&state)?;
            match known() {
                Some((ours, _)) if ours != newer.cluster => {
                    return Err(FollowError::OtherCluster { ours, theirs: newer.cluster });
                }
                Some((_, epoch)) if epoch >= newer.shards.epoch => {}
                _ => publish(newer),
            }
        } else if known().is_none() {
            return Err(FollowError::NoMap);
        }
        next = states.message().await?;
        if next.is_none() {
            return Ok(());
        }
    }
}
