//! Groups of three nodes in one process: what a client of the crate relies on, tried while things break.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod cluster;
mod toy;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use banyan_raft::{
    ChangeError, Config, Copy, CopyError, Groups, Links, NotLeader, ProposeError, Replica, StartError,
};
use banyan_storage::Store;

use crate::cluster::{Cluster, GROUP, PATIENCE, propose, until};
use crate::toy::{Command, PANIC, STOP, Toy};

fn command(writer: u64, number: u64) -> Command {
    Command { writer, number }
}

async fn write_all(cluster: &Cluster, writer: u64, numbers: std::ops::Range<u64>) -> Vec<Command> {
    let commands: Vec<Command> = numbers.map(|number| command(writer, number)).collect();
    for command in &commands {
        cluster.write(*command).await;
    }
    commands
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_on_every_node_and_read_on_the_leader() {
    let cluster = Cluster::of_three(|_| {}).await;
    let written = write_all(&cluster, 1, 1..50).await;

    let (leader, followers) = cluster.followers().await;
    assert_eq!(cluster.nodes[&leader].toy.list(), written, "visible on the leader when acknowledged");
    for follower in followers {
        let group = &cluster.nodes[&follower].group;
        assert_eq!(group.serves_reads().unwrap_err().leader, Some(leader));
        let refused = propose(group, command(2, 1).encode()).await;
        assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
    }
    cluster.agree_on(&written).await;

    let again = cluster.nodes[&leader].groups.start(GROUP, cluster.nodes[&leader].toy.clone()).await;
    assert!(matches!(again, Err(StartError::AlreadyStarted(GROUP))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_within_two_seconds_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::of_three(|_| {}).await;
    let mut written = write_all(&cluster, 1, 1..20).await;
    let leader = cluster.leader().await;

    let died = Instant::now();
    cluster.close(leader).await;
    let next = cluster.leader().await;
    let took = died.elapsed();
    assert!(took < Duration::from_secs(2), "a new leader after {took:?}");
    assert_ne!(next, leader);
    println!("failover took {took:?}");

    written.extend(write_all(&cluster, 1, 20..40).await);
    cluster.agree_on(&written).await;

    cluster.open(leader).await;
    cluster.link_all();
    cluster.agree_on(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_come_back_from_their_folders() {
    let mut cluster = Cluster::of_three(|_| {}).await;
    let mut written = write_all(&cluster, 1, 1..30).await;

    let ids: Vec<u64> = cluster.nodes.keys().copied().collect();
    for id in &ids {
        cluster.close(*id).await;
    }
    for id in &ids {
        cluster.open(*id).await;
        let group = &cluster.nodes[id].group;
        group.found(ids.iter().copied().collect()).await.expect("founding again changes nothing");
    }
    cluster.link_all();
    let leader = cluster.leader().await;
    assert_eq!(cluster.nodes[&leader].toy.list(), written, "a leader that is ready has everything");
    written.extend(write_all(&cluster, 1, 30..60).await);
    cluster.agree_on(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_leader_serves_no_reads_once_another_may_have_taken_writes() {
    let mut cluster = Cluster::of_three(|_| {}).await;
    let written = write_all(&cluster, 1, 1..10).await;
    let (old, others) = cluster.followers().await;

    // Watches the old leader without a pause; the last moment at which it would have served.
    let group = cluster.nodes[&old].group.clone();
    let epoch = Instant::now();
    let watch = std::thread::spawn(move || {
        let mut last = Duration::ZERO;
        while epoch.elapsed() < Duration::from_secs(6) {
            if group.serves_reads().is_ok() {
                last = epoch.elapsed();
            } else if last < epoch.elapsed().saturating_sub(Duration::from_secs(3)) {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        last
    });
    cluster.isolate(old);
    let group = cluster.nodes[&old].group.clone();
    let lost = tokio::spawn(async move { propose(&group, command(9, 1).encode()).await });
    let next = cluster.leader_among(&others).await;
    let serving = epoch.elapsed();
    let last = watch.join().unwrap();
    assert!(last < serving, "the old leader served until {last:?}, the new one began by {serving:?}");
    assert!(propose(&cluster.nodes[&next].group, command(1, 10).encode()).await.is_ok());

    cluster.link_all();
    let lost = tokio::time::timeout(Duration::from_secs(10), lost).await.expect("an answer").unwrap();
    assert!(matches!(lost, Err(ProposeError::Unknown | ProposeError::NotLeader { .. })), "{lost:?}");
    let expected = [written, vec![command(1, 10)]].concat();
    cluster.agree_on(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_behind_the_purged_log_catches_up_by_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::of_three(|config| {
        config.snapshot_after_entries = 100;
        config.log_keep_entries = 50;
    })
    .await;
    let (leader, [away, _]) = cluster.followers().await;
    let mut written = write_all(&cluster, 1, 1..10).await;
    cluster.close(away).await;

    written.extend(write_all(&cluster, 1, 10..600).await);
    until("the leader to purge its log", || async {
        let purged = cluster.nodes[&leader].group.status().purged_index;
        purged.is_some_and(|purged| purged > 300).then_some(())
    })
    .await;

    cluster.open(away).await;
    let behind = cluster.nodes[&away].group.status();
    assert!(behind.last_index < Some(100), "{behind:?}");
    cluster.link_all();
    let begun = Instant::now();
    for number in 600.. {
        written.push(command(1, number));
        cluster.write(command(1, number)).await;
        let there = cluster.nodes[&away].group.status();
        if there.applied_index > Some(600) {
            assert!(there.purged_index > Some(300), "it came by snapshot: {there:?}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never caught up: {there:?}");
    }
    cluster.agree_on(&written).await;

    // And it is a full member again: it holds what it got after a restart too, and can lead.
    cluster.close(away).await;
    cluster.open(away).await;
    cluster.link_all();
    cluster.agree_on(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_breaks_off_goes_on_where_it_stopped() {
    let mut cluster = Cluster::of_three(|config| {
        config.snapshot_after_entries = 100;
        config.log_keep_entries = 50;
    })
    .await;
    let (leader, [away, _]) = cluster.followers().await;
    cluster.close(away).await;
    let written: Vec<Command> = (1..400).map(|number| command(1, number)).collect();
    for command in &written {
        cluster.write_bytes(command.encode_with(8 << 10)).await;
    }
    until("the leader to purge its log", || async {
        cluster.nodes[&leader].group.status().purged_index.is_some_and(|purged| purged > 200).then_some(())
    })
    .await;

    cluster.tap.cut_at.store(4, Ordering::Relaxed);
    cluster.open(away).await;
    cluster.link(leader, away);
    until("the transfer to break", || async { (!cluster.nodes[&leader].links.is_up(away)).then_some(()) })
        .await;
    cluster.cut(leader, away);
    assert_eq!(cluster.nodes[&away].toy.list(), [], "half a snapshot is nothing");

    cluster.link_all();
    cluster.agree_on(&written).await;
    let chunks = cluster.tap.chunks.lock().clone();
    // The fourth was lost with the link.
    let (before, after) = chunks.split_at(4);
    assert_eq!(before[3], after[0], "{chunks:?}");
    assert!(after.is_sorted() && after.len() > 3, "{chunks:?}");
    until("the copy to be removed", || async {
        let dir = cluster.nodes[&leader].store.snapshot_dir();
        std::fs::read_dir(dir).unwrap().next().is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaderships_are_handed_over_at_once() {
    let cluster = Cluster::of_three(|_| {}).await;
    let mut written = write_all(&cluster, 1, 1..10).await;
    let leader = cluster.leader().await;

    let begun = Instant::now();
    let left = cluster.nodes[&leader].groups.step_down_all(Duration::from_secs(5)).await;
    assert_eq!(left, 0);
    assert!(cluster.nodes[&leader].group.serves_reads().is_err());
    let next = cluster.leader().await;
    let took = begun.elapsed();
    println!("transfer took {took:?}");
    assert_ne!(next, leader);
    assert!(took < Duration::from_millis(600), "a hand-over waits for no time-out, took {took:?}");

    written.extend(write_all(&cluster, 1, 10..20).await);
    cluster.agree_on(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_alone_needs_nobodys_answer_to_serve() {
    let cluster = Cluster::of_one().await;
    let node = &cluster.nodes[&11];
    let until = Instant::now() + 3 * banyan_raft::Config::default().election_timeout_max;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.group.serves_reads().expect("it is every quorum itself");
    }
    let written = write_all(&cluster, 1, 0..3).await;
    cluster.agree_on(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_over_when_nobody_is_there() {
    let mut cluster = Cluster::of_three(|_| {}).await;
    let leader = cluster.leader().await;
    cluster.isolate(leader);
    let left = cluster.nodes[&leader].groups.step_down_all(Duration::from_millis(200)).await;
    assert_eq!(left, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_proposal_is_answered_exactly_once_while_leaders_come_and_go() {
    let mut cluster = Cluster::of_three(|config| config.proposals_in_flight_max = 64).await;
    let (asked, answered, accepted) =
        (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let busy = Arc::new(AtomicUsize::new(0));
    for round in 0..3 {
        let leader = cluster.leader().await;
        let propose_some = |cluster: &Cluster, from: u64, count: u64| {
            for number in from..from + count {
                for node in cluster.nodes.values() {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let (answered, accepted, busy) = (answered.clone(), accepted.clone(), busy.clone());
                    node.group.propose(command(round, number).encode(), move |answer| {
                        answered.fetch_add(1, Ordering::Relaxed);
                        match answer {
                            Ok(_) => accepted.fetch_add(1, Ordering::Relaxed),
                            Err(ProposeError::Busy) => busy.fetch_add(1, Ordering::Relaxed),
                            Err(_) => 0,
                        };
                    });
                }
            }
        };
        let before = accepted.load(Ordering::Relaxed);
        propose_some(&cluster, 1, 1_000);
        until("some to be accepted", || async { (accepted.load(Ordering::Relaxed) > before).then_some(()) })
            .await;
        propose_some(&cluster, 1_001, 100);
        cluster.isolate(leader);
        propose_some(&cluster, 1_101, 100);
        cluster.close(leader).await;
        cluster.open(leader).await;
        cluster.link_all();
    }
    until("all answers", || async {
        (answered.load(Ordering::Relaxed) == asked.load(Ordering::Relaxed)).then_some(())
    })
    .await;
    assert!(busy.load(Ordering::Relaxed) > 0, "64 in flight, 1,000 proposed at once");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(answered.load(Ordering::Relaxed), asked.load(Ordering::Relaxed), "none twice");
    for node in cluster.nodes.values() {
        assert_eq!(node.group.status().proposals_in_flight, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_apply_stops_and_names_the_entry() {
    for (number, text) in [(STOP, "apply stopped at entry"), (PANIC, "apply panicked at entry")] {
        let cluster = Cluster::of_three(|_| {}).await;
        write_all(&cluster, 1, 1..5).await;
        let leader = cluster.leader().await;
        let index = cluster.nodes[&leader].group.status().last_index.unwrap() + 1;
        let answer = propose(&cluster.nodes[&leader].group, command(1, number).encode()).await;
        assert_eq!(answer, Err(ProposeError::Unknown));
        let stopped =
            until("the replica to stop", || async { cluster.nodes[&leader].group.status().stopped }).await;
        assert!(stopped.starts_with(&format!("{text} {index}")), "{stopped}");
        assert!(cluster.nodes[&leader].group.serves_reads().is_err());
        let later = propose(&cluster.nodes[&leader].group, command(1, 6).encode()).await;
        assert_eq!(later, Err(ProposeError::Stopped));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_as_a_learner_becomes_a_voter_and_replaces_another() {
    let mut cluster = Cluster::of_three(|_| {}).await;
    let mut written = write_all(&cluster, 1, 1..10).await;
    let (leader, [leaves, _]) = cluster.followers().await;

    cluster.add(44).await;
    cluster.link_all();
    let group = cluster.nodes[&leader].group.clone();
    group.add_learner(44).await.unwrap();
    let learner = &cluster.nodes[&44];
    until("the learner to have the list", || async { (learner.toy.list() == written).then_some(()) }).await;
    assert_eq!(group.status().learners, [44].into());

    let unknown = group.change_voters([leader, 99].into()).await;
    assert!(matches!(unknown, Err(ChangeError::Refused(_))), "{unknown:?}");
    let on_follower = cluster.nodes[&leaves].group.add_learner(99).await;
    assert_eq!(on_follower, Err(ChangeError::NotLeader { leader: Some(leader) }));

    let voters: BTreeSet<u64> = cluster.nodes.keys().copied().filter(|id| *id != leaves).collect();
    group.change_voters(voters.clone()).await.unwrap();
    assert_eq!(group.status().voters, voters);

    // The one that left is not needed any more, the one that came is.
    cluster.close(leaves).await;
    written.extend(write_all(&cluster, 1, 10..20).await);
    cluster.close(leader).await;
    cluster.leader().await;
    written.extend(write_all(&cluster, 1, 20..30).await);
    cluster.agree_on(&written).await;
}

/// Writes a copy to a file as somebody does who is sent it piece by piece.
async fn save(copy: &Arc<Copy>, file: &Path) {
    let mut bytes = Vec::new();
    loop {
        let piece = copy.read(bytes.len() as u64).await.unwrap();
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes.len() as u64, copy.bytes());
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_founded_from_a_copy_goes_on_from_it_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy");
    let old = Cluster::of_three(|_| {}).await;
    let mut written = write_all(&old, 1, 1..40).await;
    let (leader, followers) = old.followers().await;
    let refused = old.nodes[&followers[0]].group.copy().await;
    assert!(matches!(refused, Err(CopyError::NotLeader(NotLeader { leader: Some(at) })) if at == leader));
    let copy = old.nodes[&leader].group.copy().await.unwrap();
    assert!(copy.at().1 >= 40, "what was acknowledged is in it: {:?}", copy.at());
    write_all(&old, 1, 40..50).await;
    save(&copy, &file).await;

    let mut new = Cluster::of_loaded(&file).await;
    new.agree_on(&written).await;
    for node in new.nodes.values() {
        let status = node.group.status();
        assert_eq!((status.purged_index, status.voters), (Some(0), [11, 22, 33].into()), "its own members");
    }
    // What the state knows of its writers came along.
    new.write(command(1, 7)).await;
    written.extend(write_all(&new, 1, 60..80).await);
    new.agree_on(&written).await;

    // Who joins with an empty state cannot be brought there by the log, although all of it that was ever written is there.
    new.add(44).await;
    new.link_all();
    let leader = new.leader().await;
    new.nodes[&leader].group.add_learner(44).await.unwrap();
    new.agree_on(&written).await;
    // It is counted a moment after it is visible.
    until("it to have come by a snapshot", || async {
        (new.nodes[&44].group.status().snapshots_installed == 1).then_some(())
    })
    .await;

    let ids = [11, 22, 33, 44];
    for id in ids {
        new.close(id).await;
    }
    for id in ids {
        new.open(id).await;
    }
    new.link_all();
    written.extend(write_all(&new, 1, 80..90).await);
    new.agree_on(&written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_copy_is_not_loaded_and_leaves_the_replica_new() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    let old = Cluster::of_one().await;
    let written = write_all(&old, 1, 1..40).await;
    let group = &old.nodes[&11].group;
    save(&group.copy().await.unwrap(), &good).await;
    let mut bytes = std::fs::read(&good).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bad, bytes).unwrap();

    let store = Store::open(&folder.path().join("data"), banyan_storage::Config::default()).unwrap();
    let config = Config::default();
    let groups = Groups::new(5, store.clone(), Links::new(config.link_queue_bytes_max), config);
    let toy = Arc::new(Toy::new(GROUP, store.state(GROUP)));
    let load = |file: &Path| groups.load(GROUP, toy.ranges(), file.to_owned(), [5].into());
    assert!(matches!(load(&bad).await, Err(StartError::Storage { .. })));
    assert_eq!(toy.list(), []);
    load(&good).await.unwrap();
    let group = groups.start(GROUP, toy.clone()).await.unwrap();
    assert!(matches!(load(&good).await, Err(StartError::AlreadyStarted(GROUP))), "not under a running group");
    group.found([5].into()).await.unwrap();
    until("it to lead", || async { group.serves_reads().ok() }).await;
    assert_eq!(toy.list(), written);
}
