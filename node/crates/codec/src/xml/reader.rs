//! Well-formed, namespace-resolved, bounded tokens out of quick-xml: everything hostile ends here.

use crate::{
    Limits,
    face::is_utf8,
    lexical::{is_blank, is_xml_text},
    schema::{M2M, XMIME, XML, XMLNS, XSI},
};
use banyan_model::{Refusal, StatusCode};
use quick_xml::{
    XmlVersion,
    events::{BytesDecl, BytesRef, BytesStart, Event, attributes::Attribute},
};
use std::{borrow::Cow, sync::Arc};

/// Namespace declarations in scope at once: a lookup walks them.
const DECLARATIONS_MAX: usize = 64;

/// A namespace, the known ones told apart once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Space {
    None,
    M2m,
    Xmime,
    Xsi,
    Foreign(Arc<str>),
}

impl Space {
    fn of(uri: &str) -> Space {
        match uri {
            "" => Space::None,
            M2M => Space::M2m,
            XMIME => Space::Xmime,
            XSI => Space::Xsi,
            other => Space::Foreign(other.into()),
        }
    }

    pub(super) fn uri(&self) -> &str {
        match self {
            Space::None => "",
            Space::M2m => M2M,
            Space::Xmime => XMIME,
            Space::Xsi => XSI,
            Space::Foreign(uri) => uri,
        }
    }
}

/// A start tag. Its attributes are read from it with [`Reader::attributes`].
pub(super) struct Tag<'a> {
    start: BytesStart<'a>,
    pub(super) space: Space,
}

impl Tag<'_> {
    /// The name without its prefix.
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    pub(super) fn has_attributes(&self) -> bool {
        !is_blank(self.start.attributes_raw())
    }
}

/// One attribute that is no namespace declaration.
pub(super) struct Attr<'t> {
    pub(super) space: Space,
    pub(super) name: &'t str,
    pub(super) value: Cow<'t, str>,
}

