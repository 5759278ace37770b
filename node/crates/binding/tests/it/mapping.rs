//! The mapping of bindings.md 2 to 4: what a request becomes, and what an answer looks like.

use crate::bench::{Answer, Bench, scl, wire};
use banyan_binding::{
    http::{Config, Server},
    identity::Open,
};
use banyan_model::{
    Timestamp,
    filter::FilterCriteria,
    primitive::{Correlation, NotifyMedia},
};

const APPLICATION: &str = r#"<m2m:application xmlns:m2m="http://uri.etsi.org/m2m" appId="meterReader"/>"#;

#[tokio::test]
async fn verbs_become_methods() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: /m2m/applications/a";
    bench
        .check(
            &format!("POST /m2m/applications {head}\nContent-Type: application/xml\n\n{APPLICATION}"),
            "201
             location: http://h/m2m/applications/new%20one
             content-type: application/xml
             | <m2m:application
             > Create /applications by /m2m/applications/a: application appId=meterReader",
        )
        .await;
    bench
        .check(
            &format!("GET /m2m/applications/x/ {head}"),
            "200
             content-type: application/xml
             etag: \"v7.xml\"
             vary: accept
             last-modified: Fri, 31 May 2013 12:02:00 GMT
             cache-control: private, no-cache
             | appId=\"meterReader\"
             > Retrieve /applications/x by /m2m/applications/a: no body",
        )
        .await;
    bench
        .check(
            &format!("GET /m2m {head}"),
            "200
             > Retrieve  by /m2m/applications/a: no body",
        )
        .await;
    bench
        .check(
            &format!("PUT /m2m/applications/x {head}\nContent-Type: application/xml\n\n{APPLICATION}"),
            "204
             !content-type
             |
             > Update /applications/x by /m2m/applications/a: application appId=meterReader",
        )
        .await;
    bench
        .check(
            &format!("DELETE /m2m/applications/x {head}"),
            "204
             |
             > Delete /applications/x by /m2m/applications/a: no body",
        )
        .await;
    bench
        .check(
            &format!("POST /m2m/scls/s/mgmtObjs/m {head}\nContent-Length: 0"),
            "204
             > Execute /scls/s/mgmtObjs/m by /m2m/applications/a: no body",
        )
        .await;
    bench
        .check(
            &format!(
                "POST /m2m/scls/s/mgmtObjs/m {head}\nContent-Type: application/xml\n\n\
                 <m2m:execReqArgs xmlns:m2m=\"http://uri.etsi.org/m2m\"/>"
            ),
            "204
             > Execute /scls/s/mgmtObjs/m by /m2m/applications/a: attribute execReqArgs=Struct(Struct { name: \"ExecReqArgsList\", fields: [] })",
        )
        .await;
    bench
        .check(
            &format!(
                "POST /m2m/containers/c/contentInstances {head}\nContent-Type: application/xml\n\n\
                 <m2m:notify xmlns:m2m=\"http://uri.etsi.org/m2m\"><m2m:statusCode>STATUS_OK</m2m:statusCode>\
                 <subscriptionReference>http://h/m2m/subscriptions/s</subscriptionReference></m2m:notify>"
            ),
            "204
             > Notify /containers/c/contentInstances by /m2m/applications/a: message Notify",
        )
        .await;
}

#[tokio::test]
async fn other_verbs_are_not_allowed() {
    let bench = Bench::open().await;
    for verb in ["PATCH", "OPTIONS", "TRACE", "BREW"] {
        bench
            .check(
                &format!("{verb} /m2m/applications HTTP/1.1\nHost: h\nFrom: a"),
                "405
                 allow: GET, POST, PUT, DELETE
                 | <m2m:statusCode>STATUS_METHOD_NOT_ALLOWED</m2m:statusCode>
                 >",
            )
            .await;
    }
    bench.check("HEAD /m2m/applications HTTP/1.1\nHost: h\nFrom: a", "405\n|\n>").await;
}

#[tokio::test]
async fn the_address_is_read_from_request_uri_and_host() {
    let config = Config::new(banyan_model::Scl { authorities: vec!["nscl:8080".to_owned()], ..scl() });
    let bench = Bench::start(Server::default(), config, Open { scl: scl() }).await;
    let seen = "> Retrieve /scls by a: no body";
    bench
        .check("GET http://nscl:8080/m2m/scls HTTP/1.1\nHost: other\nFrom: a", &format!("200\n{seen}"))
        .await;
    bench.check("GET /m2m/scls HTTP/1.1\nHost: nscl:8080\nFrom: a", &format!("200\n{seen}")).await;
    bench.check("GET /m2m/scls HTTP/1.1\nHost: gw42:8080\nFrom: a", "404\n| STATUS_NOT_FOUND\n>").await;
    bench.check("GET http://gw42/m2m/scls HTTP/1.1\nHost: nscl:8080\nFrom: a", "404\n>").await;
    bench.check("GET /other/scls HTTP/1.1\nHost: nscl:8080\nFrom: a", "404\n>").await;
    bench.check("GET /m2mscls HTTP/1.1\nHost: nscl:8080\nFrom: a", "404\n>").await;
    bench.check("GET / HTTP/1.1\nHost: nscl:8080\nFrom: a", "404\n>").await;
    bench.check("GET /m2m/scls HTTP/1.1\nFrom: a", "400\n| Host: missing\n>").await;
    bench.check("GET /m2m/scls HTTP/1.1\nHost: x\nHost: y\nFrom: a", "400\n| Host: given twice\n>").await;
}

#[tokio::test]
async fn what_is_told_of_this_scl_is_where_it_was_reached() {
    // By TLS, the client says no scheme: the operator does.
    let public = "https://public.example.net";
    for (authorities, public_uri, line, expected) in [
        (&[][..], None, "GET /m2m/scls HTTP/1.1\nHost: h:1", Some("http://h:1")),
        (&[], Some(public), "GET /m2m/scls HTTP/1.1\nHost: h:1", Some(public)),
        (&["a:1", "b:2"], None, "GET /m2m/scls HTTP/1.1\nHost: B:2", Some("http://B:2")),
        (&["a:1", "b:2"], Some(public), "GET /m2m/scls HTTP/1.1\nHost: b:2", Some("http://b:2")),
        (
            &["public.example.net"],
            Some(public),
            "GET /m2m/scls HTTP/1.1\nHost: Public.example.net",
            Some(public),
        ),
        (&["a:1"], None, "GET http://a:1/m2m/scls HTTP/1.1\nHost: other", Some("http://a:1")),
        (&["a:1"], None, "GET /?targetID=http://a:1/m2m/scls HTTP/1.1\nHost: other", None),
        (&["a:1"], Some(public), "GET /?targetID=http://a:1/m2m/scls HTTP/1.1\nHost: other", Some(public)),
    ] {
        let authorities = authorities.iter().map(|&own: &&str| own.to_owned()).collect();
        let mut config = Config::new(banyan_model::Scl { authorities, ..scl() });
        config.public_uri = public_uri.map(str::to_owned);
        let bench = Bench::start(Server::default(), config, Open { scl: scl() }).await;
        bench.check(&format!("{line}\nFrom: a"), "200").await;
        let seen = bench.fake.seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen.reached_at.as_deref(), expected, "{line}");
    }
}

