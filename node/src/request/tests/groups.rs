//! Fan-out through a group, as a peer of the front desk sees it.

use super::*;
use crate::request::{Exchange, Outside};
use banyan_model::Refusal;
use parking_lot::Mutex;

const STRANGER: &str = "/m2m/applications/stranger";

/// Another SCL: `gone` is never reached, everything else is stored and tells what it was asked.
#[derive(Default)]
pub(super) struct OtherScl {
    asked: Mutex<Vec<(String, RequestPrimitive)>>,
}

impl Outside for OtherScl {
    fn exchange(&self, uri: String, request: RequestPrimitive, deadline: Instant) -> Exchange {
        let slow = uri.contains("slow");
        let answer = if uri.contains("gone") {
            Refusal::new(StatusCode::BadGateway, "no route").into()
        } else if uri.contains("hidden") {
            Refusal::not_found().into()
        } else {
            let container = Representation::new(ResourceType::Container);
            ResponsePrimitive {
                body: Body::Representation(container),
                ..ResponsePrimitive::status(StatusCode::Ok)
            }
        };
        self.asked.lock().push((uri, request));
        Box::pin(async move {
            if slow {
                tokio::time::sleep_until((deadline + PATIENCE).into()).await;
            }
            answer
        })
    }
}

impl OtherScl {
    pub(super) fn forget(&self) {
        self.asked.lock().clear();
    }

    pub(super) fn asked(&self) -> Vec<(String, RequestPrimitive)> {
        self.asked.lock().clone()
    }
}

async fn node() -> (Node, Arc<OtherScl>) {
    node_with(|_, _| {}).await
}

pub(super) async fn node_with(
    change: impl FnOnce(&mut subtree::Config, &mut Config),
) -> (Node, Arc<OtherScl>) {
    let node = Node::leading(4, change).await;
    let other = Arc::new(OtherScl::default());
    node.desk.connect(other.clone());
    (node, other)
}

fn group(id: &str, member_type: &str, members: &[&str]) -> Representation {
    let mut group = Representation::new(ResourceType::Group);
    group.set("id", Value::Text(id.to_owned()));
    group.set("memberType", Value::Text(member_type.to_owned()));
    group.set("members", Value::List(members.iter().map(|member| (*member).to_owned()).collect()));
    group
}

async fn create_group(node: &Node, group: Representation) -> ResponsePrimitive {
    node.ask(&request(Method::Create, "/groups", Body::Representation(group))).await
}

pub(super) async fn created_group(node: &Node, id: &str, members: &[&str]) -> Representation {
    let created = create_group(node, group(id, "MIXED", members)).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    representation(created)
}

fn members(group: &Representation) -> Vec<&str> {
    match group.get("members") {
        Some(Value::List(members)) => members.iter().map(String::as_str).collect(),
        other => panic!("no members: {other:?}"),
    }
}

/// Member, status and final resource of every part of an aggregated answer.
pub(super) fn parts(answer: &ResponsePrimitive) -> Vec<(String, String, String)> {
    assert_eq!(answer.status, StatusCode::Ok, "{}", answer.info);
    let Body::Message(message) = &answer.body else { panic!("no message: {answer:?}") };
    assert_eq!(message.name, "MembersContentResponses");
    let text = |part: &Struct, field: &str| match part.get(field) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{field}: {other:?}"),
    };
    let part = |value: &Value| match value {
        Value::Struct(part) => (text(part, "id"), text(part, "statusCode"), text(part, "resourceURI")),
        other => panic!("no status: {other:?}"),
    };
    message.all("status").map(part).collect()
}

#[track_caller]
fn check(answer: &ResponsePrimitive, expected: &[(&str, &str)]) {
    let found = parts(answer);
    let found: Vec<(&str, &str)> = found.iter().map(|(id, code, _)| (id.as_str(), code.as_str())).collect();
    assert_eq!(found, expected);
}

async fn instances(node: &Node, container: &str) -> i64 {
    let found = node.ask(&retrieve(&format!("/containers/{container}/contentInstances"))).await;
    representation(found).long("currentNrOfInstances").unwrap()
}

