//! Polls that wait at a channel of this shard, and what was handed out to one and not confirmed yet.
//!
//! All of it is the leader's memory and lost with the leadership: whoever polled asks the next leader, and what was
//! handed out without being confirmed is handed out again, which is what at least once means.
//!
//! Invariants: what is kept of a channel goes with its last poll and last handing out; a poll that waits is woken by
//! every change of its channel's queue, by the end of the channel and by the end of the leadership.

use super::{
    ShardError, ShardHandle,
    authorise::{self, Leases, Verdict},
    read::Step,
};
use banyan_model::{
    Path, RequestPrimitive, ResourceType, ResponsePrimitive, admit::Target, channel, query,
    record::QueuedMessage, tree::Tree, value::Struct,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::sync::{Notify, futures::Notified, oneshot};

/// The channels of one shard that are polled.
#[derive(Default)]
pub(super) struct Channels {
    state: Mutex<State>,
    /// Who waits for the answer to a request in a channel, by the request's correlationID.
    asked: Mutex<HashMap<(Path, String), Asked>>,
}

/// The latest to wait for an answer; told apart from one who came before.
struct Asked {
    ticket: u64,
    tell: oneshot::Sender<Struct>,
}

/// Waits for the answer to a request in a channel.
pub struct Answering {
    channels: Arc<Channels>,
    key: (Path, String),
    ticket: u64,
    told: oneshot::Receiver<Struct>,
}

impl Answering {
    /// `None`: this replica has ceased to lead, or another came to wait for the same.
    pub async fn answer(&mut self) -> Option<Struct> {
        (&mut self.told).await.ok()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut asked = self.channels.asked.lock();
        if asked.get(&self.key).is_some_and(|asked| asked.ticket == self.ticket) {
            asked.remove(&self.key);
        }
    }
}

#[derive(Default)]
struct State {
    channels: HashMap<Path, Channel>,
    /// Everything that is handed out, the first to come back first.
    handed: BTreeSet<(Instant, Path, u64)>,
}

#[derive(Default)]
struct Channel {
    polls: usize,
    bell: Arc<Bell>,
    /// Handed out and not confirmed, and until when no other poll gets it.
    handed: BTreeMap<u64, Instant>,
}

#[derive(Default)]
struct Bell {
    changed: Notify,
    /// The leadership under which these polls wait is over.
    released: AtomicBool,
}

/// A poll's place at its channel.
pub struct Waiting {
    channels: Arc<Channels>,
    channel: Path,
    bell: Arc<Bell>,
}

impl Waiting {
    /// Resolves once something changed after this was enabled.
    pub fn changed(&self) -> Notified<'_> {
        self.bell.changed.notified()
    }

    /// Whether this replica has ceased to lead since.
    pub fn is_released(&self) -> bool {
        self.bell.released.load(Ordering::Acquire)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.channels.state.lock();
        if let Some(channel) = state.channels.get_mut(&self.channel)
            && Arc::ptr_eq(&channel.bell, &self.bell)
        {
            channel.polls -= 1;
            if channel.polls == 0 && channel.handed.is_empty() {
                state.channels.remove(&self.channel);
            }
        }
    }
}

impl Channels {
    /// `None`: as many polls wait there as may.
    fn wait(self: &Arc<Self>, path: &Path, polls_max: usize) -> Option<Waiting> {
        let mut state = self.state.lock();
        let channel = state.channels.entry(path.clone()).or_default();
        if channel.polls >= polls_max {
            return None;
        }
        channel.polls += 1;
        Some(Waiting { channels: self.clone(), channel: path.clone(), bell: channel.bell.clone() })
    }

    fn is_handed(&self, path: &Path, sequence: u64, now: Instant) -> bool {
        let state = self.state.lock();
        let until = state.channels.get(path).and_then(|channel| channel.handed.get(&sequence));
        until.is_some_and(|until| *until > now)
    }

    /// When the next message that is handed out comes back, if it is not confirmed.
    fn next_back(&self, path: &Path) -> Option<Instant> {
        self.state.lock().channels.get(path)?.handed.values().min().copied()
    }

    /// Hands a message out, if nobody else got it meanwhile. `alone`: only if nothing else is out.
    fn hand_out(&self, path: &Path, sequence: u64, alone: bool, now: Instant, until: Instant) -> bool {
        let mut state = self.state.lock();
        state.take_back(now);
        let Some(channel) = state.channels.get_mut(path) else { return false };
        if channel.handed.contains_key(&sequence) || alone && !channel.handed.is_empty() {
            return false;
        }
        channel.handed.insert(sequence, until);
        state.handed.insert((until, path.clone(), sequence));
        true
    }

    fn confirmed(&self, path: &Path, sequence: u64) {
        self.state.lock().end(path, sequence);
        self.ring(path);
    }

    /// Something changed at this channel.
    pub(super) fn ring(&self, path: &Path) {
        if let Some(channel) = self.state.lock().channels.get(path) {
            channel.bell.changed.notify_waiters();
        }
    }

