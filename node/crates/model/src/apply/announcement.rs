//! Announcements in the tree: the wish and its record change together, and an outbox entry says that they differ from
//! what the other SCLs have (procedures.md 10; `crate::announce`).
//!
//! A de-registered scl is not looked for in the resources that name it: nobody lists who is announced where. Its entry
//! goes when such a resource is looked at the next time.

use super::{
    Answer, queue,
    subscription::{self, News},
    writer::Writer,
};
use crate::{
    Path, ResponsePrimitive, StatusCode, Timestamp, TreeView, Value,
    announce::{ANNOUNCE_TO, Announced, Announcement, Done, digest, is_activated, scl_id, scl_path, wish},
    key::{Key, Range},
    outbox::Message,
    record::{Record, Resource},
    value::Struct,
};
use std::ops::ControlFlow;

/// A resource was created or written. SCLs that are new in its wish stand in the record from now on.
pub(super) fn changed<V: TreeView>(
    writer: &mut Writer<'_, V>,
    before: Option<&Resource>,
    after: &Resource,
) -> Result<(), V::Error> {
    let wished = wish(writer.scl, &after.representation);
    let wished_before = before.map_or(Vec::new(), |before| wish(writer.scl, &before.representation));
    if wished.is_empty() && wished_before.is_empty() {
        return Ok(());
    }
    let says_the_same =
        before.is_some_and(|before| digest(&before.representation) == digest(&after.representation));
    if wished == wished_before && says_the_same {
        return Ok(());
    }
    let resource_type = after.representation.resource_type;
    let mut announced = match writer.tree().announced(&after.path)? {
        // What was announced of an earlier resource of this path and is not deleted yet.
        Some(known) => Announced { entity: after.creator.clone(), resource_type, ..known },
        None => Announced { resource_type, entity: after.creator.clone(), at: Vec::new() },
    };
    for scl in wished {
        if !announced.at.iter().any(|known| known.scl == scl) {
            announced.at.push(Announcement { scl, stands: None });
        }
    }
    put(writer, &after.path, announced)?;
    look(writer, &after.path)
}

/// A resource went. An announcement that has expired with it needs no DELETE.
pub(super) fn removed<V: TreeView>(writer: &mut Writer<'_, V>, resource: &Resource) -> Result<(), V::Error> {
    if !resource.representation.resource_type.def().announceable {
        return Ok(());
    }
    let Some(mut announced) = writer.tree().announced(&resource.path)? else { return Ok(()) };
    let now = writer.at;
    let has_expired = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    announced.at.retain(|known| !known.stands.as_ref().is_some_and(|known| has_expired(known.expiration)));
    let is_over = announced.at.is_empty();
    put(writer, &resource.path, announced)?;
    if is_over { queue::drop_queue(writer, &resource.path) } else { look(writer, &resource.path) }
}

/// AnnouncementDone. Repeated, it changes nothing more.
pub(super) fn done<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    sequence: u64,
    scl: &str,
    done: &Done,
) -> Answer<V> {
    let ok = ResponsePrimitive::status(StatusCode::Ok);
    let Some(mut announced) = writer.tree().announced(path)? else { return Ok(Ok(ok)) };
    let Some(at) = announced.at.iter().position(|known| known.scl == scl) else { return Ok(Ok(ok)) };
    let is_newest = newest(writer, path)?.is_none_or(|newest| newest <= sequence);
    match done {
        Done::Stands(standing) => announced.at[at].stands = Some(standing.clone()),
        // Wished again meanwhile, it is created again: the entry of the newer wish still waits.
        Done::Gone if wishes(writer, path, scl)? => announced.at[at].stands = None,
        Done::Gone => drop(announced.at.remove(at)),
        // The wish has changed since, and is worth another try.
        Done::Refused | Done::Kept if !is_newest => return Ok(Ok(ok)),
        Done::Refused => drop(relist(writer, path, scl, false)?),
        Done::Kept => {
            if !relist(writer, path, scl, true)? {
                announced.at.remove(at);
            }
        }
    }
    put(writer, path, announced)?;
    Ok(Ok(ok))
}

fn wishes<V: TreeView>(writer: &Writer<'_, V>, path: &Path, scl: &str) -> Result<bool, V::Error> {
    let resource = writer.tree().resource(path)?;
    Ok(resource.is_some_and(|found| wish(writer.scl, &found.representation).iter().any(|id| id == scl)))
}

/// Takes an SCL into sclList or out of it: what stands there is what is announced. Whether there is an original that may
/// be announced.
fn relist<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    scl: &str,
    listed: bool,
) -> Result<bool, V::Error> {
    let Some(mut resource) = writer.tree().resource(path)? else { return Ok(false) };
    if !resource.representation.resource_type.def().announceable {
        return Ok(false);
    }
    let (name, mut fields) = match resource.representation.get(ANNOUNCE_TO) {
        // What is not to be announced lists what it was created with.
        Some(Value::Struct(to)) if !is_activated(to) => return Ok(false),
        Some(Value::Struct(to)) => (to.name, to.fields.clone()),
        _ if listed => ("AnnounceTo", vec![("sclList", Value::List(Vec::new()))]),
        _ => return Ok(true),
    };
    let mut has_changed = false;
    for (field, value) in &mut fields {
        let ("sclList", Value::List(list)) = (*field, value) else { continue };
        let position = list.iter().position(|address| scl_id(writer.scl, address).as_deref() == Some(scl));
        match (position, listed) {
            (Some(position), false) => drop(list.remove(position)),
            (None, true) => list.push(writer.scl.address(&scl_path(scl))),
            _ => continue,
        }
        has_changed = true;
    }
    if has_changed {
        resource.representation.set(ANNOUNCE_TO, Value::Struct(Struct { name, fields }));
        writer.touch(&mut resource);
        writer.put_resource(resource)?;
        subscription::notify(writer, path, News::Changed)?;
    }
    Ok(true)
}

/// An empty record is none.
fn put<V: TreeView>(writer: &mut Writer<'_, V>, path: &Path, announced: Announced) -> Result<(), V::Error> {
    let key = Key::announced(path);
    if !announced.at.is_empty() {
        writer.staged.put(key, Record::Announced(announced));
    } else if writer.tree().announced(path)?.is_some() {
        writer.staged.delete(key);
    }
    Ok(())
}

/// Asks the courier to look. A waiting entry is replaced: an acknowledgement of what was seen before must not take the
/// newer wish along.
fn look<V: TreeView>(writer: &mut Writer<'_, V>, path: &Path) -> Result<(), V::Error> {
    queue::remove_until(writer, path, u64::MAX)?;
    queue::enqueue(writer, path, Message::Announce, None)
}

/// The sequence of the waiting entry.
fn newest<V: TreeView>(writer: &Writer<'_, V>, path: &Path) -> Result<Option<u64>, V::Error> {
    let mut newest = None;
    writer.staged.scan(&Range::outbox(path), true, &mut |key, _| {
        newest = Key::number(key);
        ControlFlow::Break(())
    })?;
    Ok(newest)
}
