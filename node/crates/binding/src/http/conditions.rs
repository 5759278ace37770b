//! If-Match and its kin. A date that cannot be read is ignored, as RFC 9110 13.1.3 asks.

use banyan_codec::{Format, is_of_other_format};
use banyan_model::{Timestamp, primitive::Conditions};
use http::{HeaderMap, HeaderName, header};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) fn read(headers: &HeaderMap) -> Conditions {
    Conditions {
        if_match: read_tags(headers, header::IF_MATCH),
        if_none_match: read_tags(headers, header::IF_NONE_MATCH),
        if_modified_since: read_date(headers, header::IF_MODIFIED_SINCE),
        if_unmodified_since: read_date(headers, header::IF_UNMODIFIED_SINCE),
    }
}

/// Of the tags in an If-None-Match of a GET, those of representations in other formats: they match nothing, for what the
/// client has is not what it would be sent.
pub(super) fn in_format(tags: &mut [String], format: Format) {
    for tag in tags.iter_mut().filter(|tag| is_of_other_format(tag, format)) {
        tag.clear();
    }
}

/// An HTTP-date; whole seconds only. `None` outside 1970..9999.
pub(super) fn http_date(at: Timestamp) -> Option<String> {
    let seconds = u64::try_from(at.0.div_euclid(1000)).ok()?;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    const LAST: u64 = 253_402_300_799;
    (seconds <= LAST).then(|| httpdate::fmt_http_date(time))
}

pub(super) fn read_date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    let parsed = httpdate::parse_http_date(text).ok().and_then(|time: SystemTime| {
        let millis = time.duration_since(UNIX_EPOCH).ok()?.as_millis();
        i64::try_from(millis).ok().map(Timestamp)
    });
    // M2M clients are known to send xsd:dateTime here.
    parsed.or_else(|| Timestamp::parse(text))
}

/// Entity tags without quotes and without the weakness mark, which means nothing for opaque eTags; `*` as itself.
pub(super) fn read_tags(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(list).collect()
}

pub(super) fn list(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return found;
        }
        let body = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, after) = match body.strip_prefix('"') {
            // A quoted tag may contain commas.
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => body.split_at(body.find(',').unwrap_or(body.len())),
        };
        found.push(tag.trim().to_owned());
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_lose_quotes_and_weakness() {
        for (text, expected) in [
            ("\"a\"", vec!["a"]),
            ("W/\"a\", \"b,c\" , d", vec!["a", "b,c", "d"]),
            ("*", vec!["*"]),
            ("", vec![]),
            ("\"open", vec!["open"]),
        ] {
            assert_eq!(list(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_go_both_ways_and_rubbish_is_ignored() {
        let at = Timestamp(1_370_001_720_123);
        assert_eq!(http_date(at).as_deref(), Some("Fri, 31 May 2013 12:02:00 GMT"));
        assert_eq!(http_date(Timestamp(-1)), None);
        assert_eq!(http_date(Timestamp(i64::MAX)), None);
        let mut headers = HeaderMap::new();
        for (text, expected) in [
            ("Fri, 31 May 2013 12:02:00 GMT", Some(Timestamp(1_370_001_720_000))),
            ("2013-05-31T12:02:00.123Z", Some(at)),
            ("yesterday", None),
        ] {
            headers.insert(header::IF_MODIFIED_SINCE, text.parse().unwrap());
            assert_eq!(read(&headers).if_modified_since, expected, "{text}");
        }
    }
}
