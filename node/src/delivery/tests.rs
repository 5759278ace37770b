//! Couriers over a shard that is a list and edges that answer what the test says.

#![allow(clippy::unwrap_used)]

use super::{
    Config,
    courier::{Courier, Room},
    revocation::{self, Page},
    source::{Leading, Patience, Source, SourceError},
};
use crate::{request::Forwarded, subtree::Due};
use banyan_model::{
    Body, Content, Entity, Method, Operation, Path, RequestId, RequestPrimitive, ResponsePrimitive, Scl,
    StatusCode, Timestamp, Value,
    announce::Look,
    deferred::{self, Deferred},
    outbox::{Message, Notification, OutboxEntry, delivery_id},
    placement::ShardId,
    primitive::NotifyMedia,
    record::{Instance, instance_id},
    saf::{self, Forwarding, Rcat},
    value::{ContentForm, Struct},
};
use banyan_proto::{
    convert,
    v1::{DeliveryResult, delivery_job},
};
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};

const SOON: Due = Due { soon: true, by: None };
const PATIENCE: Duration = Duration::from_secs(20);

/// What the shard holds and what happened, in order.
#[derive(Default)]
struct State {
    queues: BTreeMap<Path, Vec<OutboxEntry>>,
    told: Vec<(Path, Due)>,
    log: Vec<String>,
    forbidden: BTreeSet<Path>,
    /// Subscriptions that have nothing to deliver, each with the right that governs what it watches.
    watching: Vec<(Path, Path)>,
    /// Of contacts inside the SCL; then they take what comes.
    answers: BTreeMap<String, VecDeque<StatusCode>>,
    /// Of the requests to them, in order.
    ids: Vec<RequestId>,
    deferred: BTreeMap<Path, Deferred>,
    /// Of what is carried out; GATEWAY_TIMEOUT: nobody could say. Then it is done.
    outcomes: VecDeque<StatusCode>,
    /// correlationIDs under which a request went on.
    onward: BTreeMap<String, BTreeSet<String>>,
}

struct List {
    state: Arc<Mutex<State>>,
    ring: watch::Sender<u64>,
    scl: Scl,
    age: Duration,
    pause: Duration,
    tolerance: Option<Timestamp>,
    began: Instant,
}

impl Source for List {
    fn shard(&self) -> ShardId {
        ShardId(7)
    }

    fn scl(&self) -> &Scl {
        &self.scl
    }

    fn leading(&self) -> Leading {
        Leading::Ready
    }

    fn take_queues(&self) -> Vec<(Path, Due)> {
        std::mem::take(&mut self.state.lock().told)
    }

    fn entries(&self, queue: &Path, max: usize) -> Result<Vec<OutboxEntry>, SourceError> {
        let state = self.state.lock();
        Ok(state.queues.get(queue).into_iter().flatten().take(max).cloned().collect())
    }

    fn since(&self, _at: Timestamp) -> Duration {
        self.age
    }

