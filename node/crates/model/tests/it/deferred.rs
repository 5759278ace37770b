//! A request that is answered later: accepted once, answered once, kept for its time, and counted meanwhile.

use crate::support::{Shard, issuer, status};
use banyan_model::{
    Entity, Operation, Path, StatusCode, Timestamp,
    apply::{Effect, Outcome},
    command::QueueLimits,
    deferred::{self, Deferral, Deferred, Kept, Limits},
    key::Key,
    outbox::Message,
    placement::ShardId,
    primitive::NotifyMedia,
    saf::{Forwarding, Rcat, Storing},
};
use bytes::Bytes;

const LIFETIME_MS: u64 = 1_000;

fn limits(entries_max: u64, octets_max: u64) -> QueueLimits {
    QueueLimits { entries_max, octets_max }
}

fn place(id: &str) -> Path {
    deferred::place(&issuer(), id)
}

fn deferral(id: &str, contact: Option<&str>) -> Deferral {
    Deferral {
        place: place(id),
        request: Bytes::from_static(b"a request"),
        digest: 1,
        contact: contact.map(str::to_owned),
        media: NotifyMedia::Xml,
        lifetime_ms: LIFETIME_MS,
        keep_until: None,
        storing: None,
        limits: Limits { entity: limits(3, 100), shard: limits(5, 1_000) },
    }
}

fn defer(shard: &mut Shard, id: &str, contact: Option<&str>) -> Outcome {
    shard.apply(Operation::Defer(deferral(id, contact)))
}

fn answer(shard: &mut Shard, id: &str, sequence: u64, answer: &'static [u8]) -> Outcome {
    let answer = Bytes::from_static(answer);
    shard.apply(Operation::Answered { place: place(id), sequence, answer })
}

fn stored(shard: &Shard, id: &str) -> Option<Deferred> {
    deferred::find(&shard.memory, &place(id)).unwrap()
}

fn kept(shard: &Shard) -> [(u64, u64); 2] {
    [Key::kept_of_entity(&place("")), Key::kept_of_shard()].map(|key| {
        let Kept { entries, octets, .. } = deferred::kept(&shard.memory, &key).unwrap().unwrap_or_default();
        (entries, octets)
    })
}

/// The sequence of the one entry that waits to be carried out.
fn waiting(shard: &Shard, id: &str) -> u64 {
    let queue = shard.queue(&place(id));
    let [entry] = queue.as_slice() else { panic!("{queue:?}") };
    let Message::CarryOut { request } = &entry.message else { panic!("{entry:?}") };
    assert_eq!(request, &Bytes::from_static(b"a request"));
    entry.sequence
}

#[test]
fn a_request_is_accepted_once_and_its_answer_is_kept_for_its_lifetime() {
    let mut shard = Shard::default();
    let first = defer(&mut shard, "1", None);
    assert_eq!(status(&first), StatusCode::Accepted);
    assert_eq!(first.effects, [Effect::Deliver { queue: place("1"), by: None }]);
    let sequence = waiting(&shard, "1");
    assert_eq!(kept(&shard), [(1, 9), (1, 9)]);

    let again = defer(&mut shard, "1", None);
    assert_eq!(status(&again), StatusCode::Accepted);
    assert!(again.changes.is_empty(), "a repetition is no second request");

    let answered = answer(&mut shard, "1", sequence, b"done");
    let expires = Timestamp(shard.at.0 + LIFETIME_MS as i64);
    assert_eq!(answered.effects, [Effect::Due(expires)]);
    assert!(shard.queue(&place("1")).is_empty(), "it is not carried out again");
    assert_eq!(stored(&shard, "1").unwrap().answer.as_deref(), Some(&b"done"[..]));
    assert_eq!(kept(&shard), [(1, 4), (1, 4)]);

    let late = answer(&mut shard, "1", sequence, b"done by another leader");
    assert!(late.changes.is_empty(), "the first answer is the answer");
    let again = defer(&mut shard, "1", None);
    assert!(again.changes.is_empty(), "answered is not new");

    shard.at = Timestamp(expires.0 - 1);
    shard.apply(Operation::Expire);
    assert!(stored(&shard, "1").is_some());
    shard.at = expires;
    shard.apply(Operation::Expire);
    assert_eq!(stored(&shard, "1"), None);
    assert_eq!(kept(&shard), [(0, 0), (0, 0)]);

    // From here on it is another request, with a number of its own.
    defer(&mut shard, "1", None);
    assert!(waiting(&shard, "1") > sequence);
}

