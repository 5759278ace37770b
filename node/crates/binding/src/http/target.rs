//! The address of a request: request-URI, Host, sclBase and what stands below it.

use crate::percent;
use banyan_model::{Path, Refusal, Scl, StatusCode};
use http::{HeaderMap, Uri, Version, header, uri::Authority};

/// An address that could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// The authority the client used; `None` only with HTTP/1.0.
    pub(super) authority: Option<String>,
    /// Whether that means this SCL.
    pub(super) ours: bool,
    /// The path, where the address is this SCL's.
    pub(super) path: Option<Path>,
    /// Where it is not: the URI of another SCL's resource, or a path that begins with the id of an SCL (D-20).
    pub(super) elsewhere: Option<String>,
}

/// Reads the address. An absolute-form request-URI wins over Host (RFC 9112 3.2.2). `Err`: it is no address at all.
pub(super) fn read(
    scl: &Scl,
    version: Version,
    secure: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Target, Refusal> {
    let host = host(headers)?;
    let scheme = uri.scheme_str().unwrap_or(if secure { "https" } else { "http" });
    if !matches!(scheme, "http" | "https") {
        return Err(bad("targetID: its scheme is neither http nor https"));
    }
    if uri.path().contains('\\') {
        return Err(bad("targetID: a backslash"));
    }
    let authority = uri.authority().cloned().or(host);
    if authority.is_none() && version >= Version::HTTP_11 {
        return Err(bad("Host: missing"));
    }
    if authority.as_ref().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(bad("Host: user information does not belong there"));
    }
    let authority = authority.map(|authority| authority.as_str().to_owned());
    let ours = match &authority {
        Some(authority) => scl.is_ours(scheme, authority),
        None => true,
    };
    let path = match scl.below_base(uri.path()) {
        Some(rest) if ours => {
            let path = Path::parse(rest);
            Some(path.ok_or_else(|| bad("targetID: a segment is empty, too long or not properly escaped"))?)
        }
        _ => None,
    };
    if let Some(uri) = target_id(uri.query().unwrap_or_default())? {
        let path = scl.local_path(&uri);
        return Ok(Target { authority, ours, elsewhere: path.is_none().then_some(uri), path });
    }
    let elsewhere = path.is_none().then(|| match &authority {
        Some(authority) if !ours => {
            format!("{scheme}://{authority}{}", uri.path())
        }
        _ => uri.path().to_owned(),
    });
    Ok(Target { authority, ours, path, elsewhere })
}

/// A query without the address that it brought: whoever is called by it needs no other.
pub(super) fn without_target_id(query: &str) -> String {
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(TARGET_ID)).collect();
    kept.join("&")
}

/// How a query begins that brings an address.
const TARGET_ID: &str = "targetID=";

/// `?targetID=<uri>`, as ONG sends it.
fn target_id(query: &str) -> Result<Option<String>, Refusal> {
    let mut found = query.split('&').filter_map(|pair| pair.strip_prefix(TARGET_ID));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(bad("targetID: given twice")),
        (Some(uri), None) => {
            let uri = percent::decode(uri, true).filter(|uri| !uri.is_empty());
            uri.map(Some).ok_or_else(|| bad("targetID: empty or not properly escaped"))
        }
    }
}

fn host(headers: &HeaderMap) -> Result<Option<Authority>, Refusal> {
    let mut values = headers.get_all(header::HOST).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("Host: given twice"));
    }
    let authority = Authority::try_from(value.as_bytes()).map_err(|_| bad("Host: not host[:port]"))?;
    Ok(Some(authority))
}

fn bad(info: &str) -> Refusal {
    Refusal::new(StatusCode::BadRequest, info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authorities: &[&str], uri: &str, host: Option<&str>, expected: Result<Option<&str>, &str>) {
        let scl = Scl {
            id: "nscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: authorities.iter().map(|&a| a.to_owned()).collect(),
            founded_at: banyan_model::Timestamp(0),
        };
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        let found = read(&scl, Version::HTTP_11, false, &uri.parse().unwrap(), &headers);
        let found =
            found.map(|target| target.path.map(|path| path.to_string())).map_err(|refusal| refusal.info);
        let seen = found.as_ref().map(Option::as_deref).map_err(|info| info.split(':').next().unwrap());
        assert_eq!(seen, expected, "{uri} {host:?}");
    }

    #[test]
    fn an_address_is_ours_by_authority_and_base() {
        check(&[], "/m2m", Some("h"), Ok(Some("")));
        check(&[], "/m2m/", Some("h"), Ok(Some("")));
        check(&[], "/m2m/applications/a%20b/", Some("h"), Ok(Some("/applications/a%20b")));
        check(&[], "/m2mx", Some("h"), Ok(None));
        check(&[], "/", Some("h"), Ok(None));
        check(&["nscl:8080"], "/m2m/scls", Some("NSCL:8080"), Ok(Some("/scls")));
        check(&["nscl:8080"], "/m2m/scls", Some("gw42:8080"), Ok(None));
        check(&["nscl:8080"], "http://nscl:8080/m2m/scls", Some("gw42"), Ok(Some("/scls")));
        check(&["NSCL"], "/m2m/scls", Some("nscl:80"), Ok(Some("/scls")));
        check(&["nscl"], "HTTP://Nscl:80/%6d2m/scls", Some("gw42"), Ok(Some("/scls")));
        check(&["nscl:8080"], "http://gw42/m2m/scls", Some("nscl:8080"), Ok(None));
    }

    #[test]
    fn what_is_no_address_is_told_apart_from_what_is_not_ours() {
        check(&[], "/m2m/scls", None, Err("Host"));
        check(&[], "ftp://h/m2m/scls", Some("h"), Err("targetID"));
        check(&[], "/m2m/scls", Some("a b"), Err("Host"));
        check(&[], "/m2m/scls", Some("user@h"), Err("Host"));
        check(&[], "/m2m/a\\..\\b", Some("h"), Err("targetID"));
        for path in ["/m2m/a/../b", "/m2m/./a", "/m2m//a", "/m2m/a%00", "/m2m/a%4", "/m2m/%ff", "/m2m/%zz"] {
            check(&[], path, Some("h"), Err("targetID"));
        }
    }

    #[test]
    fn the_target_is_not_told_twice() {
        for (query, expected) in [
            ("targetID=http://gw/m2m", ""),
            ("a=1&targetID=x&b=2", "a=1&b=2"),
            ("searchString=targetID=", "searchString=targetID="),
        ] {
            assert_eq!(without_target_id(query), expected);
        }
    }
}
