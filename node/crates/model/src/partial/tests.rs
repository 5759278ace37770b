use super::*;
use crate::{
    Method, Path,
    fixture::{permission, text},
    tables::ResourceType,
};

/// Segments of an accessor, as a request writes them.
fn segments(at: &str) -> Vec<String> {
    Path::parse(at).unwrap().segments().to_vec()
}

fn attribute(resource_type: ResourceType, name: &str) -> &'static AttributeDef {
    resource_type.attribute(name).unwrap()
}

fn list(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn record(name: &'static str, fields: Vec<(&'static str, Value)>) -> Value {
    Value::Struct(Struct { name, fields })
}

fn named_permission(id: &str, flags: &str) -> Value {
    let Value::Struct(mut fields) = permission(flags, "all") else { panic!("a struct") };
    fields.fields.insert(0, ("id", text(id)));
    Value::Struct(fields)
}

fn permissions(entries: &[(&str, &str)]) -> Value {
    let entry = |(id, flags): &(&str, &str)| ("permission", named_permission(id, flags));
    record("PermissionListType", entries.iter().map(entry).collect())
}

fn paths(entries: &[&str]) -> Value {
    let entry = |path: &&str| ("aPoCPath", record("APoCPath", vec![("path", text(path))]));
    record("APoCPaths", entries.iter().map(entry).collect())
}

fn announce_to(activated: Option<bool>) -> Value {
    let activated = activated.map(|activated| ("activated", Value::Bool(activated)));
    let fields = activated.into_iter().chain([("sclList", list(&["http://gw/m2m"]))]).collect();
    record("AnnounceTo", fields)
}

#[test]
fn an_accessor_selects_an_element_or_says_that_a_value_is_there() {
    use ResourceType::{AccessRight, Application, Container, Group};
    let members = list(&["/m2m/applications/x", "http://gw/m2m/y"]);
    for (of, name, value, at, expected) in [
        (Container, "searchStrings", list(&["a b"]), "", "searchStrings"),
        (Container, "searchStrings", list(&["a b"]), "a%20b", "there"),
        (Container, "searchStrings", list(&["a b"]), "a", "-"),
        (Container, "searchStrings", list(&["a b"]), "a%20b/c", "-"),
        (Group, "members", members.clone(), "%2Fm2m%2Fapplications%2Fx", "there"),
        (Group, "members", members, "http:%2F%2Fgw%2Fm2m%2Fy", "there"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "p", "permission"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "q", "-"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "permission", "-"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "p/permissionFlags", "permissionFlags"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "p/permissionFlags/READ", "there"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "p/permissionFlags/WRITE", "-"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "p/permissionHolders/all", "all"),
        (AccessRight, "permissions", permissions(&[("p", "READ")]), "p/id", "-"),
        (Application, "aPoCPaths", paths(&["/temp/in"]), "temp%2Fin", "aPoCPath"),
        (Application, "aPoCPaths", paths(&["temp"]), "%2Ftemp/path", "path"),
        (Application, "announceTo", announce_to(Some(true)), "activated", "activated"),
        (Application, "announceTo", announce_to(None), "activated", "-"),
        (Application, "announceTo", announce_to(None), "sclList/http:%2F%2Fgw%2Fm2m", "there"),
        (Application, "expirationTime", Value::Datetime(crate::Timestamp(1)), "x", "-"),
    ] {
        let field = &attribute(of, name).field;
        let found = match select(field, &value, &segments(at)) {
            Some(Part::Element { name, .. }) => name,
            Some(Part::Member) => "there",
            None => "-",
        };
        assert_eq!(found, expected, "{name}/{at}");
    }
}

/// What an edit makes of an attribute, or the refusal.
#[track_caller]
fn check(
    of: ResourceType,
    name: &str,
    before: Option<Value>,
    at: &str,
    edit: Edit,
    expected: Result<Option<Value>, (StatusCode, &str)>,
) {
    let after = edited(attribute(of, name), before.as_ref(), &segments(at), &edit);
    match (after, expected) {
        (Err(refusal), Err((status, names))) => {
            assert_eq!(refusal.status, status, "{name}/{at}: {}", refusal.info);
            assert!(refusal.info.contains(names), "{name}/{at}: {}", refusal.info);
        }
        (after, expected) => {
            assert_eq!(after, expected.map_err(|(status, _)| Refusal::new(status, "")), "{name}/{at}")
        }
    }
}

