//! The members that a group is to have, checked before the group is written (procedures.md 9.1).
//!
//! Whether a member exists and what it is only others know: its shard, or another SCL. They are asked here, after the
//! issuer was authorised, so that nothing is told to strangers and the subtree's actor waits for nobody; what was found travels with the write and into the log. A member may go at any time after: a group
//! promises what was true when it was written.

use super::{Desk, Place, call::Reached, pending::Ticket, response_of};
use crate::subtree::{ShardHandle, Write};
use banyan_model::{
    Body, Entity, Method, Path, Refusal, Representation, RequestId, RequestPrimitive, ResourceType,
    ResponsePrimitive, StatusCode, SubtreeRoot, Value,
    admit::{Admission, Target},
    group::{self, Consistency, Fact},
    record::Resource,
};
use banyan_proto::convert;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::{Duration, Instant};

/// What is kept of the time to write the group: a quarter, at most this.
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// Whether a write says which members a group has.
pub(super) fn names_members(request: &RequestPrimitive) -> bool {
    match &request.body {
        Body::Representation(body) => {
            body.resource_type == ResourceType::Group
                && matches!(request.method, Method::Create | Method::Update)
        }
        // The whole list, or one entry more.
        Body::Attribute { name, .. } => match request.method {
            Method::Update => name == "members",
            Method::Create => request.target.name() == Some("members"),
            _ => false,
        },
        _ => false,
    }
}

/// What a group is to be.
struct Wanted<'a> {
    /// How many members it has besides.
    besides: usize,
    /// Where it stands or will; `None`: it gets a name when it is written.
    path: Option<Path>,
    members: &'a [String],
    member_type: &'a str,
    strategy: &'a str,
    max: Option<i64>,
}

impl Desk {
    /// Checks the members and writes the group.
    #[allow(clippy::too_many_arguments, reason = "what makes a write, and where it goes")]
    pub(super) fn write_group(
        &self,
        request: RequestPrimitive,
        subtree: SubtreeRoot,
        id: RequestId,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        ticket: Ticket,
    ) {
        let desk = self.clone();
        tokio::spawn(async move {
            let verified = match shard.knows(id) {
                Ok(true) => None,
                Ok(false) => match shard.admit(&request, deadline).await {
                    Ok(Ok((admission, stored))) => {
                        match desk.verify(&request, &admission, stored.as_ref(), deadline).await {
                            Ok(Some(Consistency::Abandon(member))) => {
                                return desk
                                    .abandon(request, member, subtree, id, shard, place, deadline, ticket);
                            }
                            Ok(Some(Consistency::Keep(verified))) => Some(verified),
                            Ok(None) => None,
                            Err(refused) => return ticket.answer(response_of(&refused)),
                        }
                    }
                    Ok(Err(refusal)) => return ticket.answer(response_of(&refusal.into())),
                    Err(error) => return ticket.answer(place.what(Err(error))),
                },
                Err(error) => return ticket.answer(place.what(Err(error))),
            };
            let answer = Box::new(move |outcome| ticket.answer(place.what(outcome)));
            shard.write(Write { subtree, request, id, verified, deadline, answer });
        });
    }

