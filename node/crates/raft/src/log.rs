//! openraft's log over [`GroupLog`]: entries in their own encoding, the vote and the purged id as records beside them.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use banyan_proto::v1;
use banyan_storage::GroupLog;
use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use prost::Message;

use crate::shared::Held;
use crate::types::{Entry, LogId, Types, Vote};
use crate::wire;

const VOTE: &str = "vote";
const PURGED: &str = "purged";

/// Bytes read for one append request or one step of applying; at least one entry.
const READ_BYTES: usize = 512 << 10;

/// The log of one group, and the reader of it: clones see the same log.
#[derive(Clone)]
pub(crate) struct Log {
    log: GroupLog,
    _held: Held,
    kept: Arc<Mutex<Kept>>,
}

/// What is asked for more often than it changes.
struct Kept {
    vote: Option<Vote>,
    purged: Option<LogId>,
}

impl Log {
    pub(crate) fn open(log: GroupLog, held: Held) -> io::Result<Log> {
        let vote = match log.get_meta(VOTE) {
            Some(bytes) => Some(wire::vote_from(Some(decode::<v1::Vote>(&bytes)?))?),
            None => None,
        };
        let purged = match log.get_meta(PURGED) {
            Some(bytes) => Some(wire::log_id_from(decode::<v1::LogId>(&bytes)?)),
            None => None,
        };
        // A crash may have brought purged entries back, or an end before the snapshot that replaced it.
        if let Some(purged) = purged
            && log.bounds().purged < Some(purged.index)
        {
            log.purge(purged.index);
        }
        Ok(Log { log, _held: held, kept: Arc::new(Mutex::new(Kept { vote, purged })) })
    }

    /// Whether this replica has ever voted or followed: then it may have promised a lease before it stopped.
    pub(crate) fn has_vote(&self) -> bool {
        self.kept.lock().vote.is_some()
    }

    /// Whether nothing was ever kept here: no vote, no entry, no purged id.
    pub(crate) fn is_new(&self) -> bool {
        let kept = self.kept.lock();
        kept.vote.is_none() && kept.purged.is_none() && self.log.bounds().last.is_none()
    }

    /// The last index that was purged.
    pub(crate) fn purged_index(&self) -> Option<u64> {
        self.kept.lock().purged.map(|purged| purged.index)
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let read = self.log.read(from, to, bytes_max).map_err(io::Error::other)?;
        read.into_iter().map(|(_, bytes)| Ok(wire::entry_from(bytes)?)).collect()
    }

    /// The range that is asked for, as far as the log holds it.
    fn clip(&self, range: impl RangeBounds<u64>) -> (u64, u64) {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let bounds = self.log.bounds();
        let first = bounds.purged.map_or(0, |purged| purged + 1);
        let end = bounds.last.map_or(0, |last| last + 1);
        (from.max(first), to.min(end))
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> io::Result<M> {
    Ok(M::decode(bytes).map_err(wire::Malformed::from)?)
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = self.clip(range);
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES)
    }

    /// Step by step: a follower that has fallen behind must not hold all it missed in memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = self.clip(range);
        let log = self.clone();
        stream::unfold(from, move |from| {
            let step = (from < to).then(|| log.read(from, to, READ_BYTES));
            std::future::ready(step.map(|step| match step {
                Ok(entries) => {
                    // A hole ends the stream; openraft then misses the entries it asked for and stops the group.
                    let next = entries.last().map_or(to, |last| last.log_id.index + 1);
                    (stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()), next)
                }
                Err(error) => (stream::iter(vec![Err(error)]), to),
            }))
        })
        .flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.kept.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let purged = self.kept.lock().purged;
        let last = match self.log.bounds().last {
            Some(last) if purged.is_none_or(|purged| last > purged.index) => {
                self.read(last, last + 1, usize::MAX)?.pop().map(|entry| entry.log_id)
            }
            _ => None,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = wire::vote_to(vote).encode_to_vec().into();
        self.log.put_meta(VOTE, bytes).await.map_err(io::Error::other)?;
        self.kept.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> =
            entries.into_iter().map(|entry| (entry.log_id.index, wire::entry_to(entry))).collect();
        if entries.is_empty() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.log.append(entries, move |synced| callback.io_completed(synced.map_err(io::Error::other)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(|last| last.index)).await.map_err(io::Error::other)
    }

    async fn purge(&mut self, up_to: LogId) -> io::Result<()> {
        // The id first: a log that begins after an unknown entry could not be read again.
        let bytes = wire::log_id_to(up_to).encode_to_vec().into();
        self.log.put_meta(PURGED, bytes).await.map_err(io::Error::other)?;
        self.kept.lock().purged = Some(up_to);
        self.log.purge(up_to.index);
        Ok(())
    }
}
