//! A shard's state in a map: for tests, and for measuring the core without storage.

use crate::{
    TreeView,
    apply::Change,
    key::{Key, Range},
    record::Record,
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// The records, in key order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Memory {
    records: BTreeMap<Key, Record>,
}

/// A key held another kind of record than it must.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corrupt(pub Vec<u8>);

impl Memory {
    /// Writes a write set.
    pub fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, record, .. } => drop(self.records.insert(key, record)),
                Change::Delete(key) => drop(self.records.remove(&key)),
            }
        }
    }

    /// Everything, in key order.
    pub fn records(&self) -> &BTreeMap<Key, Record> {
        &self.records
    }
}

impl TreeView for Memory {
    type Error = Corrupt;

    fn get(&self, key: &Key) -> Result<Option<Record>, Corrupt> {
        Ok(self.records.get(key).cloned())
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), Corrupt> {
        if range.from >= range.to {
            return Ok(());
        }
        let key = |bytes: &Vec<u8>| Key { space: range.space, bytes: bytes.clone() };
        let mut found = self.records.range(key(&range.from)..key(&range.to));
        while let Some((key, record)) = if reverse { found.next_back() } else { found.next() } {
            if visit(&key.bytes, record.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn corrupt(&self, key: &[u8]) -> Corrupt {
        Corrupt(key.to_vec())
    }
}
