//! The courier of one shard: which of its queues is tried when.

use super::{
    Config, Counters, Edges,
    attempt::{Next, attempt},
    source::{Leading, Source},
};
use crate::subtree::Due;
use banyan_model::{Path, deferred};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::pending,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

/// Messages to other subtrees under way at once; they need no edge, so they do not wait for one either.
const MESSAGES_MAX: usize = 64;
/// How long to wait for a lease to be confirmed.
const NOT_YET: Duration = Duration::from_millis(200);
/// Whatever waits longer is looked at again after this.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// A contact may put us off for this long, not longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What all couriers of a node share.
pub(super) struct Room {
    pub(super) config: Config,
    pub(super) edges: Edges,
    pub(super) counters: Arc<Counters>,
    notifies: Arc<Semaphore>,
    messages: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(config: Config) -> Room {
        Room {
            notifies: Arc::new(Semaphore::new(config.deliveries_max.clamp(1, Semaphore::MAX_PERMITS))),
            messages: Arc::new(Semaphore::new(MESSAGES_MAX)),
            requests: Arc::new(Semaphore::new(config.carry_out_max.clamp(1, Semaphore::MAX_PERMITS))),
            edges: Edges::default(),
            counters: Arc::default(),
            config,
        }
    }

    /// The pause after so many failures in a row, three quarters to five quarters of it by chance.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.config.retry_min.saturating_mul(doubled).min(self.config.retry_max);
        pause.mul_f64(rand::random_range(0.75..1.25))
    }
}

pub(super) struct Courier<S> {
    source: Arc<S>,
    room: Arc<Room>,
    queues: BTreeMap<Path, Queue>,
    /// Queues in the order in which they fall due: notifies, messages, and requests to be carried out, which may wait for
    /// each other's rooms but not for each other.
    notifies: BTreeSet<(Instant, Path)>,
    messages: BTreeSet<(Instant, Path)>,
    requests: BTreeSet<(Instant, Path)>,
    running: JoinSet<Next>,
    paths: HashMap<Id, Path>,
    /// When to ask again for queues that could not be named before.
    look: Option<Instant>,
}

/// A queue that may hold something.
#[derive(Default)]
struct Queue {
    failures: u32,
    running: bool,
    /// What was added while a delivery was under way, or waits for the time between two notifies.
    more: Option<Due>,
    /// When it is tried next, and what it waits for.
    waits: Option<(Instant, Waits)>,
}

/// What a queue waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Its turn, or the time after a failure.
    Turn,
    /// The subscription's time between two notifies.
    Pause,
    /// What it holds may wait.
    Held,
}

impl<S: Source> Courier<S> {
    pub(super) fn new(source: Arc<S>, room: Arc<Room>) -> Courier<S> {
        Courier {
            source,
            room,
            queues: BTreeMap::new(),
            notifies: BTreeSet::new(),
            messages: BTreeSet::new(),
            requests: BTreeSet::new(),
            running: JoinSet::new(),
            paths: HashMap::new(),
            look: None,
        }
    }

    /// Delivers until nobody can say any more that there is something: the replica has stopped. When the node stops,
    /// what is under way ends first and nothing more is begun.
    pub(super) async fn run<T>(
        mut self,
        mut deliveries: watch::Receiver<T>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut edges = self.room.edges.count();
        self.wake();
        loop {
            let stop = *stopping.borrow_and_update();
            if stop && self.running.is_empty() {
                return;
            }
            let now = Instant::now();
            let is_due =
                |queues: &BTreeSet<(Instant, Path)>| queues.first().is_some_and(|(at, _)| *at <= now);
            let has_edge = *edges.borrow_and_update() > 0;
            let notify = !stop && has_edge && is_due(&self.notifies);
            let message = !stop && is_due(&self.messages);
            let request = !stop && is_due(&self.requests);
            let later = [&self.notifies, &self.messages, &self.requests]
                .into_iter()
                .filter_map(|queues| queues.first().map(|(at, _)| *at).filter(|at| *at > now))
                .chain(self.look)
                .min();
            let (for_notifies, for_messages) = (self.room.notifies.clone(), self.room.messages.clone());
            let for_requests = self.room.requests.clone();
            tokio::select! {
                changed = deliveries.changed() => match changed {
                    Ok(()) => self.wake(),
                    Err(_) => return,
                },
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => self.ended(ended),
                Ok(permit) = for_messages.acquire_owned(), if message => {
                    let next = self.messages.pop_first();
                    self.start(next, permit);
                }
                Ok(permit) = for_requests.acquire_owned(), if request => {
                    let next = self.requests.pop_first();
                    self.start(next, permit);
                }
                Ok(permit) = for_notifies.acquire_owned(), if notify => {
                    let next = self.notifies.pop_first();
                    self.start(next, permit);
                }
                _ = edges.changed() => {}
                // Nobody left to say so is a stop, too.
                _ = stopping.changed(), if !stop => {}
                () = wait_until(later) => if self.look.is_some_and(|look| look <= Instant::now()) {
                    self.wake();
                },
            }
        }
    }

    /// Takes the queues that got something.
    fn wake(&mut self) {
        let now = Instant::now();
        let before = self.source.leading();
        let queues = self.source.take_queues();
        // A leadership that begins rings again.
        self.look = match (before, self.source.leading()) {
            (_, Leading::No) | (Leading::Ready, Leading::Ready) => None,
            _ => Some(now + NOT_YET),
        };
        for (path, due) in queues {
            match self.queues.get_mut(&path) {
                Some(queue) if queue.running => queue.more = Some(queue.more.unwrap_or_default().and(due)),
                // A newer wish may be about another SCL than the one that is waited for.
                Some(_) if announces(&path) => self.schedule(now, path, Waits::Turn),
                Some(queue) => {
                    if let Some((at, waits)) = queue.waits
                        && let Some(sooner) = self.sooner(now, at, waits, due)
                    {
                        self.schedule(sooner, path, waits);
                    }
                }
                None => {
                    self.queues.insert(path.clone(), Queue::default());
                    self.schedule(now, path, Waits::Turn);
                }
            }
        }
    }

