//! The header of a node folder: which format it has, and whose it is.
//!
//! ```text
//! header = magic (8) format (u32) ready (u8: 0 or 1) identity (u64) crc32 of all before (u32)
//! ```
//!
//! Numbers are big-endian. The header is written before anything else, not ready; then the engines are made and the
//! identity put into both; then it is written again, ready. A folder that was never ready has never acknowledged
//! anything and is made anew. In a ready one both engines must have the header's identity: otherwise one of them has
//! lost everything, or comes from another folder.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::OpenError;

/// The format that this release writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"BANYANst";
const NAME: &str = "header";
const LOCK: &str = "lock";

/// What may lie in a folder that is taken for a new one: a file system's own, and our lock.
const IGNORED: [&str; 2] = ["lost+found", LOCK];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) ready: bool,
    pub(crate) identity: u64,
}

/// Makes the folder if it is missing and locks it for this process.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    fs::create_dir_all(dir).map_err(|source| io("make the folder", dir, source))?;
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| io("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io("lock", &path, source)),
    }
}

impl Header {
    /// Reads the header; `None` if the folder is new.
    pub(crate) fn read(dir: &Path) -> Result<Option<Header>, OpenError> {
        let path = dir.join(NAME);
        match fs::read(&path) {
            Ok(bytes) => Header::decode(&bytes, dir).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let entries = fs::read_dir(dir).map_err(|source| io("read", dir, source))?;
                for entry in entries {
                    let name = entry.map_err(|source| io("read", dir, source))?.file_name();
                    let name = name.to_string_lossy();
                    if ["log", "state"].contains(&name.as_ref()) {
                        return Err(corrupt(dir, "the header is missing"));
                    }
                    // A draft of a header is from a first start that did not come further.
                    if !IGNORED.contains(&name.as_ref()) && name != format!("{NAME}.draft") {
                        return Err(OpenError::Foreign { dir: dir.to_owned() });
                    }
                }
                Ok(None)
            }
            Err(source) => Err(io("read", &path, source)),
        }
    }

    /// Writes the header; on disk when it returns, the folder's own name included.
    pub(crate) fn write(self, dir: &Path) -> Result<(), OpenError> {
        let (path, draft) = (dir.join(NAME), dir.join(format!("{NAME}.draft")));
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            for folder in [Some(dir), dir.parent()].into_iter().flatten() {
                // The parent of a relative path of one part is written as nothing.
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|source| io("write", &path, source))
    }

    fn encode(self) -> Vec<u8> {
        let parts =
            [MAGIC.as_slice(), &FORMAT.to_be_bytes(), &[u8::from(self.ready)], &self.identity.to_be_bytes()];
        let bytes = parts.concat();
        [bytes.as_slice(), &crc32fast::hash(&bytes).to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8], dir: &Path) -> Result<Header, OpenError> {
        let wrong = |what: &str| corrupt(dir, &format!("the header {what}"));
        let Some((body, checksum)) = bytes.split_last_chunk::<4>() else {
            return Err(wrong("is too short"));
        };
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(wrong("has a wrong checksum"));
        }
        let Some(body) = body.strip_prefix(MAGIC) else {
            return Err(wrong("is not ours"));
        };
        // The format comes first: what follows it may be of another shape.
        let Some((format, body)) = body.split_first_chunk::<4>() else {
            return Err(wrong("is too short"));
        };
        let found = u32::from_be_bytes(*format);
        if found > FORMAT {
            return Err(OpenError::Newer { dir: dir.to_owned(), found, known: FORMAT });
        }
        match body.split_first() {
            Some((&ready @ (0 | 1), identity)) if found == FORMAT => {
                let identity = identity.try_into().map_err(|_| wrong("has a wrong length"))?;
                Ok(Header { ready: ready == 1, identity: u64::from_be_bytes(identity) })
            }
            _ => Err(wrong("has a wrong shape")),
        }
    }
}

pub(crate) fn corrupt(dir: &Path, what: &str) -> OpenError {
    OpenError::Corrupt { dir: dir.to_owned(), what: what.to_owned() }
}

pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_written_as_the_first_release_wrote_it() {
        let header = Header { ready: true, identity: 0x0102_0304_0506_0708 };
        let golden = [
            b"BANYANst".as_slice(),
            &[0, 0, 0, 1],
            &[1],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1d, 0x5a, 0x0a, 0xc2],
        ];
        assert_eq!(header.encode(), golden.concat());
        assert_eq!(Header::decode(&golden.concat(), Path::new("x")).unwrap(), header);
    }
}
