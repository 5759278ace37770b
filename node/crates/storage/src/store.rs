//! One node folder.
//!
//! ```text
//! lock         held by the process that works on the folder
//! FORMAT       format and identity, see `header.rs`
//! log/         raft-engine: the logs of all groups, and the node's own values
//! state/       sled: what was applied
//! snapshots/   copies on their way to or from other nodes; nothing in it outlives a transfer
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::engine::{self, Change, EngineError, LogEngine, RaftLog, SledState, StateEngine};
use crate::header::{self, Header, corrupt, io};
use crate::log::{self, GroupIndex, Queue};
use crate::snapshot::{self, Permits};
use crate::state::{self, Budget, Overlay};
use crate::trust::Trust;
use crate::{Config, Fatal, GroupLog, GroupState, OpenError, Stats};

/// The group under which the node keeps its own values.
const NODE: u64 = u64::MAX;

/// Where both engines keep the folder's identity. In the state it is a key that no group has: theirs begin below.
const IDENTITY: &str = "identity";
const IDENTITY_KEY: &[u8] = b"\xff/identity";

/// One node folder, opened by this process alone; cheap to clone. The folder is free again when the last handle is
/// gone, [`GroupLog`] and [`GroupState`] included; close it first.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

/// What all handles share with the threads.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) trust: Trust,
    pub(crate) log_engine: Arc<dyn LogEngine>,
    pub(crate) log_queue: Queue,
    pub(crate) state_engine: Arc<dyn StateEngine>,
    pub(crate) budget: Budget,
    pub(crate) permits: Permits,
    pub(crate) snapshot_dir: PathBuf,
    dir: PathBuf,
    identity: u64,
    logs: Mutex<BTreeMap<u64, Arc<GroupIndex>>>,
    overlays: Mutex<BTreeMap<u64, Arc<Overlay>>>,
    closing: Mutex<bool>,
    close: Condvar,
    _lock: File,
}

/// Ends the threads with the last [`Store`].
struct Threads {
    shared: Arc<Shared>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens the folder `dir`, or makes it. Finishes an import that a crash interrupted. Blocks; reading back a
    /// large folder takes seconds.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do; the folder is left as it is.
    pub fn open(dir: &Path, config: Config) -> Result<Store, OpenError> {
        config.validate()?;
        let lock = header::lock(dir)?;
        let header = match Header::read(dir)? {
            Some(header) if header.ready => header,
            _ => create(dir)?,
        };
        let (log_dir, state_dir) = (dir.join("log"), dir.join("state"));
        for folder in [&log_dir, &state_dir] {
            // The engines would make an empty one and begin anew.
            if header.ready && !folder.is_dir() {
                return Err(corrupt(dir, &format!("{} is missing", folder.display())));
            }
        }
        let log = RaftLog::open(&log_dir, &config);
        let log = log.map_err(|error| refused(dir, &log_dir, "the log does not open", &*error))?;
        let state = SledState::open(&state_dir, &config);
        let state = state.map_err(|error| refused(dir, &state_dir, "the state does not open", &*error))?;
        Store::start(dir, lock, header, Arc::new(log), Arc::new(state), config)
    }

