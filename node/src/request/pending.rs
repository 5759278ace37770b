//! Everybody who waits for an answer, by deadline. Whoever takes an entry out answers it, so each is answered once.

use banyan_proto::v1::answer::What;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Sends an answer.
pub(super) type Answer = Box<dyn FnOnce(What) + Send>;

/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(20);

/// What a deadline means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing was done.
    Read,
    /// It may still happen.
    Write,
}

pub(super) struct Pending {
    waiting: Mutex<Waiting>,
    max: usize,
    /// Rings when the first one comes.
    begun: Notify,
}

#[derive(Default)]
struct Waiting {
    by_deadline: BTreeMap<(Instant, u64), (Kind, Answer)>,
    next: u64,
}

/// A place among those who wait. Given back without an answer, it says that there is none.
pub(super) struct Ticket {
    pending: Arc<Pending>,
    key: (Instant, u64),
}

impl Pending {
    /// Must be called in a tokio runtime.
    pub(super) fn new(max: usize) -> Arc<Pending> {
        let pending = Arc::new(Pending { waiting: Mutex::default(), max, begun: Notify::new() });
        tokio::spawn(keep_deadlines(Arc::downgrade(&pending)));
        pending
    }

    /// Gives the answer back if there is no room.
    pub(super) fn enter(
        self: &Arc<Self>,
        deadline: Instant,
        kind: Kind,
        answer: Answer,
    ) -> Result<Ticket, Answer> {
        let mut waiting = self.waiting.lock();
        if waiting.by_deadline.len() >= self.max {
            return Err(answer);
        }
        let key = (deadline, waiting.next);
        waiting.next += 1;
        if waiting.by_deadline.is_empty() {
            self.begun.notify_one();
        }
        waiting.by_deadline.insert(key, (kind, answer));
        Ok(Ticket { pending: self.clone(), key })
    }

    fn take(&self, key: (Instant, u64)) -> Option<(Kind, Answer)> {
        self.waiting.lock().by_deadline.remove(&key)
    }

    /// Answers those whose time is over. Whether anybody is left.
    fn expire(&self, now: Instant) -> bool {
        loop {
            let late = {
                let mut waiting = self.waiting.lock();
                match waiting.by_deadline.first_entry() {
                    None => return false,
                    Some(first) if first.key().0 > now => return true,
                    Some(first) => first.remove(),
                }
            };
            let (kind, answer) = late;
            answer(no_answer(kind, "no outcome before the deadline"));
        }
    }
}

impl Ticket {
    /// Too late, it does nothing.
    pub(super) fn answer(self, what: What) {
        if let Some((_, answer)) = self.pending.take(self.key) {
            answer(what);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((kind, answer)) = self.pending.take(self.key) {
            answer(no_answer(kind, "dropped without an answer"));
        }
    }
}

fn no_answer(kind: Kind, why: &str) -> What {
    match kind {
        Kind::Read => super::busy(TICK, why),
        Kind::Write => What::OutcomeUnknown(why.to_owned()),
    }
}

async fn keep_deadlines(pending: Weak<Pending>) {
    loop {
        let Some(this) = pending.upgrade() else { return };
        if this.expire(Instant::now()) {
            drop(this);
            tokio::time::sleep(TICK).await;
        } else {
            // Nobody waits. Looks now and then whether the desk is still there.
            let begun = this.clone();
            drop(this);
            let idle = tokio::time::timeout(Duration::from_secs(1), begun.begun.notified()).await;
            drop(begun);
            if idle.is_ok() {
                tokio::time::sleep(TICK).await;
            }
        }
    }
}
