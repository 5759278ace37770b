//! The client against nodes that mislead it: whatever they do, a write goes under one id, and what is told about it
//! is true.

mod cluster;

use banyan_client::{Client, Config, RequestError};
use banyan_model::{Body, Method, Path, Representation, ResourceType, ResponsePrimitive, StatusCode, Value};
use cluster::{Act, Cluster, Seen, done_but, map, request, until, within, write};
use futures_util::{StreamExt, future::join_all, stream};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// Asks with a deadline of three seconds; `created by node 2`, or the error.
async fn ask(client: &Client, by: &str) -> String {
    said(client.submit(write(by), within(3_000)).await)
}

fn said(result: Result<ResponsePrimitive, RequestError>) -> String {
    match result {
        Ok(response) => format!("{:?} {}", response.status, response.info).to_lowercase(),
        Err(RequestError::Busy { .. }) => "busy".to_owned(),
        Err(RequestError::Unavailable { why, .. }) => format!("unavailable: {why}"),
        Err(RequestError::OutcomeUnknown { .. }) => "outcome unknown".to_owned(),
        Err(RequestError::Refused(why)) => format!("refused: {why}"),
        Err(RequestError::Answer(_)) => "unreadable answer".to_owned(),
    }
}

/// Which nodes saw the request, in order; all sendings of it had one id.
fn asked(cluster: &Cluster, by: &str) -> Vec<u64> {
    let seen: Vec<Seen> = cluster.state().seen.iter().filter(|seen| seen.by == by).cloned().collect();
    let ids: BTreeSet<_> = seen.iter().map(|seen| seen.id).collect();
    assert!(ids.len() <= 1, "{by} went under {ids:?}");
    assert!(seen.iter().all(|seen| seen.id.is_none_or(|(session, sequence)| session != 0 && sequence != 0)));
    seen.iter().map(|seen| seen.node).collect()
}

#[tokio::test]
async fn the_leader_is_found_once_and_remembered() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    assert_eq!(ask(&client, "first").await, "created by node 2");
    assert_eq!(ask(&client, "second").await, "created by node 2");
    assert_eq!(asked(&cluster, "second"), [2]);
    assert!(asked(&cluster, "first").len() <= 2, "one redirection finds it");
}

#[tokio::test]
async fn a_change_of_leaders_is_followed() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    ask(&client, "before").await;
    cluster.state().leader = 3;
    assert_eq!(ask(&client, "after").await, "created by node 3");
    assert_eq!(asked(&cluster, "after"), [2, 3]);
    // An election: nobody knows anybody for a while.
    cluster.state().leader = 0;
    let late = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, "during").await }
    });
    until(|| asked(&cluster, "during").len() >= 3).await;
    cluster.state().leader = 1;
    assert_eq!(late.await.expect("no panic"), "created by node 1");
}

#[tokio::test]
async fn two_nodes_that_name_each_other_are_not_asked_in_a_tight_loop() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    cluster.state().chooser = Some(Box::new(|seen, _| Act::NotLeader(if seen.node == 1 { 2 } else { 1 })));
    // A read: of a write whose last question is still under way when the time is over nobody knows.
    let read = client.submit(request("w", Method::Retrieve), within(1_000)).await;
    assert_eq!(said(read), "unavailable: no answer in time");
    assert!(asked(&cluster, "w").len() < 100);
}

#[tokio::test]
async fn what_may_have_been_done_is_asked_again_under_the_same_id() {
    for lost in [Act::Break, Act::Unknown, Act::Strange] {
        for (first, taken) in [(done_but(lost.clone()), true), (lost.clone(), false)] {
            let cluster = Cluster::of_three().await;
            let client = cluster.client().await;
            ask(&client, "before").await;
            cluster.script(2, [first]);
            let said = ask(&client, "w").await;
            assert_eq!(said, "created by node 2", "after {lost:?}, taken: {taken}");
            assert!(asked(&cluster, "w").len() >= 2);
        }
    }
}

#[tokio::test]
async fn a_frozen_leader_does_not_hold_a_request_once_another_was_elected() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    ask(&client, "before").await;
    cluster.script(2, [Act::Silence]);
    cluster.state().leader = 3;
    let began = Instant::now();
    assert_eq!(ask(&client, "w").await, "created by node 3");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_slow_leader_is_waited_for() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    ask(&client, "before").await;
    cluster.script(2, [done_but(Act::Silence)]);
    // The others say that it still leads: it is asked a second time only when it gave its answer or broke.
    assert_eq!(ask(&client, "w").await, "outcome unknown");
    assert_eq!(asked(&cluster, "w").iter().filter(|node| **node == 2).count(), 1);
}

