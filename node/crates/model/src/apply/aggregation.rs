//! Aggregations of a group: how one begins, and what comes in at its door (procedures.md 8.7).

use super::{Answer, queue, writer::Writer};
use crate::{
    Entity, Path, Refusal, Representation, ResourceType, ResponsePrimitive, StatusCode, TreeView,
    aggregation::{self, AGGREGATIONS},
    channel,
    command::QueueLimits,
    outbox::{Message, Notification},
    primitive::NotifyMedia,
    record::Resource,
    value::Struct,
};

/// When a member may come again whose notify a full aggregation did not take, milliseconds.
const FULL_RETRY_AFTER_MS: u32 = 5_000;

/// Begins an aggregation; once, however often it is asked for.
pub(super) fn begin<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    representation: &Representation,
    creator: &Entity,
    notify_media: NotifyMedia,
) -> Answer<V> {
    let group = path.parent().filter(|of| of.name() == Some(AGGREGATIONS)).and_then(|of| of.parent());
    let group = match group {
        Some(group) => writer.tree().resource(&group)?,
        None => None,
    };
    if group.is_none_or(|group| group.representation.resource_type != ResourceType::Group) {
        return Ok(Err(Refusal::not_found()));
    }
    if writer.tree().resource(path)?.is_none() {
        let representation = representation.clone();
        writer.rearm(path, None, representation.datetime("expirationTime"));
        let (path, creator) = (path.clone(), creator.0.clone());
        writer.count_resources(&path, 1)?;
        writer.put_resource(Resource {
            path,
            representation,
            creator,
            version: 1,
            subscriptions: 0,
            notify_media,
        })?;
    }
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}

/// Promises to send a member's notify on. What does not fit is not taken: the member keeps it and comes again. An empty
/// aggregation takes any.
pub(super) fn collect<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    message: &Struct,
    limits: QueueLimits,
) -> Answer<V> {
    let Some(subscription) = writer.tree().resource(path)? else { return Ok(Err(Refusal::not_found())) };
    if subscription.representation.resource_type != ResourceType::Subscription {
        return Ok(Err(Refusal::not_found()));
    }
    let notifies = aggregation::filled_in(message, &subscription);
    let octets: u64 = notifies.iter().map(channel::octets).sum();
    let waiting = aggregation::waiting(&writer.staged, path)?;
    let entries = waiting.entries.saturating_add(notifies.len() as u64);
    let is_full = entries > limits.entries_max || waiting.octets.saturating_add(octets) > limits.octets_max;
    if waiting.entries > 0 && is_full {
        return Ok(Ok(ResponsePrimitive {
            info: "the aggregation is full: its receiver does not take what waits".to_owned(),
            retry_after_ms: Some(FULL_RETRY_AFTER_MS),
            ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
        }));
    }
    let mut octets_before = waiting.octets_before;
    for notify in notifies {
        let octets = channel::octets(&notify);
        let message = Message::Notify {
            contact: aggregation::receiver(&subscription).to_owned(),
            creator: Some(subscription.creator.clone()),
            media: subscription.notify_media,
            hops: writer.hops,
            notification: Notification::Member { notify, octets_before },
        };
        octets_before += octets;
        queue::enqueue(writer, path, message, subscription.representation.datetime("delayTolerance"))?;
    }
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}
