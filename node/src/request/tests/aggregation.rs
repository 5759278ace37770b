//! Subscriptions at the members of a group whose notifies are wanted together.

use super::{
    groups::{OtherScl, created_group, node_with, parts},
    *,
};

const SUBSCRIPTIONS: &str = "/groups/g/membersContent/contentInstances/subscriptions";
const FAR: &str = "http://gw.example.org/other/containers/far";

async fn group_of(public_uri: Option<&str>) -> (Node, Arc<OtherScl>) {
    let (node, other) = node_with(|_, of_desk| of_desk.public_uri = public_uri.map(str::to_owned)).await;
    for name in ["a", "b"] {
        node.create_container(name).await;
    }
    created_group(&node, "g", &["/m2m/containers/a", "/m2m/containers/b", FAR]).await;
    other.forget();
    (node, other)
}

fn subscribe(attributes: &[(&'static str, &str)]) -> RequestPrimitive {
    let mut body = Representation::new(ResourceType::Subscription);
    body.set("contact", Value::Text("http://na.example.org/n".to_owned()));
    body.set("aggregateURI", Value::Text("http://na.example.org/aggregate".to_owned()));
    for (name, text) in attributes {
        body.set(name, Value::Text((*text).to_owned()));
    }
    body.set("delayTolerance", Value::Datetime(Timestamp(4_000_000_000_000)));
    request(Method::Create, SUBSCRIPTIONS, Body::Representation(body))
}

fn aggregations(node: &Node) -> Vec<Path> {
    node.shard_of("/groups/g").aggregations(&path_of("/groups/g")).unwrap()
}

async fn stored(node: &Node, path: &str) -> Representation {
    representation(node.ask(&retrieve(path)).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_subscribed_to_with_the_group_as_their_contact() {
    let (node, other) = group_of(Some("http://nscl.example.net")).await;
    let (create, id) = (subscribe(&[("id", "s")]), new_id());
    let answer = response(node.send(&create, id, DEADLINE_MS).await.unwrap());
    let codes: Vec<String> = parts(&answer).into_iter().map(|(_, code, _)| code).collect();
    assert_eq!(codes, ["STATUS_CREATED", "STATUS_CREATED", "STATUS_OK"]);

    let all = aggregations(&node);
    let [aggregation] = all.as_slice() else { panic!("{all:?}") };
    let door = format!("http://nscl.example.net/m2m{aggregation}/collect");
    for member in ["a", "b"] {
        let one = stored(&node, &format!("/containers/{member}/contentInstances/subscriptions/s")).await;
        assert_eq!(one.text("contact"), Some(door.as_str()));
        assert_eq!((one.get("aggregateURI"), one.get("delayTolerance")), (None, None));
    }
    let Body::Representation(far) = &other.asked()[0].1.body else { panic!("nothing asked") };
    assert_eq!(far.text("contact"), Some(door.as_str()));

    let own = stored(&node, &aggregation.to_string()).await;
    assert_eq!(own.text("contact"), Some("http://na.example.org/n"));
    assert_eq!(own.text("aggregateURI"), Some("http://na.example.org/aggregate"));
    assert_eq!(own.datetime("delayTolerance"), Some(Timestamp(4_000_000_000_000)));

    // By a leader that knows nothing of the first.
    node.desk.inner.handled.forget_all();
    let again = response(node.send(&create, id, DEADLINE_MS).await.unwrap());
    assert_eq!(parts(&again), parts(&answer));
    assert_eq!(aggregations(&node), all, "it is begun once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_members_notify_waits_in_the_group_and_a_repetition_adds_nothing() {
    let (node, _) = group_of(None).await;
    node.ask(&subscribe(&[("id", "s")])).await;
    let aggregation = aggregations(&node).remove(0);
    let door = format!("/m2m{aggregation}/collect");
    let one = stored(&node, "/containers/a/contentInstances/subscriptions/s").await;
    assert_eq!(one.text("contact"), Some(door.as_str()), "without an address for others by its path");

    let shard = node.shard_of("/groups/g");
    let notify = banyan_codec::notify_body(
        banyan_codec::Format::Xml,
        StatusCode::Ok,
        banyan_codec::Carried::Nothing,
        "/m2m/x",
    );
    let mut notify = request(Method::Notify, "/", Body::Message(notify));
    notify.requesting_entity = Entity("/m2m/applications/any-member".to_owned());
    let id = banyan_model::outbox::delivery_id(&path_of("/containers/a/subscriptions/s"), 3, 3);
    for _ in 0..2 {
        let taken = node.desk.call_as(&door, id, notify.clone(), Instant::now() + PATIENCE).await;
        assert_eq!(taken.status, StatusCode::Ok, "{}", taken.info);
    }
    assert_eq!(shard.outbox(&aggregation, 10).unwrap().len(), 1);
    assert!(node.desk.may_notify(&aggregation).await.unwrap());
    let read = node.desk.call(&door, retrieve("/"), Instant::now() + PATIENCE).await;
    assert_eq!(read.status, StatusCode::MethodNotAllowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregation_is_changed_and_ends_with_its_subscriptions() {
    let (node, _) = group_of(None).await;
    node.ask(&subscribe(&[])).await;
    let aggregation = aggregations(&node).remove(0);
    let listed = node.ask(&retrieve("/containers/a/contentInstances/subscriptions")).await;
    let Some(Value::References(all)) = representation(listed).get("subscriptionCollection").cloned() else {
        panic!("no subscriptions")
    };
    let name = all[0].id.clone();

    let mut body = Representation::new(ResourceType::Subscription);
    let later = Timestamp(4_000_000_100_000);
    body.set("delayTolerance", Value::Datetime(later));
    let one = format!("{SUBSCRIPTIONS}/{name}");
    node.ask(&request(Method::Update, &one, Body::Representation(body))).await;
    let own = stored(&node, &aggregation.to_string()).await;
    assert_eq!(own.datetime("delayTolerance"), Some(later));
    assert_eq!(own.text("aggregateURI"), Some("http://na.example.org/aggregate"));
    let member = stored(&node, &format!("/containers/a/contentInstances/subscriptions/{name}")).await;
    assert_eq!(member.get("delayTolerance"), None, "only the aggregation waits");

    node.ask(&request(Method::Delete, &format!("{SUBSCRIPTIONS}/another"), Body::None)).await;
    assert_eq!(aggregations(&node), [aggregation]);
    node.ask(&request(Method::Delete, &one, Body::None)).await;
    assert_eq!(aggregations(&node), [] as [Path; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_member_takes_leaves_no_aggregation() {
    let (node, _) = node_with(|shards, _| shards.policy.aggregations_per_group_max = 1).await;
    node.create_container("a").await;
    created_group(&node, "g", &["/m2m/containers/a"]).await;
    // No member has that.
    let mut refused = subscribe(&[("id", "s")]);
    refused.target = path_of("/groups/g/membersContent/nothing/subscriptions");
    node.ask(&refused).await;
    assert_eq!(aggregations(&node), [] as [Path; 0]);

    let bad = node.ask(&subscribe(&[("aggregateURI", "neither/nor")])).await;
    assert_eq!(bad.status, StatusCode::BadRequest);
    assert!(bad.info.starts_with("aggregateURI"), "{}", bad.info);
    node.ask(&subscribe(&[("id", "s")])).await;
    let one_more = node.ask(&subscribe(&[("id", "t")])).await;
    assert_eq!(one_more.status, StatusCode::Forbidden, "{}", one_more.info);
    assert_eq!(aggregations(&node).len(), 1);
}
