//! Writes a backup: file after file, each on disk before the next, the manifest at the very end.

use crate::{
    digest::Sha256,
    manifest::{About, MANIFEST, Manifest, Part},
};
use banyan_model::Timestamp;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Why a backup is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder holds a backup already.
    #[error("{} holds a backup already: choose another folder", folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A folder that is to become a backup. Dropped before [`Draft::finish`] it is none.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    parts: Vec<Part>,
}

/// A file that is being written.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    file: File,
    sha256: Hasher,
    written: Written,
}

struct Hasher(Sha256);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

/// What a file holds so far.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Octets.
    pub bytes: u64,
    crc32: crc32fast::Hasher,
}

impl Written {
    /// CRC-32 of them.
    pub fn crc32(&self) -> u32 {
        self.crc32.clone().finalize()
    }
}

impl Draft {
    /// Begins a backup in a folder, which is made if it is not there. Files that an interrupted one left there are written anew.
    ///
    /// # Errors
    /// [`WriteError::Taken`], or the folder cannot be made.
    pub fn begin(folder: &Path) -> Result<Draft, WriteError> {
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let manifest = folder.join(MANIFEST);
        if manifest.try_exists().map_err(failed(&manifest))? {
            return Err(WriteError::Taken { folder: folder.to_owned() });
        }
        Ok(Draft { folder: folder.to_owned(), parts: Vec::new() })
    }

    /// Begins a file, from its beginning if it is there. Only its owner may read it.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn file(&self, name: &str) -> Result<PartFile, WriteError> {
        let path = self.folder.join(name);
        let file = private(&path).map_err(failed(&path))?;
        Ok(PartFile { path, file, sha256: Hasher(Sha256::new()), written: Written::default() })
    }

    /// Puts a whole file on disk and into the manifest to be; `part` says what it is, size and digest apart.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn add(&mut self, file: PartFile, part: Part) -> Result<(), WriteError> {
        file.file.sync_all().map_err(failed(&file.path))?;
        self.parts.push(Part { bytes: file.written.bytes, sha256: file.sha256.0.finish(), ..part });
        Ok(())
    }

    /// Makes it a backup: writes the manifest, whole or not at all.
    ///
    /// # Errors
    /// [`WriteError::Io`]: it is none.
    pub fn finish(self, about: About, ended: Timestamp) -> Result<Manifest, WriteError> {
        let manifest = Manifest { about: About { ended: ended.to_string(), ..about }, parts: self.parts };
        let path = self.folder.join(MANIFEST);
        let draft = path.with_extension("draft");
        let write = || {
            let mut file = private(&draft)?;
            file.write_all(&manifest.encode())?;
            file.sync_all()?;
            // The names of the files before the name that vouches for them.
            File::open(&self.folder)?.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(failed(&path))?;
        Ok(manifest)
    }
}

impl PartFile {
    /// Adds octets.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(failed(&self.path))?;
        self.sha256.0.update(bytes);
        self.written.crc32.update(bytes);
        self.written.bytes += bytes.len() as u64;
        Ok(())
    }

    /// What it holds so far.
    pub fn written(&self) -> &Written {
        &self.written
    }
}

/// The state holds what access rights protect elsewhere.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn failed(file: &Path) -> impl FnOnce(io::Error) -> WriteError {
    |source| WriteError::Io { file: file.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Backup, OpenError,
        manifest::tests::{part, settings},
    };

    #[test]
    fn a_folder_is_a_backup_when_its_manifest_is_there_and_only_once() {
        let parent = tempfile::tempdir().expect("writable");
        let folder = parent.path().join("monday");
        let about = || About::new(7, "0.1.0", Timestamp(0), settings());
        let write = |text: &[u8]| {
            let mut draft = Draft::begin(&folder).expect("no backup yet");
            let mut file = draft.file("shard-1.snapshot").expect("writable");
            text.chunks(3).for_each(|piece| file.write(piece).expect("writable"));
            assert_eq!(
                (file.written().bytes, file.written().crc32()),
                (text.len() as u64, crc32fast::hash(text))
            );
            draft.add(file, part(1, Some((0, u64::MAX)), "shard-1.snapshot")).expect("writable");
            draft
        };
        drop(write(b"longer than the next one"));
        assert!(matches!(Backup::open(&folder), Err(OpenError::None { .. })), "interrupted");

        let manifest = write(b"the state").finish(about(), Timestamp(1)).expect("writable");
        let backup = Backup::open(&folder).expect("a backup");
        assert_eq!((backup.manifest(), backup.faults()), (&manifest, Vec::new()));
        assert_eq!(manifest.parts[0].bytes, 9);
        assert!(matches!(Draft::begin(&folder), Err(WriteError::Taken { .. })));
    }
}
