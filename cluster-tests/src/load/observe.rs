//! What the machine spent during a run: CPU and memory of processes, syncs of the nodes' logs.

use std::time::Duration;

use crate::metrics::Metrics;
use crate::process::{cpu_time, resident_bytes};

/// The counter of log syncs at a node's `/metrics`: one for each write to disk that was waited for.
pub const SYNCS: &str = "banyan_log_syncs_total";

/// The processes and nodes to look at.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Admin addresses of the nodes.
    pub admins: Vec<String>,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Look {
    cpu: Duration,
    /// Resident memory of all processes together.
    pub resident_bytes: u64,
    syncs: Option<f64>,
}

/// The difference of two looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// CPU time of all observed processes together; `None` when none was observed.
    pub cpu: Option<Duration>,
    /// Resident memory at the end, all together.
    pub resident_bytes: Option<u64>,
    /// Syncs per node, on average; `None` when no node tells.
    pub syncs: Option<f64>,
}

impl Observed {
    /// Looks now.
    ///
    /// # Errors
    /// An observed process is gone.
    pub async fn look(&self) -> std::io::Result<Look> {
        let mut look = Look::default();
        for pid in &self.pids {
            look.cpu += cpu_time(*pid)?;
            look.resident_bytes += resident_bytes(*pid)?;
        }
        let mut total = 0.0;
        for admin in &self.admins {
            let metrics = Metrics::read(admin).await.map_err(std::io::Error::other)?;
            let Some(syncs) = metrics.sum(SYNCS) else { return Ok(look) };
            total += syncs;
        }
        look.syncs = (!self.admins.is_empty()).then_some(total);
        Ok(look)
    }

    /// What was spent between two looks.
    pub fn spent(&self, before: &Look, after: &Look) -> Spent {
        let observed = !self.pids.is_empty();
        let nodes = self.admins.len() as f64;
        Spent {
            cpu: observed.then(|| after.cpu.saturating_sub(before.cpu)),
            resident_bytes: observed.then_some(after.resident_bytes),
            syncs: after.syncs.zip(before.syncs).map(|(after, before)| (after - before) / nodes),
        }
    }
}
