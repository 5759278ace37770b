//! A shard's stored records, as the model reads them.
//!
//! The physical key is one octet for the space, then the group or the slot (8 octets, big endian), then the model's
//! bytes. Raft keeps its own under another first octet.

use super::hot::{Hot, Touched};
use banyan_model::{
    Timestamp, TreeView,
    key::{Key, Range, Space},
    path::Slot,
    placement::{Shard, ShardId},
    record::Record,
};
use banyan_proto::convert::{self, Malformed};
use banyan_storage::{Batch, Fatal, GroupState, KeyRange, ReadView};
use bytes::Bytes;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet, btree_map::Entry},
    ops::ControlFlow,
    sync::Arc,
};

const SHARD: u8 = 0;
const SLOT: u8 = 1;
const PREFIX_BYTES: usize = 9;

/// Below every kind of the model's keys: the newest time that was applied. It makes "time never goes back" a property
/// of the state, whatever a new leader's clock says.
const NEWEST: u8 = 0;

/// Takes a key, its record, and the length of the record's bytes.
pub(super) type SizedVisit<'a> = dyn FnMut(&[u8], Record, usize) -> ControlFlow<()> + 'a;

/// This replica cannot read its own state. It must stop serving.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ViewError {
    #[error("storage failed")]
    Storage(#[from] Fatal),
    #[error("the record under {key:02x?} cannot be read: {why}")]
    Unreadable { key: Vec<u8>, why: Malformed },
    #[error("the record under {key:02x?} is not what must stand there")]
    Corrupt { key: Vec<u8> },
}

/// The key ranges of a shard: what is of its group, and its slots.
pub(super) fn ranges(shard: &Shard) -> Vec<KeyRange> {
    let first = prefix(shard.id, Space::Slot(shard.first)).to_vec();
    let last = match shard.last.0.checked_add(1) {
        Some(next) => prefix(shard.id, Space::Slot(Slot(next))).to_vec(),
        None => vec![SLOT + 1],
    };
    let ShardId(group) = shard.id;
    let of_group =
        (prefix(shard.id, Space::Shard).to_vec(), prefix(ShardId(group + 1), Space::Shard).to_vec());
    vec![of_group, (first, last)]
}

fn prefix(shard: ShardId, space: Space) -> [u8; PREFIX_BYTES] {
    let (kind, number) = match space {
        Space::Shard => (SHARD, shard.0),
        Space::Slot(slot) => (SLOT, slot.0),
    };
    let mut prefix = [kind; PREFIX_BYTES];
    prefix[1..].copy_from_slice(&number.to_be_bytes());
    prefix
}

fn physical(shard: ShardId, space: Space, bytes: &[u8]) -> Vec<u8> {
    [&prefix(shard, space), bytes].concat()
}

fn newest_key(shard: ShardId) -> Vec<u8> {
    physical(shard, Space::Shard, &[NEWEST])
}

/// One shard's state at one moment. Nothing is applied while it lives: keep it short.
///
/// Invariant: only slots of the shard are read, what is of others is absent. Their records may well stand in the same store,
/// as old as this node's replicas of them are, or not: what is decided here is the same on every node.
pub(super) struct View<'a> {
    base: ReadView<'a>,
    shard: &'a Shard,
    hot: &'a Hot,
}

