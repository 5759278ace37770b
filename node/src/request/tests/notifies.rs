//! Notifies to containers of this SCL, as the courier of another shard sends them.

use super::*;
use banyan_codec::{Format, encode_representation, notify_body};

const COPY: &str = "/containers/copy/contentInstances";

/// The notify of the whole of a container.
async fn notify_of(node: &Node, container: &str, format: Format) -> RequestPrimitive {
    let whole = node.ask(&retrieve(&format!("/containers/{container}/contentInstances"))).await;
    let document = encode_representation(format, &representation(whole));
    let notify = notify_body(format, StatusCode::Ok, banyan_codec::Carried::Document(document), "/m2m/s");
    request(Method::Notify, COPY, Body::Message(notify))
}

async fn kept(node: &Node) -> Vec<(String, Option<Timestamp>, Bytes)> {
    let whole = representation(node.ask(&retrieve(COPY)).await);
    let Some(Value::Struct(all)) = whole.get("contentInstanceCollection") else { panic!("{whole:?}") };
    let one = |value: &Value| {
        let Value::Resource(one) = value else { panic!("{value:?}") };
        let Some(Value::Content(content)) = one.get("content") else { panic!("{one:?}") };
        (one.text("id").unwrap().to_owned(), one.datetime("creationTime"), content.bytes.clone())
    };
    all.all("contentInstance").map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_notified_of_another_holds_what_that_holds() {
    let node = Node::leading(2, |_, _| {}).await;
    for name in ["c", "copy"] {
        node.create_container(name).await;
    }
    let mut named = create_instance("c", "2");
    if let Body::Representation(instance) = &mut named.body {
        instance.set("id", Value::Text("two".to_owned()));
    }
    for create in [create_instance("c", "1"), named, create_instance("c", "3")] {
        assert_eq!(node.ask(&create).await.status, StatusCode::Created);
    }
    let notify = notify_of(&node, "c", Format::Xml).await;
    let uri = format!("/m2m{COPY}");
    let deadline = Instant::now() + PATIENCE;
    let id = RequestId { session: 8, sequence: 5, acked_below: 5 };
    for _ in 0..2 {
        let stored = node.desk.call_as(&uri, id, notify.clone(), deadline).await;
        assert_eq!(stored.status, StatusCode::Ok, "{}", stored.info);
    }
    let copied = kept(&node).await;
    let texts: Vec<&Bytes> = copied.iter().map(|(_, _, text)| text).collect();
    assert_eq!(texts, ["1", "2", "3"]);
    let names: Vec<&str> = copied.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["ci-0000000000000001", "two", "ci-0000000000000003"]);

    // Forgotten by the reply table, or from another source: what is there already is not stored again.
    let json = notify_of(&node, "c", Format::Json).await;
    assert_eq!(node.ask(&json).await.status, StatusCode::Ok);
    assert_eq!(kept(&node).await, copied);
}

/// The answer is lost each time, as by a courier whose node dies: only the id says that it is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notify_whose_answer_was_lost_is_stored_once() {
    let node = Node::leading(1, |_, _| {}).await;
    node.create_container("copy").await;
    let bare = notify_body(Format::Xml, StatusCode::Ok, banyan_codec::Carried::Nothing, "/m2m/s");
    let bare = request(Method::Notify, COPY, Body::Message(bare));
    let queue = path_of("/containers/c/subscriptions/s");
    for sequence in [7, 7, 8] {
        let id = banyan_model::outbox::delivery_id(&queue, 7, sequence);
        drop(node.send(&bare, id, DEADLINE_MS));
    }
    let mut found = 0;
    let deadline = Instant::now() + PATIENCE;
    while found < 2 {
        assert!(Instant::now() < deadline, "{found} stored");
        found = kept(&node).await.len();
    }
    for sequence in [7, 8] {
        let id = banyan_model::outbox::delivery_id(&queue, 7, sequence);
        let stored = response(node.send(&bare, id, DEADLINE_MS).await.unwrap());
        assert_eq!(stored.status, StatusCode::Ok);
    }
    assert_eq!(kept(&node).await.len(), 2);
}
