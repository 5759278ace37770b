//! Starts the replicas that the map gives to this node.

use super::{Directory, DirectoryError, Shards, View};
use banyan_model::placement::{Shard, ShardId};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeSet, convert::Infallible};

/// How many replicas open their log at the same time.
const STARTING_MAX: usize = 4;

impl Directory {
    pub(super) async fn start_shards<S: Shards>(&self, shards: &S) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        let mut started: BTreeSet<ShardId> = BTreeSet::new();
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(view) = view {
                let here =
                    |shard: &&Shard| shard.replicas.contains(&self.node()) && !started.contains(&shard.id);
                let new: Vec<&Shard> = view.map.shards.shards.iter().filter(here).collect();
                let starting: Vec<_> = new.iter().map(|shard| start(shards, shard, &view)).collect();
                stream::iter(starting).buffer_unordered(STARTING_MAX).try_collect::<()>().await?;
                started.extend(new.iter().map(|shard| shard.id));
            }
            views.changed().await.map_err(|_| DirectoryError::Stopped)?;
        }
    }
}

async fn start<S: Shards>(shards: &S, shard: &Shard, view: &View) -> Result<(), DirectoryError> {
    let id = shard.id.0;
    let group =
        shards.start(shard, view).await.map_err(|source| DirectoryError::Shard { shard: id, source })?;
    // A replica that was here before, or that has heard of the others already, has its members: nothing happens.
    let voters = shard.replicas.iter().map(|node| node.0).collect();
    group.found(voters).await.map_err(|source| DirectoryError::Found { group: id, source })
}
