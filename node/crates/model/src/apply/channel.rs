//! The queue of a polled channel: in at the contact, out at the poll (procedures.md 14).

use super::{Answer, Effect, queue, writer::Writer};
use crate::{
    Path, Refusal, ResponsePrimitive, StatusCode, TreeView, channel,
    command::QueueLimits,
    key::Key,
    record::{ChannelState, QueuedMessage, Record},
    value::Struct,
};

/// When the sender of what a full queue did not take may come again, milliseconds.
const FULL_RETRY_AFTER_MS: u32 = 5_000;

/// Puts a message behind the others. A full queue takes nothing, but an empty one any message.
pub(super) fn enqueue<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    message: &Struct,
    limits: QueueLimits,
) -> Answer<V> {
    let exists = writer
        .tree()
        .resource(path)?
        .is_some_and(|found| channel::is_channel(found.representation.resource_type));
    if !exists {
        return Ok(Err(Refusal::not_found()));
    }
    let mut state = match channel::state(&writer.staged, path)? {
        Some(state) => state,
        None => ChannelState { next: queue::first_sequence(writer.at), waiting: 0, octets: 0 },
    };
    let octets = channel::octets(message);
    let is_full =
        state.waiting >= limits.entries_max || state.octets.saturating_add(octets) > limits.octets_max;
    if state.waiting > 0 && is_full {
        return Ok(Ok(ResponsePrimitive {
            info: "the channel is full: its owner does not poll".to_owned(),
            retry_after_ms: Some(FULL_RETRY_AFTER_MS),
            ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
        }));
    }
    let queued = QueuedMessage { at: writer.at, message: message.clone() };
    writer.staged.put_new(Key::queued(path, state.next), Record::Queued(queued));
    state.next += 1;
    state.waiting += 1;
    state.octets += octets;
    writer.staged.put(Key::channel(path), Record::Channel(state));
    writer.effect(Effect::ChannelChanged(path.clone()));
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}

/// Removes one message, which its owner has. Whether it was there makes no difference.
pub(super) fn taken<V: TreeView>(writer: &mut Writer<'_, V>, path: &Path, sequence: u64) -> Answer<V> {
    let key = Key::queued(path, sequence);
    let (Some(Record::Queued(queued)), Some(mut state)) =
        (writer.staged.get(&key)?, channel::state(&writer.staged, path)?)
    else {
        return Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)));
    };
    writer.staged.delete(key);
    state.waiting = state.waiting.saturating_sub(1);
    state.octets = state.octets.saturating_sub(channel::octets(&queued.message));
    writer.staged.put(Key::channel(path), Record::Channel(state));
    writer.effect(Effect::ChannelChanged(path.clone()));
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}
