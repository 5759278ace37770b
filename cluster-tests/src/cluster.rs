//! A cluster of real processes on loopback: three `banyan node`, two `banyan-edge`, files in a temporary folder.
//!
//! Everything is waited for by condition (`/readyz`), never by time. When a test panics, the last lines of every
//! process's log are printed and the folder is kept. Dropping the cluster kills what it started, by the ids it knows.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_proto::v1::admin_client::AdminClient;
use banyan_proto::v1::{
    GroupStatus, KeysAnswer, KeysQuestion, NodeStatus, StatusRequest, keys_answer, keys_question,
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::binaries::Binaries;
use crate::device::Device;
use crate::fault::Signal;
use crate::lan::Lan;
use crate::process::{POLL, Process};

/// The longest a process may take until it is ready; a debug build replays its log slowly.
const READY_WITHIN: Duration = Duration::from_secs(40);
/// Lines of each log that a failing test prints.
const LOG_LINES_SHOWN: usize = 60;

/// File of the key-encryption key, for all nodes.
const KEK: &str = "kek";

/// How a cluster is started.
#[derive(Clone, Debug)]
pub struct Config {
    /// Members. Default 3.
    pub nodes: usize,
    /// Further nodes that are not started before [`Cluster::start_node`], and join then. Their numbers follow those of the
    /// members. Default 0.
    pub spares: usize,
    /// How long the replica that should lead must have been up before it does. Default 0: no leadership moves by itself.
    pub leader_return_ms: u64,
    /// How long a member may be gone before its replicas are made elsewhere; `None`: the product's default.
    pub node_gone_after_ms: Option<u64>,
    /// Edges. Default 2.
    pub edges: usize,
    /// Shards besides the directory. Default 4: enough that leaders differ, few enough for two cores.
    pub shards: u64,
    /// Purge the log after so many entries; `None`: the product's default.
    pub snapshot_after_entries: Option<u64>,
    /// Entries that stay in the log although the state holds them; `None`: the product's default.
    pub log_keep_entries: Option<u64>,
    /// Where data and logs go; `None`: a temporary folder that goes when the cluster is dropped.
    pub folder: Option<PathBuf>,
    /// Whether edges take bearer tokens only, over plain HTTP. Default: they believe whoever says who it is.
    pub tokens: bool,
    /// Whether nodes keep keys of M2M nodes and edges let SCLs in by them. Default: no.
    pub keys: bool,
    /// Where edges listen for SCLs that have keys. Default: the loopback.
    pub mid_address: String,
    /// Folder with `edge.pem`, `edge.key`, `ca.pem` and `crl.pem`: edges listen for devices with certificates, too, and
    /// for applications with certificates over HTTPS. Default: they do not. Needs `keys`.
    pub devices: Option<PathBuf>,
    /// Folder with `edge.pem`, `edge.key` and `ca.pem`: nodes take keys from who shows a certificate of that CA. Default:
    /// they do not. Needs `keys`.
    pub handover: Option<PathBuf>,
    /// Folder with `ca.pem` and certificate and key of the roles `banyan-node` and `banyan-edge`: mutual TLS inside the
    /// cluster. Default: plain text. Operators' questions ([`Cluster::status`], [`Cluster::keys`]) are plain text only.
    pub mutual: Option<PathBuf>,
    /// Folder of a backup that the cluster is founded from. Default: it is founded empty.
    pub restore: Option<PathBuf>,
    /// Where the members run, the nodes first, then the edges. Default: all on the loopback.
    pub lan: Option<Arc<Lan>>,
    /// What the processes log: a filter as `RUST_LOG` takes it. Default `info`.
    pub log: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            nodes: 3,
            spares: 0,
            leader_return_ms: 0,
            node_gone_after_ms: None,
            edges: 2,
            shards: 4,
            snapshot_after_entries: None,
            log_keep_entries: None,
            folder: None,
            tokens: false,
            keys: false,
            mid_address: "127.0.0.1".to_owned(),
            devices: None,
            handover: None,
            mutual: None,
            restore: None,
            lan: None,
            log: "info".to_owned(),
        }
    }
}

