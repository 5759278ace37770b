//! Subscriptions: what a change makes them say, and how they begin and end (procedures.md 8).
//!
//! Whether a subscriber still may read is asked by the courier before each delivery, as is the spacing of notifies;
//! here every change is promised, in a queue that has a bound:
//!
//! - Where the subscription asks for time between its notifies (minimalTimeBetweenNotifications, delayTolerance), and
//!   above `STATES_MAX` in any case, only the newest state waits: it takes the place of the state before it.
//! - An instance is no state: each is told. Above `COPIES_MAX` they wait by reference, up to a notify full in an entry.
//! - A subscription that has `ENTRIES_MAX` waiting all the same ends, and one last entry says so.

use super::{
    Answer, Effect,
    news::{Said, say},
    queue,
    writer::{EXEC_INSTANCES, INSTANCES, SUBSCRIPTIONS, Watched, Writer},
};
use crate::{
    Path, ResourceType, ResponsePrimitive, StatusCode, Timestamp, TreeView, aggregation, index,
    outbox::{self, COPIES_MAX, ENTRIES_MAX, Message, Notification, STATES_MAX},
    record::{Record, Resource},
    tree::Tree,
};

pub(super) use super::news::News;

/// Promises a notify to every subscription on this path whose criteria let the news through. The tree must show the
/// change already. Without subscriptions it costs one read.
pub(super) fn notify<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    news: News<'_>,
) -> Result<(), V::Error> {
    let Some(watched) = writer.watched(path)? else { return Ok(()) };
    let count = match &watched {
        Watched::Resource(resource) => resource.subscriptions,
        Watched::Instances { state, .. } => state.subscriptions,
    };
    if count == 0 {
        return Ok(());
    }
    for subscription in writer.tree().children(&path.child(SUBSCRIPTIONS))? {
        tell(writer, &watched, &subscription, news)?;
    }
    Ok(())
}

/// Counts a new subscription in and promises its first notify, unless its criteria exclude the present state.
pub(super) fn begin<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
) -> Result<(), V::Error> {
    let Some(path) = watched_path(&subscription.path) else { return Ok(()) };
    writer.count_subscription(&path, true)?;
    if let Some(key) = index::of_subscription(&writer.tree(), &subscription.path)? {
        writer.staged.put(key, Record::Pointer(0));
    }
    match writer.watched(&path)? {
        Some(watched) => tell(writer, &watched, subscription, News::First),
        None => Ok(()),
    }
}

/// Removes a subscription. With a status its queue gets that as a last entry; without, nobody is told and the queue goes.
pub(super) fn end<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
    last: Option<StatusCode>,
) -> Result<(), V::Error> {
    let path = &subscription.path;
    writer.rearm(path, subscription.representation.datetime("expirationTime"), None);
    writer.delete_resource(subscription);
    writer.count_resources(path, -1)?;
    if let Some(parent) = path.parent()
        && let Some(mut collection) = writer.tree().resource(&parent)?
    {
        writer.touch(&mut collection);
        writer.put_resource(collection)?;
    }
    if let Some(watched) = watched_path(path) {
        writer.count_subscription(&watched, false)?;
    }
    match last {
        // What waits is no longer for its eyes.
        Some(status @ StatusCode::PermissionDenied) => {
            queue::remove_until(writer, path, u64::MAX)?;
            farewell(writer, subscription, status)
        }
        Some(status) => farewell(writer, subscription, status),
        None => {
            forget_right(writer, path)?;
            queue::drop_queue(writer, path)
        }
    }
}

fn forget_right<V: TreeView>(writer: &mut Writer<'_, V>, subscription: &Path) -> Result<(), V::Error> {
    for key in [
        index::of_subscription(&writer.before(), subscription)?,
        // It may have begun with this very command.
        index::of_subscription(&writer.tree(), subscription)?,
    ] {
        key.into_iter().for_each(|key| writer.staged.delete(key));
    }
    Ok(())
}

/// Another right governs what stands at this path and what has no right of its own below it.
pub(super) fn governed_anew<V: TreeView>(writer: &mut Writer<'_, V>, path: &Path) -> Result<(), V::Error> {
    for watched in [path.clone(), path.child(INSTANCES), path.child(EXEC_INSTANCES)] {
        let count = match writer.watched(&watched)? {
            Some(Watched::Resource(resource)) => resource.subscriptions,
            Some(Watched::Instances { state, .. }) => state.subscriptions,
            None => 0,
        };
        if count == 0 {
            continue;
        }
        for subscription in writer.tree().children(&watched.child(SUBSCRIPTIONS))? {
            forget_right(writer, &subscription.path)?;
            if let Some(key) = index::of_subscription(&writer.tree(), &subscription.path)? {
                writer.staged.put(key, Record::Pointer(0));
            }
        }
    }
    // The leader asks again whether the subscribers may read.
    if let Some(right) = right_at(&writer.tree(), path)? {
        writer.effect(Effect::AccessRightChanged(right));
    }
    Ok(())
}

