//! Reading a body: bounded in size, in time and over all requests together, then decoded.

use banyan_codec::{Expect, Format, Limits, decode_content};
use banyan_model::{Body, Method, Path, Refusal, ResponsePrimitive, StatusCode, tables};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// What all bodies in memory share: one permit a KiB.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// A body with its share of the budget.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes_max: usize,
    /// From the header to its end.
    pub(super) timeout: Duration,
    /// Octets a second, after [`GRACE`]; 0: any.
    pub(super) rate_min: u64,
}

/// How long a body may be slow.
const GRACE: Duration = Duration::from_secs(5);

const KIB: usize = 1024;

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Budget {
        Budget(Arc::new(Semaphore::new((bytes_max / KIB).min(Semaphore::MAX_PERMITS))))
    }

    fn grow(
        &self,
        share: &mut Option<OwnedSemaphorePermit>,
        length: usize,
    ) -> Result<(), Box<ResponsePrimitive>> {
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(length.div_ceil(KIB).saturating_sub(held)).unwrap_or(u32::MAX);
        let granted = Arc::clone(&self.0).try_acquire_many_owned(more).map_err(|_| {
            Box::new(ResponsePrimitive {
                info: "too many request bodies at once".to_owned(),
                retry_after_ms: Some(1_000),
                ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
            })
        })?;
        match share {
            Some(share) => share.merge(granted),
            None => *share = Some(granted),
        }
        Ok(())
    }
}

/// Whether the headers leave no doubt about where a body ends and what it is: two answers to that, and somebody between
/// us and the client may have read another request than we do. What hyper repairs
/// before it gets here, the [`super::guard`] has refused.
pub(super) fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let bad = |info: &str| Err(Refusal::new(StatusCode::BadRequest, info));
    // What is no text is nothing that is understood either.
    let all = |name: HeaderName| {
        headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or_default())
    };
    let is = |text: &str, coding: &str| text.trim().eq_ignore_ascii_case(coding);
    if headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        return bad("Content-Type: given twice");
    }
    let codings: Vec<&str> = all(header::TRANSFER_ENCODING).flat_map(|text| text.split(',')).collect();
    let is_framed = codings.is_empty() || matches!(codings.as_slice(), [only] if is(only, "chunked"));
    if !is_framed {
        return bad("Transfer-Encoding: only chunked is understood");
    }
    let mut encodings = all(header::CONTENT_ENCODING).flat_map(|text| text.split(','));
    if encodings.all(|encoding| is(encoding, "identity")) {
        return Ok(());
    }
    let info = "Content-Encoding: only identity is understood";
    Err(Refusal::new(StatusCode::UnsupportedMediaType, info))
}

/// Reads a whole body, or says why not: `PayloadTooLarge`, `RequestTimeout`, `ServiceUnavailable` (the budget), or
/// `BadRequest` for one that broke off (nobody may be there to read that).
pub(super) async fn read(
    mut body: Incoming,
    bounds: Bounds,
    budget: &Budget,
) -> Result<Taken, Box<ResponsePrimitive>> {
    let Bounds { bytes_max, timeout, rate_min } = bounds;
    let too_large = || refuse(StatusCode::PayloadTooLarge, format!("body: more than {bytes_max} octets"));
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let began = Instant::now();
    let deadline = began + timeout;
    // Most bodies are one frame, which is taken as it is; only further ones are gathered.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut share = None;
    loop {
        let taken = (first.len() + rest.len()) as u64;
        // No deadline of its own where any rate will do.
        let millis = taken.saturating_mul(1_000).checked_div(rate_min).unwrap_or(u64::MAX);
        let due = (began + GRACE).checked_add(Duration::from_millis(millis)).unwrap_or(deadline);
        let frame = timeout_at(deadline.min(due), body.frame()).await;
        let frame = frame.map_err(|_| match due < deadline {
            true => {
                refuse(StatusCode::RequestTimeout, format!("body: slower than {rate_min} octets a second"))
            }
            false => refuse(StatusCode::RequestTimeout, "body: took too long"),
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| refuse(StatusCode::BadRequest, "body: broke off"))?;
        // Trailers are of no use here.
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + rest.len() + data.len();
        if length > bytes_max {
            return Err(too_large());
        }
        budget.grow(&mut share, length)?;
        match first.is_empty() && rest.is_empty() {
            true => first = data,
            false => {
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&data);
            }
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Taken { bytes, _share: share })
}

/// The format of the request body's media type, if it is one of ours.
pub(super) fn format(headers: &HeaderMap) -> Option<Format> {
    Format::from_media_type(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// Decodes a body. Any media type is content where contentInstances are made, nowhere else.
pub(super) fn decode(
    method: &http::Method,
    path: &Path,
    headers: &HeaderMap,
    bytes: &Bytes,
    limits: &Limits,
) -> Body {
    let content_type = match headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(text)) if !text.trim().is_empty() => text.trim(),
        None | Some(_) if bytes.is_empty() => return Body::None,
        _ => return Body::Malformed(Refusal::new(StatusCode::BadRequest, "Content-Type: missing")),
    };
    if Format::from_media_type(content_type).is_some() {
        return match decode_content(content_type, bytes, limits, Expect::Any) {
            Body::Malformed(refusal) if is_secured(bytes) => Body::Malformed(Refusal {
                status: StatusCode::NotImplemented,
                info: "the body is signed or encrypted (XML security); protect the channel instead"
                    .to_owned(),
                ..refusal
            }),
            body => body,
        };
    }
    let takes_content = method == http::Method::POST && path.name() == Some("contentInstances");
    match takes_content {
        true => Body::Raw { content_type: content_type.to_owned(), bytes: bytes.clone() },
        false if bytes.is_empty() => Body::None,
        false => {
            let info = "Content-Type: neither application/xml nor application/json";
            Body::Malformed(Refusal::new(StatusCode::UnsupportedMediaType, info))
        }
    }
}

/// Whether a body that is none of ours comes in an envelope of XML security (object security of mId, security.md 5).
fn is_secured(bytes: &Bytes) -> bool {
    const NAMESPACES: [&[u8]; 2] =
        [b"http://www.w3.org/2001/04/xmlenc#", b"http://www.w3.org/2000/09/xmldsig#"];
    // The envelope is the root element: its namespace stands at the beginning.
    let head = &bytes[..bytes.len().min(1_024)];
    NAMESPACES.iter().any(|name| head.windows(name.len()).any(|seen| seen == *name))
}

/// What a POST asks for (bindings.md 2): a notify body notifies, no body or the arguments of a command alone execute,
/// anything else creates.
pub(super) fn post(body: &Body) -> Method {
    const NOTIFICATIONS: [&str; 4] = ["notify", "notifyCollection", "requestNotify", "responseNotify"];
    let root = |name| tables::struct_def(name).map_or("", |def| def.root_element);
    match body {
        Body::None => Method::Execute,
        Body::Attribute { name, .. } if name == "execReqArgs" => Method::Execute,
        Body::Message(message) if NOTIFICATIONS.contains(&root(message.name)) => Method::Notify,
        _ => Method::Create,
    }
}

fn refuse(status: StatusCode, info: impl Into<String>) -> Box<ResponsePrimitive> {
    Box::new(Refusal::new(status, info).into())
}
