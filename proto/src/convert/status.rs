//! Status codes as numbers. Recorded replies hold them: a number is never changed or reused; 0 is no status.

use super::Malformed;
use banyan_model::StatusCode;

macro_rules! numbers {
    ($($name:ident = $number:literal,)*) => {
        /// The number of a status.
        pub fn number(status: StatusCode) -> u32 {
            match status {
                $(StatusCode::$name => $number,)*
            }
        }

        /// The status with this number.
        ///
        /// # Errors
        /// [`Malformed::Unknown`].
        pub fn status(number: u32) -> Result<StatusCode, Malformed> {
            match number {
                $($number => Ok(StatusCode::$name),)*
                other => Err(Malformed::unknown("status", other)),
            }
        }

        #[cfg(test)]
        pub(super) const ALL: &[StatusCode] = &[$(StatusCode::$name,)*];
    };
}

numbers! {
    Ok = 1,
    Created = 2,
    Accepted = 3,
    BadRequest = 4,
    PermissionDenied = 5,
    Forbidden = 6,
    NotFound = 7,
    MethodNotAllowed = 8,
    NotAcceptable = 9,
    RequestTimeout = 10,
    Conflict = 11,
    UnsupportedMediaType = 12,
    InternalServerError = 13,
    NotImplemented = 14,
    BadGateway = 15,
    ServiceUnavailable = 16,
    GatewayTimeout = 17,
    Deleted = 18,
    Expired = 19,
    NotModified = 20,
    PreconditionFailed = 21,
    RequestingEntityMissing = 22,
    PayloadTooLarge = 23,
}
