//! What can be said of a node: whether it is ready, its status, its figures.

use crate::{
    admin::{GroupReport, Metric, Probe, Report},
    delivery::Counters,
    directory::Directory,
    rpc::Operator,
    security::Keys,
    subtree::Shards,
};
use banyan_model::{deferred::Waiting, placement::Shard, saf::Rcat};
use banyan_proto::v1;
use banyan_raft::{Copy, CopyError, Group, GroupStatus, Groups, NotLeader};
use banyan_storage::{Stats, Store};
use futures_util::{FutureExt, future::BoxFuture};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, task::spawn_blocking};

/// Lines of an answer about what is stored.
const STORED_MAX: usize = 1_000;
/// A replica that is further behind than this is catching up.
const BEHIND_MAX: u64 = 1_024;

pub(super) struct Condition {
    pub(super) store: Store,
    pub(super) groups: Arc<Groups>,
    pub(super) directory: Directory,
    pub(super) shards: Shards,
    pub(super) keys: Keys,
    pub(super) deliveries: Arc<Counters>,
    pub(super) edges: watch::Receiver<usize>,
    pub(super) draining: watch::Receiver<bool>,
}

impl Condition {
    /// Whether other nodes are members, too.
    pub(super) fn has_peers(&self) -> bool {
        !self.directory.peers().borrow().is_empty()
    }

    fn groups(&self) -> Vec<Group> {
        let directory = self.directory.group().cloned();
        let mut groups: Vec<Group> = directory.into_iter().collect();
        groups.extend(self.shards.all().iter().map(|shard| shard.group().clone()));
        groups.extend(self.keys.group());
        groups.sort_by_key(Group::id);
        groups
    }

    fn role(&self, status: &GroupStatus) -> &'static str {
        let me = self.directory.node().0;
        match status.leader {
            Some(leader) if leader == me => "Leader",
            _ if status.learners.contains(&me) => "Learner",
            Some(_) => "Follower",
            None => "Candidate",
        }
    }

    async fn stats(&self) -> Stats {
        let store = self.store.clone();
        // It looks at the folder. If the runtime is going, so is whoever asked.
        tokio::task::spawn_blocking(move || store.stats()).await.unwrap_or_default()
    }
}

/// Why a replica cannot serve, if so.
fn group_not_ready(name: &str, group: Option<&Group>) -> Option<String> {
    let Some(group) = group else { return Some(format!("{name} has not started")) };
    let status = group.status();
    if let Some(why) = status.stopped {
        return Some(format!("{name} has stopped: {why}"));
    }
    if group.leader().is_none() {
        return Some(format!("{name} has no leader"));
    }
    let (committed, applied) =
        (status.committed_index.unwrap_or_default(), status.applied_index.unwrap_or_default());
    (committed > applied + BEHIND_MAX).then(|| format!("{name} is catching up"))
}

impl Probe for Condition {
    fn not_ready(&self) -> Option<String> {
        if *self.draining.borrow() {
            return Some("stopping".to_owned());
        }
        if self.store.fatal().borrow().is_some() {
            return Some("storage failed".to_owned());
        }
        let Some(view) = self.directory.views().borrow().clone() else {
            return Some("no directory yet".to_owned());
        };
        if let Some(why) = group_not_ready("the directory", self.directory.group()) {
            return Some(why);
        }
        let mine = |shard: &&Shard| shard.replicas.contains(&self.directory.node());
        view.map.shards.shards.iter().filter(mine).find_map(|shard| {
            let handle = self.shards.get(shard.id);
            group_not_ready(&format!("shard {}", shard.id.0), handle.as_ref().map(|handle| handle.group()))
        })
    }

    fn report(&self) -> BoxFuture<'_, Report> {
        async {
            let stats = self.stats().await;
            let groups = self.groups();
            let report = |group: &Group| {
                let status = group.status();
                GroupReport {
                    group: status.group,
                    role: self.role(&status),
                    term: status.term,
                    applied_index: status.applied_index.unwrap_or_default(),
                    committed_index: status.committed_index.unwrap_or_default(),
                    proposals_in_flight: status.proposals_in_flight as u64,
                    stopped: status.stopped.is_some(),
                }
            };
            Report {
                groups: groups.iter().map(report).collect(),
                values: values(&stats, *self.edges.borrow()),
                deliveries: self.deliveries.all().to_vec(),
                stored: self.stored(),
            }
        }
        .boxed()
    }
}

