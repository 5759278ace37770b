//! Discovery's index: which resources have a searchString, and which are of a type.
//!
//! `apply` moves the entries in the write set of the change that causes them (`Writer::put_resource` and its kin), so a
//! search finds exactly what is committed. The keys stand in the shard's own space, term first, then the slot, then the
//! path: a term of the whole shard is one range, the same term below one resource is a part of it, and both cost what
//! they find. A split of the shard copies the entries of the slots that go, as it does those of the other indexes
//! there; what is indexed stays where it is.
//!
//! Collections are not indexed: discovery does not report them. A contentInstance is, only by the searchStrings it has:
//! one without them costs nothing.

use crate::{
    Path, Representation, ResourceType, Scl, TreeView, Value,
    access::Governing,
    admit,
    key::Key,
    record::{Instance, Resource},
    route,
    tables::Category,
    tree::Tree,
};
use std::collections::BTreeSet;

/// What a resource can be found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term<'a> {
    /// A resource has this searchString.
    SearchString(&'a str),
    /// A contentInstance has it. Apart from the above: instances are reported only when they are asked for.
    InstanceSearchString(&'a str),
    /// An SCL is registered with this `link`, in its normal form (`route`).
    Link(&'a str),
    /// The `link` of an SCL stands below this URI.
    Within(&'a str),
    /// An SCL has a point of contact at this URI: of an scl or one of its m2mPocs.
    Address(&'a str),
    /// A resource is of this type.
    Type(ResourceType),
    /// A subscription is on something that this accessRight governs: its name (`right`).
    Governs(&'a str),
}

/// Whether discovery reports resources of this type.
pub fn is_indexed(resource_type: ResourceType) -> bool {
    // sclBase is where a search begins; it exists whether it is stored or not.
    let stored = !matches!(
        resource_type,
        ResourceType::SclBase | ResourceType::Discovery | ResourceType::ContentInstance
    );
    stored && !matches!(resource_type.def().category, Category::Collection | Category::Virtual)
}

/// The entries of a resource.
pub fn of_resource(resource: &Resource) -> BTreeSet<Key> {
    let Resource { path, representation, .. } = resource;
    if !is_indexed(representation.resource_type) {
        return BTreeSet::new();
    }
    let strings = search_strings(representation).iter().map(|text| Term::SearchString(text));
    let terms = strings.chain([Term::Type(representation.resource_type)]);
    let mut keys: BTreeSet<Key> = terms.map(|term| Key::index(term, path)).collect();
    route::index(representation, |term| {
        keys.insert(Key::index(term, path));
    });
    keys
}

/// How an accessRight is named in the index.
pub fn right(scl: &Scl, uri: &str) -> String {
    scl.local_path(uri).map_or_else(|| uri.trim().to_owned(), |path| path.to_string())
}

/// The entry of a subscription under the right that governs what it watches; `None`: no accessRight does.
pub(crate) fn of_subscription<V: TreeView>(
    tree: &Tree<'_, V>,
    subscription: &Path,
) -> Result<Option<Key>, V::Error> {
    // `<watched>/subscriptions/<s>`
    let Some(watched) = subscription.parent().and_then(|collection| collection.parent()) else {
        return Ok(None);
    };
    let right = match admit::governing(tree, &watched)? {
        Governing::SelfPermissions(_) => Some(watched.to_string()),
        governing => governing.access_right_uri().map(|uri| right(tree.scl, uri)),
    };
    Ok(right.map(|right| Key::index(Term::Governs(&right), subscription)))
}

/// The entries of a contentInstance. `container` is the path of the container, not of its contentInstances.
pub fn of_instance(container: &Path, instance: &Instance) -> BTreeSet<Key> {
    if instance.search_strings.is_empty() {
        return BTreeSet::new();
    }
    let path = container.child("contentInstances").child(instance.id.as_str());
    let strings = instance.search_strings.iter();
    strings.map(|text| Key::index(Term::InstanceSearchString(text), &path)).collect()
}

/// The searchStrings of a stored resource.
pub fn search_strings(representation: &Representation) -> &[String] {
    match representation.get("searchStrings") {
        Some(Value::List(strings)) => strings,
        _ => &[],
    }
}
