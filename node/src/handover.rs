//! The hand-over port: a NAF that ran GBA, or an AAA server that ran EAP, posts the root key that came of it
//! (TS 102 690 clause 8.3, the access-network assisted procedures). What is posted is an import like an operator's.
//!
//! Only clients with a certificate of the configured CA come in, and everyone of them may hand over any key: the CA
//! should be one of its own. A key is wiped here once it was carried to the keys' group; what the HTTP, TLS
//! and gRPC libraries had of it in their buffers is not in our hands.

mod posted;

#[cfg(test)]
mod tests;

use banyan_binding::{
    http::{Response, Server, ServerConfig, Service},
    identity::Peer,
    tls::{ClientFiles, KeyFiles, Watched, certificate::common_name},
};
use banyan_client::{Client, RequestError};
use banyan_proto::v1::{self, keys_answer, keys_question};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use posted::{Posted, Refusal};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, timeout},
};
use zeroize::{Zeroize, Zeroizing};

/// Where keys are posted.
const KEYS: &str = "/keys";
/// Octets of a body.
const BODY_MAX: usize = 4 << 10;
const CONNECTIONS_MAX: usize = 64;
/// The handshake and the header of a request.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// A connection on which nothing is asked.
const IDLE: Duration = Duration::from_secs(10);
/// The body.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// The keys' group's answer.
const KEPT_WITHIN: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// What is under way gets this long when the node stops.
const DRAIN: Duration = Duration::from_secs(1);

/// Settings of the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its address.
    pub listen: SocketAddr,
    /// Its certificate.
    pub keys: KeyFiles,
    /// Whose certificates may hand keys over.
    pub clients: ClientFiles,
}

/// Carries keys to who keeps them.
pub trait Keeper: Send + Sync + 'static {
    /// Imports; one word for each key, empty for one that was taken.
    fn import(&self, keys: v1::ImportKeys) -> BoxFuture<'_, Result<v1::ImportedKeys, RequestError>>;
}

impl Keeper for Client {
    fn import(&self, keys: v1::ImportKeys) -> BoxFuture<'_, Result<v1::ImportedKeys, RequestError>> {
        Box::pin(async {
            let question = keys_question::Kind::Import(keys);
            match self.operate_keys(question, Instant::now() + KEPT_WITHIN).await?.kind {
                Some(keys_answer::Kind::Imported(imported)) => Ok(imported),
                _ => Err(RequestError::Refused("the import was not answered as one".to_owned())),
            }
        })
    }
}

/// Serves until `stopping` says so.
pub async fn serve(
    listener: TcpListener,
    tls: Watched,
    keeper: Arc<dyn Keeper>,
    mut stopping: watch::Receiver<bool>,
) {
    let stop = async move {
        // Nobody left who could say so is an end, too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    Server { config: limits(), channel: Arc::new(tls) }.serve(listener, Port { keeper }, stop).await;
}

fn limits() -> ServerConfig {
    ServerConfig {
        connections_max: CONNECTIONS_MAX,
        source_connections_max: CONNECTIONS_MAX,
        source_half_open_max: CONNECTIONS_MAX,
        streams_max: 1,
        handshake_timeout: ASKED_WITHIN,
        header_timeout: ASKED_WITHIN,
        idle_timeout: IDLE,
        drain_timeout: DRAIN,
        ..ServerConfig::default()
    }
}

struct Port {
    keeper: Arc<dyn Keeper>,
}

impl Service for Port {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        if request.uri().path() != KEYS {
            return refused(StatusCode::NOT_FOUND, &Refusal::of("keys are posted to /keys"));
        }
        if request.method() != Method::POST {
            let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, &Refusal::of("only POST"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let body = match timeout(BODY_WITHIN, body(request.into_body())).await {
            Ok(Ok(body)) => body,
            Ok(Err(status)) => return refused(status, &Refusal::of("the body cannot be taken")),
            Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, &Refusal::of("the body took too long")),
        };
        match Posted::read(&body) {
            Ok(posted) => self.hand_over(posted, source(peer)).await,
            Err(refusal) => refused(StatusCode::BAD_REQUEST, &refusal),
        }
    }
}

impl Port {
    async fn hand_over(&self, posted: Posted, source: String) -> Response {
        let (node, index) = (posted.node, posted.index);
        let key = posted.provisioned();
        let octets = key.kmr.clone();
        let imported = self.keeper.import(v1::ImportKeys { keys: vec![key], source: source.clone() }).await;
        // Unless somebody else still has them.
        if let Ok(mut octets) = octets.try_into_mut() {
            octets.as_mut().zeroize();
        }
        match imported.as_ref().map(|imported| imported.refused.as_slice()) {
            Ok([why]) if why.is_empty() => {
                tracing::info!(%node, index, source, "a root key was handed over");
                answer(StatusCode::CREATED, Bytes::new())
            }
            Ok([why]) => refused(StatusCode::CONFLICT, &Refusal::by_keeper(why)),
            Ok(_) => unavailable("the keys' group did not say what it did", None),
            Err(error) => unavailable(&error.to_string(), error.retry_after()),
        }
    }
}

/// A body of at most [`BODY_MAX`] octets, in memory that is wiped and never moved.
async fn body(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, StatusCode> {
    let too_large = |octets: u64| octets > BODY_MAX as u64;
    if too_large(body.size_hint().lower()) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut whole = Zeroizing::new(Vec::with_capacity(BODY_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else { continue };
        if too_large((whole.len() + data.len()) as u64) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// Who hands over, for the audit log.
fn source(peer: &Peer) -> String {
    let name = peer.certificates.first().and_then(|leaf| common_name(leaf).ok().flatten());
    match name {
        Some(name) => format!("handover {name}"),
        None => format!("handover {}", peer.address),
    }
}

fn unavailable(why: &str, after: Option<Duration>) -> Response {
    tracing::warn!(why, "a key could not be handed over");
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, &Refusal::of(why));
    let seconds = after.unwrap_or(RETRY_AFTER).as_secs().max(1);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    let mut response = answer(status, refusal.json());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn answer(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}