    /// ABANDON_GROUP: a new group does not come to be, an old one goes; the issuer is told why.
    #[allow(clippy::too_many_arguments, reason = "what makes a write, and where it goes")]
    fn abandon(
        &self,
        request: RequestPrimitive,
        member: String,
        subtree: SubtreeRoot,
        id: RequestId,
        shard: ShardHandle,
        place: Place,
        deadline: Instant,
        ticket: Ticket,
    ) {
        let why = format_args!("{member} does not exist or is of another type: the group is abandoned");
        let refusal = Refusal::attribute("members", why);
        let Some(scl) = self.scl().filter(|_| exists(&request)) else {
            return ticket.answer(response_of(&refusal.into()));
        };
        // What the issuer decided when it chose the strategy, this SCL carries out.
        let group = match request.body {
            Body::Attribute { .. } => request.target.parent().unwrap_or_default(),
            _ => request.target,
        };
        let request = RequestPrimitive {
            conditions: request.conditions,
            ..RequestPrimitive::new(Method::Delete, group, Entity(scl.base))
        };
        let answer = Box::new(move |outcome: Result<bytes::Bytes, _>| {
            let deleted =
                outcome.as_ref().ok().and_then(|bytes| convert::response_from_bytes(bytes.clone()).ok());
            ticket.answer(match deleted {
                Some(deleted) if deleted.status == StatusCode::Ok => response_of(&refusal.into()),
                _ => place.what(outcome),
            });
        });
        shard.write(Write { subtree, request, id, verified: None, deadline, answer });
    }

