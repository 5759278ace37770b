//! Requests that travel by a communicationChannel (resources.md 2.6): its SCL polls and cannot be called.
//!
//! The edge that holds the request makes a requestNotify of it. The leader of the channel's subtree puts that into the
//! channel's queue, through the log, and waits for the responseNotify that the owner posts to `<channel>/answer` under the
//! same correlationID. Who waits is the leader's memory: when the leadership ends the edge comes again, under the same id,
//! which puts nothing into the queue twice.
//!
//! Invariants: only the owner of the channel answers; what nobody waits for any more is refused; as many wait as there
//! are places of requests.

use super::{Desk, Kind, Place, pending, pending::Ticket, response_of};
use crate::subtree::{ShardHandle, Write};
use banyan_model::{
    Body, Entity, Method, Path, Refusal, RequestId, RequestPrimitive, ResponsePrimitive, StatusCode,
    admit::Target, channel, placement::ShardId,
};
use banyan_proto::{
    convert,
    v1::{self, answer::What},
};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The answer that none came has a way to go, too.
const MARGIN: Duration = Duration::from_millis(40);

impl Desk {
    pub(super) fn through(
        &self,
        through: v1::Through,
        claimed: ShardId,
        id: RequestId,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        let v1::Through { channel, message, correlation_id } = through;
        let Some(channel) = channel.map(Path::from) else {
            return answer(What::Refused("no channel".to_owned()));
        };
        let message = match message.map(TryInto::try_into) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                let error: convert::Malformed = error;
                return answer(What::Refused(error.to_string()));
            }
            None => return answer(What::Refused("no message".to_owned())),
        };
        let (place, shard) = match self.shard_at(&channel, claimed) {
            Ok(found) => found,
            Err(elsewhere) => return answer(elsewhere),
        };
        let Some(ticket) = self.enter(deadline, Kind::Write, answer) else { return };
        // Before it can be answered.
        let mut waiting = shard.wait_for_answer(&channel, correlation_id);
        let entity = Entity(shard.scl().base.clone());
        let request = RequestPrimitive {
            body: Body::Message(message),
            ..RequestPrimitive::new(Method::Notify, channel.child(channel::CONTACT), entity)
        };
        let (tell, told) = oneshot::channel();
        let subtree = channel.subtree();
        let queued = Box::new(move |outcome| {
            // Who asked may have gone.
            let _ = tell.send(outcome);
        });
        shard.write(Write { subtree, request, id, verified: None, deadline, answer: queued });
        tokio::spawn(async move {
            let what = match told.await {
                Ok(Ok(bytes)) => match convert::response_from_bytes(bytes) {
                    Ok(response) if response.status == StatusCode::Ok => {
                        let answered = tokio::time::timeout_at((deadline - MARGIN).into(), waiting.answer());
                        match answered.await {
                            Ok(Some(answer)) => response_of(&ResponsePrimitive {
                                body: Body::Message(answer),
                                ..ResponsePrimitive::status(StatusCode::Ok)
                            }),
                            // The leadership is over: the next leader waits.
                            Ok(None) => place.elsewhere(None),
                            Err(_) => response_of(&not_answered().into()),
                        }
                    }
                    Ok(refused) => response_of(&unreachable(refused)),
                    Err(_) => What::OutcomeUnknown("the reply cannot be read".to_owned()),
                },
                Ok(Err(error)) => place.what(Err(error)),
                Err(_) => What::OutcomeUnknown("dropped without an answer".to_owned()),
            };
            ticket.answer(what);
        });
    }

    /// The owner of a channel answers a request that it got there.
    pub(super) fn take_answer(
        &self,
        request: RequestPrimitive,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        ticket: Ticket,
    ) {
        tokio::spawn(async move {
            ticket.answer(match shard.admit(&request, deadline).await {
                Ok(Ok((admission, _))) => match admission.target {
                    Target::Answer { channel } => response_of(&handed(&shard, &channel, request)),
                    _ => response_of(&Refusal::not_found().into()),
                },
                Ok(Err(refusal)) => response_of(&refusal.into()),
                Err(error) => place.what(Err(error)),
            });
        });
    }
}

fn handed(shard: &ShardHandle, channel: &Path, request: RequestPrimitive) -> ResponsePrimitive {
    let answer = match request.body {
        Body::Message(message) if message.name == "ResponseNotify" => message,
        Body::Malformed(refusal) => return refusal.into(),
        _ => return Refusal::new(StatusCode::BadRequest, "responseNotify was expected").into(),
    };
    let Some(correlation) = request.correlation else {
        return Refusal::attribute("X-etsi-correlationID", "missing: which request is answered?").into();
    };
    match shard.answer(channel, &correlation.id, answer) {
        true => ResponsePrimitive::status(StatusCode::Ok),
        false => Refusal::new(StatusCode::NotFound, "nobody waits for this answer").into(),
    }
}

fn not_answered() -> Refusal {
    Refusal::new(StatusCode::GatewayTimeout, "the SCL did not poll its channel, or did not answer, in time")
}

/// What keeps a message out of the queue, for whoever knows nothing of a channel.
fn unreachable(refused: ResponsePrimitive) -> ResponsePrimitive {
    match refused.status {
        StatusCode::NotFound => {
            Refusal::new(StatusCode::ServiceUnavailable, "the channel of the SCL is gone").into()
        }
        _ => refused,
    }
}
