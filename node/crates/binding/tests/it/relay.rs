//! Requests that go on to another SCL or an application, over real sockets: who is called, what it is told, and what
//! whoever asked is told of it (procedures.md 12, 13).

use crate::bench::{Answer, read_to_end, scl, wire};
use banyan_binding::{
    Handler,
    http::{Binding, Caller, Client, ClientConfig, Config, Hop, Relay, Response, Server, Service, serve},
    identity::{Open, Peer},
};
use banyan_model::{Refusal, RequestPrimitive, ResponsePrimitive, Scl, StatusCode, saf::outward_uri};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// What the other side got.
struct Got {
    /// `GET /m2m/x?a=b`
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The other side; `silent` never answers, `large` answers 2,000 octets, all else is CREATED.
#[derive(Default)]
struct Far {
    got: Mutex<Vec<Got>>,
}

impl Service for Far {
    async fn call(&self, request: Request<Incoming>, _: &Peer) -> Response {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let line = format!("{} {}", head.method, head.uri);
        self.got.lock().unwrap().push(Got { line, headers: head.headers, body });
        let answer = match head.uri.path().rsplit('/').next() {
            Some("silent") => pending().await,
            Some("large") => "x".repeat(2_000),
            _ => r#"{"container":{"id":"c"}}"#.to_owned(),
        };
        let answer = http::Response::builder()
            .status(201)
            .header("Content-Type", "application/json")
            .header("Location", "http://gw.example.net/m2m/containers/c")
            .header("ETag", "\"e1\"")
            .header("Set-Cookie", "a=b")
            .body(Bytes::from(answer).into());
        answer.unwrap()
    }
}

/// Knows one SCL, `gw-1` at gw.example.net, which is called at the far side, and one that is not there. What is asked
/// below `applications/a` goes to that application.
#[derive(Clone)]
struct Near {
    far: SocketAddr,
    gone: SocketAddr,
    routed: Arc<Mutex<Vec<String>>>,
    /// Where requests for another SCL go that were given to be stored.
    stored: Arc<Mutex<Vec<String>>>,
}

impl Handler for Near {
    async fn handle(&self, request: RequestPrimitive) -> ResponsePrimitive {
        self.stored.lock().unwrap().extend(outward_uri(&request.target).map(str::to_owned));
        let below = request.target.to_string();
        let served = below.strip_prefix("/applications/a/");
        let retarget = served.map(|rest| format!("http://{}/meter/{rest}", self.far));
        ResponsePrimitive { retarget, ..ResponsePrimitive::status(StatusCode::Ok) }
    }

    async fn route(&self, uri: String) -> Result<Hop, Refusal> {
        self.routed.lock().unwrap().push(uri.clone());
        let hop = |authority, path: &str, host: &str| Hop {
            uri: format!("http://{authority}/m2m{path}"),
            host: Some(host.to_owned()),
            channel: None,
        };
        if let Some(path) = uri.strip_prefix("http://gw.example.net/m2m").or(uri.strip_prefix("/gw-1")) {
            return Ok(hop(self.far, path, "gw.example.net"));
        }
        match uri.strip_prefix("http://gone.example.net/m2m") {
            Some(path) => Ok(hop(self.gone, path, "gone.example.net")),
            None => Err(Refusal::new(StatusCode::NotFound, "no registered SCL has this address")),
        }
    }
}

struct World {
    far: Arc<Far>,
    near: Near,
    address: SocketAddr,
}

impl World {
    /// An SCL that answers to `nscl:8080` and passes on `room` requests at once.
    async fn start(room: usize) -> World {
        let far = Arc::new(Far::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far_address = listener.local_addr().unwrap();
        tokio::spawn(Server::default().serve(listener, Arc::clone(&far), pending()));
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let near = Near { far: far_address, gone, routed: Arc::default(), stored: Arc::default() };
        let ours = Scl { authorities: vec!["nscl:8080".to_owned()], ..scl() };
        let mut config = Config::new(ours.clone());
        config.limits.bytes_max = 100;
        let relay = Relay {
            client: Client::new(ClientConfig { answer_bytes_max: 1_000, ..ClientConfig::default() }),
            caller: Caller { scl_id: "nscl".to_owned(), public_uri: "http://nscl:8080".to_owned() },
            timeout: Duration::from_millis(500),
            room: Arc::new(Semaphore::new(room)),
        };
        let binding = Binding::new(config, Open { scl: ours }, near.clone()).with_relay(relay);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Server::default(), Arc::new(binding), pending()));
        World { far, near, address }
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(&wire(request)).await.unwrap();
        Answer::read(read_to_end(&mut socket).await)
    }

