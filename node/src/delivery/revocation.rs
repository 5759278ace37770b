//! Ends subscriptions whose subscriber may no longer read, also when nothing happens that it would be told of
//! (procedures.md 8.5).
//!
//! When a right changes that this node has a replica of, the subscriptions that it governs are asked for at once: the
//! shard's index has them. Rights that change elsewhere, and the groups that hold them, are found by the round: page by
//! page every subscription of the shard is looked at, once in [`Config::rights_check`](super::Config). Who cannot be
//! asked now is asked in the next round; before a notify the right is asked for in any case.

use super::source::{Leading, Source};
use banyan_model::{Operation, Path, StatusCode};
use futures_util::{StreamExt, stream};
use std::{future::pending, time::Duration};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep_until},
};

/// Subscriptions that are read at once.
const PAGE: usize = 64;
/// Of these are asked for at once.
const AT_ONCE: usize = 16;
/// Between two pages of a round: requests go first.
const BREATH: Duration = Duration::from_millis(100);

/// Some subscriptions of a shard, and where the next ones begin; `None`: these are the last.
pub(super) struct Page {
    pub(super) subscriptions: Vec<Path>,
    pub(super) next: Option<Vec<u8>>,
}

/// Runs for ever; ended by whoever started it. `every` zero: no rounds.
pub(super) async fn run<S: Source>(source: &S, every: Duration, mut changes: broadcast::Receiver<Path>) {
    let mut round = Round::new(every);
    loop {
        tokio::select! {
            changed = changes.recv() => match changed {
                Ok(right) => of_right(source, &right).await,
                // More changed than could be told one by one.
                Err(RecvError::Lagged(_)) => round.begin(),
                Err(RecvError::Closed) => pending().await,
            },
            () = wait_until(round.due) => round.step(source).await,
        }
    }
}

/// Where the present round is.
struct Round {
    every: Duration,
    began: Instant,
    after: Option<Vec<u8>>,
    due: Option<Instant>,
}

impl Round {
    fn new(every: Duration) -> Round {
        let now = Instant::now();
        Round { every, began: now, after: None, due: (!every.is_zero()).then(|| now + every) }
    }

    fn begin(&mut self) {
        self.began = Instant::now();
        self.after = None;
        self.due = Some(self.began);
    }

    async fn step<S: Source>(&mut self, source: &S) {
        if self.after.is_none() {
            self.began = Instant::now();
        }
        self.after = match page(source, None, self.after.take()).await {
            Some(Page { next: Some(next), .. }) => {
                self.due = Some(Instant::now() + BREATH);
                Some(next)
            }
            _ => {
                let next = (self.began + self.every).max(Instant::now() + BREATH);
                self.due = (!self.every.is_zero()).then_some(next);
                None
            }
        };
    }
}

async fn of_right<S: Source>(source: &S, right: &Path) {
    let mut after = None;
    while let Some(Page { next: Some(next), .. }) = page(source, Some(right), after).await {
        after = Some(next);
    }
}

/// Reads a page and ends those of it whose subscriber may not read. `None`: this replica may not serve now.
async fn page<S: Source>(source: &S, right: Option<&Path>, after: Option<Vec<u8>>) -> Option<Page> {
    if source.leading() != Leading::Ready {
        return None;
    }
    let shard = source.shard().0;
    let page = match source.subscriptions(right, after.as_deref(), PAGE) {
        Ok(page) => page,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(shard, error, "subscriptions are not readable now");
            return None;
        }
    };
    stream::iter(&page.subscriptions)
        .for_each_concurrent(AT_ONCE, |subscription| async move {
            let ended = match source.may_notify(subscription).await {
                Ok(true) => return,
                Ok(false) => {
                    let (path, final_status) = (subscription.clone(), Some(StatusCode::PermissionDenied));
                    source.operate(Operation::EndSubscription { path, final_status }).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => {
                    tracing::info!(shard, %subscription, "the right to read is gone: the subscription ends")
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(shard, %subscription, error, "the right is asked for again later");
                }
            }
        })
        .await;
    Some(page)
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
