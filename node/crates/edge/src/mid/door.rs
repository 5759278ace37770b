//! What stands before the binding on mId.

use super::{Links, Sessions, made};
use crate::metrics::Metrics;
use banyan_binding::{
    http::{Response, Service, http_status},
    identity::Peer,
};
use banyan_client::Client;
use banyan_codec::{Format, encode_message, error_info};
use banyan_model::{Method, Refusal, ResponsePrimitive, Scl, StatusCode, value::Struct};
use http::{HeaderMap, HeaderValue, Request, header};
use hyper::body::Incoming;
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

const BOOTSTRAP: &str = "/m2m/bootstrap";
const CONNECTION: &str = "/m2m/connection";

/// The bootstrap listener: one resource, one method.
pub(crate) struct BootstrapDoor {
    pub(crate) client: Client,
    pub(crate) metrics: Arc<Metrics>,
}

impl Service for BootstrapDoor {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let head = Head::of(&request);
        let answer = match (request.uri().path(), &peer.session) {
            (BOOTSTRAP, Some(session)) if head.is_post => made::bootstrap(&self.client, session, peer).await,
            (BOOTSTRAP, _) if !head.is_post => Err(only_post()),
            _ => Err(Box::new(Refusal::not_found().into())),
        };
        self.metrics.made("bootstrap", answer.is_ok());
        head.write(answer)
    }
}

/// A listener for mId: the service connection, and then the binding.
pub(crate) struct MidDoor<S> {
    pub(crate) binding: S,
    pub(crate) client: Client,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) links: Arc<Links>,
    pub(crate) metrics: Arc<Metrics>,
    /// securitymIdFlags.
    pub(crate) flags: u16,
    pub(crate) timeout: Duration,
    /// Whose an address is, where there are no sessions.
    pub(crate) sources: Arc<HashMap<IpAddr, String>>,
}

impl<S: Service + Owned> Service for MidDoor<S> {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let head = Head::of(&request);
        let is_connection = request.uri().path() == CONNECTION;
        let refuse = |status, why: &str| head.write(Err(Box::new(Refusal::new(status, why).into())));
        let scl = match &peer.session {
            Some(session) if is_connection => {
                let (client, sessions) = (&self.client, &*self.sessions);
                let answer = match head.is_post {
                    true => made::connection(client, sessions, session, peer, self.flags).await,
                    false => Err(only_post()),
                };
                self.metrics.made("connection", answer.is_ok());
                return head.write(answer);
            }
            Some(session) if session.connection().is_none() => {
                let why = "this channel has no service connection yet: POST /m2m/connection first";
                return refuse(StatusCode::Forbidden, why);
            }
            Some(session) => session.scl().map(str::to_owned),
            None if is_connection => return refuse(StatusCode::NotFound, "there is no secure channel here"),
            None => super::OverNetwork::of(&self.sources, peer),
        };
        // Only an address that is not local may need what the SCL registered.
        let from = request.headers().get(header::FROM).and_then(|from| from.to_str().ok());
        if let (Some(scl), Some(own)) = (scl, self.binding.own())
            && from.is_some_and(|from| from.contains("://") && own.local_path(from).is_none())
        {
            self.links.learn(&self.client, own, &scl, self.timeout).await;
        }
        self.binding.call(request, peer).await
    }
}

/// Knows what the SCL calls itself, once the cluster was found.
pub(crate) trait Owned {
    fn own(&self) -> Option<&Scl>;
}

struct Head {
    is_post: bool,
    format: Format,
}

impl Head {
    fn of(request: &Request<Incoming>) -> Head {
        Head { is_post: request.method() == http::Method::POST, format: format(request.headers()) }
    }

    fn write(&self, answer: Result<Struct, Box<ResponsePrimitive>>) -> Response {
        let (status, body, refused) = match answer {
            Ok(made) => match encode_message(self.format, &made) {
                Some(body) => (StatusCode::Ok, body, None),
                None => (
                    StatusCode::InternalServerError,
                    error_info(self.format, StatusCode::InternalServerError, ""),
                    None,
                ),
            },
            Err(refused) => {
                (refused.status, error_info(self.format, refused.status, &refused.info), Some(refused))
            }
        };
        let mut response = Response::new(body.into());
        *response.status_mut() = http_status(status);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.format.media_type()));
        // What stands in it is for this channel only.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(millis) = refused.as_ref().and_then(|refused| refused.retry_after_ms) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000).max(1)));
        }
        if status == StatusCode::MethodNotAllowed {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// JSON for whoever asks for it and not for XML.
fn format(headers: &HeaderMap) -> Format {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let names = |text: &str, name: &str| text.to_ascii_lowercase().contains(name);
    match accepted.any(|text| names(text, "json") && !names(text, "xml")) {
        true => Format::Json,
        false => Format::Xml,
    }
}

fn only_post() -> Box<ResponsePrimitive> {
    let mut refusal = Refusal::new(StatusCode::MethodNotAllowed, "method: only POST");
    refusal.allow = vec![Method::Create];
    Box::new(refusal.into())
}
