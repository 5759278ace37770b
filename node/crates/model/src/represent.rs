//! Representations as they are shown: what is stored, with id, references and member lists added.

use crate::{
    Path, Representation, ResourceType, Scl, TreeView, Value,
    record::{Instance, InstancesState, Resource},
    tables::{Mode, Shape},
    tree::Tree,
    value::NamedReference,
};

/// A resource or collection. Root collections show no members: these live in all shards.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn resource<V: TreeView>(tree: &Tree<'_, V>, resource: &Resource) -> Result<Representation, V::Error> {
    let mut shown = resource.representation.clone();
    let of = shown.resource_type;
    let def = of.def();
    if let (Some(id), Some(name)) = (of.id_attribute(), resource.path.name()) {
        shown.set(id.field.name, Value::Text(name.to_owned()));
    }
    references(tree.scl, &resource.path, &mut shown);
    let lists = || def.attributes.iter().filter(|a| a.field.shape == Shape::NamedReferenceCollection);
    if lists().next().is_some() {
        let members = tree.children(&resource.path)?;
        for list in lists() {
            let holds = list.field.name.strip_suffix("Collection").and_then(ResourceType::from_name);
            let of_type = members.iter().filter(|m| Some(m.representation.resource_type) == holds);
            let reference = |member: &Resource| NamedReference {
                id: member.path.name().unwrap_or_default().to_owned(),
                uri: tree.scl.address(&member.path),
            };
            shown.set(list.field.name, Value::References(of_type.map(reference).collect()));
        }
    }
    for attribute in def.attributes.iter().filter(|a| a.response == Mode::Mandatory) {
        let is_list = matches!(attribute.field.shape, Shape::StringList | Shape::UriList);
        if is_list && shown.get(attribute.field.name).is_none() {
            shown.set(attribute.field.name, Value::List(Vec::new()));
        }
    }
    Ok(shown)
}

/// contentInstances without its instances.
pub fn instances(scl: &Scl, container: &Path, state: &InstancesState) -> Representation {
    let path = container.child("contentInstances");
    let long = |n: u64| Value::Long(i64::try_from(n).unwrap_or(i64::MAX));
    let mut shown = Representation::new(ResourceType::ContentInstances);
    shown.set("creationTime", Value::Datetime(state.creation_time));
    shown.set("lastModifiedTime", Value::Datetime(state.last_modified_time));
    shown.set("currentNrOfInstances", long(state.count));
    shown.set("currentByteSize", long(state.bytes));
    references(scl, &path, &mut shown);
    shown
}

/// A whole contentInstance.
pub fn instance(scl: &Scl, container: &Path, instance: &Instance) -> Representation {
    let path = container.child("contentInstances").child(instance.id.clone());
    let mut shown = Representation::new(ResourceType::ContentInstance);
    shown.set("id", Value::Text(instance.id.clone()));
    shown.set("href", Value::Text(scl.address(&path)));
    shown.set("creationTime", Value::Datetime(instance.creation_time));
    shown.set("lastModifiedTime", Value::Datetime(instance.last_modified_time));
    if let Some(at) = instance.delay_tolerance {
        shown.set("delayTolerance", Value::Datetime(at));
    }
    shown.set("searchStrings", Value::List(instance.search_strings.clone()));
    shown.set("contentTypes", Value::List(instance.content_types.clone()));
    shown.set("contentSize", Value::Long(i64::try_from(instance.content_size).unwrap_or(i64::MAX)));
    shown.set("content", Value::Content(instance.content.clone()));
    shown
}

/// The eTag of a version.
pub fn etag(version: u64) -> String {
    format!("{version:x}")
}

/// The eTag of an instance, which never changes.
pub fn instance_etag(instance: &Instance) -> String {
    etag(instance.sequence)
}

/// The id of an instance that its client gave none.
pub fn generated_id(sequence: u64) -> String {
    format!("ci-{sequence:016x}")
}

/// The sequence in a generated id.
pub fn generated_sequence(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("ci-").filter(|digits| digits.len() == 16)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    plain.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn references(scl: &Scl, path: &Path, shown: &mut Representation) {
    let def = shown.resource_type.def();
    for child in def.children {
        let name = format!("{}Reference", child.segment);
        if let Some(attribute) = shown.resource_type.attribute(&name) {
            shown.set(attribute.field.name, Value::Text(scl.address(&path.child(child.segment))));
        }
    }
}
