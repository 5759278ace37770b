//! Requests that are to be answered later (procedures.md 17): taken in here, carried out by the courier of their shard.
//!
//! Such a request belongs to the subtree of who asks (`deferred::home`), so that this node leads what is known of it. A
//! repetition is answered from that state without an entry; the first one is an entry, and who asks is told that it is
//! accepted once that is committed. What is asked for is neither looked at nor authorised before it is carried out.

use super::{Desk, Kind, Place, pending, response_of};
use crate::{clock, subtree::ShardHandle};
use banyan_model::{
    Body, Operation, RequestId, RequestPrimitive, ResponsePrimitive, Timestamp, Value,
    deferred::{self, Deferral},
    primitive::Correlation,
    saf::{self, REMEMBERED_MS},
};
use banyan_proto::{convert, v1::answer::What};
use std::time::Instant;

impl Desk {
    /// Takes a request in, or answers a repetition.
    pub(super) fn defer(
        &self,
        mut request: RequestPrimitive,
        correlation: Correlation,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        request.correlation = None;
        let entity = request.requesting_entity.clone();
        let at = deferred::place(&entity, &correlation.id);
        let digest = deferred::digest(&request);
        match shard.deferred(&at) {
            Ok(Some(known)) => {
                return answer(match deferred::known(&known, &entity, digest) {
                    Ok(Some(bytes)) => What::Response(bytes),
                    Ok(None) => response_of(&deferred::accepted()),
                    Err(refusal) => response_of(&refusal.into()),
                });
            }
            Ok(None) => {}
            Err(error) => return answer(place.what(Err(error))),
        }
        let Some(ticket) = self.enter(deadline, Kind::Write, answer) else { return };
        name_child(&mut request);
        let now = clock::now();
        let (lifetime_ms, keep_until) = self.remembers(&request, &correlation, now);
        let mut deferral = Deferral {
            place: at,
            digest,
            contact: correlation.contact,
            media: request.notify_media,
            lifetime_ms,
            keep_until,
            storing: None,
            limits: self.inner.config.async_limits,
            request: convert::request_to_bytes(&request),
        };
        let desk = self.clone();
        tokio::spawn(async move {
            if let Some(uri) = saf::outward_uri(&request.target) {
                match desk.storing(uri, &request, now, deadline).await {
                    Ok(storing) => deferral.storing = Some(storing),
                    Err(why) => return ticket.answer(response_of(&why)),
                }
            }
            let outcome = shard.operate_for(entity, Operation::Defer(deferral)).await;
            ticket.answer(place.what(outcome.map(|response| convert::response_to_bytes(&response))));
        });
    }

    /// How long an answer is kept once nobody waits for it to be sent, and until when at least. The SCL that passed a
    /// request on fetches the answer itself, and asks no more after the delay that it named.
    fn remembers(
        &self,
        request: &RequestPrimitive,
        correlation: &Correlation,
        now: Timestamp,
    ) -> (u64, Option<Timestamp>) {
        let lifetime = self.inner.config.async_lifetime.as_millis();
        let lifetime_ms = u64::try_from(lifetime).unwrap_or(u64::MAX);
        let after = |at: Timestamp| Timestamp(at.0.saturating_add(REMEMBERED_MS));
        let keep_until = request.trpdt.map(|trpdt| after(trpdt.deadline(now)));
        let passed_on = !request.via.is_empty() && correlation.contact.is_none();
        match keep_until {
            Some(_) if passed_on => (REMEMBERED_MS.unsigned_abs().min(lifetime_ms), keep_until),
            keep_until => (lifetime_ms, keep_until),
        }
    }

    /// What may be kept.
    pub fn async_limits(&self) -> deferred::Limits {
        self.inner.config.async_limits
    }

    /// Carries a request out that was taken in. What is ours is done once however often it is called for under the same
    /// id; what goes to another SCL or an application is sent again if nobody knows what became of it.
    ///
    /// # Errors
    /// Nobody could say what became of it: the same again, later. What would be said if there were no later.
    pub async fn carry_out(
        &self,
        id: RequestId,
        request: RequestPrimitive,
        deadline: Instant,
    ) -> Result<ResponsePrimitive, ResponsePrimitive> {
        let again = request.clone();
        let answer = match self.call_here(&request, id, deadline).await {
            Some(answer) => answer,
            None => {
                let asked = self.inner.client.submit_as(id, request, deadline.into()).await;
                asked.map_err(|error| error.response())?
            }
        };
        match &answer.retarget {
            Some(uri) => Ok(self.call_outside(uri, again, deadline).await),
            None => Ok(answer),
        }
    }
}

/// A child of a root collection that has no name gets one before the log: it must be the same whoever carries it out.
fn name_child(request: &mut RequestPrimitive) {
    if request.subtree().is_some() {
        return;
    }
    if let Body::Representation(child) = &mut request.body
        && let Some(id) = child.resource_type.id_attribute()
    {
        child.set(id.field.name, Value::Text(format!("{:016x}", rand::random::<u64>())));
    }
}
