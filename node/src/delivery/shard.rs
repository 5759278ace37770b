//! A shard of this node as a courier's source.

use super::{
    revocation::Page,
    source::{Leading, Patience, Source, SourceError},
};
use crate::{
    clock,
    request::{Desk, Forwarded},
    subtree::{Due, ShardError, ShardHandle},
};
use banyan_client::Client;
use banyan_model::{
    Operation, Path, Representation, RequestId, RequestPrimitive, ResourceType, ResponsePrimitive, Scl,
    StatusCode, SubtreeRoot, Timestamp, announce::Look, deferred::Deferred, outbox::OutboxEntry,
    placement::ShardId, saf::Forwarding,
};
use std::time::Duration;
use tokio::time::Instant;

/// How long sclBase's shard may take to answer before the message is sent again.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct ShardSource {
    pub(super) handle: ShardHandle,
    pub(super) desk: Desk,
    pub(super) client: Client,
}

impl Source for ShardSource {
    fn shard(&self) -> ShardId {
        self.handle.id()
    }

    fn scl(&self) -> &Scl {
        self.handle.scl()
    }

    fn leading(&self) -> Leading {
        let group = self.handle.group();
        match group.serves_reads() {
            Ok(()) => Leading::Ready,
            Err(_) if group.leadership().borrow().is_me => Leading::NotYet,
            Err(_) => Leading::No,
        }
    }

    fn take_queues(&self) -> Vec<(Path, Due)> {
        self.handle.take_queues()
    }

    fn entries(&self, queue: &Path, max: usize) -> Result<Vec<OutboxEntry>, SourceError> {
        self.handle.outbox(queue, max).map_err(from_shard)
    }

    fn since(&self, at: Timestamp) -> Duration {
        let ms = clock::now().0.saturating_sub(at.0);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    fn until(&self, at: Timestamp) -> Duration {
        let ms = at.0.saturating_sub(clock::now().0);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    fn patience(&self, subscription: &Path) -> Result<Patience, SourceError> {
        let Some(resource) = self.handle.resource(subscription).map_err(from_shard)? else {
            return Ok(Patience::default());
        };
        let least = resource.representation.long("minimalTimeBetweenNotifications");
        let least = least.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let tolerance = resource.representation.datetime("delayTolerance");
        Ok(Patience { least: least.unwrap_or_default(), tolerance })
    }

    fn collects(
        &self,
        aggregation: &Path,
        first: &OutboxEntry,
        window: Duration,
    ) -> Result<Duration, SourceError> {
        let Some(resource) = self.handle.resource(aggregation).map_err(from_shard)? else {
            return Ok(Duration::ZERO);
        };
        match resource.representation.datetime("delayTolerance") {
            Some(until) if until > first.at => {
                let ms = until.0.saturating_sub(clock::now().0);
                Ok(Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
            }
            _ => Ok(window.saturating_sub(self.since(first.at))),
        }
    }

    async fn may_notify(&self, subscription: &Path) -> Result<bool, SourceError> {
        self.desk.may_notify(subscription).await.map_err(failed)
    }

    fn subscriptions(
        &self,
        right: Option<&Path>,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Page, SourceError> {
        let (subscriptions, next) = self.handle.subscriptions(right, after, max).map_err(from_shard)?;
        Ok(Page { subscriptions, next })
    }

    fn announcements(&self, original: &Path, origin: &str) -> Result<Look, SourceError> {
        self.handle.announcements(original, origin).map_err(from_shard)
    }

    async fn link(&self, scl: &Path) -> Result<Option<String>, SourceError> {
        let deadline = Instant::now() + MESSAGE_TIMEOUT;
        let found = self.client.access_right(scl, deadline).await.map_err(failed)?;
        let is_scl = |found: &Representation| found.resource_type == ResourceType::Scl;
        Ok(found.filter(is_scl).and_then(|scl| scl.text("link").map(str::to_owned)))
    }

    async fn call_as(
        &self,
        uri: &str,
        id: RequestId,
        request: RequestPrimitive,
        deadline: std::time::Instant,
    ) -> ResponsePrimitive {
        self.desk.call_as(uri, id, request, deadline).await
    }

    fn deferred(&self, place: &Path) -> Result<Option<(Deferred, u64)>, SourceError> {
        let Some(deferred) = self.handle.deferred(place).map_err(from_shard)? else { return Ok(None) };
        let kept = self.handle.kept(place).map_err(from_shard)?;
        let most = self.desk.async_limits().entity.octets_max;
        Ok(Some((deferred, most.saturating_sub(kept.octets))))
    }

    async fn carry_out(
        &self,
        id: RequestId,
        request: RequestPrimitive,
        deadline: std::time::Instant,
    ) -> Result<ResponsePrimitive, ResponsePrimitive> {
        self.desk.carry_out(id, request, deadline).await
    }

    fn is_first(&self, place: &Path, target: &str) -> Result<bool, SourceError> {
        let first = self.handle.first_in_lane(place, target).map_err(from_shard)?;
        Ok(first.is_none_or(|first| first == *place))
    }

    async fn forward(
        &self,
        id: String,
        request: RequestPrimitive,
        forwarding: &Forwarding,
        forced: bool,
        deadline: std::time::Instant,
    ) -> Forwarded {
        self.desk.forward(id, request, forwarding, forced, deadline).await
    }

    async fn operate(&self, operation: Operation) -> Result<(), SourceError> {
        let response = self.handle.operate(operation).await.map_err(from_shard)?;
        done(&response)
    }

    async fn operate_at_base(&self, operation: Operation) -> Result<(), SourceError> {
        let deadline = Instant::now() + MESSAGE_TIMEOUT;
        let response =
            self.client.operate(&SubtreeRoot::SclBase, &operation, deadline).await.map_err(failed)?;
        done(&response)
    }
}

/// An operation that is refused is tried again after a pause: at once, it would be delivered and refused for ever.
fn done(response: &ResponsePrimitive) -> Result<(), SourceError> {
    match response.status {
        StatusCode::Ok | StatusCode::Created | StatusCode::Accepted | StatusCode::Deleted => Ok(()),
        // What was to be ended or acknowledged is gone: so it was.
        StatusCode::NotFound => Ok(()),
        status => Err(SourceError::Failed(format!("{status:?}: {}", response.info))),
    }
}

fn from_shard(error: ShardError) -> SourceError {
    match error {
        ShardError::NotLeader { .. } => SourceError::NotServing,
        error => failed(error),
    }
}

fn failed(error: impl std::error::Error) -> SourceError {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        text = format!("{text}: {source}");
        inner = source.source();
    }
    SourceError::Failed(text)
}
