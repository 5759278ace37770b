//! Keys of stored records: byte strings whose order is the order of the tree.
//!
//! `Space::Slot` keys belong to a subtree and move with its slot; `Space::Shard` keys (reply table, sessions, expiry
//! index, outbox, listing of root collections, discovery's index, totals) belong to the Raft group. The replica puts the group's number or the slot
//! before the bytes, so a shard is one contiguous range of slots beside one small range of its own.
//!
//! The first byte is the kind. A path is its segments, each ended by a zero byte (no segment holds one), so everything
//! below a path begins with the path's bytes. A resource stands under `parent 0x01 name`: the children of a
//! collection are one range that holds nothing deeper (a deeper key goes on with a segment, which begins above 0x1f).
//! Numbers are big endian. Nothing here changes once it was released.

use crate::{
    Path, Timestamp, deferred,
    index::Term,
    path::{Slot, SubtreeRoot},
    placement::ShardId,
    saf::Rcat,
};
use xxhash_rust::xxh3::xxh3_64;

/// Where a key lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// Of the whole shard.
    Shard,
    /// Of one subtree.
    Slot(Slot),
}

/// A key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub struct Key {
    pub space: Space,
    pub bytes: Vec<u8>,
}

/// Keys `from <= bytes < to` of one space.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub struct Range {
    pub space: Space,
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

const RESOURCE: u8 = b'r';
const INSTANCES: u8 = b's';
const INSTANCE: u8 = b'i';
const INSTANCE_ID: u8 = b'n';
const ANNOUNCED: u8 = b'w';
const CHANNEL: u8 = b'h';
const QUEUED: u8 = b'q';
const DEFERRED: u8 = b'v';
const KEPT: u8 = b't';

const DUE: u8 = b'd';
const LISTED: u8 = b'l';
const OUTBOX: u8 = b'o';
const OUTBOX_NEXT: u8 = b'p';
const REPLY: u8 = b'a';
const SESSION: u8 = b'b';
const CHANGED: u8 = b'c';
const RESOURCES: u8 = b'k';
const INDEX: u8 = b'x';
const KEPT_OF_SHARD: u8 = b'e';
const LANE: u8 = b'f';
const STORED: u8 = b'g';

/// Between a parent and its child's name; below every byte that a segment may begin with.
const CHILD: u8 = 1;

impl Key {
    /// `Record::Resource`: a resource or collection other than contentInstances and contentInstance.
    pub fn resource(path: &Path) -> Key {
        let mut bytes = vec![RESOURCE];
        let (name, parent) = match path.segments().split_last() {
            Some((name, parent)) => (name.as_str(), parent),
            None => ("", &[][..]),
        };
        push_segments(&mut bytes, parent);
        bytes.push(CHILD);
        bytes.extend_from_slice(name.as_bytes());
        of_subtree(path, bytes)
    }

    /// `Record::Instances` of a container.
    pub fn instances(container: &Path) -> Key {
        of_subtree(container, path_bytes(INSTANCES, container))
    }

    /// `Record::Instance` of a container, by its sequence.
    pub fn instance(container: &Path, sequence: u64) -> Key {
        let mut bytes = path_bytes(INSTANCE, container);
        bytes.push(CHILD);
        bytes.extend_from_slice(&sequence.to_be_bytes());
        of_subtree(container, bytes)
    }

    /// `Record::Pointer`: the sequence of the instance to which a client gave this id.
    pub fn instance_id(container: &Path, id: &str) -> Key {
        let mut bytes = path_bytes(INSTANCE_ID, container);
        bytes.push(CHILD);
        bytes.extend_from_slice(id.as_bytes());
        of_subtree(container, bytes)
    }

    /// `Record::Announced`: where a resource is announced. Not of `Range::subtree`: it outlives the resource.
    pub fn announced(path: &Path) -> Key {
        of_subtree(path, path_bytes(ANNOUNCED, path))
    }

    /// `Record::Channel` of a channel.
    pub fn channel(channel: &Path) -> Key {
        of_subtree(channel, path_bytes(CHANNEL, channel))
    }

    /// `Record::Queued` of a channel, by its sequence.
    pub fn queued(channel: &Path, sequence: u64) -> Key {
        let mut bytes = path_bytes(QUEUED, channel);
        bytes.push(CHILD);
        bytes.extend_from_slice(&sequence.to_be_bytes());
        of_subtree(channel, bytes)
    }

    /// `Record::Deferred`: a request that is answered later, at its place.
    pub fn deferred(place: &Path) -> Key {
        of_subtree(place, path_bytes(DEFERRED, place))
    }

