//! A shard without a majority answers 503 with Retry-After before the deadline, for writes and for reads, and serves
//! again when the majority is back.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::cluster::Config;

use crate::support::{alone, application, cluster, expect};

/// The edge's deadline for one request must be shorter than this.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

#[test]
fn without_a_majority_the_answer_is_503_with_retry_after() {
    alone(Duration::from_secs(150), || async {
        let mut cluster = cluster(Config { edges: 1, ..Config::default() }).await;
        let (mut device, instances) = application(&cluster, "lonely").await;
        expect("a write", 201, device.create(&instances, &body::content_instance(None, "before")).await);
        let leader = cluster.leader(&instances).await;
        for node in (0..cluster.len()).filter(|&node| node != leader) {
            cluster.kill_node(node);
        }
        // The leader may believe for one lease that it is one; after that neither kind may succeed.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let latest = format!("{instances}/latest");
        for what in ["write", "read"] {
            let start = Instant::now();
            let reply = match what {
                "write" => device.create(&instances, &body::content_instance(None, "during")).await,
                _ => device.retrieve(&latest).await,
            };
            let took = start.elapsed();
            let reply = expect(what, 503, reply);
            assert!(took < ANSWER_WITHIN, "a {what} was answered after {took:?}");
            let seconds =
                reply.header("retry-after").unwrap_or_else(|| panic!("{what}: 503 says when to come again"));
            assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "Retry-After: {seconds}");
            assert!(reply.text().contains("STATUS_SERVICE_UNAVAILABLE"), "{}", reply.text());
        }
        cluster.start_all();
        cluster.wait_ready().await;
        expect("a write again", 201, device.create(&instances, &body::content_instance(None, "after")).await);
        let reply = expect("a read again", 200, device.retrieve(&latest).await);
        assert_eq!(cluster_tests::subscriber::contents(reply.text()), ["after"]);
    });
}
