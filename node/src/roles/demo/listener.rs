//! The subscriber's side: a small HTTP server on the loopback that takes notifies.

use banyan_binding::{
    http::{Response, Server, Service},
    identity::Peer,
};
use banyan_codec::{Expect, Format, Limits, decode};
use banyan_model::{Body, Representation, Value};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::{future, io, net::SocketAddr};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

const PATH: &str = "/notify";
/// Octets of a notify; the demo's own are far smaller.
const BYTES_MAX: usize = 1 << 20;
/// Notifications that may wait to be shown; further ones are answered 503, so the SCL sends them again.
const WAITING_MAX: usize = 64;

/// A notify, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Notification {
    pub(super) status_code: String,
    /// The URI of the subscription.
    pub(super) subscription: String,
    /// The decoded representation, empty if there is none.
    pub(super) document: String,
    /// Contents of the instances in it, in document order.
    pub(super) contents: Vec<String>,
}

/// The server; it ends when this is dropped.
pub(super) struct Listener {
    address: SocketAddr,
    received: mpsc::Receiver<Notification>,
    server: JoinHandle<()>,
}

impl Listener {
    /// Listens on a free port.
    pub(super) async fn start() -> io::Result<Listener> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, received) = mpsc::channel(WAITING_MAX);
        let server = Server::default().serve(listener, Desk { sender }, future::pending());
        Ok(Listener { address, received, server: tokio::spawn(server) })
    }

    /// The URI for a subscription's contact.
    pub(super) fn contact(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The next notification; `None` once the server has ended.
    pub(super) async fn next(&mut self) -> Option<Notification> {
        self.received.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Desk {
    sender: mpsc::Sender<Notification>,
}

impl Service for Desk {
    async fn call(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.take(request).await;
        response
    }
}

impl Desk {
    async fn take(&self, request: Request<Incoming>) -> StatusCode {
        if request.uri().path() != PATH {
            return StatusCode::NOT_FOUND;
        }
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let Ok(body) = Limited::new(request.into_body(), BYTES_MAX).collect().await else {
            return StatusCode::BAD_REQUEST;
        };
        let Some(notification) = read(&body.to_bytes()) else { return StatusCode::BAD_REQUEST };
        match self.sender.try_send(notification) {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Reads a notify; `None` if it is none.
pub(super) fn read(body: &[u8]) -> Option<Notification> {
    let Body::Message(notify) = decode(Format::Xml, body, &Limits::default(), Expect::Message("notify"))
    else {
        return None;
    };
    let text = |name| match notify.get(name) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let document = match notify.get("representation") {
        Some(Value::Binary { bytes, .. }) => bytes.clone(),
        _ => Bytes::new(),
    };
    let contents = match decode(Format::Xml, &document, &Limits::default(), Expect::Any) {
        Body::Representation(representation) => contents(&representation),
        _ => Vec::new(),
    };
    let document = String::from_utf8_lossy(&document).into_owned();
    let (status_code, subscription) = (text("statusCode"), text("subscriptionReference"));
    Some(Notification { status_code, subscription, document, contents })
}

/// Contents of a contentInstance, or of the instances of a contentInstances collection.
fn contents(representation: &Representation) -> Vec<String> {
    let own = match representation.get("content") {
        Some(Value::Content(content)) => Some(String::from_utf8_lossy(&content.bytes).into_owned()),
        _ => None,
    };
    let mut all = Vec::from_iter(own);
    if let Some(Value::Struct(collection)) = representation.get("contentInstanceCollection") {
        for instance in collection.all("contentInstance") {
            if let Value::Resource(instance) = instance {
                all.extend(contents(instance));
            }
        }
    }
    all
}
