//! Keys of stored records: byte strings whose order is the order of the tree.
//!
//! `Space::Slot` keys belong to a subtree and move with its slot; the replica prefixes them with nothing but the slot,
//! so a shard is one contiguous range. `Space::Shard` keys (reply table, expiry index, sessions) belong to the Raft group.

use crate::path::Slot;

/// Where a key lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// Of the whole shard.
    Shard,
    /// Of one subtree.
    Slot(Slot),
}

/// A key. Constructors live beside the records they address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub struct Key {
    pub space: Space,
    pub bytes: Vec<u8>,
}
