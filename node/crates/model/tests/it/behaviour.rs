//! What the commands do, as scripts and what they print.

use crate::support::{self, Shard, path, representation};
use banyan_model::{
    Body, Command, Operation, Path, RequestId, ResourceType, StatusCode, Timestamp, TreeView, Value,
    apply::{self, Effect},
    index::Term,
    key::{Key, Range},
    outbox::{Message, Notification, OutboxEntry, held_until, is_void, next_notify},
    partial::Edit,
    placement::ShardId,
    primitive::Conditions,
    query,
};
use std::ops::ControlFlow;

/// Runs a script line by line and compares what the lines print. Commands print their status, `show` a container's
/// instances with their counters, `queue` what waits, `records` how many records there are besides sclBase's own.
fn check(script: &str, expected: &str) {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let mut shard = Shard::default();
    let printed: Vec<String> = lines(script).iter().filter_map(|line| run(&mut shard, line)).collect();
    assert_eq!(printed, lines(expected), "{script}");
}

fn run(shard: &mut Shard, line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.get(1).copied().unwrap_or_default();
    let (conditional, attributes): (Vec<_>, Vec<(&str, &str)>) =
        words.iter().filter_map(|word| word.split_once('=')).partition(|(name, _)| *name == "if-match");
    let if_match = conditional.into_iter().map(|(_, etag)| etag.to_owned()).collect();
    let conditions = Conditions { if_match, ..Conditions::default() };
    let mut shown = Vec::new();
    let operation = match words[0] {
        "at" => {
            shard.at = Timestamp(at.parse().unwrap());
            return None;
        }
        "create" => support::create(at, ResourceType::from_name(words[2]).unwrap(), &attributes),
        "instance" => {
            support::instance(at, Some(words[2]).filter(|id| *id != "-"), words.get(3).unwrap_or(&"x"))
        }
        "update" => Operation::Update {
            path: path(at),
            representation: representation(ResourceType::from_name(words[2]).unwrap(), &attributes),
            conditions,
        },
        "set" => {
            let of = ResourceType::from_name(words[2]).unwrap();
            let (name, value) = representation(of, &attributes).attributes.remove(0);
            Operation::UpdateAttribute { path: path(at), attribute: name, value, conditions }
        }
        "add" | "remove" => {
            // `add containers/c searchStrings x`, `remove containers/c searchStrings[/x]`
            let (name, below) = words[2].split_once('/').unwrap_or((words[2], ""));
            let attribute = ResourceType::Container.attribute(name).unwrap().field.name;
            let edit = match words[0] {
                "add" => Edit::Add(Value::Text(words[3].to_owned())),
                _ => Edit::Remove,
            };
            let (target, at) = (at, path(below).segments().to_vec());
            Operation::EditAttribute { path: path(target), attribute, at, edit, conditions }
        }
        "delete" => Operation::Delete { path: path(at), conditions },
        "expire" => Operation::Expire,
        "ack" => {
            let waiting = shard.queue(&path(at));
            let upto: usize = words[2].parse().unwrap();
            Operation::Acknowledge { queue: path(at), up_to: waiting[upto - 1].sequence }
        }
        "end" => {
            let denied = words.get(2).map(|_| StatusCode::PermissionDenied);
            Operation::EndSubscription { path: path(at), final_status: denied }
        }
        "changed" => Operation::CollectionChanged {
            collection: "applications",
            shard: ShardId(7),
            sequence: at.parse().unwrap(),
            at: shard.at,
        },
        "show" => {
            let Some(state) = shard.instances(&path(at)) else { return Some("none".into()) };
            let ids: Vec<String> = shard.kept(&path(at)).into_iter().map(|one| one.id).collect();
            let line = format!(
                "{} count={} bytes={} oldest={} latest={}",
                ids.join(" "),
                state.count,
                state.bytes,
                state.oldest,
                state.latest
            );
            return Some(line.trim().to_owned());
        }
        "queue" => {
            let said = shard.said(&path(at)).join(", ");
            return Some(format!("queue: {said}").trim().to_owned());
        }
        "attributes" => {
            let resource = shard.tree().resource(&path(at)).unwrap().unwrap();
            let names = resource.representation.attributes.iter().map(|(name, _)| *name);
            return Some(names.collect::<Vec<_>>().join(" "));
        }
        "subscriptions" => {
            return Some(shard.tree().resource(&path(at)).unwrap().unwrap().subscriptions.to_string());
        }
        "list" => {
            let resource = shard.tree().resource(&path(at)).unwrap().unwrap();
            let Some(Value::List(entries)) = resource.representation.get(words[2]) else { return None };
            return Some(entries.join(" "));
        }
        "governed" => {
            let of = Range::index(Term::Governs(at), &Path::scl_base(), None);
            let mut found = Vec::new();
            let visit = &mut |key: &[u8], _| {
                found.push(Key::indexed_path(key).unwrap().to_string());
                ControlFlow::Continue(())
            };
            shard.memory.scan(&of, false, visit).unwrap();
            return Some(format!("governed: {}", found.join(" ")).trim().to_owned());
        }
        "records" => return Some(shard.memory.records.len().to_string()),
        other => panic!("no such verb: {other}"),
    };
    let outcome = shard.apply(operation);
    for effect in &outcome.effects {
        match effect {
            Effect::Due(at) => shown.push(format!("due {}", at.0)),
            Effect::AccessRightChanged(_) => shown.push("right changed".to_owned()),
            Effect::SubscriptionEnded(_) => shown.push("subscription ended".to_owned()),
            Effect::ChannelChanged(_) => shown.push("channel changed".to_owned()),
            Effect::Deliver { .. } | Effect::SubtreeChanged(_) => {}
        }
    }
    let info = Some(outcome.response.info).filter(|info| !info.is_empty());
    let status = format!("{:?}", outcome.response.status);
    Some([status].into_iter().chain(info).chain(shown).collect::<Vec<_>>().join("; "))
}

