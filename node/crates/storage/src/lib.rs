//! The node's disk: one folder with the Raft log of all groups and the state that was applied from it.
//!
//! Three rules carry everything here:
//!
//! 1. **Nothing is acknowledged before it is on disk.** One thread a node collects the log writes of all groups,
//!    writes them as one batch, syncs once, and then calls back in the order of arrival ([`GroupLog`]).
//! 2. **State is applied in memory and written behind.** A [`Batch`] is visible at once and reaches the disk within
//!    [`Config::write_behind`]. After a crash the state is a little old, but it is always the state after some whole
//!    batch: keep the applied log id in the batch and replay the log from there ([`GroupState`]).
//! 3. **The log may be purged only up to state that is durable.** [`GroupState::make_durable`] is that fence;
//!    [`GroupLog::purge`] trusts its caller to have asked.
//!
//! A failed write or sync ends trust: what the disk holds is then unknown and asking again would only hide it. From
//! then on everything is refused with [`Fatal`], and the process should leave ([`Store::fatal`]).
//!
//! sled and raft-engine are named nowhere outside this crate, and only below `engine/` inside it.

mod config;
mod engine;
mod error;
mod header;
mod log;
mod snapshot;
mod state;
mod stats;
mod store;
mod trust;

pub use config::{Config, ConfigError};
pub use error::{Fatal, OpenError, SnapshotError};
pub use log::{GroupLog, LogBounds};
pub use snapshot::{Export, Exported};
pub use state::{Batch, GroupState, KeyRange, ReadView};
pub use stats::{Stats, Timing};
pub use store::Store;

#[cfg(test)]
mod tests;
