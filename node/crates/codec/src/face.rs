//! What the other rooms call.

use crate::{
    json,
    schema::{self, Root},
    xml,
};
use banyan_model::{
    Body, Refusal, Representation, ResourceType, StatusCode, Value,
    tables::{self, FieldDef},
    value::Struct,
};
use bytes::Bytes;

/// The reader recurses; no configuration may take it past this.
const DEPTH_MAX: usize = 96;

/// How a representation is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Format {
    Xml,
    Json,
}

impl Format {
    /// The media type without parameters, as it stands in Content-Type and in `xmime:contentType`.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Xml => "application/xml",
            Format::Json => "application/json",
        }
    }

    /// How its entity tags end.
    fn mark(self) -> &'static str {
        match self {
            Format::Xml => "xml",
            Format::Json => "json",
        }
    }

    /// The format of a media type; parameters (`; charset=utf-8`) are ignored, letter case too. `text/xml` is XML.
    /// `None`: neither, which for a contentInstances collection means raw content.
    pub fn from_media_type(text: &str) -> Option<Format> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/xml") || essence.eq_ignore_ascii_case("text/xml") {
            Some(Format::Xml)
        } else if essence.eq_ignore_ascii_case("application/json") {
            Some(Format::Json)
        } else {
            None
        }
    }
}

/// The entity tag of a representation, with its quotes: the eTag of the resource, and which of its representations it is
/// (D-23). Content that is answered as it is has one only.
pub fn entity_tag(etag: &str, format: Option<Format>) -> String {
    match format {
        Some(format) => format!("\"{etag}.{}\"", format.mark()),
        None => format!("\"{etag}\""),
    }
}

/// Whether a tag, without its quotes, is that of a representation in another format.
pub fn is_of_other_format(tag: &str, format: Format) -> bool {
    let mark = tag.rsplit_once('.').map(|(_, mark)| mark);
    [Format::Xml, Format::Json].into_iter().any(|other| other != format && mark == Some(other.mark()))
}

/// Which edition of TS 102 921 a document is written in. Either is read always.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Edition {
    /// V2.1.1.
    #[default]
    V2,
    /// V1.1.1: without what came later, in its spellings. Types that came later are written as they are.
    V1,
}

/// How a document is written: a [`Format`] alone means V2.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub struct Style {
    pub format: Format,
    pub edition: Edition,
}

impl From<Format> for Style {
    fn from(format: Format) -> Style {
        Style { format, edition: Edition::default() }
    }
}

/// What a body may cost before it is refused. Each bound is checked while reading, before memory is spent on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets of the whole body; more is answered with `PayloadTooLarge`. Default 4 MiB.
    pub bytes_max: usize,
    /// Open elements (XML) or open objects and arrays (JSON) at once. Default 32, the tables
    /// need less than 16; more than 96 counts as 96.
    pub depth_max: usize,
    /// Elements (XML) or values (JSON) in all. Default 65,536.
    pub elements_max: usize,
    /// Attributes of one XML element, namespace declarations included. Default 64.
    pub attributes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes_max: 4 << 20, depth_max: 32, elements_max: 65_536, attributes_max: 64 }
    }
}

/// What the reader expects. The root element tells the type, so a request needs no more than `Any`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expect {
    /// A resource, one attribute of a resource (partial addressing) or a message body, whichever the root names.
    #[default]
    Any,
    /// A representation of this type (or of one that specialises it); another root is malformed.
    Resource(ResourceType),
    /// The message body with this root element (`notify`, `errorInfo`, ...); another root is malformed.
    Message(&'static str),
}

impl Expect {
    /// Whether a root is the expected one.
    pub(crate) fn admit(self, name: &str, root: Root) -> Result<(), Refusal> {
        let expected = match (self, root) {
            (Expect::Any, _) => return Ok(()),
            (Expect::Resource(expected), Root::Resource(found)) if is_a(found, expected) => return Ok(()),
            (Expect::Message(expected), Root::Message(found)) if found.root_element == expected => {
                return Ok(());
            }
            (Expect::Resource(expected), _) => expected.name(),
            (Expect::Message(expected), _) => expected,
        };
        Err(Refusal::attribute(name, format_args!("{expected} was expected")))
    }
}

fn is_a(found: ResourceType, expected: ResourceType) -> bool {
    found == expected || found.def().specialises == expected.name()
}

