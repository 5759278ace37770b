//! Does the addressed thing exist, and may this entity do that with it: `admit` and `decide`, with the rights they need.
//!
//! Rights of this very shard are read from the view: no lease, no delay. Others are leased.

use super::{
    Lease, Source,
    handle::Inner,
    view::{View, ViewError},
};
use banyan_model::{
    Entity, Path, Refusal, Representation, RequestPrimitive, StatusCode,
    access::{self, Asked, Governing},
    admit::{self, Admission, Found, Target},
    announce::Sought,
    apoc::Handling,
    tree::Tree,
    validate,
};
use std::{sync::Arc, time::Instant};

/// Leases that a request has waited for. They may be gone from the cache when it comes back.
pub(super) type Leases = Vec<(Source, Lease)>;

pub(super) enum Verdict {
    Granted(Admission),
    Refused(Refusal),
    /// The right, or a holder of it, that stands there is not known here. Get it, then ask again.
    Missing(Source),
}

/// Whether what a write needs to know of other subtrees is known and allows it.
pub(super) enum Settled {
    Done,
    Refused(Refusal),
    /// What stands there is not known here. Get it, then ask again.
    Missing(Source),
}

/// Why a lookup ends early.
enum Lookup {
    Missing(Source),
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
    let Found { admission, method } = match admit::find(view, &shard.scl, request)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Verdict::Refused(refusal)),
    };
    let admission = match opened(shard, view, admission, leases) {
        Ok(Ok(admission)) => admission,
        Ok(Err(refusal)) => return Ok(Verdict::Refused(refusal)),
        Err(Lookup::Missing(source)) => return Ok(Verdict::Missing(source)),
        Err(Lookup::Failed(error)) => return Err(error),
    };
    let (governing, resolved) = match resolve(shard, view, admission.governing.clone(), leases) {
        Ok(found) => found,
        Err(Lookup::Missing(source)) => return Ok(Verdict::Missing(source)),
        Err(Lookup::Failed(error)) => return Err(error),
    };
    let decision = access::decide_with(
        &shard.scl,
        &governing,
        resolved.as_deref(),
        &request.requesting_entity,
        admission.flag,
        &mut |asked| lookup(shard, view, Source::asked(&shard.scl, asked), leases),
    );
    match decision {
        // Whoever may not know of it is not told which methods it has.
        Ok(Err(refusal)) if method.is_ok() || refusal.status == StatusCode::NotFound => {
            Ok(Verdict::Refused(refusal))
        }
        Ok(_) => Ok(match method {
            Ok(()) => Verdict::Granted(admission),
            Err(refusal) => Verdict::Refused(refusal),
        }),
        Err(Lookup::Missing(source)) => Ok(Verdict::Missing(source)),
        Err(Lookup::Failed(error)) => Err(error),
    }
}

/// Settles what an application opens below it, which sclBase has a say in.
fn opened(
    shard: &Inner,
    view: &View<'_>,
    admission: Admission,
    leases: &Leases,
) -> Result<Result<Admission, Refusal>, Lookup> {
    let Target::Apoc { application, rest } = &admission.target else { return Ok(Ok(admission)) };
    let scl_base = lookup(shard, view, Source::Here(Path::scl_base()), leases)?;
    let handling = Handling::of(scl_base.as_deref());
    Ok(admit::by_apoc(view, &shard.scl, application, rest, admission.flag, handling)?)
}

/// Settles announceTo of a granted write that arrived `since`. The SCLs that it names are found as rights are, but that
/// one is not registered is believed only of an owner who was asked after that: who has just registered counts.
pub(super) fn announcement(
    shard: &Inner,
    view: &View<'_>,
    request: &mut RequestPrimitive,
    admission: &mut Admission,
    leases: &Leases,
    since: Instant,
) -> Result<Settled, ViewError> {
    let lookup = |sought: Sought<'_>| {
        let source = of(sought);
        match stored(shard, view, &source)? {
            Some(found) => Ok(found),
            None => {
                leased(shard, source, leases, |lease| lease.representation.is_some() || lease.asked >= since)
            }
        }
    };
    settled(validate::announcement(&shard.scl, &shard.config.policy, request, admission, lookup))
}