#[tokio::test]
async fn a_client_without_host_gets_a_relative_location() {
    let bench = Bench::open().await;
    bench
        .check(
            &format!(
                "POST /m2m/applications HTTP/1.0\nFrom: a\nContent-Type: application/xml\n\n{APPLICATION}"
            ),
            "201
             location: /m2m/applications/new%20one",
        )
        .await;
}

#[tokio::test]
async fn formats_are_negotiated() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: a";
    let json = r#"{"application":{"appId":"meterReader"}}"#;
    let created = "> Create /applications by a: application appId=meterReader";
    // The default is the media type of the request's body.
    bench
        .check(
            &format!(
                "POST /m2m/applications {head}\nContent-Type: application/json; charset=utf-8\n\n{json}"
            ),
            &format!("201\ncontent-type: application/json\n| {{\"application\":\n{created}"),
        )
        .await;
    assert_eq!(bench.fake.seen.lock().unwrap()[0].notify_media, NotifyMedia::Json);
    bench
        .check(
            &format!(
                "POST /m2m/applications {head}\nContent-Type: application/json\nAccept: application/xml\n\n{json}"
            ),
            &format!("201\ncontent-type: application/xml\n| <m2m:application\n{created}"),
        )
        .await;
    bench
        .check(
            &format!("GET /m2m/applications/a {head}\nAccept: application/xml;q=0.4, application/json"),
            "200\ncontent-type: application/json",
        )
        .await;
    // Errors too.
    bench
        .check(
            &format!("GET /m2m/applications/conflict {head}\nAccept: application/json"),
            "409\ncontent-type: application/json\n| \"STATUS_CONFLICT\"\n| name: taken",
        )
        .await;
    bench
        .check(
            &format!("GET /m2m/applications/a {head}\nAccept: image/png"),
            "406\ncontent-type: application/xml\n| STATUS_NOT_ACCEPTABLE\n| Accept\n>",
        )
        .await;
    // A write is refused before it is done.
    bench
        .check(
            &format!(
                "POST /m2m/applications {head}\nContent-Type: application/json\nAccept: text/html\n\n{json}"
            ),
            "406\ncontent-type: application/json\n| STATUS_NOT_ACCEPTABLE\n>",
        )
        .await;
}

