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
