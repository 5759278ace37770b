//! The log over raft-engine is a list that is appended to, cut at both ends, and survives.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::LogBounds;

#[derive(Debug, Clone)]
enum Step {
    /// Lengths of the entries.
    Append(Vec<usize>),
    /// How many go from the end.
    Truncate(u64),
    /// How many go from the beginning; it may be more than there are.
    Purge(u64),
    Vote(u8),
    Clean,
    Reopen,
    Read {
        skip: u64,
        count: u64,
        bytes_max: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![12 => 0..300_usize, 1 => 200_000..400_000_usize];
    prop_oneof![
        6 => proptest::collection::vec(length, 1..10).prop_map(Step::Append),
        3 => (0..12_u64).prop_map(Step::Truncate),
        2 => (0..20_u64).prop_map(Step::Purge),
        1 => any::<u8>().prop_map(Step::Vote),
        1 => Just(Step::Clean),
        2 => Just(Step::Reopen),
        4 => (0..12_u64, 0..20_u64, 0..1_000_usize)
            .prop_map(|(skip, count, bytes_max)| Step::Read { skip, count, bytes_max }),
    ]
}

#[derive(Default)]
struct Model {
    purged: Option<u64>,
    last: Option<u64>,
    entries: BTreeMap<u64, Bytes>,
    vote: Option<Bytes>,
}

impl Model {
    fn check(&self, log: &GroupLog) {
        assert_eq!(log.bounds(), LogBounds { purged: self.purged, last: self.last });
        assert_eq!(log.get_meta("vote"), self.vote);
        let mut found = BTreeMap::new();
        let mut next = self.purged.map_or(0, |purged| purged + 1);
        loop {
            let read = log.read(next, u64::MAX, 5_000).unwrap();
            let Some((last, _)) = read.last() else {
                break;
            };
            next = last + 1;
            found.extend(read);
        }
        assert!(found == self.entries, "{:?} instead of {:?}", found.keys(), self.entries.keys());
    }
}

fn check(first: u64, steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("node"), small()).unwrap();
    let mut log = store.log(7);
    let mut model = Model::default();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(lengths) => {
                let next = model.last.map_or(first, |last| last + 1);
                let entries: Vec<_> =
                    (next..).zip(lengths.iter().map(|length| vec![number as u8; *length].into())).collect();
                append(&log, entries.clone()).unwrap();
                model.last = entries.last().map(|(last, _)| *last);
                model.entries.extend(entries);
            }
            Step::Truncate(count) => {
                let after = match model.last.and_then(|last| last.checked_sub(count)) {
                    Some(after) if after >= first || model.purged.is_some() => model.purged.max(Some(after)),
                    _ => model.purged,
                };
                block_on(log.truncate_after(after)).unwrap();
                model.entries.split_off(&after.map_or(0, |after| after + 1));
                model.last = after;
            }
            Step::Purge(count) => {
                let up_to = model.purged.unwrap_or(first) + count;
                log.purge(up_to);
                model.entries = model.entries.split_off(&(up_to + 1));
                model.purged = model.purged.max(Some(up_to));
                model.last = model.last.max(Some(up_to));
            }
            Step::Vote(vote) => {
                let vote = Bytes::from(vec![vote]);
                block_on(log.put_meta("vote", vote.clone())).unwrap();
                model.vote = Some(vote);
            }
            Step::Clean => {
                block_on(log.clean()).unwrap();
                model = Model::default();
            }
            Step::Reopen => {
                store.close().unwrap();
                drop((store, log));
                store = Store::open(&dir.path().join("node"), small()).unwrap();
                log = store.log(7);
            }
            Step::Read { skip, count, bytes_max } => {
                let from = model.purged.map_or(first, |purged| purged + 1) + skip;
                let read = log.read(from, from + count, bytes_max).unwrap();
                let must: Vec<_> =
                    model.entries.range(from..from + count).map(|(i, e)| (*i, e.clone())).collect();
                assert!(must.starts_with(&read), "step {number}");
                assert_eq!(read.is_empty(), must.is_empty(), "step {number}: at least one");
                let bytes: usize = read.iter().map(|(_, entry)| entry.len()).sum();
                assert!(read.len() <= 1 || bytes <= bytes_max, "step {number}: {bytes} of {bytes_max} bytes");
            }
        }
        model.check(&log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_is_a_list_that_is_cut_at_both_ends(
        first in 0..3_u64,
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        check(first, steps);
    }
}

#[test]
fn a_log_that_begins_late_is_read_from_where_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { log_cache_bytes_max: 0, ..small() };
    let store = Store::open(&dir.path().join("node"), config.clone()).unwrap();
    let entries: Vec<_> = (5..9).map(|index| (index, Bytes::from_static(b"entry"))).collect();
    append(&store.log(1), entries.clone()).unwrap();
    assert_eq!(store.log(1).read(0, u64::MAX, usize::MAX).unwrap(), entries);
    store.close().unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("node"), config).unwrap();
    assert_eq!(store.log(1).read(0, u64::MAX, usize::MAX).unwrap(), entries);
    assert_eq!(store.log(1).read(0, 5, usize::MAX).unwrap(), []);
}