    fn wait_for_answer(self: &Arc<Self>, channel: &Path, correlation_id: String) -> Answering {
        let (tell, told) = oneshot::channel();
        let (key, ticket) = ((channel.clone(), correlation_id), rand::random());
        self.asked.lock().insert(key.clone(), Asked { ticket, tell });
        Answering { channels: self.clone(), key, ticket, told }
    }

    fn answer(&self, channel: &Path, correlation_id: &str, answer: Struct) -> bool {
        let asked = self.asked.lock().remove(&(channel.clone(), correlation_id.to_owned()));
        asked.is_some_and(|asked| asked.tell.send(answer).is_ok())
    }

    /// This replica leads no longer.
    pub(super) fn release(&self) {
        self.asked.lock().clear();
        let mut state = self.state.lock();
        state.handed.clear();
        for (_, channel) in state.channels.drain() {
            channel.bell.released.store(true, Ordering::Release);
            channel.bell.changed.notify_waiters();
        }
    }
}

impl State {
    /// Forgets what was not confirmed in time: it may be handed out again.
    fn take_back(&mut self, now: Instant) {
        while let Some((until, path, sequence)) = self.handed.first().cloned()
            && until <= now
        {
            self.end(&path, sequence);
        }
    }

    fn end(&mut self, path: &Path, sequence: u64) {
        let Some(channel) = self.channels.get_mut(path) else { return };
        if let Some(until) = channel.handed.remove(&sequence) {
            self.handed.remove(&(until, path.clone(), sequence));
        }
        if channel.polls == 0 && channel.handed.is_empty() {
            self.channels.remove(path);
        }
    }
}

/// What a poll finds.
pub enum Found {
    /// An answer that needs no waiting: a refusal, or what a target that is no poll says.
    Answer(Box<ResponsePrimitive>),
    /// The next message, handed out to this poll.
    Message(u64, QueuedMessage),
    /// Nothing now.
    Nothing {
        /// When something that another poll got comes back, unless it is confirmed.
        again: Option<Instant>,
    },
}

impl ShardHandle {
    /// A place to wait at a channel. `None`: as many polls wait there as may.
    pub fn wait_at(&self, channel: &Path, polls_max: usize) -> Option<Waiting> {
        self.inner.signals.channels().wait(channel, polls_max)
    }

    /// What a poll finds now. A message is the poll's own until `until`: a notificationChannel keeps the order, so it
    /// has no other out meanwhile, whereas the requests of a communicationChannel go to as many polls as there are.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub async fn look(
        &self,
        request: &RequestPrimitive,
        until: Instant,
        deadline: Instant,
    ) -> Result<Found, ShardError> {
        let mut leases = Leases::new();
        loop {
            match self.look_once(request, &leases, until)? {
                Step::Done(found) => return Ok(found),
                Step::Missing(path) => self.lease(path, &mut leases, deadline).await?,
                Step::Long => return Err(ShardError::Defect),
            }
        }
    }

    fn look_once(
        &self,
        request: &RequestPrimitive,
        leases: &Leases,
        until: Instant,
    ) -> Result<Step<Found>, ShardError> {
        let (channels, now) = (self.inner.signals.channels(), Instant::now());
        self.inner.read(|view| {
            let admission = match authorise::authorise(&self.inner, view, request, leases)? {
                Verdict::Granted(admission) => admission,
                Verdict::Refused(refusal) => {
                    return Ok(Step::Done(Found::Answer(Box::new(refusal.into()))));
                }
                Verdict::Missing(path) => return Ok(Step::Missing(path)),
            };
            let Target::Poll { channel } = &admission.target else {
                let answer = query::retrieve(view, &self.inner.scl, request, &admission)?;
                return Ok(Step::Done(Found::Answer(Box::new(answer))));
            };
            let resource = Tree::new(view, &self.inner.scl).resource(channel)?;
            let in_order = resource
                .is_none_or(|found| found.representation.resource_type == ResourceType::NotificationChannel);
            let skip = |sequence| !in_order && channels.is_handed(channel, sequence, now);
            let found = match channel::first_queued(view, channel, skip)? {
                Some((sequence, message)) if channels.hand_out(channel, sequence, in_order, now, until) => {
                    Found::Message(sequence, message)
                }
                _ => Found::Nothing { again: channels.next_back(channel) },
            };
            Ok(Step::Done(found))
        })
    }

    /// A place for the answer to a request in a channel.
    pub fn wait_for_answer(&self, channel: &Path, correlation_id: String) -> Answering {
        self.inner.signals.channels().wait_for_answer(channel, correlation_id)
    }

    /// The owner's answer to a request; whether somebody waited for it.
    pub fn answer(&self, channel: &Path, correlation_id: &str, answer: Struct) -> bool {
        self.inner.signals.channels().answer(channel, correlation_id, answer)
    }

    /// The poller has this message, and the log says so: the next one may go out.
    pub fn confirmed(&self, channel: &Path, sequence: u64) {
        self.inner.signals.channels().confirmed(channel, sequence);
    }
}

#[cfg(test)]
impl ShardHandle {
    /// How many messages wait in a channel.
    pub(crate) fn queued_at(&self, channel: &Path) -> u64 {
        let state = self.inner.read(|view| channel::state(view, channel)).expect("the leader answers");
        state.map_or(0, |state| state.waiting)
    }
}
