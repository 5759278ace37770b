//! Snapshots that travel: a copy of some ranges in a file, and back.
//!
//! The engine has no snapshot of its own, so the copy is made in pieces while writes go on. A commit notes the keys
//! that it changes behind the copy; these are copied again, until so few are left that the last of them fit under one
//! read gate. There the copy ends, exactly between two batches.

mod file;
mod marker;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::engine::{Change, EngineError, StateEngine};
use crate::state::{Capture, Overlay};
use crate::store::Shared;
use crate::{Fatal, GroupState, KeyRange, ReadView, SnapshotError};
use file::{Reader, Writer, failed};
use marker::{Marker, file_path};

/// What is read under one read gate: short enough for a commit to wait for.
const STEP_BYTES: usize = 256 << 10;
const STEP_KEYS: usize = 512;
/// How often changed keys are copied again before the last of them are taken under one gate, however many.
const CATCH_UP_ROUNDS: u32 = 16;
/// How often a copy that was outrun begins again.
const PASSES: u32 = 3;

/// Keys that an import removes at once.
const CLEAR_KEYS: usize = 1_024;

/// A copy that is ready to be made.
pub struct Export {
    state: GroupState,
    ranges: Vec<KeyRange>,
}

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Changes in the file; a key that changed during the copy is there more than once.
    pub records: u64,
    /// Size of the file.
    pub bytes: u64,
}

impl Export {
    pub(crate) fn new(state: GroupState, ranges: Vec<KeyRange>) -> Export {
        Export { state, ranges }
    }

    /// Writes the copy to `file`, replacing it, while writes to the group go on; the copy is the state as it is at
    /// the very end. `at_end` sees exactly that state: read the applied log id there. Blocks for as long as it
    /// takes, and while other exports have the node's permits. The file is not synced.
    ///
    /// # Errors
    /// [`SnapshotError`]; remove the file then.
    pub fn write<R>(
        self,
        file: &Path,
        at_end: impl FnOnce(&ReadView<'_>) -> R,
    ) -> Result<(Exported, R), SnapshotError> {
        let shared = self.state.shared();
        let _permit = shared.permits.take();
        let dirty_max = shared.config.export_dirty_keys_max;
        let capturing = Capturing::begin(self.state.overlay(), Capture::new(self.ranges, dirty_max));
        let mut copy = Copy {
            state: &self.state,
            capture: &capturing.capture,
            throttle: Throttle::new(shared.config.export_bytes_per_second_max),
            dirty_max,
        };
        for _ in 0..PASSES {
            let mut out = Writer::create(file)?;
            if let Some(end) = copy.make(&mut out)? {
                let result = at_end(&end);
                drop(end);
                let (records, bytes) = out.finish()?;
                return Ok((Exported { records, bytes }, result));
            }
            capturing.capture.restart();
        }
        Err(SnapshotError::Overrun { passes: PASSES })
    }
}

/// One pass over the ranges.
struct Copy<'a> {
    state: &'a GroupState,
    capture: &'a Capture,
    throttle: Throttle,
    dirty_max: usize,
}

impl<'a> Copy<'a> {
    /// Copies everything and gives back the view at whose moment the copy is true; `None` if it was outrun.
    fn make(&mut self, out: &mut Writer) -> Result<Option<ReadView<'a>>, SnapshotError> {
        for (number, (from, to)) in self.capture.ranges().iter().enumerate() {
            let mut next = from.clone();
            loop {
                let (rows, ended) = self.step(number, &next, to)?;
                for (key, value) in &rows {
                    out.put(key, value)?;
                }
                if self.capture.overrun() {
                    return Ok(None);
                }
                if self.capture.dirty_len() > self.dirty_max / 4 {
                    self.copy_again(self.capture.take_dirty(), out)?;
                }
                self.throttle.wait(out.bytes);
                match rows.into_iter().next_back() {
                    Some((mut last, _)) if !ended => {
                        last.push(0);
                        next = last;
                    }
                    _ => break,
                }
            }
        }
        self.catch_up(out)
    }

    /// Reads the next rows of a range, and whether they are its last; from then on what changes there is noted.
    fn step(&self, number: usize, from: &[u8], to: &[u8]) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, bool), Fatal> {
        let (mut rows, mut bytes, mut ended) = (Vec::new(), 0, true);
        let view = self.state.view();
        view.scan(from, to, false, &mut |key, value| {
            if bytes >= STEP_BYTES || rows.len() >= STEP_KEYS {
                ended = false;
                return ControlFlow::Break(());
            }
            bytes += key.len() + value.len();
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        let position = match rows.last() {
            Some((last, _)) if !ended => (number, last.clone()),
            _ => (number + 1, Vec::new()),
        };
        self.capture.advance(position);
        Ok((rows, ended))
    }

    fn catch_up(&mut self, out: &mut Writer) -> Result<Option<ReadView<'a>>, SnapshotError> {
        let mut rounds = 0;
        loop {
            let view = self.state.view();
            if self.capture.overrun() {
                return Ok(None);
            }
            let dirty = self.capture.take_dirty();
            if dirty.len() <= STEP_KEYS || rounds == CATCH_UP_ROUNDS {
                for key in &dirty {
                    write(out, key, view.get(key)?)?;
                }
                return Ok(Some(view));
            }
            drop(view);
            self.copy_again(dirty, out)?;
            self.throttle.wait(out.bytes);
            rounds += 1;
        }
    }

    fn copy_again(&self, dirty: BTreeSet<Vec<u8>>, out: &mut Writer) -> Result<(), SnapshotError> {
        let dirty: Vec<_> = dirty.into_iter().collect();
        for keys in dirty.chunks(STEP_KEYS) {
            let view = self.state.view();
            let values = keys.iter().map(|key| view.get(key)).collect::<Result<Vec<_>, _>>()?;
            drop(view);
            for (key, value) in keys.iter().zip(values) {
                write(out, key, value)?;
            }
        }
        Ok(())
    }
}

