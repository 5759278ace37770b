//! The state engine: sled, with what it lacks for a power cut.
//!
//! - Its `flush` ends in `sync_file_range`, not in fsync: [`SledState::sync`] syncs the file `db` on a handle of our
//!   own after it. Without, four of five power cuts lost everything.
//! - What does not fit a quarter of its segments, a whole leaf of 16 values, becomes a file under `blobs/` that it
//!   never syncs and hardly ever reclaims. So values are cut into pieces of [`CHUNK_BYTES`]; should a blob appear all
//!   the same (hundreds of long keys in one inner page), it is synced before the page that names it.
//! - It passes over a segment with a damaged head as over one that is not in use, and what was in it is gone without a
//!   word: [`check_segments`] looks at the heads first.
//! - While a batch is written all readers wait: hand it one group's changes at a time.
//!
//! Keys: `0 | key` holds `0 | value`, or `1 | chunks (u32)`; then `1 | key | number (u32)` hold the pieces. Numbers
//! are big-endian.

use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Change, EngineError, StateEngine, Visit, contain};

/// 17 of them, with their keys, are well below the 128 KiB at which sled makes a blob of a leaf.
const CHUNK_BYTES: usize = 4 << 10;

const HEAD: u8 = 0;
const CHUNK: u8 = 1;

const WHOLE: u8 = 0;
const CHUNKED: u8 = 1;

/// sled's default, set nonetheless: [`check_segments`] counts on it.
const SEGMENT_BYTES: usize = 512 << 10;

/// How often the pieces of a value are collected again that was replaced meanwhile.
const READ_ATTEMPTS: u32 = 8;

/// How long a handle of this process that was just dropped may still hold sled's lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

pub(crate) struct SledState {
    db: sled::Db,
    file: File,
    blobs: PathBuf,
    blobs_synced: Mutex<HashSet<OsString>>,
    /// Whether there is any value in pieces: if not, nobody looks for pieces to remove.
    has_chunks: AtomicBool,
}

impl SledState {
    /// Opens the state in `dir`, or makes it.
    pub(crate) fn open(dir: &Path, config: &crate::Config) -> Result<SledState, EngineError> {
        check_segments(&dir.join("db"))?;
        let sled = sled::Config::new()
            .path(dir)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(config.state_cache_bytes);
        let db = contain(|| open_patiently(&sled))?;
        let blobs = dir.join("blobs");
        let file = File::open(dir.join("db"))?;
        file.sync_all()?;
        File::open(dir.join("conf"))?.sync_all()?;
        for folder in [Some(blobs.as_path()), Some(dir), dir.parent()].into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        let has_chunks = db.range([CHUNK]..[CHUNK + 1]).next().transpose()?.is_some();
        Ok(SledState {
            db,
            file,
            blobs,
            blobs_synced: Mutex::default(),
            has_chunks: AtomicBool::new(has_chunks),
        })
    }

    /// The value behind what stands under `0 | key`.
    fn value(&self, key: &[u8], head: &[u8]) -> Result<Bytes, EngineError> {
        match head.split_first() {
            Some((&WHOLE, value)) => Ok(Bytes::copy_from_slice(value)),
            Some((&CHUNKED, count)) => {
                let mut value = Vec::new();
                for number in 0..chunk_count(count)? {
                    let chunk = self.db.get(chunk_key(key, number))?;
                    value.extend_from_slice(&chunk.ok_or("a piece of a value is missing")?);
                }
                Ok(value.into())
            }
            _ => Err("a value begins with an unknown byte".into()),
        }
    }

    /// The value of a row that a scan has come to; `None` if the row has gone meanwhile. The writer may replace the
    /// pieces while they are collected; whether it did, the row itself says.
    fn scanned(&self, key: &[u8], head: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let mut read = self.value(key, head);
        let mut attempts = 0;
        while read.is_err() && attempts < READ_ATTEMPTS {
            attempts += 1;
            let Some(head) = self.db.get(head_key(key))? else {
                return Ok(None);
            };
            read = self.value(key, &head);
        }
        read.map(Some)
    }

    fn remove_chunks(&self, key: &[u8], batch: &mut sled::Batch) -> Result<(), EngineError> {
        if let Some((&CHUNKED, count)) = self.db.get(head_key(key))?.as_deref().and_then(<[u8]>::split_first)
        {
            for number in 0..chunk_count(count)? {
                batch.remove(chunk_key(key, number));
            }
        }
        Ok(())
    }

