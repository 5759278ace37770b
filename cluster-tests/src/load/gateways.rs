//! Many gateways in one process, each as a GSCL behind NAT lives: a service connection by TLS-PSK with its Kmr, the
//! registration of its SCL, a communicationChannel that it polls over a second channel made with Kmc, and a refresh of
//! the registration again and again.
//!
//! What it tells: registrations a second, how long each step took, and what a registered gateway costs the edges.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use banyan_binding::mid::{ConnectorConfig, PskConnector};
use banyan_binding::session::Key;
use banyan_proto::v1::{self, admin_client::AdminClient};
use futures_util::StreamExt;
use futures_util::stream;
use hdrhistogram::Histogram;
use rand::RngExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_openssl::SslStream;

use crate::body;
use crate::http::Connection;
use crate::load::observe::Observed;

/// A step that takes longer has failed.
const STEP_MAX: Duration = Duration::from_secs(20);

/// Options of `load gateways`.
#[derive(clap::Args)]
pub struct Options {
    /// The edges' `mid.listen_psk`; gateways spread over them.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:8445")]
    edges: Vec<String>,
    /// The gateways' root keys, as `load gateway-keys` wrote them.
    #[arg(long)]
    keys: PathBuf,
    /// gRPC address of a node without TLS, where the keys are imported first.
    #[arg(long)]
    import: Option<String>,
    /// How many gateways register at the same time.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// Seconds for which all of them stay, once all are there.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds between two refreshes of a registration.
    #[arg(long, default_value_t = 30)]
    refresh: u64,
    /// Process ids of the edges, whose CPU and memory are reported.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

/// Options of `load gateway-keys`.
#[derive(clap::Args)]
pub struct KeyOptions {
    /// How many.
    #[arg(long, default_value_t = 2_000)]
    count: usize,
    /// The file that is written: plain text, for tests only.
    file: PathBuf,
}

pub(super) fn read(file: &Path) -> Result<Vec<Provisioned>, String> {
    let failed = |why: String| format!("{}: {why}", file.display());
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let gateway = |line| serde_json::from_str(line).map_err(|error| failed(error.to_string()));
    text.lines().map(gateway).collect()
}

/// Writes random root keys in the form that `banyan ctl keys seal` takes.
///
/// # Errors
/// The file cannot be written.
pub fn make_keys(options: &KeyOptions) -> Result<(), String> {
    let mut lines = String::new();
    for number in 0..options.count {
        let mut random = rand::rng();
        let (node, key): ([u8; 16], [u8; 32]) = (random.random(), random.random());
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let line = serde_json::json!({
            "node": hex(&node), "index": 1, "kmr": hex(&key), "scl_id": format!("gw-{number:05}"),
        });
        lines.push_str(&format!("{line}\n"));
    }
    fs::write(&options.file, lines).map_err(|error| format!("{}: {error}", options.file.display()))
}

/// One gateway of the file.
#[derive(Clone, serde::Deserialize)]
pub(super) struct Provisioned {
    pub(super) node: String,
    pub(super) index: u32,
    pub(super) kmr: String,
    scl_id: String,
}

pub(super) type Channel = Connection<SslStream<TcpStream>>;

/// What all of them did.
#[derive(Default)]
struct Tally {
    refreshed: AtomicU64,
    polled: AtomicU64,
    lost: AtomicU64,
}

/// Registers them all, keeps them for a while and prints what it took.
///
/// # Errors
/// The keys cannot be read, or a gateway cannot register.
pub async fn run(options: Options) -> Result<(), String> {
    let gateways = read(&options.keys)?;
    if let Some(node) = &options.import {
        import(node, &gateways).await?;
    }
    let offers = ConnectorConfig { suites: Vec::new(), ..ConnectorConfig::default() };
    let connector = Arc::new(PskConnector::new(&offers).map_err(|error| error.to_string())?);
    let observed = Observed { pids: options.pids.clone(), admins: Vec::new() };
    let before = observed.look().await.map_err(|e| e.to_string())?;

    let began = Instant::now();
    let tally = Arc::new(Tally::default());
    // Each polls as soon as it is there: an edge ends a new connection on which nothing comes.
    let mut lives = JoinSet::new();
    let mut steps = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("sound bounds");
    let mut registering = stream::iter(gateways.iter().enumerate().map(|(number, gateway)| {
        let edge = options.edges[number % options.edges.len()].clone();
        register(Arc::clone(&connector), edge, gateway.clone())
    }))
    .buffer_unordered(options.at_once);
    while let Some(one) = registering.next().await {
        let (gateway, took) = one?;
        steps.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        lives.spawn(gateway.live(Duration::from_secs(options.refresh), Arc::clone(&tally)));
    }
    drop(registering);
    let took = began.elapsed();
    // What was freed by the handshakes is seen only after a moment.
    sleep(Duration::from_secs(2)).await;
    let there = observed.look().await.map_err(|e| e.to_string())?;
    let count = lives.len();
    let millis = |quantile| steps.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "{count} gateways registered in {:.1} s: {:.0} a second at {} at once; p50 {:.1} ms, p99 {:.1} ms each \
         (2 handshakes, 4 requests)",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        options.at_once,
        millis(0.5),
        millis(0.99),
    );
    if !options.pids.is_empty() {
        let grown = there.resident_bytes.saturating_sub(before.resident_bytes);
        let cpu = observed.spent(&before, &there).cpu.unwrap_or_default();
        println!(
            "edges: {:.1} MiB more, {:.1} KiB for each of {} sessions; {:.2} ms CPU for each gateway",
            grown as f64 / f64::from(1 << 20),
            grown as f64 / 1024.0 / (2 * count) as f64,
            2 * count,
            cpu.as_secs_f64() * 1e3 / count as f64,
        );
    }

