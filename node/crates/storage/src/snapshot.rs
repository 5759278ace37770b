//! Snapshots that travel: a copy of some ranges in a file, and back.

use std::path::Path;

use crate::{ReadView, SnapshotError};

/// A copy that is ready to be made.
pub struct Export {}

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Changes in the file; a key that changed during the copy is there more than once.
    pub records: u64,
    /// Size of the file.
    pub bytes: u64,
}

impl Export {
    /// Writes the copy to `file`, replacing it, while writes to the group go on; the copy is the state as it is at
    /// the very end. `at_end` sees exactly that state: read the applied log id there. Blocks for as long as it
    /// takes, and while other exports have the node's permits. The file is not synced.
    ///
    /// # Errors
    /// [`SnapshotError`]; remove the file then.
    pub fn write<R>(
        self,
        file: &Path,
        at_end: impl FnOnce(&ReadView<'_>) -> R,
    ) -> Result<(Exported, R), SnapshotError> {
        let _ = (file, at_end);
        todo!()
    }
}