    /// `Record::Kept`: what is kept of the entity to which a place belongs.
    pub fn kept_of_entity(place: &Path) -> Key {
        of_subtree(place, path_bytes(KEPT, &place.subtree().path()))
    }

    /// `Record::Kept`: what is kept of all entities in this shard.
    pub fn kept_of_shard() -> Key {
        Key { space: Space::Shard, bytes: vec![KEPT_OF_SHARD] }
    }

    /// `Record::Kept`: what an entity has stored for other SCLs in a category.
    pub fn stored_of_entity(place: &Path, rcat: Rcat) -> Key {
        let mut bytes = path_bytes(STORED, &place.subtree().path());
        bytes.push(rcat.number());
        of_subtree(place, bytes)
    }

    /// `Record::Kept`: what is stored for other SCLs in a category, of all entities in this shard.
    pub fn stored_of_shard(rcat: Rcat) -> Key {
        Key { space: Space::Shard, bytes: vec![STORED, rcat.number()] }
    }

    /// An entry of the lane of requests that an entity has stored for the same SCL, in the order in which they go: the
    /// highest category first, then by number.
    pub fn lane(place: &Path, target: &str, rcat: Rcat, number: u64) -> Key {
        let mut bytes = lane_bytes(place, target);
        bytes.push(u8::MAX - rcat.number());
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(place.name().unwrap_or_default().as_bytes());
        of_subtree(place, bytes)
    }

    /// The place whose entry in a lane this is. `beside`: a place of the same entity.
    pub fn waiting_place(bytes: &[u8], beside: &Path) -> Option<Path> {
        let at = lane_bytes(beside, "").len() + 1 + size_of::<u64>();
        let id = bytes.get(at..).filter(|_| bytes.first() == Some(&LANE))?;
        std::str::from_utf8(id).ok().map(|id| deferred::neighbour(beside, id))
    }

    /// `Record::Due`: `path` falls due at `at`.
    pub fn due(at: Timestamp, path: &Path) -> Key {
        let mut bytes = due_prefix(at);
        push_segments(&mut bytes, path.segments());
        Key { space: Space::Shard, bytes }
    }

    /// `Record::Listed`: a named child of a root collection lives in this shard.
    pub fn listed(collection: &str, name: &str) -> Key {
        let mut bytes = listed_prefix(collection);
        bytes.extend_from_slice(name.as_bytes());
        Key { space: Space::Shard, bytes }
    }

    /// `Record::Outbox`: an undelivered promise.
    pub fn outbox(queue: &Path, sequence: u64) -> Key {
        let mut bytes = queue_bytes(OUTBOX, queue);
        bytes.extend_from_slice(&sequence.to_be_bytes());
        Key { space: Space::Shard, bytes }
    }

    /// `Record::Pointer`: the sequence that the next entry of a queue gets. Absent: one that no earlier queue of this
    /// path had.
    pub fn outbox_next(queue: &Path) -> Key {
        Key { space: Space::Shard, bytes: queue_bytes(OUTBOX_NEXT, queue) }
    }

