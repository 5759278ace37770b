//! One try to deliver the head of one queue.

use super::{
    announcement,
    counters::Fate,
    courier::Room,
    source::{Source, SourceError},
};
use banyan_codec::{Carried, Format, encode_body, error_info, notify_body};
use banyan_model::{
    Body, Entity, Method, Operation, Path, RequestPrimitive, ResponsePrimitive, StatusCode,
    outbox::{self, Message, OutboxEntry, next_notify},
    primitive::NotifyMedia,
};
use banyan_proto::{
    convert,
    v1::{DeliveryJob, DeliveryResult, Field, delivery_job},
};
use std::time::{Duration, Instant};

/// Entries looked at at once; those that can go together become one notify.
const ENTRIES_MAX: usize = outbox::HELD_MAX;
/// What an edge may take beyond the contact's time.
const EDGE_SLACK: Duration = Duration::from_secs(5);
/// Nothing is given up before it was tried this often by the present leader.
pub(super) const TRIES_MIN: u32 = 3;

/// What to do with the queue next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It holds nothing.
    Rest,
    /// Its head is gone; look again after a pause.
    Again(Duration),
    /// What waits may wait for so long.
    Held(Duration),
    /// Its head is still there; try again later, not before `retry_after`.
    Failed { retry_after: Option<Duration> },
    /// This node may not serve now.
    Lost,
}

/// What the contact had to say.
enum Verdict {
    Taken,
    Refused(String),
    /// Not even asked, and never will be.
    Hopeless(&'static str),
    Retry {
        retry_after: Option<Duration>,
        why: String,
    },
}

/// Delivers the head of `queue` if there is one. `failures` tries before this one failed.
pub(super) async fn attempt<S: Source>(source: &S, room: &Room, queue: &Path, failures: u32) -> Next {
    match deliver(source, room, queue, failures).await {
        Ok(next) => next,
        Err(SourceError::NotServing) => Next::Lost,
        Err(error @ SourceError::Failed(_)) => {
            let shard = source.shard().0;
            tracing::debug!(shard, %queue, error = &error as &dyn std::error::Error, "delivery held up");
            Next::Failed { retry_after: None }
        }
    }
}

async fn deliver<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    failures: u32,
) -> Result<Next, SourceError> {
    let entries = source.entries(queue, ENTRIES_MAX)?;
    match entries.first().map(|head| &head.message) {
        None => Ok(Next::Rest),
        Some(Message::CollectionChanged { .. }) => pass_on(source, room, queue, &entries).await,
        Some(Message::Announce) => match entries.first() {
            Some(entry) => announcement::announce(source, room, queue, entry, failures).await,
            None => Ok(Next::Rest),
        },
        Some(Message::Notify { .. }) => notify(source, room, queue, &entries, failures).await,
    }
}

/// Tells sclBase's subtree that children came or went; each is applied once however often it is told.
async fn pass_on<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    entries: &[OutboxEntry],
) -> Result<Next, SourceError> {
    let mut up_to = 0;
    for entry in entries {
        let Message::CollectionChanged { collection } = &entry.message else { break };
        let (shard, sequence, at) = (source.shard(), entry.sequence, entry.at);
        let told = source.operate_at_base(Operation::CollectionChanged { collection, shard, sequence, at });
        match told.await {
            Ok(()) => up_to = sequence,
            // What was told before must not be told again.
            Err(error) if up_to > 0 => {
                tracing::debug!(shard = shard.0, error = &error as &dyn std::error::Error, "message held up");
                break;
            }
            Err(error) => return Err(error),
        }
        room.counters.count(Fate::PassedOn);
    }
    source.operate(Operation::Acknowledge { queue: queue.clone(), up_to }).await?;
    Ok(Next::Again(Duration::ZERO))
}

