//! Bearer tokens that the cluster knows: remembered, forgotten, and what is said when nobody can be asked.

use super::{Running, ask, node::Node, start_with, until_ready};
use std::time::Duration;
use tokio::time::{sleep, timeout};

async fn started(node: &Node) -> Running {
    node.found();
    let edge = start_with(node, |config| {
        config.open = false;
        config.plaintext_credentials = true;
    })
    .await;
    until_ready(&edge).await;
    edge
}

fn token(letter: char) -> String {
    format!("bny_{}", letter.to_string().repeat(43))
}

/// The status a GET with this token gets.
async fn status(edge: &Running, token: &str) -> u16 {
    let lines = format!("GET /m2m/containers HTTP/1.1\nAuthorization: Bearer {token}");
    let answer = ask(edge.http, &lines, "").await;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn asked(node: &Node) -> usize {
    node.seen().iter().filter(|line| *line == "token").count()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_a_revoked_one_is_forgotten() {
    let node = Node::unfounded().await;
    node.list(1, usize::MAX);
    let edge = started(&node).await;
    node.token(&token('A'), "/m2m/applications/a");
    let following = async {
        while !node.is_followed() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), following).await.expect("closures are never asked for");

    // All at once, and once more.
    let token_a = token('A');
    let all = futures_util::future::join_all((0..8).map(|_| status(&edge, &token_a))).await;
    assert_eq!(all, [200; 8]);
    assert_eq!(status(&edge, &token_a).await, 200);
    assert_eq!(asked(&node), 1);
    assert!(node.seen().iter().any(|line| line.ends_with("/containers by /m2m/applications/a")));

    // That there is none is remembered, too; and what cannot be one is not asked for.
    assert_eq!([status(&edge, &token('B')).await, status(&edge, &token('B')).await], [401, 401]);
    assert_eq!(status(&edge, "something").await, 401);
    assert_eq!(asked(&node), 2);

    node.revoke_token(&token_a);
    let refused = async {
        while status(&edge, &token_a).await != 401 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(1), refused).await.expect("still accepted");
}

#[tokio::test]
async fn a_token_that_nobody_can_be_asked_about_is_503_and_not_remembered() {
    let node = Node::unfounded().await;
    node.list(1, usize::MAX);
    let edge = started(&node).await;
    node.token(&token('A'), "/m2m/applications/a");
    node.keys_fail(true);
    assert_eq!(status(&edge, &token('A')).await, 503);
    node.keys_fail(false);
    assert_eq!(status(&edge, &token('A')).await, 200);
    // Known tokens go on.
    node.keys_fail(true);
    assert_eq!(status(&edge, &token('A')).await, 200);
}
