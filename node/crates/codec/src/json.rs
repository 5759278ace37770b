//! JSON: `reader` turns text into a bounded tree, `decode` the tree into values, `encode` values into text.
//!
//! The form is OpenMTC's (bindings 8b): one root member named after the type, XML attributes as plain members, text
//! beside attributes under `$t`, repeated elements as arrays. Foreign XML (shape Any) is not covered there; it is
//! written as its text, or as an object of `@attribute`, `$t` and child members, names in a namespace as
//! `{namespace}name`. Children whose order such an object cannot keep stand in an array `$c` of one-member objects.

pub(crate) mod decode;
pub(crate) mod encode;
mod reader;

/// The member for text beside attributes.
const TEXT: &str = "$t";
/// The member for foreign children whose order matters.
const CHILDREN: &str = "$c";
