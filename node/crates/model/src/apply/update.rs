//! UPDATE, whole and of one attribute (procedures.md 1.5, 6; D-12).

use super::{
    Answer, Effect, announcement,
    instances::{self, Limits},
    online,
    subscription::{self, News},
    writer::{INSTANCES, Writer},
};
use crate::{
    Path, Refusal, Representation, ResourceType, ResponsePrimitive, TreeView, Value, conditions,
    partial::{self, Edit},
    primitive::{Body, Conditions},
    query::members,
    record::Resource,
    represent,
    status::StatusCode,
    tables::Mode,
};

/// Replaces the RW attributes; an optional one that is absent is removed. What only the SCL writes stays, unless the
/// leader put a new value beside them; so does what every response has, of which the leader knows no default.
///
/// The answer leaves the members out: only a RETRIEVE pays for them, and none is not the same as not said.
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
    for attribute in representation.resource_type.def().attributes {
        let name = attribute.field.name;
        match representation.get(name) {
            Some(value) => after.representation.set(name, value.clone()),
            None if is_writable(attribute.update) && attribute.response != Mode::Mandatory => {
                drop(after.representation.remove(name))
            }
            None => {}
        }
    }
    let validated = representation.get("memberTypeValidated").cloned();
    count_members(&mut after.representation, Some((&before.representation, validated)));
    write(writer, &before, &mut after)?;
    let mut response = writer.shown(StatusCode::Ok, &after);
    if let Body::Representation(shown) = &mut response.body {
        for (list, _) in members::lists(shown.resource_type, None) {
            shown.remove(list);
        }
    }
    Ok(Ok(response))
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
    count_members(&mut after.representation, Some((&before.representation, None)));
    write(writer, &before, &mut after)?;
    let mut response = writer.shown(StatusCode::Ok, &after);
    response.body = Body::Attribute { name: attribute.to_owned(), value: value.clone() };
    Ok(Ok(response))
}

/// What a group says about its members: how many, and whether the type of each is known to be right. Whoever checked
/// them says so in the command (`memberTypeValidated`); otherwise new members are unchecked, unless there is nothing to
/// check: no member, or any type allowed.
pub(super) fn count_members(group: &mut Representation, before: Option<(&Representation, Option<Value>)>) {
    if group.resource_type != ResourceType::Group {
        return;
    }
    let members = match group.get("members") {
        Some(Value::List(members)) => members.len(),
        _ => 0,
    };
    group.set("currentNrOfMembers", Value::Long(i64::try_from(members).unwrap_or(i64::MAX)));
    let (before, said) = match before {
        Some((before, said)) => (Some(before), said),
        None => (None, group.get("memberTypeValidated").cloned()),
    };
    let untouched = before.filter(|before| before.get("members") == group.get("members"));
    let kept = untouched.and_then(|before| before.get("memberTypeValidated").cloned());
    let nothing_to_check = members == 0 || group.text("memberType") == Some("MIXED");
    let validated = said.or(kept).unwrap_or(Value::Bool(nothing_to_check));
    group.set("memberTypeValidated", validated);
}

/// Changes one attribute at an accessor. An entry that was added is answered with its address.
pub(super) fn edit_attribute<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    attribute: &'static str,
    at: &[String],
    edit: &Edit,
    conditions: &Conditions,
) -> Answer<V> {
    let before = match addressed(writer, path, conditions)? {
        Ok(resource) => resource,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let def = match before.representation.resource_type.attribute(attribute) {
        Some(def) if is_writable(def.update) => def,
        _ => return Ok(Err(Refusal::attribute(attribute, "cannot be written"))),
    };
    let edited = match partial::edited(def, before.representation.get(attribute), at, edit) {
        Ok(edited) => edited,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut after = before.clone();
    match edited {
        Some(value) => after.representation.set(attribute, value),
        None => drop(after.representation.remove(attribute)),
    }
    // Those who stay are as checked as they were.
    let validated =
        before.representation.get("memberTypeValidated").filter(|_| *edit == Edit::Remove).cloned();
    count_members(&mut after.representation, Some((&before.representation, validated)));
    write(writer, &before, &mut after)?;
    let mut response = ResponsePrimitive {
        etag: Some(represent::etag(&after)),
        last_modified: after.representation.datetime("lastModifiedTime"),
        ..ResponsePrimitive::status(StatusCode::Ok)
    };
    if let Edit::Add(entry) = edit {
        response.status = StatusCode::Created;
        let name = partial::entry_name(entry).map(str::to_owned);
        let below = [attribute.to_owned()].into_iter().chain(at.iter().cloned()).chain(name);
        response.resource_uri =
            Some(writer.scl.address(&below.fold(path.clone(), |path, next| path.child(next))));
    }
    Ok(Ok(response))
}

fn is_writable(update: Mode) -> bool {
    matches!(update, Mode::Mandatory | Mode::Optional | Mode::MandatoryIfAssigned)
}

pub(super) fn addressed<V: TreeView>(
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
pub(super) fn write<V: TreeView>(
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
        ResourceType::M2mPoc => online::refresh(writer, &path.parent().unwrap_or_default())?,
        of if of.is_container() => keep_limits(writer, before, after)?,
        _ => {}
    }
    announcement::changed(writer, Some(before), after)?;
    let right = |resource: &Resource| resource.representation.text("accessRightID").map(str::to_owned);
    if right(before) != right(after) {
        subscription::governed_anew(writer, path)?;
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
