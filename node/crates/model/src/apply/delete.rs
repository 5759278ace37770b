//! DELETE with everything below (procedures.md 1.6, 5.4, 8.5).

use super::{
    Answer, Effect, announcement, collection, create,
    instances::{self, Limits},
    online,
    subscription::{self, News},
    writer::{INSTANCES, Writer, instances_of},
};
use crate::{
    Path, Refusal, ResourceType, ResponsePrimitive, StatusCode, SubtreeRoot, TreeView, channel, conditions,
    index,
    key::{Key, Range},
    primitive::Conditions,
    record::{Record, Resource},
    represent,
    tables::{Allowed, Category},
};
use std::ops::ControlFlow;

/// Deletes a resource or one contentInstance.
pub(super) fn delete<V: TreeView>(
    writer: &mut Writer<'_, V>,
    path: &Path,
    conditions: &Conditions,
) -> Answer<V> {
    if let Some(resource) = writer.tree().resource(path)? {
        if resource.representation.resource_type.def().delete != Allowed::Yes {
            return Ok(Err(Refusal::new(StatusCode::MethodNotAllowed, "")));
        }
        let modified = resource.representation.datetime("lastModifiedTime");
        if let Err(refusal) = conditions::for_write(conditions, &represent::etag(&resource), modified) {
            return Ok(Err(refusal));
        }
        // The subscriber who deletes a subscription needs no notify about it, nor what is still on its way.
        if resource.representation.resource_type == ResourceType::Subscription {
            subscription::end(writer, &resource, None)?;
        } else {
            remove(writer, &resource)?;
        }
        return Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)));
    }
    let instances = path.parent().filter(|parent| parent.name() == Some(INSTANCES));
    match instances.as_ref().and_then(instances_of).zip(path.name()) {
        Some((container, id)) => delete_instance(writer, &container, id, conditions),
        None => Ok(Err(Refusal::not_found())),
    }
}

fn delete_instance<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    id: &str,
    conditions: &Conditions,
) -> Answer<V> {
    let (Some(resource), Some(mut state), Some(instance)) = (
        writer.tree().resource(container)?,
        writer.tree().instances(container)?,
        instances::find(writer, container, id)?,
    ) else {
        return Ok(Err(Refusal::not_found()));
    };
    let etag = represent::instance_etag(&instance);
    if let Err(refusal) = conditions::for_write(conditions, &etag, Some(instance.last_modified_time)) {
        return Ok(Err(refusal));
    }
    let limits = Limits::of(&resource.representation);
    let due_before = instances::due(writer, container, &state, &limits)?;
    instances::take(writer, container, &mut state, &instance)?;
    let due_after = instances::due(writer, container, &state, &limits)?;
    instances::rearm(writer, container, due_before, due_after);
    state.last_modified_time = writer.at;
    state.version += 1;
    writer.put_instances(container, state);
    subscription::notify(writer, &container.child(INSTANCES), News::Changed)?;
    Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)))
}

/// Removes a resource that is no subscription, with everything below it. Whoever is subscribed there hears
/// STATUS_DELETED; the queues outlive the subscriptions until they are acknowledged.
pub(super) fn remove<V: TreeView>(writer: &mut Writer<'_, V>, resource: &Resource) -> Result<(), V::Error> {
    let path = &resource.path;
    let (mut keys, mut resources, mut corrupt) = (Vec::new(), vec![resource.clone()], None);
    for range in Range::subtree(path) {
        writer.staged.scan(&range, false, &mut |key, record| {
            match record {
                Record::Resource(resource) => resources.push(resource),
                Record::Instances(_) | Record::Pointer(_) | Record::Channel(_) | Record::Queued(_) => {
                    keys.push(Key { space: range.space, bytes: key.to_vec() });
                }
                Record::Instance(instance) => {
                    if !instance.search_strings.is_empty()
                        && let Some(container) = Key::container(key)
                    {
                        keys.extend(index::of_instance(&container, &instance));
                    }
                    keys.push(Key { space: range.space, bytes: key.to_vec() });
                }
                _ => {
                    corrupt = Some(writer.staged.corrupt(key));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    if let Some(corrupt) = corrupt {
        return Err(corrupt);
    }
    for below in &resources {
        writer.rearm(&below.path, below.representation.datetime("expirationTime"), None);
        match below.representation.resource_type {
            ResourceType::Subscription => subscription::farewell(writer, below, StatusCode::Deleted)?,
            ResourceType::AccessRight => writer.effect(Effect::AccessRightChanged(below.path.clone())),
            of if channel::is_channel(of) => writer.effect(Effect::ChannelChanged(below.path.clone())),
            _ => {}
        }
        announcement::removed(writer, below)?;
        if let Some(state) = writer.tree().instances(&below.path)? {
            let due = instances::due(writer, &below.path, &state, &Limits::of(&below.representation))?;
            instances::rearm(writer, &below.path, due, None);
        }
    }
    for below in &resources {
        writer.delete_resource(below);
    }
    let is_counted = |of: ResourceType| of.def().category != Category::Collection;
    let counted = resources.iter().filter(|one| is_counted(one.representation.resource_type)).count();
    writer.count_resources(path, -i64::try_from(counted).unwrap_or(i64::MAX))?;
    for key in keys {
        writer.staged.delete(key);
    }
    if let (ResourceType::M2mPoc, Some(m2m_pocs)) = (resource.representation.resource_type, path.parent()) {
        online::refresh(writer, &m2m_pocs)?;
    }
    match (path.subtree(), path.parent()) {
        (SubtreeRoot::Named { collection, name }, _) if path.segments().len() == 2 => {
            collection::member_changed(writer, collection, &name, false)
        }
        (_, Some(parent)) => create::member_changed(writer, &parent),
        (_, None) => Ok(()),
    }
}
