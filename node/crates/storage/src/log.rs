//! One group's log.

mod cache;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Fatal;
use crate::engine::{LogEngine, LogWrite};
use crate::store::Shared;
use cache::{Found, Index};
use writer::{Done, Op};

pub(crate) use writer::{Queue, run};

/// The log of one group; cheap to clone. Calls of one group take effect in the order in which they are made.
#[derive(Clone)]
pub struct GroupLog {
    shared: Arc<Shared>,
    group: Arc<GroupIndex>,
}

/// How often a read is tried again because the entries may have gone meanwhile.
const READ_ATTEMPTS: u32 = 3;

/// Where a log begins and ends, by index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last entry that was purged: entries begin after it.
    pub purged: Option<u64>,
    /// The last entry there is, or `purged` if there is none after it.
    pub last: Option<u64>,
}

pub(crate) struct GroupIndex {
    id: u64,
    index: Mutex<Index>,
}

impl GroupIndex {
    /// Reads the group's log back; says what must be written before the log is used.
    pub(crate) fn load(id: u64, engine: &dyn LogEngine) -> Result<(GroupIndex, Vec<LogWrite>), String> {
        let (index, writes) = Index::load(id, engine)?;
        Ok((GroupIndex { id, index: Mutex::new(index) }, writes))
    }

    /// A group that the engine has nothing of.
    pub(crate) fn empty(id: u64) -> GroupIndex {
        GroupIndex { id, index: Mutex::new(Index::empty(id)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.lock().is_empty()
    }

    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        self.index.lock().value(&name(key))
    }

    /// Sets a value and says what to write for it.
    pub(crate) fn put(&self, key: &str, value: Bytes) -> Vec<LogWrite> {
        self.index.lock().put(&name(key), value)
    }
}

impl GroupLog {
    pub(crate) fn new(shared: Arc<Shared>, group: Arc<GroupIndex>) -> GroupLog {
        GroupLog { shared, group }
    }

    /// Where the log begins and ends now, writes on their way to the disk included.
    pub fn bounds(&self) -> LogBounds {
        self.group.index.lock().bounds()
    }

    /// Adds entries of consecutive indices, the first right after the last there is (any index, in a log that has
    /// never had one). They can be read when this returns; `done` is called once, in the order of all groups'
    /// appends, when they are on disk or never will be. It runs on the log writer's thread and must not block.
    ///
    /// Blocks while more than [`crate::Config::log_queue_bytes_max`] bytes wait for the disk. What is refused (a
    /// hole, an ended store) is called back from here.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: impl FnOnce(Result<(), Fatal>) + Send + 'static) {
        let queue = &self.shared.log_queue;
        let bytes: usize = entries.iter().map(|(_, entry)| entry.len()).sum();
        let cost: usize = entries.iter().map(|(_, entry)| cache::cost(entry)).sum();
        if let Err(refused) = queue.admit() {
            return done(Err(refused));
        }
        // Held until the operation is queued, so that the queue has the order of the calls.
        let mut index = self.group.index.lock();
        let (append, writes) = match index.append(entries) {
            Ok(accepted) => accepted,
            Err(refused) => {
                drop(index);
                return done(Err(refused));
            }
        };
        queue.cached.fetch_add(cost, Ordering::Relaxed);
        let append = Some((self.group.clone(), append, bytes));
        let pushed = queue.push(Op { writes, bytes: cost, append, done: Some(Box::new(done)) });
        drop(index);
        if let Err((Some(done), refused)) = pushed {
            done(Err(refused));
        }
    }

    /// Removes all entries after `index`; `None` removes all. On disk when it returns.
    ///
    /// # Errors
    /// [`Fatal`], also for an index that was purged.
    pub async fn truncate_after(&self, index: Option<u64>) -> Result<(), Fatal> {
        self.wait(|log| {
            let (freed, writes) = log.truncate_after(index)?;
            Ok((freed, writes, 0))
        })
        .await
    }

    /// Removes all entries up to and including `up_to`, which may lie beyond the last: then the log goes on after
    /// it. Not waited for; until it is on disk a crash brings the entries back.
    ///
    /// The caller has made the state durable that holds these entries ([`crate::GroupState::make_durable`]).
    pub fn purge(&self, up_to: u64) {
        // A refusal leaves the entries there, which is where a crash would leave them too.
        let _ = self.queue(
            |log| {
                let (freed, writes) = log.purge(up_to);
                Ok((freed, writes, 0))
            },
            None,
        );
    }

    /// Forgets everything that was ever written here: entries, values, where the log began. The group is as new
    /// when it returns, and that is on disk.
    ///
    /// # Errors
    /// [`Fatal`].
    pub async fn clean(&self) -> Result<(), Fatal> {
        self.wait(|log| {
            let (freed, writes) = log.clean();
            Ok((freed, writes, 0))
        })
        .await
    }

