//! A courier over a tree in memory, and SCLs that answer what the test says.

#![allow(clippy::unwrap_used)]

use super::super::{
    Config,
    courier::{Courier, Room},
    revocation::Page,
    source::{Leading, Patience, Source, SourceError},
};
use crate::{request::Forwarded, subtree::Due};
use banyan_model::{
    Command, Entity, Method, Operation, Path, Representation, RequestId, RequestPrimitive, ResourceType,
    ResponsePrimitive, Scl, StatusCode, Timestamp, TreeView, Value,
    announce::{self, Look},
    apply,
    deferred::Deferred,
    key::Range,
    memory::Memory,
    outbox::OutboxEntry,
    placement::ShardId,
    primitive::{Conditions, NotifyMedia},
    record::Record,
    saf::Forwarding,
    tree::Tree,
    value::Struct,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);

/// A shard in memory, and what other SCLs were asked.
struct Shard {
    memory: Mutex<Memory>,
    scl: Scl,
    age: Duration,
    asked: Mutex<Vec<String>>,
    /// What the next requests to an SCL are answered; then 200.
    answers: Mutex<HashMap<String, VecDeque<StatusCode>>>,
    told: Mutex<Vec<Path>>,
}

impl Shard {
    fn new(age: Duration, answers: &[(&str, &[StatusCode])]) -> Shard {
        let answers = answers.iter().map(|(scl, all)| ((*scl).to_owned(), all.iter().copied().collect()));
        Shard {
            memory: Mutex::default(),
            scl: Scl {
                id: "nscl".to_owned(),
                base: "/m2m".to_owned(),
                authorities: vec!["nscl.example.org".to_owned()],
                founded_at: Timestamp(0),
            },
            age,
            asked: Mutex::default(),
            answers: Mutex::new(answers.collect()),
            told: Mutex::default(),
        }
    }

    fn apply(&self, operation: Operation) -> StatusCode {
        let mut memory = self.memory.lock();
        let entity = Entity("/m2m/applications/a".to_owned());
        let command = Command { id: RequestId::default(), at: Timestamp(1_000), entity, operation, hops: 0 };
        let outcome = apply::apply(&*memory, &self.scl, Timestamp(1_000), &command).unwrap();
        memory.write(outcome.changes);
        for effect in outcome.effects {
            if let apply::Effect::Deliver { queue, .. } = effect {
                self.told.lock().push(queue);
            }
        }
        outcome.response.status
    }

    fn listed(&self, at: &Path) -> Vec<String> {
        let memory = self.memory.lock();
        let resource = Tree::new(&*memory, &self.scl).resource(at).unwrap().unwrap();
        announce::wish(&self.scl, &resource.representation)
    }

    fn queue(&self, queue: &Path) -> Vec<OutboxEntry> {
        let mut entries = Vec::new();
        let visit = &mut |_: &[u8], record| {
            let Record::Outbox(entry) = record else { panic!("an outbox entry") };
            entries.push(entry);
            ControlFlow::Continue(())
        };
        self.memory.lock().scan(&Range::outbox(queue), false, visit).unwrap();
        entries
    }
}

impl Source for Shard {
    fn shard(&self) -> ShardId {
        ShardId(7)
    }

    fn scl(&self) -> &Scl {
        &self.scl
    }

    fn leading(&self) -> Leading {
        Leading::Ready
    }

    /// Only those of announcements: nothing else is delivered here.
    fn take_queues(&self) -> Vec<(Path, Due)> {
        let mut told = std::mem::take(&mut *self.told.lock());
        told.retain(|queue| queue.root_collection().is_none());
        told.into_iter().map(|queue| (queue, Due::default())).collect()
    }

    fn entries(&self, queue: &Path, _max: usize) -> Result<Vec<OutboxEntry>, SourceError> {
        Ok(self.queue(queue))
    }

    fn since(&self, _at: Timestamp) -> Duration {
        self.age
    }

    fn until(&self, at: Timestamp) -> Duration {
        panic!("nothing waits here: {}", at.0);
    }

    fn patience(&self, subscription: &Path) -> Result<Patience, SourceError> {
        panic!("no subscription: {subscription}");
    }

    fn collects(&self, at: &Path, _: &OutboxEntry, _: Duration) -> Result<Duration, SourceError> {
        panic!("nothing is collected here: {at}");
    }

    async fn may_notify(&self, subscription: &Path) -> Result<bool, SourceError> {
        panic!("no subscription: {subscription}");
    }

    fn subscriptions(
        &self,
        _right: Option<&Path>,
        _after: Option<&[u8]>,
        _max: usize,
    ) -> Result<Page, SourceError> {
        panic!("no subscriptions here")
    }

    fn deferred(&self, place: &Path) -> Result<Option<(Deferred, u64)>, SourceError> {
        panic!("no request: {place}");
    }

    async fn carry_out(
        &self,
        _id: RequestId,
        request: RequestPrimitive,
        _deadline: Instant,
    ) -> Result<ResponsePrimitive, ResponsePrimitive> {
        panic!("no request: {request:?}");
    }

