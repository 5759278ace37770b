//! Folders that do not open, and why.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::Batch;

/// A folder with so many entries and rows of 100 bytes.
fn folder(dir: &Path, rows: u64) {
    let store = Store::open(dir, small()).unwrap();
    store.put_meta("node", Bytes::from_static(b"1")).unwrap();
    for from in (0..rows).step_by(100) {
        let indices = from..rows.min(from + 100);
        append(&store.log(1), indices.clone().map(|index| (index, vec![index as u8; 100].into())).collect())
            .unwrap();
        let mut batch = Batch::default();
        for index in indices {
            batch.put(index.to_be_bytes().to_vec(), vec![index as u8; 100].into(), true);
        }
        store.state(1).commit(batch);
        store.state(1).make_durable().unwrap();
    }
    store.close().unwrap();
}

/// Why it does not open, or what is there.
fn refusal(dir: &Path) -> String {
    match Store::open(dir, small()) {
        Ok(store) => {
            let rows = rows(&store.state(1).view(), &(vec![0], vec![255]), false, usize::MAX).len();
            format!("opened with {rows} rows")
        }
        Err(error) => error.to_string(),
    }
}

fn largest(dir: &Path, ending: &str) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.to_string_lossy().ends_with(ending));
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/node");
    folder(&path, 250);
    let store = Store::open(&path, small()).unwrap();
    assert_eq!(store.meta("node").as_deref(), Some(b"1".as_slice()));
    assert_eq!(store.groups(), [1]);
    assert_eq!(store.log(1).bounds().last, Some(249));
    assert_eq!(rows(&store.state(1).view(), &(vec![0], vec![255]), false, usize::MAX).len(), 250);
    let stats = store.stats();
    assert!(stats.disk_bytes > 0 && stats.disk_bytes >= stats.log_disk_bytes + stats.state_disk_bytes);
}

#[test]
fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small()).unwrap();
    assert!(refusal(dir.path()).contains("in use by another process"));
    let group = store.log(1);
    drop(store);
    assert!(refusal(dir.path()).contains("in use"), "a handle on a group holds it too");
    drop(group);
    assert_eq!(refusal(dir.path()), "opened with 0 rows");
}

#[test]
fn a_folder_of_a_newer_release_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), 10);
    let file = dir.path().join("FORMAT");
    let newer: String = fs::read_to_string(&file)
        .unwrap()
        .chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect();
    fs::write(&file, &newer).unwrap();
    let text = refusal(dir.path());
    assert!(text.contains("format 9") && text.contains("newer"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
}

/// Damages a file with `damage`; the folder must be refused as corrupt, twice: the first attempt repairs nothing.
fn check_damage(rows: u64, victim: &str, ending: &str, damage: impl Fn(&mut Vec<u8>)) {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), rows);
    let file = largest(&dir.path().join(victim), ending);
    let mut bytes = fs::read(&file).unwrap();
    damage(&mut bytes);
    fs::write(&file, bytes).unwrap();
    for attempt in 1..=2 {
        let text = refusal(dir.path());
        assert!(
            text.contains("is corrupt"),
            "{} with {rows} rows, attempt {attempt}: {text}",
            file.display()
        );
    }
}

fn head(bytes: &mut Vec<u8>) {
    let end = bytes.len().min(4_096);
    bytes[..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
}

#[test]
fn a_damaged_head_of_the_log_is_refused() {
    for rows in [50, 20_000] {
        check_damage(rows, "log", ".raftlog", head);
    }
}

#[test]
fn a_damaged_head_of_the_state_is_refused() {
    for rows in [50, 20_000] {
        check_damage(rows, "state", "db", head);
    }
}

#[test]
fn an_engine_that_lost_everything_is_refused() {
    check_damage(50, "log", ".raftlog", Vec::clear);
    check_damage(50, "state", "db", Vec::clear);
    for part in ["log", "state"] {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), 50);
        fs::remove_dir_all(dir.path().join(part)).unwrap();
        assert!(refusal(dir.path()).contains("is missing"), "{part}");
        fs::create_dir(dir.path().join(part)).unwrap();
        assert!(refusal(dir.path()).contains("is corrupt"), "{part}");
    }
}

#[test]
fn a_first_start_that_was_interrupted_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    header::lock(dir.path()).unwrap();
    Header { ready: false, identity: 1 }.write(dir.path()).unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    fs::write(dir.path().join("log/0000000000000001.raftlog"), b"torn").unwrap();
    assert_eq!(refusal(dir.path()), "opened with 0 rows");
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { log_bytes_max: 1 << 20, ..small() };
    let Err(OpenError::Config(error)) = Store::open(dir.path(), config) else {
        panic!("refused");
    };
    assert_eq!(error.setting, "log_bytes_max");
}
