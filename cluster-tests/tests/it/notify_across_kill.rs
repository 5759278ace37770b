//! A subscription receives every change at least once and in order although the leader that owes the notifies is
//! killed while it delivers them.

use std::time::Duration;

use cluster_tests::body;
use cluster_tests::cluster::Config;
use cluster_tests::invariant::{instances, notifications};
use cluster_tests::oracle::{Writer, stored_within};
use cluster_tests::repeat::{Seed, value_of};
use cluster_tests::subscriber::Subscriber;
use rand::RngExt;

use crate::support::{alone, application, cluster, expect};

#[test]
fn every_change_is_notified_in_order_across_kills_of_the_leader() {
    let seed = Seed::of("notify_across_kill::every_change_is_notified_in_order_across_kills_of_the_leader");
    let kills = value_of("BANYAN_NOTIFY_KILLS", 3);
    alone(Duration::from_secs(90 + 30 * kills), || async {
        let mut cluster = cluster(Config::default()).await;
        let subscriber = Subscriber::start().await;
        // Slow enough that a kill always meets a delivery under way.
        subscriber.answer_after(Duration::from_millis(5));
        let (mut device, collection) = application(&cluster, "watched").await;
        let subscription = body::subscription("all", &subscriber.contact("/all"));
        expect("subscribe", 201, device.create(&format!("{collection}/subscriptions"), &subscription).await);
        let mut writer = Writer::new(
            0,
            cluster.device(device.from()).with_timeout(Duration::from_secs(20)),
            &collection,
            seed.rng(0),
        );
        let mut rng = seed.rng(1);
        for _ in 0..kills {
            for _ in 0..rng.random_range(20..60) {
                writer.write(Duration::from_millis(20)).await;
            }
            let leader = cluster.leader(&collection).await;
            cluster.kill_node(leader);
            for _ in 0..10 {
                writer.write(Duration::from_millis(20)).await;
            }
            cluster.start_node(leader);
            cluster.wait_node(leader).await;
        }
        // One answer with an error in between: the courier tries again.
        subscriber.answer_with(503);
        writer.write(Duration::from_millis(20)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        subscriber.answer_with(204);

        let history = writer.into_history();
        let stored = stored_within(&mut device, &collection, Duration::from_secs(20)).await;
        instances::check(std::slice::from_ref(&history), &stored)
            .unwrap_or_else(|violations| panic!("{violations}"));
        let last = stored.last().expect("something was written").clone();
        let received = subscriber
            .wait("/all", Duration::from_secs(60), |all| {
                all.iter()
                    .filter(|notify| notify.answered == 204)
                    .any(|notify| notify.contents().contains(&last))
            })
            .await
            .unwrap_or_else(|got| panic!("{last} was never notified; {} notifies arrived", got.len()));
        let repeated =
            notifications::check(&received, &stored).unwrap_or_else(|violations| panic!("{violations}"));
        eprintln!("{} instances, {} notifies, {repeated} contents repeated", stored.len(), received.len());
    });
}
