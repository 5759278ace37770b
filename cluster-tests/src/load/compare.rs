//! `load compare`: starts three nodes, one edge, three etcd members and a server that does nothing, all on loopback
//! with their data on one disk, and prints what is compared in one run, for the host's speed drifts between runs.
//!
//! - `rates`: creates and reads of latest at several numbers of connections beside etcd's puts and the idle server;
//! - `flat`: creates and reads in a container of few and of many instances, as ratios;
//! - `slow-subscriber`: the producer's latency without and with a subscriber that takes 500 ms to answer;
//! - `discovery`: discoveries, creates and listings among few and many resources (`discovery`), only when it is asked for;
//! - `attack`: honest clients before and during attacks on the edge (`attack`), in a cluster of its own, only when it is
//!   asked for;
//! - `catch-up`: how long a node that was away during many writes needs, and how it does it.
//!
//! Everything it starts ends with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::binaries;
use crate::catch_up;
use crate::cluster::{Cluster, Config};
use crate::device::Device;
use crate::load::attack;
use crate::load::discovery;
use crate::load::etcd::EtcdCluster;
use crate::load::observe::Observed;
use crate::load::pace::{Pace, drive};
use crate::load::report::{Row, row, table};
use crate::load::work::{Container, HttpWorker, Work, limited, set_up};
use crate::process::{POLL, Process};
use crate::subscriber::Subscriber;
use crate::{body, oracle};

/// Connections in the tables other than `rates`.
const CONNECTIONS: usize = 64;
/// How long the slow subscriber takes to answer.
const SLOW_ANSWER: Duration = Duration::from_millis(500);
/// How often an A-B comparison alternates.
const ROUNDS: usize = 3;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// Requests a second against etcd and the idle server.
    Rates,
    /// Few against many instances in the container.
    Flat,
    /// A subscriber that takes 500 ms.
    SlowSubscriber,
    /// A node that was away.
    CatchUp,
    /// Discoveries, creates and listings among few and many resources; not one of the default ones.
    Discovery,
    /// Honest clients while an edge is attacked; not one of the default ones.
    Attack,
}

