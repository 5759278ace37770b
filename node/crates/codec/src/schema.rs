//! Questions both formats ask the tables: what a root name means, which fields a type has, what a list repeats.

use crate::Edition;
use banyan_model::{
    ResourceType, Value,
    tables::{self, AttributeDef, Category, FieldDef, FieldKind, Shape, StructDef, TypeDef},
    value::Struct,
};
use std::{collections::HashMap, sync::LazyLock};

pub(crate) const M2M: &str = "http://uri.etsi.org/m2m";
pub(crate) const XMIME: &str = "http://www.w3.org/2005/05/xmlmime";
pub(crate) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";
pub(crate) const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Structs that `xsi:type` may put in the place of another: (declared, derived, its V1 name). The derived one has all
/// fields of the declared one. No table row says this; tables/README.md does, under `struct:NAME`.
const DERIVED: &[(&str, &str, &str)] = &[
    ("ChannelData", "LongPollingChannelData", ""),
    ("FilterCriteriaType", "ContentInstancesFilterCriteriaType", "ContentInstanceFilterCriteriaType"),
];

/// Elements that V2.1.1 renamed: (V1, V2).
const RENAMED: &[(&str, &str)] = &[("createdSince", "createdAfter"), ("createdUntil", "createdBefore")];

/// Fields that V2.1.1 requires and V1 does not have: they are made up when a V1 body lacks them.
const REQUIRED_SINCE_V2: &[(&str, &str)] = &[
    ("FilterCriteriaType", "attributeAccessor"),
    ("ContentInstancesFilterCriteriaType", "attributeAccessor"),
    ("ScheduleString", "id"),
];

/// The children of a resource type or of a struct.
#[derive(Clone, Copy)]
pub(crate) enum Fields {
    Type(&'static [AttributeDef]),
    Struct(&'static [FieldDef]),
}

impl Fields {
    pub(crate) fn of(resource_type: ResourceType) -> Fields {
        Fields::Type(resource_type.def().attributes)
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Fields::Type(attributes) => attributes.len(),
            Fields::Struct(fields) => fields.len(),
        }
    }

    pub(crate) fn get(self, index: usize) -> &'static FieldDef {
        match self {
            Fields::Type(attributes) => &attributes[index].field,
            Fields::Struct(fields) => &fields[index],
        }
    }
}

/// Values with their fields, in the order of the tables. A value whose name the tables (in this edition) do not have is
/// left out: no schema-valid document could carry it.
pub(crate) fn ordered<'v>(
    edition: Edition,
    fields: Fields,
    values: &'v [(&'static str, Value)],
) -> Vec<(usize, &'v Value)> {
    let mut hint = 0;
    let mut found = Vec::with_capacity(values.len());
    for (name, value) in values {
        // Values mostly stand in order already, so the search goes on where the last one ended.
        let index = (hint..fields.len()).chain(0..hint).find(|&index| fields.get(index).name == *name);
        if let Some(index) = index {
            hint = index;
            if edition == Edition::V2 || fields.get(index).v1.is_some() || came_with_v2(fields) {
                found.push((index, value));
            }
        }
    }
    let position = |index: usize| match (edition, fields.get(index).v1) {
        (Edition::V1, Some(v1)) => v1.position as usize,
        _ => index,
    };
    if !found.is_sorted_by_key(|(index, _)| position(*index)) {
        // Stable: a repeated field keeps its order.
        found.sort_by_key(|(index, _)| position(*index));
    }
    found
}

