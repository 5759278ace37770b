//! Values -> text, as the V2.1.1 schemas have it. Written by hand into one string: no tree, no events.

use crate::{
    Edition,
    lexical::{self, is_ncname},
    listing::{Gap, Listed},
    schema::{self, Fields, M2M, XMIME, XML, XSI},
};
use banyan_model::{
    Content, Representation, Value,
    tables::{self, FieldDef, FieldKind, Namespace, Shape, StructDef},
    value::{ContentForm, Element, NamedReference, Struct},
};

/// A whole document for a resource.
pub(crate) fn representation(edition: Edition, representation: &Representation) -> String {
    let def = representation.resource_type.def();
    let mut writer = Writer::begin(edition, schema::element_name(def));
    if def.root_element.is_empty() && !def.xsi_type.is_empty() {
        writer.xsi_type(def.xsi_type);
    }
    writer.body(Fields::of(representation.resource_type), &representation.attributes, "m2m:", writer.root);
    writer.end()
}

/// A whole document for one attribute.
pub(crate) fn attribute(edition: Edition, field: &'static FieldDef, value: &Value) -> String {
    let mut writer = Writer::begin(edition, field.name);
    writer.value("m2m:", field.name, field, value);
    writer.end()
}

/// A whole document for a message body.
pub(crate) fn message(edition: Edition, def: &'static StructDef, message: &Struct) -> String {
    let mut writer = Writer::begin(edition, def.root_element);
    writer.body(Fields::Struct(def.fields), &message.fields, "m2m:", def.root_element);
    writer.end()
}

/// The same for a representation or a list of it whose lists go on, and where they do.
pub(crate) fn open(edition: Edition, of: Listed<'_>) -> (String, Vec<Gap>) {
    let (mut writer, name) = match of {
        Listed::Representation(whole) => {
            let def = whole.resource_type.def();
            let mut writer = Writer::begin(edition, schema::element_name(def));
            if def.root_element.is_empty() && !def.xsi_type.is_empty() {
                writer.xsi_type(def.xsi_type);
            }
            let name = writer.root;
            (writer, name)
        }
        Listed::Attribute(field, _) => (Writer::begin(edition, field.name), field.name),
    };
    writer.gaps = Some(Vec::new());
    match of {
        Listed::Representation(whole) => {
            writer.body(Fields::of(whole.resource_type), &whole.attributes, "m2m:", name);
        }
        Listed::Attribute(field, value) => writer.value("m2m:", name, field, value),
    }
    let mut gaps = writer.gaps.take().unwrap_or_default();
    let before = writer.out.len();
    let out = writer.end();
    // The declarations of the root came in front of all of them.
    gaps.iter_mut().for_each(|gap| gap.at += out.len() - before);
    (out, gaps)
}

/// Further entries of a list.
pub(crate) fn entries(edition: Edition, entries: &[NamedReference]) -> String {
    let mut writer = Writer::fragment(edition);
    entries.iter().for_each(|entry| writer.named_reference(entry));
    writer.out
}

struct Writer {
    edition: Edition,
    out: String,
    /// Where the lists that were written end, if they go on.
    gaps: Option<Vec<Gap>>,
    root: &'static str,
    /// Where the root's namespace declarations belong: which ones are needed shows at the end.
    declarations_at: usize,
    xmime: bool,
    xsi: bool,
}

impl Writer {
    fn begin(edition: Edition, root: &'static str) -> Writer {
        let mut out = String::with_capacity(1024);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<m2m:");
        out.push_str(root);
        Writer { declarations_at: out.len(), out, root, ..Writer::fragment(edition) }
    }

    fn fragment(edition: Edition) -> Writer {
        let out = String::new();
        Writer { edition, out, gaps: None, declarations_at: 0, root: "", xmime: false, xsi: false }
    }

    fn end(mut self) -> String {
        let mut declarations = String::with_capacity(160);
        for (needed, prefix, uri) in
            [(true, "m2m", M2M), (self.xmime, "xmime", XMIME), (self.xsi, "xsi", XSI)]
        {
            if needed {
                declare(&mut declarations, prefix, uri);
            }
        }
        self.out.insert_str(self.declarations_at, &declarations);
        self.out
    }

    fn xsi_type(&mut self, name: &str) {
        self.xsi = true;
        self.out.push_str(" xsi:type=\"");
        if !name.starts_with("m2m:") {
            self.out.push_str("m2m:");
        }
        self.out.push_str(name);
        self.out.push('"');
    }

    /// `<name` ... `</name>` for one field.
    fn field(&mut self, field: &'static FieldDef, name: &'static str, value: &Value) {
        let prefix = self.prefix(field);
        self.out.push('<');
        self.out.push_str(prefix);
        self.out.push_str(name);
        self.value(prefix, name, field, value);
    }

