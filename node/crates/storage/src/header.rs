//! The header of a node folder: which format it has, and whose it is. A text, so that whoever stands before a folder
//! that does not open can read it:
//!
//! ```text
//! banyan node folder, format 1
//! ready 1
//! identity 0102030405060708
//! checksum c79f3780
//! ```
//!
//! The checksum is the crc32 of all lines before its own; it and the identity are hexadecimal. The first line stays as
//! it is in every format to come.
//!
//! The header is written before anything else, not ready; then the engines are made and the identity put into both;
//! then it is written again, ready. A folder that was never ready has never acknowledged anything and is made anew. In
//! a ready one both engines must have the header's identity: otherwise one of them has lost everything, or comes from
//! another folder.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::OpenError;

/// The format that this release writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

const FIRST_LINE: &str = "banyan node folder, format ";
const NAME: &str = "FORMAT";
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
    make(dir).map_err(|source| io("make the folder", dir, source))?;
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| io("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io("lock", &path, source)),
    }
}

/// Makes a folder and those above it; their names are on disk when it returns.
fn make(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    // The parent of a relative path of one part is written as nothing.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

pub(crate) fn sync_folder(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
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
                        return Err(corrupt(dir, &format!("the file {NAME} is missing")));
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

    /// Writes the header; on disk when it returns.
    pub(crate) fn write(self, dir: &Path) -> Result<(), OpenError> {
        let (path, draft) = (dir.join(NAME), dir.join(format!("{NAME}.draft")));
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(self.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_folder(dir)
        };
        write().map_err(|source| io("write", &path, source))
    }

    fn encode(self) -> String {
        let (ready, identity) = (u8::from(self.ready), self.identity);
        let lines = format!("{FIRST_LINE}{FORMAT}\nready {ready}\nidentity {identity:016x}\n");
        let checksum = crc32fast::hash(lines.as_bytes());
        format!("{lines}checksum {checksum:08x}\n")
    }

    fn decode(bytes: &[u8], dir: &Path) -> Result<Header, OpenError> {
        let wrong = |what: &str| corrupt(dir, &format!("the file {NAME} {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("is not text"))?;
        // The format comes first: what follows it may be of another shape.
        let format = text.lines().next().and_then(|line| line.strip_prefix(FIRST_LINE));
        let found: u32 =
            format.and_then(|format| format.parse().ok()).ok_or_else(|| wrong("names no format"))?;
        if found > FORMAT {
            return Err(OpenError::Newer { dir: dir.to_owned(), found, known: FORMAT });
        }
        let mut header = Header { ready: false, identity: 0 };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("ready", ready)) => header.ready = ready == "1",
                Some(("identity", identity)) => {
                    header.identity =
                        u64::from_str_radix(identity, 16).map_err(|_| wrong("names no identity"))?;
                }
                _ => {}
            }
        }
        // There is one way to write a header: whatever differs, the checksum first of all, is damage.
        if header.encode() == text { Ok(header) } else { Err(wrong("is not as it was written")) }
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

    const GOLDEN: &str =
        "banyan node folder, format 1\nready 1\nidentity 0102030405060708\nchecksum c79f3780\n";

    #[test]
    fn the_header_is_written_as_the_first_release_wrote_it() {
        let header = Header { ready: true, identity: 0x0102_0304_0506_0708 };
        assert_eq!(header.encode(), GOLDEN);
        assert_eq!(Header::decode(GOLDEN.as_bytes(), Path::new("x")).unwrap(), header);
    }

    #[test]
    fn a_header_that_differs_is_newer_or_damaged() {
        let newer = GOLDEN.replace("format 1", "format 2") + "a line of a later release\n";
        let error = Header::decode(newer.as_bytes(), Path::new("x")).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 2, known: FORMAT, .. }), "{error}");
        for cut in 0..GOLDEN.len() {
            let error = Header::decode(&GOLDEN.as_bytes()[..cut], Path::new("x")).unwrap_err();
            assert!(matches!(error, OpenError::Corrupt { .. }), "cut to {cut}: {error}");
            let mut flipped = GOLDEN.as_bytes().to_vec();
            flipped[cut] ^= 0x80;
            let error = Header::decode(&flipped, Path::new("x")).unwrap_err();
            assert!(matches!(error, OpenError::Corrupt { .. }), "flipped at {cut}: {error}");
        }
    }

    #[test]
    fn a_folder_is_new_ours_or_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        for (file, verdict) in [
            ("lost+found", "new"),
            ("FORMAT.draft", "new"),
            ("notes.txt", "is not empty and is no node folder"),
            ("state", "FORMAT is missing"),
        ] {
            let path = dir.path().join(file);
            fs::write(&path, b"").unwrap();
            let found = match Header::read(dir.path()) {
                Ok(None) => "new".to_owned(),
                other => other.unwrap_err().to_string(),
            };
            assert!(found.contains(verdict), "{file}: {found}");
            fs::remove_file(path).unwrap();
        }
    }
}
