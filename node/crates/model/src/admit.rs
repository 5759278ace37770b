//! Steps 4 and 5 of procedures.md 1.2: does the addressed resource exist, and does the method exist on its type.

use crate::{
    Body, Entity, Method, Path, Refusal, RequestPrimitive, ResourceType, ResponsePrimitive, Scl, StatusCode,
    SubtreeRoot, TreeView,
    access::{DefaultRight, Flag, Governing},
    aggregation,
    apoc::{self, Handling},
    channel,
    execute::is_executable,
    group::MEMBERS_CONTENT,
    key::Key,
    record::{self, InstancesState, Resource},
    tables::{Allowed, TypeDef},
    tree::Tree,
};

/// An existing addressed thing and what must be asked before touching it.
#[derive(Clone, PartialEq, Debug)]
pub struct Admission {
    /// What is addressed.
    pub target: Target,
    /// Whose rights decide.
    pub governing: Governing,
    /// The permission the method needs.
    pub flag: Flag,
}

impl Admission {
    /// What is said of a request that goes elsewhere; `None`: it is carried out here.
    pub fn retarget(&self) -> Option<ResponsePrimitive> {
        let Target::Retarget { uri } = &self.target else { return None };
        Some(ResponsePrimitive { retarget: Some(uri.clone()), ..ResponsePrimitive::status(StatusCode::Ok) })
    }
}

/// What a target path turned out to be.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// A resource or collection.
    Resource {
        /// Where.
        path: Path,
        /// Its type.
        resource_type: ResourceType,
    },
    /// A contentInstance by sequence (`latest` and `oldest` resolved).
    Instance {
        /// The container.
        container: Path,
        /// Which one.
        sequence: u64,
        /// `content`, `content/textContent`, ... or an attribute, when addressed below the instance.
        accessor: Vec<String>,
    },
    /// contactURI of a channel: whatever is notified here waits for the poller. Or the door of an aggregation: it waits to
    /// be sent on.
    Contact {
        /// The channel, or the aggregation.
        channel: Path,
    },
    /// Where the owner of a communicationChannel answers requests.
    Answer {
        /// The channel.
        channel: Path,
    },
    /// longPollingURI of a channel.
    Poll {
        /// The channel.
        channel: Path,
    },
    /// An attribute, or an entry of one (partial addressing).
    Attribute {
        /// The resource.
        path: Path,
        /// Its type.
        resource_type: ResourceType,
        /// The attribute.
        attribute: &'static str,
        /// Further segments.
        rest: Vec<String>,
    },
    /// Below an application, and neither a child nor an attribute of it: the application itself may serve it.
    Apoc {
        /// The application.
        application: Path,
        /// What follows.
        rest: Vec<String>,
    },
    /// Not ours: the request goes on to this URI.
    Retarget {
        /// Without the query of the request.
        uri: String,
    },
    /// membersContent of a group, and what is asked of each member: fanned out, never carried out here.
    MembersContent {
        /// The group.
        group: Path,
        /// What is appended to each member.
        suffix: Vec<String>,
    },
}

/// What an application opens to a path below it, once it is known how sclBase has such paths handled.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn by_apoc<V: TreeView>(
    view: &V,
    scl: &Scl,
    application: &Path,
    rest: &[String],
    flag: Flag,
    handling: Handling,
) -> Result<Result<Admission, Refusal>, V::Error> {
    let tree = Tree::new(view, scl);
    let Some(resource) = tree.resource(application)? else { return Ok(Err(Refusal::not_found())) };
    let Some(opened) = apoc::open(&resource.representation, rest, handling) else {
        return Ok(Err(Refusal::not_found()));
    };
    let governing = match opened.access_right {
        Some(uri) => Governing::AccessRight {
            uri,
            otherwise: default_right(&tree, application, ResourceType::Application)?,
        },
        None => governing(&tree, application)?,
    };
    Ok(Ok(Admission { target: Target::Retarget { uri: opened.uri }, governing, flag }))
}

