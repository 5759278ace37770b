//! What `apply` and `query` read through: an in-memory map in tests, overlay and sled on a replica.

use crate::{key::{Key, Space}, record::Record};
use std::ops::ControlFlow;

/// A consistent view of one shard's state: nothing changes while it is borrowed.
pub trait TreeView {
    /// Why this replica could not read its own state. It must stop serving.
    type Error: std::fmt::Debug;

    /// The record under a key.
    fn get(&self, key: &Key) -> Result<Option<Record>, Self::Error>;

    /// Visits records with `from <= key < to` inside one space, in key order (backwards when `reverse`),
    /// until `visit` breaks.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;
}
