//! What notifies leave in a container: instances under their own ids and times, in the order of their arrival.

use crate::support::{Shard, create, instance, path, status};
use banyan_model::{
    Content, Operation, Representation, RequestId, ResourceType, StatusCode, Timestamp, Value,
    value::ContentForm,
};

const CONTAINER: &str = "/applications/a/containers/c";

fn shard(limits: &[(&str, &str)]) -> Shard {
    let mut shard = Shard::default();
    shard.apply(create("/applications/a", ResourceType::Application, &[]));
    shard.apply(create(CONTAINER, ResourceType::Container, limits));
    shard
}

/// `id@time=text`, where id and time may be left out.
fn carried(text: &str) -> Representation {
    let (name, text) = text.split_once('=').unwrap();
    let (id, created) = name.split_once('@').unwrap_or((name, ""));
    let mut one = Representation::new(ResourceType::ContentInstance);
    if !id.is_empty() {
        one.set("id", Value::Text(id.to_owned()));
    }
    if !created.is_empty() {
        one.set("creationTime", Value::Datetime(Timestamp(created.parse().unwrap())));
    }
    let content = Content {
        content_type: Some("text/plain".into()),
        bytes: text.to_owned().into(),
        form: ContentForm::Text,
    };
    one.set("content", Value::Content(content));
    one
}

fn notify(words: &str) -> Operation {
    Operation::StoreNotify {
        container: path(CONTAINER),
        instances: words.split_whitespace().map(carried).collect(),
    }
}

fn kept(shard: &Shard) -> Vec<String> {
    let short = |id: &str| match id.strip_prefix("ci-") {
        Some(digits) => format!("ci{}", u64::from_str_radix(digits, 16).unwrap()),
        None => id.to_owned(),
    };
    let word = |one: &banyan_model::record::Instance| {
        let text = String::from_utf8_lossy(&one.content.bytes).into_owned();
        format!("{}@{}={text}", short(&one.id), one.creation_time.0)
    };
    shard.kept(&path(CONTAINER)).iter().map(word).collect()
}

/// What stands in the container after these notifies, one a line, at time 1,000 and later.
#[track_caller]
fn check(notifies: &str, expected: &[&str]) -> Shard {
    let mut shard = shard(&[]);
    for line in notifies.lines() {
        let stored = shard.apply(notify(line));
        assert_eq!(status(&stored), StatusCode::Ok, "{line}: {}", stored.response.info);
        shard.at.0 += 10;
    }
    assert_eq!(kept(&shard), expected);
    shard
}

#[test]
fn instances_keep_the_ids_and_times_that_they_had() {
    check("a@900=1 b@950=2", &["a@900=1", "b@950=2"]);
    check(
        "ci-0000000000000007@900=1 x@910=2 ci-0000000000000009@920=3",
        &["ci7@900=1", "x@910=2", "ci9@920=3"],
    );
    check("=1", &["ci1@1000=1"]);
    check("", &[]);
}

#[test]
fn their_order_is_that_of_arrival_and_time_does_not_go_back_nor_ahead() {
    check("a@900=1 b@800=2 c@5000=3\nd@950=4", &["a@900=1", "b@900=2", "c@1000=3", "d@1000=4"]);
}

#[test]
fn what_came_before_is_not_stored_again() {
    check("a@900=1\na@900=1 b@910=2", &["a@900=1", "b@910=2"]);
    check("ci-0000000000000004@900=1\nci-0000000000000004@900=1", &["ci4@900=1"]);
}

#[test]
fn a_taken_id_loses_no_instance_and_the_answer_says_so() {
    let mut shard = check("a@900=1\na@900=2", &["a@900=1", "ci2@900=2"]);
    let stored = shard.apply(notify("a@990=3 latest@990=4 ci-0000000000000001@990=5"));
    assert_eq!(stored.response.info, "id: taken here, stored under another: a, latest, ci-0000000000000001");
    let all = kept(&shard);
    assert_eq!(all[2..], ["ci3@990=3", "ci4@990=4", "ci5@990=5"]);
}

#[test]
fn numbers_do_not_run_out() {
    let mut shard = check("ci-ffffffffffffffff@900=1", &["ci1@900=1"]);
    for _ in 0..3 {
        let created = shard.apply(instance(CONTAINER, None, "own"));
        assert_eq!(status(&created), StatusCode::Created);
    }
    assert_eq!(kept(&shard).len(), 4);
}

#[test]
fn limits_hold_and_a_refused_notify_leaves_nothing() {
    let mut shard = shard(&[("maxNrOfInstances", "2"), ("maxByteSize", "4")]);
    shard.apply(notify("a=1 b=2 c=3"));
    assert_eq!(kept(&shard), ["b@1000=2", "c@1000=3"]);
    let refused = shard.apply(notify("d=4 e=12345"));
    assert_eq!(status(&refused), StatusCode::BadRequest);
    assert_eq!(kept(&shard), ["b@1000=2", "c@1000=3"]);
}

#[test]
fn subscribers_hear_of_each_instance_and_of_none_twice() {
    let mut shard = shard(&[]);
    let subscription = format!("{CONTAINER}/contentInstances/subscriptions/s");
    shard.apply(create(&subscription, ResourceType::Subscription, &[]));
    let before = shard.queue(&path(&subscription)).len();
    shard.apply(notify("a@900=1 b@900=2"));
    shard.apply(notify("b@900=2"));
    assert_eq!(shard.said(&path(&subscription))[before..], ["instance a", "instance b"]);
}

#[test]
fn under_one_request_id_it_is_done_once() {
    let mut shard = shard(&[]);
    let id = RequestId { session: 7, sequence: 3, acked_below: 3 };
    shard.apply_as(id, notify("=1"));
    let again = shard.apply_as(id, notify("=1"));
    assert!(again.replayed.is_some());
    assert_eq!(kept(&shard), ["ci1@1000=1"]);
}