    /// `Record::Reply`: the recorded answer of a request.
    pub fn reply(session: u64, sequence: u64) -> Key {
        let mut bytes = vec![REPLY];
        bytes.extend_from_slice(&session.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        Key { space: Space::Shard, bytes }
    }

    /// `Record::Session`: a client's session.
    pub fn session(session: u64) -> Key {
        let mut bytes = vec![SESSION];
        bytes.extend_from_slice(&session.to_be_bytes());
        Key { space: Space::Shard, bytes }
    }

    /// `Record::Pointer` in sclBase's subtree: the newest change of a root collection that came from this shard.
    pub fn changed(collection: &str, shard: ShardId) -> Key {
        let mut bytes = vec![CHANGED];
        bytes.extend_from_slice(collection.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&shard.0.to_be_bytes());
        Key { space: Space::Slot(SubtreeRoot::SclBase.slot()), bytes }
    }

    /// `Record::Pointer`: how many named resources a subtree has, its root included, contentInstances not.
    pub fn resources(subtree: &SubtreeRoot) -> Key {
        of_subtree(&subtree.path(), path_bytes(RESOURCES, &subtree.path()))
    }

    /// An entry of discovery's index: what stands at `path` has `term` (`index`).
    pub fn index(term: Term<'_>, path: &Path) -> Key {
        let mut bytes = index_bytes(term);
        bytes.extend_from_slice(&path.slot().0.to_be_bytes());
        push_segments(&mut bytes, path.segments());
        Key { space: Space::Shard, bytes }
    }

    /// The path of an index entry; `None` for other kinds or broken bytes.
    pub fn indexed_path(bytes: &[u8]) -> Option<Path> {
        let (INDEX, rest) = bytes.split_first().map(|(kind, rest)| (*kind, rest))? else { return None };
        segments(rest.get(INDEX_PREFIX_BYTES..)?)
    }

    /// The container that the key of an instance belongs to; `None` for other kinds or broken bytes.
    pub fn container(bytes: &[u8]) -> Option<Path> {
        let (INSTANCE, rest) = bytes.split_first().map(|(kind, rest)| (*kind, rest))? else { return None };
        segments(rest.get(..rest.len().checked_sub(1 + size_of::<u64>())?)?)
    }

    /// Whether this is the key of a `Record::Resource` or a `Record::Instances`: what every request looks up on its way.
    pub fn is_node(&self) -> bool {
        matches!(self.bytes.first(), Some(&(RESOURCE | INSTANCES)))
    }

    /// Session and sequence of the key of a `Record::Reply`.
    pub fn as_reply(&self) -> Option<(u64, u64)> {
        let (&REPLY, numbers) = self.bytes.split_first()? else { return None };
        let (session, sequence) = numbers.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*session), u64::from_be_bytes(sequence.try_into().ok()?)))
    }

    /// The name a resource, listing or instance-id key ends with; `None` for other kinds or broken bytes.
    pub fn name(bytes: &[u8]) -> Option<&str> {
        let at = match bytes.first()? {
            &RESOURCE | &INSTANCE_ID => bytes.iter().rposition(|byte| *byte == CHILD)?,
            &LISTED => bytes.iter().position(|byte| *byte == 0)?,
            _ => return None,
        };
        std::str::from_utf8(&bytes[at + 1..]).ok()
    }

    /// The number a reply, session, outbox or queue key ends with.
    pub fn number(bytes: &[u8]) -> Option<u64> {
        let last = bytes.last_chunk::<8>()?;
        Some(u64::from_be_bytes(*last))
    }

    /// The time of an expiry key; `None` for other kinds or broken bytes.
    pub fn due_time(bytes: &[u8]) -> Option<Timestamp> {
        let (kind, rest) = bytes.split_first()?;
        let at = rest.first_chunk::<8>().filter(|_| *kind == DUE)?;
        Some(Timestamp(i64::from_be_bytes(*at) ^ i64::MIN))
    }
}

impl Range {
    /// The resources directly below a path, in the order of their names.
    pub fn children(parent: &Path) -> Range {
        let mut from = path_bytes(RESOURCE, parent);
        from.push(CHILD);
        Range::prefix(space(parent), from)
    }

    /// The same after a name.
    pub fn children_after(parent: &Path, after: &str) -> Range {
        let mut range = Range::children(parent);
        range.from.extend_from_slice(after.as_bytes());
        range.from.push(0);
        range
    }

    /// Everything stored below or about a path, itself included, in as many ranges as there are kinds. Not for sclBase
    /// or its collections.
    pub fn subtree(path: &Path) -> [Range; 6] {
        [RESOURCE, INSTANCES, INSTANCE, INSTANCE_ID, CHANNEL, QUEUED]
            .map(|kind| Range::prefix(space(path), path_bytes(kind, path)))
    }

    /// The instances of a container with `from <= sequence < to`.
    pub fn instances(container: &Path, from: u64, to: u64) -> Range {
        let key = |sequence| Key::instance(container, sequence).bytes;
        Range { space: space(container), from: key(from), to: key(to) }
    }

    /// What waits in a channel's queue, in order.
    pub fn queued(channel: &Path) -> Range {
        let mut from = path_bytes(QUEUED, channel);
        from.push(CHILD);
        Range::prefix(space(channel), from)
    }

    /// A lane.
    pub fn lane(place: &Path, target: &str) -> Range {
        Range::prefix(space(place), lane_bytes(place, target))
    }

    /// What falls due at or before `at`.
    pub fn due_until(at: Timestamp) -> Range {
        Range { space: Space::Shard, from: vec![DUE], to: due_prefix(Timestamp(at.0.saturating_add(1))) }
    }

    /// The members of a root collection in this shard, after a name.
    pub fn listed(collection: &str, after: Option<&str>) -> Range {
        let mut range = Range::prefix(Space::Shard, listed_prefix(collection));
        if let Some(after) = after {
            range.from.extend_from_slice(after.as_bytes());
            range.from.push(0);
        }
        range
    }

    /// The index entries of a term at or below a path, after a key; of the whole shard for sclBase and its collections,
    /// whose members are subtrees of their own.
    pub fn index(term: Term<'_>, prefix: &Path, after: Option<&[u8]>) -> Range {
        let mut bytes = index_bytes(term);
        if !prefix.holds_subtrees() {
            bytes.extend_from_slice(&prefix.slot().0.to_be_bytes());
            push_segments(&mut bytes, prefix.segments());
        }
        let mut range = Range::prefix(Space::Shard, bytes);
        if let Some(after) = after.filter(|after| *after >= range.from.as_slice()) {
            range.from = [after, &[0]].concat();
        }
        range
    }

