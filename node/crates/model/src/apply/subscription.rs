//! Subscriptions: what a change makes them say, and how they begin and end (procedures.md 8).
//!
//! Whether a subscriber still may read is asked by the courier before each delivery, as is the spacing of notifies;
//! here every change is promised. A subscription whose queue is full ends: the alternatives are a queue without bound
//! and a hole in what was promised.

use super::{
    Answer, Effect, queue,
    writer::{SUBSCRIPTIONS, Watched, Writer},
};
use crate::{
    Path, Representation, ResourceType, ResponsePrimitive, Scl, StatusCode, Timestamp, TreeView, Value,
    aggregation,
    filter::FilterCriteria,
    outbox::{ENTRIES_MAX, Message, Notification},
    record::{Instance, Resource},
    represent,
    value::Struct,
};

/// What happened to the subscribed-to resource.
#[derive(Clone, Copy)]
pub(super) enum News<'a> {
    /// It is as it stands in the tree now.
    Changed,
    /// An instance came.
    Instance(&'a Instance),
}

/// What a subscription has to say about it.
enum Said {
    Nothing,
    This(Notification),
    /// It cannot go on.
    Over(StatusCode),
}

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

/// Counts a new subscription in and promises its first notify, unless its criteria exclude the present state. For
/// contentInstances that is the collection without instances: a notify carries what came since the last one.
pub(super) fn begin<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
) -> Result<(), V::Error> {
    let Some(path) = watched_path(&subscription.path) else { return Ok(()) };
    writer.count_subscription(&path, true)?;
    match writer.watched(&path)? {
        Some(watched) => tell(writer, &watched, subscription, News::Changed),
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
        Some(status) => farewell(writer, subscription, status),
        None => queue::drop_queue(writer, path),
    }
}

/// Promises the last notify. The queue has room for one entry more than for changes; subscriptions that come and go on
/// a queue that nobody empties add no further ones.
pub(super) fn farewell<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
    status: StatusCode,
) -> Result<(), V::Error> {
    if queue::waiting(writer, &subscription.path)? > ENTRIES_MAX {
        return Ok(());
    }
    enqueue(writer, subscription, Notification::Final(status))
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
        Said::This(_) if queue::waiting(writer, &subscription.path)? >= ENTRIES_MAX => {
            writer.effect(Effect::SubscriptionEnded(subscription.path.clone()));
            end(writer, subscription, Some(StatusCode::ServiceUnavailable))
        }
        Said::This(notification) => enqueue(writer, subscription, notification),
    }
}

fn enqueue<V: TreeView>(
    writer: &mut Writer<'_, V>,
    subscription: &Resource,
    notification: Notification,
) -> Result<(), V::Error> {
    let message = Message::Notify {
        contact: aggregation::receiver(subscription).to_owned(),
        creator: Some(subscription.creator.clone()),
        media: subscription.notify_media,
        notification,
    };
    queue::enqueue(writer, &subscription.path, message)
}

/// The result of a RETRIEVE of the subscribed-to resource with the subscription's filterCriteria (procedures.md 8.3).
fn say<V: TreeView>(
    writer: &Writer<'_, V>,
    watched: &Watched,
    subscription: &Resource,
    news: News<'_>,
) -> Result<Said, V::Error> {
    let criteria = match subscription.representation.get("filterCriteria") {
        Some(Value::Struct(criteria)) => criteria_of(criteria),
        _ => FilterCriteria::default(),
    };
    let bare = subscription.representation.get("noRepresentation") == Some(&Value::Bool(true));
    let scl = writer.scl;
    let whole = match (watched, news) {
        (Watched::Instances { container, state }, News::Instance(instance)) => {
            if !admits_resource(&criteria, watched) || !criteria.selects(instance) {
                return Ok(Said::Nothing);
            }
            if bare {
                return Ok(Said::This(Notification::Bare));
            }
            let content = !criteria.meta_data_only;
            match accessor(&criteria) {
                None if content => return Ok(Said::This(Notification::Instance(instance.clone()))),
                None => represent::instances(scl, container, state, [instance], content),
                Some("latest") => {
                    let shown = represent::instance(scl, container, instance, content);
                    return Ok(Said::This(Notification::Representation(shown)));
                }
                Some(_) => represented(scl, watched),
            }
        }
        _ => {
            if !admits_resource(&criteria, watched) {
                return Ok(Said::Nothing);
            }
            represented(scl, watched)
        }
    };
    Ok(match accessor(&criteria).map(|name| represent::narrowed(&whole, name)) {
        Some(None) => Said::Over(StatusCode::NotFound),
        _ if bare => Said::This(Notification::Bare),
        _ if lists_members(watched) => Said::This(Notification::Collection),
        Some(Some(part)) => Said::This(Notification::Representation(part)),
        None => Said::This(Notification::Representation(whole)),
    })
}

