//! Nodes in one process, linked in memory: a link is two tasks that move frames, and can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use banyan_proto::v1::RaftFrame;
use banyan_proto::v1::raft_message::Body;
use banyan_raft::{Config, Group, Groups, Incoming, Links, Outgoing, ProposeError, Replica};
use banyan_storage::Store;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use prost::Message;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::toy::{Command, Toy};

pub(crate) const GROUP: u64 = 7;
/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<u64, Node>,
    dirs: BTreeMap<u64, TempDir>,
    wires: BTreeMap<(u64, u64), [JoinHandle<()>; 2]>,
    config: fn(&mut Config),
    pub(crate) tap: Arc<Tap>,
}

/// Looks at the snapshot chunks that pass, and cuts a wire.
#[derive(Default)]
pub(crate) struct Tap {
    /// Their offsets.
    pub(crate) chunks: Mutex<Vec<u64>>,
    /// The wire that carries this many chunks in all is cut; 0 cuts none.
    pub(crate) cut_at: AtomicUsize,
}

pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) links: Arc<Links>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) group: Group,
    pub(crate) toy: Arc<Toy>,
}

impl Cluster {
    /// Three nodes, linked, the group founded, its leader ready.
    pub(crate) async fn of_three(config: fn(&mut Config)) -> Cluster {
        let (nodes, dirs, wires, tap) = Default::default();
        let mut cluster = Cluster { nodes, dirs, wires, config, tap };
        for id in [11, 22, 33] {
            cluster.add(id).await;
        }
        cluster.link_all();
        for node in cluster.nodes.values() {
            node.group.found(BTreeSet::from([11, 22, 33])).await.unwrap();
        }
        cluster.leader().await;
        cluster
    }

    /// One node that is the whole group.
    pub(crate) async fn of_one() -> Cluster {
        let (nodes, dirs, wires, tap) = Default::default();
        let mut cluster = Cluster { nodes, dirs, wires, config: |_| {}, tap };
        cluster.add(11).await;
        cluster.nodes[&11].group.found(BTreeSet::from([11])).await.unwrap();
        cluster.leader().await;
        cluster
    }

    /// Three nodes, linked, whose replicas have loaded a file; the leader ready.
    pub(crate) async fn of_loaded(file: &Path) -> Cluster {
        let (nodes, dirs, wires, tap) = Default::default();
        let mut cluster = Cluster { nodes, dirs, wires, config: |_| {}, tap };
        for id in [11, 22, 33] {
            cluster.dirs.insert(id, tempfile::tempdir().unwrap());
            cluster.open_after(id, Some(file)).await;
        }
        cluster.link_all();
        for node in cluster.nodes.values() {
            node.group.found(BTreeSet::from([11, 22, 33])).await.expect("it was founded by what it loaded");
        }
        cluster.leader().await;
        cluster
    }

    /// A node that was never there.
    pub(crate) async fn add(&mut self, id: u64) {
        self.dirs.insert(id, tempfile::tempdir().unwrap());
        self.open(id).await;
    }

    /// Opens a node's folder and its replica; no links yet.
    pub(crate) async fn open(&mut self, id: u64) {
        self.open_after(id, None).await;
    }

    async fn open_after(&mut self, id: u64, load: Option<&Path>) {
        let dir = self.dirs[&id].path();
        let store = Store::open(&dir.join("data"), banyan_storage::Config::default()).unwrap();
        let mut config = Config::default();
        (self.config)(&mut config);
        let links = Links::new(config.link_queue_bytes_max);
        let groups = Groups::new(id, store.clone(), links.clone(), config);
        let toy = Arc::new(Toy::new(GROUP, store.state(GROUP)));
        if let Some(file) = load {
            let voters = BTreeSet::from([11, 22, 33]);
            groups.load(GROUP, toy.ranges(), file.to_owned(), voters.clone()).await.unwrap();
            // As a node does that ends before it has written down that it loaded.
            groups.load(GROUP, toy.ranges(), file.to_owned(), voters).await.unwrap();
        }
        let group = groups.start(GROUP, toy.clone()).await.unwrap();
        self.nodes.insert(id, Node { store, links, groups, group, toy });
    }

