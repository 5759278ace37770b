//! What goes out for a job, and what is told about what came back.

use super::*;
use banyan_binding::{
    http::{Response, Server, Service},
    identity::Peer,
};
use banyan_codec::{Expect, Limits, decode};
use banyan_model::{Body, Entity, Method, Path, RequestPrimitive, ResourceType, Value};
use banyan_proto::v1;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Mutex;
use tokio::net::TcpListener;

/// Answers with the status in its path and remembers the last request.
#[derive(Default)]
struct Subscriber {
    last: Mutex<Option<(HeaderMap, Bytes)>>,
}

impl Service for Subscriber {
    async fn call(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        if request.uri().path() == "/silent" {
            std::future::pending::<()>().await;
        }
        let status: u16 = request.uri().path().trim_start_matches('/').parse().expect("a status");
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        *self.last.lock().expect("no panic") = Some((head.headers, body));
        let mut response = Response::new(Bytes::from_static(b"thanks").into());
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        response.headers_mut().insert(header::RETRY_AFTER, "7".parse().expect("a value"));
        response
    }
}

async fn subscriber() -> (String, Arc<Subscriber>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("bound"));
    let subscriber = Arc::new(Subscriber::default());
    tokio::spawn(Server::default().serve(listener, Arc::clone(&subscriber), std::future::pending()));
    (uri, subscriber)
}

fn courier() -> Courier {
    let scl = Scl {
        id: "nscl".to_owned(),
        base: "/m2m".to_owned(),
        authorities: Vec::new(),
        founded_at: banyan_model::Timestamp(0),
    };
    Courier::new(&Config::default(), None, None, "http://nscl.example.com:8080", &scl)
}

fn job(contact: String, what: What) -> DeliveryJob {
    DeliveryJob {
        job: 7,
        contact,
        media: v1::NotifyMedia::Xml.into(),
        subscription: "/m2m/containers/c/subscriptions/s".to_owned(),
        status: convert::number(StatusCode::Ok),
        what: Some(what),
        timeout_ms: 5_000,
        correlation: "9001".to_owned(),
    }
}

fn representation() -> What {
    let mut application = Representation::new(ResourceType::Application);
    application.set("appId", Value::Text("meterReader".to_owned()));
    What::Representation((&application).into())
}

/// statusCode, subscriptionReference and the decoded representation of a notify.
fn read(format: Format, body: &[u8]) -> (String, String, Option<String>) {
    let Body::Message(notify) = decode(format, body, &Limits::default(), Expect::Message("notify")) else {
        panic!("no notify: {}", String::from_utf8_lossy(body));
    };
    let text = |name| match notify.get(name) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let representation = notify.get("representation").map(|value| match value {
        Value::Binary { content_type, bytes } => {
            assert_eq!(content_type.as_deref(), Some(format.media_type()));
            String::from_utf8(bytes.to_vec()).expect("a document")
        }
        other => panic!("{other:?}"),
    });
    (text("statusCode"), text("subscriptionReference"), representation)
}

#[tokio::test]
async fn a_job_becomes_a_notify() {
    let (uri, subscriber) = subscriber().await;
    let reference = "http://nscl.example.com:8080/m2m/containers/c/subscriptions/s";
    for (media, format) in [(v1::NotifyMedia::Xml, Format::Xml), (v1::NotifyMedia::Json, Format::Json)] {
        let job = DeliveryJob { media: media.into(), ..job(format!("{uri}/204"), representation()) };
        let (result, label) = courier().deliver(job).await;
        assert_eq!((result.job, result.http_status, label), (7, 204, "confirmed"));
        let (headers, body) = subscriber.last.lock().expect("no panic").take().expect("a request");
        assert_eq!(headers["content-type"], format.media_type());
        assert_eq!(headers["from"], "http://nscl.example.com:8080/m2m");
        let (status, subscription, document) = read(format, &body);
        assert_eq!((status.as_str(), subscription.as_str()), ("STATUS_OK", reference));
        assert!(document.is_some_and(|document| document.contains("meterReader")));
    }
}

