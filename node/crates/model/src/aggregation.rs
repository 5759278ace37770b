//! Aggregations: what the members of a group notify, collected and sent on together (procedures.md 8.7).
//!
//! Who subscribes at the members of a group and names an aggregateURI gets an aggregation in the group: a subscription
//! that stands at `<group>/aggregations/<name>` and watches nothing. The members' subscriptions have its door as their
//! contact. What comes in there waits in the aggregation's queue of the outbox and leaves as notifyCollections.
//!
//! Who knows the door may notify there, so the name cannot be guessed. It ends with a mark of the members'
//! subscriptions, by which these and their aggregation are changed and deleted together.
//!
//! Invariants: an aggregation belongs to its group's subtree and goes with it; what was answered with 2xx at the door is
//! in the outbox.

use crate::{
    Path, RequestId, ResourceType, TreeView, Value,
    key::{Key, Range},
    outbox::{Message, Notification, OutboxEntry},
    record::{Record, Resource},
    value::Struct,
};
use std::ops::ControlFlow;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Where the aggregations of a group stand.
pub const AGGREGATIONS: &str = "aggregations";
/// Where the members notify. Not `contact`, which is an attribute of a subscription.
pub const DOOR: &str = "collect";
const SUBSCRIPTIONS: &str = "subscriptions";

/// Whether an aggregation would stand there, by the shape of the path alone.
pub fn is_aggregation(path: &Path) -> bool {
    matches!(path.segments(), [.., groups, _, of, _] if groups == ResourceType::Groups.name() && of == AGGREGATIONS)
}

/// The aggregations of a group.
pub fn of_group(group: &Path) -> Path {
    group.child(AGGREGATIONS)
}

/// Where the members of this one notify.
pub fn door(aggregation: &Path) -> Path {
    aggregation.child(DOOR)
}

/// The subscription that a request to `membersContent/<suffix>` is about: what is asked of each member, without its name.
/// `None`: it is about no single one.
pub fn subscribed_at<'a>(suffix: &'a [String], name: Option<&'a str>) -> Option<(&'a [String], &'a str)> {
    match (suffix, name) {
        ([.., last], Some(name)) if last == SUBSCRIPTIONS => Some((suffix, name)),
        ([above @ .., name], None) if above.last().is_some_and(|last| last == SUBSCRIPTIONS) => {
            Some((above, name))
        }
        _ => None,
    }
}

/// The name of the aggregation of a new subscription: the same when the request is sent again. `drawn` is drawn for a
/// request without id.
pub fn name(id: RequestId, drawn: u64, group: &Path, subscribed: (&[String], &str)) -> String {
    let mut hash = Xxh3::new();
    hash.update(b"aggregation");
    match id.session {
        0 => hash.update(&drawn.to_be_bytes()),
        session => {
            hash.update(&session.to_be_bytes());
            hash.update(&id.sequence.to_be_bytes());
        }
    }
    hash.update(group.to_string().as_bytes());
    format!("{:016x}{}", hash.digest(), mark(subscribed))
}

/// Whether an aggregation of this name is that of the subscription.
pub fn is_of(name: &str, subscribed: (&[String], &str)) -> bool {
    name.ends_with(&mark(subscribed))
}

fn mark((suffix, name): (&[String], &str)) -> String {
    format!("{:016x}", xxh3_64(format!("{}/{name}", suffix.join("/")).as_bytes()))
}

/// Where notifies about a subscription go: of an aggregation to aggregateURI, unless that is empty.
pub fn receiver(subscription: &Resource) -> &str {
    let text = |name| subscription.representation.text(name).unwrap_or_default();
    match is_aggregation(&subscription.path) {
        true if !text("aggregateURI").is_empty() => text("aggregateURI"),
        _ => text("contact"),
    }
}

/// The notifies of a body, each with who subscribed and which contact it was for.
pub(crate) fn filled_in(message: &Struct, subscription: &Resource) -> Vec<Struct> {
    let notifies: Vec<&Struct> = match message.name {
        "NotifyCollection" => message.all("notify").filter_map(as_struct).collect(),
        _ => vec![message],
    };
    let contact = subscription.representation.text("contact").unwrap_or_default();
    let filled = |notify: &Struct| {
        let mut notify = notify.clone();
        for (name, text) in [("requestingEntity", subscription.creator.as_str()), ("contact", contact)] {
            if notify.get(name).is_none() {
                notify.fields.push((name, Value::Text(text.to_owned())));
            }
        }
        notify
    };
    notifies.into_iter().map(filled).collect()
}

