//! The replica of the keys' group: applies commands record by record and keeps the newest closures in memory.

use super::{
    closures::{NONE_YET, Ring},
    ledger::{self, Records, find},
    place,
};
use banyan_proto::{convert::Malformed, v1};
use banyan_raft::{Replica, Stop};
use banyan_storage::{Batch, GroupState, KeyRange, ReadView};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

pub(super) struct KeysReplica {
    state: GroupState,
    ring: Arc<Ring>,
    /// Of the last batch, until it is visible: the number of its first closure, and all of them.
    closed: Mutex<Option<(u64, Vec<v1::Closed>)>>,
}

impl KeysReplica {
    pub(super) fn new(state: GroupState, ring: Arc<Ring>) -> KeysReplica {
        KeysReplica { state, ring, closed: Mutex::default() }
    }

    fn apply_all(&self, commands: &[Bytes], batch: &mut Batch) -> Result<Vec<Bytes>, (usize, Malformed)> {
        let view = self.state.view();
        let mut staged = Staged { view: &view, changes: BTreeMap::new() };
        let count: Option<v1::ClosureCount> =
            find(&staged, &place::closures()).map_err(|error| (0, error))?;
        let count = count.map_or(NONE_YET, |count| count.number);
        let mut closed = Vec::new();
        let mut said = Vec::with_capacity(commands.len());
        for (at, command) in commands.iter().enumerate() {
            let outcome = ledger::apply(&mut staged, command.clone()).map_err(|error| (at, error))?;
            closed.extend(outcome.closed);
            said.push(outcome.said.encode_to_vec().into());
        }
        if !closed.is_empty() {
            let number = count + closed.len() as u64;
            staged.put(place::closures(), v1::ClosureCount { number }.encode_to_vec().into());
        }
        for (key, value) in staged.changes {
            match value {
                Some(value) => batch.put(key, value, false),
                None => batch.delete(key),
            }
        }
        *self.closed.lock() = (!closed.is_empty()).then_some((count + 1, closed));
        Ok(said)
    }
}

impl Replica for KeysReplica {
    fn apply(&self, commands: &[Bytes], batch: &mut Batch) -> Result<Vec<Bytes>, Stop> {
        self.apply_all(commands, batch).map_err(|(at, error)| Stop::at(at, error.to_string()))
    }

    fn applied(&self) {
        if let Some((first, closed)) = self.closed.lock().take() {
            self.ring.add(first, closed);
        }
    }

    fn ranges(&self) -> Vec<KeyRange> {
        vec![place::everything()]
    }

    fn restored(&self) {
        *self.closed.lock() = None;
        self.ring.forget();
    }
}

/// A view with what the commands of this batch have changed.
struct Staged<'a> {
    view: &'a ReadView<'a>,
    changes: BTreeMap<Vec<u8>, Option<Bytes>>,
}

impl Records for Staged<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Malformed> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.view.get(key).map_err(unreadable),
        }
    }

    fn keys(&self, (from, to): KeyRange, limit: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        let changed = || self.changes.range(from.clone()..to.clone());
        let gone = changed().filter(|(_, value)| value.is_none()).count();
        let mut found = scan(self.view, &from, &to, limit.saturating_add(gone))?;
        found.retain(|key| !self.changes.contains_key(key));
        found.extend(changed().filter(|(_, value)| value.is_some()).map(|(key, _)| key.clone()));
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }

    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.changes.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }
}

/// The first keys of a range.
pub(super) fn scan(
    view: &ReadView<'_>,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    view.scan(from, to, false, &mut |key, _| {
        found.push(key.to_vec());
        if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(unreadable)?;
    Ok(found)
}

pub(super) fn unreadable(error: banyan_storage::Fatal) -> Malformed {
    Malformed::Unknown { what: "state", value: error.to_string() }
}
