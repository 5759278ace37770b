//! One try to deliver the head of one queue.

use super::{
    announcement,
    counters::Fate,
    courier::Room,
    deferred, inside,
    source::{Source, SourceError},
};
use banyan_model::{
    Body, Operation, Path, StatusCode,
    outbox::{self, Message, Notification, OutboxEntry, next_notify},
};
use banyan_proto::{
    convert,
    v1::{DeliveryJob, DeliveryResult, Field, delivery_job},
};
use std::time::Duration;

/// Entries looked at at once; those that can go together become one notify.
const ENTRIES_MAX: usize = outbox::HELD_MAX;
/// What an edge may take beyond the contact's time.
const EDGE_SLACK: Duration = Duration::from_secs(5);
/// How often an aggregation that still collects is looked at.
const COLLECTING_LOOK: Duration = Duration::from_millis(500);
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
    /// Its head is still there; try again after this.
    Tried(Duration),
    /// Its head is still there; try again later, not before `retry_after`.
    Failed { retry_after: Option<Duration> },
    /// This node may not serve now.
    Lost,
}

/// What the contact had to say.
pub(super) enum Verdict {
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
        Some(Message::CarryOut { request }) => match entries.first() {
            Some(entry) => deferred::carry_out(source, room, queue, entry, request, failures).await,
            None => Ok(Next::Rest),
        },
        Some(Message::Answer) => match entries.first() {
            Some(entry) => deferred::send(source, room, queue, entry, failures).await,
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
    if let Some(pause) = still_collecting(source, room, queue, entries)? {
        return Ok(Next::Again(pause));
    }
    let shard = source.shard().0;
    match ask_contact(source, room, queue, entries, notify).await {
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

/// How long to wait before the queue of an aggregation is looked at again; `None`: it is no such, or its time has come.
/// What makes a notifyCollection full waits no longer.
fn still_collecting<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    entries: &[OutboxEntry],
) -> Result<Option<Duration>, SourceError> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
    let is_member = |entry: &OutboxEntry| {
        matches!(&entry.message, Message::Notify { notification: Notification::Member { .. }, .. })
    };
    if !is_member(first) || !is_member(last) || entries.len() >= ENTRIES_MAX {
        return Ok(None);
    }
    let covered = next_notify(source.scl(), entries).map_or(0, |notify| notify.up_to);
    let left = source.collects(queue, first, room.config.aggregation_window)?;
    // While it waits nobody says that more has come.
    let is_full = covered < last.sequence;
    Ok((!is_full && !left.is_zero()).then(|| left.min(COLLECTING_LOOK)))
}

async fn ask_contact<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    entries: &[OutboxEntry],
    notify: outbox::Notify,
) -> Verdict {
    if notify.contact.starts_with('/') || source.scl().local_path(&notify.contact).is_some() {
        return inside::notify(source, room, queue, entries, notify).await;
    }
    let what = match (notify.body, notify.info.is_empty()) {
        _ if !notify.collection.is_empty() => {
            delivery_job::What::Collection((&outbox::notify_collection(notify.collection)).into())
        }
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
        contact: notify.contact,
        media: convert::media_to_wire(notify.media),
        subscription: source.scl().address(queue),
        status: convert::number(notify.status),
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        what: Some(what),
        ..DeliveryJob::default()
    };
    match room.edges.deliver(&job, timeout + EDGE_SLACK).await {
        Some(result) => judge(result),
        None => Verdict::Retry { retry_after: None, why: "no edge answered".to_owned() },
    }
}

pub(super) fn judge(result: DeliveryResult) -> Verdict {
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
