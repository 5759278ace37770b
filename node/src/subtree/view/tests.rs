use super::*;
use banyan_model::{Path, SubtreeRoot};
use banyan_storage::Store;

const SHARD: ShardId = ShardId(3);

fn key(number: u8) -> Key {
    Key { space: Space::Shard, bytes: vec![b'x', number] }
}

fn whole() -> Shard {
    Shard::founded(SHARD, Slot(0), Slot(u64::MAX), Vec::new())
}

fn all() -> Range {
    Range { space: Space::Shard, from: vec![b'x'], to: vec![b'y'] }
}

fn seen(view: &impl TreeView<Error = ViewError>, reverse: bool, max: usize) -> Vec<(u8, u64)> {
    let mut seen = Vec::new();
    view.scan(&all(), reverse, &mut |key, record| {
        let Record::Pointer(to) = record else { panic!("only pointers were stored") };
        seen.push((key[1], to));
        if seen.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .expect("readable");
    seen
}

#[test]
fn a_scan_merges_what_is_staged_with_what_is_stored() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), banyan_storage::Config::default()).expect("a store");
    let state = store.state(SHARD.0);
    let (shard, hot) = (whole(), Hot::default());
    let mut batch = Batch::default();
    {
        let view = View::new(&state, &shard, &hot);
        let mut staged = Staged::new(&view);
        for number in [2, 4, 6, 8] {
            staged.put(&key(number), Record::Pointer(u64::from(number)), true);
        }
        staged.write(Timestamp(7), &mut batch);
    }
    state.commit(batch);

    let mut batch = Batch::default();
    {
        let view = View::new(&state, &shard, &hot);
        assert_eq!(view.newest().expect("readable"), Timestamp(7));
        let mut staged = Staged::new(&view);
        staged.put(&key(1), Record::Pointer(10), true);
        staged.put(&key(4), Record::Pointer(40), false);
        staged.delete(&key(6));
        staged.put(&key(9), Record::Pointer(90), true);
        staged.put(&key(5), Record::Pointer(50), true);
        staged.delete(&key(5));
        let merged = vec![(1, 10), (2, 2), (4, 40), (8, 8), (9, 90)];
        assert_eq!(seen(&staged, false, usize::MAX), merged);
        assert_eq!(seen(&staged, true, usize::MAX), merged.iter().rev().copied().collect::<Vec<_>>());
        for max in 1..merged.len() {
            assert_eq!(seen(&staged, false, max), merged[..max], "a visitor that breaks sees no more");
        }
        assert_eq!(staged.get(&key(6)).expect("readable"), None);
        assert_eq!(staged.get(&key(4)).expect("readable"), Some(Record::Pointer(40)));
        assert_eq!(
            seen(&view, false, usize::MAX),
            [(2, 2), (4, 4), (6, 6), (8, 8)],
            "nothing is written yet"
        );
        staged.write(Timestamp(9), &mut batch);
    }
    state.commit(batch);
    let view = View::new(&state, &shard, &hot);
    assert_eq!(seen(&view, false, usize::MAX), [(1, 10), (2, 2), (4, 40), (8, 8), (9, 90)]);
}

#[test]
fn the_ranges_of_a_shard_hold_its_keys_and_no_others() {
    let path = Path::parse("/applications/a").expect("a path");
    let slot = path.subtree().slot();
    let shard = |first, last| Shard::founded(SHARD, first, last, Vec::new());
    let within = |shard: &Shard, key: &[u8]| {
        ranges(shard).iter().any(|(from, to)| from.as_slice() <= key && key < to.as_slice())
    };
    let key = Key::resource(&path);
    let key = physical(SHARD, key.space, &key.bytes);
    assert!(within(&shard(slot, slot), &key));
    assert!(within(&whole(), &key));
    assert!(!within(&shard(Slot(0), Slot(slot.0 - 1)), &key));
    assert!(!within(&shard(Slot(slot.0 + 1), Slot(u64::MAX)), &key));

    let whole = whole();
    assert!(within(&whole, &newest_key(SHARD)));
    assert!(!within(&whole, &newest_key(ShardId(SHARD.0 + 1))));
    assert!(!within(&whole, &[2]), "what Raft keeps is not ours");
    let last = physical(SHARD, Space::Slot(Slot(u64::MAX)), &[0xff; 4]);
    assert!(within(&whole, &last));
    assert_ne!(SubtreeRoot::SclBase.slot(), slot);
}

#[test]
fn bytes_that_are_no_record_are_an_error_not_an_absence() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), banyan_storage::Config::default()).expect("a store");
    let state = store.state(SHARD.0);
    let (shard, hot) = (whole(), Hot::default());
    let mut batch = Batch::default();
    batch.put(physical(SHARD, Space::Shard, &key(1).bytes), Bytes::from_static(&[0xff, 0xff]), true);
    state.commit(batch);
    let view = View::new(&state, &shard, &hot);
    assert!(matches!(view.get(&key(1)), Err(ViewError::Unreadable { .. })));
    let scanned = view.scan(&all(), false, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(scanned, Err(ViewError::Unreadable { .. })));
}

#[test]
fn what_another_shard_has_is_absent() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), banyan_storage::Config::default()).expect("a store");
    let (state, hot) = (store.state(SHARD.0), Hot::default());
    let path = Path::parse("/applications/a").expect("a path");
    let (key, slot) = (Key::resource(&path), path.subtree().slot());
    let own = Shard { first: slot, last: slot, ..whole() };
    let others = Shard { first: Slot(slot.0 + 1), ..whole() };
    let mut batch = Batch::default();
    {
        let view = View::new(&state, &own, &hot);
        let mut staged = Staged::new(&view);
        staged.put(&key, Record::Pointer(1), true);
        staged.write(Timestamp(7), &mut batch);
    }
    state.commit(batch);
    let seen = |shard: &Shard| {
        let hot = Hot::default();
        let view = View::new(&state, shard, &hot);
        let range = Range { space: key.space, from: Vec::new(), to: vec![u8::MAX] };
        let mut scanned = 0;
        view.scan(&range, false, &mut |_, _| {
            scanned += 1;
            ControlFlow::Continue(())
        })
        .expect("readable");
        (view.get(&key).expect("readable").is_some(), scanned)
    };
    assert_eq!(seen(&own), (true, 1));
    assert_eq!(seen(&others), (false, 0));
}
