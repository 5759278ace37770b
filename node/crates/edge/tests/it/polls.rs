//! Long polls: how long an edge holds them, and when it says that a message has arrived.

use super::*;
use std::time::Instant;

const CHANNEL: &str = "/applications/na/notificationChannels/nc";
const POLL: &str =
    "GET /m2m/applications/na/notificationChannels/nc/poll HTTP/1.1\nFrom: /m2m/applications/na";

async fn edge(change: impl FnOnce(&mut Config)) -> (Node, Running) {
    let node = Node::unfounded().await;
    node.found();
    let edge = start_with(&node, change).await;
    until_ready(&edge).await;
    (node, edge)
}

async fn until_seen(node: &Node, line: &str) {
    let waiting = async {
        while !node.seen().iter().any(|seen| seen == line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("{:?}", node.seen()));
}

fn taken(node: &Node) -> usize {
    node.seen().iter().filter(|line| line.starts_with("taken")).count()
}

#[tokio::test]
async fn a_message_comes_in_the_pollers_format_and_is_confirmed_once_it_went_out() {
    let (node, edge) = edge(|_| {}).await;
    node.offer(7, "/m2m/containers/c/subscriptions/s");
    let answer = ask(edge.http, POLL, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-length: ") && answer.ends_with("</m2m:notify>"), "{answer}");
    assert!(answer.contains("<subscriptionReference>/m2m/containers/c/subscriptions/s<"), "{answer}");
    until_seen(&node, &format!("taken 7 of {CHANNEL}")).await;

    node.offer(8, "/m2m/containers/c/subscriptions/s");
    let answer = ask(edge.http, &format!("{POLL}\nAccept: application/json"), "").await;
    assert!(answer.contains("content-type: application/json") && answer.contains("\"notify\""), "{answer}");
    until_seen(&node, &format!("taken 8 of {CHANNEL}")).await;
    assert_eq!(taken(&node), 2);
}

#[tokio::test]
async fn a_poll_is_held_longer_than_a_request_and_ends_with_408() {
    let (node, edge) = edge(|config| (config.request_timeout_ms, config.poll_timeout_ms) = (100, 700)).await;
    let began = Instant::now();
    let answer = ask(edge.http, POLL, "").await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("STATUS_REQUEST_TIMEOUT"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert_eq!(taken(&node), 0);
    assert!(node.seen().iter().all(|line| line == &format!("poll {CHANNEL}/poll by /m2m/applications/na")));
}

#[tokio::test]
async fn a_message_that_no_connection_took_is_not_confirmed() {
    let (node, edge) = edge(|_| {}).await;
    let mut socket = TcpStream::connect(edge.http).await.expect("a listener");
    let head = format!("{}\r\nHost: h\r\n\r\n", POLL.replace('\n', "\r\n"));
    socket.write_all(head.as_bytes()).await.expect("a reader");
    until_seen(&node, &format!("poll {CHANNEL}/poll by /m2m/applications/na")).await;
    drop(socket);
    // The poll ends with its connection: nobody asks for it any more.
    let quiet = async {
        loop {
            let before = node.seen().len();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if node.seen().len() == before {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), quiet).await.expect("the poll goes on without its poller");
    node.offer(7, "/m2m/containers/c/subscriptions/s");
    assert_eq!(taken(&node), 0);
    let answer = ask(edge.http, POLL, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_seen(&node, &format!("taken 7 of {CHANNEL}")).await;
}

#[tokio::test]
async fn polls_have_a_bound_of_their_own_and_are_released_when_the_edge_stops() {
    let (node, edge) = edge(|config| config.limits.polls_max = 1).await;
    let address = edge.http;
    let waiting = tokio::spawn(async move { ask(address, POLL, "").await });
    until_seen(&node, &format!("poll {CHANNEL}/poll by /m2m/applications/na")).await;
    let refused = ask(edge.http, POLL, "").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    let created = ask(edge.http, &format!("{CREATE}\nFrom: /m2m/applications/a"), "21.5").await;
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    edge.stop.send(()).expect("running");
    let released = timeout(Duration::from_secs(5), waiting).await.expect("released").expect("no panic");
    assert!(released.starts_with("HTTP/1.1 408"), "{released}");
    timeout(Duration::from_secs(10), edge.served).await.expect("it stops").expect("no panic");
}
