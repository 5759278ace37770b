//! RETRIEVE: pure, over a read view. Listings of root collections come in parts, one from each shard.

use crate::{
    RequestPrimitive, ResourceType, ResponsePrimitive, Scl, TreeView, admit::Admission, value::NamedReference,
};

/// Answers an authorised RETRIEVE from this shard's state. For sclBase's collections only this shard's members are
/// in the answer; `merge_members` puts the parts together.
pub fn retrieve<V: TreeView>(
    view: &V,
    scl: &Scl,
    request: &RequestPrimitive,
    admission: &Admission,
) -> Result<ResponsePrimitive, V::Error> {
    let _ = (view, scl, request, admission);
    todo!("model helper")
}

/// The members of a root collection that live in this shard, in name order, from `after` (exclusive), at most `limit`.
pub fn list_members<V: TreeView>(
    view: &V,
    scl: &Scl,
    collection: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(ResourceType, NamedReference)>, V::Error> {
    let _ = (view, scl, collection, after, limit);
    todo!("model helper")
}

/// Puts the members of all shards into a root collection's representation.
pub fn merge_members(answer: &mut ResponsePrimitive, members: Vec<(ResourceType, NamedReference)>) {
    let _ = (answer, members);
    todo!("model helper")
}
