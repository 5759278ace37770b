//! Every process killed at once, in the middle of writes: after a restart everything acknowledged is there.
//!
//! `BANYAN_KILL_ALL_ROUNDS` sets how often (2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_tests::cluster::Config;
use cluster_tests::invariant::instances;
use cluster_tests::oracle::{Write, Writer, stored_within};
use cluster_tests::repeat::{Seed, value_of};
use rand::RngExt;

use crate::support::{alone, application, cluster};

const WRITERS: u64 = 8;

#[test]
fn killing_everything_at_once_loses_nothing_acknowledged() {
    let seed = Seed::of("kill_all::killing_everything_at_once_loses_nothing_acknowledged");
    let rounds = value_of("BANYAN_KILL_ALL_ROUNDS", 2);
    alone(Duration::from_secs(60 + 60 * rounds), || async {
        let mut cluster = cluster(Config::default()).await;
        let (device, collection) = application(&cluster, "measured").await;
        let mut rng = seed.rng(u64::MAX);
        let mut histories: Vec<Vec<Write>> = Vec::new();
        for round in 0..rounds {
            let stop = Arc::new(AtomicBool::new(false));
            let running: Vec<_> = (0..WRITERS)
                .map(|index| {
                    let number = round * WRITERS + index;
                    let device = cluster.device(device.from()).with_timeout(Duration::from_secs(2));
                    let mut writer = Writer::new(number, device, &collection, seed.rng(number));
                    let stop = Arc::clone(&stop);
                    tokio::spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            writer.write(Duration::from_millis(20)).await;
                        }
                        writer.into_history()
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(rng.random_range(1_000..2_000))).await;
            cluster.kill_all();
            stop.store(true, Ordering::Relaxed);
            for writer in running {
                histories.push(writer.await.expect("a writer does not panic"));
            }
            cluster.start_all();
            cluster.wait_ready().await;
            // A device of its own: the edges behind old connections are gone.
            let mut reader = cluster.device(device.from());
            let stored = stored_within(&mut reader, &collection, Duration::from_secs(20)).await;
            let summary =
                instances::check(&histories, &stored).unwrap_or_else(|violations| panic!("{violations}"));
            eprintln!("round {round}: {summary:?}");
            assert!(summary.acknowledged > 0, "something was written before the kill");
        }
    });
}
