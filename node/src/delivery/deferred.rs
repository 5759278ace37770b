//! Requests that were accepted to be answered later: carried out, answered, and the answer sent (procedures.md 17).
//!
//! | what came of carrying it out | what happens |
//! | --- | --- |
//! | an answer, a refusal too | it takes the place of the request, in the log |
//! | nobody could say | tried again under the same id, ever more seldom, while the reply table remembers it |
//! | nobody could say until then | REQUEST_TIMEOUT takes its place: it may or may not have been done |
//!
//! The answer is sent to its contact as a notify is: see [`super`]. A contact that refuses it for good, or never takes it,
//! loses it; it is kept for a repetition in any case.

use super::{
    attempt::{Next, TRIES_MIN, Verdict, judge},
    counters::Fate,
    courier::Room,
    forward::{Stored, forward},
    inside,
    source::{Source, SourceError},
};
use banyan_binding::http::response_notify;
use banyan_codec::{Format, response_notify_body};
use banyan_model::{
    Body, Entity, Method, Operation, Path, Refusal, RequestPrimitive, ResponsePrimitive, StatusCode,
    deferred::{self, Deferred, WINDOW_MS},
    outbox::OutboxEntry,
    primitive::NotifyMedia,
};
use banyan_proto::{
    convert,
    v1::{DeliveryJob, delivery_job},
};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What an edge may take beyond the contact's time.
const EDGE_SLACK: Duration = Duration::from_secs(5);
/// An answer must fit into one message to an edge, which takes 4 MiB.
const ANSWER_OCTETS_MAX: u64 = 3 << 20;

/// Carries the request at `place` out.
pub(super) async fn carry_out<S: Source>(
    source: &S,
    room: &Room,
    place: &Path,
    entry: &OutboxEntry,
    request: &Bytes,
    failures: u32,
) -> Result<Next, SourceError> {
    let (shard, sequence) = (source.shard(), entry.sequence);
    let Some((deferred, octets_left)) = source.deferred(place)? else {
        tracing::warn!(shard = shard.0, %place, "a request without its record is dropped");
        source.operate(Operation::Acknowledge { queue: place.clone(), up_to: sequence }).await?;
        return Ok(Next::Again(Duration::ZERO));
    };
    let octets_max = octets_left.saturating_add(deferred.octets);
    if let Some(forwarding) = &deferred.forwarding {
        let stored = Stored { place, entry, request, deferred: &deferred, forwarding, octets_max };
        return forward(source, room, stored, failures).await;
    }
    let answer = match outcome(source, room, &deferred, entry, request).await {
        Ok(answer) => answer,
        Err(why) => {
            tracing::debug!(shard = shard.0, %place, ?why, "a request could not be carried out yet");
            room.counters.count(Fate::Failed);
            return Ok(Next::Failed { retry_after: None });
        }
    };
    keep(source, room, place, sequence, answer, octets_max).await
}

/// The answer takes the place of the request.
pub(super) async fn keep<S: Source>(
    source: &S,
    room: &Room,
    place: &Path,
    sequence: u64,
    answer: ResponsePrimitive,
    octets_max: u64,
) -> Result<Next, SourceError> {
    let answer = fitting(answer, octets_max.min(ANSWER_OCTETS_MAX));
    source.operate(Operation::Answered { place: place.clone(), sequence, answer }).await?;
    room.counters.count(Fate::CarriedOut);
    Ok(Next::Again(Duration::ZERO))
}

/// The answer; `Err`: nobody could say, and there is time to ask again.
async fn outcome<S: Source>(
    source: &S,
    room: &Room,
    deferred: &Deferred,
    entry: &OutboxEntry,
    request: &Bytes,
) -> Result<ResponsePrimitive, ResponsePrimitive> {
    if source.since(entry.at) >= Duration::from_millis(WINDOW_MS.unsigned_abs()) {
        let info = "the request was not answered in time; it may or may not have been carried out";
        return Ok(Refusal::new(StatusCode::RequestTimeout, info).into());
    }
    match convert::request_from_bytes(request.clone()) {
        Ok(request) => {
            let id = deferred::request_id(source.shard(), deferred);
            source.carry_out(id, request, Instant::now() + room.config.timeout).await
        }
        // What this cluster accepted it can read; a release that cannot must not try for ever.
        Err(error) => Ok(Refusal::new(StatusCode::InternalServerError, error.to_string()).into()),
    }
}

