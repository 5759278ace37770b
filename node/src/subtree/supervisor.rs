//! The node's root actor: starts a shard's actor again when it broke.

use super::{
    handle::Inner,
    shard::{self, ShardActor},
};
use banyan_model::placement::ShardId;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::{collections::HashMap, sync::Arc};

pub(super) struct Supervisor;

pub(super) enum Message {
    Start(Arc<Inner>, RpcReplyPort<Result<(), String>>),
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
        Message::Start(shard, reply): Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let started = start(&myself, shard, state).await;
        // Who asked may have gone.
        let _ = reply.send(started);
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
