//! Reads: past the mailbox, over a short view of the leader's state. They never enter the log.

use super::{
    Lease, ShardError, ShardHandle, Source,
    authorise::{self, Leases, Verdict},
    handle::Inner,
    view::{View, ViewError},
};
use banyan_model::{
    Entity, Method, Path, Refusal, RequestId, RequestPrimitive, ResourceType, ResponsePrimitive, SubtreeRoot,
    admit::{Admission, Target},
    announce::scl_path,
    apply, query,
    record::Resource,
    route::{self, Route},
    tables::Category,
    tree::Tree,
    value::NamedReference,
};
use std::{
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

/// How far a read came without waiting.
pub(super) enum Step<T> {
    Done(T),
    Missing(Source),
    /// It may take long: not on a thread that others wait for.
    Long,
}

impl ShardHandle {
    /// Answers a RETRIEVE at once if that needs neither a right of another shard nor a long scan; `None`: it does,
    /// use [`ShardHandle::retrieve`].
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn try_retrieve(&self, request: &RequestPrimitive) -> Result<Option<ResponsePrimitive>, ShardError> {
        match self.inner.step(|view| retrieve(&self.inner, view, request, &Leases::new(), false))? {
            Step::Done(response) => Ok(Some(response)),
            Step::Missing(_) | Step::Long => Ok(None),
        }
    }

    /// Answers a RETRIEVE.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn retrieve(
        &self,
        request: &RequestPrimitive,
        deadline: Instant,
    ) -> Result<ResponsePrimitive, ShardError> {
        let mut leases = Leases::new();
        loop {
            match self.inner.step(|view| retrieve(&self.inner, view, request, &leases, false))? {
                Step::Done(response) => return Ok(response),
                Step::Missing(path) => self.lease(path, &mut leases, deadline).await?,
                Step::Long => match self.retrieve_long(request.clone(), leases.clone()).await? {
                    Step::Done(response) => return Ok(response),
                    Step::Missing(path) => self.lease(path, &mut leases, deadline).await?,
                    Step::Long => return Err(ShardError::Defect),
                },
            }
        }
    }

    async fn retrieve_long(
        &self,
        request: RequestPrimitive,
        leases: Leases,
    ) -> Result<Step<ResponsePrimitive>, ShardError> {
        let Ok(permit) = self.inner.listings.clone().try_acquire_owned() else {
            return Err(ShardError::busy("too many listings"));
        };
        let inner = self.inner.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            inner.step(|view| retrieve(&inner, view, &request, &leases, true))
        });
        work.await.unwrap_or(Err(ShardError::Defect))
    }

    /// Whether an entity may READ what stands at a path. What is not there may be read: there is nothing to hide.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn may_read(
        &self,
        entity: &Entity,
        path: &Path,
        deadline: Instant,
    ) -> Result<bool, ShardError> {
        let request = RequestPrimitive::new(Method::Retrieve, path.clone(), entity.clone());
        let mut leases = Leases::new();
        loop {
            let step = self.inner.step(|view| {
                if Tree::new(view, &self.inner.scl).resource(path)?.is_none()
                    && !is_instances(view, self, path)?
                {
                    return Ok(Step::Done(true));
                }
                Ok(match authorise::authorise(&self.inner, view, &request, &leases)? {
                    Verdict::Granted(_) => Step::Done(true),
                    Verdict::Refused(_) => Step::Done(false),
                    Verdict::Missing(path) => Step::Missing(path),
                })
            })?;
            match step {
                Step::Done(may) => return Ok(may),
                Step::Missing(path) => self.lease(path, &mut leases, deadline).await?,
                Step::Long => return Err(ShardError::Defect),
            }
        }
    }

    /// Whether a write was applied under this id before: then its recorded answer is the answer, whatever the tree
    /// would say now.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn knows(&self, id: RequestId) -> Result<bool, ShardError> {
        self.inner.read(|view| Ok(apply::recorded(view, id)?.is_some()))
    }

    /// Whether a request may be carried out, before anything is done for it: what it addresses, and the resource that
    /// is stored there (of a group's membersContent the group).
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub async fn admit(
        &self,
        request: &RequestPrimitive,
        deadline: Instant,
    ) -> Result<Result<(Admission, Option<Resource>), Refusal>, ShardError> {
        let mut leases = Leases::new();
        loop {
            let step = self.inner.step(|view| {
                let admission = match authorise::authorise(&self.inner, view, request, &leases)? {
                    Verdict::Granted(admission) => admission,
                    Verdict::Refused(refusal) => return Ok(Step::Done(Err(refusal))),
                    Verdict::Missing(path) => return Ok(Step::Missing(path)),
                };
                let resource = match &admission.target {
                    Target::Resource { path, .. }
                    | Target::Attribute { path, .. }
                    | Target::MembersContent { group: path, .. } => {
                        Tree::new(view, &self.inner.scl).resource(path)?
                    }
                    _ => None,
                };
                Ok(Step::Done(Ok((admission, resource))))
            })?;
            match step {
                Step::Done(admitted) => return Ok(admitted),
                Step::Missing(path) => self.lease(path, &mut leases, deadline).await?,
                Step::Long => return Err(ShardError::Defect),
            }
        }
    }

    /// The stored resource at a path (sclBase and its collections are there from the founding on).
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn resource(&self, path: &Path) -> Result<Option<Resource>, ShardError> {
        self.inner.read(|view| Tree::new(view, &self.inner.scl).resource(path))
    }

    /// The members of a root collection that live in this shard, in name order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn members(
        &self,
        collection: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ResourceType, NamedReference)>, ShardError> {
        self.inner.read(|view| query::list_members(view, &self.inner.scl, collection, after, limit))
    }

    /// The way to a resource of another SCL, as far as its scl lives in this shard, else by way of the scl `others_by`.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn route(&self, uri: &str, others_by: Option<&str>) -> Result<Option<Route>, ShardError> {
        // A node that has the shard of an scl as well has the record: it is not this shard's to read.
        let is_here = |id: &str| self.inner.owns(&scl_path(id));
        self.inner.read(|view| {
            let tree = Tree::new(view, &self.inner.scl);
            let found = match route::id(uri) {
                Some(id) if !is_here(&id) => None,
                _ => route::find(&tree, uri)?,
            };
            match (found, others_by.filter(|scl| is_here(scl))) {
                (None, Some(scl)) => route::by_way_of(&tree, scl, uri),
                (found, _) => Ok(found),
            }
        })
    }

    /// The SCLs of this shard that are registered with this `link`, at most `max`.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn linked(&self, link: &str, max: usize) -> Result<Vec<NamedReference>, ShardError> {
        self.inner.read(|view| route::linked(&Tree::new(view, &self.inner.scl), link, max))
    }

    /// The SCLs of this shard whose `link` is this URI or stands above or below it, at most `max` of each.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn overlapping(&self, uri: &str, max: usize) -> Result<Vec<NamedReference>, ShardError> {
        self.inner.read(|view| route::overlapping(&Tree::new(view, &self.inner.scl), uri, max))
    }

    /// Whether the slot of this subtree is of this shard.
    pub fn owns(&self, subtree: &SubtreeRoot) -> bool {
        self.inner.owns_slot(subtree.slot())
    }

    pub(super) async fn lease(
        &self,
        source: Source,
        leases: &mut Leases,
        deadline: Instant,
    ) -> Result<(), ShardError> {
        let lease = self.fetch(&source, deadline).await?;
        leases.retain(|(known, _)| *known != source);
        leases.push((source, lease));
        Ok(())
    }

    /// Asks the owner of a right.
    pub(super) async fn fetch(&self, source: &Source, deadline: Instant) -> Result<Lease, ShardError> {
        match tokio::time::timeout_at(deadline.into(), self.inner.rights.fetch(source)).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) => {
                let shard = self.inner.shard.id.0;
                tracing::debug!(shard, error = &error as &dyn std::error::Error, "no right");
                Err(ShardError::busy("an access right cannot be had now"))
            }
            Err(_) => Err(ShardError::busy("an access right did not come in time")),
        }
    }
}

