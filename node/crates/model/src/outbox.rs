//! The outbox: everything a subtree has promised to the outside and not yet delivered.
//!
//! `apply` adds an entry in the same write set as the change that caused it, so a notification exists exactly when its
//! cause is committed. Sequence numbers are dense within a queue and never reused, not even by a queue of the same path
//! that is started anew. Only `Acknowledge` removes entries, and the end of a subscription that nobody is to be told of;
//! an entry that is not the head may be rewritten by a newer one that says all that it would have said.

use crate::{
    Body, Path, RequestId, Scl, StatusCode, Timestamp, Value,
    channel::octets,
    primitive::NotifyMedia,
    record::{Instance, InstancesState},
    represent,
    value::{Representation, Struct},
};
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

/// How many entries a queue holds. Above it the subscription ends: one last entry says so.
pub const ENTRIES_MAX: u64 = 10_000;
/// Above so many waiting notifies a newer state takes the place of the one before it.
pub const STATES_MAX: u64 = 64;
/// Above so many waiting notifies an instance is not copied into the queue: it waits by reference.
pub const COPIES_MAX: u64 = 1_000;
/// How many instances one notify carries.
pub const NOTIFY_INSTANCES_MAX: usize = 100;
/// So many notifies may cause each other, each stored by a contact inside this SCL that is subscribed to in turn. Above
/// it the contact refuses, and the subscription ends whose notify it was: containers that tell each other in a ring fall
/// silent.
pub const HOPS_MAX: u32 = 16;
/// So many waiting entries are not held back any longer.
pub const HELD_MAX: usize = 64;
/// How many octets of content one notify carries, unless a single instance is larger.
pub const NOTIFY_BYTES_MAX: u64 = 1 << 20;

/// One undelivered promise.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboxEntry {
    /// The subscription's path, the collection's for `CollectionChanged`, the original's for `Announce`.
    pub queue: Path,
    /// Dense; the first one of a queue is made of the time.
    pub sequence: u64,
    /// When its cause was applied.
    pub at: Timestamp,
    /// What to deliver.
    pub message: Message,
}

/// What an entry delivers.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Message {
    /// A notify to a subscriber.
    Notify {
        /// Where it goes.
        contact: String,
        /// Who subscribed. On whose behalf a contact inside the SCL is written to, also when the subscription is gone:
        /// as the SCL itself, anyone who can subscribe could write anywhere. `None` in entries of a former version.
        creator: Option<String>,
        /// How representations are written.
        media: NotifyMedia,
        /// How many notifies led to this one.
        hops: u32,
        /// What it says.
        notification: Notification,
    },
    /// To sclBase's subtree: a child of this root collection came or went.
    CollectionChanged {
        /// The collection.
        collection: &'static str,
    },
    /// The announcements of the resource at the queue's path differ from what is wished. Says nothing more, so that one
    /// is enough however often that changes.
    Announce,
    /// A request that was accepted is carried out; the queue is its place (`deferred`).
    CarryOut {
        /// Encoded, opaque here.
        request: Bytes,
    },
    /// The answer of such a request goes to its contact.
    Answer,
}

/// The content of a notify.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Notification {
    /// The subscribed-to resource as it was after the change.
    Representation(Representation),
    /// What attributeAccessor names, as it was after the change.
    Attribute {
        /// The element's name.
        name: String,
        /// Its value.
        value: Value,
    },
    /// A contentInstances collection: the new instance; the courier may put several into one notify.
    Instance(Instance),
    /// The same with metaDataOnly: the instance has no content.
    MetaData(Instance),
    /// New instances by their sequences, read when the notify is made (`query::told`); those that are gone by then are
    /// left out. No more than one notify carries.
    Stored {
        /// In order.
        sequences: Vec<u64>,
        /// Octets of their contents.
        octets: u64,
    },
    /// The first notify of a contentInstances collection: the instances up to this sequence, chosen when it is made: the
    /// newest that the criteria select and one notify carries.
    Present {
        /// The newest one when the subscription was created.
        up_to: u64,
    },
    /// A collection changed. Its members are listed when the notify is made (`query::told`): what is promised costs the
    /// same however many there are.
    Collection,
    /// What a member of a group notified, to be sent on with others.
    Member {
        /// As it came, with requestingEntity and contact.
        notify: Struct,
        /// Octets that came in this queue before it.
        octets_before: u64,
    },
    /// noRepresentation: only that something changed.
    Bare,
    /// The last notify of a subscription.
    Final(StatusCode),
    /// The same at its expirationTime, where it has a timeoutReason: that stands in place of an errorInfo.
    TimedOut(String),
}

impl Notification {
    /// Whether it says how the resource stands, so that a newer one says all that is to be said.
    fn is_state(&self) -> bool {
        use Notification::{Attribute, Bare, Collection, Representation};
        matches!(self, Representation(_) | Attribute { .. } | Bare | Collection)
    }