/// A resource as it stands; contentInstances with the counters of what is kept, but without instances: a notify carries
/// what came since the last one. Collections show no members: these are listed when the notify is delivered.
fn represented(scl: &Scl, watched: &Watched) -> Representation {
    match watched {
        Watched::Instances { container, state } => {
            let mut shown = represent::instances(scl, container, state, [], false);
            let long = |n: u64| Value::Long(i64::try_from(n).unwrap_or(i64::MAX));
            shown.set("currentNrOfInstances", long(state.count));
            shown.set("currentByteSize", long(state.bytes));
            shown
        }
        Watched::Resource(resource) => represent::resource(scl, resource, Vec::new()),
    }
}

/// A root collection's members live in all shards: its notify tells it without them.
fn lists_members(watched: &Watched) -> bool {
    matches!(watched, Watched::Resource(resource)
        if represent::lists_members(resource.representation.resource_type)
            && resource.path.root_collection().is_none())
}

fn accessor(criteria: &FilterCriteria) -> Option<&str> {
    criteria.attribute_accessor.as_deref().map(|text| text.trim_matches('/')).filter(|text| !text.is_empty())
}

fn admits_resource(criteria: &FilterCriteria, watched: &Watched) -> bool {
    match watched {
        Watched::Instances { state, .. } => {
            unchanged_conditions(criteria, Some(state.last_modified_time), &represent::instances_etag(state))
        }
        Watched::Resource(resource) => {
            let representation = &resource.representation;
            let modified = representation.datetime("lastModifiedTime");
            let strings = match representation.get("searchStrings") {
                Some(Value::List(strings)) => strings.as_slice(),
                _ => &[],
            };
            unchanged_conditions(criteria, modified, &represent::etag(resource))
                && created_between(criteria, representation.datetime("creationTime"))
                && criteria.search_string.iter().all(|wanted| strings.contains(wanted))
        }
    }
}

fn unchanged_conditions(criteria: &FilterCriteria, modified: Option<Timestamp>, etag: &str) -> bool {
    let after = |since| modified.is_none_or(|modified| modified > since);
    let before = |until| modified.is_none_or(|modified| modified < until);
    criteria.if_modified_since.is_none_or(after)
        && criteria.if_unmodified_since.is_none_or(before)
        && criteria.if_none_match.iter().all(|known| known.trim_matches('"') != etag)
}

fn created_between(criteria: &FilterCriteria, created: Option<Timestamp>) -> bool {
    criteria.created_after.is_none_or(|after| created.is_none_or(|created| created > after))
        && criteria.created_before.is_none_or(|before| created.is_none_or(|created| created < before))
}

fn criteria_of(criteria: &Struct) -> FilterCriteria {
    let time = |name| match criteria.get(name) {
        Some(Value::Datetime(at)) => Some(*at),
        _ => None,
    };
    let long = |name| match criteria.get(name) {
        Some(Value::Long(n)) => Some(*n),
        _ => None,
    };
    let texts = |name| {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        criteria.all(name).filter_map(text).collect::<Vec<String>>()
    };
    FilterCriteria {
        if_modified_since: time("ifModifiedSince"),
        if_unmodified_since: time("ifUnmodifiedSince"),
        if_none_match: texts("ifNoneMatch"),
        attribute_accessor: texts("attributeAccessor").pop(),
        search_string: texts("searchString"),
        created_after: time("createdAfter"),
        created_before: time("createdBefore"),
        size_from: long("sizeFrom"),
        size_until: long("sizeUntil"),
        content_type: texts("contentType"),
        search_prefix: None,
        max_size: None,
        meta_data_only: criteria.get("metaDataOnly") == Some(&Value::Bool(true)),
    }
}

/// What the subscription at this path watches; an aggregation watches nothing.
fn watched_path(subscription: &Path) -> Option<Path> {
    if aggregation::is_aggregation(subscription) {
        return None;
    }
    subscription.parent()?.parent()
}