async fn notify<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    entries: &[OutboxEntry],
    failures: u32,
) -> Result<Next, SourceError> {
    let Some(head) = entries.first() else { return Ok(Next::Rest) };
    let patience = source.patience(queue)?;
    let held_until = outbox::held_until(entries, patience.tolerance);
    let held = held_until.map(|until| source.until(until)).unwrap_or_default();
    if !held.is_zero() {
        return Ok(Next::Held(held));
    }
    if outbox::is_void(head) {
        source.operate(Operation::Acknowledge { queue: queue.clone(), up_to: head.sequence }).await?;
        return Ok(Next::Again(Duration::ZERO));
    }
    let Some(notify) = next_notify(source.scl(), entries) else {
        return Err(SourceError::Failed("no notify can be made of the outbox".to_owned()));
    };
    let is_last = matches!(&head.message, Message::Notify { notification, .. } if notification.is_last());
    let up_to = notify.up_to;
    // The subscription of a last notify is gone; what is left is to forget the notify itself.
    let end = |final_status| match is_last {
        true => Operation::Acknowledge { queue: queue.clone(), up_to },
        false => Operation::EndSubscription { path: queue.clone(), final_status },
    };
    if !is_last && !source.may_notify(queue).await? {
        room.counters.count(Fate::Refused);
        source.operate(end(Some(StatusCode::PermissionDenied))).await?;
        return Ok(Next::Again(Duration::ZERO));
    }
    let shard = source.shard().0;
    match ask_contact(source, room, source.scl().address(queue), notify).await {
        Verdict::Taken => {
            room.counters.count(Fate::Confirmed);
            source.operate(Operation::Acknowledge { queue: queue.clone(), up_to }).await?;
            Ok(Next::Again(if is_last { Duration::ZERO } else { patience.least }))
        }
        Verdict::Refused(status) => {
            tracing::info!(shard, subscription = %queue, status, "contact refuses: the subscription ends");
            room.counters.count(Fate::Refused);
            source.operate(end(None)).await?;
            Ok(Next::Again(Duration::ZERO))
        }
        Verdict::Hopeless(why) => {
            tracing::warn!(shard, subscription = %queue, why, "notification given up: the subscription ends");
            room.counters.count(Fate::GivenUp);
            source.operate(end(None)).await?;
            Ok(Next::Again(Duration::ZERO))
        }
        Verdict::Retry { why, .. }
            if source.since(held_until.map_or(head.at, |until| until.max(head.at)))
                >= room.config.give_up_after
                && failures + 1 >= TRIES_MIN =>
        {
            tracing::warn!(shard, subscription = %queue, why, "notification given up: the subscription ends");
            room.counters.count(Fate::GivenUp);
            source.operate(end(None)).await?;
            Ok(Next::Again(Duration::ZERO))
        }
        Verdict::Retry { retry_after, why } => {
            tracing::debug!(shard, subscription = %queue, why, failures, "notification not delivered yet");
            room.counters.count(Fate::Failed);
            Ok(Next::Failed { retry_after })
        }
    }
}

async fn ask_contact<S: Source>(
    source: &S,
    room: &Room,
    subscription: String,
    notify: outbox::Notify,
) -> Verdict {
    if notify.contact.starts_with('/') || source.scl().local_path(&notify.contact).is_some() {
        return ask_inside(source, room, &subscription, notify).await;
    }
    let what = match (notify.body, notify.info.is_empty()) {
        (Body::Representation(representation), _) => {
            delivery_job::What::Representation((&representation).into())
        }
        (Body::Attribute { name, value }, _) => {
            delivery_job::What::Attribute(Field { name, value: Some((&value).into()) })
        }
        (_, false) => delivery_job::What::ErrorInfo(notify.info),
        (_, true) => match notify.timeout_reason {
            Some(reason) => delivery_job::What::TimeoutReason(reason),
            None => delivery_job::What::Bare(true),
        },
    };
    let timeout = room.config.timeout;
    let job = DeliveryJob {
        // Numbered when an edge takes it.
        job: 0,
        contact: notify.contact,
        media: convert::media_to_wire(notify.media),
        subscription,
        status: convert::number(notify.status),
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        what: Some(what),
    };
    match room.edges.deliver(&job, timeout + EDGE_SLACK).await {
        Some(result) => judge(result),
        None => Verdict::Retry { retry_after: None, why: "no edge answered".to_owned() },
    }
}

/// A contact inside this SCL is sent what one outside is sent, as a request of the subscription's creator: the SCL itself
/// may write everywhere, and so could whoever can subscribe.
async fn ask_inside<S: Source>(
    source: &S,
    room: &Room,
    subscription: &str,
    notify: outbox::Notify,
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
    let body = Body::Message(notify_body(format, notify.status, carried, subscription));
    let request = RequestPrimitive {
        body,
        hops: notify.hops.saturating_add(1),
        ..RequestPrimitive::new(Method::Notify, Path::scl_base(), Entity(creator))
    };
    let deadline = Instant::now() + room.config.timeout;
    judge_answer(source.call(&notify.contact, request, deadline).await)
}

fn judge_answer(answer: ResponsePrimitive) -> Verdict {
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

fn judge(result: DeliveryResult) -> Verdict {
    match result.http_status {
        200..=299 => Verdict::Taken,
        // The contact is gone or wants nothing of us (D-17). Any other 4xx may be a fault that somebody mends.
        refused @ (401 | 403 | 404 | 410) => Verdict::Refused(refused.to_string()),
        _ => retry(&result),
    }
}

fn retry(result: &DeliveryResult) -> Verdict {
    let why = match result.http_status {
        0 => result.transport_error.clone(),
        status => format!("HTTP status {status}"),
    };
    let retry_after = result.retry_after_ms.map(|ms| Duration::from_millis(ms.into()));
    Verdict::Retry { retry_after, why }
}