/// Free TCP ports of the loopback, all different. They are free when this returns; nothing keeps others from taking
/// one before the process that gets it binds it, which is why a process that does not become ready says what it logged.
///
/// # Panics
/// The loopback has no free port left.
pub fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port")).collect();
    held.iter()
        .map(|listener| listener.local_addr().expect("a bound listener has an address").port())
        .collect()
}

/// A program with what it needs to be started again under the same configuration.
#[derive(Debug)]
struct Member {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    /// Address of the admin HTTP server.
    admin: String,
    /// Address it serves: gRPC for a node, HTTP for an edge.
    serves: String,
    /// Where an edge listens for SCLs.
    mid: Mid,
    /// Where a node takes keys.
    handover: String,
    /// Where it runs.
    place: Option<(Arc<Lan>, usize)>,
    process: Option<Process>,
}

/// Addresses of an edge's listeners with TLS, whether they are configured or not.
#[derive(Clone, Debug, Default)]
pub struct Mid {
    /// TLS by pre-shared keys.
    pub psk: String,
    /// Bootstrap by device certificates.
    pub bootstrap: String,
    /// Service connections by device certificates.
    pub tls: String,
    /// mIa by certificates.
    pub https: String,
}

impl Member {
    fn start(&mut self, logs: &Path, filter: &str) {
        assert!(self.process.is_none(), "{} already runs", self.name);
        let mut command = match &self.place {
            Some((lan, place)) => lan.command(*place, &self.program),
            None => Command::new(&self.program),
        };
        command.args(&self.arguments).env("RUST_LOG", filter);
        let process = Process::start(&self.name, command, logs);
        self.process =
            Some(process.unwrap_or_else(|e| panic!("{} cannot be started: {e}", self.program.display())));
    }
}

