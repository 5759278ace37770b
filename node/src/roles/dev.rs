//! `banyan dev`: three nodes, an edge and a gateway in this process on loopback, for a first try and for tests.
//!
//! The same parts as in a cluster, with throw-away data. Everybody who can reach the port may say who they are: this is
//! no way to run anything that matters.

mod provision;

use crate::{
    config::gateway,
    config::{Config, ConfigError, KeySettings},
    directory::Founding,
    roles::demo::{self, Taking},
    roles::gateway::{self as gateway_role, GatewayError, Started},
    roles::node::{self, Node, RunError, StartError},
    security::{Keys, KeysError},
};
use banyan_binding::http::{Client, ClientConfig};
use banyan_edge::Edge;
use banyan_model::security::M2mNodeId;
use clap::Args;
use provision::Provisioning;
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

const NODES: usize = 3;
const SHARDS: u64 = 4;
/// A debug build that replays a long log takes its time.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// The gateway's M2M-Node-ID and the index of its root key.
const GATEWAY_NODE: M2mNodeId = M2mNodeId(*b"banyan dev's GSC");
const KMR_INDEX: u32 = 1;
/// SCL-ID of the gateway, and what others call it; nobody resolves the name, for the gateway polls.
const GATEWAY: &str = "gateway";
const GATEWAY_URI: &str = "http://gateway.example.net";
/// Where the nodes of a kept folder listen: members know each other by these ports.
const PORTS: &str = "ports";

/// Options of `banyan dev`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the edge listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A `host[:port]` that means this SCL, may stand several times. Without one it is the loopback address it listens
    /// at, if its data is thrown away; otherwise every name does, and no other SCL with the same sclBase can be told from
    /// this one. Counts when the data is new.
    #[arg(long = "authority")]
    authorities: Vec<String>,
    /// Where the gateway takes device applications (dIa).
    #[arg(long, default_value = "127.0.0.1:0")]
    gateway: SocketAddr,
    /// SCL-ID; another one for each SCL that is to know this one. Counts when the data is new.
    #[arg(long, default_value = "nscl")]
    scl_id: String,
    /// Keeps the data here; without it everything is gone afterwards.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Plays a story against it, shows every answer and checks it, and ends.
    #[arg(long)]
    demo: bool,
}

