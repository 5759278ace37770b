//! One group's replica on this node, as the rest of the node sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::{ChangeMembers, Instant};
use tokio::sync::{mpsc, watch};

use crate::machine::{Machine, Snapshot};
use crate::proposal::{Answer, outcome};
use crate::serve::Server;
use crate::shared::Shared;
use crate::snapshot::{Content, Copy};
use crate::types::{Command, LogId, Types};
use crate::{ChangeError, Config, CopyError, NotLeader, ProposeError};

pub(crate) type Raft = openraft::Raft<Types, Machine>;

/// Long enough for a batch that is being applied or a snapshot's next chunk.
const LET_GO: Duration = Duration::from_secs(5);

/// A handle on one group's replica; cheap to clone.
#[derive(Clone)]
pub struct Group {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: Server,
    pub(crate) config: Arc<Config>,
    leadership: watch::Sender<Leadership>,
    /// Ends when nothing of this group holds the store any more.
    handles: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
}

impl Group {
    pub(crate) fn new(
        raft: Raft,
        shared: Arc<Shared>,
        config: Arc<Config>,
        handles: mpsc::Receiver<Infallible>,
    ) -> Group {
        let server = Server::new(raft.clone(), shared.clone());
        let (leadership, _) = watch::channel(Leadership::default());
        let handles = tokio::sync::Mutex::new(handles);
        let group = Group { inner: Arc::new(Inner { raft, shared, server, config, leadership, handles }) };
        tokio::spawn(group.clone().follow());
        group
    }

    /// The group's number.
    pub fn id(&self) -> u64 {
        self.inner.shared.group
    }

