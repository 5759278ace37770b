//! The way of a request: from the binding to the shard's leader and back.

use crate::{
    listing::{self, Listings},
    metrics::Metrics,
    mid::{self, Audit, IvalPolicy, Links},
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
    Body, Method, Path, Refusal, RequestPrimitive, ResponsePrimitive, Scl, StatusCode, channel,
    primitive::{Listing, ReferencePoint},
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

/// What counts on mId.
#[derive(Clone)]
pub(crate) struct OnMid {
    pub(crate) own: Arc<Scl>,
    pub(crate) policy: IvalPolicy,
    pub(crate) links: Arc<Links>,
    pub(crate) audit: Audit,
}

/// Hands requests to the cluster. Retries, leaders and the limit of requests in flight are the client's.
#[derive(Clone)]
pub(crate) struct Forwarder {
    pub(crate) client: Client,
    /// How long a request may take in all.
    pub(crate) timeout: Duration,
    pub(crate) polls: Polls,
    pub(crate) listings: Listings,
    /// `None`: nothing comes over mId.
    pub(crate) mid: Option<OnMid>,
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

    async fn exchange(&self, request: RequestPrimitive, peer: &Peer) -> Exchange {
        if let Some(mid) = self.mid.as_ref().filter(|_| request.reference_point == ReferencePoint::Mid) {
            return self.over_mid(mid, request, peer).await;
        }
        self.answer(request).await
    }
}

impl Forwarder {
    /// What an SCL asks: a registration is looked at, and audited when it is refused.
    async fn over_mid(&self, mid: &OnMid, request: RequestPrimitive, peer: &Peer) -> Exchange {
        let changes = request.method != Method::Retrieve;
        let of_scl = match request.target.segments() {
            [collection, id] if collection == "scls" && changes => Some(id.clone()),
            _ => None,
        };
        if let Some(scl) = of_scl {
            let answer = self.answer(request).await;
            mid.links.forget(&scl);
            return answer;
        }
        if !mid::is_registration(&request) {
            return self.answer(request).await;
        }
        let asked = match &request.body {
            Body::Representation(scl) => scl.text("sclId").unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let answer = match mid::admitted(&mid.own, mid.policy, &request) {
            Ok(()) => self.answer(request).await,
            Err(refusal) => ResponsePrimitive::from(refusal).into(),
        };
        mid.links.forget(&asked);
        let ResponsePrimitive { status, info, .. } = &answer.response;
        if !matches!(status, StatusCode::Created | StatusCode::Accepted) {
            mid.audit.refused("registration", peer, &format!("{asked}: {status:?} {info}"));
        }
        answer
    }

    async fn answer(&self, request: RequestPrimitive) -> Exchange {
        let is_read = request.method == Method::Retrieve;
        match channel::polled_at(&request.target).filter(|_| is_read) {
            Some(channel) => self.polls.poll(&self.client, channel, request).await,
            // An answer that is kept for later is kept whole.
            None if is_read && request.correlation.is_none() => self.retrieve(request).await,
            None => self.handle(request).await.into(),
        }
    }

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
