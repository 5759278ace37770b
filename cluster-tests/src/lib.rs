//! Several nodes at once: what the cluster tests and the load generator are made of. Never used by the product.
//!
//! Everything here is black box: real processes, real files, HTTP from outside. A test starts a [`cluster::Cluster`],
//! sends ETSI requests with a [`device::Device`], breaks something through [`fault`], and asks the [`oracle`] and the
//! [`invariant`]s whether the promises of the architecture still hold.

pub mod http;
pub mod process;
pub mod fault;
pub mod binaries;
pub mod cluster;
pub mod device;
pub mod body;
pub mod subscriber;
pub mod metrics;
pub mod oracle;
pub mod invariant;
pub mod repeat;
pub mod load;
