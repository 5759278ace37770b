//! Under which name something may be created (resources.md 0.2).

use crate::{
    Path, Refusal, ResourceType, StatusCode, Value, holds,
    path::SEGMENTS_MAX,
    record,
    tables::{Allowed, Category},
};

/// The name that the issuer chose, if it may be one.
pub(super) fn chosen(
    id: Option<Value>,
    collection: &Path,
    collection_type: ResourceType,
    resource_type: ResourceType,
) -> Result<Option<String>, Refusal> {
    let attribute = resource_type.id_attribute().map_or("id", |attribute| attribute.field.name);
    let name = match id {
        None => return Ok(holds::fixed_name(collection_type, resource_type).map(str::to_owned)),
        Some(Value::Text(name)) => name,
        Some(_) => return Err(Refusal::attribute(attribute, "is not a name")),
    };
    if let Some(fixed) = holds::fixed_name(collection_type, resource_type) {
        let wrong = || Refusal::attribute(attribute, format_args!("is {fixed} here"));
        return if name == fixed { Ok(Some(name)) } else { Err(wrong()) };
    }
    if !fits(collection, &name) {
        return Err(Refusal::attribute(
            attribute,
            "is empty, too long, or has a slash or a control character",
        ));
    }
    if holds::is_reserved(collection_type, &name) {
        return Err(Refusal::attribute(attribute, format_args!("{name} is reserved here")));
    }
    if resource_type == ResourceType::ContentInstance && record::instance_sequence(&name).is_some() {
        let info = format!("{attribute}: {name} is reserved for generated names");
        return Err(Refusal::new(StatusCode::Conflict, info));
    }
    Ok(Some(name))
}

/// What may stand below a resource that nests others of its kind, deepest: a part of an attribute of a subscription to its
/// contentInstances (`contentInstances/subscriptions/<s>/filterCriteria/attributeAccessor`), and one to spare.
const BELOW: usize = 6;

/// Nothing nests so deep that what belongs to it could not be addressed any more.
pub(super) fn has_room(path: &Path, resource_type: ResourceType) -> Result<(), Refusal> {
    let def = resource_type.def();
    let takes_its_like = def.category != Category::Collection && def.create_in != Allowed::No;
    let depth = path.segments().len();
    if (resource_type.is_container() || takes_its_like) && depth + BELOW > SEGMENTS_MAX {
        let most = SEGMENTS_MAX - BELOW;
        let attribute = resource_type.id_attribute().map_or("id", |attribute| attribute.field.name);
        let why = format_args!("stands too deep: its path has {depth} segments, {most} are allowed");
        return Err(Refusal::attribute(attribute, why));
    }
    Ok(())
}

/// Whether it can be the name of something in this collection.
pub(super) fn fits(collection: &Path, name: &str) -> bool {
    !name.contains('/') && collection.child(name).is_sound()
}
