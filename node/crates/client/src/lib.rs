//! The way into the cluster: finds the shard that owns a path and the node that leads it, and asks until there is an
//! answer or the deadline passes.
//!
//! One [`Client`] a process. It watches the directory's map on any node that answers, keeps one multiplexed stream to
//! each node, learns leaders from what nodes answer, and sends a mutating request under one [`RequestId`] however
//! often it has to be sent: over leader changes, broken streams and busy nodes a retry is never a second write.
//!
//! Invariants: at most [`Config::in_flight_max`] requests and [`Config::in_flight_bytes_max`] bytes are under way, all
//! else is refused at once; every call ends by its deadline; a write of which nobody knows the outcome is told as
//! [`RequestError::OutcomeUnknown`], never as a failure that invites a different request.
//!
//! [`RequestId`]: banyan_model::RequestId

mod config;
mod error;

mod client;
pub mod keys;
mod request;
mod route;
mod session;

mod link;
mod map;
mod transport;

pub use client::Client;
pub use config::{Config, ConfigError};
pub use error::RequestError;
pub use map::{Map, Member};
pub use transport::{EDGE_NAME, NODE_NAME, Tls, TransportError, connect, endpoint};
