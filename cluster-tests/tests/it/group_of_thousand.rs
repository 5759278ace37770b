//! A group of 1,000 members over all shards and one that nobody reaches: one aggregated answer within the request's
//! deadline, with the unreachable member's own status, in both representations.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::cluster::Config;

use crate::support::{alone, check_schema, cluster, expect};

const MEMBERS: usize = 1_000;
/// The edge's deadline for one request.
const DEADLINE: Duration = Duration::from_secs(10);
const OWNER: &str = "/m2m/applications/owner";
/// Another SCL, by its sclBase. Nothing listens there.
const GONE: &str = "http://127.0.0.1:9/gone/applications/pump";

fn group(members: &[String]) -> String {
    let members: String = members.iter().map(|uri| format!("<reference>{uri}</reference>")).collect();
    format!(
        r#"<m2m:group xmlns:m2m="http://uri.etsi.org/m2m" m2m:id="all"><m2m:memberType>APPLICATION</m2m:memberType><m2m:members>{members}</m2m:members></m2m:group>"#
    )
}

#[test]
fn a_thousand_members_and_an_unreachable_one_make_one_answer() {
    alone(Duration::from_secs(420), || async {
        let cluster = cluster(Config { shards: 16, ..Config::default() }).await;
        let mut owner = cluster.device(OWNER);
        expect("register", 201, owner.create("/m2m/applications", &body::application("owner", None)).await);
        let flags = ["READ", "WRITE", "CREATE", "DELETE", "DISCOVER"];
        let own = [body::permission("own", &flags, &[OWNER])];
        let right = body::access_right(Some("r"), &own, &own);
        expect("right", 201, owner.create(&format!("{OWNER}/accessRights"), &right).await);
        let right = format!("{OWNER}/accessRights/r");
        let mut members = Vec::with_capacity(MEMBERS + 1);
        for n in 0..MEMBERS {
            let application = body::application(&format!("meter{n}"), Some(&right));
            expect("a member", 201, owner.create("/m2m/applications", &application).await);
            members.push(format!("/m2m/applications/meter{n}"));
        }
        members.insert(MEMBERS / 2, GONE.to_owned());

        let start = Instant::now();
        let created = owner.create(&format!("{OWNER}/groups"), &group(&members)).await;
        let created = expect("the group", 201, created);
        eprintln!("group of {} members checked and created in {:?}", members.len(), start.elapsed());
        check_schema("group", created.text());
        assert_eq!(body::element(created.text(), "currentNrOfMembers"), Some("1001"));
        assert_eq!(body::element(created.text(), "memberTypeValidated"), Some("false"));

        let content = format!("{OWNER}/groups/all/membersContent");
        for (what, created) in [("CREATE of a container", true), ("RETRIEVE of searchStrings", false)] {
            let start = Instant::now();
            let reply = match created {
                true => {
                    let container = body::container("data", Some(&right), None);
                    owner.create(&format!("{content}/containers"), &container).await
                }
                false => owner.retrieve(&format!("{content}/searchStrings")).await,
            };
            let took = start.elapsed();
            let reply = expect(what, 200, reply);
            eprintln!(
                "{what} at {} members: one answer of {} octets after {took:?}",
                members.len(),
                reply.body.len()
            );
            assert!(took < DEADLINE, "{what} took {took:?}");
            check_schema(what, reply.text());
            let codes: Vec<&str> = body::elements(reply.text(), "statusCode").collect();
            assert_eq!(codes.len(), members.len());
            let expected = if created { "STATUS_CREATED" } else { "STATUS_OK" };
            for (at, code) in codes.into_iter().enumerate() {
                let expected = if at == MEMBERS / 2 { "STATUS_BAD_GATEWAY" } else { expected };
                assert_eq!(code, expected, "{what}: {}", members[at]);
            }
        }
        let last = format!("/m2m/applications/meter{}/containers/data", MEMBERS - 1);
        expect("what was created through the group", 200, owner.retrieve(&last).await);

        let json = [("accept", "application/json")];
        let reply = owner.request("GET", &format!("{content}/expirationTime"), &json, b"").await;
        let reply = expect("JSON", 200, reply);
        assert!(
            reply.text().starts_with(r#"{"membersContentResponses":{"status":["#),
            "{}",
            &reply.text()[..200]
        );
    });
}
