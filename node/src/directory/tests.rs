//! Directories of several nodes in one process: they ask each other directly, and their links are two tasks.

#![allow(clippy::unwrap_used)]

use super::*;
use banyan_backup::{About, Draft, Part, Settings, Slots};
use banyan_model::Timestamp;
use banyan_proto::v1::RaftFrame;
use banyan_raft::{Links, Replica, Stop};
use banyan_storage::Batch;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

/// Who answers at which address.
#[derive(Clone, Default)]
struct Net {
    nodes: Arc<Mutex<BTreeMap<String, Directory>>>,
}

impl Net {
    fn at(&self, address: &str) -> Result<Directory, NeighbourError> {
        let unknown = NeighbourError { address: address.to_owned(), why: "nobody there".to_owned() };
        self.nodes.lock().get(address).cloned().ok_or(unknown)
    }
}

impl Neighbours for Net {
    async fn identify(&self, address: &str, _me: v1::NodeInfo) -> Result<v1::NodeInfo, NeighbourError> {
        Ok(self.at(address)?.info())
    }

    async fn join(&self, address: &str, me: v1::NodeInfo) -> Result<v1::JoinReply, NeighbourError> {
        Ok(self.at(address)?.admit(me).await)
    }

    async fn replicas(&self, address: &str) -> Result<v1::ReplicasReply, NeighbourError> {
        Ok(v1::ReplicasReply { replicas: self.at(address)?.replicas() })
    }

    async fn state(&self, address: &str) -> Result<v1::DirectoryState, NeighbourError> {
        let view = self.at(address)?.views().borrow().clone();
        let none = NeighbourError { address: address.to_owned(), why: "no state".to_owned() };
        view.map(|view| view.state.clone()).ok_or(none)
    }
}

/// Replicas that keep nothing.
struct Nothing;

impl Replica for Nothing {
    fn apply(&self, commands: &[Bytes], _batch: &mut Batch) -> Result<Vec<Bytes>, Stop> {
        Ok(vec![Bytes::new(); commands.len()])
    }

    fn applied(&self) {}

    fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }

    fn restored(&self) {}
}

struct Starter {
    groups: Arc<Groups>,
    /// The shard that is not loaded.
    fails_at: Option<u64>,
}

impl Shards for Starter {
    async fn start(&self, shard: &Shard, _view: &View) -> Result<Group, Box<dyn Error + Send + Sync>> {
        Ok(self.groups.start(shard.id.0, Arc::new(Nothing)).await?)
    }

    async fn load(&self, shard: &Shard, file: PathBuf) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.fails_at == Some(shard.id.0) {
            return Err("the disk is full".into());
        }
        let voters = shard.replicas.iter().map(|node| node.0).collect();
        Ok(self.groups.load(shard.id.0, Nothing.ranges(), file, voters).await?)
    }

    async fn start_keys(&self, keys: &Shard) -> Result<Group, Box<dyn Error + Send + Sync>> {
        Ok(self.groups.start(keys.id.0, Arc::new(Nothing)).await?)
    }

    async fn stop(&self, _shard: &Shard) -> Vec<KeyRange> {
        Vec::new()
    }
}

struct Node {
    directory: Directory,
    links: Arc<Links>,
    groups: Arc<Groups>,
    store: Store,
    run: JoinHandle<DirectoryError>,
}

#[derive(Default)]
struct Cluster {
    net: Net,
    nodes: BTreeMap<u64, Node>,
    folders: BTreeMap<u64, TempDir>,
    wires: Vec<JoinHandle<()>>,
}

fn config(address: &str, founders: &[&str]) -> Config {
    Config {
        address: address.to_owned(),
        zone: String::new(),
        founders: founders.iter().map(|&founder| founder.to_owned()).collect(),
        join: Vec::new(),
        restore: None,
        founding: Founding { shards: 2, ..Founding::default() },
        placement: Placement::default(),
    }
}

impl Cluster {
    async fn founded() -> Cluster {
        let mut cluster = Cluster::default();
        let founders = ["a:1", "b:1", "c:1"];
        for (id, address) in (1..).zip(founders) {
            cluster.start(id, config(address, &founders)).await;
        }
        cluster.all_agree().await;
        cluster
    }

    async fn start(&mut self, id: u64, config: Config) {
        self.start_failing(id, config, None).await;
    }