#[test]
fn entries_of_lists_are_edited_in_the_log_so_that_none_is_lost() {
    check(
        "create containers/c container searchStrings=a
         create containers/c/subscriptions/s subscription
         add containers/c searchStrings b
         add containers/c searchStrings c
         add containers/c searchStrings b
         list containers/c searchStrings
         remove containers/c searchStrings/a
         remove containers/c searchStrings/a
         list containers/c searchStrings
         remove containers/c searchStrings
         add containers/c creationTime x
         queue containers/c/subscriptions/s",
        "Created
         Created
         Created
         Created
         Conflict; searchStrings: b is there already
         a b c
         Ok
         NotFound; no such resource
         b c
         Ok
         BadRequest; creationTime: cannot be written
         queue: container, container, container, container, container",
    );
}

#[test]
fn a_full_container_evicts_its_oldest_instances() {
    check(
        "create containers/c container maxNrOfInstances=2
         instance containers/c i1 a
         instance containers/c - bb
         instance containers/c i3 ccc
         show containers/c
         create containers/d container maxByteSize=5
         instance containers/d i1 aaa
         instance containers/d i2 bb
         instance containers/d i3 cccc
         show containers/d
         instance containers/d i4 dddddd
         show containers/d",
        "Created
         Created
         Created
         Created
         ci-0000000000000002 i3 count=2 bytes=5 oldest=2 latest=3
         Created
         Created
         Created
         Created
         i3 count=1 bytes=4 oldest=3 latest=3
         BadRequest; content: larger than maxByteSize
         i3 count=1 bytes=4 oldest=3 latest=3",
    );
}

#[test]
fn a_chosen_name_is_free_again_once_its_owner_is_gone() {
    check(
        "create containers/c container maxNrOfInstances=1
         create containers/c container
         instance containers/c x
         instance containers/c x
         instance containers/c y
         instance containers/c x
         instance containers/c latest
         instance containers/c ci-0000000000000009
         delete containers/c/contentInstances/y
         delete containers/c/contentInstances/x
         show containers/c
         create applications/subscriptions application
         create applications/a/containers/c container
         instance containers/none x",
        "Created
         Conflict; id: c is taken
         Created
         Conflict; id: x is taken
         Created
         Created
         BadRequest; id: latest is reserved
         BadRequest; id: ci-0000000000000009 is reserved
         NotFound; no such resource
         Ok
         count=0 bytes=0 oldest=0 latest=0
         BadRequest; id: subscriptions is reserved
         NotFound; no such resource
         NotFound; no such resource",
    );
}

