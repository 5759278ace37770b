//! The tree -> values, one function a shape.

use super::{
    CHILDREN, TEXT,
    reader::{self, Node},
};
use crate::{
    Expect, Limits,
    collect::Collector,
    face::Found,
    lexical::{self, is_ncname, is_xml_text},
    schema::{self, Fields, Root},
    xml::decode::narrowest,
};
use banyan_model::{
    Content, Refusal, Representation, ResourceType, StatusCode, Value,
    tables::{self, FieldDef, FieldKind, Shape, StructDef},
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;
use std::borrow::Cow;

type Members<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// Reads a whole document.
pub(crate) fn document(text: &str, limits: &Limits, expect: Expect) -> Result<Found, Refusal> {
    let one_member =
        || Refusal::new(StatusCode::BadRequest, "not an object with one member, named after its type");
    let Node::Object(members) = reader::read(text, limits)? else { return Err(one_member()) };
    let [(name, node)] = <[_; 1]>::try_from(members).map_err(|_| one_member())?;
    let Some(root) = schema::root(&name) else {
        return Err(refuse(&name, "no resource, attribute or message of this name"));
    };
    expect.admit(&name, root)?;
    match root {
        Root::Resource(resource_type) => {
            Ok(Found::Representation(representation(&name, node, resource_type)?))
        }
        Root::Attribute(field) => Ok(Found::Attribute(field, value(&name, node, field, 1)?)),
        Root::Message(def) => Ok(Found::Message(structure(&name, node, def, 1)?)),
    }
}

fn representation(
    name: &str,
    node: Node<'_>,
    resource_type: ResourceType,
) -> Result<Representation, Refusal> {
    let fields = fields(name, object(name, node)?, Fields::of(resource_type))?;
    Ok(Representation { resource_type, attributes: fields.finish_resource() })
}

/// A struct, or the one derived from it if it needs that one's fields. A struct with text may be a bare text (V1).
fn structure(
    name: &str,
    node: Node<'_>,
    declared: &'static StructDef,
    ordinal: usize,
) -> Result<Struct, Refusal> {
    let def = schema::derived(declared.name).map_or(declared, |(derived, _)| derived);
    let has_text = def.fields.iter().any(|f| f.kind == FieldKind::Text);
    let members = match node {
        Node::Text(_) if has_text => vec![(TEXT.into(), node)],
        node => object(name, node)?,
    };
    let fields = fields(name, members, Fields::Struct(def.fields))?
        .finish_struct(def.name, ordinal)
        .map_err(|(field, why)| refuse(field, format_args!("{why} in {name}")))?;
    Ok(Struct { name: narrowest(declared, def, &fields), fields })
}

/// The members of an object, by a table of fields.
fn fields(owner: &str, members: Members<'_>, fields: Fields) -> Result<Collector, Refusal> {
    let mut collector = Collector::new(fields);
    for (name, node) in members {
        let stands_for = |field: &FieldDef, name: &str| match field.kind {
            FieldKind::Element | FieldKind::XmlAttribute => field.name == name,
            FieldKind::Text => name == TEXT,
            FieldKind::Wildcard => false,
        };
        let known = collector.find(|f| stands_for(f, &name));
        let known = known.or_else(|| {
            let v2 = schema::renamed(&name)?;
            collector.find(|f| stands_for(f, v2))
        });
        if let Some(index) = known {
            let field = collector.field(index);
            for node in repeated(&name, node, field)? {
                collector.admit(index).map_err(|why| refuse(&name, format_args!("{why} in {owner}")))?;
                let value = value(&name, node, field, collector.ordinal(index))?;
                collector.push(index, value);
            }
            continue;
        }
        let wildcard = collector
            .find(|f| f.kind == FieldKind::Wildcard && (f.name == "##any" || name.starts_with(['{', '$'])));
        let Some(index) = wildcard else {
            return Err(refuse(&name, schema::unknown("member of", &name, owner)));
        };
        let other_only = collector.field(index).name == "##other";
        for child in children(&name, node)? {
            if other_only && matches!(&*child.namespace, "" | schema::M2M) {
                return Err(refuse(&child.name, format_args!("unknown member of {owner}")));
            }
            collector.admit_foreign(index).map_err(|why| refuse(owner, why))?;
            collector.push_foreign(index, child);
        }
    }
    Ok(collector)
}

/// The values of a member: an array's items where the field repeats; a bare value is a list of one.
fn repeated<'a>(name: &str, node: Node<'a>, field: &FieldDef) -> Result<Vec<Node<'a>>, Refusal> {
    match node {
        Node::Array(items) if field.max != Some(1) => Ok(items),
        // A wrapper is an object: its own reader says so.
        Node::Array(_) if !is_object(field.shape) => Err(refuse(name, "one value expected, not an array")),
        one => Ok(vec![one]),
    }
}

