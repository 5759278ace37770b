//! Which subtree a request belongs to.

use banyan_model::{
    Body, Method, RequestPrimitive, Value,
    path::{ROOT_COLLECTIONS, SubtreeRoot},
};

/// The subtree whose shard decides about a request.
///
/// A CREATE on one of sclBase's collections belongs to the child that it makes. If the issuer did not name the child,
/// it is named here, before the request gets its id: every retry then means the same child in the same shard.
pub(crate) fn subtree(request: &mut RequestPrimitive) -> SubtreeRoot {
    let target = request.target.subtree();
    let in_root = matches!(request.target.segments(), [only] if ROOT_COLLECTIONS.contains(&only.as_str()));
    let Body::Representation(child) = &mut request.body else { return target };
    if request.method != Method::Create || !in_root {
        return target;
    }
    let Some(id) = child.resource_type.id_attribute().map(|attribute| attribute.field.name) else {
        return target;
    };
    if child.get(id).is_none() {
        child.set(id, Value::Text(format!("{:016x}", rand::random::<u64>())));
    }
    match child.text(id) {
        Some(name) => request.target.child(name).subtree(),
        // Not a text: malformed, which is for the node to say.
        None => target,
    }
}