    /// Ends a node as a crash would for the others: its links first.
    pub(crate) async fn close(&mut self, id: u64) {
        self.isolate(id);
        let node = self.nodes.remove(&id).unwrap();
        node.groups.shutdown().await;
        tokio::task::spawn_blocking(move || node.store.close().unwrap()).await.unwrap();
    }

    pub(crate) fn link_all(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for (at, a) in ids.iter().enumerate() {
            for b in &ids[at + 1..] {
                self.link(*a, *b);
            }
        }
    }

    pub(crate) fn link(&mut self, a: u64, b: u64) {
        let (a, b) = (a.min(b), a.max(b));
        if self.wires.contains_key(&(a, b)) {
            return;
        }
        let at_a = self.nodes[&a].links.attach(b);
        let at_b = self.nodes[&b].links.attach(a);
        let wires = [
            pump(at_a.outgoing, at_b.incoming, self.tap.clone()),
            pump(at_b.outgoing, at_a.incoming, self.tap.clone()),
        ];
        self.wires.insert((a, b), wires);
    }

    pub(crate) fn cut(&mut self, a: u64, b: u64) {
        for wire in self.wires.remove(&(a.min(b), a.max(b))).into_iter().flatten() {
            wire.abort();
        }
    }

    pub(crate) fn isolate(&mut self, id: u64) {
        let others: Vec<u64> = self.dirs.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.cut(id, other);
        }
    }

    /// The node that leads and may serve.
    pub(crate) async fn leader(&self) -> u64 {
        self.leader_among(&self.nodes.keys().copied().collect::<Vec<_>>()).await
    }

    pub(crate) async fn leader_among(&self, ids: &[u64]) -> u64 {
        until("a leader that is ready", || async {
            ids.iter().copied().find(|id| {
                let node = &self.nodes[id];
                node.group.leadership().borrow().ready && node.group.serves_reads().is_ok()
            })
        })
        .await
    }

    pub(crate) async fn followers(&self) -> (u64, [u64; 2]) {
        let leader = self.leader().await;
        let others: Vec<u64> = self.nodes.keys().copied().filter(|id| *id != leader).collect();
        (leader, [others[0], others[1]])
    }

    /// Proposes on whoever leads until it is acknowledged; what the toy answered.
    pub(crate) async fn write(&self, command: Command) -> u64 {
        self.write_bytes(command.encode()).await
    }

    pub(crate) async fn write_bytes(&self, command: Bytes) -> u64 {
        until("an acknowledged write", || async {
            for node in self.nodes.values().filter(|node| node.group.leadership().borrow().is_me) {
                if let Ok(reply) = propose(&node.group, command.clone()).await {
                    return Some(u64::from_be_bytes(reply.as_ref().try_into().unwrap()));
                }
            }
            None
        })
        .await
    }

    /// All nodes hold the same list, and it is `expected`.
    pub(crate) async fn agree_on(&self, expected: &[Command]) {
        for node in self.nodes.values() {
            until("all nodes to hold the same", || async { (node.toy.list() == expected).then_some(()) })
                .await;
        }
    }
}

fn pump(mut outgoing: Outgoing, incoming: Incoming, tap: Arc<Tap>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(frame) = outgoing.next().await {
            for message in &frame.messages {
                if let Some(Body::Snapshot(chunk)) = &message.body
                    && !chunk.data.is_empty()
                {
                    let mut chunks = tap.chunks.lock();
                    chunks.push(chunk.offset);
                    if chunks.len() == tap.cut_at.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
            // Through bytes, as a transport would.
            let bytes = Bytes::from(frame.encode_to_vec());
            if !incoming.received(RaftFrame::decode(bytes).unwrap()) {
                return;
            }
        }
    })
}

pub(crate) async fn propose(group: &Group, command: Bytes) -> Result<Bytes, ProposeError> {
    let (sender, receiver) = oneshot::channel();
    group.propose(command, move |answer| {
        let _ = sender.send(answer);
    });
    receiver.await.expect("every proposal is answered")
}

/// Waits for a condition; a test that waits in vain says for what.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
