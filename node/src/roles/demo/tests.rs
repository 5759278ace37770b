//! The flow against an SCL that only pretends: it reads every body with the product's codec, keeps instances, refuses
//! whom the accessRight does not name and notifies the contact, or misbehaves as it is told.

use super::{
    DemoError, Patience, listener, perform,
    print::{Printer, indent},
};
use banyan_binding::{
    http::{Client, ClientConfig, Response, Server, Service},
    identity::Peer,
};
use banyan_codec::{Carried, Expect, Format, Limits, decode_content, encode_representation, notify};
use banyan_model::{
    Body, Representation, ResourceType, StatusCode, Value,
    value::{Content, ContentForm, Struct},
};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::{future, io, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the pretender does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// Answers 200 to everybody.
    LetsEverybodyRead,
    /// Takes subscriptions and forgets them.
    NeverNotifies,
    /// Notifies each instance twice.
    NotifiesTwice,
    /// The grant is seen only by the third reading.
    GrantsLate,
    /// The grant is never seen.
    NeverGrants,
}

#[derive(Default)]
struct State {
    right: String,
    contact: Option<String>,
    latest: Vec<u8>,
    readings: usize,
    deleted: Vec<String>,
}

struct Pretender {
    fault: Fault,
    client: Client,
    state: Mutex<State>,
}

impl Service for Pretender {
    async fn call(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a whole request").to_bytes();
        let header =
            |name| head.headers.get(&name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let (from, content_type) = (header(header::FROM), header(header::CONTENT_TYPE));
        let path = head.uri.path().to_owned();
        let (status, body) = self.answer(&head.method, &path, &from, &content_type, body).await;
        let mut response = Response::new(body.into());
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        response
    }
}

impl Pretender {
    async fn answer(
        &self,
        method: &Method,
        path: &str,
        from: &str,
        content_type: &str,
        body: Bytes,
    ) -> (u16, Bytes) {
        let decoded = match decode_content(content_type, &body, &Limits::default(), Expect::Any) {
            Body::Malformed(refusal) => return (400, Bytes::from(refusal.info)),
            decoded => decoded,
        };
        match *method {
            Method::GET => self.retrieve(path, from),
            Method::DELETE => {
                self.state.lock().deleted.push(path.to_owned());
                (204, Bytes::new())
            }
            Method::PUT => {
                self.state.lock().right = String::from_utf8_lossy(&body).into_owned();
                (204, Bytes::new())
            }
            _ if path.ends_with("/contentInstances") => self.admit(from, decoded, body).await,
            _ => {
                if let Body::Representation(representation) = &decoded {
                    let mut state = self.state.lock();
                    match representation.resource_type.name() {
                        "accessRight" => state.right = String::from_utf8_lossy(&body).into_owned(),
                        "subscription" => state.contact = representation.text("contact").map(str::to_owned),
                        _ => {}
                    }
                }
                (201, body)
            }
        }
    }

    fn retrieve(&self, path: &str, from: &str) -> (u16, Bytes) {
        let mut state = self.state.lock();
        state.readings += 1;
        let named = match self.fault {
            Fault::LetsEverybodyRead => true,
            Fault::NeverGrants => false,
            Fault::GrantsLate if state.readings < 4 => false,
            _ => state.right.contains(from),
        };
        match named {
            false => (404, Bytes::new()),
            true if path.ends_with("/content") => (200, Bytes::from(state.latest.clone())),
            true => (200, encode_representation(Format::Xml, &instance(&state.latest))),
        }
    }

    async fn admit(&self, from: &str, decoded: Body, body: Bytes) -> (u16, Bytes) {
        if from.contains("/applications/") {
            return (401, Bytes::new());
        }
        let content = match decoded {
            Body::Raw { bytes, .. } => bytes,
            Body::Representation(representation) => match representation.get("content") {
                Some(Value::Content(content)) => content.bytes.clone(),
                other => panic!("an instance needs content, not {other:?}"),
            },
            other => panic!("not an instance: {other:?}"),
        };
        self.state.lock().latest = content.to_vec();
        let contact = self.state.lock().contact.clone();
        let times = match self.fault {
            Fault::NeverNotifies => 0,
            Fault::NotifiesTwice => 2,
            _ => 1,
        };
        for contact in contact.iter().cycle().take(contact.iter().len() * times) {
            let request = Request::post(contact).body(notify_of(&content)).expect("a contact");
            let answer = self.client.send(request, Duration::from_secs(5)).await.expect("the demo listens");
            assert_eq!(answer.status(), 204);
        }
        (201, body)
    }
}

fn instance(content: &[u8]) -> Representation {
    let mut instance = Representation::new(ResourceType::from_name("contentInstance").expect("a type"));
    let bytes = Bytes::copy_from_slice(content);
    let content = Content { content_type: Some("text/plain".to_owned()), bytes, form: ContentForm::Text };
    instance.set("content", Value::Content(content));
    instance
}

fn notify_of(content: &[u8]) -> Bytes {
    let mut all = Representation::new(ResourceType::from_name("contentInstances").expect("a type"));
    let inside = Value::Resource(Box::new(instance(content)));
    let collection = Struct { name: "ContentInstanceCollection", fields: vec![("contentInstance", inside)] };
    all.set("contentInstanceCollection", Value::Struct(collection));
    let document = encode_representation(Format::Xml, &all);
    notify(
        Format::Xml,
        StatusCode::Ok,
        Carried::Document(document),
        "http://scl.example/m2m/x/subscriptions/watch",
    )
}

/// What was printed, for everybody who holds a copy.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Play {
    result: Result<(), DemoError>,
    printed: String,
    deleted: Vec<String>,
}

