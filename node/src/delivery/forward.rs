//! Requests that are stored for another SCL (procedures.md 16): passed on when their turn has come and a network may be
//! used.
//!
//! | what came of it | what happens |
//! | --- | --- |
//! | another one of its lane goes first | it waits until that has its answer |
//! | no network may be used | looked at again when one may be, and now and then: policies change |
//! | an answer, a refusal too | it takes the place of the request, in the log |
//! | nobody was reached, or could say | tried again, ever more seldom, until the deadline |
//! | at the deadline | one attempt, whatever the policies say and whoever goes first; then GATEWAY_TIMEOUT |

use super::{
    attempt::Next,
    counters::Fate,
    courier::Room,
    deferred::keep,
    source::{Source, SourceError},
};
use crate::request::Forwarded;
use banyan_model::{
    Path, Refusal, ResponsePrimitive, StatusCode,
    deferred::{self, Deferred},
    outbox::OutboxEntry,
    saf::Forwarding,
};
use banyan_proto::convert;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// An SCL that cannot be reached, or whose networks may not be used, is looked at again after this at the latest.
const LOOK: Duration = Duration::from_secs(5);

/// A request at the head of its queue, and what is known of it.
pub(super) struct Stored<'a> {
    pub(super) place: &'a Path,
    pub(super) entry: &'a OutboxEntry,
    pub(super) request: &'a Bytes,
    pub(super) deferred: &'a Deferred,
    pub(super) forwarding: &'a Forwarding,
    /// Octets that its answer may have.
    pub(super) octets_max: u64,
}

/// Passes the request at its place on, or says when to look again.
pub(super) async fn forward<S: Source>(
    source: &S,
    room: &Room,
    stored: Stored<'_>,
    failures: u32,
) -> Result<Next, SourceError> {
    let Stored { place, entry, request, deferred, forwarding, octets_max } = stored;
    let left = source.until(forwarding.deadline);
    let forced = left.is_zero();
    if !forced && !source.is_first(place, &forwarding.target)? {
        return Ok(Next::Held(left));
    }
    let forwarded = match convert::request_from_bytes(request.clone()) {
        Ok(request) => {
            let id = deferred::onward_id(&source.scl().id, source.shard(), place, deferred);
            source.forward(id, request, forwarding, forced, Instant::now() + room.config.timeout).await
        }
        // What this cluster accepted it can read; a release that cannot must not try for ever.
        Err(error) => {
            Forwarded::Answer(Refusal::new(StatusCode::InternalServerError, error.to_string()).into())
        }
    };
    let answer = match forwarded {
        Forwarded::Answer(answer) => answer,
        Forwarded::Failed(why) if forced => {
            room.counters.count(Fate::Expired);
            timed_out(&why)
        }
        Forwarded::Wait(wait) => return Ok(Next::Held(wait.min(left).min(LOOK))),
        Forwarded::Failed(why) => {
            tracing::debug!(shard = source.shard().0, %place, ?why, "a stored request is not passed on yet");
            room.counters.count(Fate::Failed);
            let pause = room.pause(failures.saturating_add(1)).min(LOOK);
            return Ok(Next::Tried(pause.min(left)));
        }
    };
    keep(source, room, place, entry.sequence, answer, octets_max).await
}

fn timed_out(why: &ResponsePrimitive) -> ResponsePrimitive {
    let info = match (why.status, why.info.as_str()) {
        (StatusCode::Accepted, _) => {
            "the next SCL has accepted the request, its answer has not come".to_owned()
        }
        (status, "") => format!("the delay is over: {status:?}"),
        (_, info) => format!("the delay is over: {info}"),
    };
    Refusal::new(StatusCode::GatewayTimeout, info).into()
}
