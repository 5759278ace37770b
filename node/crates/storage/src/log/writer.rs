//! The log writer: one thread for all groups of the node.
//!
//! It takes what is waiting, writes it as one batch, syncs once, and then tells everybody in the order of arrival.
//! It never waits for more to come: at load the sync before makes the batch.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::GroupIndex;
use crate::Fatal;
use crate::engine::{LogEngine, LogWrite};
use crate::stats::Clock;
use crate::trust::Trust;

/// What goes into one batch at most.
const BATCH_OPS: usize = 4_096;
const BATCH_BYTES: usize = 16 << 20;

/// Bytes in memory for one record of what may be evicted: records of entries that went by other ways do not pile up.
const CACHE_BYTES_PER_RECORD: usize = 256;

/// What a queued operation costs beside its entries.
const OP_OVERHEAD: usize = 128;

pub(super) type Done = Box<dyn FnOnce(Result<(), Fatal>) + Send>;

/// One write of one group, with whoever waits for it.
pub(super) struct Op {
    pub(super) writes: Vec<LogWrite>,
    pub(super) bytes: usize,
    /// The append, its group and its bytes in memory, if it is one.
    pub(super) append: Option<(Arc<GroupIndex>, u64, usize)>,
    pub(super) done: Option<Done>,
}

/// The way to the log writer.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    bytes_max: usize,
    trust: Trust,
    pub(super) cached: AtomicUsize,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) entry_bytes: AtomicU64,
    pub(crate) other: AtomicU64,
    pub(crate) from_disk: AtomicU64,
    pub(crate) write: Clock,
}

#[derive(Default)]
struct State {
    ops: VecDeque<Op>,
    /// Of everything that is not on disk yet, what is being written included.
    bytes: usize,
    closed: bool,
    writer: Option<ThreadId>,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, trust: Trust) -> Queue {
        Queue {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            bytes_max,
            trust,
            cached: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    /// Waits until there is room, refuses when nothing will be written any more. Call it without a group's lock:
    /// the writer needs that to make room.
    pub(super) fn admit(&self) -> Result<(), Fatal> {
        let mut state = self.state.lock();
        // A callback must not wait for the thread that it runs on.
        let waits = state.writer != Some(std::thread::current().id());
        while waits && state.bytes >= self.bytes_max && !state.closed && !self.trust.has_ended() {
            self.room.wait(&mut state);
        }
        self.trust.check()?;
        if state.closed { Err(closed()) } else { Ok(()) }
    }

    /// Takes an operation; gives its callback and the reason back if nothing will be written any more. The caller
    /// calls back when it has let go of its locks.
    pub(super) fn push(&self, mut op: Op) -> Result<(), (Option<Done>, Fatal)> {
        op.bytes += OP_OVERHEAD;
        let mut state = self.state.lock();
        if let Err(refused) = self.trust.check() {
            return Err((op.done, refused));
        }
        if state.closed {
            return Err((op.done, closed()));
        }
        state.bytes += op.bytes;
        state.ops.push_back(op);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Lets the writer finish what is queued and end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Refuses everything that waits: the writer has gone.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let ops = mem::take(&mut state.ops);
        drop(state);
        self.room.notify_all();
        for done in ops.into_iter().filter_map(|op| op.done) {
            done(Err(self.trust.check().err().unwrap_or_else(closed)));
        }
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(crate) fn cached_bytes(&self) -> usize {
        self.cached.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The next batch, or `None` when the queue is closed and empty.
    fn take(&self) -> Option<Vec<Op>> {
        let mut state = self.state.lock();
        while state.ops.is_empty() {
            if state.closed {
                return None;
            }
            self.work.wait(&mut state);
        }
        let mut bytes = 0;
        let fits = state.ops.iter().take(BATCH_OPS).take_while(|op| {
            bytes += op.bytes;
            bytes <= BATCH_BYTES
        });
        let count = fits.count().max(1);
        Some(state.ops.drain(..count).collect())
    }
}

fn closed() -> Fatal {
    Fatal::new("write the log", "the store was closed")
}

/// The log writer's thread. `cache_bytes_max` bounds the entries of all groups in memory.
pub(crate) fn run(queue: &Queue, engine: &dyn LogEngine, cache_bytes_max: usize) {
    queue.state.lock().writer = Some(std::thread::current().id());
    // Appends in the order in which they came to be on disk: the order in which they may leave memory.
    let mut evictable: VecDeque<(Arc<GroupIndex>, u64)> = VecDeque::new();
    while let Some(mut ops) = queue.take() {
        let written = queue.trust.check().and_then(|()| write(queue, engine, &mut ops));
        let mut bytes = 0;
        for op in ops {
            bytes += op.bytes;
            let done = op.done.map(|done| catch_unwind(AssertUnwindSafe(|| done(written.clone()))));
            if done.is_some_and(|done| done.is_err()) {
                // The others are called all the same: nobody waits for ever.
                queue.trust.end("acknowledge a log write", "a callback panicked".into());
            }
            if let Some((group, append, _)) = op.append {
                evictable.push_back((group, append));
            }
        }
        queue.state.lock().bytes -= bytes;
        queue.room.notify_all();
        let records_max = cache_bytes_max / CACHE_BYTES_PER_RECORD;
        while queue.cached_bytes() > cache_bytes_max || evictable.len() > records_max {
            let Some((group, append)) = evictable.pop_front() else {
                break;
            };
            let freed = group.index.lock().evict(append);
            queue.cached.fetch_sub(freed, Ordering::Relaxed);
        }
    }
    queue.room.notify_all();
}

fn write(queue: &Queue, engine: &dyn LogEngine, ops: &mut [Op]) -> Result<(), Fatal> {
    let begin = Instant::now();
    let counters = &queue.counters;
    let writes: Vec<LogWrite> = ops.iter_mut().flat_map(|op| op.writes.drain(..)).collect();
    if writes.is_empty() {
        return Ok(());
    }
    let (mut entries_count, mut other) = (0, 0);
    for write in &writes {
        match write {
            LogWrite::Append { entries, .. } => entries_count += entries.len() as u64,
            _ => other += 1,
        }
    }
    engine.write(writes).map_err(|error| queue.trust.end("write and sync the log", error))?;
    counters.write.add(begin.elapsed());
    counters.syncs.fetch_add(1, Ordering::Relaxed);
    counters.entries.fetch_add(entries_count, Ordering::Relaxed);
    let entry_bytes: usize = ops.iter().filter_map(|op| op.append.as_ref()).map(|(.., bytes)| bytes).sum();
    counters.entry_bytes.fetch_add(entry_bytes as u64, Ordering::Relaxed);
    counters.other.fetch_add(other, Ordering::Relaxed);
    Ok(())
}
