//! The outbox: everything a subtree has promised to the outside and not yet delivered.
//!
//! `apply` adds an entry in the same write set as the change that caused it, so a notification exists exactly when its
//! cause is committed. Sequence numbers are dense within a queue and never reused, not even by a queue of the same path
//! that is started anew. Only `Acknowledge` removes entries, and the end of a subscription that nobody is to be told of.

use crate::{
    Path, RequestId, Scl, StatusCode, Timestamp,
    channel::octets,
    primitive::NotifyMedia,
    record::{Instance, InstancesState},
    represent,
    value::{Representation, Struct, Value},
};
use xxhash_rust::xxh3::Xxh3;

/// How many changes a queue holds. Above it the subscription ends: one last entry says so.
pub const ENTRIES_MAX: u64 = 10_000;
/// How many instances one notify carries.
pub const NOTIFY_INSTANCES_MAX: usize = 100;
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
}

/// The content of a notify.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Notification {
    /// The subscribed-to resource as it was after the change.
    Representation(Representation),
    /// A contentInstances collection: the new instance; the courier may put several into one notify.
    Instance(Instance),
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
    /// STATUS_OK, or why the subscription ended.
    pub status: StatusCode,
    /// The subscribed-to resource; `None` with noRepresentation and in a last notify, which carries an errorInfo.
    pub representation: Option<Representation>,
    /// Notifies of a group's members: a notifyCollection of these, nothing else.
    pub collection: Vec<Struct>,
    /// Of a last notify: errorInfo/additionalInfo.
    pub info: String,
    /// The last entry it covers: what to acknowledge once it is delivered.
    pub up_to: u64,
}

/// The notify for the head of a queue, whose entries are given in order. Consecutive new instances become one
/// contentInstances, consecutive notifies of a group's members one notifyCollection, within `NOTIFY_INSTANCES_MAX` and `NOTIFY_BYTES_MAX`, whose counters describe what it carries.
/// `None`: nothing waits, or it is no notify.
pub fn next_notify(scl: &Scl, entries: &[OutboxEntry]) -> Option<Notify> {
    let head = entries.first()?;
    let Message::Notify { contact, creator, media, notification } = &head.message else { return None };
    let mut notify = Notify {
        contact: contact.clone(),
        creator: creator.clone(),
        media: *media,
        status: StatusCode::Ok,
        representation: None,
        collection: Vec::new(),
        info: String::new(),
        up_to: head.sequence,
    };
    match notification {
        Notification::Representation(whole) => notify.representation = Some(whole.clone()),
        // A collection that was not listed: only that it changed.
        Notification::Bare | Notification::Collection => {}
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
        Notification::Instance(_) => {
            // `<container>/contentInstances/subscriptions/<id>`
            let container = head.queue.parent()?.parent()?.parent()?;
            let (mut together, mut bytes) = (Vec::new(), 0_u64);
            for entry in entries.iter().take(NOTIFY_INSTANCES_MAX) {
                let Some(instance) = instance_to(entry, contact) else { break };
                bytes = bytes.saturating_add(instance.content_size);
                if bytes > NOTIFY_BYTES_MAX && !together.is_empty() {
                    break;
                }
                notify.up_to = entry.sequence;
                together.push(instance);
            }
            notify.representation = Some(of_instances(scl, &container, &together));
        }
    }
    Some(notify)
}

/// contentInstances with these instances. When the collection was created does not stand in the queue and is left out.
fn of_instances(scl: &Scl, container: &Path, together: &[&Instance]) -> Representation {
    let newest = together.last().map(|instance| instance.last_modified_time).unwrap_or_default();
    let state = InstancesState { last_modified_time: newest, ..InstancesState::default() };
    let mut shown = represent::instances(scl, container, &state, together.iter().copied(), true);
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

fn instance_to<'a>(entry: &'a OutboxEntry, to: &str) -> Option<&'a Instance> {
    match &entry.message {
        Message::Notify { contact, notification: Notification::Instance(instance), .. } if contact == to => {
            Some(instance)
        }
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
