//! What the other rooms call.

use banyan_model::{
    Body, Refusal, Representation, ResourceType, StatusCode, Value,
    value::Struct,
};
use bytes::Bytes;

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

/// What a body may cost before it is refused. Each bound is checked while reading, before memory is spent on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets of the whole body; more is answered with `PayloadTooLarge`. Default 4 MiB.
    pub bytes_max: usize,
    /// Open elements (XML) or open objects and arrays (JSON) at once. Default 32; the tables need less than 16.
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

/// Reads a body. Never panics; never an error: what cannot be read is [`Body::Malformed`], whose refusal (BAD_REQUEST,
/// or `PayloadTooLarge` past `bytes_max`) names the element, attribute or member and says what was expected.
/// An empty body is [`Body::None`].
pub fn decode(format: Format, bytes: &[u8], limits: &Limits, expect: Expect) -> Body {
    let _ = (format, bytes, limits, expect);
    todo!("codec")
}

/// Reads a body by its Content-Type header: XML and JSON as [`decode`] does, any other type as [`Body::Raw`]. A charset
/// other than UTF-8 on XML or JSON is `Malformed` with UNSUPPORTED_MEDIA_TYPE. An empty body is [`Body::None`].
pub fn decode_content(content_type: &str, bytes: &Bytes, limits: &Limits, expect: Expect) -> Body {
    let _ = (content_type, bytes, limits, expect);
    todo!("codec")
}

/// Writes a resource as a document.
pub fn encode_representation(format: Format, representation: &Representation) -> Bytes {
    let _ = (format, representation);
    todo!("codec")
}

/// Writes one attribute as a document of its own (partial addressing). `None`: no type has an attribute of this name.
pub fn encode_attribute(format: Format, name: &str, value: &Value) -> Option<Bytes> {
    let _ = (format, name, value);
    todo!("codec")
}

/// Writes a message body (a struct with a root element). `None`: the struct has none.
pub fn encode_message(format: Format, message: &Struct) -> Option<Bytes> {
    let _ = (format, message);
    todo!("codec")
}

/// Writes whatever a primitive carries. `None` for a body that is no document: `None`, `Raw`, `Malformed`.
pub fn encode_body(format: Format, body: &Body) -> Option<Bytes> {
    match body {
        Body::Representation(representation) => Some(encode_representation(format, representation)),
        Body::Attribute { name, value } => encode_attribute(format, name, value),
        Body::Message(message) => encode_message(format, message),
        Body::None | Body::Raw { .. } | Body::Malformed(_) => None,
    }
}

/// errorInfo: the status and, unless empty, additionalInfo. A status without a name in the schema is written as the
/// one that stands for it (`StatusCode`'s comments): 304 and 412 have no body and become STATUS_BAD_REQUEST here.
pub fn error_info(format: Format, status: StatusCode, info: &str) -> Bytes {
    let _ = (format, status, info);
    todo!("codec")
}

/// notify. `document` is what [`encode_representation`] or (in a final notify) [`error_info`] wrote **in the same
/// format**; it is carried in base64 with the format as xmime:contentType. `None`: noRepresentation.
pub fn notify(format: Format, status: StatusCode, document: Option<&[u8]>, subscription_reference: &str) -> Bytes {
    let _ = (format, status, document, subscription_reference);
    todo!("codec")
}

#[allow(dead_code)]
fn malformed(refusal: Refusal) -> Body {
    Body::Malformed(refusal)
}
