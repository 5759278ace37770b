//! A shard's state machine: decodes commands, applies them over what the batch has staged so far, and encodes what
//! changed.
//!
//! What this leader itself proposed is decoded again; keeping its commands until they are applied would save that.

use super::{
    hot::Hot,
    signals::Signals,
    view::{self, Staged, View},
};
use banyan_model::{
    Command, Scl, Timestamp,
    apply::{self, Change, Effect, Outcome},
    placement::Shard,
    record::Record,
};
use banyan_proto::convert;
use banyan_raft::{Replica, Stop};
use banyan_storage::{Batch, GroupState, KeyRange};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{error::Error, mem, sync::Arc};

pub(super) struct ShardReplica {
    shard: Shard,
    scl: Arc<Scl>,
    state: GroupState,
    hot: Arc<Hot>,
    signals: Arc<Signals>,
    applied: Mutex<Applied>,
}

#[derive(Default)]
struct Applied {
    /// The newest time that was applied; `None` until it is read from the state.
    newest: Option<Timestamp>,
    /// Of the last batch, until it is visible.
    effects: Vec<Effect>,
}

impl ShardReplica {
    pub(super) fn new(
        shard: Shard,
        scl: Arc<Scl>,
        state: GroupState,
        hot: Arc<Hot>,
        signals: Arc<Signals>,
    ) -> ShardReplica {
        ShardReplica { shard, scl, state, hot, signals, applied: Mutex::default() }
    }

    fn apply_one(
        &self,
        staged: &mut Staged<'_>,
        newest: &mut Timestamp,
        effects: &mut Vec<Effect>,
        bytes: Bytes,
    ) -> Result<Bytes, String> {
        let command: Command = convert::command_from_bytes(bytes).map_err(|error| chain(&error))?;
        // A leader's clock may be behind its predecessor's.
        *newest = command.at.max(*newest);
        let outcome = apply::apply(&*staged, &self.scl, *newest, &command).map_err(|error| chain(&error))?;
        let Outcome { response, replayed, reply: recorded, changes, effects: caused } = outcome;
        effects.extend(caused);
        let reply = replayed.unwrap_or_else(|| convert::response_to_bytes(&response));
        for change in changes {
            match change {
                Change::Put { key, record, new } => staged.put(&key, record, new),
                Change::Delete(key) => staged.delete(&key),
            }
        }
        if let Some(key) = recorded {
            staged.put(&key, Record::Reply(reply.clone()), true);
        }
        Ok(reply)
    }
}

impl Replica for ShardReplica {
    fn apply(&self, commands: &[Bytes], batch: &mut Batch) -> Result<Vec<Bytes>, Stop> {
        let mut applied = self.applied.lock();
        let view = View::new(&self.state, &self.shard, &self.hot);
        let mut newest = match applied.newest {
            Some(newest) => newest,
            None => view.newest().map_err(|error| Stop { reason: chain(&error), command: None })?,
        };
        let mut staged = Staged::new(&view);
        let mut replies = Vec::with_capacity(commands.len());
        for (at, command) in commands.iter().enumerate() {
            let reply = self
                .apply_one(&mut staged, &mut newest, &mut applied.effects, command.clone())
                .map_err(|reason| Stop::at(at, reason))?;
            replies.push(reply);
        }
        if !commands.is_empty() {
            staged.write(newest, batch);
        }
        applied.newest = Some(newest);
        Ok(replies)
    }

    fn applied(&self) {
        self.hot.open();
        let (newest, effects) = {
            let mut applied = self.applied.lock();
            (applied.newest, mem::take(&mut applied.effects))
        };
        if let Some(newest) = newest {
            self.signals.publish(newest, effects);
        }
    }

    fn ranges(&self) -> Vec<KeyRange> {
        view::ranges(&self.shard)
    }

    fn restored(&self) {
        self.hot.clear();
        *self.applied.lock() = Applied::default();
    }
}

/// An error with its causes, for the operator.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
