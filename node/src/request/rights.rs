//! Rights of other shards and other SCLs, and the groups and SCLs that hold them, leased: one node-wide cache.
//!
//! A lease counts from when the owner was asked, so what the owner revokes is unknown here for no longer than the
//! lease, whatever the network does. Questions for the same path at the same time are one. That nothing stands at a
//! path is remembered, too.
//!
//! What another SCL says is leased for longer: each question leaves the cluster. If it refuses or cannot be reached the
//! right counts as one that is not there (procedures.md 4.1), for as long: the default right lets in nobody but the owner
//! of the resource, so a time-out opens nothing. Only if there is no way out of this cluster is nothing decided.

use super::{Config, Desk, Outside};
use crate::subtree::{Fetching, Lease, Rights, RightsError, Shards, Source, WeakShards};
use banyan_client::{Client, RequestError};
use banyan_model::{
    Body, Entity, Method, Path, Representation, RequestPrimitive, StatusCode, announce, placement::ShardId,
    value::NamedReference,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, watch};

/// Registered SCLs that announcements go to when they go to all.
const REGISTERED_MAX: usize = 1_000;
/// Changed rights that a listener may be behind; one that is further behind looks at everything.
const CHANGES_MAX: usize = 1_024;
/// Questions at once on the way to these.
const ASKED_AT_ONCE: usize = 8;

/// The cache; cheap to clone. It is made before the shards that use it, and asks nobody until it is connected.
#[derive(Clone)]
pub struct RightsCache {
    inner: Arc<Inner>,
}

struct Inner {
    lease: Duration,
    lease_elsewhere: Duration,
    timeout: Duration,
    /// Half of what is remembered: see `Known`.
    generation_max: usize,
    sources: OnceLock<(WeakShards, Client)>,
    outside: OnceLock<WayOut>,
    known: Mutex<Known>,
    changes: broadcast::Sender<Path>,
}

/// Set once the edges' door is there.
pub(super) type WayOut = Arc<OnceLock<Arc<dyn Outside>>>;

/// Two generations: when the young one is full it becomes the old one, whose place it takes. What is used in time
/// moves back to the young one.
#[derive(Default)]
struct Known {
    young: HashMap<Source, Lease>,
    old: HashMap<Source, Lease>,
    asking: HashMap<Source, Asking>,
}

type Asking = watch::Receiver<Option<Result<Lease, RightsError>>>;

impl RightsCache {
    /// An empty cache.
    pub fn new(config: &Config) -> RightsCache {
        RightsCache {
            inner: Arc::new(Inner {
                lease: config.rights_lease,
                lease_elsewhere: config.rights_elsewhere_lease,
                timeout: config.rights_timeout,
                generation_max: (config.rights_max / 2).max(1),
                sources: OnceLock::new(),
                outside: OnceLock::new(),
                known: Mutex::default(),
                changes: broadcast::Sender::new(CHANGES_MAX),
            }),
        }
    }

    /// From now on owners can be asked: this node's shards directly, others through the client. The first call counts.
    pub fn connect(&self, shards: &Shards, client: Client) {
        let _ = self.inner.sources.set((shards.downgrade(), client));
    }

    /// From now on other SCLs can be asked, the way the desk's own requests leave. The first call counts.
    pub fn reach_out(&self, desk: &Desk) {
        let _ = self.inner.outside.set(desk.way_out());
    }
}

impl Rights for RightsCache {
    fn cached(&self, source: &Source) -> Option<Lease> {
        let mut known = self.inner.known.lock();
        let lease = match known.young.get(source) {
            Some(lease) => lease.clone(),
            None => {
                let lease = known.old.remove(source)?;
                known.remember(source.clone(), lease.clone(), self.inner.generation_max);
                lease
            }
        };
        lease.is_fresh().then_some(lease)
    }

    fn fetch(&self, source: &Source) -> Fetching {
        let asking = self.inner.ask(source);
        let of = source.clone();
        Box::pin(async move {
            let mut asking = asking;
            let answered = asking.wait_for(Option::is_some).await;
            match answered.ok().and_then(|answer| answer.clone()) {
                Some(answer) => answer,
                None => Err(RightsError { of, why: "the question was dropped".to_owned() }),
            }
        })
    }

    fn changed(&self, path: &Path) {
        let source = Source::Here(path.clone());
        let mut known = self.inner.known.lock();
        known.young.remove(&source);
        known.old.remove(&source);
        drop(known);
        // Nobody may be listening.
        let _ = self.inner.changes.send(path.clone());
    }

    fn changes(&self) -> broadcast::Receiver<Path> {
        self.inner.changes.subscribe()
    }
}

impl Inner {
    /// Joins the question that is under way, or begins one.
    fn ask(self: &Arc<Self>, source: &Source) -> Asking {
        let mut known = self.known.lock();
        if let Some(asking) = known.asking.get(source) {
            return asking.clone();
        }
        let (answer, asking) = watch::channel(None);
        known.asking.insert(source.clone(), asking.clone());
        drop(known);
        let (this, source) = (self.clone(), source.clone());
        tokio::spawn(async move {
            let asked = Instant::now();
            let result = match &source {
                Source::Elsewhere(uri) => this.ask_elsewhere(uri, asked).await,
                _ => this.ask_owner(&source, asked).await,
            };
            {
                let mut known = this.known.lock();
                known.asking.remove(&source);
                if let Ok(lease) = &result
                    && lease.is_fresh()
                {
                    known.remember(source, lease.clone(), this.generation_max);
                }
            }
            answer.send_replace(Some(result));
        });
        asking
    }

