//! Names of the tables: text on the wire, `&'static str` in the model.

use super::Malformed;
use banyan_model::{ResourceType, path::ROOT_COLLECTIONS, tables};
use std::{collections::HashSet, sync::OnceLock};

pub(super) fn resource_type(name: &str) -> Result<ResourceType, Malformed> {
    ResourceType::from_name(name).ok_or_else(|| Malformed::unknown("resource type", name))
}

/// An attribute, looked for in its own type first; a representation may carry one that its type does not have.
pub(super) fn attribute(of: ResourceType, name: &str) -> Result<&'static str, Malformed> {
    match of.attribute(name) {
        Some(def) => Ok(def.field.name),
        None => any(name).ok_or_else(|| Malformed::unknown("attribute", name)),
    }
}

pub(super) fn struct_name(name: &str) -> Result<&'static str, Malformed> {
    tables::struct_def(name).map(|def| def.name).ok_or_else(|| Malformed::unknown("struct", name))
}

/// A field, looked for in its own struct first.
pub(super) fn field(of: &str, name: &str) -> Result<&'static str, Malformed> {
    let own = tables::struct_def(of).and_then(|def| def.fields.iter().find(|field| field.name == name));
    match own {
        Some(field) => Ok(field.name),
        None => any(name).ok_or_else(|| Malformed::unknown("field", name)),
    }
}

pub(super) fn root_collection(name: &str) -> Result<&'static str, Malformed> {
    ROOT_COLLECTIONS
        .into_iter()
        .find(|collection| *collection == name)
        .ok_or_else(|| Malformed::unknown("root collection", name))
}

/// Any name that stands anywhere in the tables, or `#text`.
pub(super) fn any(name: &str) -> Option<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let attributes = tables::TYPES.iter().flat_map(|t| t.attributes).map(|a| a.field.name);
        let fields = tables::STRUCTS.iter().flat_map(|s| s.fields).map(|f| f.name);
        attributes.chain(fields).chain(["#text"]).collect()
    });
    names.get(name).copied()
}
