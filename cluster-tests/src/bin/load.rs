//! The load generator. `load --help` tells; `cargo load compare` prints the tables against etcd and a server that does
//! nothing.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use cluster_tests::load::compare;
use cluster_tests::load::etcd;
use cluster_tests::load::gateways;
use cluster_tests::load::handshakes;
use cluster_tests::load::nothing;
use cluster_tests::load::observe::Observed;
use cluster_tests::load::pace::{Measured, Pace, Worker, drive};
use cluster_tests::load::report::{Row, table};
use cluster_tests::load::work::{Container, HttpWorker, Work, set_up};

#[derive(Parser)]
#[command(about = "Load for Banyan, and the yardsticks it is compared with")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends requests to running edges (or another HTTP server).
    Run(Run),
    /// Puts random values into a running etcd.
    Etcd(Etcd),
    /// Serves HTTP and does nothing, until it is ended.
    DoNothing {
        /// Address to listen at.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Registers many gateways over mId with pre-shared keys and keeps them.
    Gateways(gateways::Options),
    /// Makes handshakes with pre-shared keys, suite by suite, and with certificates.
    Handshakes(handshakes::Options),
    /// Writes random root keys for `gateways`, in the form that `banyan ctl keys seal` takes.
    GatewayKeys(gateways::KeyOptions),
    /// Starts a cluster and the yardsticks itself and prints the tables.
    Compare(compare::Options),
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// CREATE of contentInstances.
    Create,
    /// RETRIEVE of latest.
    Latest,
    /// Both; see --reads-percent.
    Mix,
}

#[derive(clap::Args)]
struct Paced {
    /// Connections, one request in flight on each; several values give several rows.
    #[arg(short, long, value_delimiter = ',', default_value = "64")]
    connections: Vec<usize>,
    /// Seconds a row, after a warm-up of a fifth of it.
    #[arg(short, long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second on a fixed schedule; without it each connection sends as soon as it has its answer.
    #[arg(short, long)]
    rate: Option<f64>,
    /// Bytes of random content.
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Process ids whose CPU and memory are reported.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// Admin addresses of nodes whose syncs are reported.
    #[arg(long, value_delimiter = ',')]
    admins: Vec<String>,
    /// Seed of the random contents.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Run {
    /// What to send.
    #[arg(value_enum)]
    what: What,
    /// HTTP addresses, host:port; connections spread over them.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:8080")]
    edges: Vec<String>,
    /// Containers, each in an application of its own.
    #[arg(long, default_value_t = 64)]
    containers: usize,
    /// Part of the applications' names; runs of the same name share their containers.
    #[arg(long, default_value = "run")]
    name: String,
    /// Retrieves in a hundred requests of a mix.
    #[arg(long, default_value_t = 80)]
    reads_percent: u8,
    /// The server does nothing: no containers are made in it.
    #[arg(long)]
    no_set_up: bool,
    #[command(flatten)]
    paced: Paced,
}

#[derive(clap::Args)]
struct Etcd {
    /// Client URLs of the members.
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// HTTP/2 connections at most; the puts in flight share them.
    #[arg(long, default_value_t = 3)]
    channels: usize,
    #[command(flatten)]
    paced: Paced,
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments.command)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Run(run) => send(run).await,
        Command::Etcd(etcd) => put(etcd).await,
        Command::DoNothing { listen } => {
            let listener = tokio::net::TcpListener::bind(listen).await.map_err(|e| e.to_string())?;
            println!("{}", listener.local_addr().map_err(|e| e.to_string())?);
            nothing::serve(listener).await.map_err(|e| e.to_string())
        }
        Command::Gateways(options) => gateways::run(options).await,
        Command::Handshakes(options) => handshakes::run(options).await,
        Command::GatewayKeys(options) => gateways::make_keys(&options),
        Command::Compare(options) => compare::run(options).await,
    }
}

async fn send(run: Run) -> Result<(), String> {
    let (work, name) = match run.what {
        What::Create => (Work::Create, "create".to_owned()),
        What::Latest => (Work::Latest, "latest".to_owned()),
        What::Mix => {
            (Work::Mix { reads_percent: run.reads_percent }, format!("mix {}% reads", run.reads_percent))
        }
    };
    let containers: Rc<[Container]> = if run.no_set_up {
        Rc::from([Container::new(&run.edges[0], "/m2m/nothing", "/m2m/nothing", run.paced.bytes)])
    } else {
        set_up(&run.edges[0], &run.name, run.containers, run.paced.bytes).await?.into()
    };
    let paced = run.paced;
    rows(&paced, &name, |count| Ok(HttpWorker::many(&run.edges, &containers, work, count, paced.seed))).await
}

async fn put(options: Etcd) -> Result<(), String> {
    let paced = options.paced;
    rows(&paced, "etcd put", |count| {
        etcd::workers(&options.endpoints, count, options.channels, paced.bytes, paced.seed)
            .map_err(|e| e.to_string())
    })
    .await
}

async fn rows<W: Worker>(
    paced: &Paced,
    name: &str,
    mut workers: impl FnMut(usize) -> Result<Vec<W>, String>,
) -> Result<(), String> {
    let observed = Observed { pids: paced.pids.clone(), admins: paced.admins.clone() };
    let pace = paced.rate.map_or(Pace::Closed, |per_second| Pace::Fixed { per_second });
    let mut rows = Vec::new();
    for &count in &paced.connections {
        let mut workers = workers(count)?;
        let duration = Duration::from_secs_f64(paced.seconds);
        drive(&mut workers, pace, duration / 5).await;
        let before = observed.look().await.map_err(|e| e.to_string())?;
        let measured: Measured = drive(&mut workers, pace, duration).await;
        let after = observed.look().await.map_err(|e| e.to_string())?;
        rows.push(Row::new(name, count, &measured, observed.spent(&before, &after)));
    }
    if paced.json {
        println!("{}", serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?);
    } else {
        println!("{}", table(&rows));
    }
    Ok(())
}