fn values(stats: &Stats, edges: usize) -> Vec<Metric> {
    let metric = |name, help, value| Metric { name, help, value };
    vec![
        metric("log_syncs_total", "Syncs of the log.", stats.log_syncs),
        metric("log_entries_total", "Entries that these syncs put on disk.", stats.log_entries),
        metric("log_entry_bytes_total", "Bytes of these entries.", stats.log_entry_bytes),
        metric("log_queue_bytes", "Bytes that wait for the log's disk.", stats.log_queue_bytes),
        metric("log_disk_bytes", "Bytes of the log's files.", stats.log_disk_bytes),
        metric("overlay_bytes", "Bytes of applied changes in memory.", stats.overlay_bytes),
        metric("overlay_waits_total", "Commits that waited for the state's disk.", stats.overlay_waits),
        metric("state_disk_bytes", "Bytes of the state's files.", stats.state_disk_bytes),
        metric("disk_bytes", "Bytes of everything in the node's folder.", stats.disk_bytes),
        metric("edges", "Edges that take deliveries.", edges as u64),
    ]
}

impl Condition {
    /// What the shards that this node leads have stored for other SCLs, by category.
    fn stored(&self) -> Vec<(u8, u64, u64)> {
        let mut sums = BTreeMap::new();
        for shard in self.shards.all() {
            // Whoever leads it says it.
            let Ok(stored) = shard.stored() else { continue };
            for (category, kept) in stored {
                let sum: &mut (u64, u64) = sums.entry(category.number()).or_default();
                *sum = (sum.0 + kept.entries, sum.1 + kept.octets);
            }
        }
        sums.into_iter().map(|(category, (requests, octets))| (category, requests, octets)).collect()
    }
}

impl Operator for Condition {
    fn status(&self) -> BoxFuture<'_, v1::NodeStatus> {
        async {
            let stats = self.stats().await;
            let view = self.directory.views().borrow().clone();
            let group = |group: &Group| {
                let status = group.status();
                v1::GroupStatus {
                    group: status.group,
                    role: self.role(&status).to_owned(),
                    term: status.term,
                    leader: status.leader.unwrap_or_default(),
                    last_log_index: status.last_index.unwrap_or_default(),
                    committed_index: status.committed_index.unwrap_or_default(),
                    applied_index: status.applied_index.unwrap_or_default(),
                    purged_index: status.purged_index.unwrap_or_default(),
                    snapshots_installed: status.snapshots_installed,
                    voters: status.voters.into_iter().collect(),
                    learners: status.learners.into_iter().collect(),
                }
            };
            v1::NodeStatus {
                node: Some(self.directory.info()),
                directory: view.map(|view| view.state.clone()),
                groups: self.groups().iter().map(group).collect(),
                storage: Some(v1::StorageStatus {
                    syncs: stats.log_syncs,
                    appended_entries: stats.log_entries,
                    overlay_bytes: stats.overlay_bytes,
                    disk_bytes: stats.disk_bytes,
                }),
            }
        }
        .boxed()
    }

    fn step_down(&self, deadline: Duration) -> BoxFuture<'_, v1::NodeStatus> {
        async move {
            self.groups.step_down_all(deadline).await;
            self.status().await
        }
        .boxed()
    }

    fn stored(&self) -> BoxFuture<'_, v1::StoredAnswer> {
        let shards = self.shards.all();
        async {
            // It may look at a hundred thousand requests.
            let counted = spawn_blocking(move || {
                let mut all = BTreeMap::new();
                for shard in shards {
                    if let Err(error) = shard.waiting(&mut all) {
                        // Whoever leads it says it.
                        tracing::debug!(shard = shard.id().0, %error, "what is stored is not told");
                    }
                }
                all
            });
            let all = counted.await.unwrap_or_default();
            let more = all.len() > STORED_MAX;
            let line = |((target, entity, category), waiting): ((_, _, Rcat), Waiting)| v1::StoredRequests {
                target,
                entity,
                category: category.number().into(),
                requests: waiting.entries,
                octets: waiting.octets,
                oldest_ms: waiting.oldest.0,
                deadline_ms: waiting.deadline.0,
            };
            v1::StoredAnswer { stored: all.into_iter().take(STORED_MAX).map(line).collect(), more }
        }
        .boxed()
    }

    fn copy(&self, group: u64) -> BoxFuture<'_, Result<Arc<Copy>, CopyError>> {
        async move {
            match self.groups.get(group) {
                Some(group) => group.copy().await,
                None => Err(NotLeader { leader: None }.into()),
            }
        }
        .boxed()
    }

    fn cluster(&self) -> u64 {
        self.directory.cluster()
    }
}
