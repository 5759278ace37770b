//! Collections with more members than one page: every member once, in both representations, whoever leads, and never a
//! list that was cut.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use futures_util::StreamExt;

use crate::support::{alone, check_schema, cluster, expect};

const MEMBERS: usize = 2_500;
const OWNER: &str = "/m2m/applications/owner";

async fn create_all(cluster: &Cluster, collection: &str, xml: impl Fn(usize) -> String) {
    futures_util::stream::iter(0..16)
        .map(|of| {
            let bodies: Vec<String> = (of..MEMBERS).step_by(16).map(&xml).collect();
            async move {
                let mut device = cluster.device(OWNER);
                for body in bodies {
                    expect("a member", 201, device.create(collection, &body).await);
                }
            }
        })
        .buffer_unordered(16)
        .collect::<()>()
        .await;
}

#[test]
fn a_long_collection_is_listed_to_its_end() {
    alone(Duration::from_secs(420), || async {
        let cluster = cluster(Config { shards: 8, ..Config::default() }).await;
        let mut owner = cluster.device(OWNER);
        expect("register", 201, owner.create("/m2m/applications", &body::application("owner", None)).await);
        let containers = format!("{OWNER}/containers");
        let flags = ["READ", "WRITE", "CREATE", "DELETE", "DISCOVER"];
        let own = [body::permission("own", &flags, &[OWNER])];
        let right = body::access_right(Some("r"), &own, &own);
        expect("right", 201, owner.create(&format!("{OWNER}/accessRights"), &right).await);
        let right = format!("{OWNER}/accessRights/r");
        // One collection is of one shard, the other one's members are in all of them.
        create_all(&cluster, &containers, |n| body::container(&format!("c{n:04}"), None, None)).await;
        create_all(&cluster, "/m2m/applications", |n| body::application(&format!("m{n:04}"), Some(&right)))
            .await;

        // sclBase's collections are shown to whoever is the SCL itself.
        let readers = [(OWNER, containers.as_str(), 'c', 0), ("/m2m", "/m2m/applications", 'm', 1)];
        for (reader, collection, first, and) in readers {
            let mut owner = cluster.device(reader);
            let xml = expect("XML", 200, owner.retrieve(collection).await);
            let json = [("accept", "application/json")];
            let json = expect("JSON", 200, owner.request("GET", collection, &json, b"").await);
            for reply in [&xml, &json] {
                assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
                assert_eq!(reply.header("content-length"), None);
                assert!(reply.header("etag").is_some());
            }
            check_schema(collection, xml.text());
            let json: serde_json::Value = serde_json::from_slice(&json.body).expect("a whole document");
            let name = collection.rsplit('/').next().expect("a path");
            let list = format!("{}Collection", name.trim_end_matches('s'));
            let listed = json[name][&list]["namedReference"].as_array().expect("a list");
            let ids: Vec<&str> = listed.iter().filter_map(|entry| entry["id"].as_str()).collect();
            assert_eq!(ids.len(), MEMBERS + and, "{collection}");
            assert!(ids.is_sorted(), "{collection}: in the order of names");
            assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>().len(), ids.len(), "each once");
            assert!(ids.iter().filter(|id| id.starts_with(first)).count() == MEMBERS);
            let in_xml = xml.text().matches("<m2m:namedReference id=").count();
            assert_eq!(in_xml, ids.len(), "{collection}: both representations list the same");

            // That members came reaches sclBase's collections by and by.
            let mut etag = xml.header("etag").expect("an eTag").to_owned();
            let same = loop {
                let same = owner.request("GET", collection, &[("if-none-match", &etag)], b"").await;
                match same {
                    Ok(reply) if reply.status == 200 && reply.header("etag") != Some(etag.as_str()) => {
                        etag = reply.header("etag").expect("an eTag").to_owned();
                    }
                    same => break same,
                }
            };
            expect("nothing new", 304, same);
            // One list alone, and one attribute, which lists nothing.
            let alone = owner.retrieve(&format!("{collection}?attributeAccessor={list}")).await;
            let alone = expect("one list", 200, alone);
            assert_eq!(alone.text().matches("<m2m:namedReference id=").count(), ids.len());
            let time = owner.retrieve(&format!("{collection}?attributeAccessor=creationTime")).await;
            assert!(expect("one attribute", 200, time).header("content-length").is_some());
        }
        let gone = owner.delete(&format!("{containers}/c0000")).await;
        expect("delete", 204, gone);
        let fewer = expect("again", 200, owner.retrieve(&containers).await);
        assert!(!fewer.text().contains("c0000") && fewer.text().contains("c2499"));
    });
}
