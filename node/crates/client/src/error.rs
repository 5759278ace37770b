//! Why the cluster gave no answer.

use banyan_model::{ResponsePrimitive, StatusCode};
use banyan_proto::convert::Malformed;
use std::time::Duration;

/// Why the cluster gave no answer. A refusal by the tree is an answer (`StatusCode`), not an error.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Too much under way here or at the node. Nothing was done; ask again after a while.
    #[error("busy, retry after {retry_after:?}")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// Nobody who could do it was found. Nothing was done; ask again after a while.
    #[error("unavailable: {why}, retry after {retry_after:?}")]
    Unavailable {
        /// What was missing: the map, a leader, time.
        why: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// It was sent and may still be done. A new request may do it a second time.
    #[error("no outcome after {waited:?}")]
    OutcomeUnknown {
        /// How long we waited.
        waited: Duration,
    },
    /// The node would not take it whatever the tree says: two releases that do not fit, or a role that may not ask.
    #[error("refused by the node: {0}")]
    Refused(String),
    /// The answer cannot be read by this release. The request was done.
    #[error("unreadable answer")]
    Answer(#[from] Malformed),
}

impl RequestError {
    /// What the issuer is told.
    ///
    /// | error | status |
    /// | --- | --- |
    /// | `Busy`, `Unavailable` | SERVICE_UNAVAILABLE with the time after which to try again: nothing was done |
    /// | `OutcomeUnknown` | REQUEST_TIMEOUT: it may be done; look before you send another |
    /// | `Refused`, `Answer` | INTERNAL_SERVER_ERROR |
    pub fn response(&self) -> ResponsePrimitive {
        let (status, info) = match self {
            RequestError::Busy { .. } => {
                (StatusCode::ServiceUnavailable, "too many requests under way".to_owned())
            }
            RequestError::Unavailable { why, .. } => (StatusCode::ServiceUnavailable, (*why).to_owned()),
            RequestError::OutcomeUnknown { .. } => (
                StatusCode::RequestTimeout,
                "no outcome in time; the request may still be carried out".to_owned(),
            ),
            RequestError::Refused(_) | RequestError::Answer(_) => {
                (StatusCode::InternalServerError, String::new())
            }
        };
        let retry_after_ms =
            self.retry_after().map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
        ResponsePrimitive { info, retry_after_ms, ..ResponsePrimitive::status(status) }
    }

    /// When the same may be asked again without fear of doing it twice; `None`: never.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            RequestError::Busy { retry_after } | RequestError::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            RequestError::OutcomeUnknown { .. } | RequestError::Refused(_) | RequestError::Answer(_) => None,
        }
    }
}