pub(super) enum Token<'a> {
    Start(Tag<'a>),
    Text(Cow<'a, str>),
    End,
    Eof,
}

pub(super) struct Reader<'a> {
    inner: quick_xml::Reader<&'a [u8]>,
    limits: Limits,
    started: bool,
    elements: usize,
    /// Prefix ("" for the default) and namespace, innermost last.
    scope: Vec<(Box<str>, Space)>,
    /// Length of `scope` outside each open element.
    open: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, limits: &Limits) -> Reader<'a> {
        let mut inner = quick_xml::Reader::from_str(text);
        let config = inner.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        Reader { inner, limits: *limits, started: false, elements: 0, scope: Vec::new(), open: Vec::new() }
    }

    /// The next token that means something. After the root's end tag only white space and comments may follow.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Refusal> {
        loop {
            let event = self.inner.read_event().map_err(|e| self.ill_formed(e))?;
            let first = !std::mem::replace(&mut self.started, true);
            match event {
                Event::Start(start) => return self.start(start).map(Token::Start),
                Event::End(_) => {
                    self.scope.truncate(self.open.pop().unwrap_or_default());
                    return Ok(Token::End);
                }
                Event::Text(text) => return self.text(text.xml10_content()),
                Event::CData(text) => return self.text(text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let text = self.reference(&reference)?;
                    return self.text(text);
                }
                Event::Comment(_) => {}
                Event::Decl(declaration) if first => self.declaration(&declaration)?,
                Event::Decl(_) => return Err(self.ill_formed("an XML declaration inside the document")),
                Event::PI(_) => return Err(self.ill_formed("processing instructions are not accepted")),
                Event::DocType(_) => return Err(self.ill_formed("DOCTYPE is not accepted")),
                Event::Eof if self.open.is_empty() => return Ok(Token::Eof),
                Event::Eof => return Err(self.ill_formed("the document ends inside an element")),
                // Never sent: expand_empty_elements turns it into Start and End.
                Event::Empty(_) => return Err(self.ill_formed("unexpected empty element")),
            }
        }
    }

    /// Visits the attributes of a tag that are no namespace declarations. Values are normalised, references resolved.
    pub(super) fn attributes<'t>(
        &self,
        tag: &'t Tag<'_>,
        mut visit: impl FnMut(Attr<'t>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if !tag.has_attributes() {
            return Ok(());
        }
        for attribute in tag.start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|e| self.ill_formed(e))?;
            if declared_prefix(&attribute).is_some() {
                continue;
            }
            let (local, prefix) = attribute.key.decompose();
            let space = match prefix {
                // The default namespace is not that of attributes.
                None => Space::None,
                Some(prefix) => self.resolve(prefix.into_inner())?,
            };
            visit(Attr { space, name: local.into_inner(), value: self.attribute_value(&attribute)? })?;
        }
        Ok(())
    }

    fn start(&mut self, start: BytesStart<'a>) -> Result<Tag<'a>, Refusal> {
        let limits = self.limits;
        self.elements += 1;
        if self.elements > limits.elements_max {
            return Err(self.ill_formed(format_args!("more than {} elements", limits.elements_max)));
        }
        if self.open.len() >= limits.depth_max {
            return Err(self.ill_formed(format_args!("elements nested deeper than {}", limits.depth_max)));
        }
        self.open.push(self.scope.len());
        self.declare(&start)?;
        let prefix = start.name().decompose().1.map_or("", |prefix| prefix.into_inner());
        let space = self.resolve(prefix)?;
        Ok(Tag { start, space })
    }

    /// Takes the namespace declarations of a tag into scope; counts its attributes.
    fn declare(&mut self, start: &BytesStart<'_>) -> Result<(), Refusal> {
        if is_blank(start.attributes_raw()) {
            return Ok(());
        }
        let mut count = 0;
        // The check for duplicates compares with all before it: the count keeps that cheap.
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| self.ill_formed(e))?;
            count += 1;
            if count > self.limits.attributes_max {
                let most = self.limits.attributes_max;
                return Err(self.ill_formed(format_args!("more than {most} attributes in one element")));
            }
            let Some(prefix) = declared_prefix(&attribute) else { continue };
            let uri = self.attribute_value(&attribute)?;
            let lawful = match prefix {
                "xml" => uri == XML,
                "xmlns" => false,
                "" => uri != XML && uri != XMLNS,
                _ => !uri.is_empty() && uri != XML && uri != XMLNS,
            };
            if !lawful {
                return Err(self.ill_formed(format_args!("prefix '{prefix}' cannot be bound to '{uri}'")));
            }
            if self.scope.len() >= DECLARATIONS_MAX {
                return Err(self.ill_formed(format_args!("more than {DECLARATIONS_MAX} namespaces in scope")));
            }
            self.scope.push((prefix.into(), Space::of(&uri)));
        }
        Ok(())
    }

    fn resolve(&self, prefix: &str) -> Result<Space, Refusal> {
        match self.scope.iter().rev().find(|(declared, _)| **declared == *prefix) {
            Some((_, space)) => Ok(space.clone()),
            None if prefix.is_empty() => Ok(Space::None),
            None if prefix == "xml" => Ok(Space::of(XML)),
            None => Err(self.ill_formed(format_args!("prefix '{prefix}' is not declared"))),
        }
    }

    fn attribute_value<'t>(&self, attribute: &Attribute<'t>) -> Result<Cow<'t, str>, Refusal> {
        if attribute.value.contains('<') {
            return Err(self.ill_formed("'<' in an attribute's value"));
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| self.ill_formed(e))?;
        if !is_xml_text(&value) {
            return Err(self.ill_formed("a character that XML does not allow"));
        }
        Ok(value)
    }

    fn text(&self, text: Cow<'a, str>) -> Result<Token<'a>, Refusal> {
        if !is_xml_text(&text) {
            return Err(self.ill_formed("a character that XML does not allow"));
        }
        if self.open.is_empty() && !is_blank(&text) {
            return Err(self.ill_formed("text outside of the root element"));
        }
        Ok(Token::Text(text))
    }

    fn reference(&self, reference: &BytesRef<'a>) -> Result<Cow<'a, str>, Refusal> {
        if let Some(c) = reference.resolve_char_ref().map_err(|e| self.ill_formed(e))? {
            return Ok(c.to_string().into());
        }
        let text = match &**reference {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            other => return Err(self.ill_formed(format_args!("entity '{other}' is not accepted"))),
        };
        Ok(text.into())
    }

    fn declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), Refusal> {
        let version = declaration.version().map_err(|e| self.ill_formed(e))?;
        if version != "1.0" {
            return Err(self.ill_formed(format_args!("XML version {version}: only 1.0 is accepted")));
        }
        if let Some(encoding) = declaration.encoding() {
            let encoding = encoding.map_err(|e| self.ill_formed(e))?;
            if !is_utf8(&encoding) {
                return Err(self.ill_formed(format_args!("encoding {encoding}: only UTF-8 is accepted")));
            }
        }
        Ok(())
    }

    /// The refusal of a body that is no acceptable XML, whatever it was meant to say.
    pub(super) fn ill_formed(&self, why: impl std::fmt::Display) -> Refusal {
        let at = self.inner.buffer_position();
        Refusal::new(StatusCode::BadRequest, format!("not well-formed XML at byte {at}: {why}"))
    }
}

/// The prefix that an attribute declares, if it is a namespace declaration.
fn declared_prefix<'t>(attribute: &Attribute<'t>) -> Option<&'t str> {
    match attribute.key.into_inner() {
        "xmlns" => Some(""),
        other => other.strip_prefix("xmlns:"),
    }
}