#[tokio::test]
async fn an_error_is_never_told_as_a_certain_failure_that_is_none() {
    // What is done first, what from then on; the end for a write and for a read.
    let table = [
        // Nothing was ever taken: certain.
        (vec![], Act::NotLeader(0), "unavailable: no leader", "unavailable: no leader"),
        (vec![], Act::Busy(100), "busy", "busy"),
        (vec![], Act::Refuse, "refused: not yours to ask", "refused: not yours to ask"),
        // Something may have been.
        (vec![], Act::Silence, "outcome unknown", "unavailable: no answer in time"),
        (vec![], Act::Unknown, "outcome unknown", "unavailable: no answer in time"),
        (vec![done_but(Act::Unknown)], Act::NotLeader(0), "outcome unknown", "unavailable: no leader"),
        (vec![done_but(Act::Unknown)], Act::Busy(100), "outcome unknown", "busy"),
        (vec![done_but(Act::Break)], Act::Busy(100), "outcome unknown", "busy"),
        (vec![done_but(Act::Break)], Act::Refuse, "outcome unknown", "refused: not yours to ask"),
        (vec![done_but(Act::Silence)], Act::Refuse, "outcome unknown", "refused: not yours to ask"),
        (vec![], done_but(Act::Garbage), "unreadable answer", "unreadable answer"),
    ];
    let cases = table.into_iter().flat_map(|(first, then, writes, reads)| {
        [(Method::Create, writes), (Method::Retrieve, reads)]
            .map(|(method, expected)| check(first.clone(), then.clone(), method, expected))
    });
    // All at once they would wait for the processor longer than the client waits for a node.
    stream::iter(cases).for_each_concurrent(6, |case| case).await;
}

/// Whatever node is asked, it does `first` in turn and then `then`; `expected` is the end.
async fn check(first: Vec<Act>, then: Act, method: Method, expected: &str) {
    let about = format!("{method:?}: {first:?}, then {then:?}");
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    cluster.state().chooser = Some(Box::new(move |_, times| first.get(times).unwrap_or(&then).clone()));
    // What ends before is not raced by the deadline: a write under way when that comes is never certain.
    let ends_by_deadline = expected == "outcome unknown" || expected.ends_with("no answer in time");
    let millis = if ends_by_deadline { 2_500 } else { 60_000 };
    let began = Instant::now();
    let result = client.submit(request("w", method), within(millis)).await;
    // A busy machine may wake it late, but not that late.
    assert!(began.elapsed() < Duration::from_millis(millis + 2_500), "{about}: late");
    if let Err(error) = &result {
        // An invitation to ask again is given only when nothing was done.
        let invited = error.response().retry_after_ms.is_some();
        let done = cluster.state().done.contains("w");
        assert!(!(invited && done && method == Method::Create), "{about}: {error}");
    }
    assert_eq!(said(result), expected, "{about}");
    let ids: BTreeSet<_> = cluster.state().seen.iter().map(|seen| seen.id).collect();
    assert_eq!(ids.len(), 1, "{about}");
    assert_eq!(ids.contains(&None), method == Method::Retrieve, "a read needs no id");
}

#[test]
fn what_the_issuer_is_told() {
    let second = Duration::from_secs(1);
    for (error, status, retry_after_ms) in [
        (RequestError::Busy { retry_after: second }, StatusCode::ServiceUnavailable, Some(1_000)),
        (
            RequestError::Unavailable { why: "no leader", retry_after: second },
            StatusCode::ServiceUnavailable,
            Some(1_000),
        ),
        (RequestError::OutcomeUnknown { waited: second }, StatusCode::RequestTimeout, None),
        (RequestError::Refused("why".to_owned()), StatusCode::InternalServerError, None),
    ] {
        let response = error.response();
        assert_eq!((response.status, response.retry_after_ms), (status, retry_after_ms), "{error}");
    }
}

