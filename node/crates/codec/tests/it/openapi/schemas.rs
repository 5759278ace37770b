//! JSON Schemas of representations: as they are answered, and as a CREATE and an UPDATE may carry them.

use banyan_model::{
    ResourceType,
    tables::{self, AttributeDef, Category, FieldDef, FieldKind, Mode, Shape, StructDef},
};
use serde_json::{Map, Value as Json, json};

/// Every type (`container`, `container.create`, `container.update`), struct and message.
pub(super) fn all() -> Json {
    let mut schemas = Map::new();
    for def in tables::TYPES.iter().filter(|def| def.category != Category::Virtual) {
        let required = |mode: fn(&AttributeDef) -> Mode| {
            move |attribute: &AttributeDef| match mode(attribute) {
                Mode::NotPermitted | Mode::NotApplicable => None,
                Mode::Mandatory => Some(true),
                Mode::MandatoryIfAssigned | Mode::Optional => Some(false),
            }
        };
        let body = |shown: &dyn Fn(&AttributeDef) -> Option<bool>| {
            let fields = def.attributes.iter().filter_map(|a| Some((&a.field, shown(a)?)));
            rooted(def.name, object(fields.collect()))
        };
        let response = required(|a| a.response);
        schemas.insert(def.name.to_owned(), body(&response));
        schemas.insert(inline(def.resource_type), {
            object(def.attributes.iter().map(|a| (&a.field, false)).collect())
        });
        if def.attributes.iter().any(|a| a.create != Mode::NotApplicable) {
            schemas.insert(format!("{}.create", def.name), body(&required(|a| a.create)));
        }
        if def.attributes.iter().any(|a| !matches!(a.update, Mode::NotApplicable | Mode::NotPermitted)) {
            schemas.insert(format!("{}.update", def.name), body(&required(|a| a.update)));
        }
    }
    for def in tables::STRUCTS {
        schemas.insert(def.name.to_owned(), structure(def));
        if !def.root_element.is_empty() {
            schemas.insert(def.root_element.to_owned(), rooted(def.root_element, reference(def.name)));
        }
    }
    Json::Object(schemas)
}

/// Whether members of any name may stand in it.
pub(super) fn is_open<'f>(mut fields: impl Iterator<Item = &'f FieldDef>) -> bool {
    fields.any(|field| field.kind == FieldKind::Wildcard)
}

pub(super) fn reference(schema: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// The name of a type's schema where it stands inside another.
fn inline(resource_type: ResourceType) -> String {
    format!("{}.inline", resource_type.name())
}

fn rooted(name: &str, inner: Json) -> Json {
    json!({"type": "object", "required": [name], "properties": {name: inner}, "additionalProperties": false})
}

fn structure(def: &StructDef) -> Json {
    let whole =
        object(def.fields.iter().map(|field| (field, field.min > 0 && field.choice.is_empty())).collect());
    // Text beside attributes is read without the object, too.
    if def.fields.iter().any(|field| field.kind == FieldKind::Text) {
        return json!({"anyOf": [{"type": "string"}, whole]});
    }
    whole
}

/// Fields, and whether each is required.
fn object(fields: Vec<(&'static FieldDef, bool)>) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (field, is_required) in &fields {
        let name = match field.kind {
            FieldKind::Wildcard => continue,
            FieldKind::Text => "$t",
            FieldKind::Element | FieldKind::XmlAttribute => field.name,
        };
        let one = value(field);
        let schema = if field.max == Some(1) { one } else { json!({"type": "array", "items": one}) };
        properties.insert(name.to_owned(), schema);
        if *is_required && field.choice.is_empty() {
            required.push(name);
        }
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !is_open(fields.iter().map(|(field, _)| *field)) {
        schema["additionalProperties"] = json!(false);
    }
    let excluding = exclusions(&fields);
    if !excluding.is_empty() {
        schema["allOf"] = json!(excluding);
    }
    schema
}

/// Alternatives of one choice exclude each other.
fn exclusions(fields: &[(&'static FieldDef, bool)]) -> Vec<Json> {
    let mut found = Vec::new();
    for (at, (field, _)) in fields.iter().enumerate() {
        let others = fields[at + 1..].iter().filter(|(other, _)| other.choice == field.choice);
        if !field.choice.is_empty() {
            found.extend(others.map(|(other, _)| json!({"not": {"required": [field.name, other.name]}})));
        }
    }
    found
}

fn value(field: &FieldDef) -> Json {
    let text = |format: &str| json!({"type": "string", "format": format});
    let octets = || {
        let typed = json!({
            "type": "object",
            "properties": {"contentType": {"type": "string"}, "$t": {"type": "string", "contentEncoding": "base64"}},
            "additionalProperties": false,
        });
        json!({"anyOf": [{"type": "string", "contentEncoding": "base64"}, typed]})
    };
    let named = || {
        json!({
            "type": "object",
            "properties": {"id": {"type": "string"}, "$t": {"type": "string", "format": "uri-reference"}},
            "required": ["id", "$t"],
            "additionalProperties": false,
        })
    };
    let list = |item: &str| {
        json!({
            "type": "object",
            "properties": {item: {"type": "array", "items": {"type": "string"}}},
            "additionalProperties": false,
        })
    };
    match field.shape {
        Shape::Uri => text("uri-reference"),
        Shape::String | Shape::Time | Shape::Hex => json!({"type": "string"}),
        Shape::Datetime => text("date-time"),
        Shape::Duration => text("duration"),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Long => json!({"type": "integer", "format": "int64"}),
        Shape::Base64 => octets(),
        Shape::UriList | Shape::StringList => {
            let of = field.xsd_type.strip_prefix("m2m:").and_then(tables::struct_def);
            list(of.and_then(|of| of.fields.first()).map_or("reference", |child| child.name))
        }
        Shape::NamedReference => named(),
        Shape::NamedReferenceCollection => json!({
            "type": "object",
            "properties": {"namedReference": {"type": "array", "items": named()}},
            "additionalProperties": false,
        }),
        Shape::Content => json!({
            "type": "object",
            "properties": {
                "contentType": {"type": "string"},
                "textContent": {"type": "string"},
                "binaryContent": {"type": "string", "contentEncoding": "base64"},
            },
            "additionalProperties": false,
            "allOf": [{"not": {"required": ["textContent", "binaryContent"]}}],
        }),
        Shape::Empty => json!({"type": "object", "maxProperties": 0}),
        Shape::Any => json!({"description": "An element of any structure."}),
        Shape::Enum(name) => {
            let values = tables::enum_def(name).map_or(&[][..], |def| def.values);
            json!({"type": "string", "enum": values.iter().map(|(value, _)| value).collect::<Vec<_>>()})
        }
        Shape::Struct("ChannelData") => reference("LongPollingChannelData"),
        Shape::Struct("FilterCriteriaType") => {
            json!({"anyOf": [reference("FilterCriteriaType"), reference("ContentInstancesFilterCriteriaType")]})
        }
        Shape::Struct(name) => reference(name),
        Shape::Resource(resource_type) => reference(&inline(resource_type)),
    }
}
