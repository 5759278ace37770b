//! Accept (RFC 9110 12.5.1): which format an answer is written in.

use banyan_codec::Format;
use http::{HeaderMap, header};

/// What the client accepts. Ranges that cannot be read accept nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Accept {
    /// `None`: anything.
    ranges: Option<Vec<Range>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Range {
    main: String,
    sub: String,
    /// Thousandths.
    quality: u16,
}

impl Accept {
    pub(super) fn read(headers: &HeaderMap) -> Accept {
        let texts: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if texts.iter().all(|text| text.trim().is_empty()) {
            return Accept { ranges: None };
        }
        let parts = texts.iter().flat_map(|text| text.split(','));
        Accept { ranges: Some(parts.filter_map(Range::read).collect()) }
    }

    /// The format to answer in; among equals `preferred`. `None`: neither is acceptable.
    pub(super) fn choose(&self, preferred: Format) -> Option<Format> {
        let other = match preferred {
            Format::Xml => Format::Json,
            Format::Json => Format::Xml,
        };
        let (first, second) = (self.format_quality(preferred), self.format_quality(other));
        match first.max(second) {
            0 => None,
            best if best == first => Some(preferred),
            _ => Some(other),
        }
    }

    /// Whether content of this media type may be sent.
    pub(super) fn allows(&self, media_type: &str) -> bool {
        self.quality(media_type) > 0
    }

    fn format_quality(&self, format: Format) -> u16 {
        match format {
            // Old clients ask for text/xml by name; a wildcard that would cover it says nothing about XML.
            Format::Xml => self.quality("application/xml").max(self.named("text", "xml")),
            Format::Json => self.quality("application/json"),
        }
    }

    fn named(&self, main: &str, sub: &str) -> u16 {
        let ranges = self.ranges.iter().flatten();
        ranges
            .filter(|range| range.main == main && range.sub == sub)
            .map(|range| range.quality)
            .max()
            .unwrap_or(0)
    }

    /// The quality of the most specific range that matches.
    fn quality(&self, media_type: &str) -> u16 {
        let Some(ranges) = &self.ranges else { return 1000 };
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (main, sub) = essence.split_once('/').unwrap_or((&essence, ""));
        let specificity = |range: &Range| match (range.main.as_str(), range.sub.as_str()) {
            ("*", "*") => Some(0),
            (m, "*") if m == main => Some(1),
            (m, s) if m == main && s == sub => Some(2),
            _ => None,
        };
        let matching = ranges.iter().filter_map(|range| Some((specificity(range)?, range.quality)));
        matching.max().map_or(0, |(_, quality)| quality)
    }
}

impl Range {
    fn read(text: &str) -> Option<Range> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = thousandths(value.trim())?;
            }
        }
        Some(Range { main: main.trim().to_ascii_lowercase(), sub: sub.trim().to_ascii_lowercase(), quality })
    }
}

/// `0.875` -> 875: `qvalue` has at most three decimals and is at most 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: u16 = if digits { format!("{fraction:0<3}").parse().ok()? } else { return None };
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(header: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, header.parse().unwrap());
        Accept::read(&headers)
    }

    #[test]
    fn the_best_quality_wins_and_the_body_format_breaks_ties() {
        let table = [
            ("", Some(Format::Xml), Some(Format::Json)),
            ("*/*", Some(Format::Xml), Some(Format::Json)),
            ("application/*", Some(Format::Xml), Some(Format::Json)),
            ("application/xml", Some(Format::Xml), Some(Format::Xml)),
            ("text/xml", Some(Format::Xml), Some(Format::Xml)),
            ("APPLICATION/JSON", Some(Format::Json), Some(Format::Json)),
            ("application/xml;q=0.5, application/json", Some(Format::Json), Some(Format::Json)),
            ("application/xml; q=0.8, application/json; q=0.799", Some(Format::Xml), Some(Format::Xml)),
            ("application/json;charset=utf-8", Some(Format::Json), Some(Format::Json)),
            ("*/*;q=0.1, application/json;q=0", Some(Format::Xml), Some(Format::Xml)),
            (
                "application/*;q=0.2, */*;q=0.9, application/json;q=0.3",
                Some(Format::Json),
                Some(Format::Json),
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Some(Format::Xml),
                Some(Format::Xml),
            ),
            ("image/png", None, None),
            ("application/xml;q=0, application/json;q=0.0", None, None),
            ("application/xml;q=2", None, None),
            ("rubbish", None, None),
        ];
        for (header, with_xml, with_json) in table {
            let accept = accept(header);
            assert_eq!(
                (accept.choose(Format::Xml), accept.choose(Format::Json)),
                (with_xml, with_json),
                "{header}"
            );
        }
    }

    #[test]
    fn several_accept_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, "image/png".parse().unwrap());
        headers.append(header::ACCEPT, "application/json".parse().unwrap());
        let accept = Accept::read(&headers);
        assert_eq!(accept.choose(Format::Xml), Some(Format::Json));
        assert!(accept.allows("image/png"));
        assert!(!accept.allows("text/plain; charset=utf-8"));
    }
}
