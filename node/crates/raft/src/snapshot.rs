//! Snapshots that travel: a copy of the state in a file, sent in chunks and installed by a follower that has fallen
//! behind the purged log.
//!
//! The copy is made only when it is needed, while writes go on; it ends at one exact applied id, which is part of
//! what is copied. A transfer that breaks goes on where it stopped as long as both nodes still have their file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banyan_proto::v1;
use banyan_proto::v1::raft_message::Body;
use banyan_storage::{GroupState, KeyRange};
use bytes::Bytes;

use crate::Replica;
use crate::group::Raft;
use crate::link::Connection;
use crate::machine::{Applied, Meta, Snapshot, meta_range};
use crate::serve::{CHUNK_LIMIT, INSTALL_LIMIT};
use crate::shared::{Held, Shared};
use crate::types::Vote;
use crate::wire;

/// Small enough to share the link with heartbeats.
const CHUNK_BYTES: usize = 256 << 10;

/// Where a copy can be made from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) group: u64,
    pub(crate) state: GroupState,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) _held: Held,
}

/// What openraft hands around as a snapshot.
pub(crate) enum Content {
    /// The state itself, as it goes on changing: what it names is in it, and more may be.
    Live(Source),
    /// A file from another node.
    Received(TempFile),
}

/// A copy of one group's state in a file, which goes when the copy is dropped.
pub struct Copy {
    id: String,
    file: TempFile,
    len: u64,
    checksum: u32,
    meta: Meta,
}

impl Copy {
    /// Term and index of the last entry whose effect is in the copy; everything before it is, nothing after it.
    pub fn at(&self) -> (u64, u64) {
        self.meta.last_log_id.map_or((0, 0), |last| (*last.leader_id, last.index))
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// CRC-32 of the file.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The next bytes from `offset` on, at most a chunk; none at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn read(self: &Arc<Copy>, offset: u64) -> io::Result<Bytes> {
        read(self, offset).await
    }
}

/// The copy that is being sent, for whoever needs it next.
pub(crate) type Outbound = tokio::sync::Mutex<Option<Arc<Copy>>>;

/// A file that goes when nobody needs it any more.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
}

impl TempFile {
    fn new(dir: &Path, name: &str) -> TempFile {
        TempFile { path: dir.join(name) }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "snapshot file not removed");
            }
            _ => {}
        }
    }
}

impl Source {
    /// What a snapshot holds: the replica's ranges and where they stand in the log.
    fn ranges(&self) -> Vec<KeyRange> {
        let mut ranges = self.replica.ranges();
        ranges.push(meta_range(self.group));
        ranges
    }

    fn import(&self, file: &TempFile) -> io::Result<()> {
        self.state.import(self.ranges(), &file.path).map_err(io::Error::other)
    }

    /// Blocks for as long as the copy takes.
    pub(crate) fn copy(&self, dir: &Path) -> io::Result<Copy> {
        let id = format!("{}-{:016x}", self.group, rand::random::<u64>());
        let file = TempFile::new(dir, &format!("out-{id}"));
        let export = self.state.export(self.ranges());
        let copied = export.write(&file.path, |view| Applied::read(self.group, view));
        let applied = copied.map_err(io::Error::other)?.1?;
        let mut copied = File::open(&file.path)?;
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut len = 0;
        loop {
            let read = copied.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            len += read as u64;
        }
        tracing::info!(group = self.group, bytes = len, "snapshot copied");
        Ok(Copy { id, file, len, checksum: hasher.finalize(), meta: applied.meta() })
    }
}

impl Content {
    /// Replaces the state of `target`; blocks.
    pub(crate) fn install(self, target: &Source, dir: &Path) -> io::Result<()> {
        match self {
            Content::Received(file) => target.import(&file),
            Content::Live(source) => target.import(&source.copy(dir)?.file),
        }
    }
}

/// Sends a copy of at least `snapshot` and waits until it is installed. Returns the receiver's vote.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<Vote, String> {
    let Content::Live(source) = snapshot.snapshot else {
        return Err("a received snapshot is not sent on".to_owned());
    };
    let _permit = shared.snapshot_permits.acquire().await.map_err(text)?;
    let copy = outbound(shared, source, &snapshot.meta).await?;

    // The first chunk asks how much of this copy is there already.
    let mut offset =
        ask(shared, connection, chunk(&copy, vote, 0, Bytes::new()), CHUNK_LIMIT).await?.received;
    loop {
        if offset > copy.len {
            return Err(format!("the receiver claims {offset} of {} bytes", copy.len));
        }
        let data = read(&copy, offset).await.map_err(text)?;
        let next = offset + data.len() as u64;
        let mut chunk = chunk(&copy, vote, offset, data);
        chunk.done = next == copy.len;
        let limit = if chunk.done { INSTALL_LIMIT } else { CHUNK_LIMIT };
        let done = chunk.done;
        let reply = ask(shared, connection, chunk, limit).await?;
        if done {
            // Others that fell behind at another time want a newer one.
            shared.outbound.lock().await.take_if(|kept| kept.id == copy.id);
            return wire::vote_from(reply.vote).map_err(text);
        }
        if reply.received != next {
            return Err(format!("the receiver has {} bytes, sent were {next}", reply.received));
        }
        offset = next;
    }
}

