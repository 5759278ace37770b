//! Subscriptions at the members of a group whose notifies are wanted together (procedures.md 8.7).
//!
//! Where a fan-out subscribes and names an aggregateURI, the group's leader begins an aggregation first, and gives the
//! members its door as the contact. What changes or deletes the members' subscriptions through the group does the same
//! to their aggregation.
//!
//! Nothing here is remembered: the aggregation has its name from the request, so that a repetition finds it, and a mark
//! of the members' subscriptions, so that these lead to it.

use super::{Desk, call::Reached};
use crate::subtree::ShardHandle;
use banyan_model::{
    Body, Method, Operation, Path, Refusal, RequestId, RequestPrimitive, ResourceType, ResponsePrimitive,
    Scl, StatusCode, Value, aggregation, group, validate,
};
use std::time::Instant;

/// What a fan-out has to do with aggregations.
pub(super) enum Aggregation {
    None,
    /// It subscribes, and this one was begun for it.
    Begun {
        path: Path,
        contact: Contact,
    },
    /// It deletes what these are for.
    Ending(Vec<Path>),
}

/// How members call the door of an aggregation.
pub(super) struct Contact {
    /// Inside this SCL.
    here: String,
    /// At another one; `None`: this SCL does not know how others call it, and their members notify the contact itself.
    elsewhere: Option<String>,
}

impl Contact {
    fn new(scl: &Scl, public_uri: Option<&str>, door: &Path) -> Contact {
        let address = scl.address(door);
        let configured = public_uri.map(|uri| uri.trim_end_matches('/').to_owned());
        let origin = configured.or_else(|| Some(format!("http://{}", scl.authorities.first()?)));
        let elsewhere = origin.map(|origin| format!("{origin}{address}"));
        // A member may be a group whose members are elsewhere.
        let is_ours = |uri: &&String| scl.local_path(uri).is_some();
        Contact { here: elsewhere.as_ref().filter(is_ours).unwrap_or(&address).clone(), elsewhere }
    }
}

impl Aggregation {
    /// The request as one member is asked.
    pub(super) fn for_member(&self, request: &mut RequestPrimitive, reached: &Reached) {
        if let Aggregation::Begun { contact, .. } = self {
            let contact = match reached {
                Reached::Here(_) => Some(contact.here.clone()),
                Reached::Elsewhere => contact.elsewhere.clone(),
            };
            validate::for_members(request, contact);
        }
    }
}

impl Desk {
    /// What is to be done before the members are asked.
    ///
    /// # Errors
    /// The answer to the whole request.
    pub(super) async fn aggregate(
        &self,
        group: &Path,
        suffix: &[String],
        request: &mut RequestPrimitive,
        id: RequestId,
        shard: &ShardHandle,
        deadline: Instant,
    ) -> Result<Aggregation, ResponsePrimitive> {
        match request.method {
            Method::Create => self.begin_aggregation(group, suffix, request, id, shard, deadline).await,
            Method::Update | Method::Delete => {
                let Some(subscribed) = aggregation::subscribed_at(suffix, None) else {
                    return Ok(Aggregation::None);
                };
                let mut known = shard.aggregations(group).map_err(|_| unavailable())?;
                known.retain(|path| path.name().is_some_and(|name| aggregation::is_of(name, subscribed)));
                match request.method {
                    _ if known.is_empty() => Ok(Aggregation::None),
                    Method::Delete => Ok(Aggregation::Ending(known)),
                    _ => {
                        self.update_aggregations(&known, request, id, deadline).await?;
                        Ok(Aggregation::None)
                    }
                }
            }
            _ => Ok(Aggregation::None),
        }
    }