/// What a document turned out to be.
pub(crate) enum Found {
    Representation(Representation),
    Attribute(&'static FieldDef, Value),
    Message(Struct),
}

/// Reads a body. Never panics; never an error: what cannot be read is [`Body::Malformed`], whose refusal (BAD_REQUEST,
/// or `PayloadTooLarge` past `bytes_max`) names the element, attribute or member and says what was expected.
/// An empty body is [`Body::None`].
pub fn decode(format: Format, bytes: &[u8], limits: &Limits, expect: Expect) -> Body {
    if bytes.is_empty() {
        return Body::None;
    }
    match document(format, bytes, limits, expect) {
        Ok(Found::Representation(representation)) => Body::Representation(representation),
        Ok(Found::Attribute(field, value)) => Body::Attribute { name: field.name.to_owned(), value },
        Ok(Found::Message(message)) => Body::Message(message),
        Err(mut refusal) => {
            shorten(&mut refusal.info);
            Body::Malformed(refusal)
        }
    }
}

fn document(format: Format, bytes: &[u8], limits: &Limits, expect: Expect) -> Result<Found, Refusal> {
    if bytes.len() > limits.bytes_max {
        let most = limits.bytes_max;
        return Err(Refusal::new(
            StatusCode::PayloadTooLarge,
            format!("the body is larger than {most} octets"),
        ));
    }
    // A byte order mark is lawful before XML and tolerated before JSON.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Refusal::new(StatusCode::BadRequest, format!("the body is not UTF-8: {e}")))?;
    let limits = Limits { depth_max: limits.depth_max.min(DEPTH_MAX), ..*limits };
    match format {
        Format::Xml => xml::decode::document(text, &limits, expect),
        Format::Json => json::decode::document(text, &limits, expect),
    }
}

/// A refusal quotes names from the body; a hostile one must not come back at full length.
fn shorten(info: &mut String) {
    const INFO_MAX: usize = 512;
    if info.len() > INFO_MAX {
        info.truncate(info.floor_char_boundary(INFO_MAX));
        info.push_str("...");
    }
    // It may end up in a header, a log line and an XML document.
    if info.contains(char::is_control) {
        *info = info.replace(char::is_control, "\u{FFFD}");
    }
}

/// Reads a body by its Content-Type header: XML and JSON as [`decode`] does, any other type as [`Body::Raw`]. A charset
/// other than UTF-8 on XML or JSON is `Malformed` with UNSUPPORTED_MEDIA_TYPE. An empty body is [`Body::None`].
pub fn decode_content(content_type: &str, bytes: &Bytes, limits: &Limits, expect: Expect) -> Body {
    if bytes.is_empty() {
        return Body::None;
    }
    let Some(format) = Format::from_media_type(content_type) else {
        if bytes.len() > limits.bytes_max {
            let most = limits.bytes_max;
            let refusal =
                Refusal::new(StatusCode::PayloadTooLarge, format!("the body is larger than {most} octets"));
            return Body::Malformed(refusal);
        }
        return Body::Raw { content_type: content_type.to_owned(), bytes: bytes.clone() };
    };
    match charset(content_type) {
        Some(charset) if !is_utf8(charset) => Body::Malformed(Refusal::new(
            StatusCode::UnsupportedMediaType,
            "Content-Type: only the charset UTF-8 is accepted",
        )),
        _ => decode(format, bytes, limits, expect),
    }
}

/// The charset parameter of a media type.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// Charsets whose texts are UTF-8 as they are.
pub(crate) fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// Writes a resource as a document.
pub fn encode_representation(style: impl Into<Style>, representation: &Representation) -> Bytes {
    let Style { format, edition } = style.into();
    Bytes::from(match format {
        Format::Xml => xml::encode::representation(edition, representation),
        Format::Json => json::encode::representation(edition, representation),
    })
}

/// Writes one attribute as a document of its own (partial addressing). `None`: no type has an attribute of this name.
pub fn encode_attribute(style: impl Into<Style>, name: &str, value: &Value) -> Option<Bytes> {
    let Style { format, edition } = style.into();
    let field = schema::attribute(name)?;
    Some(Bytes::from(match format {
        Format::Xml => xml::encode::attribute(edition, field, value),
        Format::Json => json::encode::attribute(edition, field, value),
    }))
}

/// Writes a message body (a struct with a root element). `None`: the struct has none.
pub fn encode_message(style: impl Into<Style>, message: &Struct) -> Option<Bytes> {
    let Style { format, edition } = style.into();
    let def = tables::struct_def(message.name).filter(|def| !def.root_element.is_empty())?;
    Some(Bytes::from(match format {
        Format::Xml => xml::encode::message(edition, def, message),
        Format::Json => json::encode::message(edition, def, message),
    }))
}

/// Writes whatever a primitive carries. `None` for a body that is no document: `None`, `Raw`, `Malformed`.
pub fn encode_body(style: impl Into<Style>, body: &Body) -> Option<Bytes> {
    match body {
        Body::Representation(representation) => Some(encode_representation(style, representation)),
        Body::Attribute { name, value } => encode_attribute(style, name, value),
        Body::Message(message) => encode_message(style, message),
        Body::None | Body::Raw { .. } | Body::Malformed(_) => None,
    }
}