    /// Makes `voters` the first members, on an empty replica. Idempotent: every founder may call it with the same
    /// set, and again.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] if this node is not among them, [`ChangeError::Stopped`].
    pub async fn found(&self, voters: BTreeSet<u64>) -> Result<(), ChangeError> {
        match self.inner.raft.initialize(voters).await {
            // It has members already, which it only can have from a founding.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotInMembers(error))) => {
                Err(ChangeError::Refused(error.to_string()))
            }
            Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
        }
    }

    /// Adds `node` as a learner; returns when the change is committed, not when the learner has caught up.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn add_learner(&self, node: u64) -> Result<(), ChangeError> {
        change(self.inner.raft.add_learner(node, (), false).await.map(|_| ()))
    }

    /// Makes `voters` the voters. Each must be a learner or voter already; a voter that leaves is removed.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), ChangeError> {
        let members = ChangeMembers::ReplaceAllVoters(voters);
        change(self.inner.raft.change_membership(members, false).await.map(|_| ()))
    }

    /// Lets go of learners; one that is none is passed over.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn remove_learners(&self, learners: BTreeSet<u64>) -> Result<(), ChangeError> {
        let members = ChangeMembers::RemoveNodes(learners);
        change(self.inner.raft.change_membership(members, true).await.map(|_| ()))
    }

    /// Proposes a command. Does not wait; `answer` is called exactly once, from any thread and perhaps before this
    /// returns, and must not block.
    pub fn propose(&self, command: Bytes, answer: impl FnOnce(Result<Bytes, ProposeError>) + Send + 'static) {
        let Inner { raft, shared, config, .. } = &*self.inner;
        if shared.stopped().is_some() {
            return answer(Err(ProposeError::Stopped));
        }
        if shared.leaving.load(Ordering::Acquire) {
            return answer(Err(ProposeError::NotLeader { leader: None }));
        }
        let (count_max, bytes_max) = (config.proposals_in_flight_max, config.proposal_bytes_in_flight_max);
        let Some(share) = shared.in_flight.take(command.len(), count_max, bytes_max) else {
            return answer(Err(ProposeError::Busy));
        };
        let answer = Answer::new(move |result| {
            drop(share);
            answer(outcome(result));
        });
        // openraft's queue is longer than what may be in flight, so this is done at the first poll: without the
        // caller's budget, or a busy task would be told "pending". If the core is gone, the responder is dropped
        // with the message and answers.
        let enqueue = tokio::task::unconstrained(raft.client_write_ff(Command(command), Some(answer)));
        let _ = enqueue.now_or_never();
    }

    /// Whether a read of the local state is linearizable now: leader, lease valid, first entry of the term applied.
    ///
    /// Rests on the clocks of two nodes running at rates that differ by less than a tenth.
    ///
    /// # Errors
    /// [`NotLeader`] with the leader as far as it is known.
    pub fn serves_reads(&self) -> Result<(), NotLeader> {
        let Inner { raft, shared, config, .. } = &*self.inner;
        let leader = raft.as_leader().map_err(|forward| NotLeader { leader: forward.leader_id })?;
        // A follower counts its lease from when it heard the leader, the leader from when it spoke: the leader's
        // ends first. A tenth less, for clocks that run at different rates.
        let lease = config.election_timeout_max * 9 / 10;
        let acked = || leader.last_quorum_acked().is_some_and(|acked| acked.elapsed() < lease);
        let holds = (shared.alone.load(Ordering::Acquire) || acked())
            && shared.applied_term() == leader.term()
            // The next leader is elected with this one's permission, without regard to its lease.
            && !shared.leaving.load(Ordering::Acquire)
            // A leader that is no longer a member hands over in the same way, by itself.
            && shared.voter.load(Ordering::Acquire)
            && shared.stopped().is_none();
        if holds { Ok(()) } else { Err(NotLeader { leader: Some(shared.node) }) }
    }

    /// A copy of the state at one entry, made as for a follower that fell behind: while writes go on, throttled, in a file
    /// of the node's folder. Everything is in it that was acknowledged before the call.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn copy(&self) -> Result<Arc<Copy>, CopyError> {
        let Inner { raft, shared, .. } = &*self.inner;
        // What this leader has applied now holds everything acknowledged before; what is copied is never less.
        self.serves_reads()?;
        let snapshot = raft.get_snapshot().await.map_err(CopyError::failed)?;
        let Some(Snapshot { snapshot: Content::Live(source), .. }) = snapshot else {
            return Err(CopyError::Failed("nothing was applied yet".to_owned()));
        };
        let permit = shared.snapshot_permits.acquire().await.map_err(CopyError::failed)?;
        let dir = shared.snapshot_dir.clone();
        let copied = tokio::task::spawn_blocking(move || source.copy(&dir)).await;
        drop(permit);
        Ok(Arc::new(copied.map_err(CopyError::failed)?.map_err(CopyError::failed)?))
    }

    /// The leader as this replica knows it.
    pub fn leader(&self) -> Option<u64> {
        self.inner.leadership.borrow().leader
    }

    /// Changes of leadership. A sender that is gone means that the replica has stopped.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// What an operator wants to see.
    pub fn status(&self) -> GroupStatus {
        let Inner { raft, shared, .. } = &*self.inner;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        let index = |id: &Option<LogId>| id.map(|id| id.index);
        let matched = metrics.replication.iter().flatten();
        GroupStatus {
            group: shared.group,
            term: metrics.current_term,
            leader: metrics.current_leader,
            voters: members.voter_ids().collect(),
            learners: members.learner_ids().collect(),
            settled: members.get_joint_config().len() == 1
                && index(metrics.membership_config.log_id()) <= index(&metrics.local_committed),
            members_at: index(metrics.membership_config.log_id()).unwrap_or_default(),
            matched: matched.map(|(node, id)| (*node, index(id).unwrap_or_default())).collect(),
            answering: self.answering(&metrics),
            last_index: metrics.last_log_index,
            committed_index: metrics.local_committed.map(|id| id.index),
            applied_index: metrics.last_applied.map(|id| id.index),
            purged_index: metrics.purged.map(|id| id.index),
            proposals_in_flight: shared.in_flight.count(),
            snapshots_installed: shared.snapshots_installed.load(Ordering::Relaxed),
            stopped: shared.stopped().map(str::to_owned),
        }
    }

    /// The members that have answered this leader within the shortest election time-out. A link may be up though nobody
    /// works at its other end.
    fn answering(&self, metrics: &openraft::RaftMetrics<Types>) -> BTreeSet<u64> {
        let within = self.inner.config.election_timeout_min;
        let answered = metrics.heartbeat.iter().flatten();
        answered
            .filter(|(_, at)| at.as_ref().is_some_and(|at| at.elapsed() < within))
            .map(|(node, _)| *node)
            .collect()
    }

    /// Keeps [`Leadership`] until the replica stops.
    async fn follow(self) {
        let Inner { raft, shared, leadership, .. } = &*self.inner;
        let mut metrics = raft.metrics();
        loop {
            let (now, stopped) = {
                let metrics = metrics.borrow_watched();
                let term = metrics.current_term;
                let is_me = metrics.current_leader == Some(shared.node);
                let ready = is_me && shared.applied_term() == term;
                let leader = metrics.current_leader;
                let voter = metrics.membership_config.voter_ids().any(|voter| voter == shared.node);
                shared.voter.store(voter, Ordering::Release);
                let alone = voter && metrics.membership_config.voter_ids().count() == 1;
                shared.alone.store(alone, Ordering::Release);
                (Leadership { term, leader, is_me, ready }, metrics.running_state.clone().err())
            };
            let now =
                if stopped.is_some() { Leadership { term: now.term, ..Leadership::default() } } else { now };
            leadership.send_if_modified(|last| std::mem::replace(last, now) != now);
            match stopped {
                None => {}
                Some(Fatal::Stopped) => return shared.shut_down(),
                Some(fatal) => return shared.stop(fatal.to_string()),
            }
            if !now.is_me {
                shared.leaving.store(false, Ordering::Release);
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops the replica and waits until it has let go of the store.
    pub(crate) async fn shut_down(&self) {
        let Inner { raft, shared, handles, .. } = &*self.inner;
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(group = shared.group, %error, "raft core did not end well");
        }
        let mut handles = handles.lock().await;
        if tokio::time::timeout(LET_GO, handles.recv()).await.is_err() {
            tracing::warn!(group = shared.group, "a task of a raft group still holds the store");
        }
    }

    /// Hands the leadership to a voter that `may_lead`, and waits until it is gone. `false` at the deadline.
    ///
    /// From the first asking on this leader sends no heartbeats, so that the others elect one if nobody takes over; each
    /// further asking would put that off. So each voter is asked once, and only if it answered before the first.
    pub(crate) async fn step_down(
        &self,
        may_lead: impl Fn(u64) -> bool,
        deadline: tokio::time::Instant,
    ) -> bool {
        let Inner { raft, shared, .. } = &*self.inner;
        let mut leadership = self.leadership();
        if !leadership.borrow_and_update().is_me {
            return true;
        }
        // New proposals go elsewhere, so that the followers' logs can become equal to this one.
        shared.leaving.store(true, Ordering::Release);
        let mut asked = None;
        let mut answering = BTreeSet::new();
        let gone = loop {
            if !leadership.borrow_and_update().is_me {
                break true;
            }
            // openraft gives up its lease before it knows whether the other is alive, so ask only one that is, and
            // again only after it had its time.
            let again =
                asked.is_none_or(|at: tokio::time::Instant| at.elapsed() > Duration::from_millis(300));
            if asked.is_none() {
                answering = self.answering(&raft.metrics().borrow_watched());
            }
            if again && let Some(to) = self.heir(&|voter| answering.contains(&voter) && may_lead(voter)) {
                asked = Some(tokio::time::Instant::now());
                answering.remove(&to);
                if raft.trigger().transfer_leader(to).await.is_err() {
                    break true;
                }
            }
            let pause = (tokio::time::Instant::now() + Duration::from_millis(5)).min(deadline);
            tokio::select! {
                _ = leadership.changed() => {}
                () = tokio::time::sleep_until(pause) => {}
            }
            if tokio::time::Instant::now() >= deadline {
                break !leadership.borrow().is_me;
            }
        };
        // Once asked, openraft has given up its lease and proposes nothing more in this term: so it stays until the
        // leadership is gone.
        if asked.is_none() {
            shared.leaving.store(false, Ordering::Release);
        }
        gone
    }

    /// A voter whose log is equal to this one's.
    fn heir(&self, may_lead: &impl Fn(u64) -> bool) -> Option<u64> {
        let Inner { raft, shared, .. } = &*self.inner;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        metrics.membership_config.membership().voter_ids().find(|voter| {
            let matched = replication.get(voter).and_then(|matched| matched.as_ref()).map(|id| id.index);
            *voter != shared.node && may_lead(*voter) && matched == metrics.last_log_index
        })
    }
}

fn change(result: Result<(), RaftError<Types, ClientWriteError<Types>>>) -> Result<(), ChangeError> {
    match result {
        Ok(()) => Ok(()),
        Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
        Err(RaftError::APIError(
            ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward),
        )) => Err(ChangeError::NotLeader { leader: forward.leader_id }),
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_),
        ))) => Err(ChangeError::InProgress),
        Err(RaftError::APIError(error)) => Err(ChangeError::Refused(error.to_string())),
    }
}

