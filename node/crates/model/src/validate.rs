//! Steps 7 to 9 of procedures.md 1.2: conditions, syntax and modes; turns an authorised write into a `Command`.

use crate::{Command, Refusal, RequestId, RequestPrimitive, Scl, Timestamp, TreeView, admit::Admission};

/// What the operator allows; times in milliseconds, 0 = unlimited.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Policy {
    pub expiration_default_ms: i64,
    pub expiration_min_ms: i64,
    pub expiration_max_ms: i64,
    pub content_bytes_max: u64,
    pub instances_default: i64,
    pub outbox_entries_max: u64,
    pub subscriptions_per_resource_max: u32,
    /// Used for generated names; the leader draws it, the log carries the result.
    pub name_seed: u64,
}

/// Makes the log command of an authorised CREATE, UPDATE or DELETE, or says why not.
#[allow(clippy::type_complexity)]
pub fn command<V: TreeView>(
    view: &V,
    scl: &Scl,
    policy: &Policy,
    at: Timestamp,
    id: RequestId,
    request: RequestPrimitive,
    admission: &Admission,
) -> Result<Result<Command, Refusal>, V::Error> {
    let _ = (view, scl, policy, at, id, request, admission);
    todo!("model helper")
}
