//! What the power-cut test and its writer agree on: the journal, and what log and state of a group must hold.
//!
//! The writer drives a store folder on a file system that is going to lose its power. Into a journal on another file
//! system it writes each step before it asks the store for it, and each acknowledgement when it has it. Contents need
//! no journal: an entry follows from its group, index and stamp, a whole state from its group and version.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_storage::{Batch, Config, KeyRange};
use bytes::Bytes;

/// The groups that the writer drives, one thread each.
pub const GROUPS: u64 = 6;

/// The record in which a group keeps its vote.
pub const VOTE: &str = "vote";

/// Values of the state that are replaced in turn.
const SLOTS: u64 = 48;
/// How many versions a short-lived key lives.
const SHORT: u64 = 3;

/// Small limits, so that within a second files are rotated, given back and used again, and the overlay is written.
pub fn config() -> Config {
    Config {
        write_behind: Duration::from_millis(20),
        overlay_bytes_max: 4 << 20,
        log_cache_bytes_max: 256 << 10,
        log_file_bytes: 1 << 20,
        log_bytes_max: 4 << 20,
        log_reclaim_interval: Duration::from_millis(50),
        state_cache_bytes: 16 << 20,
        ..Config::default()
    }
}

/// One step on a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Entries `first..first + count`, all with this stamp.
    Append {
        /// Index of the first.
        first: u64,
        /// How many.
        count: u64,
        /// What tells them from others of the same index.
        stamp: u64,
    },
    /// Nothing after this index stays; `None`: nothing at all.
    Truncate(Option<u64>),
    /// Nothing up to this index stays.
    Purge(u64),
    /// The vote is this number.
    Vote(u64),
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The group's next step on the log is about to be asked for.
    Log(u64, Step),
    /// This many of the group's steps on the log are on disk.
    Logged(u64, u64),
    /// The group's state is about to get this version, by a commit or by an import.
    State(u64, u64),
    /// This many of the group's changes of state are on disk.
    Durable(u64, u64),
}

impl Line {
    /// As it stands in the journal, with its line end: without one it was not written to its end.
    pub fn to_text(&self) -> String {
        match self {
            Line::Log(group, Step::Append { first, count, stamp }) => {
                format!("{group} append {first} {count} {stamp}\n")
            }
            Line::Log(group, Step::Truncate(None)) => format!("{group} clear\n"),
            Line::Log(group, Step::Truncate(Some(after))) => format!("{group} truncate {after}\n"),
            Line::Log(group, Step::Purge(up_to)) => format!("{group} purge {up_to}\n"),
            Line::Log(group, Step::Vote(vote)) => format!("{group} vote {vote}\n"),
            Line::Logged(group, steps) => format!("{group} logged {steps}\n"),
            Line::State(group, version) => format!("{group} state {version}\n"),
            Line::Durable(group, changes) => format!("{group} durable {changes}\n"),
        }
    }

    /// Reads one line without its end.
    pub fn parse(text: &str) -> Option<Line> {
        let mut words = text.split(' ');
        let group = words.next()?.parse().ok()?;
        let kind = words.next()?;
        let numbers: Vec<u64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        Some(match (kind, numbers.as_slice()) {
            ("append", &[first, count, stamp]) => Line::Log(group, Step::Append { first, count, stamp }),
            ("clear", []) => Line::Log(group, Step::Truncate(None)),
            ("truncate", &[after]) => Line::Log(group, Step::Truncate(Some(after))),
            ("purge", &[up_to]) => Line::Log(group, Step::Purge(up_to)),
            ("vote", &[vote]) => Line::Log(group, Step::Vote(vote)),
            ("logged", &[steps]) => Line::Logged(group, steps),
            ("state", &[version]) => Line::State(group, version),
            ("durable", &[changes]) => Line::Durable(group, changes),
            _ => return None,
        })
    }
}

/// The log of one group, as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The last index that was purged.
    pub purged: Option<u64>,
    /// The last index.
    pub last: Option<u64>,
    /// Stamps of the entries.
    pub stamps: BTreeMap<u64, u64>,
    /// The vote.
    pub vote: Option<u64>,
}

impl Log {
    /// Does what the store must do.
    pub fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append { first, count, stamp } => {
                self.stamps.extend((first..first + count).map(|index| (index, stamp)));
                self.last = Some(first + count - 1);
            }
            Step::Truncate(after) => {
                self.stamps.split_off(&after.map_or(0, |after| after + 1));
                self.last = after;
            }
            Step::Purge(up_to) => {
                self.stamps = self.stamps.split_off(&(up_to + 1));
                self.purged = self.purged.max(Some(up_to));
                self.last = self.last.max(Some(up_to));
            }
            Step::Vote(vote) => self.vote = Some(vote),
        }
    }
}