    /// Whether the subscription is gone with it.
    pub fn is_last(&self) -> bool {
        matches!(self, Notification::Final(_) | Notification::TimedOut(_))
    }

    /// The same without the content of an instance, which stays where it is stored.
    #[must_use]
    pub(crate) fn by_reference(self) -> Notification {
        match self {
            Notification::Instance(one) | Notification::MetaData(one) => {
                Notification::Stored { sequences: vec![one.sequence], octets: one.content_size }
            }
            other => other,
        }
    }

    /// Whether `next` can take the place of this one; it then says what this one would have said as well.
    pub(crate) fn is_superseded(&self, next: &mut Notification) -> bool {
        match (self, next) {
            (_, next) if next.is_last() => false,
            (
                Notification::Stored { sequences, octets },
                Notification::Stored { sequences: newer, octets: more },
            ) => {
                let (count, together) = (sequences.len() + newer.len(), octets.saturating_add(*more));
                let fits = count <= NOTIFY_INSTANCES_MAX && together <= NOTIFY_BYTES_MAX;
                if fits {
                    newer.splice(..0, sequences.iter().copied());
                    *more = together;
                }
                fits
            }
            (state, _) => state.is_state(),
        }
    }
}

impl From<Body> for Notification {
    fn from(part: Body) -> Notification {
        match part {
            Body::Representation(whole) => Notification::Representation(whole),
            Body::Attribute { name, value } => Notification::Attribute { name, value },
            // Nothing stands there, or an entry that is its own value.
            _ => Notification::Bare,
        }
    }
}

/// What one notify to a subscriber says.
#[derive(Clone, PartialEq, Debug)]
pub struct Notify {
    /// Where it goes.
    pub contact: String,
    /// On whose behalf, where that matters: at a contact inside this SCL.
    pub creator: Option<String>,
    /// How the representation is written.
    pub media: NotifyMedia,
    /// How many notifies led to this one.
    pub hops: u32,
    /// STATUS_OK, or why the subscription ended.
    pub status: StatusCode,
    /// The subscribed-to resource, or an attribute of it; nothing with noRepresentation and in a last notify, which
    /// carries an errorInfo.
    pub body: Body,
    /// Notifies of a group's members: a notifyCollection of these, nothing else.
    pub collection: Vec<Struct>,
    /// Of a last notify: errorInfo/additionalInfo.
    pub info: String,
    /// Of a last notify: what stands in place of an errorInfo.
    pub timeout_reason: Option<String>,
    /// The last entry it covers: what to acknowledge once it is delivered.
    pub up_to: u64,
}

/// The notify for the head of a queue, whose entries are given in order. Consecutive new instances become one
/// contentInstances, consecutive notifies of a group's members one notifyCollection, within `NOTIFY_INSTANCES_MAX` and `NOTIFY_BYTES_MAX`, whose counters describe what it carries.
/// `None`: nothing waits, or it is no notify.
pub fn next_notify(scl: &Scl, entries: &[OutboxEntry]) -> Option<Notify> {
    let head = entries.first()?;
    let Message::Notify { contact, creator, media, hops, notification } = &head.message else { return None };
    let mut notify = Notify {
        contact: contact.clone(),
        creator: creator.clone(),
        media: *media,
        hops: *hops,
        status: StatusCode::Ok,
        body: Body::None,
        collection: Vec::new(),
        info: String::new(),
        timeout_reason: None,
        up_to: head.sequence,
    };
    match notification {
        Notification::Representation(whole) => notify.body = Body::Representation(whole.clone()),
        Notification::Attribute { name, value } => {
            notify.body = Body::Attribute { name: name.clone(), value: value.clone() };
        }
        // What was not read by now is gone: only that there was something.
        Notification::Bare
        | Notification::Collection
        | Notification::Stored { .. }
        | Notification::Present { .. } => {}
        Notification::Final(status) => {
            notify.status = *status;
            notify.info = why_ended(*status).to_owned();
        }
        Notification::Member { .. } => {
            let mut bytes = 0_u64;
            for entry in entries.iter().take(NOTIFY_INSTANCES_MAX) {
                let Some(member) = member_to(entry, contact) else { break };
                bytes = bytes.saturating_add(octets(member));
                if bytes > NOTIFY_BYTES_MAX && !notify.collection.is_empty() {
                    break;
                }
                notify.up_to = entry.sequence;
                notify.collection.push(member.clone());
            }
        }
        Notification::TimedOut(reason) => {
            notify.status = StatusCode::Expired;
            notify.timeout_reason = Some(reason.clone());
        }
        Notification::Instance(first) | Notification::MetaData(first) => {
            // `<container>/contentInstances/subscriptions/<id>`
            let container = head.queue.parent()?.parent()?.parent()?;
            let with_content = matches!(notification, Notification::Instance(_));
            let (mut together, mut bytes) = (vec![first], first.content_size);
            for entry in entries.iter().take(NOTIFY_INSTANCES_MAX).skip(1) {
                let Some((instance, hops)) = instance_to(entry, contact, with_content) else { break };
                bytes = bytes.saturating_add(instance.content_size);
                if bytes > NOTIFY_BYTES_MAX {
                    break;
                }
                notify.up_to = entry.sequence;
                notify.hops = notify.hops.max(hops);
                together.push(instance);
            }
            notify.body = Body::Representation(of_instances(scl, &container, &together, with_content));
        }
    }
    Some(notify)
}

