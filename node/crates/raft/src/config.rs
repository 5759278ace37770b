//! The settings of all groups of a node, each chosen on purpose.

use std::time::Duration;

/// How the groups of a node behave. Every member of a cluster should run with the same values.
#[derive(Debug, Clone)]
pub struct Config {
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
    /// Bytes that may wait for one peer; its entries stay in the log while there is no room. Pass it to
    /// [`crate::Links::new`]. Default 16 MiB.
    pub link_queue_bytes_max: usize,
    /// Snapshots in transfer from this node at the same time, all groups together. Default 2.
    pub snapshots_in_transfer_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            heartbeat: Duration::from_millis(200),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1_000),
            snapshot_after_entries: 20_000,
            log_keep_entries: 20_000,
            proposals_in_flight_max: 4_096,
            proposal_bytes_in_flight_max: 32 << 20,
            link_queue_bytes_max: 16 << 20,
            snapshots_in_transfer_max: 2,
        }
    }
}

impl Config {
    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// Names the setting and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |setting, reason: String| Err(ConfigError { setting, reason });
        if self.heartbeat < Duration::from_millis(10) {
            return refuse("heartbeat", "must be at least 10 ms".to_owned());
        }
        // openraft looks at its clock every 13/64 of a heartbeat, and a heartbeat that an answered append makes
        // unnecessary is left out once.
        let quiet = self.heartbeat * 2 + self.heartbeat * 13 / 64;
        if self.election_timeout_min <= quiet {
            let least = quiet.as_millis() + 1;
            return refuse(
                "election_timeout_min",
                format!("must be at least {least} ms with this heartbeat"),
            );
        }
        if self.election_timeout_max <= self.election_timeout_min {
            return refuse("election_timeout_max", "must be more than election_timeout_min".to_owned());
        }
        for (setting, value) in [
            ("snapshot_after_entries", self.snapshot_after_entries),
            ("proposals_in_flight_max", self.proposals_in_flight_max as u64),
            ("proposal_bytes_in_flight_max", self.proposal_bytes_in_flight_max as u64),
            ("link_queue_bytes_max", self.link_queue_bytes_max as u64),
            ("snapshots_in_transfer_max", self.snapshots_in_transfer_max as u64),
        ] {
            if value == 0 {
                return refuse(setting, "must not be 0".to_owned());
            }
        }
        Ok(())
    }

    /// openraft's settings, every one set on purpose.
    pub(crate) fn to_openraft(&self, group: u64) -> Result<openraft::Config, ConfigError> {
        self.validate()?;
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        #[allow(deprecated, reason = "send_snapshot_timeout is a field of the struct; it is not used")]
        let config = openraft::Config {
            // For its log lines only.
            cluster_name: format!("group-{group}"),
            heartbeat_interval: ms(self.heartbeat),
            // An answered append is a sign of life too: a busy group sends no heartbeats.
            heartbeat_min_interval: Some(ms(self.heartbeat)),
            election_timeout_min: ms(self.election_timeout_min),
            election_timeout_max: ms(self.election_timeout_max),
            // Only handed to our own transfer, which has limits of its own for each step.
            install_snapshot_timeout: 600_000,
            send_snapshot_timeout: 0,
            snapshot_max_chunk_size: 256 << 10,
            // The reads stop at bytes before they stop at this.
            max_payload_entries: 1_024,
            max_append_entries: Some(4_096),
            // A follower is sent entries as long as the log has them: far cheaper than a snapshot.
            replication_lag_threshold: u64::MAX / 2,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_after_entries),
            // A transfer does not stop the leader from purging, so what is written meanwhile must stay.
            max_in_snapshot_log_to_keep: self.log_keep_entries,
            // Each purge waits for one sync of the group: seldom.
            purge_batch_size: (self.snapshot_after_entries / 4).clamp(1, 4_096),
            // Longer than what may be in flight, so that a proposal never waits to be queued.
            api_channel_size: Some(2 * self.proposals_in_flight_max as u64 + 1_024),
            // Everything that is waiting goes into one append; no linger, the sync before makes the batch.
            api_batch_capacity: 4_096,
            api_batch_linger_ms: 0,
            notification_channel_size: Some(65_536),
            state_machine_channel_size: Some(1_024),
            // No statistics of openraft's own.
            log_stage_capacity: None,
            // Followers hear of entries while the leader's own disk still works (spike-notes 3).
            broadcast_submitted_on_append: Some(true),
            enable_tick: true,
            enable_heartbeat: true,
            // Switched on by `Groups` when no lease that this replica may have promised can hold any more.
            enable_elect: false,
            // A leader that is no longer a member gives way at once.
            removed_leader_step_down: openraft::Config::default().removed_leader_step_down,
            // A leader without a majority refuses proposals and reads by its lease; it need not step down for it.
            quorum_loss_probe_interval: None,
            // A replica that comes back must not depose a leader that works.
            enable_pre_vote: Some(true),
            // Used only where the network gives none; ours gives one.
            backoff: "100ms 200ms ...400ms".to_owned(),
            reset_backoff_on_transfer_leader: Some(true),
            // A log that went backwards is lost data: stop, do not paper over it.
            allow_log_reversion: Some(false),
            // The state of a restarted leader may be behind what it acknowledged: it must win an election, whose
            // first entry brings the rest.
            enable_leader_restore: Some(false),
        };
        config.validate().map_err(|error| ConfigError { setting: "raft", reason: error.to_string() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted_by_us_and_by_openraft() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        assert!(config.to_openraft(1).is_ok());
    }

    #[test]
    fn a_contradiction_names_the_setting() {
        let mut config = Config { election_timeout_min: Duration::from_millis(440), ..Config::default() };
        let refused = config.validate().expect_err("two heartbeats and a tick take longer");
        assert_eq!(refused.to_string(), "election_timeout_min: must be at least 441 ms with this heartbeat");

        config.election_timeout_min = config.election_timeout_max;
        assert_eq!(config.validate().expect_err("no room for chance").setting, "election_timeout_max");
    }
}
