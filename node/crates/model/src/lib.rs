//! The pure core: what the ETSI M2M resource tree does, with no I/O, no clock, no randomness and no async.
//!
//! In reading order: the vocabulary (tables, values, paths, primitives), what is stored (keys, records, the view),
//! then what happens to a request: `admit` (does it exist, is the method there), `access` (may this entity),
//! `validate` (is the body in order), `command` (what goes into the log), `apply` and `query`.

pub mod entity;
pub mod filter;
pub mod path;
pub mod primitive;
pub mod security;
pub mod status;
pub mod tables;
pub mod time;
pub mod value;

pub mod holds;
pub mod index;
pub mod key;
pub mod memory;
pub mod record;
pub mod tree;
pub mod view;

pub mod access;
pub mod admit;
pub mod aggregation;
pub mod announce;
pub mod apoc;
pub mod apply;
pub mod channel;
pub mod command;
pub mod conditions;
pub mod deferred;
pub mod execute;
pub mod group;
pub mod outbox;
pub mod partial;
pub mod query;
pub mod represent;
pub mod route;
pub mod saf;
pub mod validate;

pub mod placement;

#[cfg(test)]
mod fixture;

pub use command::{Command, Execution, Operation, RequestId};
pub use entity::{Entity, Scl};
pub use path::{Path, SubtreeRoot};
pub use primitive::{Body, Method, RequestPrimitive, ResponsePrimitive};
pub use status::{Refusal, StatusCode};
pub use tables::ResourceType;
pub use time::{LogTime, Timestamp};
pub use value::{Content, Representation, Value};
pub use view::TreeView;
