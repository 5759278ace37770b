//! Chaos: readers and writers of a few registers at both edges while nodes and edges are killed, frozen and restarted,
//! shards move from one node to another, and nodes do not hear each other, as the seed says. Whatever happened, every register was linearizable, and every acknowledged instance is there.
//!
//! A register is the searchStrings of an application: an UPDATE replaces them, a RETRIEVE gives them. Each is a subtree
//! of its own. Writers of contentInstances go along, since a register forgets what was overwritten.
//!
//! `BANYAN_CHAOS_SECONDS` sets how long things break (20).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use banyan_proto::v1::ShardInfo;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::{Device, Reply};
use cluster_tests::fault::Signal;
use cluster_tests::http::Error;
use cluster_tests::invariant::instances;
use cluster_tests::invariant::linear::{self, Action, Failure, Figures, Operation};
use cluster_tests::lan::Lan;
use cluster_tests::oracle::{Write, Writer, stored_within};
use cluster_tests::repeat::{Seed, value_of};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use tokio::task::JoinHandle;

use crate::support::{alone, application, cluster, expect};

const NODES: usize = 4;
const EDGES: usize = 2;
const REGISTERS: usize = 4;
const CLIENTS: u64 = 12;
const INSTANCE_WRITERS: u64 = 2;
/// Shorter than the edge's own deadline: a request that hangs in a frozen node is one of unknown outcome, and its client
/// goes on to make the history harder.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// From the end of the last fault until every register is written and read through every edge.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// From the same until no shard moves any more.
const RESTS_WITHIN: Duration = Duration::from_secs(60);
/// Of one register. An honest history takes a few steps an operation.
const STEPS_MAX: u64 = 20_000_000;

#[test]
fn registers_are_linearizable_whatever_breaks() {
    let seed = Seed::of("chaos::registers_are_linearizable_whatever_breaks");
    chaos(&seed, &FAULTS, || Ok(None));
}

#[test]
fn registers_are_linearizable_whoever_does_not_hear_whom() {
    let seed = Seed::of("chaos::registers_are_linearizable_whoever_does_not_hear_whom");
    chaos(&seed, &PARTITIONS, || Ok(Some(Arc::new(Lan::new(NODES + EDGES)?))));
}

/// Breaks things of these kinds; in a network of the cluster's own where `lan` makes one.
fn chaos(seed: &Seed, kinds: &'static [Fault], lan: impl FnOnce() -> Result<Option<Arc<Lan>>, String>) {
    let seconds = value_of("BANYAN_CHAOS_SECONDS", 20);
    alone(Duration::from_secs(240 + 2 * seconds), || async {
        let lan = match lan() {
            Ok(lan) => lan,
            Err(why) => return eprintln!("skipped: no network namespaces here: {why}"),
        };
        // A node more than a shard has replicas, so that one can be drained.
        let config = Config {
            nodes: NODES,
            edges: EDGES,
            leader_return_ms: 1_500,
            lan: lan.clone(),
            ..Config::default()
        };
        let mut cluster = cluster(config).await;
        let registers = registers(&cluster).await;
        let (device, collection) = application(&cluster, "instances").await;
        let start = Instant::now();
        let mut recorded = Recorded::default();
        recorded.add(first_writes(&cluster, &registers, start).await);

        let stop = Arc::new(AtomicBool::new(false));
        let clients = clients(&cluster, &registers, start, seed, &stop);
        let writers = instance_writers(&cluster, device.from(), &collection, seed, &stop);
        let mut faults = Faults::new(seed.rng(u64::MAX), kinds, lan);
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            faults.one(&mut cluster, &registers).await;
        }
        let healed = Instant::now();
        cluster.start_all();
        cluster.wait_ready().await;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            recorded.add(client.await.expect("a client does not panic"));
        }
        let mut histories: Vec<Vec<Write>> = Vec::new();
        for writer in writers {
            histories.push(writer.await.expect("a writer does not panic"));
        }
        recorded.add(last_words(&cluster, &registers, start, healed).await);
        let serves = healed.elapsed();
        rests(&cluster).await;

        let stored = stored_within(&mut cluster.device(device.from()), &collection, SERVES_WITHIN).await;
        let instances =
            instances::check(&histories, &stored).unwrap_or_else(|violations| panic!("{violations}"));
        let began = Instant::now();
        let figures = judge(&recorded);
        eprintln!(
            "{recorded}\ninstances: {instances:?}\nfaults: {faults:?}\nserves everywhere {serves:?} after the last\n\
             checked in {:?}: {figures:?}",
            began.elapsed()
        );
        assert!(serves < SERVES_WITHIN, "it takes {serves:?} until everything is served again");
        assert!(recorded.acknowledged > 100, "the clients got through between the faults");
        assert!(instances.acknowledged > 10, "the writers of instances got through");
        // The same history with one lie in it does not pass: this run would have shown a stale read.
        let lie = with_a_stale_read(&recorded.history).expect("a register was written twice and then read");
        assert!(matches!(linear::check(&lie, STEPS_MAX), Err(Failure::Violation(_))));
    });
}