impl Inner {
    fn step<T>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<Step<T>, ViewError>,
    ) -> Result<Step<T>, ShardError> {
        self.read(work)
    }

    /// Reads the leader's state. Nothing is applied meanwhile.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, ViewError>,
    ) -> Result<T, ShardError> {
        self.may_serve()?;
        // A read runs on a thread of its caller, who has other requests, too.
        match panic::catch_unwind(AssertUnwindSafe(|| work(&self.view()))) {
            Ok(read) => read.map_err(|error| self.fail(&error)),
            Err(_) => Err(ShardError::Defect),
        }
    }
}

fn retrieve(
    shard: &Inner,
    view: &View<'_>,
    request: &RequestPrimitive,
    leases: &Leases,
    may_be_long: bool,
) -> Result<Step<ResponsePrimitive>, ViewError> {
    let admission = match authorise::authorise(shard, view, request, leases)? {
        Verdict::Granted(admission) => admission,
        Verdict::Refused(refusal) => return Ok(Step::Done(refusal.into())),
        Verdict::Missing(path) => return Ok(Step::Missing(path)),
    };
    if !may_be_long && is_long(&admission) {
        return Ok(Step::Long);
    }
    query::retrieve(view, &shard.scl, request, &admission).map(Step::Done)
}

/// A collection may have any number of members.
fn is_long(admission: &Admission) -> bool {
    match &admission.target {
        Target::Resource { resource_type, .. } => resource_type.def().category == Category::Collection,
        _ => false,
    }
}

/// Whether the path is the contentInstances of a container, which is not stored as a resource.
fn is_instances(view: &View<'_>, shard: &ShardHandle, path: &Path) -> Result<bool, ViewError> {
    match (path.name(), path.parent()) {
        (Some("contentInstances"), Some(container)) => {
            Ok(Tree::new(view, &shard.inner.scl).instances(&container)?.is_some())
        }
        _ => Ok(false),
    }
}