/// Who leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term of the vote.
    pub term: u64,
    /// The leader as this replica knows it.
    pub leader: Option<u64>,
    /// This replica leads.
    pub is_me: bool,
    /// This replica leads and has applied the first entry of its term: its state holds everything acknowledged so far.
    pub ready: bool,
}

/// A replica's condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: u64,
    /// Current term.
    pub term: u64,
    /// The leader as this replica knows it.
    pub leader: Option<u64>,
    /// The voters, of both sets while a change is under way.
    pub voters: BTreeSet<u64>,
    /// The learners.
    pub learners: BTreeSet<u64>,
    /// The members are what they are until somebody changes them: the last change is committed and whole.
    pub settled: bool,
    /// Index of the last change of members in the log.
    pub members_at: u64,
    /// Index of the last entry that each member is known to have; empty on a replica that does not lead.
    pub matched: BTreeMap<u64, u64>,
    /// Index of the last entry in the log.
    pub last_index: Option<u64>,
    /// Index of the last committed entry that is known here.
    pub committed_index: Option<u64>,
    /// Index of the last applied entry.
    pub applied_index: Option<u64>,
    /// Index up to which the log was purged.
    pub purged_index: Option<u64>,
    /// Proposals that wait for their outcome.
    pub proposals_in_flight: usize,
    /// Snapshots installed since the replica started.
    pub snapshots_installed: u64,
    /// Members that have answered a moment ago; empty on a replica that does not lead.
    pub answering: BTreeSet<u64>,
    /// Why and where this replica stopped, if it did.
    pub stopped: Option<String>,
}
