//! Status codes of TS 102 921 (tables/status.csv) and refusals made of them.

use std::fmt;

/// A status without its `STATUS_` prefix. The protocol codes are the binding's business.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum StatusCode {
    Ok,
    /// `STATUS_CREATED` inside an SCL; the schema only has STATUS_OK.
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
    /// No STATUS_ name: HTTP 304.
    NotModified,
    /// No STATUS_ name: HTTP 412.
    PreconditionFailed,
    /// requestingEntity missing: HTTP 402, errorInfo STATUS_PERMISSION_DENIED (D-5).
    RequestingEntityMissing,
    /// HTTP 413, errorInfo STATUS_BAD_REQUEST.
    PayloadTooLarge,
}

impl StatusCode {
    /// Every status. Of those that share a STATUS_ name, the one it stands for comes first.
    pub const ALL: [StatusCode; 23] = [
        StatusCode::Ok,
        StatusCode::Created,
        StatusCode::Accepted,
        StatusCode::BadRequest,
        StatusCode::PermissionDenied,
        StatusCode::Forbidden,
        StatusCode::NotFound,
        StatusCode::MethodNotAllowed,
        StatusCode::NotAcceptable,
        StatusCode::RequestTimeout,
        StatusCode::Conflict,
        StatusCode::UnsupportedMediaType,
        StatusCode::InternalServerError,
        StatusCode::NotImplemented,
        StatusCode::BadGateway,
        StatusCode::ServiceUnavailable,
        StatusCode::GatewayTimeout,
        StatusCode::Deleted,
        StatusCode::Expired,
        StatusCode::NotModified,
        StatusCode::PreconditionFailed,
        StatusCode::RequestingEntityMissing,
        StatusCode::PayloadTooLarge,
    ];
}

/// A request that the tree refuses: an answer, not an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// errorInfo/additionalInfo: which attribute and why. Empty where a reason would tell too much.
    pub info: String,
    /// With `MethodNotAllowed`: the methods that exist here.
    pub allow: Vec<crate::Method>,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(status: StatusCode, info: impl Into<String>) -> Refusal {
        Refusal { status, info: info.into(), allow: Vec::new() }
    }

    /// STATUS_BAD_REQUEST naming the attribute.
    pub fn attribute(name: &str, why: impl fmt::Display) -> Refusal {
        Refusal::new(StatusCode::BadRequest, format!("{name}: {why}"))
    }

    /// STATUS_NOT_FOUND that says nothing more: absent and hidden look the same.
    pub fn not_found() -> Refusal {
        Refusal::new(StatusCode::NotFound, "no such resource")
    }
}