/// Finds the target of a request and the right that governs it. The outer error is the replica's, the inner the answer.
pub fn admit<V: TreeView>(
    view: &V,
    scl: &Scl,
    request: &RequestPrimitive,
) -> Result<Result<Admission, Refusal>, V::Error> {
    let found = find(view, scl, request)?;
    Ok(found.and_then(|Found { admission, method }| method.map(|()| admission)))
}

/// What stands at the target of a request, whether or not the method exists there.
pub struct Found {
    /// Who may do it, if it can be done.
    pub admission: Admission,
    /// The refusal where it cannot. It tells that something stands there: only to who may know.
    pub method: Result<(), Refusal>,
}

/// The same as [`admit`] for whoever asks for the rights before telling what stands there.
#[allow(clippy::type_complexity)]
pub fn find<V: TreeView>(
    view: &V,
    scl: &Scl,
    request: &RequestPrimitive,
) -> Result<Result<Found, Refusal>, V::Error> {
    let tree = Tree::new(view, scl);
    let Some(Located { target, methods }) = locate(&tree, &request.target)? else {
        return Ok(Err(Refusal::not_found()));
    };
    let method = match methods.allows(request.method) {
        true => Ok(()),
        false => {
            let allow = METHODS.into_iter().filter(|method| methods.allows(*method)).collect();
            let refusal = Refusal::new(StatusCode::MethodNotAllowed, "no such method on this resource");
            Err(Refusal { allow, ..refusal })
        }
    };
    let admission = admission(&tree, request, target)?;
    Ok(Ok(Found { admission, method }))
}

/// Which right governs a target.
fn admission<V: TreeView>(
    tree: &Tree<'_, V>,
    request: &RequestPrimitive,
    target: Target,
) -> Result<Admission, V::Error> {
    let (path, resource_type) = target.resource();
    if let Target::MembersContent { group, .. } = &target {
        let governing = members_content(tree, group)?;
        return Ok(Admission { flag: flag(request.method, resource_type), target, governing });
    }
    let flag = match (&target, request.method) {
        // Entries of an attribute come and go by a change of the resource that has it.
        (Target::Attribute { .. }, Method::Create | Method::Delete) => Flag::Write,
        (_, method) => flag(method, resource_type),
    };
    if let Target::Apoc { .. } = target {
        // Nobody may, until it is known what the application opens: `by_apoc`.
        return Ok(Admission { target, governing: nobody(), flag });
    }
    if let Target::Contact { .. } = target {
        // Who was given the contact may use it: it is what the owner hands out, like a contact outside (decision 15).
        return Ok(Admission { target, governing: Governing::Everybody, flag });
    }
    let governing = if request.method == Method::Create && path.root_collection().is_some() {
        // The collection's own record is in sclBase's shard; this is the shard of the child to be.
        let registration = matches!(resource_type, ResourceType::Applications | ResourceType::Scls);
        let otherwise = if registration { Governing::Everybody } else { nobody() };
        Governing::RootCollection { collection: path, otherwise: Box::new(otherwise) }
    } else {
        let governing = governing(tree, &path)?;
        match (request.method, &request.body) {
            (Method::Create, Body::Representation(child)) if child.resource_type.is_announcement() => {
                governing.announced_by(announcer(tree, &path)?)
            }
            _ => governing,
        }
    };
    Ok(Admission { target, governing, flag })
}

/// The type of what is stored at a path: a resource, a collection, contentInstances.
pub fn stored_type<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Option<ResourceType>, V::Error> {
    if instances_at(tree, path)?.is_some() {
        return Ok(Some(ResourceType::ContentInstances));
    }
    Ok(tree.resource(path)?.map(|resource| resource.representation.resource_type))
}

