//! Writes to a store folder until it is stopped, and journals what it was promised: see `cluster_tests::power_cut`.
//!
//! `power_writer <folder> <journal> <seed>`

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use banyan_storage::{GroupLog, GroupState, Store};
use bytes::Bytes;
use cluster_tests::power_cut::{GROUPS, Line, Step, VOTE, batch, config, entry, range, state, version_key};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

type Failure = Box<dyn Error + Send + Sync>;

/// Appends of one group that may wait for the disk.
const APPENDS_MAX: usize = 16;
/// Entries after which a group applies and purges, so that the folder stays small.
const ENTRIES_MAX: u64 = 1_500;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("argument missing: {what}"));
    let (folder, journal, seed) = (next("folder")?, next("journal")?, next("seed")?.parse::<u64>()?);
    let store = Store::open(Path::new(&folder), config())?;
    let journal = Arc::new(Journal(Mutex::new(File::options().append(true).open(journal)?)));
    std::thread::scope(|scope| {
        let groups: Vec<_> = (0..GROUPS)
            .map(|group| {
                let (store, journal) = (&store, journal.clone());
                let rng = StdRng::seed_from_u64(seed ^ group.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                scope.spawn(move || Driver::new(store, group, journal, rng)?.drive())
            })
            .collect();
        // A driver ends only when it fails.
        groups.into_iter().try_for_each(|group| group.join().map_err(|_| "a driver panicked")?)
    })
}

struct Journal(Mutex<File>);

impl Journal {
    fn write(&self, line: &Line) {
        self.0.lock().write_all(line.to_text().as_bytes()).expect("the journal can be written");
    }
}

/// One group's driver, and what it knows of it.
struct Driver {
    group: u64,
    log: GroupLog,
    state: GroupState,
    folder: PathBuf,
    journal: Arc<Journal>,
    rng: StdRng,
    runtime: tokio::runtime::Runtime,
    /// Steps on the log, and those of them that are acknowledged.
    steps: u64,
    logged: (Sender<u64>, Receiver<u64>),
    /// Appends on their way: the step, the last index.
    appends: VecDeque<(u64, u64)>,
    /// The last entry that is known to be on disk: what may be applied.
    committed: u64,
    /// The version of the state is the index of the entry that was applied last.
    applied: u64,
    changes: u64,
    /// Exports that can be installed: version and file.
    exports: VecDeque<(u64, PathBuf)>,
    /// Exports made, for their names: one more must not replace another's file.
    copies: u64,
}

impl Driver {
    fn new(store: &Store, group: u64, journal: Arc<Journal>, rng: StdRng) -> Result<Driver, Failure> {
        let (log, state) = (store.log(group), store.state(group));
        let applied = version(&state, group)?;
        let driver = Driver {
            group,
            committed: log.bounds().last.unwrap_or(0).max(applied),
            log,
            state,
            folder: store.snapshot_dir(),
            journal,
            rng,
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            steps: 0,
            logged: channel(),
            appends: VecDeque::new(),
            applied,
            changes: 0,
            exports: VecDeque::new(),
            copies: 0,
        };
        Ok(driver)
    }

