//! The calling side against the serving side: what goes out comes in as it was, and so does the answer.

use crate::bench::{Bench, scl};
use banyan_binding::http::{Caller, Client, ClientConfig, response};
use banyan_codec::{Format, Limits};
use banyan_model::{
    Body, Entity, Method, Path, Refusal, Representation, RequestPrimitive, ResourceType, ResponsePrimitive,
    StatusCode, Timestamp, Value,
    filter::FilterCriteria,
    primitive::{Conditions, NotifyMedia},
    value::Struct,
};
use bytes::Bytes;
use std::time::Duration;

fn caller() -> Caller {
    Caller { scl_id: "gscl".to_owned(), public_uri: "http://gw.example.net".to_owned() }
}

fn request(method: Method, target: &str, body: Body) -> RequestPrimitive {
    let entity = Entity("/gsclBase/applications/a".to_owned());
    RequestPrimitive { body, ..RequestPrimitive::new(method, Path::parse(target).unwrap(), entity) }
}

async fn call(bench: &Bench, request: &RequestPrimitive, format: Format) -> ResponsePrimitive {
    let uri = format!("http://{}/m2m{}", bench.address, request.target);
    let sent = caller().request(request, &uri, format).unwrap();
    let client = Client::new(ClientConfig::default());
    response(client.send(sent, Duration::from_secs(10)).await.unwrap(), &Limits::default())
}

fn application() -> Body {
    let mut application = Representation::new(ResourceType::Application);
    application.set("appId", Value::Text("meterReader".to_owned()));
    Body::Representation(application)
}

#[tokio::test]
async fn a_request_arrives_as_it_was() {
    let bench = Bench::open().await;
    let notify = Struct {
        name: "Notify",
        fields: vec![
            ("statusCode", Value::Text("STATUS_OK".to_owned())),
            ("subscriptionReference", Value::Text("http://h/m2m/subscriptions/s".to_owned())),
        ],
    };
    let raw = Body::Raw { content_type: "text/plain".to_owned(), bytes: Bytes::from_static(b"21.5") };
    let long = FilterCriteria {
        created_after: Some(Timestamp(1_370_001_600_500)),
        content_type: vec!["image/*".to_owned()],
        search_string: vec!["a b&c".to_owned()],
        meta_data_only: true,
        ..FilterCriteria::default()
    };
    let conditions = Conditions {
        if_match: vec!["v1".to_owned(), "b,c".to_owned()],
        if_none_match: vec!["*".to_owned()],
        if_modified_since: Some(Timestamp(1_370_001_600_000)),
        if_unmodified_since: Some(Timestamp(1_370_001_660_000)),
    };
    let expiration = Body::Attribute {
        name: "expirationTime".to_owned(),
        value: Value::Datetime(Timestamp(1_370_001_720_000)),
    };
    for format in [Format::Xml, Format::Json] {
        for sent in [
            request(Method::Create, "/applications", application()),
            request(Method::Create, "/containers/c/contentInstances", raw.clone()),
            RequestPrimitive {
                filter: Ok(long.clone()),
                ..request(Method::Retrieve, "/containers/c/contentInstances", Body::None)
            },
            RequestPrimitive {
                conditions: conditions.clone(),
                via: vec!["gscl-0".to_owned()],
                group_request: Some("0A1B".to_owned()),
                ..request(Method::Update, "/applications/a%20b/expirationTime", expiration.clone())
            },
            request(Method::Delete, "/applications/x", Body::None),
            request(Method::Execute, "/scls/s/mgmtObjs/m", Body::None),
            request(Method::Notify, "/containers/c/contentInstances", Body::Message(notify.clone())),
        ] {
            call(&bench, &sent, format).await;
            let seen = bench.fake.seen.lock().unwrap().pop().unwrap();
            let mut expected = sent.clone();
            expected.requesting_entity = Entity("http://gw.example.net/gsclBase/applications/a".to_owned());
            expected.via.push("gscl".to_owned());
            expected.reached_at = Some(format!("http://{}", bench.address));
            if format == Format::Json && !matches!(sent.body, Body::None | Body::Raw { .. }) {
                expected.notify_media = NotifyMedia::Json;
            }
            assert_eq!(seen, expected);
        }
    }
}