#[tokio::test]
async fn content_travels_raw() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: a";
    bench
        .check(
            &format!("POST /m2m/containers/c/contentInstances {head}\nContent-Type: text/plain; charset=utf-8\n\n21.5"),
            "201
             content-type: application/xml
             > Create /containers/c/contentInstances by a: raw text/plain; charset=utf-8 21.5",
        )
        .await;
    bench
        .check(
            &format!(
                "POST /m2m/containers/c/contentInstances {head}\nContent-Type: text/plain\nContent-Length: 0"
            ),
            "201\n> Create /containers/c/contentInstances by a: raw text/plain",
        )
        .await;
    for accept in ["image/png", "*/*", "image/*;q=0.1"] {
        bench
            .check(
                &format!("GET /m2m/containers/c/contentInstances/latest/content {head}\nAccept: {accept}"),
                "200\ncontent-type: image/png\nx-content-type-options: nosniff\n| PNG",
            )
            .await;
    }
    bench
        .check(
            &format!("GET /m2m/containers/c/contentInstances/latest/content {head}\nAccept: text/plain"),
            "406\n| image/png",
        )
        .await;
    // Let through because the path could lead to content, but it did not.
    bench
        .check(
            &format!("GET /m2m/containers/content/latest {head}\nAccept: text/plain"),
            "406\n| NOT_ACCEPTABLE",
        )
        .await;
    // A stored media type with a line break in it splits no header.
    bench
        .check(
            &format!("GET /m2m/containers/c/contentInstances/latest/content/textContent {head}"),
            "200\ncontent-type: application/octet-stream\n!x\n| hi",
        )
        .await;
}

#[tokio::test]
async fn attributes_are_addressed_by_their_element() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: a";
    bench
        .check(
            &format!(
                "PUT /m2m/applications/x/expirationTime {head}\nContent-Type: application/xml\n\n\
                 <m2m:expirationTime xmlns:m2m=\"http://uri.etsi.org/m2m\">2013-06-02T00:00:00Z</m2m:expirationTime>"
            ),
            "204
             > Update /applications/x/expirationTime by a: attribute expirationTime=2013-06-02T00:00:00Z",
        )
        .await;
    bench
        .check(
            &format!("GET /m2m/applications/x/expirationTime {head}"),
            "200
             | <m2m:expirationTime xmlns:m2m=\"http://uri.etsi.org/m2m\">2013-05-31T12:02:00Z</m2m:expirationTime>",
        )
        .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_the_trees_to_refuse() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: a";
    bench
        .check(
            &format!("POST /m2m/applications {head}\nContent-Type: application/xml\n\n<m2m:application"),
            "400\n| STATUS_BAD_REQUEST\n> Create /applications by a: malformed BadRequest",
        )
        .await;
    bench
        .check(
            &format!("POST /m2m/applications {head}\n\n{APPLICATION}"),
            "400\n| Content-Type: missing\n> Create /applications by a: malformed BadRequest",
        )
        .await;
    bench
        .check(
            &format!("POST /m2m/applications {head}\nContent-Type: text/plain\n\nhello"),
            "415\n| STATUS_UNSUPPORTED_MEDIA_TYPE\n> Create /applications by a: malformed UnsupportedMediaType",
        )
        .await;
    bench
        .check(
            &format!("PUT /m2m/containers/c/contentInstances {head}\nContent-Type: text/plain\n\nhello"),
            "415\n> Update /containers/c/contentInstances by a: malformed UnsupportedMediaType",
        )
        .await;
    bench
        .check(
            &format!("GET /m2m/containers/c/contentInstances?metaDataOnly=perhaps {head}"),
            "400\n| metaDataOnly: not an xsd:boolean\n> Retrieve /containers/c/contentInstances by a: no body",
        )
        .await;
}

