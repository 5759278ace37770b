//! What became of deliveries, for the operator.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the node started.
#[derive(Debug, Default)]
pub struct Counters {
    confirmed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    passed_on: AtomicU64,
    carried_out: AtomicU64,
    expired: AtomicU64,
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Its contact took it.
    Confirmed,
    /// Its contact refused it for good, or is not allowed to have it any more.
    Refused,
    /// To be tried again.
    Failed,
    /// Too old to be tried again.
    GivenUp,
    /// A message reached the other subtree.
    PassedOn,
    /// An asynchronous request has its answer.
    CarriedOut,
    /// A stored request was not answered within its delay.
    Expired,
}

impl Counters {
    pub(super) fn count(&self, fate: Fate) {
        let counter = match fate {
            Fate::Confirmed => &self.confirmed,
            Fate::Refused => &self.refused,
            Fate::Failed => &self.failed,
            Fate::GivenUp => &self.given_up,
            Fate::PassedOn => &self.passed_on,
            Fate::CarriedOut => &self.carried_out,
            Fate::Expired => &self.expired,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Each with its name.
    pub fn all(&self) -> [(&'static str, u64); 7] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("confirmed", of(&self.confirmed)),
            ("refused", of(&self.refused)),
            ("failed", of(&self.failed)),
            ("given_up", of(&self.given_up)),
            ("passed_on", of(&self.passed_on)),
            ("carried_out", of(&self.carried_out)),
            ("expired", of(&self.expired)),
        ]
    }
}
