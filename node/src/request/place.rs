//! Which subtree a request belongs to.

use banyan_model::{Body, Method, Path, RequestPrimitive, SubtreeRoot, path::ROOT_COLLECTIONS};

/// The subtree that decides about a request; a CREATE in one of sclBase's collections belongs to the child that it
/// makes. `None`: that child has no name.
pub(super) fn subtree(request: &RequestPrimitive) -> Option<SubtreeRoot> {
    let target = &request.target;
    if request.method != Method::Create || root_collection(target).is_none() {
        return Some(target.subtree());
    }
    // Anything else is malformed or the wrong resource, which is for the collection's own subtree to say.
    let Body::Representation(child) = &request.body else { return Some(target.subtree()) };
    let Some(id) = child.resource_type.id_attribute() else { return Some(target.subtree()) };
    match (child.get(id.field.name), child.text(id.field.name)) {
        (_, Some(name)) => Some(target.child(name).subtree()),
        (Some(_), None) => Some(target.subtree()),
        (None, None) => None,
    }
}

/// The collection of sclBase that a path is.
pub(super) fn root_collection(path: &Path) -> Option<&'static str> {
    let [only] = path.segments() else { return None };
    ROOT_COLLECTIONS.into_iter().find(|collection| collection == only)
}
