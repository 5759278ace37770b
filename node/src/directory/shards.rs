//! Starts the replicas that the map gives to this node: of shards, and of the keys' group.

use super::{Directory, DirectoryError, KEYS_GROUP, Shards, View, founding::propose};
use banyan_model::placement::{NodeId, Shard, ShardId};
use banyan_proto::v1::{self, directory_command::Kind};
use banyan_raft::Group;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeSet, convert::Infallible, time::Duration};

/// How many replicas open their log at the same time.
const STARTING_MAX: usize = 4;
/// Before a proposal that did not come through is made again.
const PAUSE: Duration = Duration::from_millis(300);

/// The keys' group as it is founded.
pub(super) fn keys_group<'a>(replicas: impl Iterator<Item = &'a NodeId>) -> v1::ShardInfo {
    let replicas = replicas.map(|node| node.0).collect();
    v1::ShardInfo { shard: KEYS_GROUP, replicas, ..Default::default() }
}

impl Directory {
    pub(super) async fn start_shards<S: Shards>(&self, shards: &S) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        let mut started: BTreeSet<ShardId> = BTreeSet::new();
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(view) = view {
                let here =
                    |shard: &&Shard| shard.replicas.contains(&self.node()) && !started.contains(&shard.id);
                let known = view.map.shards.shards.iter().chain(&view.map.keys);
                let new: Vec<&Shard> = known.filter(here).collect();
                let starting: Vec<_> = new.iter().map(|shard| start(shards, shard, &view)).collect();
                stream::iter(starting).buffer_unordered(STARTING_MAX).try_collect::<()>().await?;
                started.extend(new.iter().map(|shard| shard.id));
            }
            views.changed().await.map_err(|_| DirectoryError::Stopped)?;
        }
    }

    /// A cluster that is older than the keys' group gets one, once every member knows of it. Then rests.
    pub(super) async fn found_keys(&self, group: &Group) -> Result<Infallible, DirectoryError> {
        let (mut views, mut leadership) = (self.views(), group.leadership());
        loop {
            let lacks = views.borrow_and_update().as_ref().and_then(|view| lacking(view));
            if let Some(factor) = lacks
                && leadership.borrow_and_update().ready
            {
                let voters: Vec<NodeId> = group.status().voters.into_iter().map(NodeId).collect();
                let keys = keys_group(voters.iter().take(factor));
                if let Err(error) = propose(group, Kind::FoundKeys(keys)).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "keys' group not proposed");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if views.borrow().as_ref().is_some_and(|view| view.map.keys.is_some()) {
                return std::future::pending().await;
            }
            tokio::select! {
                changed = views.changed() => changed.map_err(|_| DirectoryError::Stopped)?,
                changed = leadership.changed() => changed.map_err(|_| DirectoryError::Stopped)?,
            }
        }
    }
}

/// How many replicas the keys' group should get, if there is none and every member runs this release: an older one would
/// stop at the command.
fn lacking(view: &View) -> Option<usize> {
    let mine = env!("CARGO_PKG_VERSION");
    let ready = view.map.keys.is_none() && view.map.members.values().all(|member| member.version == mine);
    let factor = view.state.settings.as_ref().map_or(1, |settings| settings.replication_factor.max(1));
    ready.then_some(usize::try_from(factor).unwrap_or(usize::MAX))
}

async fn start<S: Shards>(shards: &S, shard: &Shard, view: &View) -> Result<(), DirectoryError> {
    let id = shard.id.0;
    let started = match id {
        KEYS_GROUP => shards.start_keys(shard).await,
        _ => shards.start(shard, view).await,
    };
    let group = started.map_err(|source| DirectoryError::Shard { shard: id, source })?;
    // A replica that was here before, or that has heard of the others already, has its members: nothing happens.
    let voters = shard.replicas.iter().map(|node| node.0).collect();
    group.found(voters).await.map_err(|source| DirectoryError::Found { group: id, source })
}
