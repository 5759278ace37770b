//! One delivery: a job becomes a notify, the notify a POST, its answer the result (bindings.md 9.7).

use crate::config::{Config, millis};
use banyan_binding::{
    http::{Client, ClientConfig, SendError},
    tls,
};
use banyan_codec::{Edition, Format, Style, encode_representation, error_info, notify};
use banyan_model::{Representation, StatusCode, primitive::NotifyMedia};
use banyan_proto::{
    convert::{self, Malformed},
    v1::{DeliveryJob, DeliveryResult, delivery_job::What},
};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use std::{sync::Arc, time::Duration};
use tracing::debug;

/// Carries notifications to their contacts.
pub(crate) struct Courier {
    client: Client,
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
        public_uri: &str,
        scl_base: &str,
    ) -> Courier {
        let client = Client::new(ClientConfig {
            tls: contact_tls,
            reach: config.egress.reach.into(),
            // A receiver has nothing to say but a status; what it says beyond that is not kept.
            answer_bytes_max: 64 << 10,
            ..ClientConfig::default()
        });
        Courier {
            client,
            timeout_max: millis(config.egress.timeout_max_ms),
            edition: config.edition.into(),
            public_uri: public_uri.to_owned(),
            from: format!("{public_uri}{scl_base}"),
        }
    }

    /// Delivers; the second value is the result as a metric's label.
    pub(crate) async fn deliver(&self, job: DeliveryJob) -> (DeliveryResult, &'static str) {
        let number = job.job;
        let limit = millis(job.timeout_ms.into()).min(self.timeout_max);
        let failed =
            |text: String| DeliveryResult { job: number, transport_error: text, ..Default::default() };
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
                let label = match status.as_u16() {
                    200..=299 => "confirmed",
                    400..=499 => "refused",
                    _ => "failed",
                };
                (result, label)
            }
            Err(failure @ SendError::Address { .. }) => (failed(failure.to_string()), "undeliverable"),
            Err(failure) => (failed(failure.to_string()), "unanswered"),
        }
    }

    fn request(&self, job: DeliveryJob) -> Result<Request<Bytes>, Undeliverable> {
        let format = match convert::media(job.media)? {
            NotifyMedia::Xml => Format::Xml,
            NotifyMedia::Json => Format::Json,
        };
        let status = convert::status(job.status)?;
        let style = Style { format, edition: self.edition };
        let document = document(style, status, job.what)?;
        let reference = self.absolute(&job.subscription);
        let body = notify(style, status, document, &reference);
        let request = Request::post(job.contact)
            .header(header::FROM, self.from.as_str())
            .header(header::CONTENT_TYPE, format.media_type())
            .body(body)?;
        Ok(request)
    }

    fn absolute(&self, address: &str) -> String {
        match address.starts_with('/') {
            true => format!("{}{address}", self.public_uri),
            false => address.to_owned(),
        }
    }
}

/// What the notify carries: the resource, an errorInfo in the final one, or nothing (noRepresentation).
fn document(style: Style, status: StatusCode, what: Option<What>) -> Result<Option<Bytes>, Malformed> {
    Ok(match what {
        Some(What::Representation(representation)) => {
            Some(encode_representation(style, &Representation::try_from(representation)?))
        }
        Some(What::ErrorInfo(info)) => Some(error_info(style, status, &info)),
        Some(What::Bare(_)) => None,
        Some(What::Request(_)) => return Err(Malformed::Missing("notify")),
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
