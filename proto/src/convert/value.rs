//! Values and representations.

use super::{Malformed, names, required};
use crate::v1;
use banyan_model::{
    Content, Representation, Timestamp, Value,
    time::XsdDuration,
    value::{ContentForm, Element, NamedReference, Struct},
};

impl From<&Value> for v1::Value {
    fn from(value: &Value) -> v1::Value {
        use v1::value::Kind;
        let kind = match value {
            Value::Text(text) => Kind::Text(text.clone()),
            Value::Datetime(at) => Kind::DatetimeMs(at.0),
            Value::Duration(XsdDuration { negative, months, millis }) => {
                Kind::Duration(v1::Duration { negative: *negative, months: *months, millis: *millis })
            }
            Value::Bool(yes) => Kind::Boolean(*yes),
            Value::Long(number) => Kind::Long(*number),
            Value::Binary { content_type, bytes } => {
                Kind::Binary(v1::Binary { content_type: content_type.clone(), bytes: bytes.clone() })
            }
            Value::List(items) => Kind::List(v1::TextList { items: items.clone() }),
            Value::Reference(reference) => Kind::Reference(reference.into()),
            Value::References(references) => {
                Kind::References(v1::NamedReferences { items: references.iter().map(Into::into).collect() })
            }
            Value::Content(content) => Kind::Content(content.into()),
            Value::Struct(fields) => Kind::Struct(fields.into()),
            Value::Resource(representation) => Kind::Resource((&**representation).into()),
            Value::Empty => Kind::Empty(true),
            Value::Any(element) => Kind::Any(element.into()),
        };
        v1::Value { kind: Some(kind) }
    }
}

impl TryFrom<v1::Value> for Value {
    type Error = Malformed;

    fn try_from(value: v1::Value) -> Result<Value, Malformed> {
        use v1::value::Kind;
        Ok(match required("value", value.kind)? {
            Kind::Text(text) => Value::Text(text),
            Kind::DatetimeMs(at) => Value::Datetime(Timestamp(at)),
            Kind::Duration(v1::Duration { negative, months, millis }) => {
                Value::Duration(XsdDuration { negative, months, millis })
            }
            Kind::Boolean(yes) => Value::Bool(yes),
            Kind::Long(number) => Value::Long(number),
            Kind::Binary(v1::Binary { content_type, bytes }) => Value::Binary { content_type, bytes },
            Kind::List(list) => Value::List(list.items),
            Kind::Reference(reference) => Value::Reference(reference.into()),
            Kind::References(references) => {
                Value::References(references.items.into_iter().map(Into::into).collect())
            }
            Kind::Content(content) => Value::Content(content.into()),
            Kind::Struct(fields) => Value::Struct(fields.try_into()?),
            Kind::Resource(representation) => Value::Resource(Box::new(representation.try_into()?)),
            Kind::Empty(_) => Value::Empty,
            Kind::Any(element) => Value::Any(element.into()),
        })
    }
}

impl From<&NamedReference> for v1::NamedReference {
    fn from(reference: &NamedReference) -> v1::NamedReference {
        v1::NamedReference { id: reference.id.clone(), uri: reference.uri.clone() }
    }
}

impl From<v1::NamedReference> for NamedReference {
    fn from(reference: v1::NamedReference) -> NamedReference {
        NamedReference { id: reference.id, uri: reference.uri }
    }
}

impl From<&Content> for v1::Content {
    fn from(content: &Content) -> v1::Content {
        v1::Content {
            content_type: content.content_type.clone(),
            bytes: content.bytes.clone(),
            is_text: content.form == ContentForm::Text,
        }
    }
}

impl From<v1::Content> for Content {
    fn from(content: v1::Content) -> Content {
        let form = if content.is_text { ContentForm::Text } else { ContentForm::Binary };
        Content { content_type: content.content_type, bytes: content.bytes, form }
    }
}

impl From<&Struct> for v1::Struct {
    fn from(value: &Struct) -> v1::Struct {
        v1::Struct { name: value.name.to_owned(), fields: value.fields.iter().map(field).collect() }
    }
}

impl TryFrom<v1::Struct> for Struct {
    type Error = Malformed;

    fn try_from(value: v1::Struct) -> Result<Struct, Malformed> {
        let name = names::struct_name(&value.name)?;
        let read = |field: v1::Field| {
            Ok((names::field(name, &field.name)?, required("field", field.value)?.try_into()?))
        };
        Ok(Struct { name, fields: value.fields.into_iter().map(read).collect::<Result<_, Malformed>>()? })
    }
}

impl From<&Representation> for v1::Representation {
    fn from(representation: &Representation) -> v1::Representation {
        v1::Representation {
            r#type: representation.resource_type.name().to_owned(),
            attributes: representation.attributes.iter().map(field).collect(),
        }
    }
}

impl TryFrom<v1::Representation> for Representation {
    type Error = Malformed;

    fn try_from(representation: v1::Representation) -> Result<Representation, Malformed> {
        let resource_type = names::resource_type(&representation.r#type)?;
        let read = |field: v1::Field| {
            let name = names::attribute(resource_type, &field.name)?;
            Ok((name, required("attribute", field.value)?.try_into()?))
        };
        let attributes = representation.attributes.into_iter().map(read).collect::<Result<_, Malformed>>()?;
        Ok(Representation { resource_type, attributes })
    }
}

impl From<&Element> for v1::Element {
    fn from(element: &Element) -> v1::Element {
        let attribute = |(name, value): &(String, String)| v1::ElementAttribute {
            name: name.clone(),
            value: value.clone(),
        };
        v1::Element {
            namespace: element.namespace.clone(),
            name: element.name.clone(),
            attributes: element.attributes.iter().map(attribute).collect(),
            children: element.children.iter().map(Into::into).collect(),
            text: element.text.clone(),
        }
    }
}

impl From<v1::Element> for Element {
    fn from(element: v1::Element) -> Element {
        Element {
            namespace: element.namespace,
            name: element.name,
            attributes: element.attributes.into_iter().map(|a| (a.name, a.value)).collect(),
            children: element.children.into_iter().map(Into::into).collect(),
            text: element.text,
        }
    }
}

fn field((name, value): &(&'static str, Value)) -> v1::Field {
    v1::Field { name: (*name).to_owned(), value: Some(value.into()) }
}