/// Whether what registers by a granted write that arrived `since` may, beside those who are registered: all shards are
/// asked after that.
pub(super) fn registration(
    shard: &Inner,
    view: &View<'_>,
    request: &RequestPrimitive,
    admission: &Admission,
    leases: &Leases,
    since: Instant,
) -> Result<Settled, ViewError> {
    settled(validate::registration(&shard.scl, request, admission, |sought| {
        let source = of(sought);
        match stored(shard, view, &source)? {
            Some(found) => Ok(found),
            None => leased(shard, source, leases, |lease| lease.asked >= since),
        }
    }))
}

fn of(sought: Sought<'_>) -> Source {
    match sought {
        Sought::At(path) => Source::Here(path.clone()),
        Sought::Linked(link) => Source::Linked(link.to_owned()),
        Sought::Overlapping(uri) => Source::Overlapping(uri.to_owned()),
        Sought::Registered => Source::Registered,
    }
}

fn settled(said: Result<Result<(), Refusal>, Lookup>) -> Result<Settled, ViewError> {
    match said {
        Ok(Ok(())) => Ok(Settled::Done),
        Ok(Err(refusal)) => Ok(Settled::Refused(refusal)),
        Err(Lookup::Missing(source)) => Ok(Settled::Missing(source)),
        Err(Lookup::Failed(error)) => Err(error),
    }
}

/// Whether an entity may know of a resource.
pub(super) enum Sight {
    Visible,
    Hidden,
    /// The right at this path is not known here.
    Missing(Source),
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
        Err(Lookup::Missing(source)) => return Ok(Sight::Missing(source)),
        Err(Lookup::Failed(error)) => return Err(error),
    };
    let mut find = |asked: Asked<'_>| lookup(shard, view, Source::asked(&shard.scl, asked), leases);
    match access::is_visible(&shard.scl, &governing, resolved.as_deref(), entity, &mut find) {
        Ok(true) => Ok(Sight::Visible),
        Ok(false) => Ok(Sight::Hidden),
        Err(Lookup::Missing(source)) => Ok(Sight::Missing(source)),
        Err(Lookup::Failed(error)) => Err(error),
    }
}

/// What governs when the root collection is known, and the accessRight that it names.
fn resolve(
    shard: &Inner,
    view: &View<'_>,
    mut governing: Governing,
    leases: &Leases,
) -> Result<(Governing, Option<Arc<Representation>>), Lookup> {
    if let Some(collection) = governing.root_collection().cloned() {
        let representation = lookup(shard, view, Source::Here(collection), leases)?;
        governing = governing.with_collection(representation.as_deref());
    }
    let source = governing.access_right_uri().map(|uri| Source::of(&shard.scl, uri));
    let resolved = match source {
        Some(source) => lookup(shard, view, source, leases)?,
        None => None,
    };
    Ok((governing, resolved))
}

fn lookup(
    shard: &Inner,
    view: &View<'_>,
    source: Source,
    leases: &Leases,
) -> Result<Option<Arc<Representation>>, Lookup> {
    match stored(shard, view, &source)? {
        Some(found) => Ok(found),
        None => leased(shard, source, leases, |_| true),
    }
}

/// What this very shard has there; the outer `None`: it is not for this shard to say.
fn stored(
    shard: &Inner,
    view: &View<'_>,
    source: &Source,
) -> Result<Option<Option<Arc<Representation>>>, ViewError> {
    let Source::Here(path) = source else { return Ok(None) };
    if !shard.owns(path) {
        return Ok(None);
    }
    let resource = Tree::new(view, &shard.scl).resource(path)?;
    Ok(Some(resource.map(|resource| Arc::new(resource.representation))))
}

/// From a lease that is `believed`.
fn leased(
    shard: &Inner,
    source: Source,
    leases: &Leases,
    believed: impl Fn(&Lease) -> bool,
) -> Result<Option<Arc<Representation>>, Lookup> {
    let waited_for = leases.iter().find(|(known, lease)| *known == source && lease.is_fresh());
    let lease = waited_for.map(|(_, lease)| lease.clone()).or_else(|| shard.rights.cached(&source));
    match lease.filter(believed) {
        Some(lease) => Ok(lease.representation),
        None => Err(Lookup::Missing(source)),
    }
}
