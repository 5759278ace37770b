//! How a node comes by its cluster: founded with the other founders, joined, or known from last time.
//!
//! Founders ask each other who they are until all have answered. From then on each knows the same set, and makes the
//! same cluster number of it; each writes it down before it starts group 0 with all founders as voters. Whoever
//! leads first proposes the founding state; all propose the same. Any step may be repeated after a crash.

use super::{Config, Directory, DirectoryError, GROUP, NeighbourError, Neighbours};
use banyan_model::placement::{NodeId, ShardMap};
use banyan_proto::v1;
use banyan_raft::Group;
use banyan_storage::Store;
use bytes::Bytes;
use prost::Message;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

/// The members this node founded the cluster with (encoded `DirectoryState`); written before group 0 starts.
const FOUNDED: &str = "directory/founded";
/// The members this node knew when it joined.
const JOINED: &str = "directory/joined";

const PAUSE: Duration = Duration::from_millis(300);
/// After this many silent rounds it is worth a line in the log.
const ROUNDS_TO_WARN: u32 = 10;

/// Why the cluster cannot be founded or joined. Each needs the operator.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// Neither founders nor nodes to join.
    #[error("this node has no cluster yet: it needs the addresses of the founders, or of members to join")]
    NoCluster,
    /// Another founder was given other founders or settings.
    #[error(
        "the founder at {address} was given another list of founders or other founding settings, or another backup"
    )]
    Differs {
        /// The other founder.
        address: String,
    },
    /// Another founder has a cluster that this node does not belong to.
    #[error(
        "the founder at {address} belongs to cluster {cluster:016x}, which this node does not: \
         if this node's data was lost, let it join instead"
    )]
    OtherCluster {
        /// The other founder.
        address: String,
        /// Its cluster.
        cluster: u64,
    },
    /// Two addresses of the list are one node, or two nodes have the same data.
    #[error(
        "{address} and {other} are the same node {node:016x}: one address twice, or a copied data folder"
    )]
    SameNode {
        /// An address.
        address: String,
        /// The other.
        other: String,
        /// The node.
        node: u64,
    },
    /// The cluster does not let this node in.
    #[error("{address} refuses this node: {why}")]
    Refused {
        /// Who.
        address: String,
        /// Why.
        why: String,
    },
}

/// The cluster's number (0: none) and the members known when this node came to it.
pub(super) fn stored(store: &Store) -> Result<(u64, BTreeMap<NodeId, String>), DirectoryError> {
    let state = known(store)?.unwrap_or_default();
    Ok((state.cluster, addresses(&state)))
}

/// What this node wrote down when it came to its cluster.
pub(super) fn known(store: &Store) -> Result<Option<v1::DirectoryState>, DirectoryError> {
    store.meta(FOUNDED).or_else(|| store.meta(JOINED)).map(decode).transpose()
}

fn decode(bytes: Bytes) -> Result<v1::DirectoryState, DirectoryError> {
    v1::DirectoryState::decode(bytes)
        .map_err(|error| DirectoryError::Stored { what: "list of members", why: error.to_string() })
}

fn addresses(state: &v1::DirectoryState) -> BTreeMap<NodeId, String> {
    state.members.iter().map(|member| (NodeId(member.node), member.address.clone())).collect()
}

/// What every founder must have been given alike. 0 for a node that is no founder.
fn digest(config: &Config, restored: Option<&v1::Restored>) -> u64 {
    if config.founders.is_empty() {
        return 0;
    }
    let mut founders = config.founders.clone();
    founders.sort_unstable();
    let founding = &config.founding;
    let settings = v1::DirectoryState {
        members: founders.into_iter().map(|address| v1::NodeInfo { address, ..Default::default() }).collect(),
        settings: Some(settings(config, 0)),
        // Only its digest leaves this function: the number of shards stands where there is a number.
        epoch: founding.shards,
        restored: restored.cloned(),
        ..Default::default()
    };
    xxh3_64(&settings.encode_to_vec()).max(1)
}

fn settings(config: &Config, founded_at_ms: i64) -> v1::Settings {
    let founding = &config.founding;
    v1::Settings {
        scl_id: founding.scl_id.clone(),
        scl_base: founding.scl_base.clone(),
        authorities: founding.authorities.clone(),
        replication_factor: founding.replication_factor,
        founded_at_ms,
    }
}

