//! CREATE of a contentInstance (procedures.md 5.2): the command that must cost the same at ten instances and at ten
//! million.

use super::{
    Answer,
    instances::{self, Limits},
    subscription::{self, News},
    writer::{INSTANCES, Writer, conflict},
};
use crate::{
    Path, Refusal, Representation, ResourceType, ResponsePrimitive, StatusCode, Timestamp, TreeView, Value,
    key::Key,
    primitive::Body,
    record::{Instance, Record, instance_id, instance_sequence},
    represent,
};

/// Under which id, and when, an instance is created.
#[derive(Clone, Copy)]
pub(super) enum Named<'a> {
    /// By this container, after its place in the order.
    ByContainer,
    /// As the issuer chose; its place is the next one.
    Chosen(&'a str),
    /// By another container, after this place in the order there. It is a later one than any here, and is kept.
    At(u64),
}

/// CREATE of one instance.
pub(super) fn create_instance<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    id: Option<&str>,
    representation: &Representation,
) -> Answer<V> {
    add(writer, container, id.map_or(Named::ByContainer, Named::Chosen), writer.at, representation)
}

/// Whether a name in a contentInstances collection means something else than an instance.
pub(super) fn is_reserved(id: &str) -> bool {
    ResourceType::ContentInstances.def().children.iter().any(|child| child.segment == id)
}

/// Adds an instance, evicts the oldest until the container keeps its limits, tells the subscribers.
pub(super) fn add<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    named: Named<'_>,
    created: Timestamp,
    representation: &Representation,
) -> Answer<V> {
    let (Some(resource), Some(mut state)) =
        (writer.tree().resource(container)?, writer.tree().instances(container)?)
    else {
        return Ok(Err(Refusal::not_found()));
    };
    let limits = Limits::of(&resource.representation);
    let Some(Value::Content(content)) = representation.get("content") else {
        return Ok(Err(Refusal::attribute("content", "missing")));
    };
    let content_size = u64::try_from(content.bytes.len()).unwrap_or(u64::MAX);
    if limits.bytes.is_some_and(|max| content_size > max) {
        return Ok(Err(Refusal::attribute("content", "larger than maxByteSize")));
    }
    let (sequence, id) = match named {
        Named::ByContainer => (state.next, instance_id(state.next)),
        Named::At(sequence) => (sequence, instance_id(sequence)),
        Named::Chosen(id) => {
            if is_reserved(id) || instance_sequence(id).is_some() {
                return Ok(Err(Refusal::attribute("id", format_args!("{id} is reserved"))));
            }
            if writer.tree().pointer(&Key::instance_id(container, id))?.is_some() {
                return Ok(Err(conflict(id)));
            }
            writer.staged.put(Key::instance_id(container, id), Record::Pointer(state.next));
            (state.next, id.to_owned())
        }
    };
    let list = |name| match representation.get(name) {
        Some(Value::List(items)) => items.clone(),
        _ => Vec::new(),
    };
    let mut content_types = list("contentTypes");
    if content_types.is_empty() {
        content_types.extend(content.content_type.clone());
    }
    let instance = Instance {
        id,
        sequence,
        creation_time: created,
        last_modified_time: created,
        delay_tolerance: representation.datetime("delayTolerance"),
        search_strings: list("searchStrings"),
        content_types,
        content_size,
        content: content.clone(),
    };

    let due_before = instances::due(writer, container, &state, &limits)?;
    writer.put_instance(container, instance.clone());
    state.next = sequence + 1;
    state.count += 1;
    state.bytes += content_size;
    state.latest = sequence;
    if state.count == 1 {
        state.oldest = sequence;
    }
    state.last_modified_time = writer.at;
    state.version += 1;
    instances::evict(writer, container, &mut state, &limits, usize::MAX)?;
    let due_after = instances::due(writer, container, &state, &limits)?;
    instances::rearm(writer, container, due_before, due_after);
    writer.put_instances(container, state);

    let watched = container.child(INSTANCES);
    subscription::notify(writer, &watched, News::Instance(&instance))?;
    Ok(Ok(ResponsePrimitive {
        resource_uri: Some(writer.scl.address(&watched.child(instance.id.clone()))),
        etag: Some(represent::instance_etag(&instance)),
        last_modified: Some(instance.last_modified_time),
        body: Body::Representation(represent::instance(writer.scl, container, &instance, true)),
        ..ResponsePrimitive::status(StatusCode::Created)
    }))
}