/// The kept copy if it will do, else a new one.
async fn outbound(shared: &Arc<Shared>, source: Source, wanted: &Meta) -> Result<Arc<Copy>, String> {
    let mut kept = shared.outbound.lock().await;
    // A copy that is much older than what openraft names may end before the purged log begins, and would be followed
    // by another one.
    let recent = |copy: &Copy| {
        let reach = |meta: &Meta| meta.last_log_id.map_or(0, |id| id.index);
        reach(&copy.meta) + shared.copy_age_max >= reach(wanted)
    };
    if let Some(copy) = kept.as_ref().filter(|copy| recent(copy)) {
        return Ok(copy.clone());
    }
    let dir = shared.snapshot_dir.clone();
    let copy = tokio::task::spawn_blocking(move || source.copy(&dir)).await.map_err(text)?.map_err(text)?;
    let copy = Arc::new(copy);
    *kept = Some(copy.clone());
    Ok(copy)
}

fn chunk(copy: &Copy, vote: Vote, offset: u64, data: Bytes) -> v1::SnapshotChunk {
    v1::SnapshotChunk {
        vote: Some(wire::vote_to(&vote)),
        meta: Some(v1::SnapshotMeta {
            last: copy.meta.last_log_id.map(wire::log_id_to),
            membership: Some(wire::stored_membership_to(&copy.meta.last_membership)),
            snapshot_id: copy.id.clone(),
        }),
        offset,
        data,
        done: false,
        checksum: copy.checksum,
    }
}

async fn read(copy: &Arc<Copy>, offset: u64) -> io::Result<Bytes> {
    let copy = copy.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut file = File::open(&copy.file.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        file.take(CHUNK_BYTES as u64).read_to_end(&mut data)?;
        Ok(data.into())
    });
    read.await.map_err(io::Error::other)?
}

async fn ask(
    shared: &Shared,
    connection: &Arc<Connection>,
    chunk: v1::SnapshotChunk,
    limit: std::time::Duration,
) -> Result<v1::SnapshotReply, String> {
    let answer = connection.request(shared.group, Body::Snapshot(chunk)).ok_or("link ended")?;
    match tokio::time::timeout(limit, answer).await.map_err(|_| "no answer to a chunk")? {
        Some(Body::SnapshotReply(reply)) if reply.refused.is_empty() => Ok(reply),
        Some(Body::SnapshotReply(v1::SnapshotReply { refused, .. }) | Body::Refused(refused)) => Err(refused),
        Some(_) => Err("an answer of another kind".to_owned()),
        None => Err("link ended".to_owned()),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// What one group is being sent.
#[derive(Default)]
pub(crate) struct Inbound {
    partial: Option<Partial>,
}

struct Partial {
    id: String,
    file: TempFile,
    out: File,
    received: u64,
    hasher: crc32fast::Hasher,
}

impl Inbound {
    /// Takes a chunk; the one that is `done` is answered when the snapshot is installed.
    pub(crate) async fn chunk(
        &mut self,
        shared: &Shared,
        raft: &Raft,
        chunk: v1::SnapshotChunk,
    ) -> v1::SnapshotReply {
        match self.take(shared, raft, chunk).await {
            Ok(reply) => reply,
            Err(refused) => {
                self.partial = None;
                v1::SnapshotReply { refused, ..v1::SnapshotReply::default() }
            }
        }
    }

    async fn take(
        &mut self,
        shared: &Shared,
        raft: &Raft,
        chunk: v1::SnapshotChunk,
    ) -> Result<v1::SnapshotReply, String> {
        let vote = wire::vote_from(chunk.vote).map_err(text)?;
        let meta = chunk.meta.ok_or("the description is missing")?;
        let mut partial = match self.partial.take() {
            Some(partial) if partial.id == meta.snapshot_id => partial,
            // An older one is of no use to anybody.
            _ => Partial::create(shared, meta.snapshot_id)?,
        };
        if chunk.data.is_empty() && !chunk.done {
            let received = partial.received;
            self.partial = Some(partial);
            return Ok(v1::SnapshotReply { received, ..v1::SnapshotReply::default() });
        }
        if chunk.offset != partial.received {
            return Err(format!("a chunk at {} does not follow {}", chunk.offset, partial.received));
        }
        let (data, done) = (chunk.data, chunk.done);
        let partial = tokio::task::spawn_blocking(move || partial.write(&data, done).map(|()| partial))
            .await
            .map_err(text)?
            .map_err(text)?;
        let received = partial.received;
        if !done {
            self.partial = Some(partial);
            return Ok(v1::SnapshotReply { received, ..v1::SnapshotReply::default() });
        }
        if partial.hasher.clone().finalize() != chunk.checksum {
            return Err("the checksum is wrong".to_owned());
        }
        let meta = Meta {
            last_log_id: meta.last.map(wire::log_id_from),
            last_membership: wire::stored_membership_from(meta.membership.unwrap_or_default())
                .map_err(text)?,
        };
        tracing::info!(group = shared.group, bytes = received, "snapshot received");
        let snapshot = Snapshot { meta, snapshot: Content::Received(partial.file) };
        let installed = raft.install_full_snapshot(vote, snapshot).await.map_err(text)?;
        Ok(v1::SnapshotReply {
            vote: Some(wire::vote_to(&installed.vote)),
            received,
            ..v1::SnapshotReply::default()
        })
    }
}

impl Partial {
    fn create(shared: &Shared, id: String) -> Result<Partial, String> {
        // The name is ours: an id from the network does not become a path.
        let name = format!("in-{}-{:016x}", shared.group, rand::random::<u64>());
        let file = TempFile::new(&shared.snapshot_dir, &name);
        let out = File::create(&file.path).map_err(text)?;
        Ok(Partial { id, file, out, received: 0, hasher: crc32fast::Hasher::new() })
    }

    fn write(&mut self, data: &[u8], done: bool) -> io::Result<()> {
        self.out.write_all(data)?;
        self.hasher.update(data);
        self.received += data.len() as u64;
        if done {
            self.out.sync_all()?;
        }
        Ok(())
    }
}
