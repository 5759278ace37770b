//! Complete representations, made of what is stored: ids, references to children, member lists and counts are added
//! here, in the order of the tables.

use crate::{
    Body, Path, Refusal, Representation, ResourceType, Scl, Value,
    partial::{self, Part},
    record::{Instance, InstancesState, Resource},
    tables::{AttributeDef, Category, Mode, Shape, TypeDef},
    value::{NamedReference, Struct},
};

/// The representation of a resource, or of a collection with these members in its lists. Only a RETRIEVE and the
/// delivery of a notify know them: whatever changes a collection costs the same however many it has.
///
/// The schema has no form for an action that runs (`ActionStatus` without finalStatus), so it is left out until it ends;
/// [`with_running`] shows it.
pub fn resource(
    scl: &Scl,
    resource: &Resource,
    members: Vec<(ResourceType, NamedReference)>,
) -> Representation {
    let mut complete = with_running(scl, resource, members);
    let runs = |value: &Value| matches!(value, Value::Struct(s) if s.name == "ActionStatus" && s.get("finalStatus").is_none());
    complete.attributes.retain(|(_, value)| !runs(value));
    complete
}

/// The same with the status of running actions: for whoever asks for that attribute alone.
pub fn with_running(
    scl: &Scl,
    resource: &Resource,
    mut members: Vec<(ResourceType, NamedReference)>,
) -> Representation {
    let stored = &resource.representation;
    let def = stored.resource_type.def();

    let mut complete = Representation::new(stored.resource_type);
    complete.attributes.reserve(def.attributes.len());
    // Of all collections only execInstances has one in the schema, and needs it as little as the others.
    let id = stored.resource_type.id_attribute().filter(|_| def.category != Category::Collection);
    let id = id.map(|attribute| attribute.field.name);
    for attribute in def.attributes {
        let name = attribute.field.name;
        let value = if Some(name) == id {
            resource.path.name().map(|name| Value::Text(name.to_owned()))
        } else if let Some(child) = referenced_child(def, attribute) {
            Some(Value::Text(scl.address(&resource.path.child(child))))
        } else if let Some(member_type) = listed_type(attribute) {
            let listed;
            (listed, members) = members.into_iter().partition(|(of, _)| of.is_a(member_type));
            Some(Value::References(listed.into_iter().map(|(_, reference)| reference).collect()))
        } else {
            stored.get(name).cloned().or_else(|| empty_list(attribute))
        };
        complete.attributes.extend(value.map(|value| (name, value)));
    }
    complete
}

/// An attribute and what follows it; `None`: the whole is meant.
pub(crate) type Accessor<'a> = Option<(&'a str, &'a [String])>;

/// What the segments of an accessor mean.
pub(crate) fn accessor(segments: &[String]) -> Accessor<'_> {
    segments.split_first().map(|(name, rest)| (name.as_str(), rest))
}

/// The whole, or what partial addressing selects of it (procedures.md 6).
///
/// # Errors
/// NOT_FOUND: nothing.
pub(crate) fn part(mut whole: Representation, accessor: Accessor<'_>) -> Result<Body, Refusal> {
    let Some((name, rest)) = accessor else { return Ok(Body::Representation(whole)) };
    let value = whole.remove(name).ok_or_else(Refusal::not_found)?;
    if rest.is_empty() {
        return Ok(Body::Attribute { name: name.to_owned(), value });
    }
    let field = whole.resource_type.attribute(name).map(|attribute| &attribute.field);
    match field.and_then(|field| partial::select(field, &value, rest)) {
        Some(Part::Element { name, value }) => {
            Ok(Body::Attribute { name: name.to_owned(), value: value.clone() })
        }
        // Found is success without a body.
        Some(Part::Member) => Ok(Body::None),
        None => Err(Refusal::not_found()),
    }
}

/// The representation of a contentInstance. `container` is the path of the container, not of its contentInstances.
pub fn instance(scl: &Scl, container: &Path, instance: &Instance, with_content: bool) -> Representation {
    let mut complete = Representation::new(ResourceType::ContentInstance);
    let mut put = |name, value| complete.attributes.push((name, value));
    put("id", Value::Text(instance.id.clone()));
    put("href", Value::Text(scl.address(&instance_path(container, instance))));
    put("creationTime", Value::Datetime(instance.creation_time));
    put("lastModifiedTime", Value::Datetime(instance.last_modified_time));
    if let Some(at) = instance.delay_tolerance {
        put("delayTolerance", Value::Datetime(at));
    }
    put("searchStrings", Value::List(instance.search_strings.clone()));
    // The schema wants at least one, so none is said by leaving it out.
    if !instance.content_types.is_empty() {
        put("contentTypes", Value::List(instance.content_types.clone()));
    }
    put("contentSize", Value::Long(long(instance.content_size)));
    if with_content {
        put("content", Value::Content(instance.content.clone()));
    }
    complete
}

