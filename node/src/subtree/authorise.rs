//! Does the addressed thing exist, and may this entity do that with it: `admit` and `decide`, with the rights they need.
//!
//! Rights of this very shard are read from the view: no lease, no delay. Others are leased.

use super::{
    Lease,
    handle::Inner,
    view::{View, ViewError},
};
use banyan_model::{
    Entity, Path, Refusal, Representation, RequestPrimitive,
    access::{self, Governing},
    admit::{self, Admission},
    tree::Tree,
};
use std::sync::Arc;

/// Leases that a request has waited for. They may be gone from the cache when it comes back.
pub(super) type Leases = Vec<(Path, Lease)>;

pub(super) enum Verdict {
    Granted(Admission),
    Refused(Refusal),
    /// The right at this path is not known here. Get it, then ask again.
    Missing(Path),
}

/// Why a lookup ends early.
enum Lookup {
    Missing(Path),
    Failed(ViewError),
}

impl From<ViewError> for Lookup {
    fn from(error: ViewError) -> Lookup {
        Lookup::Failed(error)
    }
}

pub(super) fn authorise(
    shard: &Inner,
    view: &View<'_>,
    request: &RequestPrimitive,
    leases: &Leases,
) -> Result<Verdict, ViewError> {
    let admission = match admit::admit(view, &shard.scl, request)? {
        Ok(admission) => admission,
        Err(refusal) => return Ok(Verdict::Refused(refusal)),
    };
    let (governing, resolved) = match resolve(shard, view, admission.governing.clone(), leases) {
        Ok(found) => found,
        Err(Lookup::Missing(path)) => return Ok(Verdict::Missing(path)),
        Err(Lookup::Failed(error)) => return Err(error),
    };
    let decision = access::decide(
        &shard.scl,
        &governing,
        resolved.as_deref(),
        &request.requesting_entity,
        admission.flag,
    );
    Ok(match decision {
        Ok(()) => Verdict::Granted(admission),
        Err(refusal) => Verdict::Refused(refusal),
    })
}

/// Whether an entity may know of a resource.
pub(super) enum Sight {
    Visible,
    Hidden,
    /// The right at this path is not known here.
    Missing(Path),
}

pub(super) fn sight(
    shard: &Inner,
    view: &View<'_>,
    governing: &Governing,
    entity: &Entity,
    leases: &Leases,
) -> Result<Sight, ViewError> {
    let (governing, resolved) = match resolve(shard, view, governing.clone(), leases) {
        Ok(found) => found,
        Err(Lookup::Missing(path)) => return Ok(Sight::Missing(path)),
        Err(Lookup::Failed(error)) => return Err(error),
    };
    let visible = access::is_visible(&shard.scl, &governing, resolved.as_deref(), entity);
    Ok(if visible { Sight::Visible } else { Sight::Hidden })
}

/// What governs when the root collection is known, and the accessRight that it names.
fn resolve(
    shard: &Inner,
    view: &View<'_>,
    mut governing: Governing,
    leases: &Leases,
) -> Result<(Governing, Option<Arc<Representation>>), Lookup> {
    if let Some(collection) = governing.root_collection().cloned() {
        let representation = lookup(shard, view, &collection, leases)?;
        governing = governing.with_collection(representation.as_deref());
    }
    // An accessRight of another SCL cannot be retrieved yet: the default right applies.
    let path = governing.access_right_uri().and_then(|uri| access::local_access_right(&shard.scl, uri));
    let resolved = match path {
        Some(path) => lookup(shard, view, &path, leases)?,
        None => None,
    };
    Ok((governing, resolved))
}

fn lookup(
    shard: &Inner,
    view: &View<'_>,
    path: &Path,
    leases: &Leases,
) -> Result<Option<Arc<Representation>>, Lookup> {
    if shard.owns(path) {
        let resource = Tree::new(view, &shard.scl).resource(path)?;
        return Ok(resource.map(|resource| Arc::new(resource.representation)));
    }
    let waited_for = leases.iter().find(|(known, lease)| known == path && lease.is_fresh());
    match waited_for.map(|(_, lease)| lease.clone()).or_else(|| shard.rights.cached(path)) {
        Some(lease) => Ok(lease.representation),
        None => Err(Lookup::Missing(path.clone())),
    }
}