    /// Times are counted from when the test began.
    fn until(&self, at: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(at.0).unwrap()).saturating_sub(self.began.elapsed())
    }

    fn patience(&self, _subscription: &Path) -> Result<Patience, SourceError> {
        Ok(Patience { least: self.pause, tolerance: self.tolerance })
    }

    fn collects(&self, _: &Path, _: &OutboxEntry, window: Duration) -> Result<Duration, SourceError> {
        Ok(window.saturating_sub(self.began.elapsed()))
    }

    async fn may_notify(&self, subscription: &Path) -> Result<bool, SourceError> {
        Ok(!self.state.lock().forbidden.contains(subscription))
    }

    fn subscriptions(
        &self,
        right: Option<&Path>,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Page, SourceError> {
        let state = self.state.lock();
        let from = after.map_or(0, |after| usize::from(after[0]));
        let watching = state.watching.iter().filter(|(of, _)| right.is_none_or(|right| right == of));
        let mut subscriptions: Vec<Path> =
            watching.map(|(_, subscription)| subscription.clone()).skip(from).collect();
        let next = (subscriptions.len() > max).then(|| vec![u8::try_from(from + max).unwrap()]);
        subscriptions.truncate(max);
        Ok(Page { subscriptions, next })
    }

    fn announcements(&self, original: &Path, _origin: &str) -> Result<Look, SourceError> {
        panic!("nothing is announced here: {original}");
    }

    async fn link(&self, scl: &Path) -> Result<Option<String>, SourceError> {
        panic!("nothing is announced here: {scl}");
    }

    async fn call_as(
        &self,
        uri: &str,
        id: RequestId,
        request: RequestPrimitive,
        _deadline: Instant,
    ) -> ResponsePrimitive {
        let Body::Message(notify) = &request.body else { panic!("no notify: {request:?}") };
        let notify = match notify.get("notify") {
            Some(Value::Struct(one)) if notify.name == "NotifyCollection" => one,
            _ => notify,
        };
        let text = |name: &str| match notify.get(name) {
            Some(Value::Text(text)) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(text("subscriptionReference").starts_with("/m2m/applications/a/subscriptions/"));
        let mut state = self.state.lock();
        state.ids.push(id);
        let (method, entity) = (request.method, request.requesting_entity.0);
        state.log.push(format!("{method:?} {uri} as {entity}: {}", text("statusCode")));
        let answer = state.answers.get_mut(uri).and_then(VecDeque::pop_front).unwrap_or(StatusCode::Ok);
        ResponsePrimitive::status(answer)
    }

    fn deferred(&self, place: &Path) -> Result<Option<(Deferred, u64)>, SourceError> {
        Ok(self.state.lock().deferred.get(place).cloned().map(|deferred| (deferred, 1_000)))
    }

    async fn carry_out(
        &self,
        id: RequestId,
        request: RequestPrimitive,
        _deadline: Instant,
    ) -> Result<ResponsePrimitive, ResponsePrimitive> {
        let mut state = self.state.lock();
        assert_eq!(request.correlation, None);
        state.log.push(format!("carry out {:?} {} as {}", request.method, request.target, id.sequence));
        match state.outcomes.pop_front() {
            Some(StatusCode::GatewayTimeout) => Err(ResponsePrimitive::status(StatusCode::GatewayTimeout)),
            outcome => Ok(ResponsePrimitive::status(outcome.unwrap_or(StatusCode::Ok))),
        }
    }

    fn is_first(&self, place: &Path, target: &str) -> Result<bool, SourceError> {
        let state = self.state.lock();
        let waits = |deferred: &Deferred| {
            let forwarding = deferred.forwarding.as_ref()?;
            let waits = deferred.answer.is_none() && forwarding.target == target;
            waits.then_some((Reverse(forwarding.rcat), deferred.number))
        };
        let first =
            state.deferred.iter().filter_map(|(place, deferred)| Some((waits(deferred)?, place))).min();
        Ok(first.is_none_or(|(_, first)| first == place))
    }

    async fn forward(
        &self,
        id: String,
        request: RequestPrimitive,
        _forwarding: &Forwarding,
        forced: bool,
        _deadline: Instant,
    ) -> Forwarded {
        let mut state = self.state.lock();
        let uri = saf::outward_uri(&request.target).unwrap();
        state.onward.entry(uri.to_owned()).or_default().insert(id);
        state.log.push(format!("{} {uri}", if forced { "force" } else { "forward" }));
        match state.outcomes.pop_front().unwrap_or(StatusCode::Ok) {
            StatusCode::NotAcceptable => Forwarded::Wait(Duration::from_secs(3600)),
            failed @ (StatusCode::GatewayTimeout | StatusCode::BadGateway) => {
                Forwarded::Failed(ResponsePrimitive::status(failed))
            }
            answer => Forwarded::Answer(ResponsePrimitive::status(answer)),
        }
    }

    async fn operate(&self, operation: Operation) -> Result<(), SourceError> {
        let mut state = self.state.lock();
        match operation {
            Operation::Acknowledge { queue, up_to } => {
                state.queues.entry(queue.clone()).or_default().retain(|entry| entry.sequence > up_to);
                state.log.push(format!("acknowledge {} {up_to}", short(&queue)));
            }
            Operation::EndSubscription { path, final_status } => {
                state.queues.remove(&path);
                let told = final_status.map_or(String::new(), |status| format!(" {status:?}"));
                state.log.push(format!("end {}{told}", short(&path)));
            }
            Operation::Answered { place, sequence, answer } => {
                state.queues.entry(place.clone()).or_default().retain(|entry| entry.sequence != sequence);
                let status = convert::response_from_bytes(answer.clone()).unwrap().status;
                state.log.push(format!("answered {} {status:?}", short(&place)));
                let deferred = state.deferred.get_mut(&place).unwrap();
                deferred.answer = Some(answer);
                let lane = deferred.forwarding.as_ref().map(|forwarding| forwarding.target.clone());
                if deferred.contact.is_some() {
                    let queue = deferred::answers(&place).unwrap();
                    let entry = OutboxEntry {
                        queue: queue.clone(),
                        sequence,
                        at: Timestamp(0),
                        message: Message::Answer,
                    };
                    state.queues.insert(queue.clone(), vec![entry]);
                    state.told.push((queue, SOON));
                    self.ring.send_modify(|rung| *rung += 1);
                } else if let Some(lane) = lane {
                    let waits = |known: &Deferred| {
                        let forwarding = known.forwarding.as_ref();
                        known.answer.is_none() && forwarding.is_some_and(|waits| waits.target == lane)
                    };
                    let waiting = state.deferred.iter().filter(|(_, known)| waits(known));
                    let waiting: Vec<_> = waiting.map(|(place, _)| (place.clone(), SOON)).collect();
                    state.told.extend(waiting);
                    self.ring.send_modify(|rung| *rung += 1);
                }
            }
            other => panic!("not for a courier: {other:?}"),
        }
        Ok(())
    }

    async fn operate_at_base(&self, operation: Operation) -> Result<(), SourceError> {
        let Operation::CollectionChanged { collection, shard, sequence, .. } = operation else {
            panic!("not for sclBase: {operation:?}");
        };
        self.state.lock().log.push(format!("tell {collection} {} {sequence}", shard.0));
        Ok(())
    }
}

fn short(queue: &Path) -> String {
    queue.name().unwrap_or_default().to_owned()
}

fn subscription(name: &str) -> Path {
    Path::parse(&format!("/applications/a/subscriptions/{name}")).unwrap()
}

/// `s 1 2/ 3!`: subscription `s` owes three notifies, the second one to a contact inside the SCL, the last one is its
/// final one. Each goes to a contact of its own,
/// so that none can go together with another. `applications 1 2` are messages to sclBase.
fn outbox(text: &str, creator: Option<&str>) -> BTreeMap<Path, Vec<OutboxEntry>> {
    let mut queues = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let messages = name == "applications";
        let queue = if messages { Path::parse(name).unwrap() } else { subscription(name) };
        let entry = |word: &str| {
            let number = word.trim_end_matches(['!', '/']);
            let notification = match word.contains('!') {
                true => Notification::Final(StatusCode::Deleted),
                false => Notification::Bare,
            };
            let contact = match word.ends_with('/') {
                true => format!("/m2m/{name}/{number}"),
                false => format!("http://{name}/{number}"),
            };
            let message = match messages {
                true => Message::CollectionChanged { collection: "applications" },
                false => Message::Notify {
                    contact,
                    creator: creator.map(str::to_owned),
                    media: NotifyMedia::Xml,
                    hops: 0,
                    notification,
                },
            };
            OutboxEntry { queue: queue.clone(), sequence: number.parse().unwrap(), at: Timestamp(0), message }
        };
        queues.insert(queue.clone(), words.map(entry).collect());
    }
    queues
}

