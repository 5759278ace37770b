//! A small tree for the tests of this crate, written as `apply` writes it.

use crate::{
    Body, Content, Entity, Method, Path, Representation, RequestPrimitive, ResourceType, Scl, Timestamp,
    Value,
    key::Key,
    memory::Memory,
    path::ROOT_COLLECTIONS,
    record::{self, Instance, InstancesState, Record},
    tree::Tree,
    value::{ContentForm, Struct},
};
use bytes::Bytes;

/// When everything of the fixture was created.
pub(crate) const THEN: Timestamp = Timestamp(1_000_000);

pub(crate) fn scl() -> Scl {
    Scl {
        id: "nscl".into(),
        base: "/m2m".into(),
        authorities: vec!["nscl.example.net".into()],
        founded_at: Timestamp(1_000),
    }
}

pub(crate) fn path(text: &str) -> Path {
    Path::parse(text).expect("a test's path is sound")
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn representation(
    resource_type: ResourceType,
    attributes: &[(&'static str, Value)],
) -> Representation {
    let mut representation = Representation::new(resource_type);
    for (name, value) in attributes {
        representation.set(name, value.clone());
    }
    representation
}

pub(crate) fn request(method: Method, target: &str, body: Body) -> RequestPrimitive {
    let entity = Entity("/m2m/applications/a".into());
    RequestPrimitive { body, ..RequestPrimitive::new(method, path(target), entity) }
}

/// One permission: its flags, and one holder (`all`, `ref:`, `app:`, `scl:` or `domain:` before it).
pub(crate) fn permission(flags: &str, holder: &str) -> Value {
    let (kind, name) = holder.split_once(':').unwrap_or((holder, ""));
    let named = |list: &'static str, field: &'static str| {
        Value::Struct(Struct { name: list, fields: vec![(field, text(name))] })
    };
    let ids = || Value::List(vec![name.to_owned()]);
    let held = match kind {
        "all" => ("all", Value::Empty),
        "ref" => ("holderRefs", named("HolderRefListType", "holderRef")),
        "app" => ("applicationIDs", ids()),
        "scl" => ("sclIDs", ids()),
        _ => ("domains", named("DomainListType", "domain")),
    };
    let flags = flags.split_whitespace().map(|flag| ("flag", text(flag))).collect();
    let flags = Struct { name: "PermissionFlagListType", fields: flags };
    let holders = Struct { name: "PermissionHolderType", fields: vec![held] };
    let fields =
        vec![("permissionFlags", Value::Struct(flags)), ("permissionHolders", Value::Struct(holders))];
    Value::Struct(Struct { name: "PermissionType", fields })
}

pub(crate) fn permissions(list: &[(&str, &str)]) -> Value {
    let fields = list.iter().map(|(flags, holder)| ("permission", permission(flags, holder))).collect();
    Value::Struct(Struct { name: "PermissionListType", fields })
}

/// Writes a resource with the collections below it.
pub(crate) fn put(
    memory: &mut Memory,
    at: &str,
    resource_type: ResourceType,
    attributes: &[(&'static str, Value)],
) {
    let at = path(at);
    let mut resource = Tree::new(&*memory, &scl())
        .resource(&Path::scl_base())
        .expect("memory reads")
        .expect("sclBase exists");
    resource.path = at.clone();
    resource.representation = representation(resource_type, attributes);
    resource.creator = "/m2m/applications/a".into();
    resource.version = 1;
    for name in ["creationTime", "lastModifiedTime"] {
        if let Some(attribute) = resource_type.attribute(name)
            && resource.representation.get(name).is_none()
        {
            resource.representation.set(attribute.field.name, Value::Datetime(THEN));
        }
    }
    memory.records.insert(Key::resource(&at), Record::Resource(resource));
    if let [collection, name] = at.segments()
        && ROOT_COLLECTIONS.contains(&collection.as_str())
    {
        let listed = Record::Listed { slot: at.subtree().slot() };
        memory.records.insert(Key::listed(collection, name), listed);
    }
    put_children(memory, &at, resource_type);
}

fn put_children(memory: &mut Memory, at: &Path, resource_type: ResourceType) {
    for child in resource_type.def().collections() {
        let below = at.child(child.name());
        match child {
            ResourceType::ContentInstances => {
                let state = InstancesState {
                    next: 1,
                    creation_time: THEN,
                    last_modified_time: THEN,
                    version: 1,
                    ..InstancesState::default()
                };
                memory.records.insert(Key::instances(at), Record::Instances(state));
                put_children(memory, &below, ResourceType::ContentInstances);
            }
            collection => put(memory, below.to_string().as_str(), collection, &[]),
        }
    }
}

/// Appends an instance created at `created` with this text content.
pub(crate) fn put_instance(
    memory: &mut Memory,
    container: &str,
    id: Option<&str>,
    created: i64,
    content: &str,
) {
    let container = path(container);
    let key = Key::instances(&container);
    let Some(Record::Instances(state)) = memory.records.get_mut(&key) else {
        panic!("no container {container}")
    };
    let sequence = state.next;
    state.next += 1;
    state.count += 1;
    state.bytes += content.len() as u64;
    state.version += 1;
    state.latest = sequence;
    if state.oldest == 0 {
        state.oldest = sequence;
    }
    state.last_modified_time = Timestamp(created);
    let instance = Instance {
        id: id.map_or_else(|| record::instance_id(sequence), str::to_owned),
        sequence,
        creation_time: Timestamp(created),
        last_modified_time: Timestamp(created),
        delay_tolerance: None,
        search_strings: vec![format!("n{sequence}")],
        content_types: vec![if sequence % 2 == 0 { "image/png" } else { "text/plain" }.to_owned()],
        content_size: content.len() as u64,
        content: Content {
            content_type: Some(if sequence % 2 == 0 { "image/png" } else { "text/plain" }.to_owned()),
            bytes: Bytes::copy_from_slice(content.as_bytes()),
            form: if sequence % 2 == 0 { ContentForm::Binary } else { ContentForm::Text },
        },
    };
    if let Some(id) = id {
        memory.records.insert(Key::instance_id(&container, id), Record::Pointer(sequence));
    }
    memory.records.insert(Key::instance(&container, sequence), Record::Instance(instance));
}

/// scls/s, accessRights/r, applications/a with container c (five instances, the second named `two`) and an empty
/// container e, and a subscription by application `b` on container c.
pub(crate) fn tree() -> Memory {
    let mut memory = Memory::default();
    let m = &mut memory;
    put(m, "scls/s", ResourceType::Scl, &[("link", text("http://gw.example.org/m2m"))]);
    let self_permissions = ("selfPermissions", permissions(&[("READ WRITE", "app:a")]));
    put(m, "accessRights/r", ResourceType::AccessRight, &[self_permissions]);
    put(m, "applications/a", ResourceType::Application, &[]);
    let limits = [
        ("accessRightID", text("/m2m/accessRights/r")),
        ("searchStrings", Value::List(vec!["x".into()])),
        ("maxByteSize", Value::Long(10)),
    ];
    put(m, "applications/a/containers/c", ResourceType::Container, &limits);
    put(m, "applications/a/containers/e", ResourceType::Container, &[]);
    for (n, content) in ["1", "22", "333", "4444", "55555"].into_iter().enumerate() {
        let created = 1_001_000 + 1_000 * i64::try_from(n).expect("small");
        put_instance(m, "applications/a/containers/c", (n == 1).then_some("two"), created, content);
    }
    let polled = ("channelType", text("LONG_POLLING"));
    put(m, "applications/a/notificationChannels/nc", ResourceType::NotificationChannel, &[polled]);
    let contact = ("contact", text("http://b.example.org/"));
    put(m, "applications/a/containers/c/subscriptions/sub", ResourceType::Subscription, &[contact]);
    let sub = Key::resource(&path("applications/a/containers/c/subscriptions/sub"));
    if let Some(Record::Resource(sub)) = m.records.get_mut(&sub) {
        sub.creator = "/m2m/applications/b".into();
    }
    memory
}
