//! What applied entries tell the leader's own workers: hints, coalesced, never a queue that grows.

use super::{Rights, channel::Channels};
use crate::clock;
use banyan_model::{Path, Timestamp, apply::Effect};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// More queues than this are not remembered one by one: then all of them are looked at.
const QUEUES_MAX: usize = 16_384;

/// A lease that was not confirmed in time, or a leadership on its way, is over by then.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Signals {
    /// Followers owe nobody anything: their hints are dropped.
    leading: AtomicBool,
    queues: Mutex<Queues>,
    /// Rings when queues may have something.
    deliveries: watch::Sender<u64>,
    due: Mutex<Option<Timestamp>>,
    due_sooner: Notify,
    /// The newest time that was applied or proposed here.
    newest: AtomicI64,
    rights: Arc<dyn Rights>,
    channels: Arc<Channels>,
}

#[derive(Default)]
struct Queues {
    told: BTreeMap<Path, Due>,
    /// Any queue may have something.
    all: bool,
}

/// When what was added to a queue has to be told (`Effect::Deliver`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// Some of it as soon as the subscription's time between notifies is over.
    pub soon: bool,
    /// Some of it then at the latest, whatever that time is.
    pub by: Option<Timestamp>,
}

impl Due {
    /// When all of it has to be told.
    #[must_use]
    pub fn and(self, other: Due) -> Due {
        Due { soon: self.soon || other.soon, by: self.by.into_iter().chain(other.by).min() }
    }
}

/// Which queues to look at.
pub(super) enum Told {
    Some(Vec<(Path, Due)>),
    All,
}

impl Signals {
    pub(super) fn new(rights: Arc<dyn Rights>) -> Signals {
        Signals {
            leading: AtomicBool::new(false),
            queues: Mutex::default(),
            deliveries: watch::Sender::new(0),
            due: Mutex::new(None),
            due_sooner: Notify::new(),
            newest: AtomicI64::new(i64::MIN),
            rights,
            channels: Arc::default(),
        }
    }

    /// The leader's time for a command: the clock, but never before what was applied or proposed.
    pub(super) fn stamp(&self) -> Timestamp {
        let now = clock::now().0;
        Timestamp(self.newest.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// Called when the state with these effects is visible.
    pub(super) fn publish(&self, newest: Timestamp, effects: Vec<Effect>) {
        self.newest.fetch_max(newest.0, Ordering::AcqRel);
        let leading = self.leading.load(Ordering::Acquire);
        let mut deliver = false;
        for effect in effects {
            match effect {
                Effect::Deliver { queue, by } if leading => {
                    self.queues.lock().tell(queue, Due { soon: by.is_none(), by });
                    deliver = true;
                }
                Effect::Due(at) if leading => self.due_at(at),
                Effect::AccessRightChanged(path) => self.rights.changed(&path),
                Effect::ChannelChanged(path) if leading => self.channels.ring(&path),
                Effect::SubscriptionEnded(path) if leading => {
                    tracing::warn!(subscription = %path, "subscription ended: its queue was full");
                }
                Effect::Deliver { .. }
                | Effect::Due(_)
                | Effect::SubtreeChanged(_)
                | Effect::ChannelChanged(_)
                | Effect::SubscriptionEnded(_) => {}
            }
        }
        if deliver {
            self.ring();
        }
    }

    /// This replica leads: whatever was promised before is its business now. Hints are kept from here on, so what
    /// is applied while the state is looked at is not missed.
    pub(super) fn lead(&self) {
        self.leading.store(true, Ordering::Release);
        self.queues.lock().all = true;
        self.ring();
    }

    /// The state was not readable when all queues were asked for: the courier is woken again for them after a while,
    /// if this replica still leads.
    pub(super) fn tell_all_later(self: &Arc<Self>) {
        let signals = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(AGAIN).await;
            let Some(signals) = signals.upgrade() else { return };
            if signals.leading.load(Ordering::Acquire) {
                signals.queues.lock().all = true;
                signals.ring();
            }
        });
    }

    pub(super) fn follow(&self) {
        self.leading.store(false, Ordering::Release);
        *self.queues.lock() = Queues::default();
        *self.due.lock() = None;
        self.channels.release();
    }

    /// Polls that wait, and what they got.
    pub(super) fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    pub(super) fn deliveries(&self) -> watch::Receiver<u64> {
        self.deliveries.subscribe()
    }

    /// What was told since the last call.
    pub(super) fn take_queues(&self) -> Told {
        let Queues { told, all } = mem::take(&mut *self.queues.lock());
        if all { Told::All } else { Told::Some(told.into_iter().collect()) }
    }

    /// Something falls due at this time.
    pub(super) fn due_at(&self, at: Timestamp) {
        let mut due = self.due.lock();
        if due.is_none_or(|known| at < known) {
            *due = Some(at);
            self.due_sooner.notify_one();
        }
    }

    /// The earliest time that was told since the last call.
    pub(super) fn take_due(&self) -> Option<Timestamp> {
        self.due.lock().take()
    }

    /// Waits until something falls due sooner than what was told before.
    pub(super) async fn due_sooner(&self) {
        self.due_sooner.notified().await;
    }

    fn ring(&self) {
        self.deliveries.send_modify(|rung| *rung = rung.wrapping_add(1));
    }
}

impl Queues {
    fn tell(&mut self, queue: Path, due: Due) {
        if self.all {
            return;
        }
        let told = self.told.entry(queue).or_default();
        *told = told.and(due);
        if self.told.len() > QUEUES_MAX {
            *self = Queues { told: BTreeMap::new(), all: true };
        }
    }
}