impl Directory {
    /// Returns when this node has a cluster. The founders, if it is one of them.
    pub(super) async fn enter<N: Neighbours>(
        &self,
        neighbours: &N,
    ) -> Result<BTreeMap<NodeId, v1::NodeInfo>, DirectoryError> {
        let (store, config) = (&self.inner.store, &self.inner.config);
        if let Some(bytes) = store.meta(FOUNDED) {
            self.check_backup().await?;
            return Ok(decode(bytes)?
                .members
                .into_iter()
                .map(|member| (NodeId(member.node), member))
                .collect());
        }
        if store.meta(JOINED).is_some() {
            return Ok(BTreeMap::new());
        }
        self.check_backup().await?;
        if !config.founders.is_empty() {
            // Not earlier: a node that has a cluster may have moved since.
            if !config.founders.contains(&config.address) {
                return Err(DirectoryError::Config {
                    setting: "founders",
                    why: "must contain this node's own address, written the same".to_owned(),
                });
            }
            let founders = self.meet(neighbours).await?;
            let ids: Vec<u8> = founders.keys().flat_map(|node| node.0.to_be_bytes()).collect();
            let cluster = xxh3_64(&[ids.as_slice(), &self.founding_digest().to_be_bytes()].concat()).max(1);
            self.check_clusters(cluster, &founders)?;
            let founders: BTreeMap<NodeId, v1::NodeInfo> =
                founders.into_iter().map(|(node, info)| (node, v1::NodeInfo { cluster, ..info })).collect();
            let members: Vec<v1::NodeInfo> = founders.values().cloned().collect();
            // All of it for a cluster that is restored: the backup may be gone when it is proposed.
            let state = self.restored_state(cluster, members.clone()).unwrap_or_else(|| v1::DirectoryState {
                cluster,
                members,
                ..Default::default()
            });
            self.remember(FOUNDED, state).await?;
            tracing::info!(cluster, founders = founders.len(), "founding a cluster");
            return Ok(founders);
        }
        if config.join.is_empty() {
            return Err(FoundingError::NoCluster.into());
        }
        let state = self.join(neighbours).await?;
        tracing::info!(cluster = state.cluster, members = state.members.len(), "joined a cluster");
        self.remember(JOINED, state).await?;
        Ok(BTreeMap::new())
    }

    /// What all founders must have been given alike.
    pub(super) fn founding_digest(&self) -> u64 {
        digest(&self.inner.config, self.inner.restore.from.as_ref())
    }

