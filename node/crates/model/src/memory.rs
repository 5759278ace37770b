//! A tree in memory: what tests and benches read and write, ordered exactly as on a replica.

use crate::{
    TreeView,
    apply::Change,
    key::{Key, Range},
    record::Record,
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// Every record of one shard.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Memory {
    /// In the order of keys.
    pub records: BTreeMap<Key, Record>,
}

impl Memory {
    /// Writes what `apply` returned.
    pub fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, record, .. } => self.records.insert(key, record),
                Change::Delete(key) => self.records.remove(&key),
            };
        }
    }
}

impl TreeView for Memory {
    type Error = String;

    fn get(&self, key: &Key) -> Result<Option<Record>, String> {
        Ok(self.records.get(key).cloned())
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let key = |bytes: &[u8]| Key { space: range.space, bytes: bytes.to_vec() };
        if range.from >= range.to {
            return Ok(());
        }
        let mut within = self.records.range(key(&range.from)..key(&range.to));
        while let Some((key, record)) = if reverse { within.next_back() } else { within.next() } {
            if visit(&key.bytes, record.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn corrupt(&self, key: &[u8]) -> String {
        format!("another kind of record than expected under {key:02x?}")
    }
}
