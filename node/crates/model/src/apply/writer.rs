//! What every command works with: the tree as it stands in the middle of the command, and the ways to change it.

use super::{Change, Effect, staged::Staged};
use crate::{
    Path, Refusal, Representation, ResponsePrimitive, Scl, StatusCode, Timestamp, TreeView, Value, index,
    key::Key,
    primitive::Body,
    record::{Instance, InstancesState, Record, Resource, instance_sequence},
    represent,
    tree::Tree,
};
use std::collections::BTreeSet;

/// One command at work.
pub(super) struct Writer<'a, V> {
    pub(super) scl: &'a Scl,
    /// The entry's time.
    pub(super) at: Timestamp,
    /// How many notifies led to the command.
    pub(super) hops: u32,
    pub(super) staged: Staged<'a, V>,
    effects: BTreeSet<Effect>,
}

/// Something that can be subscribed to.
pub(super) enum Watched {
    Resource(Resource),
    Instances { container: Path, state: InstancesState },
}

impl Watched {
    /// What stands at a path that may have subscriptions.
    pub(super) fn at<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Option<Watched>, V::Error> {
        if let Some(container) = instances_of(path)
            && let Some(state) = tree.instances(&container)?
        {
            return Ok(Some(Watched::Instances { container, state }));
        }
        Ok(tree.resource(path)?.map(Watched::Resource))
    }

    /// Where it stands.
    pub(super) fn path(&self) -> Path {
        match self {
            Watched::Resource(resource) => resource.path.clone(),
            Watched::Instances { container, .. } => container.child(INSTANCES),
        }
    }
}

/// What has to be known of an instance to delete it: not its content.
pub(super) struct Gone {
    sequence: u64,
    /// If a client chose it.
    id: Option<String>,
    indexed: BTreeSet<Key>,
}

impl Gone {
    pub(super) fn new(container: &Path, instance: &Instance) -> Gone {
        Gone {
            sequence: instance.sequence,
            id: instance_sequence(&instance.id).is_none().then(|| instance.id.clone()),
            indexed: index::of_instance(container, instance),
        }
    }
}

