//! The calling side of the mapping: a request primitive of ours becomes an HTTP request, an HTTP response becomes a
//! response primitive (bindings.md 2 to 4). The reverse of what [`super::Binding`] does.
//!
//! Nothing that came from a peer is believed to be well-formed: what cannot stand in an HTTP message refuses the
//! request, what cannot be read in an answer is left out, and a body that is none of ours stays octets.

use super::{
    conditions::{http_date, read_date, read_tags},
    criteria,
    names::{CONTACT_URI, CORRELATION_ID, GROUP_REQUEST, RCAT, TRPDT, spelled},
    via,
};
use banyan_codec::{Expect, Format, Limits, decode_content, encode_body, write_tolerated_delay};
use banyan_model::{
    Body, Method, Refusal, RequestPrimitive, ResponsePrimitive, StatusCode, primitive::Conditions,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};

/// How this SCL shows itself to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// SCL-ID, which goes into `Via`.
    pub scl_id: String,
    /// Scheme and authority that stand before local addresses: `http://nscl.example.com:8080`.
    pub public_uri: String,
}

impl Caller {
    /// Writes a request to an absolute URI. Its own target does not count: `uri` is where it goes, and may have a query
    /// already.
    ///
    /// # Errors
    /// The refusal that the request carries (a malformed body or query), or BAD_GATEWAY for what HTTP cannot carry.
    pub fn request(
        &self,
        primitive: &RequestPrimitive,
        uri: &str,
        format: Format,
    ) -> Result<Request<Bytes>, Refusal> {
        let criteria = primitive.filter.as_ref().map_err(Clone::clone)?;
        let uri = with_query(uri, &criteria::write(criteria))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = verb(primitive.method);
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        self.introduce(&primitive.requesting_entity.0, &primitive.via, headers)?;
        // A document in our format; but content has whatever type it was given.
        set(headers, header::ACCEPT, &format!("{}, */*;q=0.1", format.media_type()))?;
        if let Some(correlation) = &primitive.correlation {
            set(headers, CORRELATION_ID, &correlation.id)?;
            if let Some(contact) = &correlation.contact {
                set(headers, CONTACT_URI, &self.absolute(contact))?;
            }
        }
        if let Some(rcat) = primitive.rcat {
            set(headers, RCAT, &rcat.number().to_string())?;
        }
        if let Some(trpdt) = primitive.trpdt {
            set(headers, TRPDT, &write_tolerated_delay(trpdt))?;
        }
        if let Some(group_request) = &primitive.group_request {
            set(headers, GROUP_REQUEST, group_request)?;
        }
        write_conditions(&primitive.conditions, headers)?;
        if let Some((content_type, bytes)) = document(&primitive.body, format)? {
            set(headers, header::CONTENT_TYPE, &content_type)?;
            *request.body_mut() = bytes;
        }
        Ok(request)
    }

    /// Who asks, and through whom: `From` (V2.1.1) and `Via` with this SCL as the last.
    pub(super) fn introduce(
        &self,
        requesting_entity: &str,
        via_so_far: &[String],
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        set(headers, header::FROM, &self.absolute(requesting_entity))?;
        set(headers, header::VIA, &via::write(via_so_far, &self.scl_id))
    }

    /// An address as others would write it.
    pub fn absolute(&self, address: &str) -> String {
        match address.starts_with('/') {
            true => format!("{}{address}", self.public_uri),
            false => address.to_owned(),
        }
    }
}

/// Reads an answer.
pub fn response(answer: Response<Bytes>, limits: &Limits) -> ResponsePrimitive {
    let (head, bytes) = answer.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut primitive = ResponsePrimitive {
        resource_uri: text(header::LOCATION).map(str::to_owned),
        etag: read_tags(&head.headers, header::ETAG).into_iter().next(),
        last_modified: read_date(&head.headers, header::LAST_MODIFIED),
        allow: text(header::ALLOW).map(methods).unwrap_or_default(),
        retry_after_ms: text(header::RETRY_AFTER)
            .and_then(|seconds| seconds.trim().parse::<u32>().ok()?.checked_mul(1_000)),
        ..ResponsePrimitive::status(status_code(head.status))
    };
    let content_type = text(header::CONTENT_TYPE).unwrap_or("application/octet-stream");
    primitive.body = match decode_content(content_type, &bytes, limits, Expect::Any) {
        // Somebody else's XML: content, or an error page.
        Body::Malformed(_) => Body::Raw { content_type: content_type.to_owned(), bytes },
        body => body,
    };
    if !matches!(
        primitive.status,
        StatusCode::Ok | StatusCode::Created | StatusCode::Accepted | StatusCode::NotModified
    ) {
        // Whatever else a refusal carries (an error page) means nothing here.
        if let Body::Message(info) = std::mem::replace(&mut primitive.body, Body::None)
            && let Some(text) = info.text("additionalInfo")
        {
            primitive.info = text.to_owned();
        }
    }
    primitive
}