    fn prefix(&self, field: &FieldDef) -> &'static str {
        let qualified = match (self.edition, field.v1) {
            (Edition::V1, Some(v1)) => v1.qualified,
            _ => field.namespace == Namespace::M2m,
        };
        if qualified { "m2m:" } else { "" }
    }

    /// Goes on after `<name`: attributes, content, end tag.
    fn value(&mut self, prefix: &str, name: &'static str, field: &'static FieldDef, value: &Value) {
        match value {
            Value::List(items) => {
                let Some(item) = schema::list_child(field) else { return self.close_empty() };
                self.children(prefix, name, items, |writer, text| {
                    let prefix = writer.prefix(item);
                    writer.out.push('<');
                    writer.out.push_str(prefix);
                    writer.out.push_str(item.name);
                    writer.text(prefix, item.name, text);
                });
            }
            Value::References(references) if self.gaps.is_some() => {
                self.out.push('>');
                references.iter().for_each(|reference| self.named_reference(reference));
                let gap = Gap { list: field.name, at: self.out.len(), any: !references.is_empty() };
                self.gaps.get_or_insert_default().push(gap);
                self.close(prefix, name);
            }
            Value::References(references) => {
                self.children(prefix, name, references, Writer::named_reference);
            }
            Value::Reference(reference) => self.reference(prefix, name, reference),
            Value::Content(content) => self.content(prefix, name, content),
            Value::Struct(inner) if schema::is_text_in(self.edition, field) => {
                self.text(prefix, name, schema::text_of(inner));
            }
            Value::Struct(inner) => {
                let fields = tables::struct_def(inner.name).map_or(&[][..], |def| def.fields);
                if field.shape != Shape::Struct(inner.name) {
                    self.xsi_type(schema::xsi_name(self.edition, inner.name));
                }
                self.body(Fields::Struct(fields), &inner.fields, prefix, name);
            }
            Value::Resource(inner) => {
                self.body(Fields::of(inner.resource_type), &inner.attributes, prefix, name);
            }
            Value::Empty => self.close_empty(),
            Value::Any(holder) => {
                self.foreign_attributes(holder);
                self.foreign_body(holder, "", &format!("{prefix}{}", name));
            }
            Value::Binary { content_type, bytes } => {
                self.content_type(content_type.as_deref());
                if bytes.is_empty() {
                    return self.close_empty();
                }
                self.out.push('>');
                lexical::write_in(&mut self.out, self.edition, field, value);
                self.close(prefix, name);
            }
            Value::Text(text) => self.text(prefix, name, schema::spelled(self.edition, field, text)),
            Value::Datetime(_) | Value::Duration(_) | Value::Bool(_) | Value::Long(_) => {
                self.out.push('>');
                lexical::write_in(&mut self.out, self.edition, field, value);
                self.close(prefix, name);
            }
        }
    }

    /// The fields of a type or struct: XML attributes into the open tag, then the children.
    fn body(&mut self, fields: Fields, values: &[(&'static str, Value)], prefix: &str, name: &str) {
        let ordered = schema::ordered(self.edition, fields, values);
        for &(index, value) in &ordered {
            let field = fields.get(index);
            if field.kind == FieldKind::XmlAttribute {
                self.out.push(' ');
                match field.namespace {
                    Namespace::M2m => self.out.push_str("m2m:"),
                    Namespace::Xmime => {
                        self.xmime = true;
                        self.out.push_str("xmime:");
                    }
                    Namespace::None => {}
                }
                self.out.push_str(field.name);
                self.out.push_str("=\"");
                match value {
                    Value::Text(text) => escape(&mut self.out, text, true),
                    value => lexical::write(&mut self.out, field, value),
                }
                self.out.push('"');
            }
        }
        if ordered.iter().all(|(index, _)| fields.get(*index).kind == FieldKind::XmlAttribute) {
            return self.close_empty();
        }
        self.out.push('>');
        for (index, value) in ordered {
            let field = fields.get(index);
            match (field.kind, value) {
                (FieldKind::Element, value) => {
                    let name = schema::name_in(self.edition, field);
                    self.field(field, name, value);
                }
                (FieldKind::Text, Value::Text(text)) => escape(&mut self.out, text, false),
                (FieldKind::Text, value) => lexical::write(&mut self.out, field, value),
                (FieldKind::Wildcard, Value::Any(holder)) => self.foreign_children(holder, ""),
                (FieldKind::Wildcard | FieldKind::XmlAttribute, _) => {}
            }
        }
        self.close(prefix, name);
    }

    fn children<T>(&mut self, prefix: &str, name: &str, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            return self.close_empty();
        }
        self.out.push('>');
        for item in items {
            write(self, item);
        }
        self.close(prefix, name);
    }

    fn named_reference(&mut self, reference: &NamedReference) {
        self.out.push_str("<m2m:namedReference");
        self.reference("m2m:", "namedReference", reference);
    }

    fn reference(&mut self, prefix: &str, name: &str, reference: &NamedReference) {
        self.out.push_str(" id=\"");
        escape(&mut self.out, &reference.id, true);
        self.out.push('"');
        self.text(prefix, name, &reference.uri);
    }

    fn content(&mut self, prefix: &str, name: &str, content: &Content) {
        self.content_type(content.content_type.as_deref());
        self.out.push('>');
        if self.edition == Edition::V1 {
            lexical::write_base64(&mut self.out, &content.bytes);
            return self.close(prefix, name);
        }
        // Octets that are no XML text (a raw text/plain body may hold anything) go as binaryContent instead.
        let text = match content.form {
            ContentForm::Text => {
                std::str::from_utf8(&content.bytes).ok().filter(|text| lexical::is_xml_text(text))
            }
            ContentForm::Binary => None,
        };
        match text {
            Some(text) => {
                self.out.push_str("<m2m:textContent");
                self.text("m2m:", "textContent", text);
            }
            None => {
                self.out.push_str("<m2m:binaryContent>");
                lexical::write_base64(&mut self.out, &content.bytes);
                self.close("m2m:", "binaryContent");
            }
        }
        self.close(prefix, name);
    }

    fn content_type(&mut self, content_type: Option<&str>) {
        if let Some(content_type) = content_type {
            self.xmime = true;
            self.out.push_str(" xmime:contentType=\"");
            escape(&mut self.out, content_type, true);
            self.out.push('"');
        }
    }

    /// Goes on after an open tag with text and the end tag.
    fn text(&mut self, prefix: &str, name: &str, text: &str) {
        if text.is_empty() {
            return self.close_empty();
        }
        self.out.push('>');
        escape(&mut self.out, text, false);
        self.close(prefix, name);
    }

    fn close(&mut self, prefix: &str, name: &str) {
        self.out.push_str("</");
        self.out.push_str(prefix);
        self.out.push_str(name);
        self.out.push('>');
    }

    fn close_empty(&mut self) {
        self.out.push_str("/>");
    }

    /// `inherited`: what the prefix `n` stands for here ("" for nothing).
    fn foreign_children(&mut self, holder: &Element, inherited: &str) {
        for child in &holder.children {
            let prefix = match child.namespace.as_str() {
                "" => "",
                M2M => "m2m:",
                _ => "n:",
            };
            let mut scope = inherited;
            let name = format!("{prefix}{}", xml_name(&child.name));
            self.out.push('<');
            self.out.push_str(&name);
            if prefix == "n:" && child.namespace != inherited {
                scope = &child.namespace;
                declare(&mut self.out, "n", scope);
            }
            self.foreign_attributes(child);
            self.foreign_body(child, scope, &name);
        }
    }

    fn foreign_body(&mut self, element: &Element, scope: &str, qualified: &str) {
        if element.text.is_empty() && element.children.is_empty() {
            return self.close_empty();
        }
        self.out.push('>');
        escape(&mut self.out, &element.text, false);
        self.foreign_children(element, scope);
        self.close("", qualified);
    }

    /// Attributes in a namespace (`{namespace}name`) get a prefix of their own each, declared where it is used.
    fn foreign_attributes(&mut self, element: &Element) {
        for (number, (name, value)) in element.attributes.iter().enumerate() {
            let (namespace, local) =
                name.strip_prefix('{').and_then(|n| n.split_once('}')).unwrap_or(("", name));
            let prefix = match namespace {
                "" => String::new(),
                XML => "xml:".into(),
                M2M => "m2m:".into(),
                other => {
                    let prefix = format!("a{number}");
                    declare(&mut self.out, &prefix, other);
                    prefix + ":"
                }
            };
            self.out.push(' ');
            self.out.push_str(&prefix);
            self.out.push_str(&xml_name(local));
            self.out.push_str("=\"");
            escape(&mut self.out, value, true);
            self.out.push('"');
        }
    }
}

