//! The manifest: lines of JSON. The first says what the backup is of, then comes a line for each file, and the last one
//! has the SHA-256 of all before it.
//!
//! ```text
//! {"format":1,"cluster":"00f1...","release":"0.1.0","begun":"2026-11-27T06:00:00Z", ...}
//! {"group":1,"first_slot":"0000000000000000","last_slot":"0fff...","term":3,"index":812,"file":"shard-1.snapshot", ...}
//! {"parts":17,"sha256":"..."}
//! ```
//!
//! A release reads every format up to its own, and passes over keys that it does not know; a format is counted up when
//! that would be wrong. Numbers that do not fit into a double stand as hexadecimal digits.

use crate::digest::sha256;
use banyan_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The manifest's file.
pub const MANIFEST: &str = "manifest.jsonl";
/// The newest format that is known.
pub(crate) const FORMAT: u32 = 1;

/// What a backup is, and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What the backup is of.
    pub about: About,
    /// Its files: the shards in the order of their slots, then the keys' group.
    pub parts: Vec<Part>,
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub(crate) format: u32,
    /// The cluster's number.
    #[serde(with = "hexadecimal")]
    pub cluster: u64,
    /// The release of `ctl` that made it.
    pub release: String,
    /// When it was begun; everything that was acknowledged before is in it.
    pub begun: String,
    /// When its last file was written.
    pub ended: String,
    /// What the cluster was founded with.
    pub settings: Settings,
}

/// Of a cluster, what a restored one keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Settings {
    pub scl_id: String,
    pub scl_base: String,
    pub authorities: Vec<String>,
    pub replication_factor: u32,
    pub founded_at_ms: i64,
}

/// One file: the state of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The group's number.
    pub group: u64,
    /// Which slots it owns; the keys' group owns none.
    #[serde(flatten)]
    pub slots: Option<Slots>,
    /// Term of the last entry whose effect is in the file.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// Name of the file.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// From the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Slots {
    #[serde(with = "hexadecimal")]
    pub first_slot: u64,
    #[serde(with = "hexadecimal")]
    pub last_slot: u64,
}

#[derive(Serialize, Deserialize)]
struct End {
    parts: usize,
    sha256: String,
}

/// Why a manifest is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(
        "it has format {0}, this release knows up to {FORMAT}: use the release that wrote it, or a newer one"
    )]
    Newer(u32),
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl About {
    /// Of a backup that is being made now; `ended` is said when it has.
    pub fn new(cluster: u64, release: &str, begun: Timestamp, settings: Settings) -> About {
        About {
            format: FORMAT,
            cluster,
            release: release.to_owned(),
            begun: begun.to_string(),
            ended: String::new(),
            settings,
        }
    }
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        line(&mut text, &self.about);
        self.parts.iter().for_each(|part| line(&mut text, part));
        let end = End { parts: self.parts.len(), sha256: sha256(&text) };
        line(&mut text, &end);
        text
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, Unreadable> {
        let damaged = |why: &str| Unreadable::Damaged(why.to_owned());
        // First of all: of a newer format nothing else may be as it is known here.
        let first = bytes.split(|octet| *octet == b'\n').next().unwrap_or_default();
        if let Ok(Format { format }) = serde_json::from_slice(first)
            && format > FORMAT
        {
            return Err(Unreadable::Newer(format));
        }
        let body = bytes.strip_suffix(b"\n").ok_or_else(|| damaged("it does not end with a line"))?;
        let last = body.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let (before, end) = body.split_at(last);
        let end: End = serde_json::from_slice(end).map_err(|_| damaged("its last line is missing"))?;
        if sha256(before) != end.sha256 {
            return Err(damaged("its SHA-256 is not what its last line says"));
        }
        let mut lines = before.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        let unreadable = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let about = serde_json::from_slice(lines.next().unwrap_or_default()).map_err(unreadable)?;
        let parts: Vec<Part> =
            lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(unreadable)?;
        if parts.len() != end.parts {
            return Err(damaged("lines of files are missing"));
        }
        Ok(Manifest { about, parts })
    }

    /// What does not fit together, whatever the files hold: slots that nobody owns, names that lead elsewhere.
    pub(crate) fn contradictions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut next = Some(0);
        let (mut files, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for part in &self.parts {
            let mut wrong = |why: String| found.push((part.file.clone(), why));
            if !is_plain(&part.file) {
                wrong("is no plain file name".to_owned());
            }
            if !files.insert(&part.file) || !groups.insert(part.group) {
                wrong(format!("stands there twice, or group {} does", part.group));
            }
            let Some(Slots { first_slot, last_slot }) = part.slots else { continue };
            if next != Some(first_slot) || last_slot < first_slot {
                wrong(format!("its slots {first_slot:016x} to {last_slot:016x} do not follow those before"));
            }
            next = last_slot.checked_add(1);
        }
        if let Some(next) = next {
            found.push((MANIFEST.to_owned(), format!("no file has the slots from {next:016x} on")));
        }
        found
    }
}

