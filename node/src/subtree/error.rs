//! Why a shard gives no answer, by what to do next.

use banyan_model::placement::NodeId;
use banyan_raft::{NotLeader, ProposeError};
use std::time::Duration;

/// When to try again after nothing more could be taken.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Why a shard gave no answer. A refusal by the tree is an answer, not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Nothing was done here. Ask the leader, or look for one.
    #[error("not the leader")]
    NotLeader {
        /// As this replica knows it. This node itself: elected and not ready yet.
        leader: Option<NodeId>,
    },
    /// Nothing was done. Ask again after a while.
    #[error("busy: {why}")]
    Busy {
        /// When.
        retry_after: Duration,
        /// Of what there is too much.
        why: &'static str,
    },
    /// It may or may not happen: only the same request id may be sent again.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(&'static str),
    /// The request ran into a defect of this program. Nothing was done, and a retry meets the same.
    #[error("the request could not be handled")]
    Defect,
}

impl ShardError {
    pub(super) fn busy(why: &'static str) -> ShardError {
        ShardError::Busy { retry_after: RETRY_AFTER, why }
    }
}

impl From<ProposeError> for ShardError {
    fn from(error: ProposeError) -> ShardError {
        match error {
            ProposeError::NotLeader { leader } => ShardError::NotLeader { leader: leader.map(NodeId) },
            ProposeError::Busy => ShardError::busy("too many proposals in flight"),
            ProposeError::Unknown => ShardError::OutcomeUnknown("the entry may still be committed"),
            ProposeError::Stopped => ShardError::NotLeader { leader: None },
        }
    }
}

impl From<NotLeader> for ShardError {
    fn from(NotLeader { leader }: NotLeader) -> ShardError {
        ShardError::NotLeader { leader: leader.map(NodeId) }
    }
}

/// Why a shard's replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its Raft group cannot start.
    #[error("the replica's group cannot start")]
    Raft(#[from] banyan_raft::StartError),
    /// [`super::Shards::stop`] was called.
    #[error("the shards of this node are stopping")]
    Stopping,
    /// Its actor cannot be started.
    #[error("the shard's actor cannot start: {0}")]
    Actor(String),
}