fn write(out: &mut Writer, key: &[u8], value: Option<Bytes>) -> Result<(), SnapshotError> {
    match value {
        Some(value) => out.put(key, &value),
        None => out.delete(key),
    }
}

/// A capture that ends with the copy.
struct Capturing<'a> {
    overlay: &'a Overlay,
    capture: Arc<Capture>,
}

impl<'a> Capturing<'a> {
    fn begin(overlay: &'a Overlay, capture: Capture) -> Capturing<'a> {
        let capture = Arc::new(capture);
        overlay.add_capture(capture.clone());
        Capturing { overlay, capture }
    }
}

impl Drop for Capturing<'_> {
    fn drop(&mut self) {
        self.overlay.remove_capture(&self.capture);
    }
}

struct Throttle {
    begin: Instant,
    bytes_per_second: u64,
}

impl Throttle {
    fn new(bytes_per_second: u64) -> Throttle {
        Throttle { begin: Instant::now(), bytes_per_second }
    }

    /// Waits until `bytes` may have been written since the beginning.
    fn wait(&mut self, bytes: u64) {
        let due = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        if let Some(early) = due.checked_sub(self.begin.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// How many exports may run at once.
pub(crate) struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

pub(crate) struct Permit<'a>(&'a Permits);

impl Permits {
    pub(crate) fn new(count: usize) -> Permits {
        Permits { free: Mutex::new(count), returned: Condvar::new() }
    }

    fn take(&self) -> Permit<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            self.returned.wait(&mut free);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.returned.notify_one();
    }
}

/// Replaces `ranges` by the contents of `file`.
pub(crate) fn import(
    shared: &Shared,
    overlay: &Overlay,
    ranges: Vec<KeyRange>,
    file: &Path,
) -> Result<(), SnapshotError> {
    shared.trust.check()?;
    check(file, &ranges)?;
    let _closed = overlay.close_for_import();
    // A copy that is being made has seen the old state; it begins again.
    overlay.outrun_captures();
    // What the overlay holds would otherwise come down over the imported state.
    shared.budget.make_durable()?;

    let dir = &shared.snapshot_dir;
    let marker = Marker { group: overlay.group(), ranges };
    let copy = file_path(dir, marker.group);
    keep(file, &copy).map_err(|source| failed("keep a copy of", file, source))?;
    // From here on nobody knows whether the next open would install the file, and then the state is neither the old
    // nor the new one, until it is done.
    let done = marker.write(dir).map_err(Into::into);
    let done = done.and_then(|()| finish(&*shared.state_engine, dir, &marker));
    Ok(done.map_err(|error| shared.trust.end("install a snapshot", error))?)
}

/// Does again what a crash interrupted; before anything else reads or writes the state.
pub(crate) fn resume(engine: &dyn StateEngine, dir: &Path) -> Result<(), EngineError> {
    for marker in Marker::find(dir)? {
        tracing::info!(group = marker.group, "an interrupted snapshot is installed again");
        finish(engine, dir, &marker)?;
    }
    Ok(())
}

fn finish(engine: &dyn StateEngine, dir: &Path, marker: &Marker) -> Result<(), EngineError> {
    install(engine, &file_path(dir, marker.group), &marker.ranges)?;
    engine.sync()?;
    Ok(marker.remove(dir)?)
}

/// Reads the whole file: it is all there, and it is about nothing but `ranges`.
fn check(file: &Path, ranges: &[KeyRange]) -> Result<(), SnapshotError> {
    let mut reader = Reader::open(file)?;
    while let Some(block) = reader.block()? {
        let inside =
            |key: &[u8]| ranges.iter().any(|(from, to)| from.as_slice() <= key && key < to.as_slice());
        if block.iter().any(|record| !inside(&record.key)) {
            return Err(reader.malformed("it holds keys of other ranges"));
        }
    }
    Ok(())
}

/// Makes `copy` another name of `file`, or a copy if that cannot be, and puts its contents on disk.
fn keep(file: &Path, copy: &Path) -> std::io::Result<()> {
    match fs::remove_file(copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if fs::hard_link(file, copy).is_err() {
        fs::copy(file, copy)?;
    }
    File::open(copy)?.sync_all()
}

fn install(engine: &dyn StateEngine, file: &Path, ranges: &[KeyRange]) -> Result<(), EngineError> {
    let mut reader = Reader::open(file)?;
    for (from, to) in ranges {
        clear(engine, from, to)?;
    }
    while let Some(block) = reader.block()? {
        // A later change of a key in the same block replaces the earlier one.
        let changes: HashMap<Bytes, Option<Bytes>> =
            block.into_iter().map(|record| (record.key, record.value)).collect();
        let mut changes =
            changes.iter().map(|(key, value)| Change { key, value: value.as_ref(), new: false });
        engine.write(&mut changes)?;
    }
    Ok(())
}

fn clear(engine: &dyn StateEngine, from: &[u8], to: &[u8]) -> Result<(), EngineError> {
    loop {
        let mut keys = Vec::new();
        engine.scan(from, to, false, &mut |key, _| {
            keys.push(key.to_vec());
            if keys.len() < CLEAR_KEYS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if keys.is_empty() {
            return Ok(());
        }
        engine.write(&mut keys.iter().map(|key| Change { key, value: None, new: false }))?;
    }
}
