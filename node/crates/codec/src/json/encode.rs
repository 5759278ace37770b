//! Values -> text. Members in the order of the tables; lists are always arrays, empty ones included.

use super::{CHILDREN, TEXT};
use crate::{
    Edition, lexical,
    listing::{Gap, Listed},
    schema::{self, Fields},
};
use banyan_model::{
    Content, Representation, Value,
    tables::{self, FieldDef, FieldKind, StructDef},
    value::{ContentForm, Element, NamedReference, Struct},
};
use std::fmt::Write as _;

/// A whole document for a resource, named after its type.
pub(crate) fn representation(edition: Edition, representation: &Representation) -> String {
    document(edition, representation.resource_type.name(), |writer| {
        writer.object(Fields::of(representation.resource_type), &representation.attributes);
    })
}

/// A whole document for one attribute.
pub(crate) fn attribute(edition: Edition, field: &'static FieldDef, value: &Value) -> String {
    document(edition, field.name, |writer| writer.value(field, value))
}

/// A whole document for a message body.
pub(crate) fn message(edition: Edition, def: &'static StructDef, message: &Struct) -> String {
    document(edition, def.root_element, |writer| writer.object(Fields::Struct(def.fields), &message.fields))
}

/// The same for a representation or a list of it whose lists go on, and where they do.
pub(crate) fn open(edition: Edition, of: Listed<'_>) -> (String, Vec<Gap>) {
    let mut writer = Writer { gaps: Some(Vec::new()), ..Writer::new(edition) };
    match of {
        Listed::Representation(whole) => writer.document(whole.resource_type.name(), |writer| {
            writer.object(Fields::of(whole.resource_type), &whole.attributes);
        }),
        Listed::Attribute(field, value) => writer.document(field.name, |writer| writer.value(field, value)),
    }
    (writer.out, writer.gaps.unwrap_or_default())
}

/// Further entries of a list, which has some already unless they are the first.
pub(crate) fn entries(edition: Edition, entries: &[NamedReference], first: bool) -> String {
    let mut writer = Writer::new(edition);
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 || !first {
            writer.out.push(',');
        }
        writer.reference(entry);
    }
    writer.out
}

fn document(edition: Edition, root: &str, write: impl FnOnce(&mut Writer)) -> String {
    let mut writer = Writer::new(edition);
    writer.document(root, write);
    writer.out
}

struct Writer {
    edition: Edition,
    out: String,
    /// Where the lists that were written end, if they go on.
    gaps: Option<Vec<Gap>>,
}

impl Writer {
    fn new(edition: Edition) -> Writer {
        Writer { edition, out: String::with_capacity(1024), gaps: None }
    }

    fn document(&mut self, root: &str, write: impl FnOnce(&mut Writer)) {
        self.out.push('{');
        self.name(root);
        write(self);
        self.out.push('}');
    }

