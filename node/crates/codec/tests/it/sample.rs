//! Full and minimal values of every type and message body, made from the tables alone.

use banyan_model::{
    Content, Representation, ResourceType, Timestamp, Value,
    tables::{self, AttributeDef, Category, FieldDef, FieldKind, Namespace, Shape, StructDef},
    time::XsdDuration,
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    /// Every field; of alternatives the first.
    Full,
    /// What the schema requires.
    Minimal,
}

/// Every type that has a representation.
pub(crate) fn types() -> impl Iterator<Item = ResourceType> {
    tables::TYPES.iter().filter(|t| t.category != Category::Virtual).map(|t| t.resource_type)
}

/// Every message body.
pub(crate) fn messages() -> impl Iterator<Item = &'static StructDef> {
    tables::STRUCTS.iter().filter(|s| !s.root_element.is_empty())
}

pub(crate) fn representation(resource_type: ResourceType, extent: Extent) -> Representation {
    let fields = resource_type.def().attributes.iter().map(|a: &AttributeDef| &a.field);
    Representation { resource_type, attributes: values(fields, extent) }
}

pub(crate) fn message(def: &'static StructDef, extent: Extent) -> Struct {
    Struct { name: def.name, fields: values(def.fields.iter(), extent) }
}

fn values(fields: impl Iterator<Item = &'static FieldDef>, extent: Extent) -> Vec<(&'static str, Value)> {
    let mut values: Vec<(&'static str, Value)> = Vec::new();
    let mut choices: Vec<&str> = Vec::new();
    for field in fields {
        // No boolean keeps the pattern of capabilityInstance.attached (tables/README.md, doubt 6).
        let unwritable = field.xsd_type == "m2m:TFboolean";
        // An alternative of a choice that may be absent: subscription's, whose members say min 1.
        let optional = field.min == 0 || field.name == "minimalTimeBetweenNotifications";
        if unwritable || choices.contains(&field.choice) || (extent == Extent::Minimal && optional) {
            continue;
        }
        if !field.choice.is_empty() {
            if extent == Extent::Minimal && field.name == "delayTolerance" {
                continue;
            }
            choices.push(field.choice);
        }
        let repeated = field.max != Some(1) && field.kind != FieldKind::Wildcard && extent == Extent::Full;
        for _ in 0..if repeated { 2 } else { 1 } {
            values.push((field.name, value(field, extent)));
        }
    }
    values
}

pub(crate) fn value(field: &'static FieldDef, extent: Extent) -> Value {
    let name = field.name;
    let list = |items: &[&str]| {
        let items = if extent == Extent::Full {
            items
        } else {
            &items[..usize::from(field.xsd_type == "m2m:ContentTypes")]
        };
        Value::List(items.iter().map(|s| s.to_string()).collect())
    };
    match field.shape {
        Shape::Uri => Value::Text(format!("http://example.org/{name}")),
        Shape::UriList => list(&["/m2m/one", "http://example.org/two?a=1&b=2"]),
        Shape::String => Value::Text(match field.xsd_type {
            "xs:NMTOKEN" | "xs:token" | "xs:anySimpleType" => format!("{name}-1"),
            "m2m:MemorySize" => "64K".into(),
            _ => format!("{name} <&\"é\">").chars().take(32).collect(),
        }),
        Shape::StringList => list(&["text/plain", "a b"]),
        Shape::Datetime => Value::Datetime(Timestamp(1_369_994_520_123)),
        Shape::Time => Value::Text("12:30:00Z".into()),
        Shape::Duration => Value::Duration(XsdDuration { negative: false, months: 1, millis: 93_784_500 }),
        Shape::Bool => Value::Bool(true),
        Shape::Long => Value::Long(42),
        Shape::Hex => {
            let length = field.facet.strip_prefix("length=").map_or(3, |n| n.parse().expect("a number"));
            Value::Binary { content_type: None, bytes: Bytes::from(vec![0xA5; length]) }
        }
        Shape::Base64 => Value::Binary {
            content_type: (extent == Extent::Full).then(|| "application/xml".into()),
            bytes: Bytes::from_static(b"<m2m:container/>"),
        },
        Shape::NamedReferenceCollection if extent == Extent::Minimal => Value::References(Vec::new()),
        Shape::NamedReferenceCollection => Value::References(vec![reference("one"), reference("two")]),
        Shape::NamedReference => Value::Reference(reference("one")),
        Shape::Content => Value::Content(Content {
            content_type: Some("text/plain".into()),
            bytes: Bytes::from_static("21.5 °C & rising\r\n".as_bytes()),
            form: ContentForm::Text,
        }),
        Shape::Empty => Value::Empty,
        Shape::Any => Value::Any(foreign(field)),
        Shape::Enum(name) => Value::Text(tables::enum_def(name).expect("in the tables").values[0].0.into()),
        Shape::Struct(name) => {
            let derived = match (name, extent) {
                ("ChannelData", _) => "LongPollingChannelData",
                // requestNotify.xsd does not include contentInstances.xsd, subscription's wrapper does (doubt 8).
                ("FilterCriteriaType", Extent::Full) if field.namespace == Namespace::M2m => {
                    "ContentInstancesFilterCriteriaType"
                }
                (own, _) => own,
            };
            Value::Struct(message(tables::struct_def(derived).expect("in the tables"), extent))
        }
        Shape::Resource(inner) => Value::Resource(Box::new(representation(inner, extent))),
    }
}

fn reference(id: &str) -> NamedReference {
    NamedReference { id: id.into(), uri: format!("/m2m/applications/{id}") }
}

/// A wildcard's elements, or the inside of an element of any type.
fn foreign(field: &FieldDef) -> Element {
    let leaf = |name: &str, text: &str| Element {
        namespace: "urn:example:vendor".into(),
        name: name.into(),
        text: text.into(),
        attributes: vec![("{urn:example:unit}unit".into(), "V".into()), ("since".into(), "2013".into())],
        ..Element::default()
    };
    match field.kind {
        FieldKind::Wildcard => Element { children: vec![leaf("voltage", "3.3")], ..Element::default() },
        _ => Element { text: "on & off".into(), ..Element::default() },
    }
}
