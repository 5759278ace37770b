//! Which subtree a request belongs to.

use banyan_model::{Body, RequestPrimitive, Value, path::SubtreeRoot};

/// The subtree whose shard decides about a request.
///
/// If the issuer of a CREATE in one of sclBase's collections did not name the child, it is named here, before the
/// request gets its id: every retry then means the same child in the same shard.
pub(crate) fn subtree(request: &mut RequestPrimitive) -> SubtreeRoot {
    if let Some(subtree) = request.subtree() {
        return subtree;
    }
    if let Body::Representation(child) = &mut request.body
        && let Some(id) = child.resource_type.id_attribute()
    {
        child.set(id.field.name, Value::Text(format!("{:016x}", rand::random::<u64>())));
    }
    request.subtree().unwrap_or_else(|| request.target.subtree())
}