    async fn start_failing(&mut self, id: u64, config: Config, fails_at: Option<u64>) {
        let folder =
            self.folders.entry(id).or_insert_with(|| tempfile::tempdir().unwrap()).path().join("data");
        let store = Store::open(&folder, banyan_storage::Config::default()).unwrap();
        let raft = banyan_raft::Config::default();
        let links = Links::new(raft.link_queue_bytes_max);
        let groups = Groups::new(id, store.clone(), links.clone(), raft);
        let address = config.address.clone();
        let directory = Directory::open(config, NodeId(id), store.clone(), groups.clone()).unwrap();
        self.net.nodes.lock().insert(address, directory.clone());
        let run = tokio::spawn({
            let starter = Starter { groups: groups.clone(), fails_at };
            let (directory, net) = (directory.clone(), self.net.clone());
            async move {
                match directory.run(net, starter).await {
                    Err(error) => error,
                }
            }
        });
        for (other, node) in &self.nodes {
            let (mine, theirs) = (links.attach(*other), node.links.attach(id));
            self.wires.push(pump(mine.outgoing, theirs.incoming));
            self.wires.push(pump(theirs.outgoing, mine.incoming));
        }
        self.nodes.insert(id, Node { directory, links, groups, store, run });
    }

    async fn stop_all(&mut self) {
        self.net.nodes.lock().clear();
        for node in std::mem::take(&mut self.nodes).into_values() {
            node.run.abort();
            // It was cancelled.
            let _ = node.run.await;
            node.groups.shutdown().await;
            drop((node.directory, node.links, node.groups));
            tokio::task::spawn_blocking(move || node.store.close().unwrap()).await.unwrap();
        }
        for wire in self.wires.drain(..) {
            wire.abort();
            let _ = wire.await;
        }
    }

    /// Makes a backup of what the groups hold.
    async fn back_up(&self, folder: &Path) {
        let view = self.all_agree().await;
        let mut draft = Draft::begin(folder).unwrap();
        for shard in view.map.shards.shards.iter().chain(&view.map.keys) {
            let copy = self.copy(shard.id.0).await;
            let name = format!("{}.snapshot", shard.id.0);
            let mut file = draft.file(&name).unwrap();
            file.write(&copy.read(0).await.unwrap()).unwrap();
            let slots = Slots { first_slot: shard.first.0, last_slot: shard.last.0 };
            let slots = (shard.id.0 != KEYS_GROUP).then_some(slots);
            let (term, index) = copy.at();
            let part =
                Part { group: shard.id.0, slots, term, index, file: name, bytes: 0, sha256: String::new() };
            draft.add(file, part).unwrap();
        }
        let settings = Settings {
            scl_id: "theirs".to_owned(),
            scl_base: "/m2m".to_owned(),
            authorities: vec!["old".to_owned()],
            replication_factor: 3,
            founded_at_ms: 77,
        };
        let about = About::new(view.state.cluster, "0.1.0", Timestamp(0), settings);
        // No two are the same.
        draft.finish(about, Timestamp(rand::random_range(1..1 << 40))).unwrap();
    }