#[tokio::test]
async fn query_and_conditions_travel_along() {
    let bench = Bench::open().await;
    let request =
        "GET /m2m/containers/c?searchString=a&searchString=b&createdSince=2013-05-31T12:00:00Z&x=y HTTP/1.1
        Host: h
        From: a
        If-Match: \"v1\", W/\"v2\"
        If-None-Match: *
        If-Modified-Since: Fri, 31 May 2013 12:02:00 GMT
        If-Unmodified-Since: rubbish";
    bench.check(request, "200").await;
    let seen = bench.fake.seen.lock().unwrap()[0].clone();
    let expected = FilterCriteria {
        search_string: vec!["a".to_owned(), "b".to_owned()],
        created_after: Some(Timestamp(1_370_001_600_000)),
        ..FilterCriteria::default()
    };
    assert_eq!(seen.filter, Ok(expected));
    assert_eq!(seen.conditions.if_match, ["v1", "v2"]);
    assert_eq!(seen.conditions.if_none_match, ["*"]);
    assert_eq!(seen.conditions.if_modified_since, Some(Timestamp(1_370_001_720_000)));
    assert_eq!(seen.conditions.if_unmodified_since, None);
}

#[tokio::test]
async fn a_tag_is_of_a_representation_and_means_its_resource() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: a";
    let json = format!("GET /m2m/containers/c {head}\nAccept: application/json");
    bench.check(&json, "200\ncontent-type: application/json\netag: \"v7.json\"\nvary: accept").await;
    // Another representation is not known by the tag of this one; nor is it by the query.
    let known = |format: &str| {
        format!(
            "GET /m2m/containers/c?ifNoneMatch=%22b.{format}%22 {head}\nIf-None-Match: \"a.{format}\", \"c\""
        )
    };
    for (format, in_header, in_query) in [("xml", ["a.xml", "c"], "b.xml"), ("json", ["", "c"], "")] {
        bench.check(&known(format), "200").await;
        let seen = bench.fake.seen.lock().unwrap()[0].clone();
        assert_eq!(seen.conditions.if_none_match, in_header);
        assert_eq!(seen.filter.unwrap().if_none_match, [in_query]);
    }
    // Whichever was read may be written upon.
    bench.check(&format!("DELETE /m2m/containers/c {head}\nIf-Match: \"v7.json\""), "204").await;
    assert_eq!(bench.fake.seen.lock().unwrap()[0].conditions.if_match, ["v7.json"]);
    bench.check(&format!("GET /m2m/containers/c?ifMatch=v7.json {head}"), "200").await;
    assert_eq!(bench.fake.seen.lock().unwrap()[0].conditions.if_match, ["v7.json"]);
}

#[tokio::test]
async fn a_delete_of_an_entry_without_a_name_is_not_one_of_the_list() {
    let bench = Bench::open().await;
    let head = "HTTP/1.1\nHost: h\nFrom: a";
    bench.check(&format!("DELETE /m2m/containers/c/searchStrings/ {head}"), "400\n| targetID\n>").await;
    bench.check(&format!("DELETE /m2m/accessRights/r/permissions/ {head}"), "400\n| targetID\n>").await;
    for target in
        ["/m2m/containers/c/searchStrings", "/m2m/containers/c/", "/m2m/containers/c/searchStrings/x/"]
    {
        bench.check(&format!("DELETE {target} {head}"), "204").await;
    }
}