#[test]
fn a_lie_in_a_real_history_is_caught() {
    let seed = Seed::of("chaos::a_lie_in_a_real_history_is_caught");
    alone(Duration::from_secs(90), || async {
        let cluster = cluster(Config::default()).await;
        let registers = registers(&cluster).await;
        let start = Instant::now();
        let mut recorded = Recorded::default();
        recorded.add(first_writes(&cluster, &registers, start).await);
        let stop = Arc::new(AtomicBool::new(false));
        let clients = clients(&cluster, &registers, start, &seed, &stop);
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            recorded.add(client.await.expect("a client does not panic"));
        }
        recorded.add(last_words(&cluster, &registers, start, Instant::now()).await);
        judge(&recorded);

        let caught = |what: &str, lie: Option<Vec<Operation>>| {
            let lie = lie.unwrap_or_else(|| panic!("the history has no place for {what}"));
            match linear::check(&lie, STEPS_MAX) {
                Err(Failure::Violation(violation)) => {
                    eprintln!("{what}: {violation}");
                    assert!(violation.operations.len() <= 4, "few operations show {what}");
                }
                other => panic!("{what} is not caught: {other:?}"),
            }
        };
        caught("a stale read", with_a_stale_read(&recorded.history));
        caught("a lost write", with_a_lost_write(&recorded.history));
        caught("a value from nowhere", with_a_value_from_nowhere(&recorded.history));
    });
}

/// The paths of the registers, which exist afterwards and are empty.
async fn registers(cluster: &Cluster) -> Vec<String> {
    let mut paths = Vec::new();
    for number in 0..REGISTERS {
        let name = format!("register-{number}");
        let path = format!("/m2m/applications/{name}");
        let mut device = cluster.device(&path);
        expect("register", 201, device.create("/m2m/applications", &body::application(&name, None)).await);
        paths.push(path);
    }
    paths
}

/// A client of all registers, one request after the other.
struct Client {
    number: u64,
    device: Device,
    start: Instant,
    written: u64,
    recorded: Recorded,
}

/// What clients saw.
#[derive(Default)]
struct Recorded {
    history: Vec<Operation>,
    tried: u64,
    acknowledged: u64,
    /// Never connected: nothing was sent.
    unsent: u64,
    refused: BTreeMap<u16, u64>,
    unknown: BTreeMap<String, u64>,
}

impl Recorded {
    fn add(&mut self, other: Recorded) {
        self.history.extend(other.history);
        self.tried += other.tried;
        self.acknowledged += other.acknowledged;
        self.unsent += other.unsent;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        for (why, count) in other.unknown {
            *self.unknown.entry(why).or_default() += count;
        }
    }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recorded { tried, acknowledged, unsent, refused, unknown, .. } = self;
        write!(
            f,
            "operations: {tried} tried, {acknowledged} acknowledged, {} refused {refused:?}, {unsent} unsent, {} unknown {unknown:?}",
            refused.values().sum::<u64>(),
            unknown.values().sum::<u64>(),
        )
    }
}

impl Client {
    fn new(number: u64, mut device: Device, start: Instant) -> Client {
        if number % 2 == 1 {
            device.switch_edge();
        }
        Client { number, device, start, written: 0, recorded: Recorded::default() }
    }

    /// A value that nobody else writes.
    async fn write(&mut self, register: &str) -> bool {
        let value = format!("c{}-{}", self.number, self.written);
        self.written += 1;
        let xml = format!(
            "<m2m:application xmlns:m2m=\"http://uri.etsi.org/m2m\"><m2m:searchStrings><m2m:searchString>{value}\
             </m2m:searchString></m2m:searchStrings></m2m:application>"
        );
        let sent = self.start.elapsed();
        let headers = [("from", register), ("content-type", "application/xml")];
        let reply = self.device.request("PUT", register, &headers, xml.as_bytes()).await;
        self.record(register, sent, &reply, |_| Action::Write(value))
    }

