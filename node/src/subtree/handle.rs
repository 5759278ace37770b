//! A shard's replica on this node, as the other rooms see it.

use super::{
    Config, Rights, ShardError, Write,
    hot::Hot,
    registry::Registry,
    signals::Signals,
    view::{View, ViewError},
    write::Job,
};
use banyan_model::{
    Command, Entity, Operation, Path, RequestId, ResponsePrimitive, Scl,
    path::Slot,
    placement::{Shard, ShardId},
};
use banyan_proto::convert;
use banyan_raft::{Group, Groups};
use banyan_storage::GroupState;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, oneshot};

/// A handle on one shard's replica; cheap to clone.
#[derive(Clone)]
pub struct ShardHandle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shard: Shard,
    pub(super) scl: Arc<Scl>,
    pub(super) config: Arc<Config>,
    pub(super) group: Group,
    pub(super) groups: Arc<Groups>,
    pub(super) state: GroupState,
    pub(super) hot: Arc<Hot>,
    pub(super) signals: Arc<Signals>,
    pub(super) rights: Arc<dyn Rights>,
    pub(super) subtrees: Registry,
    /// Node-wide.
    pub(super) listings: Arc<Semaphore>,
    /// Set when this replica cannot read its own state.
    pub(super) failed: OnceLock<()>,
}

impl ShardHandle {
    /// Its number.
    pub fn id(&self) -> ShardId {
        self.inner.shard.id
    }

    /// Its Raft group.
    pub fn group(&self) -> &Group {
        &self.inner.group
    }

    /// What the SCL calls itself.
    pub fn scl(&self) -> &Arc<Scl> {
        &self.inner.scl
    }

    /// Hands a write to its subtree. Does not wait; the answer may be called before this returns.
    pub fn write(&self, write: Write) {
        self.inner.subtrees.send(&self.inner, Job::new(&self.inner, write));
    }

    /// Has the leader's own operation applied. It must be idempotent by its own content: it has no request id.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn operate(&self, operation: Operation) -> Result<ResponsePrimitive, ShardError> {
        self.operate_for(Entity(self.inner.scl.base.clone()), operation).await
    }

    /// The same on behalf of a requestingEntity.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn operate_for(
        &self,
        entity: Entity,
        operation: Operation,
    ) -> Result<ResponsePrimitive, ShardError> {
        let id = RequestId::default();
        let command = Command { id, at: self.inner.signals.stamp(), entity, operation, hops: 0 };
        let reply = self.propose(convert::command_to_bytes(&command)).await?;
        convert::response_from_bytes(reply)
            .map_err(|_| ShardError::OutcomeUnknown("the reply cannot be read"))
    }

    async fn propose(&self, command: Bytes) -> Result<Bytes, ShardError> {
        let (answer, answered) = oneshot::channel();
        self.inner.group.propose(command, move |outcome| {
            // Who asked may have gone.
            let _ = answer.send(outcome);
        });
        match answered.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(ShardError::OutcomeUnknown("the proposal was dropped")),
        }
    }
}

impl Inner {
    /// Whether this replica leads and its state holds everything acknowledged.
    pub(super) fn may_serve(&self) -> Result<(), ShardError> {
        if self.failed.get().is_some() {
            return Err(ShardError::NotLeader { leader: None });
        }
        Ok(self.group.serves_reads()?)
    }

    /// The state now. Nothing is applied while it lives; never a second one on the same thread.
    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.state, &self.shard, &self.hot)
    }

    pub(super) fn owns_slot(&self, Slot(slot): Slot) -> bool {
        (self.shard.first.0..=self.shard.last.0).contains(&slot)
    }

    pub(super) fn owns(&self, path: &Path) -> bool {
        self.owns_slot(path.slot())
    }

    /// This replica cannot read its own state: it vouches for nothing any more, and another one must lead.
    pub(super) fn fail(&self, error: &ViewError) -> ShardError {
        if self.failed.set(()).is_ok() {
            let group = self.shard.id.0;
            tracing::error!(
                shard = group,
                error = error as &dyn std::error::Error,
                "state cannot be read: replica stops"
            );
            let groups = self.groups.clone();
            tokio::spawn(async move { groups.stop(group).await });
        }
        ShardError::NotLeader { leader: None }
    }
}

#[cfg(test)]
impl ShardHandle {
    /// Runs `work` in the actor of a subtree, between two messages.
    pub(crate) fn in_actor(
        &self,
        subtree: &banyan_model::SubtreeRoot,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.inner.subtrees.send_work(&self.inner, subtree, Box::pin(work));
    }

    /// Whether writes are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.subtrees.is_open()
    }

    /// Subtrees with an actor.
    pub(crate) fn subtrees(&self) -> usize {
        self.inner.subtrees.len()
    }
}
