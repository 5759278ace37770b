//! The message bodies this SCL writes itself: errorInfo, notify and responseNotify.

use crate::{Format, Style, encode_message};
use banyan_model::{StatusCode, Value, value::Struct};
use bytes::Bytes;

/// The name of a status in the schema's enumeration StatusCode. A status without a name of its own is written as the
/// one that stands for it: CREATED as STATUS_OK, 402 as STATUS_PERMISSION_DENIED (D-5), 304, 412 and 413 as
/// STATUS_BAD_REQUEST.
pub fn status_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Ok | StatusCode::Created => "STATUS_OK",
        StatusCode::Accepted => "STATUS_ACCEPTED",
        StatusCode::BadRequest
        | StatusCode::NotModified
        | StatusCode::PreconditionFailed
        | StatusCode::PayloadTooLarge => "STATUS_BAD_REQUEST",
        StatusCode::PermissionDenied | StatusCode::RequestingEntityMissing => "STATUS_PERMISSION_DENIED",
        StatusCode::Forbidden => "STATUS_FORBIDDEN",
        StatusCode::NotFound => "STATUS_NOT_FOUND",
        StatusCode::MethodNotAllowed => "STATUS_METHOD_NOT_ALLOWED",
        StatusCode::NotAcceptable => "STATUS_NOT_ACCEPTABLE",
        StatusCode::RequestTimeout => "STATUS_REQUEST_TIMEOUT",
        StatusCode::Conflict => "STATUS_CONFLICT",
        StatusCode::UnsupportedMediaType => "STATUS_UNSUPPORTED_MEDIA_TYPE",
        StatusCode::InternalServerError => "STATUS_INTERNAL_SERVER_ERROR",
        StatusCode::NotImplemented => "STATUS_NOT_IMPLEMENTED",
        StatusCode::BadGateway => "STATUS_BAD_GATEWAY",
        StatusCode::ServiceUnavailable => "STATUS_SERVICE_UNAVAILABLE",
        StatusCode::GatewayTimeout => "STATUS_GATEWAY_TIMEOUT",
        StatusCode::Deleted => "STATUS_DELETED",
        StatusCode::Expired => "STATUS_EXPIRED",
    }
}

/// The status that a name of the enumeration stands for; with or without its `STATUS_`, and CREATED, which others send.
pub fn status_of(name: &str) -> Option<StatusCode> {
    let name = name.strip_prefix("STATUS_").unwrap_or(name);
    if name == "CREATED" {
        return Some(StatusCode::Created);
    }
    StatusCode::ALL.into_iter().find(|status| status_name(*status).strip_prefix("STATUS_") == Some(name))
}

/// errorInfo: the status and, unless empty, additionalInfo.
pub fn error_info(style: impl Into<Style>, status: StatusCode, info: &str) -> Bytes {
    let mut fields = vec![("statusCode", Value::Text(status_name(status).to_owned()))];
    if !info.is_empty() {
        fields.push(("additionalInfo", Value::Text(info.to_owned())));
    }
    message(style.into(), Struct { name: "ErrorInfo", fields })
}

/// What a notify carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carried {
    /// noRepresentation.
    Nothing,
    /// A representation.
    Document(Bytes),
    /// What stands in its place when the subscription's time is over.
    TimeoutReason(String),
}

/// notify. A document is what [`crate::encode_representation`] or (in a final notify) [`error_info`] wrote **in the
/// same format**; it is carried in base64 with the format as xmime:contentType.
pub fn notify(
    style: impl Into<Style>,
    status: StatusCode,
    carried: Carried,
    subscription_reference: &str,
) -> Bytes {
    let style = style.into();
    message(style, notify_body(style.format, status, carried, subscription_reference))
}

/// The same before it is written, for a receiver inside this SCL.
pub fn notify_body(
    format: Format,
    status: StatusCode,
    carried: Carried,
    subscription_reference: &str,
) -> Struct {
    let mut fields = vec![("statusCode", Value::Text(status_name(status).to_owned()))];
    match carried {
        Carried::Nothing => {}
        Carried::Document(bytes) => {
            let content_type = Some(format.media_type().to_owned());
            fields.push(("representation", Value::Binary { content_type, bytes }));
        }
        Carried::TimeoutReason(reason) => fields.push(("timeoutReason", Value::Text(reason))),
    }
    fields.push(("subscriptionReference", Value::Text(subscription_reference.to_owned())));
    Struct { name: "Notify", fields }
}

/// The answer to a request that was accepted before (bindings.md 7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseNotify {
    /// What came of it; CREATED is written as STATUS_OK beside its location (D-2).
    pub status: StatusCode,
    /// Content-Type and body of the answer: a resource, raw content, or in a refusal the [`error_info`].
    pub body: Option<(String, Bytes)>,
    /// Location, absolute.
    pub location: Option<String>,
    /// ETag with its quotes.
    pub etag: Option<String>,
    /// Last-Modified, an HTTP-date.
    pub last_modified: Option<String>,
}