    /// Checks what the engines hold and starts the threads.
    pub(crate) fn start(
        dir: &Path,
        lock: File,
        header: Header,
        log_engine: Arc<dyn LogEngine>,
        state_engine: Arc<dyn StateEngine>,
        config: Config,
    ) -> Result<Store, OpenError> {
        let damaged = |what: &'static str| move |error: EngineError| refused(dir, dir, what, &*error);
        let (mut logs, mut writes) = load(&*log_engine).map_err(|error| corrupt(dir, &error))?;
        let node = logs.entry(NODE).or_insert_with(|| Arc::new(GroupIndex::empty(NODE)));
        let identity = Bytes::copy_from_slice(&header.identity.to_be_bytes());
        if header.ready {
            let in_state = state_engine.get(IDENTITY_KEY).map_err(damaged("the state is not readable"))?;
            for (what, found) in [("log", node.value(IDENTITY)), ("state", in_state)] {
                if found.as_ref() != Some(&identity) {
                    return Err(corrupt(
                        dir,
                        &format!("the {what} is not the one that belongs to the header"),
                    ));
                }
            }
        } else {
            writes.extend(node.put(IDENTITY, identity.clone()));
            let change = Change { key: IDENTITY_KEY, value: Some(&identity), new: true };
            state_engine
                .write(&mut std::iter::once(change))
                .and_then(|()| state_engine.sync())
                .map_err(damaged("the state does not take a first write"))?;
        }
        if !writes.is_empty() {
            log_engine.write(writes).map_err(damaged("the log does not take a first write"))?;
        }
        let snapshot_dir = dir.join("snapshots");
        fs::create_dir_all(&snapshot_dir).map_err(|source| io("make", &snapshot_dir, source))?;
        snapshot::resume(&*state_engine, &snapshot_dir)
            .map_err(damaged("a snapshot that was being installed cannot be finished"))?;
        if !header.ready {
            Header { ready: true, ..header }.write(dir)?;
        }

        let trust = Trust::new();
        let shared = Arc::new(Shared {
            log_queue: Queue::new(config.log_queue_bytes_max, trust.clone()),
            budget: Budget::new(config.overlay_bytes_max, config.write_behind, trust.clone()),
            permits: Permits::new(config.exports_max),
            config,
            trust,
            log_engine,
            state_engine,
            snapshot_dir,
            dir: dir.to_owned(),
            identity: header.identity,
            logs: Mutex::new(logs),
            overlays: Mutex::default(),
            closing: Mutex::new(false),
            close: Condvar::new(),
            _lock: lock,
        });
        let threads = Arc::new(Threads { shared: shared.clone(), running: Mutex::default() });
        threads.start("log-writer", |shared| {
            log::run(&shared.log_queue, &*shared.log_engine, shared.config.log_cache_bytes_max);
        })?;
        threads.start("state-writer", |shared| {
            let overlays = || shared.overlays.lock().values().cloned().collect();
            state::run(&shared.budget, &*shared.state_engine, &overlays);
        })?;
        threads.start("log-reclaim", |shared| shared.reclaim())?;
        Ok(Store { shared, threads })
    }

    /// Identity of the folder: random, made with it, never changed. A copy of the folder has the same.
    pub fn identity(&self) -> u64 {
        self.shared.identity
    }

    /// Where snapshot files belong: on the same file system as the state, so that installing one need not copy it.
    /// Names that begin with `import-` are taken.
    pub fn snapshot_dir(&self) -> PathBuf {
        self.shared.snapshot_dir.clone()
    }

    /// A value of the node itself, from memory.
    pub fn meta(&self, key: &str) -> Option<Bytes> {
        self.log(NODE).get_meta(key)
    }

    /// Keeps a value of the node itself: its id, its cluster. On disk when it returns; blocks for one sync.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn put_meta(&self, key: &str, value: Bytes) -> Result<(), Fatal> {
        self.log(NODE).put_meta_blocking(key, value)
    }

    /// Groups that have anything in the log, in order.
    pub fn groups(&self) -> Vec<u64> {
        let logs = self.shared.logs.lock();
        logs.iter()
            .filter(|(group, log)| **group != NODE && !log.is_empty())
            .map(|(group, _)| *group)
            .collect()
    }

    /// The log of `group`; empty if it has none yet. `u64::MAX` is taken by the node itself.
    pub fn log(&self, group: u64) -> GroupLog {
        let mut logs = self.shared.logs.lock();
        let index = logs.entry(group).or_insert_with(|| Arc::new(GroupIndex::empty(group)));
        GroupLog::new(self.shared.clone(), index.clone())
    }

    /// The state that `group` writes.
    pub fn state(&self, group: u64) -> GroupState {
        let mut overlays = self.shared.overlays.lock();
        let overlay = overlays.entry(group).or_insert_with(|| Arc::new(Overlay::new(group)));
        GroupState::new(self.shared.clone(), overlay.clone())
    }

    /// Counters and sizes. Looks at the folder: not for a hot path.
    pub fn stats(&self) -> Stats {
        let Shared { log_queue, budget, dir, .. } = &*self.shared;
        let (log, state) = (log_queue.counters(), &budget.counters);
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            log_syncs: of(&log.syncs),
            log_entries: of(&log.entries),
            log_entry_bytes: of(&log.entry_bytes),
            log_other_writes: of(&log.other),
            log_write: log.write.timing(),
            log_queue_bytes: log_queue.waiting_bytes() as u64,
            log_cache_bytes: log_queue.cached_bytes() as u64,
            log_disk_bytes: size(&dir.join("log")),
            log_entries_read_from_disk: of(&log.from_disk),
            state_changes: of(&state.changes),
            state_changes_saved: of(&state.saved),
            state_write: state.round.timing(),
            overlay_bytes: budget.bytes() as u64,
            overlay_waits: of(&state.waits),
            state_disk_bytes: size(&dir.join("state")),
            disk_bytes: size(dir),
        }
    }

    /// Becomes `Some` when storage ends trust, and stays so: leave the process then.
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.shared.trust.watch()
    }

    /// Writes and syncs everything, ends the threads. Whatever is asked afterwards is refused. Blocks.
    ///
    /// # Errors
    /// [`Fatal`] if something may be missing; what was acknowledged is in the log all the same.
    pub fn close(&self) -> Result<(), Fatal> {
        self.threads.end();
        self.shared.trust.check()
    }
}

