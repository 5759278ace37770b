//! Requests of the node's own: to any resource by its URI, wherever it is.
//!
//! Group members, accessRights of other SCLs, announcements and contacts inside the tree are all reached this way. What
//! is ours goes to the shard that decides about it; anything else leaves by an edge.

use super::{Desk, rights::WayOut};
use banyan_model::{
    Method, Path, Refusal, RequestId, RequestPrimitive, ResponsePrimitive, Scl, StatusCode,
    primitive::Listing,
};
use banyan_proto::{convert, v1::answer::What};
use std::{future::Future, pin::Pin, sync::Arc, time::Instant};
use tokio::sync::oneshot;

/// Whose an address is.
pub(super) enum Reached {
    Here(Path),
    Elsewhere,
}

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

    /// The way out as it will be once there is one.
    pub(super) fn way_out(&self) -> WayOut {
        self.inner.outside.clone()
    }

    /// What this SCL calls itself; `None` until this node has heard of the cluster.
    pub fn scl(&self) -> Option<Scl> {
        let view = self.inner.views.borrow().clone()?;
        Some(view.map.scl.clone())
    }

    /// Carries a request out where `uri` points to: `request.target` is set from it. Every failure is an answer.
    pub async fn call(&self, uri: &str, request: RequestPrimitive, deadline: Instant) -> ResponsePrimitive {
        self.call_as(uri, RequestId::default(), request, deadline).await
    }

    /// The same under an id of the caller's (all zero: none): sent again, what is ours is done once.
    pub async fn call_as(
        &self,
        uri: &str,
        id: RequestId,
        mut request: RequestPrimitive,
        deadline: Instant,
    ) -> ResponsePrimitive {
        // Nobody here asks for further pages.
        request.listing = Listing::Whole;
        if self.scl().is_none() {
            return Refusal::new(StatusCode::ServiceUnavailable, "the node is starting").into();
        }
        match self.reach(uri) {
            Reached::Here(path) => {
                request.target = path;
                let again = request.clone();
                let answer = match self.call_here(&request, id, deadline).await {
                    Some(answer) => answer,
                    None => {
                        let answer = self.inner.client.submit_as(id, request, deadline.into()).await;
                        answer.unwrap_or_else(|error| error.response())
                    }
                };
                match &answer.retarget {
                    // Not an answer: it is another SCL's, or an application's.
                    Some(uri) => self.call_outside(uri, again, deadline).await,
                    None => answer,
                }
            }
            Reached::Elsewhere if uri.contains("://") => self.call_outside(uri, request, deadline).await,
            Reached::Elsewhere => {
                let why = format!("{uri} is neither an absolute URI nor a path of this SCL");
                Refusal::new(StatusCode::BadRequest, why).into()
            }
        }
    }

    /// The answer of a shard that this node leads, without a way over the network. `None`: ask the cluster, under the
    /// same id; a write without one would be another one then, so it is not begun here.
    pub(super) async fn call_here(
        &self,
        request: &RequestPrimitive,
        id: RequestId,
        deadline: Instant,
    ) -> Option<ResponsePrimitive> {
        if request.method != Method::Retrieve && id.session == 0 {
            return None;
        }
        let place = self.place(&request.subtree()?)?;
        self.inner.shards.get(place.shard).filter(|shard| shard.group().serves_reads().is_ok())?;
        let (tell, told) = oneshot::channel();
        let answer = Box::new(move |what| {
            // Who asked may have gone.
            let _ = tell.send(what);
        });
        self.take(request.clone(), place.shard, id, deadline, answer);
        match told.await {
            Ok(What::Response(bytes)) => convert::response_from_bytes(bytes).ok(),
            _ => None,
        }
    }

    /// Whose an address is.
    pub(super) fn reach(&self, uri: &str) -> Reached {
        self.local(uri).map_or(Reached::Elsewhere, Reached::Here)
    }

    /// The path of an address of ours.
    pub(super) fn local(&self, uri: &str) -> Option<Path> {
        self.scl()?.local_path(uri)
    }

    pub(super) async fn call_outside(
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