#[tokio::test]
async fn an_answer_comes_back_as_it_was() {
    let bench = Bench::open().await;
    for format in [Format::Xml, Format::Json] {
        let created = call(&bench, &request(Method::Create, "/applications", application()), format).await;
        assert_eq!(created.status, StatusCode::Created);
        let location = format!("http://{}/m2m/applications/new%20one", bench.address);
        assert_eq!(created.resource_uri, Some(location));
        assert!(matches!(created.body, Body::Representation(_)));

        let read = call(&bench, &request(Method::Retrieve, "/applications/x", Body::None), format).await;
        let tag = banyan_codec::entity_tag("v7", Some(format));
        assert_eq!((read.status, read.etag.as_deref()), (StatusCode::Ok, Some(tag.trim_matches('"'))));
        assert_eq!(read.last_modified, Some(Timestamp(1_370_001_720_000)), "HTTP has whole seconds");
        let Body::Representation(application) = read.body else { panic!("{:?}", read.body) };
        assert_eq!(application.text("appId"), Some("meterReader"));

        let content = call(&bench, &request(Method::Retrieve, "/x/content", Body::None), format).await;
        let png = Body::Raw { content_type: "image/png".to_owned(), bytes: Bytes::from_static(b"\x89PNG") };
        assert_eq!((content.status, content.body), (StatusCode::Ok, png));

        for (name, status, info) in [
            ("conflict", StatusCode::Conflict, "name: taken"),
            ("denied", StatusCode::PermissionDenied, ""),
            ("later", StatusCode::Accepted, ""),
            ("same", StatusCode::NotModified, ""),
        ] {
            let target = format!("/applications/{name}");
            let refused = call(&bench, &request(Method::Retrieve, &target, Body::None), format).await;
            assert_eq!((refused.status, refused.info.as_str()), (status, info));
            assert_eq!(refused.body, Body::None);
        }
        let busy = call(&bench, &request(Method::Delete, "/applications/busy", Body::None), format).await;
        assert_eq!((busy.status, busy.retry_after_ms), (StatusCode::ServiceUnavailable, Some(2_000)));
        let wrong = call(&bench, &request(Method::Delete, "/applications/wrong", Body::None), format).await;
        assert_eq!(wrong.allow, [Method::Retrieve, Method::Create, Method::Delete]);
    }
}

#[test]
fn a_document_that_is_none_of_ours_stays_octets() {
    let answer = http::Response::builder().header("content-type", "application/xml");
    let answer = answer.body(Bytes::from_static(b"<html/>")).unwrap();
    let Body::Raw { content_type, bytes } = response(answer, &Limits::default()).body else { panic!() };
    assert_eq!((content_type.as_str(), &*bytes), ("application/xml", &b"<html/>"[..]));
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let malformed = Refusal::new(StatusCode::BadRequest, "a body");
    let broken = request(Method::Update, "/x", Body::Malformed(malformed.clone()));
    assert_eq!(caller().request(&broken, "http://h/x", Format::Xml).unwrap_err(), malformed);
    let line_break = RequestPrimitive {
        requesting_entity: Entity("http://a\r\nX: y".to_owned()),
        ..request(Method::Retrieve, "/x", Body::None)
    };
    for (request, uri) in
        [(&line_break, "http://h/x"), (&request(Method::Retrieve, "/x", Body::None), "http://h h/")]
    {
        let refusal = caller().request(request, uri, Format::Xml).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BadGateway);
    }
}

#[tokio::test]
async fn a_loop_is_refused_before_the_tree_is_asked() {
    let bench = Bench::open().await;
    bench
        .check(
            &format!(
                "GET /m2m HTTP/1.1\nHost: h\nFrom: /m2m/applications/a\nVia: 1.1 gscl, 1.1 {}",
                scl().id
            ),
            "400
             | loop
             >",
        )
        .await;
}
