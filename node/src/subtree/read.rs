//! Reads: past the mailbox, over a short view of the leader's state. They never enter the log.

use super::{
    Lease, ShardError, ShardHandle,
    authorise::{self, Leases, Verdict},
    handle::Inner,
    view::{View, ViewError},
};
use banyan_model::{
    Entity, Method, Path, RequestPrimitive, ResourceType, ResponsePrimitive, SubtreeRoot,
    admit::{Admission, Target},
    query,
    record::Resource,
    tables::Category,
    tree::Tree,
    value::NamedReference,
};
use std::{
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

/// How far a read came without waiting.
enum Step<T> {
    Done(T),
    Missing(Path),
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

    /// Whether the slot of this subtree is of this shard.
    pub fn owns(&self, subtree: &SubtreeRoot) -> bool {
        self.inner.owns_slot(subtree.slot())
    }

    async fn lease(&self, path: Path, leases: &mut Leases, deadline: Instant) -> Result<(), ShardError> {
        let lease = self.fetch(&path, deadline).await?;
        leases.retain(|(known, _)| *known != path);
        leases.push((path, lease));
        Ok(())
    }

    /// Asks the owner of a right.
    pub(super) async fn fetch(&self, path: &Path, deadline: Instant) -> Result<Lease, ShardError> {
        match tokio::time::timeout_at(deadline.into(), self.inner.rights.fetch(path)).await {
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
        Target::Instance { .. } | Target::Attribute { .. } => false,
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
