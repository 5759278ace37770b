//! Copies of ranges while writes go on, and back.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{Batch, SnapshotError};

const OURS: u8 = 1;

fn ranges() -> Vec<KeyRange> {
    vec![(vec![OURS, 0], vec![OURS, 100]), (vec![OURS, 200], vec![OURS, 255])]
}

fn contents(view: &ReadView<'_>) -> Rows {
    ranges().iter().flat_map(|range| rows(view, range, false, usize::MAX)).collect()
}

fn key(number: u64) -> Vec<u8> {
    let part = if number.is_multiple_of(2) { 50 } else { 220 };
    [&[OURS, part], number.to_be_bytes().as_slice()].concat()
}

fn commit(state: &crate::GroupState, round: u64, keys: u64) {
    let mut batch = Batch::default();
    for number in 0..20 {
        let key = key(round.wrapping_mul(7_919).wrapping_add(number * 31) % keys);
        if (round + number).is_multiple_of(5) {
            batch.delete(key);
        } else {
            batch.put(key, vec![round as u8; 50 + (number as usize) * 300].into(), false);
        }
    }
    state.commit(batch);
}

#[test]
fn a_copy_is_the_state_at_its_end_though_writes_went_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("node"), small()).unwrap();
    let state = store.state(1);
    (0..400).for_each(|round| commit(&state, round, 3_000));
    let stop = AtomicBool::new(false);
    for attempt in 0..3 {
        let file = store.snapshot_dir().join(format!("copy-{attempt}"));
        let (exported, at_end) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut round = 400;
                while !stop.load(Ordering::Acquire) {
                    commit(&state, round, 3_000);
                    round += 1;
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
            let copied = state.export(ranges()).write(&file, contents);
            stop.store(true, Ordering::Release);
            writer.join().unwrap();
            copied.unwrap()
        });
        stop.store(false, Ordering::Release);
        assert!(exported.records >= at_end.len() as u64);
        assert_eq!(exported.bytes, fs::metadata(&file).unwrap().len());

        commit(&state, 77, 3_000);
        let mut batch = Batch::default();
        batch.put(vec![OURS, 150], Bytes::from_static(b"outside the ranges"), true);
        state.commit(batch);
        state.import(ranges(), &file).unwrap();
        assert!(contents(&state.view()) == at_end, "attempt {attempt}");
        assert!(state.view().get(&[OURS, 150]).unwrap().is_some(), "other keys stay");
        let left: Vec<_> = fs::read_dir(store.snapshot_dir()).unwrap().flatten().collect();
        assert_eq!(left.len(), attempt + 1, "the import leaves nothing: {left:?}");
    }
    let expected = contents(&state.view());
    store.close().unwrap();
    drop((store, state));
    let store = Store::open(&dir.path().join("node"), small()).unwrap();
    assert!(contents(&store.state(1).view()) == expected);
}

#[test]
fn a_file_that_is_not_whole_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_double(dir.path(), &Disk::new(1), small()).unwrap();
    let state = store.state(1);
    (0..10).for_each(|round| commit(&state, round, 30));
    let file = dir.path().join("copy");
    let (_, before) = state.export(ranges()).write(&file, contents).unwrap();
    let whole = fs::read(&file).unwrap();
    let refused = |what: &str, bytes: &[u8], ranges: Vec<KeyRange>| {
        let bad = dir.path().join("bad");
        fs::write(&bad, bytes).unwrap();
        let error = state.import(ranges, &bad).unwrap_err();
        assert!(matches!(error, SnapshotError::Malformed { .. }), "{what}: {error}");
        assert!(contents(&state.view()) == before, "{what}");
    };
    for cut in [0, 5, 12, 20, whole.len() / 2, whole.len() - 1] {
        refused(&format!("cut to {cut}"), &whole[..cut], ranges());
    }
    for flip in [0, 11, 12, 17, 25, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[flip] ^= 0x40;
        refused(&format!("flipped at {flip}"), &bytes, ranges());
    }
    refused("more", &[whole.as_slice(), b"x"].concat(), ranges());
    refused("other ranges", &whole, ranges()[..1].to_vec());
    let missing = state.import(ranges(), &dir.path().join("missing")).unwrap_err();
    assert!(matches!(missing, SnapshotError::File { .. }), "{missing}");
    assert!(store.fatal().borrow().is_none());
    state.import(ranges(), &file).unwrap();
}

#[test]
fn a_copy_begins_again_when_the_state_is_replaced_under_it() {
    let dir = tempfile::tempdir().unwrap();
    // The copy takes more than half a second.
    let config = Config { export_bytes_per_second_max: 1 << 20, ..small() };
    let store = open_double(dir.path(), &Disk::new(1), config).unwrap();
    let state = store.state(1);
    let mut batch = Batch::default();
    (0..2_000).for_each(|number| batch.put(key(number), vec![0; 350].into(), true));
    state.commit(batch);
    let empty = dir.path().join("empty");
    store.state(2).export(vec![(vec![9], vec![10])]).write(&empty, |_| ()).unwrap();
    std::thread::scope(|scope| {
        let file = dir.path().join("copy");
        let state = &state;
        let copy = scope.spawn(move || {
            let (_, at_end) = state.export(ranges()).write(&file, contents).unwrap();
            (file, at_end)
        });
        std::thread::sleep(Duration::from_millis(100));
        state.import(ranges(), &empty).unwrap();
        let (file, at_end) = copy.join().unwrap();
        assert!(at_end.is_empty());
        state.import(ranges(), &file).unwrap();
        assert!(contents(&state.view()).is_empty(), "nothing of the old state is in the copy");
    });
}
