//! An edge from outside: HTTP in front, a node that only pretends behind, a subscriber at the other end.

mod listing;
mod mid;
mod node;
mod polls;
mod tokens;

use banyan_edge::{Addresses, Config, Edge};
use node::Node;
use std::{net::SocketAddr, process::Command, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

struct Running {
    addresses: Addresses,
    http: SocketAddr,
    admin: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn start(node: &Node) -> Running {
    start_with(node, |_| {}).await
}

async fn start_with(node: &Node, change: impl FnOnce(&mut Config)) -> Running {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut config = Config {
        listen: Some(any),
        admin: Some(any),
        nodes: vec![node.address.clone()],
        plaintext: true,
        open: true,
        public_uri: Some("http://nscl.example.com".to_owned()),
        drain_timeout_ms: 5_000,
        ..Config::default()
    };
    change(&mut config);
    let edge = Edge::bind(config).await.expect("free ports");
    let addresses = edge.addresses();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let shutdown = async move {
            let _ = stopped.await;
        };
        edge.serve(shutdown).await.expect("sound settings");
    });
    let bound = |address: Option<SocketAddr>| address.expect("bound");
    Running { addresses, http: bound(addresses.http), admin: bound(addresses.admin), stop, served }
}

/// Sends a request of these header lines and gives the whole answer.
async fn ask(address: SocketAddr, lines: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a listener");
    let length = body.len();
    let head = lines.replace('\n', "\r\n");
    let request = format!("{head}\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).await.expect("a reader");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1"), "").await
}

async fn until_ready(edge: &Running) {
    let waiting = async {
        while !get(edge.admin, "/readyz").await.starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("never ready");
}

const CREATE: &str = "POST /m2m/containers/c/contentInstances HTTP/1.1\nContent-Type: text/plain";

#[tokio::test]
async fn requests_go_in_once_the_cluster_is_found() {
    let node = Node::unfounded().await;
    let edge = start(&node).await;
    let early = ask(edge.http, &format!("{CREATE}\nFrom: a"), "21.5").await;
    assert!(early.starts_with("HTTP/1.1 503") && early.contains("retry-after: 1"), "{early}");
    assert!(early.contains("STATUS_SERVICE_UNAVAILABLE"), "{early}");
    assert!(get(edge.admin, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(edge.admin, "/readyz").await.starts_with("HTTP/1.1 503"));

    node.found();
    until_ready(&edge).await;
    let created = ask(edge.http, &format!("{CREATE}\nFrom: /m2m/applications/a"), "21.5").await;
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    assert!(created.contains("location: http://h/m2m/containers/c/contentInstances/ci-1\r\n"), "{created}");
    assert_eq!(node.seen(), ["Create /containers/c/contentInstances by /m2m/applications/a"]);
    let nobody = ask(edge.http, CREATE, "21.5").await;
    assert!(nobody.starts_with("HTTP/1.1 402") && nobody.contains("requestingEntity"), "{nobody}");

    let metrics = get(edge.admin, "/metrics").await;
    for line in [
        "banyan_edge_ready 1\n",
        "banyan_edge_requests_total{method=\"POST\",status=\"201\"} 1\n",
        "banyan_edge_requests_total{method=\"POST\",status=\"402\"} 1\n",
        "banyan_edge_requests_total{method=\"POST\",status=\"503\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    edge.stop.send(()).expect("running");
    timeout(Duration::from_secs(10), edge.served).await.expect("it stops").expect("no panic");
    assert!(TcpStream::connect(edge.http).await.is_err() && TcpStream::connect(edge.admin).await.is_err());
}

#[tokio::test]
async fn a_notification_goes_out_and_its_answer_comes_back() {
    let node = Node::unfounded().await;
    node.found();
    let edge = start(&node).await;
    let subscriber = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let contact = format!("http://{}/notify", subscriber.local_addr().expect("bound"));
    node.deliver(9, &contact).await;

    let (mut socket, _) =
        timeout(Duration::from_secs(10), subscriber.accept()).await.expect("a delivery").expect("a socket");
    let mut request = String::new();
    while !request.contains("</m2m:notify>") {
        let mut chunk = [0; 4_096];
        let length = socket.read(&mut chunk).await.expect("a request");
        assert!(length > 0, "broke off: {request}");
        request.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    assert!(request.starts_with("POST /notify HTTP/1.1"), "{request}");
    for text in [
        "from: http://nscl.example.com/m2m\r\n",
        "content-type: application/xml\r\n",
        "<m2m:statusCode>STATUS_OK</m2m:statusCode>",
        "<subscriptionReference>http://nscl.example.com/m2m/containers/c/subscriptions/s</subscriptionReference>",
    ] {
        assert!(request.contains(text), "{text} is not in\n{request}");
    }
    // The edge is told to stop while the subscriber thinks: the result still reaches the node.
    edge.stop.send(()).expect("running");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!edge.served.is_finished(), "a delivery is in flight");
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("a reader");
    assert_eq!(node.result().await, (9, 204));
    timeout(Duration::from_secs(10), edge.served).await.expect("it stops").expect("no panic");
}

#[test]
fn check_says_whether_the_settings_are_sound() {
    let check = |arguments: &[&str]| {
        let edge = Command::new(env!("CARGO_BIN_EXE_banyan-edge"))
            .args(["--check", "--listen", "127.0.0.1:0", "--plaintext"])
            .args(arguments)
            .env_remove("RUST_LOG")
            .output()
            .expect("the binary runs");
        let text = [edge.stdout, edge.stderr].concat();
        (edge.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, said) = check(&["--node", "127.0.0.1:1", "--open"]);
    assert_eq!((code, said.trim()), (Some(0), "settings are sound"));
    for (arguments, expected) in [
        (&["--open"][..], "nodes"),
        (&["--node", "127.0.0.1:1"], "credentials"),
        (&["--node", "nowhere", "--open"], "nowhere"),
        (&["--node", "127.0.0.1:1", "--open", "--config", "/absent.toml"], "/absent.toml"),
    ] {
        let (code, said) = check(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
