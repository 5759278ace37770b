//! The log engine: raft-engine, which is made for the logs of many groups.
//!
//! It keeps each entry's place in memory and the entries in files that it writes one after the other; `write` appends
//! to the newest file and syncs it. What an entry's index is it finds in the entry: we put it in the first 8 bytes.

use std::error::Error;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::{EngineError, LogEngine, LogWrite, contain};

pub(crate) struct RaftLog {
    engine: Engine,
}

/// Our values' keys: raft-engine keeps some of its own.
const KEY: &[u8] = b"v:";

/// How the files of the log begin.
const FILE_HEAD: &[u8] = b"RAFT-LOG-FILE-HEADER-";

struct Entry;

impl MessageExt for Entry {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let (index, _) = entry.value.split_first_chunk().expect("`encode` wrote the index");
        u64::from_be_bytes(*index)
    }
}

fn encode(index: u64, entry: &[u8]) -> BytesValue {
    let mut value = Vec::with_capacity(8 + entry.len());
    value.extend_from_slice(&index.to_be_bytes());
    value.extend_from_slice(entry);
    BytesValue { value, ..BytesValue::default() }
}

fn decode(mut entry: BytesValue) -> Result<(u64, Bytes), EngineError> {
    if entry.value.len() < 8 {
        return Err("a log entry is shorter than its index".into());
    }
    let index = Entry::index(&entry);
    Ok((index, Bytes::from(entry.take_value()).slice(8..)))
}

/// The kind of an I/O error of raft-engine.
pub(super) fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    match error.downcast_ref::<raft_engine::Error>() {
        Some(raft_engine::Error::Io(error)) => Some(error.kind()),
        _ => None,
    }
}

/// Refuses a newest file with a damaged head: raft-engine would take it for one that a power cut left unfinished, and
/// empty it. Such a file is empty or begins with zeros; the first block of a file is written as one.
fn check_heads(dir: &Path) -> Result<(), EngineError> {
    let mut newest: [Option<PathBuf>; 2] = [None, None];
    if !dir.exists() {
        return Ok(());
    }
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let queue = match path.extension().and_then(|extension| extension.to_str()) {
            Some("raftlog") => &mut newest[0],
            Some("rewrite") => &mut newest[1],
            _ => continue,
        };
        // Their names are numbers of equal length.
        *queue = queue.take().max(Some(path));
    }
    for path in newest.into_iter().flatten() {
        let mut head = Vec::new();
        File::open(&path)?.take(FILE_HEAD.len() as u64).read_to_end(&mut head)?;
        if !FILE_HEAD.starts_with(&head) && head.iter().any(|byte| *byte != 0) {
            return Err(format!("the head of {} is damaged", path.display()).into());
        }
    }
    Ok(())
}

impl RaftLog {
    /// Opens the log in `dir`, or makes it.
    pub(crate) fn open(dir: &Path, config: &crate::Config) -> Result<RaftLog, EngineError> {
        check_heads(dir)?;
        let dir_text = dir.to_str().ok_or("the path is not valid UTF-8")?.to_owned();
        let config = Config {
            dir: dir_text,
            // A torn last record was never acknowledged; anything else that does not fit is damage.
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 2,
            batch_compression_threshold: ReadableSize(config.log_compression_bytes_min),
            target_file_size: ReadableSize(config.log_file_bytes),
            purge_threshold: ReadableSize(config.log_bytes_max),
            // Old files are written over: a sync then need not wait for the file system's journal.
            enable_log_recycle: true,
            ..Config::default()
        };
        let engine = contain(|| Ok(Engine::open(config)?))?;
        // The engine syncs the folder when it starts a new file, but not for the first.
        for folder in [Some(dir), dir.parent()].into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(RaftLog { engine })
    }
}

impl LogEngine for RaftLog {
    fn groups(&self) -> Vec<u64> {
        self.engine.raft_groups()
    }

    fn span(&self, group: u64) -> Option<(u64, u64)> {
        Some((self.engine.first_index(group)?, self.engine.last_index(group)?))
    }

    fn values(&self, group: u64) -> Vec<(String, Bytes)> {
        let mut values = Vec::new();
        let scanned = self.engine.scan_raw_messages(group, None, None, false, |key, value| {
            if let Some(name) = key.strip_prefix(KEY).and_then(|name| std::str::from_utf8(name).ok()) {
                values.push((name.to_owned(), Bytes::copy_from_slice(value)));
            }
            true
        });
        scanned.expect("values are in memory");
        values
    }

    fn write(&self, writes: Vec<LogWrite>) -> Result<(), EngineError> {
        let mut batch = LogBatch::with_capacity(writes.len());
        for write in writes {
            match write {
                LogWrite::Append { group, entries } => {
                    let entries: Vec<_> =
                        entries.iter().map(|(index, entry)| encode(*index, entry)).collect();
                    batch.add_entries::<Entry>(group, &entries)?;
                }
                // Never a delete: a put that was written again survives the files in which a delete stood.
                LogWrite::Put { group, key, value } => {
                    batch.put(group, [KEY, key.as_bytes()].concat(), value.to_vec())?;
                }
                LogWrite::Compact { group, first } => {
                    batch.add_command(group, Command::Compact { index: first })
                }
                // Unlike a delete, this is written again with what outlives its file.
                LogWrite::Clean { group } => batch.add_command(group, Command::Clean),
            }
        }
        contain(|| {
            self.engine.write(&mut batch, true)?;
            Ok(())
        })
    }

    fn read(
        &self,
        group: u64,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, EngineError> {
        let mut entries = Vec::new();
        contain(|| {
            self.engine.fetch_entries_to::<Entry>(group, from, to, Some(bytes_max), &mut entries)?;
            Ok(())
        })?;
        entries.into_iter().map(decode).collect()
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        // It names groups whose old entries hold back files, in the hope that they can be compacted; after nine
        // rounds it writes these entries again by itself. The groups purge in their own time, so that is what we
        // wait for: an idle group cannot hold a file for ever.
        let behind = contain(|| Ok(self.engine.purge_expired_files()?))?;
        if !behind.is_empty() {
            tracing::debug!(groups = ?behind, "groups with old entries hold back log files");
        }
        Ok(())
    }
}