    fn sync_blobs(&self) -> Result<(), EngineError> {
        let mut synced = self.blobs_synced.lock();
        let mut present = HashSet::new();
        for blob in fs::read_dir(&self.blobs)? {
            let blob = blob?;
            if !synced.contains(&blob.file_name()) {
                match File::open(blob.path()) {
                    Ok(file) => file.sync_all()?,
                    // Replaced and removed meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            present.insert(blob.file_name());
        }
        if *synced != present {
            File::open(&self.blobs)?.sync_all()?;
            *synced = present;
        }
        Ok(())
    }
}

/// The kind of an I/O error, sled's or the standard library's.
pub(super) fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    match error.downcast_ref::<sled::Error>() {
        Some(sled::Error::Io(error)) => Some(error.kind()),
        _ => error.downcast_ref::<std::io::Error>().map(std::io::Error::kind),
    }
}

/// Refuses a file with a segment whose head is neither right nor empty. No power cut leaves one: a head is in one
/// block with the beginning of what is written behind it, and segments that are not in use are filled with zeros.
fn check_segments(db: &Path) -> Result<(), EngineError> {
    let file = match File::open(db) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let length = file.metadata()?.len();
    for at in (0..length).step_by(SEGMENT_BYTES) {
        let mut head = [0; 20];
        if length - at < head.len() as u64 {
            break;
        }
        file.read_exact_at(&mut head, at)?;
        let (checksum, rest) = head.split_first_chunk().expect("it has 20 bytes");
        if head != [0; 20] && !u32::from_le_bytes(*checksum) != crc32fast::hash(rest) {
            return Err(format!("the segment at {at} is damaged").into());
        }
    }
    Ok(())
}

/// sled's own threads let go of the lock a moment after the last handle is dropped. Who may open at all is decided
/// by our lock, one level up.
fn open_patiently(config: &sled::Config) -> Result<sled::Db, EngineError> {
    let begin = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && begin.elapsed() < LOCK_WAIT =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return Ok(opened?),
        }
    }
}

fn head_key(key: &[u8]) -> Vec<u8> {
    [&[HEAD], key].concat()
}

fn chunk_key(key: &[u8], number: u32) -> Vec<u8> {
    [&[CHUNK], key, &number.to_be_bytes()].concat()
}

fn chunk_count(bytes: &[u8]) -> Result<u32, EngineError> {
    Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| "the number of pieces is not four bytes")?))
}

impl StateEngine for SledState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        contain(|| self.db.get(head_key(key))?.map(|head| self.value(key, &head)).transpose())
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: Visit<'_>) -> Result<(), EngineError> {
        contain(|| {
            let mut range = self.db.range(head_key(from)..head_key(to));
            while let Some(row) = if reverse { range.next_back() } else { range.next() } {
                let (key, head) = row?;
                let key = &key[1..];
                let flow = match head.split_first() {
                    Some((&WHOLE, value)) => visit(key, value),
                    _ => match self.scanned(key, &head)? {
                        Some(value) => visit(key, &value),
                        None => ControlFlow::Continue(()),
                    },
                };
                if flow.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn write(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for Change { key, value, new } in changes {
            if !new && self.has_chunks.load(Ordering::Acquire) {
                self.remove_chunks(key, &mut batch)?;
            }
            let Some(value) = value else {
                batch.remove(head_key(key));
                continue;
            };
            if value.len() <= CHUNK_BYTES {
                batch.insert(head_key(key), [&[WHOLE], value.as_ref()].concat());
                continue;
            }
            self.has_chunks.store(true, Ordering::Release);
            let mut count = 0_u32;
            for chunk in value.chunks(CHUNK_BYTES) {
                batch.insert(chunk_key(key, count), chunk);
                count += 1;
            }
            batch.insert(head_key(key), [&[CHUNKED], count.to_be_bytes().as_slice()].concat());
        }
        contain(|| Ok(self.db.apply_batch(batch)?))
    }

    fn sync(&self) -> Result<(), EngineError> {
        contain(|| {
            self.db.flush()?;
            self.sync_blobs()?;
            Ok(self.file.sync_data()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(state: &SledState, key: &[u8], value: Option<&Bytes>) {
        state.write(&mut std::iter::once(Change { key, value, new: false })).unwrap();
    }

    fn rows(state: &SledState) -> Vec<(Vec<u8>, usize)> {
        let mut rows = Vec::new();
        state
            .scan(&[], &[255], false, &mut |key, value| {
                rows.push((key.to_vec(), value.len()));
                ControlFlow::Continue(())
            })
            .unwrap();
        rows
    }

    #[test]
    fn a_large_value_is_one_value_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let state = SledState::open(&dir.path().join("state"), &crate::Config::default()).unwrap();
        let large: Bytes = (0..300_000_u32).map(|number| number as u8).collect::<Vec<_>>().into();
        put(&state, b"a", Some(&large));
        put(&state, b"b", Some(&large.slice(..CHUNK_BYTES)));
        put(&state, b"c", Some(&large.slice(..CHUNK_BYTES + 1)));
        assert_eq!(state.get(b"a").unwrap(), Some(large.clone()));
        assert_eq!(rows(&state), [(b"a".to_vec(), 300_000), (b"b".to_vec(), 4_096), (b"c".to_vec(), 4_097)]);
        state.sync().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("state/blobs")).unwrap().count(), 0);

        put(&state, b"a", Some(&large.slice(..5_000)));
        assert_eq!(state.db.range([CHUNK]..).count(), 4);
        put(&state, b"a", Some(&Bytes::from_static(b"small")));
        put(&state, b"c", None);
        assert_eq!(state.get(b"a").unwrap().as_deref(), Some(b"small".as_slice()));
        assert_eq!(rows(&state), [(b"a".to_vec(), 5), (b"b".to_vec(), 4_096)]);
        assert_eq!(state.db.range([CHUNK]..).count(), 0);
    }
}
