//! The state machine: `(view, command) -> outcome`, the same on every replica, whatever the clock says.

use crate::{Command, Path, ResponsePrimitive, Scl, Timestamp, TreeView, key::Key, record::Record};

/// What a command did.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The answer to the issuer; a refusal is one too.
    pub response: ResponsePrimitive,
    /// The command's id had been applied before: `response` is the recorded one, `changes` is empty.
    pub replayed: Option<bytes::Bytes>,
    /// The write set, one change a key, in key order.
    pub changes: Vec<Change>,
    /// Hints for the leader; whatever must happen is in the changes.
    pub effects: Vec<Effect>,
}

/// One key's change.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Writes a record. `new`: the key cannot exist below (its name was never used), so that an overlay may drop
    /// it without a trace when it is deleted again before it was written.
    Put {
        /// Where.
        key: Key,
        /// What.
        record: Record,
        /// See above.
        new: bool,
    },
    /// Removes a record.
    Delete(Key),
}

/// Hints for the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A queue of the outbox has something.
    Deliver {
        /// The queue.
        queue: Path,
    },
    /// Something falls due at this time.
    Due(Timestamp),
    /// An accessRight changed: cached copies are stale.
    AccessRightChanged(Path),
    /// A subtree root came or went.
    SubtreeChanged(Path),
}

/// Applies one command. `scl` is configuration that all replicas share.
pub fn apply<V: TreeView>(
    view: &V,
    scl: &Scl,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, V::Error> {
    let _ = (view, scl, at, command);
    todo!("model helper")
}