/// Many writers over nodes that do anything at all. The seed repeats a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_misreported_whatever_the_nodes_do() {
    for seed in [1_u64, 2, 3] {
        let cluster = Cluster::of_three().await;
        let client = cluster.client().await;
        cluster.state().chooser = Some(Box::new(move |seen, times| {
            let mut hasher = DefaultHasher::new();
            (seed, seen.node, &seen.by, times).hash(&mut hasher);
            let dice = hasher.finish();
            if seen.node != 2 {
                return Act::NotLeader(if dice.is_multiple_of(3) { 0 } else { 2 });
            }
            match dice % 16 {
                0..6 => Act::Do,
                6 => Act::Busy(50),
                7 => Act::NotLeader(0),
                8 => Act::Unknown,
                9 => done_but(Act::Unknown),
                10 => done_but(Act::Silence),
                11 => Act::Silence,
                12 => Act::Refuse,
                13 => Act::NotLeader(3),
                14 => Act::Strange,
                _ => done_but(Act::Strange),
            }
        }));
        let names: Vec<String> = (0..80).map(|n| format!("w{n}")).collect();
        let writes = names.iter().map(|name| client.submit(write(name), within(1_500)));
        let results = join_all(writes).await;
        let done = cluster.state().done.clone();
        for (name, result) in names.iter().zip(results) {
            asked(&cluster, name);
            match result {
                Ok(_) => assert!(done.contains(name), "seed {seed}: {name} was told done"),
                Err(RequestError::OutcomeUnknown { .. }) => {}
                Err(error) => assert!(!done.contains(name), "seed {seed}: {name} was told {error}"),
            }
        }
        let ids: BTreeSet<_> = cluster.state().seen.iter().map(|seen| seen.id).collect();
        let askers: BTreeSet<_> = cluster.state().seen.iter().map(|seen| seen.by.clone()).collect();
        assert_eq!(ids.len(), askers.len(), "no two requests share an id");
    }
}

#[tokio::test]
async fn the_watermark_follows_what_was_answered() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    for name in ["a", "b", "c"] {
        ask(&client, name).await;
    }
    let last = cluster.state().seen.last().cloned().expect("three requests");
    let (_, sequence) = last.id.expect("a write");
    assert_eq!((sequence, last.acked_below), (3, 3), "everything before it was answered");
}

#[tokio::test]
async fn memory_is_bounded_by_refusing() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client_with(Config { in_flight_max: 2, ..cluster.config() }).await;
    ask(&client, "before").await;
    cluster.state().chooser = Some(Box::new(|_, _| Act::Silence));
    let held: Vec<_> = ["a", "b"]
        .map(|name| {
            let client = client.clone();
            tokio::spawn(async move { client.submit(write(name), within(1_000)).await })
        })
        .into();
    until(|| cluster.state().seen.len() >= 3).await;
    let began = Instant::now();
    assert_eq!(ask(&client, "third").await, "busy");
    assert!(began.elapsed() < Duration::from_millis(500), "refused at once");
    assert_eq!(asked(&cluster, "third"), Vec::<u64>::new());
    for one in held {
        assert_eq!(said(one.await.expect("no panic")), "outcome unknown");
    }
    cluster.state().chooser = None;
    assert_eq!(ask(&client, "fourth").await, "created by node 2");

    // By bytes, too.
    let client = cluster.client_with(Config { in_flight_bytes_max: 1 << 20, ..cluster.config() }).await;
    let large = || {
        let raw = Body::Raw { content_type: "text/plain".to_owned(), bytes: vec![b'x'; 700 << 10].into() };
        client.submit(banyan_model::RequestPrimitive { body: raw, ..write("large") }, within(3_000))
    };
    let (first, second) = tokio::join!(large(), large());
    let mut both = [said(first), said(second)];
    both.sort();
    assert_eq!(both, ["busy", "created by node 2"]);
    let raw = Body::Raw { content_type: "text/plain".to_owned(), bytes: vec![b'x'; 33 << 20].into() };
    let over = banyan_model::RequestPrimitive { body: raw, ..write("over") };
    assert!(said(client.submit(over, within(3_000)).await).starts_with("refused: "));
}

#[tokio::test]
async fn requests_of_one_tick_share_frames() {
    let cluster = Cluster::of_three().await;
    let client = cluster.client().await;
    ask(&client, "before").await;
    cluster.state().frames = 0;
    // A task each, as behind an edge's connections.
    let asking = (0..500).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { ask(&client, &format!("w{n}")).await })
    });
    let results = join_all(asking.collect::<Vec<_>>()).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|said| said == "created by node 2")));
    let frames = cluster.state().frames;
    assert!(frames <= 50, "{frames} frames for 500 requests");
}