#[tokio::test]
async fn notifies_of_a_groups_members_become_one_notify_collection() {
    let (uri, subscriber) = subscriber().await;
    let notify = |member: &str| {
        let document = encode_representation(Format::Xml, &Representation::new(ResourceType::Container));
        let mut notify = banyan_codec::notify_body(
            Format::Xml,
            StatusCode::Ok,
            banyan_codec::Carried::Document(document),
            member,
        );
        for (name, text) in [("requestingEntity", "/m2m/applications/na"), ("contact", "http://na/n")] {
            notify.fields.push((name, Value::Text(text.to_owned())));
        }
        notify
    };
    let members =
        [notify("/m2m/containers/c/subscriptions/s"), notify("http://gw/m2m/containers/d/subscriptions/s")];
    let sent = banyan_model::outbox::notify_collection(members.to_vec());
    for (media, format) in [(v1::NotifyMedia::Xml, Format::Xml), (v1::NotifyMedia::Json, Format::Json)] {
        let job = job(format!("{uri}/200"), What::Collection((&sent).into()));
        let (result, label) = courier().deliver(DeliveryJob { media: media.into(), ..job }).await;
        assert_eq!((result.http_status, label), (200, "confirmed"));
        let (headers, body) = subscriber.last.lock().expect("no panic").take().expect("a request");
        assert_eq!(headers["content-type"], format.media_type());
        let expected = Expect::Message("notifyCollection");
        let Body::Message(read) = decode(format, &body, &Limits::default(), expected) else {
            panic!("{}", String::from_utf8_lossy(&body));
        };
        let text = |name: &str| -> Vec<Value> {
            let of = |notify: &Value| match notify {
                Value::Struct(notify) => notify.get(name).cloned(),
                other => panic!("{other:?}"),
            };
            read.all("notify").filter_map(of).collect()
        };
        let ours = |path: &str| Value::Text(format!("http://nscl.example.com:8080/m2m/{path}"));
        let far = Value::Text("http://gw/m2m/containers/d/subscriptions/s".to_owned());
        assert_eq!(text("subscriptionReference"), [ours("containers/c/subscriptions/s"), far]);
        assert_eq!(text("requestingEntity"), [ours("applications/na"), ours("applications/na")]);
        assert_eq!(text("representation").len(), 2);
    }
}

#[tokio::test]
async fn a_bare_and_a_final_notify() {
    let (uri, subscriber) = subscriber().await;
    courier().deliver(job(format!("{uri}/200"), What::Bare(true))).await;
    let (_, body) = subscriber.last.lock().expect("no panic").take().expect("a request");
    assert_eq!(read(Format::Xml, &body).2, None);
    let last = What::ErrorInfo("the resource is gone".to_owned());
    let last =
        DeliveryJob { status: convert::number(StatusCode::Deleted), ..job(format!("{uri}/200"), last) };
    courier().deliver(last).await;
    let (_, body) = subscriber.last.lock().expect("no panic").take().expect("a request");
    let (status, _, document) = read(Format::Xml, &body);
    assert_eq!(status, "STATUS_DELETED");
    assert!(document.is_some_and(|text| text.contains("errorInfo") && text.contains("the resource is gone")));
}

#[tokio::test]
async fn an_answer_becomes_a_response_notify_with_its_correlation_id() {
    let (uri, subscriber) = subscriber().await;
    let answer = ResponsePrimitive {
        resource_uri: Some("/m2m/containers/c".to_owned()),
        etag: Some("1".to_owned()),
        last_modified: Some(banyan_model::Timestamp(1_370_001_720_123)),
        ..ResponsePrimitive::status(StatusCode::Created)
    };
    let what = What::Answer(convert::response_to_bytes(&answer));
    let (result, label) = courier().deliver(job(format!("{uri}/204"), what)).await;
    assert_eq!((result.http_status, label), (204, "confirmed"));
    let (headers, body) = subscriber.last.lock().expect("no panic").take().expect("a request");
    assert_eq!(headers["x-etsi-correlationid"], "9001");
    assert_eq!(headers["from"], "http://nscl.example.com:8080/m2m");
    let expect = Expect::Message("responseNotify");
    let Body::Message(sent) = decode(Format::Xml, &body, &Limits::default(), expect) else {
        panic!("{}", String::from_utf8_lossy(&body));
    };
    for (name, text) in [
        ("statusCode", "STATUS_OK"),
        ("locationHeader", "http://nscl.example.com:8080/m2m/containers/c"),
        ("etagHeader", "\"1\""),
        ("lastModifiedHeader", "Fri, 31 May 2013 12:02:00 GMT"),
    ] {
        assert_eq!(sent.get(name), Some(&Value::Text(text.to_owned())));
    }
}

