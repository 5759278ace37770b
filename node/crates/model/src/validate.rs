//! Steps 7 to 9 of procedures.md 1.2: conditions, syntax and modes; turns an authorised write into a `Command`.
//!
//! Everything uncertain is decided here: names, times, defaults. What the tables can say (which attribute may or must
//! stand in which primitive) they say; the rules of single types stand together in `rules`.

mod aggregation;
mod announce;
mod assigned;
mod body;
mod execute;
mod name;
mod notified;
mod quota;
mod registration;
mod rules;

pub(crate) use rules::is_absolute;

use crate::{
    Body, Command, Method, Operation, Path, Refusal, Representation, RequestId, RequestPrimitive,
    ResourceType, Scl, StatusCode, Timestamp, TreeView, Value,
    admit::{self, Admission, Target},
    aggregation::is_aggregation,
    channel,
    command::QueueLimits,
    conditions,
    group::{self, Verified},
    holds::{self, Place},
    key::Key,
    outbox,
    partial::{self, Edit},
    primitive::Conditions,
    represent,
    tables::{AttributeDef, Mode},
    tree::Tree,
};

pub use aggregation::{aggregation, for_members};
pub use announce::announcement;
pub use notified::carries_instances;
pub use registration::registration;
use std::sync::Arc;

/// What the operator allows; times in milliseconds, 0 = unlimited.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Policy {
    pub expiration_default_ms: i64,
    pub expiration_min_ms: i64,
    pub expiration_max_ms: i64,
    pub content_bytes_max: u64,
    pub instances_default: i64,
    /// maxNrOfInstances and maxByteSize of a container are clipped to these.
    pub instances_max: i64,
    pub container_bytes_max: i64,
    pub subscriptions_per_resource_max: u32,
    /// Named resources of one subtree; contentInstances are bounded by their container.
    pub resources_per_subtree_max: u64,
    pub search_strings_max: u32,
    pub search_string_bytes_max: u32,
    pub members_per_group_max: u32,
    pub m2m_pocs_per_scl_max: u32,
    /// Entries of any other list in a representation.
    pub list_entries_max: u32,
    /// What an application makes without saying where it is to be announced goes to all registered SCLs.
    pub announce_all: bool,
    pub channel: QueueLimits,
    /// What waits to be sent on together.
    pub aggregation: QueueLimits,
    pub aggregations_per_group_max: u32,
    /// Scheme and authority at which others reach this SCL. Default: `http://` and its first authority.
    pub public_uri: Option<Arc<str>>,
    /// Used for generated names; the leader draws it, the log carries the result.
    pub name_seed: u64,
}

/// Makes the log command of an authorised CREATE, UPDATE or DELETE, or says why not.
#[allow(clippy::type_complexity)]
pub fn command<V: TreeView>(
    view: &V,
    scl: &Scl,
    policy: &Policy,
    at: Timestamp,
    id: RequestId,
    request: RequestPrimitive,
    admission: &Admission,
) -> Result<Result<Command, Refusal>, V::Error> {
    group_command(view, scl, policy, at, id, request, admission, None)
}

/// The same for a write to a group whose members were checked.
#[allow(clippy::type_complexity, clippy::too_many_arguments)]
pub fn group_command<V: TreeView>(
    view: &V,
    scl: &Scl,
    policy: &Policy,
    at: Timestamp,
    id: RequestId,
    request: RequestPrimitive,
    admission: &Admission,
    verified: Option<&Verified>,
) -> Result<Result<Command, Refusal>, V::Error> {
    let tree = Tree::new(view, scl);
    let mut stored = Stored::read(&tree, &admission.target)?;
    stored.read_around(&tree, policy, &request, &admission.target)?;
    let entity = request.requesting_entity.clone();
    let write = Write { scl, policy, at, stored, verified };
    let hops = request.hops;
    let operation = write.operation(request, &admission.target);
    Ok(operation.map(|operation| Command { id, at, entity, operation, hops }))
}

/// What the tree holds at the target, as far as the checks ask.
#[derive(Default)]
struct Stored {
    /// The target's eTag and lastModifiedTime.
    etag: String,
    last_modified: Option<Timestamp>,
    /// The addressed resource; for contentInstances the container.
    representation: Option<Representation>,
    /// The type one segment above the target.
    parent: Option<ResourceType>,
    /// Subscriptions on what a subscriptions collection belongs to.
    subscriptions: u32,
    /// Of a CREATE or EXECUTE: resources that the subtree has.
    resources: u64,
    /// Of a CREATE in m2mPocs: how many there are, counted as far as the policy asks.
    m2m_pocs: usize,
}

