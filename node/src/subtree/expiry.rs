//! The leader's timer: has `Expire` applied when something falls due.

use super::{ShardHandle, handle::Inner};
use crate::clock;
use banyan_model::{Operation, Timestamp, apply};
use std::{sync::Arc, time::Duration};

/// Between two parts of what fell due at once: others have writes, too.
const BREATH: Duration = Duration::from_millis(20);
/// After a proposal that came to nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// The wall clock may be set meanwhile: it is looked at again after this long.
const NAP_MAX: Duration = Duration::from_secs(60);
/// An entry that takes longer than this is not waited for.
const OUTCOME_MAX: Duration = Duration::from_secs(10);

/// Runs while the replica leads; ended by whoever started it.
pub(super) async fn run(shard: Arc<Inner>) {
    loop {
        // What is told from here on is newer than what is read next.
        let told = shard.signals.take_due();
        let Ok(stored) = shard.read(|view| apply::next_due(view)) else {
            // The lease is not confirmed, or the leadership is about to go.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut due = [stored, told].into_iter().flatten().min();
        // Sooner times are told; nothing else brings one.
        while due.is_none_or(|due| clock::now() < due) {
            tokio::select! {
                () = shard.signals.due_sooner() => {
                    due = [due, shard.signals.take_due()].into_iter().flatten().min();
                }
                () = tokio::time::sleep(due.map_or(NAP_MAX, until).min(NAP_MAX)) => {}
            }
        }
        // What was to fall due may be gone.
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= clock::now());
        if shard.read(|view| apply::next_due(view)).is_ok_and(is_due) {
            tokio::time::sleep(if expire(&shard).await { BREATH } else { PAUSE }).await;
        }
    }
}

async fn expire(shard: &Arc<Inner>) -> bool {
    let handle = ShardHandle { inner: shard.clone() };
    let outcome = tokio::time::timeout(OUTCOME_MAX, handle.operate(Operation::Expire)).await;
    match outcome {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(shard = shard.shard.id.0, error, "expiry is tried again");
            false
        }
        Err(_) => false,
    }
}

fn until(due: Timestamp) -> Duration {
    let left = due.0.saturating_sub(clock::now().0);
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}