    /// `None`: it says nothing of members that could be checked; what is wrong with it the validation says.
    async fn verify(
        &self,
        request: &RequestPrimitive,
        admission: &Admission,
        stored: Option<&Resource>,
        deadline: Instant,
    ) -> Result<Option<Consistency>, ResponsePrimitive> {
        let Some(wanted) = wanted(request, admission, stored) else { return Ok(None) };
        let Some(scl) = self.scl() else { return Err(starting()) };
        let members = group::distinct(&scl, wanted.path.as_ref(), wanted.members)?;
        let count = wanted.besides + members.len();
        group::check_count(count, wanted.max)?;
        let most = self.inner.config.group_members_max;
        if count > most {
            let info = format!("members: {count}, this SCL allows {most}");
            return Err(Refusal::new(StatusCode::Forbidden, info).into());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let until = deadline - (left / 4).min(MARGIN_MAX);
        let group = wanted.path.as_ref();
        let (desk, asked, entity) = (self, &members, &request.requesting_entity);
        let mut facts: Vec<(usize, Fact)> = stream::iter(0..members.len())
            .map(|at| async move { desk.fact(&asked[at], entity, group, until).await.map(|fact| (at, fact)) })
            .buffer_unordered(self.inner.config.fan_out_concurrency.max(1))
            .try_collect()
            .await?;
        facts.sort_by_key(|(at, _)| *at);
        let facts: Vec<Fact> = facts.into_iter().map(|(_, fact)| fact).collect();
        Ok(Some(group::consistency(wanted.member_type, wanted.strategy, members, &facts)))
    }

    /// What stands at a member's address. The outer error: a shard of ours cannot say now, so nothing is decided.
    async fn fact(
        &self,
        member: &str,
        entity: &Entity,
        group: Option<&Path>,
        until: Instant,
    ) -> Result<Fact, ResponsePrimitive> {
        let path = match self.reach(member) {
            Reached::Here(path) => path,
            Reached::Elsewhere => return Ok(self.fact_elsewhere(member, entity, until).await),
        };
        let (holder, of) = holder(&path);
        let Some(found) = self.stored(&holder, until).await? else { return Ok(Fact::Missing) };
        // A group that holds the one it is a member of would be asked for ever, were it not for the identifier.
        let scl = self.scl().ok_or_else(starting)?;
        let is_group = |member: &String| {
            group.is_some_and(|group| scl.local_path(member).is_some_and(|path| path.is_below_or_at(group)))
        };
        if found.resource_type == ResourceType::Group && group::members(&found).iter().any(is_group) {
            let why = format_args!("{member} has this group as its member");
            return Err(Refusal::attribute("members", why).into());
        }
        Ok(match of {
            None => Fact::Is(found.resource_type),
            Some(of) if found.resource_type == of => Fact::Exists,
            Some(_) => Fact::Missing,
        })
    }

    async fn stored(&self, path: &Path, until: Instant) -> Result<Option<Representation>, ResponsePrimitive> {
        if let Some(Ok(resource)) = self.inner.shards.owner(path).map(|shard| shard.resource(path)) {
            return Ok(resource.map(|resource| resource.representation));
        }
        let found = self.inner.client.access_right(path, until.into()).await;
        found.map_err(|error| error.response())
    }

    /// In the name of who writes the group: whom the other SCL lets in there it knows, us perhaps not at all. It says
    /// NOT_FOUND to whoever may not know, so that is no proof that nothing is there.
    async fn fact_elsewhere(&self, member: &str, entity: &Entity, until: Instant) -> Fact {
        let request = RequestPrimitive::new(Method::Retrieve, Path::scl_base(), entity.clone());
        let answered = tokio::time::timeout_at(until.into(), self.call(member, request, until)).await;
        let Ok(answer) = answered else { return Fact::Unknown };
        match (answer.status, answer.body) {
            (StatusCode::Ok, Body::Representation(found)) => Fact::Is(found.resource_type),
            (StatusCode::Ok, _) => Fact::Exists,
            // Unreachable, or it does not tell: kept, and asked when it is used.
            _ => Fact::Unknown,
        }
    }
}

/// What stands at membersContent and below contentInstances is not stored under its own path: whose it is, and which
/// type that must be.
fn holder(path: &Path) -> (Path, Option<ResourceType>) {
    let named =
        [(group::MEMBERS_CONTENT, ResourceType::Group), ("contentInstances", ResourceType::Container)];
    for (at, segment) in path.segments().iter().enumerate().skip(2) {
        if let Some((_, of)) = named.iter().find(|(name, _)| name == segment) {
            return (Path::from_segments(path.segments()[..at].to_vec()), Some(*of));
        }
    }
    (path.clone(), None)
}

fn wanted<'a>(
    request: &'a RequestPrimitive,
    admission: &'a Admission,
    stored: Option<&'a Resource>,
) -> Option<Wanted<'a>> {
    let stored_group = stored
        .map(|stored| &stored.representation)
        .filter(|stored| stored.resource_type == ResourceType::Group);
    match (&request.body, &admission.target) {
        (Body::Representation(sent), Target::Resource { path, .. }) => {
            let (path, member_type) = match request.method {
                Method::Create => (sent.text("id").map(|id| path.child(id)), sent.text("memberType")?),
                _ => (Some(path.clone()), stored_group?.text("memberType")?),
            };
            Some(Wanted {
                besides: 0,
                path,
                members: group::members(sent),
                member_type,
                strategy: sent.text("consistencyStrategy").unwrap_or(group::STRATEGY_DEFAULT),
                max: sent.long("maxNrOfMembers"),
            })
        }
        (Body::Attribute { value: Value::List(members), .. }, Target::Attribute { path, .. }) => {
            let group = stored_group?;
            Some(Wanted {
                besides: 0,
                path: Some(path.clone()),
                members,
                member_type: group.text("memberType")?,
                strategy: group.text("consistencyStrategy").unwrap_or(group::STRATEGY_DEFAULT),
                max: group.long("maxNrOfMembers"),
            })
        }
        (
            Body::Attribute { value: Value::Text(member), .. },
            Target::Attribute { path, attribute: "members", rest, .. },
        ) if rest.is_empty() => {
            let group = stored_group?;
            Some(Wanted {
                besides: group::members(group).len(),
                path: Some(path.clone()),
                members: std::slice::from_ref(member),
                member_type: group.text("memberType")?,
                strategy: group.text("consistencyStrategy").unwrap_or(group::STRATEGY_DEFAULT),
                max: group.long("maxNrOfMembers"),
            })
        }
        _ => None,
    }
}

/// Whether the group that is written is there already.
fn exists(request: &RequestPrimitive) -> bool {
    request.method == Method::Update || matches!(request.body, Body::Attribute { .. })
}

fn starting() -> ResponsePrimitive {
    Refusal::new(StatusCode::ServiceUnavailable, "the node is starting").into()
}
