//! The flow that ETSI M2M is taught with: a network application and a gateway register, rights are set, measurements
//! go into containers, the application subscribes and is notified, a second application is refused, is given READ,
//! and reads. Every body is checked against the official schema.

use std::time::Duration;

use cluster_tests::body;
use cluster_tests::cluster::Config;
use cluster_tests::subscriber::Subscriber;

use crate::support::{alone, check_schema, cluster, expect, refusal};

const GATEWAY: &str = "/m2m/scls/gateway";
const OPERATOR: &str = "/m2m/applications/operator";
const MANUFACTURER: &str = "/m2m/applications/manufacturer";

#[test]
fn the_teaching_flow_works_through_both_edges() {
    alone(Duration::from_secs(120), || async {
        let cluster = cluster(Config::default()).await;
        let subscriber = Subscriber::start().await;
        let (mut gateway, mut operator) = (cluster.device(GATEWAY), cluster.device(OPERATOR));
        let mut manufacturer = cluster.device(MANUFACTURER);
        manufacturer.switch_edge();

        let reply = expect(
            "the network application registers",
            201,
            operator.create("/m2m/applications", &body::application("operator", None)).await,
        );
        check_schema("application", reply.text());
        let location = reply.header("location").expect("a create answers where").to_owned();
        assert!(
            location.starts_with("http://") && location.ends_with(OPERATOR),
            "Location {location} is absolute"
        );

        let reply = expect(
            "the gateway registers",
            201,
            gateway.create("/m2m/scls", &body::scl("gateway", "http://gateway.example.net:8181/m2m")).await,
        );
        check_schema("scl", reply.text());

        let owner = [body::permission("owner", &["READ", "WRITE", "DELETE"], &[GATEWAY])];
        let own = body::permission("own", &["CREATE", "READ", "WRITE", "DELETE", "DISCOVER"], &[GATEWAY]);
        let reader = |holders: &[&str]| body::permission("readers", &["READ", "DISCOVER"], holders);
        let rights = format!("{GATEWAY}/accessRights");
        let reply = expect(
            "the gateway sets rights",
            201,
            gateway
                .create(
                    &rights,
                    &body::access_right(Some("metering"), &[own.clone(), reader(&[OPERATOR])], &owner),
                )
                .await,
        );
        check_schema("accessRight", reply.text());
        let metering = format!("{rights}/metering");

        for device in ["heating", "meter"] {
            let xml = body::container(device, Some(&metering), Some(100));
            let reply = expect(device, 201, gateway.create(&format!("{GATEWAY}/containers"), &xml).await);
            check_schema("container", reply.text());
        }
        let meter = format!("{GATEWAY}/containers/meter/contentInstances");
        let subscription = body::subscription("watch", &subscriber.contact("/meter"));
        let reply = expect(
            "the network application subscribes",
            201,
            operator.create(&format!("{meter}/subscriptions"), &subscription).await,
        );
        check_schema("subscription", reply.text());

        for value in ["12.1", "12.4", "12.9"] {
            let reply = expect(
                "a measurement",
                201,
                gateway.create(&meter, &body::content_instance(None, value)).await,
            );
            check_schema("contentInstance", reply.text());
        }
        let received = subscriber
            .wait("/meter", Duration::from_secs(10), |all| {
                all.iter().flat_map(|notification| notification.contents()).any(|content| content == "12.9")
            })
            .await
            .unwrap_or_else(|got| panic!("the last measurement was not notified: {got:#?}"));
        let contents: Vec<String> =
            received.iter().flat_map(|notification| notification.contents()).collect();
        assert_eq!(contents, ["12.1", "12.4", "12.9"], "each once, for nothing broke");
        for notification in &received {
            assert_eq!(notification.status_code, "STATUS_OK");
            assert!(notification.subscription.ends_with(&format!("{meter}/subscriptions/watch")));
            check_schema("notify", &notification.body);
            if !notification.representation.is_empty() {
                check_schema("the representation in a notify", &notification.representation);
            }
        }

        expect(
            "the manufacturer registers",
            201,
            manufacturer.create("/m2m/applications", &body::application("manufacturer", None)).await,
        );
        let latest = format!("{meter}/latest");
        // Nothing in the right names it, so it may not even learn that the container exists.
        let reply = expect("the manufacturer is refused", 404, manufacturer.retrieve(&latest).await);
        refusal("refused manufacturer", "STATUS_NOT_FOUND", &reply);
        // A holder that lacks the flag knows of the resource and is told so.
        let reply = expect(
            "the operator may not write",
            401,
            operator.create(&meter, &body::content_instance(None, "forged")).await,
        );
        refusal("refused operator", "STATUS_PERMISSION_DENIED", &reply);

        let update = body::access_right(None, &[own, reader(&[OPERATOR, MANUFACTURER])], &owner);
        let reply = gateway.update(&metering, &update).await.expect("an answer");
        assert!(matches!(reply.status, 200 | 204), "the right is updated: {} {}", reply.status, reply.text());

        // The promise of the architecture: everywhere within a second.
        let until = std::time::Instant::now() + Duration::from_secs(3);
        let reply = loop {
            let reply = manufacturer.retrieve(&latest).await.expect("an answer");
            if reply.status == 200 || std::time::Instant::now() > until {
                break reply;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(reply.status, 200, "the manufacturer reads: {}", reply.text());
        check_schema("contentInstance", reply.text());
        assert_eq!(cluster_tests::subscriber::contents(reply.text()), ["12.9"]);
        let content = format!("{latest}/content");
        let raw = manufacturer.request("GET", &content, &[("accept", "text/plain")], b"").await;
        let raw = expect("the raw content", 200, raw);
        assert_eq!((raw.text(), raw.header("content-type")), ("12.9", Some("text/plain")));

        for (path, device) in [("/m2m/scls/gateway", &mut gateway), (OPERATOR, &mut operator)] {
            let reply = expect(path, 200, device.retrieve(path).await);
            check_schema(path, reply.text());
        }
        let all = expect("the collection", 200, operator.retrieve(&meter).await);
        check_schema("contentInstances", all.text());
        assert_eq!(body::element(all.text(), "currentNrOfInstances"), Some("3"));
    });
}
