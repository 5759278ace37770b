//! Logs: lines to stderr, as text or JSON. What is logged: `RUST_LOG`, default `info`.

use tracing_subscriber::{EnvFilter, filter::Directive, fmt::MakeWriter};

/// openraft tells every vote and every message of an election at `info`; it is heard only when asked for by name.
const QUIET: &str = "openraft";

/// Begins to log into `lines`, which keeps each event a line; once a process.
pub fn start<W>(json: bool, lines: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let mut filter = EnvFilter::try_new(&asked)
        .ok()
        .filter(|_| !asked.is_empty())
        .unwrap_or_else(|| EnvFilter::new("info"));
    if !asked.contains(QUIET)
        && let Ok(quiet) = format!("{QUIET}=warn").parse::<Directive>()
    {
        filter = filter.add_directive(quiet);
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(lines);
    match json {
        true => log.json().init(),
        false => log.init(),
    }
}
