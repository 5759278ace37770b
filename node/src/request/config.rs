//! Settings of the front desk.

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
    /// Members of a root collection that one answer may list. Default 200,000.
    pub members_max: usize,
    /// Shards that are asked for their members at the same time. Default 4.
    pub gather_max: usize,
    /// Addresses that one discovery answers with, whatever its maxSize. Default 1,000.
    pub discovered_max: usize,
    /// How long a right of another shard may be used, counted from when its owner was asked. Default 1 s: a
    /// revocation takes effect everywhere within it.
    pub rights_lease: Duration,
    /// How long the owner of a right is asked. Default 3 s: a failover takes less than two.
    pub rights_timeout: Duration,
    /// Rights of other shards that are remembered. Default 10,000.
    pub rights_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            requests_max: 16_384,
            margin_max: Duration::from_millis(50),
            retry_after: Duration::from_millis(200),
            members_max: 200_000,
            gather_max: 4,
            discovered_max: 1_000,
            rights_lease: Duration::from_secs(1),
            rights_timeout: Duration::from_secs(3),
            rights_max: 10_000,
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
            ("discovered_max", self.discovered_max),
            ("rights_max", self.rights_max),
        ];
        let times = [
            ("retry_after", self.retry_after),
            ("rights_lease", self.rights_lease),
            ("rights_timeout", self.rights_timeout),
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
