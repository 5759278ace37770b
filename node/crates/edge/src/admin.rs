//! The operator's listener: `/healthz` (the process runs), `/readyz` (it can answer requests), `/metrics`.

use crate::metrics::Metrics;
use banyan_binding::{
    http::{Response, Service},
    identity::Peer,
};
use banyan_client::Client;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) struct Admin<S> {
    pub(crate) client: Client,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: watch::Receiver<bool>,
    /// Whether requests are let in.
    pub(crate) is_open: S,
}

impl<S: Fn() -> bool> Admin<S> {
    /// Why requests cannot be answered now, if so.
    fn not_ready(&self) -> Option<&'static str> {
        if *self.stopping.borrow() {
            return Some("stopping");
        }
        if !self.client.ready() {
            return Some("no shard map yet, or no stream to any node");
        }
        (!(self.is_open)()).then_some("requests are not let in: see the log")
    }
}

impl<S: Fn() -> bool + Send + Sync + 'static> Service for Admin<S> {
    async fn call(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        if request.method() != http::Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/healthz" => page(StatusCode::OK, "ok\n"),
            "/readyz" => match self.not_ready() {
                None => page(StatusCode::OK, "ready\n"),
                Some(why) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => page(StatusCode::OK, self.metrics.text(self.not_ready().is_none())),
            _ => page(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics\n"),
        }
    }
}

fn page(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = Response::new(text.into().into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