/// Whether values of this shape are written as an object with members of their own.
fn is_object(shape: Shape) -> bool {
    matches!(
        shape,
        Shape::UriList
            | Shape::StringList
            | Shape::NamedReferenceCollection
            | Shape::NamedReference
            | Shape::Content
            | Shape::Struct(_)
            | Shape::Resource(_)
    )
}

/// A field's value, by its shape.
fn value(name: &str, node: Node<'_>, field: &'static FieldDef, ordinal: usize) -> Result<Value, Refusal> {
    match field.shape {
        Shape::UriList | Shape::StringList => list(name, node, field),
        Shape::NamedReferenceCollection => {
            let items = wrapped(name, node, "namedReference")?;
            let items: Result<_, _> =
                items.into_iter().map(|item| reference("namedReference", item)).collect();
            items.map(Value::References)
        }
        Shape::NamedReference => reference(name, node).map(Value::Reference),
        Shape::Content => content(name, node).map(Value::Content),
        Shape::Struct(def) => {
            // Every name in the tables is a struct of the tables (a test of `schema` says so).
            let def = tables::struct_def(def).ok_or_else(|| refuse(name, "has no definition"))?;
            structure(name, node, def, ordinal).map(Value::Struct)
        }
        Shape::Resource(resource_type) => {
            let inline = representation(name, node, resource_type)?;
            Ok(Value::Resource(Box::new(inline)))
        }
        Shape::Empty => match node {
            Node::Object(members) if members.is_empty() => Ok(Value::Empty),
            Node::Null | Node::Bool(true) => Ok(Value::Empty),
            Node::Text(text) if text.is_empty() => Ok(Value::Empty),
            _ => Err(refuse(name, "must be empty: {}")),
        },
        Shape::Any => element(name, node).map(Value::Any),
        Shape::Base64 if field.xsd_type == "xmime:base64Binary" => {
            let (content_type, text) = typed_text(name, node)?;
            let bytes = lexical::base64(&text).map_err(|why| refuse(name, why))?;
            Ok(Value::Binary { content_type, bytes: bytes.into() })
        }
        _ => simple(name, node, field),
    }
}

/// One text, number or boolean. A string may stand for a number or a boolean, not the other way round.
fn simple(name: &str, node: Node<'_>, field: &FieldDef) -> Result<Value, Refusal> {
    let numeric = matches!(field.shape, Shape::Long | Shape::Duration | Shape::Bool);
    let text = match node {
        Node::Text(text) => xml_text(name, text)?,
        Node::Integer(number) if numeric => number.to_string().into(),
        Node::Bool(truth) if field.shape == Shape::Bool => truth.to_string().into(),
        Node::Float(_) if field.shape == Shape::Long => {
            return Err(refuse(name, "not an integer of 64 bits"));
        }
        Node::Integer(_) | Node::Float(_) => return Err(refuse(name, "a string was expected, not a number")),
        Node::Bool(_) => return Err(refuse(name, "a boolean was not expected")),
        Node::Null => return Err(refuse(name, "is null; leave it out instead")),
        Node::Array(_) | Node::Object(_) => return Err(refuse(name, "one simple value expected")),
    };
    lexical::read(field, &text).map_err(|why| refuse(name, why))
}