/// responseNotify. The body is carried in base64 with its own Content-Type as xmime:contentType; what would have been
/// headers stands as text.
pub fn response_notify(style: impl Into<Style>, answer: ResponseNotify) -> Bytes {
    message(style.into(), response_notify_body(answer))
}

/// The same before it is written, for a receiver inside this SCL.
pub fn response_notify_body(answer: ResponseNotify) -> Struct {
    let ResponseNotify { status, body, location, etag, last_modified } = answer;
    let mut fields = vec![("statusCode", Value::Text(status_name(status).to_owned()))];
    if let Some((content_type, bytes)) = body {
        fields.push(("representation", Value::Binary { content_type: Some(content_type), bytes }));
    }
    let headers = [("locationHeader", location), ("etagHeader", etag), ("lastModifiedHeader", last_modified)];
    fields.extend(headers.into_iter().filter_map(|(name, text)| Some((name, Value::Text(text?)))));
    Struct { name: "ResponseNotify", fields }
}

fn message(style: Style, message: Struct) -> Bytes {
    encode_message(style, &message)
        .expect("ErrorInfo, Notify and ResponseNotify have root elements (tested below)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expect, Limits, decode};
    use banyan_model::Body;

    #[test]
    fn every_status_has_a_name_of_the_schema() {
        let schema = banyan_model::tables::enum_def("StatusCode").unwrap();
        for status in StatusCode::ALL {
            assert!(schema.values.iter().any(|(v2, _)| *v2 == status_name(status)), "{status:?}");
        }
    }

    #[test]
    fn a_final_notify_carries_an_error_info_in_its_own_format() {
        for format in [Format::Xml, Format::Json] {
            let inner = error_info(format, StatusCode::Deleted, "subscribed-to resource deleted");
            let outer = notify(
                format,
                StatusCode::Deleted,
                Carried::Document(inner.clone()),
                "/m2m/applications/subscriptions/s1",
            );
            let Body::Message(read) = decode(format, &outer, &Limits::default(), Expect::Message("notify"))
            else {
                panic!("{}", String::from_utf8_lossy(&outer));
            };
            assert_eq!(read.get("statusCode"), Some(&Value::Text("STATUS_DELETED".into())));
            let expected = Value::Binary { content_type: Some(format.media_type().into()), bytes: inner };
            assert_eq!(read.get("representation"), Some(&expected));
        }
    }

    fn answer(status: StatusCode) -> ResponseNotify {
        ResponseNotify { status, body: None, location: None, etag: None, last_modified: None }
    }

    fn read_again(format: Format, written: &Bytes) -> Struct {
        match decode(format, written, &Limits::default(), Expect::Message("responseNotify")) {
            Body::Message(read) => read,
            _ => panic!("{}", String::from_utf8_lossy(written)),
        }
    }

    #[test]
    fn a_successful_create_is_an_ok_with_its_location() {
        for format in [Format::Xml, Format::Json] {
            let created = ResponseNotify {
                location: Some("http://h/m2m/applications/a?x=1&y=<2>".to_owned()),
                etag: Some("\"v1\"".to_owned()),
                last_modified: Some("Fri, 31 May 2013 12:07:00 GMT".to_owned()),
                ..answer(StatusCode::Created)
            };
            let read = read_again(format, &response_notify(format, created.clone()));
            let text = |text: Option<String>| text.map(Value::Text);
            assert_eq!(read.get("statusCode"), Some(&Value::Text("STATUS_OK".into())));
            assert_eq!(read.get("locationHeader").cloned(), text(created.location));
            assert_eq!(read.get("etagHeader").cloned(), text(created.etag));
            assert_eq!(read.get("lastModifiedHeader").cloned(), text(created.last_modified));
            assert_eq!(read.get("representation"), None);
        }
    }

    #[test]
    fn an_answer_carries_its_body_whatever_its_media_type() {
        for format in [Format::Xml, Format::Json] {
            let refused = error_info(Format::Json, StatusCode::NotFound, "no such resource");
            for (status, content_type, bytes) in [
                (StatusCode::NotFound, "application/json", refused),
                (StatusCode::Ok, "image/png", Bytes::from_static(b"\x89PNG\r\n\0")),
            ] {
                let body = Some((content_type.to_owned(), bytes.clone()));
                let read =
                    read_again(format, &response_notify(format, ResponseNotify { body, ..answer(status) }));
                assert_eq!(read.get("statusCode"), Some(&Value::Text(status_name(status).into())));
                let expected = Value::Binary { content_type: Some(content_type.into()), bytes };
                assert_eq!(read.get("representation"), Some(&expected));
                assert_eq!(read.fields.len(), 2);
            }
        }
    }
}
