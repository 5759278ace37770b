//! Requests of the node's own: to any resource by its URI, wherever it is.
//!
//! Group members, accessRights of other SCLs, announcements and contacts inside the tree are all reached this way. What
//! is ours goes to the shard that decides about it; anything else leaves by an edge.

use super::Desk;
use banyan_model::{Refusal, RequestPrimitive, ResponsePrimitive, Scl, StatusCode};
use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

/// A request on its way out and back.
pub type Exchange = Pin<Box<dyn Future<Output = ResponsePrimitive> + Send>>;

/// Carries requests out of the cluster.
pub trait Outside: Send + Sync + 'static {
    /// Sends a request to an absolute URI, whatever its target says, and brings the answer: BAD_GATEWAY if none came,
    /// GATEWAY_TIMEOUT if none came in time, SERVICE_UNAVAILABLE if there is no way out now.
    fn exchange(&self, uri: String, request: RequestPrimitive, deadline: Instant) -> Exchange;
}

impl Desk {
    /// From now on requests can leave the cluster. The first call counts.
    pub fn connect(&self, outside: Arc<dyn Outside>) {
        let _ = self.inner.outside.set(outside);
    }

    /// What this SCL calls itself; `None` until this node has heard of the cluster.
    pub fn scl(&self) -> Option<Scl> {
        let view = self.inner.views.borrow().clone()?;
        Some(view.map.scl.clone())
    }

    /// Carries a request out where `uri` points to: `request.target` is set from it. Every failure is an answer.
    pub async fn call(
        &self,
        uri: &str,
        mut request: RequestPrimitive,
        deadline: Instant,
    ) -> ResponsePrimitive {
        let Some(scl) = self.scl() else {
            return Refusal::new(StatusCode::ServiceUnavailable, "the node is starting").into();
        };
        if let Some(path) = scl.local_path(uri) {
            request.target = path;
            let answer = self.inner.client.submit(request, deadline.into()).await;
            return answer.unwrap_or_else(|error| error.response());
        }
        self.call_outside(uri, request, deadline).await
    }

    async fn call_outside(
        &self,
        uri: &str,
        request: RequestPrimitive,
        deadline: Instant,
    ) -> ResponsePrimitive {
        match self.inner.outside.get() {
            Some(outside) => outside.exchange(uri.to_owned(), request, deadline).await,
            None => Refusal::new(StatusCode::ServiceUnavailable, "no way out of the cluster yet").into(),
        }
    }
}
