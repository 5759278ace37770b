//! Several nodes at once: what the cluster tests and the load generator are made of. Never used by the product.
//!
//! Everything here is black box: real processes, real files, HTTP from outside. A test starts a [`cluster::Cluster`],
//! sends ETSI requests with a [`device::Device`], breaks something through [`fault`], and asks the [`oracle`] and the
//! [`invariant`]s whether the promises of the architecture still hold.

pub mod binaries;
pub mod body;
pub mod catch_up;
pub mod cluster;
pub mod device;
pub mod factory;
pub mod fake;
pub mod fault;
pub mod http;
pub mod invariant;
pub mod lan;
pub mod load;
pub mod metrics;
pub mod network;
pub mod oracle;
pub mod power_cut;
pub mod process;
pub mod repeat;
pub mod subscriber;
