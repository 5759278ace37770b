//! What is applied and not yet written: two generations of changes over the state's file.
//!
//! Commits go to the active generation. The writer freezes it, writes the frozen one to the disk as one batch, and
//! drops it; a reader looks in the active, then the frozen, then the file. A frozen generation is dropped only when
//! no view lives, so that within a view a key is always found where the writer has not been yet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Batch, BatchChange, KeyRange};

/// What one change costs in memory beside its bytes.
const CHANGE_OVERHEAD: usize = 128;

/// One group's generations.
pub(crate) struct Overlay {
    group: u64,
    /// Read by a view and a commit, written by an import. Apart from `generations`, so that the writer need not wait
    /// for a whole import.
    import_gate: RwLock<()>,
    generations: RwLock<Generations>,
}

#[derive(Default)]
pub(crate) struct Generations {
    active: Changes,
    frozen: Option<Arc<Changes>>,
    captures: Vec<Arc<Capture>>,
}

/// Changes by key.
#[derive(Default)]
pub(crate) struct Changes {
    by_key: BTreeMap<Vec<u8>, Value>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    /// `None`: the key is deleted.
    pub(crate) value: Option<Bytes>,
    /// The key is not on disk, and not in an older generation: a delete can simply forget it.
    pub(crate) new: bool,
}

/// What a commit did to the memory that is in use.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) added: usize,
    pub(crate) freed: usize,
    /// Keys that went without ever being written.
    pub(crate) saved: u64,
}

impl Changes {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.by_key.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.by_key.iter().map(|(key, value)| (key.as_slice(), value))
    }

    pub(crate) fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a Value)> {
        let range = self.by_key.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        range.map(|(key, value)| (key.as_slice(), value))
    }

    fn apply(&mut self, change: BatchChange, done: &mut Change) {
        let BatchChange { key, value, new } = change;
        let key_len = key.len();
        let cost = |value: &Option<Bytes>| key_len + value.as_ref().map_or(0, Bytes::len) + CHANGE_OVERHEAD;
        let added = cost(&value);
        match self.by_key.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Value { value, new });
                done.added += added;
                self.bytes += added;
            }
            Entry::Occupied(mut known) => {
                let freed = cost(&known.get().value);
                done.freed += freed;
                self.bytes -= freed;
                if known.get().new && value.is_none() {
                    done.saved += 1;
                    known.remove();
                } else {
                    // What stands below has not changed by what was put since.
                    known.get_mut().value = value;
                    done.added += added;
                    self.bytes += added;
                }
            }
        }
    }
}

impl Overlay {
    pub(crate) fn new(group: u64) -> Overlay {
        Overlay { group, import_gate: RwLock::default(), generations: RwLock::default() }
    }

    pub(crate) fn group(&self) -> u64 {
        self.group
    }

    pub(crate) fn commit(&self, batch: Batch) -> Change {
        let mut change = Change::default();
        let _no_import = self.import_gate.read();
        let mut generations = self.generations.write();
        for capture in &generations.captures {
            batch.changes.iter().for_each(|change| capture.note(&change.key));
        }
        for next in batch.changes {
            generations.active.apply(next, &mut change);
        }
        change
    }

    /// Opens the read gate.
    pub(crate) fn read(&self) -> (RwLockReadGuard<'_, ()>, RwLockReadGuard<'_, Generations>) {
        (self.import_gate.read(), self.generations.read())
    }

    /// Closes the gate for views and commits, but not for the writer.
    pub(crate) fn close_for_import(&self) -> RwLockWriteGuard<'_, ()> {
        self.import_gate.write()
    }

    /// Makes the active generation the frozen one; `None` if there is nothing in it.
    pub(crate) fn freeze(&self) -> Option<Arc<Changes>> {
        if self.generations.read().active.len() == 0 {
            return None;
        }
        let mut generations = self.generations.write();
        let frozen = Arc::new(mem::take(&mut generations.active));
        generations.frozen = Some(frozen.clone());
        Some(frozen)
    }

    /// Drops the frozen generation: it is in the file.
    pub(crate) fn drop_frozen(&self) {
        let frozen = self.generations.write().frozen.take();
        // The last reference is gone only now, without the lock: it may be a long list.
        drop(frozen);
    }

    pub(crate) fn add_capture(&self, capture: Arc<Capture>) {
        self.generations.write().captures.push(capture);
    }

    /// Lets the copies that are being made begin again.
    pub(crate) fn outrun_captures(&self) {
        self.generations.read().captures.iter().for_each(|capture| capture.outrun());
    }

    pub(crate) fn remove_capture(&self, capture: &Arc<Capture>) {
        self.generations.write().captures.retain(|known| !Arc::ptr_eq(known, capture));
    }
}

impl Generations {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key))
    }

    /// The generations' changes of a range, from the newest.
    pub(crate) fn layers(&self) -> [Option<&Changes>; 2] {
        [Some(&self.active), self.frozen.as_deref()]
    }
}

