//! SIGTERM: a node hands its leaderships over before it leaves, so writers hardly notice, and it ends with success.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_tests::cluster::Config;
use cluster_tests::invariant::instances;
use cluster_tests::oracle::{Writer, longest_gap, stored_within};
use cluster_tests::repeat::Seed;

use crate::support::{alone, application, cluster};

/// A handover takes milliseconds; an election would take more than the shortest election time-out and a lease. The
/// bound lies between, with room for a debug build on a busy machine.
const GAP_MAX: Duration = Duration::from_millis(1_000);

#[test]
fn a_node_that_is_asked_to_leave_hands_over_first() {
    let seed = Seed::of("stop_leader::a_node_that_is_asked_to_leave_hands_over_first");
    alone(Duration::from_secs(120), || async {
        let mut cluster = cluster(Config::default()).await;
        let (mut device, collection) = application(&cluster, "measured").await;
        let stop = Arc::new(AtomicBool::new(false));
        let running: Vec<_> = (0..4)
            .map(|number| {
                let device = cluster.device(device.from()).with_timeout(Duration::from_secs(20));
                let mut writer = Writer::new(number, device, &collection, seed.rng(number));
                let stop = Arc::clone(&stop);
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        writer.write(Duration::from_millis(5)).await;
                    }
                    writer.into_history()
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let leader = cluster.leader(&collection).await;
        let status = cluster.stop_node(leader, Duration::from_secs(20));
        assert!(status.success(), "a node that leaves in order ends with success: {status}");
        let others: Vec<usize> = (0..cluster.len()).filter(|&node| node != leader).collect();
        cluster.leader_among(&collection, &others).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.store(true, Ordering::Relaxed);
        let mut histories = Vec::new();
        for writer in running {
            histories.push(writer.await.expect("a writer does not panic"));
        }
        let stored = stored_within(&mut device, &collection, Duration::from_secs(20)).await;
        let summary =
            instances::check(&histories, &stored).unwrap_or_else(|violations| panic!("{violations}"));
        let gap = longest_gap(&histories);
        eprintln!("{summary:?}, longest gap {gap:?}");
        assert!(gap < GAP_MAX, "no write succeeded for {gap:?}");
    });
}
