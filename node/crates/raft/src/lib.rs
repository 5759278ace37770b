//! Many Raft groups on one node: everything that names openraft.
//!
//! A [`Groups`] holds the node's replicas; each is a [`Group`] that takes proposals and answers whether it may
//! serve reads. What the entries mean is the business of a [`Replica`], how frames travel is the business of
//! whoever calls [`Links::attach`]: commands, replies and frames are opaque here, and no transport is named.
//!
//! What is on disk and on the wire is `banyan.v1` from raft.proto, never a type of openraft.
//!
//! Invariants: nothing is acknowledged before it is on the disks of a majority; the log is purged only up to state
//! that is durable; every proposal is answered exactly once; no queue is without a bound.

mod config;
mod error;
mod replica;

mod group;
mod groups;
mod proposal;
mod shared;

mod load;
mod log;
mod machine;
mod snapshot;

mod link;
mod network;
mod serve;

#[cfg(test)]
mod suite;
mod types;
mod wire;

pub use config::{Config, ConfigError};
pub use error::{ChangeError, CopyError, NotLeader, ProposeError, StartError};
pub use group::{Group, GroupStatus, Leadership};
pub use groups::Groups;
pub use link::{Incoming, Link, Links, Outgoing};
pub use replica::{Replica, Stop};
pub use snapshot::Copy;
