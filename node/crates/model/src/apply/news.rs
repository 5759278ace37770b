//! What a change makes a subscription say (procedures.md 8.3): the result of a RETRIEVE of the subscribed-to resource
//! with the subscription's filterCriteria.
//!
//! With an attributeAccessor only that is said, and only when it differs from what stood there before the command. Where
//! it names nothing (any more) the subscription cannot go on.

use super::writer::{Watched, Writer};
use crate::{
    Body, Representation, Scl, StatusCode, Timestamp, TreeView, Value, conditions,
    filter::FilterCriteria,
    outbox::Notification,
    record::{Instance, Resource},
    represent,
    tree::Tree,
};

/// What happened to the subscribed-to resource.
#[derive(Clone, Copy)]
pub(super) enum News<'a> {
    /// The subscription is new.
    First,
    /// It is as it stands in the tree now.
    Changed,
    /// An instance came.
    Instance(&'a Instance),
}

/// What a subscription has to say about it.
pub(super) enum Said {
    Nothing,
    This(Notification),
    /// It cannot go on.
    Over(StatusCode),
}

/// What this subscription says. The tree must show the change already.
pub(super) fn say<V: TreeView>(
    writer: &Writer<'_, V>,
    watched: &Watched,
    subscription: &Resource,
    news: News<'_>,
) -> Result<Said, V::Error> {
    let criteria = FilterCriteria::of_subscription(&subscription.representation);
    let excluded = matches!(news, News::Instance(instance) if !criteria.selects(instance));
    if excluded || !admits_resource(&criteria, watched) {
        return Ok(Said::Nothing);
    }
    let bare = subscription.representation.get("noRepresentation") == Some(&Value::Bool(true));
    let Ok(accessor) = criteria.accessor() else { return Ok(Said::Over(StatusCode::NotFound)) };
    let Some(first) = accessor.first() else {
        let whole = || whole(writer.scl, watched, &criteria, news);
        return Ok(Said::This(if bare { Notification::Bare } else { whole() }));
    };

    let came = match news {
        News::Instance(instance) => Some(instance),
        News::First | News::Changed => None,
    };
    let tree = writer.tree();
    let Some(part) = part(&tree, watched, &criteria, &accessor, came)? else {
        return Ok(Said::Over(StatusCode::NotFound));
    };
    let listed = is_listed(watched, first);
    if !listed && !matches!(news, News::First) {
        let before = writer.before();
        let before = match Watched::at(&before, &watched.path())? {
            Some(watched) => self::part(&before, &watched, &criteria, &accessor, None)?,
            None => None,
        };
        if before.as_ref() == Some(&part) {
            return Ok(Said::Nothing);
        }
    }
    Ok(Said::This(match part {
        _ if bare => Notification::Bare,
        _ if listed => Notification::Collection,
        part => part.into(),
    }))
}

/// What is said without an accessor.
fn whole(scl: &Scl, watched: &Watched, criteria: &FilterCriteria, news: News<'_>) -> Notification {
    match (watched, news) {
        (Watched::Instances { .. }, News::Instance(instance)) if criteria.meta_data_only => {
            Notification::MetaData(instance.without_content())
        }
        (Watched::Instances { .. }, News::Instance(instance)) => Notification::Instance(instance.clone()),
        (Watched::Instances { state, .. }, News::First) if state.count > 0 => {
            Notification::Present { up_to: state.latest }
        }
        (Watched::Resource(resource), _) if lists_members(resource) => Notification::Collection,
        _ => Notification::Representation(represented(scl, watched, None)),
    }
}

/// What the accessor selects; `None`: nothing. The instances behind `latest` and `oldest` may come, so these stay valid.
fn part<V: TreeView>(
    tree: &Tree<'_, V>,
    watched: &Watched,
    criteria: &FilterCriteria,
    accessor: &[String],
    came: Option<&Instance>,
) -> Result<Option<Body>, V::Error> {
    let whole = match (watched, accessor) {
        (Watched::Resource(resource), _) => represent::with_running(tree.scl, resource, Vec::new()),
        (Watched::Instances { container, state }, [end, rest @ ..]) if end == "latest" || end == "oldest" => {
            let sequence = if end == "latest" { state.latest } else { state.oldest };
            let found = if state.count > 0 { tree.instance(container, sequence)? } else { None };
            let Some(instance) = found.filter(|found| criteria.selects(found)) else {
                return Ok(Some(Body::None));
            };
            let shown = represent::instance(tree.scl, container, &instance, !criteria.meta_data_only);
            return Ok(represent::part(shown, represent::accessor(rest)).ok());
        }
        _ => represented(tree.scl, watched, came),
    };
    Ok(represent::part(whole, represent::accessor(accessor)).ok())
}

/// A resource as it stands; contentInstances with the counters of what is kept, but only with the instance that came: a
/// notify carries what is new. Collections show no members: these are listed when the notify is delivered.
fn represented(scl: &Scl, watched: &Watched, came: Option<&Instance>) -> Representation {
    match watched {
        Watched::Instances { container, state } => {
            let mut shown = represent::instances(scl, container, state, came, true);
            let long = |n: u64| Value::Long(i64::try_from(n).unwrap_or(i64::MAX));
            shown.set("currentNrOfInstances", long(state.count));
            shown.set("currentByteSize", long(state.bytes));
            shown
        }
        Watched::Resource(resource) => represent::resource(scl, resource, Vec::new()),
    }
}

/// A root collection's members live in all shards: its notify tells it without them.
fn lists_members(resource: &Resource) -> bool {
    represent::lists_members(resource.representation.resource_type)
        && resource.path.root_collection().is_none()
}

/// Whether this attribute lists the members of what is watched, which are not read here.
fn is_listed(watched: &Watched, name: &str) -> bool {
    let Watched::Resource(resource) = watched else { return false };
    let attribute = resource.representation.resource_type.attribute(name);
    lists_members(resource) && attribute.is_some_and(|attribute| represent::listed_type(attribute).is_some())
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
        && criteria.if_none_match.iter().all(|known| conditions::resource_tag(known) != etag)
}

fn created_between(criteria: &FilterCriteria, created: Option<Timestamp>) -> bool {
    criteria.created_after.is_none_or(|after| created.is_none_or(|created| created > after))
        && criteria.created_before.is_none_or(|before| created.is_none_or(|created| created < before))
}
