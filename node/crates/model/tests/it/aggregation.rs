//! Aggregations of a group: they begin once, take what they have room for, and end like the subscriptions they are.

use crate::support::{Shard, create, delete, issuer, path, representation, status};
use banyan_model::{
    Body, Operation, Path, ResourceType, StatusCode, Value,
    aggregation::{self, Waiting},
    command::QueueLimits,
    outbox::{Message, NOTIFY_BYTES_MAX, next_notify},
    primitive::NotifyMedia,
    value::Struct,
};

const GROUP: &str = "/applications/a/groups/g";
const AGGREGATION: &str = "/applications/a/groups/g/aggregations/x";
const RECEIVER: &str = "http://receiver";

fn shard() -> Shard {
    let mut shard = Shard::default();
    shard.apply(create("/applications/a", ResourceType::Application, &[]));
    shard.apply(create(GROUP, ResourceType::Group, &[("memberType", "CONTAINER")]));
    assert_eq!(status(&shard.apply(begin(&[]))), StatusCode::Ok);
    shard
}

fn begin(attributes: &[(&str, &str)]) -> Operation {
    let mut whole = representation(ResourceType::Subscription, attributes);
    whole.set("aggregateURI", Value::Text(RECEIVER.to_owned()));
    Operation::Aggregate {
        path: path(AGGREGATION),
        representation: whole,
        creator: issuer(),
        notify_media: NotifyMedia::Xml,
    }
}

fn notify(member: &str) -> Struct {
    let reference = ("subscriptionReference", Value::Text(member.to_owned()));
    Struct { name: "Notify", fields: vec![("statusCode", Value::Text("STATUS_OK".to_owned())), reference] }
}

fn sent(message: Struct) -> Operation {
    let limits = QueueLimits { entries_max: 3, octets_max: 1_000 };
    Operation::Enqueue { channel: path(AGGREGATION), message, limits }
}

fn queue() -> Path {
    path(AGGREGATION)
}

fn waiting(shard: &Shard) -> Waiting {
    aggregation::waiting(&shard.memory, &queue()).unwrap()
}

#[test]
fn what_members_notify_waits_in_order_and_leaves_as_one_collection() {
    let mut shard = shard();
    for member in ["one", "two"] {
        assert_eq!(status(&shard.apply(sent(notify(member)))), StatusCode::Ok);
    }
    assert_eq!(shard.said(&queue()), ["member one", "member two"]);
    let entries = shard.queue(&queue());
    let next = next_notify(&shard.scl, &entries).unwrap();
    assert_eq!((next.contact.as_str(), next.up_to), (RECEIVER, entries[1].sequence));
    assert_eq!(next.creator.as_deref(), Some(issuer().0.as_str()));
    let texts = |name: &str| -> Vec<Value> {
        next.collection.iter().map(|notify| notify.get(name).unwrap().clone()).collect()
    };
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(texts("subscriptionReference"), [text("one"), text("two")]);
    assert_eq!(texts("requestingEntity"), [text(&issuer().0), text(&issuer().0)]);
    assert_eq!(texts("contact"), [text("http://contact"), text("http://contact")]);
    assert_eq!(next.body, Body::None);
}

#[test]
fn a_collection_that_comes_in_is_taken_apart() {
    let mut shard = shard();
    let fields = ["one", "two"].map(|member| ("notify", Value::Struct(notify(member)))).to_vec();
    shard.apply(sent(Struct { name: "NotifyCollection", fields }));
    assert_eq!(shard.said(&queue()), ["member one", "member two"]);
}

#[test]
fn one_collection_holds_no_more_octets_than_a_notify() {
    let mut shard = shard();
    let half = "x".repeat(usize::try_from(NOTIFY_BYTES_MAX / 2).unwrap());
    let limits = QueueLimits { entries_max: 10, octets_max: 10 * NOTIFY_BYTES_MAX };
    for _ in 0..3 {
        shard.apply(Operation::Enqueue { channel: queue(), message: notify(&half), limits });
    }
    let entries = shard.queue(&queue());
    let first = next_notify(&shard.scl, &entries).unwrap();
    assert_eq!((first.collection.len(), first.up_to), (1, entries[0].sequence), "two are more than that");
}

#[test]
fn a_full_aggregation_takes_nothing_until_something_left() {
    let mut shard = shard();
    for member in ["one", "two", "three"] {
        assert_eq!(status(&shard.apply(sent(notify(member)))), StatusCode::Ok);
    }
    let full = shard.apply(sent(notify("four")));
    assert_eq!(status(&full), StatusCode::ServiceUnavailable);
    assert!(full.response.retry_after_ms.is_some() && full.changes.is_empty());
    let first = shard.queue(&queue())[0].sequence;
    shard.apply(Operation::Acknowledge { queue: queue(), up_to: first });
    assert_eq!(waiting(&shard).entries, 2);
    assert_eq!(status(&shard.apply(sent(notify("four")))), StatusCode::Ok);
    assert_eq!(shard.said(&queue()), ["member two", "member three", "member four"]);
}

