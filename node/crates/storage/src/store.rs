//! One node folder.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{Config, Fatal, GroupLog, GroupState, OpenError, Stats};

/// One node folder, opened by this process alone; cheap to clone. The folder is free again when it was closed or
/// when the last handle is gone, [`GroupLog`] and [`GroupState`] included.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the folder `dir`, or makes it. Finishes an import that a crash interrupted. Blocks; reading back a
    /// large folder takes seconds.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do; the folder is left as it is.
    pub fn open(dir: &Path, config: Config) -> Result<Store, OpenError> {
        let _ = (dir, config);
        todo!()
    }

    /// Identity of the folder: random, made with it, never changed. A copy of the folder has the same.
    pub fn identity(&self) -> u64 {
        todo!()
    }

    /// Where snapshot files belong: on the same file system as the state, so that installing one need not copy it.
    pub fn snapshot_dir(&self) -> PathBuf {
        todo!()
    }

    /// A value of the node itself, from memory.
    pub fn meta(&self, key: &str) -> Option<Bytes> {
        let _ = key;
        todo!()
    }

    /// Keeps a value of the node itself: its id, its cluster. On disk when it returns; blocks for one sync.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn put_meta(&self, key: &str, value: Bytes) -> Result<(), Fatal> {
        let _ = (key, value);
        todo!()
    }

    /// Groups that have anything in the log, in order.
    pub fn groups(&self) -> Vec<u64> {
        todo!()
    }

    /// The log of `group`; empty if it has none yet. `u64::MAX` is taken by the node itself.
    pub fn log(&self, group: u64) -> GroupLog {
        let _ = group;
        todo!()
    }

    /// The state that `group` writes.
    pub fn state(&self, group: u64) -> GroupState {
        let _ = group;
        todo!()
    }

    /// Counters and sizes. Looks at the folder: not for a hot path.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Becomes `Some` when storage ends trust, and stays so: leave the process then.
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        todo!()
    }

    /// Writes and syncs everything, ends the threads. Whatever is asked afterwards is refused. Blocks.
    ///
    /// # Errors
    /// [`Fatal`] if something may be missing; what was acknowledged is in the log all the same.
    pub fn close(&self) -> Result<(), Fatal> {
        todo!()
    }
}