#[test]
fn deleting_an_end_moves_it_to_its_neighbour() {
    check(
        "create containers/c container
         instance containers/c a
         instance containers/c b
         instance containers/c c
         instance containers/c d
         delete containers/c/contentInstances/b
         delete containers/c/contentInstances/a
         show containers/c
         delete containers/c/contentInstances/d
         show containers/c",
        "Created
         Created
         Created
         Created
         Created
         Ok
         Ok
         c d count=2 bytes=2 oldest=3 latest=4
         Ok
         c count=1 bytes=1 oldest=3 latest=3",
    );
}

#[test]
fn a_subscriber_hears_the_present_state_then_every_change_then_the_end() {
    check(
        "create containers/c container
         create containers/c/contentInstances/subscriptions/s subscription
         create containers/c/subscriptions/t subscription noRepresentation=true
         instance containers/c a
         instance containers/c b
         delete containers/c/contentInstances/a
         update containers/c container maxNrOfInstances=5
         queue containers/c/contentInstances/subscriptions/s
         queue containers/c/subscriptions/t
         delete containers/c
         queue containers/c/contentInstances/subscriptions/s
         queue containers/c/subscriptions/t
         records
         ack containers/c/contentInstances/subscriptions/s 5
         ack containers/c/subscriptions/t 3
         ack containers 2
         records",
        "Created
         Created
         Created
         Created
         Created
         Ok
         Ok
         queue: contentInstances, instance a, instance b, contentInstances
         queue: bare, bare
         Ok
         queue: contentInstances, instance a, instance b, contentInstances, final Deleted
         queue: bare, bare, final Deleted
         13
         Ok
         Ok
         Ok
         1",
    );
}

