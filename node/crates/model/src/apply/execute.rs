//! EXECUTE (procedures.md 19): an execInstance comes, or is to end, or an action begins.

use super::{
    Answer, create,
    subscription::{self, News},
    writer::Writer,
};
use crate::{
    Entity, Execution, Path, Refusal, ResourceType, ResponsePrimitive, StatusCode, TreeView, Value,
    execute::action_status,
    primitive::{Body, NotifyMedia},
    record::Resource,
    value::Struct,
};

pub(super) fn execute<V: TreeView>(
    writer: &mut Writer<'_, V>,
    entity: &Entity,
    execution: &Execution,
) -> Answer<V> {
    match execution {
        Execution::Command { path, representation } => {
            let made = create::create(writer, entity, path, representation, NotifyMedia::default())?;
            // It has begun, no more: whoever wants to know the end subscribes to the execInstance.
            Ok(made.map(|made| ResponsePrimitive { status: StatusCode::Accepted, ..made }))
        }
        Execution::Cancel { path } => cancel(writer, path),
        Execution::Action { path, attribute } => begin(writer, path, attribute),
    }
}

/// What runs is to end; what has ended cannot.
fn cancel<V: TreeView>(writer: &mut Writer<'_, V>, path: &Path) -> Answer<V> {
    let mut instance = match writer.tree().resource(path)? {
        Some(found) if found.representation.resource_type == ResourceType::ExecInstance => found,
        _ => return Ok(Err(Refusal::not_found())),
    };
    match instance.representation.text("execStatus") {
        Some("FINISHED") => {
            return Ok(Err(Refusal::new(StatusCode::Forbidden, "execStatus: FINISHED, nothing runs")));
        }
        Some("CANCELLING") => {}
        _ => {
            instance.representation.set("execStatus", Value::Text("CANCELLING".into()));
            write(writer, &mut instance)?;
        }
    }
    Ok(Ok(writer.shown(StatusCode::Ok, &instance)))
}

/// The resource above the action reports it from now on: which one, and that nothing is done yet.
fn begin<V: TreeView>(writer: &mut Writer<'_, V>, path: &Path, attribute: &'static str) -> Answer<V> {
    if writer.tree().resource(path)?.is_none() {
        return Ok(Err(Refusal::not_found()));
    }
    let above = path.parent().unwrap_or_default();
    let Some(mut reporting) = writer.tree().resource(&above)? else { return Ok(Err(Refusal::not_found())) };
    let Some(status) = action_status(reporting.representation.resource_type) else {
        return Ok(Err(Refusal::attribute(attribute, "nothing here reports this action")));
    };
    let action = Value::Text(writer.scl.address(&path.child(attribute)));
    let running =
        Struct { name: "ActionStatus", fields: vec![("action", action), ("progress", Value::Long(0))] };
    reporting.representation.set(status.field.name, Value::Struct(running));
    write(writer, &mut reporting)?;
    let response = writer.shown(StatusCode::Ok, &reporting);
    Ok(Ok(ResponsePrimitive { body: Body::None, ..response }))
}

fn write<V: TreeView>(writer: &mut Writer<'_, V>, resource: &mut Resource) -> Result<(), V::Error> {
    writer.touch(resource);
    writer.put_resource(resource.clone())?;
    subscription::notify(writer, &resource.path, News::Changed)
}
