//! security.md 8, test 7: the leader of the keys' group dies during 1,000 handshakes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_binding::mid::{ConnectorConfig, PskConnector};
use futures_util::{StreamExt, stream};

use super::handshake;
use super::keeping_keys;
use super::provisioned::{Node, Psk, import};
use crate::support::alone;

const LIMIT: Duration = Duration::from_secs(240);
const HANDSHAKES: usize = 1_000;
const AT_ONCE: usize = 40;
/// Handshakes that have ended when the leader dies.
const KILL_AFTER: usize = 200;
/// Until a handshake with the right key must have succeeded; with an election, and with what is remembered of failed
/// look-ups, on a busy machine.
const RETRY_WITHIN: Duration = Duration::from_secs(40);

#[test]
fn the_leader_of_the_keys_dies_during_a_thousand_handshakes() {
    alone(LIMIT, || async {
        let mut cluster = keeping_keys().await;
        // One node each: what an edge has looked up it remembers, and would not ask for again.
        let nodes: Vec<Node> = (0..HANDSHAKES).map(|number| Node::new(&format!("gw-{number}"))).collect();
        for some in nodes.chunks(20) {
            import(&cluster, some).await;
        }
        let edges = [cluster.mid(0).psk.clone(), cluster.mid(1).psk.clone()];
        let connectors = [false, true].map(|tls_1_3| {
            let config = ConnectorConfig { tls_1_3, ..ConnectorConfig::default() };
            Arc::new(PskConnector::new(&config).expect("OpenSSL can be set up"))
        });
        let all = nodes.iter().enumerate().map(|(number, node)| {
            let right = number % 2 == 0;
            let psk = if right { node.kmr.clone() } else { Psk { key: [7; 32], ..node.kmr.clone() } };
            (number, right, psk)
        });

        let leader = cluster.leader_of_keys().await;
        let began = Instant::now();
        let (mut ended, mut killed) = (0, None);
        let (mut of_right, mut of_wrong) = (Vec::new(), Vec::new());
        let mut trying = stream::iter(all)
            .map(|(number, right, psk)| {
                let connector = Arc::clone(&connectors[(number / 2) % 2]);
                let edge = edges[(number / 4) % 2].clone();
                async move {
                    let made = handshake(&connector, &edge, &psk).await;
                    (right, made.is_ok(), (connector, edge, psk))
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((right, made, attempt)) = trying.next().await {
            ended += 1;
            if ended == KILL_AFTER {
                cluster.kill_node(leader);
                killed = Some(began.elapsed());
            }
            if right { &mut of_right } else { &mut of_wrong }.push((made, attempt));
        }
        drop(trying);
        let succeeded = |of: &[(bool, _)]| of.iter().filter(|(made, _)| *made).count();
        let failed = of_right.len() - succeeded(&of_right);
        println!(
            "{} handshakes in {:?}, node {leader} killed after {killed:?}; right key: {} succeeded, {failed} failed; \
             wrong key: {} succeeded",
            ended,
            began.elapsed(),
            succeeded(&of_right),
            succeeded(&of_wrong),
        );
        assert_eq!((of_right.len(), of_wrong.len()), (HANDSHAKES / 2, HANDSHAKES / 2));
        assert_eq!(succeeded(&of_wrong), 0, "a handshake with a wrong key succeeded");
        assert!(succeeded(&of_right) > 0);

        let retried = of_right.into_iter().filter(|(made, _)| !made).map(|(_, attempt)| again(attempt));
        let waited: Vec<Duration> = stream::iter(retried).buffer_unordered(AT_ONCE).collect().await;
        println!(
            "{} retries succeeded, the last one after {:?}",
            waited.len(),
            waited.iter().max().copied().unwrap_or_default()
        );
        assert_ne!(cluster.leader_of_keys().await, leader, "the killed node leads");
        // With another leader a wrong key is as wrong as before.
        for (_, (connector, edge, psk)) in of_wrong.iter().take(20) {
            assert!(handshake(connector, edge, psk).await.is_err(), "{} came in", psk.identity);
        }
    });
}

/// Tries until it succeeds: how long that took.
async fn again((connector, edge, psk): (Arc<PskConnector>, String, Psk)) -> Duration {
    let began = Instant::now();
    loop {
        match handshake(&connector, &edge, &psk).await {
            Ok(()) => return began.elapsed(),
            Err(failure) => {
                assert!(began.elapsed() < RETRY_WITHIN, "{}: {failure}", psk.identity);
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}
