//! What a client needs to know.

use crate::transport::{Tls, TransportError};

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of some nodes of the cluster; the others are learned from the directory. At least one.
    pub nodes: Vec<String>,
    /// Mutual TLS from files; `None` is plain text, which only an explicit flag of the operator may choose.
    pub tls: Option<Tls>,
    /// Requests under way at once, waiting ones included; more are refused as busy. Default 4,096.
    pub in_flight_max: usize,
    /// Encoded bytes of the requests under way; more are refused as busy. Default 64 MiB.
    pub in_flight_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { nodes: Vec::new(), tls: None, in_flight_max: 4_096, in_flight_bytes_max: 64 << 20 }
    }
}

/// Why a client cannot be made of these settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A limit or list that cannot work.
    #[error("{setting}: {why}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        why: String,
    },
    /// An address or a TLS file that cannot be used.
    #[error("cannot use node {address}")]
    Transport {
        /// The node.
        address: String,
        /// Why.
        #[source]
        source: TransportError,
    },
}

impl Config {
    /// Refuses settings that cannot work; reads the TLS files once.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |setting, why: &str| Err(ConfigError::Setting { setting, why: why.to_owned() });
        if self.nodes.is_empty() {
            return refuse("nodes", "must name at least one node");
        }
        if self.in_flight_max == 0 || self.in_flight_max > 1 << 20 {
            return refuse("in_flight_max", "must be between 1 and 1048576");
        }
        if self.in_flight_bytes_max < 1 << 20 || u32::try_from(self.in_flight_bytes_max).is_err() {
            return refuse("in_flight_bytes_max", "must be between 1 MiB and 4 GiB");
        }
        for address in &self.nodes {
            crate::endpoint(address, self.tls.as_ref())
                .map_err(|source| ConfigError::Transport { address: address.clone(), source })?;
        }
        Ok(())
    }
}
