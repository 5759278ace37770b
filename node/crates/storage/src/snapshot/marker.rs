//! The note that an import has begun: written and synced before the first change, removed after the last is on
//! disk. An open that finds it starts the import again.
//!
//! ```text
//! marker = magic (8) version (u32) group (u64) number of ranges (u32) range* crc32 of all before (u32)
//! range  = length (u32) from length (u32) to
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};

use crate::KeyRange;

const MAGIC: &[u8; 8] = b"BANYANim";
const VERSION: u32 = 1;

/// An import that has begun.
#[derive(Debug, PartialEq)]
pub(super) struct Marker {
    pub(super) group: u64,
    pub(super) ranges: Vec<KeyRange>,
}

/// Where the import of `group` keeps its copy of the snapshot.
pub(super) fn file_path(dir: &Path, group: u64) -> PathBuf {
    dir.join(format!("import-{group}.snapshot"))
}

fn marker_path(dir: &Path, group: u64) -> PathBuf {
    dir.join(format!("import-{group}.marker"))
}

impl Marker {
    /// Puts the marker into `dir`; on disk when it returns, as are the names beside it.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = marker_path(dir, self.group);
        let draft = path.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(dir)?.sync_all()
    }

    /// Removes the marker, then what it stood for.
    pub(super) fn remove(&self, dir: &Path) -> io::Result<()> {
        fs::remove_file(marker_path(dir, self.group))?;
        File::open(dir)?.sync_all()?;
        fs::remove_file(file_path(dir, self.group))
    }

    /// All markers in `dir`; removes what was left from before a marker was written, or after it was removed.
    pub(super) fn find(dir: &Path) -> io::Result<Vec<Marker>> {
        let mut found = Vec::new();
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.strip_prefix("import-").and_then(|rest| rest.split_once('.')) {
                Some((_, "marker")) => {
                    found.push(Marker::decode(fs::read(&path)?.into()).ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()))
                    })?)
                }
                Some((_, "snapshot" | "draft")) => files.push(path),
                _ => {}
            }
        }
        for path in files {
            if !found.iter().any(|marker| path == file_path(dir, marker.group)) {
                fs::remove_file(path)?;
            }
        }
        Ok(found)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &VERSION.to_be_bytes(), &self.group.to_be_bytes()].concat();
        bytes.extend_from_slice(&(self.ranges.len() as u32).to_be_bytes());
        for part in self.ranges.iter().flat_map(|(from, to)| [from, to]) {
            bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(mut bytes: Bytes) -> Option<Marker> {
        let body = bytes.len().checked_sub(4)?;
        let checksum = bytes.split_off(body).get_u32();
        if crc32fast::hash(&bytes) != checksum || bytes.get(..8)? != MAGIC {
            return None;
        }
        bytes.advance(8);
        if bytes.try_get_u32().ok()? != VERSION {
            return None;
        }
        let group = bytes.try_get_u64().ok()?;
        let count = bytes.try_get_u32().ok()?;
        let mut part = || {
            let length = bytes.try_get_u32().ok()? as usize;
            (length <= bytes.len()).then(|| bytes.split_to(length).to_vec())
        };
        let ranges = (0..count).map(|_| Some((part()?, part()?))).collect::<Option<_>>()?;
        Some(Marker { group, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_whole_or_not_at_all() {
        let marker = Marker { group: 7, ranges: vec![(b"a".to_vec(), b"b".to_vec()), (vec![], vec![1])] };
        let bytes = marker.encode();
        assert_eq!(Marker::decode(bytes.clone().into()), Some(marker));
        for cut in 0..bytes.len() {
            assert_eq!(Marker::decode(bytes[..cut].to_vec().into()), None);
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert_eq!(Marker::decode(flipped.into()), None);
        }
    }
}
