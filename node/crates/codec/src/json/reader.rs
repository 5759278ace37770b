//! A JSON text as a tree that borrows its strings; duplicate members, depth and size are refused while reading.

use crate::Limits;
use banyan_model::{Refusal, StatusCode};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, cell::Cell, fmt};

pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// Every integer that fits 64 bits, signed or not.
    Integer(i128),
    /// Numbers with a fraction or an exponent, and integers wider than 64 bits.
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// In order, names unique.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads a whole JSON text.
pub(super) fn read<'a>(text: &'a str, limits: &Limits) -> Result<Node<'a>, Refusal> {
    let ill_formed =
        |e: serde_json::Error| Refusal::new(StatusCode::BadRequest, format!("not acceptable JSON: {e}"));
    let values = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Seed { limits, values: &values, depth: 0 };
    let node = seed.deserialize(&mut deserializer).map_err(ill_formed)?;
    deserializer.end().map_err(ill_formed)?;
    Ok(node)
}

#[derive(Clone, Copy)]
struct Seed<'l> {
    limits: &'l Limits,
    /// Values read so far, in the whole text.
    values: &'l Cell<usize>,
    depth: usize,
}

impl Seed<'_> {
    /// For the members of an object or array.
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.limits.depth_max {
            return Err(E::custom(format_args!("values nested deeper than {}", self.limits.depth_max)));
        }
        Ok(Seed { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > self.limits.elements_max {
            return Err(de::Error::custom(format_args!("more than {} values", self.limits.elements_max)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Node::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            members.push((name, map.next_value_seed(inner)?));
        }
        match duplicate(&members) {
            Some(name) => Err(de::Error::custom(format_args!("{name}: stands more than once"))),
            None => Ok(Node::Object(members)),
        }
    }
}

/// A name that stands twice. Few members are compared with each other, many are sorted first.
fn duplicate<'m>(members: &'m [(Cow<'_, str>, Node<'_>)]) -> Option<&'m str> {
    if members.len() <= 16 {
        let repeated = |at: &usize| members[..*at].iter().any(|(name, _)| *name == members[*at].0);
        return (1..members.len()).find(repeated).map(|at| &*members[at].0);
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// A member's name, borrowed unless it is escaped.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