/// What decides about a stored resource or collection (procedures.md 4.1).
pub fn governing<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Governing, V::Error> {
    if *path == discovery() {
        return Ok(Governing::Everybody);
    }
    let above = path.parent();
    let Some(resource) = tree.resource(path)? else {
        // contentInstances and all below it are the container's.
        return above.map_or(Ok(nobody()), |container| governing(tree, &container));
    };
    match (resource.representation.resource_type, above) {
        (ResourceType::AccessRight, _) => Ok(Governing::SelfPermissions(Box::new(resource.representation))),
        (ResourceType::Subscriptions, Some(watched)) => governing(tree, &watched),
        // Has no accessRightID, as contentInstances have none.
        (ResourceType::ExecInstances, Some(command)) => governing(tree, &command),
        (ResourceType::Subscription, Some(collection)) => Ok(Governing::Creator {
            creator: Entity(resource.creator),
            otherwise: Box::new(governing(tree, &collection)?),
        }),
        (resource_type, _) => {
            let otherwise = default_right(tree, path, resource_type)?;
            Ok(match resource.representation.text("accessRightID") {
                Some(uri) => Governing::AccessRight { uri: uri.to_owned(), otherwise },
                None => Governing::Default(otherwise),
            })
        }
    }
}

/// membersContentAccessRightID, if the group has one, governs instead of the group's accessRightID.
fn members_content<V: TreeView>(tree: &Tree<'_, V>, group: &Path) -> Result<Governing, V::Error> {
    let own = tree.resource(group)?.map(|group| group.representation);
    match own.as_ref().and_then(|own| own.text("membersContentAccessRightID")) {
        Some(uri) => {
            let otherwise = default_right(tree, group, ResourceType::Group)?;
            Ok(Governing::AccessRight { uri: uri.to_owned(), otherwise })
        }
        None => governing(tree, group),
    }
}

/// Whom the default access right of a resource lets in (procedures.md 4.2).
fn default_right<V: TreeView>(
    tree: &Tree<'_, V>,
    path: &Path,
    resource_type: ResourceType,
) -> Result<DefaultRight, V::Error> {
    let announcer = if resource_type.is_announcement() { announcer(tree, path)? } else { None };
    Ok(DefaultRight { owners: owners(tree, path)?, announcer })
}

/// The sclBase of the SCL below whose scl resource something stands. Never this one: its applications announce nothing
/// to itself, and where every authority means this SCL it would stand for all others.
fn announcer<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Option<Entity>, V::Error> {
    let SubtreeRoot::Named { collection, .. } = path.subtree() else { return Ok(None) };
    if collection != "scls" {
        return Ok(None);
    }
    let base = link(tree, tree.resource(&path.subtree().path())?.as_ref());
    Ok(base.filter(|base| base.0 != tree.scl.base))
}

/// The owners among them, besides the SCL itself.
fn owners<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Vec<Entity>, V::Error> {
    let SubtreeRoot::Named { collection, .. } = path.subtree() else { return Ok(Vec::new()) };
    let root = path.subtree().path();
    let mut owners = Vec::new();
    if collection == "applications" || collection == "scls" {
        owners.push(Entity(tree.scl.address(&root)));
    }
    if collection == "scls" {
        owners.extend(link(tree, tree.resource(&root)?.as_ref()));
        if let [_, _, applications, announced, ..] = path.segments()
            && applications == "applications"
        {
            let announced = root.child("applications").child(announced.as_str());
            owners.extend(link(tree, tree.resource(&announced)?.as_ref()));
        }
    }
    Ok(owners)
}

fn link<V: TreeView>(tree: &Tree<'_, V>, resource: Option<&Resource>) -> Option<Entity> {
    resource?.representation.text("link").map(|link| tree.scl.normalise(link))
}

fn nobody() -> Governing {
    Governing::Default(DefaultRight::nobody())
}

/// Where discovery is asked; nothing is stored there.
pub fn discovery() -> Path {
    Path::scl_base().child("discovery")
}

/// procedures.md 4.3, and 4.1 for what is asked of a subscriptions collection.
fn flag(method: Method, resource_type: ResourceType) -> Flag {
    match (method, resource_type) {
        (Method::Create, ResourceType::Subscriptions) => Flag::Read,
        // Who sees the subscriptions of others sees their contacts.
        (Method::Retrieve, ResourceType::Subscriptions) => Flag::Delete,
        (Method::Create | Method::Notify, _) => Flag::Create,
        (Method::Retrieve, _) => Flag::Read,
        (Method::Update | Method::Execute, _) => Flag::Write,
        (Method::Delete, _) => Flag::Delete,
    }
}

