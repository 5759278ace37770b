//! The actor of one replica: opens its subtrees when the replica leads, closes them when it no longer does, and starts
//! a subtree's actor again when it broke.

use super::{expiry, handle::Inner};
use banyan_raft::Leadership;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::{sync::Arc, time::Duration};
use tokio::task::AbortHandle;

pub(super) struct ShardActor;

pub(super) enum Message {
    Leadership(Leadership),
    Sweep,
}

pub(super) struct State {
    shard: Arc<Inner>,
    /// Tells the actor of leadership and of time.
    follower: AbortHandle,
    /// Runs while this replica leads, in this term.
    expiry: Option<(u64, AbortHandle)>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.follower.abort();
        self.end();
    }
}

impl State {
    fn lead(&mut self, myself: &ActorRef<Message>, term: u64) {
        if self.expiry.as_ref().is_some_and(|(known, _)| *known == term) {
            return;
        }
        self.end();
        tracing::info!(shard = self.shard.shard.id.0, term, "leads");
        self.shard.signals.lead();
        self.shard.subtrees.open(myself.get_cell());
        let expiry = tokio::spawn(expiry::run(self.shard.clone())).abort_handle();
        self.expiry = Some((term, expiry));
    }

    fn end(&mut self) {
        if let Some((term, expiry)) = self.expiry.take() {
            tracing::info!(shard = self.shard.shard.id.0, term, "leads no longer");
            expiry.abort();
        }
        self.shard.subtrees.close();
        self.shard.signals.follow();
    }
}

impl Actor for ShardActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<Inner>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        shard: Arc<Inner>,
    ) -> Result<State, ActorProcessingErr> {
        let follower = tokio::spawn(follow(shard.clone(), myself)).abort_handle();
        Ok(State { shard, follower, expiry: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Leadership(Leadership { ready: true, term, .. }) => state.lead(&myself, term),
            Message::Leadership(_) => state.end(),
            Message::Sweep => state.shard.subtrees.sweep(&state.shard),
        }
        Ok(())
    }

    /// The default would end this actor, and with it every subtree, because one of them broke.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, error) = event {
            tracing::error!(
                shard = state.shard.shard.id.0,
                error = &*error as &dyn std::error::Error,
                "a subtree's actor broke and is started again"
            );
            state.shard.subtrees.broken(&state.shard, who.get_id());
        }
        Ok(())
    }
}

/// Ends when the replica stops, or the actor does.
async fn follow(shard: Arc<Inner>, actor: ActorRef<Message>) {
    let mut leadership = shard.group.leadership();
    let mut sweep = tokio::time::interval((shard.config.idle / 2).max(Duration::from_millis(10)));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut leads = false;
    leadership.mark_changed();
    loop {
        let message = tokio::select! {
            changed = leadership.changed() => match changed {
                Ok(()) => {
                    let now = *leadership.borrow_and_update();
                    leads = now.ready;
                    Message::Leadership(now)
                }
                Err(_) => break,
            },
            _ = sweep.tick(), if leads => Message::Sweep,
        };
        if actor.send_message(message).is_err() {
            return;
        }
    }
    // The actor is gone, too, when this fails.
    let _ = actor.send_message(Message::Leadership(Leadership::default()));
}
