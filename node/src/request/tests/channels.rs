//! A channel's two doors: who sends, who polls, and what a poll that waits is told.

use super::*;
use banyan_model::channel;
use banyan_proto::v1::internal::Kind as Question;
use futures_util::{FutureExt, future::select_all};

const APPLICATION: &str = "/applications/na";
const CHANNEL: &str = "/applications/na/notificationChannels/nc";

fn as_application(mut request: RequestPrimitive) -> RequestPrimitive {
    request.requesting_entity = Entity(format!("/m2m{APPLICATION}"));
    request
}

fn named(resource_type: ResourceType, id: &'static str, name: &str) -> Representation {
    let mut body = Representation::new(resource_type);
    body.set(id, Value::Text(name.to_owned()));
    body
}

async fn node_with_a_channel(change: impl FnOnce(&mut subtree::Config, &mut Config)) -> Node {
    let node = Node::leading(1, change).await;
    let body = Body::Representation(named(ResourceType::Application, "appId", "na"));
    let made = node.ask(&request(Method::Create, "/applications", body)).await;
    assert_eq!(made.status, StatusCode::Created, "{}", made.info);
    let mut body = named(ResourceType::NotificationChannel, "id", "nc");
    body.set("channelType", Value::Text("LONG_POLLING".to_owned()));
    let channels = format!("{APPLICATION}/notificationChannels");
    let create = as_application(request(Method::Create, &channels, Body::Representation(body)));
    let made = node.ask(&create).await;
    assert_eq!(made.status, StatusCode::Created, "{}", made.info);
    node
}

impl Node {
    async fn notify(&self, text: &str) -> StatusCode {
        let reference = ("subscriptionReference", Value::Text(text.to_owned()));
        let body = Body::Message(Struct { name: "Notify", fields: vec![reference] });
        let mut notify = request(Method::Notify, &format!("{CHANNEL}/contact"), body);
        notify.requesting_entity = Entity("/m2m/applications/anybody".to_owned());
        self.ask(&notify).await.status
    }

    fn question(&self, kind: Question) -> oneshot::Receiver<What> {
        let what = submission::What::Internal(v1::Internal { kind: Some(kind) });
        let shard = 1;
        let deadline_ms = DEADLINE_MS;
        // As an edge asks.
        self.submit(v1::Submission { shard, deadline_ms, what: Some(what), ..Default::default() }, false)
    }

    fn poll_as(&self, request: &RequestPrimitive, hold: Duration) -> oneshot::Receiver<What> {
        let request = convert::request_to_bytes(request);
        let hold_ms = u32::try_from(hold.as_millis()).unwrap();
        self.question(Question::Poll(v1::Poll { request, hold_ms }))
    }

    fn poll(&self, hold: Duration) -> oneshot::Receiver<What> {
        self.poll_as(&as_application(retrieve(&format!("{CHANNEL}/poll"))), hold)
    }

    async fn confirm(&self, sequence: u64) {
        let taken = v1::Taken { channel: Some((&path_of(CHANNEL)).into()), sequence };
        assert_eq!(response(self.question(Question::Taken(taken)).await.unwrap()).status, StatusCode::Ok);
    }
}

/// The text of a message and its sequence.
fn message(what: What) -> (String, u64) {
    let (body, sequence) = message_of(what);
    let Some(Value::Text(text)) = body.get("subscriptionReference") else { panic!("{body:?}") };
    (text.clone(), sequence)
}