fn right_at<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Option<Path>, V::Error> {
    let uri = tree.resource(path)?;
    let uri = uri.as_ref().and_then(|resource| resource.representation.text("accessRightID"));
    Ok(uri.and_then(|uri| tree.scl.local_path(uri)))
}

/// Promises the last notify. The queue has room for one entry more than for changes; subscriptions that come and go on
/// a queue that nobody empties add no further ones.
pub(super) fn farewell<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
    status: StatusCode,
) -> Result<(), V::Error> {
    forget_right(writer, &subscription.path)?;
    if queue::waiting(writer, &subscription.path)? > ENTRIES_MAX {
        return Ok(());
    }
    let reason = subscription.representation.text("timeoutReason");
    let last = match reason.filter(|_| status == StatusCode::Expired) {
        Some(reason) => Notification::TimedOut(reason.to_owned()),
        None => Notification::Final(status),
    };
    enqueue(writer, subscription, last)
}

/// EndSubscription: the courier found that the contact refuses for good, or that the right to read is gone. Idempotent.
pub(super) fn end_subscription<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    last: Option<StatusCode>,
) -> Answer<V> {
    if let Some(subscription) = writer.tree().resource(path)?
        && subscription.representation.resource_type == ResourceType::Subscription
    {
        end(writer, &subscription, last)?;
    }
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}

fn tell<V: TreeView>(
    writer: &mut Writer<'_, V>,
    watched: &Watched,
    subscription: &Resource,
    news: News<'_>,
) -> Result<(), V::Error> {
    match say(writer, watched, subscription, news)? {
        Said::Nothing => Ok(()),
        Said::Over(status) => end(writer, subscription, Some(status)),
        Said::This(notification) => promise(writer, subscription, notification),
    }
}

/// Adds a notify to the queue, or lets it take the place of what it makes superfluous there.
fn promise<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
    notification: Notification,
) -> Result<(), V::Error> {
    let path = &subscription.path;
    let waiting = queue::waiting(writer, path)?;
    if waiting >= ENTRIES_MAX {
        writer.effect(Effect::SubscriptionEnded(path.clone()));
        return end(writer, subscription, Some(StatusCode::ServiceUnavailable));
    }
    if waiting == 0 || !(waiting >= STATES_MAX || waits(subscription)) {
        return enqueue(writer, subscription, notification);
    }
    let is_copied = waiting < COPIES_MAX;
    let mut notification = if is_copied { notification } else { notification.by_reference() };
    let Some(last) = queue::last(writer, path)? else { return enqueue(writer, subscription, notification) };
    if let Message::Notify { notification: waiting, .. } = &last.message
        && waiting.is_superseded(&mut notification)
    {
        let by = outbox::due(&notification, tolerance(subscription));
        let message = notify_of(writer.hops, subscription, notification);
        return queue::replace(writer, last, message, by);
    }
    enqueue(writer, subscription, notification)
}

/// Whether its notifies are to wait for each other.
fn waits(subscription: &Resource) -> bool {
    let least = subscription.representation.long("minimalTimeBetweenNotifications");
    least.is_some_and(|ms| ms > 0) || tolerance(subscription).is_some()
}

fn tolerance(subscription: &Resource) -> Option<Timestamp> {
    subscription.representation.datetime("delayTolerance")
}

fn enqueue<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
    notification: Notification,
) -> Result<(), V::Error> {
    let by = match notification.is_last() {
        true => Some(writer.at),
        false => outbox::due(&notification, tolerance(subscription)),
    };
    let message = notify_of(writer.hops, subscription, notification);
    queue::enqueue(writer, &subscription.path, message, by)
}

fn notify_of(hops: u32, subscription: &Resource, notification: Notification) -> Message {
    Message::Notify {
        contact: aggregation::receiver(subscription).to_owned(),
        creator: Some(subscription.creator.clone()),
        media: subscription.notify_media,
        hops,
        notification,
    }
}

/// What the subscription at this path watches; an aggregation watches nothing.
fn watched_path(subscription: &Path) -> Option<Path> {
    if aggregation::is_aggregation(subscription) {
        return None;
    }
    subscription.parent()?.parent()
}
