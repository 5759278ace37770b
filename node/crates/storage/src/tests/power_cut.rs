//! The power goes at any write or sync, again and again, over the engine double: what was acknowledged is there, no
//! more was purged than the state makes up for, and the folder opens.
//!
//! The same over real files and a real file system is in the cluster tests.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::{Batch, GroupState, LogBounds};

const GROUPS: u64 = 3;
const CUTS: u64 = 400;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u64, Bytes)>),
    Truncate(Option<u64>),
    Purge(u64),
    Vote(Bytes),
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Log {
    purged: Option<u64>,
    last: Option<u64>,
    entries: BTreeMap<u64, Bytes>,
    vote: Option<Bytes>,
}

impl Log {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(entries) => {
                self.entries.extend(entries.iter().cloned());
                self.last = entries.last().map(|(last, _)| *last);
            }
            Step::Truncate(after) => {
                self.entries.split_off(&after.map_or(0, |after| after + 1));
                self.last = *after;
            }
            Step::Purge(up_to) => {
                self.entries = self.entries.split_off(&(up_to + 1));
                self.purged = self.purged.max(Some(*up_to));
                self.last = self.last.max(Some(*up_to));
            }
            Step::Vote(vote) => self.vote = Some(vote.clone()),
        }
    }

    fn read(log: &GroupLog) -> Log {
        let LogBounds { purged, last } = log.bounds();
        let mut entries = BTreeMap::new();
        let mut next = purged.map_or(0, |purged| purged + 1);
        while last.is_some_and(|last| next <= last) {
            let read = log.read(next, u64::MAX, 500).unwrap();
            next = read.last().expect("no hole").0 + 1;
            entries.extend(read);
        }
        Log { purged, last, entries, vote: log.get_meta("vote") }
    }
}

/// What is known of one group since the last cut.
struct Group {
    id: u64,
    log: Log,
    steps: Vec<Step>,
    logged: Arc<AtomicUsize>,
    /// What the state was, one after the other; the first is how it was found.
    states: Vec<Rows>,
    /// The first of them that may be found.
    durable: usize,
    /// Exports: what they hold, and where.
    copies: Vec<(Rows, PathBuf)>,
}

/// The power has gone.
struct Cut;

impl From<Fatal> for Cut {
    fn from(_: Fatal) -> Cut {
        Cut
    }
}

fn applied(rows: &Rows) -> u64 {
    rows.iter()
        .find(|(key, _)| key[1] == 0)
        .map_or(0, |(_, value)| u64::from_be_bytes(value[..8].try_into().unwrap()))
}

impl Group {
    fn range(&self) -> KeyRange {
        (vec![self.id as u8], vec![self.id as u8 + 1])
    }

    fn state(&self) -> &Rows {
        self.states.last().expect("never empty")
    }

    fn read_state(&self, store: &Store) -> Rows {
        rows(&store.state(self.id).view(), &self.range(), false, usize::MAX).into_iter().collect()
    }

    /// After a cut: compares, and begins anew with what is found.
    fn check(&mut self, store: &Store) {
        let found = Log::read(&store.log(self.id));
        let logged = self.logged.load(Ordering::Acquire);
        let mut must = self.log.clone();
        self.steps[..logged].iter().for_each(|step| must.apply(step));
        let mut later = self.steps[logged..].iter();
        while must != found {
            let next = later.next();
            let next =
                next.unwrap_or_else(|| panic!("acknowledged up to {logged}: {must:#?}, found {found:#?}"));
            must.apply(next);
        }
        let state = self.read_state(store);
        assert!(
            self.states[self.durable..].contains(&state),
            "the state is none that may be found: {state:?}"
        );
        assert!(
            found.purged <= Some(applied(&state)),
            "purged {:?}, applied {}",
            found.purged,
            applied(&state)
        );
        self.log = found;
        self.steps.clear();
        self.logged = Arc::default();
        self.states = vec![state];
        self.durable = 0;
    }

    /// The log as it is asked to be.
    fn bounds(&self, store: &Store) -> (u64, u64) {
        let LogBounds { purged, last } = store.log(self.id).bounds();
        (purged.unwrap_or(0), last.unwrap_or(0))
    }

    fn step(&mut self, store: &Store, rng: &mut StdRng) -> Result<(), Cut> {
        let log = store.log(self.id);
        let state = store.state(self.id);
        let (purged, last) = self.bounds(store);
        match rng.random_range(0..100) {
            0..40 => {
                let entries: Vec<_> = (last + 1..)
                    .zip(
                        (0..rng.random_range(1..6))
                            .map(|_| Bytes::from(rng.random::<u64>().to_be_bytes().to_vec())),
                    )
                    .collect();
                self.steps.push(Step::Append(entries.clone()));
                let (logged, number) = (self.logged.clone(), self.steps.len());
                log.append(entries, move |written| {
                    if written.is_ok() {
                        logged.fetch_max(number, Ordering::AcqRel);
                    }
                });
            }
            40..48 => {
                let vote = Bytes::from(rng.random::<u64>().to_be_bytes().to_vec());
                self.steps.push(Step::Vote(vote.clone()));
                block_on(log.put_meta("vote", vote))?;
                self.logged.fetch_max(self.steps.len(), Ordering::AcqRel);
            }
            48..58 => {
                let least = purged.max(applied(self.state()));
                if least < last {
                    let after = rng.random_range(least..last);
                    // The first index is 1; a log that was never purged can be emptied.
                    let after = (after > 0).then_some(after);
                    self.steps.push(Step::Truncate(after));
                    block_on(log.truncate_after(after))?;
                    self.logged.fetch_max(self.steps.len(), Ordering::AcqRel);
                }
            }
            58..80 => self.commit(&state, last, rng),
            80..90 => {
                state.make_durable()?;
                self.durable = self.states.len() - 1;
                let applied = applied(self.state());
                if applied > purged && rng.random() {
                    let up_to = rng.random_range(purged + 1..=applied);
                    self.steps.push(Step::Purge(up_to));
                    log.purge(up_to);
                }
            }
            90..95 => self.export(store, &state, last, rng)?,
            95..98 => self.import(&state, purged, rng)?,
            _ => std::thread::sleep(Duration::from_micros(rng.random_range(0..3_000))),
        }
        Ok(())
    }

