//! What nodes ask of each other on behalf of the tree.

use super::{Desk, Kind, busy, pending, response_of};
use crate::{
    directory::KEYS_GROUP,
    security::{Keys, KeysError},
    subtree::{ShardError, ShardHandle},
};
use banyan_model::{
    Body, Operation, Path, RequestId, ResourceType, ResponsePrimitive, StatusCode, SubtreeRoot,
    placement::{NodeId, ShardId},
    route::{Claim, Next, Route},
    value::NamedReference,
};
use banyan_proto::{
    convert,
    v1::{self, answer::What, internal},
};
use std::time::Instant;

/// Members of one answer.
const MEMBERS_MAX: u32 = 1_000;
/// Addresses of one answer, and what one step finds beyond it.
const DISCOVERED_MAX: u32 = 1_000;

/// Whether an edge may ask this, too.
pub(super) fn is_for_edges(question: &v1::Internal) -> bool {
    use internal::Kind;
    match &question.kind {
        Some(Kind::Keys(question)) => Keys::is_for_edges(question),
        kind => matches!(kind, Some(Kind::Poll(_) | Kind::Taken(_) | Kind::Through(_) | Kind::Route(_))),
    }
}

impl Desk {
    pub(super) fn internal(
        &self,
        question: v1::Internal,
        claimed: ShardId,
        id: RequestId,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        match question.kind {
            Some(internal::Kind::AccessRight(path)) => {
                let path = Path::from(path);
                answer(self.at(Some(&path.subtree()), claimed, |shard| {
                    shard.resource(&path).map(|resource| response_of(&represent(resource)))
                }));
            }
            Some(internal::Kind::ListMembers(list)) => {
                answer(self.at(None, claimed, |shard| {
                    let limit = list.limit.min(MEMBERS_MAX) as usize;
                    let members = shard.members(&list.collection, list.after.as_deref(), limit)?;
                    Ok(What::Members(convert::members_to_wire(&members)))
                }));
            }
            Some(internal::Kind::Route(uri)) => {
                let others_by = self.inner.config.others_by.as_deref();
                answer(
                    self.at(None, claimed, |shard| Ok(What::Routed(routed(shard.route(&uri, others_by)?)))),
                );
            }
            Some(internal::Kind::Linked(link)) => {
                answer(self.at(None, claimed, |shard| Ok(scls(shard.linked(&link, MEMBERS_MAX as usize)?))));
            }
            Some(internal::Kind::Overlapping(link)) => {
                answer(
                    self.at(None, claimed, |shard| Ok(scls(shard.overlapping(&link, MEMBERS_MAX as usize)?))),
                );
            }
            Some(internal::Kind::Policies(path)) => {
                let path = Path::from(path);
                answer(self.at(Some(&path.subtree()), claimed, |shard| {
                    Ok(What::Policies(convert::policies_to_wire(&shard.policies(&path)?)))
                }));
            }
            Some(internal::Kind::Discover(question)) => {
                self.answer_discover(question, claimed, deadline, answer)
            }
            Some(internal::Kind::Command(command)) => self.command(command, deadline, answer),
            Some(internal::Kind::Poll(poll)) => self.poll(poll, claimed, answer),
            Some(internal::Kind::Taken(taken)) => self.taken(taken, claimed, deadline, answer),
            Some(internal::Kind::Through(through)) => self.through(through, claimed, id, deadline, answer),
            Some(internal::Kind::Keys(question)) => self.keys(question, deadline, answer),
            None => answer(What::Refused("unknown question".to_owned())),
        }
    }

    /// Asks the replica of this node, or says who should be asked.
    fn at(
        &self,
        subtree: Option<&SubtreeRoot>,
        claimed: ShardId,
        ask: impl FnOnce(&ShardHandle) -> Result<What, ShardError>,
    ) -> What {
        let place = match subtree {
            Some(subtree) => self.place(subtree),
            None => self.place_of(claimed),
        };
        let Some(place) = place else {
            return What::NotLeader(v1::NotLeader { shard: claimed.0, leader: 0, map_epoch: 0 });
        };
        match self.inner.shards.get(place.shard) {
            Some(shard) => ask(&shard).unwrap_or_else(|error| place.what(Err(error))),
            None => place.elsewhere(None),
        }
    }