fn list(name: &str, node: Node<'_>, field: &'static FieldDef) -> Result<Value, Refusal> {
    let Some(item) = schema::list_child(field) else { return Err(refuse(name, "not a list")) };
    let mut items = Vec::new();
    for node in wrapped(name, node, item.name)? {
        if let Value::Text(text) = simple(item.name, node, item)? {
            items.push(text);
        }
    }
    Ok(Value::List(items))
}

/// The items of a wrapper object's only member; a bare value is a list of one, an absent member an empty list.
fn wrapped<'a>(name: &str, node: Node<'a>, item: &str) -> Result<Vec<Node<'a>>, Refusal> {
    let mut members = object(name, node)?;
    match (members.pop(), members.is_empty()) {
        (None, _) => Ok(Vec::new()),
        (Some((only, Node::Array(items))), true) if only == item => Ok(items),
        (Some((only, bare)), true) if only == item => Ok(vec![bare]),
        (Some((last, _)), _) => {
            let unknown =
                members.first().map_or(&last, |(first, _)| if first == item { &last } else { first });
            Err(refuse(unknown, format_args!("unknown member of {name}")))
        }
    }
}

fn reference(name: &str, node: Node<'_>) -> Result<NamedReference, Refusal> {
    let (mut id, mut uri) = (None, None);
    for (member, node) in object(name, node)? {
        match &*member {
            "id" => id = Some(xml_text(&member, string(&member, node)?)?),
            TEXT => uri = Some(xml_text(&member, string(&member, node)?)?),
            _ => return Err(refuse(&member, format_args!("unknown member of {name}"))),
        }
    }
    let Some(id) = id else { return Err(refuse("id", format_args!("is missing in {name}"))) };
    Ok(NamedReference { id: id.into_owned(), uri: uri.unwrap_or_default().into_owned() })
}

/// V2: binaryContent or textContent; V1: base64 under `$t` or as the bare value. OpenMTC sends both forms at once: the
/// V1 text must then say the same.
fn content(name: &str, node: Node<'_>) -> Result<Content, Refusal> {
    let members = match node {
        Node::Text(_) => vec![(TEXT.into(), node)],
        node => object(name, node)?,
    };
    let mut content_type = None;
    let mut v1: Option<Bytes> = None;
    let mut v2: Option<(ContentForm, Bytes)> = None;
    for (member, node) in members {
        let base64 = |node| -> Result<Bytes, Refusal> {
            let bytes = lexical::base64(&string(&member, node)?);
            bytes.map(Bytes::from).map_err(|why| refuse(&member, why))
        };
        match (&*member, v2.is_some()) {
            ("contentType", _) => {
                content_type = Some(xml_text(&member, string(&member, node)?)?.into_owned())
            }
            (TEXT, _) => v1 = Some(base64(node)?),
            ("binaryContent", false) => v2 = Some((ContentForm::Binary, base64(node)?)),
            // Not held to XML's characters: the XML encoder falls back to binaryContent.
            ("textContent", false) => {
                v2 = Some((ContentForm::Text, string(&member, node)?.into_owned().into()))
            }
            ("binaryContent" | "textContent", true) => {
                return Err(refuse(&member, "content holds one of binaryContent and textContent"));
            }
            _ => return Err(refuse(&member, "unknown member of content")),
        }
    }
    let (form, bytes) = match (v2, v1) {
        (Some((_, bytes)), Some(v1)) if bytes != v1 => {
            return Err(refuse(TEXT, "says something else than the content beside it"));
        }
        (Some(v2), _) => v2,
        (None, Some(v1)) => (ContentForm::Binary, v1),
        (None, None) => return Err(refuse(name, "one of binaryContent and textContent is missing")),
    };
    Ok(Content { content_type, bytes, form })
}

/// `"text"`, or `{"contentType": .., "$t": "text"}`.
fn typed_text<'a>(name: &str, node: Node<'a>) -> Result<(Option<String>, Cow<'a, str>), Refusal> {
    if let Node::Text(text) = node {
        return Ok((None, text));
    }
    let (mut content_type, mut text) = (None, None);
    for (member, node) in object(name, node)? {
        match &*member {
            "contentType" => content_type = Some(xml_text(&member, string(&member, node)?)?.into_owned()),
            TEXT => text = Some(string(&member, node)?),
            _ => return Err(refuse(&member, format_args!("unknown member of {name}"))),
        }
    }
    Ok((content_type, text.unwrap_or_default()))
}

