//! What the parts of one group's replica share, and may look at without asking openraft's core.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use crate::Config;
use crate::proposal::InFlight;
use crate::snapshot::Outbound;
use crate::types::LogId;

/// Held by whatever holds a handle of the store. openraft's tasks go a moment after its core; a folder can be opened
/// again only when they have let go.
pub(crate) type Held = mpsc::Sender<Infallible>;

pub(crate) struct Shared {
    pub(crate) node: u64,
    pub(crate) group: u64,
    pub(crate) snapshot_dir: PathBuf,
    /// Node-wide: the copies and transfers of snapshots that may run at the same time.
    pub(crate) snapshot_permits: Arc<Semaphore>,
    pub(crate) in_flight: Arc<InFlight>,
    /// The copy that followers are being sent, kept while a broken transfer may go on.
    pub(crate) outbound: Outbound,
    /// How many entries a kept copy may be behind: half of what the log keeps, so that the log can follow it.
    pub(crate) copy_age_max: u64,
    /// This replica has a vote.
    pub(crate) voter: AtomicBool,
    /// It has the only one: it is every quorum itself, and no answer to a heartbeat will ever say so.
    pub(crate) alone: AtomicBool,
    /// Until then this replica neither votes nor campaigns: before it stopped it may have promised a lease that
    /// still holds, and openraft forgets that promise with the process.
    pub(crate) silent_until: Instant,
    /// This replica votes for nobody before its log reaches this index: it began anew after the group had let go of an
    /// older one, which somebody who has not heard of that may still ask for its vote.
    pub(crate) votes_from: u64,
    /// Proposals are turned away and reads refused: the leadership is on its way to another node.
    pub(crate) leaving: AtomicBool,
    applied_term: AtomicU64,
    applied_index: AtomicU64,
    /// Since the replica started.
    pub(crate) snapshots_installed: AtomicU64,
    stopped: OnceLock<String>,
}

impl Shared {
    pub(crate) fn new(
        (node, group): (u64, u64),
        config: &Config,
        snapshot_dir: PathBuf,
        snapshot_permits: Arc<Semaphore>,
        silent_for: Duration,
        votes_from: u64,
    ) -> Shared {
        Shared {
            node,
            group,
            snapshot_dir,
            snapshot_permits,
            in_flight: Arc::default(),
            outbound: Outbound::default(),
            copy_age_max: config.log_keep_entries / 2,
            voter: AtomicBool::new(true),
            alone: AtomicBool::new(false),
            silent_until: Instant::now() + silent_for,
            votes_from,
            leaving: AtomicBool::new(false),
            applied_term: AtomicU64::new(0),
            applied_index: AtomicU64::new(0),
            snapshots_installed: AtomicU64::new(0),
            stopped: OnceLock::new(),
        }
    }

    /// Called when the state up to `last` is visible.
    pub(crate) fn set_applied(&self, last: Option<LogId>) {
        if let Some(last) = last {
            self.applied_index.store(last.index, Ordering::Release);
            self.applied_term.store(*last.leader_id, Ordering::Release);
        }
    }

    /// The term of the last visible entry. A leader begins its term with an entry of its own, so once this is the
    /// leader's term, everything acknowledged before is visible.
    pub(crate) fn applied_term(&self) -> u64 {
        self.applied_term.load(Ordering::Acquire)
    }

    pub(crate) fn is_silent(&self) -> bool {
        Instant::now() < self.silent_until
    }

    /// This replica goes no further; the first reason is the one that counts.
    pub(crate) fn stop(&self, reason: String) {
        if self.stopped.set(reason).is_ok() {
            tracing::error!(group = self.group, reason = self.stopped(), "raft replica stopped");
        }
    }

    /// The node is leaving, or has let go of this replica.
    pub(crate) fn shut_down(&self) {
        let _ = self.stopped.set("shut down".to_owned());
    }

    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }
}
