//! Requests that are not ours to answer go on to an application or another SCL, and what that says comes back
//! (procedures.md 12, 13). The one who asked stays the requestingEntity (D-21); this SCL adds itself to `Via`.

use super::{
    Client, Response, SendError,
    carried::{Carried, request_notify},
    names,
    outgoing::Caller,
    target,
};
use banyan_model::{Method, Path, Refusal, StatusCode, value::Struct};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, request::Parts};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How this SCL passes requests on.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Carries them.
    pub client: Client,
    /// How this SCL shows itself.
    pub caller: Caller,
    /// How long the other side may take.
    pub timeout: Duration,
    /// Requests that may be under way to others at once; more are answered SERVICE_UNAVAILABLE.
    pub room: Arc<Semaphore>,
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// An absolute URI without a query: who is called.
    pub uri: String,
    /// The authority that is asked for, where it is not that of `uri` (a point of contact).
    pub host: Option<String>,
    /// The communicationChannel by which the request travels to `uri`: nobody can be called.
    pub channel: Option<Path>,
}

/// A request that may have to go on.
pub(super) struct Held<'a> {
    pub(super) head: &'a Parts,
    pub(super) bytes: Bytes,
    pub(super) entity: &'a str,
    pub(super) via: &'a [String],
}

/// What of a request means something to whoever carries it out.
const ONWARD: [HeaderName; 12] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    names::CORRELATION_ID,
    names::CONTACT_URI,
    names::RCAT,
    names::TRPDT,
    names::GROUP_REQUEST,
    header::ACCEPT_CHARSET,
];

/// What of an answer means something to whoever asked.
const BACK: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    header::ETAG,
    header::LAST_MODIFIED,
    header::ALLOW,
    header::RETRY_AFTER,
];

impl Relay {
    /// Sends a request on and brings the answer as it is; BAD_GATEWAY if none came, GATEWAY_TIMEOUT if none came in time.
    pub(super) async fn pass_on(&self, hop: &Hop, held: Held<'_>) -> Result<Response, Refusal> {
        let Ok(_place) = self.room.try_acquire() else {
            return Err(Refusal::new(StatusCode::ServiceUnavailable, "too many requests are passed on"));
        };
        let request = self.request(hop, held)?;
        let answer = self.client.send(request, self.timeout).await.map_err(|failure| {
            let status = match &failure {
                SendError::Timeout { .. } => StatusCode::GatewayTimeout,
                _ => StatusCode::BadGateway,
            };
            Refusal::new(status, failure.to_string())
        })?;
        Ok(passed_back(answer))
    }

    /// The requestNotify of a request that travels by a channel. `answer_at`: the path at which it is answered.
    pub(super) fn carried(
        &self,
        hop: &Hop,
        method: Method,
        held: Held<'_>,
        answer_at: &str,
        correlation_id: &str,
    ) -> Result<Struct, Refusal> {
        request_notify(Carried {
            method,
            target: &hop.uri,
            query: held.head.uri.query().unwrap_or_default(),
            requesting_entity: &self.caller.absolute(held.entity),
            headers: &held.head.headers,
            bytes: held.bytes,
            contact: &self.caller.absolute(answer_at),
            correlation_id,
        })
    }

    fn request(&self, hop: &Hop, held: Held<'_>) -> Result<Request<Bytes>, Refusal> {
        let impossible =
            |why: &dyn std::fmt::Display| Refusal::new(StatusCode::BadGateway, format!("{}: {why}", hop.uri));
        let uri = match target::without_target_id(held.head.uri.query().unwrap_or_default()) {
            query if query.is_empty() => hop.uri.clone(),
            query => format!("{}?{query}", hop.uri),
        };
        let mut request = Request::new(held.bytes);
        *request.method_mut() = held.head.method.clone();
        *request.uri_mut() = uri.parse::<Uri>().map_err(|error| impossible(&error))?;
        copy(&ONWARD, &held.head.headers, request.headers_mut());
        self.caller.introduce(held.entity, held.via, request.headers_mut())?;
        if let Some(host) = &hop.host {
            let host = HeaderValue::from_str(host).map_err(|error| impossible(&error))?;
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }
}

/// An answer as whoever asked gets it.
pub(super) fn passed_back(answer: http::Response<Bytes>) -> Response {
    let (head, bytes) = answer.into_parts();
    let mut response = Response::new(bytes.into());
    *response.status_mut() = head.status;
    copy(&BACK, &head.headers, response.headers_mut());
    response
}

fn copy(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}
