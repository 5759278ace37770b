//! openraft's state machine over a [`Replica`]: decides what goes into one batch, and what is durable.
//!
//! The applied log id and the membership are part of the state, under `0x02 | group`, in the same batch as the
//! writes of the entries: after a crash the log replays exactly what the state lacks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use banyan_proto::v1;
use banyan_storage::{Batch, GroupState, ReadView};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, SnapshotMeta};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use prost::Message;

use crate::shared::Shared;
use crate::snapshot::{Content, Source};
use crate::types::{Committed, LogId, Reply, StoredMembership, Types};
use crate::wire;

pub(crate) type Meta = SnapshotMeta<Committed, u64, ()>;
pub(crate) type Snapshot = openraft::Snapshot<Committed, u64, (), Content>;

/// Entries that go into one batch at most, so that a long replay neither holds everything in memory nor starves
/// the readers behind the group's gate.
const BATCH_ENTRIES: usize = 1_024;
const BATCH_BYTES: usize = 4 << 20;

/// Where a group keeps what openraft must find again: `0x02 | group, big-endian`.
pub(crate) fn meta_range(group: u64) -> (Vec<u8>, Vec<u8>) {
    let key = |tail: u8| [&[2], group.to_be_bytes().as_slice(), &[tail]].concat();
    (key(0), key(u8::MAX))
}

fn meta_key(group: u64, name: u8) -> Vec<u8> {
    let (mut key, _) = meta_range(group);
    key.pop();
    key.push(name);
    key
}

fn applied_key(group: u64) -> Vec<u8> {
    meta_key(group, b'a')
}

fn membership_key(group: u64) -> Vec<u8> {
    meta_key(group, b'm')
}

/// What the state says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Applied {
    /// As a view of the state shows it.
    pub(crate) fn read(group: u64, view: &ReadView<'_>) -> io::Result<Applied> {
        let get = |key: Vec<u8>| view.get(&key).map_err(io::Error::other);
        Applied::parse(get(applied_key(group))?, get(membership_key(group))?)
    }

    fn parse(last: Option<Bytes>, membership: Option<Bytes>) -> io::Result<Applied> {
        let last = match last {
            Some(bytes) => Some(wire::log_id_from(v1::LogId::decode(bytes).map_err(wire::Malformed::from)?)),
            None => None,
        };
        let membership = match membership {
            Some(bytes) => wire::stored_membership_from(
                v1::StoredMembership::decode(bytes).map_err(wire::Malformed::from)?,
            )?,
            None => StoredMembership::default(),
        };
        Ok(Applied { last, membership })
    }

    /// Puts it into a batch, as [`Applied::read`] finds it.
    pub(crate) fn write(&self, group: u64, batch: &mut Batch) {
        if let Some(last) = self.last {
            batch.put(applied_key(group), wire::log_id_to(last).encode_to_vec().into(), false);
        }
        let membership = wire::stored_membership_to(&self.membership).encode_to_vec();
        batch.put(membership_key(group), membership.into(), false);
    }

    pub(crate) fn meta(&self) -> Meta {
        Meta { last_log_id: self.last, last_membership: self.membership.clone() }
    }
}

/// The state machine of one group.
pub(crate) struct Machine {
    source: Source,
    shared: Arc<Shared>,
    applied: Applied,
}

/// What is collected for one batch.
#[derive(Default)]
struct Pending {
    commands: Vec<Bytes>,
    /// For each entry its index and, if somebody waits for it, its responder; `true` if it is a command.
    entries: Vec<(u64, bool, Option<openraft::storage::ApplyResponder<Types>>)>,
    bytes: usize,
    last: Option<LogId>,
    membership: Option<StoredMembership>,
}

impl Machine {
    pub(crate) async fn open(source: Source, shared: Arc<Shared>) -> io::Result<Machine> {
        let applied = Applied::read(source.group, &source.state.view())?;
        // openraft takes what it finds here for a snapshot, up to which it may purge. After a crash of the process
        // alone, what was read may be in the system's cache only.
        make_durable(&source.state).await?;
        shared.set_applied(applied.last);
        Ok(Machine { source, shared, applied })
    }

    /// The last entry that is in the state.
    pub(crate) fn applied_index(&self) -> Option<u64> {
        self.applied.last.map(|last| last.index)
    }

    /// Applies what was collected as one batch, then answers.
    fn commit(&mut self, pending: Pending) -> io::Result<()> {
        let Some(last) = pending.last else {
            return Ok(());
        };
        let mut batch = Batch::default();
        let replies = self.apply_commands(&pending, &mut batch)?;

        batch.put(applied_key(self.source.group), wire::log_id_to(last).encode_to_vec().into(), false);
        if let Some(membership) = pending.membership {
            let bytes = wire::stored_membership_to(&membership).encode_to_vec().into();
            batch.put(membership_key(self.source.group), bytes, false);
            self.applied.membership = membership;
        }
        self.source.state.commit(batch);
        self.applied.last = Some(last);
        self.shared.set_applied(Some(last));
        self.source.replica.applied();

        let mut replies = replies.into_iter();
        for (_, is_command, responder) in pending.entries {
            let reply = if is_command { replies.next().unwrap_or_default() } else { Bytes::new() };
            if let Some(responder) = responder {
                responder.send(Reply(reply));
            }
        }
        Ok(())
    }

