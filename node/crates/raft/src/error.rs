//! What can go wrong, by what to do next.

/// Why a proposal has no reply.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ProposeError {
    /// Not appended here: ask `leader`, or look for one. Safe to retry.
    #[error("not the leader")]
    NotLeader {
        /// The leader as this replica knows it.
        leader: Option<u64>,
    },
    /// Too much in flight: nothing was appended. Safe to retry after a moment.
    #[error("too many proposals in flight")]
    Busy,
    /// It may or may not commit: only a command that is idempotent by its own id may be sent again.
    #[error("outcome unknown")]
    Unknown,
    /// This replica has stopped; nothing was appended here.
    #[error("replica stopped")]
    Stopped,
}

/// This replica may not serve reads now.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("not the leader, or its lease is not confirmed")]
pub struct NotLeader {
    /// The leader as this replica knows it; `Some(self)` when only the lease or the first entry of the term is missing.
    pub leader: Option<u64>,
}

/// Why there is no copy of a group's state.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CopyError {
    /// Ask the leader.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The copy could not be made; the text says why.
    #[error("the state was not copied: {0}")]
    Failed(String),
}

impl CopyError {
    pub(crate) fn failed(error: impl std::fmt::Display) -> CopyError {
        CopyError::Failed(error.to_string())
    }
}

/// Why a group did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A group of this number runs already on this node.
    #[error("group {0} is already started")]
    AlreadyStarted(u64),
    /// [`crate::Groups::shutdown`] was called.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// A setting contradicts another.
    #[error("invalid raft setting")]
    Config(#[from] crate::ConfigError),
    /// The stored log, vote or state cannot be read.
    #[error("group {group} cannot start: {reason}")]
    Storage {
        /// The group.
        group: u64,
        /// What was wrong.
        reason: String,
    },
}

/// Why members were not changed.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// Ask the leader.
    #[error("not the leader")]
    NotLeader {
        /// The leader as this replica knows it.
        leader: Option<u64>,
    },
    /// Another change is not finished: wait, then ask again.
    #[error("another change of members is in progress")]
    InProgress,
    /// The change cannot be made; the text says why.
    #[error("refused: {0}")]
    Refused(String),
    /// This replica has stopped.
    #[error("replica stopped")]
    Stopped,
}
