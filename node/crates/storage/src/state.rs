//! One group's part of the state.

mod overlay;
mod view;
mod writer;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::snapshot::{self, Export};
use crate::store::Shared;
use crate::{Fatal, SnapshotError};
pub(crate) use overlay::{Capture, Overlay};
pub use view::ReadView;
pub(crate) use writer::{Budget, run};

/// Keys that one batch of [`GroupState::clear`] removes.
const CLEARED_AT_ONCE: usize = 1_000;

/// Keys from the first, included, to the second, excluded; ordered by their bytes.
pub type KeyRange = (Vec<u8>, Vec<u8>);

/// The state that one group writes; cheap to clone. Keys of different groups must not overlap.
#[derive(Clone)]
pub struct GroupState {
    shared: Arc<Shared>,
    overlay: Arc<Overlay>,
}

/// Changes that become visible, and reach the disk, together. A later change of a key replaces an earlier one.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<BatchChange>,
}

#[derive(Debug)]
struct BatchChange {
    key: Vec<u8>,
    value: Option<Bytes>,
    new: bool,
}

impl Batch {
    /// Sets `key`. `new` promises that the key does not exist now (not before this batch, or deleted in it); if it
    /// is deleted again soon, neither reaches the disk. A promise that is not kept leaves the old value on disk.
    pub fn put(&mut self, key: Vec<u8>, value: Bytes, new: bool) {
        self.changes.push(BatchChange { key, value: Some(value), new });
    }

    /// Removes `key`; it need not exist.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.push(BatchChange { key, value: None, new: false });
    }

    /// Changes in the batch.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl GroupState {
    pub(crate) fn new(shared: Arc<Shared>, overlay: Arc<Overlay>) -> GroupState {
        GroupState { shared, overlay }
    }

    /// Makes the batch visible, all of it at once. It reaches the disk later ([`GroupState::make_durable`]).
    ///
    /// Blocks while a [`ReadView`] of this group lives, and while more than [`crate::Config::overlay_bytes_max`]
    /// bytes wait for the disk (a batch is never split, so one batch a committer may come on top). When storage has
    /// ended trust, or is closed, it no longer waits for the disk.
    pub fn commit(&self, batch: Batch) {
        let budget = &self.shared.budget;
        budget.admit();
        let change = self.overlay.commit(batch);
        budget.changed(change);
    }

    /// A view of the state as it is now. While it lives nothing is committed to this group: keep it short, never
    /// across an await, and never take a second one of the same group in the same thread.
    pub fn view(&self) -> ReadView<'_> {
        ReadView::new(&self.overlay, &*self.shared.state_engine, &self.shared.trust)
    }

    /// Returns when everything that was committed before the call, by all groups, is on disk. Blocks for a write
    /// and a sync; calls at the same time share them.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn make_durable(&self) -> Result<(), Fatal> {
        self.shared.budget.make_durable()
    }

    /// Removes every key in `ranges`, some at a time: memory is bounded, readers and other groups go on meanwhile. On
    /// disk when it returns; what a crash leaves is removed by another call. Blocks.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn clear(&self, ranges: &[KeyRange]) -> Result<(), Fatal> {
        for (from, to) in ranges {
            loop {
                let mut batch = Batch::default();
                self.view().scan(from, to, false, &mut |key, _| {
                    batch.delete(key.to_vec());
                    if batch.len() < CLEARED_AT_ONCE {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })?;
                if batch.is_empty() {
                    break;
                }
                self.commit(batch);
            }
        }
        self.make_durable()
    }

    /// Prepares a copy of `ranges`, to be made by [`Export::write`].
    pub fn export(&self, ranges: Vec<KeyRange>) -> Export {
        Export::new(self.clone(), ranges)
    }

    /// Replaces everything in `ranges` by the contents of `file`, written by [`Export::write`] with the same ranges.
    /// On disk when it returns; if a crash interrupts it, the next open starts it again. Nothing may be committed to
    /// this group meanwhile; views wait. The file is not needed afterwards.
    ///
    /// # Errors
    /// [`SnapshotError`]; unless it is `Fatal` the state is untouched.
    pub fn import(&self, ranges: Vec<KeyRange>, file: &Path) -> Result<(), SnapshotError> {
        snapshot::import(&self.shared, &self.overlay, ranges, file)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }
}
