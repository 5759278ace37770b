//! What is stored under a key. `proto/convert` gives each variant its bytes; adding one is a format change.

use crate::{
    Path, Representation, Timestamp,
    path::Slot,
    primitive::NotifyMedia,
    value::{Content, Struct},
};

/// A stored record.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// A resource other than a contentInstance; collections with attributes of their own included.
    Resource(Resource),
    /// The moving part of a container, apart from its attributes so that a create rewrites only this.
    Instances(InstancesState),
    /// A contentInstance.
    Instance(Instance),
    /// Client-chosen instance id -> its sequence number; or any other index entry.
    Pointer(u64),
    /// A subscribed change waiting for delivery, or a message to another subtree.
    Outbox(crate::outbox::OutboxEntry),
    /// A request id's recorded answer (encoded `ResponsePrimitive`, opaque here).
    Reply(bytes::Bytes),
    /// A client session's last use and lowest outstanding sequence.
    Session {
        /// Leader time of its last request.
        last_used: Timestamp,
        /// Replies below this sequence are gone.
        acked_below: u64,
        /// The highest sequence that was applied: a later one needs no look into the reply table.
        highest: u64,
    },
    /// Expiry index: what falls due (the time is in the key).
    Due {
        /// Where.
        path: Path,
    },
    /// Where a resource is announced.
    Announced(crate::announce::Announced),
    /// The place of an application etc. in its root collection's listing.
    Listed {
        /// The slot, for splits.
        slot: Slot,
    },
    /// What waits in a channel's queue, counted.
    Channel(ChannelState),
    /// A message that waits in a channel's queue.
    Queued(QueuedMessage),
    /// A request that is answered later.
    Deferred(crate::deferred::Deferred),
    /// How much of those is kept.
    Kept(crate::deferred::Kept),
}

/// A resource with its bookkeeping.
#[derive(Clone, PartialEq, Debug)]
pub struct Resource {
    /// Where it stands.
    pub path: Path,
    /// Attributes as the SCL keeps them; references and collections are made when it is represented.
    pub representation: Representation,
    /// Who created it (normalised); the default access rights and subscription rules ask.
    pub creator: String,
    /// Counts every change; the eTag is made of it.
    pub version: u64,
    /// Subscriptions that stand directly on this resource.
    pub subscriptions: u32,
    /// Of a subscription: how its notifies write representations.
    pub notify_media: NotifyMedia,
}

/// State of a contentInstances collection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct InstancesState {
    pub count: u64,
    pub bytes: u64,
    /// Sequence of the next instance; sequences are creation order and never reused.
    pub next: u64,
    /// Sequence of the oldest kept instance, if any.
    pub oldest: u64,
    /// Sequence of the newest kept instance, if any.
    pub latest: u64,
    pub creation_time: Timestamp,
    pub last_modified_time: Timestamp,
    pub version: u64,
    /// Subscriptions on contentInstances.
    pub subscriptions: u32,
}

/// What waits in a channel's queue.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChannelState {
    /// Sequence of the next message.
    pub next: u64,
    /// Messages.
    pub waiting: u64,
    /// About how many octets they take.
    pub octets: u64,
}

/// A message that waits in a channel's queue.
#[derive(Clone, PartialEq, Debug)]
pub struct QueuedMessage {
    /// When it came.
    pub at: Timestamp,
    /// The body (`notify`, ...).
    pub message: Struct,
}

/// A contentInstance as stored.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct Instance {
    pub id: String,
    pub sequence: u64,
    pub creation_time: Timestamp,
    pub last_modified_time: Timestamp,
    pub delay_tolerance: Option<Timestamp>,
    pub search_strings: Vec<String>,
    pub content_types: Vec<String>,
    pub content_size: u64,
    pub content: Content,
}

impl Instance {
    /// What metaDataOnly leaves of it.
    #[must_use]
    pub fn without_content(&self) -> Instance {
        let mut left = self.clone();
        left.content.bytes = bytes::Bytes::new();
        left
    }
}

/// The id of an instance that its creator did not name: `ci-` and its sequence as 16 lower-case hex digits. The
/// sequence is unique in its container, so no index entry is needed to find it again.
pub fn instance_id(sequence: u64) -> String {
    format!("ci-{sequence:016x}")
}

/// The sequence in a generated id; `None` for every id that `instance_id` does not make.
pub fn instance_sequence(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("ci-").filter(|digits| digits.len() == 16)?;
    let lower_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lower_hex.then(|| u64::from_str_radix(digits, 16).ok())?
}
