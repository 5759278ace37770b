//! The node's root actor: starts a shard's actor again when it broke.

use super::{
    handle::Inner,
    shard::{self, ShardActor},
};
use banyan_model::placement::ShardId;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// An actor ends between two messages, and none of them waits.
pub(super) const STOP_MAX: Duration = Duration::from_secs(5);

pub(super) struct Supervisor;

pub(super) enum Message {
    Start(Arc<Inner>, RpcReplyPort<Result<(), String>>),
    /// The shard's actor ends, and with it its subtrees.
    Stop(ShardId, RpcReplyPort<()>),
}

#[derive(Default)]
pub(super) struct State {
    shards: HashMap<ShardId, (ActorRef<shard::Message>, Arc<Inner>)>,
}

impl Actor for Supervisor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // Who asked may have gone.
        match message {
            Message::Start(shard, reply) => drop(reply.send(start(&myself, shard, state).await)),
            Message::Stop(shard, reply) => {
                if let Some((actor, _)) = state.shards.remove(&shard) {
                    // What waits in a subtree's mailbox is answered as it is dropped.
                    actor.stop_and_wait(None, Some(STOP_MAX)).await?;
                }
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    /// The default would end the root, and with it every shard, because one of their actors broke.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(who, error) = event else { return Ok(()) };
        let broken = state.shards.values().find(|(actor, _)| actor.get_id() == who.get_id());
        let Some((_, shard)) = broken else { return Ok(()) };
        let shard = shard.clone();
        tracing::error!(
            shard = shard.shard.id.0,
            error = &*error as &dyn std::error::Error,
            "a shard's actor broke and is started again"
        );
        if let Err(error) = start(&myself, shard.clone(), state).await {
            tracing::error!(shard = shard.shard.id.0, error, "a shard's actor does not start again");
        }
        Ok(())
    }
}

async fn start(myself: &ActorRef<Message>, shard: Arc<Inner>, state: &mut State) -> Result<(), String> {
    let started = ShardActor::spawn_linked(None, ShardActor, shard.clone(), myself.get_cell()).await;
    let (actor, _) = started.map_err(|error| error.to_string())?;
    state.shards.insert(shard.shard.id, (actor, shard));
    Ok(())
}