    async fn read(&mut self, register: &str) -> bool {
        let sent = self.start.elapsed();
        let headers = [("from", register), ("accept", "application/xml")];
        let reply = self.device.request("GET", register, &headers, b"").await;
        self.record(register, sent, &reply, |reply| {
            Action::Read(
                reply.and_then(|reply| body::element(reply.text(), "searchString")).map(str::to_owned),
            )
        })
    }

    /// Whether it was acknowledged.
    fn record(
        &mut self,
        register: &str,
        sent: Duration,
        reply: &Result<Reply, Error>,
        action: impl FnOnce(Option<&Reply>) -> Action,
    ) -> bool {
        let answered = self.start.elapsed();
        let recorded = &mut self.recorded;
        recorded.tried += 1;
        let answered = match reply {
            Ok(reply) if (200..300).contains(&reply.status) => {
                recorded.acknowledged += 1;
                Some(answered)
            }
            // 408 says that it may still be carried out.
            Ok(reply) if reply.status == 408 || reply.status >= 500 => {
                *recorded.unknown.entry(reply.status.to_string()).or_default() += 1;
                None
            }
            Ok(reply) => {
                *recorded.refused.entry(reply.status).or_default() += 1;
                return false;
            }
            Err(Error::Connect { .. }) => {
                recorded.unsent += 1;
                return false;
            }
            Err(error) => {
                *recorded.unknown.entry(error.to_string()).or_default() += 1;
                None
            }
        };
        let action = action(reply.as_ref().ok().filter(|_| answered.is_some()));
        let (register, client) = (register.to_owned(), self.number);
        recorded.history.push(Operation { register, client, action, sent, answered });
        answered.is_some()
    }
}

/// Clients that read and write until they are told to stop.
fn clients(
    cluster: &Cluster,
    registers: &[String],
    start: Instant,
    seed: &Seed,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<Recorded>> {
    (0..CLIENTS)
        .map(|number| {
            let mut client = Client::new(number, cluster.device("").with_timeout(ANSWER_WITHIN), start);
            let mut rng = seed.rng(number);
            let (registers, stop) = (registers.to_owned(), Arc::clone(stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let register = registers.choose(&mut rng).expect("there are registers");
                    let acknowledged = if rng.random_bool(0.4) {
                        client.write(register).await
                    } else {
                        client.read(register).await
                    };
                    // Leaves the machine to the cluster; after a failure it tries its luck at the other edge.
                    let pause = if acknowledged { 0..10 } else { 20..100 };
                    if !acknowledged {
                        client.device.switch_edge();
                    }
                    tokio::time::sleep(Duration::from_millis(rng.random_range(pause))).await;
                }
                client.recorded
            })
        })
        .collect()
}

fn instance_writers(
    cluster: &Cluster,
    from: &str,
    collection: &str,
    seed: &Seed,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<Vec<Write>>> {
    (0..INSTANCE_WRITERS)
        .map(|number| {
            let device = cluster.device(from).with_timeout(ANSWER_WITHIN);
            let mut writer = Writer::new(number, device, collection, seed.rng(1_000 + number));
            let stop = Arc::clone(stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    writer.write(Duration::from_millis(50)).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                writer.into_history()
            })
        })
        .collect()
}

/// Sees that each register is empty and gives it a first value.
async fn first_writes(cluster: &Cluster, registers: &[String], start: Instant) -> Recorded {
    let mut client = Client::new(CLIENTS, cluster.device(""), start);
    for register in registers {
        assert!(client.read(register).await, "{register} is read: {}", client.recorded);
        assert!(client.write(register).await, "{register} is written: {}", client.recorded);
    }
    client.recorded
}

