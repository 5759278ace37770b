//! Recent entries of one group, and what is known about its log.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::LogBounds;
use crate::Fatal;
use crate::engine::{LogEngine, LogWrite};

/// The last index that was purged, 8 bytes big-endian. Kept beside the compaction itself, which a later open may
/// have forgotten.
const PURGED: &str = "/purged";
/// Index after the last entry, 8 bytes big-endian, or [`NO_END`] if the log ends where the engine says. raft-engine
/// has no truncation: entries go when others are written over them, so until then this hides them.
const END: &str = "/end";
const NO_END: u64 = u64::MAX;

/// What one entry costs in memory beside its bytes.
const ENTRY_OVERHEAD: usize = 64;

/// The log of one group as its callers see it: with everything that is still on its way to the disk.
pub(super) struct Index {
    group: u64,
    purged: Option<u64>,
    /// The first entry there ever was, which need not be 0; after that `purged` says where the log begins.
    first: Option<u64>,
    last: Option<u64>,
    /// How often entries were truncated.
    truncations: u64,
    /// The value of [`END`].
    end: Option<u64>,
    /// The highest entry that the engine may hold, hidden ones included.
    high: Option<u64>,
    values: HashMap<String, Bytes>,
    /// The last entries without a hole, those that are not on disk yet always among them.
    recent: VecDeque<Recent>,
    appends: u64,
}

struct Recent {
    index: u64,
    entry: Bytes,
    /// The append that brought it; it never falls along `recent`.
    append: u64,
}

/// What a read found in memory.
pub(super) struct Found {
    /// Where the read begins: at the first entry, if the log has never had an earlier one.
    pub(super) from: u64,
    /// Entries `from..disk_to` are on disk only.
    pub(super) disk_to: u64,
    /// Whether what else is found belongs to this: the same number, the same history.
    pub(super) truncations: u64,
    pub(super) recent: Vec<(u64, Bytes)>,
}

pub(super) fn cost(entry: &Bytes) -> usize {
    entry.len() + ENTRY_OVERHEAD
}

fn put(group: u64, key: &str, value: u64) -> LogWrite {
    LogWrite::Put { group, key: key.to_owned(), value: value.to_be_bytes().to_vec().into() }
}