impl Arguments {
    /// What means this SCL. On the loopback nobody knows it by another name; kept data may have been founded otherwise.
    fn authorities(&self, listens: SocketAddr) -> Vec<String> {
        if !self.authorities.is_empty() || self.data.is_some() || !listens.ip().is_loopback() {
            return self.authorities.clone();
        }
        // In a Host the port of the scheme is left out.
        let port = if listens.port() == 80 { String::new() } else { format!(":{}", listens.port()) };
        let address = match listens {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        [&address, "localhost"].map(|host| format!("{host}{port}")).into()
    }
}

/// Why a try-out failed.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The folder.
    #[error("failed to {action} {}", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A port.
    #[error("no port on loopback")]
    Port(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signal(#[source] io::Error),
    /// A node's settings.
    #[error("configuration")]
    Config(#[from] ConfigError),
    /// A node did not start.
    #[error("a node does not start")]
    Start(#[from] StartError),
    /// A node failed.
    #[error("a node failed")]
    Node(#[from] RunError),
    /// The edge did not start.
    #[error("the edge does not start")]
    Edge(#[source] Box<banyan_edge::StartError>),
    /// The gateway.
    #[error("the gateway failed")]
    Gateway(#[source] Box<GatewayError>),
    /// It takes too long.
    #[error("not ready in time: {0}")]
    NotReady(String),
    /// Keys.
    #[error("no keys")]
    Keys(#[source] KeysError),
    /// The story did not go as it should.
    #[error("the demo failed")]
    Demo(#[from] demo::DemoError),
    /// A part panicked.
    #[error("a part failed: {0}")]
    Part(String),
}

impl From<banyan_edge::StartError> for DevError {
    fn from(error: banyan_edge::StartError) -> DevError {
        DevError::Edge(Box::new(error))
    }
}

/// Runs until Ctrl-C, or until the demo was played.
///
/// # Errors
/// [`DevError`].
pub async fn run(arguments: Arguments) -> Result<(), DevError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DevError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DevError::Signal)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let folder = Folder::new(arguments.data.as_deref())?;
    let outcome = serve(&arguments, &folder.path, stop).await;
    folder.remove();
    outcome
}

async fn serve(arguments: &Arguments, folder: &Path, stop: impl Future<Output = ()>) -> Result<(), DevError> {
    let listeners = listeners(folder).await?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>().map_err(DevError::Port)?;
    let (stopping, stopped) = watch::channel(false);
    let stopped = || {
        let mut stopped = stopped.clone();
        async move {
            // Nobody left who could say so is an end, too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    };
    let edge = Edge::bind(edge_config(arguments.listen, &addresses)).await?;
    let listens = edge.addresses().http.unwrap_or(arguments.listen);
    let mid = edge.addresses().mid_psk.unwrap_or(listens);
    let provisioning = Provisioning::new(folder)?;
    let url = format!("http://{listens}");

    let mut nodes: JoinSet<Result<(), DevError>> = JoinSet::new();
    let (mut readiness, mut keys) = (Vec::new(), Vec::new());
    for (number, listener) in listeners.into_iter().enumerate() {
        let config = Config {
            authorities: arguments.authorities(listens),
            scl_id: arguments.scl_id.clone(),
            keys: KeySettings { kek: Some(provisioning.kek.clone()), ..KeySettings::default() },
            ..node_config(folder, number, &addresses)
        };
        let checked = config.check()?;
        let store = node::open(&checked.data, checked.storage.clone()).await?;
        let node = Node::start_on(checked, store, listener).await?;
        readiness.push(node.readiness());
        keys.push(node.keys());
        let stopped = stopped();
        nodes.spawn(async move { Ok(node.run(stopped).await?) });
    }
    let mut edges = JoinSet::new();
    let (end_edge, edge_ended) = watch::channel(false);
    edges.spawn(async move {
        let mut ended = edge_ended;
        let ended = async move {
            // As above.
            let _ = ended.wait_for(|ended| *ended).await;
        };
        edge.serve(ended).await
    });

    let mut gateways: JoinSet<Result<(), DevError>> = JoinSet::new();
    let (end_gateway, gateway_ended) = watch::channel(false);
    let (tell_started, started) = oneshot::channel();
    // Where every name means the SCL, the gateway's does, too: neither could be told from the other.
    let has_gateway = !arguments.authorities(listens).is_empty();
    if has_gateway {
        let config = gateway_config(arguments, folder, listens, mid, &provisioning);
        let ended = || {
            let mut ended = gateway_ended.clone();
            async move {
                // As above.
                let _ = ended.wait_for(|ended| *ended).await;
            }
        };
        let (before, while_it_runs, keys) = (ended(), ended(), keys.clone());
        gateways.spawn(async move {
            tokio::select! {
                () = before => return Ok(()),
                imported = provisioning.import(&keys) => imported?,
            }
            let served = gateway_role::serve(config, while_it_runs, tell_started).await;
            served.map_err(|error| DevError::Gateway(error.into()))
        });
    }

    let play = async {
        wait_ready(&readiness, &url).await?;
        let gateway = match has_gateway {
            true => Some(wait_registered(started, arguments, &keys).await?),
            false => None,
        };
        if arguments.demo {
            return Ok(demo::play(&base(&url), gateway.as_ref()).await?);
        }
        announce(&url, gateway.as_ref(), folder, arguments);
        std::future::pending().await
    };
    let outcome = tokio::select! {
        () = stop => Ok(()),
        played = play => played,
        Some(ended) = gateways.join_next() => Err(match ended {
            Ok(Ok(())) => DevError::Part("the gateway ended by itself".to_owned()),
            Ok(Err(error)) => error,
            Err(panic) => DevError::Part(panic.to_string()),
        }),
        Some(ended) = nodes.join_next() => Err(match ended {
            Ok(Ok(())) => DevError::Part("a node ended by itself".to_owned()),
            Ok(Err(error)) => error,
            Err(panic) => DevError::Part(panic.to_string()),
        }),
    };
    // The gateway first, for it says goodbye; then the edge, which still can hand in what it has.
    end_gateway.send_replace(true);
    while let Some(ended) = gateways.join_next().await {
        ended.map_err(|panic| DevError::Part(panic.to_string()))??;
    }
    end_edge.send_replace(true);
    while let Some(ended) = edges.join_next().await {
        ended.map_err(|panic| DevError::Part(panic.to_string()))??;
    }
    stopping.send_replace(true);
    while let Some(ended) = nodes.join_next().await {
        ended.map_err(|panic| DevError::Part(panic.to_string()))??;
    }
    outcome
}

fn node_config(folder: &Path, number: usize, addresses: &[SocketAddr]) -> Config {
    Config {
        data: Some(folder.join(format!("node-{number}"))),
        listen: Some(addresses[number]),
        founders: addresses.iter().map(SocketAddr::to_string).collect(),
        shards: SHARDS,
        plaintext: true,
        // Three that stop at once have nobody to hand over to.
        step_down_timeout_ms: 200,
        ..Config::default()
    }
}

fn edge_config(listen: SocketAddr, nodes: &[SocketAddr]) -> banyan_edge::Config {
    banyan_edge::Config {
        listen: Some(listen),
        // Whoever runs it chose the address, and believes everybody anyway.
        plaintext_anywhere: true,
        nodes: nodes.iter().map(SocketAddr::to_string).collect(),
        plaintext: true,
        open: true,
        mid: banyan_edge::config::Mid {
            listen_psk: Some((Ipv4Addr::LOCALHOST, 0).into()),
            ..banyan_edge::config::Mid::default()
        },
        ..banyan_edge::Config::default()
    }
}

/// A gateway behind NAT, as it were: it polls. `mid`: where the edge takes other SCLs.
fn gateway_config(
    arguments: &Arguments,
    folder: &Path,
    nscl: SocketAddr,
    mid: SocketAddr,
    provisioning: &Provisioning,
) -> gateway::Config {
    gateway::Config {
        data: Some(folder.join(GATEWAY)),
        listen: Some(arguments.gateway),
        scl_id: GATEWAY.to_owned(),
        public_uri: GATEWAY_URI.to_owned(),
        open: true,
        nscl: gateway::Nscl {
            base: base(&format!("http://{nscl}")),
            scl_id: arguments.scl_id.clone(),
            edges: vec![mid.to_string()],
            ..gateway::Nscl::default()
        },
        key: Some(gateway::Provisioned {
            node_id: GATEWAY_NODE.to_string(),
            index: KMR_INDEX,
            kmr_file: provisioning.kmr.clone(),
            mas: None,
        }),
        reach: gateway::ReachSettings { poc: None, polling: true },
        ..gateway::Config::default()
    }
}

/// Waits until the gateway is registered.
async fn wait_registered(
    started: oneshot::Receiver<Started>,
    arguments: &Arguments,
    keys: &[Keys],
) -> Result<Taking, DevError> {
    let not_ready = || DevError::NotReady("the gateway has not registered".to_owned());
    let Started { dia, status } = started.await.map_err(|_| not_ready())?;
    let until = Instant::now() + READY_WITHIN;
    while !status.is_registered() {
        if Instant::now() > until {
            return Err(not_ready());
        }
        sleep(POLL).await;
    }
    let service_connection = provision::service_connection(keys).await?;
    Ok(Taking {
        service_connection,
        origin: format!("http://{dia}"),
        base: gateway::Config::default().scl_base,
        id: GATEWAY.to_owned(),
        nscl_id: arguments.scl_id.clone(),
        public_uri: GATEWAY_URI.to_owned(),
    })
}

/// The nodes' ports, bound. A kept folder has them written down.
async fn listeners(folder: &Path) -> Result<Vec<TcpListener>, DevError> {
    let file = folder.join(PORTS);
    let failed = |action: &'static str| {
        let path = file.clone();
        move |source| DevError::Folder { action, path, source }
    };
    let known: Vec<u16> = match fs::read_to_string(&file) {
        Ok(text) => text.split_whitespace().filter_map(|port| port.parse().ok()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![0; NODES],
        Err(error) => return Err(failed("read")(error)),
    };
    if known.len() != NODES {
        let error = io::Error::new(io::ErrorKind::InvalidData, "must hold three ports");
        return Err(failed("read")(error));
    }
    let mut listeners = Vec::new();
    for port in known {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(DevError::Port)?);
    }
    let ports: Vec<String> = listeners
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.port().to_string()))
        .collect::<io::Result<_>>()
        .map_err(DevError::Port)?;
    fs::write(&file, ports.join("\n")).map_err(failed("write"))?;
    Ok(listeners)
}

/// Waits until every node is ready and the edge answers for the cluster.
async fn wait_ready(nodes: &[impl Fn() -> Option<String>], url: &str) -> Result<(), DevError> {
    let until = Instant::now() + READY_WITHIN;
    let mut last = String::new();
    while Instant::now() < until {
        match nodes.iter().find_map(|not_ready| not_ready()) {
            Some(why) => last = why,
            None => match is_ready(url).await {
                true => return Ok(()),
                false => last = "the edge has not found the cluster".to_owned(),
            },
        }
        sleep(POLL).await;
    }
    Err(DevError::NotReady(last))
}

/// Whether the edge has found the cluster: before that it answers everything with 503.
async fn is_ready(url: &str) -> bool {
    let client = Client::new(ClientConfig::default());
    let request = http::Request::get(url).header(http::header::FROM, url).body(bytes::Bytes::new());
    let Ok(request) = request else { return false };
    let answer = client.send(request, POLL * 20).await;
    answer.is_ok_and(|answer| answer.status() != http::StatusCode::SERVICE_UNAVAILABLE)
}

/// Address of sclBase.
fn base(url: &str) -> String {
    format!("{url}{}", Founding::default().scl_base)
}

fn announce(url: &str, gateway: Option<&Taking>, folder: &Path, arguments: &Arguments) {
    let base = base(url);
    let kept = match &arguments.data {
        Some(_) => format!("Data is kept in {}.", folder.display()),
        None => "Data is thrown away at the end.".to_owned(),
    };
    let gateway = match gateway {
        Some(gateway) => format!(
            "\n    gateway  {}{}  (its resources are read at {url}/{}/...)",
            gateway.origin, gateway.base, gateway.id
        ),
        None => String::new(),
    };
    println!(
        "
Banyan is ready: three nodes, an edge and a gateway in this process.

    sclBase  {base}{gateway}

!!! OPEN MODE: every client is believed to be whoever it says it is. Never let this port be reached from outside.

Register an application, give it a container, put in a value, read it back:

    curl -i -X POST {base}/applications -H 'From: {base}/applications/meter' -H 'Content-Type: application/json' \\
         -d '{{\"application\": {{\"appId\": \"meter\"}}}}'
    curl -i -X POST {base}/applications/meter/containers -H 'From: {base}/applications/meter' -H 'Content-Type: application/json' \\
         -d '{{\"container\": {{\"id\": \"temperature\", \"maxNrOfInstances\": 1000}}}}'
    curl -i -X POST {base}/applications/meter/containers/temperature/contentInstances -H 'From: {base}/applications/meter' -H 'Content-Type: text/plain' \\
         -d '21.5'
    curl -i {base}/applications/meter/containers/temperature/contentInstances/latest -H 'From: {base}/applications/meter' -H 'Accept: application/json'

{kept} Stop with Ctrl-C.
"
    );
}

/// The folder of the data.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(kept: Option<&Path>) -> Result<Folder, DevError> {
        let path = match kept {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("banyan-dev-{:016x}", rand::random::<u64>())),
        };
        fs::create_dir_all(&path).map_err(|source| DevError::Folder {
            action: "make",
            path: path.clone(),
            source,
        })?;
        Ok(Folder { path, keep: kept.is_some() })
    }

    fn remove(self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "throw-away data is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throw_away_data_on_the_loopback_knows_its_own_names() {
        let arguments = |data: Option<&str>, authorities: &[&str]| Arguments {
            listen: ([127, 0, 0, 1], 0).into(),
            authorities: authorities.iter().map(|name| (*name).to_owned()).collect(),
            scl_id: "nscl".to_owned(),
            data: data.map(PathBuf::from),
            demo: false,
            gateway: ([127, 0, 0, 1], 0).into(),
        };
        let own = |text: &str| arguments(None, &[]).authorities(text.parse().expect("an address"));
        assert_eq!(own("127.0.0.1:8080"), ["127.0.0.1:8080", "localhost:8080"]);
        assert_eq!(own("[::1]:80"), ["[::1]", "localhost"]);
        assert!(own("0.0.0.0:8080").is_empty(), "nobody knows by which name it is reached");
        let listens = "127.0.0.1:8080".parse().expect("an address");
        assert!(arguments(Some("kept"), &[]).authorities(listens).is_empty());
        assert_eq!(arguments(None, &["scl.example.org"]).authorities(listens), ["scl.example.org"]);
    }
}