#[test]
fn an_answer_with_a_contact_is_kept_until_it_was_sent_and_for_its_lifetime_after_that() {
    let mut shard = Shard::default();
    defer(&mut shard, "1", Some("http://dash.example.org/async"));
    let sequence = waiting(&shard, "1");
    let answers = deferred::answers(&place("1")).unwrap();
    let answered = answer(&mut shard, "1", sequence, b"done");
    assert_eq!(answered.effects, [Effect::Deliver { queue: answers.clone(), by: None }]);
    let queue = shard.queue(&answers);
    assert_eq!(queue.iter().map(|entry| &entry.message).collect::<Vec<_>>(), [&Message::Answer]);
    assert_eq!(stored(&shard, "1").unwrap().expires, None);

    shard.at = Timestamp(5_000);
    let acknowledge = Operation::Acknowledge { queue: answers.clone(), up_to: queue[0].sequence };
    let sent = shard.apply(acknowledge.clone());
    assert_eq!(sent.effects, [Effect::Due(Timestamp(6_000))]);
    assert!(shard.queue(&answers).is_empty());

    shard.at = Timestamp(5_500);
    shard.apply(acknowledge);
    assert_eq!(stored(&shard, "1").unwrap().expires, Some(Timestamp(6_000)), "sent is sent once");
    shard.at = Timestamp(6_000);
    shard.apply(Operation::Expire);
    assert_eq!(stored(&shard, "1"), None);
    let left: Vec<_> = shard.memory.records.keys().collect();
    assert_eq!(left, [&Key::kept_of_shard()], "nothing else is left behind");
}

#[test]
fn what_an_entity_and_a_shard_may_keep_is_bounded() {
    let mut shard = Shard::default();
    for id in ["1", "2", "3"] {
        assert_eq!(status(&defer(&mut shard, id, None)), StatusCode::Accepted);
    }
    let full = defer(&mut shard, "4", None);
    assert_eq!(status(&full), StatusCode::ServiceUnavailable);
    assert!(full.response.info.starts_with("X-etsi-correlationID: 3 asynchronous requests of this entity"));
    assert!(full.response.retry_after_ms.is_some());
    assert!(full.changes.is_empty());
    assert_eq!(status(&defer(&mut shard, "1", None)), StatusCode::Accepted, "known ones are no more");

    let sequence = waiting(&shard, "1");
    answer(&mut shard, "1", sequence, &[b'x'; 90]);
    shard.at = Timestamp(10_000);
    shard.apply(Operation::Expire);
    assert_eq!(kept(&shard), [(2, 18), (2, 18)]);

    let mut large = deferral("5", None);
    large.request = Bytes::from(vec![0; 90]);
    let refused = shard.apply(Operation::Defer(large.clone()));
    assert_eq!(status(&refused), StatusCode::ServiceUnavailable);
    assert!(refused.response.info.contains("would take 108 octets, 100 are allowed"));

    let mut others = deferral("6", None);
    others.limits.shard = limits(2, 1_000);
    let refused = shard.apply(Operation::Defer(others));
    assert!(refused.response.info.contains("lie together"), "{}", refused.response.info);
}

#[test]
fn another_request_under_the_same_id_is_a_conflict() {
    let mut shard = Shard::default();
    defer(&mut shard, "1", None);
    let mut other = deferral("1", None);
    other.digest = 2;
    let refused = shard.apply(Operation::Defer(other));
    assert_eq!(status(&refused), StatusCode::Conflict);
    assert!(refused.response.info.starts_with("X-etsi-correlationID"));
    let known = stored(&shard, "1").unwrap();
    assert_eq!(deferred::known(&known, &issuer(), 1), Ok(None));
    let stranger = deferred::known(&known, &Entity("/m2m/applications/stranger".into()), 1);
    assert_eq!(stranger.unwrap_err().status, StatusCode::Conflict);
}