#[test]
fn entries_come_and_go_one_by_one() {
    use Edit::{Add, Put, Remove};
    use ResourceType::{AccessRight, Application, Container, ContainerAnnc};
    use StatusCode::{BadRequest, Conflict, NotFound};
    let flags = |flags: &[&str]| {
        let flags = flags.iter().map(|flag| ("flag", text(flag))).collect();
        record("PermissionFlagListType", flags)
    };
    let two = || Some(list(&["a", "b"]));
    check(Container, "searchStrings", two(), "", Add(text("c")), Ok(Some(list(&["a", "b", "c"]))));
    check(Container, "searchStrings", None, "", Add(text("c")), Ok(Some(list(&["c"]))));
    check(Container, "searchStrings", two(), "", Add(text("b")), Err((Conflict, "b is there")));
    check(Container, "searchStrings", two(), "a", Remove, Ok(Some(list(&["b"]))));
    check(Container, "searchStrings", two(), "c", Remove, Err((NotFound, "")));
    check(Container, "searchStrings", two(), "a", Put(text("c")), Err((BadRequest, "searchString")));
    check(Container, "searchStrings", Some(list(&["a"])), "a", Remove, Ok(Some(list(&[]))));
    check(Container, "searchStrings", two(), "", Remove, Ok(None));
    check(Container, "announceTo", None, "", Remove, Err((NotFound, "")));
    check(
        ContainerAnnc,
        "searchStrings",
        Some(list(&["a"])),
        "a",
        Remove,
        Err((BadRequest, "searchStrings")),
    );
    check(ContainerAnnc, "searchStrings", two(), "", Remove, Err((BadRequest, "searchStrings")));

    let one = || Some(permissions(&[("p", "READ")]));
    let (q, both) = (named_permission("q", "WRITE"), permissions(&[("p", "READ"), ("q", "WRITE")]));
    check(AccessRight, "permissions", one(), "", Add(q.clone()), Ok(Some(both.clone())));
    check(AccessRight, "permissions", Some(both.clone()), "", Add(q.clone()), Err((Conflict, "q is there")));
    check(AccessRight, "permissions", Some(both), "q", Remove, Ok(one()));
    check(AccessRight, "permissions", one(), "q", Put(q.clone()), Err((NotFound, "")));
    let p = named_permission("p", "WRITE");
    check(AccessRight, "permissions", one(), "p", Put(p), Ok(Some(permissions(&[("p", "WRITE")]))));
    check(
        AccessRight,
        "permissions",
        one(),
        "p/permissionFlags",
        Put(flags(&["WRITE"])),
        Ok(Some(permissions(&[("p", "WRITE")]))),
    );
    check(
        AccessRight,
        "permissions",
        one(),
        "p/permissionFlags",
        Add(text("WRITE")),
        Ok(Some(permissions(&[("p", "READ WRITE")]))),
    );
    check(
        AccessRight,
        "permissions",
        one(),
        "p/permissionFlags/READ",
        Remove,
        Ok(Some(permissions(&[("p", "")]))),
    );
    check(
        AccessRight,
        "permissions",
        one(),
        "p/permissionFlags",
        Remove,
        Err((BadRequest, "permissionFlags")),
    );
    check(AccessRight, "permissions", one(), "p", Remove, Ok(Some(permissions(&[]))));
    check(AccessRight, "selfPermissions", one(), "p", Remove, Err((BadRequest, "selfPermissions")));
    check(AccessRight, "selfPermissions", one(), "", Remove, Err((BadRequest, "selfPermissions")));
    check(
        AccessRight,
        "selfPermissions",
        one(),
        "",
        Add(q),
        Ok(Some(permissions(&[("p", "READ"), ("q", "WRITE")]))),
    );

    let entry = record("APoCPath", vec![("path", text("in"))]);
    check(
        Application,
        "aPoCPaths",
        Some(paths(&["out"])),
        "",
        Add(entry.clone()),
        Ok(Some(paths(&["out", "in"]))),
    );
    check(Application, "aPoCPaths", Some(paths(&["/in"])), "", Add(entry), Err((Conflict, "in is there")));
    let announced = || Some(announce_to(None));
    let (yes, no) = (Put(Value::Bool(true)), Put(Value::Bool(false)));
    check(Application, "announceTo", announced(), "activated", yes, Ok(Some(announce_to(Some(true)))));
    check(Application, "announceTo", Some(announce_to(Some(true))), "activated", Remove, Ok(announced()));
    check(Application, "announceTo", announced(), "sclList", Remove, Err((BadRequest, "sclList")));
    check(Application, "announceTo", announced(), "activated", Add(text("x")), Err((NotFound, "")));
    check(Application, "announceTo", None, "activated", no, Err((NotFound, "")));
}

#[test]
fn additions_of_different_entries_all_survive_in_any_order() {
    let def = attribute(ResourceType::Container, "searchStrings");
    let add = |value: Option<Value>, text: &str| {
        edited(def, value.as_ref(), &[], &Edit::Add(crate::fixture::text(text))).unwrap()
    };
    assert_eq!(add(add(None, "a"), "b"), Some(list(&["a", "b"])));
    assert_eq!(add(add(None, "b"), "a"), Some(list(&["b", "a"])));
}

#[test]
fn a_list_is_a_place_for_create_and_nothing_else_is() {
    // The methods of list entries are asked of the type that has the attribute.
    let request = crate::fixture::request(Method::Create, "applications/a/searchStrings", crate::Body::None);
    let (memory, scl) = (crate::fixture::tree(), crate::fixture::scl());
    let admission = crate::admit::admit(&memory, &scl, &request).unwrap().unwrap();
    assert_eq!(admission.flag, crate::access::Flag::Write, "it changes the resource");
    assert!(entry(&attribute(ResourceType::Application, "expirationTime").field).is_none());
}
