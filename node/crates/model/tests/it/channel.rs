//! The queue of a channel: what is sent to the contact goes out at the poll, once it was confirmed not again.

use crate::support::{Shard, create, delete, path, status};
use banyan_model::{
    Operation, ResourceType, StatusCode, Timestamp, Value, apply::Effect, channel, command::QueueLimits,
    value::Struct,
};

const CHANNEL: &str = "/applications/a/notificationChannels/nc";

fn shard() -> Shard {
    let mut shard = Shard::default();
    shard.apply(create("/applications/a", ResourceType::Application, &[]));
    let made =
        shard.apply(create(CHANNEL, ResourceType::NotificationChannel, &[("channelType", "LONG_POLLING")]));
    assert_eq!(status(&made), StatusCode::Created);
    shard
}

fn notify(text: &str) -> Operation {
    let reference = ("subscriptionReference", Value::Text(text.to_owned()));
    Operation::Enqueue {
        channel: path(CHANNEL),
        message: Struct { name: "Notify", fields: vec![reference] },
        limits: QueueLimits { entries_max: 3, octets_max: 200 },
    }
}

fn waiting(shard: &Shard) -> Vec<(u64, String)> {
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    while let Some((sequence, queued)) =
        channel::first_queued(&shard.memory, &path(CHANNEL), |sequence| seen.contains(&sequence)).unwrap()
    {
        let Some(Value::Text(text)) = queued.message.get("subscriptionReference").cloned() else { panic!() };
        found.push((sequence, text));
        seen.push(sequence);
    }
    found
}

fn texts(shard: &Shard) -> Vec<String> {
    waiting(shard).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn what_is_sent_to_the_contact_waits_in_order_until_it_was_taken() {
    let mut shard = shard();
    for text in ["one", "two", "three"] {
        let sent = shard.apply(notify(text));
        assert_eq!(status(&sent), StatusCode::Ok);
        assert_eq!(sent.effects, [Effect::ChannelChanged(path(CHANNEL))]);
    }
    let waited = waiting(&shard);
    assert_eq!(texts(&shard), ["one", "two", "three"]);
    // Two polls at once may be confirmed in any order.
    shard.apply(Operation::Taken { channel: path(CHANNEL), sequence: waited[1].0 });
    assert_eq!(texts(&shard), ["one", "three"]);
    let again = shard.apply(Operation::Taken { channel: path(CHANNEL), sequence: waited[1].0 });
    assert!(again.changes.is_empty(), "a second confirmation changes nothing");
    shard.apply(Operation::Taken { channel: path(CHANNEL), sequence: waited[0].0 });
    shard.apply(Operation::Taken { channel: path(CHANNEL), sequence: waited[2].0 });
    assert_eq!(texts(&shard), [""; 0]);
    let state = channel::state(&shard.memory, &path(CHANNEL)).unwrap().unwrap();
    assert_eq!((state.waiting, state.octets), (0, 0));
}

#[test]
fn a_full_queue_takes_nothing_and_an_empty_one_any_message() {
    let mut shard = shard();
    let large = "x".repeat(500);
    assert_eq!(status(&shard.apply(notify(&large))), StatusCode::Ok);
    let full = shard.apply(notify("small"));
    assert_eq!(status(&full), StatusCode::ServiceUnavailable);
    assert!(full.response.retry_after_ms.is_some());
    assert!(full.changes.is_empty());
    let sequence = waiting(&shard)[0].0;
    shard.apply(Operation::Taken { channel: path(CHANNEL), sequence });
    for _ in 0..3 {
        assert_eq!(status(&shard.apply(notify("small"))), StatusCode::Ok);
    }
    assert_eq!(status(&shard.apply(notify("small"))), StatusCode::ServiceUnavailable, "three may wait");
}

#[test]
fn the_queue_goes_with_its_channel_and_a_new_one_repeats_no_sequence() {
    let mut shard = shard();
    let before = shard.memory.records.len();
    shard.apply(notify("one"));
    let old = waiting(&shard)[0].0;
    let gone = shard.apply(delete(CHANNEL));
    assert!(gone.effects.contains(&Effect::ChannelChanged(path(CHANNEL))), "waiting polls are released");
    assert_eq!(
        shard.memory.records.len(),
        before - 2,
        "channel, its place in the index, queue and its count"
    );
    assert_eq!(status(&shard.apply(notify("late"))), StatusCode::NotFound);

    shard.at = Timestamp(shard.at.0 + 1);
    shard.apply(create(CHANNEL, ResourceType::NotificationChannel, &[("channelType", "LONG_POLLING")]));
    shard.apply(notify("new"));
    assert_ne!(waiting(&shard)[0].0, old);
    shard.apply(Operation::Taken { channel: path(CHANNEL), sequence: old });
    assert_eq!(texts(&shard), ["new"], "a late confirmation of the old queue removes nothing");
}

#[test]
fn nothing_but_a_channel_has_a_queue() {
    let mut shard = shard();
    let Operation::Enqueue { message, limits, .. } = notify("one") else { panic!() };
    let sent = shard.apply(Operation::Enqueue { channel: path("/applications/a"), message, limits });
    assert_eq!(status(&sent), StatusCode::NotFound);
}