/// Until when a notification may wait: the earlier one of the subscription's delayTolerance and that of the instance.
/// `None`: nobody said that it may.
pub(crate) fn due(notification: &Notification, tolerance: Option<Timestamp>) -> Option<Timestamp> {
    let of_instance = match notification {
        Notification::Instance(instance) | Notification::MetaData(instance) => instance.delay_tolerance,
        _ => None,
    };
    of_instance.into_iter().chain(tolerance).min()
}

/// Until when all that waits may be held back: as long as the entry that may wait least. `None`: not at all, because
/// one may not wait, or because there is enough for a notify. `tolerance` is the subscription's delayTolerance.
pub fn held_until(entries: &[OutboxEntry], tolerance: Option<Timestamp>) -> Option<Timestamp> {
    let (mut until, mut octets) = (None, 0_u64);
    for entry in entries {
        let Message::Notify { notification, .. } = &entry.message else { return None };
        match notification {
            last if last.is_last() => return None,
            Notification::Instance(instance) => octets = octets.saturating_add(instance.content_size),
            _ => {}
        }
        let due = due(notification, tolerance)?;
        until = Some(until.map_or(due, |until: Timestamp| until.min(due)));
    }
    let is_full = entries.len() >= HELD_MAX || octets >= NOTIFY_BYTES_MAX;
    until.filter(|_| !is_full)
}

/// Whether there is nothing to deliver: what the entry refers to is gone (`query::told`).
pub fn is_void(entry: &OutboxEntry) -> bool {
    matches!(&entry.message,
        Message::Notify { notification: Notification::Stored { sequences, .. }, .. } if sequences.is_empty())
}

/// contentInstances with these instances. When the collection was created does not stand in the queue and is left out.
fn of_instances(scl: &Scl, container: &Path, together: &[&Instance], with_content: bool) -> Representation {
    let newest = together.last().map(|instance| instance.last_modified_time).unwrap_or_default();
    let state = InstancesState { last_modified_time: newest, ..InstancesState::default() };
    let mut shown = represent::instances(scl, container, &state, together.iter().copied(), with_content);
    shown.remove("creationTime");
    shown
}

/// The id under which the notify that ends with this entry is carried to a receiver inside the SCL: the same however
/// often it is sent and whoever leads then, so that it is taken once. `head`: the first entry that waits; nobody asks for
/// the answers before it any more.
pub fn delivery_id(queue: &Path, head: u64, up_to: u64) -> RequestId {
    let mut session = Xxh3::new();
    session.update(b"notify");
    session.update(queue.to_string().as_bytes());
    RequestId { session: session.digest().max(1), sequence: up_to, acked_below: head }
}

/// The instance that can go together with others, and what led to it.
fn instance_to<'a>(entry: &'a OutboxEntry, to: &str, with_content: bool) -> Option<(&'a Instance, u32)> {
    let Message::Notify { contact, notification, hops, .. } = &entry.message else { return None };
    match notification {
        _ if contact != to => None,
        Notification::Instance(instance) if with_content => Some((instance, *hops)),
        Notification::MetaData(instance) if !with_content => Some((instance, *hops)),
        _ => None,
    }
}

/// notifyCollection with these notifies.
pub fn notify_collection(notifies: Vec<Struct>) -> Struct {
    let fields = notifies.into_iter().map(|notify| ("notify", Value::Struct(notify))).collect();
    Struct { name: "NotifyCollection", fields }
}

fn member_to<'a>(entry: &'a OutboxEntry, to: &str) -> Option<&'a Struct> {
    match &entry.message {
        Message::Notify { contact, notification: Notification::Member { notify, .. }, .. }
            if contact == to =>
        {
            Some(notify)
        }
        _ => None,
    }
}

fn why_ended(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Deleted => "the subscribed-to resource was deleted",
        StatusCode::Expired => "the subscription expired",
        StatusCode::PermissionDenied => "the subscriber may no longer read the subscribed-to resource",
        StatusCode::NotFound => "attributeAccessor names nothing",
        StatusCode::ServiceUnavailable => "too many notifies were waiting",
        _ => "the subscription ended",
    }
}
