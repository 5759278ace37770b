//! Long polls: the edge holds the connection, the leader of the channel's subtree the poll (decision 15).
//!
//! The leader is asked for a stretch at a time, until the poll's own deadline: one that went, or changed, is noticed at
//! the next stretch at the latest. A message that came is confirmed once the connection has the whole answer; a poller
//! that went away meanwhile leaves it unconfirmed, and the next poll gets it.
//!
//! Invariant: a poll has its place from its beginning until its message was confirmed.

use crate::config::{Config, millis};
use banyan_binding::handler::{Exchange, Handed};
use banyan_client::Client;
use banyan_model::{Path, RequestPrimitive, ResponsePrimitive, StatusCode};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};
use tracing::debug;

/// How long a leader holds a poll at a time.
const STRETCH: Duration = Duration::from_secs(10);
/// What an answer may take beyond that.
const SLACK: Duration = Duration::from_secs(2);
/// Before asking again after there was nobody to ask.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a confirmation may take; a failover takes less than two seconds.
const CONFIRM: Duration = Duration::from_secs(5);
/// When a poller that found no room may come again, milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

/// The polls of this edge.
#[derive(Clone)]
pub(crate) struct Polls {
    room: Arc<Semaphore>,
    timeout: Duration,
    stopping: watch::Receiver<bool>,
}

impl Polls {
    pub(crate) fn new(config: &Config, stopping: watch::Receiver<bool>) -> Polls {
        let room = Arc::new(Semaphore::new(config.limits.polls_max.min(Semaphore::MAX_PERMITS)));
        Polls { room, timeout: millis(config.poll_timeout_ms), stopping }
    }

    pub(crate) async fn poll(&self, client: &Client, channel: Path, request: RequestPrimitive) -> Exchange {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            let full = ResponsePrimitive {
                info: "too many polls at once".to_owned(),
                retry_after_ms: Some(RETRY_AFTER_MS),
                ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
            };
            return full.into();
        };
        let mut stopping = self.stopping.clone();
        let asked = tokio::select! {
            asked = self.ask(client, &request) => asked,
            // The poller comes again, by another edge.
            _ = stopping.wait_for(|stopping| *stopping) => (nothing(), None),
        };
        match asked {
            (response, None) => response.into(),
            (response, Some(sequence)) => {
                let client = client.clone();
                let handed = Handed::new(move || confirm(client, channel, sequence, place));
                Exchange { response, handed: Some(handed), rest: None }
            }
        }
    }

    /// Asks the leader until there is an answer or the poll's time is over.
    async fn ask(&self, client: &Client, request: &RequestPrimitive) -> (ResponsePrimitive, Option<u64>) {
        let until = Instant::now() + self.timeout;
        loop {
            let hold = until.saturating_duration_since(Instant::now()).min(STRETCH);
            if hold.is_zero() {
                return (nothing(), None);
            }
            let asked = Instant::now();
            match client.poll(request, hold, asked + hold + SLACK).await {
                // Nothing came during this stretch; one that was cut short must not become a tight loop.
                Ok((response, None)) if response.status == StatusCode::RequestTimeout => {
                    sleep_until((asked + PAUSE).min(until)).await;
                }
                Ok(answered) => return answered,
                // Between two leaders.
                Err(failure) if failure.retry_after().is_some() => {
                    debug!(%failure, "a poll is asked again");
                    sleep_until((Instant::now() + PAUSE).min(until)).await;
                }
                Err(failure) => return (failure.response(), None),
            }
        }
    }
}

fn confirm(client: Client, channel: Path, sequence: u64, place: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        // Unconfirmed, it goes to the next poll: twice rather than never.
        if let Err(failure) = client.taken(&channel, sequence, Instant::now() + CONFIRM).await {
            debug!(%channel, sequence, %failure, "a message was not confirmed");
        }
        drop(place);
    });
}

fn nothing() -> ResponsePrimitive {
    let info = "nothing came; poll again".to_owned();
    ResponsePrimitive { info, ..ResponsePrimitive::status(StatusCode::RequestTimeout) }
}
