//! What an operator and a benchmark want to know.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the folder was opened, and sizes now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Syncs of the log.
    pub log_syncs: u64,
    /// Entries that these syncs put on disk. `log_entries / log_syncs` says how well group commit works.
    pub log_entries: u64,
    /// Bytes of these entries.
    pub log_entry_bytes: u64,
    /// Votes, pointers, truncations and purges that shared these syncs.
    pub log_other_writes: u64,
    /// How long writing and syncing one batch of the log took.
    pub log_write: Timing,
    /// Bytes of log writes that wait for the disk now.
    pub log_queue_bytes: u64,
    /// Bytes of recent entries in memory now.
    pub log_cache_bytes: u64,
    /// Bytes of the log's files now.
    pub log_disk_bytes: u64,
    /// Entries that had to be read from the log's files.
    pub log_entries_read_from_disk: u64,
    /// Changes that reached the state's file.
    pub state_changes: u64,
    /// Keys that were put and deleted again before they had to be written at all.
    pub state_changes_saved: u64,
    /// How long one round of the writer took: write, flush, sync.
    pub state_write: Timing,
    /// Bytes of applied changes in memory now.
    pub overlay_bytes: u64,
    /// Commits that had to wait for the disk.
    pub overlay_waits: u64,
    /// Bytes of the state's files now.
    pub state_disk_bytes: u64,
    /// Bytes of everything in the folder now.
    pub disk_bytes: u64,
}

/// How often and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// How often.
    pub count: u64,
    /// Together.
    pub total: Duration,
    /// The longest.
    pub max: Duration,
}

/// A [`Timing`] that several threads add to.
#[derive(Default)]
pub(crate) struct Clock {
    count: AtomicU64,
    total_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Clock {
    pub(crate) fn add(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    pub(crate) fn timing(&self) -> Timing {
        Timing {
            count: self.count.load(Ordering::Relaxed),
            total: Duration::from_nanos(self.total_ns.load(Ordering::Relaxed)),
            max: Duration::from_nanos(self.max_ns.load(Ordering::Relaxed)),
        }
    }
}