fn declare(out: &mut String, prefix: &str, uri: &str) {
    out.push_str(" xmlns:");
    out.push_str(prefix);
    out.push_str("=\"");
    escape(out, uri, true);
    out.push('"');
}

/// The readers let only XML names in; one that came another way must still not break the document.
fn xml_name(name: &str) -> std::borrow::Cow<'_, str> {
    if is_ncname(name) {
        return name.into();
    }
    let lawful = |c: char| if is_ncname(&format!("a{c}")) { c } else { '_' };
    format!("_{}", name.chars().map(lawful).collect::<String>()).into()
}

/// Character data or an attribute's value. Line ends other than `\n` in text, and all white space but the blank in
/// attributes, would be normalised away by a reader: they go as references. What XML cannot carry becomes U+FFFD.
fn escape(out: &mut String, text: &str, attribute: bool) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| is_special(b, attribute)) {
        out.push_str(&rest[..at]);
        // A special octet is ASCII or the first of U+Fxxx, so it starts a character.
        let mut after = rest[at..].chars();
        match after.next().unwrap_or_default() {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..' ' | '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            other => out.push(other),
        }
        rest = after.as_str();
    }
    out.push_str(rest);
}

fn is_special(byte: u8, attribute: bool) -> bool {
    match byte {
        b'<' | b'>' | b'&' | b'\r' | 0xEF => true,
        b'\t' | b'\n' => attribute,
        b'"' => attribute,
        control => control < 0x20,
    }
}
