//! What `apply` and `query` read through: an in-memory map in tests, overlay and sled on a replica.

use crate::{
    key::{Key, Range},
    record::Record,
};
use std::ops::ControlFlow;

/// A consistent view of one shard's state: nothing changes while it is borrowed.
pub trait TreeView {
    /// Why this replica could not read its own state. It must stop serving.
    type Error: std::fmt::Debug;

    /// The record under a key.
    fn get(&self, key: &Key) -> Result<Option<Record>, Self::Error>;

    /// Visits the records of a range in key order (backwards when `reverse`), until `visit` breaks.
    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// The error for a key that holds another kind of record than it must.
    fn corrupt(&self, key: &[u8]) -> Self::Error;
}
