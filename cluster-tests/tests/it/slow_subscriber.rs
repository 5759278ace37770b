//! A subscriber that takes 500 ms to answer must not slow the producer down, and still gets everything in order.
//!
//! The ratio of the medians is a figure of `load compare slow-subscriber` on a release build; here a generous bound
//! catches a producer that waits for its subscribers.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::cluster::Config;
use cluster_tests::invariant::notifications;
use cluster_tests::oracle::{Answer, Writer, stored_within};
use cluster_tests::repeat::Seed;
use cluster_tests::subscriber::Subscriber;

use crate::support::{alone, application, cluster, expect};

const WRITES: usize = 60;
const SLOW: Duration = Duration::from_millis(500);

#[test]
fn a_slow_subscriber_does_not_slow_the_producer() {
    let seed = Seed::of("slow_subscriber::a_slow_subscriber_does_not_slow_the_producer");
    alone(Duration::from_secs(150), || async {
        let cluster = cluster(Config::default()).await;
        let subscriber = Subscriber::start().await;
        subscriber.answer_after(SLOW);
        let mut medians = Vec::new();
        for (number, name) in [(0, "unwatched"), (1, "watched")] {
            let (mut device, collection) = application(&cluster, name).await;
            if name == "watched" {
                let subscription = body::subscription("slow", &subscriber.contact("/slow"));
                expect(
                    "subscribe",
                    201,
                    device.create(&format!("{collection}/subscriptions"), &subscription).await,
                );
            }
            let own = cluster.device(device.from());
            let mut writer = Writer::new(number, own, &collection, seed.rng(number));
            let mut took = Vec::new();
            for _ in 0..WRITES {
                let start = Instant::now();
                assert_eq!(writer.write(Duration::ZERO).await.answer, Answer::Acknowledged);
                took.push(start.elapsed());
            }
            took.sort_unstable();
            medians.push(took[WRITES / 2]);
            if name == "watched" {
                let stored = stored_within(&mut device, &collection, Duration::from_secs(5)).await;
                let last = stored.last().expect("something was written").clone();
                let received = subscriber
                    .wait("/slow", SLOW * 3 * WRITES as u32, |all| {
                        all.iter().any(|notify| notify.contents().contains(&last))
                    })
                    .await
                    .unwrap_or_else(|got| {
                        panic!("{last} was never notified; {} notifies arrived", got.len())
                    });
                notifications::check(&received, &stored).unwrap_or_else(|violations| panic!("{violations}"));
            }
        }
        eprintln!("p50 without {:?}, with the slow subscriber {:?}", medians[0], medians[1]);
        assert!(medians[1] < medians[0] * 3 + Duration::from_millis(20), "the producer waits: {medians:?}");
        assert!(medians[1] < SLOW / 2, "the producer waits for its subscriber: {medians:?}");
    });
}