    fn announcements(&self, original: &Path, origin: &str) -> Result<Look, SourceError> {
        Ok(announce::look(&Tree::new(&*self.memory.lock(), &self.scl), original, origin).unwrap())
    }

    /// `gone` is not registered.
    async fn link(&self, scl: &Path) -> Result<Option<String>, SourceError> {
        let name = scl.name().unwrap();
        Ok((name != "gone").then(|| format!("http://{name}/base")))
    }

    async fn call_as(
        &self,
        uri: &str,
        _id: RequestId,
        request: RequestPrimitive,
        _deadline: Instant,
    ) -> ResponsePrimitive {
        let entity = request.requesting_entity.0.trim_start_matches("http://").to_owned();
        self.asked.lock().push(format!("{:?} {uri} by {entity}", request.method));
        // An SCL takes its time: what else waits is looked at meanwhile.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let scl = uri.split('/').nth(2).unwrap();
        let answer = self.answers.lock().get_mut(scl).and_then(VecDeque::pop_front);
        ResponsePrimitive::status(answer.unwrap_or(match request.method {
            Method::Create => StatusCode::Created,
            Method::Retrieve => StatusCode::NotFound,
            _ => StatusCode::Ok,
        }))
    }

    fn is_first(&self, place: &Path, _target: &str) -> Result<bool, SourceError> {
        panic!("nothing is stored here: {place}");
    }

    async fn forward(
        &self,
        id: String,
        _request: RequestPrimitive,
        _forwarding: &Forwarding,
        _forced: bool,
        _deadline: Instant,
    ) -> Forwarded {
        panic!("nothing is stored here: {id}");
    }

    async fn operate(&self, operation: Operation) -> Result<(), SourceError> {
        assert_eq!(self.apply(operation), StatusCode::Ok);
        Ok(())
    }

    async fn operate_at_base(&self, operation: Operation) -> Result<(), SourceError> {
        panic!("not for sclBase: {operation:?}");
    }
}

fn original() -> Path {
    Path::parse("containers/c").unwrap()
}

fn announced_to(of: ResourceType, scls: &[&str]) -> Representation {
    let list = scls.iter().map(|scl| format!("/m2m/scls/{scl}")).collect();
    let fields = vec![("sclList", Value::List(list))];
    let mut original = Representation::new(of);
    original.set("announceTo", Value::Struct(Struct { name: "AnnounceTo", fields }));
    original
}

fn create(scls: &[&str]) -> Operation {
    create_at(&original(), ResourceType::Container, scls)
}

fn create_at(at: &Path, of: ResourceType, scls: &[&str]) -> Operation {
    let representation = announced_to(of, scls);
    Operation::Create { path: at.clone(), representation, notify_media: NotifyMedia::Xml }
}

fn delete() -> Operation {
    Operation::Delete { path: original(), conditions: Conditions::default() }
}

/// Runs a courier until nothing waits; what was asked, sorted, as SCLs are asked side by side.
async fn settle(shard: &Arc<Shard>, config: Config) -> (Vec<String>, Arc<Room>) {
    let config =
        Config { retry_min: Duration::from_millis(5), retry_max: Duration::from_millis(20), ..config };
    let room = Arc::new(Room::new(config));
    let _edge = room.edges.attach("edge", 1);
    let (_ring, deliveries) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    let courier = tokio::spawn(Courier::new(shard.clone(), room.clone()).run(deliveries, stopping));
    let begun = Instant::now();
    while !shard.queue(&original()).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "not done: {:?}", shard.asked.lock());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.send_replace(true);
    courier.await.unwrap();
    let mut asked = std::mem::take(&mut *shard.asked.lock());
    asked.sort();
    (asked, room)
}

const CREATED: &str = "Create http://gw1/base/scls/nscl/containers by nscl.example.org/m2m/applications/a";
const FOUND: &str =
    "Retrieve http://gw1/base/scls/nscl/containers/cAnnc by nscl.example.org/m2m/applications/a";

#[tokio::test]
async fn a_wish_is_carried_out_at_every_scl_and_undone() {
    let shard = Arc::new(Shard::new(Duration::ZERO, &[]));
    shard.apply(create(&["gw1", "gw2"]));
    let (asked, room) = settle(&shard, Config::default()).await;
    assert_eq!(asked, [CREATED, &CREATED.replace("gw1", "gw2")]);
    assert_eq!(room.counters.all()[0], ("confirmed", 2));
    shard.apply(delete());
    let (asked, _) = settle(&shard, Config::default()).await;
    let deleted = FOUND.replace("Retrieve", "Delete");
    assert_eq!(asked, [deleted.clone(), deleted.replace("gw1", "gw2")]);
}

