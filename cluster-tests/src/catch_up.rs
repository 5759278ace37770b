//! A node that was away: has it caught up, how long did it take, and by log or by snapshot?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::process::POLL;

/// How a node caught up.
#[derive(Clone, Copy, Debug)]
pub struct CaughtUp {
    /// From the call until everything that was committed at the call is applied on the node.
    pub took: Duration,
    /// Snapshots that the node installed since it was started.
    pub snapshots_installed: u64,
    /// Entries that were committed at the call, all groups together.
    pub committed: u64,
}

/// Committed index of each group, as the nodes other than `away` know it.
///
/// # Panics
/// None of them answers within 20 s.
pub async fn committed(cluster: &Cluster, away: usize) -> BTreeMap<u64, u64> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let mut committed: BTreeMap<u64, u64> = BTreeMap::new();
        for index in (0..cluster.len()).filter(|&index| index != away) {
            let Ok(status) = cluster.status(index).await else { continue };
            for group in status.groups {
                let known = committed.entry(group.group).or_default();
                *known = (*known).max(group.committed_index);
            }
        }
        if !committed.is_empty() {
            return committed;
        }
        assert!(Instant::now() < until, "no node tells its groups");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `node`, which was just started again, has applied everything that the others have committed by now.
///
/// # Errors
/// What is still missing after `within`: group, applied, wanted.
pub async fn wait(cluster: &Cluster, node: usize, within: Duration) -> Result<CaughtUp, String> {
    let start = Instant::now();
    let wanted = committed(cluster, node).await;
    loop {
        let mut missing = Vec::new();
        let mut snapshots_installed = 0;
        match cluster.status(node).await {
            Ok(status) => {
                let groups: BTreeMap<u64, _> =
                    status.groups.iter().map(|group| (group.group, group)).collect();
                for (group, wanted) in &wanted {
                    let applied = groups.get(group).map_or(0, |status| status.applied_index);
                    snapshots_installed += groups.get(group).map_or(0, |status| status.snapshots_installed);
                    if applied < *wanted {
                        missing.push(format!("group {group}: {applied} of {wanted}"));
                    }
                }
            }
            Err(error) => missing.push(error.to_string()),
        }
        if missing.is_empty() {
            let committed = wanted.values().sum();
            return Ok(CaughtUp { took: start.elapsed(), snapshots_installed, committed });
        }
        if start.elapsed() > within {
            return Err(missing.join(", "));
        }
        tokio::time::sleep(POLL).await;
    }
}
