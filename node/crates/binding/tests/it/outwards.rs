//! The client: what it tells apart when no answer comes.

use banyan_binding::{
    http::{Client, ClientConfig, Reach, Response, SendError, Server, Service},
    identity::Peer,
};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;

/// Echoes bodies, counts connections; `/silent` never answers, `/large` answers 2,000 octets.
#[derive(Default)]
struct Echo {
    peers: Mutex<BTreeSet<SocketAddr>>,
}

impl Service for Echo {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        self.peers.lock().unwrap().insert(peer.address);
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match path.as_str() {
            "/silent" => std::future::pending().await,
            "/large" => Response::new(Bytes::from(vec![b'x'; 2_000]).into()),
            _ => Response::new(body.into()),
        }
    }
}

async fn start() -> (String, Arc<Echo>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let echo = Arc::new(Echo::default());
    tokio::spawn(Server::default().serve(listener, Arc::clone(&echo), std::future::pending()));
    (base, echo)
}

async fn post(client: &Client, uri: &str, body: &'static str) -> Result<Bytes, SendError> {
    let request = Request::post(uri).body(Bytes::from_static(body.as_bytes())).unwrap();
    Ok(client.send(request, Duration::from_millis(500)).await?.into_body())
}

#[tokio::test]
async fn requests_in_turn_share_a_connection() {
    let (base, echo) = start().await;
    let client = Client::new(ClientConfig::default());
    for body in ["one", "two", "three"] {
        assert_eq!(post(&client, &base, body).await.unwrap(), body);
    }
    assert_eq!(echo.peers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let (base, _) = start().await;
    let client = Client::new(ClientConfig { answer_bytes_max: 1_000, ..ClientConfig::default() });
    let failed = async |uri: String| post(&client, &uri, "x").await.unwrap_err();
    assert!(matches!(failed("coap://h/x".to_owned()).await, SendError::Address { .. }));
    assert!(matches!(failed("/m2m/nc/1".to_owned()).await, SendError::Address { .. }));
    assert!(matches!(failed(format!("{base}/silent")).await, SendError::Timeout { .. }));
    assert!(matches!(failed(format!("{base}/large")).await, SendError::TooLarge { bytes_max: 1_000 }));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let refused = failed(format!("http://{closed}/")).await;
    assert!(matches!(refused, SendError::Transport(_)));
    assert!(refused.to_string().contains(&format!("failed to connect to {closed}")), "{refused}");
}

#[tokio::test]
async fn out_of_reach_is_not_called() {
    let (base, echo) = start().await;
    let client = Client::new(ClientConfig { reach: Reach::Routable, ..ClientConfig::default() });
    for uri in [
        base.clone(),
        base.replace("127.0.0.1", "localhost"),
        base.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
    ] {
        let refused = post(&client, &uri, "x").await.unwrap_err().to_string();
        assert!(refused.contains("no address that may be reached"), "{refused}");
    }
    assert!(echo.peers.lock().unwrap().is_empty());
}
