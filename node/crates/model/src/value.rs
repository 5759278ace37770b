//! Attribute values, and representations made of them, independent of XML or JSON.
//!
//! A representation is data, not a Rust struct a type: codec, validation and storage walk the tables. Rules that
//! need one attribute ask for it by its ETSI name (`representation.text("accessRightID")`).

use crate::{
    tables::ResourceType,
    time::{Timestamp, XsdDuration},
};
use bytes::Bytes;

/// One value, by the shape of its field (`tables::Shape`).
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Shapes Uri, String, Time, Enum.
    Text(String),
    /// Shape Datetime.
    Datetime(Timestamp),
    /// Shape Duration.
    Duration(XsdDuration),
    /// Shape Bool.
    Bool(bool),
    /// Shape Long.
    Long(i64),
    /// Shapes Hex and Base64, decoded. `content_type` is xmime:contentType where the schema has it.
    Binary {
        /// xmime:contentType.
        content_type: Option<String>,
        /// The decoded octets.
        bytes: Bytes,
    },
    /// Shapes UriList and StringList: the repeated child's texts, in order.
    List(Vec<String>),
    /// Shape NamedReference.
    Reference(NamedReference),
    /// Shape NamedReferenceCollection.
    References(Vec<NamedReference>),
    /// Shape Content.
    Content(Content),
    /// Shape Struct.
    Struct(Struct),
    /// Shape Resource: a whole representation inline.
    Resource(Box<Representation>),
    /// Shape Empty.
    Empty,
    /// Shape Any: an element tree.
    Any(Element),
}

/// `namedReference`: an address with the id of the member.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct NamedReference {
    pub id: String,
    pub uri: String,
}

/// The content of a contentInstance, octets decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// xmime:contentType.
    pub content_type: Option<String>,
    /// The octets; UTF-8 when `form` is `Text`.
    pub bytes: Bytes,
    /// Which alternative of the schema's choice carried it.
    pub form: ContentForm,
}

/// The schema's choice inside `content`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentForm {
    /// `binaryContent`
    Binary,
    /// `textContent`
    Text,
}

/// The fields of a nested complex type in schema order; a repeated field stands several times.
#[derive(Clone, PartialEq, Debug)]
pub struct Struct {
    /// The struct's name in structs.csv (a derived one where xsi:type says so).
    pub name: &'static str,
    /// Field name (`#text` for character content) and value.
    pub fields: Vec<(&'static str, Value)>,
}

/// An element of foreign or unknown structure (shape Any), kept as it came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Element {
    pub namespace: String,
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    pub text: String,
}

/// A resource's attributes, in the order of the tables once `sort` has run (the codec and the SCL do).
#[derive(Clone, PartialEq, Debug)]
pub struct Representation {
    /// The type, told by the root element.
    pub resource_type: ResourceType,
    /// Attribute name and value; a name stands at most once.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Struct {
    /// The first value of this field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.all(field).next()
    }

    /// The first value of a field of shape Uri, String or Enum.
    pub fn text(&self, field: &str) -> Option<&str> {
        match self.get(field) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Every value of a repeated field.
    pub fn all<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a Value> {
        self.fields.iter().filter(move |(name, _)| *name == field).map(|(_, value)| value)
    }
}

impl Representation {
    /// An empty representation.
    pub fn new(resource_type: ResourceType) -> Self {
        Representation { resource_type, attributes: Vec::new() }
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of an attribute of shape Uri, String or Enum.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of a dateTime attribute.
    pub fn datetime(&self, name: &str) -> Option<Timestamp> {
        match self.get(name) {
            Some(Value::Datetime(at)) => Some(*at),
            _ => None,
        }
    }

    /// The value of an integer attribute.
    pub fn long(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Long(n)) => Some(*n),
            _ => None,
        }
    }

    /// Sets an attribute, keeping the order of the tables. A name that the type does not have goes to the end.
    pub fn set(&mut self, name: &'static str, value: Value) {
        let rank = |n: &str| {
            let attributes = self.resource_type.def().attributes;
            attributes.iter().position(|a| a.field.name == n).unwrap_or(usize::MAX)
        };
        match self.attributes.iter().position(|(n, _)| *n == name) {
            Some(at) => self.attributes[at].1 = value,
            None => {
                let mine = rank(name);
                let at =
                    self.attributes.iter().position(|(n, _)| rank(n) > mine).unwrap_or(self.attributes.len());
                self.attributes.insert(at, (name, value));
            }
        }
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.attributes.iter().position(|(n, _)| *n == name)?;
        Some(self.attributes.remove(at).1)
    }
}
