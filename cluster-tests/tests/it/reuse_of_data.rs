//! "What if a new network application would like to reuse the data": it sees nothing, is let in by the owner, reads and
//! subscribes, and is shut out again, through every edge and at every node within the lease of a right.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::cluster::Config;
use cluster_tests::device::Device;
use cluster_tests::subscriber::Subscriber;

use crate::support::{alone, cluster, expect};

/// How long a right of another shard may be used after it was revoked, and what a request takes besides.
const LEASE: Duration = Duration::from_millis(1_000);
const SLACK: Duration = Duration::from_millis(500);

/// For what happens outside the cluster.
const PATIENCE: Duration = Duration::from_secs(20);

const OWNER: &str = "/m2m/applications/owner";
const READER: &str = "/m2m/applications/reader";

/// The right of the owner, with the reader in it or not.
fn right(id: Option<&str>, with_reader: bool) -> String {
    let all = ["READ", "WRITE", "CREATE", "DELETE", "DISCOVER"];
    let own = body::permission("own", &all, &[OWNER]);
    let mut permissions = vec![own.clone()];
    if with_reader {
        permissions.push(body::permission("reader", &["READ", "DISCOVER"], &[READER]));
    }
    body::access_right(id, &permissions, &[own])
}

#[test]
fn a_reader_is_let_in_and_shut_out_within_the_lease() {
    alone(Duration::from_secs(180), || async {
        let cluster = cluster(Config { shards: 8, ..Config::default() }).await;
        let mut owner = cluster.device(OWNER);
        for name in ["owner", "reader"] {
            let application = body::application(name, None);
            expect("register", 201, owner.create("/m2m/applications", &application).await);
        }
        let rights = format!("{OWNER}/accessRights");
        expect("right", 201, owner.create(&rights, &right(Some("r"), false)).await);
        let uri = format!("{rights}/r");

        // An application for each data set, until every node leads one whose right is another shard's. Who leads what is
        // settled by elections: a node that leads none of the shards has nothing to measure.
        let mut targets: Vec<(usize, String)> = Vec::new();
        for n in 0..200 {
            if targets.len() == cluster.len() {
                break;
            }
            let path = format!("/m2m/applications/data{n}");
            let application = body::application(&format!("data{n}"), Some(&uri));
            expect("data", 201, owner.create("/m2m/applications", &application).await);
            let leader = cluster.leader(&path).await;
            if targets.iter().all(|(known, _)| *known != leader) {
                targets.push((leader, path));
            }
        }
        println!("{} of {} nodes lead a data set", targets.len(), cluster.len());
        let mut readers: Vec<Device> =
            cluster.edges().into_iter().map(|edge| Device::new([edge], READER)).collect();

        for reader in &mut readers {
            for (_, target) in &targets {
                expect("before it is let in", 404, reader.retrieve(target).await);
            }
        }
        expect("let in", 200, owner.update(&uri, &right(None, true)).await);
        for reader in &mut readers {
            for (_, target) in &targets {
                until(reader, target, 200, LEASE + SLACK).await;
            }
        }
        let subscriptions = format!("{}/subscriptions", targets[0].1);
        let subscriber = Subscriber::start().await;
        let subscription = body::subscription("s", &subscriber.contact("/reader"));
        expect("subscribe", 201, readers[0].create(&subscriptions, &subscription).await);
        let told = subscriber.wait("/reader", PATIENCE, |all| !all.is_empty()).await;
        assert!(told.is_ok(), "the first notify");

        expect("shut out", 200, owner.update(&uri, &right(None, false)).await);
        let revoked = Instant::now();
        for (at, reader) in readers.iter_mut().enumerate() {
            for (node, target) in &targets {
                until(reader, target, 404, (LEASE + SLACK).saturating_sub(revoked.elapsed())).await;
                let took = revoked.elapsed();
                eprintln!("revoked: edge {at}, node {node}: no more reads after {took:?}");
                assert!(took < LEASE + SLACK, "edge {at}, node {node}: {took:?}");
            }
        }
        // Nothing that is watched changes any more, and still the subscription ends.
        let ended = subscriber.wait("/reader", PATIENCE, |all| all.len() > 1).await.expect("a last notify");
        let took = ended[1].at.saturating_duration_since(revoked);
        eprintln!("revoked: the subscription ended with a last notify after {took:?}");
        assert_eq!(ended[1].status_code, "STATUS_PERMISSION_DENIED", "{}", ended[1].body);
        expect("the subscription is gone", 404, owner.retrieve(&format!("{subscriptions}/s")).await);
        for reader in &mut readers {
            for (_, target) in &targets {
                expect("and it stays so", 404, reader.retrieve(target).await);
            }
        }
    });
}

/// Asks until the status is this one.
async fn until(reader: &mut Device, target: &str, status: u16, within: Duration) {
    let start = Instant::now();
    loop {
        let reply = reader.retrieve(target).await.expect("an answer");
        if reply.status == status {
            return;
        }
        let took = start.elapsed();
        assert!(took <= within, "{target}: {} and not {status} after {took:?}", reply.status);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
