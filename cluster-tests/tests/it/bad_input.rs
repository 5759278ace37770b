//! Bad input gets the status of bindings.md 4 and an errorInfo that names the attribute. One row a kind of nonsense.

use std::time::Duration;

use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::{Device, Reply};

use crate::support::{alone, application, cluster, expect, refusal};

const XML: (&str, &str) = ("content-type", "application/xml");
const JSON: (&str, &str) = ("content-type", "application/json");
const M2M: &str = r#"xmlns:m2m="http://uri.etsi.org/m2m""#;

/// A request, and what must come back: status, status name, and a word of additionalInfo.
struct Bad<'a> {
    what: &'a str,
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: String,
    status: u16,
    code: &'a str,
    names: &'a str,
}

async fn send(device: &mut Device, bad: &Bad<'_>) -> Reply {
    let mut headers = bad.headers.to_vec();
    headers.push(("accept", "application/xml"));
    expect(bad.what, bad.status, device.request(bad.method, bad.path, &headers, bad.body.as_bytes()).await)
}

#[test]
fn bad_input_is_refused_with_a_reason() {
    alone(Duration::from_secs(120), || async {
        let cluster = cluster(Config { edges: 1, ..Config::default() }).await;
        let (mut device, instances) = application(&cluster, "sender").await;
        let app = "/m2m/applications/sender";
        let containers = format!("{app}/containers");
        let container = format!("{containers}/data");
        let post = |what, path, body: String, names| Bad {
            what,
            method: "POST",
            path,
            headers: &[XML],
            body,
            status: 400,
            code: "STATUS_BAD_REQUEST",
            names,
        };
        let subscriptions = format!("{instances}/subscriptions");
        let deep = format!(
            "<m2m:container {M2M}>{}{}</m2m:container>",
            "<m2m:searchStrings>".repeat(5_000),
            "</m2m:searchStrings>".repeat(5_000)
        );
        let laughs = format!(
            r#"<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><m2m:container {M2M} m2m:id="l"><m2m:searchStrings><m2m:searchString>&b;</m2m:searchString></m2m:searchStrings></m2m:container>"#
        );
        let rows = [
            post("malformed XML", &containers, format!("<m2m:container {M2M}"), ""),
            post("XML of another kind", &containers, "<html></html>".to_owned(), "html"),
            post("wrong root", &containers, body::application("x", None), "application"),
            // POST without a body is an EXECUTE (bindings), which a collection does not have.
            Bad {
                status: 405,
                code: "STATUS_METHOD_NOT_ALLOWED",
                ..post("empty body", &containers, String::new(), "")
            },
            post("deep nesting", &containers, deep, ""),
            post("entity expansion", &containers, laughs, ""),
            post(
                "unknown attribute",
                &containers,
                format!("<m2m:container {M2M}><m2m:colour>red</m2m:colour></m2m:container>"),
                "colour",
            ),
            post(
                "attribute the issuer may not set",
                &containers,
                format!(
                    "<m2m:container {M2M}><m2m:creationTime>2030-01-01T00:00:00Z</m2m:creationTime></m2m:container>"
                ),
                "creationTime",
            ),
            post(
                "attribute of the wrong type",
                &containers,
                format!(
                    "<m2m:container {M2M}><m2m:maxNrOfInstances>many</m2m:maxNrOfInstances></m2m:container>"
                ),
                "maxNrOfInstances",
            ),
            post(
                "missing mandatory attribute",
                &subscriptions,
                format!("<m2m:subscription {M2M}></m2m:subscription>"),
                "contact",
            ),
            post(
                "an instance without content",
                &instances,
                format!("<m2m:contentInstance {M2M}></m2m:contentInstance>"),
                "content",
            ),
            post(
                "a time in the past",
                &containers,
                format!(
                    "<m2m:container {M2M}><m2m:expirationTime>2001-01-01T00:00:00Z</m2m:expirationTime></m2m:container>"
                ),
                "expirationTime",
            ),
            Bad {
                what: "malformed JSON",
                method: "POST",
                path: &containers,
                headers: &[JSON],
                body: r#"{"container":{"id":"#.to_owned(),
                status: 400,
                code: "STATUS_BAD_REQUEST",
                names: "",
            },
            Bad {
                what: "unknown attribute in JSON",
                method: "POST",
                path: &containers,
                headers: &[JSON],
                body: r#"{"container":{"colour":"red"}}"#.to_owned(),
                status: 400,
                code: "STATUS_BAD_REQUEST",
                names: "colour",
            },
            Bad {
                what: "two JSON roots",
                method: "POST",
                path: &containers,
                headers: &[JSON],
                body: r#"{"container":{},"application":{}}"#.to_owned(),
                status: 400,
                code: "STATUS_BAD_REQUEST",
                names: "",
            },
            Bad {
                what: "no media type",
                method: "POST",
                path: &containers,
                headers: &[],
                body: body::container("x", None, None),
                status: 400,
                code: "STATUS_BAD_REQUEST",
                names: "",
            },
            Bad {
                what: "unsupported media type",
                method: "POST",
                path: &containers,
                headers: &[("content-type", "application/pdf")],
                body: "%PDF".to_owned(),
                status: 415,
                code: "STATUS_UNSUPPORTED_MEDIA_TYPE",
                names: "",
            },
            Bad {
                what: "unknown path",
                method: "GET",
                path: "/m2m/applications/sender/containers/none",
                headers: &[],
                body: String::new(),
                status: 404,
                code: "STATUS_NOT_FOUND",
                names: "",
            },
            Bad {
                what: "unknown child of sclBase",
                method: "GET",
                path: "/m2m/wardrobes",
                headers: &[],
                body: String::new(),
                status: 404,
                code: "STATUS_NOT_FOUND",
                names: "",
            },
            Bad {
                what: "not an address of this SCL",
                method: "GET",
                path: "/elsewhere",
                headers: &[],
                body: String::new(),
                status: 404,
                code: "STATUS_NOT_FOUND",
                names: "",
            },
            Bad {
                what: "method that the binding does not know",
                method: "PATCH",
                path: &container,
                headers: &[XML],
                body: body::container("x", None, None),
                status: 405,
                code: "STATUS_METHOD_NOT_ALLOWED",
                names: "",
            },
            Bad {
                what: "method that the type does not have",
                method: "DELETE",
                path: &containers,
                headers: &[],
                body: String::new(),
                status: 405,
                code: "STATUS_METHOD_NOT_ALLOWED",
                names: "",
            },
            Bad {
                what: "duplicate name",
                method: "POST",
                path: &containers,
                headers: &[XML],
                body: body::container("data", None, None),
                status: 409,
                code: "STATUS_CONFLICT",
                names: "data",
            },
        ];
        for bad in &rows {
            let reply = send(&mut device, bad).await;
            let why = refusal(bad.what, bad.code, &reply);
            assert!(!why.is_empty(), "{}: additionalInfo says why", bad.what);
            assert!(why.contains(bad.names), "{}: {why:?} names {:?}", bad.what, bad.names);
            if bad.status == 405 {
                assert!(reply.header("allow").is_some(), "{}: 405 says what is allowed", bad.what);
            }
        }

        let reply = expect(
            "unacceptable Accept",
            406,
            device.request("GET", &container, &[("accept", "image/png")], b"").await,
        );
        assert!(reply.text().contains("STATUS_NOT_ACCEPTABLE"), "{}", reply.text());

        let huge = body::content_instance(None, &"x".repeat(64 << 20));
        let reply = device.request("POST", &instances, &[XML], huge.as_bytes()).await;
        match reply {
            Ok(reply) => {
                assert!(matches!(reply.status, 400 | 413), "a body over the limit: {}", reply.status)
            }
            // The edge may close while the rest is still being sent; it must then go on serving, which is checked below.
            Err(error) => eprintln!("a body over the limit: {error}"),
        }

        not_http(&cluster).await;
        nobody(&cluster).await;

        // After all this the same connection's successor is served, and nothing of it was stored.
        let mut device = cluster.device(app);
        let reply = expect("still there", 200, device.retrieve(&containers).await);
        assert_eq!(body::elements(reply.text(), "namedReference").count(), 1, "{}", reply.text());
        let reply = expect("no instance", 404, device.retrieve(&format!("{instances}/latest")).await);
        refusal("latest of an empty container", "STATUS_NOT_FOUND", &reply);
    });
}

/// Bytes that are no HTTP must not end the edge.
async fn not_http(cluster: &Cluster) {
    let mut device = cluster.device("").with_timeout(Duration::from_secs(5));
    match device.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n", false).await {
        Ok(reply) => assert_eq!(reply.status, 400),
        Err(cluster_tests::http::Error::Closed | cluster_tests::http::Error::Broken(_)) => {}
        Err(error) => panic!("nonsense is answered or cut off, not left waiting: {error}"),
    }
}

/// A request without a requestingEntity is answered 402 (bindings.md 3.2).
async fn nobody(cluster: &Cluster) {
    let mut device = cluster.device("");
    let reply = expect("no requestingEntity", 402, device.retrieve("/m2m/applications/sender").await);
    refusal("no requestingEntity", "STATUS_PERMISSION_DENIED", &reply);
}
