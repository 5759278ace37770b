//! The write set of one command, read over the view it will be written to.

use super::Change;
use crate::{
    TreeView,
    key::{Key, Range},
    record::Record,
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// What a command has written so far, over what was there before it.
pub(super) struct Staged<'a, V> {
    view: &'a V,
    changes: BTreeMap<Key, Staging>,
}

// Nearly all are puts.
#[allow(clippy::large_enum_variant)]
enum Staging {
    Put { record: Record, new: bool },
    Delete,
}

impl<'a, V: TreeView> Staged<'a, V> {
    pub(super) fn new(view: &'a V) -> Staged<'a, V> {
        Staged { view, changes: BTreeMap::new() }
    }

    /// What was there before the command.
    pub(super) fn below(&self) -> &'a V {
        self.view
    }

    /// Writes a record under a key that may have been there before.
    pub(super) fn put(&mut self, key: Key, record: Record) {
        // A record that was new when it was first staged still is.
        let new = matches!(self.changes.get(&key), Some(Staging::Put { new: true, .. }));
        self.changes.insert(key, Staging::Put { record, new });
    }

    /// Writes a record under a key that was never used.
    pub(super) fn put_new(&mut self, key: Key, record: Record) {
        self.changes.insert(key, Staging::Put { record, new: true });
    }

    pub(super) fn delete(&mut self, key: Key) {
        match self.changes.get(&key) {
            Some(Staging::Put { new: true, .. }) => {
                self.changes.remove(&key);
            }
            _ => {
                self.changes.insert(key, Staging::Delete);
            }
        }
    }

    /// How many keys change.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The write set in key order.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let change = |(key, staging)| match staging {
            Staging::Put { record, new } => Change::Put { key, record, new },
            Staging::Delete => Change::Delete(key),
        };
        self.changes.into_iter().map(change).collect()
    }
}

impl<V: TreeView> TreeView for Staged<'_, V> {
    type Error = V::Error;

    fn get(&self, key: &Key) -> Result<Option<Record>, V::Error> {
        match self.changes.get(key) {
            Some(Staging::Put { record, .. }) => Ok(Some(record.clone())),
            Some(Staging::Delete) => Ok(None),
            None => self.view.get(key),
        }
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), V::Error> {
        if range.from >= range.to {
            return Ok(());
        }
        let key = |bytes: &Vec<u8>| Key { space: range.space, bytes: bytes.clone() };
        let inside = self.changes.range(key(&range.from)..key(&range.to));
        let mut staged: Box<dyn Iterator<Item = (&Key, &Staging)>> =
            if reverse { Box::new(inside.rev()) } else { Box::new(inside) };
        let mut next = staged.next();
        let mut flow = ControlFlow::Continue(());
        self.view.scan(range, reverse, &mut |below, record| {
            while let Some((key, staging)) = next {
                let order = key.bytes.as_slice().cmp(below);
                let order = if reverse { order.reverse() } else { order };
                if order.is_gt() {
                    break;
                }
                next = staged.next();
                if let Staging::Put { record, .. } = staging {
                    flow = visit(&key.bytes, record.clone());
                }
                if flow.is_break() || order.is_eq() {
                    return flow;
                }
            }
            flow = visit(below, record);
            flow
        })?;
        while let (ControlFlow::Continue(()), Some((key, staging))) = (flow, next) {
            if let Staging::Put { record, .. } = staging {
                flow = visit(&key.bytes, record.clone());
            }
            next = staged.next();
        }
        Ok(())
    }

    fn corrupt(&self, key: &[u8]) -> V::Error {
        self.view.corrupt(key)
    }
}
