//! The power goes while a store folder is written, and goes again and again in the life of the same folder: everything
//! that was acknowledged is there, and the folder opens.
//!
//! The folder lies in a loop-mounted image whose file system writes its journal as rarely as it can. At a random moment
//! the writer is stopped and the image is copied: the copy holds what had reached the disk, and nothing else. The next
//! writer goes on in the copy.
//!
//! `BANYAN_POWER_CUTS` sets how often (5).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use banyan_storage::Store;
use cluster_tests::fault::Signal;
use cluster_tests::power_cut::{GROUPS, Line, Log, Step, VOTE, config, range, stamp_of, state, version_key};
use cluster_tests::process::{POLL, Process};
use cluster_tests::repeat::{Seed, value_of};
use rand::RngExt;

use crate::support::alone;

const IMAGE_BYTES: u64 = 320 << 20;

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let cuts = value_of("BANYAN_POWER_CUTS", 5);
    alone(Duration::from_secs(120 + 15 * cuts), || async {
        let run = tokio::task::spawn_blocking(move || run(cuts));
        run.await.expect("the test goes through");
    });
}

/// A mounted image; dropping it unmounts it.
struct Mounted<'a> {
    folder: &'a Path,
}

impl Mounted<'_> {
    /// # Errors
    /// What `mount` says.
    fn new<'a>(image: &Path, folder: &'a Path) -> Result<Mounted<'a>, String> {
        // Checkpoints of the file system's own would hide what nobody synced.
        tool(Command::new("mount").args(["-t", "ext4", "-o", "loop,commit=300"]).arg(image).arg(folder))?;
        Ok(Mounted { folder })
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(error) = tool(Command::new("umount").arg(self.folder)) {
            eprintln!("{error}; unmounting it when it is no longer used");
            // If this fails too, the message above says what to clean up.
            let _ = tool(Command::new("umount").arg("-l").arg(self.folder));
        }
    }
}

fn tool(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

fn run(cuts: u64) {
    let seed = Seed::of("power_cut::a_power_cut_loses_nothing_that_was_acknowledged");
    let mut rng = seed.rng(u64::MAX);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut image, folder) = (dir.path().join("image-0"), dir.path().join("mounted"));
    fs::create_dir(&folder).expect("the mount point can be made");
    let made = fs::File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES));
    made.expect("the image can be made");
    let first = tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
        .and_then(|()| Mounted::new(&image, &folder));
    let mut mounted = match first {
        Ok(mounted) => Some(mounted),
        Err(reason) => {
            eprintln!("power cuts are not tested here: {reason}");
            return;
        }
    };
    let node = folder.join("node");
    let mut groups: Vec<Group> = (0..GROUPS).map(Group::new).collect();
    let (mut entries, mut steps, mut changes) = (0, 0, 0);
    let begin = Instant::now();

    for cut in 1..=cuts {
        let journal = dir.path().join("journal");
        fs::write(&journal, b"").expect("the journal can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_power_writer"));
        command.arg(&node).arg(&journal).arg(rng.random::<u64>().to_string());
        let mut writer = Process::start("writer", command, dir.path()).expect("the writer can be started");
        let runs = Duration::from_millis(rng.random_range(150..1_800));
        // Now and then in the middle of opening, or of its first steps.
        if !cut.is_multiple_of(10) {
            wait_for_steps(&journal, &mut writer);
        }
        std::thread::sleep(runs);
        assert!(writer.ended().expect("it is our child").is_none(), "the writer ended:\n{}", writer.log());
        writer.signal(Signal::Stop).expect("a running process can be stopped");
        wait_stopped(writer.id());

        let copy = dir.path().join(format!("image-{cut}"));
        tool(Command::new("cp").arg("--sparse=never").arg(&image).arg(&copy)).expect("the image is copied");
        writer.kill().expect("a stopped process can be killed");
        drop(mounted.take());
        fs::remove_file(&image).expect("the old image can be removed");
        image = copy;
        mounted = Some(Mounted::new(&image, &folder).unwrap_or_else(|error| panic!("cut {cut}: {error}")));

        let journal = fs::read_to_string(&journal).expect("the journal is text");
        // What has no line end was being written when the writer was stopped.
        for line in journal.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let line = Line::parse(line).unwrap_or_else(|| panic!("a line of the journal: {line}"));
            let (Line::Log(group, _)
            | Line::Logged(group, _)
            | Line::State(group, _)
            | Line::Durable(group, _)) = line;
            groups[usize::try_from(group).expect("a small number")].note(line);
        }
        let store = match Store::open(&node, config()) {
            Ok(store) => store,
            Err(error) => panic!("cut {cut}: the folder does not open: {error:#}; seed printed below"),
        };
        for group in &mut groups {
            entries += group.acknowledged_entries();
            steps += group.logged;
            changes += group.durable;
            if let Err(lost) = group.check(&store) {
                panic!(
                    "cut {cut}, group {}: {lost}; {entries} acknowledged entries were checked until then",
                    group.id
                );
            }
        }
        let stats = store.stats();
        store.close().expect("the store can be closed");
        drop(store);
        if cut.is_multiple_of(10) || cut == cuts {
            eprintln!(
                "{cut} cuts in {:?}: {entries} acknowledged entries, {steps} acknowledged steps on the logs, {changes} \
                 durable changes of state checked, 0 lost; the folder has {} KiB",
                begin.elapsed(),
                stats.disk_bytes >> 10
            );
        }
    }
    assert!(entries > 0 && changes > 0, "something was acknowledged before the cuts");
    drop(mounted);
}

