//! Hears from the keys' group what may not be used any more, and ends it here.
//!
//! The leader holds the question for half a second at most: one that leads no more, without knowing it, is noticed soon
//! enough for a revocation to bite within a second.

use super::{Keys, Sessions};
use crate::metrics::Metrics;
use banyan_client::{Client, keys::Closures};
use futures_util::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

const HOLD: Duration = Duration::from_millis(500);
/// What an answer may take beyond that.
const SLACK: Duration = Duration::from_secs(1);
/// Between two questions that were answered at once, or not at all.
const PAUSE: Duration = Duration::from_millis(50);
/// Identities that are looked up again at once.
const AGAIN_MAX: usize = 32;

/// Follows what is closed until the edge stops.
pub(crate) async fn follow(
    client: Client,
    sessions: Arc<Sessions>,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) {
    let following = async {
        let mut after = 0;
        loop {
            let asked = Instant::now();
            match client.closures(after, HOLD, asked + HOLD + SLACK).await {
                Ok(told) => {
                    after = told.number;
                    apply(told, &sessions, &keys, &metrics).await;
                    sessions.heard(asked);
                    metrics.closures_heard();
                }
                Err(failure) => debug!(%failure, "what was closed is asked for again"),
            }
            sleep_until(asked + PAUSE).await;
        }
    };
    tokio::select! {
        () = following => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

async fn apply(told: Closures, sessions: &Sessions, keys: &Keys, metrics: &Metrics) {
    let Closures { closed, everything, .. } = told;
    if !closed.is_empty() {
        let ended = sessions.close(&closed);
        keys.forget();
        metrics.closures_applied(closed.len());
        info!(closed = closed.len(), ended, "sessions closed");
    }
    if everything {
        warn!("what was closed is not known any more: every session's key is looked up again");
        let doubtful = sessions.doubt();
        keys.forget();
        stream::iter(doubtful)
            .for_each_concurrent(AGAIN_MAX, |identity| async move {
                if !keys.is_known(&identity).await {
                    sessions.close_identity(&identity);
                }
            })
            .await;
    }
}
