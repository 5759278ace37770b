//! Long polls: held here, at the leader of the channel's subtree, until something waits in the channel (decision 15).
//!
//! A poll is no request: it has a bound of its own, waits as long as its edge said, and comes again if nothing came. What
//! it got stays in the channel until the edge says that the poller has it ([`Desk::taken`]).

use super::{Desk, Kind, Place, pending, response_of};
use crate::subtree::{Found, ShardError, ShardHandle};
use banyan_model::{
    Body, Operation, Path, RequestPrimitive, ResponsePrimitive, StatusCode, channel, placement::ShardId,
};
use banyan_proto::{
    convert,
    v1::{self, answer::What},
};
use std::{
    pin::pin,
    time::{Duration, Instant},
};

/// No poll is held longer at a time: an edge that is gone must not keep its places.
const HOLD_MAX: Duration = Duration::from_secs(30);
/// When a poller that found no room may come again, milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

impl Desk {
    pub(super) fn poll(&self, poll: v1::Poll, claimed: ShardId, answer: pending::Answer) {
        let request = match convert::request_from_bytes(poll.request) {
            Ok(request) => request,
            Err(error) => return answer(What::Refused(error.to_string())),
        };
        let Some(channel) = channel::polled_at(&request.target) else {
            return answer(What::Refused("not where a channel is polled".to_owned()));
        };
        let (place, shard) = match self.shard_at(&channel, claimed) {
            Ok(found) => found,
            Err(elsewhere) => return answer(elsewhere),
        };
        let Ok(permit) = self.inner.polls.clone().try_acquire_owned() else {
            return answer(no_room("too many polls at this node"));
        };
        let hold = Duration::from_millis(poll.hold_ms.into()).min(HOLD_MAX);
        let desk = self.clone();
        tokio::spawn(async move {
            let held = desk.hold(&shard, &channel, &request, Instant::now() + hold).await;
            drop(permit);
            answer(held.unwrap_or_else(|error| place.what(Err(error))));
        });
    }

    /// Waits for a message, not longer than `until`. Every turn authorises anew, so that the end of the channel, of the
    /// right and of the leadership release the poll.
    async fn hold(
        &self,
        shard: &ShardHandle,
        channel: &Path,
        request: &RequestPrimitive,
        until: Instant,
    ) -> Result<What, ShardError> {
        let config = &self.inner.config;
        let Some(waiting) = shard.wait_at(channel, config.polls_per_channel_max) else {
            return Ok(no_room("too many polls at this channel"));
        };
        loop {
            let mut changed = pin!(waiting.changed());
            changed.as_mut().enable();
            if waiting.is_released() {
                return Err(ShardError::NotLeader { leader: None });
            }
            let now = Instant::now();
            let deadline = now + config.rights_timeout;
            let again = match shard.look(request, now + config.poll_redelivery, deadline).await? {
                Found::Answer(response) => return Ok(response_of(&response)),
                Found::Message(sequence, queued) => {
                    let body = Body::Message(queued.message);
                    let response = ResponsePrimitive { body, ..ResponsePrimitive::status(StatusCode::Ok) };
                    let response = convert::response_to_bytes(&response);
                    return Ok(What::Polled(v1::Polled { response, sequence }));
                }
                Found::Nothing { again } => again,
            };
            let look = again.unwrap_or(until).min(until);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(look.into()) => if look >= until {
                    return Ok(response_of(&ResponsePrimitive::status(StatusCode::RequestTimeout)));
                },
            }
        }
    }

    /// The poller has it: the message goes, through the log.
    pub(super) fn taken(
        &self,
        taken: v1::Taken,
        claimed: ShardId,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        let Some(channel) = taken.channel.map(Path::from) else {
            return answer(What::Refused("no channel".to_owned()));
        };
        let (place, shard) = match self.shard_at(&channel, claimed) {
            Ok(found) => found,
            Err(elsewhere) => return answer(elsewhere),
        };
        let sequence = taken.sequence;
        let Some(ticket) = self.enter(deadline, Kind::Write, answer) else { return };
        tokio::spawn(async move {
            let outcome = shard.operate(Operation::Taken { channel: channel.clone(), sequence }).await;
            if outcome.is_ok() {
                shard.confirmed(&channel, sequence);
            }
            ticket.answer(place.what(outcome.map(|response| convert::response_to_bytes(&response))));
        });
    }

    /// This node's replica of the shard that decides about a path, or who should be asked.
    pub(super) fn shard_at(&self, path: &Path, claimed: ShardId) -> Result<(Place, ShardHandle), What> {
        let Some(place) = self.place(&path.subtree()) else {
            return Err(What::NotLeader(v1::NotLeader { shard: claimed.0, leader: 0, map_epoch: 0 }));
        };
        match self.inner.shards.get(place.shard) {
            Some(shard) => Ok((place, shard)),
            None => Err(place.elsewhere(None)),
        }
    }
}

/// An answer, not `Busy`: the client would ask at once again, and the poller should come later.
fn no_room(why: &str) -> What {
    response_of(&ResponsePrimitive {
        info: why.to_owned(),
        retry_after_ms: Some(RETRY_AFTER_MS),
        ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
    })
}