struct Scene {
    config: Config,
    age: Duration,
    pause: Duration,
    /// In milliseconds from the beginning.
    tolerance: Option<i64>,
    /// What is added once something was delivered, and when it is due.
    later: Option<(&'static str, Due)>,
    forbidden: BTreeSet<Path>,
    inside: BTreeMap<String, VecDeque<StatusCode>>,
    creator: Option<&'static str>,
    slots: u32,
    deferred: BTreeMap<Path, Deferred>,
    outcomes: VecDeque<StatusCode>,
}

impl Default for Scene {
    fn default() -> Scene {
        let config = Config {
            retry_min: Duration::from_millis(5),
            retry_max: Duration::from_millis(20),
            ..Config::default()
        };
        Scene {
            config,
            age: Duration::ZERO,
            pause: Duration::ZERO,
            tolerance: None,
            later: None,
            forbidden: BTreeSet::new(),
            inside: BTreeMap::new(),
            creator: Some("/m2m/applications/na"),
            slots: 4,
            deferred: BTreeMap::new(),
            outcomes: VecDeque::new(),
        }
    }
}

impl Scene {
    /// Runs until the outbox is empty; what happened, in order. `answers`: lines of a contact and what it answers, one
    /// word a try: a status, `-` for no answer, `lost` for an edge whose stream ends. Default 200.
    async fn play(self, text: &str, answers: &str) -> Vec<String> {
        let queues = outbox(text, self.creator);
        let state = self.deliver(queues, answers).await;
        std::mem::take(&mut state.lock().log)
    }

    async fn deliver(self, mut queues: BTreeMap<Path, Vec<OutboxEntry>>, answers: &str) -> Arc<Mutex<State>> {
        queues
            .extend(self.deferred.iter().map(|(place, known)| (place.clone(), vec![accepted(place, known)])));
        let told = queues.keys().map(|queue| (queue.clone(), SOON)).collect();
        let state = Arc::new(Mutex::new(State {
            queues,
            told,
            forbidden: self.forbidden,
            answers: self.inside,
            deferred: self.deferred,
            outcomes: self.outcomes,
            ..State::default()
        }));
        let room = Arc::new(Room::new(self.config));
        let scl = Scl {
            id: "nscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: Vec::new(),
            founded_at: Timestamp(0),
        };
        let (ring, deliveries) = watch::channel(0);
        let list = List {
            state: state.clone(),
            ring: ring.clone(),
            scl,
            age: self.age,
            pause: self.pause,
            tolerance: self.tolerance.map(Timestamp),
            began: Instant::now(),
        };
        let mut later = self.later;
        let mut answers: HashMap<String, VecDeque<String>> = answers
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                (words.next().unwrap(), words.collect())
            })
            .collect();
        let (stop, stopping) = watch::channel(false);
        let edges = room.edges.clone();
        let courier = tokio::spawn(Courier::new(Arc::new(list), room).run(deliveries, stopping));