fn instance_for(target: &str) -> RequestPrimitive {
    RequestPrimitive { target: path_of(target), ..create_instance("any", "on") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_is_asked_and_says_for_itself_how_it_went() {
    let (node, other) = node().await;
    for name in ["a", "b"] {
        node.create_container(name).await;
    }
    let (far, gone) = ("http://gw.example.org/other/containers/far", "http://gw.example.org/other/gone");
    let listed = ["/m2m/containers/a", far, "/m2m/containers/b", gone];
    created_group(&node, "g", &listed).await;
    other.asked.lock().clear();

    let answer = node.ask(&instance_for("/groups/g/membersContent/contentInstances")).await;
    check(
        &answer,
        &[
            (listed[0], "STATUS_CREATED"),
            (listed[1], "STATUS_OK"),
            (listed[2], "STATUS_CREATED"),
            (listed[3], "STATUS_BAD_GATEWAY"),
        ],
    );
    let found = parts(&answer);
    assert!(found[0].2.starts_with("/m2m/containers/a/contentInstances/"), "{found:?}");
    assert_eq!(found[3].2, format!("{gone}/contentInstances"));
    for name in ["a", "b"] {
        assert_eq!(instances(&node, name).await, 1, "{name}");
    }
    let asked = other.asked.lock().clone();
    assert_eq!(asked.len(), 2);
    let identifiers: BTreeSet<_> = asked.iter().map(|(_, request)| request.group_request.clone()).collect();
    assert!(identifiers.len() == 1 && identifiers.iter().all(Option::is_some), "{identifiers:?}");
    assert!(asked.iter().all(|(_, request)| request.requesting_entity.0 == "/m2m"));

    let read = node.ask(&retrieve("/groups/g/membersContent/contentInstances/latest/content")).await;
    let Body::Message(message) = &read.body else { panic!("{read:?}") };
    let Some(Value::Struct(first)) = message.get("status") else { panic!("{message:?}") };
    let body =
        Value::Binary { content_type: Some("text/plain".to_owned()), bytes: Bytes::from_static(b"on") };
    assert_eq!(first.get("resultBody"), Some(&body));
    for format in [banyan_codec::Format::Xml, banyan_codec::Format::Json] {
        let written = banyan_codec::encode_body(format, &read.body).unwrap();
        let limits = banyan_codec::Limits::default();
        let again = banyan_codec::decode(format, &written, &limits, banyan_codec::Expect::Any);
        assert_eq!(again, read.body, "{}", String::from_utf8_lossy(&written));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_that_is_sent_again_is_done_once_even_by_a_leader_that_knows_nothing_of_the_first() {
    let (node, other) = node().await;
    node.create_container("a").await;
    let far = "http://gw.example.org/other/containers/far";
    created_group(&node, "inner", &["/m2m/containers/a"]).await;
    created_group(&node, "g", &["/m2m/containers/a", far, "/m2m/groups/inner/membersContent"]).await;
    other.asked.lock().clear();
    let (create, id) = (instance_for("/groups/g/membersContent/contentInstances"), new_id());
    let (first, second) = (node.send(&create, id, DEADLINE_MS), node.send(&create, id, DEADLINE_MS));
    let answers = [first.await.unwrap(), second.await.unwrap()];
    assert_eq!(answers[0], answers[1]);
    assert_eq!(node.send(&create, id, DEADLINE_MS).await.unwrap(), answers[0]);
    assert_eq!(other.asked.lock().len(), 1, "another SCL is asked once by the same node");
    assert_eq!(instances(&node, "a").await, 2, "by itself, and by the group within");

    node.desk.inner.handled.forget_all();
    let again = response(node.send(&create, id, DEADLINE_MS).await.unwrap());
    assert_eq!(parts(&again), parts(&response(answers[0].clone())));
    assert_eq!(instances(&node, "a").await, 2, "the members have done it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_within_groups_are_expanded_once_and_a_circle_ends() {
    let (node, _) = node().await;
    node.create_container("a").await;
    // Named before they exist, so that they can point at each other.
    created_group(&node, "one", &[]).await;
    created_group(&node, "two", &["/m2m/containers/a", "/m2m/groups/one/membersContent"]).await;
    let two = "/m2m/groups/two/membersContent";
    let operation = Operation::UpdateMembers {
        group: path_of("/groups/one"),
        verified: banyan_model::group::Verified {
            members: vec![two.to_owned(), "/m2m/containers/a".to_owned()],
            member_type: None,
            validated: true,
        },
        conditions: Default::default(),
    };
    node.shard_of("/groups/one").operate(operation).await.unwrap();

    let answer = node.ask(&instance_for("/groups/one/membersContent/contentInstances")).await;
    check(&answer, &[(two, "STATUS_OK"), ("/m2m/containers/a", "STATUS_CREATED")]);
    assert_eq!(instances(&node, "a").await, 2);
    let Body::Message(message) = &answer.body else { panic!("{answer:?}") };
    let Some(Value::Struct(nested)) = message.get("status") else { panic!("{message:?}") };
    let Some(Value::Binary { bytes, .. }) = nested.get("resultBody") else { panic!("{nested:?}") };
    let nested = String::from_utf8_lossy(bytes);
    assert!(nested.contains("STATUS_CREATED") && nested.contains("STATUS_BAD_REQUEST"), "{nested}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_in_time_does_not_hold_the_others() {
    let (node, _) = node().await;
    node.create_container("a").await;
    let slow = "http://gw.example.org/other/slow";
    // Listed without being asked.
    created_group(&node, "g", &["/m2m/containers/a"]).await;
    let members = vec![slow.to_owned(), "/m2m/containers/a".to_owned()];
    let verified = banyan_model::group::Verified { members, member_type: None, validated: false };
    let operation =
        Operation::UpdateMembers { group: path_of("/groups/g"), verified, conditions: Default::default() };
    node.shard_of("/groups/g").operate(operation).await.unwrap();
    let create = instance_for("/groups/g/membersContent/contentInstances");
    let answer = response(node.send(&create, new_id(), 1_000).await.unwrap());
    check(&answer, &[(slow, "STATUS_GATEWAY_TIMEOUT"), ("/m2m/containers/a", "STATUS_CREATED")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_content_has_rights_of_its_own_and_each_member_too() {
    let (node, _) = node().await;
    node.create_container("a").await;
    let mut right = access_right(&["READ", "CREATE"]);
    right.set("id", Value::Text("r".to_owned()));
    let made = node.ask(&request(Method::Create, "/accessRights", Body::Representation(right))).await;
    assert_eq!(made.status, StatusCode::Created, "{}", made.info);
    let mut of_device = group("g", "CONTAINER", &["/m2m/containers/a"]);
    of_device.set("membersContentAccessRightID", Value::Text("/m2m/accessRights/r".to_owned()));
    assert_eq!(create_group(&node, of_device).await.status, StatusCode::Created);

    let create = instance_for("/groups/g/membersContent/contentInstances");
    check(&node.ask(&by_device(create.clone())).await, &[("/m2m/containers/a", "STATUS_NOT_FOUND")]);
    let delete = request(Method::Delete, "/groups/g/membersContent", Body::None);
    assert_eq!(node.ask(&by_device(delete)).await.status, StatusCode::PermissionDenied);
    let wrong = node.ask(&instance_for("/groups/g/membersContent/applications")).await;
    assert_eq!(wrong.status, StatusCode::BadRequest, "{}", wrong.info);
    assert!(wrong.info.starts_with("membersContent: "), "{}", wrong.info);
    let mut stranger = instance_for("/groups/g/membersContent/applications");
    stranger.requesting_entity = Entity(STRANGER.to_owned());
    assert_eq!(node.ask(&stranger).await.status, StatusCode::NotFound, "nothing is told to strangers");
    assert_eq!(node.ask(&by_device(retrieve("/groups/g"))).await.status, StatusCode::NotFound);
    assert_eq!(node.ask(&retrieve("/groups/none/membersContent")).await.status, StatusCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_through_a_group_is_no_member_any_more() {
    let (node, _) = node().await;
    for name in ["a", "b"] {
        node.create_container(name).await;
    }
    let gone = "http://gw.example.org/other/gone";
    created_group(&node, "g", &["/m2m/containers/a", gone, "/m2m/containers/b"]).await;
    created_group(&node, "empty", &[]).await;
    let delete = request(Method::Delete, "/groups/g/membersContent", Body::None);
    check(
        &node.ask(&delete).await,
        &[
            ("/m2m/containers/a", "STATUS_OK"),
            (gone, "STATUS_BAD_GATEWAY"),
            ("/m2m/containers/b", "STATUS_OK"),
        ],
    );
    let left = representation(node.ask(&retrieve("/groups/g")).await);
    assert_eq!(members(&left), [gone]);
    assert_eq!(left.long("currentNrOfMembers"), Some(1));
    assert_eq!(node.ask(&retrieve("/containers/a")).await.status, StatusCode::NotFound);
    check(&node.ask(&retrieve("/groups/empty/membersContent/searchStrings")).await, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_through_a_group_stands_at_every_member() {
    let (node, _) = node().await;
    for name in ["a", "b"] {
        node.create_container(name).await;
    }
    created_group(&node, "g", &["/m2m/containers/a", "/m2m/containers/b"]).await;
    let mut subscription = Representation::new(ResourceType::Subscription);
    subscription.set("id", Value::Text("s".to_owned()));
    subscription.set("contact", Value::Text("http://device.example.org/n".to_owned()));
    let target = "/groups/g/membersContent/contentInstances/subscriptions";
    let answer = node.ask(&request(Method::Create, target, Body::Representation(subscription))).await;
    check(&answer, &[("/m2m/containers/a", "STATUS_CREATED"), ("/m2m/containers/b", "STATUS_CREATED")]);
    for name in ["a", "b"] {
        let at = format!("/containers/{name}/contentInstances/subscriptions/s");
        assert_eq!(node.ask(&retrieve(&at)).await.status, StatusCode::Ok, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_group_are_checked_before_it_is_written() {
    let (node, other) = node().await;
    for name in ["a", "b"] {
        node.create_container(name).await;
    }
    created_group(&node, "inner", &[]).await;
    let gone = "http://gw.example.org/other/gone";
    let far = "http://gw.example.org/other/containers/far";
    let listed =
        ["/m2m/containers/a", "/m2m/groups/inner", "/m2m/containers/none", far, "/m2m/containers/%61/"];
    let made = representation(create_group(&node, group("g", "CONTAINER", &listed)).await);
    assert_eq!(members(&made), ["/m2m/containers/a", far]);
    assert_eq!(made.long("currentNrOfMembers"), Some(2));
    assert_eq!(made.get("memberTypeValidated"), Some(&Value::Bool(true)));
    assert_eq!(made.text("consistencyStrategy"), Some("ABANDON_MEMBER"));
    assert!(other.asked.lock().iter().all(|(_, request)| request.requesting_entity.0 == "/m2m"));

    let kept = representation(create_group(&node, group("far", "CONTAINER", &[gone])).await);
    assert_eq!(members(&kept), [gone], "who cannot be reached may well be there");
    assert_eq!(kept.get("memberTypeValidated"), Some(&Value::Bool(false)));

    // NOT_FOUND is what another SCL says to whoever may not know, too.
    let hidden = "http://gw.example.org/other/hidden";
    let kept = representation(create_group(&node, group("hidden", "CONTAINER", &[hidden, far])).await);
    assert_eq!(members(&kept), [hidden, far]);
    assert_eq!(kept.get("memberTypeValidated"), Some(&Value::Bool(false)));

    // They are asked in the name of whoever writes the group.
    node.ask(&create_right("w", "WRITE")).await;
    let mut open = group("open", "CONTAINER", &[]);
    open.set("accessRightID", Value::Text("/m2m/accessRights/w".to_owned()));
    create_group(&node, open).await;
    other.asked.lock().clear();
    let value = Value::List(vec![far.to_owned()]);
    let body = Body::Attribute { name: "members".to_owned(), value };
    let mut write = request(Method::Update, "/groups/open/members", body);
    write.requesting_entity = Entity(STRANGER.to_owned());
    assert_eq!(node.ask(&write).await.status, StatusCode::Ok);
    let asked = other.asked.lock().clone();
    assert_eq!(
        asked.iter().map(|(_, asked)| asked.requesting_entity.0.as_str()).collect::<Vec<_>>(),
        [STRANGER]
    );

    let with = |id: &str, strategy: &str, members: &[&str]| {
        let mut group = group(id, "CONTAINER", members);
        group.set("consistencyStrategy", Value::Text(strategy.to_owned()));
        group
    };
    let mixed = with("mixed", "MODIFY_TYPE", &["/m2m/containers/a", "/m2m/groups/inner"]);
    let mixed = representation(create_group(&node, mixed).await);
    assert_eq!((mixed.text("memberType"), members(&mixed).len()), (Some("MIXED"), 2));
    let refused = create_group(&node, with("no", "ABANDON_GROUP", &["/m2m/groups/inner"])).await;
    assert_eq!(refused.status, StatusCode::BadRequest, "{}", refused.info);
    assert_eq!(node.ask(&retrieve("/groups/no")).await.status, StatusCode::NotFound);

    let mut few = group("few", "CONTAINER", &["/m2m/containers/a", "/m2m/containers/b"]);
    few.set("maxNrOfMembers", Value::Long(1));
    assert_eq!(create_group(&node, few).await.status, StatusCode::Forbidden);
    for own in ["/m2m/groups/self", "/m2m/groups/self/membersContent", "nowhere"] {
        let refused = create_group(&node, group("self", "MIXED", &[own])).await;
        assert_eq!(refused.status, StatusCode::BadRequest, "{own}: {}", refused.info);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_the_members_is_checked_too_and_may_end_the_group() {
    let (node, other) = node().await;
    for name in ["a", "b"] {
        node.create_container(name).await;
    }
    let created = create_group(&node, group("g", "CONTAINER", &["/m2m/containers/a"])).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    let partial = |members: &[&str]| {
        let value = Value::List(members.iter().map(|member| (*member).to_owned()).collect());
        request(Method::Update, "/groups/g/members", Body::Attribute { name: "members".to_owned(), value })
    };
    let updated = node.ask(&partial(&["/m2m/containers/b", "/m2m/containers/none"])).await;
    let kept = Value::List(vec!["/m2m/containers/b".to_owned()]);
    assert_eq!(updated.body, Body::Attribute { name: "members".to_owned(), value: kept });
    assert_eq!(node.ask(&partial(&["/m2m/groups/g"])).await.status, StatusCode::BadRequest);
    created_group(&node, "outer", &["/m2m/groups/g/membersContent"]).await;
    let circle = node.ask(&partial(&["/m2m/groups/outer/membersContent"])).await;
    assert_eq!(circle.status, StatusCode::BadRequest, "{}", circle.info);

    let add = |member: &str| {
        let value = Value::Text(member.to_owned());
        request(Method::Create, "/groups/g/members", Body::Attribute { name: "reference".to_owned(), value })
    };
    for wrong in [
        "/m2m/groups/g",
        "/m2m/groups/outer/membersContent",
        "/m2m/groups/outer",
        "/m2m/containers/none",
        "nowhere",
    ] {
        let refused = node.ask(&add(wrong)).await;
        assert_eq!(refused.status, StatusCode::BadRequest, "{wrong}: {}", refused.info);
        assert!(refused.info.starts_with("members: "), "{wrong}: {}", refused.info);
    }
    assert_eq!(node.ask(&add("/m2m/containers/%62/")).await.status, StatusCode::Conflict);
    let added = node.ask(&add("/m2m/containers/a")).await;
    assert_eq!(added.status, StatusCode::Created, "{}", added.info);
    assert_eq!(added.resource_uri.as_deref(), Some("/m2m/groups/g/members/%2Fm2m%2Fcontainers%2Fa"));
    let now = representation(node.ask(&retrieve("/groups/g")).await);
    assert_eq!(members(&now), ["/m2m/containers/b", "/m2m/containers/a"]);
    assert_eq!(now.get("memberTypeValidated"), Some(&Value::Bool(true)));
    let limit = Body::Attribute { name: "maxNrOfMembers".to_owned(), value: Value::Long(2) };
    let limited = node.ask(&request(Method::Update, "/groups/g/maxNrOfMembers", limit)).await;
    assert_eq!(limited.status, StatusCode::Ok, "{}", limited.info);
    let third = node.ask(&add("http://gw.example.org/other/containers/far")).await;
    assert_eq!(third.status, StatusCode::Forbidden, "{}", third.info);
    let change = |strategy: &str| {
        let value = Value::Text(strategy.to_owned());
        let name = "consistencyStrategy".to_owned();
        request(Method::Update, "/groups/end/consistencyStrategy", Body::Attribute { name, value })
    };
    let mut end = group("end", "CONTAINER", &[]);
    end.set("consistencyStrategy", Value::Text("MODIFY_TYPE".to_owned()));
    assert_eq!(create_group(&node, end).await.status, StatusCode::Created);
    let into_end = |member: &str| RequestPrimitive { target: path_of("/groups/end/members"), ..add(member) };
    assert_eq!(node.ask(&into_end("/m2m/groups/outer")).await.status, StatusCode::Created);
    let mixed = representation(node.ask(&retrieve("/groups/end")).await);
    assert_eq!(mixed.text("memberType"), Some("MIXED"));
    assert_eq!(node.ask(&change("ABANDON_GROUP")).await.status, StatusCode::Ok);
    assert_eq!(node.ask(&into_end("/m2m/containers/none")).await.status, StatusCode::BadRequest);
    assert_eq!(node.ask(&retrieve("/groups/end")).await.status, StatusCode::NotFound);

    let mut whole = Representation::new(ResourceType::Group);
    let both = vec!["/m2m/containers/a".to_owned(), "/m2m/containers/b".to_owned()];
    whole.set("members", Value::List(both));
    whole.set("consistencyStrategy", Value::Text("ABANDON_GROUP".to_owned()));
    let update =
        |whole: &Representation| request(Method::Update, "/groups/g", Body::Representation(whole.clone()));
    let updated = representation(node.ask(&update(&whole)).await);
    assert_eq!(updated.long("currentNrOfMembers"), Some(2));
    assert_eq!(updated.text("memberType"), Some("CONTAINER"));
    let lower = Body::Attribute { name: "maxNrOfMembers".to_owned(), value: Value::Long(1) };
    let lowered = node.ask(&request(Method::Update, "/groups/g/maxNrOfMembers", lower)).await;
    assert_eq!(lowered.status, StatusCode::Forbidden, "{}", lowered.info);

    other.asked.lock().clear();
    let mut stranger = update(&whole);
    if let Body::Representation(whole) = &mut stranger.body {
        whole.set("members", Value::List(vec!["http://gw.example.org/other/far".to_owned()]));
    }
    stranger.requesting_entity = Entity(STRANGER.to_owned());
    assert_eq!(node.ask(&stranger).await.status, StatusCode::NotFound);
    assert!(other.asked.lock().is_empty(), "for a stranger nobody is asked");

    whole.set("members", Value::List(vec!["/m2m/containers/none".to_owned()]));
    let abandoned = node.ask(&update(&whole)).await;
    assert_eq!(abandoned.status, StatusCode::BadRequest, "{}", abandoned.info);
    assert_eq!(node.ask(&retrieve("/groups/g")).await.status, StatusCode::NotFound);
}

/// The right, with this holder in place of the device.
fn right_for(id: &str, holder: &str) -> Representation {
    let permission = struct_of(
        "PermissionType",
        vec![
            (
                "permissionFlags",
                struct_of("PermissionFlagListType", vec![("flag", Value::Text("READ".to_owned()))]),
            ),
            (
                "permissionHolders",
                struct_of(
                    "PermissionHolderType",
                    vec![(
                        "holderRefs",
                        struct_of("HolderRefListType", vec![("holderRef", Value::Text(holder.to_owned()))]),
                    )],
                ),
            ),
        ],
    );
    let all = struct_of("PermissionListType", vec![("permission", permission)]);
    let mut right = Representation::new(ResourceType::AccessRight);
    right.set("id", Value::Text(id.to_owned()));
    right.set("permissions", all.clone());
    right.set("selfPermissions", all);
    right
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_group_that_holds_a_right_is_let_in_and_out_with_its_membership() {
    let node = Node::leading(4, |_, desk| desk.rights_lease = Duration::from_millis(100)).await;
    let application = request(Method::Create, "/applications", {
        let mut application = Representation::new(ResourceType::Application);
        application.set("appId", Value::Text("device".to_owned()));
        Body::Representation(application)
    });
    assert_eq!(node.ask(&application).await.status, StatusCode::Created);
    created_group(&node, "holders", &[DEVICE]).await;
    let right = right_for("r", "/m2m/groups/holders");
    let made = node.ask(&request(Method::Create, "/accessRights", Body::Representation(right))).await;
    assert_eq!(made.status, StatusCode::Created, "{}", made.info);
    for n in 0..4 {
        let mut container = create_container(&format!("c{n}"));
        if let Body::Representation(container) = &mut container.body {
            container.set("accessRightID", Value::Text("/m2m/accessRights/r".to_owned()));
        }
        assert_eq!(node.ask(&container).await.status, StatusCode::Created);
        let target = format!("/containers/c{n}");
        assert_eq!(node.ask(&by_device(retrieve(&target))).await.status, StatusCode::Ok, "{target}");
        let delete = by_device(request(Method::Delete, &target, Body::None));
        assert_eq!(node.ask(&delete).await.status, StatusCode::PermissionDenied, "{target}");
    }
    let nobody = Body::Attribute { name: "members".to_owned(), value: Value::List(Vec::new()) };
    let emptied = node.ask(&request(Method::Update, "/groups/holders/members", nobody)).await;
    assert_eq!(emptied.status, StatusCode::Ok, "{}", emptied.info);
    tokio::time::sleep(Duration::from_millis(110)).await;
    for n in 0..4 {
        let hidden = node.ask(&by_device(retrieve(&format!("/containers/c{n}")))).await;
        assert_eq!(hidden.status, StatusCode::NotFound, "the lease is over");
    }
}

/// An SCL that keeps an accessRight for us: `right` lets the device read, `gone` is unreachable.
struct Keeper {
    asked: Mutex<usize>,
}

impl Outside for Keeper {
    fn exchange(&self, uri: String, request: RequestPrimitive, _: Instant) -> Exchange {
        *self.asked.lock() += 1;
        assert_eq!((request.method, request.requesting_entity.0.as_str()), (Method::Retrieve, "/m2m"));
        let answer = if uri.ends_with("/right") {
            let body = Body::Representation(right_for("right", DEVICE));
            ResponsePrimitive { body, ..ResponsePrimitive::status(StatusCode::Ok) }
        } else {
            Refusal::new(StatusCode::GatewayTimeout, "no answer").into()
        };
        Box::pin(async move { answer })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_of_another_scl_is_asked_for_once_a_lease_and_opens_nothing_when_it_cannot_be_had() {
    let node = Node::leading(2, |_, _| {}).await;
    let keeper = Arc::new(Keeper { asked: Mutex::default() });
    node.desk.connect(keeper.clone());
    for name in ["right", "gone"] {
        let mut container = create_container(name);
        if let Body::Representation(container) = &mut container.body {
            let uri = format!("http://gw.example.org/other/accessRights/{name}");
            container.set("accessRightID", Value::Text(uri));
        }
        assert_eq!(node.ask(&container).await.status, StatusCode::Created);
    }
    for _ in 0..3 {
        assert_eq!(node.ask(&by_device(retrieve("/containers/right"))).await.status, StatusCode::Ok);
        assert_eq!(node.ask(&by_device(retrieve("/containers/gone"))).await.status, StatusCode::NotFound);
    }
    assert_eq!(*keeper.asked.lock(), 2, "an answer, and that there is none, count for a lease");
}
