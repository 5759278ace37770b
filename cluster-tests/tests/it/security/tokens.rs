//! Bearer tokens from their making by `banyan ctl` to their end, at every edge.

use std::process::Command;
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::{Device, Reply};

use crate::support::{alone, cluster, expect};

const LIMIT: Duration = Duration::from_secs(120);
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

/// What `banyan ctl token` says on standard output.
fn ctl(cluster: &Cluster, arguments: &[&str]) -> String {
    let mut command = Command::new(&binaries::build().node);
    command.args(["ctl", "token"]).args(arguments).args(["--node", cluster.node_rpc(0)]);
    let output = command.output().expect("it can be run");
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}{why}");
    said.into_owned()
}

/// A request over an edge with a token, and `From` if it is not empty.
async fn ask(edge: &str, token: &str, method: &str, path: &str, from: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/xml")];
    let reply = Device::new([edge], from).request(method, path, &headers, body.as_bytes()).await;
    reply.unwrap_or_else(|failure| panic!("{method} {path}: no answer: {failure}"))
}

#[test]
fn a_token_speaks_for_its_application_until_it_is_revoked() {
    alone(LIMIT, || async {
        let cluster = cluster(Config { tokens: true, ..Config::default() }).await;
        let [one, other] = cluster.edges().try_into().expect("two edges");
        let make = |of: &str| {
            let said = ctl(&cluster, &["create", "--for", of, "--label", of, "--expires", "90d"]);
            said.trim().to_owned()
        };
        let (na, stranger) = (make("na"), make("stranger"));
        assert!(na.starts_with("bny_") && na.len() == 47 && na != stranger, "{na}");

        // It is the application, with or without saying so, and can be nobody else.
        let application = body::application("na", None);
        let (applications, own) = ("/m2m/applications", "/m2m/applications/na");
        expect("register", 201, Ok(ask(&one, &na, "POST", applications, "", &application).await));
        expect("by another edge", 200, Ok(ask(&other, &na, "GET", own, own, "").await));
        for from in ["/m2m/applications/stranger", "/m2m"] {
            expect("as another", 403, Ok(ask(&one, &na, "GET", own, from, "").await));
        }
        let denied = ask(&one, &stranger, "GET", own, "", "").await.status;
        assert!(matches!(denied, 403 | 404), "another application's token: {denied}");
        let invented = format!("bny_{}", "A".repeat(43));
        expect("an invented token", 401, Ok(ask(&one, &invented, "GET", own, "", "").await));

        let listed = ctl(&cluster, &["list"]);
        assert!(listed.contains("/m2m/applications/na") && !listed.contains(&na), "{listed}");
        ctl(&cluster, &["revoke", "na"]);
        let revoked = Instant::now();
        for edge in [&one, &other] {
            while ask(edge, &na, "GET", own, "", "").await.status != 401 {
                assert!(revoked.elapsed() < REVOKED_WITHIN, "still accepted at {edge}");
            }
            println!("refused at {edge} within {:?} after the revocation was answered", revoked.elapsed());
        }
        let listed = ctl(&cluster, &["list"]);
        assert!(!listed.contains("/m2m/applications/na"), "{listed}");
        expect("the other token", 404, Ok(ask(&one, &stranger, "GET", "/m2m/applications/x", "", "").await));

        let lines = cluster.audit(cluster.leader_of_keys().await);
        for what in ["create token", "revoke token"] {
            let told = lines.lines().any(|line| {
                [&format!("\"what\":\"{what}\""), "\"result\":\"accepted\"", "/m2m/applications/na"]
                    .iter()
                    .all(|part| line.contains(part))
            });
            assert!(told, "{what}: {lines}");
        }
        assert!(!lines.contains(&na), "the token itself is nowhere");
    });
}