/// A name in the folder, and no way out of it.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name != MANIFEST
        && !name.starts_with('.')
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn line(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *text, value)
        .expect("strings and numbers become JSON, and a vector takes them");
    text.push(b'\n');
}

/// 64 bits as 16 hexadecimal digits.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings {
            scl_id: "nscl".to_owned(),
            scl_base: "/m2m".to_owned(),
            authorities: vec!["nscl.example.com:8080".to_owned()],
            replication_factor: 3,
            founded_at_ms: 1_790_000_000_000,
        }
    }

    pub(crate) fn part(group: u64, slots: Option<(u64, u64)>, file: &str) -> Part {
        let slots = slots.map(|(first_slot, last_slot)| Slots { first_slot, last_slot });
        Part {
            group,
            slots,
            term: 2,
            index: 40 + group,
            file: file.to_owned(),
            bytes: 5,
            sha256: sha256(b"state"),
        }
    }

    pub(crate) fn manifest() -> Manifest {
        let about = About::new(0xfeed, "0.1.0", Timestamp(1_790_000_100_000), settings());
        let middle = u64::MAX / 2;
        let parts = vec![
            part(1, Some((0, middle)), "shard-1.snapshot"),
            part(2, Some((middle + 1, u64::MAX)), "shard-2.snapshot"),
            part(1 << 32, None, "keys.snapshot"),
        ];
        Manifest { about, parts }
    }

    #[test]
    fn a_manifest_comes_back_whole_or_not_at_all() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut to {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert!(Manifest::decode(&flipped).is_err(), "flipped at {cut}");
        }
    }

    #[test]
    fn the_first_release_wrote_it_so() {
        let text = String::from_utf8(manifest().encode()).expect("JSON");
        let expected = r#"{"format":1,"cluster":"000000000000feed","release":"0.1.0","begun":"2026-09-21T12:55:00Z","ended":"","settings":{"scl_id":"nscl","scl_base":"/m2m","authorities":["nscl.example.com:8080"],"replication_factor":3,"founded_at_ms":1790000000000}}"#;
        // The time's text is the model's business.
        let without_time = |line: &str| {
            let (head, rest) = line.split_once("\"begun\":\"").expect("it says when");
            format!("{head}{}", rest.split_once('"').expect("quoted").1)
        };
        let mut lines = text.lines();
        assert_eq!(without_time(lines.next().expect("a first line")), without_time(expected));
        let part = format!(
            r#"{{"group":1,"first_slot":"0000000000000000","last_slot":"7fffffffffffffff","term":2,"index":41,"file":"shard-1.snapshot","bytes":5,"sha256":"{}"}}"#,
            sha256(b"state")
        );
        assert_eq!(lines.next(), Some(part.as_str()));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut newer = manifest();
        newer.about.format = FORMAT + 1;
        assert_eq!(Manifest::decode(&newer.encode()), Err(Unreadable::Newer(FORMAT + 1)));
        assert_eq!(Manifest::decode(b"{\"format\":7}"), Err(Unreadable::Newer(7)), "whatever follows");
        assert!(matches!(Manifest::decode(b"hello\n"), Err(Unreadable::Damaged(_))));
        assert!(matches!(Manifest::decode(b""), Err(Unreadable::Damaged(_))));
    }

    /// The manifest without contradictions, changed; what is found then.
    fn check(change: impl FnOnce(&mut Vec<Part>), expected: &[&str]) {
        let mut manifest = manifest();
        change(&mut manifest.parts);
        let found = manifest.contradictions();
        let found: Vec<String> = found.iter().map(|(file, why)| format!("{file}: {why}")).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} is not about {expected}");
        }
    }

    #[test]
    fn every_slot_has_one_file() {
        check(|_| {}, &[]);
        check(|parts| drop(parts.remove(0)), &["shard-2.snapshot: its slots"]);
        check(
            |parts| drop(parts.remove(1)),
            &["manifest.jsonl: no file has the slots from 8000000000000000"],
        );
        check(|parts| drop(parts.remove(2)), &[]);
        check(|parts| parts.swap(0, 1), &["do not follow", "do not follow", "no file has"]);
        check(|parts| parts[1].file = parts[0].file.clone(), &["twice"]);
        check(|parts| parts[1].group = 1, &["group 1"]);
        for name in ["../x", "/etc/passwd", "", "..", "a/b", MANIFEST] {
            check(|parts| parts[2].file = name.to_owned(), &["no plain file name"]);
        }
    }
}