        let edge_state = state.clone();
        let slots = self.slots;
        let edge = tokio::spawn(async move {
            loop {
                let (mut jobs, results) = edges.attach("edge", slots);
                while let Some(job) = jobs.next().await {
                    let contact = job.contact.trim_start_matches("http://").to_owned();
                    let what = match &job.what {
                        Some(delivery_job::What::Answer(_)) => format!(" answer {}", job.correlation),
                        _ => String::new(),
                    };
                    edge_state.lock().log.push(format!("deliver {contact}{what}"));
                    let answer = answers.get_mut(&contact).and_then(VecDeque::pop_front);
                    let mut result = DeliveryResult { job: job.job, ..DeliveryResult::default() };
                    match answer.as_deref().unwrap_or("200") {
                        "lost" => break,
                        "-" => result.transport_error = "refused".to_owned(),
                        status => result.http_status = status.parse().unwrap(),
                    }
                    results.received(result);
                }
            }
        });
        let begun = Instant::now();
        while later.is_some() || state.lock().queues.values().any(|queue| !queue.is_empty()) {
            if state.lock().log.iter().any(|line| line.starts_with("acknowledge"))
                && let Some((text, due)) = later.take()
            {
                let mut state = state.lock();
                for (queue, entries) in outbox(text, self.creator) {
                    state.told.push((queue.clone(), due));
                    state.queues.entry(queue).or_default().extend(entries);
                }
                ring.send_replace(1);
            }
            assert!(begun.elapsed() < PATIENCE, "not delivered: {:?}", state.lock().log);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.send_replace(true);
        courier.await.unwrap();
        edge.abort();
        state
    }
}

async fn check(text: &str, answers: &str, expected: &[&str]) {
    assert_eq!(Scene::default().play(text, answers).await, expected);
}

