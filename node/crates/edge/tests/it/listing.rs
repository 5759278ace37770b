//! Long listings: page by page from whoever leads.

use super::*;

const LIST: &str = "GET /m2m/containers HTTP/1.1\nFrom: /m2m/applications/a";

async fn edge(change: impl FnOnce(&mut Config)) -> (Node, Running) {
    let node = Node::unfounded().await;
    node.found();
    let edge = start_with(&node, change).await;
    until_ready(&edge).await;
    (node, edge)
}

fn entries(answer: &str) -> usize {
    answer.matches("<m2m:namedReference id=\"c").count()
}

#[tokio::test]
async fn a_collection_of_one_page_is_one_answer_and_a_longer_one_is_written_as_it_comes() {
    let (node, edge) = edge(|_| {}).await;
    node.list(10, 1);
    let answer = ask(edge.http, LIST, "").await;
    assert!(answer.contains("content-length: ") && entries(&answer) == 10, "{answer}");

    node.list(95, 10);
    let answer = ask(edge.http, LIST, "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("transfer-encoding: chunked"), "{answer}");
    assert_eq!(entries(&answer), 95);
    assert!(answer.ends_with("</m2m:containers>\r\n0\r\n\r\n"), "{answer}");
    assert_eq!(node.seen().len(), 1 + 10, "a page is a request");
}

#[tokio::test]
async fn a_listing_that_may_not_go_on_breaks_off() {
    let (node, edge) = edge(|_| {}).await;
    // The collection is gone, or its reader has no right to it any more, after five pages.
    node.list(95, 5);
    let answer = ask(edge.http, LIST, "").await;
    assert_eq!(entries(&answer), 50);
    assert!(!answer.contains("</m2m:containers>") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn long_listings_have_a_bound_and_give_their_place_back() {
    let (node, edge) = edge(|config| config.limits.listings_max = 1).await;
    // More than the kernel's buffers take, for somebody who does not read it.
    node.list(1_000_000, usize::MAX);
    let mut idle = TcpStream::connect(edge.http).await.expect("a listener");
    let head = format!("{}\r\nHost: h\r\n\r\n", LIST.replace('\n', "\r\n"));
    idle.write_all(head.as_bytes()).await.expect("a reader");
    let mut some = [0; 64];
    idle.read_exact(&mut some).await.expect("an answer");
    let refused = ask(edge.http, LIST, "").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    drop(idle);
    node.list(95, usize::MAX);
    let again = async {
        while !ask(edge.http, LIST, "").await.starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), again).await.expect("the place is given back");
}