#[tokio::test]
async fn newer_maps_are_followed_and_others_ignored() {
    let cluster = Cluster::of_three().await;
    // One seed is enough: the others are learned.
    let config = Config { nodes: vec![cluster.addresses[0].clone()], ..cluster.config() };
    let client = cluster.client_with(config).await;
    assert_eq!(ask(&client, "before").await, "created by node 2");
    let epoch = || client.map().borrow().as_ref().map(|map| map.shards.epoch);
    assert_eq!(epoch(), Some(1));

    // Node 2 left, and there are two shards.
    let mut newer = map(5, 7, &cluster.addresses, 2);
    newer.members.retain(|member| member.node != 2);
    newer.shards.iter_mut().for_each(|shard| shard.replicas.retain(|node| *node != 2));
    cluster.publish(newer);
    until(|| epoch() == Some(5)).await;
    cluster.state().leader = 3;
    assert_eq!(ask(&client, "after").await, "created by node 3");
    assert!(!asked(&cluster, "after").contains(&2), "no member any more");

    for strange in
        [map(4, 7, &cluster.addresses, 1), map(9, 8, &cluster.addresses, 1), v1_without_shards(9, &cluster)]
    {
        cluster.publish(strange);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(epoch(), Some(5));
    }
    cluster.publish(map(6, 7, &cluster.addresses, 1));
    until(|| epoch() == Some(6)).await;
}

fn v1_without_shards(epoch: u64, cluster: &Cluster) -> banyan_proto::v1::DirectoryState {
    banyan_proto::v1::DirectoryState { shards: vec![], ..map(epoch, 7, &cluster.addresses, 1) }
}

#[tokio::test]
async fn without_a_cluster_nothing_waits_past_its_deadline() {
    // Bound and never served: a connection is accepted and nothing said.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nodes = vec![mute.local_addr().expect("bound").to_string(), "127.0.0.1:1".to_owned()];
    let client = Client::new(Config { nodes, ..Config::default() }).expect("a sound configuration");
    assert!(!client.ready());
    let began = Instant::now();
    let result = client.submit(write("w"), within(700)).await;
    assert!(began.elapsed() < Duration::from_millis(700));
    assert_eq!(said(result), "unavailable: no cluster map");
}

#[tokio::test]
async fn an_unnamed_child_of_a_root_collection_is_named_once() {
    let cluster = Cluster::of_three().await;
    cluster.publish(map(2, 7, &cluster.addresses, 4));
    let client = cluster.client().await;
    cluster.state().chooser = Some(Box::new(|_, times| if times < 2 { Act::Unknown } else { Act::Do }));
    let create = |by: &str, target: &str, id: Option<&str>| {
        let mut application = Representation::new(ResourceType::Application);
        if let Some(id) = id {
            application.set("appId", Value::Text(id.to_owned()));
        }
        let target = Path::parse(target).expect("a path");
        banyan_model::RequestPrimitive { target, body: Body::Representation(application), ..write(by) }
    };
    let response = client.submit(create("w", "applications", None), within(3_000)).await.expect("an answer");
    assert_eq!(response.status, StatusCode::Created);
    let seen = cluster.state().seen.clone();
    assert_eq!(seen.len(), 3);
    assert!(seen.windows(2).all(|two| two[0].body == two[1].body && two[0].shard == two[1].shard));
    let Body::Representation(application) = &seen[0].body else { panic!("another body") };
    let name = application.text("appId").expect("a name");
    let child = Path::parse("applications").expect("a path").child(name);
    let shards = client.map().borrow().clone().expect("a map").shards.clone();
    let shard = |path: &Path| shards.shard_of(path.subtree().slot()).expect("a shard").id.0;
    assert_eq!(seen[0].shard, shard(&child), "the child's subtree decides");

    // A subscription on the collection belongs to sclBase's own subtree.
    cluster.state().chooser = Some(Box::new(|_, _| Act::Do));
    for target in ["applications/subscriptions", "subscriptions", ""] {
        client.submit(create(target, target, None), within(3_000)).await.expect("an answer");
        let last = cluster.state().seen.last().cloned().expect("a request");
        assert_eq!(last.shard, shard(&Path::scl_base()), "{target:?}");
        assert_eq!(last.target, Path::parse(target).expect("a path").to_string());
    }
}