    async fn ask_owner(&self, source: &Source, asked: Instant) -> Result<Lease, RightsError> {
        let failed = |why: String| RightsError { of: source.clone(), why };
        let Some((shards, client)) = self.sources.get() else {
            return Err(failed("the node is starting".to_owned()));
        };
        let deadline = Instant::now() + self.timeout;
        let found = match source {
            Source::Here(path) => resource(shards, client, path, deadline).await,
            Source::Linked(link) => client.linked(link, deadline.into()).await.map(some),
            Source::Overlapping(uri) => client.overlapping(uri, deadline.into()).await.map(some),
            Source::Registered => registered(shards, client, deadline).await.map(Some),
            Source::Elsewhere(_) => Ok(None),
        };
        let representation = found.map_err(|error| failed(error.to_string()))?.map(Arc::new);
        Ok(Lease { representation, asked, until: asked + self.lease })
    }

    /// Retrieves it on this SCL's own behalf.
    async fn ask_elsewhere(&self, uri: &str, asked: Instant) -> Result<Lease, RightsError> {
        let until = asked + self.lease_elsewhere;
        let failed = |why: &str| RightsError { of: Source::Elsewhere(uri.to_owned()), why: why.to_owned() };
        let outside = self.outside.get().and_then(|outside| outside.get().cloned());
        let shards = self.sources.get().and_then(|(shards, _)| shards.upgrade());
        let scl = shards.and_then(|shards| shards.all().first().map(|shard| shard.scl().clone()));
        let (Some(outside), Some(scl)) = (outside, scl) else { return Err(failed("the node is starting")) };
        if !uri.contains("://") {
            // No address at all: nothing can stand there.
            return Ok(Lease { representation: None, asked, until });
        }
        let request = RequestPrimitive::new(Method::Retrieve, Path::scl_base(), Entity(scl.base.clone()));
        let answer = outside.exchange(uri.to_owned(), request, Instant::now() + self.timeout).await;
        let representation = match (answer.status, answer.body) {
            (StatusCode::Ok, Body::Representation(representation)) => Some(Arc::new(representation)),
            (StatusCode::ServiceUnavailable, _) => return Err(failed("no way out of the cluster")),
            (status, _) => {
                tracing::debug!(uri, ?status, "an access right of another SCL cannot be retrieved");
                None
            }
        };
        Ok(Lease { representation, asked, until })
    }
}

async fn resource(
    shards: &WeakShards,
    client: &Client,
    path: &Path,
    deadline: Instant,
) -> Result<Option<Representation>, RequestError> {
    let here = shards.upgrade().and_then(|shards| shards.owner(path));
    if let Some(Ok(resource)) = here.map(|shard| shard.resource(path)) {
        return Ok(resource.map(|resource| resource.representation));
    }
    client.access_right(path, deadline.into()).await
}

/// SCLs as a lease holds them, if there is one.
fn some(scls: Vec<NamedReference>) -> Option<Representation> {
    (!scls.is_empty()).then(|| announce::registered(scls))
}

/// The SCLs that are registered here, each with its `link`: at most [`REGISTERED_MAX`], the first in name order of each
/// shard. Costs a question to every shard and one for every SCL, so it is asked only by announcements that go to all,
/// at most once a lease.
async fn registered(
    shards: &WeakShards,
    client: &Client,
    deadline: Instant,
) -> Result<Representation, RequestError> {
    let known: Vec<ShardId> =
        client.map().borrow().iter().flat_map(|map| &map.shards.shards).map(|shard| shard.id).collect();
    let limit = u32::try_from(REGISTERED_MAX).unwrap_or(u32::MAX);
    let mut members: Vec<NamedReference> = stream::iter(known)
        .map(|shard| client.members(shard, "scls", None, limit, deadline.into()))
        .buffer_unordered(ASKED_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?
        .into_iter()
        .flatten()
        .map(|(_, member)| member)
        .collect();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    members.truncate(REGISTERED_MAX);
    let linked = stream::iter(members).map(|member| async move {
        let scl = resource(shards, client, &announce::scl_path(&member.id), deadline).await?;
        let link = scl.and_then(|scl| scl.text("link").map(str::to_owned));
        // It may have gone since.
        Ok::<_, RequestError>(link.map(|uri| NamedReference { id: member.id, uri }))
    });
    let linked: Vec<_> = linked.buffered(ASKED_AT_ONCE).try_collect().await?;
    Ok(announce::registered(linked.into_iter().flatten().collect()))
}

impl Known {
    fn remember(&mut self, source: Source, lease: Lease, generation_max: usize) {
        if self.young.len() >= generation_max && !self.young.contains_key(&source) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(source, lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_and_the_newest_stays() {
        let mut known = Known::default();
        let lease = Lease { representation: None, asked: Instant::now(), until: Instant::now() };
        let path = |n: u32| Source::Here(Path::scl_base().child(n.to_string()));
        for n in 0..100 {
            known.remember(path(n), lease.clone(), 4);
            assert!(known.young.len() + known.old.len() <= 8);
            assert!(known.young.contains_key(&path(n)));
        }
        assert!(known.old.contains_key(&path(95)), "the generation before is still there");
    }
}
