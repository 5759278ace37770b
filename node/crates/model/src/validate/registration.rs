//! Who may register (procedures.md 2.1, 3.1): what depends on who is registered already, in whatever subtree.
//!
//! A `link` is what an SCL is found by, and what its rights hang on, so it belongs to whoever registered it first; an
//! application belongs to the SCL that it registers with, so one whose issuer is another SCL came over mId.

use crate::{
    Body, Method, Refusal, Representation, RequestPrimitive, ResourceType, Scl, StatusCode,
    admit::{Admission, Target},
    announce::{self, Sought},
    entity::normal,
    primitive::ReferencePoint,
    route,
};
use std::sync::Arc;

/// Segments of the path of a link: each is a term of the index.
const LINK_SEGMENTS_MAX: usize = 16;

/// Checks the CREATE of an scl or of an application; leaves every other request alone. `lookup` gives what is sought; it
/// must be known for certain. The outer error is its.
///
/// # Errors
/// Those of `lookup`.
pub fn registration<E>(
    scl: &Scl,
    request: &RequestPrimitive,
    admission: &Admission,
    lookup: impl FnMut(Sought<'_>) -> Result<Option<Arc<Representation>>, E>,
) -> Result<Result<(), Refusal>, E> {
    let (Method::Create, Target::Resource { resource_type, .. }, Body::Representation(child)) =
        (request.method, &admission.target, &request.body)
    else {
        return Ok(Ok(()));
    };
    match (resource_type, child.resource_type) {
        (ResourceType::Scls, ResourceType::Scl) => of_scl(scl, child, lookup),
        (ResourceType::Applications, ResourceType::Application) => of_application(scl, request, lookup),
        _ => Ok(Ok(())),
    }
}

fn of_scl<E>(
    scl: &Scl,
    child: &Representation,
    mut lookup: impl FnMut(Sought<'_>) -> Result<Option<Arc<Representation>>, E>,
) -> Result<Result<(), Refusal>, E> {
    // That they are missing, or no addresses, is for the modes and rules to say.
    let (Some(id), Some(link)) = (child.text("sclId"), child.text("link")) else { return Ok(Ok(())) };
    let link = normal(link);
    if link.split('/').count() > LINK_SEGMENTS_MAX + 3 {
        let why = format_args!("has more than {LINK_SEGMENTS_MAX} segments");
        return Ok(Err(Refusal::attribute("link", why)));
    }
    if means_this(scl, &link) {
        return Ok(Err(taken("means this SCL")));
    }
    let found = lookup(Sought::Overlapping(&link))?;
    let others = found.iter().flat_map(|found| announce::registered_in(found));
    Ok(match others.into_iter().find(|other| other.id != id) {
        Some(other) if other.uri == link => Err(taken("is that of another registered SCL")),
        Some(_) => Err(taken("stands above or below that of another registered SCL")),
        None => Ok(()),
    })
}

/// Whether a link is ours, below ours or above it. Where every authority means this SCL nothing can be told apart.
fn means_this(scl: &Scl, link: &str) -> bool {
    let Some((scheme, rest)) = link.split_once("://") else { return false };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    !scl.authorities.is_empty()
        && scl.is_ours(scheme, authority)
        && (scl.below_base(path).is_some() || route::is_at_or_below(&scl.base, path))
}

fn taken(why: &str) -> Refusal {
    Refusal::new(StatusCode::Conflict, format!("link: {why}"))
}

fn of_application<E>(
    scl: &Scl,
    request: &RequestPrimitive,
    mut lookup: impl FnMut(Sought<'_>) -> Result<Option<Arc<Representation>>, E>,
) -> Result<Result<(), Refusal>, E> {
    let issuer = &request.requesting_entity.0;
    let over_mid = request.reference_point == ReferencePoint::Mid
        || match scl.local_path(issuer) {
            Some(path) => path.segments().first().is_some_and(|first| first == "scls"),
            None if issuer.contains("://") => {
                let issuer = normal(issuer);
                let found = lookup(Sought::Overlapping(&issuer))?;
                let mut scls = found.iter().flat_map(|found| announce::registered_in(found));
                scls.any(|other| route::is_at_or_below(&issuer, &other.uri))
            }
            None => false,
        };
    Ok(match over_mid {
        true => {
            let why = "application: registers with its own SCL, not over mId";
            Err(Refusal::new(StatusCode::Forbidden, why))
        }
        false => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entity, admit, fixture, memory::Memory, value::NamedReference};
    use std::convert::Infallible;

    /// What is said to a CREATE, where SCL `s` is registered with this link.
    fn send(registered: &str, request: &RequestPrimitive) -> Result<(), Refusal> {
        let (memory, scl) = (Memory::default(), fixture::scl());
        let resource_type = match request.target.name() {
            Some("scls") => ResourceType::Scls,
            _ => ResourceType::Applications,
        };
        let target = Target::Resource { path: request.target.clone(), resource_type };
        let governing = admit::governing(&crate::tree::Tree::new(&memory, &scl), &request.target);
        let admission = Admission {
            target,
            governing: governing.expect("memory reads"),
            flag: crate::access::Flag::Create,
        };
        let lookup = |sought: Sought<'_>| {
            let Sought::Overlapping(uri) = sought else { panic!("{sought:?}") };
            let overlaps = route::is_at_or_below(uri, registered) || route::is_at_or_below(registered, uri);
            let known = NamedReference { id: "s".to_owned(), uri: registered.to_owned() };
            let known = if overlaps { vec![known] } else { Vec::new() };
            Ok::<_, Infallible>(Some(Arc::new(announce::registered(known))))
        };
        match registration(&scl, request, &admission, lookup) {
            Ok(said) => said,
            Err(never) => match never {},
        }
    }

    #[test]
    fn a_link_belongs_to_whoever_registered_it_first() {
        let create = |id: &str, link: &str| {
            let attributes = [("sclId", fixture::text(id)), ("link", fixture::text(link))];
            let body = Body::Representation(fixture::representation(ResourceType::Scl, &attributes));
            let said = send("http://v.example.org/m2m", &fixture::request(Method::Create, "scls", body));
            said.map_err(|refusal| {
                assert!(refusal.info.starts_with("link: "), "{}", refusal.info);
                refusal.status
            })
        };
        for link in [
            "http://v.example.org/m2m",
            "HTTP://V.example.org:80/m2m/",
            "http://v.example.org/m2m/applications",
            "http://v.example.org",
            "http://nscl.example.net/m2m",
            "http://NSCL.example.net:80/%6d2m/scls/x",
            "http://nscl.example.net/",
        ] {
            assert_eq!(create("attk", link), Err(StatusCode::Conflict), "{link}");
        }
        for link in ["http://v.example.org/m2", "http://w.example.org/m2m", "http://nscl.example.net/other"] {
            assert_eq!(create("attk", link), Ok(()), "{link}");
        }
        // That the name is taken `apply` says.
        assert_eq!(create("s", "http://v.example.org/m2m"), Ok(()));
        let deep = format!("http://w.example.org{}", "/x".repeat(17));
        assert_eq!(create("deep", &deep), Err(StatusCode::BadRequest));
    }

    #[test]
    fn an_application_registers_with_its_own_scl() {
        let create = |issuer: &str, via: &[&str], point: ReferencePoint| {
            let body = Body::Representation(Representation::new(ResourceType::Application));
            let mut request = fixture::request(Method::Create, "applications", body);
            request.requesting_entity = Entity(issuer.to_owned());
            request.via = via.iter().map(|&hop| hop.to_owned()).collect();
            request.reference_point = point;
            send("http://gw.example.org/m2m", &request).map_err(|refusal| refusal.status)
        };
        for issuer in [
            "/m2m/scls/s",
            "http://nscl.example.net/m2m/scls/s",
            "http://gw.example.org/m2m",
            "http://GW.example.org:80/m2m/applications/x",
        ] {
            assert_eq!(create(issuer, &[], ReferencePoint::Mia), Err(StatusCode::Forbidden), "{issuer}");
        }
        for issuer in ["/m2m/applications/a", "http://elsewhere.example.org/m2m", "somebody", "/m2m"] {
            assert_eq!(create(issuer, &["squid"], ReferencePoint::Mia), Ok(()), "{issuer}");
            assert_eq!(create(issuer, &[], ReferencePoint::Mid), Err(StatusCode::Forbidden), "{issuer}");
        }
    }
}
