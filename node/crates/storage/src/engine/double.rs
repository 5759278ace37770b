//! Both engines in memory, on a disk that forgets what was not synced when its power is cut.
//!
//! It takes every liberty that the real ones take: a write that the cut meets may be there or not; of state that was
//! written and not synced any number of batches may survive, in order; compacted entries may show again. And it
//! insists on what they insist on: no hole before an append, none before what was compacted.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Change, EngineError, LogEngine, LogWrite, StateEngine, Visit};

/// The disk; clones are the same one.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

struct Inner {
    logs: BTreeMap<u64, Log>,
    state: Rows,
    synced: Rows,
    unsynced: Vec<Vec<(Vec<u8>, Option<Bytes>)>>,
    /// Writes and syncs until the power goes.
    fuse: Option<u64>,
    dead: bool,
    /// Writes and syncs so far.
    calls: u64,
    rng: StdRng,
}

type Rows = BTreeMap<Vec<u8>, Bytes>;

#[derive(Default)]
struct Log {
    /// Compacted ones included, until others are appended in their place.
    entries: BTreeMap<u64, Bytes>,
    first: u64,
    values: BTreeMap<String, Bytes>,
}

impl Log {
    fn span(&self) -> Option<(u64, u64)> {
        let mut there = self.entries.range(self.first..).map(|(index, _)| *index);
        let first = there.next()?;
        Some((first, there.next_back().unwrap_or(first)))
    }

    fn apply(&mut self, write: LogWrite) {
        match write {
            LogWrite::Append { entries, .. } => {
                let from = entries[0].0;
                if let Some((first, last)) = self.span() {
                    assert!((first..=last + 1).contains(&from), "{from} appended to {first}..={last}");
                }
                self.entries.split_off(&from);
                if self.entries.last_key_value().is_some_and(|(last, _)| last + 1 != from) {
                    self.entries.clear();
                }
                self.first = self.first.min(from);
                self.entries.extend(entries);
            }
            LogWrite::Put { key, value, .. } => drop(self.values.insert(key, value)),
            LogWrite::Compact { first, .. } => self.first = self.first.max(first),
            LogWrite::Clean { .. } => *self = Log::default(),
        }
    }
}

impl Inner {
    /// Counts a write or sync. `Ok(false)`: the power goes during it, and it is not done.
    fn call(&mut self) -> Result<bool, EngineError> {
        if self.dead {
            return Err("there is no power".into());
        }
        self.calls += 1;
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Ok(self.rng.random())
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn result(&self) -> Result<(), EngineError> {
        if self.dead { Err("the power went".into()) } else { Ok(()) }
    }
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Disk {
        Disk(Arc::new(Mutex::new(Inner {
            logs: BTreeMap::new(),
            state: BTreeMap::new(),
            synced: BTreeMap::new(),
            unsynced: Vec::new(),
            fuse: None,
            dead: false,
            calls: 0,
            rng: StdRng::seed_from_u64(seed),
        })))
    }

    /// The power goes during the write or sync after the next `calls`.
    pub(crate) fn cut_after(&self, calls: u64) {
        self.0.lock().fuse = Some(calls);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// The power goes, if it has not gone yet, and comes back.
    pub(crate) fn reboot(&self) {
        let inner = &mut *self.0.lock();
        let survive = inner.rng.random_range(0..=inner.unsynced.len());
        for (key, value) in inner.unsynced.drain(..).take(survive).flatten() {
            match value {
                Some(value) => drop(inner.synced.insert(key, value)),
                None => drop(inner.synced.remove(&key)),
            }
        }
        inner.state = inner.synced.clone();
        for log in inner.logs.values_mut() {
            let lowest = log.entries.first_key_value().map_or(log.first, |(index, _)| *index);
            log.first = inner.rng.random_range(lowest.min(log.first)..=log.first);
        }
        (inner.fuse, inner.dead) = (None, false);
    }

    /// As if both engines' folders were removed and made again.
    pub(crate) fn wipe(&self) {
        let inner = &mut *self.0.lock();
        inner.logs.clear();
        inner.state.clear();
        inner.synced.clear();
        inner.unsynced.clear();
    }
}

impl LogEngine for Disk {
    fn groups(&self) -> Vec<u64> {
        self.0.lock().logs.keys().copied().collect()
    }

    fn span(&self, group: u64) -> Option<(u64, u64)> {
        self.0.lock().logs.get(&group)?.span()
    }

    fn values(&self, group: u64) -> Vec<(String, Bytes)> {
        let inner = self.0.lock();
        let values = inner.logs.get(&group).into_iter().flat_map(|log| &log.values);
        values.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn write(&self, writes: Vec<LogWrite>) -> Result<(), EngineError> {
        let mut inner = self.0.lock();
        if inner.call()? {
            for write in writes {
                let (LogWrite::Append { group, .. }
                | LogWrite::Put { group, .. }
                | LogWrite::Compact { group, .. }
                | LogWrite::Clean { group }) = &write;
                inner.logs.entry(*group).or_default().apply(write);
            }
        }
        inner.result()
    }

    fn read(
        &self,
        group: u64,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, EngineError> {
        let inner = self.0.lock();
        inner.result()?;
        let log = inner.logs.get(&group).ok_or("no such group")?;
        let mut bytes = 0;
        let mut read = Vec::new();
        for index in from..to {
            let entry = log.entries.get(&index).filter(|_| index >= log.first).ok_or("no such entry")?;
            bytes += entry.len();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push((index, entry.clone()));
        }
        Ok(read)
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        self.0.lock().result()
    }
}

impl StateEngine for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let inner = self.0.lock();
        inner.result()?;
        Ok(inner.state.get(key).cloned())
    }

    /// Row by row, so that a scan sees what is written meanwhile.
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: Visit<'_>) -> Result<(), EngineError> {
        let (mut from, mut to) = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        loop {
            let inner = self.0.lock();
            inner.result()?;
            let mut range = inner.state.range((from.clone(), to.clone()));
            let row = if reverse { range.next_back() } else { range.next() };
            let Some((key, value)) = row.map(|(key, value)| (key.clone(), value.clone())) else {
                return Ok(());
            };
            drop(inner);
            if visit(&key, &value).is_break() {
                return Ok(());
            }
            if reverse {
                to = Bound::Excluded(key);
            } else {
                // The next key there can be, so that the range never begins behind its end.
                from = Bound::Included([key.as_slice(), &[0]].concat());
            }
        }
    }

    fn write(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), EngineError> {
        let mut inner = self.0.lock();
        if inner.call()? {
            let changes: Vec<_> =
                changes.map(|change| (change.key.to_vec(), change.value.cloned())).collect();
            for (key, value) in &changes {
                match value {
                    Some(value) => drop(inner.state.insert(key.clone(), value.clone())),
                    None => drop(inner.state.remove(key)),
                }
            }
            inner.unsynced.push(changes);
        }
        inner.result()
    }

    fn sync(&self) -> Result<(), EngineError> {
        let inner = &mut *self.0.lock();
        if inner.call()? {
            inner.synced = inner.state.clone();
            inner.unsynced.clear();
        }
        inner.result()
    }
}