/// What the root of a body names.
#[derive(Clone, Copy)]
pub(crate) enum Root {
    Resource(ResourceType),
    Attribute(&'static FieldDef),
    Message(&'static StructDef),
}

/// The meaning of a root name. Resources go before attributes of the same name; `latest` and `oldest` are attributes,
/// since the virtual resources have no representation of their own. What stands inside attributes is a root too: partial
/// addressing reads and writes single entries (`permission`, `searchString`) and fields (`activated`). A name that means
/// different things in different structs is none.
pub(crate) fn root(name: &str) -> Option<Root> {
    static ROOTS: LazyLock<HashMap<&'static str, Root>> = LazyLock::new(|| {
        let parts = tables::STRUCTS.iter().filter(|s| s.root_element.is_empty()).flat_map(|s| s.fields);
        let mut inner: HashMap<&'static str, Option<&'static FieldDef>> = HashMap::new();
        for field in parts.filter(|f| f.kind == FieldKind::Element) {
            let known = inner.entry(field.name).or_insert(Some(field));
            if known.is_some_and(|known| known.shape != field.shape) {
                *known = None;
            }
        }
        let inner = inner.into_iter().filter_map(|(name, field)| Some((name, Root::Attribute(field?))));
        let attributes = tables::TYPES.iter().flat_map(|t| t.attributes).map(|a| &a.field);
        let attributes =
            attributes.filter(|f| f.kind == FieldKind::Element).map(|f| (f.name, Root::Attribute(f)));
        let messages = tables::STRUCTS.iter().filter(|s| !s.root_element.is_empty());
        let messages = messages.map(|s| (s.root_element, Root::Message(s)));
        let types = tables::TYPES.iter().filter(|t| t.category != Category::Virtual);
        let types = types.map(|t| (t.name, Root::Resource(t.resource_type)));
        // The id, which no document has as an element, is one where it stands alone.
        let ids = tables::TYPES.iter().flat_map(|t| t.attributes).map(|a| &a.field);
        let ids = ids.filter(|f| f.kind == FieldKind::XmlAttribute).map(|f| (f.name, Root::Attribute(f)));
        ids.chain(inner).chain(attributes).chain(messages).chain(types).collect()
    });
    ROOTS.get(name).copied()
}

/// The attribute of this name in the first type that has it; its shape is the same in all of them.
pub(crate) fn attribute(name: &str) -> Option<&'static FieldDef> {
    match root(name)? {
        Root::Attribute(field) => Some(field),
        Root::Resource(_) | Root::Message(_) => None,
    }
}

/// The element that carries this type: its own, that of the type it specialises (with xsi:type), or its name where the
/// schema declares none (tables/README.md, doubt 8).
pub(crate) fn element_name(def: &'static TypeDef) -> &'static str {
    match (def.root_element, def.xsi_type) {
        ("", "") => def.name,
        ("", _) => def.specialises,
        (own, _) => own,
    }
}

/// The type that `xsi:type` names (without its prefix) where the element says `base`.
pub(crate) fn specialised(base: ResourceType, xsi_type: &str) -> Option<ResourceType> {
    let is_named =
        |t: &&TypeDef| t.specialises == base.name() && t.xsi_type.rsplit(':').next() == Some(xsi_type);
    tables::TYPES.iter().find(is_named).map(|t| t.resource_type)
}

/// What V1 calls a struct in xsi:type.
pub(crate) fn xsi_name(edition: Edition, derived: &'static str) -> &'static str {
    let v1 = DERIVED.iter().find(|(_, name, v1)| *name == derived && !v1.is_empty()).map(|(.., v1)| *v1);
    v1.filter(|_| edition == Edition::V1).unwrap_or(derived)
}

/// The struct that may stand in the place of `name`, with its V1 name.
pub(crate) fn derived(name: &str) -> Option<(&'static StructDef, &'static str)> {
    let (_, derived, v1) = DERIVED.iter().find(|(declared, ..)| *declared == name)?;
    Some((tables::struct_def(derived)?, v1))
}

/// The V2 name of an element that V1 called otherwise.
pub(crate) fn renamed(v1: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == v1).map(|(_, new)| *new)
}

/// What an edition calls a field. Types and structs that came with V2 keep their fields.
pub(crate) fn name_in(edition: Edition, field: &FieldDef) -> &'static str {
    match (edition, field.v1) {
        (Edition::V1, Some(v1)) => v1.name,
        _ => field.name,
    }
}

