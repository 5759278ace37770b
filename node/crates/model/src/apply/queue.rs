//! Queues of the outbox: adding, counting, dropping.

use super::{Effect, writer::Writer};
use crate::{
    Path, Timestamp, TreeView,
    key::{Key, Range},
    outbox::{Message, OutboxEntry},
    record::Record,
};
use std::ops::ControlFlow;

/// The first sequence of a queue that has no counter. It is made of the time, so that a queue that was dropped and
/// started anew does not repeat sequences: an acknowledgement that is still under way for the old one (a delivery can
/// take its time) must not remove what the new one promises. A queue takes less than 1024 entries a millisecond over
/// its life, so a later start is always ahead.
pub(super) fn first_sequence(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1024).saturating_add(1)
}

/// Adds an entry. `by`: see `Effect::Deliver`.
pub(super) fn enqueue<V: TreeView>(
    writer: &mut Writer<'_, V>,
    queue: &Path,
    message: Message,
    by: Option<Timestamp>,
) -> Result<(), V::Error> {
    let counter = Key::outbox_next(queue);
    let sequence = match writer.tree().pointer(&counter)? {
        Some(next) => next,
        None => first_sequence(writer.at),
    };
    let entry = OutboxEntry { queue: queue.clone(), sequence, at: writer.at, message };
    writer.staged.put_new(Key::outbox(queue, sequence), Record::Outbox(entry));
    writer.staged.put(counter, Record::Pointer(sequence + 1));
    writer.effect(Effect::Deliver { queue: queue.clone(), by });
    Ok(())
}

/// The newest entry.
pub(super) fn last<V: TreeView>(
    writer: &Writer<'_, V>,
    queue: &Path,
) -> Result<Option<OutboxEntry>, V::Error> {
    let (mut last, mut corrupt) = (None, None);
    writer.staged.scan(&Range::outbox(queue), true, &mut |key, record| {
        match record {
            Record::Outbox(entry) => last = Some(entry),
            _ => corrupt = Some(writer.staged.corrupt(key)),
        }
        ControlFlow::Break(())
    })?;
    corrupt.map_or(Ok(last), Err)
}

/// Puts a message into the place of the newest entry, as old as that was. A delivery that is under way covers the head, so
/// there the message gets a sequence of its own, which the acknowledgement of the former one leaves alone.
pub(super) fn replace<V: TreeView>(
    writer: &mut Writer<'_, V>,
    last: OutboxEntry,
    message: Message,
    by: Option<Timestamp>,
) -> Result<(), V::Error> {
    let mut sequence = last.sequence;
    if waiting(writer, &last.queue)? <= 1 {
        writer.staged.delete(Key::outbox(&last.queue, sequence));
        sequence += 1;
        writer.staged.put(Key::outbox_next(&last.queue), Record::Pointer(sequence + 1));
    }
    writer.effect(Effect::Deliver { queue: last.queue.clone(), by });
    let key = Key::outbox(&last.queue, sequence);
    writer.staged.put(key, Record::Outbox(OutboxEntry { sequence, message, ..last }));
    Ok(())
}

/// How many entries wait.
pub(super) fn waiting<V: TreeView>(writer: &Writer<'_, V>, queue: &Path) -> Result<u64, V::Error> {
    let Some(next) = writer.tree().pointer(&Key::outbox_next(queue))? else { return Ok(0) };
    let mut head = next;
    writer.staged.scan(&Range::outbox(queue), false, &mut |key, _| {
        head = Key::number(key).unwrap_or(next);
        ControlFlow::Break(())
    })?;
    Ok(next - head)
}

/// Removes the entries up to a sequence (inclusive); whether any is left.
pub(super) fn remove_until<V: TreeView>(
    writer: &mut Writer<'_, V>,
    queue: &Path,
    up_to: u64,
) -> Result<bool, V::Error> {
    let (mut done, mut left) = (Vec::new(), false);
    writer.staged.scan(&Range::outbox(queue), false, &mut |key, _| match Key::number(key) {
        Some(sequence) if sequence <= up_to => {
            done.push(sequence);
            ControlFlow::Continue(())
        }
        _ => {
            left = true;
            ControlFlow::Break(())
        }
    })?;
    for sequence in done {
        writer.staged.delete(Key::outbox(queue, sequence));
    }
    Ok(left)
}

/// Removes a queue with its counter.
pub(super) fn drop_queue<V: TreeView>(writer: &mut Writer<'_, V>, queue: &Path) -> Result<(), V::Error> {
    remove_until(writer, queue, u64::MAX)?;
    let counter = Key::outbox_next(queue);
    if writer.tree().pointer(&counter)?.is_some() {
        writer.staged.delete(counter);
    }
    Ok(())
}
