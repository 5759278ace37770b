//! What single types do beyond their tables: online status, groups, execution, quotas.

use crate::every_type::{World, minimal};
use StatusCode::{BadRequest, Created, Forbidden, NotFound, Ok as Done};
use banyan_model::{
    Body, Command, Content, Entity, Method, Operation, Path, Representation, RequestId, ResourceType,
    StatusCode, Timestamp, Value,
    apply::apply,
    key::Key,
    record::Record,
    value::{ContentForm, Struct},
};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

/// The mandatory attributes and these.
fn with(of: ResourceType, attributes: &[(&'static str, Value)]) -> Body {
    let mut whole = minimal(of, |attribute| attribute.create);
    attributes.iter().for_each(|(name, value)| whole.set(name, value.clone()));
    Body::Representation(whole)
}

fn create(world: &mut World, holder: &str, body: Body) -> StatusCode {
    world.send(Method::Create, &path(holder), body).status
}

fn attribute(world: &mut World, at: &str, name: &str) -> Option<Value> {
    world.shown(&path(at)).get(name).cloned()
}

/// How many resources the subtree of a path counts.
fn counted(world: &World, at: &str) -> Option<u64> {
    match world.memory.records.get(&Key::resources(&path(at).subtree())) {
        Some(Record::Pointer(count)) => Some(*count),
        _ => None,
    }
}

#[test]
fn an_scl_is_as_online_as_its_m2m_pocs() {
    let mut world = World::new();
    assert_eq!(create(&mut world, "scls", with(ResourceType::Scl, &[("sclId", text("s"))])), Created);
    let is = |world: &mut World, status: &str, capable: bool| {
        assert_eq!(attribute(world, "scls/s", "onlineStatus"), Some(text(status)));
        assert_eq!(attribute(world, "scls/s", "serverCapability"), Some(Value::Bool(capable)));
    };
    is(&mut world, "OFFLINE", false);
    let poc = |status: &str| {
        let mut whole = minimal(ResourceType::M2mPoc, |attribute| attribute.update);
        whole.set("onlineStatus", text(status));
        Body::Representation(whole)
    };
    let expires = Value::Datetime(Timestamp(50_000));
    let named = [("id", text("p")), ("expirationTime", expires)];
    assert_eq!(create(&mut world, "scls/s/m2mPocs", with(ResourceType::M2mPoc, &named)), Created);
    assert_eq!(attribute(&mut world, "scls/s/m2mPocs/p", "onlineStatus"), Some(text("ONLINE")));
    is(&mut world, "ONLINE", true);
    let before = world.shown(&path("scls/s")).datetime("lastModifiedTime");
    for status in ["NOT_REACHABLE", "OFFLINE", "ONLINE"] {
        let response = world.send(Method::Update, &path("scls/s/m2mPocs/p"), poc(status));
        assert_eq!(response.status, Done);
        is(&mut world, status, true);
    }
    assert!(world.shown(&path("scls/s")).datetime("lastModifiedTime") > before);
    world.send(Method::Delete, &path("scls/s/m2mPocs/p"), Body::None);
    is(&mut world, "OFFLINE", false);

    // One that expires counts no longer.
    assert_eq!(create(&mut world, "scls/s/m2mPocs", with(ResourceType::M2mPoc, &named)), Created);
    is(&mut world, "ONLINE", true);
    let at = Timestamp(60_000);
    let expire = Command {
        id: RequestId::default(),
        at,
        entity: Entity(String::new()),
        operation: Operation::Expire,
        hops: 0,
    };
    let outcome = apply(&world.memory, &world.scl, at, &expire).unwrap();
    world.memory.write(outcome.changes);
    is(&mut world, "OFFLINE", false);
}

#[test]
fn a_group_keeps_each_member_once_and_no_more_than_it_wants() {
    let mut world = World::new();
    let group = |members: &[&str], most: i64| {
        let attributes =
            [("id", text("g")), ("members", list(members)), ("maxNrOfMembers", Value::Long(most))];
        with(ResourceType::Group, &attributes)
    };
    assert_eq!(create(&mut world, "groups", group(&["/m2m/a", "/m2m/b", "/m2m/c"], 2)), Forbidden);
    let doubled = ["/m2m/a", "/m2m/b", "http://h/m2m/a", "/m2m/b/"];
    assert_eq!(create(&mut world, "groups", group(&doubled, 2)), Created);
    let shown = world.shown(&path("groups/g"));
    assert_eq!(shown.get("members"), Some(&list(&["/m2m/a", "/m2m/b"])));
    assert_eq!(shown.long("currentNrOfMembers"), Some(2));
    assert_eq!(shown.text("consistencyStrategy"), Some("ABANDON_MEMBER"));
    assert_eq!(shown.get("memberTypeValidated"), Some(&Value::Bool(false)));

    let members = |value| Body::Attribute { name: "members".into(), value };
    let at = path("groups/g/members");
    let three = list(&["/m2m/a", "/m2m/b", "/m2m/c"]);
    assert_eq!(world.send(Method::Update, &at, members(three)).status, Forbidden);
    assert_eq!(world.send(Method::Update, &at, members(list(&["/m2m/d"]))).status, Done);
    assert_eq!(attribute(&mut world, "groups/g", "currentNrOfMembers"), Some(Value::Long(1)));
    let emptied = Body::Representation(Representation::new(ResourceType::Group));
    assert_eq!(world.send(Method::Update, &path("groups/g"), emptied).status, Done);
    let shown = world.shown(&path("groups/g"));
    assert_eq!((shown.long("currentNrOfMembers"), shown.long("maxNrOfMembers")), (Some(0), Some(-1)));
    assert_eq!(shown.get("memberTypeValidated"), Some(&Value::Bool(true)));
}

#[test]
fn an_update_keeps_what_every_response_has_and_nothing_stands_for() {
    let mut world = World::new();
    let command = with(ResourceType::MgmtCmd, &[("id", text("c")), ("cmdType", text("REBOOT"))]);
    assert_eq!(create(&mut world, "scls/mgmtObjs", command), Created);
    let nothing = Body::Representation(Representation::new(ResourceType::MgmtCmd));
    assert_eq!(world.send(Method::Update, &path("scls/mgmtObjs/c"), nothing).status, Done);
    assert_eq!(attribute(&mut world, "scls/mgmtObjs/c", "cmdType"), Some(text("REBOOT")));
}

#[test]
fn the_answer_to_an_update_says_nothing_of_members_rather_than_that_there_are_none() {
    let mut world = World::new();
    assert_eq!(
        create(&mut world, "applications", with(ResourceType::Application, &[("appId", text("a"))])),
        Created
    );
    let named = with(ResourceType::Container, &[("id", text("c"))]);
    assert_eq!(create(&mut world, "applications/a/containers", named), Created);
    let right = [("accessRightID", text("/m2m/accessRights/r"))];
    let mut whole = Representation::new(ResourceType::Containers);
    right.iter().for_each(|(name, value)| whole.set(name, value.clone()));
    let answer = world.send(Method::Update, &path("applications/a/containers"), Body::Representation(whole));
    let Body::Representation(shown) = answer.body else { panic!("{answer:?}") };
    assert_eq!(shown.text("accessRightID"), Some("/m2m/accessRights/r"));
    assert!(shown.attributes.iter().all(|(name, _)| !name.ends_with("Collection")), "{shown:?}");
    let listed = attribute(&mut world, "applications/a/containers", "containerCollection");
    assert!(matches!(listed, Some(Value::References(listed)) if listed.len() == 1));
}

#[test]
fn nothing_nests_deeper_than_can_be_addressed() {
    let mut world = World::new();
    let named = |of| with(of, &[("id", text("d"))]);
    assert_eq!(create(&mut world, "containers", named(ResourceType::Container)), Created);
    let mut at = "containers/d".to_owned();
    let refused = loop {
        let answer =
            world.send(Method::Create, &path(&format!("{at}/subcontainers")), named(ResourceType::Container));
        if answer.status != Created {
            break answer;
        }
        at.push_str("/subcontainers/d");
    };
    assert_eq!(refused.status, BadRequest);
    assert!(refused.info.starts_with("id: stands too deep"), "{}", refused.info);
    // What belongs to the deepest one has room.
    let watched = format!("{at}/contentInstances/subscriptions");
    assert_eq!(create(&mut world, &watched, with(ResourceType::Subscription, &[("id", text("s"))])), Created);
    assert!(Path::parse(&format!("{watched}/s/filterCriteria/attributeAccessor")).is_some());
}

#[test]
fn a_command_runs_once_for_each_execute_until_it_is_cancelled() {
    let mut world = World::new();
    let argument = |name: &str, value: &str| {
        let fields = vec![("name", text(name)), ("value", text(value))];
        ("execReqArg", Value::Struct(Struct { name: "ExecReqArg", fields }))
    };
    let arguments = |list: &[(&'static str, Value)]| {
        Value::Struct(Struct { name: "ExecReqArgsList", fields: list.to_vec() })
    };
    let own = arguments(&[argument("url", "old"), argument("size", "1")]);
    let command = with(ResourceType::MgmtCmd, &[("id", text("c")), ("execReqArgs", own)]);
    assert_eq!(create(&mut world, "scls/mgmtObjs", command), Created);
    let enable = world.shown(&path("scls/mgmtObjs/c")).text("execEnable").map(str::to_owned);
    assert_eq!(enable.as_deref(), Some("/m2m/scls/mgmtObjs/c/execEnable"));

    let first = world.send(Method::Execute, &path("scls/mgmtObjs/c/execEnable"), Body::None);
    assert_eq!(first.status, StatusCode::Accepted, "{}", first.info);
    let sent = Body::Attribute { name: "execReqArgs".into(), value: arguments(&[argument("url", "new")]) };
    let second = world.send(Method::Execute, &path("scls/mgmtObjs/c"), sent.clone());
    let at = |uri: &Option<String>| path(uri.as_deref().unwrap().strip_prefix("/m2m").unwrap());
    let (first, second) = (at(&first.resource_uri), at(&second.resource_uri));
    let queue = attribute(&mut world, "scls/mgmtObjs/c/execInstances", "execInstanceCollection");
    assert!(matches!(queue, Some(Value::References(queue)) if queue.len() == 2));

    let kept = world.memory.records.get(&Key::resource(&second));
    let Some(Record::Resource(kept)) = kept else { panic!("{kept:?}") };
    let expected = arguments(&[argument("size", "1"), argument("url", "new")]);
    assert_eq!(kept.representation.get("execReqArgs"), Some(&expected));
    let shown = world.shown(&second);
    assert_eq!(shown.text("execStatus"), Some("INITIATED"));
    assert_eq!(shown.get("execReqArgs"), None);

    let cancel = first.child("execDisable");
    assert_eq!(world.send(Method::Execute, &first, Body::None).status, StatusCode::MethodNotAllowed);
    assert_eq!(world.send(Method::Execute, &cancel, sent).status, BadRequest);
    assert_eq!(world.send(Method::Execute, &cancel, Body::None).status, Done);
    assert_eq!(world.shown(&first).text("execStatus"), Some("CANCELLING"));
    if let Some(Record::Resource(ended)) = world.memory.records.get_mut(&Key::resource(&first)) {
        ended.representation.set("execStatus", text("FINISHED"));
    }
    assert_eq!(world.send(Method::Execute, &cancel, Body::None).status, Forbidden);
    assert_eq!(world.send(Method::Delete, &second, Body::None).status, Done);
    assert_eq!(world.send(Method::Retrieve, &second, Body::None).status, NotFound);
}

#[test]
fn an_action_is_reported_by_the_object_above_it() {
    let mut world = World::new();
    let object = world.make(ResourceType::EtsiReboot);
    let action = minimal(ResourceType::RebootAction, |attribute| attribute.create);
    let action = world.create(&object, action).unwrap();
    assert_eq!(action.name(), Some("rebootAction"));
    assert_eq!(world.send(Method::Execute, &action.child("reboot"), Body::None).status, Done);
    // The schema has no form for a running action, so the whole leaves it out; who asks for it gets it.
    assert_eq!(world.shown(&object).get("rebootActionStatus"), None);
    let Body::Attribute { value: Value::Struct(status), .. } =
        world.send(Method::Retrieve, &object.child("rebootActionStatus"), Body::None).body
    else {
        panic!("the status alone")
    };
    assert_eq!(status.get("action"), Some(&text(&format!("/m2m{}", action.child("reboot")))));
    assert_eq!(status.get("progress"), Some(&Value::Long(0)));
    for elsewhere in [action.clone(), action.child("accessRightID"), object.child("rebootLevel")] {
        let refused = world.send(Method::Execute, &elsewhere, Body::None).status;
        assert_eq!(refused, StatusCode::MethodNotAllowed, "{elsewhere}");
    }
}

#[test]
fn management_objects_below_scls_go_with_all_that_stands_below() {
    let mut world = World::new();
    let before = world.memory.clone();
    let object = with(ResourceType::EtsiFirmware, &[("id", text("fw"))]);
    assert_eq!(create(&mut world, "scls/mgmtObjs", object), Created);
    let instance = |name: &str| with(ResourceType::FwInstance, &[("id", text(name))]);
    assert_eq!(create(&mut world, "scls/mgmtObjs/fw", instance("one")), Created);
    assert_eq!(create(&mut world, "scls/mgmtObjs/fw", instance("one")), StatusCode::Conflict);
    let action = with(ResourceType::FirmwareAction, &[]);
    assert_eq!(create(&mut world, "scls/mgmtObjs/fw/one", action), Created);
    let misnamed = with(ResourceType::FirmwareAction, &[("id", text("other"))]);
    assert_eq!(create(&mut world, "scls/mgmtObjs/fw/one", misnamed), BadRequest);
    let subscription = with(ResourceType::Subscription, &[]);
    assert_eq!(create(&mut world, "scls/mgmtObjs/subscriptions", subscription), Created);
    let plain = with(ResourceType::Parameters, &[("id", text("x"))]);
    assert_eq!(create(&mut world, "scls/mgmtObjs/fw", plain), BadRequest);
    let listed = attribute(&mut world, "scls/mgmtObjs/fw", "parametersCollection");
    assert!(matches!(listed, Some(Value::References(listed)) if listed.len() == 1));
    assert_eq!(counted(&world, "scls/mgmtObjs/fw"), Some(4));

    assert_eq!(world.send(Method::Delete, &path("scls/mgmtObjs/fw"), Body::None).status, Done);
    let gone = path("scls/mgmtObjs/fw/one/firmwareAction");
    assert_eq!(world.send(Method::Retrieve, &gone, Body::None).status, NotFound);
    let below =
        |key: &&Key| key.bytes.windows(3).any(|part| part == b"fw\0") && !before.records.contains_key(key);
    assert_eq!(world.memory.records.keys().filter(below).count(), 0, "nothing is left below");
    assert_eq!(counted(&world, "scls/mgmtObjs/fw"), Some(1), "the subscription on mgmtObjs is left");
}

#[test]
fn a_location_container_holds_instances_as_a_container_does() {
    let mut world = World::new();
    let application = with(ResourceType::Application, &[("appId", text("a"))]);
    assert_eq!(create(&mut world, "applications", application), Created);
    let located =
        with(ResourceType::LocationContainer, &[("id", text("l")), ("maxNrOfInstances", Value::Long(2))]);
    assert_eq!(create(&mut world, "containers", located.clone()), Forbidden);
    assert_eq!(create(&mut world, "applications/a/containers", located), Created);
    let instance = || {
        let bytes = bytes::Bytes::from_static(b"52.5 13.4");
        let content = Content { content_type: None, bytes, form: ContentForm::Text };
        with(ResourceType::ContentInstance, &[("content", Value::Content(content))])
    };
    for _ in 0..3 {
        assert_eq!(create(&mut world, "applications/a/containers/l/contentInstances", instance()), Created);
    }
    let kept = "applications/a/containers/l/contentInstances";
    assert_eq!(attribute(&mut world, kept, "currentNrOfInstances"), Some(Value::Long(2)));
    let less = Body::Attribute { name: "maxNrOfInstances".into(), value: Value::Long(1) };
    let limit = path("applications/a/containers/l/maxNrOfInstances");
    assert_eq!(world.send(Method::Update, &limit, less).status, Done);
    assert_eq!(attribute(&mut world, kept, "currentNrOfInstances"), Some(Value::Long(1)));
    let below = with(ResourceType::Container, &[("id", text("sub"))]);
    assert_eq!(create(&mut world, "applications/a/containers/l/subcontainers", below), Created);
    assert_eq!(
        create(&mut world, "applications/a/containers/l/subcontainers/sub/contentInstances", instance()),
        Created
    );
    assert_eq!(counted(&world, "applications/a"), Some(3));
    assert_eq!(world.send(Method::Delete, &path("applications/a"), Body::None).status, Done);
    assert_eq!(counted(&world, "applications/a"), None);
}

#[test]
fn channels_and_who_is_polled_through_them() {
    let mut world = World::new();
    let application = with(ResourceType::Application, &[("appId", text("a"))]);
    assert_eq!(create(&mut world, "applications", application), Created);
    let channel = with(ResourceType::NotificationChannel, &[("id", text("n"))]);
    assert_eq!(create(&mut world, "applications/a/notificationChannels", channel), Created);
    let at = "applications/a/notificationChannels/n";
    let contact = format!("/m2m/{at}/contact");
    assert_eq!(attribute(&mut world, at, "contactURI"), Some(text(&contact)));
    let Some(Value::Struct(data)) = attribute(&mut world, at, "channelData") else { panic!("channelData") };
    assert_eq!(data.get("longPollingURI"), Some(&text(&format!("/m2m/{at}/poll"))));
    for (id, contact, expected) in [
        ("polled", contact.as_str(), "SYNCHRONOUS"),
        ("absolute", &format!("http://h{contact}"), "SYNCHRONOUS"),
        ("called", "http://b.example.org/", "ASYNCHRONOUS"),
        ("inside", "/m2m/applications/b", "ASYNCHRONOUS"),
    ] {
        let body = with(ResourceType::Subscription, &[("id", text(id)), ("contact", text(contact))]);
        assert_eq!(create(&mut world, "applications/subscriptions", body), Created);
        let kind = attribute(&mut world, &format!("applications/subscriptions/{id}"), "subscriptionType");
        assert_eq!(kind, Some(text(expected)), "{contact}");
    }
}

#[test]
fn what_nobody_wants_announced_says_so() {
    let mut world = World::new();
    let container = with(ResourceType::Container, &[("id", text("c"))]);
    assert_eq!(create(&mut world, "containers", container), Created);
    let fields = vec![("activated", Value::Bool(false)), ("sclList", list(&[]))];
    let nothing = Value::Struct(Struct { name: "AnnounceTo", fields });
    assert_eq!(attribute(&mut world, "containers/c", "announceTo"), Some(nothing));
}

#[test]
fn a_v1_gateway_registers_without_an_scl_type() {
    let mut world = World::new();
    let mut v1 = minimal(ResourceType::Scl, |attribute| attribute.create);
    v1.remove("sclType");
    v1.set("sclId", text("s"));
    let results = Struct {
        name: "IntegrityValResults",
        fields: vec![
            ("ivalResults", Value::Long(1)),
            ("signedIvalResult", Value::Long(2)),
            ("secureTimeStamp", Value::Datetime(Timestamp(3))),
        ],
    };
    v1.set("integrityValResults", Value::Struct(results.clone()));
    assert_eq!(create(&mut world, "scls", Body::Representation(v1.clone())), Created);
    assert_eq!(attribute(&mut world, "scls/s", "sclType"), Some(text("GSCL")));
    assert_eq!(attribute(&mut world, "scls/s", "integrityValResults"), Some(Value::Struct(results)));
    assert_eq!(create(&mut world, "scls", Body::Representation(v1)), StatusCode::Conflict);
}

#[test]
fn quotas_refuse_or_clip_and_say_what() {
    let mut world = World::new();
    world.policy.instances_max = 5;
    world.policy.container_bytes_max = 100;
    world.policy.resources_per_subtree_max = 3;
    world.policy.search_strings_max = 2;
    world.policy.search_string_bytes_max = 4;
    world.policy.members_per_group_max = 2;
    world.policy.m2m_pocs_per_scl_max = 1;
    world.policy.list_entries_max = 2;

    for (wanted, expected) in [(None, 5), (Some(-1), 5), (Some(0), 5), (Some(4), 4), (Some(9), 5)] {
        let limits = wanted.map(|wanted| ("maxNrOfInstances", Value::Long(wanted)));
        let limits: Vec<_> = limits.into_iter().chain([("id", text("c"))]).collect();
        assert_eq!(create(&mut world, "containers", with(ResourceType::Container, &limits)), Created);
        let shown = world.shown(&path("containers/c"));
        assert_eq!((shown.long("maxNrOfInstances"), shown.long("maxByteSize")), (Some(expected), Some(100)));
        world.send(Method::Delete, &path("containers/c"), Body::None);
    }
    let paths: Vec<_> = ["one", "two", "three"]
        .map(|name| Value::Struct(Struct { name: "APoCPath", fields: vec![("path", text(name))] }))
        .map(|entry| ("aPoCPath", entry))
        .into();
    let apoc_paths = Value::Struct(Struct { name: "APoCPaths", fields: paths });
    for (holder, of, name, value) in [
        ("containers", ResourceType::Container, "searchStrings", list(&["a", "b", "c"])),
        ("containers", ResourceType::Container, "searchStrings", list(&["abcde"])),
        ("groups", ResourceType::Group, "members", list(&["/m2m/a", "/m2m/b", "/m2m/c"])),
        ("scls", ResourceType::Scl, "pocs", list(&["http://a", "http://b", "http://c"])),
        ("applications", ResourceType::Application, "aPoCPaths", apoc_paths),
    ] {
        let mut attributes = vec![(name, value)];
        if of == ResourceType::Scl {
            attributes.push(("sclId", text("x")));
        }
        let response = world.send(Method::Create, &path(holder), with(of, &attributes));
        assert_eq!(response.status, BadRequest, "{name}");
        assert!(response.info.starts_with(&format!("{name}: ")), "{}", response.info);
    }

    let scl = with(ResourceType::Scl, &[("sclId", text("s"))]);
    assert_eq!(create(&mut world, "scls", scl), Created);
    let poc = || with(ResourceType::M2mPoc, &[]);
    assert_eq!(create(&mut world, "scls/s/m2mPocs", poc()), Created);
    assert_eq!(create(&mut world, "scls/s/m2mPocs", poc()), Forbidden);
    let container = || with(ResourceType::Container, &[]);
    assert_eq!(create(&mut world, "scls/s/containers", container()), Created);
    assert_eq!(counted(&world, "scls/s"), Some(3));
    assert_eq!(create(&mut world, "scls/s/containers", container()), Forbidden);
    let subscription = || with(ResourceType::Subscription, &[("id", text("x"))]);
    assert_eq!(create(&mut world, "scls/s/subscriptions", subscription()), Forbidden);
    world.policy.resources_per_subtree_max = 4;
    assert_eq!(create(&mut world, "scls/s/subscriptions", subscription()), Created);
    assert_eq!(counted(&world, "scls/s"), Some(4));
    world.send(Method::Delete, &path("scls/s/subscriptions/x"), Body::None);
    assert_eq!(counted(&world, "scls/s"), Some(3));
}
