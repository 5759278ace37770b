//! A server with a fake tree behind it, and `check`, which knows the wire so that the tests need not.

use banyan_binding::{
    Handler,
    http::{Binding, Config, Server, serve},
    identity::{Identity, Open},
};
use banyan_model::{
    Body, Content, Method, Representation, RequestPrimitive, ResourceType, ResponsePrimitive, Scl,
    StatusCode, Timestamp, Value, value::ContentForm,
};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

/// The SCL of the tests: every authority is ours.
pub(crate) fn scl() -> Scl {
    Scl {
        id: "nscl".to_owned(),
        base: "/m2m".to_owned(),
        authorities: Vec::new(),
        founded_at: banyan_model::Timestamp(0),
    }
}

/// A tree that answers by the last segment of the target and remembers what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) seen: Arc<Mutex<Vec<RequestPrimitive>>>,
    /// Requests for `slow` wait until a permit is added.
    pub(crate) gate: Arc<Gate>,
}

pub(crate) struct Gate(pub(crate) Semaphore);

impl Default for Gate {
    fn default() -> Gate {
        Gate(Semaphore::new(0))
    }
}

impl Handler for Fake {
    async fn handle(&self, request: RequestPrimitive) -> ResponsePrimitive {
        self.seen.lock().unwrap().push(request.clone());
        let name = request.target.name().unwrap_or_default();
        if name == "slow" {
            self.gate.0.acquire().await.unwrap().forget();
        }
        if let Body::Malformed(refusal) = request.body {
            return refusal.into();
        }
        if let Err(refusal) = request.filter {
            return refusal.into();
        }
        let status = ResponsePrimitive::status;
        match (name, request.method) {
            ("denied", _) => status(StatusCode::PermissionDenied),
            ("forbidden", _) => status(StatusCode::Forbidden),
            ("hidden", _) => banyan_model::Refusal::not_found().into(),
            ("conflict", _) => {
                ResponsePrimitive { info: "name: taken".to_owned(), ..status(StatusCode::Conflict) }
            }
            ("busy", _) => {
                ResponsePrimitive { retry_after_ms: Some(1_500), ..status(StatusCode::ServiceUnavailable) }
            }
            ("wrong", _) => ResponsePrimitive {
                allow: vec![Method::Retrieve, Method::Create, Method::Execute, Method::Delete],
                ..status(StatusCode::MethodNotAllowed)
            },
            ("later", _) => status(StatusCode::Accepted),
            ("same", _) => {
                ResponsePrimitive { etag: Some("v7".to_owned()), ..status(StatusCode::NotModified) }
            }
            ("changed", _) => status(StatusCode::PreconditionFailed),
            ("odd", _) => ResponsePrimitive { etag: Some("a\nb".to_owned()), ..status(StatusCode::Ok) },
            ("content", _) => ResponsePrimitive {
                body: Body::Raw {
                    content_type: "image/png".to_owned(),
                    bytes: Bytes::from_static(b"\x89PNG"),
                },
                ..status(StatusCode::Ok)
            },
            ("textContent", _) => ResponsePrimitive {
                body: Body::Raw {
                    content_type: "text/plain\r\nX: y".to_owned(),
                    bytes: Bytes::from_static(b"hi"),
                },
                ..status(StatusCode::Ok)
            },
            ("expirationTime", Method::Retrieve) => ResponsePrimitive {
                body: Body::Attribute {
                    name: "expirationTime".to_owned(),
                    value: Value::Datetime(Timestamp(1_370_001_720_000)),
                },
                ..status(StatusCode::Ok)
            },
            (_, Method::Create) => ResponsePrimitive {
                resource_uri: Some(format!("/m2m{}/new%20one", request.target)),
                body: Body::Representation(application()),
                ..status(StatusCode::Created)
            },
            (_, Method::Retrieve) => ResponsePrimitive {
                body: Body::Representation(application()),
                etag: Some("v7".to_owned()),
                last_modified: Some(Timestamp(1_370_001_720_123)),
                ..status(StatusCode::Ok)
            },
            _ => status(StatusCode::Ok),
        }
    }
}

fn application() -> Representation {
    let mut application = Representation::new(ResourceType::Application);
    application.set("appId", Value::Text("meterReader".to_owned()));
    application.set("expirationTime", Value::Datetime(Timestamp(1_370_001_720_000)));
    application
}

