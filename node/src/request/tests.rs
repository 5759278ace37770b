//! One node, groups of one voter, real storage: what a peer of the front desk relies on.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod aggregation;
mod channels;
mod deferred;

use super::*;
use crate::subtree::{self, Rights, Source};
use banyan_client::Map;
use banyan_model::{
    Body, Operation, Representation, ResourceType, Scl, Timestamp, Value,
    key::Key,
    path::Slot,
    placement::ShardMap,
    value::{Content, ContentForm, Struct},
};
use banyan_raft::{Groups, Links};
use banyan_storage::{Batch, Store};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;
use tokio::sync::oneshot;

mod groups;
mod notifies;

const ME: NodeId = NodeId(11);
const PATIENCE: Duration = Duration::from_secs(30);
const DEADLINE_MS: u32 = 10_000;

struct Node {
    desk: Desk,
    shards: Shards,
    rights: RightsCache,
    groups: Arc<Groups>,
    store: Store,
    views: watch::Sender<Option<Arc<View>>>,
    _dir: TempDir,
}

impl Node {
    /// A node that leads `count` shards.
    async fn leading(count: u64, change: impl FnOnce(&mut subtree::Config, &mut Config)) -> Node {
        let node = Node::new(ShardMap::found(count, &[ME], 1), change).await;
        for shard in node.shards.all() {
            shard.group().found(BTreeSet::from([ME.0])).await.unwrap();
        }
        for shard in node.shards.all() {
            until("the shard is led", || shard.is_open() && shard.group().serves_reads().is_ok()).await;
        }
        node
    }

    /// A node with replicas that have no members yet.
    async fn new(map: ShardMap, change: impl FnOnce(&mut subtree::Config, &mut Config)) -> Node {
        let (mut of_shards, mut of_desk) = (subtree::Config::default(), Config::default());
        change(&mut of_shards, &mut of_desk);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data"), banyan_storage::Config::default()).unwrap();
        let config = banyan_raft::Config::default();
        let links = Links::new(config.link_queue_bytes_max);
        let groups = Groups::new(ME.0, store.clone(), links, config);
        let rights = RightsCache::new(&of_desk);
        let shards = Shards::new(of_shards, groups.clone(), store.clone(), Arc::new(rights.clone()));
        let scl = Scl {
            id: "nscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: Vec::new(),
            founded_at: Timestamp(0),
        };
        for shard in map.shards.iter().filter(|shard| shard.replicas.contains(&ME)) {
            shards.start(shard, Arc::new(scl.clone())).await.unwrap();
        }
        let map = Map { cluster: 1, shards: map, keys: None, members: BTreeMap::new(), scl };
        let (views, seen) =
            watch::channel(Some(Arc::new(View { state: v1::DirectoryState::default(), map })));
        let nowhere = banyan_client::Config { nodes: vec!["127.0.0.1:9".to_owned()], ..Default::default() };
        let client = Client::new(nowhere).unwrap();
        rights.connect(&shards, client.clone());
        let desk = Desk::new(of_desk, shards.clone(), seen, client);
        rights.reach_out(&desk);
        Node { desk, shards, rights, groups, store, views, _dir: dir }
    }

    fn submit(&self, submission: v1::Submission, internal: bool) -> oneshot::Receiver<What> {
        let (tell, told) = oneshot::channel();
        let correlation = submission.correlation;
        self.desk.submit(submission, internal, move |answer| {
            assert_eq!(answer.correlation, correlation);
            tell.send(answer.what.unwrap()).ok();
        });
        told
    }

    fn send(&self, request: &RequestPrimitive, id: RequestId, deadline_ms: u32) -> oneshot::Receiver<What> {
        let what = submission::What::Request(convert::request_to_bytes(request));
        self.submit(
            v1::Submission {
                correlation: 5,
                deadline_ms,
                id: Some((&id).into()),
                what: Some(what),
                ..Default::default()
            },
            false,
        )
    }

    async fn ask(&self, request: &RequestPrimitive) -> ResponsePrimitive {
        response(self.send(request, new_id(), DEADLINE_MS).await.unwrap())
    }

    async fn create_container(&self, name: &str) {
        let created = self.ask(&create_container(name)).await;
        assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    }

