//! The replica of group 0: applies the directory's commands and publishes what comes of them.
//!
//! The state is small and is one record, written whole with every change.

use super::{DirectoryError, GROUP, View};
use banyan_proto::{convert::Malformed, v1};
use banyan_raft::{Replica, Stop};
use banyan_storage::{Batch, GroupState};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use std::sync::Arc;
use tokio::sync::watch;
use v1::directory_command::Kind;

/// Keys of a group's own state begin with this, then the group (8 octets, big endian).
const SPACE: u8 = 0;

pub(super) struct MetaGroup {
    state: GroupState,
    /// The state after the newest applied command, which need not be visible yet.
    newest: Mutex<Option<Arc<View>>>,
    views: watch::Sender<Option<Arc<View>>>,
}

impl MetaGroup {
    pub(super) fn open(state: GroupState) -> Result<MetaGroup, DirectoryError> {
        let stored = read(&state)?;
        Ok(MetaGroup { state, newest: Mutex::new(stored.clone()), views: watch::Sender::new(stored) })
    }

    pub(super) fn views(&self) -> watch::Receiver<Option<Arc<View>>> {
        self.views.subscribe()
    }
}

impl Replica for MetaGroup {
    fn apply(&self, commands: &[Bytes], batch: &mut Batch) -> Result<Vec<Bytes>, Stop> {
        let mut newest = self.newest.lock();
        let mut next = newest.as_ref().map(|view| view.state.clone());
        for (at, command) in commands.iter().enumerate() {
            next = apply(next, command.clone()).map_err(|error| Stop::at(at, error.to_string()))?;
        }
        if next.as_ref() != newest.as_ref().map(|view| &view.state)
            && let Some(state) = next
        {
            batch.put(key(GROUP), state.encode_to_vec().into(), false);
            let view =
                View::try_from(state).map_err(|error| Stop { reason: error.to_string(), command: None })?;
            *newest = Some(Arc::new(view));
        }
        Ok(vec![Bytes::new(); commands.len()])
    }

    fn applied(&self) {
        let newest = self.newest.lock().clone();
        self.views.send_if_modified(|published| {
            let changed = epoch(published) != epoch(&newest);
            *published = newest;
            changed
        });
    }

    fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(key(GROUP), key(GROUP + 1))]
    }

    fn restored(&self) {
        match read(&self.state) {
            Ok(stored) => {
                *self.newest.lock() = stored;
                self.applied();
            }
            // The next command to be applied meets the same bytes and stops the replica; until then the last map serves.
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "received directory cannot be read"
                );
            }
        }
    }
}

fn epoch(view: &Option<Arc<View>>) -> Option<u64> {
    view.as_ref().map(|view| view.state.epoch)
}

fn key(group: u64) -> Vec<u8> {
    [&[SPACE], group.to_be_bytes().as_slice()].concat()
}

fn read(state: &GroupState) -> Result<Option<Arc<View>>, DirectoryError> {
    let stored = |error: Malformed| DirectoryError::Stored { what: "directory", why: error.to_string() };
    let Some(bytes) = state.view().get(&key(GROUP))? else { return Ok(None) };
    let state = v1::DirectoryState::decode(bytes).map_err(|error| stored(error.into()))?;
    Ok(Some(Arc::new(View::try_from(state).map_err(stored)?)))
}

/// The state after a command. A command that this release does not know stops the replica.
fn apply(state: Option<v1::DirectoryState>, command: Bytes) -> Result<Option<v1::DirectoryState>, Malformed> {
    let command = v1::DirectoryCommand::decode(command)?;
    let kind = command.kind.ok_or(Malformed::Missing("directory command"))?;
    Ok(match (state, kind) {
        // Every founder that leads before the first one was applied may have proposed the same.
        (None, Kind::Found(found)) => Some(v1::DirectoryState { epoch: 1, ..found }),
        (founded @ Some(_), Kind::Found(_)) => founded,
        // Nobody can be a member of a cluster that is not there.
        (
            None,
            Kind::UpsertMember(_) | Kind::FoundKeys(_) | Kind::Place(_) | Kind::Drain(_) | Kind::Remove(_),
        ) => None,
        // Every node that leads before the first one was applied may have proposed it.
        (Some(state), Kind::FoundKeys(_)) if state.keys.is_some() => Some(state),
        (Some(state), Kind::FoundKeys(keys)) => {
            Some(v1::DirectoryState { epoch: state.epoch + 1, keys: Some(keys), ..state })
        }
        (Some(state), Kind::UpsertMember(member)) if state.removed.contains(&member.node) => Some(state),
        (Some(mut state), Kind::UpsertMember(member)) => {
            match state.members.iter_mut().find(|known| known.node == member.node) {
                Some(known) if *known == member => return Ok(Some(state)),
                Some(known) => *known = member,
                None => state.members.push(member),
            }
            state.members.sort_unstable_by_key(|member| member.node);
            state.epoch += 1;
            Some(state)
        }
        (Some(mut state), Kind::Place(v1::PlaceShard { from, to })) => {
            let (Some(from), Some(to)) = (from, to) else { return Ok(Some(state)) };
            let placed = state.shards.iter_mut().chain(&mut state.keys).find(|shard| **shard == from);
            if let Some(placed) = placed.filter(|placed| same_slots(placed, &to)) {
                *placed = to;
                state.epoch += 1;
            }
            Some(state)
        }
        (Some(mut state), Kind::Drain(v1::DrainMember { node, draining })) => {
            let is_member = state.members.iter().any(|member| member.node == node);
            if is_member && state.draining.contains(&node) != draining {
                state.draining.retain(|other| *other != node);
                if draining {
                    state.draining.push(node);
                }
                state.epoch += 1;
            }
            Some(state)
        }
        (Some(mut state), Kind::Remove(v1::RemoveMember { node })) => {
            let mut shards = state.shards.iter().chain(&state.keys);
            let is_needed =
                shards.any(|shard| shard.replicas.contains(&node) || shard.leaving.contains(&node));
            if !is_needed && state.members.iter().any(|member| member.node == node) {
                state.members.retain(|member| member.node != node);
                state.draining.retain(|other| *other != node);
                state.removed.push(node);
                state.epoch += 1;
            }
            Some(state)
        }
    })
}

/// A placement says nothing about slots.
fn same_slots(one: &v1::ShardInfo, other: &v1::ShardInfo) -> bool {
    let slots = |shard: &v1::ShardInfo| (shard.shard, shard.first_slot, shard.last_slot);
    slots(one) == slots(other)
}
