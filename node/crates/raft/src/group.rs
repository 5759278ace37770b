//! One group's replica on this node, as the rest of the node sees it.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::sync::watch;

use crate::{ChangeError, NotLeader, ProposeError};

/// A handle on one group's replica; cheap to clone.
#[derive(Clone)]
pub struct Group {}

impl Group {
    /// The group's number.
    pub fn id(&self) -> u64 {
        todo!()
    }

    /// Makes `voters` the first members, on an empty replica. Idempotent: every founder may call it with the same set.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] or [`ChangeError::Stopped`].
    pub async fn found(&self, voters: BTreeSet<u64>) -> Result<(), ChangeError> {
        let _ = voters;
        todo!()
    }

    /// Adds `node` as a learner; returns when the change is committed, not when the learner has caught up.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn add_learner(&self, node: u64) -> Result<(), ChangeError> {
        let _ = node;
        todo!()
    }

    /// Makes `voters` the voters. Each must be a learner or voter already; a voter that leaves is removed.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), ChangeError> {
        let _ = voters;
        todo!()
    }

    /// Proposes a command. Does not wait; `answer` is called exactly once, from any thread, and must not block.
    pub fn propose(&self, command: Bytes, answer: impl FnOnce(Result<Bytes, ProposeError>) + Send + 'static) {
        let _ = (command, answer);
        todo!()
    }

    /// Whether a read of the local state is linearizable now: leader, lease valid, first entry of the term applied.
    ///
    /// # Errors
    /// [`NotLeader`] with the leader as far as it is known.
    pub fn serves_reads(&self) -> Result<(), NotLeader> {
        todo!()
    }

    /// The leader as this replica knows it.
    pub fn leader(&self) -> Option<u64> {
        todo!()
    }

    /// Changes of leadership.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        todo!()
    }

    /// What an operator wants to see.
    pub fn status(&self) -> GroupStatus {
        todo!()
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
    /// Why and where this replica stopped, if it did.
    pub stopped: Option<String>,
}
