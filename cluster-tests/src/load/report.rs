//! The table and the JSON of a run.

use std::time::Duration;

use serde::Serialize;

use crate::load::observe::{Observed, Spent};
use crate::load::pace::{Measured, Pace, Worker, drive};

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Connections.
    pub connections: usize,
    /// Successful requests a second.
    pub per_second: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Longest in milliseconds.
    pub max_ms: f64,
    /// Requests that succeeded.
    pub succeeded: u64,
    /// Requests that failed, by what was wrong.
    pub errors: std::collections::BTreeMap<String, u64>,
    /// CPU microseconds a request, all observed processes together.
    pub cpu_us_per_request: Option<f64>,
    /// Resident memory of all observed processes together at the end, MiB.
    pub resident_mib: Option<f64>,
    /// Acknowledged requests per sync of one node's log.
    pub requests_per_sync: Option<f64>,
}

impl Row {
    /// From a measurement and what the machine spent meanwhile.
    pub fn new(what: impl Into<String>, connections: usize, measured: &Measured, spent: Spent) -> Row {
        let succeeded = measured.succeeded();
        let each = |total: f64| if succeeded == 0 { 0.0 } else { total / succeeded as f64 };
        Row {
            what: what.into(),
            connections,
            per_second: measured.rate(),
            p50_ms: measured.quantile_ms(0.5),
            p99_ms: measured.quantile_ms(0.99),
            max_ms: measured.latency_us.max() as f64 / 1_000.0,
            succeeded,
            errors: measured.errors.clone(),
            cpu_us_per_request: spent.cpu.map(|cpu| each(cpu.as_secs_f64() * 1e6)),
            resident_mib: spent.resident_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)),
            requests_per_sync: spent.syncs.filter(|syncs| *syncs > 0.0).map(|syncs| succeeded as f64 / syncs),
        }
    }
}

/// One row: a warm-up of a fifth of the time, then the measurement between two looks at what the machine spent.
///
/// # Errors
/// An observed process is gone.
pub async fn row<W: Worker>(
    what: &str,
    workers: &mut [W],
    observed: &Observed,
    duration: Duration,
) -> Result<(Row, Measured), String> {
    drive(workers, Pace::Closed, duration / 5).await;
    let before = observed.look().await.map_err(|e| e.to_string())?;
    let measured = drive(workers, Pace::Closed, duration).await;
    let after = observed.look().await.map_err(|e| e.to_string())?;
    let row = Row::new(what, workers.len(), &measured, observed.spent(&before, &after));
    eprintln!("{} at {}: {:.0}/s", row.what, row.connections, row.per_second);
    Ok((row, measured))
}

/// The rows as a Markdown table, which reads as plain text too.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| what                     |    c |  per s | p50 ms | p99 ms |  max ms | errors | CPU us | RSS MiB | per sync |"
            .to_owned(),
        "|--------------------------|-----:|-------:|-------:|-------:|--------:|-------:|-------:|--------:|---------:|"
            .to_owned(),
    ];
    let optional =
        |value: Option<f64>, decimals: usize| value.map_or("-".to_owned(), |v| format!("{v:.decimals$}"));
    for row in rows {
        lines.push(format!(
            "| {:<24} | {:>4} | {:>6.0} | {:>6.2} | {:>6.2} | {:>7.1} | {:>6} | {:>6} | {:>7} | {:>8} |",
            row.what,
            row.connections,
            row.per_second,
            row.p50_ms,
            row.p99_ms,
            row.max_ms,
            row.errors.values().sum::<u64>(),
            optional(row.cpu_us_per_request, 0),
            optional(row.resident_mib, 0),
            optional(row.requests_per_sync, 1),
        ));
    }
    for row in rows.iter().filter(|row| !row.errors.is_empty()) {
        lines.push(format!("errors of {} at {}: {:?}", row.what, row.connections, row.errors));
    }
    lines.join("\n")
}