/// A running server; stops when told, or with the test's runtime.
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) fake: Fake,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<()>,
}

impl Bench {
    pub(crate) async fn open() -> Bench {
        Bench::start(Server::default(), Config::new(scl()), Open { scl: scl() }).await
    }

    pub(crate) async fn start<I: Identity>(server: Server, config: Config, identity: I) -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake::default();
        let binding = Arc::new(Binding::new(config, identity, fake.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, server, binding, async move {
            let _ = stopped.await;
        }));
        Bench { address, fake, stop: Some(stop), served }
    }

    /// Sends `request` (lines; a body follows an empty line and gets its Content-Length) and compares the answer with
    /// `expected`, line by line:
    /// - `200` the status,
    /// - `name: value` a header of the answer, `!name` one that must not be there,
    /// - `| text` the body contains it, `|` alone: the body is empty,
    /// - `> text` the primitive that the tree saw (see `summary`), `>` alone: it saw none.
    pub(crate) async fn check(&self, request: &str, expected: &str) {
        self.fake.seen.lock().unwrap().clear();
        let answer = Answer::read(self.raw(&wire(request)).await);
        let seen = self.fake.seen.lock().unwrap().first().map(summary).unwrap_or_default();
        let about = format!("request:\n{request}\nexpected:\n{expected}\nanswer:\n{answer:?}\nseen: {seen}");
        let mut lines = expected.lines().map(str::trim);
        assert_eq!(answer.status.to_string(), lines.next().unwrap(), "status; {about}");
        for line in lines {
            if let Some(text) = line.strip_prefix('|') {
                let text = text.trim();
                let fits = if text.is_empty() { answer.body.is_empty() } else { answer.body.contains(text) };
                assert!(fits, "body, {line}; {about}");
            } else if let Some(text) = line.strip_prefix('>') {
                assert_eq!(seen, text.trim(), "primitive; {about}");
            } else if let Some(name) = line.strip_prefix('!') {
                assert_eq!(answer.header(name), None, "header {name}; {about}");
            } else {
                let (name, value) = line.split_once(": ").unwrap();
                assert_eq!(answer.header(name).as_deref(), Some(value), "header {name}; {about}");
            }
        }
    }

    /// Sends octets and reads until the server closes.
    pub(crate) async fn raw(&self, octets: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(octets).await.unwrap();
        read_to_end(&mut socket).await
    }
}

pub(crate) async fn read_to_end(socket: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset after the answer (the server did not read the whole body) is an end too.
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server did not close: {}", String::from_utf8_lossy(&answer));
    answer
}

/// `Connection: close` and, with a body, `Content-Length` are added.
pub(crate) fn wire(request: &str) -> Vec<u8> {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines: Vec<String> = head.lines().map(|line| line.trim().to_owned()).collect();
    lines.push("Connection: close".to_owned());
    if !body.is_empty() {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(octets: Vec<u8>) -> Answer {
        let text = String::from_utf8_lossy(&octets).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer { status, headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// `Create /applications by /m2m/applications/a: application appId=a [json]`
fn summary(request: &RequestPrimitive) -> String {
    let body = match &request.body {
        Body::None => "no body".to_owned(),
        Body::Representation(representation) => {
            let shown =
                representation.attributes.iter().map(|(name, value)| format!(" {name}={}", show(value)));
            format!("{}{}", representation.resource_type.name(), shown.collect::<String>())
        }
        Body::Attribute { name, value } => format!("attribute {name}={}", show(value)),
        Body::Message(message) => format!("message {}", message.name),
        Body::Raw { content_type, bytes } => format!("raw {content_type} {}", String::from_utf8_lossy(bytes)),
        Body::Malformed(refusal) => format!("malformed {:?}", refusal.status),
    };
    let target = &request.target;
    let line = format!("{:?} {target} by {}: {body}", request.method, request.requesting_entity.0);
    line.trim_end().to_owned()
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Datetime(at) => at.to_string(),
        Value::Long(number) => number.to_string(),
        Value::List(items) => items.join(","),
        Value::Content(Content { content_type, bytes, form }) => {
            let form = if *form == ContentForm::Text { "text" } else { "binary" };
            let text = String::from_utf8_lossy(bytes);
            format!("{form}/{}/{text}", content_type.as_deref().unwrap_or("-"))
        }
        other => format!("{other:?}"),
    }
}