/// What an engine's error says about the folder: nothing, if the operating system is what stands in the way.
fn refused(
    dir: &Path,
    path: &Path,
    what: &'static str,
    error: &(dyn std::error::Error + 'static),
) -> OpenError {
    match engine::denied(error) {
        Some(kind) => io("open", path, std::io::Error::new(kind, error.to_string())),
        None => corrupt(dir, &format!("{what}: {error}")),
    }
}

/// Makes a new folder, or one that was never ready, up to where the engines are opened.
fn create(dir: &Path) -> Result<Header, OpenError> {
    let header = Header { ready: false, identity: rand::random() };
    header.write(dir)?;
    for part in ["log", "state", "snapshots"] {
        let path = dir.join(part);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|source| io("remove", &path, source))?;
        }
        fs::create_dir(&path).map_err(|source| io("make", &path, source))?;
    }
    header::sync_folder(dir).map_err(|source| io("sync", dir, source))?;
    Ok(header)
}

type Logs = BTreeMap<u64, Arc<GroupIndex>>;

/// Reads back the logs of all groups, and what must be written to them before they are used.
fn load(engine: &dyn LogEngine) -> Result<(Logs, Vec<crate::engine::LogWrite>), String> {
    let mut logs = Logs::new();
    let mut writes = Vec::new();
    for group in engine.groups() {
        let (log, corrections) = GroupIndex::load(group, engine)?;
        writes.extend(corrections);
        logs.insert(group, Arc::new(log));
    }
    Ok((logs, writes))
}

/// Bytes of the files below `path`, as far as they can be seen: files come and go meanwhile.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

impl Shared {
    fn reclaim(&self) {
        let mut closing = self.closing.lock();
        while !*closing {
            self.close.wait_for(&mut closing, self.config.log_reclaim_interval);
            if *closing || self.trust.has_ended() {
                return;
            }
            parking_lot::MutexGuard::unlocked(&mut closing, || {
                if let Err(error) = self.log_engine.reclaim() {
                    self.trust.end("give back log files", error);
                }
            });
        }
    }
}

impl Threads {
    fn start(&self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<(), OpenError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Whoever waits for a thread that has gone would wait for ever.
            if catch_unwind(AssertUnwindSafe(|| work(&shared))).is_err() {
                shared.trust.end("run its threads", "a thread panicked".into());
                shared.log_queue.abandon();
                shared.budget.abandon();
            }
        });
        let thread = thread.map_err(|source| io("start a thread for", &self.shared.dir, source))?;
        self.running.lock().push(thread);
        Ok(())
    }

    fn end(&self) {
        *self.shared.closing.lock() = true;
        self.shared.close.notify_all();
        self.shared.log_queue.close();
        self.shared.budget.close();
        for thread in mem::take(&mut *self.running.lock()) {
            // A callback may drop the last handle, on the very thread that would be waited for.
            if thread.thread().id() != std::thread::current().id() {
                thread.join().expect("a thread's panics are caught in it");
            }
        }
        if self.shared.trust.has_ended() {
            // raft-engine syncs when it is dropped, and panics if that fails; the process is leaving anyway.
            mem::forget(self.shared.log_engine.clone());
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}
