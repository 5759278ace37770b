//! If-Match and its kin, against one resource as it stands.

use crate::{Refusal, StatusCode, Timestamp, primitive::Conditions};

/// Whether a write may go on.
///
/// # Errors
/// STATUS PreconditionFailed.
pub fn check(conditions: &Conditions, etag: &str, modified: Option<Timestamp>) -> Result<(), Refusal> {
    let names = |list: &[String]| list.iter().any(|known| known == "*" || known == etag);
    let met = (conditions.if_match.is_empty() || names(&conditions.if_match))
        && !names(&conditions.if_none_match)
        && conditions.if_modified_since.is_none_or(|since| modified.is_none_or(|m| m > since))
        && conditions.if_unmodified_since.is_none_or(|since| modified.is_none_or(|m| m <= since));
    if met { Ok(()) } else { Err(Refusal::new(StatusCode::PreconditionFailed, "the resource has changed")) }
}
