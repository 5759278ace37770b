//! Contacts inside this SCL: a container, a channel, an application that is reached through it.
//!
//! Such a contact is sent what one outside is sent, as a request of the subscription's creator: the SCL itself may write
//! everywhere, and so could whoever can subscribe. The request has an id that is made of the queue and the entry
//! (`outbox::delivery_id`). Whoever leads either shard when it is sent again, after a lost answer or from another node,
//! the receiver's reply table knows it. The table forgets after a quarter of an hour without a notify of the same
//! subscription; what is sent again later is a second one.

use super::{attempt::Verdict, courier::Room, source::Source};
use banyan_codec::{Carried, Format, encode_body, error_info, notify_body};
use banyan_model::{
    Body, Entity, Method, Path, RequestId, RequestPrimitive, ResourceType, ResponsePrimitive, StatusCode,
    outbox::{self, Message, Notification, OutboxEntry, delivery_id, next_notify},
    primitive::NotifyMedia,
};
use std::time::{Duration, Instant};

/// Sends a notify, which stands for the first of these entries up to `notify.up_to`.
///
/// A container gets the entries one by one, each under its own id: which of them go together depends on when the courier
/// looks, and is another choice when it looks again.
pub(super) async fn notify<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    entries: &[OutboxEntry],
    notify: outbox::Notify,
) -> Verdict {
    let deadline = Instant::now() + room.config.timeout;
    let head = entries.first().map_or(notify.up_to, |head| head.sequence);
    let stores = source
        .scl()
        .local_path(&notify.contact)
        .is_some_and(|path| path.name() == Some(ResourceType::ContentInstances.name()));
    if !stores {
        let id = delivery_id(queue, head, notify.up_to);
        return send(source, queue, id, notify, deadline).await;
    }
    for entry in entries.iter().take_while(|entry| entry.sequence <= notify.up_to) {
        let one = match &entry.message {
            Message::Notify {
                notification:
                    Notification::Instance(_) | Notification::MetaData(_) | Notification::Member { .. },
                ..
            } => next_notify(source.scl(), std::slice::from_ref(entry)),
            _ => None,
        };
        let Some(one) = one else {
            let id = delivery_id(queue, head, notify.up_to);
            return send(source, queue, id, notify, deadline).await;
        };
        let id = delivery_id(queue, head, entry.sequence);
        match send(source, queue, id, one, deadline).await {
            Verdict::Taken => {}
            not_taken => return not_taken,
        }
    }
    Verdict::Taken
}

async fn send<S: Source>(
    source: &S,
    queue: &Path,
    id: RequestId,
    notify: outbox::Notify,
    deadline: Instant,
) -> Verdict {
    let Some(creator) = notify.creator else { return Verdict::Hopeless("nobody knows who subscribed") };
    let format = match notify.media {
        NotifyMedia::Xml => Format::Xml,
        NotifyMedia::Json => Format::Json,
    };
    let carried = match (notify.timeout_reason, notify.info.is_empty()) {
        (Some(reason), _) => Carried::TimeoutReason(reason),
        (None, true) => encode_body(format, &notify.body).map_or(Carried::Nothing, Carried::Document),
        (None, false) => Carried::Document(error_info(format, notify.status, &notify.info)),
    };
    let subscription = source.scl().address(queue);
    let body = Body::Message(match notify.collection.is_empty() {
        true => notify_body(format, notify.status, carried, &subscription),
        false => outbox::notify_collection(notify.collection),
    });
    let request = RequestPrimitive {
        body,
        hops: notify.hops.saturating_add(1),
        ..RequestPrimitive::new(Method::Notify, Path::scl_base(), Entity(creator))
    };
    let answer = source.call_as(&notify.contact, id, request, deadline).await;
    if answer.status == StatusCode::Ok && !answer.info.is_empty() {
        // Instances that could not keep their ids.
        tracing::info!(subscription, contact = notify.contact, info = answer.info, "notify stored");
    }
    judge(answer)
}

pub(super) fn judge(answer: ResponsePrimitive) -> Verdict {
    match answer.status {
        StatusCode::Ok | StatusCode::Created | StatusCode::Accepted => Verdict::Taken,
        StatusCode::NotFound
        | StatusCode::Forbidden
        | StatusCode::PermissionDenied
        | StatusCode::Deleted
        | StatusCode::Expired => Verdict::Refused(format!("{:?}", answer.status)),
        status => Verdict::Retry {
            retry_after: answer.retry_after_ms.map(|ms| Duration::from_millis(ms.into())),
            why: format!("{status:?}: {}", answer.info),
        },
    }
}