    fn answer_discover(
        &self,
        question: v1::Discover,
        claimed: ShardId,
        deadline: Instant,
        answer: pending::Answer,
    ) {
        let limit = question.limit.min(DISCOVERED_MAX) as usize;
        let (entity, search, from) = match convert::discover(question) {
            Ok(question) => question,
            Err(error) => return answer(What::Refused(error.to_string())),
        };
        let Some(place) = self.place_of(claimed) else {
            return answer(What::NotLeader(v1::NotLeader { shard: claimed.0, leader: 0, map_epoch: 0 }));
        };
        let Some(shard) = self.inner.shards.get(place.shard) else {
            return answer(place.elsewhere(None));
        };
        let Some(ticket) = self.enter(deadline, Kind::Read, answer) else { return };
        tokio::spawn(async move {
            ticket.answer(match shard.discover(&entity, &search, from, limit, deadline).await {
                Ok((uris, next)) => What::Discovered(convert::discovered_to_wire(uris, next.as_ref())),
                Err(error) => place.what(Err(error)),
            });
        });
    }

    fn keys(&self, question: v1::KeysQuestion, deadline: Instant, answer: pending::Answer) {
        let not_leader = |leader: Option<NodeId>| {
            let leader = leader.map_or(0, |leader| leader.0);
            What::NotLeader(v1::NotLeader { shard: KEYS_GROUP, leader, map_epoch: 0 })
        };
        let Some(keys) = self.inner.keys.get().cloned() else { return answer(not_leader(None)) };
        let Some(ticket) = self.enter(deadline, Kind::Read, answer) else { return };
        let retry_after = self.inner.config.retry_after;
        tokio::spawn(async move {
            ticket.answer(match keys.answer(question, deadline).await {
                Ok(answer) => What::Keys(answer.into()),
                Err(KeysError::NotLeader { leader }) => not_leader(leader),
                Err(KeysError::Busy(why)) => busy(retry_after, why),
                Err(KeysError::Unknown) => What::OutcomeUnknown("a change of keys".to_owned()),
                Err(KeysError::Refused(why) | KeysError::Unable(why)) => refused_keys(why),
            });
        });
    }

    fn command(&self, command: v1::Command, deadline: Instant, answer: pending::Answer) {
        let operation = match command.operation.map(Operation::try_from) {
            Some(Ok(operation @ Operation::CollectionChanged { .. })) => operation,
            Some(Ok(_)) => return answer(What::Refused("this operation is the leader's own".to_owned())),
            Some(Err(error)) => return answer(What::Refused(error.to_string())),
            None => return answer(What::Refused("no operation".to_owned())),
        };
        let Some(place) = self.place(&SubtreeRoot::SclBase) else {
            return answer(What::NotLeader(v1::NotLeader { shard: 0, leader: 0, map_epoch: 0 }));
        };
        let Some(shard) = self.inner.shards.get(place.shard) else {
            return answer(place.elsewhere(None));
        };
        let Some(ticket) = self.enter(deadline, Kind::Write, answer) else { return };
        tokio::spawn(async move {
            ticket.answer(match shard.operate(operation).await {
                Ok(response) => response_of(&response),
                Err(error) => place.what(Err(error)),
            });
        });
    }
}

fn refused_keys(why: String) -> What {
    let refused = v1::keys_answer::Kind::Refused(v1::KeysRefused { why });
    What::Keys(v1::KeysAnswer { kind: Some(refused) }.into())
}

fn routed(route: Option<Route>) -> v1::Routed {
    let Some(Route { claim, next }) = route else { return v1::Routed::default() };
    let Claim { by_link, matched, since, scl } = claim;
    let mut routed = v1::Routed { matched, by_link, since_ms: since.0, scl, ..v1::Routed::default() };
    if let Some(Next { uri, host, channel }) = next {
        (routed.uri, routed.host, routed.channel) = (Some(uri), host, channel.as_ref().map(Into::into));
    }
    routed
}

fn scls(found: Vec<NamedReference>) -> What {
    let scls: Vec<_> = found.into_iter().map(|scl| (ResourceType::Scl, scl)).collect();
    What::Members(convert::members_to_wire(&scls))
}

fn represent(resource: Option<banyan_model::record::Resource>) -> ResponsePrimitive {
    match resource {
        Some(resource) => ResponsePrimitive {
            body: Body::Representation(resource.representation),
            ..ResponsePrimitive::status(StatusCode::Ok)
        },
        None => ResponsePrimitive::status(StatusCode::NotFound),
    }
}
