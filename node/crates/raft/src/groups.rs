//! All groups of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use banyan_proto::v1::raft_message::Body;
use banyan_storage::{Fatal, KeyRange, Store};
use futures_util::future::join_all;
use openraft::async_runtime::WatchReceiver;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::group::Raft;
use crate::link::{Connection, Owner};
use crate::log::Log;
use crate::machine::{Machine, meta_range};
use crate::network::Network;
use crate::shared::Shared;
use crate::snapshot::Source;
use crate::{Config, Group, Links, Replica, StartError};

/// All groups of this node.
pub struct Groups {
    node: u64,
    store: Store,
    links: Arc<Links>,
    config: Arc<Config>,
    snapshot_permits: Arc<Semaphore>,
    runtime: Handle,
    groups: RwLock<BTreeMap<u64, Slot>>,
    /// From which index on replicas that began anew vote.
    votes_from: Mutex<BTreeMap<u64, u64>>,
    closed: AtomicBool,
    /// Whether the folder for snapshots could be emptied; done once, when the first group starts.
    emptied: OnceLock<io::Result<()>>,
    me: Weak<Groups>,
}

/// A group's place, taken before the group is there so that it is opened once.
enum Slot {
    Starting,
    Running(Group),
}

/// How long after a survivor whose turn it was the next one campaigns.
const TURN: Duration = Duration::from_millis(150);

impl Groups {
    /// No group yet. `node` is this node's id: random, never reused, stored with the data.
    ///
    /// Must be called within a tokio runtime; the settings are checked by [`Config::validate`] when a group starts.
    pub fn new(node: u64, store: Store, links: Arc<Links>, config: Config) -> Arc<Groups> {
        let groups = Arc::new_cyclic(|me: &Weak<Groups>| Groups {
            node,
            store,
            links,
            snapshot_permits: Arc::new(Semaphore::new(config.snapshots_in_transfer_max.max(1))),
            config: Arc::new(config),
            runtime: Handle::current(),
            groups: RwLock::default(),
            votes_from: Mutex::default(),
            closed: AtomicBool::new(false),
            emptied: OnceLock::new(),
            me: me.clone(),
        });
        groups.links.set_owner(groups.me.clone() as Weak<dyn Owner>);
        groups
    }

    /// The replica of `group` that is started next begins anew, or once did: it votes for nobody before its log reaches
    /// `index`.
    pub fn votes_from(&self, group: u64, index: u64) {
        self.votes_from.lock().insert(group, index);
    }