    fn drive(mut self) -> Result<(), Failure> {
        // What the log lacks, the state has: the cut was between an import and the purge behind it.
        if self.last() < self.applied {
            self.make_durable()?;
            self.purge(self.applied);
        }
        loop {
            self.take_acknowledgements()?;
            match self.rng.random_range(0..1_000) {
                0..600 => self.append(),
                600..640 => self.vote()?,
                640..670 => self.truncate()?,
                670..940 => {
                    let to = self.applied + self.rng.random_range(1..40);
                    self.apply(to);
                }
                940..970 => {
                    self.make_durable()?;
                    if self.rng.random_bool(0.5) {
                        let from = self.log.bounds().purged.unwrap_or(0);
                        let up_to = self.rng.random_range(from..=self.applied.max(from));
                        self.purge(up_to);
                    }
                }
                970..976 => self.export()?,
                976..980 => self.import()?,
                980..990 => self.compare()?,
                _ => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
            if self.last() > self.log.bounds().purged.unwrap_or(0) + ENTRIES_MAX {
                self.apply(u64::MAX);
                self.make_durable()?;
                self.purge(self.applied);
            }
        }
    }

    fn last(&self) -> u64 {
        self.log.bounds().last.unwrap_or(0)
    }

    /// Journals the next step on the log; gives back its number.
    fn step(&mut self, step: Step) -> u64 {
        self.journal.write(&Line::Log(self.group, step));
        self.steps += 1;
        self.steps
    }

    fn take_acknowledgements(&mut self) -> Result<(), Failure> {
        loop {
            let full = self.appends.len() >= APPENDS_MAX;
            let logged = if full { self.logged.1.recv().ok() } else { self.logged.1.try_recv().ok() };
            match logged {
                Some(0) => return Err("an append was refused".into()),
                Some(logged) => {
                    while let Some((_, last)) = self.appends.pop_front_if(|(step, _)| *step <= logged) {
                        self.committed = self.committed.max(last);
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn append(&mut self) {
        // The first index is 1, so that version 0 is the empty state.
        let (first, count, stamp) = (self.last() + 1, self.rng.random_range(1..12), self.rng.random());
        let step = self.step(Step::Append { first, count, stamp });
        let entries = (first..first + count).map(|index| (index, entry(self.group, index, stamp))).collect();
        self.appends.push_back((step, first + count - 1));
        let (journal, group, logged) = (self.journal.clone(), self.group, self.logged.0.clone());
        self.log.append(entries, move |written| {
            if written.is_ok() {
                journal.write(&Line::Logged(group, step));
            }
            // The driver may have gone.
            let _ = logged.send(if written.is_ok() { step } else { 0 });
        });
    }

    fn vote(&mut self) -> Result<(), Failure> {
        let vote: u64 = self.rng.random();
        let step = self.step(Step::Vote(vote));
        let bytes = vote.to_be_bytes().to_vec().into();
        self.runtime.block_on(self.log.put_meta(VOTE, bytes))?;
        self.journal.write(&Line::Logged(self.group, step));
        Ok(())
    }

    fn truncate(&mut self) -> Result<(), Failure> {
        let least = self.log.bounds().purged.unwrap_or(0).max(self.applied);
        if least >= self.last() {
            return Ok(());
        }
        let after = self.rng.random_range(least..self.last());
        let after = (after > 0).then_some(after);
        let step = self.step(Step::Truncate(after));
        self.runtime.block_on(self.log.truncate_after(after))?;
        self.journal.write(&Line::Logged(self.group, step));
        self.committed = self.committed.min(after.unwrap_or(0));
        self.appends.clear();
        // What was acknowledged before speaks of entries that are gone.
        while let Ok(logged) = self.logged.1.try_recv() {
            if logged == 0 {
                return Err("an append was refused".into());
            }
        }
        Ok(())
    }

    fn apply(&mut self, to: u64) {
        while self.applied < to.min(self.committed) {
            self.applied += 1;
            self.changes += 1;
            self.journal.write(&Line::State(self.group, self.applied));
            self.state.commit(batch(self.group, self.applied));
        }
    }

    fn make_durable(&mut self) -> Result<(), Failure> {
        self.state.make_durable()?;
        self.journal.write(&Line::Durable(self.group, self.changes));
        Ok(())
    }

    /// The state must be what it must be before a cut, too.
    fn compare(&self) -> Result<(), Failure> {
        let (from, to) = range(self.group);
        let mut found = BTreeMap::new();
        self.state.view().scan(&from, &to, false, &mut |key, value| {
            found.insert(key.to_vec(), Bytes::copy_from_slice(value));
            ControlFlow::Continue(())
        })?;
        let must = state(self.group, self.applied);
        if found == must {
            return Ok(());
        }
        let differs = |key: &&Vec<u8>| found.get(*key) != must.get(*key);
        let keys: Vec<_> = found.keys().chain(must.keys()).filter(differs).collect();
        let key = keys.first().expect("what differs differs somewhere");
        let got = self.state.view().get(key)?.is_some();
        let (group, applied, in_scan) = (self.group, self.applied, found.contains_key(*key));
        Err(format!(
            "group {group}, version {applied}: {} keys differ, the first {}; there in a scan: {in_scan}, by itself: {got}",
            keys.len(),
            key.escape_ascii()
        ))?
    }

    /// Only up to what is durable.
    fn purge(&mut self, up_to: u64) {
        if up_to > 0 {
            self.step(Step::Purge(up_to));
            self.log.purge(up_to);
        }
    }

    /// Copies the state while commits go on.
    fn export(&mut self) -> Result<(), Failure> {
        self.copies += 1;
        let file = self.folder.join(format!("copy-{}-{}", self.group, self.copies));
        let (state, group) = (self.state.clone(), self.group);
        let ended = AtomicBool::new(false);
        let copied = std::thread::scope(|scope| {
            let copying = scope.spawn(|| {
                let export = state.export(vec![range(group)]);
                let written = export.write(&file, |view| view.get(&version_key(group)));
                ended.store(true, Ordering::Release);
                written
            });
            while !ended.load(Ordering::Acquire) && self.applied < self.committed {
                self.apply(self.applied + 1);
            }
            copying.join()
        });
        let (_, version) = copied.map_err(|_| "the export panicked")??;
        self.exports.push_back((number(version?.as_deref())?, file));
        if self.exports.len() > 2
            && let Some((_, old)) = self.exports.pop_front()
        {
            std::fs::remove_file(old)?;
        }
        Ok(())
    }

    /// Goes to the state of an export: back, or forward again after an import that went back.
    fn import(&mut self) -> Result<(), Failure> {
        if self.exports.is_empty() {
            return Ok(());
        }
        let (version, file) = self.exports[self.rng.random_range(0..self.exports.len())].clone();
        if version < self.log.bounds().purged.unwrap_or(0) {
            return Ok(());
        }
        self.journal.write(&Line::State(self.group, version));
        self.changes += 1;
        self.state.import(vec![range(self.group)], &file)?;
        self.journal.write(&Line::Durable(self.group, self.changes));
        self.applied = version;
        if self.rng.random_bool(0.5) {
            // As a replica does that was sent a snapshot: the log goes on behind it, wherever it ended.
            self.purge(version);
            self.committed = self.committed.max(version);
        } else {
            // As one that has fallen behind: the way is open for the other export to be ahead of the log.
            self.committed = self.committed.max(version);
            self.truncate()?;
        }
        Ok(())
    }
}

fn version(state: &GroupState, group: u64) -> Result<u64, Failure> {
    let found = state.view().get(&version_key(group))?;
    number(found.as_deref())
}

fn number(bytes: Option<&[u8]>) -> Result<u64, Failure> {
    match bytes {
        Some(bytes) => Ok(u64::from_be_bytes(bytes.try_into()?)),
        None => Ok(0),
    }
}