    async fn begin_aggregation(
        &self,
        group: &Path,
        suffix: &[String],
        request: &mut RequestPrimitive,
        id: RequestId,
        shard: &ShardHandle,
        deadline: Instant,
    ) -> Result<Aggregation, ResponsePrimitive> {
        let Body::Representation(subscription) = &mut request.body else { return Ok(Aggregation::None) };
        let is_wanted = subscription.resource_type == ResourceType::Subscription
            && subscription.get("aggregateURI").is_some();
        if !is_wanted {
            return Ok(Aggregation::None);
        }
        let drawn = rand::random();
        // All members get the same name for it, so that it can be deleted through the group.
        if subscription.get("id").is_none() {
            let name = match id.session {
                0 => drawn,
                _ => group::part_id(id, group, "the subscription").session,
            };
            subscription.set("id", Value::Text(format!("{name:016x}")));
        }
        let name = subscription.text("id").unwrap_or_default().to_owned();
        let Some(subscribed) = aggregation::subscribed_at(suffix, Some(&name)) else {
            return Ok(Aggregation::None);
        };
        let path = aggregation::of_group(group).child(aggregation::name(id, drawn, group, subscribed));
        let begun = tokio::time::timeout_at(deadline.into(), shard.aggregate(group, &path, request)).await;
        match begun {
            Ok(Ok(answer)) if answer.status == StatusCode::Ok => {}
            Ok(Ok(refused)) => return Err(refused),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%group, error, "an aggregation was not begun");
                return Err(unavailable());
            }
            Err(_) => return Err(unavailable()),
        }
        let Some(scl) = self.scl() else { return Err(unavailable()) };
        let contact = Contact::new(&scl, self.inner.config.public_uri.as_deref(), &aggregation::door(&path));
        Ok(Aggregation::Begun { path, contact })
    }

    /// Changes the aggregations as the members' subscriptions are to be changed. Who may not, or asks for what cannot be,
    /// is told so by the members, each for itself.
    ///
    /// # Errors
    /// The answer of an aggregation that could not be changed now: the members would notify by other rules than it.
    async fn update_aggregations(
        &self,
        known: &[Path],
        request: &mut RequestPrimitive,
        id: RequestId,
        deadline: Instant,
    ) -> Result<(), ResponsePrimitive> {
        let Some(scl) = self.scl() else { return Err(unavailable()) };
        let mut changed = false;
        for path in known {
            let update = RequestPrimitive { group_request: None, ..request.clone() };
            let part = group::part_id(id, path, "the aggregation");
            let answer = self.call_as(&scl.address(path), part, update, deadline).await;
            if is_failure(&answer) {
                return Err(answer);
            }
            changed |= answer.status == StatusCode::Ok;
        }
        if changed {
            validate::for_members(request, None);
        }
        Ok(())
    }

    /// Ends aggregations that nobody notifies: no member was subscribed to, or none is any more.
    pub(super) async fn settle(
        &self,
        aggregation: &Aggregation,
        answers: &[ResponsePrimitive],
        shard: &ShardHandle,
        deadline: Instant,
    ) {
        let succeeded = |answer: &ResponsePrimitive| {
            matches!(answer.status, StatusCode::Ok | StatusCode::Created | StatusCode::Accepted)
        };
        let gone = |answer: &ResponsePrimitive| succeeded(answer) || answer.status == StatusCode::NotFound;
        let ended = match aggregation {
            // Who was not reached in time may have subscribed.
            Aggregation::Begun { path, .. }
                if !answers.iter().any(|answer| succeeded(answer) || is_unknown(answer)) =>
            {
                std::slice::from_ref(path)
            }
            Aggregation::Ending(paths) if answers.iter().any(succeeded) && answers.iter().all(gone) => paths,
            _ => &[],
        };
        for path in ended {
            let end = Operation::EndSubscription { path: path.clone(), final_status: None };
            let ended = tokio::time::timeout_at(deadline.into(), shard.operate(end)).await;
            if !matches!(ended, Ok(Ok(_))) {
                tracing::warn!(aggregation = %path, "an aggregation that nobody notifies stays until its expirationTime");
            }
        }
    }
}

fn is_unknown(answer: &ResponsePrimitive) -> bool {
    matches!(answer.status, StatusCode::RequestTimeout | StatusCode::GatewayTimeout)
}

/// The same request may succeed later.
fn is_failure(answer: &ResponsePrimitive) -> bool {
    let failures = [StatusCode::InternalServerError, StatusCode::BadGateway, StatusCode::ServiceUnavailable];
    is_unknown(answer) || failures.contains(&answer.status)
}

fn unavailable() -> ResponsePrimitive {
    Refusal::new(StatusCode::ServiceUnavailable, "the aggregation cannot be written now").into()
}