impl<'a, V: TreeView> Writer<'a, V> {
    pub(super) fn new(view: &'a V, scl: &'a Scl, at: Timestamp, hops: u32) -> Writer<'a, V> {
        Writer { scl, at, hops, staged: Staged::new(view), effects: BTreeSet::new() }
    }

    /// The tree with what was staged so far.
    pub(super) fn tree(&self) -> Tree<'_, Staged<'a, V>> {
        Tree::new(&self.staged, self.scl)
    }

    /// The tree as it was before the command.
    pub(super) fn before(&self) -> Tree<'_, V> {
        Tree::new(self.staged.below(), self.scl)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.insert(effect);
    }

    /// Writes a resource and moves its entries in discovery's index. Nothing else may write one.
    pub(super) fn put_resource(&mut self, resource: Resource) -> Result<(), V::Error> {
        if index::is_indexed(resource.representation.resource_type) {
            let before = self.tree().resource(&resource.path)?;
            self.reindex(before.as_ref().map(index::of_resource), index::of_resource(&resource));
        }
        self.staged.put(Key::resource(&resource.path), Record::Resource(resource));
        Ok(())
    }

    /// Deletes a resource, as it is stored, with its index entries.
    pub(super) fn delete_resource(&mut self, resource: &Resource) {
        self.reindex(Some(index::of_resource(resource)), BTreeSet::new());
        self.staged.delete(Key::resource(&resource.path));
    }

    /// Writes a new instance with its index entries, which only those with searchStrings have.
    pub(super) fn put_instance(&mut self, container: &Path, instance: Instance) {
        if !instance.search_strings.is_empty() {
            self.reindex(None, index::of_instance(container, &instance));
        }
        self.staged.put_new(Key::instance(container, instance.sequence), Record::Instance(instance));
    }

    /// Deletes an instance, as it is stored, with all that leads to it.
    pub(super) fn delete_instance(&mut self, container: &Path, instance: &Gone) {
        for key in &instance.indexed {
            self.staged.delete(key.clone());
        }
        self.staged.delete(Key::instance(container, instance.sequence));
        if let Some(id) = &instance.id {
            self.staged.delete(Key::instance_id(container, id));
        }
    }

    fn reindex(&mut self, before: Option<BTreeSet<Key>>, after: BTreeSet<Key>) {
        let before = before.unwrap_or_default();
        for key in before.difference(&after) {
            self.staged.delete(key.clone());
        }
        for key in after.difference(&before) {
            self.staged.put(key.clone(), Record::Pointer(0));
        }
    }

    pub(super) fn put_instances(&mut self, container: &Path, state: InstancesState) {
        self.staged.put(Key::instances(container), Record::Instances(state));
    }

    /// Marks a change: lastModifiedTime, where the type has one, and the version.
    pub(super) fn touch(&self, resource: &mut Resource) {
        set_time(&mut resource.representation, "lastModifiedTime", self.at);
        resource.version += 1;
    }

    /// Moves an entry of the expiry index.
    pub(super) fn rearm(&mut self, path: &Path, before: Option<Timestamp>, after: Option<Timestamp>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.staged.delete(Key::due(before, path));
        }
        if let Some(after) = after {
            self.staged.put(Key::due(after, path), Record::Due { path: path.clone() });
            self.effect(Effect::Due(after));
        }
    }

    /// What stands at a path that may have subscriptions.
    pub(super) fn watched(&self, path: &Path) -> Result<Option<Watched>, V::Error> {
        Watched::at(&self.tree(), path)
    }

    /// Counts a subscription in (`true`) or out of what it watches, if that still exists.
    pub(super) fn count_subscription(&mut self, path: &Path, in_: bool) -> Result<(), V::Error> {
        let count = |n: u32| if in_ { n.saturating_add(1) } else { n.saturating_sub(1) };
        match self.watched(path)? {
            Some(Watched::Resource(mut resource)) => {
                resource.subscriptions = count(resource.subscriptions);
                self.put_resource(resource)?;
            }
            Some(Watched::Instances { container, mut state }) => {
                state.subscriptions = count(state.subscriptions);
                self.put_instances(&container, state);
            }
            None => {}
        }
        Ok(())
    }

    /// Counts named resources into (or out of) the subtree of this path; an empty one keeps no count.
    pub(super) fn count_resources(&mut self, path: &Path, more: i64) -> Result<(), V::Error> {
        let key = Key::resources(&path.subtree());
        match self.tree().pointer(&key)?.unwrap_or(0).saturating_add_signed(more) {
            0 => self.staged.delete(key),
            count => self.staged.put(key, Record::Pointer(count)),
        }
        Ok(())
    }

    /// The answer that shows a resource as it stands now, a collection without its members.
    pub(super) fn shown(&self, status: StatusCode, resource: &Resource) -> ResponsePrimitive {
        ResponsePrimitive {
            body: Body::Representation(represent::resource(self.scl, resource, Vec::new())),
            etag: Some(represent::etag(resource)),
            last_modified: resource.representation.datetime("lastModifiedTime"),
            ..ResponsePrimitive::status(status)
        }
    }

    /// The write set and the hints.
    pub(super) fn finish(self) -> (Vec<Change>, Vec<Effect>) {
        (self.staged.into_changes(), self.effects.into_iter().collect())
    }

    /// How many keys change so far.
    pub(super) fn changed(&self) -> usize {
        self.staged.len()
    }
}

/// The container whose contentInstances this path would be.
pub(super) fn instances_of(path: &Path) -> Option<Path> {
    (path.name() == Some(INSTANCES)).then(|| path.parent())?
}

/// The segment of a container's contentInstances.
pub(super) const INSTANCES: &str = "contentInstances";
/// The segment of a mgmtCmd's execInstances.
pub(super) const EXEC_INSTANCES: &str = "execInstances";
/// The segment of a resource's subscriptions.
pub(super) const SUBSCRIPTIONS: &str = "subscriptions";

/// Sets a time attribute if the type has it.
pub(super) fn set_time(representation: &mut Representation, name: &str, at: Timestamp) {
    if let Some(attribute) = representation.resource_type.attribute(name) {
        representation.set(attribute.field.name, Value::Datetime(at));
    }
}

/// STATUS_CONFLICT naming the id.
pub(super) fn conflict(name: &str) -> Refusal {
    Refusal::new(StatusCode::Conflict, format!("id: {name} is taken"))
}