    sleep(Duration::from_secs(options.seconds)).await;
    let after = observed.look().await.map_err(|e| e.to_string())?;
    lives.shutdown().await;
    println!(
        "{} s with all of them: {} refreshes, {} polls answered, {} gateways lost",
        options.seconds,
        tally.refreshed.load(Ordering::Relaxed),
        tally.polled.load(Ordering::Relaxed),
        tally.lost.load(Ordering::Relaxed),
    );
    if !options.pids.is_empty() {
        let cpu = observed.spent(&there, &after).cpu.unwrap_or_default();
        println!(
            "edges meanwhile: {:.1}% of a core, {:.1} MiB resident",
            100.0 * cpu.as_secs_f64() / options.seconds as f64,
            after.resident_bytes as f64 / f64::from(1 << 20),
        );
    }
    match tally.lost.load(Ordering::Relaxed) {
        0 => Ok(()),
        lost => Err(format!("{lost} gateways were lost")),
    }
}

/// Makes the gateways' keys known to the cluster.
async fn import(node: &str, gateways: &[Provisioned]) -> Result<(), String> {
    let connected = AdminClient::connect(format!("http://{node}")).await;
    let mut admin = connected.map_err(|e| format!("{node}: {e}"))?;
    for some in gateways.chunks(200) {
        let keys = some.iter().map(|gateway| {
            Some(v1::ProvisionedKey {
                node: octets(&gateway.node)?.into(),
                index: gateway.index,
                kmr: octets(&gateway.kmr)?.into(),
                scl_id: Some(gateway.scl_id.clone()),
                ..Default::default()
            })
        });
        let keys = keys.collect::<Option<_>>().ok_or("a key is not in hexadecimal digits")?;
        let import = v1::ImportKeys { keys, source: "load".to_owned() };
        let question = v1::KeysQuestion { kind: Some(v1::keys_question::Kind::Import(import)) };
        let answer = admin.keys(question).await.map_err(|e| format!("{node}: {e}"))?.into_inner();
        match answer.kind {
            Some(v1::keys_answer::Kind::Imported(imported)) => {
                if let Some(why) = imported.refused.iter().find(|why| !why.is_empty()) {
                    return Err(format!("{node}: a key is refused: {why}"));
                }
            }
            other => return Err(format!("{node}: {other:?}")),
        }
    }
    Ok(())
}

/// A gateway that is registered and has a channel to poll.
struct Registered {
    scl: String,
    requests: Channel,
    polls: Channel,
    poll: Vec<u8>,
}

async fn register(
    connector: Arc<PskConnector>,
    edge: String,
    gateway: Provisioned,
) -> Result<(Registered, Duration), String> {
    let began = Instant::now();
    let scl = gateway.scl_id.clone();
    let registered = timeout(STEP_MAX, begin(connector, edge, gateway)).await;
    let registered = registered.unwrap_or_else(|_| Err(format!("took more than {STEP_MAX:?}")));
    Ok((registered.map_err(|why| format!("{scl}: {why}"))?, began.elapsed()))
}

