//! One delivery: a job becomes a notify, the notify a POST, its answer the result (bindings.md 9.7). Or a request of a
//! node's own, to another SCL or an application: its answer comes back whole (procedures.md 12, 13).

use crate::{
    config::{Config, millis},
    route, through,
};
use banyan_binding::{
    http::{self as binding, Caller, Client, ClientConfig, Hop, Relay, SendError, UPLINK_TIMEOUT, Uplink},
    tls,
};
use banyan_codec::{
    Carried, Edition, Format, Limits, Style, encode_attribute, encode_message, encode_representation,
    error_info, notify, response_notify,
};
use banyan_model::{
    Path, Refusal, Representation, RequestPrimitive, ResponsePrimitive, Scl, StatusCode, Value, channel,
    primitive::NotifyMedia, value::Struct,
};
use banyan_proto::{
    convert::{self, Malformed},
    v1::{DeliveryJob, DeliveryResult, Field, delivery_job::What},
};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tracing::debug;

/// An answer to a request must fit into one message to the node, which takes 4 MiB.
const ANSWER_BYTES_MAX: usize = 3 << 20;

/// Requests passed on to others at once: each holds its body and a connection.
const PASSED_ON_MAX: usize = 1_024;

/// Carries notifications and requests to the outside.
pub(crate) struct Courier {
    client: Client,
    /// As `client`, for requests, whose answers are kept.
    requests: Client,
    caller: Caller,
    /// Knows the way to registered SCLs.
    cluster: Option<banyan_client::Client>,
    timeout_max: Duration,
    /// Stands before local addresses: scheme and authority.
    public_uri: String,
    edition: Edition,
    /// The From of a notify: this SCL.
    from: String,
}

