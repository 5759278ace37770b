//! The subtrees of one shard that are in use: activated by their first request, forgotten when idle.
//!
//! A message is sent under the lock of the registry. So an actor that is taken out gets no more messages, and one that
//! holds no permit has none.

use super::{
    ShardError,
    actor::{Message, SubtreeActor},
    handle::Inner,
    write::Job,
};
use banyan_model::{SubtreeRoot, placement::NodeId};
use parking_lot::Mutex;
use ractor::{ActorCell, ActorId, ActorRef, ActorRuntime, MessagingErr};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// When a shard has as many actors as it may, those that had nothing to do for this long go first.
const SPARE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Registry {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The shard's actor, while this replica leads.
    supervisor: Option<ActorCell>,
    subtrees: HashMap<SubtreeRoot, Subtree>,
    /// When room was last made.
    crowded: Option<Instant>,
}

struct Subtree {
    actor: ActorRef<Message>,
    permits: Arc<Semaphore>,
    used: Instant,
}

impl Registry {
    /// This replica leads: requests are taken.
    pub(super) fn open(&self, supervisor: ActorCell) {
        self.state.lock().supervisor = Some(supervisor);
    }

    /// Ends all actors. What waits in their mailboxes is answered as it is dropped.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.supervisor = None;
        for (_, subtree) in state.subtrees.drain() {
            subtree.actor.stop(None);
        }
    }

    /// Puts a job into its subtree's mailbox, if there is room.
    pub(super) fn send(&self, shard: &Arc<Inner>, job: Job) {
        // What is not taken is answered outside the lock: an answer may do anything.
        if let Err((job, error)) = self.try_send(shard, Box::new(job)) {
            job.reply.answer(Err(error));
        }
    }

    fn try_send(&self, shard: &Arc<Inner>, mut job: Box<Job>) -> Result<(), (Box<Job>, ShardError)> {
        let mut state = self.state.lock();
        let subtree = match state.subtree(shard, &job.subtree) {
            Ok(subtree) => subtree,
            Err(error) => return Err((job, error)),
        };
        if job.reply.permit.is_none() {
            match subtree.permits.clone().try_acquire_owned() {
                Ok(permit) => job.reply.permit = Some(permit),
                Err(_) => return Err((job, ShardError::busy("too many requests for this subtree"))),
            }
        }
        subtree.used = Instant::now();
        let Err(MessagingErr::SendErr(Message::Perform(job))) =
            subtree.actor.send_message(Message::Perform(job))
        else {
            return Ok(());
        };
        // It broke a moment ago and its supervisor has not heard of it yet.
        if let Err(error) = state.restart(shard, &job.subtree) {
            return Err((job, error));
        }
        let subtree = state.subtrees.get(&job.subtree);
        match subtree.map(|subtree| subtree.actor.send_message(Message::Perform(job))) {
            Some(Err(MessagingErr::SendErr(Message::Perform(job)))) => {
                Err((job, ShardError::busy("the subtree does not start")))
            }
            _ => Ok(()),
        }
    }

    /// An actor has broken: starts that one again.
    pub(super) fn broken(&self, shard: &Arc<Inner>, actor: ActorId) {
        let mut state = self.state.lock();
        let of = |subtree: &Subtree| subtree.actor.get_id() == actor;
        let broken = state.subtrees.iter().find(|(_, subtree)| of(subtree)).map(|(root, _)| root.clone());
        let Some(root) = broken else { return };
        if let Err(error) = state.restart(shard, &root) {
            tracing::error!(
                shard = shard.shard.id.0,
                error = &error as &dyn std::error::Error,
                "a subtree's actor does not start again"
            );
        }
    }

    /// Forgets what had nothing to do for as long as the settings say.
    pub(super) fn sweep(&self, shard: &Inner) {
        let mut state = self.state.lock();
        state.forget_unused(shard, shard.config.idle);
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().supervisor.is_some()
    }

    /// Subtrees with an actor.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().subtrees.len()
    }

    #[cfg(test)]
    pub(super) fn send_work(&self, shard: &Arc<Inner>, root: &SubtreeRoot, work: super::actor::Work) {
        let mut state = self.state.lock();
        let subtree = state.subtree(shard, root).expect("leads and has room");
        assert!(subtree.actor.send_message(Message::Work(work)).is_ok(), "the actor runs");
    }
}

impl State {
    /// The subtree's entry; made if there is room.
    fn subtree(&mut self, shard: &Arc<Inner>, root: &SubtreeRoot) -> Result<&mut Subtree, ShardError> {
        if !self.subtrees.contains_key(root) {
            self.make_room(shard)?;
            let subtree = Subtree {
                actor: self.start(shard)?,
                permits: Arc::new(Semaphore::new(shard.config.requests_max)),
                used: Instant::now(),
            };
            self.subtrees.insert(root.clone(), subtree);
        }
        self.subtrees.get_mut(root).ok_or(ShardError::Defect)
    }

    fn restart(&mut self, shard: &Arc<Inner>, root: &SubtreeRoot) -> Result<(), ShardError> {
        let actor = self.start(shard)?;
        if let Some(subtree) = self.subtrees.get_mut(root) {
            subtree.actor = actor;
        }
        Ok(())
    }

    fn start(&self, shard: &Arc<Inner>) -> Result<ActorRef<Message>, ShardError> {
        let Some(supervisor) = &self.supervisor else {
            // Elected a moment ago at most: the shard's actor has not opened the door yet.
            return Err(ShardError::NotLeader { leader: shard.group.leader().map(NodeId) });
        };
        match ActorRuntime::spawn_linked_instant(None, SubtreeActor, shard.clone(), supervisor.clone()) {
            Ok((actor, _)) => Ok(actor),
            Err(error) => {
                tracing::error!(shard = shard.shard.id.0, %error, "a subtree's actor does not start");
                Err(ShardError::busy("the subtree does not start"))
            }
        }
    }

    /// Names that nobody uses cost an actor too, so their number is bounded.
    fn make_room(&mut self, shard: &Inner) -> Result<(), ShardError> {
        if self.subtrees.len() < shard.config.subtrees_max {
            return Ok(());
        }
        if self.crowded.is_none_or(|last| last.elapsed() >= SPARE / 10) {
            self.crowded = Some(Instant::now());
            self.forget_unused(shard, SPARE);
        }
        if self.subtrees.len() < shard.config.subtrees_max {
            return Ok(());
        }
        Err(ShardError::busy("too many subtrees in use"))
    }

    fn forget_unused(&mut self, shard: &Inner, since: Duration) {
        self.subtrees.retain(|_, subtree| {
            let is_idle = subtree.permits.available_permits() == shard.config.requests_max;
            let keep = !is_idle || subtree.used.elapsed() < since;
            if !keep {
                subtree.actor.stop(None);
            }
            keep
        });
    }
}
