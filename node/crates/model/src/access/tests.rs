use super::*;
use crate::fixture;

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
        otherwise: DefaultRight { owners: vec![Entity(A.into())], announcer: None },
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
        (&[("READ", "domain:example.net")], "somebody", hidden),
        (&[("READ", "ref:http://GW.example.org:80/m2m/applications/x")], remote, Ok(())),
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
        otherwise: DefaultRight { owners: vec![Entity(A.into())], announcer: None },
    };
    assert_eq!(decide(&scl, &governing, None, &Entity(A.into()), Flag::Delete), Ok(()));
    let other = decide(&scl, &governing, None, &Entity("/m2m/applications/b".into()), Flag::Read);
    assert_eq!(other, Err(Refusal::not_found()));
    // Something else that stands there is no right, whatever it says.
    let all = fixture::permissions(&[("READ", "all")]);
    let found = fixture::representation(ResourceType::Container, &[("permissions", all)]);
    assert_eq!(decide(&scl, &governing, Some(&found), &Entity(A.into()), Flag::Delete), Ok(()));
    let other = decide(&scl, &governing, Some(&found), &Entity("/m2m/applications/b".into()), Flag::Read);
    assert_eq!(other, Err(Refusal::not_found()));
}

#[test]
fn the_applications_of_an_scl_count_where_it_announces() {
    let scl = fixture::scl();
    let announcer = Some(Entity("http://gw.example.org/m2m".into()));
    let right = Governing::Default(DefaultRight { announcer, ..DefaultRight::nobody() });
    for (entity, may) in [
        ("http://gw.example.org/m2m", true),
        ("http://gw.example.org/m2m/applications/x", true),
        ("http://gw.example.org/m2m/applications/x/containers/c", false),
        ("http://gw.example.org/m2m/scls/other", false),
        ("http://gw.example.org/m2mother/applications/x", false),
        ("http://other.example.org/m2m/applications/x", false),
        (A, false),
    ] {
        let expected = if may { Ok(()) } else { Err(Refusal::not_found()) };
        for flag in [Flag::Create, Flag::Write, Flag::Delete, Flag::Read] {
            assert_eq!(decide(&scl, &right, None, &Entity(entity.into()), flag), expected, "{entity}");
        }
    }
}

#[test]
fn a_subscription_is_its_creators_and_readable_with_strong_rights() {
    let scl = fixture::scl();
    let owner = DefaultRight { owners: vec![Entity(A.into())], announcer: None };
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

/// What stands elsewhere: two groups, one of them of another SCL, and a registered SCL.
fn elsewhere(uri: &str) -> Option<Arc<Representation>> {
    let members = |list: &[&str]| Value::List(list.iter().map(|member| (*member).to_owned()).collect());
    let found = match uri {
        "/m2m/groups/g" => fixture::representation(
            ResourceType::Group,
            &[("members", members(&["http://nscl.example.net/m2m/applications/a/", "/m2m/groups/h"]))],
        ),
        "http://other.example.org/m2m/groups/h" => {
            let listed = members(&["/m2m/applications/a", "http://nscl.example.net/m2m/applications/b"]);
            fixture::representation(ResourceType::Group, &[("members", listed)])
        }
        "/m2m/scls/s" | "/m2m/scls/attk" => fixture::representation(
            ResourceType::Scl,
            &[
                ("link", fixture::text("http://gw.example.org/m2m")),
                ("creationTime", Value::Datetime(crate::Timestamp(if uri.ends_with('s') { 1 } else { 2 }))),
            ],
        ),
        "/m2m/scls/alone" => fixture::representation(
            ResourceType::Scl,
            &[("link", fixture::text("http://alone.example.org/m2m"))],
        ),
        _ => return None,
    };
    Some(Arc::new(found))
}

/// The SCLs with a link: two have the same.
fn linked(link: &str) -> Option<Arc<Representation>> {
    let ids: &[&str] = match link {
        "http://gw.example.org/m2m" => &["attk", "s"],
        "http://alone.example.org/m2m" => &["alone"],
        _ => &[],
    };
    let named = |id: &&str| crate::value::NamedReference { id: (*id).to_owned(), uri: link.to_owned() };
    Some(Arc::new(announce::registered(ids.iter().map(named).collect())))
}

/// The same for holders that have to be looked up, and what was.
fn check_with(permissions: &[(&str, &str)], entity: &str, expected: Result<(), StatusCode>, asked: &[&str]) {
    let right = fixture::representation(
        ResourceType::AccessRight,
        &[("permissions", fixture::permissions(permissions))],
    );
    let governing = Governing::AccessRight {
        uri: "/m2m/accessRights/r".into(),
        otherwise: DefaultRight { owners: vec![], announcer: None },
    };
    let mut looked_up = Vec::new();
    let mut find = |asked: Asked<'_>| -> Result<_, Infallible> {
        Ok(match asked {
            Asked::At(uri) => {
                looked_up.push(uri.to_owned());
                elsewhere(uri)
            }
            Asked::Linked(link) => linked(link),
        })
    };
    let entity = Entity(entity.into());
    let Ok(found) = decide_with(&fixture::scl(), &governing, Some(&right), &entity, Flag::Read, &mut find);
    assert_eq!(found.map_err(|refusal| refusal.status), expected, "{permissions:?} for {}", entity.0);
    assert_eq!(looked_up, asked, "{permissions:?} for {}", entity.0);
}

