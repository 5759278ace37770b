//! Settings of the subtrees.

use banyan_model::{command::QueueLimits, validate::Policy};
use std::time::Duration;

/// How the shards of a node behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Requests of one subtree that wait for their answer; more are refused as busy, so that one noisy gateway cannot
    /// starve the rest. Default 512.
    pub requests_max: usize,
    /// Subtrees of one shard with an actor; a new one is refused as busy while all are at work. Default 4,096.
    pub subtrees_max: usize,
    /// An actor without requests goes away after this long. Default 60 s.
    pub idle: Duration,
    /// Listings that this node makes at the same time; more are refused as busy. Default 16.
    pub listings_max: usize,
    /// Bytes of outbox entries that are handed out at once. Default 1 MiB.
    pub outbox_bytes_max: usize,
    /// What the operator allows; `name_seed` is drawn for each request.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            requests_max: 512,
            subtrees_max: 4_096,
            idle: Duration::from_secs(60),
            listings_max: 16,
            outbox_bytes_max: 1 << 20,
            policy: Policy {
                expiration_default_ms: 0,
                expiration_min_ms: 0,
                expiration_max_ms: 0,
                content_bytes_max: 1 << 20,
                instances_default: 0,
                instances_max: 10_000_000,
                container_bytes_max: 16 << 30,
                subscriptions_per_resource_max: 1_000,
                resources_per_subtree_max: 1_000_000,
                search_strings_max: 100,
                search_string_bytes_max: 256,
                members_per_group_max: 10_000,
                m2m_pocs_per_scl_max: 32,
                list_entries_max: 1_000,
                announce_all: false,
                channel: QueueLimits { entries_max: 1_000, octets_max: 8 << 20 },
                aggregation: QueueLimits { entries_max: 1_000, octets_max: 8 << 20 },
                aggregations_per_group_max: 64,
                public_uri: None,
                name_seed: 0,
            },
        }
    }
}

impl Config {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the setting and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let counts = [
            ("requests_max", self.requests_max),
            ("subtrees_max", self.subtrees_max),
            ("listings_max", self.listings_max),
            ("outbox_bytes_max", self.outbox_bytes_max),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError { setting, why: "must not be 0" });
        }
        if self.idle < Duration::from_millis(20) {
            return Err(ConfigError { setting: "idle", why: "must be at least 20 ms" });
        }
        let Policy { expiration_min_ms: min, expiration_max_ms: max, expiration_default_ms: default, .. } =
            self.policy;
        if min < 0 || max < 0 || default < 0 {
            return Err(ConfigError { setting: "policy", why: "no time may be below 0" });
        }
        if max != 0 && (min > max || default > max) {
            return Err(ConfigError {
                setting: "policy.expiration_max_ms",
                why: "must not be below expiration_min_ms and expiration_default_ms",
            });
        }
        Ok(())
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct ConfigError {
    /// The setting.
    pub setting: &'static str,
    /// What it must be.
    pub why: &'static str,
}
