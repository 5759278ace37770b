//! The courier of one shard: which of its queues is tried when.

use super::{
    Config, Counters, Edges,
    attempt::{Next, attempt},
    source::{Leading, Source},
};
use banyan_model::Path;
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
/// A contact may put us off for this long, not longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What all couriers of a node share.
pub(super) struct Room {
    pub(super) config: Config,
    pub(super) edges: Edges,
    pub(super) counters: Arc<Counters>,
    notifies: Arc<Semaphore>,
    messages: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(config: Config) -> Room {
        Room {
            notifies: Arc::new(Semaphore::new(config.deliveries_max.clamp(1, Semaphore::MAX_PERMITS))),
            messages: Arc::new(Semaphore::new(MESSAGES_MAX)),
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
    /// Queues in the order in which they fall due, notifies and messages apart.
    notifies: BTreeSet<(Instant, Path)>,
    messages: BTreeSet<(Instant, Path)>,
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
    /// Something was added while a delivery was under way.
    more: bool,
    /// When it is tried next, while it waits.
    due: Option<Instant>,
}

impl<S: Source> Courier<S> {
    pub(super) fn new(source: Arc<S>, room: Arc<Room>) -> Courier<S> {
        Courier {
            source,
            room,
            queues: BTreeMap::new(),
            notifies: BTreeSet::new(),
            messages: BTreeSet::new(),
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
            let later = [&self.notifies, &self.messages]
                .into_iter()
                .filter_map(|queues| queues.first().map(|(at, _)| *at).filter(|at| *at > now))
                .chain(self.look)
                .min();
            let (for_notifies, for_messages) = (self.room.notifies.clone(), self.room.messages.clone());
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
        for path in queues {
            match self.queues.get_mut(&path) {
                Some(queue) if queue.running => queue.more = true,
                // A newer wish may be about another SCL than the one that is waited for.
                Some(_) if announces(&path) => self.schedule(now, path),
                // It waits for its time already.
                Some(_) => {}
                None => {
                    self.queues.insert(path.clone(), Queue::default());
                    self.schedule(now, path);
                }
            }
        }
    }

    /// What waits already waits for this time instead.
    fn schedule(&mut self, at: Instant, path: Path) {
        let Some(queue) = self.queues.get_mut(&path) else { return };
        let before = queue.due.replace(at);
        let queues = if is_message(&path) { &mut self.messages } else { &mut self.notifies };
        match before {
            Some(before) => {
                let mut waiting = (before, path);
                queues.remove(&waiting);
                waiting.0 = at;
                queues.insert(waiting);
            }
            None => drop(queues.insert((at, path))),
        }
    }

    /// An announcement is made below that of its application: those that waited for it go on.
    fn wake_children(&mut self, application: &Path, now: Instant) {
        let below = self.queues.range_mut(application.clone()..).skip(1);
        let children: Vec<Path> = below
            .take_while(|(path, _)| path.is_below_or_at(application))
            .filter(|(path, _)| announces(path))
            .filter_map(|(path, queue)| {
                queue.more |= queue.running;
                (!queue.running).then(|| path.clone())
            })
            .collect();
        for child in children {
            self.schedule(now, child);
        }
    }

    fn start(&mut self, next: Option<(Instant, Path)>, permit: OwnedSemaphorePermit) {
        let Some((_, path)) = next else { return };
        let queue = self.queues.entry(path.clone()).or_default();
        (queue.running, queue.more, queue.due) = (true, false, None);
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
        let now = Instant::now();
        match next {
            Next::Lost if self.source.leading() == Leading::No => {
                self.queues.remove(&path);
            }
            Next::Lost => self.schedule(now + NOT_YET, path),
            Next::Rest if !queue.more => {
                self.queues.remove(&path);
            }
            Next::Rest => self.schedule(now, path),
            Next::Again(pause) => {
                queue.failures = 0;
                if is_application(&path) {
                    self.wake_children(&path, now);
                }
                self.schedule(now + pause, path);
            }
            Next::Failed { .. } if queue.more && announces(&path) => {
                queue.failures = queue.failures.saturating_add(1);
                self.schedule(now, path);
            }
            Next::Failed { retry_after } => {
                queue.failures = queue.failures.saturating_add(1);
                let pause = self.room.pause(queue.failures);
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                self.schedule(now + pause.max(asked), path);
            }
        }
    }
}

/// A queue of messages is named after a root collection, one of notifies after a subscription below something, one of
/// announcements after the original.
fn is_message(queue: &Path) -> bool {
    queue.segments().len() == 1
}

fn announces(queue: &Path) -> bool {
    let [.., collection, _] = queue.segments() else { return false };
    collection != "subscriptions"
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
