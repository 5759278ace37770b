//! Who may ask what on mId: what the channel proved is an SCL, and it speaks for itself and for the applications that are
//! registered below it, for nobody else (security.md 5).
//!
//! | `From` | whom it means |
//! | --- | --- |
//! | none | the SCL: `<sclBase>/scls/<sclId>` |
//! | `<sclBase>/scls/<sclId>`, `<sclId>` | the SCL |
//! | `<sclBase>/scls/<sclId>/applications/...` | an application that it announced here |
//! | `<sclId>/...` | something of its own, by its id |
//! | at or below the `link` that it registered | something of its own, by its address |
//!
//! Anything else is another's, and FORBIDDEN, whatever else the request says.

use super::{Identity, Peer, Said, from_header};
use banyan_model::{
    Entity, Path, Refusal, Scl, StatusCode, entity::normal, primitive::ReferencePoint, route,
};
use http::HeaderMap;

/// Knows whose SCL is at the other end, and what it registered.
pub trait Registered: Send + Sync + 'static {
    /// The sclId that the channel proved.
    ///
    /// # Errors
    /// Nobody's SCL is.
    fn scl(&self, peer: &Peer) -> Result<String, Refusal>;

    /// The `link` of a registered SCL, if it is known here.
    fn link(&self, scl: &str) -> Option<String>;

    /// Somebody said to be another than it may be.
    fn refused(&self, peer: &Peer, scl: &str, from: &str);
}

/// Identities on mId.
#[derive(Debug)]
pub struct OfScl<R> {
    /// What this SCL calls itself.
    pub own: Scl,
    /// Who registered.
    pub registered: R,
}

impl<R: Registered> OfScl<R> {
    fn entity(&self, scl: &str, from: Option<&str>) -> Option<Entity> {
        let own = Path::scl_base().child("scls").child(scl);
        let Some(from) = from else { return Some(Entity(self.own.address(&own))) };
        let said = from.trim_end_matches('/');
        if said == scl {
            return Some(Entity(self.own.address(&own)));
        }
        if let Some(path) = self.own.local_path(said) {
            let is_its = match path.segments() {
                [collection, id] => collection == "scls" && id == scl,
                [collection, id, below, _, ..] => {
                    collection == "scls" && id == scl && below == "applications"
                }
                _ => false,
            };
            return is_its.then(|| Entity(self.own.address(&path)));
        }
        if said.strip_prefix(scl).is_some_and(|rest| rest.starts_with('/')) {
            return is_plain(said).then(|| Entity(said.to_owned()));
        }
        let link = self.registered.link(scl)?;
        let said = normal(said);
        (route::is_at_or_below(&said, &normal(&link)) && is_plain(&said)).then(|| Entity(said.into_owned()))
    }
}

/// Whether an address is what it looks like: nothing in it leads above, by whatever spelling.
fn is_plain(uri: &str) -> bool {
    let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    !path.contains(['?', '#', '\\']) && (path.is_empty() || Path::parse(path).is_some())
}

impl<R: Registered> Identity for OfScl<R> {
    fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Said, Refusal> {
        let scl = self.registered.scl(peer)?;
        let from = from_header(headers)?;
        self.entity(&scl, from).map(Said::Known).ok_or_else(|| {
            self.registered.refused(peer, &scl, from.unwrap_or_default());
            let why = "From: neither the SCL of this channel nor an application that is registered below it";
            Refusal::new(StatusCode::Forbidden, why)
        })
    }

    fn reference_point(&self) -> ReferencePoint {
        ReferencePoint::Mid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_model::Timestamp;

    struct Gateway;

    impl Registered for Gateway {
        fn scl(&self, _: &Peer) -> Result<String, Refusal> {
            Ok("gw".to_owned())
        }

        fn link(&self, scl: &str) -> Option<String> {
            (scl == "gw").then(|| "http://GW.example.org:80/m2m/".to_owned())
        }

        fn refused(&self, _: &Peer, _: &str, _: &str) {}
    }

    #[test]
    fn an_scl_speaks_for_itself_and_what_is_below_it_and_for_nobody_else() {
        let own = Scl {
            id: "nscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: vec!["nscl.example.net".to_owned()],
            founded_at: Timestamp(0),
        };
        let identity = OfScl { own, registered: Gateway };
        let said = |from| identity.entity("gw", from).map(|entity| entity.0);
        for (from, entity) in [
            (None, "/m2m/scls/gw"),
            (Some("/m2m/scls/gw"), "/m2m/scls/gw"),
            (Some("gw"), "/m2m/scls/gw"),
            (Some("http://nscl.example.net/m2m/scls/gw/"), "/m2m/scls/gw"),
            (Some("/m2m/scls/gw/applications/meter"), "/m2m/scls/gw/applications/meter"),
            (Some("gw/applications/meter"), "gw/applications/meter"),
            (Some("http://gw.example.org/m2m"), "http://gw.example.org/m2m"),
            (Some("http://gw.example.org/m2m/applications/x"), "http://gw.example.org/m2m/applications/x"),
        ] {
            assert_eq!(said(from).as_deref(), Some(entity), "{from:?}");
        }
        for from in [
            "/m2m",
            "nscl",
            "/m2m/scls",
            "/m2m/scls/other",
            "/m2m/scls/gw2",
            "/m2m/scls/gw/applications",
            "/m2m/scls/gw/containers/c",
            "/m2m/scls/gw/../other",
            "/m2m/scls/gw/applications/../../other",
            "/m2m/scls/gw/applications/%2e%2e",
            "/m2m/applications/a",
            "gw2/applications/a",
            "gw/../other",
            "http://gw.example.org/m2m/../other",
            "http://gw.example.org/m2m/%2e%2e/other",
            "http://gw.example.org/m2m2",
            "http://gw.example.org",
            "http://gw.example.org.evil.net/m2m",
            "http://me@gw.example.org/m2m",
            "",
        ] {
            assert_eq!(said(Some(from)), None, "{from}");
        }
    }
}
