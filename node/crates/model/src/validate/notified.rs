//! What a notify leaves in a container (procedures.md 8.6).
//!
//! One of contentInstances leaves the instances that it carries, one by one, with their ids and times. Any other leaves
//! one instance whose content is its representation, in the media type it came in: a notify always leaves what it says.
//! Several in one notifyCollection leave what each of them leaves, in their order.
//!
//! The core reads no documents: whoever takes the request reads the representation and puts it in its place where
//! [`carries_instances`] says that it can be kept so.

use super::{body::unfit, name};
use crate::{
    Body, Path, Refusal, Representation, ResourceType, Value,
    value::{Content, ContentForm, Struct},
};
use bytes::Bytes;

/// What an instance keeps of its representation. The rest its new container says itself.
const KEPT: [&str; 5] = ["creationTime", "delayTolerance", "searchStrings", "contentTypes", "content"];

/// Whether this is an instance, or contentInstances, whose instances can be stored as they are: one without its content
/// (metaDataOnly) cannot.
pub fn carries_instances(representation: &Representation) -> bool {
    instances(representation).is_some_and(|all| all.iter().all(|one| one.get("content").is_some()))
}

fn instances(representation: &Representation) -> Option<Vec<&Representation>> {
    match representation.resource_type {
        ResourceType::ContentInstance => Some(vec![representation]),
        ResourceType::ContentInstances => match representation.get("contentInstanceCollection") {
            Some(Value::Struct(collection)) => collection.all("contentInstance").map(instance).collect(),
            _ => None,
        },
        _ => None,
    }
}

fn instance(value: &Value) -> Option<&Representation> {
    match value {
        Value::Resource(instance) => Some(instance),
        _ => None,
    }
}

/// The instances to store, in order.
pub(super) fn stored(collection: &Path, body: Body) -> Result<Vec<Representation>, Refusal> {
    match body {
        Body::Message(notify) if notify.name == "Notify" => of_notify(collection, notify),
        Body::Message(several) if several.name == "NotifyCollection" => {
            let mut all = Vec::new();
            for (_, value) in several.fields {
                let Value::Struct(notify) = value else {
                    return Err(Refusal::attribute("notify", "a notify was expected"));
                };
                all.extend(of_notify(collection, notify)?);
            }
            Ok(all)
        }
        other => Err(unfit(other, "notify or notifyCollection")),
    }
}

fn of_notify(collection: &Path, mut notify: Struct) -> Result<Vec<Representation>, Refusal> {
    let carried = notify.fields.iter().position(|(name, _)| *name == "representation");
    let (content_type, bytes) = match carried.map(|at| notify.fields.swap_remove(at).1) {
        // noRepresentation: that the instance is there says all there is to say.
        None => (None, Bytes::new()),
        Some(Value::Binary { content_type, bytes }) => (content_type, bytes),
        Some(Value::Resource(carried)) if carries_instances(&carried) => {
            return Ok(taken_out(*carried).into_iter().map(|one| kept(collection, one)).collect());
        }
        Some(_) => return Err(Refusal::attribute("representation", "base64Binary was expected")),
    };
    let content = Content { content_type, bytes, form: ContentForm::Binary };
    let mut representation = Representation::new(ResourceType::ContentInstance);
    representation.set("content", Value::Content(content));
    Ok(vec![representation])
}

fn taken_out(mut carried: Representation) -> Vec<Representation> {
    if carried.resource_type == ResourceType::ContentInstance {
        return vec![carried];
    }
    match carried.remove("contentInstanceCollection") {
        Some(Value::Struct(collection)) => {
            let instance = |(_, value)| match value {
                Value::Resource(instance) => Some(*instance),
                _ => None,
            };
            collection.fields.into_iter().filter_map(instance).collect()
        }
        _ => Vec::new(),
    }
}

/// An id that cannot stand in a path here is not kept: the instance gets one of this container's.
fn kept(collection: &Path, mut sent: Representation) -> Representation {
    let mut instance = Representation::new(ResourceType::ContentInstance);
    if let Some(Value::Text(id)) = sent.remove("id")
        && name::fits(collection, &id)
    {
        instance.set("id", Value::Text(id));
    }
    for name in KEPT {
        if let Some(value) = sent.remove(name) {
            instance.set(name, value);
        }
    }
    instance
}
