//! Whoever answers primitives: the edge's forwarder, or a fake in a test.

use banyan_model::{RequestPrimitive, ResponsePrimitive};

/// Answers requests. Dropping the future (the peer went away) must be harmless: a write may then have happened or not.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Bounded in time by the implementation; a refusal or an overload is an answer too.
    fn handle(&self, request: RequestPrimitive) -> impl Future<Output = ResponsePrimitive> + Send;
}
