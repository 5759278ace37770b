//! The settings of all groups of a node, each chosen on purpose.

use std::path::PathBuf;
use std::time::Duration;

/// How the groups of a node behave. Every member of a cluster should run with the same values.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for snapshots on their way in or out. Its content is thrown away when the groups are made.
    pub snapshot_dir: PathBuf,
    /// A leader shows itself this often. Default 200 ms.
    pub heartbeat: Duration,
    /// Shortest time-out before an election. Default 600 ms: two heartbeats, their minimum distance and a tick fit.
    pub election_timeout_min: Duration,
    /// Longest time-out, and the leader's lease: a failover waits for the lease, then for a random time-out.
    /// Default 1,000 ms.
    pub election_timeout_max: Duration,
    /// The state is made durable and the log may be purged after this many entries. Default 20,000.
    pub snapshot_after_entries: u64,
    /// Entries that stay in the log although the state holds them, so that a follower that was away for a moment
    /// needs no snapshot. Default 20,000.
    pub log_keep_entries: u64,
    /// Proposals of one group that wait for their outcome; more are refused as busy. Default 4,096.
    pub proposals_in_flight_max: usize,
    /// Bytes of commands that one group may hold in flight; more are refused as busy. Default 32 MiB.
    pub proposal_bytes_in_flight_max: usize,
    /// Bytes that may wait for one peer. Proposals are refused from half of it on; nothing is dropped. Default 32 MiB.
    pub link_queue_bytes_max: usize,
    /// Snapshots in transfer from this node at the same time, all groups together. Default 2.
    pub snapshots_in_transfer_max: usize,
}

impl Config {
    /// The defaults, with snapshots on their way kept in `snapshot_dir`.
    pub fn new(snapshot_dir: impl Into<PathBuf>) -> Config {
        Config {
            snapshot_dir: snapshot_dir.into(),
            heartbeat: Duration::from_millis(200),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1_000),
            snapshot_after_entries: 20_000,
            log_keep_entries: 20_000,
            proposals_in_flight_max: 4_096,
            proposal_bytes_in_flight_max: 32 << 20,
            link_queue_bytes_max: 32 << 20,
            snapshots_in_transfer_max: 2,
        }
    }

    /// Refuses settings that contradict each other. [`crate::Groups::new`] expects that this was called.
    ///
    /// # Errors
    /// Names the setting and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        todo!()
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{setting}: {reason}")]
pub struct ConfigError {
    /// The field of [`Config`].
    pub setting: &'static str,
    /// What it must be.
    pub reason: String,
}
