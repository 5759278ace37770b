//! Model types to and from generated ones, field by field; nothing else in the house translates.
//!
//! To the wire: `v1::X::from(&x)`. From the wire: `X::try_from(v1_x)`, which says what is wrong as [`Malformed`]. What
//! is kept or sent as bytes of its own has a pair of functions here (`record_to_bytes`, `record_from_bytes`, ...); the
//! decoding half takes `Bytes`, and contents in the result are slices of it, not copies.
//!
//! Names of types, attributes and fields travel as the text of the tables and come back as the table's `&'static str`.
//! A name that no table knows is [`Malformed`]: a log entry or record written by a later release stops the replica
//! rather than losing an attribute.
//!
//! Invariants: numbers and names here are persisted and never reused; `golden/` holds their bytes.

mod announce;
mod command;
mod deferred;
mod names;
mod outbox;
mod placement;
mod primitive;
mod record;
mod security;
mod status;
mod value;

use crate::v1;
use banyan_model::{Command, Path, RequestPrimitive, ResponsePrimitive, record::Record};
use bytes::Bytes;
use prost::Message;

pub use deferred::{policies, policies_to_wire};
pub use outbox::{media, media_to_wire};
pub use primitive::{
    ELEMENT_DEPTH_MAX, discover, discover_to_wire, discovered, discovered_to_wire, members, members_to_wire,
};
pub use security::{key_ref, node_id};
pub use status::{number, status};

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not protobuf, or not this message.
    #[error("undecodable bytes")]
    Undecodable(#[from] prost::DecodeError),
    /// A field that must be there is not, or holds an alternative that this release does not know.
    #[error("{0}: missing or unknown")]
    Missing(&'static str),
    /// A name or number that no table of this release has.
    #[error("{what}: unknown value {value:?}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// What stood there.
        value: String,
    },
    /// A value outside its limits.
    #[error("{0}: out of limits")]
    Limit(&'static str),
}

impl Malformed {
    fn unknown(what: &'static str, value: impl ToString) -> Malformed {
        Malformed::Unknown { what, value: value.to_string() }
    }
}

/// A stored record's bytes.
pub fn record_to_bytes(record: &Record) -> Bytes {
    v1::Record::from(record).encode_to_vec().into()
}

/// Reads a stored record.
///
/// # Errors
/// [`Malformed`]: this release cannot read it; the replica must stop.
pub fn record_from_bytes(bytes: Bytes) -> Result<Record, Malformed> {
    v1::Record::decode(bytes)?.try_into()
}

/// A log entry's command.
pub fn command_to_bytes(command: &Command) -> Bytes {
    v1::Command::from(command).encode_to_vec().into()
}

/// Reads a log entry's command.
///
/// # Errors
/// [`Malformed`]: this release does not know it; the replica must stop at this entry.
pub fn command_from_bytes(bytes: Bytes) -> Result<Command, Malformed> {
    v1::Command::decode(bytes)?.try_into()
}

/// A request on its way to the shard's leader.
pub fn request_to_bytes(request: &RequestPrimitive) -> Bytes {
    v1::RequestPrimitive::from(request).encode_to_vec().into()
}

/// Reads a request. Everything that reaches the log comes through here, so limits are checked here: a stored message
/// nests a request's elements deeper, and must still decode.
///
/// # Errors
/// [`Malformed`]: refuse the submission.
pub fn request_from_bytes(bytes: Bytes) -> Result<RequestPrimitive, Malformed> {
    v1::RequestPrimitive::decode(bytes)?.try_into()
}

/// An answer, as it is recorded in the reply table and passed on unread.
pub fn response_to_bytes(response: &ResponsePrimitive) -> Bytes {
    v1::ResponsePrimitive::from(response).encode_to_vec().into()
}

/// Reads an answer.
///
/// # Errors
/// [`Malformed`].
pub fn response_from_bytes(bytes: Bytes) -> Result<ResponsePrimitive, Malformed> {
    v1::ResponsePrimitive::decode(bytes)?.try_into()
}

impl From<&Path> for v1::Path {
    fn from(path: &Path) -> v1::Path {
        v1::Path { segments: path.segments().to_vec() }
    }
}

impl From<v1::Path> for Path {
    fn from(path: v1::Path) -> Path {
        Path::from_segments(path.segments)
    }
}

/// A message field that must be there.
fn required<T>(what: &'static str, field: Option<T>) -> Result<T, Malformed> {
    field.ok_or(Malformed::Missing(what))
}

#[cfg(test)]
mod tests;