    /// Opens or creates the replica of `group` on this node. It serves nothing until it was founded or has joined.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self, group: u64, replica: Arc<dyn Replica>) -> Result<Group, StartError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StartError::ShuttingDown);
        }
        {
            let mut groups = self.groups.write();
            if groups.contains_key(&group) {
                return Err(StartError::AlreadyStarted(group));
            }
            groups.insert(group, Slot::Starting);
        }
        let mut opened = self.open(group, replica).await;
        if let Ok(late) = &opened
            && self.closed.load(Ordering::Acquire)
        {
            late.shut_down().await;
            opened = Err(StartError::ShuttingDown);
        }
        let mut groups = self.groups.write();
        match &opened {
            Ok(opened) => groups.insert(group, Slot::Running(opened.clone())),
            Err(_) => groups.remove(&group),
        };
        opened
    }

    async fn open(&self, group: u64, replica: Arc<dyn Replica>) -> Result<Group, StartError> {
        let storage = |reason: String| StartError::Storage { group, reason };
        let config = self.config.to_openraft(group)?;
        let dir = self.store.snapshot_dir();
        if let Err(error) = self.emptied.get_or_init(|| empty(&dir)) {
            return Err(storage(format!("snapshot folder {}: {error}", dir.display())));
        }

        let (held, handles) = mpsc::channel(1);
        let log =
            Log::open(self.store.log(group), held.clone()).map_err(|error| storage(error.to_string()))?;
        let silent_for = if log.has_vote() { self.config.election_timeout_max } else { Duration::ZERO };
        let votes_from = self.votes_from.lock().get(&group).copied().unwrap_or_default();
        let permits = self.snapshot_permits.clone();
        let shared =
            Arc::new(Shared::new((self.node, group), &self.config, dir, permits, silent_for, votes_from));
        let source = Source { group, state: self.store.state(group), replica, _held: held };
        let machine =
            Machine::open(source, shared.clone()).await.map_err(|error| storage(error.to_string()))?;
        // The log is purged behind durable state only. Behind older state there is a gap that no replay closes, and to
        // go on would be to forget what was applied.
        if log.purged_index() > machine.applied_index() {
            return Err(storage(
                "the state is older than what the log was purged up to: it is damaged".to_owned(),
            ));
        }
        let network = Network { links: self.links.clone(), shared: shared.clone() };
        let raft = Raft::new(self.node, Arc::new(config), network, log, machine)
            .await
            .map_err(|fatal| storage(fatal.to_string()))?;
        let group = Group::new(raft, shared, self.config.clone(), handles);
        self.end_silence(&group, silent_for);
        Ok(group)
    }

    /// A replica that was here before campaigns only when no lease it may have promised can still hold.
    fn end_silence(&self, group: &Group, silent_for: Duration) {
        let raft = group.inner.raft.clone();
        if silent_for.is_zero() {
            raft.runtime_config().elect(true);
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(silent_for).await;
            raft.runtime_config().elect(true);
        });
    }

    /// The running replica of `group`.
    pub fn get(&self, group: u64) -> Option<Group> {
        match self.groups.read().get(&group) {
            Some(Slot::Running(group)) => Some(group.clone()),
            Some(Slot::Starting) | None => None,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn running(&self) -> Vec<Group> {
        let groups = self.groups.read();
        groups
            .values()
            .filter_map(|slot| if let Slot::Running(group) = slot { Some(group.clone()) } else { None })
            .collect()
    }

    /// Stops the replica of `group` on this node and leaves its data. Nothing happens if it does not run.
    pub async fn stop(&self, group: u64) {
        let Some(running) = self.get(group) else { return };
        running.shut_down().await;
        self.groups.write().remove(&group);
    }

    /// Hands every leadership to a voter that is up and has the whole log, and waits until others lead. Returns how
    /// many groups this node still leads at the deadline.
    pub async fn step_down_all(&self, deadline: Duration) -> usize {
        let deadline = tokio::time::Instant::now() + deadline;
        let groups = self.running();
        let may_lead = |voter| self.links.is_up(voter);
        let gone = join_all(groups.iter().map(|group| group.step_down(may_lead, deadline))).await;
        gone.into_iter().filter(|gone| !gone).count()
    }

    /// Whether there is a link to `peer`.
    pub fn is_up(&self, peer: u64) -> bool {
        self.links.is_up(peer)
    }

    /// Hands the leadership of `group` to `to`, and waits until it is gone. Meanwhile the group takes no proposals, so
    /// ask for it only if `to` is hardly behind. `false`: `to` was not up or not level in time, and this node leads on.
    pub async fn hand_over(&self, group: u64, to: u64, within: Duration) -> bool {
        let Some(group) = self.get(group) else { return false };
        let may_lead = |voter| voter == to && self.links.is_up(voter);
        group.step_down(may_lead, tokio::time::Instant::now() + within).await
    }

    /// Stops the replica of `group`, if it runs, and removes everything of it: the state in `ranges`, then the log with
    /// its vote. Only for a node that is no member of the group any more: what it voted is forgotten. To be repeated
    /// when it was interrupted.
    ///
    /// # Errors
    /// [`Fatal`].
    pub async fn forget(&self, group: u64, mut ranges: Vec<KeyRange>) -> Result<(), Fatal> {
        self.stop(group).await;
        ranges.push(meta_range(group));
        let state = self.store.state(group);
        match tokio::task::spawn_blocking(move || state.clear(&ranges)).await {
            Ok(cleared) => cleared?,
            // The log says that there is something to remove: it must not go before the state has.
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going, and with it the node; it is done again.
                Err(_) => std::future::pending().await,
            },
        }
        self.store.log(group).clean().await
    }

    /// Stops all groups. The store may be closed afterwards; its folder is free when these groups and the replicas are
    /// dropped, too.
    pub async fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        join_all(self.running().iter().map(Group::shut_down)).await;
        self.groups.write().clear();
    }

    /// The link to `peer` has ended. If it does not come back within a lease, the groups that it led need a leader:
    /// the others refuse their votes until the lease is over, and then wait for a random time-out. One of them,
    /// by turns, goes at once instead.
    ///
    /// Holds the groups only while it does something: a node that leaves is not kept open by this.
    async fn campaign(groups: Weak<Groups>, peer: u64) {
        let Some(this) = groups.upgrade() else { return };
        let led: Vec<(Group, u64)> = this
            .running()
            .into_iter()
            .filter_map(|group| {
                let leadership = *group.leadership().borrow();
                (leadership.leader == Some(peer)).then_some((group, leadership.term))
            })
            .collect();
        if led.is_empty() {
            return;
        }
        tracing::info!(peer, groups = led.len(), "link to a leader ended");
        let lease = this.config.election_timeout_max;
        drop(this);
        tokio::time::sleep(lease).await;
        for turn in 0.. {
            let Some(this) = groups.upgrade() else { return };
            let mut waiting = false;
            for (group, term) in &led {
                let leadership = *group.leadership().borrow();
                let orphaned = leadership.leader == Some(peer) && leadership.term == *term;
                if !orphaned || this.links.is_up(peer) || group.inner.shared.is_silent() {
                    continue;
                }
                match my_turn(group, peer) {
                    Some(mine) if mine == turn => {
                        // A group that has stopped needs no leader here.
                        let _ = group.inner.raft.trigger().elect(true).await;
                    }
                    Some(mine) => waiting |= mine > turn,
                    None => {}
                }
            }
            drop(this);
            if !waiting {
                return;
            }
            tokio::time::sleep(TURN).await;
        }
    }
}