impl Target {
    /// The resource whose rights count, and its type.
    fn resource(&self) -> (Path, ResourceType) {
        match self {
            Target::Resource { path, resource_type } | Target::Attribute { path, resource_type, .. } => {
                (path.clone(), *resource_type)
            }
            Target::Instance { container, .. } => (container.clone(), ResourceType::ContentInstance),
            // To subscribe at the members takes what it takes at each of them.
            Target::MembersContent { group, suffix } => {
                let subscribes = suffix.last().is_some_and(|last| last == "subscriptions");
                let asked =
                    if subscribes { ResourceType::Subscriptions } else { ResourceType::MembersContent };
                (group.clone(), asked)
            }
            Target::Apoc { application, .. } => (application.clone(), ResourceType::Application),
            Target::Retarget { .. } => (Path::scl_base(), ResourceType::Application),
            Target::Contact { channel } | Target::Poll { channel } | Target::Answer { channel } => {
                (channel.clone(), ResourceType::NotificationChannel)
            }
        }
    }
}

struct Located {
    target: Target,
    methods: Methods,
}

const METHODS: [Method; 6] =
    [Method::Create, Method::Retrieve, Method::Update, Method::Delete, Method::Execute, Method::Notify];

/// Whether EXECUTE on an attribute starts something.
type Executable = bool;