    /// Everything undelivered of a queue.
    pub fn outbox(queue: &Path) -> Range {
        Range::prefix(Space::Shard, queue_bytes(OUTBOX, queue))
    }

    /// Everything undelivered of this shard, queue by queue.
    pub fn outboxes() -> Range {
        Range::prefix(Space::Shard, vec![OUTBOX])
    }

    /// The queues of what stands at or below a path: their counters.
    pub fn outbox_nexts_below(path: &Path) -> Range {
        let mut from = vec![OUTBOX_NEXT];
        from.extend_from_slice(&path.slot().0.to_be_bytes());
        push_segments(&mut from, path.segments());
        Range::prefix(Space::Shard, from)
    }

    /// The recorded answers of a session with `from <= sequence < to`.
    pub fn replies(session: u64, from: u64, to: u64) -> Range {
        Range {
            space: Space::Shard,
            from: Key::reply(session, from).bytes,
            to: Key::reply(session, to).bytes,
        }
    }

    /// All sessions of this shard.
    pub fn sessions() -> Range {
        Range::prefix(Space::Shard, vec![SESSION])
    }

    /// Everything that begins with `prefix`, which is not all 0xff.
    fn prefix(space: Space, prefix: Vec<u8>) -> Range {
        let mut to = prefix.clone();
        while to.last() == Some(&0xff) {
            to.pop();
        }
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        Range { space, from: prefix, to }
    }
}

fn space(path: &Path) -> Space {
    Space::Slot(path.slot())
}

fn of_subtree(path: &Path, bytes: Vec<u8>) -> Key {
    Key { space: space(path), bytes }
}

fn path_bytes(kind: u8, path: &Path) -> Vec<u8> {
    let mut bytes = vec![kind];
    push_segments(&mut bytes, path.segments());
    bytes
}

fn push_segments(bytes: &mut Vec<u8>, segments: &[String]) {
    for segment in segments {
        bytes.extend_from_slice(segment.as_bytes());
        bytes.push(0);
    }
}

/// The reverse of `push_segments`.
fn segments(bytes: &[u8]) -> Option<Path> {
    let segment = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let Some((&0, bytes)) = bytes.split_last() else { return bytes.is_empty().then(Path::scl_base) };
    bytes.split(|byte| *byte == 0).map(segment).collect::<Option<_>>().map(Path::from_segments)
}

/// A term and a slot, behind the kind.
const INDEX_PREFIX_BYTES: usize = 16;

/// A term is hashed, so that its length and its bytes do not matter. Whoever reads the index looks at what was found.
fn index_bytes(term: Term<'_>) -> Vec<u8> {
    let (kind, text) = match term {
        Term::SearchString(text) => (b's', text),
        Term::InstanceSearchString(text) => (b'i', text),
        Term::Link(text) => (b'l', text),
        Term::Within(text) => (b'w', text),
        Term::Address(text) => (b'a', text),
        Term::Type(of) => (b't', of.name()),
        Term::Governs(text) => (b'g', text),
    };
    let mut bytes = vec![INDEX];
    bytes.extend_from_slice(&xxh3_64(&[&[kind], text.as_bytes()].concat()).to_be_bytes());
    bytes
}

/// A queue's slot comes first, so that its entries go with it when a shard is split; then its path, ended by the byte
/// that no longer path has there.
fn queue_bytes(kind: u8, queue: &Path) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&queue.slot().0.to_be_bytes());
    push_segments(&mut bytes, queue.segments());
    bytes.push(CHILD);
    bytes
}

/// An SCL is hashed: two that share a lane wait for each other, nothing worse.
fn lane_bytes(place: &Path, target: &str) -> Vec<u8> {
    let mut bytes = path_bytes(LANE, &place.subtree().path());
    bytes.push(CHILD);
    bytes.extend_from_slice(&xxh3_64(target.as_bytes()).to_be_bytes());
    bytes
}

fn due_prefix(at: Timestamp) -> Vec<u8> {
    let mut bytes = vec![DUE];
    // Flipping the sign bit makes the order of signed numbers that of their bytes.
    bytes.extend_from_slice(&(at.0 ^ i64::MIN).to_be_bytes());
    bytes
}

fn listed_prefix(collection: &str) -> Vec<u8> {
    let mut bytes = vec![LISTED];
    bytes.extend_from_slice(collection.as_bytes());
    bytes.push(0);
    bytes
}