/// The answer as it is kept. Of one that is too large only what was done is kept; of a RETRIEVE that is a refusal.
fn fitting(mut answer: ResponsePrimitive, octets_max: u64) -> Bytes {
    let whole = convert::response_to_bytes(&answer);
    if whole.len() as u64 <= octets_max || answer.body == Body::None {
        return whole;
    }
    answer.body = Body::None;
    if answer.status == StatusCode::Ok && answer.resource_uri.is_none() {
        let info = format!("the answer has {} octets, {octets_max} may be kept", whole.len());
        answer = Refusal::new(StatusCode::ServiceUnavailable, info).into();
    }
    convert::response_to_bytes(&answer)
}

/// Sends the answer in the queue `queue` to its contact.
pub(super) async fn send<S: Source>(
    source: &S,
    room: &Room,
    queue: &Path,
    entry: &OutboxEntry,
    failures: u32,
) -> Result<Next, SourceError> {
    let place = deferred::answered(queue);
    let deferred = match &place {
        Some(place) => source.deferred(place)?.map(|(deferred, _)| deferred),
        None => None,
    };
    let verdict = match (place, deferred) {
        (Some(place), Some(deferred)) => ask_contact(source, room, &place, deferred).await,
        _ => Verdict::Hopeless("there is no answer"),
    };
    let shard = source.shard().0;
    let fate = match verdict {
        Verdict::Taken => Fate::Confirmed,
        Verdict::Refused(status) => {
            tracing::info!(shard, %queue, status, "contact refuses an answer: it is not sent again");
            Fate::Refused
        }
        Verdict::Hopeless(why) => {
            tracing::warn!(shard, %queue, why, "an answer is not sent");
            Fate::GivenUp
        }
        Verdict::Retry { why, .. }
            if source.since(entry.at) >= room.config.give_up_after && failures + 1 >= TRIES_MIN =>
        {
            tracing::warn!(shard, %queue, why, "an answer is given up");
            Fate::GivenUp
        }
        Verdict::Retry { retry_after, why } => {
            tracing::debug!(shard, %queue, why, failures, "an answer is not taken yet");
            room.counters.count(Fate::Failed);
            return Ok(Next::Failed { retry_after });
        }
    };
    room.counters.count(fate);
    source.operate(Operation::Acknowledge { queue: queue.clone(), up_to: entry.sequence }).await?;
    Ok(Next::Again(Duration::ZERO))
}

async fn ask_contact<S: Source>(source: &S, room: &Room, place: &Path, deferred: Deferred) -> Verdict {
    let Deferred { entity, contact: Some(contact), media, answer: Some(answer), .. } = deferred else {
        return Verdict::Hopeless("there is no contact or no answer");
    };
    let is_local = contact.starts_with('/') || source.scl().local_path(&contact).is_some();
    if is_local {
        return ask_inside(source, room, &contact, Entity(entity), media, answer).await;
    }
    let timeout = room.config.timeout;
    let job = DeliveryJob {
        contact,
        media: convert::media_to_wire(media),
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        correlation: deferred::correlation_id(place).to_owned(),
        what: Some(delivery_job::What::Answer(answer)),
        ..DeliveryJob::default()
    };
    match room.edges.deliver(&job, timeout + EDGE_SLACK).await {
        Some(result) => judge(result),
        None => Verdict::Retry { retry_after: None, why: "no edge answered".to_owned() },
    }
}

/// As a request of who asked: the SCL itself may write everywhere, and so could whoever can ask.
async fn ask_inside<S: Source>(
    source: &S,
    room: &Room,
    contact: &str,
    entity: Entity,
    media: NotifyMedia,
    answer: Bytes,
) -> Verdict {
    let answer = match convert::response_from_bytes(answer) {
        Ok(answer) => answer,
        Err(_) => return Verdict::Hopeless("the answer cannot be read"),
    };
    let format = match media {
        NotifyMedia::Xml => Format::Xml,
        NotifyMedia::Json => Format::Json,
    };
    let body = Body::Message(response_notify_body(response_notify(format, "", &answer)));
    let request =
        RequestPrimitive { body, ..RequestPrimitive::new(Method::Notify, Path::scl_base(), entity) };
    let answer = source.call(contact, request, Instant::now() + room.config.timeout).await;
    match answer.status {
        // No place for answers, and it will not become one.
        StatusCode::BadRequest | StatusCode::MethodNotAllowed => Verdict::Refused(answer.info),
        _ => inside::judge(answer),
    }
}