/// Which methods exist on a target.
enum Methods {
    Of(&'static TypeDef),
    /// An attribute: what its own modes refuse is a matter of the body. CREATE and DELETE are for list entries.
    OfAttributeOf(&'static TypeDef, Executable),
    RetrieveOnly,
    /// Whatever the members have.
    Every,
    /// A POST, of which only a NOTIFY comes to anything: what another one lacks is a matter of the body.
    NotifyOnly,
}

impl Methods {
    fn allows(&self, method: Method) -> bool {
        match self {
            Methods::Of(def) => match method {
                Method::Create => def.create_in != Allowed::No,
                Method::Retrieve => def.retrieve != Allowed::No,
                Method::Update => def.update != Allowed::No,
                Method::Delete => def.delete != Allowed::No,
                // Special: below an application, on attributes of management objects; not on the resource itself.
                Method::Execute => def.execute == Allowed::Yes,
                Method::Notify => def.resource_type == ResourceType::ContentInstances,
            },
            Methods::OfAttributeOf(def, executable) => match method {
                Method::Retrieve => true,
                Method::Create | Method::Update | Method::Delete => def.update != Allowed::No,
                Method::Execute => *executable,
                Method::Notify => false,
            },
            Methods::RetrieveOnly => method == Method::Retrieve,
            Methods::Every => true,
            Methods::NotifyOnly => matches!(method, Method::Create | Method::Execute | Method::Notify),
        }
    }
}

/// The longest part of a path that is stored decides; the rest must be an attribute of it, or part of an instance.
fn locate<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Option<Located>, V::Error> {
    if *path == discovery() {
        return Ok(Some(whole(path.clone(), ResourceType::Discovery)));
    }
    let segments = path.segments();
    for length in (0..=segments.len()).rev() {
        let (stored, rest) = segments.split_at(length);
        let stored = Path::from_segments(stored.to_vec());
        if let Some(state) = instances_at(tree, &stored)? {
            return in_instances(tree, stored, &state, rest);
        }
        if let Some(resource) = tree.resource(&stored)? {
            let resource_type = resource.representation.resource_type;
            return Ok(match rest.split_first() {
                None => Some(whole(stored, resource_type)),
                Some((name, rest)) if resource_type == ResourceType::Group && name == MEMBERS_CONTENT => {
                    let target = Target::MembersContent { group: stored, suffix: rest.to_vec() };
                    Some(Located { target, methods: Methods::Every })
                }
                Some((door, [])) if channel::is_channel(resource_type) && door == channel::CONTACT => {
                    Some(Located {
                        target: Target::Contact { channel: stored },
                        methods: Methods::NotifyOnly,
                    })
                }
                Some((door, []))
                    if resource_type == ResourceType::CommunicationChannel && door == channel::ANSWER =>
                {
                    let target = Target::Answer { channel: stored };
                    Some(Located { target, methods: Methods::NotifyOnly })
                }
                Some((door, [])) if aggregation::is_aggregation(&stored) && door == aggregation::DOOR => {
                    Some(Located {
                        target: Target::Contact { channel: stored },
                        methods: Methods::NotifyOnly,
                    })
                }
                Some((door, [])) if channel::is_channel(resource_type) && door == channel::POLL => {
                    Some(Located { target: Target::Poll { channel: stored }, methods: Methods::RetrieveOnly })
                }
                Some((name, below)) => match attribute(stored.clone(), resource_type, name, below) {
                    None if apoc::is_open(&resource.representation) => Some(Located {
                        target: Target::Apoc { application: stored, rest: rest.to_vec() },
                        methods: Methods::Every,
                    }),
                    found => found,
                },
            });
        }
    }
    Ok(None)
}

fn whole(path: Path, resource_type: ResourceType) -> Located {
    Located { target: Target::Resource { path, resource_type }, methods: Methods::Of(resource_type.def()) }
}

fn attribute(path: Path, resource_type: ResourceType, name: &str, rest: &[String]) -> Option<Located> {
    let attribute = resource_type.attribute(name)?;
    let executable = rest.is_empty() && is_executable(resource_type, attribute);
    let methods = Methods::OfAttributeOf(resource_type.def(), executable);
    let attribute = attribute.field.name;
    Some(Located {
        target: Target::Attribute { path, resource_type, attribute, rest: rest.to_vec() },
        methods,
    })
}

/// contentInstances, an instance in it, or something of either.
fn in_instances<V: TreeView>(
    tree: &Tree<'_, V>,
    collection: Path,
    state: &InstancesState,
    rest: &[String],
) -> Result<Option<Located>, V::Error> {
    let Some((name, accessor)) = rest.split_first() else {
        return Ok(Some(whole(collection, ResourceType::ContentInstances)));
    };
    let Some(container) = collection.parent() else { return Ok(None) };
    let (sequence, instance_type) = match name.as_str() {
        "latest" => ((state.count > 0).then_some(state.latest), ResourceType::Latest),
        "oldest" => ((state.count > 0).then_some(state.oldest), ResourceType::Oldest),
        id => (sequence(tree, &container, id)?, ResourceType::ContentInstance),
    };
    let Some(sequence) = sequence else {
        // An empty collection has no `latest`, as an attribute neither.
        let virtual_child = instance_type != ResourceType::ContentInstance;
        return Ok(match virtual_child {
            true => None,
            false => attribute(collection, ResourceType::ContentInstances, name, accessor),
        });
    };
    let methods = match accessor.first() {
        None => Methods::Of(instance_type.def()),
        Some(name) if ResourceType::ContentInstance.attribute(name).is_some() => Methods::RetrieveOnly,
        // An instance has no children: not even subscriptions.
        Some(_) => return Ok(None),
    };
    let target = Target::Instance { container, sequence, accessor: accessor.to_vec() };
    Ok(Some(Located { target, methods }))
}

/// The state of contentInstances, if that is what a path addresses.
fn instances_at<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Option<InstancesState>, V::Error> {
    match (path.name(), path.parent()) {
        (Some("contentInstances"), Some(container)) => tree.instances(&container),
        _ => Ok(None),
    }
}

/// The sequence of an existing instance.
fn sequence<V: TreeView>(tree: &Tree<'_, V>, container: &Path, id: &str) -> Result<Option<u64>, V::Error> {
    let sequence = match record::instance_sequence(id) {
        Some(sequence) => Some(sequence),
        None => tree.pointer(&Key::instance_id(container, id))?,
    };
    let Some(sequence) = sequence else { return Ok(None) };
    let instance = tree.instance(container, sequence)?;
    // An instance with an id of its own is not found under the one that it would have got.
    Ok(instance.filter(|instance| instance.id == id).map(|instance| instance.sequence))
}

#[cfg(test)]
mod tests;
