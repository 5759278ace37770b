//! What a courier needs of a shard; the shard's handle in the node, a list in a test.

use super::revocation::Page;
use crate::{request::Forwarded, subtree::Due};
use banyan_model::{
    Operation, Path, RequestId, RequestPrimitive, ResponsePrimitive, Scl, Timestamp, announce::Look,
    deferred::Deferred, outbox::OutboxEntry, placement::ShardId, saf::Forwarding,
};
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Where the entries come from and where acknowledgements go.
pub(super) trait Source: Send + Sync + 'static {
    /// The shard.
    fn shard(&self) -> ShardId;

    /// What this SCL calls itself.
    fn scl(&self) -> &Scl;

    /// Whether this replica leads.
    fn leading(&self) -> Leading;

    /// Queues that may hold something and were not named since: all of them when this replica begins to lead. None,
    /// and none is forgotten, while it is not [`Leading::Ready`].
    fn take_queues(&self) -> Vec<(Path, Due)>;

    /// The oldest entries of a queue, at most `max`.
    fn entries(&self, queue: &Path, max: usize) -> Result<Vec<OutboxEntry>, SourceError>;

    /// How long ago that was; zero if it comes yet.
    fn since(&self, at: Timestamp) -> Duration;

    /// How long it is until then; zero if it was.
    fn until(&self, at: Timestamp) -> Duration;

    /// How long the subscription wants, or allows, its notifies to wait.
    fn patience(&self, subscription: &Path) -> Result<Patience, SourceError>;

    /// How long an aggregation still collects after its first notify that waits: until delayTolerance if that is later,
    /// otherwise for a window. Zero once it is gone.
    fn collects(
        &self,
        aggregation: &Path,
        first: &OutboxEntry,
        window: Duration,
    ) -> Result<Duration, SourceError>;

    /// Whether the subscription still may be told of what it watches.
    fn may_notify(&self, subscription: &Path) -> impl Future<Output = Result<bool, SourceError>> + Send;

    /// Subscriptions of this shard in the order of the index: on what a right governs, or all. `after`: where the page
    /// before ended.
    fn subscriptions(
        &self,
        right: Option<&Path>,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Page, SourceError>;

    /// How the announcements of a resource of this shard differ from what it wishes.
    fn announcements(&self, original: &Path, origin: &str) -> Result<Look, SourceError>;

    /// `link` of a registered SCL; `None`: it is not registered.
    fn link(&self, scl: &Path) -> impl Future<Output = Result<Option<String>, SourceError>> + Send;

    /// Carries a request to any resource by its URI.
    fn call(
        &self,
        uri: &str,
        request: RequestPrimitive,
        deadline: Instant,
    ) -> impl Future<Output = ResponsePrimitive> + Send {
        self.call_as(uri, RequestId::default(), request, deadline)
    }

    /// The same under an id: what is inside this SCL is done once however often it is sent.
    fn call_as(
        &self,
        uri: &str,
        id: RequestId,
        request: RequestPrimitive,
        deadline: Instant,
    ) -> impl Future<Output = ResponsePrimitive> + Send;

    /// What is known of the request at a place, and how many octets more its entity may have kept.
    fn deferred(&self, place: &Path) -> Result<Option<(Deferred, u64)>, SourceError>;

    /// Carries a request out that was accepted before. `Err`: nobody could say what became of it.
    fn carry_out(
        &self,
        id: RequestId,
        request: RequestPrimitive,
        deadline: Instant,
    ) -> impl Future<Output = Result<ResponsePrimitive, ResponsePrimitive>> + Send;

    /// Whether the request at a place is the first of those that its entity has stored for the same SCL.
    fn is_first(&self, place: &Path, target: &str) -> Result<bool, SourceError>;

    /// Passes a stored request on (`Desk::forward`).
    fn forward(
        &self,
        id: String,
        request: RequestPrimitive,
        forwarding: &Forwarding,
        forced: bool,
        deadline: Instant,
    ) -> impl Future<Output = Forwarded> + Send;

    /// Has an operation applied in this shard.
    fn operate(&self, operation: Operation) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Has an operation applied in sclBase's subtree, wherever that is.
    fn operate_at_base(&self, operation: Operation) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// What a subscription says of the time of its notifies; a subscription that is gone says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Patience {
    /// minimalTimeBetweenNotifications.
    pub(super) least: Duration,
    /// delayTolerance.
    pub(super) tolerance: Option<Timestamp>,
}

/// Whether a replica leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leading {
    /// It does, and may serve.
    Ready,
    /// It does, but its lease is not confirmed: in a moment, perhaps.
    NotYet,
    /// Another one does, or none.
    No,
}

/// Why a source did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// This replica may not serve now; see [`Leading`].
    #[error("this node does not serve the shard")]
    NotServing,
    /// Try again.
    #[error("{0}")]
    Failed(String),
}
