//! What a body must be for the target that it was sent to.

use crate::{
    Body, Refusal, Representation, ResourceType, StatusCode, Value, partial,
    tables::{AttributeDef, FieldDef, Shape, struct_def},
    value::{Content, ContentForm, Struct},
};

/// The new member of a collection.
pub(super) fn child(body: Body) -> Result<Representation, Refusal> {
    match body {
        Body::Representation(representation) => Ok(representation),
        other => Err(unfit(other, "a representation of the new resource")),
    }
}

/// A new contentInstance: its representation, or its content alone in any other media type.
pub(super) fn instance(body: Body) -> Result<Representation, Refusal> {
    match body {
        Body::Raw { content_type, bytes } => {
            let content = Content { content_type: Some(content_type), bytes, form: ContentForm::Binary };
            let mut representation = Representation::new(ResourceType::ContentInstance);
            representation.set("content", Value::Content(content));
            Ok(representation)
        }
        other => child(other),
    }
}

/// A representation of the addressed resource's own type.
pub(super) fn resource(body: Body, resource_type: ResourceType) -> Result<Representation, Refusal> {
    match body {
        Body::Representation(representation) if representation.resource_type == resource_type => {
            Ok(representation)
        }
        Body::Representation(representation) => Err(Refusal::attribute(
            representation.resource_type.name(),
            format_args!("the addressed resource is of type {}", resource_type.name()),
        )),
        other => Err(unfit(other, "a representation of the addressed resource")),
    }
}

/// The addressed attribute: a value of its shape.
pub(super) fn attribute(body: Body, attribute: &'static AttributeDef) -> Result<Value, Refusal> {
    element(body, &attribute.field)
}

/// The element of a field alone: a value of its shape.
pub(super) fn element(body: Body, field: &'static FieldDef) -> Result<Value, Refusal> {
    let name = field.name;
    match body {
        Body::Attribute { name: sent, .. } if sent != name => {
            Err(Refusal::attribute(&sent, format_args!("{name} was expected")))
        }
        Body::Attribute { value, .. } if fits(field.shape, &value) => Ok(value),
        Body::Attribute { .. } => Err(Refusal::attribute(name, "a value of another type was expected")),
        other => Err(unfit(other, &format!("the element {name} alone"))),
    }
}

/// Gives an entry its name; one that it has already must be that.
pub(super) fn keep_name(entry: &mut Value, field: &'static FieldDef, name: &str) -> Result<(), Refusal> {
    let Value::Struct(fields) = entry else { return Ok(()) };
    let known = partial::entry_name(&Value::Struct(fields.clone())).map(str::to_owned);
    match known {
        Some(known) if known == name.strip_prefix('/').unwrap_or(name) => Ok(()),
        Some(known) => {
            Err(Refusal::attribute(field.name, format_args!("{known} is not {name}, which is addressed")))
        }
        None => {
            let has_id = struct_def(fields.name).is_some_and(|def| def.fields.iter().any(|f| f.name == "id"));
            if has_id {
                fields.fields.insert(0, ("id", Value::Text(name.to_owned())));
            }
            Ok(())
        }
    }
}

/// A notify, or several, or the answer to an asynchronous request; a request where a channel carries such.
pub(super) fn notification(body: Body, takes_requests: bool) -> Result<Struct, Refusal> {
    match body {
        Body::Message(message) if takes_requests && message.name == "RequestNotify" => Ok(message),
        Body::Message(message)
            if matches!(message.name, "Notify" | "NotifyCollection" | "ResponseNotify") =>
        {
            Ok(message)
        }
        other => Err(unfit(other, "notify, notifyCollection or responseNotify")),
    }
}

pub(super) fn unfit(body: Body, expected: &str) -> Refusal {
    match body {
        Body::Malformed(refusal) => refusal,
        Body::None => Refusal::new(StatusCode::BadRequest, format!("no body: {expected} was expected")),
        Body::Raw { content_type, .. } => Refusal::new(
            StatusCode::UnsupportedMediaType,
            format!("{content_type}: {expected} in XML or JSON was expected"),
        ),
        _ => Refusal::new(StatusCode::BadRequest, format!("{expected} was expected")),
    }
}

/// The reader took the first type that has an attribute of this name; here it is known which one was meant.
fn fits(shape: Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Uri | Shape::String | Shape::Time | Shape::Enum(_), Value::Text(_))
        | (Shape::UriList | Shape::StringList, Value::List(_))
        | (Shape::Datetime, Value::Datetime(_))
        | (Shape::Duration, Value::Duration(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Long, Value::Long(_))
        | (Shape::Hex | Shape::Base64, Value::Binary { .. })
        | (Shape::NamedReferenceCollection, Value::References(_))
        | (Shape::NamedReference, Value::Reference(_))
        | (Shape::Content, Value::Content(_))
        | (Shape::Empty, Value::Empty)
        | (Shape::Any, Value::Any(_)) => true,
        (Shape::Struct(name), Value::Struct(value)) => value.name == name,
        (Shape::Resource(resource_type), Value::Resource(inline)) => inline.resource_type == resource_type,
        _ => false,
    }
}