fn as_struct(value: &Value) -> Option<&Struct> {
    match value {
        Value::Struct(inner) => Some(inner),
        _ => None,
    }
}

/// What waits in an aggregation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Waiting {
    /// Notifies.
    pub entries: u64,
    /// About how many octets they take.
    pub octets: u64,
    /// How many octets came before the next one, ever: what that notes down, so that nothing is counted twice.
    pub octets_before: u64,
}

/// Looks at both ends of the queue, whatever is between them.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn waiting<V: TreeView>(view: &V, aggregation: &Path) -> Result<Waiting, V::Error> {
    let range = Range::outbox(aggregation);
    let end = |reverse| -> Result<Option<(u64, u64, u64)>, V::Error> {
        let (mut found, mut corrupt) = (None, None);
        view.scan(&range, reverse, &mut |key, record| {
            match record {
                Record::Outbox(OutboxEntry { sequence, message, .. }) => {
                    found = match message {
                        Message::Notify {
                            notification: Notification::Member { notify, octets_before },
                            ..
                        } => Some((sequence, octets_before, octets_before + crate::channel::octets(&notify))),
                        _ => None,
                    };
                }
                _ => corrupt = Some(view.corrupt(key)),
            }
            ControlFlow::Break(())
        })?;
        corrupt.map_or(Ok(found), Err)
    };
    Ok(match (end(false)?, end(true)?) {
        (Some((first, before, _)), Some((last, _, after))) => {
            Waiting { entries: last - first + 1, octets: after - before, octets_before: after }
        }
        _ => Waiting::default(),
    })
}

/// The aggregations that a group has, of which there are few.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn listed<V: TreeView>(view: &V, group: &Path) -> Result<Vec<Path>, V::Error> {
    let mut found = Vec::new();
    let of_group = of_group(group);
    view.scan(&Range::children(&of_group), false, &mut |key, _| {
        found.extend(Key::name(key).map(|name| of_group.child(name)));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::path;

    fn suffix(text: &str) -> Vec<String> {
        path(text).segments().to_vec()
    }

    #[test]
    fn a_subscription_at_the_members_is_told_by_its_address() {
        let check = |at: &str, name: Option<&str>, expected: Option<(&str, &str)>| {
            let at = suffix(at);
            let found = subscribed_at(&at, name).map(|(above, name)| (above.join("/"), name.to_owned()));
            let expected = expected.map(|(above, name)| (above.to_owned(), name.to_owned()));
            assert_eq!(found, expected, "{at:?}");
        };
        check("subscriptions", Some("s"), Some(("subscriptions", "s")));
        check("contentInstances/subscriptions/s", None, Some(("contentInstances/subscriptions", "s")));
        check("contentInstances/subscriptions", None, None);
        check("contentInstances", Some("s"), None);
        check("subscriptions/s/contact", None, None);
    }

    #[test]
    fn an_aggregation_keeps_its_name_and_is_found_by_its_subscription() {
        let (group, at) = (path("groups/g"), suffix("contentInstances/subscriptions"));
        let id = RequestId { session: 3, sequence: 4, acked_below: 0 };
        let first = name(id, 1, &group, (&at, "s"));
        assert_eq!(first, name(RequestId { acked_below: 2, ..id }, 2, &group, (&at, "s")), "sent again");
        assert_ne!(first, name(RequestId { sequence: 5, ..id }, 1, &group, (&at, "s")));
        let none = RequestId::default();
        assert_ne!(name(none, 1, &group, (&at, "s")), name(none, 2, &group, (&at, "s")));
        assert!(is_of(&first, (&at, "s")));
        assert!(!is_of(&first, (&at, "t")) && !is_of(&first, (&at[1..], "s")));
        let aggregation = of_group(&group).child(first.as_str());
        assert!(
            is_aggregation(&aggregation) && is_aggregation(&path("applications/a/groups/g/aggregations/x"))
        );
        assert!(!is_aggregation(&group) && !is_aggregation(&door(&aggregation)));
    }
}
