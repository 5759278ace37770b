//! UPDATE, whole and of one attribute (procedures.md 1.5, 6; D-12).

use super::{
    Answer, Effect,
    instances::{self, Limits},
    subscription::{self, News},
    writer::{INSTANCES, Writer},
};
use crate::{
    Path, Refusal, Representation, ResourceType, TreeView, Value, conditions,
    primitive::{Body, Conditions},
    record::Resource,
    represent,
    status::StatusCode,
    tables::Mode,
};

/// Replaces the RW attributes; an optional one that is absent is removed. What only the SCL writes stays.
pub(super) fn update<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    representation: &Representation,
    conditions: &Conditions,
) -> Answer<V> {
    let before = match addressed(writer, path, conditions)? {
        Ok(resource) => resource,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if before.representation.resource_type != representation.resource_type {
        return Ok(Err(Refusal::new(StatusCode::BadRequest, "not the type of the addressed resource")));
    }
    let mut after = before.clone();
    let attributes = representation.resource_type.def().attributes;
    for attribute in attributes.iter().filter(|attribute| is_writable(attribute.update)) {
        match representation.get(attribute.field.name) {
            Some(value) => after.representation.set(attribute.field.name, value.clone()),
            None => drop(after.representation.remove(attribute.field.name)),
        }
    }
    write(writer, &before, &mut after)?;
    Ok(Ok(writer.shown(StatusCode::Ok, &after)))
}

/// Replaces one attribute and answers with it, as it may have been negotiated.
pub(super) fn update_attribute<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    attribute: &'static str,
    value: &Value,
    conditions: &Conditions,
) -> Answer<V> {
    let before = match addressed(writer, path, conditions)? {
        Ok(resource) => resource,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match before.representation.resource_type.attribute(attribute) {
        Some(def) if is_writable(def.update) => {}
        _ => return Ok(Err(Refusal::attribute(attribute, "cannot be written"))),
    }
    let mut after = before.clone();
    after.representation.set(attribute, value.clone());
    write(writer, &before, &mut after)?;
    let mut response = writer.shown(StatusCode::Ok, &after);
    response.body = Body::Attribute { name: attribute.to_owned(), value: value.clone() };
    Ok(Ok(response))
}

fn is_writable(update: Mode) -> bool {
    matches!(update, Mode::Mandatory | Mode::Optional | Mode::MandatoryIfAssigned)
}

fn addressed<V: TreeView>(
    writer: &Writer<'_, V>,
    path: &Path,
    conditions: &Conditions,
) -> Result<Result<Resource, Refusal>, V::Error> {
    let Some(resource) = writer.tree().resource(path)? else { return Ok(Err(Refusal::not_found())) };
    let modified = resource.representation.datetime("lastModifiedTime");
    let met = conditions::for_write(conditions, &represent::etag(&resource), modified);
    Ok(met.map(|()| resource))
}

/// Writes what changed and all that follows from it.
fn write<V: TreeView>(
    writer: &mut Writer<'_, V>,
    before: &Resource,
    after: &mut Resource,
) -> Result<(), V::Error> {
    let path = &before.path;
    writer.touch(after);
    let expiration = |resource: &Resource| resource.representation.datetime("expirationTime");
    writer.rearm(path, expiration(before), expiration(after));
    writer.put_resource(after.clone())?;
    match after.representation.resource_type {
        ResourceType::AccessRight => writer.effect(Effect::AccessRightChanged(path.clone())),
        ResourceType::Container => keep_limits(writer, before, after)?,
        _ => {}
    }
    subscription::notify(writer, path, News::Changed)
}

/// Evicts what a container's new limits no longer allow.
fn keep_limits<V: TreeView>(
    writer: &mut Writer<'_, V>,
    before: &Resource,
    after: &Resource,
) -> Result<(), V::Error> {
    let path = &before.path;
    let Some(mut state) = writer.tree().instances(path)? else { return Ok(()) };
    let limits = Limits::of(&after.representation);
    let due_before = instances::due(writer, path, &state, &Limits::of(&before.representation))?;
    let evicted = instances::evict(writer, path, &mut state, &limits, usize::MAX)?;
    let due_after = instances::due(writer, path, &state, &limits)?;
    instances::rearm(writer, path, due_before, due_after);
    if evicted > 0 {
        state.last_modified_time = writer.at;
        state.version += 1;
        writer.put_instances(path, state);
        subscription::notify(writer, &path.child(INSTANCES), News::Changed)?;
    }
    Ok(())
}
