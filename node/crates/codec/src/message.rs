//! The message bodies this SCL writes itself: errorInfo and notify.

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

/// errorInfo: the status and, unless empty, additionalInfo.
pub fn error_info(style: impl Into<Style>, status: StatusCode, info: &str) -> Bytes {
    let mut fields = vec![("statusCode", Value::Text(status_name(status).to_owned()))];
    if !info.is_empty() {
        fields.push(("additionalInfo", Value::Text(info.to_owned())));
    }
    message(style.into(), Struct { name: "ErrorInfo", fields })
}

/// notify. `document` is what [`crate::encode_representation`] or (in a final notify) [`error_info`] wrote **in the
/// same format**; it is carried in base64 with the format as xmime:contentType. `None`: noRepresentation.
pub fn notify(
    style: impl Into<Style>,
    status: StatusCode,
    document: Option<Bytes>,
    subscription_reference: &str,
) -> Bytes {
    let style = style.into();
    message(style, notify_body(style.format, status, document, subscription_reference))
}

/// The same before it is written, for a receiver inside this SCL.
pub fn notify_body(
    format: Format,
    status: StatusCode,
    document: Option<Bytes>,
    subscription_reference: &str,
) -> Struct {
    let mut fields = vec![("statusCode", Value::Text(status_name(status).to_owned()))];
    if let Some(bytes) = document {
        let content_type = Some(format.media_type().to_owned());
        fields.push(("representation", Value::Binary { content_type, bytes }));
    }
    fields.push(("subscriptionReference", Value::Text(subscription_reference.to_owned())));
    Struct { name: "Notify", fields }
}

fn message(style: Style, message: Struct) -> Bytes {
    encode_message(style, &message).expect("ErrorInfo and Notify have root elements (tested below)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expect, Limits, decode};
    use banyan_model::Body;

    #[test]
    fn every_status_has_a_name_of_the_schema() {
        use StatusCode::*;
        let schema = banyan_model::tables::enum_def("StatusCode").unwrap();
        for status in [
            Ok,
            Created,
            Accepted,
            BadRequest,
            PermissionDenied,
            Forbidden,
            NotFound,
            MethodNotAllowed,
            NotAcceptable,
            RequestTimeout,
            Conflict,
            UnsupportedMediaType,
            InternalServerError,
            NotImplemented,
            BadGateway,
            ServiceUnavailable,
            GatewayTimeout,
            Deleted,
            Expired,
            NotModified,
            PreconditionFailed,
            RequestingEntityMissing,
            PayloadTooLarge,
        ] {
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
                Some(inner.clone()),
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
}
