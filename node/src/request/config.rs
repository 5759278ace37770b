//! Settings of the front desk.

use banyan_model::{command::QueueLimits, deferred};
use std::time::Duration;

/// How a node takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Submissions that wait for their answer at this node; more are refused as busy. Default 16,384.
    pub requests_max: usize,
    /// An answer is sent a tenth of the time that was left before its deadline, but not more than this. Default 50 ms.
    pub margin_max: Duration,
    /// When a refused submission may come again. Default 200 ms.
    pub retry_after: Duration,
    /// Members of a root collection that one answer lists for those who cannot ask for pages: groups and what else the
    /// cluster asks itself. Default 20,000.
    pub members_max: usize,
    /// Shards that are asked for their members at the same time. Default 4.
    pub gather_max: usize,
    /// Members that one fan-out of a group asks at the same time. Default 32.
    pub fan_out_concurrency: usize,
    /// Members that all fan-outs of this node ask at the same time. Default 512.
    pub fan_out_node_concurrency: usize,
    /// Fan-outs that this node remembers, so that no group is expanded twice for one of them; more are refused.
    /// Default 16,384.
    pub fan_outs_max: usize,
    /// Octets of members' answers in one aggregated answer. Default 8 MiB.
    pub fan_out_bytes_max: usize,
    /// Members that a group may have. Default 10,000.
    pub group_members_max: usize,
    /// `http(s)://host[:port]` of this SCL for other SCLs: where their members of a group notify an aggregation. Default:
    /// `http://` and the first authority; without either they notify the contact itself.
    pub public_uri: Option<String>,
    /// The id of the registered SCL that gets what is for an SCL which is not registered here. Default: nobody, such a
    /// request is answered with NOT_FOUND. For a cluster of one shard.
    pub others_by: Option<String>,
    /// Addresses that one discovery answers with, whatever its maxSize. Default 1,000.
    pub discovered_max: usize,
    /// How long a right of another shard may be used, counted from when its owner was asked. Default 1 s: a
    /// revocation takes effect everywhere within it.
    pub rights_lease: Duration,
    /// How long a right of another SCL may be used, or may count as one that cannot be retrieved. Default 10 s.
    pub rights_elsewhere_lease: Duration,
    /// How long the owner of a right is asked. Default 3 s: a failover takes less than two.
    pub rights_timeout: Duration,
    /// Rights of other shards that are remembered. Default 10,000.
    pub rights_max: usize,
    /// Long polls that wait at this node, besides the requests; more are refused. Default 16,384.
    pub polls_max: usize,
    /// Long polls that wait at one channel; more are refused. Default 4.
    pub polls_per_channel_max: usize,
    /// A message that a poll got and nobody confirmed is handed out again after this long. Default 5 s.
    pub poll_redelivery: Duration,
    /// How long the answer of an asynchronous request is kept for who repeats it. Default 300 s.
    pub async_lifetime: Duration,
    /// How many asynchronous requests, with their answers, are kept; more are refused. Default 1,000 of 8 MiB for a
    /// requestingEntity, 100,000 of 256 MiB in a shard.
    pub async_limits: deferred::Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            requests_max: 16_384,
            margin_max: Duration::from_millis(50),
            retry_after: Duration::from_millis(200),
            members_max: 20_000,
            gather_max: 4,
            fan_out_concurrency: 32,
            fan_out_node_concurrency: 512,
            fan_outs_max: 16_384,
            fan_out_bytes_max: 8 << 20,
            group_members_max: 10_000,
            public_uri: None,
            others_by: None,
            discovered_max: 1_000,
            rights_lease: Duration::from_secs(1),
            rights_elsewhere_lease: Duration::from_secs(10),
            rights_timeout: Duration::from_secs(3),
            rights_max: 10_000,
            polls_max: 16_384,
            polls_per_channel_max: 4,
            poll_redelivery: Duration::from_secs(5),
            async_lifetime: Duration::from_secs(300),
            async_limits: deferred::Limits {
                entity: QueueLimits { entries_max: 1_000, octets_max: 8 << 20 },
                shard: QueueLimits { entries_max: 100_000, octets_max: 256 << 20 },
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
            ("members_max", self.members_max),
            ("gather_max", self.gather_max),
            ("fan_out_concurrency", self.fan_out_concurrency),
            ("fan_out_node_concurrency", self.fan_out_node_concurrency),
            ("fan_outs_max", self.fan_outs_max),
            ("fan_out_bytes_max", self.fan_out_bytes_max),
            ("group_members_max", self.group_members_max),
            ("discovered_max", self.discovered_max),
            ("rights_max", self.rights_max),
            ("polls_max", self.polls_max),
            ("polls_per_channel_max", self.polls_per_channel_max),
        ];
        let times = [
            ("retry_after", self.retry_after),
            ("rights_lease", self.rights_lease),
            ("rights_elsewhere_lease", self.rights_elsewhere_lease),
            ("rights_timeout", self.rights_timeout),
            ("poll_redelivery", self.poll_redelivery),
            ("async_lifetime", self.async_lifetime),
        ];
        let zero = counts.into_iter().filter(|(_, count)| *count == 0).map(|(setting, _)| setting);
        let zero =
            zero.chain(times.into_iter().filter(|(_, time)| time.is_zero()).map(|(setting, _)| setting));
        match { zero }.next() {
            Some(setting) => Err(ConfigError { setting, why: "must not be 0" }),
            None => Ok(()),
        }
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
