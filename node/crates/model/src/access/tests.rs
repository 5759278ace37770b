use super::*;
use crate::{ResourceType, fixture};

const A: &str = "/m2m/applications/a";

/// What a right with these permissions says to an entity that needs READ.
fn check(permissions: &[(&str, &str)], entity: &str, expected: Result<(), StatusCode>) {
    let scl = fixture::scl();
    let right = fixture::representation(
        ResourceType::AccessRight,
        &[("permissions", fixture::permissions(permissions))],
    );
    let governing = Governing::AccessRight {
        uri: "/m2m/accessRights/r".into(),
        otherwise: DefaultRight { owners: vec![Entity(A.into())] },
    };
    let found = decide(&scl, &governing, Some(&right), &Entity(entity.into()), Flag::Read);
    if found.as_ref().is_err_and(|refusal| refusal.status == StatusCode::NotFound) {
        assert_eq!(found, Err(Refusal::not_found()), "hidden looks absent");
    }
    assert_eq!(found.map_err(|refusal| refusal.status), expected, "{permissions:?} for {entity}");
}

#[test]
fn permissions_decide_by_holder_and_flag() {
    let denied = Err(StatusCode::PermissionDenied);
    let hidden = Err(StatusCode::NotFound);
    let remote = "http://gw.example.org/m2m/applications/x";
    for (permissions, entity, expected) in [
        (&[("READ", "all")][..], A, Ok(())),
        (&[("WRITE CREATE", "all")], A, denied),
        (&[("", "all")], A, hidden),
        (&[], A, hidden),
        (&[("READ", "ref:/m2m/applications/a")], A, Ok(())),
        (&[("READ", "ref:http://nscl.example.net/m2m/applications/%61/")], A, Ok(())),
        (&[("READ", "ref:http://elsewhere.net/m2m/applications/a")], A, hidden),
        (&[("READ", "ref:/m2m/applications/ab")], A, hidden),
        (&[("READ", "app:a")], A, Ok(())),
        (&[("READ", "app:x")], remote, Ok(())),
        (&[("READ", "app:a")], "/m2m/applications/a/containers/a", hidden),
        (&[("READ", "scl:s")], "/m2m/scls/s", Ok(())),
        (&[("READ", "scl:s")], "/m2m/scls/t", hidden),
        (&[("READ", "domain:example.org")], remote, Ok(())),
        (&[("READ", "domain:ample.org")], remote, hidden),
        (&[("READ", "domain:http://gw.example.org/m2m")], remote, Ok(())),
        (&[("READ", "domain:http://gw.example.org/m2")], remote, hidden),
        (&[("READ", "domain:example.net")], A, Ok(())),
        // A permission that lacks the flag does not hide a later one that has it.
        (&[("WRITE", "all"), ("READ", "app:a")], A, Ok(())),
        (&[("DISCOVER", "app:a"), ("READ", "app:b")], A, denied),
        // The SCL itself, under any of its names.
        (&[], "/m2m", Ok(())),
        (&[], "http://nscl.example.net/m2m/", Ok(())),
    ] {
        check(permissions, entity, expected);
    }
}

#[test]
fn a_right_that_cannot_be_retrieved_is_the_default_right() {
    let scl = fixture::scl();
    let governing = Governing::AccessRight {
        uri: "/m2m/accessRights/gone".into(),
        otherwise: DefaultRight { owners: vec![Entity(A.into())] },
    };
    assert_eq!(decide(&scl, &governing, None, &Entity(A.into()), Flag::Delete), Ok(()));
    let other = decide(&scl, &governing, None, &Entity("/m2m/applications/b".into()), Flag::Read);
    assert_eq!(other, Err(Refusal::not_found()));
}

#[test]
fn a_subscription_is_its_creators_and_readable_with_strong_rights() {
    let scl = fixture::scl();
    let owner = DefaultRight { owners: vec![Entity(A.into())] };
    let governing = Governing::Creator {
        creator: Entity("/m2m/applications/b".into()),
        otherwise: Box::new(Governing::Default(owner)),
    };
    for (entity, flag, expected) in [
        ("/m2m/applications/b", Flag::Write, Ok(())),
        (A, Flag::Read, Ok(())),
        (A, Flag::Delete, Err(StatusCode::PermissionDenied)),
        ("/m2m/applications/c", Flag::Read, Err(StatusCode::NotFound)),
    ] {
        let found = decide(&scl, &governing, None, &Entity(entity.into()), flag);
        assert_eq!(found.map_err(|refusal| refusal.status), expected, "{entity} {flag:?}");
    }
}
