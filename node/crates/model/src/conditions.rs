//! Conditional requests (procedures.md 1.2 step 7): If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.
//!
//! A condition in whole seconds is compared with whole seconds: HTTP dates carry no more, so a client that sends back
//! what it was told must not be taken for outdated. Who needs better than a second uses the eTag.

use crate::{Refusal, StatusCode, Timestamp, primitive::Conditions};

/// Whether a RETRIEVE is to be answered in full; `NotModified` or `PreconditionFailed` otherwise.
pub fn for_read(
    conditions: &Conditions,
    etag: &str,
    last_modified: Option<Timestamp>,
) -> Result<(), Refusal> {
    unchanged(conditions, etag, last_modified)?;
    // As in HTTP, the eTag decides alone where it is given.
    let modified = match (conditions.if_none_match.as_slice(), conditions.if_modified_since, last_modified) {
        ([], Some(since), Some(at)) => in_units_of(since, at) > since,
        (etags, _, _) => !matches(etags, etag),
    };
    if modified { Ok(()) } else { Err(Refusal::new(StatusCode::NotModified, "")) }
}

/// Whether a write may go on; `PreconditionFailed` otherwise.
pub fn for_write(
    conditions: &Conditions,
    etag: &str,
    last_modified: Option<Timestamp>,
) -> Result<(), Refusal> {
    unchanged(conditions, etag, last_modified)?;
    if matches(&conditions.if_none_match, etag) {
        return Err(failed("If-None-Match"));
    }
    match (conditions.if_modified_since, last_modified) {
        (Some(since), Some(at)) if in_units_of(since, at) <= since => Err(failed("If-Modified-Since")),
        _ => Ok(()),
    }
}

/// If-Match and If-Unmodified-Since mean the same for reads and writes.
fn unchanged(conditions: &Conditions, etag: &str, last_modified: Option<Timestamp>) -> Result<(), Refusal> {
    if !conditions.if_match.is_empty() && !matches(&conditions.if_match, etag) {
        return Err(failed("If-Match"));
    }
    match (conditions.if_unmodified_since, last_modified) {
        (Some(since), Some(at)) if in_units_of(since, at) > since => Err(failed("If-Unmodified-Since")),
        _ => Ok(()),
    }
}

fn matches(etags: &[String], etag: &str) -> bool {
    etags.iter().any(|given| given == "*" || resource_tag(given) == etag)
}

/// The eTag of the resource in an entity tag as a binding shows it: with quotes, perhaps weak, and with a dot before
/// what says which representation of the resource it is. Our own eTags hold no dot.
pub fn resource_tag(given: &str) -> &str {
    let opaque = given.trim();
    let opaque = opaque.strip_prefix("W/").unwrap_or(opaque).trim_matches('"');
    opaque.split('.').next().unwrap_or_default()
}

fn in_units_of(since: Timestamp, at: Timestamp) -> Timestamp {
    if since.0.rem_euclid(1000) == 0 { Timestamp(at.0 - at.0.rem_euclid(1000)) } else { at }
}

fn failed(condition: &str) -> Refusal {
    Refusal::new(StatusCode::PreconditionFailed, format!("{condition}: does not hold"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `conditions` against a resource with eTag `e1`, last modified at 10.5 s.
    fn check(conditions: &Conditions, read: StatusCode, write: StatusCode) {
        let status = |result: Result<(), Refusal>| result.err().map_or(StatusCode::Ok, |r| r.status);
        let at = Some(Timestamp(10_500));
        assert_eq!(status(for_read(conditions, "e1", at)), read, "read, {conditions:?}");
        assert_eq!(status(for_write(conditions, "e1", at)), write, "write, {conditions:?}");
    }

    #[test]
    fn conditions_stop_reads_and_writes() {
        use StatusCode::{NotModified, Ok, PreconditionFailed as Failed};
        for given in ["e1", "\"e1\"", "W/\"e1\"", "e1.xml", "\"e1.json\""] {
            let conditions = Conditions { if_match: vec![given.to_owned()], ..Conditions::default() };
            check(&conditions, Ok, Ok);
        }
        let tags = |tags: &[&str]| tags.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let time = |ms| Some(Timestamp(ms));
        for (given, read, write) in [(&[][..], Ok, Ok), (&["e1"], Ok, Ok), (&["x", "*"], Ok, Ok)] {
            check(&Conditions { if_match: tags(given), ..Conditions::default() }, read, write);
        }
        check(&Conditions { if_match: tags(&["e0"]), ..Conditions::default() }, Failed, Failed);
        for (given, read, write) in [(&["e0"][..], Ok, Ok), (&["e0", "e1"], NotModified, Failed)] {
            check(&Conditions { if_none_match: tags(given), ..Conditions::default() }, read, write);
        }
        check(&Conditions { if_none_match: tags(&["*"]), ..Conditions::default() }, NotModified, Failed);
        for (ms, read, write) in [
            (9_000, Ok, Ok),
            (10_000, NotModified, Failed),
            (10_400, Ok, Ok),
            (10_500, NotModified, Failed),
            (11_000, NotModified, Failed),
        ] {
            check(&Conditions { if_modified_since: time(ms), ..Conditions::default() }, read, write);
        }
        for (ms, both) in [(9_000, Failed), (10_000, Ok), (10_400, Failed), (10_500, Ok), (11_000, Ok)] {
            check(&Conditions { if_unmodified_since: time(ms), ..Conditions::default() }, both, both);
        }
    }

    #[test]
    fn the_etag_decides_alone_where_it_is_given() {
        let conditions = Conditions {
            if_none_match: vec!["e0".into()],
            if_modified_since: Some(Timestamp(11_000)),
            ..Conditions::default()
        };
        assert_eq!(for_read(&conditions, "e1", Some(Timestamp(10_500))), Ok(()));
    }
}
