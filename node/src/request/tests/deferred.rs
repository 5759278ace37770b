//! Requests that are answered later: taken in before anything is looked at, carried out once, answered to a repetition.

use super::*;
use banyan_model::{deferred, outbox::Message, primitive::Correlation};

fn later(mut request: RequestPrimitive, id: &str) -> RequestPrimitive {
    request.correlation = Some(Correlation { id: id.to_owned(), contact: None });
    request
}

impl Node {
    /// What a courier does for the request at `id`, which the SCL itself sent: carries it out and says what came of it.
    async fn carry_out(&self, id: &str) -> ResponsePrimitive {
        let place = deferred::place(&Entity("/m2m".to_owned()), id);
        let shard = self.shards.owner(&place).unwrap();
        let entries = shard.outbox(&place, 10).unwrap();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        let Message::CarryOut { request } = &entry.message else { panic!("{entry:?}") };
        let request = convert::request_from_bytes(request.clone()).unwrap();
        let known = shard.deferred(&place).unwrap().unwrap();
        let as_id = deferred::request_id(shard.id(), &known);
        let deadline = Instant::now() + Duration::from_secs(10);
        // Another leader, that does not know of the first.
        let first = self.desk.carry_out(as_id, request.clone(), deadline).await.unwrap();
        let second = self.desk.carry_out(as_id, request, deadline).await.unwrap();
        assert_eq!(first, second, "carried out once");
        let answer = convert::response_to_bytes(&first);
        let answered = Operation::Answered { place, sequence: entry.sequence, answer };
        assert_eq!(shard.operate(answered).await.unwrap().status, StatusCode::Ok);
        first
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_accepted_carried_out_once_and_answered_to_a_repetition() {
    let node = Node::leading(4, |_, _| {}).await;
    node.create_container("c").await;
    let create = later(create_instance("c", "one"), "9001");
    let accepted = node.ask(&create).await;
    assert_eq!((accepted.status, accepted.body), (StatusCode::Accepted, Body::None));
    assert_eq!(node.ask(&create).await.status, StatusCode::Accepted, "while it is not answered");
    let answer = node.carry_out("9001").await;
    assert_eq!(answer.status, StatusCode::Created, "{}", answer.info);
    assert_eq!(node.ask(&create).await, answer);
    let instances = node.ask(&retrieve("/containers/c/contentInstances")).await;
    assert_eq!(representation(instances).long("currentNrOfInstances"), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_of_a_root_collection_without_a_name_is_named_once() {
    let node = Node::leading(4, |_, _| {}).await;
    let body = Body::Representation(Representation::new(ResourceType::Container));
    let create = later(request(Method::Create, "/containers", body), "9001");
    assert_eq!(node.ask(&create).await.status, StatusCode::Accepted);
    let answer = node.carry_out("9001").await;
    assert_eq!(answer.status, StatusCode::Created, "{}", answer.info);
    assert_eq!(node.ask(&create).await, answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_with_it_is_its_later_answer() {
    let node = Node::leading(2, |_, _| {}).await;
    let mut missing = later(retrieve("/containers/missing"), "9001");
    missing.requesting_entity = Entity("/m2m".to_owned());
    assert_eq!(node.ask(&missing).await.status, StatusCode::Accepted);
    assert_eq!(node.carry_out("9001").await.status, StatusCode::NotFound);
    assert_eq!(node.ask(&missing).await.status, StatusCode::NotFound);

    let other = later(retrieve("/containers/other"), "9001");
    let refused = node.ask(&other).await;
    assert_eq!(refused.status, StatusCode::Conflict);
    assert!(refused.info.starts_with("X-etsi-correlationID"), "{}", refused.info);

    let mut stranger = missing;
    stranger.requesting_entity = Entity("/m2m/applications/stranger".to_owned());
    assert_eq!(node.ask(&stranger).await.status, StatusCode::Accepted, "another one's is another request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_be_kept_is_refused_with_a_time_to_come_again() {
    let node = Node::leading(1, |_, desk| desk.async_limits.entity.entries_max = 1).await;
    assert_eq!(node.ask(&later(retrieve("/containers/a"), "1")).await.status, StatusCode::Accepted);
    let full = node.ask(&later(retrieve("/containers/b"), "2")).await;
    assert_eq!(full.status, StatusCode::ServiceUnavailable);
    assert!(full.retry_after_ms.is_some() && full.info.starts_with("X-etsi-correlationID"), "{}", full.info);
}
