//! Nodes come, go in order, and are lost, while writers write: nothing acknowledged is lost, nothing is refused, and what
//! `banyan ctl` says is so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use banyan_proto::v1::{DirectoryState, NodeStatus};
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::invariant::instances;
use cluster_tests::oracle::{Answer, Write, Writer, longest_gap, stored_within};
use cluster_tests::process::POLL;
use cluster_tests::repeat::Seed;
use tokio::task::JoinHandle;

use crate::support::{alone, application, cluster};

/// The edge asks again until it has an answer; this is how long a device waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
const MOVED_WITHIN: Duration = Duration::from_secs(90);

/// Writers that go on until they are told to stop, each in an application of its own.
struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<(String, JoinHandle<Vec<Write>>)>,
}

impl Load {
    async fn start(cluster: &Cluster, seed: &Seed, count: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for number in 0..count {
            let (device, collection) = application(cluster, &format!("busy{number}")).await;
            let device = cluster.device(device.from()).with_timeout(PATIENCE);
            let mut writer = Writer::new(number, device, &collection, seed.rng(number));
            let stop = Arc::clone(&stop);
            let writing = tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    writer.write(Duration::from_millis(5)).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                writer.into_history()
            });
            writers.push((collection, writing));
        }
        Load { stop, writers }
    }

    /// Every write was acknowledged, and is there once.
    async fn check(self, cluster: &Cluster) -> Vec<Vec<Write>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut histories = Vec::new();
        for (collection, writing) in self.writers {
            let history = writing.await.expect("a writer does not panic");
            let failed: Vec<&Write> =
                history.iter().filter(|write| write.answer != Answer::Acknowledged).collect();
            assert!(failed.is_empty(), "of {} writes failed: {failed:?}", history.len());
            let mut device = cluster.device(application_of(&collection));
            let stored = stored_within(&mut device, &collection, PATIENCE).await;
            let histories_here = [history];
            if let Err(violations) = instances::check(&histories_here, &stored) {
                panic!("{violations}");
            }
            histories.extend(histories_here);
        }
        histories
    }
}

fn application_of(collection: &str) -> &str {
    collection.split_once("/containers").map_or(collection, |(application, _)| application)
}

async fn number(cluster: &Cluster, node: usize) -> u64 {
    let status = cluster.status(node).await.expect("a node that runs answers");
    status.node.expect("it says who it is").node
}

/// The directory as `asked` has it once `condition` holds.
async fn directory_once(
    cluster: &Cluster,
    asked: usize,
    what: &str,
    condition: impl Fn(&DirectoryState) -> bool,
) -> DirectoryState {
    let until = Instant::now() + MOVED_WITHIN;
    loop {
        let status = cluster.status(asked).await;
        let state = status.ok().and_then(|status| status.directory);
        if let Some(state) = state.as_ref().filter(|state| condition(state)) {
            return state.clone();
        }
        assert!(Instant::now() < until, "waited in vain for {what}: {state:?}");
        tokio::time::sleep(POLL).await;
    }
}

fn replicas(state: &DirectoryState) -> BTreeMap<u64, usize> {
    let mut count = BTreeMap::new();
    for node in state.shards.iter().chain(&state.keys).flat_map(|shard| &shard.replicas) {
        *count.entry(*node).or_default() += 1;
    }
    count
}

fn rests(state: &DirectoryState) -> bool {
    state.shards.iter().chain(&state.keys).all(|shard| !shard.moving && shard.former.is_empty())
}

/// Groups of shards and keys of which a node has anything.
fn groups(status: &NodeStatus) -> BTreeSet<u64> {
    status.groups.iter().map(|group| group.group).filter(|group| *group != 0).collect()
}