impl Index {
    pub(super) fn empty(group: u64) -> Index {
        Index {
            group,
            purged: None,
            first: None,
            last: None,
            truncations: 0,
            end: None,
            high: None,
            values: HashMap::new(),
            recent: VecDeque::new(),
            appends: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none() && self.values.is_empty()
    }

    /// Reads what the engine has of `group` and says what must be written before anything else.
    pub(super) fn load(group: u64, engine: &dyn LogEngine) -> Result<(Index, Vec<LogWrite>), String> {
        let mut values: HashMap<String, Bytes> = engine.values(group).into_iter().collect();
        let mut number = |key: &str| match values.remove(key) {
            None => Ok(None),
            Some(bytes) => match <[u8; 8]>::try_from(bytes.as_ref()) {
                Ok(bytes) => Ok(Some(u64::from_be_bytes(bytes))),
                Err(_) => Err(format!("group {group}: {key} is not 8 bytes")),
            },
        };
        let purged = number(PURGED)?;
        let end = number(END)?.filter(|end| *end != NO_END);
        let mut index = Index { purged, last: purged, end, values, ..Index::empty(group) };
        let Some((first, last)) = engine.span(group) else {
            return Ok((index, Vec::new()));
        };
        index.high = Some(last);
        let mut writes = Vec::new();
        let start = purged.map_or(first, |purged| purged + 1);
        if first > start {
            return Err(format!(
                "group {group}: the log begins at {first}, it was purged up to {} only",
                start - 1
            ));
        }
        let stop = end.map_or(last + 1, |end| end.min(last + 1));
        if stop > start {
            index.first = Some(start);
            index.last = Some(stop - 1);
            if first < start {
                writes.push(LogWrite::Compact { group, first: start });
            }
        } else {
            // Nothing is left, but the engine shows old entries again.
            writes.push(LogWrite::Compact { group, first: last + 1 });
        }
        Ok((index, writes))
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds { purged: self.purged, last: self.last }
    }

    pub(super) fn value(&self, key: &str) -> Option<Bytes> {
        self.values.get(key).cloned()
    }

    /// Takes the entries in and says what to write. The number names this append for [`Index::evict`].
    pub(super) fn append(&mut self, entries: Vec<(u64, Bytes)>) -> Result<(u64, Vec<LogWrite>), Fatal> {
        let mut next = self.last.map(|last| last + 1);
        for (index, _) in &entries {
            if next.is_some_and(|next| next != *index) {
                let reason = format!("entry {index} of group {} does not follow {next:?}", self.group);
                return Err(Fatal::new("append to the log", reason));
            }
            next = Some(index + 1);
        }
        self.appends += 1;
        let Some((last, _)) = entries.last() else {
            return Ok((self.appends, Vec::new()));
        };
        if self.last.is_none() {
            self.first = entries.first().map(|(first, _)| *first);
        }
        self.last = Some(*last);
        self.high = self.high.max(Some(*last));
        let append = self.appends;
        self.recent.extend(entries.iter().map(|(index, entry)| Recent {
            index: *index,
            entry: entry.clone(),
            append,
        }));
        let mut writes = vec![LogWrite::Append { group: self.group, entries }];
        if self.end.take().is_some() {
            writes.push(put(self.group, END, NO_END));
        }
        Ok((append, writes))
    }

    /// Removes the entries after `index`; gives back the bytes that left memory.
    pub(super) fn truncate_after(&mut self, index: Option<u64>) -> Result<(usize, Vec<LogWrite>), Fatal> {
        if index < self.purged {
            let reason = format!("group {}: {index:?} is purged, up to {:?}", self.group, self.purged);
            return Err(Fatal::new("truncate the log", reason));
        }
        if index >= self.last {
            return Ok((0, Vec::new()));
        }
        let mut freed = 0;
        while let Some(recent) = self.recent.pop_back_if(|recent| Some(recent.index) > index) {
            freed += cost(&recent.entry);
        }
        self.last = index;
        self.truncations += 1;
        let end = index.map_or(0, |index| index + 1);
        self.end = Some(end);
        let mut writes = vec![put(self.group, END, end)];
        if let Some(high) = self.high.filter(|_| index == self.purged) {
            // Nothing is left, and the next entry may have any index: the engine wants no hole before it.
            writes.push(LogWrite::Compact { group: self.group, first: high + 1 });
        }
        Ok((freed, writes))
    }

    /// Removes the entries up to `up_to`; gives back the bytes that left memory.
    pub(super) fn purge(&mut self, up_to: u64) -> (usize, Vec<LogWrite>) {
        if self.purged >= Some(up_to) {
            return (0, Vec::new());
        }
        let mut freed = 0;
        while let Some(recent) = self.recent.pop_front_if(|recent| recent.index <= up_to) {
            freed += cost(&recent.entry);
        }
        self.purged = Some(up_to);
        self.last = self.last.max(Some(up_to));
        let group = self.group;
        let mut writes = vec![LogWrite::Compact { group, first: up_to + 1 }, put(group, PURGED, up_to)];
        if let Some(end) = self.end.as_mut().filter(|end| **end <= up_to) {
            // Hidden entries after the purged ones stay hidden.
            *end = up_to + 1;
            writes.push(put(group, END, *end));
        }
        (freed, writes)
    }

    /// Forgets everything; gives back the bytes that left memory. The next entry may have any index.
    pub(super) fn clean(&mut self) -> (usize, Vec<LogWrite>) {
        let freed = self.recent.iter().map(|recent| cost(&recent.entry)).sum();
        // The counters go on: appends and reads under way compare them.
        let (truncations, appends) = (self.truncations + 1, self.appends);
        *self = Index { truncations, appends, ..Index::empty(self.group) };
        (freed, vec![LogWrite::Clean { group: self.group }])
    }

    pub(super) fn put(&mut self, key: &str, value: Bytes) -> Vec<LogWrite> {
        self.values.insert(key.to_owned(), value.clone());
        vec![LogWrite::Put { group: self.group, key: key.to_owned(), value }]
    }

    /// Finds `from..to`, clipped to what there is, as far as it is in memory; `None` if there is nothing.
    pub(super) fn find(&self, from: u64, to: u64, bytes_max: usize) -> Option<Found> {
        let to = to.min(self.last? + 1);
        let from =
            if self.purged.is_none() { self.first.map_or(from, |first| from.max(first)) } else { from };
        if from >= to || self.purged >= Some(from) {
            return None;
        }
        let start = self.recent.front().map_or(to, |recent| recent.index).min(to);
        if from < start {
            // What is on disk comes first; the rest only if that leaves room, which a later read finds out.
            return Some(Found { from, disk_to: start, truncations: self.truncations, recent: Vec::new() });
        }
        let mut bytes = 0;
        let skip = usize::try_from(from - start).unwrap_or(usize::MAX);
        let mut recent = Vec::new();
        for entry in self.recent.iter().skip(skip) {
            bytes += entry.entry.len();
            if entry.index >= to || (bytes > bytes_max && !recent.is_empty()) {
                break;
            }
            recent.push((entry.index, entry.entry.clone()));
        }
        Some(Found { from, disk_to: from, truncations: self.truncations, recent })
    }

    /// Forgets entries of appends up to `append`, all of them on disk; gives back the bytes.
    pub(super) fn evict(&mut self, append: u64) -> usize {
        let mut freed = 0;
        while let Some(recent) = self.recent.pop_front_if(|recent| recent.append <= append) {
            freed += cost(&recent.entry);
        }
        freed
    }
}
