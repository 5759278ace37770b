//! A subscriber: an HTTP server that records every notify it gets and can be told to answer slowly or with errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::body::{element, elements};
use crate::fake::Server;

/// Notifications that are kept; a test that gets more has gone wrong.
const NOTIFICATIONS_MAX: usize = 1_000_000;

/// One notify as it arrived.
#[derive(Clone, Debug)]
pub struct Notification {
    /// When its last octet was read.
    pub at: Instant,
    /// Path of the request.
    pub path: String,
    /// notify/statusCode, empty if there is none.
    pub status_code: String,
    /// The URI of the subscription, empty if there is none.
    pub subscription: String,
    /// The decoded representation, empty if there is none.
    pub representation: String,
    /// The whole body as it came.
    pub body: String,
    /// The status it was answered with.
    pub answered: u16,
}

impl Notification {
    /// The text contents of the contentInstances in the representation, in their order.
    pub fn contents(&self) -> Vec<String> {
        contents(&self.representation)
    }
}

/// The text contents of the instances in a `contentInstances` or `contentInstance` representation, in document order,
/// whichever of the two forms a content has.
pub fn contents(representation: &str) -> Vec<String> {
    elements(representation, "content")
        .map(|content| match (element(content, "textContent"), element(content, "binaryContent")) {
            (Some(text), _) => text.to_owned(),
            (None, Some(base64)) => decode(base64),
            (None, None) => decode(content),
        })
        .collect()
}

/// Base64 to text, white space ignored; what cannot be decoded is given as it came.
fn decode(text: &str) -> String {
    let packed: String = text.split_whitespace().collect();
    match STANDARD.decode(&packed) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => text.to_owned(),
    }
}

#[derive(Clone, Copy, Debug)]
struct Behaviour {
    delay: Duration,
    status: u16,
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Notification>>,
    count: watch::Sender<usize>,
}

/// The server; ends when dropped.
#[derive(Debug)]
pub struct Subscriber {
    server: Server,
    state: Arc<State>,
}

impl Subscriber {
    /// Listens at a free port of the loopback and answers 204 at once.
    ///
    /// # Panics
    /// The loopback has no free port.
    pub async fn start() -> Subscriber {
        let state = Arc::new(State {
            behaviour: Mutex::new(Behaviour { delay: Duration::ZERO, status: 204 }),
            received: Mutex::new(Vec::new()),
            count: watch::Sender::new(0),
        });
        let recorded = Arc::clone(&state);
        let server = Server::start(move |request| record(request, Arc::clone(&recorded))).await;
        Subscriber { server, state }
    }

    /// A contact URI of this subscriber.
    pub fn contact(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.authority)
    }

    /// Waits this long before each answer from now on.
    pub fn answer_after(&self, delay: Duration) {
        self.state.behaviour.lock().delay = delay;
    }

    /// Answers with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.state.behaviour.lock().status = status;
    }

    /// Everything received so far under this path, in order of arrival.
    pub fn received(&self, path: &str) -> Vec<Notification> {
        self.state.received.lock().iter().filter(|notification| notification.path == path).cloned().collect()
    }

    /// Waits until what was received satisfies `enough`.
    ///
    /// # Errors
    /// What was received until the time was over.
    pub async fn wait(
        &self,
        path: &str,
        within: Duration,
        enough: impl Fn(&[Notification]) -> bool,
    ) -> Result<Vec<Notification>, Vec<Notification>> {
        let until = tokio::time::Instant::now() + within;
        let mut count = self.state.count.subscribe();
        loop {
            let received = self.received(path);
            if enough(&received) {
                return Ok(received);
            }
            if !matches!(tokio::time::timeout_at(until, count.changed()).await, Ok(Ok(()))) {
                return Err(received);
            }
        }
    }
}

async fn record(request: Request<Incoming>, state: Arc<State>) -> Response<Empty<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = match request.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        // The sender broke off: it was never delivered.
        Err(_) => return status(StatusCode::BAD_REQUEST),
    };
    let at = Instant::now();
    let behaviour = *state.behaviour.lock();
    tokio::time::sleep(behaviour.delay).await;
    let text = |name| element(&body, name).unwrap_or_default().trim().to_owned();
    let notification = Notification {
        at,
        path,
        status_code: text("statusCode"),
        subscription: text("subscriptionReference"),
        representation: decode(&text("representation")),
        body: body.clone(),
        answered: behaviour.status,
    };
    {
        let mut received = state.received.lock();
        if received.len() < NOTIFICATIONS_MAX {
            received.push(notification);
        }
        state.count.send_replace(received.len());
    }
    status(StatusCode::from_u16(behaviour.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

fn status(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[tokio::test]
    async fn a_notify_is_recorded_with_its_decoded_representation() {
        let subscriber = Subscriber::start().await;
        let xml = r#"<m2m:contentInstances xmlns:m2m="http://uri.etsi.org/m2m"><m2m:contentInstanceCollection><m2m:contentInstance><m2m:content><m2m:textContent>a</m2m:textContent></m2m:content></m2m:contentInstance><m2m:contentInstance><m2m:content><m2m:binaryContent>Yg==</m2m:binaryContent></m2m:content></m2m:contentInstance></m2m:contentInstanceCollection></m2m:contentInstances>"#;
        let notify = format!(
            r#"<m2m:notify xmlns:m2m="http://uri.etsi.org/m2m"><m2m:statusCode>STATUS_OK</m2m:statusCode><representation>{}</representation><subscriptionReference>/m2m/s</subscriptionReference></m2m:notify>"#,
            STANDARD.encode(xml)
        );
        subscriber.answer_with(503);
        let mut sender = Device::new([subscriber.server.authority.clone()], "");
        assert_eq!(sender.create("/notify", &notify).await.unwrap().status, 503);
        let received =
            subscriber.wait("/notify", Duration::from_secs(1), |all| all.len() == 1).await.unwrap();
        assert_eq!(received[0].contents(), ["a", "b"]);
        assert_eq!(
            (received[0].status_code.as_str(), received[0].subscription.as_str()),
            ("STATUS_OK", "/m2m/s")
        );
        assert_eq!(received[0].answered, 503);
    }
}
