//! The settings of the storage, each with its reason.

use std::time::Duration;

/// Settings of one node folder. All limits are for the whole node, not for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long applied changes stay in memory before they go to the state's file. Longer merges more writes of the
    /// same key; what a crash loses is replayed from the log. Default 300 ms.
    pub write_behind: Duration,
    /// Bytes of applied changes in memory from which on [`crate::GroupState::commit`] waits for the disk. Half of
    /// it starts the writer ahead of time. Default 128 MiB.
    pub overlay_bytes_max: usize,
    /// Bytes of recent log entries kept for followers and for apply. Entries that are not on disk yet are kept in
    /// any case and are bounded by `log_queue_bytes_max`. Default 64 MiB.
    pub log_cache_bytes_max: usize,
    /// Bytes of log writes that may wait for the disk; [`crate::GroupLog::append`] blocks above. Default 64 MiB.
    pub log_queue_bytes_max: usize,
    /// Size at which the log starts a new file. Default 16 MiB.
    pub log_file_bytes: u64,
    /// Size of all log files at which old ones are given back, and what still lives in them is written again.
    /// Default 512 MiB.
    pub log_bytes_max: u64,
    /// How often old log files are looked for. Default 5 s.
    pub log_reclaim_interval: Duration,
    /// A log write of at least this size is compressed with LZ4; 0 never does. Default 0: most of a log write is
    /// already small, and the processor is scarcer than the disk.
    pub log_compression_bytes_min: u64,
    /// Memory for the state's pages. Default 128 MiB.
    pub state_cache_bytes: u64,
    /// Exports that may run at the same time, all groups together. Default 1.
    pub exports_max: usize,
    /// Bytes a second that one export may copy, so that it does not push everybody else from the disk.
    /// Default 64 MiB/s.
    pub export_bytes_per_second_max: u64,
    /// Keys that may change behind an export before it must start again. Default 100,000.
    pub export_dirty_keys_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            write_behind: Duration::from_millis(300),
            overlay_bytes_max: 128 << 20,
            log_cache_bytes_max: 64 << 20,
            log_queue_bytes_max: 64 << 20,
            log_file_bytes: 16 << 20,
            log_bytes_max: 512 << 20,
            log_reclaim_interval: Duration::from_secs(5),
            log_compression_bytes_min: 0,
            state_cache_bytes: 128 << 20,
            exports_max: 1,
            export_bytes_per_second_max: 64 << 20,
            export_dirty_keys_max: 100_000,
        }
    }
}

impl Config {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the setting and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let least = [
            ("overlay_bytes_max", self.overlay_bytes_max as u64, 1 << 20),
            ("log_cache_bytes_max", self.log_cache_bytes_max as u64, 0),
            ("log_queue_bytes_max", self.log_queue_bytes_max as u64, 1 << 20),
            ("log_file_bytes", self.log_file_bytes, 1 << 20),
            ("log_bytes_max", self.log_bytes_max, 4 * self.log_file_bytes),
            ("state_cache_bytes", self.state_cache_bytes, 1 << 20),
            ("exports_max", self.exports_max as u64, 1),
            ("export_bytes_per_second_max", self.export_bytes_per_second_max, 1 << 16),
            ("export_dirty_keys_max", self.export_dirty_keys_max as u64, 1_024),
        ];
        for (setting, value, least) in least {
            if value < least {
                return Err(ConfigError { setting, reason: format!("is {value}, must be at least {least}") });
            }
        }
        for (setting, value) in
            [("write_behind", self.write_behind), ("log_reclaim_interval", self.log_reclaim_interval)]
        {
            if value < Duration::from_millis(1) || value > Duration::from_secs(60) {
                return Err(ConfigError { setting, reason: "must be between 1 ms and 60 s".to_owned() });
            }
        }
        Ok(())
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct ConfigError {
    /// The setting.
    pub setting: &'static str,
    /// What it must be.
    pub reason: String,
}
