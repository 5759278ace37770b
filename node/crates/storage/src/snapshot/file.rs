//! The snapshot file: blocks of changes, each with its length and checksum, so that it is written and read in a
//! stream and a cut or a flipped bit is noticed before anything is installed.
//!
//! ```text
//! file   = magic (8) version (u32) block* last
//! block  = length of the changes in bytes (u32, not 0)  crc32 of them (u32)  change*
//! change = 1 key length (u32) value length (u32) key value      put
//!        | 2 key length (u32) key                               delete
//! last   = 0 (u32)  crc32 of the next 8 bytes (u32)  number of changes (u64)
//! ```
//!
//! Numbers are big-endian. Later changes of a key replace earlier ones. Nothing follows `last`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};

use crate::SnapshotError;

const MAGIC: &[u8; 8] = b"BANYANsn";
const VERSION: u32 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// A block is written when it has grown to this.
const BLOCK_BYTES: usize = 256 << 10;
/// A longer block is not read: its length is damaged, or one value in it is larger than any should be.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// One change in a snapshot.
pub(super) struct Record {
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

pub(super) struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    block: Vec<u8>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Writer, SnapshotError> {
        let file = File::create(path).map_err(|source| failed("create", path, source))?;
        let mut writer = Writer {
            path: path.to_owned(),
            out: BufWriter::with_capacity(64 << 10, file),
            block: Vec::with_capacity(BLOCK_BYTES + (16 << 10)),
            records: 0,
            bytes: 0,
        };
        writer.raw(&[MAGIC.as_slice(), &VERSION.to_be_bytes()].concat())?;
        Ok(writer)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        self.block.push(PUT);
        self.block.extend_from_slice(&length(key).to_be_bytes());
        self.block.extend_from_slice(&length(value).to_be_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.added()
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), SnapshotError> {
        self.block.push(DELETE);
        self.block.extend_from_slice(&length(key).to_be_bytes());
        self.block.extend_from_slice(key);
        self.added()
    }

    pub(super) fn finish(mut self) -> Result<(u64, u64), SnapshotError> {
        self.end_block()?;
        let records = self.records.to_be_bytes();
        self.raw(
            &[&0_u32.to_be_bytes(), &crc32fast::hash(&records).to_be_bytes(), records.as_slice()].concat(),
        )?;
        self.out.flush().map_err(|source| failed("write", &self.path, source))?;
        Ok((self.records, self.bytes))
    }

    fn added(&mut self) -> Result<(), SnapshotError> {
        self.records += 1;
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), SnapshotError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        self.raw(&length(&block).to_be_bytes())?;
        self.raw(&crc32fast::hash(&block).to_be_bytes())?;
        self.raw(&block)?;
        block.clear();
        self.block = block;
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|source| failed("write", &self.path, source))
    }
}

/// Keys and values are far below 4 GiB: a request's body is limited long before.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

pub(super) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    records: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Reader, SnapshotError> {
        let file = File::open(path).map_err(|source| failed("open", path, source))?;
        let input = BufReader::with_capacity(64 << 10, file);
        let mut reader = Reader { path: path.to_owned(), input, records: 0 };
        if reader.take::<8>()? != *MAGIC {
            return Err(reader.malformed("it is no snapshot"));
        }
        let version = u32::from_be_bytes(reader.take()?);
        if version != VERSION {
            return Err(reader.malformed(&format!("its version is {version}, known is {VERSION}")));
        }
        Ok(reader)
    }

    /// The next block, checked; `None` after the last.
    pub(super) fn block(&mut self) -> Result<Option<Vec<Record>>, SnapshotError> {
        let length = u32::from_be_bytes(self.take()?) as usize;
        let checksum = u32::from_be_bytes(self.take()?);
        if length == 0 {
            let count: [u8; 8] = self.take()?;
            if crc32fast::hash(&count) != checksum || u64::from_be_bytes(count) != self.records {
                return Err(self.malformed("its end does not fit"));
            }
            let mut rest = [0];
            return match self.input.read(&mut rest).map_err(|source| failed("read", &self.path, source))? {
                0 => Ok(None),
                _ => Err(self.malformed("something follows its end")),
            };
        }
        if length > BLOCK_BYTES_MAX {
            return Err(self.malformed("a block is too long"));
        }
        let mut block = vec![0; length];
        self.exact(&mut block)?;
        if crc32fast::hash(&block) != checksum {
            return Err(self.malformed("a checksum is wrong"));
        }
        let mut block = Bytes::from(block);
        let mut records = Vec::new();
        while !block.is_empty() {
            let record =
                parse(&mut block).ok_or_else(|| self.malformed("a change does not fit its block"))?;
            records.push(record);
        }
        self.records += records.len() as u64;
        Ok(Some(records))
    }

    pub(super) fn malformed(&self, reason: &str) -> SnapshotError {
        SnapshotError::Malformed { path: self.path.clone(), reason: reason.to_owned() }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.input.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed("it ends too early"),
            _ => failed("read", &self.path, source),
        })
    }
}

fn parse(block: &mut Bytes) -> Option<Record> {
    let kind = block.try_get_u8().ok()?;
    let key_length = block.try_get_u32().ok()? as usize;
    let value_length = match kind {
        PUT => Some(block.try_get_u32().ok()? as usize),
        DELETE => None,
        _ => return None,
    };
    if key_length.checked_add(value_length.unwrap_or(0))? > block.len() {
        return None;
    }
    let key = block.split_to(key_length);
    Some(Record { key, value: value_length.map(|length| block.split_to(length)) })
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::File { action, path: path.to_owned(), source }
}