#[test]
fn nodes_come_and_go_under_load_and_no_request_fails() {
    let seed = Seed::of("membership::nodes_come_and_go_under_load_and_no_request_fails");
    alone(Duration::from_secs(300), || async {
        // A short log, so that new replicas begin with a snapshot.
        let config = Config {
            spares: 2,
            shards: 6,
            snapshot_after_entries: Some(40),
            log_keep_entries: Some(10),
            keys: true,
            ..Config::default()
        };
        let mut cluster = cluster(config).await;
        let load = Load::start(&cluster, &seed, 6).await;
        tokio::time::sleep(Duration::from_secs(3)).await;

        let begun = Instant::now();
        cluster.start_node(3);
        cluster.start_node(4);
        cluster.wait_node(3).await;
        cluster.wait_node(4).await;
        let all_have = |state: &DirectoryState| {
            let count = replicas(state);
            rests(state)
                && state.members.len() == 5
                && count.len() == 5
                && count.values().all(|has| *has >= 4)
        };
        let grown = directory_once(&cluster, 0, "five nodes to have their share", all_have).await;
        eprintln!("three to five nodes in {:?}: {:?}", begun.elapsed(), replicas(&grown));
        for node in [3, 4] {
            let id = number(&cluster, node).await;
            let status = cluster.status(node).await.expect("it runs");
            let mine = grown.shards.iter().chain(&grown.keys).filter(|shard| shard.replicas.contains(&id));
            assert_eq!(
                groups(&status),
                mine.map(|shard| shard.shard).collect(),
                "what it should have it has"
            );
            let installed: u64 = status.groups.iter().map(|group| group.snapshots_installed).sum();
            assert!(installed > 0, "some replica began with a snapshot");
        }

        // The first two nodes go, and one of them led the directory or not.
        let begun = Instant::now();
        for node in [0, 1] {
            let id = number(&cluster, node).await;
            let address = cluster.node_rpc(node).to_owned();
            let printed = cluster.ctl(&["node", "drain", &address, "--wait-s", "90"], 2).await;
            let printed = printed.unwrap_or_else(|why| panic!("node-{node} is not drained: {why}"));
            assert!(printed.contains("has no replica"), "{printed}");
            let status = cluster.status(node).await.expect("it runs");
            assert!(
                status.groups.iter().all(|group| group.group == 0 || group.role != "Leader"),
                "{status:?}"
            );
            // What it had is removed a moment later.
            let until = Instant::now() + Duration::from_secs(20);
            while !groups(&cluster.status(node).await.expect("it runs")).is_empty() {
                assert!(Instant::now() < until, "node-{node} still has replicas");
                tokio::time::sleep(POLL).await;
            }
            let removed = cluster.ctl(&["node", "remove", &format!("{id:016x}")], 2).await;
            removed.unwrap_or_else(|why| panic!("node-{node} is not removed: {why}"));
            let status = cluster.wait_end(node, Duration::from_secs(20));
            assert!(!status.success(), "a node that was removed says so: {status}");
            assert!(cluster.node_log(node).contains("was removed from the cluster"));
        }
        let shrunk = directory_once(&cluster, 2, "three nodes to be left", |state| {
            rests(state) && state.members.len() == 3
        })
        .await;
        eprintln!("five to three nodes in {:?}: {:?}", begun.elapsed(), replicas(&shrunk));
        assert_eq!(replicas(&shrunk).values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([7]));
        tokio::time::sleep(Duration::from_secs(1)).await;

        let histories = load.check(&cluster).await;
        let writes: usize = histories.iter().map(Vec::len).sum();
        let gaps: Vec<Duration> =
            histories.iter().map(|history| longest_gap(std::slice::from_ref(history))).collect();
        eprintln!(
            "{writes} writes, none failed; longest time between two of one writer {:?}",
            gaps.iter().max()
        );

        // A node that was removed is told so, and does not come in again.
        let (status, log) = cluster.start_node_to_fail(0, Duration::from_secs(30));
        assert!(!status.success(), "{status}");
        assert!(log.contains("was removed from the cluster"), "{log}");
    });
}

