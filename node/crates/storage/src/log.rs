//! One group's log.

use bytes::Bytes;

use crate::Fatal;

/// The log of one group; cheap to clone. Calls of one group take effect in the order in which they are made.
#[derive(Clone)]
pub struct GroupLog {}

/// Where a log begins and ends, by index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last entry that was purged: entries begin after it.
    pub purged: Option<u64>,
    /// The last entry there is, or `purged` if there is none after it.
    pub last: Option<u64>,
}

impl GroupLog {
    /// Where the log begins and ends now, writes on their way to the disk included.
    pub fn bounds(&self) -> LogBounds {
        todo!()
    }

    /// Adds entries of consecutive indices, the first right after the last there is (any index, in a log that has
    /// never had one). They can be read when this returns; `done` is called once, in the order of all groups'
    /// appends, when they are on disk or never will be. It runs on the log writer's thread and must not block.
    ///
    /// Blocks while more than [`crate::Config::log_queue_bytes_max`] bytes wait for the disk.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: impl FnOnce(Result<(), Fatal>) + Send + 'static) {
        let _ = (entries, done);
        todo!()
    }

    /// Removes all entries after `index`; `None` removes all. On disk when it returns.
    ///
    /// # Errors
    /// [`Fatal`].
    pub async fn truncate_after(&self, index: Option<u64>) -> Result<(), Fatal> {
        let _ = index;
        todo!()
    }

    /// Removes all entries up to and including `up_to`, which may lie beyond the last: then the log goes on after
    /// it. Not waited for; until it is on disk a crash brings the entries back.
    ///
    /// The caller has made the state durable that holds these entries ([`crate::GroupState::make_durable`]).
    pub fn purge(&self, up_to: u64) {
        let _ = up_to;
        todo!()
    }

    /// Keeps a small value with the log: a vote, a pointer. Ordered with the appends, on disk when it returns.
    ///
    /// # Errors
    /// [`Fatal`].
    pub async fn put_meta(&self, key: &'static str, value: Bytes) -> Result<(), Fatal> {
        let _ = (key, value);
        todo!()
    }

    /// What [`GroupLog::put_meta`] was called with last, from memory.
    pub fn get_meta(&self, key: &str) -> Option<Bytes> {
        let _ = key;
        todo!()
    }

    /// Entries `from..to` as far as they are there, in order and without a hole: at most `bytes_max` bytes, but at
    /// least the first if it is there. Nothing if `from` is purged.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, Fatal> {
        let _ = (from, to, bytes_max);
        todo!()
    }
}