/// An entry: its stamp, then bytes that do not compress.
pub fn entry(group: u64, index: u64, stamp: u64) -> Bytes {
    let mixed = mix(stamp ^ mix(group ^ mix(index)));
    let length = if mixed.is_multiple_of(2_003) { 300 << 10 } else { 20 + mixed % 600 };
    filled(stamp, mixed, length)
}

/// The stamp of an entry that is what it must be.
pub fn stamp_of(group: u64, index: u64, bytes: &Bytes) -> Option<u64> {
    let stamp = u64::from_be_bytes(*bytes.first_chunk()?);
    (*bytes == entry(group, index, stamp)).then_some(stamp)
}

/// All keys of a group.
pub fn range(group: u64) -> KeyRange {
    (group.to_be_bytes().to_vec(), (group + 1).to_be_bytes().to_vec())
}

/// Where a group's state says its version: a number of 8 bytes, big-endian.
pub fn version_key(group: u64) -> Vec<u8> {
    key(group, b'v', 0)
}

fn key(group: u64, kind: u8, number: u64) -> Vec<u8> {
    [group.to_be_bytes().as_slice(), &[kind], &number.to_be_bytes()].concat()
}

/// What a version sets its slot to; every seventh deletes it.
fn slot_value(group: u64, version: u64) -> Option<Bytes> {
    let mixed = mix(version ^ mix(group));
    let length = if mixed.is_multiple_of(197) { 9_000 + mixed % 260_000 } else { 20 + mixed % 900 };
    (!version.is_multiple_of(7)).then(|| filled(version, mixed, length))
}

/// The changes that lead from the version before to this one.
pub fn batch(group: u64, version: u64) -> Batch {
    let mut batch = Batch::default();
    match slot_value(group, version) {
        Some(value) => batch.put(key(group, b's', version % SLOTS), value, false),
        None => batch.delete(key(group, b's', version % SLOTS)),
    }
    batch.put(key(group, b'n', version), filled(version, version, 50), true);
    if let Some(old) = version.checked_sub(SHORT) {
        batch.delete(key(group, b'n', old));
    }
    batch.put(version_key(group), version.to_be_bytes().to_vec().into(), false);
    batch
}

/// The whole state at a version; at 0 there is none.
pub fn state(group: u64, version: u64) -> BTreeMap<Vec<u8>, Bytes> {
    let mut state = BTreeMap::new();
    let since = |many: u64| (version + 1).saturating_sub(many).max(1)..=version;
    for version in since(SLOTS) {
        if let Some(value) = slot_value(group, version) {
            state.insert(key(group, b's', version % SLOTS), value);
        }
    }
    for version in since(SHORT) {
        state.insert(key(group, b'n', version), filled(version, version, 50));
    }
    if version > 0 {
        state.insert(version_key(group), version.to_be_bytes().to_vec().into());
    }
    state
}

fn filled(head: u64, seed: u64, length: u64) -> Bytes {
    let mut bytes = head.to_be_bytes().to_vec();
    let mut word = seed;
    while (bytes.len() as u64) < length {
        word = mix(word);
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.into()
}

/// SplitMix64: each bit of the answer depends on each bit of the question.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_journal_is_read_as_it_was_written() {
        for line in [
            Line::Log(1, Step::Append { first: 2, count: 3, stamp: u64::MAX }),
            Line::Log(1, Step::Truncate(None)),
            Line::Log(1, Step::Truncate(Some(0))),
            Line::Log(1, Step::Purge(9)),
            Line::Log(1, Step::Vote(7)),
            Line::Logged(5, 4),
            Line::State(5, 12),
            Line::Durable(5, 3),
        ] {
            let text = line.to_text();
            assert_eq!(text.strip_suffix('\n').and_then(Line::parse), Some(line), "{text}");
        }
        assert_eq!(Line::parse("1 append 2 3"), None);
    }

    #[test]
    fn an_entry_tells_its_stamp_and_notices_damage() {
        let bytes = entry(1, 2, 3);
        assert_eq!(stamp_of(1, 2, &bytes), Some(3));
        assert_eq!(stamp_of(1, 3, &bytes), None);
        assert_eq!(stamp_of(1, 2, &bytes.slice(..bytes.len() - 1)), None);
    }
}