impl Stored {
    fn read<V: TreeView>(tree: &Tree<'_, V>, target: &Target) -> Result<Stored, V::Error> {
        let mut stored = Stored::default();
        match target {
            Target::Instance { container, sequence, .. } => {
                if let Some(instance) = tree.instance(container, *sequence)? {
                    stored.etag = represent::instance_etag(&instance);
                    stored.last_modified = Some(instance.last_modified_time);
                }
            }
            Target::Resource { path, resource_type: ResourceType::ContentInstances } => {
                let Some(container) = path.parent() else { return Ok(stored) };
                if let Some(state) = tree.instances(&container)? {
                    stored.etag = represent::instances_etag(&state);
                    stored.last_modified = Some(state.last_modified_time);
                }
                stored.representation = tree.resource(&container)?.map(|container| container.representation);
                stored.parent = stored.representation.as_ref().map(|container| container.resource_type);
            }
            Target::Contact { .. } | Target::Poll { .. } | Target::Answer { .. } => {}
            Target::Resource { path, .. } | Target::Attribute { path, .. } => {
                if let Some(resource) = tree.resource(path)? {
                    stored.etag = represent::etag(&resource);
                    stored.last_modified = resource.representation.datetime("lastModifiedTime");
                    stored.representation = Some(resource.representation);
                }
                if let Some(above) = path.parent() {
                    stored.parent = admit::stored_type(tree, &above)?;
                    stored.subscriptions = subscriptions(tree, &above, stored.parent)?;
                }
            }
            Target::MembersContent { .. } | Target::Apoc { .. } | Target::Retarget { .. } => {}
        }
        Ok(stored)
    }

    /// What stands elsewhere in the same subtree.
    fn read_around<V: TreeView>(
        &mut self,
        tree: &Tree<'_, V>,
        policy: &Policy,
        request: &RequestPrimitive,
        target: &Target,
    ) -> Result<(), V::Error> {
        let (Target::Resource { path, .. } | Target::Attribute { path, .. }) = target else { return Ok(()) };
        // A member of a root collection begins a subtree of its own.
        if path.root_collection().is_none() && matches!(request.method, Method::Create | Method::Execute) {
            self.resources = tree.pointer(&Key::resources(&path.subtree()))?.unwrap_or(0);
        }
        let in_pocs = matches!(target, Target::Resource { resource_type: ResourceType::M2mPocs, .. });
        if in_pocs && request.method == Method::Create && policy.m2m_pocs_per_scl_max > 0 {
            self.m2m_pocs = tree.children(path)?.len();
        }
        Ok(())
    }
}

fn subscriptions<V: TreeView>(
    tree: &Tree<'_, V>,
    watched: &Path,
    watched_type: Option<ResourceType>,
) -> Result<u32, V::Error> {
    if watched_type == Some(ResourceType::ContentInstances) {
        let Some(container) = watched.parent() else { return Ok(0) };
        return Ok(tree.instances(&container)?.map_or(0, |state| state.subscriptions));
    }
    Ok(tree.resource(watched)?.map_or(0, |resource| resource.subscriptions))
}

/// One write being checked.
struct Write<'a> {
    scl: &'a Scl,
    policy: &'a Policy,
    at: Timestamp,
    stored: Stored,
    /// What the front desk found out about the members of a group.
    verified: Option<&'a Verified>,
}

