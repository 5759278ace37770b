//! The cluster member: everything that holds state, and how it is put together.
//!
//! In reading order: what an operator writes (`config`) and reads (`telemetry`, `admin`); the way of a request from the
//! port (`rpc`) over the desk (`request`) to its shard and subtree (`subtree`), which is the only room that changes the
//! tree, by way of the log; the way out of it (`delivery`); who owns what (`directory`); keys of M2M nodes (`security`), some of
//! which others hand over (`handover`);
//! what a GSCL adds (`gateway`). `roles` puts them together.
//!
//! The rules of the tree are not here: they are the crate `model`, which knows nothing of any of this.

pub mod clock;
pub mod config;
pub mod telemetry;

pub mod subtree;

pub mod directory;

pub mod security;

pub mod request;

pub mod delivery;

pub mod gateway;

pub mod rpc;

pub mod admin;

pub mod handover;

pub mod roles;
