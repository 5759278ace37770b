//! The front desk: every request that reaches this node, on its way to the shard that decides about it.
//!
//! [`Desk::submit`] reads a submission, finds the shard, and answers: at once where it can, otherwise when the shard
//! does, and in any case before the deadline. A submission that belongs to another node is answered with that node.
//!
//! Invariants: `submit` never blocks; every submission is answered exactly once; what waits here is bounded; a
//! submission whose deadline has passed is not begun.

mod aggregation;
mod call;
mod config;
mod deferred;
mod discover;
mod fan_out;
mod gather;
mod handled;
mod internal;
mod members;
mod notified;
mod pending;
mod poll;
mod rights;
mod saf;
mod shown;
mod through;

#[cfg(test)]
mod tests;

pub use call::{Exchange, Outside};
pub use config::{Config, ConfigError};
pub use rights::RightsCache;
pub use saf::Forwarded;

use crate::{
    directory::View,
    security::Keys,
    subtree::{ShardError, ShardHandle, Shards, Write},
};
use banyan_client::Client;
use banyan_model::{
    Entity, Method, Path, RequestId, RequestPrimitive, ResponsePrimitive, StatusCode, SubtreeRoot, admit,
    aggregation::is_aggregation,
    channel, group,
    placement::{NodeId, ShardId},
};
use banyan_proto::{
    convert,
    v1::{self, answer::What, submission},
};
use bytes::Bytes;
use handled::Fanned;
use pending::{Kind, Pending, Ticket};
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// The front desk of this node; cheap to clone.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    shards: Shards,
    views: watch::Receiver<Option<Arc<View>>>,
    client: Client,
    pending: Arc<Pending>,
    handled: Arc<Fanned>,
    /// Members that all fan-outs together ask at once.
    fan_out_room: Semaphore,
    /// Places of long polls.
    polls: Arc<Semaphore>,
    /// Other SCLs that requests are stored for.
    targets: saf::Targets,
    /// Set once the edges' door is there.
    outside: rights::WayOut,
    /// Set once this node takes part in keeping keys.
    keys: OnceLock<Keys>,
}

/// Where a request is decided, by this node's map.
struct Place {
    shard: ShardId,
    epoch: u64,
}

impl Desk {
    /// A desk over this node's shards. Must be called in a tokio runtime.
    pub fn new(
        config: Config,
        shards: Shards,
        views: watch::Receiver<Option<Arc<View>>>,
        client: Client,
    ) -> Desk {
        let pending = Pending::new(config.requests_max);
        let handled = Fanned::new(config.fan_outs_max);
        let fan_out_room = Semaphore::new(config.fan_out_node_concurrency);
        let polls = Arc::new(Semaphore::new(config.polls_max.min(Semaphore::MAX_PERMITS)));
        let outside = rights::WayOut::default();
        let targets = saf::Targets::default();
        let inner = Inner {
            config,
            shards,
            views,
            client,
            pending,
            handled,
            fan_out_room,
            polls,
            targets,
            outside,
            keys: OnceLock::new(),
        };
        Desk { inner: Arc::new(inner) }
    }

    /// Questions for the keys' group go there from now on.
    pub fn keep_keys(&self, keys: Keys) {
        if self.inner.keys.set(keys).is_err() {
            tracing::warn!("the keys' group was told of twice");
        }
    }

