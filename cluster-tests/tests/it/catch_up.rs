//! A follower that was down past the purged log catches up by snapshot while writes go on, and then counts: the
//! cluster lives on with it when another node dies.
//!
//! `BANYAN_CATCH_UP_WRITES` sets how many writes it misses (3,000; the long variant takes 100,000).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::catch_up;
use cluster_tests::cluster::Config;
use cluster_tests::invariant::instances;
use cluster_tests::oracle::{Answer, Write, Writer, stored_within};
use cluster_tests::repeat::{Seed, value_of};

use crate::support::{alone, application, cluster};

const WRITERS: u64 = 16;

#[test]
fn a_follower_behind_the_purged_log_catches_up_by_snapshot_under_writes() {
    let seed = Seed::of("catch_up::a_follower_behind_the_purged_log_catches_up_by_snapshot_under_writes");
    let missed = value_of("BANYAN_CATCH_UP_WRITES", 3_000);
    alone(Duration::from_secs(150 + missed / 100), || async {
        let mut cluster = cluster(Config {
            shards: 1,
            snapshot_after_entries: Some((missed / 10).max(100)),
            log_keep_entries: Some((missed / 20).max(50)),
            ..Config::default()
        })
        .await;
        let (mut device, collection) = application(&cluster, "measured").await;
        let leader = cluster.leader(&collection).await;
        let away = (leader + 1) % cluster.len();
        cluster.kill_node(away);

        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let running: Vec<_> = (0..WRITERS)
            .map(|number| {
                let device = cluster.device(device.from()).with_timeout(Duration::from_secs(20));
                let mut writer = Writer::new(number, device, &collection, seed.rng(number));
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        if writer.write(Duration::from_millis(20)).await.answer == Answer::Acknowledged {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    writer.into_history()
                })
            })
            .collect();
        while acknowledged.load(Ordering::Relaxed) < missed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = acknowledged.load(Ordering::Relaxed);
        let start = Instant::now();
        cluster.start_node(away);
        let caught_up = catch_up::wait(&cluster, away, Duration::from_secs(60 + missed / 500))
            .await
            .unwrap_or_else(|missing| panic!("it did not catch up: {missing}"));
        let meanwhile = acknowledged.load(Ordering::Relaxed) - before;
        eprintln!(
            "missed {before} writes, caught up in {:?} ({} groups by snapshot), {meanwhile} writes meanwhile",
            start.elapsed(),
            caught_up.snapshots_installed
        );
        assert!(caught_up.snapshots_installed > 0, "the log was purged, so a snapshot was needed");
        assert!(meanwhile > 0, "writes went on meanwhile");
        cluster.wait_node(away).await;

        // From now on it is one of two that make the majority.
        let other = (0..cluster.len()).find(|&node| node != away && node != leader).expect("three nodes");
        cluster.kill_node(other);
        let at = acknowledged.load(Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(20);
        while acknowledged.load(Ordering::Relaxed) < at + 100 {
            assert!(Instant::now() < until, "with the node that caught up there is a majority");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // And it can lead: the former leader dies when the other one is back.
        cluster.start_node(other);
        cluster.wait_node(other).await;
        cluster.kill_node(leader);
        cluster.leader_among(&collection, &[away, other]).await;

        stop.store(true, Ordering::Relaxed);
        let mut histories: Vec<Vec<Write>> = Vec::new();
        for writer in running {
            histories.push(writer.await.expect("a writer does not panic"));
        }
        let stored = stored_within(&mut device, &collection, Duration::from_secs(30)).await;
        let summary =
            instances::check(&histories, &stored).unwrap_or_else(|violations| panic!("{violations}"));
        eprintln!("{summary:?}");
    });
}
