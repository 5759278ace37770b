//! Where records of the keys' group stand in the state.
//!
//! Every key begins with the group's prefix, then one letter. Nodes and numbers are written big endian, so that what
//! belongs together lies together and what expires first comes first.

use crate::directory::KEYS_GROUP;
use banyan_model::security::M2mNodeId;
use banyan_storage::KeyRange;

/// Keys of a group's own state begin with this, then the group.
const SPACE: u8 = 0;

fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = [&[SPACE], KEYS_GROUP.to_be_bytes().as_slice(), &[letter]].concat();
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// Everything of the group.
pub(super) fn everything() -> KeyRange {
    let from = [&[SPACE], KEYS_GROUP.to_be_bytes().as_slice()].concat();
    let to = [&[SPACE], (KEYS_GROUP + 1).to_be_bytes().as_slice()].concat();
    (from, to)
}

/// The `DataKey`.
pub(super) fn data_key() -> Vec<u8> {
    key(b'd', &[])
}

/// The `ClosureCount`.
pub(super) fn closures() -> Vec<u8> {
    key(b'#', &[])
}

/// The `NodeRecord` of a node.
pub(super) fn node(node: M2mNodeId) -> Vec<u8> {
    key(b'n', &[&node.0])
}

/// All nodes after this one.
pub(super) fn nodes_after(after: Option<M2mNodeId>) -> KeyRange {
    let from = after.map_or_else(|| key(b'n', &[]), |after| key(b'n', &[&after.0, &[0]]));
    (from, key(b'n' + 1, &[]))
}

/// The node of a [`node`] key.
pub(super) fn node_of(key: &[u8]) -> Option<M2mNodeId> {
    key.last_chunk().copied().map(M2mNodeId)
}

/// The `KmrRecord` of a root key.
pub(super) fn kmr(node: M2mNodeId, index: u32) -> Vec<u8> {
    key(b'k', &[&node.0, &index.to_be_bytes()])
}

/// All root keys of a node.
pub(super) fn kmrs(node: M2mNodeId) -> KeyRange {
    (key(b'k', &[&node.0]), key(b'k', &[&node.0, &[0xFF; 5]]))
}

/// The `ConnectionRecord` of a service connection.
pub(super) fn connection(number: u64) -> Vec<u8> {
    key(b'c', &[&number.to_be_bytes()])
}

/// That a node has a connection; empty.
pub(super) fn connection_of(node: M2mNodeId, created_ms: i64, number: u64) -> Vec<u8> {
    key(b'o', &[&node.0, &created_ms.to_be_bytes(), &number.to_be_bytes()])
}

/// All connections of a node, the oldest first.
pub(super) fn connections_of(node: M2mNodeId) -> KeyRange {
    (key(b'o', &[&node.0]), key(b'o', &[&node.0, &[0xFF; 17]]))
}

/// The number of a [`connection_of`] key.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().copied().map(u64::from_be_bytes)
}

/// The node that is called so.
pub(super) fn scl(id: &str) -> Vec<u8> {
    key(b's', &[id.as_bytes()])
}

/// The node that shows this as its PSK identity.
pub(super) fn alias(identity: &[u8]) -> Vec<u8> {
    key(b'a', &[identity])
}

/// The root key or connection that has this fingerprint: its own key in the state.
pub(super) fn fingerprint(fingerprint: &[u8]) -> Vec<u8> {
    key(b'f', &[fingerprint])
}

/// The `TokenRecord` of a token.
pub(super) fn token(digest: &[u8]) -> Vec<u8> {
    key(b't', &[digest])
}

/// All tokens after this one; nothing: all of them.
pub(super) fn tokens_after(after: &[u8]) -> KeyRange {
    let from = if after.is_empty() { key(b't', &[]) } else { key(b't', &[after, &[0]]) };
    (from, key(b't' + 1, &[]))
}

/// The digest of a [`token`] key.
pub(super) fn digest_of(token: &[u8]) -> &[u8] {
    token.get(key(b't', &[]).len()..).unwrap_or_default()
}

/// That an entity has a token; empty.
pub(super) fn token_of(entity: &str, digest: &[u8]) -> Vec<u8> {
    key(b'e', &[entity.as_bytes(), &[0], digest])
}

/// All tokens of an entity, whose name holds no zero.
pub(super) fn tokens_of(entity: &str) -> KeyRange {
    (key(b'e', &[entity.as_bytes(), &[0]]), key(b'e', &[entity.as_bytes(), &[1]]))
}

/// The `TokenCount`.
pub(super) fn token_count() -> Vec<u8> {
    key(b'u', &[])
}

/// That a record falls due; what follows is the record's own key.
pub(super) fn due(at_ms: i64, record: &[u8]) -> Vec<u8> {
    key(b'x', &[&at_ms.max(0).to_be_bytes(), record])
}

/// What has fallen due.
pub(super) fn due_by(now_ms: i64) -> KeyRange {
    (key(b'x', &[]), key(b'x', &[&now_ms.max(0).saturating_add(1).to_be_bytes()]))
}

/// The record of a [`due`] key.
pub(super) fn record_of(due: &[u8]) -> &[u8] {
    due.get(key(b'x', &[&[0; 8]]).len()..).unwrap_or_default()
}

/// Whether a record's key is a token's.
pub(super) fn is_token(record: &[u8]) -> bool {
    record.starts_with(&key(b't', &[]))
}

/// Whether a record's key is a connection's.
pub(super) fn is_connection(record: &[u8]) -> bool {
    record.starts_with(&key(b'c', &[]))
}