/// The running cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Member>,
    edges: Vec<Member>,
    config: Config,
    folder: PathBuf,
    temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    ///
    /// # Panics
    /// A process ends or is not ready in time; its log is printed.
    pub async fn start(binaries: &Binaries, config: Config) -> Cluster {
        let cluster = Cluster::prepare(binaries, config);
        cluster.found().await
    }

    /// Writes the configuration of all members without starting any.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn prepare(binaries: &Binaries, config: Config) -> Cluster {
        let temporary = config.folder.is_none().then(|| {
            tempfile::Builder::new()
                .prefix("banyan-cluster-")
                .tempdir()
                .expect("the temporary folder can be written")
        });
        let folder = match (&temporary, &config.folder) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, Some(folder)) => folder.clone(),
            (None, None) => unreachable!("one of both was just chosen"),
        };
        std::fs::create_dir_all(&folder).expect("the cluster's folder can be written");
        let all = config.nodes + config.spares;
        let ports = free_ports(3 * all + 6 * config.edges);
        let mut addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let mut take = |count: usize| addresses.by_ref().take(count).collect::<Vec<_>>();
        let place = |first: usize, addresses: Vec<String>| -> Vec<String> {
            let host =
                |at: usize| config.lan.as_ref().map_or("127.0.0.1".to_owned(), |lan| lan.address(first + at));
            addresses.iter().enumerate().map(|(at, port)| port.replace("127.0.0.1", &host(at))).collect()
        };
        let (rpc, node_admin) = (place(0, take(all)), place(0, take(all)));
        let (founders, handover) = (&rpc[..config.nodes], take(all));
        let (http, edge_admin) = (place(all, take(config.edges)), place(all, take(config.edges)));
        let mids: Vec<Mid> = (0..config.edges)
            .map(|_| {
                let mut listeners = take(4).into_iter();
                let mut next = || listeners.next().expect("four were taken");
                let psk = next().replace("127.0.0.1", &config.mid_address);
                Mid { psk, bootstrap: next(), tls: next(), https: next() }
            })
            .collect();
        if config.keys {
            std::fs::write(folder.join(KEK), "5a".repeat(32)).expect("the cluster's folder can be written");
        }
        let member =
            |name: String, program: &Path, first: &[&str], text: String, admin: &str, serves: &str| {
                let file = folder.join(format!("{name}.toml"));
                std::fs::write(&file, text).expect("the cluster's folder can be written");
                let mut arguments: Vec<String> = first.iter().map(|&argument| argument.to_owned()).collect();
                arguments.extend(["--config".to_owned(), file.display().to_string()]);
                let (admin, serves) = (admin.to_owned(), serves.to_owned());
                Member {
                    name,
                    program: program.to_owned(),
                    arguments,
                    admin,
                    serves,
                    mid: Mid::default(),
                    handover: String::new(),
                    place: None,
                    process: None,
                }
            };
        let nodes = (0..all)
            .map(|i| {
                let name = format!("node-{i}");
                let members =
                    if i < config.nodes { Members::Found(founders) } else { Members::Join(founders) };
                let mut text = node_config(&config, &folder, &name, &rpc[i], &node_admin[i], members, &http);
                if let Some(files) = &config.handover {
                    text.push_str(&handover_config(&handover[i], files));
                }
                let node = member(name, &binaries.node, &["node"], text, &node_admin[i], &rpc[i]);
                let place = config.lan.clone().map(|lan| (lan, i));
                Member { handover: handover[i].clone(), place, ..node }
            })
            .collect();
        let edges = (0..config.edges)
            .map(|i| {
                let text = edge_config(&config, &http[i], &edge_admin[i], founders, &mids[i]);
                let edge = member(format!("edge-{i}"), &binaries.edge, &[], text, &edge_admin[i], &http[i]);
                let place = config.lan.clone().map(|lan| (lan, all + i));
                Member { mid: mids[i].clone(), place, ..edge }
            })
            .collect();
        Cluster { nodes, edges, config, folder, temporary }
    }

    async fn found(mut self) -> Cluster {
        self.start_all();
        self.wait_ready().await;
        self
    }

    /// Starts every member that does not run, spares excepted.
    ///
    /// # Panics
    /// A program cannot be started.
    pub fn start_all(&mut self) {
        for member in self.nodes[..self.config.nodes].iter_mut().chain(&mut self.edges) {
            if member.process.is_none() {
                member.start(&self.folder, &self.config.log);
            }
        }
    }

    /// Waits until every running member answers 200 to `/readyz`.
    ///
    /// # Panics
    /// One ends or takes too long.
    pub async fn wait_ready(&mut self) {
        let until = Instant::now() + READY_WITHIN;
        for member in self.nodes.iter_mut().chain(&mut self.edges) {
            if member.process.is_some() {
                wait_member(member, until).await;
            }
        }
    }

    /// Waits until one node is ready.
    ///
    /// # Panics
    /// It ends or takes too long.
    pub async fn wait_node(&mut self, index: usize) {
        wait_member(&mut self.nodes[index], Instant::now() + READY_WITHIN).await;
    }

    /// Number of nodes, spares not counted.
    pub fn len(&self) -> usize {
        self.config.nodes
    }

    /// Whether it has no node: never.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// HTTP addresses of the edges.
    pub fn edges(&self) -> Vec<String> {
        self.edges.iter().map(|edge| edge.serves.clone()).collect()
    }

    /// gRPC addresses of the nodes.
    pub fn node_rpcs(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.serves.clone()).collect()
    }

    /// Kills an edge with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill_edge(&mut self, index: usize) {
        let mut process = self.edges[index].process.take().expect("only a running edge can be killed");
        process.kill().expect("a child can be killed");
    }

    /// Where a node is asked by `banyan ctl`.
    pub fn node_rpc(&self, index: usize) -> &str {
        &self.nodes[index].serves
    }

    /// Admin HTTP addresses of the nodes.
    pub fn node_admins(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.admin.clone()).collect()
    }

    /// Admin HTTP addresses of the edges.
    pub fn edge_admins(&self) -> Vec<String> {
        self.edges.iter().map(|edge| edge.admin.clone()).collect()
    }

    /// What a node's audit log says.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn audit(&self, node: usize) -> String {
        let file = self.folder.join(format!("node-{node}")).join("audit.jsonl");
        std::fs::read_to_string(file).expect("a node that led the keys' group has an audit log")
    }

    /// Address at which a node serves gRPC.
    pub fn rpc(&self, node: usize) -> &str {
        &self.nodes[node].serves
    }

    /// Where an edge listens with TLS.
    pub fn mid(&self, edge: usize) -> &Mid {
        &self.edges[edge].mid
    }

    /// Process ids of everything that runs.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes
            .iter()
            .chain(&self.edges)
            .filter_map(|member| member.process.as_ref())
            .map(Process::id)
            .collect()
    }

    /// Process ids of the nodes that run.
    pub fn node_pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|member| member.process.as_ref()).map(Process::id).collect()
    }

    /// The folder with configuration, data and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data folder of a node.
    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.join(&self.nodes[node].name)
    }

    /// Where a node takes keys, whether that is configured or not.
    pub fn handover(&self, node: usize) -> &str {
        &self.nodes[node].handover
    }

    /// What an edge wrote to its log, over all its lives.
    pub fn edge_log(&self, edge: usize) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.edges[edge].name)))
            .unwrap_or_default()
    }

    /// What a node wrote to its log, over all its lives.
    pub fn node_log(&self, node: usize) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.nodes[node].name)))
            .unwrap_or_default()
    }

    /// A device that may use every edge.
    pub fn device(&self, from: &str) -> Device {
        Device::new(self.edges(), from)
    }

    /// Kills a node with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill_node(&mut self, index: usize) {
        let mut process = self.nodes[index].process.take().expect("only a running node can be killed");
        process.kill().expect("a child can be killed");
    }

    /// Kills every node and edge, as near to at once as signals go, then waits for their ends.
    ///
    /// # Panics
    /// A child cannot be waited for.
    pub fn kill_all(&mut self) {
        let members = self.nodes.iter_mut().chain(&mut self.edges);
        let mut processes: Vec<Process> = members.filter_map(|member| member.process.take()).collect();
        for process in &processes {
            process.signal(Signal::Kill).expect("a running child takes a signal");
        }
        for process in &mut processes {
            process.wait(Duration::from_secs(10)).expect("a killed process ends");
        }
    }

    /// Asks a node to leave in order and waits for its end.
    ///
    /// # Panics
    /// It does not run, or stays longer than `within`.
    pub fn stop_node(&mut self, index: usize, within: Duration) -> std::process::ExitStatus {
        let mut process = self.nodes[index].process.take().expect("only a running node can be stopped");
        process.signal(Signal::Terminate).expect("a running child takes a signal");
        process.wait(within).expect("a node that is asked to leave ends")
    }

    /// Waits for the end of a node that nobody asked to end.
    ///
    /// # Panics
    /// It does not run, or stays longer than `within`.
    pub fn wait_end(&mut self, index: usize, within: Duration) -> std::process::ExitStatus {
        let mut process = self.nodes[index].process.take().expect("only a running node can end");
        process.wait(within).expect("the node ends")
    }

    /// Freezes a node or lets it go on.
    ///
    /// # Panics
    /// It does not run.
    pub fn signal_node(&mut self, index: usize, signal: Signal) {
        let process = self.nodes[index].process.as_ref().expect("only a running node takes a signal");
        process.signal(signal).expect("a running child takes a signal");
    }

    /// Starts a node again on its own data; does not wait.
    ///
    /// # Panics
    /// It runs.
    pub fn start_node(&mut self, index: usize) {
        self.nodes[index].start(&self.folder, &self.config.log);
    }

    /// Starts a node that is expected to refuse, and gives its exit status and what it wrote from then on.
    ///
    /// # Panics
    /// It still runs after `within`.
    pub fn start_node_to_fail(
        &mut self,
        index: usize,
        within: Duration,
    ) -> (std::process::ExitStatus, String) {
        let before = self.node_log(index).len();
        self.start_node(index);
        let mut process = self.nodes[index].process.take().expect("it was just started");
        let status = process.wait(within).expect("a node with unusable data ends");
        (status, self.node_log(index)[before..].to_owned())
    }

    async fn admin(&self, index: usize) -> Result<AdminClient<Channel>, tonic::Status> {
        let unavailable = |e: tonic::transport::Error| tonic::Status::unavailable(e.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{}", self.nodes[index].serves))
            .map_err(unavailable)?
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(2));
        Ok(AdminClient::new(endpoint.connect().await.map_err(unavailable)?))
    }

    /// What a node says about itself and its groups.
    ///
    /// # Errors
    /// It does not answer within 2 s.
    pub async fn status(&self, index: usize) -> Result<NodeStatus, tonic::Status> {
        Ok(self.admin(index).await?.status(StatusRequest {}).await?.into_inner())
    }

    /// Runs `banyan ctl` with these words against a node, and gives what it printed.
    ///
    /// # Errors
    /// What it wrote to its standard error when it failed.
    pub async fn ctl(&self, words: &[&str], node: usize) -> Result<String, String> {
        let mut command = tokio::process::Command::new(&self.nodes[node].program);
        command.arg("ctl").args(words).args(["--node", &self.nodes[node].serves]).kill_on_drop(true);
        let output = command.output().await.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The number of the shard that owns a request path.
    ///
    /// # Panics
    /// The first node does not answer, or knows no map.
    pub async fn shard(&self, path: &str) -> u64 {
        let status = self.status(0).await.expect("a node that runs answers");
        shard_of(path, &status).expect("a node that is ready has the map")
    }

    /// Has `to` lead the shard of a request path, and waits until it does.
    ///
    /// # Panics
    /// It does not come to that.
    pub async fn transfer(&self, path: &str, to: usize) {
        let shard = self.shard(path).await.to_string();
        let words = ["shard", "transfer", &shard, self.node_rpc(to), "--wait-s", "20"];
        if let Err(why) = self.ctl(&words, 0).await {
            panic!("shard {shard} of {path} does not come to node-{to}: {why}");
        }
    }

    /// What an operator asks of the keys' group, by the first node that answers.
    ///
    /// # Panics
    /// It is refused, or no node answers within 20 s.
    pub async fn keys(&self, question: keys_question::Kind) -> Option<keys_answer::Kind> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let mut failures = Vec::new();
            for index in (0..self.nodes.len()).filter(|&index| self.nodes[index].process.is_some()) {
                match self.ask_keys(index, question.clone()).await {
                    Ok(KeysAnswer { kind: Some(keys_answer::Kind::Refused(refused)) }) => {
                        panic!("the keys' group refuses: {}", refused.why)
                    }
                    Ok(answer) => return answer.kind,
                    Err(failure) => failures.push(failure),
                }
            }
            assert!(Instant::now() < until, "no node answers for the keys' group: {failures:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn ask_keys(&self, index: usize, kind: keys_question::Kind) -> Result<KeysAnswer, tonic::Status> {
        let question = KeysQuestion { kind: Some(kind) };
        Ok(self.admin(index).await?.keys(question).await?.into_inner())
    }

    /// The index of the node that leads the shard of `/m2m/<path>`, once one of the `asked` nodes knows a leader that
    /// is a member. The leader may be one that no longer runs: say whom to ask.
    ///
    /// # Panics
    /// No leader within 20 s.
    pub async fn leader_among(&self, path: &str, asked: &[usize]) -> usize {
        self.leader_of(path, asked, |status| shard_of(path, status)).await
    }

    /// The index of the node that leads the keys' group.
    ///
    /// # Panics
    /// No leader within 20 s.
    pub async fn leader_of_keys(&self) -> usize {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.leader_of("keys", &all, |status| Some(status.directory.as_ref()?.keys.as_ref()?.shard)).await
    }

    async fn leader_of(
        &self,
        what: &str,
        asked: &[usize],
        group: impl Fn(&NodeStatus) -> Option<u64>,
    ) -> usize {
        let until = Instant::now() + Duration::from_secs(20);
        let mut seen = String::new();
        while Instant::now() < until {
            let mut ids = BTreeMap::new();
            let mut leader = None;
            for &index in asked {
                let Ok(status) = self.status(index).await else { continue };
                let Some(node) = &status.node else { continue };
                ids.insert(node.node, index);
                let shard = group(&status);
                let leads = |group: &&GroupStatus| Some(group.group) == shard && group.role == "Leader";
                if let Some(group) = status.groups.iter().find(leads) {
                    leader = Some((group.term, index)).max(leader);
                }
                seen = format!("{status:?}");
            }
            if let Some((_, index)) = leader {
                return index;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("no node of {asked:?} leads the shard of {what} within 20 s; last status: {seen}");
    }

    /// The leader of a path's shard among all nodes.
    ///
    /// # Panics
    /// No leader within 20 s.
    pub async fn leader(&self, path: &str) -> usize {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.leader_among(path, &all).await
    }
}

/// The shard that owns a request path, by the map in a node's status.
fn shard_of(path: &str, status: &NodeStatus) -> Option<u64> {
    let directory = status.directory.as_ref()?;
    let below = path.strip_prefix("/m2m").unwrap_or(path);
    let slot = banyan_model::path::Path::parse(below)?.subtree().slot().0;
    let shard = directory.shards.iter().find(|shard| (shard.first_slot..=shard.last_slot).contains(&slot))?;
    Some(shard.shard)
}

async fn wait_member(member: &mut Member, until: Instant) {
    loop {
        let process = member.process.as_mut().expect("only a running member becomes ready");
        if let Some(status) = process.ended().expect("a child can be waited for") {
            panic!("{} ended with {status} before it was ready:\n{}", member.name, process.log());
        }
        if is_ready(&member.admin).await {
            return;
        }
        let process = member.process.as_ref().expect("it was just there");
        assert!(Instant::now() < until, "{} is not ready in time:\n{}", member.name, tail(&process.log()));
        tokio::time::sleep(POLL).await;
    }
}

/// Whether `/readyz` answers 200.
pub async fn is_ready(admin: &str) -> bool {
    let mut device = Device::new([admin], "").with_timeout(Duration::from_secs(1));
    device.request("GET", "/readyz", &[], b"").await.is_ok_and(|reply| reply.status == 200)
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// How a node comes to its cluster.
enum Members<'a> {
    Found(&'a [String]),
    Join(&'a [String]),
}

/// The configuration file of one node.
fn node_config(
    config: &Config,
    folder: &Path,
    name: &str,
    rpc: &str,
    admin: &str,
    members: Members<'_>,
    authorities: &[String],
) -> String {
    let members = match members {
        Members::Found(founders) => format!("founders = {founders:?}"),
        Members::Join(members) => format!("join = {members:?}"),
    };
    // By its name, too, for clients that come in elsewhere than at HTTP.
    let authorities: Vec<&str> = authorities.iter().map(String::as_str).chain(["nscl"]).collect();
    let mut text = format!(
        "data = {data:?}\nlisten = {rpc:?}\nadmin = {admin:?}\n{members}\nauthorities = {authorities:?}\nshards = {shards}\n{inside}",
        inside = inside(config, "tls", banyan_client::NODE_NAME),
        data = folder.join(name).display().to_string(),
        shards = config.shards,
    );
    if let Some(backup) = &config.restore {
        // Before the first table.
        text.insert_str(0, &format!("restore = {:?}\n", backup.display().to_string()));
    }
    if config.snapshot_after_entries.is_some() || config.log_keep_entries.is_some() {
        text.push_str("\n[raft]\n");
        for (key, value) in [
            ("snapshot_after_entries", config.snapshot_after_entries),
            ("log_keep_entries", config.log_keep_entries),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
    text.push_str(&format!("\n[placement]\nleader_return_ms = {}\n", config.leader_return_ms));
    if let Some(after) = config.node_gone_after_ms {
        text.push_str(&format!("node_gone_after_ms = {after}\n"));
    }
    if config.keys {
        text.push_str(&format!("\n[keys]\nkek = {:?}\n", folder.join(KEK).display().to_string()));
    }
    text
}

/// What stands in `[keys]`, the last table, of a node that takes keys.
fn handover_config(listen: &str, files: &Path) -> String {
    let file = |name: &str| files.join(name).display().to_string();
    format!(
        "handover_listen = {listen:?}\nhandover_certificate = {:?}\nhandover_key = {:?}\nhandover_ca = {:?}\n",
        file("edge.pem"),
        file("edge.key"),
        file("ca.pem"),
    )
}

/// The configuration file of one edge. Open mode unless tokens are wanted: the tests are the ones who say who they are.
fn edge_config(config: &Config, http: &str, admin: &str, nodes: &[String], mid: &Mid) -> String {
    let mut text = format!("listen = {http:?}\nadmin = {admin:?}\nnodes = {nodes:?}\n");
    text.push_str(if config.tokens { "plaintext_credentials = true\n" } else { "open = true\n" });
    if config.devices.is_some() {
        text.push_str(&format!("listen_tls = {:?}\n", mid.https));
    }
    text.push_str(&inside(config, "node_tls", banyan_client::EDGE_NAME));
    if config.keys {
        text.push_str(&format!("\n[mid]\nlisten_psk = {:?}\n", mid.psk));
    }
    if let Some(devices) = &config.devices {
        let file = |name: &str| devices.join(name).display().to_string();
        text.push_str(&format!(
            "listen_bootstrap = {:?}\nlisten_tls = {:?}\ncertificate = {:?}\nkey = {:?}\ndevice_ca = {:?}\ndevice_crl = {:?}\n",
            mid.bootstrap,
            mid.tls,
            file("edge.pem"),
            file("edge.key"),
            file("ca.pem"),
            file("crl.pem"),
        ));
        text.push_str(&format!(
            "\n[tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\nclient_crl = {:?}\n",
            file("edge.pem"),
            file("edge.key"),
            file("ca.pem"),
            file("crl.pem"),
        ));
    }
    text
}

/// What stands for connections inside the cluster: plain text, or a table of files of this role.
fn inside(config: &Config, table: &str, role: &str) -> String {
    let Some(folder) = &config.mutual else { return "plaintext = true\n".to_owned() };
    let file = |name: String| folder.join(name).display().to_string();
    format!(
        "\n[{table}]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        file("ca.pem".to_owned()),
        file(format!("{role}.pem")),
        file(format!("{role}.key")),
    )
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in self.nodes.iter().chain(&self.edges) {
                let log = std::fs::read_to_string(self.folder.join(format!("{}.log", member.name)));
                eprintln!("\n--- {}\n{}", member.name, tail(&log.unwrap_or_default()));
            }
            if let Some(temporary) = self.temporary.take() {
                eprintln!("\ndata and logs are kept in {}", temporary.keep().display());
            }
        }
        // The processes die with their handles; a frozen one too, for SIGKILL needs nobody to go on.
    }
}