#[tokio::test]
async fn a_queue_is_delivered_in_order_one_at_a_time() {
    let expected = [
        "deliver s/1",
        "acknowledge s 1",
        "deliver s/2",
        "acknowledge s 2",
        "deliver s/3",
        "acknowledge s 3",
    ];
    check("s 1 2 3", "", &expected).await;
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_before_anything_later() {
    let expected =
        ["deliver s/1", "deliver s/1", "deliver s/1", "acknowledge s 1", "deliver s/2", "acknowledge s 2"];
    check("s 1 2", "s/1 503 -", &expected).await;
    check("s 1 2", "s/1 429 408", &expected).await;
    check("s 1 2", "s/1 400 415", &expected).await;
    check("s 1 2", "s/1 301 500", &expected).await;
}

#[tokio::test]
async fn a_refusal_ends_the_subscription_and_tells_nobody() {
    for status in [401, 403, 404, 410] {
        check("s 1 2 3", &format!("s/1 {status}"), &["deliver s/1", "end s"]).await;
    }
    check("s 1 2 3", "s/2 410", &["deliver s/1", "acknowledge s 1", "deliver s/2", "end s"]).await;
}

#[tokio::test]
async fn a_last_notify_is_forgotten_once_it_was_delivered_or_refused() {
    check("s 4!", "", &["deliver s/4", "acknowledge s 4"]).await;
    check("s 4!", "s/4 404", &["deliver s/4", "acknowledge s 4"]).await;
}

#[tokio::test]
async fn an_edge_whose_stream_ends_gives_its_jobs_back() {
    let expected = ["deliver s/1", "deliver s/1", "acknowledge s 1", "deliver s/2", "acknowledge s 2"];
    check("s 1 2", "s/1 lost", &expected).await;
}

#[tokio::test]
async fn who_may_not_see_it_any_more_is_not_told() {
    let scene = Scene { forbidden: BTreeSet::from([subscription("s")]), ..Scene::default() };
    assert_eq!(scene.play("s 1 2", "").await, ["end s PermissionDenied"]);
}

#[tokio::test]
async fn a_subscription_is_given_up_when_its_head_is_too_old() {
    let scene = Scene { age: Duration::from_secs(25 * 3600), ..Scene::default() };
    let log = scene.play("s 1 2", "s/1 500 500 500 500 500 500").await;
    assert_eq!(log, ["deliver s/1", "deliver s/1", "deliver s/1", "end s"]);
}

#[tokio::test]
async fn messages_go_to_scl_base_without_an_edge() {
    let expected = ["tell applications 7 1", "tell applications 7 2", "acknowledge applications 2"];
    check("applications 1 2", "", &expected).await;
}

#[tokio::test]
async fn a_contact_inside_this_scl_is_notified_on_behalf_of_the_subscriber() {
    let call =
        |number: u32, status: &str| format!("Notify /m2m/s/{number} as /m2m/applications/na: {status}");
    let log = Scene::default().play("s 1/ 2!/", "").await;
    assert_eq!(
        log,
        [
            call(1, "STATUS_OK"),
            "acknowledge s 1".to_owned(),
            call(2, "STATUS_DELETED"),
            "acknowledge s 2".to_owned(),
        ]
    );
    let busy = BTreeMap::from([("/m2m/s/1".to_owned(), VecDeque::from([StatusCode::ServiceUnavailable]))]);
    let log = Scene { inside: busy, ..Scene::default() }.play("s 1/", "").await;
    assert_eq!(log, [call(1, "STATUS_OK"), call(1, "STATUS_OK"), "acknowledge s 1".to_owned()]);
    for status in [StatusCode::NotFound, StatusCode::Forbidden, StatusCode::PermissionDenied] {
        let refused = BTreeMap::from([("/m2m/s/1".to_owned(), VecDeque::from([status]))]);
        let log = Scene { inside: refused, ..Scene::default() }.play("s 1/ 2/", "").await;
        assert_eq!(log, [call(1, "STATUS_OK"), "end s".to_owned()], "{status:?}");
    }
}

#[tokio::test]
async fn a_notify_inside_this_scl_is_sent_again_under_the_same_id() {
    let busy = [StatusCode::GatewayTimeout, StatusCode::ServiceUnavailable];
    let answers = BTreeMap::from([("/m2m/s/4".to_owned(), VecDeque::from(busy))]);
    let queues = outbox("s 4/ 5/", Some("/m2m/applications/na"));
    let state = Scene { inside: answers, ..Scene::default() }.deliver(queues, "").await;
    let id = |sequence| delivery_id(&subscription("s"), sequence, sequence);
    assert_eq!(state.lock().ids, [id(4), id(4), id(4), id(5)]);
}

/// Instances that wait for a container, from `first` to `last`.
fn instances(first: u64, last: u64) -> BTreeMap<Path, Vec<OutboxEntry>> {
    let queue = Path::parse("/applications/a/subscriptions/s").unwrap();
    let entry = |sequence| {
        let content = Content { content_type: None, bytes: "1".into(), form: ContentForm::Text };
        let instance = Instance {
            id: instance_id(sequence),
            sequence,
            creation_time: Timestamp(0),
            last_modified_time: Timestamp(0),
            delay_tolerance: None,
            search_strings: Vec::new(),
            content_types: Vec::new(),
            content_size: 1,
            content,
        };
        let message = Message::Notify {
            hops: 0,
            contact: "/m2m/containers/copy/contentInstances".to_owned(),
            creator: Some("/m2m/applications/na".to_owned()),
            media: NotifyMedia::Xml,
            notification: Notification::Instance(instance),
        };
        OutboxEntry { queue: queue.clone(), sequence, at: Timestamp(0), message }
    };
    BTreeMap::from([(queue.clone(), (first..=last).map(entry).collect())])
}

/// What a courier takes together depends on when it looks: no instance may get into the copy twice for that.
#[tokio::test]
async fn a_container_gets_each_instance_under_an_id_of_its_own_and_all_are_acknowledged_at_once() {
    let contact = "/m2m/containers/copy/contentInstances".to_owned();
    let answers = VecDeque::from([StatusCode::Ok, StatusCode::ServiceUnavailable]);
    let scene = Scene { inside: BTreeMap::from([(contact.clone(), answers)]), ..Scene::default() };
    let state = scene.deliver(instances(1, 3), "").await;
    let id = |sequence| delivery_id(&subscription("s"), 1, sequence);
    let state = state.lock();
    assert_eq!(state.ids, [id(1), id(2), id(1), id(2), id(3)], "the first is answered from the reply table");
    let call = format!("Notify {contact} as /m2m/applications/na: STATUS_OK");
    assert_eq!(state.log.iter().filter(|line| **line == call).count(), 5);
    assert_eq!(state.log.last().map(String::as_str), Some("acknowledge s 3"));
}

/// What members notified waits in an aggregation whose receiver is `contact`.
fn members(count: u64, contact: &str) -> BTreeMap<Path, Vec<OutboxEntry>> {
    let queue = subscription("s");
    let entry = |sequence| {
        let reference = Value::Text(format!("/m2m/applications/a/subscriptions/{sequence}"));
        let notify = Struct {
            name: "Notify",
            fields: vec![
                ("statusCode", Value::Text("STATUS_OK".to_owned())),
                ("subscriptionReference", reference),
            ],
        };
        let message = Message::Notify {
            hops: 0,
            contact: contact.to_owned(),
            creator: Some("/m2m/applications/na".to_owned()),
            media: NotifyMedia::Xml,
            notification: Notification::Member { notify, octets_before: 0 },
        };
        OutboxEntry { queue: queue.clone(), sequence, at: Timestamp(0), message }
    };
    BTreeMap::from([(queue.clone(), (1..=count).map(entry).collect())])
}

fn collecting(window: Duration) -> Scene {
    let scene = Scene::default();
    Scene { config: Config { aggregation_window: window, ..scene.config.clone() }, ..scene }
}

#[tokio::test]
async fn what_members_notify_is_collected_for_a_window_and_sent_together() {
    let (window, begun) = (Duration::from_millis(120), Instant::now());
    let state = collecting(window).deliver(members(5, "http://s/all"), "s/all 503").await;
    assert!(begun.elapsed() >= window);
    assert_eq!(state.lock().log, ["deliver s/all", "deliver s/all", "acknowledge s 5"]);
}

#[tokio::test]
async fn a_full_collection_does_not_wait() {
    let (window, begun) = (Duration::from_secs(1), Instant::now());
    let state = collecting(window).deliver(members(70, "http://s/all"), "").await;
    let log = state.lock().log.clone();
    assert_eq!(log, ["deliver s/all", "acknowledge s 64", "deliver s/all", "acknowledge s 70"]);
    assert!(begun.elapsed() >= window, "what is left waits for its time");
}

#[tokio::test]
async fn a_container_gets_each_collected_notify_under_an_id_of_its_own() {
    let contact = "/m2m/containers/c/contentInstances";
    let state = collecting(Duration::ZERO).deliver(members(3, contact), "").await;
    let id = |sequence| delivery_id(&subscription("s"), 1, sequence);
    assert_eq!(state.lock().ids, [id(1), id(2), id(3)]);
    assert_eq!(state.lock().log.last().map(String::as_str), Some("acknowledge s 3"));
}

#[tokio::test]
async fn without_a_creator_nothing_is_written_inside_this_scl() {
    let log = Scene { creator: None, ..Scene::default() }.play("s 1/", "").await;
    assert_eq!(log, ["end s"]);
    let log = Scene { creator: None, ..Scene::default() }.play("s 1!/", "").await;
    assert_eq!(log, ["acknowledge s 1"]);
}

/// A request that waits to be carried out.
fn accepted(place: &Path, known: &Deferred) -> OutboxEntry {
    let target = match &known.forwarding {
        Some(Forwarding { target, .. }) => saf::outward(&format!("{target}/{}", place.name().unwrap())),
        None => Path::parse("/containers/c").unwrap(),
    };
    let request = RequestPrimitive::new(Method::Delete, target, Entity("/m2m/applications/na".to_owned()));
    let request = convert::request_to_bytes(&request);
    OutboxEntry {
        queue: place.clone(),
        sequence: 1,
        at: Timestamp(0),
        message: Message::CarryOut { request },
    }
}

/// One accepted request with the correlationID `9001`.
fn later(contact: Option<&str>, outcomes: &[StatusCode]) -> Scene {
    let entity = Entity("/m2m/applications/na".to_owned());
    let deferred = Deferred {
        entity: entity.0.clone(),
        at: Timestamp(0),
        number: 7,
        digest: 0,
        contact: contact.map(str::to_owned),
        media: NotifyMedia::Xml,
        lifetime_ms: 1_000,
        keep_until: None,
        forwarding: None,
        octets: 10,
        answer: None,
        expires: None,
    };
    Scene {
        deferred: BTreeMap::from([(deferred::place(&entity, "9001"), deferred)]),
        outcomes: outcomes.iter().copied().collect(),
        ..Scene::default()
    }
}

const CARRY_OUT: &str = "carry out Delete /containers/c as 7";

#[tokio::test]
async fn an_accepted_request_is_carried_out_without_an_edge_and_again_until_somebody_can_say() {
    let unsure = [StatusCode::GatewayTimeout, StatusCode::GatewayTimeout, StatusCode::NotFound];
    let scene = Scene { slots: 0, ..later(None, &unsure) };
    assert_eq!(scene.play("", "").await, [CARRY_OUT, CARRY_OUT, CARRY_OUT, "answered 9001 NotFound"]);
}

#[tokio::test]
async fn an_answer_goes_to_its_contact_until_that_takes_or_refuses_it() {
    for last in ["200", "410"] {
        let log = later(Some("http://dash/async"), &[]).play("", &format!("dash/async 500 - {last}")).await;
        let delivered = "deliver dash/async answer 9001";
        assert_eq!(
            log,
            [CARRY_OUT, "answered 9001 Ok", delivered, delivered, delivered, "acknowledge 9001 1"],
            "{last}"
        );
    }
}

#[tokio::test]
async fn what_the_reply_table_may_have_forgotten_is_not_carried_out() {
    let scene = Scene { age: Duration::from_secs(600), ..later(None, &[]) };
    assert_eq!(scene.play("", "").await, ["answered 9001 RequestTimeout"]);
}

/// Requests stored for other SCLs: correlationID, SCL, category, and the deadline, milliseconds after the test began.
fn stored(requests: &[(&str, &str, usize, i64)], outcomes: &[StatusCode]) -> Scene {
    let mut scene = later(None, outcomes);
    let (place, known) = scene.deferred.pop_first().unwrap();
    for (number, (id, target, rcat, deadline)) in (1..).zip(requests) {
        let deadline = Timestamp(*deadline);
        let forwarding = Forwarding { target: (*target).to_owned(), rcat: Rcat::ALL[*rcat], deadline };
        let known = Deferred { number, forwarding: Some(forwarding), ..known.clone() };
        scene.deferred.insert(deferred::neighbour(&place, id), known);
    }
    Scene { slots: 0, ..scene }
}

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn what_is_stored_for_an_scl_goes_one_after_the_other_the_highest_category_first() {
    let requests =
        [("a", "http://gw", 3, HOUR_MS), ("b", "http://gw", 3, HOUR_MS), ("c", "http://gw", 7, HOUR_MS)];
    let failing = [StatusCode::BadGateway, StatusCode::GatewayTimeout];
    let log = stored(&requests, &failing).play("", "").await;
    let done = |id: &str| [format!("forward http://gw/{id}"), format!("answered {id} Ok")];
    let tried = vec!["forward http://gw/c".to_owned(); 2];
    assert_eq!(log, [tried, done("c").to_vec(), done("a").to_vec(), done("b").to_vec()].concat());
}

#[tokio::test]
async fn another_scl_does_not_wait_for_the_one_that_is_away() {
    let requests = [("a", "http://away", 3, 400), ("b", "http://here", 3, HOUR_MS)];
    let log = stored(&requests, &[StatusCode::NotAcceptable]).play("", "").await;
    let expected = ["forward http://away/a", "forward http://here/b", "answered b Ok", "force http://away/a"];
    assert_eq!(log[..4], expected);
    assert_eq!(log[4], "answered a Ok", "at the deadline it goes whatever the policies say");
}

#[tokio::test]
async fn at_the_deadline_there_is_one_attempt_and_then_gateway_timeout() {
    let failing = [StatusCode::BadGateway; 2];
    let log = stored(&[("a", "http://gw", 0, 0)], &failing).play("", "").await;
    assert_eq!(log, ["force http://gw/a", "answered a GatewayTimeout"]);

    let state = stored(&[("a", "http://gw", 0, 700)], &[StatusCode::BadGateway; 1_000])
        .deliver(BTreeMap::new(), "")
        .await;
    let mut log = std::mem::take(&mut state.lock().log);
    assert_eq!(log.split_off(log.len() - 2), ["force http://gw/a", "answered a GatewayTimeout"]);
    assert!(!log.is_empty() && log.iter().all(|tried| tried == "forward http://gw/a"), "{log:?}");
    let onward = std::mem::take(&mut state.lock().onward);
    assert_eq!(onward["http://gw/a"].len(), 1, "all attempts are the same request");
}

#[tokio::test]
async fn what_is_overdue_does_not_wait_for_its_turn() {
    let requests = [("a", "http://gw", 7, 600), ("b", "http://gw", 0, 200)];
    let log = stored(&requests, &[StatusCode::NotAcceptable]).play("", "").await;
    let expected =
        ["forward http://gw/a", "force http://gw/b", "answered b Ok", "forward http://gw/a", "answered a Ok"];
    assert_eq!(log, expected);
}

#[tokio::test]
async fn after_a_delivery_the_subscriptions_own_pause_is_kept() {
    let pause = Duration::from_millis(80);
    let begun = Instant::now();
    Scene { pause, ..Scene::default() }.play("s 1 2 3", "").await;
    assert!(begun.elapsed() >= pause * 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn many_queues_share_few_slots() {
    let text: String = (0..50).map(|queue| format!("q{queue} 1 2\n")).collect();
    let log = Scene { slots: 2, ..Scene::default() }.play(&text, "").await;
    for queue in 0..50 {
        let name = format!("q{queue}");
        let own: Vec<&String> = log
            .iter()
            .filter(|line| line.contains(&format!(" {name}/")) || line.contains(&format!(" {name} ")))
            .collect();
        let expected = [
            format!("deliver {name}/1"),
            format!("acknowledge {name} 1"),
            format!("deliver {name}/2"),
            format!("acknowledge {name} 2"),
        ];
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn jobs_go_to_the_edge_with_the_largest_share_of_free_slots() {
    let edges = super::Edges::default();
    let (mut small, _small) = edges.attach("small", 2);
    let (mut large, _large) = edges.attach("large", 6);
    let mut waiting = JoinSet::new();
    for _ in 0..8 {
        let edges = edges.clone();
        waiting.spawn(async move { edges.deliver(&Default::default(), PATIENCE).await });
    }
    for _ in 0..2 {
        assert!(small.next().await.is_some());
    }
    for _ in 0..6 {
        assert!(large.next().await.is_some());
    }
    drop((small, large));
    while let Some(result) = waiting.join_next().await {
        assert_eq!(result.unwrap(), None, "no edge is left");
    }
}

#[tokio::test]
async fn what_may_wait_is_held_back_until_then_and_a_last_notify_is_not() {
    let begun = Instant::now();
    let scene = Scene { tolerance: Some(200), ..Scene::default() };
    scene.play("s 1", "").await;
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());

    let scene = Scene { tolerance: Some(3_600_000), ..Scene::default() };
    let expected = ["deliver s/1", "acknowledge s 1", "deliver s/2", "acknowledge s 2"];
    assert_eq!(scene.play("s 1 2!", "").await, expected);

    // One that is held back is told with what may not wait.
    let scene = Scene {
        tolerance: Some(3_600_000),
        later: Some(("s 3!", Due { soon: false, by: Some(Timestamp(0)) })),
        ..Scene::default()
    };
    let told = scene.play("s 2\nt 1!", "").await;
    assert_eq!(told[2..], ["deliver s/2", "acknowledge s 2", "deliver s/3", "acknowledge s 3"]);
}

#[tokio::test]
async fn what_may_not_wait_so_long_does_not_wait_for_the_subscriptions_time() {
    let hour = Duration::from_secs(3600);
    let by = Due { soon: false, by: Some(Timestamp(200)) };
    let begun = Instant::now();
    let told = Scene { pause: hour, later: Some(("s 2", by)), ..Scene::default() }.play("s 1", "").await;
    assert_eq!(told, ["deliver s/1", "acknowledge s 1", "deliver s/2", "acknowledge s 2"]);
    assert!((200..PATIENCE.as_millis()).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_lost_right_ends_subscriptions_that_have_nothing_to_deliver() {
    let right = |name: &str| Path::parse(&format!("/accessRights/{name}")).unwrap();
    let names = |prefix: char| (0..150).map(move |n| format!("{prefix}{n}"));
    let watching = |prefix, of: &str| -> Vec<(Path, Path)> {
        names(prefix).map(|name| (right(of), subscription(&name))).collect()
    };
    let forbidden = [subscription("r3"), subscription("r140")];
    let state = Arc::new(Mutex::new(State {
        watching: watching('r', "r"),
        forbidden: forbidden.into(),
        ..State::default()
    }));
    let scl = Scl {
        id: "nscl".to_owned(),
        base: "/m2m".to_owned(),
        authorities: Vec::new(),
        founded_at: Timestamp(0),
    };
    let (age, pause) = (Duration::ZERO, Duration::ZERO);
    let (ring, _) = watch::channel(0);
    let list = List { state: state.clone(), ring, scl, age, pause, tolerance: None, began: Instant::now() };
    let ended = || {
        let mut ended = state.lock().log.clone();
        ended.sort();
        ended
    };
    let until = async |wanted: &[&str]| {
        let began = Instant::now();
        while ended() != wanted {
            assert!(began.elapsed() < PATIENCE, "{:?}", ended());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };

    // No rounds: only what was told of.
    let changes = broadcast::Sender::new(4);
    let revocation = revocation::run(&list, Duration::ZERO, changes.subscribe());
    let scene = async {
        changes.send(right("q")).unwrap();
        changes.send(right("r")).unwrap();
        until(&["end r140 PermissionDenied", "end r3 PermissionDenied"]).await;
    };
    tokio::select! {
        () = revocation => {}
        () = scene => {}
    }

    // A round finds what nobody told of, whatever the right.
    *state.lock() =
        State { watching: watching('s', "s"), forbidden: [subscription("s141")].into(), ..State::default() };
    tokio::select! {
        () = revocation::run(&list, Duration::from_millis(10), changes.subscribe()) => {}
        () = until(&["end s141 PermissionDenied"]) => {}
    }
}
