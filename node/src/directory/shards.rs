//! Starts the replicas that the map gives to this node, of shards and of the keys' group, and removes those that it takes
//! away.

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
    /// Starts what the map gives to this node and removes what it takes away, again and again.
    pub(super) async fn start_shards<S: Shards>(&self, shards: &S) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        let mut started: BTreeSet<ShardId> = BTreeSet::new();
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(view) = view {
                let me = self.node();
                let new: Vec<&Shard> =
                    view.placed().filter(|shard| shard.is_on(me) && !started.contains(&shard.id)).collect();
                let starting: Vec<_> = new.iter().map(|shard| self.start(shards, shard, &view)).collect();
                stream::iter(starting).buffer_unordered(STARTING_MAX).try_collect::<()>().await?;
                started.extend(new.iter().map(|shard| shard.id));
                for shard in view.placed().filter(|shard| shard.former.contains(&me)) {
                    if self.may_forget(shard.id, view.state.epoch) {
                        self.forget(shards, shard).await?;
                        started.remove(&shard.id);
                    }
                }
            }
            views.changed().await.map_err(|_| DirectoryError::Stopped)?;
        }
    }

    async fn start<S: Shards>(&self, shards: &S, shard: &Shard, view: &View) -> Result<(), DirectoryError> {
        let id = shard.id.0;
        let was_founded = shard.changes == 0;
        if self.kept(shard.id) == Kept::Leaving {
            // The process ended while it was being removed: half a replica is none.
            self.forget(shards, shard).await?;
        }
        if !was_founded && self.kept(shard.id) == Kept::Unknown && !self.inner.store.groups().contains(&id) {
            let since = Kept::Since { epoch: view.state.epoch, members_at: shard.members_at };
            self.keep(shard.id, since).await?;
        }
        if let Kept::Since { members_at, .. } = self.kept(shard.id) {
            self.inner.groups.votes_from(id, members_at);
        }
        let started = match id {
            KEYS_GROUP => shards.start_keys(shard).await,
            _ => shards.start(shard, view).await,
        };
        let group = started.map_err(|source| DirectoryError::Shard { shard: id, source })?;
        // A group whose replicas were changed has its members from its leader; one that this node founded by itself, it
        // would have twice.
        if !was_founded {
            return Ok(());
        }
        // A replica that was here before, or that has heard of the others already, has its members: nothing happens.
        let voters = shard.replicas.iter().map(|node| node.0).collect();
        group.found(voters).await.map_err(|source| DirectoryError::Found { group: id, source })
    }

    /// Whether what is here of a shard may go: the directory of this epoch says that it shall. It may be older than what
    /// is here, for a node that starts again has the directory only as far as it was on disk.
    fn may_forget(&self, shard: ShardId, epoch: u64) -> bool {
        match self.kept(shard) {
            Kept::Leaving => true,
            Kept::Since { epoch: since, .. } => epoch > since,
            // As it was founded; or all of it has gone.
            Kept::Unknown => self.inner.store.groups().contains(&shard.0),
        }
    }

    async fn forget<S: Shards>(&self, shards: &S, shard: &Shard) -> Result<(), DirectoryError> {
        self.keep(shard.id, Kept::Leaving).await?;
        let ranges = shards.stop(shard).await;
        self.inner.groups.forget(shard.id.0, ranges).await?;
        self.keep(shard.id, Kept::Unknown).await?;
        tracing::info!(shard = shard.id.0, "a replica is removed");
        Ok(())
    }

    fn kept(&self, shard: ShardId) -> Kept {
        match self.inner.store.meta(&kept_key(shard)).as_deref() {
            None | Some([]) => Kept::Unknown,
            Some(numbers) => {
                let number = |at: usize| numbers.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
                match (number(0), number(8)) {
                    (Some(epoch), Some(members_at)) => Kept::Since { epoch, members_at },
                    _ => Kept::Leaving,
                }
            }
        }
    }

    async fn keep(&self, shard: ShardId, kept: Kept) -> Result<(), DirectoryError> {
        let value: Vec<u8> = match kept {
            Kept::Unknown => Vec::new(),
            Kept::Since { epoch, members_at } => [epoch, members_at].map(u64::to_be_bytes).concat(),
            Kept::Leaving => vec![0],
        };
        let (store, key) = (self.inner.store.clone(), kept_key(shard));
        let written = tokio::task::spawn_blocking(move || store.put_meta(&key, value.into())).await;
        // The closure cannot panic and is not cancelled; if the runtime is going, so is this node.
        Ok(written.map_err(|_| DirectoryError::Stopped)??)
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
    let ready = view.map.keys.is_none() && view.is_of_one_release();
    let factor = view.state.settings.as_ref().map_or(1, |settings| settings.replication_factor.max(1));
    ready.then_some(usize::try_from(factor).unwrap_or(usize::MAX))
}

/// What this node has written down of its replica of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    /// Nothing: there is none, or it is there since the founding.
    Unknown,
    /// It came to this node by this epoch of the directory, and votes from this index of its log on.
    Since { epoch: u64, members_at: u64 },
    /// It is being removed.
    Leaving,
}

fn kept_key(ShardId(shard): ShardId) -> String {
    format!("directory/replica/{shard:016x}")
}
