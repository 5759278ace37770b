//! Tokens -> values, one function a shape.

use super::reader::{Attr, Reader, Space, Tag, Token};
use crate::{
    Expect, Limits,
    collect::{Collector, Why},
    face::Found,
    lexical::{self, is_blank, is_ncname},
    schema::{self, Fields, Root},
};
use banyan_model::{
    Content, Refusal, Representation, ResourceType, Value,
    tables::{self, FieldDef, FieldKind, Namespace, Shape, StructDef},
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;
use std::borrow::Cow;

/// Reads a whole document.
pub(crate) fn document(text: &str, limits: &Limits, expect: Expect) -> Result<Found, Refusal> {
    let mut decoder = Decoder { reader: Reader::new(text, limits) };
    let tag = loop {
        match decoder.reader.next()? {
            Token::Start(tag) => break tag,
            // White space; anything else the reader has refused.
            Token::Text(_) | Token::End => {}
            Token::Eof => return Err(decoder.reader.ill_formed("there is no root element")),
        }
    };
    let found = decoder.root(&tag, expect)?;
    loop {
        match decoder.reader.next()? {
            Token::Eof => return Ok(found),
            Token::Start(tag) => return Err(refuse(tag.name(), "a second root element")),
            Token::Text(_) | Token::End => {}
        }
    }
}

struct Decoder<'a> {
    reader: Reader<'a>,
}

impl<'a> Decoder<'a> {
    fn root(&mut self, tag: &Tag<'a>, expect: Expect) -> Result<Found, Refusal> {
        let name = tag.name();
        let root = match tag.space {
            Space::None | Space::M2m => schema::root(name),
            _ => {
                return Err(refuse(
                    &shown(&tag.space, name),
                    format_args!("not in the namespace {}", schema::M2M),
                ));
            }
        };
        let root = match root {
            Some(Root::Resource(base)) => Root::Resource(self.specialised(tag, base)?),
            Some(other) => other,
            None => return Err(refuse(name, "no resource, attribute or message of this name")),
        };
        expect.admit(name, root)?;
        match root {
            Root::Resource(resource_type) => {
                Ok(Found::Representation(self.representation(tag, resource_type)?))
            }
            Root::Attribute(field) => Ok(Found::Attribute(field, self.value(tag, field, 1)?)),
            Root::Message(def) => Ok(Found::Message(self.structure(tag, def.name, 1)?)),
        }
    }

    /// The type that xsi:type makes of a root element such as mgmtObj.
    fn specialised(&mut self, tag: &Tag<'a>, base: ResourceType) -> Result<ResourceType, Refusal> {
        match self.xsi_type(tag)? {
            // Naming the element's own type says nothing new.
            Some(named) if !base.name().eq_ignore_ascii_case(&named) => schema::specialised(base, &named)
                .ok_or_else(|| refuse(base.name(), format_args!("xsi:type {named} is not known here"))),
            _ => Ok(base),
        }
    }

    fn representation(
        &mut self,
        tag: &Tag<'a>,
        resource_type: ResourceType,
    ) -> Result<Representation, Refusal> {
        let fields = self.fields(tag, Fields::of(resource_type), resource_type.name())?;
        Ok(Representation { resource_type, attributes: fields.finish_resource() })
    }

    /// A struct, or the one derived from it that xsi:type or its fields tell.
    fn structure(&mut self, tag: &Tag<'a>, name: &'static str, ordinal: usize) -> Result<Struct, Refusal> {
        let declared = struct_def(tag, name)?;
        let (def, told) = match (schema::derived(name), self.xsi_type(tag)?) {
            (None, _) => (declared, true),
            (Some((derived, _)), None) => (derived, false),
            (Some(_), Some(named)) if named == name => (declared, true),
            (Some((derived, v1)), Some(named))
                if named == derived.name || (named == v1 && !v1.is_empty()) =>
            {
                (derived, true)
            }
            (Some(_), Some(named)) => {
                return Err(refuse(tag.name(), format_args!("xsi:type {named} is not known here")));
            }
        };
        let owner = tag.name();
        let fields = self.fields(tag, Fields::Struct(def.fields), owner)?;
        let fields = fields
            .finish_struct(def.name, ordinal)
            .map_err(|(field, why)| refuse(field, format_args!("{why} in {owner}")))?;
        Ok(Struct { name: if told { def.name } else { narrowest(declared, def, &fields) }, fields })
    }

