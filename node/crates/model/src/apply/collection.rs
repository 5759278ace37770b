//! Root collections, whose members are subtrees of their own: a member's shard tells sclBase's subtree.

use super::{
    Answer, Effect, queue,
    subscription::{self, News},
    writer::Writer,
};
use crate::{
    Path, ResponsePrimitive, StatusCode, Timestamp, TreeView,
    key::{Key, Range},
    outbox::{ENTRIES_MAX, Message},
    path::SubtreeRoot,
    placement::ShardId,
    record::Record,
};
use std::ops::ControlFlow;

/// A named child came (`true`) or went: its place in this shard's listing, and the message to sclBase's subtree.
pub(super) fn member_changed<V: TreeView>(
    writer: &mut Writer<'_, V>,
    collection: &'static str,
    name: &str,
    came: bool,
) -> Result<(), V::Error> {
    let root = SubtreeRoot::Named { collection, name: name.to_owned() };
    let listed = Key::listed(collection, name);
    if came {
        writer.staged.put(listed, Record::Listed { slot: root.slot() });
    } else {
        writer.staged.delete(listed);
    }
    writer.effect(Effect::SubtreeChanged(root.path()));
    let queue = Path::scl_base().child(collection);
    if queue::waiting(writer, &queue)? < ENTRIES_MAX {
        return queue::enqueue(writer, &queue, Message::CollectionChanged { collection }, None);
    }
    // sclBase's shard has been away for long. The newest entry says all there is to say, so it takes the new time; it is
    // far from the head, where the courier is.
    let mut newest = None;
    writer.staged.scan(&Range::outbox(&queue), true, &mut |key, record| {
        newest = Some((key.to_vec(), record));
        ControlFlow::Break(())
    })?;
    if let Some((key, Record::Outbox(mut entry))) = newest {
        entry.at = writer.at;
        let key = Key { space: Range::outbox(&queue).space, bytes: key };
        writer.staged.put(key, Record::Outbox(entry));
    }
    Ok(())
}

/// In sclBase's subtree: the collection changed. Its subscribers are told the collection without its members, which
/// live in all shards: a notify that lists them would have to ask every shard, and this must not wait.
pub(super) fn collection_changed<V: TreeView>(
    writer: &mut Writer<'_, V>,
    collection: &str,
    shard: ShardId,
    sequence: u64,
    at: Timestamp,
) -> Answer<V> {
    let done = Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)));
    let seen = Key::changed(collection, shard);
    if writer.tree().pointer(&seen)?.is_some_and(|newest| newest >= sequence) {
        return done;
    }
    writer.staged.put(seen, Record::Pointer(sequence));
    let path = Path::scl_base().child(collection);
    if let Some(mut resource) = writer.tree().resource(&path)? {
        let before = resource.representation.datetime("lastModifiedTime").unwrap_or(at);
        super::writer::set_time(&mut resource.representation, "lastModifiedTime", before.max(at));
        resource.version += 1;
        writer.put_resource(resource)?;
        subscription::notify(writer, &path, News::Changed)?;
    }
    done
}
