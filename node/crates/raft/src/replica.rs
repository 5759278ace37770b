//! What a group applies its entries to: implemented by the owner of the state.

use banyan_storage::Batch;
use bytes::Bytes;

/// One replica's state machine. Deterministic: the same commands in the same order give the same writes and replies.
pub trait Replica: Send + Sync + 'static {
    /// Applies committed commands in order: one reply for each, the writes into `batch`.
    ///
    /// The batch is committed afterwards, together with the applied log id and the membership; nothing is visible
    /// before. Must not block on anything but the state.
    ///
    /// # Errors
    /// [`Stop`], or a panic: this replica cannot read its own state and stops at this entry for good.
    fn apply(&self, commands: &[Bytes], batch: &mut Batch) -> Result<Vec<Bytes>, Stop>;

    /// The last batch is visible now and not yet answered: publish its effects. Called on every replica.
    fn applied(&self) {}

    /// The key ranges `[from, to)` that a snapshot of this group holds.
    fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// A snapshot has replaced the state: forget whatever was cached of it.
    fn restored(&self) {}
}

/// Why a replica can go no further.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct Stop {
    /// For the log and the operator.
    pub reason: String,
    /// Which of the commands of the call, counted from 0, if known: the group reports the entry.
    pub command: Option<usize>,
}

impl Stop {
    /// A stop at the command `command` (counted from 0) of the call to [`Replica::apply`].
    pub fn at(command: usize, reason: impl Into<String>) -> Stop {
        Stop { reason: reason.into(), command: Some(command) }
    }
}
