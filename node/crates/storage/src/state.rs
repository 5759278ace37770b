//! One group's part of the state.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;

use crate::snapshot::Export;
use crate::{Fatal, SnapshotError};

/// Keys from the first, included, to the second, excluded; ordered by their bytes.
pub type KeyRange = (Vec<u8>, Vec<u8>);

/// The state that one group writes; cheap to clone. Keys of different groups must not overlap.
#[derive(Clone)]
pub struct GroupState {}

/// Changes that become visible, and reach the disk, together. A later change of a key replaces an earlier one.
#[derive(Debug, Default)]
pub struct Batch {}

impl Batch {
    /// Sets `key`. `new` promises that the key does not exist now (before this batch, or deleted in it); if it is
    /// deleted again soon, neither reaches the disk.
    pub fn put(&mut self, key: Vec<u8>, value: Bytes, new: bool) {
        let _ = (key, value, new);
        todo!()
    }

    /// Removes `key`; it need not exist.
    pub fn delete(&mut self, key: Vec<u8>) {
        let _ = key;
        todo!()
    }

    /// Changes in the batch.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl GroupState {
    /// Makes the batch visible, all of it at once. It reaches the disk later ([`GroupState::make_durable`]).
    ///
    /// Blocks while a [`ReadView`] of this group lives, and while more than [`crate::Config::overlay_bytes_max`]
    /// bytes wait for the disk (a batch is never split, so one batch a committer may come on top). When storage has
    /// ended trust it no longer waits for the disk.
    pub fn commit(&self, batch: Batch) {
        let _ = batch;
        todo!()
    }

    /// A view of the state as it is now. While it lives nothing is committed to this group: keep it short, never
    /// across an await, and never take a second one of the same group in the same thread.
    pub fn view(&self) -> ReadView<'_> {
        todo!()
    }

    /// Returns when everything that was committed before the call, by all groups, is on disk. Blocks for a write
    /// and a sync; calls at the same time share them.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn make_durable(&self) -> Result<(), Fatal> {
        todo!()
    }

    /// Prepares a copy of `ranges`, to be made by [`Export::write`].
    pub fn export(&self, ranges: Vec<KeyRange>) -> Export {
        let _ = ranges;
        todo!()
    }

    /// Replaces everything in `ranges` by the contents of `file`, written by [`Export::write`] with the same ranges.
    /// On disk when it returns; if a crash interrupts it, the next open starts it again. Nothing may be committed to
    /// this group meanwhile; views wait. The file is not needed afterwards.
    ///
    /// # Errors
    /// [`SnapshotError`]; unless it is `Fatal` the state is untouched.
    pub fn import(&self, ranges: Vec<KeyRange>, file: &Path) -> Result<(), SnapshotError> {
        let _ = (ranges, file);
        todo!()
    }
}

/// The state of one group at one moment.
pub struct ReadView<'a> {
    gate: PhantomData<(&'a (), *const ())>,
}

impl ReadView<'_> {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        let _ = key;
        todo!()
    }

    /// Visits the keys from `from`, included, to `to`, excluded, in order, or from the last to the first with
    /// `reverse`, until `visit` breaks.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fatal> {
        let _ = (from, to, reverse, visit);
        todo!()
    }
}