    /// Keeps a small value with the log: a vote, a pointer. Ordered with the appends, on disk when it returns. It
    /// stays in memory.
    ///
    /// # Errors
    /// [`Fatal`].
    pub async fn put_meta(&self, key: &'static str, value: Bytes) -> Result<(), Fatal> {
        self.wait(|log| {
            let bytes = key.len() + value.len();
            Ok((0, log.put(&name(key), value), bytes))
        })
        .await
    }

    /// As [`GroupLog::put_meta`], for a thread that may block.
    pub(crate) fn put_meta_blocking(&self, key: &str, value: Bytes) -> Result<(), Fatal> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let done: Done = Box::new(move |written| {
            let _ = answer.send(written);
        });
        self.queue(|log| Ok((0, log.put(&name(key), value), 0)), Some(done))?;
        answered.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// What [`GroupLog::put_meta`] was called with last, from memory.
    pub fn get_meta(&self, key: &str) -> Option<Bytes> {
        self.group.index.lock().value(&name(key))
    }

    /// Entries `from..to` as far as they are there, in order and without a hole: at most `bytes_max` bytes, but at
    /// least the first if it is there. Fewer where memory and disk meet; nothing if `from` is purged. Where nothing
    /// was ever purged, what is before the first entry is passed over.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, Fatal> {
        self.shared.trust.check()?;
        let mut attempts = 0;
        loop {
            let found = self.group.index.lock().find(from, to, bytes_max);
            let Some(found) = found else {
                return Ok(Vec::new());
            };
            if found.disk_to == found.from {
                return Ok(found.recent);
            }
            // Without the lock: it would hold up the group's appends. So the entries may be purged or truncated
            // before they are read: then memory says so when it is asked again.
            match self.shared.log_engine.read(self.group.id, found.from, found.disk_to, bytes_max) {
                Ok(entries) => return Ok(self.extend(entries, &found, to, bytes_max)),
                Err(_) if attempts < READ_ATTEMPTS => attempts += 1,
                Err(error) => return Err(self.shared.trust.end("read the log", error)),
            }
        }
    }

    /// Adds entries in memory to those from the disk if these go up to where memory begins.
    fn extend(
        &self,
        mut entries: Vec<(u64, Bytes)>,
        found: &Found,
        to: u64,
        bytes_max: usize,
    ) -> Vec<(u64, Bytes)> {
        self.shared.log_queue.counters().from_disk.fetch_add(entries.len() as u64, Ordering::Relaxed);
        if entries.last().is_some_and(|(last, _)| last + 1 == found.disk_to) && found.disk_to < to {
            let bytes: usize = entries.iter().map(|(_, entry)| entry.len()).sum();
            entries.extend(self.recent_after(found, to, bytes_max.saturating_sub(bytes)));
        }
        entries
    }

    /// Entries in memory after those on disk that were found; none if they have gone to the disk only, do not fit,
    /// or follow other entries by now.
    fn recent_after(&self, before: &Found, to: u64, bytes_max: usize) -> Vec<(u64, Bytes)> {
        let from = before.disk_to;
        let found = self.group.index.lock().find(from, to, bytes_max);
        let follows = |found: &Found| found.disk_to == from && found.truncations == before.truncations;
        let recent = found.filter(follows).map(|found| found.recent).unwrap_or_default();
        match recent.first() {
            Some((_, entry)) if entry.len() <= bytes_max => recent,
            _ => Vec::new(),
        }
    }

    async fn wait(
        &self,
        change: impl FnOnce(&mut Index) -> Result<(usize, Vec<LogWrite>, usize), Fatal>,
    ) -> Result<(), Fatal> {
        let (answer, answered) = oneshot::channel();
        let done: Done = Box::new(move |written| {
            // Whoever waited may have gone; the write stands all the same.
            let _ = answer.send(written);
        });
        self.queue(change, Some(done))?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Makes a change in memory and queues its writes; the change names the bytes that leave memory, and those that
    /// it adds to the queue.
    fn queue(
        &self,
        change: impl FnOnce(&mut Index) -> Result<(usize, Vec<LogWrite>, usize), Fatal>,
        done: Option<Done>,
    ) -> Result<(), Fatal> {
        let queue = &self.shared.log_queue;
        queue.admit()?;
        let mut index = self.group.index.lock();
        let (freed, writes, bytes) = change(&mut index)?;
        queue.cached.fetch_sub(freed, Ordering::Relaxed);
        // Whoever waits hears it from here; `done` would only say the same.
        queue.push(Op { writes, bytes, append: None, done }).map_err(|(_, refused)| refused)
    }
}

/// Our own pointers begin with a slash; a caller's name cannot meet them.
fn name(key: &str) -> String {
    ["m/", key].concat()
}

fn gone() -> Fatal {
    Fatal::new("write the log", "the log writer has gone")
}