impl<'a> View<'a> {
    pub(super) fn new(state: &'a GroupState, shard: &'a Shard, hot: &'a Hot) -> View<'a> {
        View { base: state.view(), shard, hot }
    }

    fn is_of_shard(&self, space: Space) -> bool {
        match space {
            Space::Shard => true,
            Space::Slot(slot) => self.shard.first <= slot && slot <= self.shard.last,
        }
    }

    /// The newest time that was applied.
    pub(super) fn newest(&self) -> Result<Timestamp, ViewError> {
        let key = newest_key(self.shard.id);
        match self.base.get(&key)? {
            None => Ok(Timestamp(i64::MIN)),
            Some(bytes) => match bytes.as_ref().try_into() {
                Ok(bytes) => Ok(Timestamp(i64::from_be_bytes(bytes))),
                Err(_) => Err(ViewError::Corrupt { key }),
            },
        }
    }

    /// Visits the records of a range with the length of their bytes.
    pub(super) fn scan_sized(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut SizedVisit<'_>,
    ) -> Result<(), ViewError> {
        let (from, to) = self.bounds(range);
        if from >= to {
            return Ok(());
        }
        let mut failed = None;
        self.base.scan(&from, &to, reverse, &mut |key, bytes| match decode(key, bytes) {
            Ok(record) => visit(&key[PREFIX_BYTES..], record, bytes.len()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Whether a request is known to have no recorded reply. Reads a session's replies once; few are outstanding.
    fn is_unanswered(&self, session: u64, sequence: u64) -> Result<bool, ViewError> {
        if let Some(known) = self.hot.is_unanswered(session, sequence) {
            return Ok(known);
        }
        let (from, to) = self.bounds(&Range::replies(session, 0, u64::MAX));
        let mut replies = HashSet::new();
        self.base.scan(&from, &to, false, &mut |key, _| {
            replies.extend(Key::number(key));
            ControlFlow::Continue(())
        })?;
        let unanswered = !replies.contains(&sequence);
        self.hot.learn_replies(session, replies);
        Ok(unanswered)
    }

    fn bounds(&self, range: &Range) -> KeyRange {
        if !self.is_of_shard(range.space) {
            return KeyRange::default();
        }
        let shard = self.shard.id;
        (physical(shard, range.space, &range.from), physical(shard, range.space, &range.to))
    }
}

fn decode(key: &[u8], bytes: &[u8]) -> Result<Record, ViewError> {
    convert::record_from_bytes(Bytes::copy_from_slice(bytes))
        .map_err(|why| ViewError::Unreadable { key: key.to_vec(), why })
}

impl TreeView for View<'_> {
    type Error = ViewError;

    fn get(&self, key: &Key) -> Result<Option<Record>, ViewError> {
        if !self.is_of_shard(key.space) {
            return Ok(None);
        }
        if let Some((session, sequence)) = key.as_reply()
            && self.is_unanswered(session, sequence)?
        {
            return Ok(None);
        }
        let (is_hot, key) = (key.is_node(), physical(self.shard.id, key.space, &key.bytes));
        if is_hot && let Some(known) = self.hot.get(&key) {
            return Ok(known.map(|record| Record::clone(&record)));
        }
        let record = match self.base.get(&key)? {
            None => None,
            Some(bytes) => match convert::record_from_bytes(bytes) {
                Ok(record) => Some(record),
                Err(why) => return Err(ViewError::Unreadable { key, why }),
            },
        };
        if is_hot {
            self.hot.learn(key, record.clone().map(Arc::new));
        }
        Ok(record)
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        self.scan_sized(range, reverse, &mut |key, record, _| visit(key, record))
    }

    fn corrupt(&self, key: &[u8]) -> ViewError {
        ViewError::Corrupt { key: key.to_vec() }
    }
}

/// A view with what the batch has changed so far. Changes of one key become one, encoded when the batch is done.
pub(super) struct Staged<'a> {
    below: &'a View<'a>,
    changes: BTreeMap<Vec<u8>, Change>,
    touched: Touched,
}

struct Change {
    /// `None`: deleted.
    record: Option<Record>,
    /// The key does not exist below.
    new: bool,
}

impl<'a> Staged<'a> {
    pub(super) fn new(below: &'a View<'a>) -> Staged<'a> {
        Staged { below, changes: BTreeMap::new(), touched: Touched::default() }
    }

    pub(super) fn put(&mut self, key: &Key, record: Record, new: bool) {
        let record = Some(record);
        let physical = self.physical(key, true);
        match self.changes.entry(physical) {
            Entry::Vacant(vacant) => {
                vacant.insert(Change { record, new });
            }
            // What stands below has not changed by what was staged since.
            Entry::Occupied(mut known) => known.get_mut().record = record,
        }
    }

    fn physical(&mut self, key: &Key, there: bool) -> Vec<u8> {
        debug_assert!(self.below.is_of_shard(key.space), "{key:?} is not of {:?}", self.below.shard);
        let physical = physical(self.below.shard.id, key.space, &key.bytes);
        if key.is_node() {
            self.touched.records.push(physical.clone());
        } else if let Some((session, sequence)) = key.as_reply() {
            self.touched.replies.push((session, sequence, there));
        }
        physical
    }

    pub(super) fn delete(&mut self, key: &Key) {
        let physical = self.physical(key, false);
        match self.changes.entry(physical) {
            Entry::Vacant(vacant) => {
                vacant.insert(Change { record: None, new: false });
            }
            Entry::Occupied(known) if known.get().new => {
                known.remove();
            }
            Entry::Occupied(mut known) => known.get_mut().record = None,
        }
    }

    /// Writes everything, and the newest time, into the batch; shuts out of [`Hot`] what it will change.
    pub(super) fn write(self, newest: Timestamp, batch: &mut Batch) {
        self.below.hot.shut(self.touched);
        let newest_bytes = Bytes::copy_from_slice(&newest.0.to_be_bytes());
        batch.put(newest_key(self.below.shard.id), newest_bytes, false);
        for (key, Change { record, new }) in self.changes {
            match record {
                Some(record) => batch.put(key, convert::record_to_bytes(&record), new),
                None => batch.delete(key),
            }
        }
    }
}

impl TreeView for Staged<'_> {
    type Error = ViewError;

    fn get(&self, key: &Key) -> Result<Option<Record>, ViewError> {
        match self.changes.get(&physical(self.below.shard.id, key.space, &key.bytes)) {
            Some(change) => Ok(change.record.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        let (from, to) = self.below.bounds(range);
        if from >= to {
            return Ok(());
        }
        let staged = self.changes.range(from.clone()..to.clone());
        let staged: Box<dyn Iterator<Item = _>> =
            if reverse { Box::new(staged.rev()) } else { Box::new(staged) };
        let mut staged = staged.peekable();
        let (mut broken, mut failed) = (false, None);
        self.below.base.scan(&from, &to, reverse, &mut |key, bytes| {
            // What is staged before this key, then this key as it is staged, if it is.
            while let Some((staged_key, change)) = staged.peek() {
                let order = staged_key.as_slice().cmp(key);
                let order = if reverse { order.reverse() } else { order };
                if order == Ordering::Greater {
                    break;
                }
                if let Some(record) = &change.record
                    && visit(&staged_key[PREFIX_BYTES..], record.clone()).is_break()
                {
                    broken = true;
                    return ControlFlow::Break(());
                }
                staged.next();
                if order == Ordering::Equal {
                    return ControlFlow::Continue(());
                }
            }
            match decode(key, bytes) {
                Ok(record) => {
                    let flow = visit(&key[PREFIX_BYTES..], record);
                    broken = flow.is_break();
                    flow
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if broken {
            return Ok(());
        }
        for (key, change) in staged {
            if let Some(record) = &change.record
                && visit(&key[PREFIX_BYTES..], record.clone()).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn corrupt(&self, key: &[u8]) -> ViewError {
        self.below.corrupt(key)
    }
}

#[cfg(test)]
mod tests;
