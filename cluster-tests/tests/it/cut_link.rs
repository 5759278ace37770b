//! The link between a gateway and its NSCL is cut. What applications ask of the other side meanwhile is accepted, waits,
//! and arrives once and in order when the link is back, whoever was killed meanwhile.
//!
//! `BANYAN_CUT_SECONDS` sets for how long (20). It needs root and network namespaces, and is skipped where these are
//! missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use banyan_model::{Entity, deferred};
use banyan_proto::v1::{ImportKeys, ProvisionedKey, keys_answer, keys_question};
use cluster_tests::binaries;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::{Device, Reply};
use cluster_tests::network::{Cut, Place};
use cluster_tests::process::Process;
use cluster_tests::repeat::value_of;
use cluster_tests::subscriber::contents;

use crate::support::{alone, cluster, expect};

const WITHIN: Duration = Duration::from_secs(45);
/// From the end of the cut until everything has arrived, at the most; what it takes is printed.
const ARRIVED_WITHIN: Duration = Duration::from_secs(240);
const ID: &str = "gw-cut";
const URI: &str = "http://gw-cut.example.com";
const NODE: [u8; 16] = [0x43; 16];
const PORT: u16 = 8080;
/// Two of each side ask the other, for order is kept for each of them alone.
const METERS: [&str; 2] = ["meter-0", "meter-1"];
const READERS: [&str; 2] = ["reader-0", "reader-1"];
/// What each of them asks during the cut.
const REQUESTS: u32 = 20;

/// Who is killed in the middle of the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Nobody,
    Gateway,
    /// The node that leads what the first reader asked.
    Leader,
}

#[test]
fn what_is_asked_while_the_link_is_down_arrives_once_and_in_order() {
    cut_link(Cut::Down, Killed::Nobody);
}

#[test]
fn what_is_asked_while_packets_are_lost_arrives_once_and_in_order() {
    cut_link(Cut::Silent, Killed::Nobody);
}

#[test]
fn what_is_asked_while_the_link_is_down_outlives_the_gateway() {
    cut_link(Cut::Down, Killed::Gateway);
}

#[test]
fn what_is_asked_while_packets_are_lost_outlives_the_leader_that_holds_it() {
    cut_link(Cut::Silent, Killed::Leader);
}

fn cut_link(cut: Cut, killed: Killed) {
    let lasts = Duration::from_secs(value_of("BANYAN_CUT_SECONDS", 20));
    alone(lasts + Duration::from_secs(420), || async move {
        match Place::new() {
            Ok(place) => run(place, cut, killed, lasts).await,
            Err(why) => eprintln!("skipped: no network namespaces here: {why}"),
        }
    });
}

