//! Expire: what has fallen due goes, a bounded part at a time (procedures.md 1.8, 5.2 step 7).

use super::{
    Answer, Effect, deferred, delete,
    instances::{self, Limits},
    reply, subscription,
    subscription::News,
    writer::{Watched, Writer},
};
use crate::{
    Path, ResourceType, ResponsePrimitive, StatusCode, Timestamp, TreeView,
    key::{Key, Range},
    record::Record,
};
use std::ops::ControlFlow;

/// How many entries of the expiry index one command looks at.
const DUE_MAX: usize = 256;
/// After how many changes a command begins nothing more. A resource goes whole, with everything below it.
const CHANGES_MAX: usize = 4096;

/// Deletes what is due, ages instances, forgets silent sessions. `Effect::Due` says when to come again: at once when
/// something was left.
pub(super) fn expire<V: TreeView>(writer: &mut Writer<'_, V>) -> Answer<V> {
    let (mut due, mut corrupt) = (Vec::new(), None);
    writer.staged.scan(&Range::due_until(writer.at), false, &mut |key, record| {
        match (Key::due_time(key), record) {
            (Some(at), Record::Due { path }) => due.push((at, path)),
            _ => corrupt = Some(writer.staged.corrupt(key)),
        }
        if corrupt.is_none() && due.len() < DUE_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    if let Some(corrupt) = corrupt {
        return Err(corrupt);
    }
    for (at, path) in due {
        if writer.changed() >= CHANGES_MAX {
            break;
        }
        // What went with an ancestor took its entry along.
        if writer.staged.get(&Key::due(at, &path))?.is_some() {
            expire_one(writer, at, &path)?;
        }
    }
    forget_sessions(writer)?;
    if let Some(next) = next_due(&writer.staged)? {
        writer.effect(Effect::Due(next));
    }
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}

/// When the next `Expire` has something to do in this shard: what a new leader arms its timer with.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn next_due<V: TreeView>(view: &V) -> Result<Option<Timestamp>, V::Error> {
    let mut next = None;
    view.scan(&Range::due_until(Timestamp(i64::MAX)), false, &mut |key, _| {
        next = Key::due_time(key);
        ControlFlow::Break(())
    })?;
    let forgotten = sessions(view)?.into_iter().map(|(_, at)| at).min();
    Ok(next.into_iter().chain(forgotten).min())
}

fn expire_one<V: TreeView>(writer: &mut Writer<'_, V>, at: Timestamp, path: &Path) -> Result<(), V::Error> {
    if crate::deferred::is_place(path) {
        return deferred::forget(writer, at, path);
    }
    match writer.watched(path)? {
        Some(Watched::Instances { container, mut state }) => {
            let Some(resource) = writer.tree().resource(&container)? else {
                writer.staged.delete(Key::due(at, path));
                return Ok(());
            };
            let limits = Limits::of(&resource.representation);
            let most = CHANGES_MAX.saturating_sub(writer.changed()).max(1);
            if instances::evict(writer, &container, &mut state, &limits, most)? > 0 {
                state.last_modified_time = writer.at;
                state.version += 1;
                writer.put_instances(&container, state.clone());
                subscription::notify(writer, path, News::Changed)?;
            }
            let after = instances::due(writer, &container, &state, &limits)?;
            instances::rearm(writer, &container, Some(at), after);
            Ok(())
        }
        Some(Watched::Resource(resource))
            if resource.representation.datetime("expirationTime") == Some(at) =>
        {
            if resource.representation.resource_type == ResourceType::Subscription {
                subscription::end(writer, &resource, Some(StatusCode::Expired))
            } else {
                delete::remove(writer, &resource)
            }
        }
        _ => {
            writer.staged.delete(Key::due(at, path));
            Ok(())
        }
    }
}

/// Forgets silent sessions with their replies, as far as the bound allows: a session goes when its last reply is gone.
fn forget_sessions<V: TreeView>(writer: &mut Writer<'_, V>) -> Result<(), V::Error> {
    for (session, forgotten_at) in sessions(&writer.staged)? {
        if forgotten_at > writer.at {
            continue;
        }
        if writer.changed() >= CHANGES_MAX {
            break;
        }
        if reply::forget(writer, session, 0, u64::MAX)? == u64::MAX {
            writer.staged.delete(Key::session(session));
        }
    }
    Ok(())
}

/// The shard's sessions, one for each client process, and when each is forgotten.
fn sessions<V: TreeView>(view: &V) -> Result<Vec<(u64, Timestamp)>, V::Error> {
    let (mut found, mut corrupt) = (Vec::new(), None);
    view.scan(&Range::sessions(), false, &mut |key, record| match (Key::number(key), record) {
        (Some(session), Record::Session { last_used, .. }) => {
            found.push((session, reply::forgotten_at(last_used)));
            ControlFlow::Continue(())
        }
        _ => {
            corrupt = Some(view.corrupt(key));
            ControlFlow::Break(())
        }
    })?;
    corrupt.map_or(Ok(found), Err)
}
