//! The state writer: one thread that carries the overlays of all groups to the disk, some time after they were
//! applied.
//!
//! Each round writes one batch a group: a group's changes are never split, or its counters would be applied twice
//! after a crash; and while the engine writes a batch its readers wait, so one for all groups would be too long.
//! Each round ends with a sync, asked for or not: sled reuses the space of what it moved when it has *written* the
//! new place, and only a sync keeps the file system from losing that again. At three rounds a second it costs little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Overlay;
use super::overlay::Change;
use crate::Fatal;
use crate::engine::{self, StateEngine};
use crate::stats::Clock;
use crate::trust::Trust;

/// What is in memory and who waits for it to be on disk.
pub(crate) struct Budget {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
    bytes_max: i64,
    write_behind: Duration,
    trust: Trust,
    pub(crate) counters: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) changes: AtomicU64,
    pub(crate) saved: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) round: Clock,
}

#[derive(Default)]
struct State {
    /// Of all overlays, frozen generations included. Below zero for the moment in which a change was written before
    /// its committer counted it.
    bytes: i64,
    /// When the oldest change that waits was committed.
    dirty_since: Option<Instant>,
    /// Rounds that were asked for, and that ended.
    asked: u64,
    ended: u64,
    closed: bool,
    writer_gone: bool,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize, write_behind: Duration, trust: Trust) -> Budget {
        Budget {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            bytes_max: bytes_max as i64,
            write_behind,
            trust,
            counters: Counters::default(),
        }
    }

    /// Waits for room. Nobody makes room once trust has ended or the store is closed: then it does not wait.
    pub(crate) fn admit(&self) {
        let mut state = self.state.lock();
        let full =
            |state: &State| state.bytes >= self.bytes_max && !state.writer_gone && !self.trust.has_ended();
        if full(&state) {
            self.counters.waits.fetch_add(1, Ordering::Relaxed);
        }
        while full(&state) {
            self.done.wait(&mut state);
        }
    }

    pub(crate) fn changed(&self, change: Change) {
        self.counters.saved.fetch_add(change.saved, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.bytes += change.added as i64 - change.freed as i64;
        let first = state.dirty_since.is_none();
        if first {
            state.dirty_since = Some(Instant::now());
        }
        let many = state.bytes >= self.bytes_max / 2;
        drop(state);
        if first || many {
            self.work.notify_one();
        }
    }

    pub(crate) fn make_durable(&self) -> Result<(), Fatal> {
        let mut state = self.state.lock();
        state.asked += 1;
        let mine = state.asked;
        self.work.notify_one();
        loop {
            self.trust.check()?;
            if state.ended >= mine {
                return Ok(());
            }
            if state.writer_gone {
                return Err(Fatal::new("write the state", "the store was closed"));
            }
            self.done.wait(&mut state);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes.max(0) as usize
    }

    /// Lets the writer write what is there and end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    /// Nobody will make room or durable any more.
    pub(crate) fn abandon(&self) {
        self.state.lock().writer_gone = true;
        self.done.notify_all();
    }

    /// Waits for the next round; gives back how many rounds that were asked for it answers, and whether it is the
    /// last.
    fn next_round(&self) -> (u64, bool) {
        let mut state = self.state.lock();
        loop {
            let due = state.dirty_since.map(|since| since + self.write_behind);
            let many = state.bytes >= self.bytes_max / 2;
            let over = due.is_some_and(|due| due <= Instant::now());
            if state.closed || state.asked > state.ended || many || over {
                state.dirty_since = None;
                return (state.asked, state.closed);
            }
            match due {
                Some(due) => drop(self.work.wait_until(&mut state, due)),
                None => self.work.wait(&mut state),
            }
        }
    }

    fn written(&self, bytes: usize) {
        self.state.lock().bytes -= bytes as i64;
        self.done.notify_all();
    }
}

/// The state writer's thread. `overlays` lists all groups' overlays.
pub(crate) fn run(budget: &Budget, engine: &dyn StateEngine, overlays: &dyn Fn() -> Vec<Arc<Overlay>>) {
    loop {
        let (asked, last) = budget.next_round();
        let begin = Instant::now();
        let synced = round(budget, engine, &overlays());
        budget.counters.round.add(begin.elapsed());
        let mut state = budget.state.lock();
        if synced.is_ok() {
            state.ended = asked;
        }
        state.writer_gone = last || synced.is_err();
        drop(state);
        budget.done.notify_all();
        if last || synced.is_err() {
            return;
        }
    }
}

fn round(budget: &Budget, engine: &dyn StateEngine, overlays: &[Arc<Overlay>]) -> Result<(), Fatal> {
    budget.trust.check()?;
    let mut written = false;
    for overlay in overlays {
        let Some(frozen) = overlay.freeze() else {
            continue;
        };
        let mut changes = frozen.iter().map(|(key, value)| engine::Change {
            key,
            value: value.value.as_ref(),
            new: value.new,
        });
        // On failure the frozen generation stays: what was readable remains so until the process has left.
        engine.write(&mut changes).map_err(|error| budget.trust.end("write the state", error))?;
        drop(changes);
        overlay.drop_frozen();
        budget.counters.changes.fetch_add(frozen.len() as u64, Ordering::Relaxed);
        budget.written(frozen.bytes());
        written = true;
    }
    if !written {
        // The round before has synced what it wrote.
        return Ok(());
    }
    engine.sync().map_err(|error| budget.trust.end("sync the state", error))
}