    async fn copy(&self, group: u64) -> Arc<banyan_raft::Copy> {
        let begun = Instant::now();
        loop {
            for node in self.nodes.values() {
                if let Some(group) = node.groups.get(group)
                    && let Ok(copy) = group.copy().await
                {
                    return copy;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for a leader of {group}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How the node ended that was expected to.
    async fn ended(&mut self, id: u64) -> DirectoryError {
        let node = self.nodes.remove(&id).unwrap();
        let ended = tokio::time::timeout(PATIENCE, node.run).await.unwrap().unwrap();
        node.groups.shutdown().await;
        self.net.nodes.lock().clear();
        drop((node.directory, node.links, node.groups));
        tokio::task::spawn_blocking(move || node.store.close().unwrap()).await.unwrap();
        ended
    }

    /// Waits until all nodes have the same state, all of them are members, and every replica has a leader.
    async fn all_agree(&self) -> Arc<View> {
        until("all nodes to agree", || {
            let views: Option<Vec<Arc<View>>> =
                self.nodes.values().map(|node| node.directory.views().borrow().clone()).collect();
            let views = views?;
            let first = views.first()?.clone();
            let same = views.iter().all(|view| view.state == first.state);
            let known = self.nodes.keys().all(|node| first.map.members.contains_key(&NodeId(*node)));
            let running = self.nodes.iter().all(|(id, node)| {
                let here = first
                    .map
                    .shards
                    .shards
                    .iter()
                    .chain(&first.map.keys)
                    .filter(|shard| shard.replicas.contains(&NodeId(*id)));
                here.map(|shard| shard.id.0)
                    .all(|shard| node.groups.get(shard).is_some_and(|group| group.leader().is_some()))
            });
            (same && known && running).then_some(first)
        })
        .await
    }
}

fn pump(mut outgoing: banyan_raft::Outgoing, incoming: banyan_raft::Incoming) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(frame) = outgoing.next().await {
            let frame: RaftFrame = frame;
            if !incoming.received(frame) {
                return;
            }
        }
    })
}

async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founders_found_one_cluster() {
    let cluster = Cluster::founded().await;
    let view = cluster.all_agree().await;
    assert_ne!(view.state.cluster, 0);
    assert_eq!(view.map.members.len(), 3);
    assert_eq!(view.map.shards.shards.len(), 2);
    assert_eq!(view.map.keys.as_ref().map(|keys| keys.replicas.len()), Some(3), "and its keys' group");
    assert_eq!(view.map.scl.base, "/m2m");
    for node in cluster.nodes.values() {
        assert_eq!(node.directory.cluster(), view.state.cluster);
        assert_eq!(node.directory.peers().borrow().len(), 2);
        let status = node.directory.group().unwrap().status();
        assert_eq!(status.voters, [1, 2, 3].into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_founded_once() {
    let mut cluster = Cluster::founded().await;
    let before = cluster.all_agree().await;
    cluster.stop_all().await;
    let founders = ["a:1", "b:1", "c:1"];
    for (id, address) in (1..).zip(founders) {
        // Other founding settings change nothing any more, and are no reason to refuse.
        let mut config = config(address, &founders);
        config.founding.shards = 9;
        cluster.start(id, config).await;
    }
    let after = cluster.all_agree().await;
    assert_eq!(after.state.cluster, before.state.cluster);
    assert_eq!((after.state.settings.clone(), after.state.shards.len()), (before.state.settings.clone(), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founders_with_different_lists_refuse_each_other() {
    let mut cluster = Cluster::default();
    cluster.start(1, config("a:1", &["a:1", "b:1"])).await;
    cluster.start(2, config("b:1", &["a:1", "b:1", "c:1"])).await;
    for (_, node) in std::mem::take(&mut cluster.nodes) {
        let ended = tokio::time::timeout(PATIENCE, node.run).await.unwrap().unwrap();
        assert!(matches!(ended, DirectoryError::Founding(FoundingError::Differs { .. })), "{ended}");
        assert_eq!(node.directory.cluster(), 0, "nothing was founded");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_its_data_does_not_found_again() {
    let mut cluster = Cluster::founded().await;
    let lost = cluster.nodes.remove(&3).unwrap();
    lost.run.abort();
    lost.groups.shutdown().await;
    cluster.start(4, config("c:1", &["a:1", "b:1", "c:1"])).await;
    let node = cluster.nodes.remove(&4).unwrap();
    let ended = tokio::time::timeout(PATIENCE, node.run).await.unwrap().unwrap();
    assert!(matches!(ended, DirectoryError::Founding(FoundingError::OtherCluster { .. })), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_node_joins_as_a_learner_and_reads_the_directory() {
    let mut cluster = Cluster::founded().await;
    let joining = Config { join: vec!["b:1".to_owned(), "a:1".to_owned()], ..config("d:1", &[]) };
    cluster.start(4, joining).await;
    let view = cluster.all_agree().await;
    assert_eq!(view.map.members[&NodeId(4)].address, "d:1");
    until("the learner to be a member of the group", || {
        let status = cluster.nodes[&4].directory.group()?.status();
        (status.learners == [4].into() && status.voters == [1, 2, 3].into()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_says_so() {
    let mut cluster = Cluster::founded().await;
    cluster.stop_all().await;
    for (id, address) in [(1, "a:1"), (2, "b:1"), (3, "c:2")] {
        cluster.start(id, config(address, &["a:1", "b:1", "c:1"])).await;
    }
    let nodes = &cluster.nodes;
    until("everybody to know the new address", || {
        let knows = |node: &Node| {
            let view = node.directory.views().borrow().clone();
            view.is_some_and(|view| view.map.members[&NodeId(3)].address == "c:2")
        };
        nodes.values().all(knows).then_some(())
    })
    .await;
    // What links go by follows the view.
    until("links to go there", || (nodes[&1].directory.peers().borrow()[&NodeId(3)] == "c:2").then_some(()))
        .await;
}

#[tokio::test]
async fn a_founder_stands_in_its_own_list() {
    let mut cluster = Cluster::default();
    cluster.start(1, config("a:1", &["b:1", "c:1"])).await;
    let node = cluster.nodes.remove(&1).unwrap();
    let ended = tokio::time::timeout(PATIENCE, node.run).await.unwrap().unwrap();
    assert!(matches!(ended, DirectoryError::Config { setting: "founders", .. }), "{ended}");
}

#[tokio::test]
async fn a_node_without_a_cluster_needs_founders_or_members() {
    let mut cluster = Cluster::default();
    cluster.start(1, config("a:1", &[])).await;
    let node = cluster.nodes.remove(&1).unwrap();
    let ended = tokio::time::timeout(PATIENCE, node.run).await.unwrap().unwrap();
    assert!(matches!(ended, DirectoryError::Founding(FoundingError::NoCluster)), "{ended}");
}

impl Cluster {
    /// Waits until the shards and the keys' group are on these nodes, nothing moves any more, and nobody else has
    /// anything of them.
    async fn settled_on(&self, nodes: &[u64]) -> Arc<View> {
        until("the shards to settle", || {
            let view = self.nodes[&nodes[0]].directory.views().borrow().clone()?;
            let mut shards = view.map.shards.shards.iter().chain(&view.map.keys);
            let placed = shards.all(|shard| {
                shard.replicas.iter().all(|node| nodes.contains(&node.0))
                    && shard.replicas.len() == nodes.len().min(3)
                    && !shard.moving
                    && shard.former.is_empty()
            });
            let elsewhere = self.nodes.iter().filter(|(node, _)| !nodes.contains(node));
            let empty =
                elsewhere.flat_map(|(_, node)| node.directory.replicas()).all(|report| report.group == GROUP);
            (placed && empty).then_some(view)
        })
        .await
    }

    async fn ask(&self, kind: v1::place_question::Kind) -> Result<(), ChangeRefused> {
        let question = v1::PlaceQuestion { kind: Some(kind) };
        for node in self.nodes.values().cycle().take(1_000) {
            match node.directory.change(question).await {
                Err(ChangeRefused::NotLeader { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                answer => return answer,
            }
        }
        panic!("nobody leads the directory");
    }

    async fn drain(&self, node: u64, draining: bool) -> Result<(), ChangeRefused> {
        self.ask(v1::place_question::Kind::Drain(v1::DrainMember { node, draining })).await
    }

    async fn join(&mut self, id: u64, address: &str) {
        let joining = Config { join: vec!["a:1".to_owned(), "b:1".to_owned()], ..config(address, &[]) };
        self.start(id, joining).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_go_to_who_joins_and_from_who_drains() {
    let mut cluster = Cluster::founded().await;
    let refused = cluster.drain(1, true).await;
    let Err(ChangeRefused::Refused(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why, "2 nodes would be left for 3 replicas of each shard: add a node first");

    cluster.join(4, "d:1").await;
    cluster.all_agree().await;
    cluster.drain(1, true).await.unwrap();
    let view = cluster.settled_on(&[2, 3, 4]).await;
    for shard in view.map.shards.shards.iter().chain(&view.map.keys) {
        let leader = until("the shard to be led by whom it shall", || {
            let leader = cluster.nodes[&2].groups.get(shard.id.0)?.leader()?;
            (leader == shard.replicas[0].0).then_some(leader)
        });
        assert_ne!(leader.await, 1);
    }
    until("the directory to be voted for by others", || {
        let status = cluster.nodes[&2].directory.group()?.status();
        (status.voters == [2, 3, 4].into() && status.learners == [1].into()).then_some(())
    })
    .await;

    // And back: what was removed there is new there.
    cluster.drain(1, false).await.unwrap();
    cluster.drain(2, true).await.unwrap();
    cluster.settled_on(&[1, 3, 4]).await;

    let remove = v1::place_question::Kind::Remove(v1::RemoveMember { node: 2 });
    cluster.ask(remove).await.unwrap();
    cluster.ask(remove).await.unwrap();
    until("the node to be no member", || {
        let status = cluster.nodes[&3].directory.group()?.status();
        (!status.voters.contains(&2) && !status.learners.contains(&2)).then_some(())
    })
    .await;
    // It does not come back.
    let info = cluster.nodes[&2].directory.info();
    let reply = until("an answer of the leader", || {
        let leader = cluster
            .nodes
            .values()
            .find(|node| node.directory.group().is_some_and(|group| group.leadership().borrow().ready));
        leader.map(|leader| leader.directory.clone())
    })
    .await
    .admit(info)
    .await;
    assert!(!reply.accepted && reply.r#final && reply.why.contains("was removed"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_for_long_is_replaced() {
    let mut cluster = Cluster::default();
    let founders = ["a:1", "b:1", "c:1"];
    let placement = Placement { node_gone_after: Duration::from_secs(2), ..Placement::default() };
    for (id, address) in (1..).zip(founders) {
        cluster.start(id, Config { placement: placement.clone(), ..config(address, &founders) }).await;
    }
    cluster.all_agree().await;
    cluster.join(4, "d:1").await;
    cluster.all_agree().await;
    let gone = cluster.nodes.remove(&2).unwrap();
    cluster.net.nodes.lock().remove("b:1");
    gone.run.abort();
    gone.groups.shutdown().await;
    let on = |node: u64| {
        let view = cluster.nodes[&1].directory.views().borrow().clone().unwrap();
        let mut shards = view.map.shards.shards.iter().chain(&view.map.keys);
        shards.any(|shard| shard.is_on(NodeId(node)))
    };
    until("the replicas to be elsewhere", || (!on(2)).then_some(())).await;
    // It is a member still.
    assert!(
        cluster.nodes[&1].directory.views().borrow().as_ref().unwrap().map.members.contains_key(&NodeId(2))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_placed_is_refused_with_what_to_do() {
    let cluster = Cluster::founded().await;
    let refused = async |kind| match cluster.ask(kind).await {
        Err(ChangeRefused::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    use v1::place_question::Kind;
    let node = 0x77;
    let placed = |view: &View| {
        let shards = view.map.shards.shards.iter().chain(&view.map.keys);
        let replicas: Vec<BTreeSet<NodeId>> =
            shards.map(|shard| shard.replicas.iter().copied().collect()).collect();
        (replicas, view.map.members.clone(), view.state.draining.clone(), view.state.removed.clone())
    };
    let before = placed(&*cluster.all_agree().await);
    for (kind, expected) in [
        (Kind::Prefer(v1::ReplicaOf { shard: 9, node: 1 }), "there is no shard 9"),
        (Kind::Prefer(v1::ReplicaOf { shard: 1, node }), "there is no node 0000000000000077 in this cluster"),
        (
            Kind::Move(v1::MoveReplica { shard: 1, from: 1, to: node }),
            "there is no node 0000000000000077 in this cluster",
        ),
        (
            Kind::Move(v1::MoveReplica { shard: 1, from: 1, to: 2 }),
            "node 0000000000000002 has a replica of shard 1 already",
        ),
        (Kind::Remove(v1::RemoveMember { node: 3 }), "node 0000000000000003 has 3 replicas: drain it first"),
        (
            Kind::Drain(v1::DrainMember { node, draining: true }),
            "there is no node 0000000000000077 in this cluster",
        ),
    ] {
        assert_eq!(refused(kind).await, expected);
    }
    assert_eq!(placed(&*cluster.all_agree().await), before, "nothing half done");
}

/// A backup of a cluster of three, and settings that restore it.
async fn backed_up() -> (TempDir, u64, impl Fn(&str, &[&str]) -> Config) {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let mut cluster = Cluster::founded().await;
    cluster.back_up(&backup).await;
    let number = cluster.all_agree().await.state.cluster;
    cluster.stop_all().await;
    let restoring = move |address: &str, founders: &[&str]| Config {
        restore: Some(backup.clone()),
        founding: Founding::default(),
        ..config(address, founders)
    };
    (folder, number, restoring)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_has_the_shards_and_names_of_the_backup_and_members_of_its_own() {
    let (folder, number, restoring) = backed_up().await;
    let mut cluster = Cluster::default();
    for (id, address) in [(5, "x:1"), (6, "y:1")] {
        cluster.start(id, restoring(address, &["x:1", "y:1"])).await;
    }
    let view = cluster.all_agree().await;
    assert_ne!(view.state.cluster, number);
    assert_eq!(view.state.restored.as_ref().map(|from| from.cluster), Some(number));
    assert_eq!(view.map.members.len(), 2);
    assert_eq!((view.map.shards.shards.len(), view.map.shards.epoch), (2, 1));
    assert_eq!((view.map.scl.id.as_str(), view.map.scl.founded_at), ("theirs", Timestamp(77)));
    assert_eq!(view.map.scl.authorities, ["old"], "where the settings name none");
    for shard in view.map.shards.shards.iter().chain(&view.map.keys) {
        assert_eq!(shard.replicas.len(), 2);
        for node in cluster.nodes.values() {
            let status = node.groups.get(shard.id.0).unwrap().status();
            assert_eq!((status.purged_index, status.voters), (Some(0), [5, 6].into()));
        }
    }
    // The setting may stay and the backup may go.
    drop(folder);
    cluster.stop_all().await;
    for (id, address) in [(5, "x:1"), (6, "y:1")] {
        cluster.start(id, restoring(address, &["x:1", "y:1"])).await;
    }
    assert_eq!(cluster.all_agree().await.state, view.state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_was_interrupted_is_done_again_before_anything_runs() {
    let (_folder, number, restoring) = backed_up().await;
    let mut cluster = Cluster::default();
    cluster.start_failing(5, restoring("x:1", &["x:1"]), Some(2)).await;
    let ended = cluster.ended(5).await;
    assert!(matches!(ended, DirectoryError::Restore(RestoreError::Load { .. })), "{ended}");

    let data = cluster.folders[&5].path().join("data");
    let opened = |config: Config| {
        let store = Store::open(&data, banyan_storage::Config::default()).unwrap();
        let raft = banyan_raft::Config::default();
        let groups = Groups::new(5, store.clone(), Links::new(raft.link_queue_bytes_max), raft);
        let opened = Directory::open(config, NodeId(5), store.clone(), groups.clone());
        assert!(groups.get(1).is_none());
        store.close().unwrap();
        opened.map(drop)
    };
    let without = opened(config("x:1", &["x:1"]));
    assert!(
        matches!(without, Err(DirectoryError::Restore(RestoreError::Interrupted { .. }))),
        "half of a backup is no cluster: {without:?}"
    );
    let (_other_folder, _, other) = backed_up().await;
    let another = opened(other("x:1", &["x:1"]));
    assert!(matches!(another, Err(DirectoryError::Restore(RestoreError::Interrupted { .. }))), "{another:?}");

    cluster.start(5, restoring("x:1", &["x:1"])).await;
    let view = cluster.all_agree().await;
    assert_eq!(view.state.restored.as_ref().map(|from| from.cluster), Some(number));
    cluster.stop_all().await;
    let another = opened(other("x:1", &["x:1"]));
    assert!(matches!(another, Err(DirectoryError::Restore(RestoreError::Another { .. }))), "{another:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founders_with_and_without_a_backup_refuse_each_other() {
    let (_folder, _, restoring) = backed_up().await;
    let mut cluster = Cluster::default();
    let founders = ["x:1", "y:1"];
    cluster.start(5, restoring("x:1", &founders)).await;
    cluster.start(6, Config { founding: Founding::default(), ..config("y:1", &founders) }).await;
    for (_, node) in std::mem::take(&mut cluster.nodes) {
        let ended = tokio::time::timeout(PATIENCE, node.run).await.unwrap().unwrap();
        assert!(matches!(ended, DirectoryError::Founding(FoundingError::Differs { .. })), "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_into_no_cluster_that_is_there_and_under_no_other_name() {
    let (_folder, _, restoring) = backed_up().await;
    let refused = |config: Config, founded: bool| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data"), banyan_storage::Config::default()).unwrap();
        if founded {
            let state = v1::DirectoryState { cluster: 9, ..Default::default() };
            store.put_meta("directory/founded", prost::Message::encode_to_vec(&state).into()).unwrap();
        }
        let raft = banyan_raft::Config::default();
        let groups = Groups::new(5, store.clone(), Links::new(raft.link_queue_bytes_max), raft);
        let refused = Directory::open(config, NodeId(5), store.clone(), groups).map(drop).unwrap_err();
        store.close().unwrap();
        refused.to_string()
    };
    let sound = || restoring("x:1", &["x:1"]);
    let said = refused(sound(), true);
    assert!(
        said.contains("cluster 0000000000000009 already") && said.contains("empty data folder"),
        "{said}"
    );
    let named = |founding: Founding| refused(Config { founding, ..sound() }, false);
    let said = named(Founding { scl_id: "ours".to_owned(), ..Founding::default() });
    assert!(said.starts_with("scl_id: the backup has theirs"), "{said}");
    let said = named(Founding { shards: 3, ..Founding::default() });
    assert!(said.starts_with("shards: the backup has 2"), "{said}");
    let said = refused(Config { founders: Vec::new(), join: vec!["z:1".to_owned()], ..sound() }, false);
    assert!(said.starts_with("restore: "), "{said}");
}
