//! What happens to the members of a group besides an UPDATE of the whole (procedures.md 9).

use super::{Answer, update, writer::Writer};
use crate::{
    Path, Refusal, ResourceType, ResponsePrimitive, StatusCode, TreeView, Value,
    group::{self, Verified},
    primitive::{Body, Conditions},
    record::Resource,
    represent,
};
use std::collections::BTreeSet;

/// Replaces the members and answers with the list as it was kept.
pub(super) fn update_members<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    verified: &Verified,
    conditions: &Conditions,
) -> Answer<V> {
    let before = match addressed(writer, path, conditions)? {
        Ok(group) => group,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut after = before.clone();
    group::assign(&mut after.representation, Some(verified));
    update::write(writer, &before, &mut after)?;
    let mut response = writer.shown(StatusCode::Ok, &after);
    response.body =
        Body::Attribute { name: "members".to_owned(), value: Value::List(verified.members.clone()) };
    Ok(Ok(response))
}

/// The group whose members are to be changed.
fn addressed<V: TreeView>(
    writer: &Writer<'_, V>,
    path: &Path,
    conditions: &Conditions,
) -> Result<Result<Resource, Refusal>, V::Error> {
    Ok(update::addressed(writer, path, conditions)?.and_then(|found| {
        match found.representation.resource_type {
            ResourceType::Group => Ok(found),
            _ => Err(Refusal::attribute("members", "this is no group")),
        }
    }))
}

/// A member that was checked.
pub(super) struct Added<'a> {
    pub(super) member: &'a str,
    pub(super) member_type: Option<&'a str>,
    pub(super) validated: bool,
}

/// Adds a member, and answers with the address of the entry. The group may have got others since it was checked.
pub(super) fn add_member<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    added: &Added<'_>,
    conditions: &Conditions,
) -> Answer<V> {
    let before = match addressed(writer, path, conditions)? {
        Ok(group) => group,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut after = before.clone();
    if let Err(refusal) = group::add(writer.scl, &mut after.representation, added.member) {
        return Ok(Err(refusal));
    }
    if let Some(member_type) = added.member_type {
        after.representation.set("memberType", Value::Text(member_type.to_owned()));
    }
    let all = added.validated && before.representation.get("memberTypeValidated") == Some(&Value::Bool(true));
    after.representation.set("memberTypeValidated", Value::Bool(all));
    update::write(writer, &before, &mut after)?;
    Ok(Ok(ResponsePrimitive {
        etag: Some(represent::etag(&after)),
        last_modified: after.representation.datetime("lastModifiedTime"),
        resource_uri: Some(writer.scl.address(&path.child("members").child(added.member))),
        ..ResponsePrimitive::status(StatusCode::Created)
    }))
}

/// Takes members out. Said again, or of a group that is gone, it changes nothing.
pub(super) fn remove_members<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    gone: &[String],
) -> Answer<V> {
    let Some(before) = writer.tree().resource(path)? else { return Ok(Err(Refusal::not_found())) };
    let gone: BTreeSet<&String> = gone.iter().collect();
    let listed = group::members(&before.representation);
    let kept: Vec<String> = listed.iter().filter(|member| !gone.contains(member)).cloned().collect();
    if kept.len() < listed.len() {
        let mut after = before.clone();
        after.representation.set("members", Value::List(kept));
        group::count(&mut after.representation);
        update::write(writer, &before, &mut after)?;
    }
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}
