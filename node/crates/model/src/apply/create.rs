//! CREATE of anything but a contentInstance (procedures.md 1.3, 5.1, 8.1).

use super::{
    Answer, Effect, announcement, collection, online,
    subscription::{self, News},
    update,
    writer::{Writer, conflict, set_time},
};
use crate::{
    Entity, Path, Refusal, Representation, ResourceType, StatusCode, SubtreeRoot, TreeView, Value, admit,
    holds::{self, Place},
    primitive::NotifyMedia,
    record::{InstancesState, Resource},
};

/// Writes the resource with its child collections, and tells whoever watches the collection it stands in.
pub(super) fn create<V: TreeView>(
    writer: &mut Writer<'_, V>,
    entity: &Entity,
    path: &Path,
    representation: &Representation,
    notify_media: NotifyMedia,
) -> Answer<V> {
    let (Some(collection), Some(name)) = (path.parent(), path.name()) else {
        return Ok(Err(Refusal::new(StatusCode::Conflict, "sclBase exists")));
    };
    let resource_type = representation.resource_type;
    let root = match path.subtree() {
        SubtreeRoot::Named { collection, name: _ } if path.segments().len() == 2 => Some(collection),
        _ => None,
    };
    // A root collection is another subtree, which may live in another shard; it always exists.
    let collection_type = match root {
        Some(root) => ResourceType::from_name(root),
        None => writer.tree().resource(&collection)?.map(|found| found.representation.resource_type),
    };
    let Some(collection_type) = collection_type else { return Ok(Err(Refusal::not_found())) };
    let above = match (root, collection.parent()) {
        (Some(_), _) => Some(ResourceType::SclBase),
        (None, Some(above)) => admit::stored_type(&writer.tree(), &above)?,
        (None, None) => None,
    };
    let segment = collection.name().unwrap_or_default();
    if let Err(refusal) = holds::holds(Place { above, holder: collection_type, segment }, resource_type) {
        return Ok(Err(refusal));
    }
    match holds::fixed_name(collection_type, resource_type) {
        Some(fixed) if fixed != name => {
            return Ok(Err(Refusal::attribute("id", format_args!("is {fixed} here"))));
        }
        None if holds::is_reserved(collection_type, name) => {
            return Ok(Err(Refusal::attribute("id", format_args!("{name} is reserved"))));
        }
        _ => {}
    }
    if writer.tree().resource(path)?.is_some() {
        return Ok(Err(conflict(name)));
    }

    let mut resource = Resource {
        path: path.clone(),
        representation: representation.clone(),
        creator: entity.0.clone(),
        version: 1,
        subscriptions: 0,
        notify_media,
    };
    if let Some(id) = resource_type.id_attribute() {
        resource.representation.remove(id.field.name);
    }
    set_time(&mut resource.representation, "creationTime", writer.at);
    set_time(&mut resource.representation, "lastModifiedTime", writer.at);
    update::count_members(&mut resource.representation, None);
    writer.rearm(path, None, resource.representation.datetime("expirationTime"));
    writer.put_resource(resource.clone())?;
    put_children(writer, &resource, path, resource_type)?;
    writer.count_resources(path, 1)?;
    match resource_type {
        ResourceType::AccessRight => writer.effect(Effect::AccessRightChanged(path.clone())),
        ResourceType::M2mPoc => online::refresh(writer, &collection)?,
        _ => {}
    }

    announcement::changed(writer, None, &resource)?;
    let mut response = writer.shown(StatusCode::Created, &resource);
    response.resource_uri = Some(writer.scl.address(path));
    match root {
        Some(root) => collection::member_changed(writer, root, name, true)?,
        None => member_changed(writer, &collection)?,
    }
    if resource_type == ResourceType::Subscription {
        subscription::begin(writer, &resource)?;
    }
    Ok(Ok(response))
}

/// A child of this collection of the same subtree came or went.
pub(super) fn member_changed<V: TreeView>(
    writer: &mut Writer<'_, V>,
    collection: &Path,
) -> Result<(), V::Error> {
    if let Some(mut parent) = writer.tree().resource(collection)? {
        writer.touch(&mut parent);
        writer.put_resource(parent)?;
        subscription::notify(writer, collection, News::Changed)?;
    }
    Ok(())
}

/// The collections that exist below a resource from the start, theirs included. They get its accessRightID (D-3).
fn put_children<V: TreeView>(
    writer: &mut Writer<'_, V>,
    resource: &Resource,
    below: &Path,
    of: ResourceType,
) -> Result<(), V::Error> {
    for child_type in of.def().collections() {
        let path = below.child(child_type.name());
        if child_type == ResourceType::ContentInstances {
            let state = InstancesState {
                next: 1,
                creation_time: writer.at,
                last_modified_time: writer.at,
                version: 1,
                ..InstancesState::default()
            };
            writer.put_instances(below, state);
        } else {
            let mut representation = Representation::new(child_type);
            if let (Some(attribute), Some(right)) =
                (child_type.attribute("accessRightID"), resource.representation.text("accessRightID"))
            {
                representation.set(attribute.field.name, Value::Text(right.to_owned()));
            }
            set_time(&mut representation, "creationTime", writer.at);
            set_time(&mut representation, "lastModifiedTime", writer.at);
            let collection = Resource {
                path: path.clone(),
                representation,
                creator: resource.creator.clone(),
                version: 1,
                subscriptions: 0,
                notify_media: NotifyMedia::default(),
            };
            writer.put_resource(collection)?;
        }
        put_children(writer, resource, &path, child_type)?;
    }
    Ok(())
}
