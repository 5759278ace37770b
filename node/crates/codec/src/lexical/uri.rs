//! What may stand where the schemas say xs:anyURI: a URI reference (RFC 3986). What a URI would have to escape (blanks,
//! letters beyond ASCII, braces) stands there as it is; whoever follows it escapes it.

/// Whether a schema processor takes this for an xs:anyURI.
pub(super) fn is_any_uri(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (hierarchy, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = match hierarchy.split_once(':') {
        // A colon behind the first slash is part of a segment.
        Some((scheme, _)) if scheme.contains('/') => (None, hierarchy),
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, hierarchy),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or((rest, ""), |at| rest.split_at(at)),
        None => ("", rest),
    };
    scheme.is_none_or(is_scheme)
        && is_authority(authority)
        && consists_of(path, ":@/")
        && consists_of(query, ":@/?")
        && consists_of(fragment, ":@/?")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// `[user@]host[:port]`, the host a name or something in brackets.
fn is_authority(text: &str) -> bool {
    let (user, host) = text.split_once('@').unwrap_or(("", text));
    let (host, port) = match host.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((literal, port)) if consists_of(literal, ":") => ("", port),
            _ => return false,
        },
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    // 99,999 is no port, but what no schema processor minds.
    let is_port = |digits: &str| matches!(digits.len(), 1..=5) && digits.bytes().all(|b| b.is_ascii_digit());
    let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    consists_of(user, ":") && consists_of(host, "") && has_port
}

/// Nothing but plain characters, whole escapes and these.
fn consists_of(text: &str, others: &str) -> bool {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let fits = match c {
            '%' => {
                [rest.next(), rest.next()].iter().all(|digit| digit.is_some_and(|d| d.is_ascii_hexdigit()))
            }
            '#' | '[' | ']' | ':' | '@' | '/' | '?' => others.contains(c),
            _ => true,
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_any_uri;

    /// As libxml2 has it.
    #[test]
    fn a_uri_reference_is_told_from_what_is_none() {
        for uri in [
            "",
            "a",
            "a b",
            "a%20b",
            "a:b",
            "a:",
            "a+b:c",
            "urn:x",
            "mailto:a@b",
            "./a:b",
            "a/b:c",
            "/a:b",
            "@a",
            "?x",
            "#x",
            "a#b",
            "a?b?c",
            "é",
            "a{b}",
            "a|b^c\\d",
            "!$'()*+,;=",
            "http:///x",
            "//h/x",
            "http://h/a:b",
            "http://:80/x",
            "http://user:pw@h/x",
            "http://[::1]:80/x",
            "http://é/",
            "http://h?x",
            "http://h#x",
        ] {
            assert!(is_any_uri(uri), "{uri}");
        }
        for other in [
            "a%zz",
            "a%2",
            "%",
            "1a:b",
            ":a",
            "+a:b",
            "a@b:c",
            "12:30",
            "a[b",
            "a]b",
            "a#b#c",
            "http://h:x/",
            "http://h:80x/a",
            "http://h:/a",
            "http://a@b@c/x",
            "http://[::1",
            "http://[::1]80/",
            "http://h/x[1]",
            "http://h:999999/",
        ] {
            assert!(!is_any_uri(other), "{other}");
        }
    }
}
