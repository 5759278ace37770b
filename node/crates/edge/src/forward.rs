//! The way of a request: from the binding to the shard's leader and back.

use crate::{
    listing::{self, Listings},
    metrics::Metrics,
    poll::Polls,
    route, through,
};
use banyan_binding::{
    Handler,
    handler::Exchange,
    http::{Hop, Response, Service},
    identity::Peer,
};
use banyan_client::{Client, RequestError};
use banyan_model::{
    Method, Path, Refusal, RequestPrimitive, ResponsePrimitive, StatusCode, channel, primitive::Listing,
    value::Struct,
};
use http::Request;
use hyper::body::Incoming;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time;
use tracing::{debug, error};

/// Hands requests to the cluster. Retries, leaders and the limit of requests in flight are the client's.
pub(crate) struct Forwarder {
    pub(crate) client: Client,
    /// How long a request may take in all.
    pub(crate) timeout: Duration,
    pub(crate) polls: Polls,
    pub(crate) listings: Listings,
}

impl Handler for Forwarder {
    async fn handle(&self, request: RequestPrimitive) -> ResponsePrimitive {
        let method = request.method;
        let answer = self.client.submit(request, time::Instant::now() + self.timeout).await;
        answer.unwrap_or_else(|failure| {
            match &failure {
                RequestError::Refused(_) | RequestError::Answer(_) => {
                    error!(?method, %failure, "a node did not understand a request, or its answer was not understood");
                }
                _ => debug!(?method, %failure, "no answer from the cluster"),
            }
            failure.response()
        })
    }

    async fn route(&self, uri: String) -> Result<Hop, Refusal> {
        let hop = route::hop(&self.client, &uri, self.timeout).await?;
        hop.ok_or_else(|| Refusal::new(StatusCode::NotFound, "no registered SCL has this address"))
    }

    async fn through(
        &self,
        channel: Path,
        message: Struct,
        correlation_id: String,
    ) -> Result<Struct, Refusal> {
        through::through(&self.client, &channel, &message, &correlation_id, self.timeout).await
    }

    fn correlation_id(&self) -> String {
        through::correlation_id()
    }

    async fn exchange(&self, request: RequestPrimitive) -> Exchange {
        let is_read = request.method == Method::Retrieve;
        match channel::polled_at(&request.target).filter(|_| is_read) {
            Some(channel) => self.polls.poll(&self.client, channel, request).await,
            // An answer that is kept for later is kept whole.
            None if is_read && request.correlation.is_none() => self.retrieve(request).await,
            None => self.handle(request).await.into(),
        }
    }
}

impl Forwarder {
    /// A RETRIEVE, whose answer may have more members than one page.
    async fn retrieve(&self, mut request: RequestPrimitive) -> Exchange {
        request.listing = Listing::First;
        let response = self.handle(request.clone()).await;
        let Some(next) = response.next.clone() else { return response.into() };
        match self.listings.rest(&self.client, request, next) {
            Some(rest) => Exchange { response, handed: None, rest: Some(rest) },
            None => listing::full().into(),
        }
    }
}

/// Counts what another service answers.
pub(crate) struct Counted<S> {
    pub(crate) service: S,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S: Service> Service for Counted<S> {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let began = Instant::now();
        let verb = verb(request.method());
        let _in_flight = self.metrics.request_begins();
        let response = self.service.call(request, peer).await;
        self.metrics.request_ended(verb, response.status().as_u16(), began.elapsed());
        response
    }
}

/// A verb from a closed list: what a peer invents must not become a label.
fn verb(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::DELETE => "DELETE",
        _ => "other",
    }
}