async fn run(mut place: Place, cut: Cut, killed: Killed, lasts: Duration) {
    let config = Config {
        keys: true,
        mid_address: place.wan_address(),
        log: "info,banyan::delivery=debug".to_owned(),
        ..Config::default()
    };
    let mut nscl = cluster(config).await;
    import_key(&nscl).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = Gateway::start(folder.path(), &place, &nscl);
    gateway.wait_registered(&nscl).await;
    prepare(&gateway, &nscl).await;

    place.cut(cut);
    let asked = Instant::now();
    let mut senders = senders(&gateway, &nscl);
    let mut accepted = 0;
    for number in 0..REQUESTS {
        let due = asked + lasts * number / REQUESTS;
        tokio::time::sleep_until(due.into()).await;
        if number == REQUESTS / 2 {
            match killed {
                Killed::Nobody => {}
                Killed::Gateway => {
                    gateway.process.kill().expect("a child can be killed");
                    gateway.process = Gateway::process(folder.path(), &place);
                }
                Killed::Leader => {
                    let entity = Entity(format!("/m2m/applications/{}", READERS[0]));
                    let leader = nscl.leader(&deferred::home(&entity).path().to_string()).await;
                    nscl.kill_node(leader);
                    nscl.start_node(leader);
                }
            }
        }
        for sender in &mut senders {
            sender.is_accepted(number, &gateway).await;
            accepted += 1;
        }
    }
    tokio::time::sleep_until((asked + lasts).into()).await;
    for sender in &mut senders {
        let reply = sender.send(0).await.expect("an answer");
        assert_eq!(reply.status, 202, "{} has an answer during the cut: {}", sender.name, reply.text());
    }
    shows_what_waits(&nscl);
    let before = arrived(&gateway, &nscl).await.values().map(Vec::len).sum::<usize>();
    assert_eq!(before, 0, "nothing crosses a link that is cut");
    place.mend();
    let mended = Instant::now();

    let mut last = [Duration::ZERO; 2];
    loop {
        let arrived = arrived(&gateway, &nscl).await;
        for (side, names) in [METERS, READERS].iter().enumerate() {
            let count: usize = names.iter().filter_map(|name| arrived.get(*name)).map(Vec::len).sum();
            if last[side].is_zero() && count >= names.len() * REQUESTS as usize {
                last[side] = mended.elapsed();
            }
        }
        if last.iter().all(|last| !last.is_zero()) {
            break;
        }
        let counts: BTreeMap<_, _> = arrived.iter().map(|(name, all)| (name, all.len())).collect();
        assert!(mended.elapsed() < ARRIVED_WITHIN, "arrived so far: {counts:?}\n{}", gateway.process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!(
        "cut {cut:?}, killed {killed:?}: at the NSCL after {:?}, at the gateway after {:?}",
        last[0], last[1]
    );
    for sender in &mut senders {
        for number in 0..REQUESTS {
            sender.is_done(number, mended).await;
        }
    }
    // Whatever comes twice comes by now: a message that was not confirmed is handed out again after ten seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let arrived = arrived(&gateway, &nscl).await;
    let expected = |name: &str| (0..REQUESTS).map(|number| said(name, number)).collect::<Vec<_>>();
    let all = METERS.iter().chain(&READERS).map(|name| ((*name).to_owned(), expected(name)));
    assert_eq!(arrived, all.collect(), "once, and in order of each\n{}", gateway.process.log());
    let count: usize = arrived.values().map(Vec::len).sum();
    eprintln!(
        "cut {cut:?} for {} s, killed {killed:?}: accepted {accepted}, arrived {count}; last at the NSCL {:.1} s after the \
         end of the cut, last at the gateway {:.1} s",
        lasts.as_secs(),
        last[0].as_secs_f64(),
        last[1].as_secs_f64(),
    );
}

/// The operator sees it, whichever node he asks.
fn shows_what_waits(nscl: &Cluster) {
    let mut ctl = Command::new(&binaries::build().node);
    let output = ctl.args(["ctl", "saf", "--node", &nscl.node_rpcs()[0]]).output().expect("ctl runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    for name in READERS {
        let expected = [format!("/{ID}"), application(name), "3".to_owned(), REQUESTS.to_string()];
        let is_it = |line: &&str| line.split_whitespace().take(4).eq(expected.iter().map(String::as_str));
        assert_eq!(shown.lines().filter(is_it).count(), 1, "{expected:?} in\n{shown}");
    }
    eprintln!("{shown}");
}

/// Everything that arrived, by who sent it, in the order in which it was stored.
async fn arrived(gateway: &Gateway, nscl: &Cluster) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (mut owner, container) in [
        (nscl.device(&application(READERS[0])), inbox(READERS[0])),
        (gateway.device(&application(METERS[0])), inbox(METERS[0])),
    ] {
        let read = expect("read", 200, owner.retrieve(&container).await);
        for content in contents(read.text()) {
            let name = content.split(' ').next().unwrap_or_default().to_owned();
            all.entry(name).or_default().push(content);
        }
    }
    all
}

fn application(name: &str) -> String {
    format!("/m2m/applications/{name}")
}

/// The first of each side takes what those of the other side send.
fn inbox(name: &str) -> String {
    format!("/m2m/applications/{name}/containers/inbox/contentInstances")
}

fn said(name: &str, number: u32) -> String {
    format!("{name} says {number}")
}

/// Somebody who asks something of the other side.
struct Sender {
    name: &'static str,
    device: Device,
    target: String,
}

fn senders(gateway: &Gateway, nscl: &Cluster) -> Vec<Sender> {
    let at_nscl = format!("http://{}{}", nscl.edges()[0], inbox(READERS[0]));
    let at_gateway = format!("/{ID}{}", inbox(METERS[0]).trim_start_matches("/m2m"));
    let meters = METERS.map(|name| Sender {
        name,
        device: gateway.device(&application(name)),
        target: at_nscl.clone(),
    });
    let readers = READERS.map(|name| Sender {
        name,
        device: nscl.device(&application(name)),
        target: at_gateway.clone(),
    });
    meters.into_iter().chain(readers).collect()
}

impl Sender {
    async fn send(&mut self, number: u32) -> Result<Reply, cluster_tests::http::Error> {
        let instance = body::content_instance(None, &said(self.name, number));
        let id = format!("{}-{number}", self.name);
        let headers = [
            ("content-type", "application/xml"),
            ("X-etsi-correlationID", id.as_str()),
            ("X-etsi-rcat", "3"),
            ("X-etsi-trpdt", "PT1H"),
        ];
        self.device.request("POST", &self.target, &headers, instance.as_bytes()).await
    }

    /// Sends until it is accepted: as a device does whose gateway or edge does not answer.
    async fn is_accepted(&mut self, number: u32, gateway: &Gateway) {
        let begun = Instant::now();
        loop {
            let reply = self.send(number).await;
            if reply.as_ref().is_ok_and(|reply| reply.status == 202) {
                return;
            }
            let last = reply.map(|reply| (reply.status, String::from_utf8_lossy(&reply.body).into_owned()));
            assert!(begun.elapsed() < WITHIN, "{} {number}: {last:?}\n{}", self.name, gateway.process.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Its answer is there for who repeats it.
    async fn is_done(&mut self, number: u32, mended: Instant) {
        loop {
            match self.send(number).await {
                Ok(reply) if reply.status == 201 => return,
                Ok(reply) if reply.status != 202 => {
                    panic!("{} {number}: {} {}", self.name, reply.status, reply.text())
                }
                // A connection that was idle may be closed.
                _ => assert!(mended.elapsed() < ARRIVED_WITHIN, "{} {number} has no answer", self.name),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn import_key(nscl: &Cluster) {
    let key = ProvisionedKey {
        node: NODE.to_vec().into(),
        index: 1,
        kmr: vec![0x17; 32].into(),
        scl_id: Some(ID.to_owned()),
        ..ProvisionedKey::default()
    };
    let import = ImportKeys { keys: vec![key], source: "test".to_owned() };
    let imported = nscl.keys(keys_question::Kind::Import(import)).await;
    let Some(keys_answer::Kind::Imported(imported)) = imported else { panic!("{imported:?}") };
    assert_eq!(imported.refused, [""]);
}

/// Applications of both sides; the first of each has a container in which those of the other side may create.
async fn prepare(gateway: &Gateway, nscl: &Cluster) {
    let nscl_uri = format!("http://{}", nscl.edges()[0]);
    let sides: [(_, [&str; 2], [&str; 2], &str); 2] = [
        (
            Box::new(|from: &str| gateway.device(from)) as Box<dyn Fn(&str) -> Device>,
            METERS,
            READERS,
            &nscl_uri,
        ),
        (Box::new(|from: &str| nscl.device(from)), READERS, METERS, URI),
    ];
    for (device, own, others, at) in sides {
        for name in own {
            let registered =
                device(&application(name)).create("/m2m/applications", &body::application(name, None)).await;
            expect("register", 201, registered);
        }
        let owner = application(own[0]);
        let mut first = device(&owner);
        let all = body::permission("own", &["READ", "CREATE", "WRITE", "DELETE"], &[&owner]);
        let holders = others.map(|name| format!("{at}{}", application(name)));
        let create = body::permission("others", &["CREATE"], &[&holders[0], &holders[1]]);
        let right = body::access_right(Some("inbox"), &[all.clone(), create], &[all]);
        expect("right", 201, first.create(&format!("{owner}/accessRights"), &right).await);
        let container = body::container("inbox", Some(&format!("{owner}/accessRights/inbox")), None);
        expect("container", 201, first.create(&format!("{owner}/containers"), &container).await);
    }
}

struct Gateway {
    dia: String,
    process: Process,
}

impl Gateway {
    fn start(folder: &Path, place: &Place, nscl: &Cluster) -> Gateway {
        let kmr = folder.join("kmr.hex");
        std::fs::write(&kmr, "17".repeat(32)).expect("the folder can be written");
        let dia = format!("{}:{PORT}", place.lan_address());
        let text = format!(
            "data = \"{}\"\nlisten = \"{dia}\"\nscl_id = \"{ID}\"\npublic_uri = \"{URI}\"\nopen = true\n\
             reach.polling = true\n\
             [nscl]\nbase = \"http://{}/m2m\"\nscl_id = \"nscl\"\nedges = [\"{}\", \"{}\"]\n\
             [key]\nnode_id = \"{}\"\nindex = 1\nkmr_file = \"{}\"\n",
            folder.join("gateway").display(),
            nscl.edges()[0],
            nscl.mid(0).psk,
            nscl.mid(1).psk,
            "43".repeat(16),
            kmr.display(),
        );
        std::fs::write(folder.join("gateway.toml"), &text).expect("the folder can be written");
        Gateway { dia, process: Gateway::process(folder, place) }
    }

    /// The same folder is the same gateway.
    fn process(folder: &Path, place: &Place) -> Process {
        let mut command: Command = place.command(&binaries::build().node);
        command.arg("gateway").arg("--config").arg(folder.join("gateway.toml"));
        command.env("RUST_LOG", "info,banyan::gateway=debug,banyan::delivery=debug");
        Process::start("gateway", command, folder).expect("the program starts")
    }

    fn device(&self, from: &str) -> Device {
        Device::new([self.dia.clone()], from).with_timeout(Duration::from_secs(12))
    }

    async fn wait_registered(&self, nscl: &Cluster) {
        let own = format!("/m2m/scls/{ID}");
        let (mut device, begun) = (nscl.device(&own), Instant::now());
        loop {
            let reply = device.retrieve(&own).await;
            if let Ok(reply) = &reply
                && reply.status == 200
                && body::element(reply.text(), "onlineStatus") == Some("ONLINE")
            {
                return;
            }
            assert!(begun.elapsed() < WITHIN, "not registered: {reply:?}\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
