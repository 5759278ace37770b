//! What the storage needs of its two engines, and nothing more. Only the modules below name the real ones.

#[cfg(test)]
pub(crate) mod double;
mod log;
mod state;

use std::error::Error;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

pub(crate) use log::RaftLog;
pub(crate) use state::SledState;

pub(crate) type EngineError = Box<dyn Error + Send + Sync>;

/// One write to the log of one group.
#[derive(Debug, Clone)]
pub(crate) enum LogWrite {
    /// Entries of consecutive indices. What has the first one's index or a higher one is replaced.
    Append { group: u64, entries: Vec<(u64, Bytes)> },
    /// A small value, kept in memory.
    Put { group: u64, key: String, value: Bytes },
    /// Removes the entries before `first`. A later open may show them again.
    Compact { group: u64, first: u64 },
    /// Forgets the group: its entries and its values. What is written to it afterwards is of a new one.
    Clean { group: u64 },
}

/// The log of all groups. Calls come from several threads, `write` from one.
pub(crate) trait LogEngine: Send + Sync + 'static {
    /// Groups that were ever written to.
    fn groups(&self) -> Vec<u64>;
    /// First and last entry.
    fn span(&self, group: u64) -> Option<(u64, u64)>;
    fn values(&self, group: u64) -> Vec<(String, Bytes)>;
    /// Writes all or nothing, in order, and syncs before it returns. After an error the disk may hold either.
    fn write(&self, writes: Vec<LogWrite>) -> Result<(), EngineError>;
    /// Entries `from..to`, all of which exist; fewer for `bytes_max`, but at least one.
    fn read(
        &self,
        group: u64,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, EngineError>;
    /// Gives back the space of what was compacted. Runs beside `write`.
    fn reclaim(&self) -> Result<(), EngineError>;
}

/// One change of the state.
pub(crate) struct Change<'a> {
    pub(crate) key: &'a [u8],
    /// `None` deletes.
    pub(crate) value: Option<&'a Bytes>,
    /// The key is not there.
    pub(crate) new: bool,
}

/// The ordered state of all groups.
pub(crate) trait StateEngine: Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// As [`crate::ReadView::scan`], but blind to what is written meanwhile: it may show it or not.
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: Visit<'_>) -> Result<(), EngineError>;
    /// Writes all or nothing; durable only after `sync`.
    fn write(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), EngineError>;
    /// Returns when everything written before is on disk.
    fn sync(&self) -> Result<(), EngineError>;
}

pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Whether it was not the folder's contents but the operating system that an engine failed at, and how.
pub(crate) fn denied(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let kind = state::io_kind(error).or_else(|| log::io_kind(error))?;
    let denied = [
        ErrorKind::PermissionDenied,
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::OutOfMemory,
    ];
    denied.contains(&kind).then_some(kind)
}

/// Turns a panic of an engine into an error: raft-engine panics when a sync fails.
fn contain<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("the engine panicked: {text}").into())
    })
}