/// When this node's turn is among the voters that are left, beginning at another one for each group. `None`: it has
/// no vote.
fn my_turn(group: &Group, gone: u64) -> Option<usize> {
    let metrics = group.inner.raft.metrics();
    let voters: BTreeSet<u64> = metrics.borrow_watched().membership_config.membership().voter_ids().collect();
    let left: Vec<u64> = voters.into_iter().filter(|voter| *voter != gone).collect();
    let me = left.iter().position(|voter| *voter == group.inner.shared.node)?;
    let first = usize::try_from(group.id() % left.len() as u64).expect("less than a length");
    Some((me + left.len() - first) % left.len())
}

/// Makes the folder; snapshots on their way do not outlive the process.
fn empty(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for file in std::fs::read_dir(dir)? {
        std::fs::remove_file(file?.path())?;
    }
    Ok(())
}

impl Owner for Groups {
    fn request(&self, connection: &Arc<Connection>, group: u64, correlation: u64, body: Body) {
        match self.get(group) {
            Some(group) => group.inner.server.request(connection, correlation, body),
            None if matches!(body, Body::End(_)) => {}
            None => connection.reply(
                group,
                correlation,
                Body::Refused(format!("no replica of group {group} here")),
            ),
        }
    }

    fn up(&self, peer: u64) {
        let groups = self.running();
        self.runtime.spawn(async move {
            for group in groups {
                // A group that has stopped sends nothing.
                let _ = group.inner.raft.trigger().reset_backoff([peer]).await;
            }
        });
    }

    fn down(&self, peer: u64, connection: u64) {
        for group in self.running() {
            group.inner.server.link_ended(connection);
        }
        if !self.closed.load(Ordering::Acquire) {
            self.runtime.spawn(Groups::campaign(self.me.clone(), peer));
        }
    }
}