/// Options of `load compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which tables; all of them by default.
    #[arg(value_enum)]
    tables: Vec<Table>,
    /// Connections of the rows of `rates`.
    #[arg(short, long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<usize>,
    /// Seconds a row.
    #[arg(short, long, default_value_t = 10.0)]
    seconds: f64,
    /// Bytes of random content or value.
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Containers under load, each in an application of its own.
    #[arg(long, default_value_t = 64)]
    containers: usize,
    /// Shards of the cluster.
    #[arg(long, default_value_t = 16)]
    shards: u64,
    /// Instances in the small and the large container of `flat`.
    #[arg(long, value_delimiter = ',', default_value = "1000,500000")]
    instances: Vec<u64>,
    /// Writes that the node of `catch-up` misses.
    #[arg(long, default_value_t = 100_000)]
    missed: u64,
    /// Resources of `discovery`, one size after the other; what is looked for comes with the first.
    #[arg(long, value_delimiter = ',', default_value = "20000,200000")]
    resources: Vec<u64>,
    /// Requests a second of honest clients of either kind in `attack`: well below what the machine can.
    #[arg(long, default_value_t = 200.0)]
    honest_rate: f64,
    /// HTTP/2 connections to etcd at most; the puts in flight share them. One to each member suits etcd best: with one
    /// for each put it reached half as many puts a second at 256.
    #[arg(long, default_value_t = 3)]
    etcd_channels: usize,
    /// Only etcd and the idle server, to learn how fast the machine is today.
    #[arg(long)]
    yardsticks_only: bool,
    /// Without etcd (it need not be installed then).
    #[arg(long)]
    no_etcd: bool,
    /// Where the data goes; a temporary folder that is deleted by default.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Writes all rows into this file as JSON too.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Options {
    fn wants(&self, table: Table) -> bool {
        // To fill a tree takes minutes, and leaves a cluster behind that the other tables are not about.
        let by_default = self.tables.is_empty() && !matches!(table, Table::Discovery | Table::Attack);
        by_default || self.tables.contains(&table)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// Runs the comparison and prints its tables.
///
/// # Errors
/// What could not be started or answered.
pub async fn run(options: Options) -> Result<(), String> {
    let temporary = match &options.folder {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("banyan-load-").tempdir().map_err(text)?),
    };
    let folder = match (&options.folder, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err("no folder".to_owned()),
    };
    if options.yardsticks_only {
        return rates(&options, None, &folder).await.map(drop);
    }
    if options.wants(Table::Attack) {
        attack::run(&folder.join("attacked"), options.duration(), options.honest_rate).await?;
        if options.tables.iter().all(|table| *table == Table::Attack) {
            return Ok(());
        }
    }
    let config = Config {
        edges: 1,
        shards: options.shards,
        folder: Some(folder.join("banyan")),
        log: "warn".to_owned(),
        ..Config::default()
    };
    let mut cluster = Cluster::start(binaries::build(), config).await;
    println!("nodes and edge: {:?}; data in {}", cluster.pids(), folder.display());
    let mut all = Vec::new();
    if options.wants(Table::Rates) {
        all.extend(rates(&options, Some(&cluster), &folder).await?);
    }
    if options.wants(Table::Flat) {
        all.extend(flat(&options, &cluster).await?);
    }
    if options.wants(Table::SlowSubscriber) {
        all.extend(slow_subscriber(&options, &cluster).await?);
    }
    if options.wants(Table::CatchUp) {
        catch_up_table(&options, &mut cluster).await?;
    }
    if options.wants(Table::Discovery) {
        all.extend(discovery::run(&cluster, &options.resources, options.duration()).await?);
    }
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(&all).map_err(text)?;
        std::fs::write(file, json).map_err(text)?;
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn all_of(cluster: &Cluster) -> Observed {
    Observed { pids: cluster.pids(), admins: cluster.node_admins() }
}

/// The rows of every number of connections, yardsticks and cluster in turn. Without a cluster: the yardsticks.
async fn rates(options: &Options, cluster: Option<&Cluster>, folder: &Path) -> Result<Vec<Row>, String> {
    let containers: Rc<[Container]> = match cluster {
        Some(cluster) => {
            set_up(&cluster.edges()[0], "rates", options.containers, options.bytes).await?.into()
        }
        None => Rc::from([Container::new("localhost", "/m2m/idle", "/m2m/idle", options.bytes)]),
    };
    let etcd = if options.no_etcd {
        None
    } else {
        let folder = folder.join("etcd");
        std::fs::create_dir_all(&folder).map_err(text)?;
        Some(EtcdCluster::start(&folder).await.map_err(text)?)
    };
    let (idle, address) = do_nothing(folder).await?;
    let idle_seen = Observed { pids: vec![idle.id()], admins: Vec::new() };
    let duration = options.duration();
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for (seed, &count) in options.connections.iter().enumerate() {
        let seed = seed as u64 * 1_000;
        let http = |to: &[String], work| HttpWorker::many(to, &containers, work, count, seed);
        let to_idle = |work| http(std::slice::from_ref(&address), work);
        rows.push(row("do-nothing POST", &mut to_idle(Work::Create), &idle_seen, duration).await?.0);
        let (get, _) = row("do-nothing GET", &mut to_idle(Work::Latest), &idle_seen, duration).await?;
        let mut ratio = format!("c={count}:");
        let mut put_rate = None;
        if let Some(etcd) = &etcd {
            let seen = Observed { pids: etcd.pids(), admins: Vec::new() };
            let mut workers =
                etcd.workers(count, options.etcd_channels, options.bytes, seed).map_err(text)?;
            let (put, _) = row("etcd put", &mut workers, &seen, duration).await?;
            put_rate = Some(put.per_second);
            rows.push(put);
        }
        if let Some(cluster) = cluster {
            let (banyan, edges) = (all_of(cluster), cluster.edges());
            let (create, _) =
                row("banyan create", &mut http(&edges, Work::Create), &banyan, duration).await?;
            let (latest, _) =
                row("banyan latest", &mut http(&edges, Work::Latest), &banyan, duration).await?;
            let mixed = Work::Mix { reads_percent: 80 };
            let (mix, _) = row("banyan 80% latest", &mut http(&edges, mixed), &banyan, duration).await?;
            if let Some(put_rate) = put_rate {
                ratio.push_str(&format!(" creates / etcd puts {:.2},", create.per_second / put_rate));
            }
            ratio.push_str(&format!(" latest / do-nothing GET {:.2}", latest.per_second / get.per_second));
            rows.extend([create, latest, mix]);
            ratios.push(ratio);
        }
        rows.push(get);
    }
    println!("\n{}\n\n{}", table(&rows), ratios.join("\n"));
    Ok(rows)
}

/// The idle server in a process of its own; its address is the first line it prints.
async fn do_nothing(folder: &Path) -> Result<(Process, String), String> {
    let mut command = Command::new(std::env::current_exe().map_err(text)?);
    command.args(["do-nothing", "--listen", "127.0.0.1:0"]);
    let process = Process::start("do-nothing", command, folder).map_err(text)?;
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(address) = process.log().lines().last() {
            return Ok((process, address.to_owned()));
        }
        if Instant::now() > until {
            return Err("the do-nothing server does not listen".to_owned());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Containers that are full: each create evicts one instance, so both keep their size while they are measured.
async fn flat(options: &Options, cluster: &Cluster) -> Result<Vec<Row>, String> {
    let [small, large] = options.instances[..] else {
        return Err("--instances wants two numbers".to_owned());
    };
    let edges = cluster.edges();
    let mut containers: Vec<Rc<[Container]>> = Vec::new();
    for instances in [small, large] {
        let container = limited(&edges[0], &format!("flat-{instances}"), instances, options.bytes).await?;
        let full = container.path.clone();
        let container: Rc<[Container]> = Rc::from([container]);
        let mut workers = HttpWorker::many(&edges, &container, Work::Create, 256, instances);
        let start = Instant::now();
        loop {
            let held = number_of_instances(&edges[0], &full).await?;
            if held >= instances {
                break;
            }
            if start.elapsed() > Duration::from_secs(900) {
                return Err(format!("{full} holds {held} of {instances} instances after 15 minutes"));
            }
            drive(&mut workers, Pace::Closed, Duration::from_secs(1)).await;
        }
        eprintln!("{full} holds {instances} instances after {:?}", start.elapsed());
        containers.push(container);
    }
    let banyan = all_of(cluster);
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for (name, work) in [("create", Work::Create), ("latest", Work::Latest)] {
        let mut rate = [0.0; 2];
        for round in 0..ROUNDS {
            // Small and large change places, so that a drift of the host's speed favours neither.
            for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let mut workers =
                    HttpWorker::many(&edges, &containers[which], work, CONNECTIONS, round as u64);
                let what = format!("{name}, {} instances", [small, large][which]);
                let (row, _) = row(&what, &mut workers, &banyan, options.duration()).await?;
                rate[which] += row.per_second / ROUNDS as f64;
                rows.push(row);
            }
        }
        ratios.push(format!("{name}: {large} / {small} instances = {:.2}", rate[1] / rate[0]));
    }
    println!("\n{}\n\n{}", table(&rows), ratios.join("\n"));
    Ok(rows)
}

/// currentNrOfInstances of a container, by partial addressing: the whole collection would carry every instance.
async fn number_of_instances(edge: &str, container: &str) -> Result<u64, String> {
    let owner = container.split("/containers/").next().unwrap_or_default();
    let mut device = Device::new([edge], owner);
    let path = format!("{container}/contentInstances/currentNrOfInstances");
    let reply = device.retrieve(&path).await.map_err(text)?;
    body::element(&String::from_utf8_lossy(&reply.body), "currentNrOfInstances")
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| format!("GET {path}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)))
}

/// Two containers alike, one with a subscriber that takes 500 ms to answer; the producer's medians in turn.
async fn slow_subscriber(options: &Options, cluster: &Cluster) -> Result<Vec<Row>, String> {
    let edges = cluster.edges();
    let subscriber = Subscriber::start().await;
    subscriber.answer_after(SLOW_ANSWER);
    let plain = limited(&edges[0], "unwatched", 10_000, options.bytes).await?;
    let watched = limited(&edges[0], "watched", 10_000, options.bytes).await?;
    let owner = watched.path.split("/containers/").next().unwrap_or_default().to_owned();
    let mut device = Device::new([&edges[0]], &owner);
    let collection = format!("{}/contentInstances/subscriptions", watched.path);
    let reply = device
        .create(&collection, &body::subscription("slow", &subscriber.contact("/slow")))
        .await
        .map_err(text)?;
    if reply.status != 201 {
        return Err(format!("POST {collection}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)));
    }
    let containers: [Rc<[Container]>; 2] = [Rc::from([plain]), Rc::from([watched])];
    let banyan = all_of(cluster);
    let mut rows = Vec::new();
    let mut medians = [0.0; 2];
    for round in 0..ROUNDS {
        for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let mut workers = HttpWorker::many(&edges, &containers[which], Work::Create, 16, round as u64);
            let what = ["create, no subscriber", "create, slow subscriber"][which];
            let (row, measured) = row(what, &mut workers, &banyan, options.duration()).await?;
            medians[which] += measured.quantile_ms(0.5) / ROUNDS as f64;
            rows.push(row);
        }
    }
    let notified = subscriber.received("/slow").len();
    println!(
        "\n{}\n\nproducer's p50 with / without the slow subscriber = {:.2}; {notified} notifies delivered",
        table(&rows),
        medians[1] / medians[0]
    );
    if notified == 0 {
        return Err("the slow subscriber got no notify: the figures mean nothing".to_owned());
    }
    Ok(rows)
}

/// Kills a node, writes, starts it again under a steady light load, and waits until it has what the others have.
async fn catch_up_table(options: &Options, cluster: &mut Cluster) -> Result<(), String> {
    let edges = cluster.edges();
    let containers: Rc<[Container]> =
        set_up(&edges[0], "away", options.containers, options.bytes).await?.into();
    let away = cluster.len() - 1;
    cluster.kill_node(away);
    let mut workers = HttpWorker::many(&edges, &containers, Work::Create, 256, 7);
    let mut missed = 0;
    while missed < options.missed {
        let measured = drive(&mut workers, Pace::Closed, Duration::from_secs(1)).await;
        missed += measured.succeeded();
        if measured.succeeded() == 0 {
            eprintln!("no write succeeded for a second: {:?}", measured.errors);
        }
    }
    cluster.start_node(away);
    let mut background = HttpWorker::many(&edges, &containers, Work::Create, 16, 8);
    let caught_up = {
        let waiting = catch_up::wait(cluster, away, Duration::from_secs(300));
        tokio::pin!(waiting);
        loop {
            let pace = Pace::Fixed { per_second: 200.0 };
            let going_on = drive(&mut background, pace, Duration::from_millis(500));
            tokio::pin!(going_on);
            // The load must end its requests; the wait is looked at meanwhile.
            tokio::select! {
                caught_up = &mut waiting => {
                    going_on.await;
                    break caught_up?;
                }
                _ = &mut going_on => {}
            }
        }
    };
    println!(
        "\na node that missed {missed} writes had everything {:.1} s after its start (opening included), {}; the others took 200 writes/s meanwhile",
        caught_up.took.as_secs_f64(),
        match caught_up.snapshots_installed {
            0 => "by log".to_owned(),
            snapshots => format!("{snapshots} groups by snapshot, the rest by log"),
        }
    );
    // The history behind the figure: nothing may have been lost on the way.
    let mut device = Device::new(edges, "/m2m/applications/load-away-0");
    let collection = format!("{}/contentInstances", containers[0].path);
    let held = oracle::stored(&mut device, &collection).await?.len();
    println!("the first container holds {held} instances");
    Ok(())
}
