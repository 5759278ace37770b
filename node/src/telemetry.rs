//! Logs: lines to stderr, as text or JSON. What is logged: `RUST_LOG`, default `info`.

use tracing_subscriber::EnvFilter;

/// Begins to log; once a process.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match json {
        true => log.json().init(),
        false => log.init(),
    }
}