/// Whether V1 has none of these: they came with V2 as a whole.
fn came_with_v2(fields: Fields) -> bool {
    (0..fields.len()).all(|at| fields.get(at).v1.is_none())
}

/// Whether an edition has a bare text where V2.1.1 has a struct with one (scheduleString).
pub(crate) fn is_text_in(edition: Edition, field: &FieldDef) -> bool {
    edition == Edition::V1 && field.v1.is_some_and(|v1| v1.xsd_type == "xs:string")
}

/// The character content of a struct.
pub(crate) fn text_of(inner: &Struct) -> &str {
    match inner.get("#text") {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

/// The spelling of a value of an enumeration. One that V1 does not have stays as it is.
pub(crate) fn spelled<'t>(edition: Edition, field: &FieldDef, text: &'t str) -> &'t str {
    match (edition, field.shape) {
        (Edition::V1, Shape::Enum(name)) => {
            let values = tables::enum_def(name).map_or(&[][..], |def| def.values);
            let old = values.iter().find(|(new, _)| *new == text).map(|(_, old)| *old);
            old.filter(|old| !old.is_empty()).unwrap_or(text)
        }
        _ => text,
    }
}

/// Why an element or member that the tables do not have is refused. `kind`: which of both it is.
pub(crate) fn unknown(kind: &str, name: &str, owner: &str) -> String {
    match (owner, name) {
        // What V2.1.1 dropped without a successor: nobody who relies on it must think that it was heard.
        ("filterCriteria", "creator" | "ifMatch") => "a criterion of V1.1.1 that is not supported".to_owned(),
        _ => format!("unknown {kind} {owner}"),
    }
}

/// Whether a V1 body lawfully lacks this required field.
pub(crate) fn absent_in_v1(owner: &str, field: &str) -> bool {
    REQUIRED_SINCE_V2.contains(&(owner, field))
}

/// The repeated child of a `uri-list` or `string-list`: the only field of the struct its xsd_type names.
pub(crate) fn list_child(field: &FieldDef) -> Option<&'static FieldDef> {
    if !matches!(field.shape, Shape::UriList | Shape::StringList) {
        return None;
    }
    tables::struct_def(field.xsd_type.strip_prefix("m2m:")?)?.fields.first()
}

/// Whether a struct is nothing but a wrapper around one repeated child, which JSON then writes even when empty.
pub(crate) fn is_wrapper(fields: Fields) -> bool {
    fields.len() == 1 && fields.get(0).max != Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_struct_and_list_named_by_a_field_is_in_the_tables() {
        let types = tables::TYPES.iter().flat_map(|t| t.attributes).map(|a| &a.field);
        let structs = tables::STRUCTS.iter().flat_map(|s| s.fields);
        for field in types.chain(structs) {
            match field.shape {
                Shape::Struct(name) => assert!(tables::struct_def(name).is_some(), "{name}"),
                Shape::Enum(name) => assert!(tables::enum_def(name).is_some(), "{name}"),
                Shape::UriList | Shape::StringList => {
                    assert!(list_child(field).is_some(), "{}", field.xsd_type)
                }
                _ => {}
            }
        }
    }

    #[test]
    fn an_attribute_has_the_same_shape_in_every_type() {
        for field in tables::TYPES.iter().flat_map(|t| t.attributes).map(|a| &a.field) {
            if field.kind == FieldKind::Element {
                let found =
                    attribute(field.name).unwrap_or_else(|| panic!("{} is hidden by a root", field.name));
                assert_eq!((found.shape, found.xsd_type), (field.shape, field.xsd_type), "{}", field.name);
            }
        }
    }

    #[test]
    fn a_derived_struct_has_every_field_of_the_declared_one() {
        for (declared, ..) in DERIVED {
            let (derived, _) = derived(declared).expect("both are in the tables");
            let declared = tables::struct_def(declared).map_or(&[][..], |s| s.fields);
            for field in declared {
                assert!(derived.fields.iter().any(|f| f.name == field.name), "{}", field.name);
            }
        }
    }
}