/// A foreign element's attributes, text and children; it has no name of its own yet.
fn element(name: &str, node: Node<'_>) -> Result<Element, Refusal> {
    let mut element = Element::default();
    match node {
        Node::Null => {}
        Node::Bool(truth) => element.text = truth.to_string(),
        Node::Integer(number) => element.text = number.to_string(),
        Node::Float(number) => element.text = number.to_string(),
        Node::Text(text) => element.text = xml_text(name, text)?.into_owned(),
        Node::Array(_) => return Err(refuse(name, "one value expected, not an array")),
        Node::Object(members) => {
            for (member, node) in members {
                if let Some(attribute) = member.strip_prefix('@') {
                    let (namespace, local) = clark(attribute)?;
                    let attribute = if namespace == schema::XML || is_foreign_name(namespace) {
                        xml_text(local, string(&member, node)?)?.into_owned()
                    } else {
                        return Err(refuse(&member, "its namespace cannot be written"));
                    };
                    element.attributes.push((member[1..].to_owned(), attribute));
                } else if member == TEXT {
                    element.text = xml_text(&member, string(&member, node)?)?.into_owned();
                } else {
                    element.children.extend(children(&member, node)?);
                }
            }
        }
    }
    Ok(element)
}

/// The elements a member of a foreign object stands for: itself, several of its name, or those listed under `$c`.
fn children(name: &str, node: Node<'_>) -> Result<Vec<Element>, Refusal> {
    if name == CHILDREN {
        let Node::Array(items) = node else {
            return Err(refuse(name, "must be an array of one-member objects"));
        };
        let mut all = Vec::new();
        for item in items {
            for (name, node) in object(CHILDREN, item)? {
                if name == CHILDREN {
                    return Err(refuse(CHILDREN, "cannot stand in itself"));
                }
                all.extend(children(&name, node)?);
            }
        }
        return Ok(all);
    }
    let (namespace, local) = clark(name)?;
    if !is_foreign_name(namespace) {
        return Err(refuse(name, "its namespace cannot be written"));
    }
    let items = match node {
        Node::Array(items) => items,
        one => vec![one],
    };
    let named = |item| {
        let element = element(name, item)?;
        Ok(Element { namespace: namespace.to_owned(), name: local.to_owned(), ..element })
    };
    items.into_iter().map(named).collect()
}

/// Splits `{namespace}name`.
fn clark(name: &str) -> Result<(&str, &str), Refusal> {
    let parts = match name.strip_prefix('{') {
        Some(rest) => rest.split_once('}').filter(|(namespace, _)| !namespace.is_empty()),
        None => Some(("", name)),
    };
    match parts {
        Some((namespace, local)) if is_ncname(local) && is_xml_text(namespace) => Ok((namespace, local)),
        _ => Err(refuse(name, "not a name or {namespace}name")),
    }
}

/// Whether a prefix may be bound to it (or none is needed).
fn is_foreign_name(namespace: &str) -> bool {
    !matches!(namespace, schema::XML | schema::XMLNS | schema::XSI)
}

fn object<'a>(name: &str, node: Node<'a>) -> Result<Members<'a>, Refusal> {
    match node {
        Node::Object(members) => Ok(members),
        _ => Err(refuse(name, "an object was expected")),
    }
}

fn string<'a>(name: &str, node: Node<'a>) -> Result<Cow<'a, str>, Refusal> {
    match node {
        Node::Text(text) => Ok(text),
        _ => Err(refuse(name, "a string was expected")),
    }
}

/// What is stored must be writable in XML too.
fn xml_text<'a>(name: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Refusal> {
    if is_xml_text(&text) { Ok(text) } else { Err(refuse(name, "a character that XML does not allow")) }
}

fn refuse(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::attribute(name, why)
}
