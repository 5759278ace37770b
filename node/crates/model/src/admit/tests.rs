use super::*;
use crate::{Body, fixture};

fn admitted(method: Method, target: &str) -> Result<Admission, Refusal> {
    let request = fixture::request(method, target, Body::None);
    admit(&fixture::tree(), &fixture::scl(), &request).expect("memory reads")
}

/// One word for what a path addresses.
fn describe(target: &Target) -> String {
    match target {
        Target::Resource { resource_type, .. } => resource_type.name().to_owned(),
        Target::Instance { sequence, accessor, .. } => format!("instance {sequence} {}", accessor.join("/")),
        Target::Apoc { application, rest } => format!("{application} perhaps: {}", rest.join("/")),
        Target::Retarget { uri } => uri.clone(),
        Target::Contact { channel } => format!("contact of {channel}"),
        Target::Poll { channel } => format!("poll of {channel}"),
        Target::Answer { channel } => format!("answer of {channel}"),
        Target::Attribute { resource_type, attribute, rest, .. } => {
            format!("{}.{attribute} {}", resource_type.name(), rest.join("/"))
        }
        Target::MembersContent { group, suffix } => format!("members of {group}: {}", suffix.join("/")),
    }
}

#[test]
fn paths_lead_to_resources_instances_and_attributes() {
    let c = "applications/a/containers/c";
    for (target, expected) in [
        ("", "sclBase"),
        ("applications", "applications"),
        ("applications/mgmtObjs", "mgmtObjs"),
        ("containers/subscriptions", "subscriptions"),
        ("discovery", "discovery"),
        ("applications/a", "application"),
        ("applications/a/groups", "groups"),
        ("applications/a/notificationChannels", "notificationChannels"),
        ("applications/a/expirationTime", "application.expirationTime "),
        ("applications/a/searchStrings/x", "application.searchStrings x"),
        (c, "container"),
        (&format!("{c}/subcontainers"), "subcontainers"),
        (&format!("{c}/subscriptions/sub/contact"), "subscription.contact "),
        (&format!("{c}/contentInstances"), "contentInstances"),
        (&format!("{c}/contentInstances/subscriptions"), "subscriptions"),
        (&format!("{c}/contentInstances/currentByteSize"), "contentInstances.currentByteSize "),
        (&format!("{c}/contentInstances/latest"), "instance 5 "),
        (&format!("{c}/contentInstances/oldest/content"), "instance 1 content"),
        (&format!("{c}/contentInstances/two"), "instance 2 "),
        (
            &format!("{c}/contentInstances/ci-0000000000000003/content/textContent"),
            "instance 3 content/textContent",
        ),
    ] {
        let found = admitted(Method::Retrieve, target).map(|admission| describe(&admission.target));
        assert_eq!(found.as_deref(), Ok(expected), "{target}");
    }
    for target in [
        "applications/x",
        "applications/a/nothing",
        "applications/a/containers/c/contentInstances/ci-0000000000000002",
        "applications/a/containers/c/contentInstances/ci-0000000000000009",
        "applications/a/containers/e/contentInstances/latest",
        "applications/a/containers/e/contentInstances/oldest/content",
        // Only what is subscribable has subscriptions.
        "applications/a/containers/c/contentInstances/two/subscriptions",
        "applications/a/containers/c/contentInstances/latest/subscriptions",
        "applications/a/containers/c/subscriptions/subscriptions",
    ] {
        assert_eq!(admitted(Method::Retrieve, target), Err(Refusal::not_found()), "{target}");
    }
}

#[test]
fn methods_exist_as_the_tables_say() {
    use Method::{Create, Delete, Execute, Notify, Retrieve, Update};
    let c = "applications/a/containers/c";
    for (target, allowed) in [
        (String::new(), &[Retrieve, Update][..]),
        ("applications".into(), &[Create, Retrieve, Update]),
        ("applications/a".into(), &[Retrieve, Update, Delete]),
        (format!("{c}/subscriptions"), &[Create, Retrieve]),
        (format!("{c}/contentInstances"), &[Create, Retrieve, Notify]),
        (format!("{c}/contentInstances/two"), &[Retrieve, Delete]),
        (format!("{c}/contentInstances/latest"), &[Retrieve]),
        (format!("{c}/contentInstances/two/content"), &[Retrieve]),
        (format!("{c}/searchStrings"), &[Create, Retrieve, Update, Delete]),
        ("discovery".into(), &[Retrieve]),
    ] {
        for method in [Create, Retrieve, Update, Delete, Execute, Notify] {
            let refused = admitted(method, &target).err().map(|refusal| (refusal.status, refusal.allow));
            let expected =
                (!allowed.contains(&method)).then(|| (StatusCode::MethodNotAllowed, allowed.to_vec()));
            assert_eq!(refused, expected, "{method:?} {target}");
        }
    }
}

#[test]
fn what_has_no_such_method_is_governed_as_if_it_had() {
    for target in ["applications/a/containers/c/contentInstances/latest", "applications/a"] {
        let found = |method| {
            let request = fixture::request(method, target, Body::None);
            find(&fixture::tree(), &fixture::scl(), &request).expect("memory reads").expect("it exists")
        };
        let (read, post) = (found(Method::Retrieve), found(Method::Create));
        assert_eq!(read.method, Ok(()));
        assert_eq!(post.method.map_err(|refusal| refusal.status), Err(StatusCode::MethodNotAllowed));
        assert_eq!(post.admission.governing, read.admission.governing, "{target}");
    }
}