    /// Takes a submission. Never blocks. `answer` is called exactly once, perhaps before this returns, and must not
    /// block. `internal`: whether the peer is a node, which may ask what an edge may not.
    pub fn submit(
        &self,
        submission: v1::Submission,
        internal: bool,
        answer: impl FnOnce(v1::Answer) + Send + 'static,
    ) {
        let v1::Submission { correlation, shard, deadline_ms, id, what, .. } = submission;
        let answer: pending::Answer =
            Box::new(move |what| answer(v1::Answer { correlation, what: Some(what) }));
        let budget = Duration::from_millis(u64::from(deadline_ms));
        // The answer has a way to go.
        let deadline = Instant::now() + (budget - (budget / 10).min(self.inner.config.margin_max));
        if budget.is_zero() {
            return answer(busy(self.inner.config.retry_after, "the deadline has passed"));
        }
        match what {
            Some(submission::What::Request(bytes)) => {
                self.request(
                    bytes,
                    ShardId(shard),
                    id.map(RequestId::from).unwrap_or_default(),
                    deadline,
                    answer,
                );
            }
            Some(submission::What::Internal(question)) if internal || internal::is_for_edges(&question) => {
                let id = id.map(RequestId::from).unwrap_or_default();
                self.internal(question, ShardId(shard), id, deadline, answer);
            }
            Some(submission::What::Internal(_)) => {
                answer(What::Refused("only a node may ask this".to_owned()));
            }
            None => answer(What::Refused("nothing is asked".to_owned())),
        }
    }