    /// Asks every founder who it is, until all have answered.
    async fn meet<N: Neighbours>(
        &self,
        neighbours: &N,
    ) -> Result<BTreeMap<NodeId, v1::NodeInfo>, DirectoryError> {
        let config = &self.inner.config;
        let mut met: BTreeMap<String, v1::NodeInfo> = BTreeMap::from([(config.address.clone(), self.info())]);
        for round in 1.. {
            for address in &config.founders {
                if met.contains_key(address) {
                    continue;
                }
                match neighbours.identify(address, self.info()).await {
                    Ok(info) if info.founding != self.founding_digest() => {
                        return Err(FoundingError::Differs { address: address.clone() }.into());
                    }
                    // What the list says is what all founders were given; it also is how we reached it.
                    Ok(info) => {
                        met.insert(address.clone(), v1::NodeInfo { address: address.clone(), ..info });
                    }
                    Err(error) if round % ROUNDS_TO_WARN == 0 => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "founder has not answered yet"
                        );
                    }
                    Err(_) => {}
                }
            }
            if met.len() == config.founders.len() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut founders: BTreeMap<NodeId, v1::NodeInfo> = BTreeMap::new();
        for (address, info) in met {
            if let Some(other) = founders.insert(NodeId(info.node), info.clone()) {
                let error = FoundingError::SameNode { address, other: other.address, node: info.node };
                return Err(error.into());
            }
        }
        Ok(founders)
    }

    /// A founder that is further than we are must be founding the same cluster.
    fn check_clusters(
        &self,
        cluster: u64,
        founders: &BTreeMap<NodeId, v1::NodeInfo>,
    ) -> Result<(), FoundingError> {
        match founders.values().find(|info| info.cluster != 0 && info.cluster != cluster) {
            None => Ok(()),
            Some(info) => {
                Err(FoundingError::OtherCluster { address: info.address.clone(), cluster: info.cluster })
            }
        }
    }

    /// Asks the members of a running cluster to be let in, until one does.
    async fn join<N: Neighbours>(&self, neighbours: &N) -> Result<v1::DirectoryState, DirectoryError> {
        let config = &self.inner.config;
        for round in 1.. {
            for address in &config.join {
                match self.join_at(neighbours, address).await {
                    Ok(Ok(state)) => return Ok(state),
                    Ok(Err(refused)) => return Err(refused.into()),
                    Err(error) if round % ROUNDS_TO_WARN == 0 => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "not joined yet");
                    }
                    Err(_) => {}
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(FoundingError::NoCluster.into())
    }

    /// One try by way of `address`. The inner error is final.
    async fn join_at<N: Neighbours>(
        &self,
        neighbours: &N,
        address: &str,
    ) -> Result<Result<v1::DirectoryState, FoundingError>, NeighbourError> {
        let state = neighbours.state(address).await?;
        let mut at = address.to_owned();
        // The member asked first names the leader.
        for _ in 0..2 {
            let me = v1::NodeInfo { cluster: state.cluster, ..self.info() };
            let reply = neighbours.join(&at, me).await?;
            if reply.accepted {
                return Ok(Ok(state));
            }
            if reply.r#final {
                return Ok(Err(FoundingError::Refused { address: at, why: reply.why }));
            }
            if reply.leader_address.is_empty() {
                return Err(NeighbourError { address: at, why: reply.why });
            }
            at = reply.leader_address;
        }
        Err(NeighbourError { address: at, why: "the leader has just changed".to_owned() })
    }

    /// Writes down which cluster this is, and by that commits this node to it.
    async fn remember(&self, key: &'static str, members: v1::DirectoryState) -> Result<(), DirectoryError> {
        let (store, bytes) = (self.inner.store.clone(), Bytes::from(members.encode_to_vec()));
        let written = tokio::task::spawn_blocking(move || store.put_meta(key, bytes)).await;
        // The closure cannot panic and is not cancelled; if the runtime is going, so is this node.
        written.map_err(|_| DirectoryError::Stopped)??;
        self.inner.book.send_replace(addresses(&members));
        self.inner.cluster.send_replace(members.cluster);
        self.inner.publish_peers();
        Ok(())
    }

    /// As long as there is no state: proposes the founding one whenever this node leads. Then rests.
    pub(super) async fn propose_founding(
        &self,
        group: &Group,
        founders: BTreeMap<NodeId, v1::NodeInfo>,
    ) -> Result<Infallible, DirectoryError> {
        let (mut views, mut leadership) = (self.views(), group.leadership());
        while views.borrow_and_update().is_none() && !founders.is_empty() {
            if leadership.borrow_and_update().ready {
                let found = v1::directory_command::Kind::Found(self.founding_state(&founders)?);
                if let Err(error) = propose(group, found).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "founding not proposed");
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
            tokio::select! {
                _ = views.changed() => {}
                changed = leadership.changed() => changed.map_err(|_| DirectoryError::Stopped)?,
            }
        }
        std::future::pending().await
    }

    fn founding_state(
        &self,
        founders: &BTreeMap<NodeId, v1::NodeInfo>,
    ) -> Result<v1::DirectoryState, DirectoryError> {
        let config = &self.inner.config;
        if let Some(restored) = known(&self.inner.store)?.filter(|known| known.restored.is_some()) {
            return Ok(restored);
        }
        let nodes: Vec<NodeId> = founders.keys().copied().collect();
        let factor = usize::try_from(config.founding.replication_factor).unwrap_or(usize::MAX);
        let map = ShardMap::found(config.founding.shards, &nodes, factor);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(v1::DirectoryState {
            cluster: self.cluster(),
            epoch: map.epoch,
            members: founders.values().cloned().collect(),
            shards: map.shards.iter().map(Into::into).collect(),
            keys: Some(super::shards::keys_group(nodes.iter().take(factor))),
            settings: Some(settings(config, i64::try_from(now.as_millis()).unwrap_or(i64::MAX))),
            ..Default::default()
        })
    }
}

/// Proposes a command to group 0 and waits until it is applied.
pub(super) async fn propose(
    group: &Group,
    kind: v1::directory_command::Kind,
) -> Result<(), banyan_raft::ProposeError> {
    debug_assert_eq!(group.id(), GROUP);
    let (sender, receiver) = oneshot::channel();
    let command = v1::DirectoryCommand { kind: Some(kind) }.encode_to_vec();
    group.propose(command.into(), move |result| {
        // Nobody waits any more when the node is going.
        let _ = sender.send(result);
    });
    receiver.await.unwrap_or(Err(banyan_raft::ProposeError::Unknown)).map(drop)
}
