//! What a subtree owes the outside.

use super::{Malformed, names, number, required, status};
use crate::v1;
use banyan_model::{
    Timestamp,
    outbox::{Message, Notification, OutboxEntry},
    primitive::NotifyMedia,
};

impl From<&OutboxEntry> for v1::OutboxEntry {
    fn from(entry: &OutboxEntry) -> v1::OutboxEntry {
        let message = match &entry.message {
            Message::Notify { contact, creator, media, hops, notification } => {
                v1::outbox_entry::Message::Notify(v1::Notify {
                    contact: contact.clone(),
                    media: media_to_wire(*media),
                    notification: Some(notification.into()),
                    creator: creator.clone(),
                    hops: *hops,
                })
            }
            Message::CollectionChanged { collection } => {
                v1::outbox_entry::Message::CollectionChanged((*collection).to_owned())
            }
            Message::Announce => v1::outbox_entry::Message::Announce(true),
            Message::CarryOut { request } => v1::outbox_entry::Message::CarryOut(request.clone()),
            Message::Answer => v1::outbox_entry::Message::Answer(true),
        };
        v1::OutboxEntry {
            queue: Some((&entry.queue).into()),
            sequence: entry.sequence,
            at_ms: entry.at.0,
            message: Some(message),
        }
    }
}

impl TryFrom<v1::OutboxEntry> for OutboxEntry {
    type Error = Malformed;

    fn try_from(entry: v1::OutboxEntry) -> Result<OutboxEntry, Malformed> {
        let message = match required("outbox message", entry.message)? {
            v1::outbox_entry::Message::Notify(notify) => Message::Notify {
                contact: notify.contact,
                creator: notify.creator,
                hops: notify.hops,
                media: media(notify.media)?,
                notification: required("notification", notify.notification)?.try_into()?,
            },
            v1::outbox_entry::Message::CollectionChanged(collection) => {
                Message::CollectionChanged { collection: names::root_collection(&collection)? }
            }
            v1::outbox_entry::Message::Announce(_) => Message::Announce,
            v1::outbox_entry::Message::CarryOut(request) => Message::CarryOut { request },
            v1::outbox_entry::Message::Answer(_) => Message::Answer,
        };
        Ok(OutboxEntry {
            queue: required("queue", entry.queue)?.into(),
            sequence: entry.sequence,
            at: Timestamp(entry.at_ms),
            message,
        })
    }
}

impl From<&Notification> for v1::Notification {
    fn from(notification: &Notification) -> v1::Notification {
        use v1::notification::Kind;
        let kind = match notification {
            Notification::Representation(representation) => Kind::Representation(representation.into()),
            Notification::Attribute { name, value } => {
                Kind::Attribute(v1::Field { name: name.clone(), value: Some(value.into()) })
            }
            Notification::Instance(instance) => Kind::Instance(instance.into()),
            Notification::MetaData(instance) => Kind::MetaData(instance.into()),
            Notification::Stored { sequences, octets } => {
                Kind::Stored(v1::StoredInstances { sequences: sequences.clone(), octets: *octets })
            }
            Notification::Present { up_to } => Kind::Present(*up_to),
            Notification::Member { notify, octets_before } => {
                Kind::Member(v1::MemberNotify { notify: Some(notify.into()), octets_before: *octets_before })
            }
            Notification::Bare => Kind::Bare(true),
            Notification::Collection => Kind::Collection(true),
            Notification::Final(status) => Kind::Final(number(*status)),
            Notification::TimedOut(reason) => Kind::TimedOut(reason.clone()),
        };
        v1::Notification { kind: Some(kind) }
    }
}

impl TryFrom<v1::Notification> for Notification {
    type Error = Malformed;

    fn try_from(notification: v1::Notification) -> Result<Notification, Malformed> {
        use v1::notification::Kind;
        Ok(match required("notification", notification.kind)? {
            Kind::Representation(representation) => Notification::Representation(representation.try_into()?),
            Kind::Attribute(field) => Notification::Attribute {
                name: field.name,
                value: required("attribute", field.value)?.try_into()?,
            },
            Kind::Instance(instance) => Notification::Instance(instance.try_into()?),
            Kind::MetaData(instance) => Notification::MetaData(instance.try_into()?),
            Kind::Stored(v1::StoredInstances { sequences, octets }) => {
                Notification::Stored { sequences, octets }
            }
            Kind::Present(up_to) => Notification::Present { up_to },
            Kind::Member(v1::MemberNotify { notify, octets_before }) => {
                Notification::Member { notify: required("notify", notify)?.try_into()?, octets_before }
            }
            Kind::Bare(_) => Notification::Bare,
            Kind::Collection(_) => Notification::Collection,
            Kind::Final(number) => Notification::Final(status(number)?),
            Kind::TimedOut(reason) => Notification::TimedOut(reason),
        })
    }
}

/// The number of a notify's media type.
pub fn media_to_wire(media: NotifyMedia) -> i32 {
    match media {
        NotifyMedia::Xml => v1::NotifyMedia::Xml.into(),
        NotifyMedia::Json => v1::NotifyMedia::Json.into(),
    }
}

/// The media type of a notify with this number.
///
/// # Errors
/// [`Malformed::Unknown`].
pub fn media(number: i32) -> Result<NotifyMedia, Malformed> {
    match v1::NotifyMedia::try_from(number) {
        Ok(v1::NotifyMedia::Xml) => Ok(NotifyMedia::Xml),
        Ok(v1::NotifyMedia::Json) => Ok(NotifyMedia::Json),
        Err(_) => Err(Malformed::unknown("notify media", number)),
    }
}
