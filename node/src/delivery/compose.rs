//! Stand-in until the model's own is merged: one entry makes one notify.

use banyan_model::{
    Representation, Scl, StatusCode,
    outbox::{Message, Notification, OutboxEntry},
    primitive::NotifyMedia,
};

pub(super) struct Notify {
    pub(super) contact: String,
    pub(super) media: NotifyMedia,
    pub(super) status: StatusCode,
    pub(super) representation: Option<Representation>,
    pub(super) info: String,
    pub(super) up_to: u64,
}

pub(super) fn next_notify(_scl: &Scl, entries: &[OutboxEntry]) -> Option<Notify> {
    let head = entries.first()?;
    let Message::Notify { contact, media, notification } = &head.message else { return None };
    let (status, representation) = match notification {
        Notification::Representation(representation) => (StatusCode::Ok, Some(representation.clone())),
        Notification::Instance(_) => return None,
        Notification::Bare => (StatusCode::Ok, None),
        Notification::Final(status) => (*status, None),
    };
    let up_to = head.sequence;
    Some(Notify {
        contact: contact.clone(),
        media: *media,
        status,
        representation,
        info: String::new(),
        up_to,
    })
}
