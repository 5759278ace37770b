//! `banyan-edge`: reads settings, runs the edge, ends with 0 after a stop by signal, else says why and ends with 1.

use banyan_edge::{Config, Edge};
use clap::Parser;
use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A create allocates a few hundred times on its way (decision 6).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The mId/mIa tier of Banyan: HTTP in front, the cluster behind.
#[derive(Parser)]
#[command(name = "banyan-edge", version)]
struct Arguments {
    /// Settings in TOML (docs/configuration.md); options below go before what stands there.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Plain HTTP listener.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Health, readiness and metrics.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// A node's host:port; may stand several times.
    #[arg(long = "node")]
    nodes: Vec<String>,
    /// Scheme and authority under which subscribers reach this SCL.
    #[arg(long)]
    public_uri: Option<String>,
    /// Talk to nodes in plain text.
    #[arg(long)]
    plaintext: bool,
    /// Believe whatever From says.
    #[arg(long)]
    open: bool,
    /// Check the settings and end.
    #[arg(long)]
    check: bool,
    /// Log lines as JSON. What is logged: RUST_LOG, default `info`.
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(banyan_edge::lines::stderr);
    match arguments.log_json {
        true => log.json().init(),
        false => log.init(),
    }
    banyan_edge::dumps::off();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = &*failure, "banyan-edge ends");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let check = arguments.check;
    let config = arguments.settings()?;
    config.validate()?;
    if check {
        println!("settings are sound");
        return Ok(());
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.worker_threads > 0 {
        runtime.worker_threads(config.worker_threads);
    }
    runtime.enable_all().build()?.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    // Before anything is bound, so that no signal finds the default handler.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let edge = Edge::bind(config).await?;
    edge.serve(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await?;
    Ok(())
}

impl Arguments {
    fn settings(self) -> Result<Config, banyan_edge::ConfigError> {
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        config.listen = self.listen.or(config.listen);
        config.admin = self.admin.or(config.admin);
        config.public_uri = self.public_uri.or(config.public_uri);
        config.plaintext |= self.plaintext;
        config.open |= self.open;
        if !self.nodes.is_empty() {
            config.nodes = self.nodes;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_is_documented() {
        let page = include_str!("../../../../docs/configuration.md");
        let command = Arguments::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            let option = format!("| `--{}`", argument.get_long().expect("all have a long name"));
            assert!(page.contains(&option), "{option} is not in docs/configuration.md");
        }
    }
}
