//! The outbox: everything a subtree has promised to the outside and not yet delivered.
//!
//! `apply` adds an entry in the same write set as the change that caused it, so a notification exists exactly when its
//! cause is committed. Sequence numbers are dense for each queue and never reused; only `Acknowledge` removes entries.

use crate::{Path, StatusCode, Timestamp, primitive::NotifyMedia, record::Instance, value::Representation};

/// One undelivered promise.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboxEntry {
    /// The subscription's path, or the collection's for `CollectionChanged`.
    pub queue: Path,
    /// Dense, from 1.
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
}

/// The content of a notify.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Notification {
    /// The subscribed-to resource as it was after the change.
    Representation(Representation),
    /// A contentInstances collection: the new instance; the courier may put several into one notify.
    Instance(Instance),
    /// noRepresentation: only that something changed.
    Bare,
    /// The last notify of a subscription.
    Final(StatusCode),
}