#[test]
fn criteria_decide_what_a_subscriber_hears() {
    check(
        "create containers/c container
         create containers/c/contentInstances/subscriptions/big subscription filter.sizeFrom=2
         create containers/c/contentInstances/subscriptions/latest subscription filter.attributeAccessor=latest
         create containers/c/contentInstances/subscriptions/meta subscription filter.metaDataOnly=true
         create containers/c/contentInstances/subscriptions/png subscription filter.contentType=image/*
         create containers/c/subscriptions/later subscription filter.ifModifiedSince=1000
         create containers/c/subscriptions/wrong subscription filter.attributeAccessor=nonsense
         instance containers/c small x
         instance containers/c large xxx
         queue containers/c/contentInstances/subscriptions/big
         queue containers/c/contentInstances/subscriptions/latest
         queue containers/c/contentInstances/subscriptions/meta
         queue containers/c/contentInstances/subscriptions/png
         queue containers/c/subscriptions/later
         queue containers/c/subscriptions/wrong
         subscriptions containers/c
         at 2000
         update containers/c container
         queue containers/c/subscriptions/later",
        "Created
         Created
         Created
         Created
         Created
         Created
         Created
         Created
         Created
         queue: contentInstances, instance large
         queue: bare, contentInstance, contentInstance
         queue: contentInstances, meta data of small, meta data of large
         queue: contentInstances
         queue:
         queue: final NotFound
         1
         Ok
         queue: container",
    );
}

#[test]
fn a_subscription_ends_in_its_own_way() {
    check(
        "create containers/c container
         create containers/c/subscriptions/own subscription
         create containers/c/subscriptions/denied subscription
         create containers/c/subscriptions/refused subscription
         create containers/c/subscriptions/old subscription expirationTime=1500
         create containers/c/subscriptions/late subscription expirationTime=1500 timeoutReason=late
         delete containers/c/subscriptions/own
         end containers/c/subscriptions/denied PermissionDenied
         end containers/c/subscriptions/refused
         end containers/c/subscriptions/refused
         at 1500
         expire
         queue containers/c/subscriptions/own
         queue containers/c/subscriptions/denied
         queue containers/c/subscriptions/refused
         queue containers/c/subscriptions/old
         queue containers/c/subscriptions/late
         subscriptions containers/c",
        "Created
         Created
         Created
         Created
         Created; due 1500
         Created; due 1500
         Ok
         Ok
         Ok
         Ok
         Ok
         queue:
         queue: final PermissionDenied
         queue:
         queue: container, final Expired
         queue: container, timed out: late
         0",
    );
}

#[test]
fn what_is_due_goes_with_everything_below() {
    check(
        "create applications/a application expirationTime=3000
         create applications/a/containers/c container expirationTime=5000 maxInstanceAge=1000
         at 1100
         instance applications/a/containers/c x
         at 1600
         instance applications/a/containers/c y
         at 2100
         expire
         show applications/a/containers/c
         set applications/a application expirationTime=2500
         at 2500
         expire
         show applications/a/containers/c
         records",
        "Created; due 3000
         Created; due 5000
         Created; due 2100
         Created
         Ok; due 2600
         y count=1 bytes=1 oldest=2 latest=2
         Ok; due 2500
         Ok
         none
         3",
    );
}

#[test]
fn an_update_replaces_what_may_be_written_and_nothing_else() {
    check(
        "create containers/c container maxNrOfInstances=9 searchStrings=a,b
         instance containers/c a
         instance containers/c b
         instance containers/c c
         update containers/c container maxNrOfInstances=2
         attributes containers/c
         show containers/c
         set containers/c container maxNrOfInstances=1
         show containers/c
         set containers/c container creationTime=5
         update containers/c container if-match=nonsense
         update containers/c application
         create accessRights/r accessRight
         update accessRights/r accessRight
         delete accessRights/r",
        "Created
         Created
         Created
         Created
         Ok
         searchStrings creationTime lastModifiedTime maxNrOfInstances
         b c count=2 bytes=2 oldest=2 latest=3
         Ok
         c count=1 bytes=1 oldest=3 latest=3
         BadRequest; creationTime: cannot be written
         PreconditionFailed; If-Match: does not hold
         BadRequest; not the type of the addressed resource
         Created; right changed
         Ok; right changed
         Ok; right changed",
    );
}

#[test]
fn a_root_collection_hears_of_its_members_once() {
    check(
        "create applications/subscriptions/s subscription
         changed 5
         changed 5
         changed 4
         changed 6
         queue applications/subscriptions/s
         create applications/a application
         delete applications/a
         queue applications",
        "Created
         Ok
         Ok
         Ok
         Ok
         queue: applications, applications, applications
         Created
         Ok
         queue: changed, changed",
    );
}

#[test]
fn a_queue_that_is_started_anew_repeats_no_sequence() {
    let mut shard = Shard::default();
    let subscription = "containers/c/subscriptions/s";
    shard.apply(support::create("containers/c", ResourceType::Container, &[]));
    shard.apply(support::create(subscription, ResourceType::Subscription, &[]));
    let old = shard.queue(&path(subscription)).pop().unwrap();
    shard.apply(support::delete(subscription));
    shard.at = Timestamp(shard.at.0 + 1);
    shard.apply(support::create(subscription, ResourceType::Subscription, &[]));
    // The acknowledgement of what was under way when the subscription was deleted.
    shard.apply(Operation::Acknowledge { queue: path(subscription), up_to: old.sequence });
    assert_eq!(shard.said(&path(subscription)), ["container"]);
}

#[test]
fn a_full_queue_ends_its_subscription_and_keeps_what_it_has() {
    let mut shard = Shard::default();
    let subscription = "containers/c/contentInstances/subscriptions/s";
    shard.apply(support::create("containers/c", ResourceType::Container, &[("maxNrOfInstances", "1")]));
    shard.apply(support::create(subscription, ResourceType::Subscription, &[]));
    // Two of them are more than one notify carries, so each has an entry of its own.
    let large = support::instance("containers/c", None, &"x".repeat(600_000));
    for _ in 1..banyan_model::outbox::ENTRIES_MAX {
        shard.apply(large.clone());
    }
    assert_eq!(shard.instances(&path("containers/c")).unwrap().subscriptions, 1);
    let outcome = shard.apply(large);
    assert!(outcome.effects.contains(&Effect::SubscriptionEnded(path(subscription))));
    assert_eq!(outcome.response.status, StatusCode::Created);
    assert_eq!(shard.instances(&path("containers/c")).unwrap().subscriptions, 0);
    let said = shard.said(&path(subscription));
    assert_eq!(said.len(), 10_001);
    assert_eq!(said.last().unwrap(), "final ServiceUnavailable");
}

#[test]
fn a_subscriber_that_wants_time_between_notifies_is_told_the_newest_state_only() {
    check(
        "create containers/c container
         create containers/c/subscriptions/s subscription minimalTimeBetweenNotifications=1000
         update containers/c container searchStrings=a
         update containers/c container searchStrings=b
         queue containers/c/subscriptions/s
         create containers/c/subscriptions/t subscription
         update containers/c container searchStrings=c
         queue containers/c/subscriptions/t
         create containers/c/contentInstances/subscriptions/i subscription delayTolerance=9000
         instance containers/c a
         instance containers/c b
         delete containers/c/contentInstances/a
         queue containers/c/contentInstances/subscriptions/i
         instance containers/c d
         queue containers/c/contentInstances/subscriptions/i",
        "Created
         Created
         Ok
         Ok
         queue: container
         Created
         Ok
         queue: container, container
         Created
         Created
         Created
         Ok
         queue: instance a, instance b, contentInstances
         Created
         queue: instance a, instance b, instance d",
    );
}

#[test]
fn what_takes_the_place_of_a_delivery_under_way_is_not_acknowledged_with_it() {
    let mut shard = Shard::default();
    let subscription = "containers/c/subscriptions/s";
    let timed = [("minimalTimeBetweenNotifications", "1000")];
    shard.apply(support::create("containers/c", ResourceType::Container, &[]));
    shard.apply(support::create(subscription, ResourceType::Subscription, &timed));
    let first = shard.queue(&path(subscription)).pop().unwrap();
    let update = |shard: &mut Shard, strings| {
        shard.at = Timestamp(shard.at.0 + 1);
        let representation = representation(ResourceType::Container, &[("searchStrings", strings)]);
        let conditions = Conditions::default();
        shard.apply(Operation::Update { path: path("containers/c"), representation, conditions });
    };
    update(&mut shard, "a");
    let second = shard.queue(&path(subscription));
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].at, first.at, "it waits as long as what it replaced");
    update(&mut shard, "b");
    shard.apply(Operation::Acknowledge { queue: path(subscription), up_to: second[0].sequence });
    let left = shard.queue(&path(subscription));
    let Some(Body::Representation(whole)) = next_notify(&shard.scl, &left).map(|notify| notify.body) else {
        panic!("the newest state is still owed")
    };
    assert_eq!(whole.get("searchStrings"), Some(&Value::List(vec!["b".into()])));
}

#[test]
fn above_their_bounds_states_replace_each_other_and_instances_wait_by_reference() {
    use banyan_model::outbox::{COPIES_MAX, STATES_MAX};
    let mut shard = Shard::default();
    shard.apply(support::create("containers/c", ResourceType::Container, &[("maxNrOfInstances", "2")]));
    let (of, to) =
        (path("containers/c/subscriptions/s"), path("containers/c/contentInstances/subscriptions/s"));
    for subscription in [&of, &to] {
        shard.apply(support::create(&subscription.to_string(), ResourceType::Subscription, &[]));
    }
    for n in 0..2 * STATES_MAX {
        let strings = n.to_string();
        let representation = representation(
            ResourceType::Container,
            &[("maxNrOfInstances", "2"), ("searchStrings", &strings)],
        );
        let conditions = Conditions::default();
        shard.apply(Operation::Update { path: path("containers/c"), representation, conditions });
    }
    let mut waiting = shard.queue(&of);
    assert_eq!(waiting.len() as u64, STATES_MAX);
    let newest = next_notify(&shard.scl, &[waiting.pop().unwrap()]).unwrap();
    let Body::Representation(newest) = newest.body else { panic!("a state") };
    assert_eq!(newest.get("searchStrings"), Some(&Value::List(vec!["127".into()])));

    for _ in 0..COPIES_MAX + 150 {
        shard.apply(support::instance("containers/c", None, "x"));
    }
    let waiting = shard.queue(&to);
    let stored: Vec<usize> = waiting
        .iter()
        .filter_map(|entry| match &entry.message {
            Message::Notify { notification: Notification::Stored { sequences, .. }, .. } => {
                Some(sequences.len())
            }
            _ => None,
        })
        .collect();
    assert_eq!((waiting.len() as u64, stored), (COPIES_MAX + 2, vec![100, 51]));
    // Of those by reference the two that are kept are told.
    let told = |entry: &OutboxEntry| {
        let Message::Notify { notification, .. } = &entry.message else { panic!("a notify") };
        let notification = query::told(&shard.memory, &shard.scl, &to, notification.clone()).unwrap();
        let mut entry = entry.clone();
        if let Message::Notify { notification: promised, .. } = &mut entry.message {
            *promised = notification;
        }
        entry
    };
    assert!(is_void(&told(&waiting[waiting.len() - 2])));
    let last = next_notify(&shard.scl, &[told(&waiting[waiting.len() - 1])]).unwrap();
    let Body::Representation(last) = last.body else { panic!("instances") };
    assert_eq!(last.long("currentNrOfInstances"), Some(2));
}

#[test]
fn subscriptions_are_found_by_the_right_that_governs_what_they_watch() {
    check(
        "create containers/c container accessRightID=/m2m/accessRights/r
         create containers/c/subscriptions/s subscription
         create containers/c/contentInstances/subscriptions/t subscription
         create containers/d container accessRightID=/m2m/accessRights/r
         create containers/d/subscriptions/u subscription
         governed /accessRights/r
         update containers/c container accessRightID=/m2m/accessRights/q
         governed /accessRights/r
         governed /accessRights/q
         delete containers/c/subscriptions/s
         governed /accessRights/q
         update containers/c container
         governed /accessRights/q
         end containers/d/subscriptions/u PermissionDenied
         queue containers/d/subscriptions/u
         governed /accessRights/r",
        "Created
         Created
         Created
         Created
         Created
         governed: /containers/d/subscriptions/u /containers/c/contentInstances/subscriptions/t /containers/c/subscriptions/s
         Ok; right changed
         governed: /containers/d/subscriptions/u
         governed: /containers/c/contentInstances/subscriptions/t /containers/c/subscriptions/s
         Ok
         governed: /containers/c/contentInstances/subscriptions/t
         Ok
         governed:
         Ok
         queue: final PermissionDenied
         governed:",
    );
}

#[test]
fn a_notify_knows_how_many_led_to_it() {
    let mut shard = Shard::default();
    let subscription = path("containers/c/contentInstances/subscriptions/s");
    shard.apply(support::create("containers/c", ResourceType::Container, &[]));
    shard.apply(support::create(&subscription.to_string(), ResourceType::Subscription, &[]));
    let operation = support::instance("containers/c", None, "x");
    let (id, entity) = (RequestId::default(), support::issuer());
    let command = Command { id, at: shard.at, hops: 3, entity, operation };
    let outcome = apply::apply(&shard.memory, &shard.scl, shard.at, &command).unwrap();
    shard.memory.write(outcome.changes);
    let entries = shard.queue(&subscription);
    let notify = next_notify(&shard.scl, &entries[1..]).unwrap();
    assert_eq!((next_notify(&shard.scl, &entries).unwrap().hops, notify.hops), (0, 3));
}

#[test]
fn what_waits_is_held_back_as_long_as_all_of_it_may_wait() {
    let mut shard = Shard::default();
    let subscription = path("containers/c/contentInstances/subscriptions/s");
    shard.apply(support::create("containers/c", ResourceType::Container, &[]));
    shard.apply(support::create(&subscription.to_string(), ResourceType::Subscription, &[]));
    let first = shard.queue(&subscription).remove(0);
    shard.apply(Operation::Acknowledge { queue: subscription.clone(), up_to: first.sequence });
    let mut tolerant = |by: Option<i64>| {
        let mut operation = support::instance("containers/c", None, "x");
        if let (Operation::CreateInstance { representation, .. }, Some(by)) = (&mut operation, by) {
            representation.set("delayTolerance", Value::Datetime(Timestamp(by)));
        }
        let outcome = shard.apply(operation);
        let queue = subscription.clone();
        assert!(outcome.effects.contains(&Effect::Deliver { queue, by: by.map(Timestamp) }));
        shard.queue(&subscription)
    };
    assert_eq!(held_until(&tolerant(Some(9_000)), None), Some(Timestamp(9_000)));
    let both = tolerant(Some(5_000));
    assert_eq!(held_until(&both, None), Some(Timestamp(5_000)), "as long as the one that may wait least");
    assert_eq!(held_until(&both, Some(Timestamp(4_000))), Some(Timestamp(4_000)));
    let all = tolerant(None);
    assert_eq!(held_until(&all, None), None, "one may not wait");
    assert_eq!(
        held_until(&all, Some(Timestamp(4_000))),
        Some(Timestamp(4_000)),
        "the subscriber waits for it"
    );
}

#[test]
fn an_accessor_is_told_alone_and_only_when_it_changes() {
    check(
        "create containers/c container searchStrings=a,b maxNrOfInstances=3
         create containers/c/subscriptions/strings subscription filter.attributeAccessor=searchStrings
         create containers/c/subscriptions/entry subscription filter.attributeAccessor=searchStrings/a
         create containers/c/contentInstances/subscriptions/count subscription filter.attributeAccessor=currentNrOfInstances
         create containers/c/contentInstances/subscriptions/oldest subscription filter.attributeAccessor=oldest
         update containers/c container searchStrings=a,b maxNrOfInstances=4
         add containers/c searchStrings x
         instance containers/c one
         instance containers/c two
         queue containers/c/subscriptions/strings
         queue containers/c/subscriptions/entry
         queue containers/c/contentInstances/subscriptions/count
         queue containers/c/contentInstances/subscriptions/oldest
         remove containers/c searchStrings/a
         queue containers/c/subscriptions/strings
         queue containers/c/subscriptions/entry
         subscriptions containers/c",
        "Created
         Created
         Created
         Created
         Created
         Ok
         Created
         Created
         Created
         queue: attribute searchStrings, attribute searchStrings
         queue: bare
         queue: attribute currentNrOfInstances, attribute currentNrOfInstances, attribute currentNrOfInstances
         queue: bare, contentInstance
         Ok
         queue: attribute searchStrings, attribute searchStrings, attribute searchStrings
         queue: bare, final NotFound
         1",
    );
}

#[test]
fn the_first_notify_of_instances_holds_the_newest_that_fit() {
    let mut shard = Shard::default();
    shard.apply(support::create("containers/c", ResourceType::Container, &[]));
    for n in 0..150 {
        shard.apply(support::instance(
            "containers/c",
            Some(&format!("i{n}")),
            if n % 2 == 0 { "x" } else { "xx" },
        ));
    }
    let first = |shard: &mut Shard, name: &str, criteria: &[(&str, &str)]| {
        let subscription = path(&format!("containers/c/contentInstances/subscriptions/{name}"));
        shard.apply(support::create(&subscription.to_string(), ResourceType::Subscription, criteria));
        // What comes later is another notify.
        shard.apply(support::instance("containers/c", None, "xxx"));
        let promised = shard.queue(&subscription).remove(0);
        let Message::Notify { notification, .. } = promised.message else { panic!("a notify") };
        match query::told(&shard.memory, &shard.scl, &subscription, notification).unwrap() {
            Notification::Representation(whole) => {
                let Some(Value::Struct(inline)) = whole.get("contentInstanceCollection") else {
                    panic!("a list")
                };
                let ids = inline.all("contentInstance").map(|one| match one {
                    Value::Resource(one) => one.text("id").unwrap().to_owned(),
                    other => panic!("{other:?}"),
                });
                ids.collect::<Vec<String>>()
            }
            other => panic!("{other:?}"),
        }
    };
    let all = first(&mut shard, "all", &[]);
    assert_eq!((all.len(), all[0].as_str(), all[99].as_str()), (100, "i50", "i149"));
    let large = first(&mut shard, "large", &[("filter.sizeFrom", "1"), ("filter.sizeUntil", "3")]);
    assert_eq!((large.len(), large[0].as_str(), large[74].as_str()), (75, "i1", "i149"));
}

#[test]
fn a_request_is_applied_once_and_answered_the_same() {
    let mut shard = Shard::default();
    let id = |sequence, acked_below| RequestId { session: 9, sequence, acked_below };
    let create = || support::create("containers/c", ResourceType::Container, &[]);
    assert_eq!(shard.apply_as(id(1, 1), create()).response.status, StatusCode::Created);
    assert_eq!(shard.apply_as(id(2, 1), create()).response.status, StatusCode::Conflict);
    let before = shard.memory.clone();
    assert_eq!(shard.apply_as(id(1, 1), create()).replayed.unwrap(), "Created");
    assert_eq!(shard.apply_as(id(2, 1), create()).replayed.unwrap(), "Conflict");
    assert_eq!(shard.memory, before);

    shard.apply_as(id(3, 3), support::delete("containers/c"));
    let replies = |shard: &Shard| {
        (1..=3).filter(|n| shard.memory.records.contains_key(&Key::reply(9, *n))).collect::<Vec<u64>>()
    };
    assert_eq!(replies(&shard), [3]);
    let before = shard.memory.clone();
    let late = shard.apply_as(id(1, 1), create());
    assert_eq!((late.response.status, late.reply), (StatusCode::RequestTimeout, None));
    assert_eq!(shard.memory, before);

    shard.at = Timestamp(shard.at.0 + 15 * 60_000);
    shard.apply(Operation::Expire);
    assert_eq!(replies(&shard), [3]);
    shard.at = Timestamp(shard.at.0 + 60_000);
    shard.apply(Operation::Expire);
    assert_eq!(replies(&shard), [0; 0]);
    assert!(!shard.memory.records.contains_key(&Key::session(9)));
}

#[test]
fn a_thousand_due_resources_go_in_several_commands() {
    let mut shard = Shard::default();
    for n in 0..600 {
        let at = format!("applications/a{n}");
        shard.apply(support::create(&at, ResourceType::Application, &[("expirationTime", "2000")]));
    }
    shard.at = Timestamp(2000);
    let mut rounds = 0;
    while shard.apply(Operation::Expire).effects.contains(&Effect::Due(Timestamp(2000))) {
        rounds += 1;
    }
    assert_eq!(rounds, 2);
    assert!((0..600).all(|n| shard.tree().resource(&path(&format!("applications/a{n}"))).unwrap().is_none()));
}

#[test]
fn one_notify_carries_a_run_of_instances() {
    let mut shard = Shard::default();
    let subscription = path("containers/c/contentInstances/subscriptions/s");
    shard.apply(support::create("containers/c", ResourceType::Container, &[]));
    shard.apply(support::create(&subscription.to_string(), ResourceType::Subscription, &[]));
    for n in 0..150 {
        shard.apply(support::instance("containers/c", Some(&format!("i{n}")), "xyz"));
    }
    shard.apply(support::delete("containers/c"));
    let mut told = Vec::new();
    let mut entries = shard.queue(&subscription);
    while let Some(notify) = next_notify(&shard.scl, &entries) {
        let Body::Representation(whole) = &notify.body else {
            told.push((notify.status, None, notify.contact));
            break;
        };
        let count = whole.long("currentNrOfInstances");
        told.push((notify.status, count, notify.contact));
        entries.retain(|entry| entry.sequence > notify.up_to);
    }
    let told: Vec<_> = told.iter().map(|(status, count, to)| (*status, *count, to.as_str())).collect();
    let to = "http://contact";
    assert_eq!(
        told,
        [
            (StatusCode::Ok, Some(0), to),
            (StatusCode::Ok, Some(100), to),
            (StatusCode::Ok, Some(50), to),
            (StatusCode::Deleted, None, to),
        ]
    );
    assert_eq!(next_notify(&shard.scl, &shard.queue(&path("containers"))), None);
}