/// Why a job cannot be sent at all.
#[derive(Debug, thiserror::Error)]
enum Undeliverable {
    #[error("unreadable job: {0}")]
    Malformed(#[from] Malformed),
    #[error("contact: {0}")]
    Contact(#[from] http::Error),
}

impl Courier {
    pub(crate) fn new(
        config: &Config,
        contact_tls: Option<Arc<tls::ClientConfig>>,
        uplink: Option<Arc<dyn Uplink>>,
        public_uri: &str,
        scl: &Scl,
    ) -> Courier {
        let usual = ClientConfig::default();
        let connect_timeout = uplink.as_ref().map_or(usual.connect_timeout, |_| UPLINK_TIMEOUT);
        let client = |answer_bytes_max| {
            Client::new(ClientConfig {
                connect_timeout,
                tls: contact_tls.clone(),
                uplink: uplink.clone(),
                reach: config.egress.reach.into(),
                answer_bytes_max,
                ..ClientConfig::default()
            })
        };
        Courier {
            // A receiver has nothing to say but a status; what it says beyond that is not kept.
            client: client(64 << 10),
            requests: client(ANSWER_BYTES_MAX),
            caller: Caller { scl_id: scl.id.clone(), public_uri: public_uri.to_owned() },
            cluster: None,
            timeout_max: millis(config.egress.timeout_max_ms),
            edition: config.edition.into(),
            public_uri: public_uri.to_owned(),
            from: format!("{public_uri}{}", scl.base),
        }
    }

    /// From now on requests for registered SCLs go to their points of contact.
    pub(crate) fn with_cluster(self, cluster: banyan_client::Client) -> Courier {
        Courier { cluster: Some(cluster), ..self }
    }

    /// How requests that came from outside are passed on.
    pub(crate) fn relay(&self, timeout: Duration) -> Relay {
        let room = Arc::new(Semaphore::new(PASSED_ON_MAX));
        Relay { client: self.requests.clone(), caller: self.caller.clone(), timeout, room }
    }

    /// Delivers; the second value is the result as a metric's label.
    pub(crate) async fn deliver(&self, job: DeliveryJob) -> (DeliveryResult, &'static str) {
        let number = job.job;
        let limit = millis(job.timeout_ms.into()).min(self.timeout_max);
        let failed =
            |text: String| DeliveryResult { job: number, transport_error: text, ..Default::default() };
        if let Some(What::Request(bytes)) = job.what {
            return match self.exchange(&job.contact, job.media, bytes, limit).await {
                Ok((response, label)) => {
                    let response = Some(convert::response_to_bytes(&response));
                    (DeliveryResult { job: number, response, ..DeliveryResult::default() }, label)
                }
                Err(failure) => {
                    debug!(job = number, %failure, "a request cannot be sent");
                    (failed(failure.to_string()), "undeliverable")
                }
            };
        }
        let request = match self.request(job) {
            Ok(request) => request,
            Err(failure) => {
                debug!(job = number, %failure, "a notification cannot be sent");
                return (failed(failure.to_string()), "undeliverable");
            }
        };
        match self.client.send(request, limit).await {
            Ok(answer) => {
                let status = answer.status();
                let result = DeliveryResult {
                    job: number,
                    http_status: status.as_u16().into(),
                    retry_after_ms: retry_after_ms(answer.headers()),
                    ..DeliveryResult::default()
                };
                (result, label(status))
            }
            Err(failure @ SendError::Address { .. }) => (failed(failure.to_string()), "undeliverable"),
            Err(failure) => (failed(failure.to_string()), "unanswered"),
        }
    }

    /// Sends a request of a node's own. What became of it is an answer, too: BAD_GATEWAY when none came,
    /// GATEWAY_TIMEOUT when none came in time.
    async fn exchange(
        &self,
        contact: &str,
        media: i32,
        request: Bytes,
        limit: Duration,
    ) -> Result<(ResponsePrimitive, &'static str), Malformed> {
        let request = convert::request_from_bytes(request)?;
        let hop = match &self.cluster {
            Some(cluster) => match route::hop(cluster, contact, limit).await {
                Ok(hop) => hop,
                Err(refusal) => return Ok((refusal.into(), "undeliverable")),
            },
            None => None,
        };
        if let (Some(cluster), Some(hop)) = (&self.cluster, &hop)
            && let Some(channel) = &hop.channel
        {
            return match self.carry(cluster, &request, hop, channel, format(media)?, limit).await {
                Ok(answer) => Ok((binding::response(answer, &Limits::default()), "confirmed")),
                Err(refusal) => Ok((refusal.into(), "undeliverable")),
            };
        }
        let uri = hop.as_ref().map_or(contact, |hop| hop.uri.as_str());
        let request = match self.caller.request(&request, uri, format(media)?) {
            Ok(mut request) => {
                let host = hop.as_ref().and_then(|hop| hop.host.as_deref());
                if let Some(host) = host.and_then(|host| http::HeaderValue::from_str(host).ok()) {
                    request.headers_mut().insert(header::HOST, host);
                }
                request
            }
            Err(refusal) => return Ok((refusal.into(), "undeliverable")),
        };
        Ok(match self.requests.send(request, limit).await {
            Ok(answer) => {
                let label = label(answer.status());
                (binding::response(answer, &Limits::default()), label)
            }
            Err(failure) => {
                let (status, label) = match &failure {
                    SendError::Timeout { .. } => (StatusCode::GatewayTimeout, "unanswered"),
                    SendError::Address { .. } => (StatusCode::BadGateway, "undeliverable"),
                    _ => (StatusCode::BadGateway, "unanswered"),
                };
                (Refusal::new(status, failure.to_string()).into(), label)
            }
        })
    }

    /// Has a request carried by a channel.
    async fn carry(
        &self,
        cluster: &banyan_client::Client,
        request: &RequestPrimitive,
        hop: &Hop,
        channel: &Path,
        format: Format,
        limit: Duration,
    ) -> Result<http::Response<Bytes>, Refusal> {
        let written = self.caller.request(request, &hop.uri, format)?;
        // Of a stored request a second attempt is told from a second request by it.
        let id = request.correlation.as_ref().map(|correlation| correlation.id.clone());
        let id = id.unwrap_or_else(through::correlation_id);
        let message = binding::request_notify(binding::Carried {
            method: request.method,
            target: &hop.uri,
            query: written.uri().query().unwrap_or_default(),
            requesting_entity: &self.caller.absolute(&request.requesting_entity.0),
            headers: written.headers(),
            bytes: written.body().clone(),
            contact: &format!("{}{}", self.from, channel.child(channel::ANSWER)),
            correlation_id: &id,
        })?;
        let answer = through::through(cluster, channel, &message, &id, limit).await?;
        Ok(binding::carried_answer(&answer))
    }

    fn request(&self, job: DeliveryJob) -> Result<Request<Bytes>, Undeliverable> {
        let format = format(job.media)?;
        let style = Style { format, edition: self.edition };
        if let Some(What::Answer(answer)) = job.what {
            let answer = convert::response_from_bytes(answer)?;
            let answer = binding::response_notify(style, &self.public_uri, &answer);
            let request = self.post(job.contact, format).header(binding::CORRELATION_ID, job.correlation);
            return Ok(request.body(response_notify(style, answer))?);
        }
        if let Some(What::Collection(collection)) = job.what {
            let body = self.collection(style, collection.try_into()?)?;
            return Ok(self.post(job.contact, format).body(body)?);
        }
        let status = convert::status(job.status)?;
        let carried = carried(style, status, job.what)?;
        let reference = self.absolute(&job.subscription);
        let body = notify(style, status, carried, &reference);
        Ok(self.post(job.contact, format).body(body)?)
    }

    fn post(&self, contact: String, format: Format) -> http::request::Builder {
        Request::post(contact)
            .header(header::FROM, self.from.as_str())
            .header(header::CONTENT_TYPE, format.media_type())
    }

    /// A notifyCollection, whose receiver is told absolute addresses.
    fn collection(&self, style: Style, mut collection: Struct) -> Result<Bytes, Undeliverable> {
        for (_, notify) in &mut collection.fields {
            let Value::Struct(notify) = notify else { continue };
            for (name, value) in &mut notify.fields {
                if let ("subscriptionReference" | "requestingEntity" | "contact", Value::Text(address)) =
                    (*name, value)
                {
                    *address = self.absolute(address);
                }
            }
        }
        encode_message(style, &collection).ok_or(Undeliverable::Malformed(Malformed::Missing("collection")))
    }

    fn absolute(&self, address: &str) -> String {
        match address.starts_with('/') {
            true => format!("{}{address}", self.public_uri),
            false => address.to_owned(),
        }
    }
}

fn format(media: i32) -> Result<Format, Malformed> {
    Ok(match convert::media(media)? {
        NotifyMedia::Xml => Format::Xml,
        NotifyMedia::Json => Format::Json,
    })
}

/// A status as a metric's label.
fn label(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "confirmed",
        400..=499 => "refused",
        _ => "failed",
    }
}

/// What the notify carries: the resource or an attribute of it, an errorInfo in the final one, or nothing (noRepresentation).
fn carried(style: Style, status: StatusCode, what: Option<What>) -> Result<Carried, Malformed> {
    Ok(match what {
        Some(What::Representation(representation)) => {
            Carried::Document(encode_representation(style, &Representation::try_from(representation)?))
        }
        Some(What::Attribute(Field { name, value })) => {
            let value = Value::try_from(value.ok_or(Malformed::Missing("attribute"))?)?;
            encode_attribute(style, &name, &value).map_or(Carried::Nothing, Carried::Document)
        }
        Some(What::ErrorInfo(info)) => Carried::Document(error_info(style, status, &info)),
        Some(What::TimeoutReason(reason)) => Carried::TimeoutReason(reason),
        Some(What::Bare(_)) => Carried::Nothing,
        Some(What::Request(_) | What::Answer(_) | What::Collection(_)) => {
            return Err(Malformed::Missing("notify"));
        }
        None => return Err(Malformed::Missing("what")),
    })
}

/// Retry-After in its form of seconds; a date is not worth a clock here.
fn retry_after_ms(headers: &HeaderMap) -> Option<u32> {
    let seconds: u32 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    seconds.checked_mul(1000)
}

#[cfg(test)]
mod tests;
