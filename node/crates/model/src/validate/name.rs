//! What may be created where, and under which name (resources.md 0.2).

use super::unsupported;
use crate::{
    Path, Refusal, ResourceType, StatusCode, Value, record,
    tables::{ChildDef, TypeDef},
};

/// The types that can be created so far; the others are refused as not implemented, not as wrong.
pub(super) const CREATABLE: [ResourceType; 6] = [
    ResourceType::Scl,
    ResourceType::Application,
    ResourceType::AccessRight,
    ResourceType::Container,
    ResourceType::ContentInstance,
    ResourceType::Subscription,
];

/// Whether a collection takes members of this type. The row of its parent narrows what a collection may hold.
pub(super) fn kind(
    parent: Option<ResourceType>,
    collection: &Path,
    collection_type: ResourceType,
    resource_type: ResourceType,
) -> Result<(), Refusal> {
    let segment = collection.name().unwrap_or_default();
    let narrowed = parent.and_then(|parent| child(parent.def(), segment));
    let holds = narrowed.or_else(|| child(collection_type.def(), "{id}")).map_or(&[][..], |c| c.holds);
    let held = |held: &ResourceType| {
        // `mgmtObj` and `parameters` stand for what specialises them too.
        *held == resource_type || held.name() == resource_type.def().specialises && is_management(*held)
    };
    if !holds.iter().any(held) {
        // An scl announces its applications; registering one there would be a registration over mId (10.8.2).
        if (collection_type, resource_type) == (ResourceType::Applications, ResourceType::Application) {
            let why = "application: registers with its own SCL; here it can only be announced";
            return Err(Refusal::new(StatusCode::Forbidden, why));
        }
        let why = format_args!("cannot be created in {}", collection_type.name());
        return Err(Refusal::attribute(resource_type.name(), why));
    }
    if !CREATABLE.contains(&resource_type) {
        return Err(unsupported(format!("{}: cannot be created yet", resource_type.name())));
    }
    Ok(())
}

/// The name that the issuer chose, if it may be one.
pub(super) fn chosen(
    id: Option<Value>,
    collection: &Path,
    collection_type: ResourceType,
    resource_type: ResourceType,
) -> Result<Option<String>, Refusal> {
    let attribute = resource_type.id_attribute().map_or("id", |attribute| attribute.field.name);
    let name = match id {
        None => return Ok(None),
        Some(Value::Text(name)) => name,
        Some(_) => return Err(Refusal::attribute(attribute, "is not a name")),
    };
    let path = collection.child(name.as_str());
    if !path.is_sound() || name.contains('/') {
        return Err(Refusal::attribute(
            attribute,
            "is empty, too long, or has a slash or a control character",
        ));
    }
    let def = collection_type.def();
    if child(def, &name).is_some() || collection_type.attribute(&name).is_some() {
        return Err(Refusal::attribute(attribute, format_args!("{name} is reserved here")));
    }
    if resource_type == ResourceType::ContentInstance && record::instance_sequence(&name).is_some() {
        let info = format!("{attribute}: {name} is reserved for generated names");
        return Err(Refusal::new(StatusCode::Conflict, info));
    }
    Ok(Some(name))
}

fn child(def: &'static TypeDef, segment: &str) -> Option<&'static ChildDef> {
    def.children.iter().find(|child| child.segment == segment)
}

fn is_management(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::MgmtObj | ResourceType::Parameters)
}
