//! Behaviour of the whole crate: over the real engines, and over a double whose power can be cut.

mod folder;
mod log;
mod power_cut;
mod snapshot;
mod state;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::double::Disk;
use crate::header::{self, Header};
use crate::{Config, Fatal, GroupLog, KeyRange, OpenError, ReadView, Store};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Small, so that all limits are met.
fn small() -> Config {
    Config {
        write_behind: Duration::from_millis(2),
        log_cache_bytes_max: 2 << 10,
        log_file_bytes: 1 << 20,
        log_bytes_max: 4 << 20,
        log_reclaim_interval: Duration::from_millis(20),
        export_dirty_keys_max: 1_024,
        ..Config::default()
    }
}

/// As [`Store::open`], over the double.
fn open_double(dir: &Path, disk: &Disk, config: Config) -> Result<Store, OpenError> {
    let lock = header::lock(dir)?;
    let header = match Header::read(dir)? {
        Some(header) if header.ready => header,
        _ => {
            disk.wipe();
            let header = Header { ready: false, identity: rand::random() };
            header.write(dir)?;
            header
        }
    };
    Store::start(dir, lock, header, Arc::new(disk.clone()), Arc::new(disk.clone()), config)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// Appends and waits until it is on disk.
fn append(log: &GroupLog, entries: Vec<(u64, Bytes)>) -> Result<(), Fatal> {
    let (answer, answered) = std::sync::mpsc::channel();
    log.append(entries, move |written| answer.send(written).unwrap());
    answered.recv().unwrap()
}

/// The rows of a view, at most so many.
fn rows(
    view: &ReadView<'_>,
    (from, to): &KeyRange,
    reverse: bool,
    rows_max: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    view.scan(from, to, reverse, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        if rows.len() < rows_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    rows
}
