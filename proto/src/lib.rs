//! Every byte that leaves a process or outlives one. Generated from `banyan/v1/*.proto`; `convert` is the only
//! translation to and from model types.

/// The generated messages and services, version 1.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("banyan.v1");
}

pub mod convert;