#[test]
fn groups_and_scls_hold_for_those_who_belong_to_them() {
    let (g, h, s) = ("/m2m/groups/g", "http://other.example.org/m2m/groups/h", "/m2m/scls/s");
    let denied = Err(StatusCode::PermissionDenied);
    let hidden = Err(StatusCode::NotFound);
    let attk = "/m2m/scls/attk";
    let (b, far) = ("/m2m/applications/b", "http://gw.example.org/m2m/applications/x");
    for (permissions, entity, expected, asked) in [
        (&[("READ", "ref:/m2m/groups/g")][..], A, Ok(()), &[g][..]),
        (&[("READ", "ref:/m2m/groups/g")], b, hidden, &[g]),
        (&[("READ", "ref:http://other.example.org/m2m/groups/h")], b, Ok(()), &[h]),
        // A path in a group of another SCL is a path there.
        (&[("READ", "ref:http://other.example.org/m2m/groups/h")], A, hidden, &[h]),
        (
            &[("READ", "ref:http://other.example.org/m2m/groups/h")],
            "http://other.example.org/m2m/applications/a",
            Ok(()),
            &[h],
        ),
        (&[("READ", "ref:/m2m/groups/none")], A, hidden, &["/m2m/groups/none"]),
        (&[("WRITE", "ref:/m2m/groups/g")], A, denied, &[g]),
        // What decides without a question asks none, and what would let in is asked for first.
        (&[("READ", "ref:/m2m/groups/g"), ("READ", "app:a")], A, Ok(()), &[]),
        (&[("WRITE", "ref:/m2m/groups/none"), ("READ", "ref:/m2m/groups/g")], A, Ok(()), &[g]),
        (&[("WRITE", "app:a"), ("WRITE", "ref:/m2m/groups/g")], A, denied, &[]),
        // An sclBase covers its SCL and its applications, whichever of its names is used.
        (&[("READ", "ref:/m2m")], A, Ok(()), &[]),
        (&[("READ", "ref:http://gw.example.org/m2m")], far, Ok(()), &[]),
        (&[("READ", "ref:http://gw.example.org/m2")], far, hidden, &[]),
        (&[("READ", "ref:http://alone.example.org/m2m")], "/m2m/scls/alone", Ok(()), &["/m2m/scls/alone"]),
        // Of two with the same link the older one is meant.
        (&[("READ", "ref:http://gw.example.org/m2m")], s, Ok(()), &[s, attk, s]),
        (&[("READ", "ref:http://gw.example.org/m2m")], attk, hidden, &[attk, attk, s]),
        (&[("READ", "ref:/m2m/scls/s")], far, Ok(()), &[s]),
        (&[("READ", "ref:/m2m/scls/s")], "http://gw.example.org/m2m", Ok(()), &[s]),
        (&[("READ", "ref:/m2m/scls/s")], A, hidden, &[s]),
    ] {
        check_with(permissions, entity, expected, asked);
    }
}

#[test]
fn a_right_with_many_groups_asks_for_no_more_than_it_may() {
    let names: Vec<String> = (0..HOLDERS_MAX + 5).map(|n| format!("ref:/m2m/groups/n{n}")).collect();
    let permissions: Vec<(&str, &str)> = names.iter().map(|name| ("READ", name.as_str())).collect();
    let asked: Vec<String> = (0..HOLDERS_MAX).map(|n| format!("/m2m/groups/n{n}")).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    check_with(&permissions, A, Err(StatusCode::NotFound), &asked);
}