#[tokio::test]
async fn statuses_and_their_headers() {
    let bench = Bench::open().await;
    for (name, expected) in [
        ("denied", "401\n!www-authenticate\n| STATUS_PERMISSION_DENIED"),
        ("forbidden", "403\n| STATUS_FORBIDDEN"),
        ("hidden", "404\n| STATUS_NOT_FOUND"),
        ("wrong", "405\nallow: GET, POST, DELETE\n| STATUS_METHOD_NOT_ALLOWED"),
        ("conflict", "409\n| <m2m:additionalInfo>name: taken</m2m:additionalInfo>"),
        ("busy", "503\nretry-after: 2\n| STATUS_SERVICE_UNAVAILABLE"),
        ("later", "202\n|"),
        ("same", "304\netag: \"v7.xml\"\nvary: accept\n|"),
        ("changed", "412\n| errorInfo"),
        ("odd", "204\n!etag"),
    ] {
        bench.check(&format!("GET /m2m/groups/{name} HTTP/1.1\nHost: h\nFrom: a"), expected).await;
    }
}

/// bindings.md 4, the HTTP column.
#[test]
fn every_status_has_its_http_status() {
    use banyan_binding::http::http_status;
    use banyan_model::StatusCode as S;
    for (status, expected) in [
        (S::Ok, 200),
        (S::Created, 201),
        (S::Accepted, 202),
        (S::NotModified, 304),
        (S::BadRequest, 400),
        (S::PermissionDenied, 401),
        (S::RequestingEntityMissing, 402),
        (S::Forbidden, 403),
        (S::NotFound, 404),
        (S::MethodNotAllowed, 405),
        (S::NotAcceptable, 406),
        (S::RequestTimeout, 408),
        (S::Conflict, 409),
        (S::Deleted, 410),
        (S::PreconditionFailed, 412),
        (S::PayloadTooLarge, 413),
        (S::UnsupportedMediaType, 415),
        (S::InternalServerError, 500),
        (S::NotImplemented, 501),
        (S::BadGateway, 502),
        (S::ServiceUnavailable, 503),
        (S::GatewayTimeout, 504),
        // Only inside notify; should it ever get here, the resource is gone.
        (S::Expired, 404),
    ] {
        assert_eq!(http_status(status).as_u16(), expected, "{status:?}");
    }
}

#[tokio::test]
async fn a_missing_requesting_entity_is_402() {
    let bench = Bench::open().await;
    for from in ["", "From:", "Authorization: Bearer x"] {
        let head = format!("GET /m2m/applications/a HTTP/1.1\nHost: h\n{from}");
        bench
            .check(
                head.trim_end(),
                "402
                 content-type: application/xml
                 | <m2m:statusCode>STATUS_PERMISSION_DENIED</m2m:statusCode>
                 | requestingEntity
                 >",
            )
            .await;
    }
}

#[tokio::test]
async fn a_body_in_several_frames_is_read_whole() {
    let bench = Bench::open().await;
    let head = "POST /m2m/containers/c/contentInstances HTTP/1.1\nHost: h\nFrom: a\nContent-Type: text/plain";
    let mut chunked = wire(&format!("{head}\nTransfer-Encoding: chunked"));
    chunked.extend_from_slice(b"2\r\n21\r\n1\r\n.\r\n1\r\n5\r\n0\r\n\r\n");
    assert_eq!(Answer::read(bench.raw(&chunked).await).status, 201);
    let seen = bench.fake.seen.lock().unwrap()[0].body.clone();
    assert!(matches!(&seen, banyan_model::Body::Raw { bytes, .. } if bytes == "21.5"), "{seen:?}");
}

#[tokio::test]
async fn two_requests_share_a_connection() {
    use tokio::io::AsyncWriteExt;
    let bench = Bench::open().await;
    let mut socket = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    socket.write_all(b"GET /m2m/scls HTTP/1.1\r\nHost: h\r\nFrom: a\r\n\r\n").await.unwrap();
    socket.write_all(&wire("GET /m2m/groups/hidden HTTP/1.1\nHost: h\nFrom: b")).await.unwrap();
    let answers = crate::bench::read_to_end(&mut socket).await;
    let text = String::from_utf8(answers).unwrap();
    let second = text[1..].find("HTTP/1.1 ").map(|at| at + 1).unwrap();
    assert_eq!(Answer::read(text[..second].into()).status, 200);
    assert_eq!(Answer::read(text[second..].into()).status, 404);
}