async fn play(fault: Fault, colour: bool) -> Play {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let client = Client::new(ClientConfig::default());
    let pretender = Arc::new(Pretender { fault, client, state: Mutex::default() });
    let server: JoinHandle<()> =
        tokio::spawn(Server::default().serve(listener, Arc::clone(&pretender), future::pending()));
    let paper = Paper::default();
    let patience = Patience { notification: Duration::from_millis(500), right: Duration::from_millis(500) };
    let printer = Printer::new(Box::new(paper.clone()), colour);
    let result = perform(&format!("http://{address}/m2m/"), None, printer, patience).await;
    server.abort();
    let printed = String::from_utf8(paper.0.lock().clone()).expect("text");
    let deleted = pretender.state.lock().deleted.clone();
    Play { result, printed, deleted }
}

#[tokio::test]
async fn the_flow_plays_to_its_end_and_leaves_nothing() {
    let Play { result, printed, deleted } = play(Fault::None, false).await;
    result.expect("the flow is played against an obedient SCL");
    for shown in [
        "1. The energy supplier's network application registers",
        "> POST /m2m/applications",
        "< 201 Created",
        "< 404 Not Found",
        "< 401 Unauthorized",
        "< notify STATUS_OK",
        "<m2m:textContent>12.9 kWh</m2m:textContent>",
        "The flow is complete",
    ] {
        assert!(printed.contains(shown), "{shown} is not in\n{printed}");
    }
    assert!(!printed.contains('\x1b'), "plain text carries no escape");
    let left: Vec<&str> = deleted.iter().filter_map(|path| path.rsplit(['/', '-']).nth(1)).collect();
    assert_eq!(left, ["subscriptions", "gateway", "manufacturer", "supplier"], "{deleted:?}");
}

#[tokio::test]
async fn a_repeated_notify_and_a_late_grant_are_no_errors() {
    play(Fault::NotifiesTwice, false).await.result.expect("at least once is what is promised");
    let late = play(Fault::GrantsLate, true).await;
    late.result.expect("a grant may take its second");
    assert!(late.printed.contains("\x1b[1mAsked 3 times in "), "{}", late.printed);
}

#[tokio::test]
async fn a_wrong_answer_ends_the_demo_with_step_expectation_and_answer() {
    let cases = [
        (Fault::LetsEverybodyRead, "The manufacturer is refused: expected 404, got 200 "),
        (Fault::NeverGrants, "The manufacturer reads the latest measurement: expected 200, got 404"),
        (Fault::NeverNotifies, "The supplier is notified: expected [\"12.1 kWh\", "),
    ];
    for (fault, start) in cases {
        let error = play(fault, false).await.result.expect_err("the fault is noticed").to_string();
        assert!(error.starts_with(start), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn without_an_scl_there_is_no_answer() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = unused.local_addr().expect("bound");
    drop(unused);
    let printer = || Printer::new(Box::new(io::sink()), false);
    let played = perform(&format!("http://{address}/m2m"), None, printer(), Patience::default()).await;
    assert!(matches!(played, Err(DemoError::NoAnswer { .. })), "{played:?}");
    for wrong in
        ["", "127.0.0.1:8080/m2m", "ftp://host/m2m", "https://host/m2m", "http://host/", "http://host/m2m?x"]
    {
        let played = perform(wrong, None, printer(), Patience::default()).await;
        assert!(matches!(played, Err(DemoError::Address { .. })), "{wrong}: {played:?}");
    }
}

#[test]
fn a_notify_is_read_and_anything_else_is_none() {
    let read = listener::read(&notify_of(b"a&b")).expect("a notify");
    assert_eq!((read.status_code.as_str(), read.contents), ("STATUS_OK", vec!["a&b".to_owned()]));
    assert!(read.subscription.ends_with("/subscriptions/watch"));
    for other in ["", "{}", "<notify", "<m2m:errorInfo xmlns:m2m=\"http://uri.etsi.org/m2m\"/>"] {
        assert_eq!(listener::read(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn documents_are_indented_for_the_eye() {
    let cases = [
        ("{\"a\":1}", "{\"a\":1}"),
        (
            "<?xml?><a><b>x</b><c/><d><e></e></d></a>",
            "<?xml?>\n<a>\n  <b>x</b>\n  <c/>\n  <d>\n    <e></e>\n  </d>\n</a>",
        ),
        ("<a>\n  <b>x</b>\n</a>", "<a>\n  <b>x</b>\n</a>"),
        ("<a>broken", "<a>\nbroken"),
        ("<", "<"),
        ("", ""),
    ];
    for (given, shown) in cases {
        assert_eq!(indent(given), shown, "{given}");
    }
}
