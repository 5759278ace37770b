//! Names of keys. Keys themselves are octets and stay so.

use super::Malformed;
use crate::v1::{self, key_ref::Kind};
use banyan_model::security::{KeyRef, M2mNodeId};
use std::fmt;

impl From<&KeyRef> for v1::KeyRef {
    fn from(key: &KeyRef) -> v1::KeyRef {
        let kind = match key {
            KeyRef::Kmr { node, index } => {
                Kind::Kmr(v1::KmrRef { node: node.0.to_vec().into(), index: *index })
            }
            KeyRef::Kmc { connection, index } => {
                Kind::Kmc(v1::KmcRef { connection: *connection, index: *index })
            }
            KeyRef::Certificate(digest) => Kind::Certificate(digest.to_vec().into()),
        };
        v1::KeyRef { kind: Some(kind) }
    }
}

impl fmt::Debug for v1::ResolvedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v1::ResolvedKey { key, scl_id, .. } = self;
        f.debug_struct("ResolvedKey").field("key", key).field("scl_id", scl_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v1::Bootstrap { node, source, .. } = self;
        f.debug_struct("Bootstrap").field("node", node).field("source", source).finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::OpenConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v1::OpenConnection { node, kmr_index, source, .. } = self;
        let mut shown = f.debug_struct("OpenConnection");
        shown.field("node", node).field("kmr_index", kmr_index).field("source", source);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::ProvisionedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v1::ProvisionedKey { node, index, .. } = self;
        f.debug_struct("ProvisionedKey").field("node", node).field("index", index).finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::RotatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatedKey").field("index", &self.index).finish_non_exhaustive()
    }
}

/// The name of a key.
///
/// # Errors
/// [`Malformed`].
pub fn key_ref(key: Option<v1::KeyRef>) -> Result<KeyRef, Malformed> {
    match key.and_then(|key| key.kind).ok_or(Malformed::Missing("key"))? {
        Kind::Kmr(v1::KmrRef { node, index }) => Ok(KeyRef::Kmr { node: node_id(&node)?, index }),
        Kind::Kmc(v1::KmcRef { connection, index }) => Ok(KeyRef::Kmc { connection, index }),
        Kind::Certificate(digest) => {
            let digest = digest.as_ref().try_into().map_err(|_| Malformed::Missing("certificate"))?;
            Ok(KeyRef::Certificate(digest))
        }
    }
}

/// M2M-Node-ID.
///
/// # Errors
/// [`Malformed`]: not 16 octets.
pub fn node_id(octets: &[u8]) -> Result<M2mNodeId, Malformed> {
    octets.try_into().map(M2mNodeId).map_err(|_| Malformed::Missing("M2M-Node-ID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_survive_the_wire() {
        let node = M2mNodeId([7; 16]);
        for key in [
            KeyRef::Kmr { node, index: 3 },
            KeyRef::Kmc { connection: u64::MAX, index: 1 },
            KeyRef::Certificate([9; 32]),
        ] {
            assert_eq!(key_ref(Some((&key).into())).expect("whole"), key);
        }
        assert!(key_ref(None).is_err());
        let short = v1::KmrRef { node: vec![1; 15].into(), index: 1 };
        assert!(key_ref(Some(v1::KeyRef { kind: Some(Kind::Kmr(short)) })).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret: bytes::Bytes = vec![0xAB; 32].into();
        let shown = format!(
            "{:?} {:?} {:?}",
            v1::ResolvedKey { secret: secret.clone(), ..Default::default() },
            v1::Bootstrap { kmr: secret.clone(), ..Default::default() },
            v1::OpenConnection { kmc: secret.clone(), ..Default::default() },
        );
        let shown = format!(
            "{shown} {:?} {:?}",
            v1::ProvisionedKey { kmr: secret.clone(), ..Default::default() },
            v1::RotatedKey { kmr: secret, ..Default::default() },
        );
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab, ") && !shown.contains("xab"));
    }
}