/// The status code of an HTTP status: the reverse of [`super::http_status`]. One that the binding does not know counts
/// by its class.
pub fn status_code(status: http::StatusCode) -> StatusCode {
    match status.as_u16() {
        201 => StatusCode::Created,
        202 => StatusCode::Accepted,
        200..=299 => StatusCode::Ok,
        304 => StatusCode::NotModified,
        401 => StatusCode::PermissionDenied,
        402 => StatusCode::RequestingEntityMissing,
        403 => StatusCode::Forbidden,
        404 => StatusCode::NotFound,
        405 => StatusCode::MethodNotAllowed,
        406 => StatusCode::NotAcceptable,
        408 => StatusCode::RequestTimeout,
        409 => StatusCode::Conflict,
        410 => StatusCode::Deleted,
        412 => StatusCode::PreconditionFailed,
        413 => StatusCode::PayloadTooLarge,
        415 => StatusCode::UnsupportedMediaType,
        400..=499 => StatusCode::BadRequest,
        501 => StatusCode::NotImplemented,
        502 => StatusCode::BadGateway,
        503 => StatusCode::ServiceUnavailable,
        504 => StatusCode::GatewayTimeout,
        500..=599 => StatusCode::InternalServerError,
        // Redirections are not followed, and 1xx is no answer.
        _ => StatusCode::BadGateway,
    }
}

fn verb(method: Method) -> http::Method {
    match method {
        Method::Retrieve => http::Method::GET,
        Method::Create | Method::Execute | Method::Notify => http::Method::POST,
        Method::Update => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
    }
}

fn methods(allow: &str) -> Vec<Method> {
    let read = |verb: &str| match verb.trim() {
        "GET" => Some(Method::Retrieve),
        "POST" => Some(Method::Create),
        "PUT" => Some(Method::Update),
        "DELETE" => Some(Method::Delete),
        _ => None,
    };
    allow.split(',').filter_map(read).collect()
}

fn with_query(uri: &str, query: &str) -> Result<Uri, Refusal> {
    let joint = if uri.contains('?') { "&" } else { "?" };
    let text = if query.is_empty() { uri.to_owned() } else { format!("{uri}{joint}{query}") };
    text.parse().map_err(|failure| refuse(&format!("{uri}: {failure}")))
}

fn document(body: &Body, format: Format) -> Result<Option<(String, Bytes)>, Refusal> {
    match body {
        Body::None => Ok(None),
        Body::Raw { content_type, bytes } => Ok(Some((content_type.clone(), bytes.clone()))),
        Body::Malformed(refusal) => Err(refusal.clone()),
        body => match encode_body(format, body) {
            Some(bytes) => Ok(Some((format.media_type().to_owned(), bytes))),
            None => Err(refuse("the body has no root element")),
        },
    }
}

fn write_conditions(conditions: &Conditions, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let quoted = |tag: &String| if tag == "*" { tag.clone() } else { format!("\"{tag}\"") };
    for (name, tags) in
        [(header::IF_MATCH, &conditions.if_match), (header::IF_NONE_MATCH, &conditions.if_none_match)]
    {
        if !tags.is_empty() {
            set(headers, name, &tags.iter().map(quoted).collect::<Vec<_>>().join(", "))?;
        }
    }
    for (name, at) in [
        (header::IF_MODIFIED_SINCE, conditions.if_modified_since),
        (header::IF_UNMODIFIED_SINCE, conditions.if_unmodified_since),
    ] {
        if let Some(date) = at.and_then(http_date) {
            set(headers, name, &date)?;
        }
    }
    Ok(())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Refusal> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| refuse(&format!("{}: the value cannot stand in a header", spelled(&name))))?;
    headers.insert(name, value);
    Ok(())
}

fn refuse(info: &str) -> Refusal {
    Refusal::new(StatusCode::BadGateway, info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::http_status;

    #[test]
    fn a_status_comes_back_as_it_went() {
        use StatusCode::*;
        for status in [
            Ok,
            Created,
            Accepted,
            NotModified,
            BadRequest,
            PermissionDenied,
            RequestingEntityMissing,
            Forbidden,
            NotFound,
            MethodNotAllowed,
            NotAcceptable,
            RequestTimeout,
            Conflict,
            Deleted,
            PreconditionFailed,
            PayloadTooLarge,
            UnsupportedMediaType,
            InternalServerError,
            NotImplemented,
            BadGateway,
            ServiceUnavailable,
            GatewayTimeout,
        ] {
            assert_eq!(status_code(http_status(status)), status);
        }
        for (other, expected) in [(204, Ok), (302, BadGateway), (418, BadRequest), (599, InternalServerError)]
        {
            assert_eq!(status_code(http::StatusCode::from_u16(other).unwrap()), expected);
        }
    }
}
