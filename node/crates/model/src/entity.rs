//! Who asks: the requestingEntity, and what "ours" means for a URI.

use crate::path::decode_segment;
use std::borrow::Cow;

/// A requestingEntity, holderRef or other absolute or local reference, normalised: an address of this SCL becomes
/// its path (`/m2m/applications/a`), any other absolute URI is in its [`normal`] form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Entity(pub String);

/// What this SCL calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scl {
    /// SCL-ID.
    pub id: String,
    /// The path of sclBase, no trailing slash: `/m2m`.
    pub base: String,
    /// `host[:port]` values that mean this SCL. Empty: every authority (the open mode of `dev`).
    pub authorities: Vec<String>,
    /// When the cluster was founded: creationTime of sclBase and its collections.
    pub founded_at: crate::Timestamp,
}

impl Scl {
    /// Normalises a URI: `http://<one of ours>/m2m/x` and `/m2m/x` give `/m2m/x`, any other absolute URI its
    /// [`normal`] form. Trailing slashes go.
    pub fn normalise(&self, uri: &str) -> Entity {
        let uri = uri.trim().trim_end_matches('/');
        let path = match uri.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                self.is_ours(scheme, authority).then_some(path)
            }
            None => Some(uri),
        };
        Entity(match path.and_then(|path| self.below_base(path)) {
            Some(below) => format!("{}{below}", self.base),
            None => normal(uri).into_owned(),
        })
    }

    /// Whether `host[:port]` in a URI of this scheme means this SCL.
    pub fn is_ours(&self, scheme: &str, authority: &str) -> bool {
        let asked = normal_authority(scheme, authority);
        self.authorities.is_empty()
            || self.authorities.iter().any(|own| normal_authority(scheme, own) == asked)
    }

    /// What follows sclBase in a path, however its segments are escaped; `None`: it is not below sclBase.
    pub fn below_base<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut below = path;
        for own in self.base.split('/').skip(1) {
            let named = below.strip_prefix('/')?;
            let (named, rest) = named.split_at(named.find('/').unwrap_or(named.len()));
            if named != own && decode_segment(named) != decode_segment(own) {
                return None;
            }
            below = rest;
        }
        (below.is_empty() || below.starts_with('/')).then_some(below)
    }

    /// The path below sclBase of a local reference, `None` for another SCL's.
    pub fn local_path(&self, uri: &str) -> Option<crate::Path> {
        let Entity(local) = self.normalise(uri);
        // No absolute URI begins with a slash.
        local.starts_with('/').then(|| self.below_base(&local)).flatten().and_then(crate::Path::parse)
    }

    /// The address of a path as it is written into representations: `/m2m/applications/a`.
    pub fn address(&self, path: &crate::Path) -> String {
        format!("{}{path}", self.base)
    }
}

/// The one spelling of an absolute URI by which it is compared: scheme and host in lower case, without the port that the
/// scheme has anyway, without slashes at the end. What is no absolute URI stays as it is.
pub fn normal(uri: &str) -> Cow<'_, str> {
    let uri = uri.trim().trim_end_matches('/');
    let Some((scheme, rest)) = uri.split_once("://") else { return Cow::Borrowed(uri) };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let authority_normal = normal_authority(scheme, authority);
    if authority_normal == authority && !scheme.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Borrowed(uri);
    }
    Cow::Owned(format!("{}://{authority_normal}{path}", scheme.to_ascii_lowercase()))
}

/// The one spelling of `host[:port]` in a URI of this scheme. User information keeps its case.
pub fn normal_authority<'a>(scheme: &str, authority: &'a str) -> Cow<'a, str> {
    let port = DEFAULT_PORTS.iter().find(|(of, _)| of.eq_ignore_ascii_case(scheme)).map(|(_, port)| *port);
    let kept = match authority.rsplit_once(':') {
        Some((host, given)) if given.is_empty() || Some(given) == port => host,
        _ => authority,
    };
    let host_at = kept.rfind('@').map_or(0, |at| at + 1);
    let (user, host) = kept.split_at(host_at);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(format!("{user}{}", host.to_ascii_lowercase())),
        false => Cow::Borrowed(kept),
    }
}

/// The ports that go without saying.
const DEFAULT_PORTS: [(&str, &str); 4] =
    [("http", "80"), ("https", "443"), ("coap", "5683"), ("coaps", "5684")];

#[cfg(test)]
mod tests {
    use crate::fixture;

    #[test]
    fn an_address_has_one_spelling_whatever_its_case_port_and_escapes() {
        let mut scl = fixture::scl();
        scl.authorities =
            vec!["NSCL.example.net".to_owned(), "10.0.0.1:8080".to_owned(), "[::1]:80".to_owned()];
        for (uri, expected) in [
            ("http://nscl.example.net/m2m/applications/a", "/m2m/applications/a"),
            ("HTTP://Nscl.Example.NET:80/m2m/applications/a/", "/m2m/applications/a"),
            ("https://nscl.example.net:443/m2m", "/m2m"),
            ("https://nscl.example.net:80/m2m", "https://nscl.example.net:80/m2m"),
            ("http://10.0.0.1:8080/m2m", "/m2m"),
            ("http://10.0.0.1/m2m", "http://10.0.0.1/m2m"),
            ("http://[::1]/m2m", "/m2m"),
            ("/%6d2m/applications/a", "/m2m/applications/a"),
            ("http://nscl.example.net/%6D2m", "/m2m"),
            ("/m2mx", "/m2mx"),
            ("HTTP://GW.example.org:80/M2M/X/", "http://gw.example.org/M2M/X"),
            ("http://Me@GW:8080/x", "http://Me@gw:8080/x"),
            ("urn:Some:Thing", "urn:Some:Thing"),
        ] {
            assert_eq!(scl.normalise(uri).0, expected, "{uri}");
            assert_eq!(
                scl.local_path(uri).is_some(),
                expected.starts_with("/m2m") && expected != "/m2mx",
                "{uri}"
            );
        }
    }
}