    /// Whether the creator of a subscription of this node may still READ what it watches (procedures.md 8.5). A
    /// subscription or watched resource that is gone has nothing to hide: its last notify says so.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub async fn may_notify(&self, subscription: &Path) -> Result<bool, ShardError> {
        // Each member's host asks for what it tells; an aggregation shows nothing of its own.
        if is_aggregation(subscription) {
            return Ok(true);
        }
        let Some(shard) = self.inner.shards.owner(subscription) else {
            return Err(ShardError::NotLeader { leader: None });
        };
        let Some(resource) = shard.resource(subscription)? else { return Ok(true) };
        // `<watched>/subscriptions/<s>`
        let Some(watched) = subscription.parent().and_then(|collection| collection.parent()) else {
            return Ok(true);
        };
        let deadline = Instant::now() + self.inner.config.rights_timeout;
        shard.may_read(&Entity(resource.creator), &watched, deadline).await
    }

    fn request(
        &self,
        bytes: Bytes,
        claimed: ShardId,
        id: RequestId,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        let request = match convert::request_from_bytes(bytes) {
            Ok(request) => request,
            Err(error) => return answer(What::Refused(error.to_string())),
        };
        self.take(request, claimed, id, deadline, answer);
    }

    fn take(
        &self,
        mut request: RequestPrimitive,
        claimed: ShardId,
        id: RequestId,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        let Some(subtree) = request.subtree() else {
            // Named here, every retry would make another child.
            return answer(What::Refused("a child of a root collection must have a name by now".to_owned()));
        };
        let Some(place) = self.place(&subtree) else {
            return answer(What::NotLeader(v1::NotLeader { shard: claimed.0, leader: 0, map_epoch: 0 }));
        };
        let Some(shard) = self.inner.shards.get(place.shard) else {
            return answer(place.elsewhere(None));
        };
        if let Some(correlation) = request.later().cloned() {
            return self.defer(request, correlation, shard, place, deadline, answer);
        }
        if channel::answered_at(&request.target).is_some() {
            let Some(ticket) = self.enter(deadline, Kind::Write, answer) else { return };
            return self.take_answer(request, shard, place, deadline, ticket);
        }
        notified::open(&mut request);
        let kind = if request.method == Method::Retrieve { Kind::Read } else { Kind::Write };
        if group::leads_to_members(&request.target) {
            let Some(ticket) = self.enter(deadline, kind, answer) else { return };
            return self.fan_out(request, id, shard, place, deadline, ticket);
        }
        if kind == Kind::Read {
            return self.retrieve(request, shard, place, deadline, answer);
        }
        let answer = self.showing(&request, &shard, deadline, answer);
        let Some(ticket) = self.enter(deadline, kind, answer) else { return };
        if members::names_members(&request) {
            return self.write_group(request, subtree, id, shard, place, deadline, ticket);
        }
        let answer = Box::new(move |outcome| ticket.answer(place.what(outcome)));
        shard.write(Write { subtree, request, id, verified: None, deadline, answer });
    }

    /// What looked like a fan-out and is none.
    fn carry(
        &self,
        request: RequestPrimitive,
        id: RequestId,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        ticket: Ticket,
    ) {
        let answer = move |outcome| ticket.answer(outcome);
        if request.method == Method::Retrieve {
            return self.retrieve(request, shard, place, deadline, Box::new(answer));
        }
        let subtree = request.target.subtree();
        let answer = Box::new(move |outcome| answer(place.what(outcome)));
        shard.write(Write { subtree, request, id, verified: None, deadline, answer });
    }

    fn retrieve(
        &self,
        request: RequestPrimitive,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        let collection = request.target.root_collection();
        let discovers = request.target == admit::discovery();
        if collection.is_none() && !discovers {
            match shard.try_retrieve(&request) {
                Ok(Some(response)) => return answer(response_of(&response)),
                Err(error) => return answer(place.what(Err(error))),
                Ok(None) => {}
            }
        }
        let Some(ticket) = self.enter(deadline, Kind::Read, answer) else { return };
        let desk = self.clone();
        tokio::spawn(async move {
            if discovers && let Some(elsewhere) = desk.discovered_elsewhere(&request, deadline).await {
                return ticket.answer(response_of(&elsewhere));
            }
            let retrieved = match shard.retrieve(&request, deadline).await {
                Ok(response) => match collection {
                    Some(collection) => Ok(desk.with_members(response, collection, &request, deadline).await),
                    None if discovers => Ok(desk.with_discovered(response, &request, deadline).await),
                    None => Ok(response),
                },
                Err(error) => Err(error),
            };
            ticket.answer(match retrieved {
                Ok(response) => response_of(&response),
                Err(error) => place.what(Err(error)),
            });
        });
    }

    /// A place among those who wait; `None`: there is no room, and that was answered.
    fn enter(&self, deadline: Instant, kind: Kind, answer: pending::Answer) -> Option<Ticket> {
        match self.inner.pending.enter(deadline, kind, answer) {
            Ok(ticket) => Some(ticket),
            Err(answer) => {
                answer(busy(self.inner.config.retry_after, "too many requests at this node"));
                None
            }
        }
    }

    /// `None` until this node has heard of the cluster.
    fn place(&self, subtree: &SubtreeRoot) -> Option<Place> {
        let view = self.inner.views.borrow().clone()?;
        let shards = &view.map.shards;
        Some(Place { shard: shards.shard_of(subtree.slot())?.id, epoch: shards.epoch })
    }

    fn place_of(&self, shard: ShardId) -> Option<Place> {
        let view = self.inner.views.borrow().clone()?;
        let shards = &view.map.shards;
        let is_known = shards.shards.iter().any(|known| known.id == shard);
        is_known.then_some(Place { shard, epoch: shards.epoch })
    }
}

impl Place {
    fn elsewhere(&self, leader: Option<NodeId>) -> What {
        What::NotLeader(v1::NotLeader {
            shard: self.shard.0,
            leader: leader.map_or(0, |leader| leader.0),
            map_epoch: self.epoch,
        })
    }

    /// An outcome as it is sent.
    fn what(&self, outcome: Result<Bytes, ShardError>) -> What {
        match outcome {
            Ok(response) => What::Response(response),
            Err(ShardError::NotLeader { leader }) => self.elsewhere(leader),
            Err(ShardError::Busy { retry_after, why }) => busy(retry_after, why),
            Err(ShardError::OutcomeUnknown(why)) => What::OutcomeUnknown(why.to_owned()),
            Err(ShardError::Defect) => {
                response_of(&ResponsePrimitive::status(StatusCode::InternalServerError))
            }
        }
    }
}

fn response_of(response: &ResponsePrimitive) -> What {
    What::Response(convert::response_to_bytes(response))
}

fn busy(retry_after: Duration, why: &str) -> What {
    let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
    What::Busy(v1::Busy { retry_after_ms, why: why.to_owned() })
}
