//! An answer's way out: status line, headers, body (bindings.md 3.1 and 4).

use super::{Response, ResponseBody, accept::Accept, conditions::http_date};
use crate::handler::Pages;
use banyan_codec::{
    Edition, Format, OpenDocument, ResponseNotify, Style, encode_body, entity_tag, error_info,
};
use banyan_model::{Body, Method, ResponsePrimitive, StatusCode};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What an answer needs to know of its request.
pub(super) struct Dress {
    /// The negotiated format, or the default where none is acceptable.
    pub(super) format: Format,
    pub(super) edition: Edition,
    /// Whether `format` is acceptable.
    pub(super) acceptable: bool,
    pub(super) accept: Accept,
    /// Whether the client came by TLS.
    pub(super) secure: bool,
    /// The authority the client used.
    pub(super) authority: Option<String>,
    /// WWW-Authenticate of a 401.
    pub(super) challenge: Option<&'static str>,
    /// Whether the client is told to ask more slowly: 429, for which the standard has no status of its own.
    pub(super) too_many: bool,
    /// Whether the path leads to raw content, of which there is one representation.
    pub(super) content: bool,
    /// A GET, whose answer a cache might keep.
    pub(super) retrieve: bool,
}

/// The HTTP status of a status code (bindings.md 4).
pub fn http_status(status: StatusCode) -> http::StatusCode {
    match status {
        StatusCode::Ok => http::StatusCode::OK,
        StatusCode::Created => http::StatusCode::CREATED,
        StatusCode::Accepted => http::StatusCode::ACCEPTED,
        StatusCode::NotModified => http::StatusCode::NOT_MODIFIED,
        StatusCode::BadRequest => http::StatusCode::BAD_REQUEST,
        // The surprise of the standard: PERMISSION_DENIED is 401 and FORBIDDEN 403.
        StatusCode::PermissionDenied => http::StatusCode::UNAUTHORIZED,
        StatusCode::RequestingEntityMissing => http::StatusCode::PAYMENT_REQUIRED,
        StatusCode::Forbidden => http::StatusCode::FORBIDDEN,
        // EXPIRED is never a response of its own (bindings.md 4).
        StatusCode::NotFound | StatusCode::Expired => http::StatusCode::NOT_FOUND,
        StatusCode::MethodNotAllowed => http::StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::NotAcceptable => http::StatusCode::NOT_ACCEPTABLE,
        StatusCode::RequestTimeout => http::StatusCode::REQUEST_TIMEOUT,
        StatusCode::Conflict => http::StatusCode::CONFLICT,
        StatusCode::Deleted => http::StatusCode::GONE,
        StatusCode::PreconditionFailed => http::StatusCode::PRECONDITION_FAILED,
        StatusCode::PayloadTooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UnsupportedMediaType => http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::InternalServerError => http::StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::NotImplemented => http::StatusCode::NOT_IMPLEMENTED,
        StatusCode::BadGateway => http::StatusCode::BAD_GATEWAY,
        StatusCode::ServiceUnavailable => http::StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GatewayTimeout => http::StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Writes an answer, with the rest of its lists as it comes.
pub(super) fn write(answer: ResponsePrimitive, rest: Option<Pages>, dress: &Dress) -> Response {
    let answer = match unacceptable(&answer, dress) {
        Some(refused) => refused,
        None => answer,
    };
    let style = Style { format: dress.format, edition: dress.edition };
    let begun = rest.filter(|_| answer.status == StatusCode::Ok && answer.next.is_some());
    let begun = begun.and_then(|rest| Some((OpenDocument::begin(style, &answer.body)?, rest)));
    let body = match begun {
        Some(((document, first), rest)) => {
            let content_type = HeaderValue::from_static(style.format.media_type());
            Some((content_type, ResponseBody::listing(first, document, rest)))
        }
        None => document(&answer, style).map(|(content_type, bytes)| (content_type, bytes.into())),
    };
    let status = match (answer.status, &body) {
        (StatusCode::Ok, None) => http::StatusCode::NO_CONTENT,
        (StatusCode::ServiceUnavailable, _) if dress.too_many => http::StatusCode::TOO_MANY_REQUESTS,
        (status, _) => http_status(status),
    };
    let mut response = Response::default();
    *response.status_mut() = status;
    headers(&answer, dress, status, response.headers_mut());
    if let Some((content_type, body)) = body {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        *response.body_mut() = body;
    }
    response
}

/// An answer as it goes to the contact of an asynchronous request (bindings.md 7). `public_uri` stands before local
/// addresses.
pub fn response_notify(
    style: impl Into<Style>,
    public_uri: &str,
    answer: &ResponsePrimitive,
) -> ResponseNotify {
    let text = |(content_type, bytes): (HeaderValue, Bytes)| {
        let content_type = content_type.to_str().unwrap_or("application/octet-stream").to_owned();
        (content_type, bytes)
    };
    let absolute = |uri: &String| match uri.starts_with('/') {
        true => format!("{public_uri}{uri}"),
        false => uri.clone(),
    };
    ResponseNotify {
        status: answer.status,
        body: document(answer, style.into()).map(text),
        location: answer.resource_uri.as_ref().map(absolute),
        etag: answer.etag.as_ref().map(|etag| format!("\"{etag}\"")),
        last_modified: answer.last_modified.and_then(http_date),
    }
}

/// Content is checked against Accept only now that its media type is known; so is a document that was let through
/// because the path looked like content.
fn unacceptable(answer: &ResponsePrimitive, dress: &Dress) -> Option<ResponsePrimitive> {
    let info = match &answer.body {
        Body::Raw { content_type, .. } if !dress.accept.allows(content_type) => {
            format!("Accept: the content is {content_type}")
        }
        Body::Representation(_) | Body::Attribute { .. } | Body::Message(_)
            if !dress.acceptable && answer.status == StatusCode::Ok =>
        {
            "Accept: neither application/xml nor application/json".to_owned()
        }
        _ => return None,
    };
    Some(ResponsePrimitive { info, ..ResponsePrimitive::status(StatusCode::NotAcceptable) })
}

/// The body with its Content-Type: the resource, the content, or for every error an errorInfo.
fn document(answer: &ResponsePrimitive, style: Style) -> Option<(HeaderValue, Bytes)> {
    let ours = || HeaderValue::from_static(style.format.media_type());
    if let Body::Raw { content_type, bytes } = &answer.body {
        let stored = HeaderValue::from_str(content_type);
        // A stored type that is no header value came in by XML, where anything may stand.
        let content_type = stored.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        return Some((content_type, bytes.clone()));
    }
    if let Some(bytes) = encode_body(style, &answer.body) {
        return Some((ours(), bytes));
    }
    match answer.status {
        StatusCode::Ok | StatusCode::Created | StatusCode::Accepted | StatusCode::NotModified => None,
        status => Some((ours(), error_info(style, status, &answer.info))),
    }
}

fn headers(answer: &ResponsePrimitive, dress: &Dress, status: http::StatusCode, headers: &mut HeaderMap) {
    if let Some(uri) = &answer.resource_uri {
        set(headers, header::LOCATION, absolute(uri, dress));
    }
    if let Some(etag) = &answer.etag {
        let is_raw = dress.content || matches!(answer.body, Body::Raw { .. });
        set(headers, header::ETAG, entity_tag(etag, (!is_raw).then_some(dress.format)));
    }
    if let Some(date) = answer.last_modified.and_then(http_date) {
        set(headers, header::LAST_MODIFIED, date);
    }
    if status == http::StatusCode::METHOD_NOT_ALLOWED {
        set(headers, header::ALLOW, allow(&answer.allow));
    }
    if let Some(millis) = answer.retry_after_ms {
        set(headers, header::RETRY_AFTER, millis.div_ceil(1000).max(1).to_string());
    }
    if status == http::StatusCode::UNAUTHORIZED
        && let Some(challenge) = dress.challenge
    {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    // Which format an answer is in, and whether there is one at all, Accept decides.
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if dress.retrieve {
        // What one entity may read, `From` tells: a shared cache would not know that.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if matches!(answer.body, Body::Raw { .. }) {
        // Content is anybody's: a browser must not guess a document out of it.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
}

/// The address as the client would write it.
fn absolute(uri: &str, dress: &Dress) -> String {
    match &dress.authority {
        Some(authority) if uri.starts_with('/') => {
            let scheme = if dress.secure { "https" } else { "http" };
            format!("{scheme}://{authority}{uri}")
        }
        _ => uri.to_owned(),
    }
}

/// The verbs of methods, each once.
fn allow(methods: &[Method]) -> String {
    let mut verbs: Vec<&str> = Vec::new();
    for method in methods {
        let verb = match method {
            Method::Retrieve => "GET",
            Method::Create | Method::Execute | Method::Notify => "POST",
            Method::Update => "PUT",
            Method::Delete => "DELETE",
        };
        if !verbs.contains(&verb) {
            verbs.push(verb);
        }
    }
    verbs.join(", ")
}

/// Sets a header made of stored text. One that cannot stand in a header is left out rather than failing the answer.
fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(failure) => tracing::warn!(%name, %failure, "a header value could not be written"),
    }
}
