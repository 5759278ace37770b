//! The wall clock, read here and nowhere else. What must not go back is made so by its user.

use banyan_model::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, UTC; the beginning of it if the machine thinks to be before.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