/// The representation of a container's contentInstances with these instances inline, oldest first. Counts, `latest`
/// and `oldest` describe the instances given (resources.md 3.9): all of them, or what a filter or a notify selects.
pub fn instances<'a>(
    scl: &Scl,
    container: &Path,
    state: &InstancesState,
    list: impl IntoIterator<Item = &'a Instance>,
    with_content: bool,
) -> Representation {
    let (mut bytes, mut oldest, mut latest) = (0_u64, None, None);
    let mut inline = Vec::new();
    for one in list {
        bytes = bytes.saturating_add(one.content_size);
        oldest = oldest.or(Some(one));
        latest = Some(one);
        let whole = instance(scl, container, one, with_content);
        inline.push(("contentInstance", Value::Resource(Box::new(whole))));
    }
    let count = inline.len();
    let named = |one: &Instance| {
        let uri = scl.address(&instance_path(container, one));
        Value::Reference(NamedReference { id: one.id.clone(), uri })
    };

    let collection = container.child("contentInstances");
    let mut complete = Representation::new(ResourceType::ContentInstances);
    let mut put = |name, value| complete.attributes.push((name, value));
    put("creationTime", Value::Datetime(state.creation_time));
    put("lastModifiedTime", Value::Datetime(state.last_modified_time));
    put("currentNrOfInstances", Value::Long(i64::try_from(count).unwrap_or(i64::MAX)));
    put("currentByteSize", Value::Long(long(bytes)));
    let inline = Struct { name: "ContentInstanceCollection", fields: inline };
    put("contentInstanceCollection", Value::Struct(inline));
    if let Some(one) = latest {
        put("latest", named(one));
    }
    if let Some(one) = oldest {
        put("oldest", named(one));
    }
    put("subscriptionsReference", Value::Text(scl.address(&collection.child("subscriptions"))));
    complete
}

/// Changes with every change of the resource, and is another one after it was deleted and created again.
pub fn etag(resource: &Resource) -> String {
    let created = resource.representation.datetime("creationTime").unwrap_or_default();
    format!("{:x}-{:x}", created.0, resource.version)
}

/// The eTag of a contentInstances collection.
pub fn instances_etag(state: &InstancesState) -> String {
    format!("{:x}-{:x}", state.creation_time.0, state.version)
}

/// The eTag of a contentInstance, which never changes.
pub fn instance_etag(instance: &Instance) -> String {
    format!("{:x}-{:x}", instance.creation_time.0, instance.sequence)
}

/// The type whose members an attribute of a collection lists (`containerCollection`: container).
pub fn listed_type(attribute: &AttributeDef) -> Option<ResourceType> {
    if attribute.field.shape != Shape::NamedReferenceCollection {
        return None;
    }
    ResourceType::from_name(attribute.field.name.strip_suffix("Collection")?)
}

/// Whether representations of this type list their children.
pub(crate) fn lists_members(of: ResourceType) -> bool {
    of.def().attributes.iter().any(|attribute| listed_type(attribute).is_some())
}

/// The child that a reference attribute addresses (`containersReference`: containers).
pub(crate) fn referenced_child(def: &TypeDef, attribute: &AttributeDef) -> Option<&'static str> {
    let child = attribute.field.name.strip_suffix("Reference")?;
    def.child(child).filter(|child| child.implicit).map(|child| child.segment)
}

/// Whether a resource of this type shows this attribute although none is stored.
pub(crate) fn is_made(resource_type: ResourceType, name: &str) -> bool {
    let is_id = resource_type.id_attribute().is_some_and(|id| id.field.name == name);
    let def = resource_type.def();
    is_id
        || resource_type.attribute(name).is_some_and(|attribute| {
            referenced_child(def, attribute).is_some()
                || listed_type(attribute).is_some()
                || empty_list(attribute).is_some()
        })
}

/// Mandatory in responses, yet nobody set it.
fn empty_list(attribute: &AttributeDef) -> Option<Value> {
    let list = matches!(attribute.field.shape, Shape::StringList | Shape::UriList);
    (list && attribute.response == Mode::Mandatory).then(|| Value::List(Vec::new()))
}

fn instance_path(container: &Path, instance: &Instance) -> Path {
    container.child("contentInstances").child(instance.id.as_str())
}

fn long(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