#[test]
fn octets_are_counted_from_what_waits_and_a_large_notify_finds_room_when_nothing_does() {
    let mut shard = shard();
    let large = "x".repeat(2_000);
    assert_eq!(status(&shard.apply(sent(notify(&large)))), StatusCode::Ok);
    assert_eq!(status(&shard.apply(sent(notify("small")))), StatusCode::ServiceUnavailable);
    let first = shard.queue(&queue())[0].sequence;
    shard.apply(Operation::Acknowledge { queue: queue(), up_to: first });
    assert_eq!(waiting(&shard), Waiting::default());
    shard.apply(sent(notify("small")));
    let one = waiting(&shard);
    shard.apply(sent(notify("small")));
    let two = waiting(&shard);
    assert_eq!((two.entries, two.octets), (2, 2 * one.octets));
    shard.apply(Operation::Acknowledge { queue: queue(), up_to: shard.queue(&queue())[0].sequence });
    assert_eq!((waiting(&shard).entries, waiting(&shard).octets), (1, one.octets));
}

#[test]
fn it_begins_once_and_only_in_a_group() {
    let mut shard = shard();
    shard.apply(sent(notify("one")));
    assert!(shard.apply(begin(&[("minimalTimeBetweenNotifications", "5")])).changes.is_empty());
    let Operation::Aggregate { representation, creator, notify_media, .. } = begin(&[]) else { panic!() };
    for elsewhere in ["/applications/a/groups/h/aggregations/x", "/applications/a/aggregations/x"] {
        let operation = Operation::Aggregate {
            path: path(elsewhere),
            representation: representation.clone(),
            creator: creator.clone(),
            notify_media,
        };
        assert_eq!(status(&shard.apply(operation)), StatusCode::NotFound, "{elsewhere}");
    }
    let nowhere = Operation::Enqueue {
        channel: path("/applications/a/groups/g/aggregations/y"),
        message: notify("one"),
        limits: QueueLimits { entries_max: 3, octets_max: 1_000 },
    };
    assert_eq!(status(&shard.apply(nowhere)), StatusCode::NotFound);
}

/// The group's own subscriptions are not its aggregations', and the other way round.
#[test]
fn a_group_that_changes_tells_its_subscribers_and_no_aggregation() {
    let mut shard = shard();
    let own = format!("{GROUP}/subscriptions/s");
    shard.apply(create(&own, ResourceType::Subscription, &[]));
    shard.apply(Operation::Acknowledge { queue: path(&own), up_to: u64::MAX });
    assert_eq!(status(&shard.apply(delete(AGGREGATION))), StatusCode::Ok);
    assert_eq!(shard.said(&queue()), [""; 0], "who deletes it hears nothing");
    shard.apply(Operation::RemoveMembers { group: path(GROUP), members: Vec::new() });
    let update = Operation::UpdateAttribute {
        path: path(GROUP),
        attribute: "searchStrings",
        value: Value::List(vec!["x".to_owned()]),
        conditions: Default::default(),
    };
    shard.apply(update);
    assert_eq!(shard.said(&path(&own)), ["group"], "still counted as subscribed to");
}

#[test]
fn it_ends_with_its_group_and_at_its_time_and_what_waits_is_still_sent() {
    let mut gone = shard();
    gone.apply(sent(notify("one")));
    gone.apply(delete(GROUP));
    assert_eq!(gone.said(&queue()), ["member one", "final Deleted"]);
    assert_eq!(status(&gone.apply(sent(notify("two")))), StatusCode::NotFound);

    let mut shard = Shard::default();
    shard.apply(create("/applications/a", ResourceType::Application, &[]));
    shard.apply(create(GROUP, ResourceType::Group, &[("memberType", "CONTAINER")]));
    shard.apply(begin(&[("expirationTime", "2000")]));
    shard.apply(sent(notify("one")));
    shard.at.0 = 2_000;
    shard.apply(Operation::Expire);
    assert_eq!(shard.said(&queue()), ["member one", "final Expired"]);
    let contact = shard.queue(&queue()).into_iter().map(|entry| match entry.message {
        Message::Notify { contact, .. } => contact,
        other => panic!("{other:?}"),
    });
    assert!(contact.eq([RECEIVER, RECEIVER]), "who hears the notifies hears that there will be no more");
}
