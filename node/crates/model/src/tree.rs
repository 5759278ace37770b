//! Typed reads of one shard's tree: what stands under which path.

use crate::{
    Path, Representation, ResourceType, Scl, TreeView, Value,
    announce::Announced,
    key::{Key, Range},
    primitive::NotifyMedia,
    record::{Instance, InstancesState, Record, Resource},
    value::NamedReference,
};
use std::ops::ControlFlow;

/// The tree as one shard sees it.
#[derive(Clone, Copy)]
pub struct Tree<'a, V> {
    /// What is read.
    pub view: &'a V,
    /// What this SCL calls itself.
    pub scl: &'a Scl,
}

/// Members of a collection, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// What each is, and how lists name it.
    pub members: Vec<Member>,
    /// There may be further ones, after the last of these.
    pub more: bool,
}

/// What a member is, and how lists name it.
pub type Member = (ResourceType, NamedReference);

/// How many members are wanted at once.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Members.
    pub members: usize,
    /// Octets of their names and addresses; no single one has so many.
    pub bytes: usize,
}

impl<'a, V: TreeView> Tree<'a, V> {
    /// A tree over a view.
    pub fn new(view: &'a V, scl: &'a Scl) -> Tree<'a, V> {
        Tree { view, scl }
    }

    /// The stored resource or collection at a path. contentInstances is stored as [`Tree::instances`]; sclBase and its
    /// collections exist from the founding on, stored or not.
    pub fn resource(&self, path: &Path) -> Result<Option<Resource>, V::Error> {
        let key = Key::resource(path);
        match self.view.get(&key)? {
            Some(Record::Resource(resource)) => Ok(Some(resource)),
            Some(_) => Err(self.view.corrupt(&key.bytes)),
            None => Ok(self.provisioned(path)),
        }
    }

    /// The state of a container's contentInstances.
    pub fn instances(&self, container: &Path) -> Result<Option<InstancesState>, V::Error> {
        let key = Key::instances(container);
        match self.view.get(&key)? {
            Some(Record::Instances(state)) => Ok(Some(state)),
            Some(_) => Err(self.view.corrupt(&key.bytes)),
            None => Ok(None),
        }
    }

    /// An instance by its sequence.
    pub fn instance(&self, container: &Path, sequence: u64) -> Result<Option<Instance>, V::Error> {
        let key = Key::instance(container, sequence);
        match self.view.get(&key)? {
            Some(Record::Instance(instance)) => Ok(Some(instance)),
            Some(_) => Err(self.view.corrupt(&key.bytes)),
            None => Ok(None),
        }
    }

    /// What is known of a resource's announcements.
    pub fn announced(&self, path: &Path) -> Result<Option<Announced>, V::Error> {
        let key = Key::announced(path);
        match self.view.get(&key)? {
            Some(Record::Announced(announced)) => Ok(Some(announced)),
            Some(_) => Err(self.view.corrupt(&key.bytes)),
            None => Ok(None),
        }
    }

    /// A stored number (`Record::Pointer`).
    pub fn pointer(&self, key: &Key) -> Result<Option<u64>, V::Error> {
        match self.view.get(key)? {
            Some(Record::Pointer(to)) => Ok(Some(to)),
            Some(_) => Err(self.view.corrupt(&key.bytes)),
            None => Ok(None),
        }
    }

    /// The resources directly below a collection of this subtree, in the order of their names.
    pub fn children(&self, collection: &Path) -> Result<Vec<Resource>, V::Error> {
        let (mut found, mut corrupt) = (Vec::new(), None);
        self.view.scan(&Range::children(collection), false, &mut |key, record| match record {
            Record::Resource(resource) => {
                found.push(resource);
                ControlFlow::Continue(())
            }
            _ => {
                corrupt = Some(self.view.corrupt(key));
                ControlFlow::Break(())
            }
        })?;
        corrupt.map_or(Ok(found), Err)
    }

    /// Members of a collection of this subtree as its lists name them, from `after` (exclusive) on, within `most`. Those
    /// of sclBase's collections live in all shards and are not here.
    pub fn members(&self, collection: &Path, after: Option<&str>, most: Most) -> Result<Members, V::Error> {
        let mut found = Members::default();
        if collection.root_collection().is_some() {
            return Ok(found);
        }
        let range = match after {
            Some(after) => Range::children_after(collection, after),
            None => Range::children(collection),
        };
        let (mut bytes, mut corrupt) = (0, None);
        self.view.scan(&range, false, &mut |key, record| match (Key::name(key), record) {
            (Some(name), Record::Resource(resource)) => {
                let uri = self.scl.address(&resource.path);
                bytes += name.len() + uri.len();
                found.more = found.members.len() >= most.members || bytes > most.bytes;
                if found.more {
                    return ControlFlow::Break(());
                }
                let reference = NamedReference { id: name.to_owned(), uri };
                found.members.push((resource.representation.resource_type, reference));
                ControlFlow::Continue(())
            }
            _ => {
                corrupt = Some(self.view.corrupt(key));
                ControlFlow::Break(())
            }
        })?;
        corrupt.map_or(Ok(found), Err)
    }

    /// sclBase and its collections, as they are before anybody changed them.
    fn provisioned(&self, path: &Path) -> Option<Resource> {
        let mut resource_type = ResourceType::SclBase;
        for segment in path.segments() {
            let child = ResourceType::from_name(segment)?;
            resource_type = resource_type.def().collections().find(|collection| *collection == child)?;
        }
        let mut representation = Representation::new(resource_type);
        for name in ["creationTime", "lastModifiedTime"] {
            if let Some(attribute) = resource_type.attribute(name) {
                representation.set(attribute.field.name, Value::Datetime(self.scl.founded_at));
            }
        }
        Some(Resource {
            path: path.clone(),
            representation,
            creator: self.scl.base.clone(),
            version: 0,
            subscriptions: 0,
            notify_media: NotifyMedia::default(),
        })
    }
}
