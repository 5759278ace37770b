//! The header names of the binding that are not HTTP's own (bindings.md 3), and how the standard spells them.

use http::HeaderName;

/// correlationID.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-etsi-correlationid");
pub(super) const CONTACT_URI: HeaderName = HeaderName::from_static("x-etsi-contacturi");
pub(super) const RCAT: HeaderName = HeaderName::from_static("x-etsi-rcat");
pub(super) const TRPDT: HeaderName = HeaderName::from_static("x-etsi-trpdt");
/// groupRequestIdentifier; the standard names no header for it.
pub(super) const GROUP_REQUEST: HeaderName = HeaderName::from_static("x-etsi-grouprequestidentifier");

const SPELLINGS: [(HeaderName, &str); 5] = [
    (CORRELATION_ID, "X-etsi-correlationID"),
    (CONTACT_URI, "X-etsi-contactURI"),
    (RCAT, "X-etsi-rcat"),
    (TRPDT, "X-etsi-trpdt"),
    (GROUP_REQUEST, "X-etsi-groupRequestIdentifier"),
];

/// A name as whoever reads a refusal knows it.
pub(super) fn spelled(name: &HeaderName) -> &str {
    SPELLINGS.iter().find(|(known, _)| known == name).map_or(name.as_str(), |(_, spelling)| spelling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spelling_is_the_name_in_other_letters() {
        for (name, spelling) in SPELLINGS {
            assert_eq!(spelling.to_ascii_lowercase(), name.as_str());
            assert_eq!(spelled(&name), spelling);
        }
        assert_eq!(spelled(&http::header::VIA), "via");
    }
}