fn wait_for_steps(journal: &Path, writer: &mut Process) {
    let until = Instant::now() + Duration::from_secs(30);
    while fs::metadata(journal).is_ok_and(|journal| journal.len() == 0) {
        assert!(writer.ended().expect("it is our child").is_none(), "the writer ended:\n{}", writer.log());
        assert!(Instant::now() < until, "the writer does nothing:\n{}", writer.log());
        std::thread::sleep(POLL);
    }
}

/// Waits until all threads of the process stand still; one in the middle of a sync finishes it first.
fn wait_stopped(pid: u32) {
    let until = Instant::now() + Duration::from_secs(30);
    let stopped = |task: PathBuf| {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    loop {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the writer is there");
        if tasks.flatten().all(|task| stopped(task.path())) {
            return;
        }
        assert!(Instant::now() < until, "the writer does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is known of one group: how it stood after the last cut, and what was asked for and acknowledged since.
struct Group {
    id: u64,
    log: Log,
    steps: Vec<Step>,
    logged: u64,
    /// Versions of the state since, the one after the last cut first.
    versions: Vec<u64>,
    durable: u64,
}

impl Group {
    fn new(id: u64) -> Group {
        Group { id, log: Log::default(), steps: Vec::new(), logged: 0, versions: vec![0], durable: 0 }
    }

    fn note(&mut self, line: Line) {
        match line {
            Line::Log(_, step) => self.steps.push(step),
            Line::Logged(_, steps) => self.logged = self.logged.max(steps),
            Line::State(_, version) => self.versions.push(version),
            Line::Durable(_, changes) => self.durable = self.durable.max(changes),
        }
    }

    fn acknowledged_entries(&self) -> u64 {
        let logged = usize::try_from(self.logged).expect("a small number");
        let count = |step: &Step| if let Step::Append { count, .. } = step { *count } else { 0 };
        self.steps.iter().take(logged).map(count).sum()
    }

    /// The log must be as after one of the steps since the last acknowledged one, the state as after one of the
    /// changes since the last durable one. What is found is where the next cut begins.
    fn check(&mut self, store: &Store) -> Result<(), String> {
        let found = self.read_log(store)?;
        let mut must = std::mem::take(&mut self.log);
        let mut fits = self.logged == 0 && must == found;
        for (number, step) in (1..).zip(&self.steps) {
            if fits {
                break;
            }
            must.apply(step);
            fits = number >= self.logged && must == found;
        }
        if !fits {
            let (steps, logged) = (self.steps.len(), self.logged);
            let tail = &self.steps[self.steps.len().saturating_sub(12)..];
            return Err(format!(
                "the log is not as after any of the steps {logged} to {steps}: found {}, in the end it would be {}; \
                 the last steps were {tail:?}",
                summary(&found),
                summary(&must)
            ));
        }
        let version = self.read_state(store)?;
        let durable = usize::try_from(self.durable).expect("a small number");
        if !self.versions[durable..].contains(&version) {
            return Err(format!(
                "the state has version {version}, durable was {:?} of {:?}",
                self.versions.get(durable),
                self.versions.len()
            ));
        }
        if found.purged > Some(version) {
            return Err(format!(
                "the log is purged up to {:?}, the state has version {version}",
                found.purged
            ));
        }
        self.log = found;
        self.steps.clear();
        self.versions = vec![version];
        (self.logged, self.durable) = (0, 0);
        Ok(())
    }

    fn read_log(&self, store: &Store) -> Result<Log, String> {
        let log = store.log(self.id);
        let bounds = log.bounds();
        let vote = log.get_meta(VOTE).and_then(|vote| vote.as_ref().try_into().ok()).map(u64::from_be_bytes);
        let mut stamps = BTreeMap::new();
        let mut next = bounds.purged.map_or(0, |purged| purged + 1);
        while bounds.last.is_some_and(|last| next <= last) {
            let read = log.read(next, u64::MAX, 64 << 10).map_err(|error| format!("{error:?}"))?;
            for (index, bytes) in &read {
                let stamp = stamp_of(self.id, *index, bytes)
                    .ok_or_else(|| format!("entry {index} is not what was written"))?;
                stamps.insert(*index, stamp);
            }
            next = read.last().ok_or_else(|| format!("entry {next} is missing"))?.0 + 1;
        }
        Ok(Log { purged: bounds.purged, last: bounds.last, stamps, vote })
    }

    /// The version of the state, if the state is what it must be at that version.
    fn read_state(&self, store: &Store) -> Result<u64, String> {
        let (from, to) = range(self.id);
        let mut found = BTreeMap::new();
        let scanned = store.state(self.id).view().scan(&from, &to, false, &mut |key, value| {
            found.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        });
        scanned.map_err(|error| format!("{error:?}"))?;
        let version = match found.get(&version_key(self.id)) {
            Some(version) => {
                u64::from_be_bytes(version.as_slice().try_into().map_err(|_| "the version is no number")?)
            }
            None => 0,
        };
        let must = state(self.id, version);
        let differs =
            |key: &&Vec<u8>| found.get(*key).map(Vec::as_slice) != must.get(*key).map(AsRef::as_ref);
        let keys: BTreeSet<&Vec<u8>> = found.keys().chain(must.keys()).filter(differs).collect();
        if keys.is_empty() {
            return Ok(version);
        }
        let mut text = format!("the state of version {version} has other contents than that version:");
        for key in keys.iter().take(12) {
            let (found, must) = (found.get(*key), must.get(*key));
            let head =
                |value: &[u8]| value.first_chunk().map(|head| (u64::from_be_bytes(*head), value.len()));
            let found = found.map(|value| head(value));
            let must = must.map(|value| head(value));
            text.push_str(&format!(" {}: {found:?}, not {must:?};", key[8..].escape_ascii()));
        }
        Err(format!(
            "{text} {} keys differ in all, versions since the last cut: {:?}",
            keys.len(),
            self.jumps()
        ))
    }

    /// The versions of the state since the last cut, as runs.
    fn jumps(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for version in &self.versions {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *version => *last = *version,
                _ => runs.push((*version, *version)),
            }
        }
        runs
    }
}

fn summary(log: &Log) -> String {
    let (first, last) = (log.stamps.first_key_value(), log.stamps.last_key_value());
    format!(
        "purged {:?}, last {:?}, {} entries from {first:?} to {last:?}, vote {:?}",
        log.purged,
        log.last,
        log.stamps.len(),
        log.vote
    )
}