#[tokio::test]
async fn a_failure_is_tried_again_and_holds_no_other_scl_up() {
    let busy = [StatusCode::ServiceUnavailable, StatusCode::GatewayTimeout, StatusCode::BadGateway];
    let shard = Arc::new(Shard::new(Duration::ZERO, &[("gw1", &busy)]));
    shard.apply(create(&["gw1", "gw2"]));
    let (asked, room) = settle(&shard, Config::default()).await;
    assert_eq!(asked, [CREATED, CREATED, CREATED, CREATED, &CREATED.replace("gw1", "gw2")]);
    assert_eq!(shard.listed(&original()), ["gw1", "gw2"]);
    assert_eq!(room.counters.all()[2], ("failed", 3));
}

/// A courier that tries nothing a second time while a test runs; ringing it tells of what was applied.
fn courier_without_patience(
    shard: &Arc<Shard>,
) -> (watch::Sender<u32>, watch::Sender<bool>, super::super::Edges) {
    let hour = Duration::from_secs(3600);
    let room = Arc::new(Room::new(Config { retry_min: hour, retry_max: hour, ..Config::default() }));
    let edges = room.edges.clone();
    let (ring, deliveries) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(Courier::new(shard.clone(), room).run(deliveries, stopping));
    (ring, stop, edges)
}

async fn until_asked(shard: &Shard, request: &str) {
    let begun = Instant::now();
    while !shard.asked.lock().iter().any(|asked| asked == request) {
        assert!(begun.elapsed() < PATIENCE, "{request} is not among {:?}", shard.asked.lock());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_newer_wish_does_not_wait_for_an_scl_that_is_away() {
    let away = [StatusCode::BadGateway; 9];
    let shard = Arc::new(Shard::new(Duration::ZERO, &[("gw1", &away)]));
    shard.apply(create(&["gw1"]));
    let (ring, _stop, edges) = courier_without_patience(&shard);
    let _edge = edges.attach("edge", 1);
    until_asked(&shard, CREATED).await;
    let representation = announced_to(ResourceType::Container, &["gw1", "gw2"]);
    let (path, conditions) = (original(), Conditions::default());
    shard.apply(Operation::Update { path, representation, conditions });
    ring.send_modify(|rung| *rung += 1);
    until_asked(&shard, &CREATED.replace("gw1", "gw2")).await;
}

#[tokio::test]
async fn what_stands_below_an_application_follows_its_announcement_at_once() {
    let shard = Arc::new(Shard::new(Duration::ZERO, &[]));
    let application = Path::parse("applications/a").unwrap();
    let child = application.child("containers").child("c");
    // Both are looked at at once, so the child finds that the other one is still to be made.
    shard.apply(create_at(&application, ResourceType::Application, &["gw1"]));
    shard.apply(create_at(&child, ResourceType::Container, &["gw1"]));
    let (_ring, _stop, edges) = courier_without_patience(&shard);
    let _edge = edges.attach("edge", 2);
    let created = CREATED.replace("scls/nscl/containers", "scls/nscl/applications/aAnnc/containers");
    until_asked(&shard, &created).await;
}

#[tokio::test]
async fn who_refuses_leaves_the_list() {
    let shard = Arc::new(Shard::new(Duration::ZERO, &[("gw1", &[StatusCode::PermissionDenied])]));
    shard.apply(create(&["gw1", "gw2"]));
    let (asked, room) = settle(&shard, Config::default()).await;
    assert_eq!(asked, [CREATED, &CREATED.replace("gw1", "gw2"), FOUND]);
    assert_eq!(shard.listed(&original()), ["gw2"]);
    assert_eq!(room.counters.all()[1], ("refused", 1));
}

#[tokio::test]
async fn who_is_not_registered_any_more_is_not_asked_and_leaves_the_list() {
    let shard = Arc::new(Shard::new(Duration::ZERO, &[]));
    shard.apply(create(&["gone", "gw1"]));
    let (asked, _) = settle(&shard, Config::default()).await;
    assert_eq!(asked, [CREATED]);
    assert_eq!(shard.listed(&original()), ["gw1"]);
}

#[tokio::test]
async fn what_never_succeeds_is_given_up_and_counted() {
    let shard =
        Arc::new(Shard::new(Duration::from_secs(25 * 3600), &[("gw1", &[StatusCode::GatewayTimeout; 20])]));
    shard.apply(create(&["gw1"]));
    let (asked, room) = settle(&shard, Config::default()).await;
    assert_eq!(asked, [CREATED, CREATED, CREATED, FOUND, FOUND, FOUND]);
    assert!(shard.listed(&original()).is_empty());
    assert_eq!(room.counters.all()[3], ("given_up", 2));
}

#[tokio::test]
async fn an_operator_who_announces_does_so_in_the_name_of_this_scl() {
    let shard = Arc::new(Shard::new(Duration::ZERO, &[]));
    shard.apply(create(&["gw1"]));
    let config = Config {
        announce_all: true,
        public_uri: Some("https://public.example.org".to_owned()),
        ..Config::default()
    };
    let (asked, _) = settle(&shard, config).await;
    let expected = "Create http://gw1/base/scls/nscl/containers by https://public.example.org/m2m";
    assert_eq!(asked, [expected]);
}
