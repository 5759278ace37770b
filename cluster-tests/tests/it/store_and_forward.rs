//! Commands for an SCL that is away for a while wait at the one that was asked, and arrive once and in order when it is back.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::fault::Signal;
use cluster_tests::subscriber::contents;

use crate::scl::Scl;
use crate::support::{alone, expect};

const COMMANDS: usize = 12;
/// An attempt that was under way when the SCL stopped takes ten seconds, the pause after it five.
const ARRIVED: Duration = Duration::from_secs(60);

#[test]
fn commands_for_an_scl_that_stands_still_arrive_once_and_in_order_when_it_goes_on() {
    alone(Duration::from_secs(240), || async {
        let (mut a, mut b) = (Scl::start("scl-a"), Scl::start("scl-b"));
        a.wait_ready().await;
        b.wait_ready().await;
        let mut scl = a.device("/m2m/scls/scl-b");
        expect("register", 201, scl.create("/m2m/scls", &body::scl("scl-b", &b.base())).await);
        let there = format!("{}/applications/cmd", a.base());
        let mut owner = b.device("/m2m/applications/cmd");
        expect("application", 201, owner.create("/m2m/applications", &body::application("cmd", None)).await);
        let holders = ["/m2m/applications/cmd", there.as_str()];
        let all = [body::permission("all", &["READ", "WRITE", "CREATE", "DELETE", "DISCOVER"], &holders)];
        let rights = "/m2m/applications/cmd/accessRights";
        expect("right", 201, owner.create(rights, &body::access_right(Some("r"), &all, &all)).await);
        let containers = "/m2m/applications/cmd/containers";
        expect(
            "container",
            201,
            owner.create(containers, &body::container("c", Some(&format!("{rights}/r")), None)).await,
        );

        let mut sender = a.device("/m2m/applications/cmd");
        let target = "/scl-b/applications/cmd/containers/c/contentInstances";
        let mut send = async |number: usize| {
            let instance = body::content_instance(None, &format!("command {number}"));
            let id = format!("command-{number}");
            let headers = [
                ("content-type", "application/xml"),
                ("X-etsi-correlationID", id.as_str()),
                ("X-etsi-rcat", "3"),
                ("X-etsi-trpdt", "PT5M"),
            ];
            sender.request("POST", target, &headers, instance.as_bytes()).await
        };
        b.process.signal(Signal::Stop).expect("it can be stopped");
        for number in 0..COMMANDS {
            expect("accepted", 202, send(number).await);
        }
        // One that names no correlationID is held, and goes after those before it.
        let held = tokio::spawn({
            let mut sender = a.device("/m2m/applications/cmd");
            async move {
                let instance = body::content_instance(None, "held");
                let headers =
                    [("content-type", "application/xml"), ("X-etsi-rcat", "3"), ("X-etsi-trpdt", "PT1M")];
                sender.request("POST", target, &headers, instance.as_bytes()).await
            }
        });
        // Long enough for attempts that end without an answer, and whose octets the other side reads when it goes on.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!held.is_finished(), "it is answered only when the other SCL can be asked");
        b.process.signal(Signal::Continue).expect("it goes on");

        let begun = Instant::now();
        for number in 0..COMMANDS {
            loop {
                let reply = send(number).await.expect("an answer");
                if reply.status == 201 {
                    break;
                }
                assert!(
                    reply.status == 202 && begun.elapsed() < ARRIVED,
                    "{number}: {}\n{}",
                    reply.status,
                    reply.text()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        expect("held", 201, held.await.expect("it does not panic"));
        let collection = format!("{containers}/c/contentInstances");
        let stored = expect("instances", 200, owner.retrieve(&collection).await);
        let commands = (0..COMMANDS).map(|number| format!("command {number}"));
        let expected: Vec<String> = commands.chain(["held".to_owned()]).collect();
        assert_eq!(contents(stored.text()), expected, "once and in order");
    });
}