#[test]
fn every_request_is_carried_out_under_an_id_of_its_own_that_its_leader_does_not_choose() {
    let mut shard = Shard::default();
    defer(&mut shard, "1", None);
    defer(&mut shard, "2", None);
    let ids = ["1", "2"].map(|id| deferred::request_id(ShardId(3), &stored(&shard, id).unwrap()));
    assert_eq!(ids[0].session, ids[1].session, "few sessions");
    assert_ne!(ids[0].sequence, ids[1].sequence);
    assert_ne!(ids[0].session, 0);
    let elsewhere = deferred::request_id(ShardId(4), &stored(&shard, "1").unwrap());
    assert_ne!(elsewhere.session, ids[0].session);
}

fn store(shard: &mut Shard, id: &str, target: &str, rcat: usize, most: u64) -> Outcome {
    let forwarding =
        Forwarding { target: target.to_owned(), rcat: Rcat::ALL[rcat], deadline: Timestamp(90_000) };
    let storing = Some(Storing { forwarding, limits: limits(most, 1_000) });
    let keep_until = Some(Timestamp(50_000));
    let limits = Limits { entity: limits(10, 1_000), shard: limits(10, 1_000) };
    shard.apply(Operation::Defer(Deferral { storing, keep_until, limits, ..deferral(id, None) }))
}

fn first(shard: &Shard, target: &str) -> Option<String> {
    let first = deferred::first_in_lane(&shard.memory, &place("any"), target).unwrap();
    first.map(|place| deferred::correlation_id(&place).to_owned())
}

#[test]
fn what_is_stored_for_an_scl_goes_by_category_and_then_in_the_order_of_acceptance() {
    let mut shard = Shard::default();
    for (id, target, rcat) in
        [("low", "gw", 0), ("one", "gw", 3), ("two", "gw", 3), ("other", "gw2", 0), ("urgent", "gw", 7)]
    {
        assert_eq!(status(&store(&mut shard, id, target, rcat, 10)), StatusCode::Accepted);
    }
    assert_eq!(first(&shard, "gw2").as_deref(), Some("other"));
    assert_eq!(first(&shard, "gw3"), None);
    for (id, next) in [("urgent", Some("one")), ("one", Some("two")), ("two", Some("low")), ("low", None)] {
        assert_eq!(first(&shard, "gw").as_deref(), Some(id));
        let sequence = waiting(&shard, id);
        let done = answer(&mut shard, id, sequence, b"done");
        let woken = next.map(|next| Effect::Deliver { queue: place(next), by: None });
        let delivers = |effect: &&Effect| matches!(effect, Effect::Deliver { .. });
        assert_eq!(done.effects.iter().find(delivers), woken.as_ref(), "{id} wakes the next one");
        assert_eq!(
            stored(&shard, id).unwrap().expires,
            Some(Timestamp(50_000)),
            "kept while it may be asked for"
        );
    }
    let sequence = waiting(&shard, "other");
    answer(&mut shard, "other", sequence, b"done");
    shard.at = Timestamp(50_000);
    shard.apply(Operation::Expire);
    let left: Vec<_> = shard.memory.records.keys().collect();
    assert_eq!(left, [&Key::kept_of_shard()], "nothing else is left behind");
}

#[test]
fn a_category_that_is_full_refuses_and_keeps_what_it_has() {
    let mut shard = Shard::default();
    for id in ["1", "2"] {
        assert_eq!(status(&store(&mut shard, id, "gw", 3, 2)), StatusCode::Accepted);
    }
    let full = store(&mut shard, "3", "gw", 3, 2);
    assert_eq!(status(&full), StatusCode::ServiceUnavailable);
    assert!(full.response.info.contains("2 asynchronous requests of this entity in category 3"));
    assert!(full.changes.is_empty() && full.response.retry_after_ms.is_some());
    assert_eq!(
        status(&store(&mut shard, "4", "gw", 4, 2)),
        StatusCode::Accepted,
        "another category has room"
    );
    let counted = |shard: &Shard, rcat: usize| deferred::stored(&shard.memory).unwrap()[rcat].1.entries;
    assert_eq!((counted(&shard, 3), counted(&shard, 4)), (2, 1));
    let sequence = waiting(&shard, "1");
    answer(&mut shard, "1", sequence, b"done");
    assert_eq!(status(&store(&mut shard, "3", "gw", 3, 2)), StatusCode::Accepted);
    assert_eq!(counted(&shard, 3), 2);
}