    /// The attributes, children and text of an element, by a table of fields.
    fn fields(&mut self, tag: &Tag<'a>, fields: Fields, owner: &str) -> Result<Collector, Refusal> {
        let mut collector = Collector::new(fields);
        self.reader.attributes(tag, |attribute| {
            if attribute.space == Space::Xsi {
                return ignore_xsi(&attribute);
            }
            let found = collector.find(|f| f.kind == FieldKind::XmlAttribute && is_attribute(f, &attribute));
            let Some(index) = found else {
                return Err(refuse(attribute.name, format_args!("unknown attribute of {owner}")));
            };
            collector.admit(index).map_err(|why| refuse(attribute.name, why))?;
            let value = lexical::read(collector.field(index), &attribute.value);
            collector.push(index, value.map_err(|why| refuse(attribute.name, why))?);
            Ok(())
        })?;

        let text_field = collector.text_field();
        let mut text = Text::default();
        loop {
            match self.reader.next()? {
                Token::Start(child) => self.child(&child, &mut collector, owner)?,
                Token::Text(piece) if text_field.is_some() => text.push(piece),
                Token::Text(piece) if is_blank(&piece) => {}
                Token::Text(_) => return Err(refuse(owner, "text where only elements are allowed")),
                Token::End | Token::Eof => break,
            }
        }
        if let Some(index) = text_field {
            let value =
                lexical::read(collector.field(index), text.as_str()).map_err(|why| refuse(owner, why))?;
            collector.push(index, value);
        }
        Ok(collector)
    }

    fn child(&mut self, tag: &Tag<'a>, collector: &mut Collector, owner: &str) -> Result<(), Refusal> {
        let ours = matches!(tag.space, Space::None | Space::M2m);
        let named = |name: &str, collector: &mut Collector| {
            collector.find(|f| f.kind == FieldKind::Element && f.name == name)
        };
        let known = if ours { named(tag.name(), collector) } else { None };
        let known = match known {
            None if ours => schema::renamed(tag.name()).and_then(|v2| named(v2, collector)),
            known => known,
        };
        if let Some(index) = known {
            collector.admit(index).map_err(|why| refuse(tag.name(), format_args!("{why} in {owner}")))?;
            let value = self.value(tag, collector.field(index), collector.ordinal(index))?;
            collector.push(index, value);
            return Ok(());
        }
        let wildcard = collector.find(|f| f.kind == FieldKind::Wildcard && (f.name == "##any" || !ours));
        let Some(index) = wildcard else {
            let why = schema::unknown("element in", tag.name(), owner);
            return Err(refuse(&shown(&tag.space, tag.name()), why));
        };
        collector.admit_foreign(index).map_err(|why| refuse(owner, why))?;
        let element = self.element(tag)?;
        collector.push_foreign(index, element);
        Ok(())
    }

    /// A field's value, by its shape.
    fn value(&mut self, tag: &Tag<'a>, field: &'static FieldDef, ordinal: usize) -> Result<Value, Refusal> {
        match field.shape {
            Shape::UriList | Shape::StringList => self.list(tag, field),
            Shape::NamedReferenceCollection => self.references(tag),
            Shape::NamedReference => self.reference(tag).map(Value::Reference),
            Shape::Content => self.content(tag).map(Value::Content),
            Shape::Struct(name) => self.structure(tag, name, ordinal).map(Value::Struct),
            Shape::Resource(resource_type) => {
                let inline = self.representation(tag, resource_type)?;
                Ok(Value::Resource(Box::new(inline)))
            }
            Shape::Empty => {
                self.no_attributes(tag)?;
                let text = self.text(tag)?;
                if is_blank(text.as_str()) {
                    Ok(Value::Empty)
                } else {
                    Err(refuse(tag.name(), "must be empty"))
                }
            }
            Shape::Any => {
                let mut holder = self.element(tag)?;
                // The field says what it is called.
                holder.name.clear();
                holder.namespace.clear();
                Ok(Value::Any(holder))
            }
            Shape::Base64 if field.xsd_type == "xmime:base64Binary" => {
                let content_type = self.content_type(tag)?;
                let text = self.text(tag)?;
                let bytes = lexical::base64(text.as_str().trim_matches(lexical::is_space));
                let bytes = Bytes::from(bytes.map_err(|why| refuse(tag.name(), why))?);
                Ok(Value::Binary { content_type, bytes })
            }
            _ => {
                self.no_attributes(tag)?;
                let text = self.text(tag)?;
                lexical::read(field, text.as_str()).map_err(|why| refuse(tag.name(), why))
            }
        }
    }

    fn list(&mut self, tag: &Tag<'a>, field: &'static FieldDef) -> Result<Value, Refusal> {
        let Some(item) = schema::list_child(field) else {
            return Err(refuse(tag.name(), "not a list"));
        };
        let mut items = Vec::new();
        self.each(tag, item.name, |decoder, child| {
            if let Value::Text(text) = decoder.value(child, item, 1)? {
                items.push(text);
            }
            Ok(())
        })?;
        Ok(Value::List(items))
    }

