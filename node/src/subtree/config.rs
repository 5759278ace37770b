//! Settings of the subtrees.

use banyan_model::validate::Policy;
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
    /// How often a leader looks for sessions that ended, while there are any. Default 10 min.
    pub housekeeping: Duration,
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
            housekeeping: Duration::from_secs(600),
            policy: Policy {
                expiration_default_ms: 0,
                expiration_min_ms: 0,
                expiration_max_ms: 0,
                content_bytes_max: 1 << 20,
                instances_default: 0,
                outbox_entries_max: 100_000,
                subscriptions_per_resource_max: 1_000,
                name_seed: 0,
            },
        }
    }
}