async fn begin(
    connector: Arc<PskConnector>,
    edge: String,
    gateway: Provisioned,
) -> Result<Registered, String> {
    let Provisioned { node, index, kmr, scl_id: scl } = gateway;
    let kmr = key(&kmr).ok_or("kmr: not 64 hexadecimal digits")?;
    let identity = format!("kmr/{node}/{index}@mas.example.com");
    let (mut requests, kmc) = channel(&connector, &edge, &identity, &kmr).await?;
    let answer = ask(&mut requests, &request("POST", &edge, "/m2m/connection", ""), &[200]).await?;
    let of = |name| body::element(&answer, name).map(str::to_owned).ok_or(format!("no {name}"));
    let (connection, kmc_index) = (of("securityConnectionId")?, of("securityKmcIndex")?);
    let connection: u64 = connection.parse().map_err(|_| "securityConnectionId: no number")?;

    let created = body::scl(&scl, &format!("http://{scl}.example.net/m2m"));
    ask(&mut requests, &request("POST", &edge, "/m2m/scls", &created), &[201, 409]).await?;
    let made = r#"<m2m:communicationChannel xmlns:m2m="http://uri.etsi.org/m2m" m2m:id="poll"><m2m:channelType>LONG_POLLING</m2m:channelType></m2m:communicationChannel>"#;
    let channels = format!("/m2m/scls/{scl}/communicationChannels");
    ask(&mut requests, &request("POST", &edge, &channels, made), &[201, 409]).await?;
    let shown = ask(&mut requests, &request("GET", &edge, &format!("{channels}/poll"), ""), &[200]).await?;
    let poll = body::element(&shown, "longPollingURI").ok_or("no longPollingURI")?;
    let poll = poll.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    let poll = request("GET", &edge, &format!("/{}", poll.ok_or("longPollingURI is not absolute")?), "");

    let identity = format!("kmc/{connection:016x}/{kmc_index}@nscl.example.com");
    let (polls, _) = channel(&connector, &edge, &identity, &kmc).await?;
    Ok(Registered { scl, requests, polls, poll })
}

impl Registered {
    /// Polls and refreshes until it is dropped.
    async fn live(self, refresh: Duration, tally: Arc<Tally>) {
        let Registered { scl, requests, polls, poll } = self;
        let refreshing = keep_registered(scl.clone(), requests, refresh, &tally);
        let polling = keep_polling(polls, &poll, &tally);
        let why = tokio::select! {
            why = refreshing => why,
            why = polling => why,
        };
        tally.lost.fetch_add(1, Ordering::Relaxed);
        eprintln!("{scl} is lost: {why}");
    }
}

async fn keep_registered(scl: String, mut requests: Channel, refresh: Duration, tally: &Tally) -> String {
    let update = r#"<m2m:scl xmlns:m2m="http://uri.etsi.org/m2m"><m2m:mgmtProtocolType>OMA_DM</m2m:mgmtProtocolType></m2m:scl>"#;
    let update = request("PUT", "edge", &format!("/m2m/scls/{scl}"), update);
    // Not all at once.
    sleep(refresh.mul_f64(rand::random_range(0.0..1.0))).await;
    loop {
        match timeout(STEP_MAX, ask(&mut requests, &update, &[200, 204])).await {
            Ok(Ok(_)) => tally.refreshed.fetch_add(1, Ordering::Relaxed),
            Ok(Err(why)) => return why,
            Err(_) => return "refresh took too long".to_owned(),
        };
        sleep(refresh).await;
    }
}

async fn keep_polling(mut polls: Channel, poll: &[u8], tally: &Tally) -> String {
    loop {
        match ask(&mut polls, poll, &[200, 204, 408]).await {
            Ok(_) => tally.polled.fetch_add(1, Ordering::Relaxed),
            Err(why) => return why,
        };
    }
}

pub(super) async fn channel(
    connector: &PskConnector,
    edge: &str,
    identity: &str,
    key: &Key,
) -> Result<(Channel, Key), String> {
    let socket = TcpStream::connect(edge).await.map_err(|e| format!("{edge}: {e}"))?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    let made = connector.connect(socket, identity.as_bytes(), key).await;
    let (stream, exported) = made.map_err(|e| format!("handshake as {identity}: {e}"))?;
    Ok((Connection::over(stream), exported))
}

/// The answer's body, if its status is one of `expected`.
async fn ask(channel: &mut Channel, request: &[u8], expected: &[u16]) -> Result<String, String> {
    let answer = channel.send(request, false).await.map_err(|e| e.to_string())?;
    let (status, text) = (answer.status, String::from_utf8_lossy(answer.body).into_owned());
    expected.contains(&status).then_some(text.clone()).ok_or_else(|| {
        let line = request.split(|octet| *octet == b'\r').next().unwrap_or_default();
        format!("{}: {status} {text}", String::from_utf8_lossy(line))
    })
}

fn request(method: &str, host: &str, path: &str, xml: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/xml\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{xml}",
        xml.len()
    )
    .into_bytes()
}

pub(super) fn key(hex: &str) -> Option<Key> {
    Key::from_slice(&octets(hex)?)
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    digits.collect()
}