    fn references(&mut self, tag: &Tag<'a>) -> Result<Value, Refusal> {
        let mut references = Vec::new();
        self.each(tag, "namedReference", |decoder, child| {
            references.push(decoder.reference(child)?);
            Ok(())
        })?;
        Ok(Value::References(references))
    }

    fn reference(&mut self, tag: &Tag<'a>) -> Result<NamedReference, Refusal> {
        let mut id = None;
        self.own_attributes(tag, "id", |value| id = Some(value.trim_matches(lexical::is_space).to_owned()))?;
        let Some(id) = id else { return Err(refuse("id", format_args!("is missing in {}", tag.name()))) };
        let uri = self.text(tag)?.as_str().trim_matches(lexical::is_space).to_owned();
        Ok(NamedReference { id, uri })
    }

    /// V2: binaryContent or textContent; V1: base64 text.
    fn content(&mut self, tag: &Tag<'a>) -> Result<Content, Refusal> {
        let content_type = self.content_type(tag)?;
        let mut v1 = Text::default();
        let mut v2: Option<(ContentForm, Bytes)> = None;
        loop {
            match self.reader.next()? {
                Token::Start(child) => {
                    if !matches!(child.space, Space::None | Space::M2m) {
                        return Err(refuse(&shown(&child.space, child.name()), "unknown element in content"));
                    }
                    if v2.is_some() {
                        return Err(refuse(
                            child.name(),
                            "content holds one of binaryContent and textContent, once",
                        ));
                    }
                    self.no_attributes(&child)?;
                    v2 = Some(match child.name() {
                        "binaryContent" => {
                            let text = self.text(&child)?;
                            let bytes = lexical::base64(text.as_str().trim_matches(lexical::is_space));
                            let bytes = bytes.map_err(|why| refuse("binaryContent", why))?;
                            (ContentForm::Binary, bytes.into())
                        }
                        "textContent" => (ContentForm::Text, Bytes::from(self.text(&child)?.into_string())),
                        other => return Err(refuse(other, "unknown element in content")),
                    });
                }
                Token::Text(piece) => v1.push(piece),
                Token::End | Token::Eof => break,
            }
        }
        let (form, bytes) = match v2 {
            Some(_) if !is_blank(v1.as_str()) => return Err(refuse("content", "text beside an element")),
            Some(v2) => v2,
            None => {
                let bytes = lexical::base64(v1.as_str().trim_matches(lexical::is_space));
                (ContentForm::Binary, bytes.map_err(|why| refuse("content", why))?.into())
            }
        };
        Ok(Content { content_type, bytes, form })
    }

    /// An element kept as it came. Text between its children is joined; white space between them is layout.
    fn element(&mut self, tag: &Tag<'a>) -> Result<Element, Refusal> {
        let name = xml_name(tag.name())?;
        let mut element = Element { namespace: tag.space.uri().to_owned(), name, ..Element::default() };
        self.reader.attributes(tag, |attribute| {
            if attribute.space == Space::Xsi {
                // A type is named by a prefix, which would mean something else where this is written again.
                return ignore_xsi(&attribute);
            }
            let name = match &attribute.space {
                Space::None => xml_name(attribute.name)?,
                space => format!("{{{}}}{}", space.uri(), xml_name(attribute.name)?),
            };
            if element.attributes.iter().any(|(other, _)| *other == name) {
                return Err(refuse(&name, "stands more than once"));
            }
            element.attributes.push((name, attribute.value.into_owned()));
            Ok(())
        })?;
        let mut text = Text::default();
        loop {
            match self.reader.next()? {
                Token::Start(child) => element.children.push(self.element(&child)?),
                Token::Text(piece) => text.push(piece),
                Token::End | Token::Eof => break,
            }
        }
        if element.children.is_empty() || !is_blank(text.as_str()) {
            element.text = text.into_string();
        }
        Ok(element)
    }

