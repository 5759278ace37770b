//! A leader that is frozen and comes back believes for a moment that it still leads. It must not answer a read from
//! its old state once the new leader took writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::Config;
use cluster_tests::fault::Signal;
use cluster_tests::invariant::reads::{self, Read};
use cluster_tests::oracle::{Answer, Writer};
use cluster_tests::repeat::{Seed, value_of};
use cluster_tests::subscriber;

use crate::support::{alone, application, cluster, expect};

const READERS: usize = 4;

#[test]
fn a_leader_that_wakes_up_answers_no_stale_read() {
    let seed = Seed::of("pause_leader::a_leader_that_wakes_up_answers_no_stale_read");
    let pauses = value_of("BANYAN_PAUSES", 3);
    alone(Duration::from_secs(60 + 30 * pauses), || async {
        let mut cluster = cluster(Config::default()).await;
        let (device, collection) = application(&cluster, "measured").await;
        let writer_device = cluster.device(device.from()).with_timeout(Duration::from_secs(20));
        let mut writer = Writer::new(0, writer_device, &collection, seed.rng(0));
        assert_eq!(writer.write(Duration::ZERO).await.answer, Answer::Acknowledged);
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..READERS)
            .map(|index| {
                let mut device = cluster.device(device.from()).with_timeout(Duration::from_secs(20));
                if index % 2 == 1 {
                    device.switch_edge();
                }
                let stop = Arc::clone(&stop);
                let latest = format!("{collection}/latest");
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let sent = Instant::now();
                        let reply = device.retrieve(&latest).await;
                        if let Some(reply) = reply.ok().filter(|reply| reply.status == 200) {
                            let content = subscriber::contents(reply.text()).concat();
                            seen.push(Read { sent, answered: Instant::now(), content });
                        } else {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                    seen
                })
            })
            .collect();

        for _ in 0..pauses {
            let old = cluster.leader(&collection).await;
            cluster.signal_node(old, Signal::Stop);
            let others: Vec<usize> = (0..cluster.len()).filter(|&node| node != old).collect();
            let new = cluster.leader_among(&collection, &others).await;
            eprintln!("node-{old} is frozen, node-{new} leads");
            let mut taken = 0;
            let until = Instant::now() + Duration::from_secs(15);
            while taken < 20 {
                taken +=
                    u32::from(writer.write(Duration::from_millis(20)).await.answer == Answer::Acknowledged);
                assert!(Instant::now() < until, "the new leader takes writes");
            }
            cluster.signal_node(old, Signal::Continue);
            // Reads and writes go on while the old leader learns what happened.
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                writer.write(Duration::from_millis(20)).await;
            }
        }
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for reader in readers {
            all.extend(reader.await.expect("a reader does not panic"));
        }
        let history = writer.into_history();
        reads::check(&history, &all).unwrap_or_else(|violations| panic!("{violations}"));
        eprintln!("{} writes, {} reads, none stale", history.len(), all.len());
        assert!(all.len() > 50, "the readers read");
        // When all is quiet the last word is the newest write that was acknowledged, or a later one without an answer.
        let mut reader = cluster.device(device.from());
        let sent = Instant::now();
        let reply = expect("the last", 200, reader.retrieve(&format!("{collection}/latest")).await);
        let content = subscriber::contents(reply.text()).concat();
        reads::check(&history, &[Read { sent, answered: Instant::now(), content }])
            .unwrap_or_else(|violations| panic!("{violations}"));
    });
}
