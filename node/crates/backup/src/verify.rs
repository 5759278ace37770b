//! Reads a backup back: is it all there, and is it what was written?

use crate::{
    digest::{Sha256, sha256},
    manifest::{MANIFEST, Manifest, Part, Unreadable},
};
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Far above a manifest of the most shards there can be.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const READ_BYTES: usize = 256 << 10;

/// A folder with a manifest that can be read. What the files hold is not known before [`Backup::faults`] was asked.
#[derive(Clone, Debug)]
pub struct Backup {
    folder: PathBuf,
    manifest: Manifest,
    digest: String,
}

/// Why there is no backup to be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no manifest.
    #[error(
        "{} holds no {MANIFEST}: it is no backup, or one that was interrupted; take another one", folder.display()
    )]
    None {
        /// The folder.
        folder: PathBuf,
    },
    /// The manifest cannot be read.
    #[error("{} cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest is not what it should be.
    #[error("{} cannot be used: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// What is wrong with a file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.why)
    }
}

impl Backup {
    /// Reads the manifest.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: &Path) -> Result<Backup, OpenError> {
        let file = folder.join(MANIFEST);
        let read = || {
            let mut bytes = Vec::new();
            File::open(&file)?.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::None { folder: folder.to_owned() });
            }
            Err(source) => return Err(OpenError::Read { file, source }),
        };
        let unreadable = |why: Unreadable| OpenError::Unreadable { file: file.clone(), why: why.to_string() };
        let manifest = Manifest::decode(&bytes).map_err(unreadable)?;
        Ok(Backup { folder: folder.to_owned(), manifest, digest: sha256(&bytes) })
    }

    /// What the backup is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Tells this backup from every other one: SHA-256 of the manifest, which has those of the files.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where a file is.
    pub fn path(&self, part: &Part) -> PathBuf {
        self.folder.join(&part.file)
    }

    /// Reads everything; nothing is wrong with it if there is no fault. Blocks for as long as that takes.
    pub fn faults(&self) -> Vec<Fault> {
        let contradictions = self.manifest.contradictions();
        // A name that leads elsewhere is not followed.
        if !contradictions.is_empty() {
            return contradictions.into_iter().map(|(file, why)| Fault { file, why }).collect();
        }
        let fault = |part: &Part| {
            let why = wrong(&self.path(part), part)?;
            Some(Fault { file: part.file.clone(), why })
        };
        self.manifest.parts.iter().filter_map(fault).collect()
    }
}

/// What is wrong with a file, if anything is.
fn wrong(path: &Path, part: &Part) -> Option<String> {
    let size = match std::fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("is missing".to_owned()),
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    if size != part.bytes {
        return Some(format!("has {size} bytes, the manifest says {}", part.bytes));
    }
    match digest(path) {
        Ok(sha256) if sha256 == part.sha256 => None,
        Ok(_) => Some("is damaged: its SHA-256 is not what the manifest says".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut sha256) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(sha256.finish());
        }
        sha256.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;
    use std::fs;

    /// What is found after a change to a sound backup, whose files hold `state`.
    fn check(change: impl FnOnce(&Path), expected: &[&str]) {
        let folder = tempfile::tempdir().expect("writable");
        let manifest = manifest();
        for part in &manifest.parts {
            fs::write(folder.path().join(&part.file), "state").expect("writable");
        }
        fs::write(folder.path().join(MANIFEST), manifest.encode()).expect("writable");
        change(folder.path());
        let faults = Backup::open(folder.path()).expect("a manifest").faults();
        let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(faults, expected);
    }

    #[test]
    fn every_file_must_be_what_the_manifest_says() {
        let write = |name: &'static str, text: &'static str| {
            move |folder: &Path| fs::write(folder.join(name), text).expect("writable")
        };
        check(|_| {}, &[]);
        check(
            write("shard-2.snapshot", "stale"),
            &["shard-2.snapshot: is damaged: its SHA-256 is not what the manifest says"],
        );
        check(write("keys.snapshot", "stat"), &["keys.snapshot: has 4 bytes, the manifest says 5"]);
        check(
            |folder| fs::remove_file(folder.join("shard-1.snapshot")).expect("there"),
            &["shard-1.snapshot: is missing"],
        );
        check(
            |folder| {
                write("shard-1.snapshot", "")(folder);
                write("shard-2.snapshot", "statE")(folder);
            },
            &[
                "shard-1.snapshot: has 0 bytes, the manifest says 5",
                "shard-2.snapshot: is damaged: its SHA-256 is not what the manifest says",
            ],
        );
    }

    #[test]
    fn without_a_manifest_there_is_no_backup() {
        let folder = tempfile::tempdir().expect("writable");
        assert!(matches!(Backup::open(folder.path()), Err(OpenError::None { .. })));
        fs::write(folder.path().join(MANIFEST), "{\"format\":2}\n").expect("writable");
        let refused = Backup::open(folder.path()).expect_err("a newer one").to_string();
        assert!(refused.contains("format 2, this release knows up to 1"), "{refused}");
        let bytes = manifest().encode();
        fs::write(folder.path().join(MANIFEST), &bytes[..bytes.len() - 9]).expect("writable");
        assert!(matches!(Backup::open(folder.path()), Err(OpenError::Unreadable { .. })));
    }
}