    /// What reached the far side since the last look.
    fn got(&self) -> Vec<Got> {
        std::mem::take(&mut *self.far.got.lock().unwrap())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn another_scl_is_named_in_four_ways() {
    let world = World::start(8).await;
    let absolute = "http://gw.example.net/m2m/x";
    for (line, host, routed) in [
        ("http://gw.example.net/m2m/x?a=b", "nscl:8080", absolute),
        ("/m2m/x?a=b", "gw.example.net", absolute),
        ("/?a=b&targetID=http%3A%2F%2Fgw.example.net%2Fm2m%2Fx", "nscl:8080", absolute),
        ("/m2m/scls?targetID=http://gw.example.net/m2m/x&a=b", "nscl:8080", absolute),
        ("/gw-1/x?a=b", "nscl:8080", "/gw-1/x"),
    ] {
        let answer = world.ask(&format!("GET {line} HTTP/1.1\nHost: {host}\nFrom: a")).await;
        assert_eq!(answer.status, 201, "{line}: {answer:?}");
        assert_eq!(std::mem::take(&mut *world.near.routed.lock().unwrap()), [routed], "{line}");
        let got = world.got();
        assert_eq!(got.len(), 1, "{line}");
        assert_eq!(got[0].line, "GET /m2m/x?a=b", "{line}");
        assert_eq!(text(&got[0].headers, "host"), Some("gw.example.net"), "{line}");
    }
}

#[tokio::test]
async fn the_other_side_is_told_who_asks_and_through_whom_and_nothing_of_the_hop() {
    let world = World::start(8).await;
    let said = "From: /m2m/applications/a\nVia: 1.1 gscl-2\nContent-Type: application/json\nAccept: application/json\n\
                If-Match: \"e0\"\nX-etsi-rcat: 3\nX-etsi-groupRequestIdentifier: 0A\n\
                Authorization: Bearer secret\nCookie: a=b\nX-own: 1";
    for (verb, target, line) in [
        ("POST", "/m2m/containers", "POST /m2m/containers"),
        ("PUT", "/m2m/containers/c", "PUT /m2m/containers/c"),
    ] {
        let request = format!("{verb} {target} HTTP/1.1\nHost: gw.example.net\n{said}\n\n{{\"any\": [1]}}");
        assert_eq!(world.ask(&request).await.status, 201);
        let got = world.got().pop().unwrap();
        assert_eq!((got.line.as_str(), &got.body[..]), (line, &b"{\"any\": [1]}"[..]));
        for (name, value) in [
            ("from", Some("http://nscl:8080/m2m/applications/a")),
            ("via", Some("1.1 gscl-2, 1.1 nscl")),
            ("content-type", Some("application/json")),
            ("accept", Some("application/json")),
            ("if-match", Some("\"e0\"")),
            ("x-etsi-rcat", Some("3")),
            ("x-etsi-grouprequestidentifier", Some("0A")),
            ("authorization", None),
            ("cookie", None),
            ("x-own", None),
        ] {
            assert_eq!(text(&got.headers, name), value, "{verb}: {name}");
        }
    }
}

#[tokio::test]
async fn one_that_tolerates_a_delay_is_given_to_be_stored_and_not_passed_on() {
    let world = World::start(8).await;
    let request = "GET /m2m/x HTTP/1.1\nHost: gw.example.net\nFrom: a\nX-etsi-trpdt: PT10M";
    assert_eq!(world.ask(request).await.status, 204);
    assert!(world.got().is_empty());
    assert_eq!(*world.near.stored.lock().unwrap(), ["http://gw.example.net/m2m/x"]);
}

#[tokio::test]
async fn an_answer_comes_back_as_it_is_without_what_is_between_the_two() {
    let world = World::start(8).await;
    let answer = world.ask("DELETE /m2m/containers/c HTTP/1.1\nHost: gw.example.net\nFrom: a").await;
    assert_eq!((answer.status, answer.body.as_str()), (201, r#"{"container":{"id":"c"}}"#));
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("location", Some("http://gw.example.net/m2m/containers/c")),
        ("etag", Some("\"e1\"")),
        ("set-cookie", None),
    ] {
        assert_eq!(answer.header(name).as_deref(), value, "{name}");
    }
}

#[tokio::test]
async fn a_request_below_an_application_goes_to_the_application() {
    let world = World::start(8).await;
    let request = "GET /m2m/applications/a/led/1?x=y HTTP/1.1\nHost: nscl:8080\nFrom: b\nX-etsi-trpdt: PT10M";
    assert_eq!(world.ask(request).await.status, 201);
    let got = world.got().pop().unwrap();
    assert_eq!(got.line, "GET /meter/led/1?x=y");
    assert_eq!(text(&got.headers, "host"), Some(world.near.far.to_string().as_str()));
    assert_eq!(text(&got.headers, "from"), Some("b"), "it stays the requestingEntity (D-21)");
    assert_eq!(text(&got.headers, "via"), Some("1.1 nscl"));
    assert_eq!(text(&got.headers, "x-etsi-trpdt"), Some("PT10M"));
    assert!(world.near.routed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_go_on_is_refused_and_nothing_is_sent() {
    let world = World::start(8).await;
    let body = "x".repeat(101);
    for (request, status, named) in [
        (
            "GET /m2m/x HTTP/1.1\nHost: gw.example.net\nFrom: a\nVia: 1.1 nscl, 1.1 gscl-2".to_owned(),
            400,
            "Via: ",
        ),
        (
            "GET /m2m/applications/a/led HTTP/1.1\nHost: nscl:8080\nFrom: a\nVia: 1.0 other\nVia: 1.1 nscl"
                .to_owned(),
            400,
            "Via: ",
        ),
        ("GET /m2m/x HTTP/1.1\nHost: gone.example.net\nFrom: a".to_owned(), 502, "STATUS_BAD_GATEWAY"),
        ("GET /m2m/x HTTP/1.1\nHost: stranger.example.net\nFrom: a".to_owned(), 404, "no registered SCL"),
        (
            format!(
                "POST /m2m/x HTTP/1.1\nHost: gw.example.net\nFrom: a\nContent-Type: text/plain\n\n{body}"
            ),
            413,
            "more than 100 octets",
        ),
        ("GET /m2m/x HTTP/1.1\nHost: gw.example.net".to_owned(), 402, "requestingEntity: "),
    ] {
        let answer = world.ask(&request).await;
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert!(answer.body.contains(named), "{request}: {answer:?}");
        assert!(world.got().is_empty(), "{request}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_is_too_large_is_told_as_such() {
    let world = World::start(8).await;
    for (path, status) in [("silent", 504), ("large", 502)] {
        let answer = world.ask(&format!("GET /m2m/{path} HTTP/1.1\nHost: gw.example.net\nFrom: a")).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(world.got().len(), 1);
    }
}

#[tokio::test]
async fn no_more_go_on_at_once_than_there_is_room_for() {
    let world = World::start(0).await;
    let answer = world.ask("GET /m2m/x HTTP/1.1\nHost: gw.example.net\nFrom: a").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(world.got().is_empty());
    assert_eq!(
        world.ask("GET /m2m/scls HTTP/1.1\nHost: nscl:8080\nFrom: a").await.status,
        204,
        "ours is answered"
    );
}
