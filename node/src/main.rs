//! `banyan`: the cluster member, the gateway, the try-out, the demo and the operator's questions as commands of one program. Ends
//! with 0 when all went well, else says why and ends with 1.

use banyan::{
    config,
    roles::{demo, dev, gateway, node},
    telemetry,
};
use clap::{Parser, Subcommand};
use std::{error::Error, process::ExitCode, time::Duration};

/// A create allocates a few hundred times on its way (decision 6).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A replicated ETSI M2M Service Capability Layer.
#[derive(Parser)]
#[command(name = "banyan", version)]
struct Program {
    /// Log lines as JSON. What is logged: RUST_LOG, default `info`.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A member of a cluster.
    Node(Box<config::Arguments>),
    /// A GSCL: a tree of its own for device applications, registered at an NSCL.
    Gateway(gateway::Arguments),
    /// Three nodes and an edge in this process on loopback, for a first try.
    Dev(dev::Arguments),
    /// Plays a story against an SCL in open mode, shows every answer and checks it.
    Demo {
        /// Address of sclBase.
        #[arg(long, default_value = "http://127.0.0.1:8080/m2m")]
        url: String,
    },
    /// Asks a node.
    Ctl(banyan_ctl::Arguments),
}

fn main() -> ExitCode {
    let program = Program::parse();
    telemetry::start(program.log_json, banyan_edge::lines::stderr);
    banyan_edge::dumps::off();
    match run(program.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = &*failure, "banyan ends");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    let workers = match &command {
        Command::Node(arguments) => arguments.workers()?,
        Command::Gateway(arguments) => arguments.workers()?,
        Command::Dev(_) => std::thread::available_parallelism().map_or(1, usize::from),
        Command::Demo { .. } | Command::Ctl(_) => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let outcome: Result<(), Box<dyn Error>> = runtime.block_on(async {
        match command {
            Command::Node(arguments) => node::run(*arguments).await?,
            Command::Gateway(arguments) => gateway::run(arguments).await?,
            Command::Dev(arguments) => dev::run(arguments).await?,
            Command::Demo { url } => demo::play(&url, None).await?,
            Command::Ctl(arguments) => banyan_ctl::run(arguments).await?,
        }
        Ok(())
    });
    // Whatever still blocks on a disk that does not answer must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
