//! Asynchronous requests are carried out once and answered, although the leader that accepted them is killed before it
//! has: each is one instance, whoever carried it out, and its answer tells which.

use std::time::Duration;

use banyan_model::{Entity, deferred};
use cluster_tests::body::{self, element};
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::fault::Signal;
use cluster_tests::subscriber::{Subscriber, contents};

use crate::support::{alone, application, cluster, expect};

const REQUESTS: usize = 24;
const ANSWERED: Duration = Duration::from_secs(15);

#[test]
fn an_accepted_request_is_carried_out_once_and_answered_after_the_leader_was_killed() {
    alone(Duration::from_secs(90), || async {
        let mut cluster = cluster(Config::default()).await;
        let subscriber = Subscriber::start().await;
        let (name, leader, decides) = apart(&cluster).await;
        let (mut device, collection) = application(&cluster, &name).await;

        // Nothing can be carried out while who decides about it stands still.
        cluster.signal_node(decides, Signal::Stop);
        for number in 0..REQUESTS {
            let contact = subscriber.contact(&format!("/answer/{number}"));
            let instance = body::content_instance(None, &format!("value {number}"));
            let id = format!("later-{number}");
            let headers = [
                ("content-type", "application/xml"),
                ("X-etsi-correlationID", id.as_str()),
                ("X-etsi-contactURI", contact.as_str()),
            ];
            let sent = device.request("POST", &collection, &headers, instance.as_bytes()).await;
            let accepted = expect("accepted", 202, sent);
            assert!(accepted.body.is_empty(), "{}", accepted.text());
        }
        let answered = (0..REQUESTS)
            .filter(|number| !subscriber.received(&format!("/answer/{number}")).is_empty())
            .count();
        cluster.kill_node(leader);
        cluster.signal_node(decides, Signal::Continue);
        eprintln!("{answered} of {REQUESTS} had been answered when node-{leader} was killed");
        assert!(answered < REQUESTS, "the kill comes between acceptance and answer");

        let mut locations = Vec::new();
        for number in 0..REQUESTS {
            let received = subscriber
                .wait(&format!("/answer/{number}"), ANSWERED, |answers| !answers.is_empty())
                .await
                .unwrap_or_else(|_| panic!("request {number} was never answered"));
            for answer in &received {
                assert_eq!(answer.status_code, "STATUS_OK", "{}", answer.body);
                assert_eq!(contents(&answer.representation), [format!("value {number}")]);
            }
            let location = |body: &str| element(body, "locationHeader").expect("a location").to_owned();
            let own = location(&received[0].body);
            assert!(received.iter().all(|answer| location(&answer.body) == own), "one answer, however often");
            locations.push(own);
        }
        let stored = expect("instances", 200, device.retrieve(&collection).await);
        let mut stored = contents(stored.text());
        let mut expected: Vec<String> = (0..REQUESTS).map(|number| format!("value {number}")).collect();
        stored.sort();
        expected.sort();
        assert_eq!(stored, expected, "each request has one effect");
        locations.sort();
        locations.dedup();
        assert_eq!(locations.len(), REQUESTS);

        // Repeated, a request gets the answer that is kept.
        let headers = [("content-type", "application/xml"), ("X-etsi-correlationID", "later-0")];
        let instance = body::content_instance(None, "value 0");
        let again =
            expect("again", 201, device.request("POST", &collection, &headers, instance.as_bytes()).await);
        assert_eq!(contents(again.text()), ["value 0"]);
    });
}

/// The name of an application whose asynchronous requests are accepted by another node than the one that decides about
/// its containers, and both nodes.
async fn apart(cluster: &Cluster) -> (String, usize, usize) {
    for number in 0..100 {
        let name = format!("later{number}");
        let path = format!("/m2m/applications/{name}");
        // What is accepted lies with who asks, not with what is asked for.
        let accepted_at = deferred::home(&Entity(path.clone())).path().to_string();
        if cluster.shard(&accepted_at).await != cluster.shard(&path).await {
            cluster.transfer(&accepted_at, 1).await;
            cluster.transfer(&path, 2).await;
            return (name, 1, 2);
        }
    }
    panic!("all of a hundred applications lie in the same shard as what they ask for");
}
