//! The audit log: one JSON object a line, on disk before the operation it tells of is answered.
//!
//! Written by whoever leads the keys' group; the whole story is all nodes' files together. Lines that wait together are
//! written with one sync. A line that cannot be written fails the operation.

use crate::clock;
use banyan_model::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Lines that may wait.
const WAITING_MAX: usize = 4_096;
/// Lines of one write.
const TOGETHER_MAX: usize = 256;

/// What happened to a key, a token or a session. Never holds a secret.
#[derive(Serialize, Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// `bootstrap`, `connection`, `resolve`, `import`, `revoke`, ...
    pub(super) what: String,
    /// `requested`, `accepted`, `refused`, `failed`.
    pub(super) result: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) key: String,
    /// Where it came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) detail: String,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a Event,
}

/// The log cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written: {0}")]
pub(super) struct AuditError(String);

/// Writes events; cheap to clone.
#[derive(Clone)]
pub(super) struct Audit {
    lines: mpsc::Sender<Waiting>,
}

struct Waiting {
    line: String,
    written: oneshot::Sender<Result<(), AuditError>>,
}

impl Audit {
    /// Begins to write to `file`, which is made with the first line. A thread of its own waits for the disk.
    pub(super) fn open(file: &Path) -> io::Result<Audit> {
        let (lines, waiting) = mpsc::channel(WAITING_MAX);
        let file = file.to_owned();
        thread::Builder::new().name("audit".to_owned()).spawn(move || write(&file, waiting))?;
        Ok(Audit { lines })
    }

    /// Returns once the event is on disk.
    ///
    /// # Errors
    /// [`AuditError`]: what it tells of must not be done.
    pub(super) async fn record(&self, event: &Event) -> Result<(), AuditError> {
        let at = clock::now().to_string();
        let mut line =
            serde_json::to_string(&Line { at, event }).map_err(|error| AuditError(error.to_string()))?;
        line.push('\n');
        let (written, outcome) = oneshot::channel();
        let full = |_| AuditError("too many events wait".to_owned());
        self.lines.try_send(Waiting { line, written }).map_err(full)?;
        outcome.await.unwrap_or_else(|_| Err(AuditError("its writer has ended".to_owned())))
    }
}

/// Bounds how many lines strangers can cause: of failures beyond so many a second only the number is told.
#[derive(Default)]
pub(super) struct Failures(Mutex<(i64, u64, u64)>);

/// Failures of one second that have a line of their own.
const FAILURES_MAX: u64 = 100;

impl Failures {
    /// Whether a failure now has a line; `Some`: with the number of those that had none since the last line.
    pub(super) fn line(&self, now: Timestamp) -> Option<u64> {
        let mut state = self.0.lock();
        let (second, lines, without) = &mut *state;
        let this = now.0.div_euclid(1_000);
        if *second != this {
            (*second, *lines) = (this, 0);
        }
        if *lines >= FAILURES_MAX {
            *without += 1;
            return None;
        }
        *lines += 1;
        Some(std::mem::take(without))
    }
}

fn write(path: &Path, mut waiting: mpsc::Receiver<Waiting>) {
    let mut file = None;
    let mut together = Vec::with_capacity(TOGETHER_MAX);
    while waiting.blocking_recv_many(&mut together, TOGETHER_MAX) > 0 {
        let text: String = together.iter().map(|one| one.line.as_str()).collect();
        let outcome = append(&mut file, path, text.as_bytes()).map_err(|error| AuditError(error.to_string()));
        if let Err(error) = &outcome {
            tracing::error!(file = %path.display(), %error, "audit log cannot be written");
            file = None;
        }
        for one in together.drain(..) {
            // Who asked may have given up.
            let _ = one.written.send(outcome.clone());
        }
    }
}

fn append(open: &mut Option<File>, path: &Path, text: &[u8]) -> io::Result<()> {
    // A file that was moved away is begun anew, so that it can be rotated.
    if open.is_none() || !path.is_file() {
        *open = Some(OpenOptions::new().create(true).append(true).open(path)?);
    }
    match open {
        Some(file) => {
            file.write_all(text)?;
            file.sync_data()
        }
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_is_one_line_whatever_is_in_it() {
        let folder = tempfile::tempdir().expect("writable");
        let file = folder.path().join("audit.jsonl");
        let audit = Audit::open(&file).expect("starts");
        let hostile = Event {
            what: "resolve".to_owned(),
            source: "a\n{\"what\":\"forged\"}\u{1b}[31m".to_owned(),
            ..Default::default()
        };
        audit.record(&hostile).await.expect("written");
        std::fs::rename(&file, folder.path().join("old")).expect("moved away");
        audit.record(&Event::default()).await.expect("written to a new file");
        let old = std::fs::read_to_string(folder.path().join("old")).expect("there");
        assert_eq!((old.lines().count(), old.contains('\u{1b}')), (1, false), "{old}");
        let line: serde_json::Value = serde_json::from_str(&old).expect("JSON");
        assert_eq!(line["source"], hostile.source.as_str());
        assert!(line["at"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')), "{line}");
        assert_eq!(std::fs::read_to_string(&file).expect("there").lines().count(), 1);
    }

    #[test]
    fn failures_beyond_a_number_are_only_counted() {
        let failures = Failures::default();
        let now = Timestamp(5_000);
        let lines = (0..FAILURES_MAX + 7).filter_map(|_| failures.line(now)).count() as u64;
        assert_eq!(lines, FAILURES_MAX);
        assert_eq!(failures.line(Timestamp(6_000)), Some(7));
        assert_eq!(failures.line(Timestamp(6_001)), Some(0));
    }

    #[tokio::test]
    async fn what_cannot_be_written_fails_and_later_works_again() {
        let folder = tempfile::tempdir().expect("writable");
        let file = folder.path().join("missing/audit.jsonl");
        let audit = Audit::open(&file).expect("starts");
        assert!(audit.record(&Event::default()).await.is_err());
        std::fs::create_dir(folder.path().join("missing")).expect("writable");
        audit.record(&Event::default()).await.expect("the folder is there now");
    }
}