    /// When a queue that waits has to be tried because of what was added; `None`: no sooner than it would be.
    fn sooner(&self, now: Instant, at: Instant, waits: Waits, due: Due) -> Option<Instant> {
        let by = due.by.map(|by| now + self.source.until(by).min(WAIT_MAX));
        let sooner = match waits {
            // A failure is not undone by more to deliver.
            Waits::Turn => None,
            Waits::Pause => by,
            Waits::Held if due.soon => Some(now),
            Waits::Held => by,
        };
        sooner.filter(|sooner| *sooner < at)
    }

    /// What waits already waits for this time instead.
    fn schedule(&mut self, at: Instant, path: Path, waits: Waits) {
        let Some(queue) = self.queues.get_mut(&path) else { return };
        let before = queue.waits.replace((at, waits));
        let queues = self.queues_like(&path);
        let mut waiting = (at, path);
        if let Some((before, _)) = before {
            waiting.0 = before;
            queues.remove(&waiting);
            waiting.0 = at;
        }
        queues.insert(waiting);
    }

    /// An announcement is made below that of its application: those that waited for it go on.
    fn wake_children(&mut self, application: &Path, now: Instant) {
        let soon = Due { soon: true, by: None };
        let below = self.queues.range_mut(application.clone()..).skip(1);
        let children: Vec<Path> = below
            .take_while(|(path, _)| path.is_below_or_at(application))
            .filter(|(path, _)| announces(path))
            .filter_map(|(path, queue)| {
                if queue.running {
                    queue.more = Some(queue.more.unwrap_or_default().and(soon));
                }
                (!queue.running).then(|| path.clone())
            })
            .collect();
        for child in children {
            self.schedule(now, child, Waits::Turn);
        }
    }

    /// A queue of messages is named after a root collection.
    fn queues_like(&mut self, path: &Path) -> &mut BTreeSet<(Instant, Path)> {
        match path.segments().len() {
            1 => &mut self.messages,
            _ if deferred::is_place(path) => &mut self.requests,
            _ => &mut self.notifies,
        }
    }

    fn start(&mut self, next: Option<(Instant, Path)>, permit: OwnedSemaphorePermit) {
        let Some((_, path)) = next else { return };
        let queue = self.queues.entry(path.clone()).or_default();
        (queue.running, queue.more, queue.waits) = (true, None, None);
        let failures = queue.failures;
        let (source, room, queue) = (self.source.clone(), self.room.clone(), path.clone());
        let task = self.running.spawn(async move {
            let next = attempt(&*source, &room, &queue, failures).await;
            drop(permit);
            next
        });
        self.paths.insert(task.id(), path);
    }

    fn ended(&mut self, ended: Result<(Id, Next), JoinError>) {
        let (id, next) = match ended {
            Ok(ended) => ended,
            Err(panic) => {
                tracing::error!(shard = self.source.shard().0, %panic, "a delivery failed in itself");
                (panic.id(), Next::Failed { retry_after: None })
            }
        };
        let Some(path) = self.paths.remove(&id) else { return };
        let Some(queue) = self.queues.get_mut(&path) else { return };
        queue.running = false;
        let more = queue.more.take();
        let now = Instant::now();
        match next {
            Next::Lost if self.source.leading() == Leading::No => {
                self.queues.remove(&path);
            }
            Next::Lost => self.schedule(now + NOT_YET, path, Waits::Turn),
            Next::Rest if more.is_none() => {
                self.queues.remove(&path);
            }
            Next::Rest => self.schedule(now, path, Waits::Turn),
            Next::Again(pause) => {
                queue.failures = 0;
                if is_application(&path) {
                    self.wake_children(&path, now);
                }
                self.wait(now, now + pause, path, Waits::Pause, more);
            }
            Next::Held(held) => self.wait(now, now + held.min(WAIT_MAX), path, Waits::Held, more),
            Next::Tried(pause) => {
                queue.failures = queue.failures.saturating_add(1);
                self.schedule(now + pause, path, Waits::Turn);
            }
            Next::Failed { .. } if more.is_some() && announces(&path) => {
                queue.failures = queue.failures.saturating_add(1);
                self.schedule(now, path, Waits::Turn);
            }
            Next::Failed { retry_after } => {
                queue.failures = queue.failures.saturating_add(1);
                let pause = self.room.pause(queue.failures);
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                self.schedule(now + pause.max(asked), path, Waits::Turn);
            }
        }
    }

    fn wait(&mut self, now: Instant, at: Instant, path: Path, waits: Waits, more: Option<Due>) {
        let sooner = more.and_then(|due| self.sooner(now, at, waits, due));
        self.schedule(sooner.unwrap_or(at), path, waits);
    }
}

/// The queue of announcements is named after the original; that of notifies after a subscription, a request's after where
/// it waits.
fn announces(queue: &Path) -> bool {
    let [.., collection, _] = queue.segments() else { return false };
    collection != "subscriptions" && !deferred::is_place(queue) && deferred::answered(queue).is_none()
}

fn is_application(queue: &Path) -> bool {
    matches!(queue.segments(), [collection, _] if collection == "applications")
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