impl Write<'_> {
    fn operation(&self, request: RequestPrimitive, target: &Target) -> Result<Operation, Refusal> {
        if request.hops > outbox::HOPS_MAX {
            let why = "notifies cause each other: contact: leads back to what is subscribed to";
            return Err(Refusal::new(StatusCode::Forbidden, why));
        }
        // The conditions of a CREATE are about what does not exist yet; apply answers CONFLICT if it does.
        if request.method != Method::Create {
            conditions::for_write(&request.conditions, &self.stored.etag, self.stored.last_modified)?;
        }
        match (request.method, target) {
            // Who POSTs a notify means a NOTIFY, whichever of the two it was taken for.
            (
                Method::Notify | Method::Create,
                Target::Resource { path, resource_type: ResourceType::ContentInstances },
            ) if request.method == Method::Notify || matches!(request.body, Body::Message(_)) => {
                self.store_notify(path, request.body)
            }
            (Method::Create, Target::Resource { path, resource_type }) => {
                self.create(path, *resource_type, request)
            }
            (Method::Update, Target::Resource { path, resource_type }) => {
                let representation = body::resource(request.body, *resource_type)?;
                self.update(path, representation, request.conditions)
            }
            (Method::Update, Target::Attribute { path, resource_type, attribute, rest })
                if rest.is_empty() =>
            {
                let value = body::attribute(request.body, writable(*resource_type, attribute)?)?;
                self.update_attribute(path, attribute, value, request.conditions)
            }
            (Method::Delete, Target::Attribute { path, resource_type, attribute, rest })
                if rest.is_empty() =>
            {
                self.remove_attribute(path, writable(*resource_type, attribute)?, request.conditions)
            }
            (
                Method::Create | Method::Update | Method::Delete,
                Target::Attribute { path, resource_type, attribute, rest },
            ) => {
                let def = writable(*resource_type, attribute)?;
                let edit = self.edit(request.method, request.body, def, rest)?;
                if let (ResourceType::Group, "members", Edit::Add(Value::Text(member))) =
                    (*resource_type, *attribute, &edit)
                {
                    return self.add_member(path, member, request.conditions);
                }
                self.edit_attribute(path, def, rest.clone(), edit, request.conditions)
            }
            (Method::Delete, Target::Resource { path, .. }) => {
                Ok(Operation::Delete { path: path.clone(), conditions: request.conditions })
            }
            (Method::Delete, Target::Instance { .. }) => {
                Ok(Operation::Delete { path: request.target, conditions: request.conditions })
            }
            (Method::Notify | Method::Create | Method::Execute, Target::Contact { channel }) => {
                // With a requestingEntity of their own choice in it, others must not send any.
                let takes_requests =
                    channel::carries_requests(channel) && request.requesting_entity.0 == self.scl.base;
                let message = body::notification(request.body, takes_requests)?;
                let limits = match is_aggregation(channel) {
                    true => self.policy.aggregation,
                    false => self.policy.channel,
                };
                Ok(Operation::Enqueue { channel: channel.clone(), message, limits })
            }
            (Method::Execute, target) => self.execute(request.body, target),
            (Method::Retrieve, _) => Err(Refusal::new(StatusCode::BadRequest, "a RETRIEVE writes nothing")),
            // `admit` lets no other pair through.
            _ => Err(Refusal::new(StatusCode::MethodNotAllowed, "no such method on this resource")),
        }
    }

    /// The instances that a notify leaves.
    fn store_notify(&self, collection: &Path, sent: Body) -> Result<Operation, Refusal> {
        let mut instances = notified::stored(collection, sent)?;
        for instance in &mut instances {
            rules::content(self.policy, self.stored.representation.as_ref(), instance)?;
        }
        let container = collection.parent().unwrap_or_default();
        Ok(Operation::StoreNotify { container, instances })
    }

    fn create(
        &self,
        collection: &Path,
        collection_type: ResourceType,
        mut request: RequestPrimitive,
    ) -> Result<Operation, Refusal> {
        let body = std::mem::replace(&mut request.body, Body::None);
        let mut representation = match collection_type {
            ResourceType::ContentInstances => body::instance(body)?,
            _ => body::child(body)?,
        };
        let resource_type = representation.resource_type;
        let segment = collection.name().unwrap_or_default();
        let place = Place { above: self.stored.parent, holder: collection_type, segment };
        holds::holds(place, resource_type)?;
        assigned::before_create(&mut representation);
        modes(&representation, |attribute| attribute.create)?;

        let id = resource_type.id_attribute().and_then(|id| representation.remove(id.field.name));
        let id = name::chosen(id, collection, collection_type, resource_type)?;
        if resource_type == ResourceType::ContentInstance {
            rules::entries(&representation)?;
            rules::media_type(&mut representation)?;
            rules::content(self.policy, self.stored.representation.as_ref(), &mut representation)?;
            return Ok(Operation::CreateInstance {
                container: collection.parent().unwrap_or_default(),
                id,
                representation,
            });
        }

        let name = id.unwrap_or_else(|| self.drawn_name());
        let path = collection.child(name);
        name::has_room(&path, resource_type)?;
        self.admit_one_more(resource_type)?;
        for name in ["creationTime", "lastModifiedTime"] {
            if let Some(attribute) = resource_type.attribute(name) {
                representation.set(attribute.field.name, Value::Datetime(self.at));
            }
        }
        self.settle(&mut representation, |attribute| attribute.create)?;
        if resource_type == ResourceType::Group {
            group::assign(&mut representation, self.verified);
        }
        rules::check(self.scl, self.policy, &representation)?;
        rules::criteria(self.stored.parent, &representation)?;
        if resource_type == ResourceType::Subscription {
            rules::no_echo(self.scl, collection, &representation)?;
        }
        assigned::at_create(self.scl, self.policy, &path, &request, &mut representation);
        Ok(Operation::Create { path, representation, notify_media: request.notify_media })
    }

    /// The quotas of what is there already.
    fn admit_one_more(&self, resource_type: ResourceType) -> Result<(), Refusal> {
        quota::resources(self.policy, self.stored.resources)?;
        match resource_type {
            ResourceType::Subscription => quota::subscriptions(self.policy, self.stored.subscriptions),
            ResourceType::M2mPoc => quota::m2m_pocs(self.policy, self.stored.m2m_pocs),
            _ => Ok(()),
        }
    }

    fn drawn_name(&self) -> String {
        format!("{:016x}", self.policy.name_seed)
    }

    fn update(
        &self,
        path: &Path,
        mut representation: Representation,
        conditions: Conditions,
    ) -> Result<Operation, Refusal> {
        modes(&representation, |attribute| attribute.update)?;
        self.settle(&mut representation, |attribute| attribute.update)?;
        if representation.resource_type == ResourceType::Group {
            group::assign(&mut representation, self.verified);
        }
        rules::check(self.scl, self.policy, &representation)?;
        Ok(Operation::Update { path: path.clone(), representation, conditions })
    }

    fn update_attribute(
        &self,
        path: &Path,
        attribute: &'static str,
        value: Value,
        conditions: Conditions,
    ) -> Result<Operation, Refusal> {
        let value = match value {
            Value::Datetime(wanted) if attribute == "expirationTime" => {
                Value::Datetime(self.expiration(Some(wanted))?.unwrap_or(wanted))
            }
            other => assigned::within_policy(self.scl, self.policy, attribute, other),
        };
        if attribute == "members"
            && let Some(verified) = self.verified
        {
            let max = self.stored.representation.as_ref().and_then(|group| group.long("maxNrOfMembers"));
            group::check_count(verified.members.len(), max)?;
            return Ok(Operation::UpdateMembers {
                group: path.clone(),
                verified: verified.clone(),
                conditions,
            });
        }
        if let Some(mut after) = self.stored.representation.clone() {
            after.set(attribute, value.clone());
            rules::check(self.scl, self.policy, &after)?;
        }
        Ok(Operation::UpdateAttribute { path: path.clone(), attribute, value, conditions })
    }

    /// What is asked below an attribute. An entry without an id gets one here, so that it can be addressed.
    fn edit(
        &self,
        method: Method,
        sent: Body,
        def: &'static AttributeDef,
        at: &[String],
    ) -> Result<Edit, Refusal> {
        if method == Method::Delete {
            return Ok(Edit::Remove);
        }
        let field = partial::field_at(&def.field, at).ok_or_else(Refusal::not_found)?;
        if method == Method::Update {
            let mut value = body::element(sent, field)?;
            let is_entry = at.split_last().is_some_and(|(_, above)| {
                partial::field_at(&def.field, above).is_some_and(|above| partial::entry(above).is_some())
            });
            if let (true, Some(name)) = (is_entry, at.last()) {
                body::keep_name(&mut value, field, name)?;
            }
            return Ok(Edit::Put(value));
        }
        let Some(entry) = partial::entry(field) else {
            return Err(Refusal::attribute(field.name, "is no list that an entry could be added to"));
        };
        let mut value = body::element(sent, entry)?;
        if partial::entry_name(&value).is_none() {
            body::keep_name(&mut value, entry, &format!("{:016x}", self.policy.name_seed))?;
        }
        Ok(Edit::Add(value))
    }

    /// Tried on what is stored now, so that the rules can speak; `apply` does it on what is stored then.
    fn edit_attribute(
        &self,
        path: &Path,
        def: &'static AttributeDef,
        at: Vec<String>,
        edit: Edit,
        conditions: Conditions,
    ) -> Result<Operation, Refusal> {
        let attribute = def.field.name;
        let mut after = self.stored.representation.clone().ok_or_else(Refusal::not_found)?;
        match partial::edited(def, after.get(attribute), &at, &edit)? {
            Some(value) => after.set(attribute, value),
            None => drop(after.remove(attribute)),
        }
        rules::check(self.scl, self.policy, &after)?;
        Ok(Operation::EditAttribute { path: path.clone(), attribute, at, edit, conditions })
    }

    /// A member joins a group as one of those it is created with does (procedures.md 9.1).
    fn add_member(&self, group: &Path, member: &str, conditions: Conditions) -> Result<Operation, Refusal> {
        let mut after = self.stored.representation.clone().ok_or_else(Refusal::not_found)?;
        let mut added = group::distinct(self.scl, Some(group), &[member.to_owned()])?;
        let (mut member_type, mut validated) = (None, false);
        if let Some(verified) = self.verified {
            added.clone_from(&verified.members);
            member_type.clone_from(&verified.member_type);
            validated = verified.validated;
        }
        let Some(member) = added.pop() else {
            let why = format_args!("{member} does not exist or is of another type");
            return Err(Refusal::attribute("members", why));
        };
        group::add(self.scl, &mut after, &member)?;
        rules::check(self.scl, self.policy, &after)?;
        Ok(Operation::AddMember { group: group.clone(), member, member_type, validated, conditions })
    }

    /// DELETE of an attribute does what an UPDATE does that leaves it out (D-12): it is removed or reset.
    fn remove_attribute(
        &self,
        path: &Path,
        def: &'static AttributeDef,
        conditions: Conditions,
    ) -> Result<Operation, Refusal> {
        let attribute = def.field.name;
        let stored = self.stored.representation.as_ref().ok_or_else(Refusal::not_found)?;
        partial::edited(def, stored.get(attribute), &[], &Edit::Remove)?;
        let reset = match attribute {
            "expirationTime" => self.expiration(None)?.map(Value::Datetime),
            _ => assigned::default(self.policy, def),
        };
        match reset {
            Some(value) => self.update_attribute(path, attribute, value, conditions),
            None => self.edit_attribute(path, def, Vec::new(), Edit::Remove, conditions),
        }
    }

    /// Negotiates expirationTime and gives the attributes that were left out their defaults.
    fn settle(
        &self,
        representation: &mut Representation,
        mode: fn(&AttributeDef) -> Mode,
    ) -> Result<(), Refusal> {
        for attribute in representation.resource_type.def().attributes {
            if !matches!(mode(attribute), Mode::Optional | Mode::Mandatory | Mode::MandatoryIfAssigned) {
                continue;
            }
            let name = attribute.field.name;
            let value = if name == "expirationTime" {
                // Where every response has one, unlimited is said by the last day of the calendar.
                let unlimited = (attribute.response == Mode::Mandatory).then_some(Timestamp::LAST);
                let expiration = self.expiration(representation.datetime(name))?;
                expiration.or(unlimited).map(Value::Datetime)
            } else if let Some(sent) = representation.remove(name) {
                Some(assigned::within_policy(self.scl, self.policy, name, sent))
            } else {
                assigned::default(self.policy, attribute)
            };
            if let Some(value) = value {
                representation.set(name, value);
            }
        }
        Ok(())
    }

    /// procedures.md 1.7. `None`: unlimited.
    fn expiration(&self, wanted: Option<Timestamp>) -> Result<Option<Timestamp>, Refusal> {
        let policy = self.policy;
        let after = |span: i64| Timestamp(self.at.0.saturating_add(span));
        let default = (policy.expiration_default_ms > 0).then(|| after(policy.expiration_default_ms));
        let latest = (policy.expiration_max_ms > 0).then(|| after(policy.expiration_max_ms));
        let wanted = match wanted {
            Some(wanted) if wanted <= self.at => {
                return Err(Refusal::attribute("expirationTime", "is not in the future"));
            }
            Some(wanted) => Some(wanted.max(after(policy.expiration_min_ms.max(0)))),
            None => default,
        };
        Ok(match (wanted, latest) {
            (Some(wanted), Some(latest)) => Some(wanted.min(latest)),
            (wanted, latest) => wanted.or(latest),
        })
    }
}

/// An attribute that an UPDATE may change.
fn writable(resource_type: ResourceType, attribute: &str) -> Result<&'static AttributeDef, Refusal> {
    let def = resource_type.attribute(attribute).ok_or_else(Refusal::not_found)?;
    match def.update {
        Mode::NotPermitted | Mode::NotApplicable => Err(Refusal::attribute(attribute, "cannot be updated")),
        _ => Ok(def),
    }
}

/// What must be there is, what must not is not.
fn modes(representation: &Representation, mode: fn(&AttributeDef) -> Mode) -> Result<(), Refusal> {
    for attribute in representation.resource_type.def().attributes {
        let name = attribute.field.name;
        match (mode(attribute), representation.get(name)) {
            (Mode::Mandatory, None) => return Err(Refusal::attribute(name, "is missing")),
            (Mode::NotPermitted | Mode::NotApplicable, Some(_)) => {
                return Err(Refusal::attribute(name, "is not permitted here"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
