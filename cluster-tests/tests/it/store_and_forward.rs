//! Commands for an SCL that is away for a while wait at the one that was asked, and arrive once and in order when it is back.

use std::process::Command;
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::body;
use cluster_tests::cluster::free_ports;
use cluster_tests::device::Device;
use cluster_tests::fault::Signal;
use cluster_tests::process::Process;
use cluster_tests::subscriber::contents;

use crate::support::{alone, expect};

const READY_WITHIN: Duration = Duration::from_secs(60);
const COMMANDS: usize = 12;
/// An attempt that was under way when the SCL stopped takes ten seconds, the pause after it five.
const ARRIVED: Duration = Duration::from_secs(60);

/// `banyan dev` without any setting but its SCL-ID and port.
struct Scl {
    address: String,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Scl {
    fn start(id: &str) -> Scl {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        let mut command = Command::new(&binaries::build().node);
        command.args(["dev", "--listen", &address, "--scl-id", id]);
        command.env("RUST_LOG", "warn,banyan::delivery=debug");
        let process = Process::start(id, command, folder.path()).expect("the program starts");
        Scl { address, process, _folder: folder }
    }

    async fn wait_ready(&mut self) {
        let mut device = self.device("/m2m");
        let until = Instant::now() + READY_WITHIN;
        while !device.retrieve("/m2m").await.is_ok_and(|reply| reply.status == 200) {
            let ended = self.process.ended().expect("a child can be waited for");
            assert!(ended.is_none() && Instant::now() < until, "not ready:\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn base(&self) -> String {
        format!("http://{}/m2m", self.address)
    }

    fn device(&self, from: &str) -> Device {
        Device::new([self.address.clone()], from)
    }
}

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
        // Long enough for attempts that end without an answer, and whose octets the other side reads when it goes on.
        tokio::time::sleep(Duration::from_secs(3)).await;
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
        let collection = format!("{containers}/c/contentInstances");
        let stored = expect("instances", 200, owner.retrieve(&collection).await);
        let expected: Vec<String> = (0..COMMANDS).map(|number| format!("command {number}")).collect();
        assert_eq!(contents(stored.text()), expected, "once and in order");
    });
}