    fn commit(&mut self, state: &GroupState, last: u64, rng: &mut StdRng) {
        let mut rows = self.state().clone();
        let mut batch = Batch::default();
        let next = rng.random_range(applied(&rows)..=last.max(applied(&rows)));
        let mut put = |rows: &mut Rows, key: Vec<u8>, value: Vec<u8>| {
            let new = rows.insert(key.clone(), value.clone()).is_none();
            batch.put(key, value.into(), new);
        };
        put(&mut rows, vec![self.id as u8, 0], next.to_be_bytes().to_vec());
        for _ in 0..rng.random_range(0..4) {
            put(
                &mut rows,
                vec![self.id as u8, rng.random_range(1..12)],
                rng.random::<u64>().to_be_bytes().to_vec(),
            );
        }
        for _ in 0..rng.random_range(0..3) {
            let key = vec![self.id as u8, rng.random_range(1..12)];
            rows.remove(&key);
            batch.delete(key);
        }
        self.states.push(rows);
        state.commit(batch);
    }

    /// Copies while commits go on.
    fn export(&mut self, store: &Store, state: &GroupState, last: u64, rng: &mut StdRng) -> Result<(), Cut> {
        let file = store.snapshot_dir().join(format!("copy-{}-{}", self.id, rng.random::<u64>()));
        let range = self.range();
        let copied = std::thread::scope(|scope| {
            let copy = scope
                .spawn(|| state.export(vec![range.clone()]).write(&file, |view| rows_or_cut(view, &range)));
            while !copy.is_finished() && self.states.len() < 200 {
                self.commit(state, last, rng);
                std::thread::yield_now();
            }
            copy.join().unwrap()
        });
        match copied {
            Ok((_, Some(rows))) => {
                self.copies.push((rows, file));
                if self.copies.len() > 3 {
                    std::fs::remove_file(self.copies.remove(0).1).unwrap();
                }
                Ok(())
            }
            _ => Err(Cut),
        }
    }

    fn import(&mut self, state: &GroupState, purged: u64, rng: &mut StdRng) -> Result<(), Cut> {
        if self.copies.is_empty() {
            return Ok(());
        }
        let (rows, file) = self.copies[rng.random_range(0..self.copies.len())].clone();
        if applied(&rows) >= purged {
            self.states.push(rows);
            state.import(vec![self.range()], &file).map_err(|_| Cut)?;
            self.durable = self.states.len() - 1;
        }
        Ok(())
    }
}

fn rows_or_cut(view: &ReadView<'_>, (from, to): &KeyRange) -> Option<Rows> {
    let mut rows = Rows::new();
    let scanned = view.scan(from, to, false, &mut |key, value| {
        rows.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    scanned.ok().map(|()| rows)
}

/// Opens the folder; a cut may meet that, too.
fn open(dir: &Path, disk: &Disk, rng: &mut StdRng) -> Store {
    let config =
        Config { write_behind: Duration::from_millis(1), export_bytes_per_second_max: 1 << 30, ..small() };
    loop {
        if rng.random_bool(0.2) {
            disk.cut_after(rng.random_range(0..5));
        }
        match open_double(dir, disk, config.clone()) {
            Ok(store) => return store,
            Err(error) => assert!(disk.is_dead(), "the folder does not open: {error}"),
        }
        disk.reboot();
    }
}

#[test]
fn no_cut_loses_what_was_acknowledged() {
    let seed = std::env::var("BANYAN_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("BANYAN_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::new(seed));
    let mut groups: Vec<Group> = (1..=GROUPS)
        .map(|id| Group {
            id,
            log: Log::default(),
            steps: Vec::new(),
            logged: Arc::default(),
            states: vec![Rows::new()],
            durable: 0,
            copies: Vec::new(),
        })
        .collect();
    let mut acknowledged = 0;
    for _ in 0..CUTS {
        let store = open(dir.path(), &disk, &mut rng);
        // If the cut has come already, the store says so soon enough.
        if !disk.is_dead() {
            groups.iter_mut().for_each(|group| group.check(&store));
            disk.cut_after(rng.random_range(0..60));
        }
        for _ in 0..2_000 {
            let group = rng.random_range(0..groups.len());
            if disk.is_dead() || groups[group].step(&store, &mut rng).is_err() {
                break;
            }
        }
        drop(store);
        acknowledged += groups.iter().map(|group| group.logged.load(Ordering::Acquire)).sum::<usize>();
        disk.reboot();
    }
    assert!(acknowledged > 1_000, "{acknowledged} steps were acknowledged");
}
