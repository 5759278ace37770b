//! NOTIFY of a contentInstances collection (procedures.md 8.6): the instances that it leaves are added in their order.
//!
//! An instance that comes from another container keeps its id and its creationTime:
//!
//! | its id | here |
//! | --- | --- |
//! | chosen by a client, and free here | kept |
//! | made by its container of a place in the order, and later than all here | kept, with that place |
//! | of an instance that is here already, the same one | nothing is added: it came before |
//! | taken by another instance, or passed over here | an id of this container's; the answer says so |
//!
//! So a container that is fed by one other has the ids of that, a repetition adds nothing even when nobody remembers the
//! first, and containers that feed each other come to rest. The order here is that of arrival: a creationTime is not
//! earlier than that of the instance before, as ranges of time are found by halving, nor later than now.

use super::{
    Answer,
    create_instance::{Named, add, is_reserved},
    instances,
    writer::Writer,
};
use crate::{
    Path, Refusal, Representation, ResponsePrimitive, StatusCode, Timestamp, TreeView, Value,
    record::{Instance, InstancesState, instance_sequence},
};

/// Places from here on are not taken over: whatever comes, numbers are left for the container's own instances.
const KEPT_BELOW: u64 = 1 << 48;

/// Stores what a notify left. A notify is confirmed, it creates nothing for its issuer.
pub(super) fn store_notify<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    instances: &[Representation],
) -> Answer<V> {
    let mut renamed = Vec::new();
    for instance in instances {
        let Some(state) = writer.tree().instances(container)? else { return Ok(Err(Refusal::not_found())) };
        let id = instance.text("id");
        let named = match id {
            None => Named::ByContainer,
            Some(id) => match instances::find(writer, container, id)? {
                Some(here) if is_same(&here, instance) => continue,
                Some(_) => Named::ByContainer,
                None => name(id, &state),
            },
        };
        if let (Some(id), Named::ByContainer) = (id, named) {
            renamed.push(id);
        }
        let created = created(writer, container, &state, instance)?;
        if let Err(refusal) = add(writer, container, named, created, instance)? {
            return Ok(Err(refusal));
        }
    }
    let info = match renamed.is_empty() {
        true => String::new(),
        false => format!("id: taken here, stored under another: {}", renamed.join(", ")),
    };
    Ok(Ok(ResponsePrimitive { info, ..ResponsePrimitive::status(StatusCode::Ok) }))
}

fn name<'a>(id: &'a str, state: &InstancesState) -> Named<'a> {
    match instance_sequence(id) {
        Some(sequence) if (state.next..KEPT_BELOW).contains(&sequence) => Named::At(sequence),
        Some(_) => Named::ByContainer,
        None if is_reserved(id) => Named::ByContainer,
        None => Named::Chosen(id),
    }
}

fn created<V: TreeView>(
    writer: &Writer<'_, V>,
    container: &Path,
    state: &InstancesState,
    instance: &Representation,
) -> Result<Timestamp, V::Error> {
    let Some(created) = instance.datetime("creationTime") else { return Ok(writer.at) };
    let latest = match state.count {
        0 => None,
        _ => writer.tree().instance(container, state.latest)?,
    };
    let earliest = latest.map_or(created, |latest| latest.creation_time);
    Ok(created.max(earliest).min(writer.at))
}

/// Times say nothing here: they may have been moved.
fn is_same(here: &Instance, sent: &Representation) -> bool {
    let list = |name| match sent.get(name) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    matches!(sent.get("content"), Some(Value::Content(content)) if here.content == *content)
        && here.search_strings == list("searchStrings")
}
