//! The overlay over sled looks like one ordered map.

use proptest::prelude::*;

use super::*;
use crate::Batch;

#[derive(Debug, Clone)]
enum Step {
    /// Key, and length of the value; `None` deletes.
    Commit(Vec<(u8, Option<usize>)>),
    MakeDurable,
    Clear,
    /// Close and open again.
    Reopen,
    Get(u8),
    Scan {
        from: u8,
        to: u8,
        reverse: bool,
        rows_max: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    // Few keys, so that they meet; now and then a value in pieces.
    let length = prop_oneof![8 => 0..40_usize, 1 => 4_000..20_000_usize];
    let change = (0..24_u8, proptest::option::weighted(0.6, length));
    prop_oneof![
        6 => proptest::collection::vec(change, 1..12).prop_map(Step::Commit),
        2 => Just(Step::MakeDurable),
        1 => Just(Step::Clear),
        1 => Just(Step::Reopen),
        2 => (0..24_u8).prop_map(Step::Get),
        6 => (0..25_u8, 0..25_u8, any::<bool>(), 1..30_usize)
            .prop_map(|(from, to, reverse, rows_max)| Step::Scan { from, to, reverse, rows_max }),
    ]
}

/// Keys of which some begin with another.
fn key(number: u8) -> Vec<u8> {
    if number.is_multiple_of(3) { vec![b'k', number] } else { vec![b'k', number - number % 3, number] }
}

fn check(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("node"), small()).unwrap();
    let mut state = store.state(1);
    let mut model = Rows::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Commit(changes) => {
                let mut batch = Batch::default();
                for (k, length) in changes {
                    match length {
                        Some(length) => {
                            let value = vec![number as u8; *length];
                            batch.put(key(*k), value.clone().into(), !model.contains_key(&key(*k)));
                            model.insert(key(*k), value);
                        }
                        None => {
                            batch.delete(key(*k));
                            model.remove(&key(*k));
                        }
                    }
                }
                state.commit(batch);
            }
            Step::MakeDurable => state.make_durable().unwrap(),
            Step::Clear => {
                state.clear(&[(vec![b'k'], vec![b'l'])]).unwrap();
                model.clear();
            }
            Step::Reopen => {
                store.close().unwrap();
                drop((store, state));
                store = Store::open(&dir.path().join("node"), small()).unwrap();
                state = store.state(1);
            }
            Step::Get(k) => {
                let found = state.view().get(&key(*k)).unwrap();
                assert_eq!(found.as_deref(), model.get(&key(*k)).map(Vec::as_slice), "step {number}");
            }
            Step::Scan { from, to, reverse, rows_max } => {
                let (from, to) = (key(*from), key(*to));
                let mut must: Vec<_> = match from < to {
                    true => {
                        model.range(from.clone()..to.clone()).map(|(k, v)| (k.clone(), v.clone())).collect()
                    }
                    false => Vec::new(),
                };
                if *reverse {
                    must.reverse();
                }
                must.truncate(*rows_max);
                assert_eq!(rows(&state.view(), &(from, to), *reverse, *rows_max), must, "step {number}");
            }
        }
    }
    let all = (vec![0], vec![255]);
    assert_eq!(rows(&state.view(), &all, false, usize::MAX).into_iter().collect::<Rows>(), model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn overlay_and_file_together_are_one_ordered_map(steps in proptest::collection::vec(step(), 1..40)) {
        check(steps);
    }
}

#[test]
fn a_new_key_that_is_deleted_before_it_is_written_never_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(1);
    let config = Config { write_behind: Duration::from_secs(60), ..small() };
    let store = open_double(dir.path(), &disk, config).unwrap();
    let state = store.state(1);
    let mut batch = Batch::default();
    batch.put(b"a".to_vec(), Bytes::from_static(b"value"), true);
    state.commit(batch);
    assert_eq!(state.view().get(b"a").unwrap().as_deref(), Some(b"value".as_slice()));
    let mut batch = Batch::default();
    batch.delete(b"a".to_vec());
    state.commit(batch);
    let before = disk.calls();
    state.make_durable().unwrap();
    assert_eq!(disk.calls(), before, "there was nothing to write");
    let stats = store.stats();
    assert_eq!((stats.state_changes, stats.state_changes_saved, stats.overlay_bytes), (0, 1, 0));
}

#[test]
fn a_scan_goes_on_while_large_values_are_replaced_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("node"), small()).unwrap();
    let state = store.state(1);
    let commit = |round: usize| {
        let mut batch = Batch::default();
        for key in 0..8_u8 {
            match (round + usize::from(key)) % 3 {
                0 => batch.delete(vec![key]),
                length => batch.put(vec![key], vec![round as u8; length * 30_000].into(), false),
            }
        }
        state.commit(batch);
        state.make_durable().unwrap();
    };
    commit(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..60).for_each(commit));
        while !writer.is_finished() {
            // All values are of one round: a view is one moment.
            let rows = rows(&state.view(), &(vec![0], vec![8]), false, usize::MAX);
            assert!((5..=6).contains(&rows.len()), "{} rows", rows.len());
            let round = rows[0].1[0];
            for (key, value) in rows {
                assert!(value.iter().all(|byte| *byte == round), "key {key:?} is torn");
                assert_eq!(value.len(), (usize::from(round) + usize::from(key[0])) % 3 * 30_000);
            }
        }
    });
}

#[test]
fn a_commit_waits_for_the_disk_when_too_much_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { overlay_bytes_max: 1 << 20, ..small() };
    let store = open_double(dir.path(), &Disk::new(1), config).unwrap();
    let state = store.state(1);
    for number in 0..64_u8 {
        let mut batch = Batch::default();
        batch.put(vec![number], vec![number; 100 << 10].into(), true);
        state.commit(batch);
        assert!(store.stats().overlay_bytes < (1 << 20) + (101 << 10), "one batch may come on top");
    }
    state.make_durable().unwrap();
    assert_eq!(store.stats().overlay_bytes, 0);
}
