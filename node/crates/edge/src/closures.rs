//! Hears from the keys' group what may not be used any more, and ends it here: sessions on mId, and tokens.
//!
//! The leader holds the question for half a second at most: one that leads no more, without knowing it, is noticed soon
//! enough for a revocation to bite within a second.

use crate::{
    metrics::Metrics,
    mid::{Keys, Sessions},
    tokens::Tokens,
};
use banyan_client::{
    Client,
    keys::{Closed, Closures},
};
use futures_util::{StreamExt, stream};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
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

/// What there is at this edge that may be closed.
pub(crate) struct Closable {
    pub(crate) mid: Option<OfMid>,
    /// Set once it is known what the SCL calls itself; until then no token is remembered.
    pub(crate) tokens: Arc<OnceLock<Arc<Tokens>>>,
}

/// Sessions, and the keys that are kept for further ones.
pub(crate) struct OfMid {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) keys: Arc<Keys>,
}

/// Follows what is closed until the edge stops.
pub(crate) async fn follow(
    client: Client,
    here: Closable,
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
                    metrics.closures_applied(told.closed.len());
                    here.apply(told).await;
                    if let Some(mid) = &here.mid {
                        mid.sessions.heard(asked);
                    }
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

impl Closable {
    async fn apply(&self, told: Closures) {
        let Closures { closed, everything, .. } = told;
        let (tokens, keys): (Vec<_>, Vec<_>) =
            closed.into_iter().partition(|one| matches!(one, Closed::Token(_)));
        // Tokens first: they wait for nobody.
        if let Some(known) = self.tokens.get() {
            forget(known, &tokens, everything);
        }
        if let Some(mid) = &self.mid {
            mid.apply(&keys, everything).await;
        }
    }
}

fn forget(known: &Tokens, closed: &[Closed], everything: bool) {
    if everything {
        return known.forget_all();
    }
    for one in closed {
        if let Closed::Token(digest) = one {
            known.forget(digest);
        }
    }
    if !closed.is_empty() {
        info!(closed = closed.len(), "tokens revoked");
    }
}

impl OfMid {
    async fn apply(&self, closed: &[Closed], everything: bool) {
        let OfMid { sessions, keys } = self;
        if !closed.is_empty() {
            let ended = sessions.close(closed);
            keys.forget();
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
}
