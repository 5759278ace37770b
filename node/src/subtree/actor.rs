//! The actor of one subtree: takes its writes in order. It never awaits a commit.

use super::{handle::Inner, write::Job};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;

pub(super) struct SubtreeActor;

pub(super) enum Message {
    Perform(Box<Job>),
    #[cfg(test)]
    Work(Work),
}

/// Something that a test has done inside the actor.
#[cfg(test)]
pub(super) type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Actor for SubtreeActor {
    type Msg = Message;
    type State = Arc<Inner>;
    type Arguments = Arc<Inner>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        shard: Arc<Inner>,
    ) -> Result<Arc<Inner>, ActorProcessingErr> {
        Ok(shard)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        shard: &mut Arc<Inner>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Perform(job) => job.perform(shard),
            #[cfg(test)]
            Message::Work(work) => work.await,
        }
        Ok(())
    }
}