#[tokio::test]
async fn a_correlation_id_and_a_contact_are_read() {
    let bench = Bench::open().await;
    let seen = async |headers: &str| {
        let head = format!("GET /m2m/applications/x HTTP/1.1\nHost: h\nFrom: a\n{headers}");
        bench.check(head.trim_end(), "200\n> Retrieve /applications/x by a: no body").await;
        bench.fake.seen.lock().unwrap().last().unwrap().correlation.clone()
    };
    let correlation = |id: &str, contact: Option<&str>| {
        Some(Correlation { id: id.to_owned(), contact: contact.map(str::to_owned) })
    };
    let longest = "9".repeat(128);
    for (headers, expected) in [
        (String::new(), None),
        ("X-etsi-rcat: 3\nX-etsi-trpdt: PT10M".to_owned(), None),
        ("x-etsi-rcat: 0\nx-etsi-trpdt: 12:07:00Z".to_owned(), None),
        ("X-etsi-trpdt: 2".to_owned(), None),
        ("X-etsi-correlationID: 9001".to_owned(), correlation("9001", None)),
        (format!("X-etsi-correlationID: {longest}"), correlation(&longest, None)),
        (
            "X-ETSI-CORRELATIONID: 9001\nX-etsi-contactURI: http://dash.example.org/async".to_owned(),
            correlation("9001", Some("http://dash.example.org/async")),
        ),
        (
            "X-etsi-correlationID: a/b\nX-etsi-contactURI: /m2m/applications/x/notificationChannels/n/contact"
                .to_owned(),
            correlation("a/b", Some("/m2m/applications/x/notificationChannels/n/contact")),
        ),
    ] {
        assert_eq!(seen(&headers).await, expected, "{headers}");
    }
}

#[tokio::test]
async fn asynchronous_headers_that_mean_nothing_are_refused() {
    let bench = Bench::open().await;
    let id = "X-etsi-correlationID: 1";
    let long = format!("X-etsi-correlationID: {}", "9".repeat(129));
    for (headers, info) in [
        (format!("{id}\n{id}"), "X-etsi-correlationID: given twice"),
        ("X-etsi-correlationID:".to_owned(), "X-etsi-correlationID: empty, or not visible ASCII"),
        ("X-etsi-correlationID: 1 2".to_owned(), "X-etsi-correlationID: empty, or not visible ASCII"),
        ("X-etsi-correlationID: \u{e9}".to_owned(), "X-etsi-correlationID: empty, or not visible ASCII"),
        (long, "X-etsi-correlationID: longer than 128 octets"),
        ("X-etsi-contactURI: http://c/x".to_owned(), "X-etsi-correlationID: missing"),
        (
            format!("{id}\nX-etsi-contactURI: http://c/x\nX-etsi-contactURI: http://c/x"),
            "X-etsi-contactURI: given twice",
        ),
        (format!("{id}\nX-etsi-contactURI: coap://c/x"), "X-etsi-contactURI: neither"),
        (format!("{id}\nX-etsi-contactURI: http:///x"), "X-etsi-contactURI: neither"),
        (format!("{id}\nX-etsi-contactURI: /elsewhere/x"), "X-etsi-contactURI: neither"),
        (format!("{id}\nX-etsi-contactURI: dash"), "X-etsi-contactURI: neither"),
        ("X-etsi-rcat: 8".to_owned(), "X-etsi-rcat: not a category"),
        ("X-etsi-rcat: 03".to_owned(), "X-etsi-rcat: not a category"),
        ("X-etsi-trpdt: soon".to_owned(), "X-etsi-trpdt: neither a duration nor a time"),
        ("X-etsi-trpdt: -PT1S".to_owned(), "X-etsi-trpdt: neither a duration nor a time"),
    ] {
        let head = format!("GET /m2m/applications/x HTTP/1.1\nHost: h\nFrom: a\n{headers}");
        bench.check(&head, &format!("400\n| STATUS_BAD_REQUEST\n| {info}\n>")).await;
    }
}

#[tokio::test]
async fn an_accepted_request_is_answered_without_a_body() {
    let bench = Bench::open().await;
    let head = "DELETE /m2m/applications/later HTTP/1.1\nHost: h\nFrom: a\nX-etsi-correlationID: 1";
    bench.check(head, "202\n!content-type\n|\n> Delete /applications/later by a: no body").await;
}