    fn apply_commands(&self, pending: &Pending, batch: &mut Batch) -> io::Result<Vec<Bytes>> {
        if pending.commands.is_empty() {
            return Ok(Vec::new());
        }
        // The replica's caches may be torn after a panic; nothing looks at them again, this replica stops.
        let applied = catch_unwind(AssertUnwindSafe(|| self.source.replica.apply(&pending.commands, batch)));
        let indices: Vec<u64> = pending
            .entries
            .iter()
            .filter(|(_, is_command, _)| *is_command)
            .map(|(index, ..)| *index)
            .collect();
        let range = match indices.as_slice() {
            [] => String::new(),
            [one] => format!("at entry {one}"),
            [first, .., last] => format!("at one of the entries {first} to {last}"),
        };
        let reason = match applied {
            Ok(Ok(replies)) if replies.len() == pending.commands.len() => return Ok(replies),
            Ok(Ok(replies)) => {
                format!("apply gave {} replies to {} commands {range}", replies.len(), pending.commands.len())
            }
            Ok(Err(stop)) => match stop.command.and_then(|command| indices.get(command)) {
                Some(index) => format!("apply stopped at entry {index}: {stop}"),
                None => format!("apply stopped {range}: {stop}"),
            },
            Err(panic) => format!("apply panicked {range}: {}", panic_text(&*panic)),
        };
        Err(self.stop(reason))
    }

    fn stop(&self, reason: String) -> io::Error {
        self.shared.stop(reason.clone());
        io::Error::other(reason)
    }
}

async fn make_durable(state: &GroupState) -> io::Result<()> {
    let state = state.clone();
    let done = tokio::task::spawn_blocking(move || state.make_durable()).await.map_err(io::Error::other)?;
    done.map_err(io::Error::other)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Content;
    type SnapshotBuilder = Fence;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut pending = Pending::default();
        while let Some(next) = entries.next().await {
            let (entry, responder) =
                next.map_err(|error| self.stop(format!("cannot read the log: {error}")))?;
            let index = entry.log_id.index;
            pending.bytes += entry.encoded.len();
            pending.last = Some(entry.log_id);
            let is_command = match entry.payload {
                EntryPayload::Blank => false,
                EntryPayload::Normal(command) => {
                    pending.commands.push(command.0);
                    true
                }
                EntryPayload::Membership(membership) => {
                    pending.membership = Some(StoredMembership::new(Some(entry.log_id), membership));
                    false
                }
            };
            pending.entries.push((index, is_command, responder));
            if pending.entries.len() >= BATCH_ENTRIES || pending.bytes >= BATCH_BYTES {
                self.commit(std::mem::take(&mut pending))?;
            }
        }
        self.commit(pending)
    }

    async fn get_snapshot_builder(&mut self) -> Fence {
        Fence { applied: self.applied.clone(), source: self.source.clone() }
    }

    /// Replaces the state and says exactly where it stands afterwards; durable when it returns.
    async fn install_snapshot(&mut self, meta: &Meta, content: Content) -> io::Result<()> {
        let source = self.source.clone();
        let dir = self.shared.snapshot_dir.clone();
        let installed = tokio::task::spawn_blocking(move || content.install(&source, &dir))
            .await
            .map_err(io::Error::other)?
            .and_then(|()| Applied::read(self.source.group, &self.source.state.view()));
        let applied = installed.map_err(|error| self.stop(format!("cannot install a snapshot: {error}")))?;
        if applied.meta() != *meta {
            return Err(self.stop(format!(
                "the snapshot holds {:?}, announced was {:?}",
                applied.meta(),
                meta
            )));
        }
        self.applied = applied;
        self.shared.set_applied(self.applied.last);
        self.source.replica.restored();
        self.shared.snapshots_installed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Names what is applied now; the copy is made when a follower asks for it. This never moves the purge: only
    /// what [`Fence`] reports does.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self
            .applied
            .last
            .is_some()
            .then(|| Snapshot { meta: self.applied.meta(), snapshot: Content::Live(self.source.clone()) }))
    }
}

/// The purge fence. openraft purges its log up to what this reports, and the log is the only place from which state
/// that is not on disk yet could be had again: so the state goes to disk first.
pub(crate) struct Fence {
    applied: Applied,
    source: Source,
}

impl RaftSnapshotBuilder<Types> for Fence {
    type SnapshotData = Content;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        make_durable(&self.source.state).await?;
        Ok(Snapshot { meta: self.applied.meta(), snapshot: Content::Live(self.source.clone()) })
    }
}