/// Keys that changed behind a copy that is being made.
pub(crate) struct Capture {
    ranges: Vec<KeyRange>,
    keys_max: usize,
    state: Mutex<CaptureState>,
}

#[derive(Default)]
struct CaptureState {
    /// Everything up to here, included, is copied: the number of the range, and the key in it.
    position: Option<(usize, Vec<u8>)>,
    dirty: BTreeSet<Vec<u8>>,
    overrun: bool,
}

impl Capture {
    pub(crate) fn new(ranges: Vec<KeyRange>, keys_max: usize) -> Capture {
        Capture { ranges, keys_max, state: Mutex::default() }
    }

    pub(crate) fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }

    /// The copy has come to `position`. Called with the read gate open, so between two commits.
    pub(crate) fn advance(&self, position: (usize, Vec<u8>)) {
        self.state.lock().position = Some(position);
    }

    /// The copy begins again.
    pub(crate) fn restart(&self) {
        *self.state.lock() = CaptureState::default();
    }

    /// Whether more changed than is kept.
    pub(crate) fn overrun(&self) -> bool {
        self.state.lock().overrun
    }

    /// Everything may have changed behind the copy.
    fn outrun(&self) {
        let mut state = self.state.lock();
        state.overrun = true;
        state.dirty.clear();
    }

    /// How many keys wait for being copied again.
    pub(crate) fn dirty_len(&self) -> usize {
        self.state.lock().dirty.len()
    }

    pub(crate) fn take_dirty(&self) -> BTreeSet<Vec<u8>> {
        mem::take(&mut self.state.lock().dirty)
    }

    fn note(&self, key: &[u8]) {
        let mut state = self.state.lock();
        let Some((copied_range, copied_key)) = &state.position else {
            return;
        };
        let range = self.ranges.iter().position(|(from, to)| from.as_slice() <= key && key < to.as_slice());
        // What the copy has not come to yet, it will see.
        let copied = range.is_some_and(|range| {
            range < *copied_range || (range == *copied_range && key <= copied_key.as_slice())
        });
        if !copied || state.overrun {
            return;
        }
        if state.dirty.len() >= self.keys_max && !state.dirty.contains(key) {
            state.overrun = true;
            state.dirty.clear();
            return;
        }
        state.dirty.insert(key.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step is `put`, `new` or `delete` of a key, or `freeze`, or `written`; what stands in the active
    /// generation afterwards: `key` put, `!key` deleted, `+key` new.
    fn check(steps: &str, active: &str) {
        let overlay = Overlay::new(1);
        let mut bytes = 0;
        for step in steps.split(", ") {
            let mut batch = Batch::default();
            match step.split_once(' ') {
                Some(("put", key)) => batch.put(key.into(), Bytes::from_static(b"value"), false),
                Some(("new", key)) => batch.put(key.into(), Bytes::from_static(b"value"), true),
                Some(("delete", key)) => batch.delete(key.into()),
                _ if step == "freeze" => bytes -= overlay.freeze().unwrap().bytes(),
                _ => overlay.drop_frozen(),
            }
            let change = overlay.commit(batch);
            bytes = bytes + change.added - change.freed;
        }
        let generations = overlay.generations.read();
        let found: Vec<String> = generations
            .active
            .iter()
            .map(|(key, value)| {
                let mark = if value.new { "+" } else { "" };
                let mark = if value.value.is_none() { "!" } else { mark };
                format!("{mark}{}", String::from_utf8_lossy(key))
            })
            .collect();
        assert_eq!(found.join(" "), active, "after {steps}");
        assert_eq!(bytes, generations.active.bytes(), "bytes after {steps}");
    }

    #[test]
    fn a_new_key_that_is_deleted_soon_leaves_nothing_to_write() {
        check("new a, put b, delete a", "b");
        check("new a, put a, delete a", "");
        check("new a, delete a, new a", "+a");
    }

    #[test]
    fn a_delete_is_written_if_the_key_may_be_on_disk() {
        check("put a, delete a", "!a");
        check("delete a", "!a");
        check("delete a, new a", "a");
        check("delete a, new a, delete a", "!a");
        check("new a, freeze, delete a", "!a");
        check("new a, freeze, written, delete a", "!a");
        check("put a, freeze, delete a, new a, freeze, written, delete a", "!a");
    }

    #[test]
    fn a_capture_notes_only_what_was_copied() {
        let ranges = vec![(b"a".to_vec(), b"f".to_vec()), (b"m".to_vec(), b"p".to_vec())];
        let capture = Capture::new(ranges, 3);
        capture.note(b"a");
        capture.advance((1, b"n".to_vec()));
        for key in [b"a", b"f", b"l", b"m", b"n", b"o"] {
            capture.note(key);
        }
        assert_eq!(capture.dirty_len(), 3);
        capture.note(b"a");
        assert!(!capture.overrun());
        capture.note(b"b");
        assert!(capture.overrun());
        let dirty: Vec<_> = capture.take_dirty().into_iter().collect();
        assert!(dirty.is_empty(), "a copy that was overrun begins again: {dirty:?}");
    }
}
