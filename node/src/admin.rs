//! The operator's listener: `/livez` (the process runs), `/readyz` (it can do its part), `/metrics`.
//!
//! Liveness never looks at the cluster: a node without a majority must not be restarted for it.

mod text;

use banyan_binding::{
    http::{Response, Server, Service},
    identity::Peer,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::{net::TcpListener, sync::watch};

/// Knows the node's condition; the composition root implements it.
pub trait Probe: Send + Sync + 'static {
    /// Why this node cannot do its part now, if so.
    fn not_ready(&self) -> Option<String>;

    /// Everything that is counted.
    fn report(&self) -> BoxFuture<'_, Report>;
}

/// What is counted, apart from the process itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// This node's replicas.
    pub groups: Vec<GroupReport>,
    /// Single values.
    pub values: Vec<Metric>,
    /// Deliveries by result.
    pub deliveries: Vec<(&'static str, u64)>,
    /// What this node's shards have stored for other SCLs, by category: requests and their octets.
    pub stored: Vec<(u8, u64, u64)>,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// 0: the directory; else the shard.
    pub group: u64,
    /// Leader, Follower, Candidate or Learner.
    pub role: &'static str,
    /// Its term.
    pub term: u64,
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// Index of the last committed entry that is known here.
    pub committed_index: u64,
    /// Proposals that wait for their outcome.
    pub proposals_in_flight: u64,
    /// It stopped and serves no more.
    pub stopped: bool,
}

/// A value with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Without the prefix `banyan_`; a counter ends in `_total`.
    pub name: &'static str,
    /// One line for the reader.
    pub help: &'static str,
    /// The value.
    pub value: u64,
}

/// Serves until `ending` says so.
pub async fn serve(listener: TcpListener, probe: Arc<dyn Probe>, mut ending: watch::Receiver<bool>) {
    let stop = async move {
        // Nobody left who could say so is an end, too.
        let _ = ending.wait_for(|ending| *ending).await;
    };
    Server::default().serve(listener, Admin { probe }, stop).await;
}

struct Admin {
    probe: Arc<dyn Probe>,
}

impl Service for Admin {
    async fn call(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        if request.method() != http::Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/livez" | "/healthz" => page(StatusCode::OK, "ok\n"),
            "/readyz" => match self.probe.not_ready() {
                None => page(StatusCode::OK, "ready\n"),
                Some(why) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => {
                let ready = self.probe.not_ready().is_none();
                page(StatusCode::OK, text::metrics(ready, &self.probe.report().await))
            }
            _ => page(StatusCode::NOT_FOUND, "/livez, /readyz or /metrics\n"),
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