    /// The children of a wrapper, all of one name.
    fn each(
        &mut self,
        tag: &Tag<'a>,
        name: &str,
        mut visit: impl FnMut(&mut Self, &Tag<'a>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.no_attributes(tag)?;
        let owner = tag.name();
        loop {
            match self.reader.next()? {
                Token::Start(child) => {
                    if child.name() != name || !matches!(child.space, Space::None | Space::M2m) {
                        let child = shown(&child.space, child.name()).into_owned();
                        return Err(refuse(&child, format_args!("unknown element in {owner}")));
                    }
                    visit(self, &child)?;
                }
                Token::Text(piece) if is_blank(&piece) => {}
                Token::Text(_) => return Err(refuse(owner, "text where only elements are allowed")),
                Token::End | Token::Eof => return Ok(()),
            }
        }
    }

    /// The text of an element that may have no children.
    fn text(&mut self, tag: &Tag<'a>) -> Result<Text<'a>, Refusal> {
        let mut text = Text::default();
        loop {
            match self.reader.next()? {
                Token::Text(piece) => text.push(piece),
                Token::Start(child) => {
                    let child = shown(&child.space, child.name()).into_owned();
                    return Err(refuse(&child, format_args!("unknown element in {}", tag.name())));
                }
                Token::End | Token::Eof => return Ok(text),
            }
        }
    }

    fn no_attributes(&mut self, tag: &Tag<'a>) -> Result<(), Refusal> {
        self.reader.attributes(tag, |attribute| match attribute.space {
            Space::Xsi => ignore_xsi(&attribute),
            _ => Err(refuse(attribute.name, format_args!("unknown attribute of {}", tag.name()))),
        })
    }

    fn content_type(&mut self, tag: &Tag<'a>) -> Result<Option<String>, Refusal> {
        let mut content_type = None;
        self.own_attributes(tag, "contentType", |value| content_type = Some(value.into_owned()))?;
        Ok(content_type)
    }

    /// The attribute `name`, however qualified, of an element that has no other.
    fn own_attributes(
        &mut self,
        tag: &Tag<'a>,
        name: &str,
        mut take: impl FnMut(Cow<'_, str>),
    ) -> Result<(), Refusal> {
        let mut seen = false;
        self.reader.attributes(tag, |attribute| match &attribute.space {
            Space::Xsi => ignore_xsi(&attribute),
            Space::None | Space::M2m | Space::Xmime if attribute.name == name => {
                if std::mem::replace(&mut seen, true) {
                    return Err(refuse(name, "stands more than once"));
                }
                take(attribute.value);
                Ok(())
            }
            _ => Err(refuse(attribute.name, format_args!("unknown attribute of {}", tag.name()))),
        })
    }

    /// The local part of xsi:type.
    fn xsi_type(&mut self, tag: &Tag<'a>) -> Result<Option<String>, Refusal> {
        let mut named = None;
        self.reader.attributes(tag, |attribute| {
            if attribute.space == Space::Xsi && attribute.name == "type" {
                named = attribute.value.trim_matches(lexical::is_space).rsplit(':').next().map(str::to_owned);
            }
            Ok(())
        })?;
        Ok(named)
    }
}

/// Text in pieces, borrowed while there is only one.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    fn push(&mut self, piece: Cow<'a, str>) {
        if self.0.is_empty() {
            self.0 = piece;
        } else {
            self.0.to_mut().push_str(&piece);
        }
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    fn into_string(self) -> String {
        self.0.into_owned()
    }
}

fn refuse(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::attribute(name, why)
}

fn struct_def(tag: &Tag<'_>, name: &str) -> Result<&'static StructDef, Refusal> {
    // Every name in the tables is a struct of the tables (a test of `schema` says so).
    tables::struct_def(name).ok_or_else(|| refuse(tag.name(), Why::from("has no definition")))
}

/// Without xsi:type: the declared struct unless it is abstract (has no fields) or a field of the derived one is there.
pub(crate) fn narrowest(
    declared: &'static StructDef,
    derived: &'static StructDef,
    values: &[(&'static str, Value)],
) -> &'static str {
    let declares = |name: &str| declared.fields.iter().any(|f| f.name == name);
    if !declared.fields.is_empty() && values.iter().all(|(name, _)| declares(name)) {
        declared.name
    } else {
        derived.name
    }
}

/// An attribute stands for a field when it is qualified as the schema says, or not at all, or with the m2m prefix.
fn is_attribute(field: &FieldDef, attribute: &Attr<'_>) -> bool {
    let space = match attribute.space {
        Space::None | Space::M2m => true,
        Space::Xmime => field.namespace == Namespace::Xmime,
        Space::Xsi | Space::Foreign(_) => false,
    };
    space && field.name == attribute.name
}

/// xsi:type has been looked at where it matters; hints where a schema may be found are nobody's business.
fn ignore_xsi(attribute: &Attr<'_>) -> Result<(), Refusal> {
    match attribute.name {
        "type" | "schemaLocation" | "noNamespaceSchemaLocation" => Ok(()),
        other => Err(refuse(&format!("xsi:{other}"), "is not accepted")),
    }
}

/// A name as a refusal shows it: the namespace only where it is a foreign one.
fn shown<'n>(space: &Space, name: &'n str) -> Cow<'n, str> {
    match space {
        Space::None | Space::M2m => name.into(),
        space => format!("{{{}}}{name}", space.uri()).into(),
    }
}

fn xml_name(name: &str) -> Result<String, Refusal> {
    if is_ncname(name) { Ok(name.to_owned()) } else { Err(refuse(name, "not an XML name")) }
}