#[tokio::test]
async fn what_came_back_is_told() {
    let (uri, _) = subscriber().await;
    for (status, label) in [(200, "confirmed"), (302, "failed"), (404, "refused"), (503, "failed")] {
        let (result, seen) = courier().deliver(job(format!("{uri}/{status}"), representation())).await;
        assert_eq!((result.http_status, seen), (status, label));
        assert_eq!((result.retry_after_ms, result.transport_error.as_str()), (Some(7_000), ""));
    }
    for (contact, label) in [
        ("http://127.0.0.1:1/x", "unanswered"),
        ("coap://h/x", "undeliverable"),
        ("/m2m/containers/c", "undeliverable"),
        ("not a uri", "undeliverable"),
    ] {
        let (result, seen) = courier().deliver(job(contact.to_owned(), representation())).await;
        assert_eq!((result.job, result.http_status, seen), (7, 0, label), "{contact}");
        assert!(!result.transport_error.is_empty());
    }
    let strange = DeliveryJob { status: 9_999, ..job(uri, representation()) };
    assert_eq!(courier().deliver(strange).await.1, "undeliverable");
}

/// What a request to `contact` is answered with, and its label.
async fn exchange(contact: &str, timeout_ms: u32) -> (ResponsePrimitive, &'static str) {
    let entity = Entity("/m2m/applications/a".to_owned());
    let mut request = RequestPrimitive::new(Method::Update, Path::scl_base(), entity);
    request.via = vec!["gscl".to_owned()];
    request.body = Body::Representation(Representation::new(ResourceType::Container));
    let what = What::Request(convert::request_to_bytes(&request));
    let (result, label) =
        courier().deliver(DeliveryJob { timeout_ms, ..job(contact.to_owned(), what) }).await;
    assert_eq!((result.job, result.transport_error.as_str()), (7, ""));
    let response = convert::response_from_bytes(result.response.expect("an answer")).expect("a response");
    (response, label)
}

#[tokio::test]
async fn a_request_of_a_node_goes_out_whole_and_its_answer_comes_back() {
    let (uri, subscriber) = subscriber().await;
    let (response, label) = exchange(&format!("{uri}/200"), 5_000).await;
    assert_eq!((response.status, label), (StatusCode::Ok, "confirmed"));
    let Body::Raw { bytes, .. } = response.body else { panic!("{:?}", response.body) };
    assert_eq!(bytes, "thanks");
    let (headers, body) = subscriber.last.lock().expect("no panic").take().expect("a request");
    assert_eq!(headers["from"], "http://nscl.example.com:8080/m2m/applications/a");
    assert_eq!(headers["via"], "1.1 gscl, 1.1 nscl");
    let sent = decode(Format::Xml, &body, &Limits::default(), Expect::Resource(ResourceType::Container));
    assert!(matches!(sent, Body::Representation(_)), "{sent:?}");

    let (response, label) = exchange(&format!("{uri}/404"), 5_000).await;
    assert_eq!((response.status, label), (StatusCode::NotFound, "refused"));
}

#[tokio::test]
async fn a_request_without_an_answer_is_answered_by_the_gateway() {
    let (uri, _) = subscriber().await;
    for (contact, timeout_ms, status, label) in [
        (format!("{uri}/silent"), 100, StatusCode::GatewayTimeout, "unanswered"),
        ("http://127.0.0.1:1/x".to_owned(), 5_000, StatusCode::BadGateway, "unanswered"),
        ("coap://h/x".to_owned(), 5_000, StatusCode::BadGateway, "undeliverable"),
        ("not a uri".to_owned(), 5_000, StatusCode::BadGateway, "undeliverable"),
    ] {
        let (response, seen) = exchange(&contact, timeout_ms).await;
        assert_eq!((response.status, seen), (status, label), "{contact}");
        assert!(!response.info.is_empty(), "{contact}");
    }
}