#[test]
fn the_right_that_governs_follows_the_table() {
    let c = "applications/a/containers/c";
    let right = |uri: &str| format!("right {uri}");
    let owners = |owners: &[&str]| format!("owners {}", owners.join(" "));
    let sub = format!("creator /m2m/applications/b, {}", right("/m2m/accessRights/r"));
    for (method, target, expected, flag) in [
        (Method::Retrieve, "applications/a".into(), owners(&["/m2m/applications/a"]), Flag::Read),
        (Method::Create, "applications/a/containers".into(), owners(&["/m2m/applications/a"]), Flag::Create),
        (Method::Update, c.to_owned(), right("/m2m/accessRights/r"), Flag::Write),
        (Method::Retrieve, format!("{c}/contentInstances/latest"), right("/m2m/accessRights/r"), Flag::Read),
        (Method::Create, format!("{c}/contentInstances"), right("/m2m/accessRights/r"), Flag::Create),
        (Method::Create, format!("{c}/subscriptions"), right("/m2m/accessRights/r"), Flag::Read),
        (
            Method::Create,
            format!("{c}/contentInstances/subscriptions"),
            right("/m2m/accessRights/r"),
            Flag::Read,
        ),
        (Method::Delete, format!("{c}/subscriptions/sub"), sub, Flag::Delete),
        (Method::Retrieve, "accessRights/r".into(), "self".into(), Flag::Read),
        (Method::Retrieve, "accessRights/r/subscriptions".into(), "self".into(), Flag::Delete),
        (
            Method::Create,
            "scls/s/containers".into(),
            owners(&["/m2m/scls/s", "http://gw.example.org/m2m"]),
            Flag::Create,
        ),
        (Method::Retrieve, "scls".into(), owners(&[]), Flag::Read),
        (Method::Create, "applications".into(), "collection everybody".into(), Flag::Create),
        (Method::Create, "containers".into(), format!("collection {}", owners(&[])), Flag::Create),
    ] {
        let admission = admitted(method, &target).expect("it exists");
        assert_eq!(governed(&admission.governing), expected, "{method:?} {target}");
        assert_eq!(admission.flag, flag, "{method:?} {target}");
    }
}

#[test]
fn applications_of_an_scl_are_let_in_to_announcements_only() {
    let base = Entity("http://gw.example.org/m2m".into());
    let mut memory = fixture::tree();
    let link = ("link", fixture::text("http://gw.example.org/m2m/applications/x"));
    fixture::put(&mut memory, "scls/s/applications/xAnnc", ResourceType::ApplicationAnnc, &[link]);
    fixture::put(&mut memory, "scls/s/containers/own", ResourceType::Container, &[]);
    let announcer = |method, target: &str, body: Option<ResourceType>| {
        let body = body.map_or(Body::None, |of| Body::Representation(fixture::representation(of, &[])));
        let request = fixture::request(method, target, body);
        let admitted = admit(&memory, &fixture::scl(), &request).expect("memory reads").expect("it exists");
        match admitted.governing {
            Governing::Default(right) => right.announcer,
            other => panic!("{target}: {other:?}"),
        }
    };
    let (create, update) = (Method::Create, Method::Update);
    use ResourceType::{ApplicationAnnc, Container, ContainerAnnc};
    for (method, target, body, is_let_in) in [
        (create, "scls/s/applications", Some(ApplicationAnnc), true),
        (create, "scls/s/containers", Some(ContainerAnnc), true),
        (create, "scls/s/applications/xAnnc/containers", Some(ContainerAnnc), true),
        (update, "scls/s/applications/xAnnc", Some(ApplicationAnnc), true),
        (Method::Delete, "scls/s/applications/xAnnc", None, true),
        (Method::Retrieve, "scls/s/applications/xAnnc/link", None, true),
        (create, "scls/s/containers", Some(Container), false),
        (create, "scls/s/containers", None, false),
        (update, "scls/s/containers/own", Some(ContainerAnnc), false),
        (Method::Delete, "scls/s/containers/own", None, false),
        (update, "scls/s", None, false),
        (create, "applications/a/containers", Some(ContainerAnnc), false),
    ] {
        let expected = is_let_in.then(|| base.clone());
        assert_eq!(announcer(method, target, body), expected, "{method:?} {target}");
    }
}

fn governed(governing: &Governing) -> String {
    match governing {
        Governing::AccessRight { uri, .. } => format!("right {uri}"),
        Governing::SelfPermissions(_) => "self".into(),
        Governing::Default(right) => {
            let owners: Vec<&str> = right.owners.iter().map(|owner| owner.0.as_str()).collect();
            format!("owners {}", owners.join(" "))
        }
        Governing::Creator { creator, otherwise } => {
            format!("creator {}, {}", creator.0, governed(otherwise))
        }
        Governing::RootCollection { otherwise, .. } => format!("collection {}", governed(otherwise)),
        Governing::Everybody => "everybody".into(),
    }
}