    /// An SCL that is registered. The registration itself would ask every shard through the client, which leads nowhere.
    async fn register(&self, id: &str, link: &str) {
        let mut representation = Representation::new(ResourceType::Scl);
        for (name, value) in [("link", link), ("mgmtProtocolType", "OMA_DM"), ("sclType", "GSCL")] {
            representation.set(name, Value::Text(value.to_owned()));
        }
        let path = path_of(&format!("/scls/{id}"));
        let shard = self.shards.owner(&path).unwrap();
        let notify_media = banyan_model::primitive::NotifyMedia::default();
        let created = shard.operate(Operation::Create { path, representation, notify_media }).await.unwrap();
        assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    }

    fn shard_of(&self, path: &str) -> ShardHandle {
        self.shards.owner(&path_of(path)).unwrap()
    }
}

fn response(what: What) -> ResponsePrimitive {
    match what {
        What::Response(bytes) => convert::response_from_bytes(bytes).unwrap(),
        other => panic!("not a response: {other:?}"),
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn path_of(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn new_id() -> RequestId {
    RequestId { session: rand::random_range(1..u64::MAX), sequence: 1, acked_below: 0 }
}

fn request(method: Method, target: &str, body: Body) -> RequestPrimitive {
    let entity = Entity("/m2m".to_owned());
    RequestPrimitive { body, ..RequestPrimitive::new(method, path_of(target), entity) }
}

fn retrieve(target: &str) -> RequestPrimitive {
    request(Method::Retrieve, target, Body::None)
}

fn create_container(name: &str) -> RequestPrimitive {
    let mut container = Representation::new(ResourceType::Container);
    container.set("id", Value::Text(name.to_owned()));
    request(Method::Create, "/containers", Body::Representation(container))
}

fn create_instance(container: &str, text: &'static str) -> RequestPrimitive {
    let mut instance = Representation::new(ResourceType::ContentInstance);
    instance.set(
        "content",
        Value::Content(Content {
            content_type: Some("text/plain".to_owned()),
            bytes: Bytes::from_static(text.as_bytes()),
            form: ContentForm::Text,
        }),
    );
    request(
        Method::Create,
        &format!("/containers/{container}/contentInstances"),
        Body::Representation(instance),
    )
}

fn representation(response: ResponsePrimitive) -> Representation {
    match response.body {
        Body::Representation(representation) => representation,
        other => panic!("{:?} {}: no representation but {other:?}", response.status, response.info),
    }
}

/// Holds a subtree's actor until the sender is used or dropped.
fn hold(node: &Node, path: &str) -> oneshot::Sender<()> {
    let (release, released) = oneshot::channel();
    node.shard_of(path).in_actor(&path_of(path).subtree(), async move {
        let _ = released.await;
    });
    release
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_created_is_read() {
    let node = Node::leading(2, |_, _| {}).await;
    node.create_container("c").await;
    let container = representation(node.ask(&retrieve("/containers/c")).await);
    assert_eq!(container.resource_type, ResourceType::Container);
    assert_eq!(container.text("id"), Some("c"));

    let created = node.ask(&create_instance("c", "21.5")).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    let latest = representation(node.ask(&retrieve("/containers/c/contentInstances/latest")).await);
    assert!(matches!(latest.get("content"), Some(Value::Content(c)) if c.bytes == "21.5"), "{latest:?}");
    let missing = node.ask(&retrieve("/containers/d")).await;
    assert_eq!(missing.status, StatusCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_is_applied_once_and_answered_the_same() {
    let node = Node::leading(1, |_, _| {}).await;
    node.create_container("c").await;
    let id = new_id();
    let create = create_instance("c", "1");
    // At the same time, and when it is long done.
    let (first, second) = (node.send(&create, id, DEADLINE_MS), node.send(&create, id, DEADLINE_MS));
    let answers =
        [first.await.unwrap(), second.await.unwrap(), node.send(&create, id, DEADLINE_MS).await.unwrap()];
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    let container = node.ask(&retrieve("/containers/c/contentInstances")).await;
    assert_eq!(representation(container).long("currentNrOfInstances"), Some(1));

    // The same with a DELETE, whose target is gone when it comes again.
    let (delete, id) = (request(Method::Delete, "/containers/c", Body::None), new_id());
    let first = response(node.send(&delete, id, DEADLINE_MS).await.unwrap());
    assert_eq!(first.status, StatusCode::Ok);
    assert_eq!(response(node.send(&delete, id, DEADLINE_MS).await.unwrap()), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtree_that_breaks_takes_nobody_with_it_and_starts_again() {
    let node = Node::leading(1, |_, _| {}).await;
    for name in ["bad", "good"] {
        node.create_container(name).await;
    }
    let bad = path_of("/containers/bad").subtree();
    let (go, gone) = oneshot::channel::<()>();
    node.shard_of("/containers/bad").in_actor(&bad, async move {
        let _ = gone.await;
        panic!("a defect, on purpose");
    });
    let waiting: Vec<_> =
        (0..3).map(|_| node.send(&create_instance("bad", "x"), new_id(), DEADLINE_MS)).collect();
    assert_eq!(node.ask(&create_instance("good", "1")).await.status, StatusCode::Created);
    go.send(()).unwrap();
    for answered in waiting {
        let answered = tokio::time::timeout(PATIENCE, answered).await.unwrap().unwrap();
        assert!(matches!(answered, What::Busy(_)), "nothing was done, and it says so: {answered:?}");
    }
    assert_eq!(node.ask(&create_instance("good", "2")).await.status, StatusCode::Created);
    assert_eq!(node.ask(&create_instance("bad", "1")).await.status, StatusCode::Created);
    let instances = node.ask(&retrieve("/containers/bad/contentInstances")).await;
    assert_eq!(representation(instances).long("currentNrOfInstances"), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_subtree_is_busy_and_the_others_are_not() {
    let node = Node::leading(1, |shards, _| shards.requests_max = 2).await;
    for name in ["full", "free"] {
        node.create_container(name).await;
    }
    let release = hold(&node, "/containers/full");
    let taken: Vec<_> =
        (0..2).map(|_| node.send(&create_instance("full", "x"), new_id(), DEADLINE_MS)).collect();
    let refused = node.send(&create_instance("full", "x"), new_id(), DEADLINE_MS).await.unwrap();
    assert!(matches!(&refused, What::Busy(busy) if busy.retry_after_ms > 0), "{refused:?}");
    assert_eq!(node.ask(&create_instance("free", "x")).await.status, StatusCode::Created);
    release.send(()).unwrap();
    for taken in taken {
        assert_eq!(response(taken.await.unwrap()).status, StatusCode::Created);
    }
    assert_eq!(node.ask(&create_instance("full", "x")).await.status, StatusCode::Created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_answered_before_its_deadline_and_not_begun_after_it() {
    let node = Node::leading(1, |_, _| {}).await;
    node.create_container("c").await;
    let release = hold(&node, "/containers/c");
    let sent = Instant::now();
    let late = node.send(&create_instance("c", "late"), new_id(), 300).await.unwrap();
    assert!(matches!(late, What::OutcomeUnknown(_)), "{late:?}");
    assert!(sent.elapsed() < Duration::from_millis(300), "after {:?}", sent.elapsed());
    let passed = node.send(&create_instance("c", "passed"), new_id(), 0).await.unwrap();
    assert!(matches!(passed, What::Busy(_)), "{passed:?}");
    release.send(()).unwrap();
    assert_eq!(node.ask(&create_instance("c", "in time")).await.status, StatusCode::Created);
    let instances = node.ask(&retrieve("/containers/c/contentInstances")).await;
    assert_eq!(representation(instances).long("currentNrOfInstances"), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_subtree_has_no_actor() {
    let node = Node::leading(1, |shards, _| shards.idle = Duration::from_millis(50)).await;
    node.create_container("c").await;
    let shard = node.shard_of("/containers/c");
    until("the actor goes", || shard.subtrees() == 0).await;
    assert_eq!(node.ask(&create_instance("c", "x")).await.status, StatusCode::Created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_has_no_more_actors_than_it_may() {
    let node = Node::leading(1, |shards, _| shards.subtrees_max = 2).await;
    for name in ["a", "b"] {
        let _ = hold(&node, &format!("/containers/{name}"));
    }
    let refused = node.send(&create_container("c"), new_id(), DEADLINE_MS).await.unwrap();
    assert!(matches!(refused, What::Busy(_)), "{refused:?}");
    assert_eq!(node.shard_of("/containers/c").subtrees(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_of_another_shard_is_known_for_its_lease_and_asked_for_again() {
    let node = Node::leading(2, |_, desk| desk.rights_lease = Duration::from_millis(80)).await;
    let collection = Source::Here(path_of("/applications"));
    assert!(node.rights.cached(&collection).is_none());
    let asked = Instant::now();
    let lease = node.rights.fetch(&collection).await.unwrap();
    assert!(lease.representation.is_some(), "collections are there from the founding on");
    assert!(lease.until <= Instant::now() + Duration::from_millis(80));
    assert!(node.rights.cached(&collection).is_some() || !lease.is_fresh());
    until("the lease is over", || node.rights.cached(&collection).is_none()).await;
    assert!(Instant::now() >= lease.until && lease.until >= asked + Duration::from_millis(80));

    let nothing = node.rights.fetch(&Source::Here(path_of("/accessRights/none"))).await.unwrap();
    assert!(nothing.representation.is_none(), "that there is none is known, too");

    let again = node.rights.fetch(&collection).await.unwrap();
    assert!(again.is_fresh());
    node.rights.changed(&path_of("/applications"));
    assert!(node.rights.cached(&collection).is_none(), "what changed here is forgotten at once");
}

/// CREATE of a container that is to be announced at an scl; gives sclList as it was stored.
async fn announced_to(node: &Node, container: &str, scl: &str) -> Vec<String> {
    let list = ("sclList", Value::List(vec![scl.to_owned()]));
    let mut create = create_container(container);
    let Body::Representation(body) = &mut create.body else { panic!("a container") };
    body.set("announceTo", Value::Struct(Struct { name: "AnnounceTo", fields: vec![list] }));
    let created = representation(node.ask(&create).await);
    let Some(Value::Struct(to)) = created.get("announceTo") else { panic!("{created:?}") };
    banyan_model::announce::scls(to).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_scl_that_registered_after_it_was_found_missing_is_announced_to_at_once() {
    let node = Node::leading(4, |_, desk| desk.rights_lease = Duration::from_secs(3600)).await;
    let (address, scl) = ("/m2m/scls/gw", path_of("/scls/gw"));
    let of_scl = node.shard_of("/scls/gw").id();
    // Where the scl is another shard's, and so leased.
    let mut elsewhere = (0..).map(|n| format!("c{n}"));
    let mut next = || elsewhere.find(|name| node.shard_of(&format!("/containers/{name}")).id() != of_scl);
    let (before, after) = (next().unwrap(), next().unwrap());
    assert!(announced_to(&node, &before, address).await.is_empty());
    let known = node.rights.cached(&Source::Here(scl)).expect("it is remembered");
    assert!(known.representation.is_none());

    node.register("gw", "http://gw.example.org/m2m").await;
    assert_eq!(announced_to(&node, &after, address).await, [address]);
}

fn created(name: &str, expires: Option<Timestamp>) -> Operation {
    let mut representation = Representation::new(ResourceType::Container);
    if let Some(at) = expires {
        representation.set("expirationTime", Value::Datetime(at));
    }
    let path = path_of(&format!("/containers/{name}"));
    Operation::Create { path, representation, notify_media: banyan_model::primitive::NotifyMedia::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_falls_due_goes() {
    let node = Node::leading(1, |_, _| {}).await;
    let shard = node.shard_of("/containers/soon");
    let in_ms = |ms| Some(Timestamp(crate::clock::now().0 + ms));
    for (name, expires) in [("later", in_ms(600_000)), ("soon", in_ms(200)), ("past", in_ms(-5_000))] {
        let response = shard.operate(created(name, expires)).await.unwrap();
        assert_eq!(response.status, StatusCode::Created, "{}", response.info);
    }
    for name in ["soon", "past"] {
        let path = path_of(&format!("/containers/{name}"));
        until("it is gone", || shard.resource(&path).unwrap().is_none()).await;
    }
    assert!(shard.resource(&path_of("/containers/later")).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_is_told_and_stays_until_it_is_acknowledged() {
    let node = Node::leading(1, |_, _| {}).await;
    let (shard, queue) = (node.shard_of("/containers/a"), path_of("/containers"));
    let mut told = shard.deliveries();
    told.mark_unchanged();
    shard.operate(created("a", None)).await.unwrap();
    tokio::time::timeout(PATIENCE, told.changed()).await.unwrap().unwrap();
    until("the queue is told", || shard.take_queues().iter().any(|(told, _)| *told == queue)).await;
    assert!(shard.take_queues().is_empty(), "told once");
    shard.operate(created("b", None)).await.unwrap();
    let told: Vec<Path> = shard.take_queues().into_iter().map(|(told, _)| told).collect();
    assert_eq!(told, std::slice::from_ref(&queue), "visible before the answer");

    let owed = shard.outbox(&queue, 10).unwrap();
    assert_eq!(owed.len(), 2);
    assert_eq!(shard.outbox(&queue, 1).unwrap(), owed[..1]);
    for (at, entry) in owed.iter().enumerate() {
        assert_eq!(shard.outbox(&queue, 10).unwrap(), owed[at..]);
        let acknowledge = Operation::Acknowledge { queue: queue.clone(), up_to: entry.sequence };
        shard.operate(acknowledge).await.unwrap();
    }
    assert!(shard.outbox(&queue, 10).unwrap().is_empty());
}

const DEVICE: &str = "/m2m/applications/device";

fn struct_of(name: &'static str, fields: Vec<(&'static str, Value)>) -> Value {
    Value::Struct(Struct { name, fields })
}

/// An accessRight that gives the device these flags.
fn access_right(flags: &[&str]) -> Representation {
    let flags = flags.iter().map(|flag| ("flag", Value::Text((*flag).to_owned()))).collect();
    let holder = struct_of("HolderRefListType", vec![("holderRef", Value::Text(DEVICE.to_owned()))]);
    let permission = struct_of(
        "PermissionType",
        vec![
            ("permissionFlags", struct_of("PermissionFlagListType", flags)),
            ("permissionHolders", struct_of("PermissionHolderType", vec![("holderRefs", holder)])),
        ],
    );
    let all = struct_of("PermissionListType", vec![("permission", permission)]);
    let mut right = Representation::new(ResourceType::AccessRight);
    right.set("permissions", all.clone());
    right.set("selfPermissions", all);
    right
}

/// A node where the container `c` is governed by an accessRight of another shard that lets the device in.
async fn node_with_a_right(flags: &[&str]) -> (Node, String) {
    let node = Node::leading(4, |_, _| {}).await;
    let container_shard = node.shard_of("/containers/c").id();
    let name = (0..)
        .map(|n| format!("r{n}"))
        .find(|name| node.shard_of(&format!("/accessRights/{name}")).id() != container_shard)
        .unwrap();
    let mut right = access_right(flags);
    right.set("id", Value::Text(name.clone()));
    let created = node.ask(&request(Method::Create, "/accessRights", Body::Representation(right))).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    let mut container = create_container("c");
    if let Body::Representation(container) = &mut container.body {
        container.set("accessRightID", Value::Text(format!("/m2m/accessRights/{name}")));
    }
    let created = node.ask(&container).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    (node, format!("/accessRights/{name}"))
}

fn by_device(mut request: RequestPrimitive) -> RequestPrimitive {
    request.requesting_entity = Entity(DEVICE.to_owned());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_of_another_shard_decides_about_reads_and_writes() {
    let (node, right) = node_with_a_right(&["READ", "CREATE"]).await;
    let instances = "/containers/c/contentInstances";
    let created = node.ask(&by_device(create_instance("c", "1"))).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    assert_eq!(node.ask(&by_device(retrieve("/containers/c"))).await.status, StatusCode::Ok);
    assert_eq!(node.ask(&by_device(retrieve(instances))).await.status, StatusCode::Ok);
    let delete = request(Method::Delete, "/containers/c", Body::None);
    assert_eq!(node.ask(&by_device(delete)).await.status, StatusCode::PermissionDenied);
    let mut stranger = retrieve("/containers/c");
    stranger.requesting_entity = Entity("/m2m/applications/other".to_owned());
    assert_eq!(node.ask(&stranger).await.status, StatusCode::NotFound);

    let gone = node.ask(&request(Method::Delete, &right, Body::None)).await;
    assert_eq!(gone.status, StatusCode::Ok, "{}", gone.info);
    let hidden = node.ask(&by_device(retrieve("/containers/c"))).await;
    assert_eq!(hidden.status, StatusCode::NotFound, "the default right knows no device");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notify_is_stored_if_its_issuer_may_create_there() {
    let (node, _right) = node_with_a_right(&["READ", "CREATE"]).await;
    let bytes = Bytes::from_static(b"<x/>");
    let carried = Value::Binary { content_type: Some("application/xml".to_owned()), bytes: bytes.clone() };
    let body = Body::Message(Struct { name: "Notify", fields: vec![("representation", carried)] });
    let instances = "/containers/c/contentInstances";
    let mut notify = request(Method::Notify, instances, body);
    notify.requesting_entity = Entity("/m2m/applications/other".to_owned());
    assert_eq!(node.ask(&notify).await.status, StatusCode::NotFound);
    let stored = node.ask(&by_device(notify)).await;
    assert_eq!((stored.status, stored.body), (StatusCode::Ok, Body::None));
    let latest = node.ask(&by_device(retrieve(&format!("{instances}/latest/content")))).await;
    assert_eq!(latest.body, Body::Raw { content_type: "application/xml".to_owned(), bytes });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_is_told_only_while_it_may_read() {
    let (node, right) = node_with_a_right(&["READ"]).await;
    let mut subscription = Representation::new(ResourceType::Subscription);
    subscription.set("id", Value::Text("s".to_owned()));
    subscription.set("contact", Value::Text("http://device.example.org/n".to_owned()));
    let subscribe =
        request(Method::Create, "/containers/c/subscriptions", Body::Representation(subscription));
    let created = node.ask(&by_device(subscribe)).await;
    assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    let path = path_of("/containers/c/subscriptions/s");
    assert_eq!(node.desk.may_notify(&path).await, Ok(true));

    let gone = node.ask(&request(Method::Delete, &right, Body::None)).await;
    assert_eq!(gone.status, StatusCode::Ok, "{}", gone.info);
    assert_eq!(node.desk.may_notify(&path).await, Ok(false));
    assert_eq!(node.desk.may_notify(&path_of("/containers/c/subscriptions/none")).await, Ok(true));
}

#[tokio::test]
async fn questions_for_the_same_right_at_the_same_time_are_one() {
    let node = Node::leading(2, |_, _| {}).await;
    let collection = Source::Here(path_of("/applications"));
    let (first, second) = (node.rights.fetch(&collection), node.rights.fetch(&collection));
    assert_eq!(first.await.unwrap().until, second.await.unwrap().until);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_cannot_be_read_is_not_guessed_at_and_ends_the_replica() {
    let node = Node::leading(1, |_, _| {}).await;
    node.create_container("c").await;
    let path = path_of("/containers/c");
    let key = [&[1], path.subtree().slot().0.to_be_bytes().as_slice(), &Key::resource(&path).bytes].concat();
    let mut batch = Batch::default();
    batch.put(key, Bytes::from_static(&[0xff, 0xff]), false);
    node.store.state(1).commit(batch);
    let answer = node.send(&retrieve("/containers/c"), new_id(), DEADLINE_MS).await.unwrap();
    assert_eq!(answer, What::NotLeader(v1::NotLeader { shard: 1, leader: 0, map_epoch: 1 }));
    let shard = node.shard_of("/containers/c");
    until("the replica has stopped", || shard.group().status().stopped.is_some()).await;
    let after = node.send(&create_container("d"), new_id(), DEADLINE_MS).await.unwrap();
    assert!(matches!(after, What::NotLeader(_)), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_node_is_sent_there() {
    let map = ShardMap::found(2, &[ME, NodeId(22)], 1);
    let node = Node::new(map.clone(), |_, _| {}).await;
    // One shard is not here, the other has no members yet: nobody leads.
    let mut asked = BTreeSet::new();
    for name in (0..32).map(|n| format!("c{n}")) {
        let owner = map.shard_of(path_of(&format!("/containers/{name}")).subtree().slot()).unwrap();
        for request in [create_container(&name), retrieve(&format!("/containers/{name}"))] {
            let answer = node.send(&request, new_id(), DEADLINE_MS).await.unwrap();
            assert_eq!(
                answer,
                What::NotLeader(v1::NotLeader { shard: owner.id.0, leader: 0, map_epoch: map.epoch })
            );
        }
        asked.insert(owner.id);
    }
    assert_eq!(asked.len(), 2, "both shards were asked for");

    node.views.send_replace(None);
    let answer = node.send(&create_container("c"), new_id(), DEADLINE_MS).await.unwrap();
    assert_eq!(answer, What::NotLeader(v1::NotLeader { shard: 0, leader: 0, map_epoch: 0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_node_may_ask_on_behalf_of_the_tree() {
    let node = Node::leading(1, |_, _| {}).await;
    let ask = |kind: v1::internal::Kind, internal| {
        let what = submission::What::Internal(v1::Internal { kind: Some(kind) });
        let submission =
            v1::Submission { shard: 1, deadline_ms: DEADLINE_MS, what: Some(what), ..Default::default() };
        node.submit(submission, internal)
    };
    let right = || v1::internal::Kind::AccessRight((&path_of("/applications")).into());
    assert!(matches!(ask(right(), false).await.unwrap(), What::Refused(_)));
    let found = response(ask(right(), true).await.unwrap());
    assert_eq!(representation(found).resource_type, ResourceType::Applications);
    let none = v1::internal::Kind::AccessRight((&path_of("/accessRights/none")).into());
    assert_eq!(response(ask(none, true).await.unwrap()).status, StatusCode::NotFound);
    let expire = v1::Command { operation: Some((&Operation::Expire).into()), ..Default::default() };
    let refused = ask(v1::internal::Kind::Command(expire), true).await.unwrap();
    assert!(matches!(refused, What::Refused(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_collection_lists_the_members_of_all_shards_in_the_order_of_their_names() {
    let node = Node::leading(4, |_, desk| desk.members_max = 12).await;
    let names: Vec<String> = (0..12).map(|n| format!("c{n:02}")).collect();
    for name in names.iter().rev() {
        node.create_container(name).await;
    }
    let owners: BTreeSet<ShardId> =
        names.iter().map(|name| node.shard_of(&format!("/containers/{name}")).id()).collect();
    assert!(owners.len() > 1, "the names are in several shards");
    let listed = representation(node.ask(&retrieve("/containers")).await);
    let Some(Value::References(members)) = listed.get("containerCollection") else {
        panic!("no members: {listed:?}")
    };
    assert_eq!(members.iter().map(|member| member.id.clone()).collect::<Vec<_>>(), names);

    node.create_container("one-more").await;
    let refused = node.ask(&retrieve("/containers")).await;
    assert_eq!(refused.status, StatusCode::Forbidden);
    assert!(refused.info.contains("12"), "{}", refused.info);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_node_was_asked_is_answered() {
    let node = Node::leading(1, |_, _| {}).await;
    node.create_container("c").await;
    let release = hold(&node, "/containers/c");
    let waiting = node.send(&create_instance("c", "x"), new_id(), DEADLINE_MS);
    release.send(()).ok();
    node.shards.stop().await;
    let answered = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(answered, What::Response(_) | What::Busy(_) | What::NotLeader(_)), "{answered:?}");
    let after = node.send(&create_container("d"), new_id(), DEADLINE_MS).await.unwrap();
    assert!(matches!(after, What::NotLeader(_)), "{after:?}");
    node.groups.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_scl_of_another_shard_may_be_announced_to_and_one_that_is_not_registered_may_not() {
    let node = Node::leading(16, |_, _| {}).await;
    node.register("gw1", "http://gw1.example.org/base").await;
    // One that lives in another shard than the scl.
    let of_scl = node.shard_of("/scls/gw1").id();
    let elsewhere = |name: &String| node.shard_of(&format!("/containers/{name}")).id() != of_scl;
    let name = (0..100).map(|n| format!("c{n}")).find(elsewhere).unwrap();
    let list = ["/m2m/scls/gw1", "/m2m/scls/gw2"].map(str::to_owned).to_vec();
    let to = Struct { name: "AnnounceTo", fields: vec![("sclList", Value::List(list))] };
    let mut create = create_container(&name);
    if let Body::Representation(container) = &mut create.body {
        container.set("announceTo", Value::Struct(to));
    }
    let shown = representation(node.ask(&create).await);
    let Some(Value::Struct(to)) = shown.get("announceTo") else { panic!("no announceTo: {shown:?}") };
    assert_eq!(to.get("sclList"), Some(&Value::List(vec!["/m2m/scls/gw1".to_owned()])));
    let original = path_of(&format!("/containers/{name}"));
    let look = node.shard_of(&format!("/containers/{name}")).announcements(&original, "http://h").unwrap();
    assert_eq!(look.steps.iter().map(|step| step.scl.as_str()).collect::<Vec<_>>(), ["gw1"]);
}

#[test]
fn a_child_of_a_root_collection_belongs_to_its_own_subtree() {
    let of = RequestPrimitive::subtree;
    let named = SubtreeRoot::Named { collection: "containers", name: "c".to_owned() };
    assert_eq!(of(&create_container("c")), Some(named.clone()));
    assert_eq!(of(&create_instance("c", "x")), Some(named));
    let mut unnamed = create_container("c");
    unnamed.body = Body::Representation(Representation::new(ResourceType::Container));
    assert_eq!(of(&unnamed), None, "a retry would get another name");
    assert_eq!(of(&retrieve("/containers")), Some(SubtreeRoot::SclBase));
    assert_ne!(SubtreeRoot::SclBase.slot(), Slot(0));
}

fn found_by(name: &str, strings: &[&str], right: Option<&str>) -> RequestPrimitive {
    let mut request = create_container(name);
    if let Body::Representation(container) = &mut request.body {
        container.set("searchStrings", Value::List(strings.iter().map(|&text| text.to_owned()).collect()));
        if let Some(right) = right {
            container.set("accessRightID", Value::Text(format!("/m2m/accessRights/{right}")));
        }
    }
    request
}

/// An accessRight that lets everybody do this, itself included.
fn create_right(name: &str, flag: &str) -> RequestPrimitive {
    let one = |name, field, value| Value::Struct(Struct { name, fields: vec![(field, value)] });
    let permissions = || {
        let flags = one("PermissionFlagListType", "flag", Value::Text(flag.to_owned()));
        let holders = one("PermissionHolderType", "all", Value::Empty);
        let fields = vec![("permissionFlags", flags), ("permissionHolders", holders)];
        one("PermissionListType", "permission", Value::Struct(Struct { name: "PermissionType", fields }))
    };
    let mut right = Representation::new(ResourceType::AccessRight);
    right.set("id", Value::Text(name.to_owned()));
    right.set("permissions", permissions());
    right.set("selfPermissions", permissions());
    request(Method::Create, "/accessRights", Body::Representation(right))
}

async fn discover(node: &Node, entity: &str, string: &str, max_size: Option<i64>) -> (Vec<String>, bool) {
    let mut request = retrieve("/discovery");
    request.requesting_entity = Entity(entity.to_owned());
    request.filter = Ok(banyan_model::filter::FilterCriteria {
        search_string: vec![string.to_owned()],
        max_size,
        ..Default::default()
    });
    let found = representation(node.ask(&request).await);
    let Some(Value::List(uris)) = found.get("discoveryURI") else { panic!("{found:?}") };
    assert_eq!(found.long("matchSize"), Some(uris.len() as i64));
    (uris.clone(), found.get("truncated") == Some(&Value::Bool(true)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_finds_in_all_shards_what_the_entity_may_know_of() {
    let node = Node::leading(4, |_, desk| desk.discovered_max = 20).await;
    for (name, flag) in [("seen", "DISCOVER"), ("known", "WRITE")] {
        assert_eq!(node.ask(&create_right(name, flag)).await.status, StatusCode::Created);
    }
    // Rights and resources are spread: most rights are in another shard than what they govern.
    for n in 0..30 {
        let right = [Some("seen"), Some("known"), None][n % 3];
        let created = node.ask(&found_by(&format!("c{n:02}"), &["all", ["even", "odd"][n % 2]], right)).await;
        assert_eq!(created.status, StatusCode::Created, "{}", created.info);
    }
    let (uris, truncated) = discover(&node, "/m2m", "even", None).await;
    assert_eq!((uris.len(), truncated), (15, false));
    assert!(
        uris.iter().enumerate().all(|(n, uri)| *uri == format!("/m2m/containers/c{:02}", 2 * n)),
        "{uris:?}"
    );

    let (uris, truncated) = discover(&node, "/m2m/applications/a", "even", None).await;
    let expected: Vec<String> =
        (0..30).step_by(2).filter(|n| n % 3 != 2).map(|n| format!("/m2m/containers/c{n:02}")).collect();
    assert_eq!((uris, truncated), (expected, false), "any flag is enough, no right hides");

    let (uris, truncated) = discover(&node, "/m2m", "even", Some(3)).await;
    assert_eq!((uris.len(), truncated), (3, true));
    let (uris, truncated) = discover(&node, "/m2m", "even", Some(15)).await;
    assert_eq!((uris.len(), truncated), (15, false), "as many as were asked for is not more");
    let (uris, truncated) = discover(&node, "/m2m", "all", Some(1_000)).await;
    assert_eq!((uris.len(), truncated), (20, true), "the node's own limit");
    assert_eq!(discover(&node, "/m2m", "none", None).await, (Vec::new(), false));

    let gone = request(Method::Delete, "/containers/c04", Body::None);
    assert_eq!(node.ask(&gone).await.status, StatusCode::Ok);
    let (uris, _) = discover(&node, "/m2m", "even", None).await;
    assert!(uris.len() == 14 && !uris.iter().any(|uri| uri.ends_with("c04")), "{uris:?}");
}