#[test]
fn a_rolling_restart_costs_no_request() {
    let seed = Seed::of("membership::a_rolling_restart_costs_no_request");
    alone(Duration::from_secs(180), || async {
        let mut cluster = cluster(Config { leader_return_ms: 1_000, ..Config::default() }).await;
        let load = Load::start(&cluster, &seed, 6).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        for node in 0..cluster.len() {
            let status = cluster.stop_node(node, Duration::from_secs(20));
            assert!(status.success(), "a node that leaves in order ends with success: {status}");
            cluster.start_node(node);
            cluster.wait_node(node).await;
        }
        let histories = load.check(&cluster).await;
        let mut took: Vec<Duration> =
            histories.iter().flatten().map(|write| write.answered - write.sent).collect();
        took.sort_unstable();
        let part = |hundredths: usize| took[(took.len() - 1) * hundredths / 100];
        eprintln!(
            "{} writes, none failed; median {:?}, p99 {:?}, longest {:?}",
            took.len(),
            part(50),
            part(99),
            part(100)
        );
    });
}

#[test]
fn the_replicas_of_a_node_that_does_not_come_back_are_made_elsewhere() {
    let seed = Seed::of("membership::the_replicas_of_a_node_that_does_not_come_back_are_made_elsewhere");
    alone(Duration::from_secs(180), || async {
        let config = Config { spares: 1, node_gone_after_ms: Some(3_000), ..Config::default() };
        let mut cluster = cluster(config).await;
        let lost = number(&cluster, 0).await;
        cluster.start_node(3);
        cluster.wait_node(3).await;
        directory_once(&cluster, 1, "four nodes to have their share", |state| {
            rests(state) && replicas(state).len() == 4
        })
        .await;
        let load = Load::start(&cluster, &seed, 3).await;
        let begun = Instant::now();
        cluster.kill_node(0);
        directory_once(&cluster, 1, "the replicas to be elsewhere", |state| {
            let count = replicas(state);
            !count.contains_key(&lost) && count.len() == 3 && state.shards.iter().all(|shard| !shard.moving)
        })
        .await;
        eprintln!("replaced {:?} after the kill", begun.elapsed());
        // It comes back after all: what it had is not needed any more.
        cluster.start_node(0);
        cluster.wait_node(0).await;
        directory_once(&cluster, 0, "everything to rest", |state| rests(state) && replicas(state).len() == 4)
            .await;
        load.check(&cluster).await;
    });
}

#[test]
fn a_leadership_goes_where_an_operator_wants_it_and_returns_by_itself() {
    alone(Duration::from_secs(120), || async {
        let mut cluster = cluster(Config { leader_return_ms: 1_000, ..Config::default() }).await;
        let path = "/m2m/applications/measured";
        let shard = cluster.shard(path).await.to_string();
        for to in [0, 1, 2] {
            cluster.transfer(path, to).await;
            assert_eq!(cluster.leader(path).await, to);
        }
        cluster.kill_node(2);
        cluster.leader_among(path, &[0, 1]).await;
        cluster.start_node(2);
        cluster.wait_node(2).await;
        let until = Instant::now() + Duration::from_secs(20);
        while cluster.leader(path).await != 2 {
            assert!(Instant::now() < until, "the leadership does not return");
            tokio::time::sleep(POLL).await;
        }
        for (words, why) in [
            (vec!["shard", "transfer", "99", cluster.node_rpc(0)], "there is no shard 99"),
            (vec!["shard", "transfer", &shard, "nowhere:1"], "there is no member nowhere:1"),
            (
                vec!["node", "drain", cluster.node_rpc(0)],
                "2 nodes would be left for 3 replicas of each shard",
            ),
        ] {
            let refused = cluster.ctl(&words, 1).await.expect_err("it cannot be");
            assert!(refused.contains(why), "{refused}");
        }
    });
}
