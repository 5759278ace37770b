//! The mId/mIa tier: what faces the outside. It terminates HTTP, says who asks, forwards primitives to the cluster and
//! carries notifications out. It holds no state that could be lost: any edge may answer any request, and more of them
//! carry more.
//!
//! In reading order: [`config`] is what an operator writes, [`run`] starts and stops the parts, `forward` is the way of
//! a request into the cluster, `mid` says who is
//! at the other end of a session on mId, `tokens` whom a token speaks for, `closures` ends both when they may not be used any more,
//! `egress` is the way of a notification out of the cluster, `admin` tells whether all is well.
//!
//! What never happens here: a decision about the tree. Nothing of Raft, actors or storage is linked in.

pub mod config;
pub mod dumps;
pub mod lines;

mod admin;
mod closures;
mod egress;
mod forward;
mod listing;
mod metrics;
mod mid;
mod poll;
mod route;
mod run;
mod through;
mod tokens;

pub use config::{Config, ConfigError};
pub use run::{Addresses, Edge, StartError, run};