    fn object(&mut self, fields: Fields, values: &[(&'static str, Value)]) {
        self.out.push('{');
        let ordered = schema::ordered(self.edition, fields, values);
        if ordered.is_empty() && schema::is_wrapper(fields) && fields.get(0).kind == FieldKind::Element {
            self.name(fields.get(0).name);
            self.out.push_str("[]");
        }
        let mut at = 0;
        while let Some(&(index, value)) = ordered.get(at) {
            let field = fields.get(index);
            let name = schema::name_in(self.edition, field);
            at += 1;
            match (field.kind, value) {
                (FieldKind::Wildcard, Value::Any(holder)) => self.children(&holder.children),
                (FieldKind::Wildcard, _) => {}
                (FieldKind::Text, value) => {
                    self.name(TEXT);
                    self.value(field, value);
                }
                (FieldKind::Element | FieldKind::XmlAttribute, value) if field.max == Some(1) => {
                    self.name(name);
                    self.value(field, value);
                }
                (FieldKind::Element | FieldKind::XmlAttribute, value) => {
                    self.name(name);
                    self.out.push('[');
                    self.value(field, value);
                    while let Some(&(next, value)) = ordered.get(at)
                        && next == index
                    {
                        self.out.push(',');
                        self.value(field, value);
                        at += 1;
                    }
                    self.out.push(']');
                }
            }
        }
        self.out.push('}');
    }

    fn value(&mut self, field: &'static FieldDef, value: &Value) {
        match value {
            Value::Text(text) => self.string(schema::spelled(self.edition, field, text)),
            Value::Duration(_)
                if self.edition == Edition::V1 && field.v1.is_some_and(|v1| v1.xsd_type == "xs:long") =>
            {
                lexical::write_in(&mut self.out, self.edition, field, value);
            }
            Value::Bool(_) | Value::Long(_) => lexical::write(&mut self.out, field, value),
            Value::Datetime(_) | Value::Duration(_) => self.quoted(field, value),
            Value::Binary { content_type: None, .. } => self.quoted(field, value),
            Value::Binary { content_type: Some(content_type), .. } => {
                self.out.push('{');
                self.name("contentType");
                self.string(content_type);
                self.name(TEXT);
                self.quoted(field, value);
                self.out.push('}');
            }
            Value::List(items) => {
                let item = schema::list_child(field).map_or(TEXT, |item| item.name);
                self.wrapped(item, items, |writer, text| writer.string(text));
            }
            Value::References(references) => {
                self.wrapped("namedReference", references, Writer::reference);
                let end = self.out.len() - LIST_END.len();
                if let Some(gaps) = &mut self.gaps {
                    gaps.push(Gap { list: field.name, at: end, any: !references.is_empty() });
                }
            }
            Value::Reference(reference) => self.reference(reference),
            Value::Content(content) => self.content(content),
            Value::Struct(inner) if schema::is_text_in(self.edition, field) => {
                self.string(schema::text_of(inner));
            }
            Value::Struct(inner) => {
                let fields = tables::struct_def(inner.name).map_or(&[][..], |def| def.fields);
                self.object(Fields::Struct(fields), &inner.fields);
            }
            Value::Resource(inner) => self.object(Fields::of(inner.resource_type), &inner.attributes),
            Value::Empty => self.out.push_str("{}"),
            Value::Any(holder) => self.foreign(holder),
        }
    }

    fn wrapped<T>(&mut self, item: &str, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.out.push('{');
        self.name(item);
        self.out.push('[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.out.push_str(LIST_END);
    }

    fn reference(&mut self, reference: &NamedReference) {
        self.out.push('{');
        self.name("id");
        self.string(&reference.id);
        self.name(TEXT);
        self.string(&reference.uri);
        self.out.push('}');
    }

    fn content(&mut self, content: &Content) {
        self.out.push('{');
        if let Some(content_type) = &content.content_type {
            self.name("contentType");
            self.string(content_type);
        }
        if self.edition == Edition::V1 {
            self.name(TEXT);
            self.out.push('"');
            lexical::write_base64(&mut self.out, &content.bytes);
            self.out.push_str("\"}");
            return;
        }
        // Octets that are no text (a raw text/plain body may hold anything) go as binaryContent instead.
        match (content.form, std::str::from_utf8(&content.bytes)) {
            (ContentForm::Text, Ok(text)) => {
                self.name("textContent");
                self.string(text);
            }
            _ => {
                self.name("binaryContent");
                self.out.push('"');
                lexical::write_base64(&mut self.out, &content.bytes);
                self.out.push('"');
            }
        }
        self.out.push('}');
    }

    /// The form of the module's documentation.
    fn foreign(&mut self, element: &Element) {
        if element.attributes.is_empty() && element.children.is_empty() {
            return self.string(&element.text);
        }
        self.out.push('{');
        for (name, value) in &element.attributes {
            self.name_of("@", "", name);
            self.string(value);
        }
        if !element.text.is_empty() {
            self.name(TEXT);
            self.string(&element.text);
        }
        self.children(&element.children);
        self.out.push('}');
    }

    /// Members for foreign children, within an open object.
    fn children(&mut self, children: &[Element]) {
        let is_same = |a: &Element, b: &Element| a.name == b.name && a.namespace == b.namespace;
        let groups: Vec<&[Element]> = children.chunk_by(is_same).collect();
        // An object holds a name once: a name that comes again after another one needs the list form.
        let mut names: Vec<(&str, &str)> =
            groups.iter().map(|g| (g[0].namespace.as_str(), g[0].name.as_str())).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            self.name(CHILDREN);
            self.out.push('[');
            for (at, child) in children.iter().enumerate() {
                self.out.push_str(if at > 0 { ",{" } else { "{" });
                self.name_of("", &child.namespace, &child.name);
                self.foreign(child);
                self.out.push('}');
            }
            self.out.push(']');
            return;
        }
        for group in groups {
            self.name_of("", &group[0].namespace, &group[0].name);
            match group {
                [one] => self.foreign(one),
                several => {
                    for (at, child) in several.iter().enumerate() {
                        self.out.push(if at > 0 { ',' } else { '[' });
                        self.foreign(child);
                    }
                    self.out.push(']');
                }
            }
        }
    }

    /// `"name":`, after a comma unless it is the first of its object.
    fn name(&mut self, name: &str) {
        self.name_of("", "", name);
    }

    fn name_of(&mut self, mark: &str, namespace: &str, name: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(mark);
        if !namespace.is_empty() {
            self.out.push('{');
            escape(&mut self.out, namespace);
            self.out.push('}');
        }
        escape(&mut self.out, name);
        self.out.push_str("\":");
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        escape(&mut self.out, text);
        self.out.push('"');
    }

    fn quoted(&mut self, field: &FieldDef, value: &Value) {
        self.out.push('"');
        lexical::write(&mut self.out, field, value);
        self.out.push('"');
    }
}

/// What ends a list.
const LIST_END: &str = "]}";

fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || matches!(b, b'"' | b'\\')) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}