/// Reads, writes and reads each register through every edge, each until it is acknowledged.
async fn last_words(cluster: &Cluster, registers: &[String], start: Instant, healed: Instant) -> Recorded {
    let mut recorded = Recorded::default();
    for (edge, number) in cluster.edges().into_iter().zip(CLIENTS + 1..) {
        let mut client = Client::new(number, Device::new([edge], "").with_timeout(ANSWER_WITHIN), start);
        for register in registers {
            for write in [false, true, false] {
                while !(if write { client.write(register).await } else { client.read(register).await }) {
                    let waited = healed.elapsed();
                    assert!(waited < SERVES_WITHIN, "{register} after {waited:?}: {}", client.recorded);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        recorded.add(client.recorded);
    }
    recorded
}

fn judge(recorded: &Recorded) -> Figures {
    assert!(recorded.refused.is_empty(), "no request of these is wrong, so none is refused: {recorded}");
    linear::check(&recorded.history, STEPS_MAX).unwrap_or_else(|failure| panic!("{failure}\n{recorded}"))
}

/// What breaks next: every kind once, in an order of the seed's, then again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillNode,
    KillLeader,
    FreezeLeader,
    /// No majority for some time, and one node that believes that it leads comes back into it.
    FreezeLeaderKillNode,
    KillAllNodes,
    KillEdge,
    /// Its shards are on their way while the next things break.
    DrainNode,
    /// The leader hears and is heard by no other node, but by both edges: it must find out by itself.
    PartLeader,
    /// What the leader sends to other nodes arrives, what they send to it does not.
    DeafLeader,
    /// The other way round.
    MuteLeader,
    /// Two nodes and two, an edge with each.
    Halves,
    /// Of the nodes only one hears all others.
    Bridge,
    /// An edge and the leader do not hear each other.
    PartEdge,
}

/// In a network of the cluster's own.
const PARTITIONS: [Fault; 9] = [
    Fault::PartLeader,
    Fault::PartLeader,
    Fault::DeafLeader,
    Fault::MuteLeader,
    Fault::Halves,
    Fault::Bridge,
    Fault::PartEdge,
    Fault::KillLeader,
    Fault::DrainNode,
];

const FAULTS: [Fault; 8] = [
    Fault::DrainNode,
    Fault::DrainNode,
    Fault::KillNode,
    Fault::KillLeader,
    Fault::FreezeLeader,
    Fault::FreezeLeaderKillNode,
    Fault::KillAllNodes,
    Fault::KillEdge,
];

struct Faults {
    rng: StdRng,
    kinds: &'static [Fault],
    lan: Option<Arc<Lan>>,
    next: Vec<Fault>,
    done: BTreeMap<Fault, u64>,
    drained: Option<usize>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.done.fmt(f)
    }
}

impl Faults {
    fn new(rng: StdRng, kinds: &'static [Fault], lan: Option<Arc<Lan>>) -> Faults {
        Faults { rng, kinds, lan, next: Vec::new(), done: BTreeMap::new(), drained: None }
    }

    /// Breaks something, and after a time mends it.
    async fn one(&mut self, cluster: &mut Cluster, registers: &[String]) {
        if self.next.is_empty() {
            self.next = self.kinds.to_vec();
            self.next.shuffle(&mut self.rng);
        }
        self.pause(200..800).await;
        let fault = self.next.pop().expect("there are faults");
        let leader = cluster.leader(registers.choose(&mut self.rng).expect("there are registers")).await;
        let other = (leader + self.rng.random_range(1..cluster.len())) % cluster.len();
        let began = Instant::now();
        match fault {
            Fault::KillNode => {
                let node = self.rng.random_range(0..cluster.len());
                cluster.kill_node(node);
                self.pause(0..2_000).await;
            }
            Fault::KillLeader => {
                cluster.kill_node(leader);
                self.pause(0..2_000).await;
            }
            Fault::FreezeLeader => {
                cluster.signal_node(leader, Signal::Stop);
                self.pause(1_000..4_000).await;
                cluster.signal_node(leader, Signal::Continue);
            }
            Fault::FreezeLeaderKillNode => {
                cluster.signal_node(leader, Signal::Stop);
                self.pause(500..2_000).await;
                cluster.kill_node(other);
                self.pause(0..1_000).await;
                cluster.signal_node(leader, Signal::Continue);
                self.pause(0..500).await;
            }
            Fault::KillAllNodes => {
                (0..cluster.len()).for_each(|node| cluster.kill_node(node));
                self.pause(0..500).await;
            }
            Fault::KillEdge => {
                let edge = self.rng.random_range(0..cluster.edges().len());
                cluster.kill_edge(edge);
                self.pause(0..1_000).await;
            }
            Fault::DrainNode => {
                if let Some(node) = self.drained.take() {
                    ask(cluster, &["node", "undrain", cluster.node_rpc(node)]).await;
                }
                ask(cluster, &["node", "drain", cluster.node_rpc(other), "--wait-s", "0"]).await;
                self.drained = Some(other);
                self.pause(0..1_000).await;
            }
            Fault::PartLeader
            | Fault::DeafLeader
            | Fault::MuteLeader
            | Fault::Halves
            | Fault::Bridge
            | Fault::PartEdge => {
                let lan = self.lan.clone().expect("partitions are of a network");
                part(&lan, fault, leader, other);
                self.pause(1_000..4_000).await;
                lan.mend();
            }
        }
        cluster.start_all();
        cluster.wait_ready().await;
        eprintln!("{fault:?} (node-{leader} led), all ready after {:?}", began.elapsed());
        *self.done.entry(fault).or_default() += 1;
    }

    async fn pause(&mut self, ms: std::ops::Range<u64>) {
        let pause = Duration::from_millis(self.rng.random_range(ms));
        tokio::time::sleep(pause).await;
    }
}

/// Has what the members send to each other lost as the fault says. Places are those of the nodes, then of the edges.
fn part(lan: &Lan, fault: Fault, leader: usize, other: usize) {
    let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
    match fault {
        Fault::PartLeader => lan.part(&[leader], &others),
        Fault::DeafLeader => others.iter().for_each(|node| lan.lose(*node, leader)),
        Fault::MuteLeader => others.iter().for_each(|node| lan.lose(leader, *node)),
        Fault::Halves => {
            let mut far: Vec<usize> = others.into_iter().filter(|node| *node != other).collect();
            far.push(NODES + 1);
            lan.part(&[leader, other, NODES], &far);
        }
        Fault::Bridge => {
            let sides: Vec<usize> = (0..NODES).filter(|node| *node != other).collect();
            lan.part(&sides, &sides);
        }
        Fault::PartEdge => lan.part(&[NODES], &[leader]),
        _ => unreachable!("not a partition: {fault:?}"),
    }
}

/// Asks any node, until the directory's leader has taken it: it may be elected at this moment.
async fn ask(cluster: &Cluster, words: &[&str]) {
    let mut refusals = Vec::new();
    for round in 0..20 {
        match cluster.ctl(words, round % cluster.len()).await {
            Ok(_) => return,
            Err(why) => refusals.push(why),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{words:?}: {refusals:?}");
}

/// Waits until no shard moves any more, and each has its three replicas.
async fn rests(cluster: &Cluster) {
    let until = Instant::now() + RESTS_WITHIN;
    loop {
        let state = cluster.status(0).await.ok().and_then(|status| status.directory);
        let is_placed =
            |shard: &ShardInfo| !shard.moving && shard.leaving.is_empty() && shard.replicas.len() == 3;
        if state.as_ref().is_some_and(|state| state.shards.iter().all(is_placed)) {
            return;
        }
        assert!(Instant::now() < until, "shards still move after {RESTS_WITHIN:?}: {state:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The history with its last read changed into one of a value that was overwritten before the read began.
fn with_a_stale_read(history: &[Operation]) -> Option<Vec<Operation>> {
    let newest_before = |moment: &Operation| {
        history.iter().filter(|write| done_before(write, moment)).max_by_key(|write| write.sent)
    };
    let mut reads: Vec<usize> =
        (0..history.len()).filter(|&index| matches!(history[index].action, Action::Read(Some(_)))).collect();
    // The latest that can be changed: the longer the history before it, the more the search has to see through.
    reads.sort_by_key(|&index| std::cmp::Reverse(history[index].sent));
    reads.into_iter().find_map(|index| {
        let Action::Write(old) = &newest_before(newest_before(&history[index])?)?.action else { return None };
        let mut lie = history.to_vec();
        lie[index].action = Action::Read(Some(old.clone()));
        Some(lie)
    })
}

/// The history as it would be had a crash undone the last write that was read: whoever read it reads one before it.
fn with_a_lost_write(history: &[Operation]) -> Option<Vec<Operation>> {
    let lie = with_a_stale_read(history)?;
    let changed = history.iter().zip(&lie).find(|(was, is)| was != is)?;
    let (was, is) = (&changed.0.action, changed.1.action.clone());
    let mut lie = history.to_vec();
    for operation in lie.iter_mut().filter(|operation| operation.action == *was) {
        operation.action = is.clone();
    }
    Some(lie)
}

fn with_a_value_from_nowhere(history: &[Operation]) -> Option<Vec<Operation>> {
    let mut lie = history.to_vec();
    let read = lie.iter_mut().rfind(|operation| matches!(operation.action, Action::Read(Some(_))))?;
    read.action = Action::Read(Some("nowhere".to_owned()));
    Some(lie)
}

/// Whether this is an acknowledged write of the same register that was over before the other began.
fn done_before(write: &Operation, other: &Operation) -> bool {
    matches!(write.action, Action::Write(_))
        && write.register == other.register
        && write.answered.is_some_and(|answered| answered < other.sent)
}
