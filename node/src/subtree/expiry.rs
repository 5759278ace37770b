//! The leader's timer: has `Expire` applied when something falls due, and now and then for sessions that ended.

use super::{
    ShardHandle,
    handle::Inner,
    view::{View, ViewError},
};
use crate::clock;
use banyan_model::{
    Operation, Timestamp, TreeView,
    key::{Key, Range},
};
use std::{ops::ControlFlow, sync::Arc, time::Duration};
use tokio::time::Instant;

/// After a proposal that came to nothing, or did not get on.
const PAUSE: Duration = Duration::from_millis(500);
/// The wall clock may be set meanwhile: it is looked at again after this long.
const NAP_MAX: Duration = Duration::from_secs(60);
/// An entry that takes longer than this is not waited for.
const OUTCOME_MAX: Duration = Duration::from_secs(10);

/// Runs while the replica leads; ended by whoever started it.
pub(super) async fn run(shard: Arc<Inner>) {
    let mut housekeeping = Instant::now() + shard.config.housekeeping;
    loop {
        // What is told from here on is newer than what is read next.
        let told = shard.signals.take_due();
        let Ok(stored) = shard.read(first_due) else {
            // The lease is not confirmed, or the leadership is about to go.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut due = [stored, told].into_iter().flatten().min();
        // Sooner times are told; nothing else brings one.
        while due.is_none_or(|due| clock::now() < due) && Instant::now() < housekeeping {
            let nap = Instant::now() + due.map_or(NAP_MAX, until).min(NAP_MAX);
            tokio::select! {
                () = shard.signals.due_sooner() => {
                    due = [due, shard.signals.take_due()].into_iter().flatten().min();
                }
                () = tokio::time::sleep_until(nap.min(housekeeping)) => {}
            }
        }
        // What was to fall due may be gone.
        let is_due = shard.read(first_due).is_ok_and(|due| due.is_some_and(|due| due <= clock::now()));
        let is_time = housekeeping <= Instant::now();
        if is_time {
            housekeeping = Instant::now() + shard.config.housekeeping;
        }
        if is_due || (is_time && shard.read(has_sessions).unwrap_or(false)) {
            let gets_on = expire(&shard).await && shard.read(first_due).is_ok_and(|next| next != stored);
            if is_due && !gets_on {
                tokio::time::sleep(PAUSE).await;
            }
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

fn first_due(view: &View<'_>) -> Result<Option<Timestamp>, ViewError> {
    let mut first = None;
    view.scan(&Range::due_until(Timestamp(i64::MAX)), false, &mut |key, _| {
        first = Some(Key::due_at(key).ok_or_else(|| view.corrupt(key)));
        ControlFlow::Break(())
    })?;
    first.transpose()
}

fn has_sessions(view: &View<'_>) -> Result<bool, ViewError> {
    let mut found = false;
    view.scan(&Range::sessions(), false, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}