async fn came(poll: oneshot::Receiver<What>) -> What {
    tokio::time::timeout(PATIENCE, poll).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_waits_gets_what_comes_and_the_next_one_what_follows() {
    let node = node_with_a_channel(|_, _| {}).await;
    let poll = node.poll(PATIENCE);
    assert_eq!(node.notify("one").await, StatusCode::Ok);
    assert_eq!(node.notify("two").await, StatusCode::Ok);
    let (first, sequence) = message(came(poll).await);
    assert_eq!(first, "one");
    let waiting = node.poll(PATIENCE);
    node.confirm(sequence).await;
    let (second, sequence) = message(came(waiting).await);
    assert_eq!(second, "two", "released by the confirmation, long before it would come back");
    node.confirm(sequence).await;
    let nothing = response(came(node.poll(Duration::from_millis(30))).await);
    assert_eq!(nothing.status, StatusCode::RequestTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_confirmed_goes_to_the_next_poll_after_a_while_and_not_before() {
    let redelivery = Duration::from_millis(300);
    let node = node_with_a_channel(|_, desk| desk.poll_redelivery = redelivery).await;
    let began = Instant::now();
    node.notify("one").await;
    let (_, sequence) = message(came(node.poll(PATIENCE)).await);
    let again = message(came(node.poll(PATIENCE)).await);
    assert_eq!(again, ("one".to_owned(), sequence));
    assert!(began.elapsed() >= redelivery, "not to two at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_channel_releases_whoever_waits_there() {
    let node = node_with_a_channel(|_, _| {}).await;
    let poll = node.poll(PATIENCE);
    let delete = as_application(request(Method::Delete, CHANNEL, Body::None));
    assert_eq!(node.ask(&delete).await.status, StatusCode::Ok);
    assert_eq!(response(came(poll).await).status, StatusCode::NotFound);
    assert_eq!(node.notify("late").await, StatusCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_leadership_sends_whoever_waits_elsewhere() {
    let node = node_with_a_channel(|_, _| {}).await;
    let poll = node.poll(PATIENCE);
    until("the poll waits", || node.desk.inner.polls.available_permits() < 16_384).await;
    node.shards.stop().await;
    let answer = came(poll).await;
    assert!(matches!(answer, What::NotLeader(_)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_have_bounds_of_their_own() {
    let node = node_with_a_channel(|_, desk| {
        (desk.polls_per_channel_max, desk.polls_max, desk.requests_max) = (2, 3, 8);
    })
    .await;
    // Which of the three finds no room is not for us to say.
    let polls = [(); 3].map(|()| Box::pin(came(node.poll(PATIENCE))));
    let (refused, _, waiting) = select_all(polls).await;
    let refused = response(refused);
    assert_eq!(refused.status, StatusCode::ServiceUnavailable, "two at one channel");
    assert!(refused.retry_after_ms.is_some());
    for n in 0..10 {
        node.create_container(&format!("c{n}")).await;
    }
    for poll in waiting {
        assert!(poll.now_or_never().is_none(), "the other two wait, and what they wait with is no request's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_polls_and_only_a_channel_is_polled() {
    let node = node_with_a_channel(|_, _| {}).await;
    let stranger = |target: &str| {
        let mut poll = retrieve(target);
        poll.requesting_entity = Entity("/m2m/applications/stranger".to_owned());
        node.poll_as(&poll, PATIENCE)
    };
    let refused = response(came(stranger(&format!("{CHANNEL}/poll"))).await);
    assert_eq!(refused.status, StatusCode::NotFound);
    let none = response(came(stranger(&format!("{APPLICATION}/notificationChannels/other/poll"))).await);
    assert_eq!(none.status, StatusCode::NotFound);
    let what = came(stranger(CHANNEL)).await;
    assert!(matches!(what, What::Refused(_)), "{what:?}");
    // A RETRIEVE that nobody holds.
    let plain = node.ask(&as_application(retrieve(&format!("{CHANNEL}/poll")))).await;
    assert_eq!(plain.status, StatusCode::RequestTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_notifies_a_channel_by_its_address() {
    let node = node_with_a_channel(|_, _| {}).await;
    let shard = node.shard_of(CHANNEL);
    assert!(shard.resource(&path_of(CHANNEL)).unwrap().is_some());
    let reference = ("subscriptionReference", Value::Text("s".to_owned()));
    let message = Struct { name: "NotifyCollection", fields: vec![reference] };
    let contact = node.desk.scl().unwrap().local_path(&format!("/m2m{CHANNEL}/contact")).unwrap();
    assert_eq!(channel::contacted_at(&contact), Some(path_of(CHANNEL)));
    let notify = RequestPrimitive {
        body: Body::Message(message),
        ..RequestPrimitive::new(Method::Notify, contact, Entity("/m2m".to_owned()))
    };
    let id = new_id();
    let sent = response(node.send(&notify, id, DEADLINE_MS).await.unwrap());
    assert_eq!(sent.status, StatusCode::Ok);
    let again = response(node.send(&notify, id, DEADLINE_MS).await.unwrap());
    assert_eq!(again.status, StatusCode::Ok);
    let (_, sequence) = message_of(came(node.poll(PATIENCE)).await);
    node.confirm(sequence).await;
    let nothing = response(came(node.poll(Duration::from_millis(30))).await);
    assert_eq!(nothing.status, StatusCode::RequestTimeout, "a repetition is not a second notify");
}

fn message_of(what: What) -> (Struct, u64) {
    let What::Polled(v1::Polled { response, sequence }) = what else { panic!("no message: {what:?}") };
    match convert::response_from_bytes(response).unwrap().body {
        Body::Message(body) => (body, sequence),
        other => panic!("no message: {other:?}"),
    }
}

const CARRIER: &str = "/scls/gw/communicationChannels/cc";

fn as_gateway(mut request: RequestPrimitive) -> RequestPrimitive {
    request.requesting_entity = Entity("/m2m/scls/gw".to_owned());
    request
}

async fn node_with_a_polling_scl() -> Node {
    let node = Node::leading(1, |_, _| {}).await;
    node.register("gw", "http://gw.example.org/m2m").await;
    let mut channel = named(ResourceType::CommunicationChannel, "id", "cc");
    channel.set("channelType", Value::Text("LONG_POLLING".to_owned()));
    let create = request(Method::Create, "/scls/gw/communicationChannels", Body::Representation(channel));
    let made = node.ask(&as_gateway(create)).await;
    assert_eq!(made.status, StatusCode::Created, "{}", made.info);
    node
}

fn request_notify(target: &str) -> Struct {
    let target = ("targetID", Value::Text(target.to_owned()));
    Struct { name: "RequestNotify", fields: vec![target] }
}

fn answer(id: &str, status: &str) -> RequestPrimitive {
    let fields = vec![("statusCode", Value::Text(status.to_owned()))];
    let body = Body::Message(Struct { name: "ResponseNotify", fields });
    let mut answer = as_gateway(request(Method::Notify, &format!("{CARRIER}/answer"), body));
    answer.correlation = Some(banyan_model::primitive::Correlation { id: id.to_owned(), contact: None });
    answer
}

impl Node {
    fn through(
        &self,
        channel: &str,
        id: &str,
        request: RequestId,
        deadline_ms: u32,
    ) -> oneshot::Receiver<What> {
        let message = Some((&request_notify("http://gw.example.org/m2m/containers/c")).into());
        let channel = Some((&path_of(channel)).into());
        let through = v1::Through { channel, message, correlation_id: id.to_owned() };
        let what = submission::What::Internal(v1::Internal { kind: Some(Question::Through(through)) });
        let id = Some((&request).into());
        let submission = v1::Submission { shard: 1, deadline_ms, id, what: Some(what), ..Default::default() };
        self.submit(submission, false)
    }

    fn poll_carrier(&self, hold: Duration) -> oneshot::Receiver<What> {
        self.poll_as(&as_gateway(retrieve(&format!("{CARRIER}/poll"))), hold)
    }

    fn queued(&self) -> u64 {
        let shard = self.shard_of(CARRIER);
        shard.queued_at(&path_of(CARRIER))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_to_the_poller_and_its_answer_to_who_asked() {
    let node = node_with_a_polling_scl().await;
    let poll = node.poll_carrier(PATIENCE);
    let asked = node.through(CARRIER, "9001", new_id(), DEADLINE_MS);
    let (message, _) = message_of(came(poll).await);
    assert_eq!(message, request_notify("http://gw.example.org/m2m/containers/c"));

    let mut stranger = answer("9001", "STATUS_OK");
    stranger.requesting_entity = Entity("/m2m/applications/stranger".to_owned());
    assert_eq!(node.ask(&stranger).await.status, StatusCode::NotFound);
    assert_eq!(node.ask(&answer("9002", "STATUS_OK")).await.status, StatusCode::NotFound, "nobody waits");
    let mut unnamed = answer("", "STATUS_OK");
    unnamed.correlation = None;
    let refused = node.ask(&unnamed).await;
    assert_eq!(refused.status, StatusCode::BadRequest);
    assert!(refused.info.starts_with("X-etsi-correlationID"), "{}", refused.info);

    assert_eq!(node.ask(&answer("9001", "STATUS_CONFLICT")).await.status, StatusCode::Ok);
    let response = response(came(asked).await);
    let Body::Message(answered) = response.body else { panic!("{response:?}") };
    assert_eq!(answered.get("statusCode"), Some(&Value::Text("STATUS_CONFLICT".to_owned())));
    assert_eq!(node.ask(&answer("9001", "STATUS_OK")).await.status, StatusCode::NotFound, "answered once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_waits_in_the_channel_once() {
    let node = node_with_a_polling_scl().await;
    let id = new_id();
    let first = node.through(CARRIER, "9001", id, DEADLINE_MS);
    until("the request is in the channel", || node.queued() == 1).await;
    // As after a leader change: the first is not heard of any more.
    let second = node.through(CARRIER, "9001", id, DEADLINE_MS);
    assert!(matches!(came(first).await, What::NotLeader(_)), "the latest waits");
    assert_eq!(node.queued(), 1);
    assert_eq!(node.ask(&answer("9001", "STATUS_OK")).await.status, StatusCode::Ok);
    assert_eq!(response(came(second).await).status, StatusCode::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_by_a_channel_is_told_when_nobody_answers_and_when_it_is_gone() {
    let node = node_with_a_polling_scl().await;
    let silent = response(came(node.through(CARRIER, "9001", new_id(), 400)).await);
    assert_eq!(silent.status, StatusCode::GatewayTimeout, "{}", silent.info);
    let gone = "/scls/gw/communicationChannels/gone";
    let gone = response(came(node.through(gone, "9002", new_id(), DEADLINE_MS)).await);
    assert_eq!(gone.status, StatusCode::ServiceUnavailable, "{}", gone.info);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_scl_sends_requests_into_a_channel() {
    let node = node_with_a_polling_scl().await;
    let forged = Body::Message(request_notify("http://gw.example.org/m2m/containers/c"));
    for (channel, entity) in [(CARRIER, "/m2m/applications/anybody"), (CARRIER, "/m2m/scls/gw")] {
        let mut notify = request(Method::Notify, &format!("{channel}/contact"), forged.clone());
        notify.requesting_entity = Entity(entity.to_owned());
        let refused = node.ask(&notify).await;
        assert_eq!(refused.status, StatusCode::BadRequest, "{entity}: {}", refused.info);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_takes_the_answer_to_an_asynchronous_request() {
    let node = node_with_a_channel(|_, _| {}).await;
    let fields = vec![("statusCode", Value::Text("STATUS_OK".to_owned()))];
    let answer = Struct { name: "ResponseNotify", fields };
    let notify = request(Method::Notify, &format!("{CHANNEL}/contact"), Body::Message(answer.clone()));
    assert_eq!(node.ask(&as_application(notify)).await.status, StatusCode::Ok);
    let (polled, _) = message_of(came(node.poll(PATIENCE)).await);
    assert_eq!(polled, answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shard_of_an_scl_alone_knows_the_way_to_it_by_its_id() {
    let node = Node::leading(4, |_, _| {}).await;
    node.register("gw", "http://gw.example.com/m2m").await;
    for uri in ["/gw/applications/lamp", "http://gw.example.com/m2m/applications/lamp"] {
        let found: Vec<_> = node
            .shards
            .all()
            .into_iter()
            .filter_map(|shard| shard.route(uri, None).unwrap().map(|route| (shard, route)))
            .collect();
        let [(shard, route)] = found.as_slice() else { panic!("{} shards have {uri}", found.len()) };
        assert!(shard.owns(&path_of("/scls/gw").subtree()));
        assert_eq!(route.next.as_ref().unwrap().uri, "http://gw.example.com/m2m/applications/lamp");
    }
    // What nobody has goes by the one that is named, and only its shard says so.
    let by_the_way = |shard: &ShardHandle| shard.route("/other/applications", Some("gw")).unwrap().is_some();
    assert_eq!(node.shards.all().iter().filter(|shard| by_the_way(shard)).count(), 1);
}