#[test]
fn acknowledgements_come_in_the_order_of_the_calls_and_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(1);
    let store = open_double(dir.path(), &disk, small()).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (ended, end) = std::sync::mpsc::channel();
    // While this callback waits, the writer cannot take anything: the rest makes one batch.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    store.log(0).append(vec![(1, Bytes::new())], move |_| gate.recv().unwrap());
    for number in 0..100_u64 {
        let (order, ended) = (order.clone(), ended.clone());
        store.log(number % 5).append(vec![(2 + number / 5, vec![0; 10].into())], move |written| {
            written.unwrap();
            order.lock().push(number);
            ended.send(()).unwrap();
        });
    }
    let before = store.stats();
    go.send(()).unwrap();
    (0..100).for_each(|_| end.recv().unwrap());
    store.close().unwrap();
    assert_eq!(*order.lock(), (0..100).collect::<Vec<_>>());
    let stats = store.stats();
    assert!(stats.log_syncs <= 3 && before.log_entries <= 101, "{stats:?}");
    assert_eq!((stats.log_entries, stats.log_entry_bytes), (101, 1_000));
    assert_eq!(stats.log_write.count, stats.log_syncs);
    assert_eq!(stats.log_queue_bytes, 0);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_double(dir.path(), &Disk::new(1), small()).unwrap();
    let log = store.log(1);
    append(&log, vec![(1, Bytes::new()), (2, Bytes::new())]).unwrap();
    for hole in [vec![4], vec![2], vec![3, 5]] {
        let refused = append(&log, hole.iter().map(|index| (*index, Bytes::new())).collect());
        assert!(refused.is_err(), "{hole:?}");
    }
    log.purge(1);
    assert!(block_on(log.truncate_after(None)).is_err(), "a purged end");
    assert_eq!(log.bounds(), LogBounds { purged: Some(1), last: Some(2) });
    append(&log, vec![(3, Bytes::new())]).unwrap();
    assert!(store.fatal().borrow().is_none(), "a caller's mistake does not end trust");
}

#[test]
fn after_a_failed_sync_everything_is_refused_and_the_process_hears_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(1);
    let store = open_double(dir.path(), &disk, small()).unwrap();
    let log = store.log(1);
    append(&log, vec![(1, Bytes::new())]).unwrap();
    disk.cut_after(0);
    let failed = append(&log, vec![(2, Bytes::new())]).unwrap_err();
    assert_eq!(failed.action(), "write and sync the log");
    let mut fatal = store.fatal();
    block_on(fatal.wait_for(Option::is_some)).unwrap();
    assert!(append(&log, vec![(3, Bytes::new())]).is_err());
    assert!(block_on(log.put_meta("vote", Bytes::new())).is_err());
    assert!(log.read(1, 3, 100).is_err());
    assert!(store.put_meta("id", Bytes::new()).is_err());
    assert!(store.state(1).make_durable().is_err());
    assert!(store.state(1).view().get(b"a").is_err());
    assert!(store.close().is_err());
}

#[test]
fn a_callback_that_panics_ends_trust_and_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_double(dir.path(), &Disk::new(1), small()).unwrap();
    let log = store.log(1);
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (begun, began) = std::sync::mpsc::channel::<()>();
    log.append(vec![(1, Bytes::new())], move |_| {
        begun.send(()).unwrap();
        gate.recv().unwrap();
        panic!("a callback's mistake");
    });
    // From here on the writer has its batch: the next append is of a later one.
    began.recv().unwrap();
    let (answer, answered) = std::sync::mpsc::channel();
    log.append(vec![(2, Bytes::new())], move |written| answer.send(written).unwrap());
    go.send(()).unwrap();
    assert!(answered.recv().unwrap().is_err());
    assert!(append(&log, vec![(3, Bytes::new())]).is_err());
    assert!(store.fatal().borrow().is_some());
}

#[test]
fn an_idle_group_does_not_hold_the_files_of_a_busy_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("node"), small()).unwrap();
    let (idle, busy) = (store.log(1), store.log(2));
    let kept: Vec<_> = (1..=200).map(|index| (index, Bytes::from(vec![index as u8; 100]))).collect();
    append(&idle, kept.clone()).unwrap();
    let most = AtomicU64::new(0);
    for number in 0..320_u64 {
        append(&busy, (0..8).map(|n| (number * 8 + n, vec![number as u8; 8 << 10].into())).collect())
            .unwrap();
        busy.purge(number * 8 + 4);
        // 20 MiB in all; a round of the reclaimer each 20 ms.
        std::thread::sleep(Duration::from_millis(3));
        if number > 160 {
            most.fetch_max(store.stats().log_disk_bytes, Ordering::Relaxed);
        }
    }
    assert!(most.into_inner() < 16 << 20, "the log grew beyond its limit, recycled files included");
    assert_eq!(idle.read(1, 201, usize::MAX).unwrap(), kept);
    store.close().unwrap();
    drop((store, idle, busy));
    let store = Store::open(&dir.path().join("node"), small()).unwrap();
    assert_eq!(store.log(1).read(1, 201, usize::MAX).unwrap(), kept);
    assert_eq!(store.groups(), [1, 2]);
}
