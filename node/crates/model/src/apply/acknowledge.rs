//! Acknowledge: the other side has everything up to here.

use super::{Answer, queue, writer::Writer};
use crate::{
    Path, ResourceType, ResponsePrimitive, StatusCode, TreeView, deferred, key::Key, record::Resource,
};

/// Removes what was delivered. The counter of a queue that is not a living subscription's goes with its last entry; that
/// of a root collection stays, because the other subtree remembers the last sequence it has seen.
pub(super) fn acknowledge<V: TreeView>(writer: &mut Writer<'_, V>, queue: &Path, up_to: u64) -> Answer<V> {
    let left = queue::remove_until(writer, queue, up_to)?;
    if let Some(place) = deferred::answered(queue).filter(|_| !left) {
        super::deferred::sent(writer, &place)?;
    }
    let counter = Key::outbox_next(queue);
    let is_subscription = |found: Resource| found.representation.resource_type == ResourceType::Subscription;
    if !left
        && queue.root_collection().is_none()
        && !writer.tree().resource(queue)?.is_some_and(is_subscription)
        && writer.tree().pointer(&counter)?.is_some()
    {
        writer.staged.delete(counter);
    }
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}
