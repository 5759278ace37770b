//! The other side: an HTTP server that stands for a subscriber, an application's aPoC or another SCL. It records what it
//! gets and answers by rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_tests::device::Reply;
use cluster_tests::fake::Server;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::play::matches;

/// Requests that are kept: more is a loop of the product.
const REQUESTS_MAX: usize = 1_000;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// The request-URI, absolute-form if it came so.
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    fn is(&self, method: &str, path: &str) -> bool {
        let origin = self.uri.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        self.method == method
            && (matches(path, &self.uri) || origin.is_some_and(|origin| matches(path, origin)))
    }

    /// As an answer, for the expectations know only those.
    pub(crate) fn as_reply(&self) -> Reply {
        Reply { status: 0, headers: self.headers.clone(), body: self.body.clone() }
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    /// What no step has taken yet.
    waiting: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

/// The server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) authority: String,
    state: Arc<State>,
    _server: Server,
}

impl Peer {
    pub(crate) async fn start() -> Peer {
        let state = Arc::new(State::default());
        let known = Arc::clone(&state);
        let server = Server::start(move |request| answer(request, Arc::clone(&known))).await;
        Peer { authority: server.authority.clone(), state, _server: server }
    }

    /// From now on; a later rule wins over an earlier one. Without a rule the answer is 204.
    pub(crate) fn rule(&self, rule: Rule) {
        self.state.rules.lock().push(rule);
    }

    /// Takes the first matching request that no step has taken, or says after `within` what came instead.
    pub(crate) async fn take(
        &self,
        method: &str,
        path: &str,
        within: Duration,
    ) -> Result<Received, Vec<Received>> {
        let until = tokio::time::Instant::now() + within;
        let mut count = self.state.count.subscribe();
        loop {
            {
                let mut waiting = self.state.waiting.lock();
                if let Some(at) = waiting.iter().position(|received| received.is(method, path)) {
                    return Ok(waiting.remove(at));
                }
            }
            if !matches!(tokio::time::timeout_at(until, count.changed()).await, Ok(Ok(()))) {
                return Err(self.state.waiting.lock().clone());
            }
        }
    }

    /// What comes until `within` is over, as far as no step took it.
    pub(crate) async fn rest(&self, within: Duration) -> Vec<Received> {
        tokio::time::sleep(within).await;
        self.state.waiting.lock().clone()
    }
}

async fn answer(request: http::Request<Incoming>, state: Arc<State>) -> http::Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let received = Received {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    };
    let rule = state.rules.lock().iter().rev().find(|rule| received.is(&rule.method, &rule.path)).cloned();
    {
        let mut waiting = state.waiting.lock();
        if waiting.len() < REQUESTS_MAX {
            waiting.push(received);
        }
    }
    state.count.send_modify(|count| *count += 1);
    let rule = rule.unwrap_or(Rule {
        method: String::new(),
        path: String::new(),
        status: 204,
        headers: Vec::new(),
        body: Vec::new(),
    });
    let mut response = http::Response::builder().status(rule.status);
    for (name, value) in &rule.headers {
        response = response.header(name, value);
    }
    let response = response.body(Full::new(Bytes::from(rule.body)));
    response.expect("a case writes proper headers")
}
