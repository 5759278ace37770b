//! A gateway and its NSCL, both real: it registers, is read through the NSCL and writes there through itself, outlives
//! the NSCL's leaders and its own end, and says goodbye.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use banyan_proto::v1::{ImportKeys, ProvisionedKey, RevokeKeys, keys_answer, keys_question};
use cluster_tests::binaries;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config, free_ports, is_ready};
use cluster_tests::device::{Device, Reply};
use cluster_tests::factory::Factory;
use cluster_tests::fault::Signal;
use cluster_tests::metrics::Metrics;
use cluster_tests::process::Process;
use cluster_tests::subscriber::contents;

use crate::support::{alone, cluster, expect};

/// What a change may take on a busy machine, a failover included.
const WITHIN: Duration = Duration::from_secs(45);
/// Short, so that refreshes happen within the test, and long enough for a failover on a busy machine: a registration that
/// ends meanwhile is made anew, and is not there for a moment.
const LIFETIME_MS: u64 = 24_000;
const ID: &str = "gw-42";
const URI: &str = "http://gw-42.example.com";
const METER: &str = "/m2m/applications/meter";
const READER: &str = "/m2m/applications/reader";
const OWN: &str = "/m2m/scls/gw-42";

/// How the NSCL reaches it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Poc,
    Polling,
}

struct Gateway {
    dia: String,
    admin: Option<String>,
    process: Process,
}

impl Gateway {
    /// `address`: where it listens. The same folder is the same gateway.
    fn start(folder: &Path, address: &str, nscl: &Cluster, reach: Reach) -> Gateway {
        let text = Gateway::settings(ID, folder, address, nscl, reach);
        Gateway::start_with(folder, address, &text)
    }

    /// In plain text, over the edges' listeners for everybody.
    fn settings(id: &str, folder: &Path, address: &str, nscl: &Cluster, reach: Reach) -> String {
        let edges = nscl.edges();
        // Nobody listens there, now or later.
        let gone = "127.0.0.1:1";
        let reach = match reach {
            Reach::Poc => format!("reach.poc = \"http://{address}\""),
            Reach::Polling => "reach.polling = true".to_owned(),
        };
        let data = folder.join("gateway");
        format!(
            "data = \"{}\"\nlisten = \"{address}\"\nscl_id = \"{id}\"\npublic_uri = \"http://{id}.example.com\"\n\
             open = true\n{reach}\nregistration.lifetime_ms = {LIFETIME_MS}\n\
             [nscl]\nbase = \"http://{}/m2m\"\nscl_id = \"nscl\"\nplaintext = true\n\
             edges = [\"{gone}\", \"{}\", \"{}\"]\n",
            data.display(),
            edges[0],
            edges[0],
            edges[1],
        )
    }

    /// By its root key, behind NAT.
    fn start_by_key(folder: &Path, address: &str, nscl: &Cluster) -> Gateway {
        let kmr = folder.join("kmr.hex");
        std::fs::write(&kmr, "17".repeat(32)).expect("the folder can be written");
        let (node, kmr) = ("42".repeat(16), kmr.display().to_string());
        let key = format!("[key]\nnode_id = {node:?}\nindex = 1\nkmr_file = {kmr:?}\n");
        Gateway::start_secure(folder, address, nscl, "", &key)
    }

    /// By its certificate, with which it gets a root key.
    fn start_by_certificate(folder: &Path, address: &str, nscl: &Cluster, factory: &Factory) -> Gateway {
        // Its certificate has names and no addresses.
        let msbf = nscl.mid(0).bootstrap.replace("127.0.0.1", "localhost");
        let device = format!(
            "[device]\ncertificate = {:?}\nkey = {:?}\ntrusted = {:?}\n",
            factory.path("device.pem"),
            factory.path("device.key"),
            factory.path("ca.pem"),
        );
        Gateway::start_secure(folder, address, nscl, &format!("bootstrap = {msbf:?}\n"), &device)
    }

    fn start_secure(folder: &Path, address: &str, nscl: &Cluster, of_nscl: &str, by: &str) -> Gateway {
        let data = folder.join("gateway");
        let admin = free_ports(1)[0];
        let text = format!(
            "data = \"{}\"\nlisten = \"{address}\"\nscl_id = \"{ID}\"\npublic_uri = \"{URI}\"\nopen = true\n\
             reach.polling = true\nregistration.lifetime_ms = {LIFETIME_MS}\nadmin = \"127.0.0.1:{admin}\"\n\
             [nscl]\nbase = \"http://{}/m2m\"\nscl_id = \"nscl\"\nedges = [\"{}\", \"{}\"]\n{of_nscl}{by}",
            data.display(),
            nscl.edges()[0],
            nscl.mid(0).psk,
            nscl.mid(1).psk,
        );
        let mut gateway = Gateway::start_with(folder, address, &text);
        gateway.admin = Some(format!("127.0.0.1:{admin}"));
        gateway
    }

    fn start_with(folder: &Path, address: &str, text: &str) -> Gateway {
        let file = folder.join("gateway.toml");
        std::fs::write(&file, text).expect("the folder can be written");
        let mut command = Command::new(&binaries::build().node);
        command.args(["gateway", "--config", &file.display().to_string()]);
        command.env("RUST_LOG", "info,banyan::gateway=debug");
        let process = Process::start("gateway", command, folder).expect("the program starts");
        Gateway { dia: address.to_owned(), admin: None, process }
    }

    fn device(&self, from: &str) -> Device {
        Device::new([self.dia.clone()], from)
    }
}

/// RETRIEVE of a resource or of raw content.
async fn read(device: &mut Device, path: &str) -> Result<Reply, cluster_tests::http::Error> {
    device.request("GET", path, &[("accept", "application/xml, */*;q=0.5")], b"").await
}

/// Reads until the answer is what is waited for.
async fn until(
    gateway: &Gateway,
    mut device: Device,
    path: &str,
    what: &str,
    is_so: impl Fn(&Reply) -> bool,
) -> Reply {
    let begun = Instant::now();
    loop {
        let reply = read(&mut device, path).await;
        if let Ok(reply) = &reply
            && is_so(reply)
        {
            return reply.clone();
        }
        let last = reply.map(|reply| format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body)));
        assert!(begun.elapsed() < WITHIN, "{path}: {what}, but {last:?}\n{}", gateway.process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The gateway is registered and can be reached: its scl there and the NSCL's here.
async fn registered(gateway: &Gateway, nscl: &Cluster) {
    let online =
        |reply: &Reply| reply.status == 200 && body::element(reply.text(), "onlineStatus") == Some("ONLINE");
    let found = until(gateway, nscl.device(OWN), OWN, "it is registered", online).await;
    assert_eq!(body::element(found.text(), "link"), Some(format!("{URI}/m2m").as_str()));
    let is_there = |reply: &Reply| reply.status == 200;
    // An scl without one counts as online: its link is called.
    let way = format!("{OWN}/m2mPocs/mid");
    until(gateway, nscl.device(OWN), &way, "the NSCL knows the way to it", is_there).await;
    let local =
        until(gateway, gateway.device("/m2m"), "/m2m/scls/nscl", "the reverse resource is there", is_there)
            .await;
    assert_eq!(body::element(local.text(), "link"), Some(format!("http://{}/m2m", nscl.edges()[0]).as_str()));
}

/// The meter, a device application, with a container that the reader, a network application, may read.
async fn prepare(gateway: &Gateway, nscl: &Cluster) {
    let mut meter = gateway.device(METER);
    expect(
        "register the meter",
        201,
        meter.create("/m2m/applications", &body::application("meter", None)).await,
    );
    let reader = format!("http://{}{READER}", nscl.edges()[0]);
    let own = body::permission("own", &["READ", "CREATE", "WRITE", "DELETE"], &[METER]);
    let reads = body::permission("readers", &["READ"], &[&reader]);
    let right = body::access_right(Some("metering"), &[own.clone(), reads], &[own]);
    expect("right", 201, meter.create(&format!("{METER}/accessRights"), &right).await);
    let container = body::container("data", Some(&format!("{METER}/accessRights/metering")), None);
    expect("container", 201, meter.create(&format!("{METER}/containers"), &container).await);

    let mut reader = nscl.device(READER);
    expect(
        "register the reader",
        201,
        reader.create("/m2m/applications", &body::application("reader", None)).await,
    );
    let meter = format!("{URI}{METER}");
    let own = body::permission("own", &["READ", "CREATE", "WRITE", "DELETE"], &[READER]);
    let right = body::access_right(
        Some("inbox"),
        &[own.clone(), body::permission("meter", &["CREATE"], &[&meter])],
        &[own],
    );
    expect("right", 201, reader.create(&format!("{READER}/accessRights"), &right).await);
    let container = body::container("inbox", Some(&format!("{READER}/accessRights/inbox")), None);
    expect("container", 201, reader.create(&format!("{READER}/containers"), &container).await);
}

/// The meter measures; the reader reads it through the NSCL, and the meter writes to the reader through its gateway.
async fn both_ways(gateway: &Gateway, nscl: &Cluster, value: &str) {
    let mut meter = gateway.device(METER);
    let instance = body::content_instance(None, value);
    let measured = meter.create(&format!("{METER}/containers/data/contentInstances"), &instance).await;
    expect("measure", 201, measured);
    for path in [
        format!("/{ID}{}/containers/data/contentInstances/latest/content", METER.trim_start_matches("/m2m")),
        format!("{URI}{METER}/containers/data/contentInstances/latest/content"),
    ] {
        let is_read = |reply: &Reply| reply.status == 200 && reply.text() == value;
        until(gateway, nscl.device(READER), &path, "it is read through the NSCL", is_read).await;
    }
    let stranger = nscl.device("/m2m/applications/stranger");
    let path = format!("/{ID}{}/containers/data", METER.trim_start_matches("/m2m"));
    let is_refused = |reply: &Reply| {
        assert_ne!(reply.status, 200, "a stranger reads");
        reply.status == 404
    };
    until(gateway, stranger, &path, "a stranger is refused by the gateway", is_refused).await;

    let inbox =
        format!("{}{READER}/containers/inbox/contentInstances", format_args!("http://{}", nscl.edges()[0]));
    expect("write through the gateway", 201, meter.create(&inbox, &instance).await);
    let mut reader = nscl.device(READER);
    let latest = format!("{READER}/containers/inbox/contentInstances/latest/content");
    let read = expect("read what the meter wrote", 200, read(&mut reader, &latest).await);
    assert_eq!(read.text(), value);
}

async fn life(reach: Reach) {
    let mut nscl = cluster(Config::default()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = format!("127.0.0.1:{}", free_ports(1)[0]);
    let mut gateway = Gateway::start(folder.path(), &address, &nscl, reach);
    registered(&gateway, &nscl).await;
    prepare(&gateway, &nscl).await;
    both_ways(&gateway, &nscl, "one").await;

    // What it announces goes over the same way.
    let announced = format!(
        "<m2m:container xmlns:m2m=\"http://uri.etsi.org/m2m\" m2m:id=\"public\"><m2m:announceTo>\
         <m2m:activated>true</m2m:activated><m2m:sclList><reference>http://{}/m2m</reference></m2m:sclList>\
         </m2m:announceTo></m2m:container>",
        nscl.edges()[0]
    );
    let mut scl = gateway.device("/m2m");
    expect("announce", 201, scl.create("/m2m/containers", &announced).await);
    let is_there = |reply: &Reply| reply.status == 200;
    until(&gateway, nscl.device(OWN), &format!("{OWN}/containers/publicAnnc"), "it is announced", is_there)
        .await;

    // The scl's leader goes, the registration stays and is refreshed.
    let before = expect("read the scl", 200, nscl.device(OWN).retrieve(OWN).await);
    let expires = |reply: &Reply| body::element(reply.text(), "expirationTime").map(str::to_owned);
    let leader = nscl.leader(OWN).await;
    nscl.kill_node(leader);
    let refreshed = |reply: &Reply| reply.status == 200 && expires(reply) > expires(&before);
    until(&gateway, nscl.device(OWN), OWN, "it is refreshed", refreshed).await;
    both_ways(&gateway, &nscl, "two").await;
    nscl.start_node(leader);
    nscl.wait_node(leader).await;

    // Killed and started again it finds its registration and its tree.
    gateway.process.kill().expect("a child can be killed");
    gateway = Gateway::start(folder.path(), &address, &nscl, reach);
    registered(&gateway, &nscl).await;
    until(&gateway, gateway.device(METER), METER, "its tree is there", |reply| reply.status == 200).await;
    both_ways(&gateway, &nscl, "three").await;

    // What the NSCL has lost is made anew.
    let mut scl = nscl.device(OWN);
    let deleted = scl.delete(OWN).await.expect("an answer").status;
    assert!(matches!(deleted, 200 | 204), "{deleted}");
    registered(&gateway, &nscl).await;
    both_ways(&gateway, &nscl, "four").await;

    gateway.process.signal(Signal::Terminate).expect("a running child takes a signal");
    let ended = gateway.process.wait(WITHIN).expect("a gateway that is asked to leave ends");
    assert!(ended.success(), "{}", gateway.process.log());
    let mut scl = nscl.device(OWN);
    expect("it has left", 404, scl.retrieve(OWN).await);
}

#[test]
fn a_gateway_that_can_be_called_lives_with_its_nscl() {
    alone(Duration::from_secs(300), || life(Reach::Poc));
}

#[test]
fn a_gateway_behind_nat_lives_with_its_nscl() {
    alone(Duration::from_secs(300), || life(Reach::Polling));
}

/// A device application asks its gateway for what is at another one, and only the NSCL knows where that is.
async fn to_another() {
    let nscl = cluster(Config::default()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |id: &str, reach| {
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        let folder = folder.path().join(id);
        std::fs::create_dir(&folder).expect("the folder can be written");
        Gateway::start_with(&folder, &address, &Gateway::settings(id, &folder, &address, &nscl, reach))
    };
    let (gateway, other) = (start(ID, Reach::Poc), start("gw-43", Reach::Polling));
    registered(&gateway, &nscl).await;
    let is_there = |reply: &Reply| reply.status == 200;
    let (scl, way) = ("/m2m/scls/gw-43", "/m2m/scls/gw-43/m2mPocs/mid");
    until(&other, nscl.device(scl), way, "it is registered, and the way to it", is_there).await;

    let lamp = "/m2m/applications/lamp";
    let mut owner = other.device(lamp);
    expect("the lamp", 201, owner.create("/m2m/applications", &body::application("lamp", None)).await);
    let own = body::permission("own", &["READ", "CREATE", "WRITE", "DELETE"], &[lamp]);
    let meter = body::permission("meter", &["READ", "CREATE"], &[&format!("{URI}{METER}")]);
    let right = body::access_right(Some("switch"), &[own.clone(), meter], &[own]);
    expect("right", 201, owner.create(&format!("{lamp}/accessRights"), &right).await);
    let container = body::container("on", Some(&format!("{lamp}/accessRights/switch")), None);
    expect("container", 201, owner.create(&format!("{lamp}/containers"), &container).await);

    let mut meter = gateway.device(METER);
    expect("the meter", 201, meter.create("/m2m/applications", &body::application("meter", None)).await);
    for (value, path) in [
        ("yes", "http://gw-43.example.com/m2m/applications/lamp/containers/on/contentInstances"),
        ("no", "/gw-43/applications/lamp/containers/on/contentInstances"),
    ] {
        let written = meter.create(path, &body::content_instance(None, value)).await;
        expect("write at the other gateway", 201, written);
        let latest = format!("{path}/latest/content");
        let read = expect("read at the other gateway", 200, read(&mut meter, &latest).await);
        assert_eq!(read.text(), value);
    }
    // Stored at the own gateway it finds the same way.
    let headers = [
        ("content-type", "application/xml"),
        ("X-etsi-correlationID", "later"),
        ("X-etsi-rcat", "3"),
        ("X-etsi-trpdt", "PT1M"),
    ];
    let path = "/gw-43/applications/lamp/containers/on/contentInstances";
    let begun = Instant::now();
    loop {
        let instance = body::content_instance(None, "later");
        let reply = meter.request("POST", path, &headers, instance.as_bytes()).await.expect("an answer");
        if reply.status == 201 {
            break;
        }
        assert!(reply.status == 202 && begun.elapsed() < WITHIN, "{} {}", reply.status, reply.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stored =
        expect("instances", 200, owner.retrieve(&format!("{lamp}/containers/on/contentInstances")).await);
    assert_eq!(contents(stored.text()), ["yes", "no", "later"]);
    let nobody = read(&mut meter, "/gw-44/applications/lamp").await;
    expect("nobody has it", 404, nobody);
    let nobody = read(&mut meter, "http://gw-44.example.com/m2m/applications/lamp").await;
    expect("nobody has it", 404, nobody);
}

#[test]
fn a_gateway_leaves_what_it_does_not_know_to_its_nscl() {
    alone(Duration::from_secs(300), to_another);
}

/// M2M-Node-ID of the gateway.
const NODE: [u8; 16] = [0x42; 16];

/// Sessions on mId that stand at the second edge.
async fn sessions(nscl: &Cluster) -> f64 {
    let metrics = Metrics::read(&nscl.edge_admins()[1]).await.expect("the edge runs");
    metrics.sum("banyan_edge_mid_sessions").unwrap_or_default()
}

async fn by_key() {
    let mut nscl = cluster(Config { keys: true, ..Config::default() }).await;
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

    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = format!("127.0.0.1:{}", free_ports(1)[0]);
    let gateway = Gateway::start_by_key(folder.path(), &address, &nscl);
    registered(&gateway, &nscl).await;
    prepare(&gateway, &nscl).await;
    both_ways(&gateway, &nscl, "one").await;

    // The other edge knows the same keys: it goes on there.
    nscl.kill_edge(0);
    let authority = nscl.edges()[0].clone();
    let through = |from: &str| Device::new([nscl.edges()[1].clone()], from);
    let mut meter = gateway.device(METER);
    let measured = meter
        .create(&format!("{METER}/containers/data/contentInstances"), &body::content_instance(None, "two"))
        .await;
    expect("measure", 201, measured);
    let path = format!("/{ID}/applications/meter/containers/data/contentInstances/latest/content");
    let is_read = |reply: &Reply| reply.status == 200 && reply.text() == "two";
    until(&gateway, through(READER), &path, "it is read through the other edge", is_read).await;
    let inbox = format!("http://{authority}{READER}/containers/inbox/contentInstances");
    let sent = meter.create(&inbox, &body::content_instance(None, "three")).await;
    expect("write through the other edge", 201, sent);
    assert!(sessions(&nscl).await > 0.0, "{}", gateway.process.log());
    let admin = gateway.admin.clone().expect("it has one");
    assert!(is_ready(&admin).await, "{}", gateway.process.log());

    // Without its root key it is out at once, and stays out.
    let revoke = RevokeKeys { node: NODE.to_vec().into(), index: Some(1), source: "test".to_owned() };
    nscl.keys(keys_question::Kind::Revoke(revoke)).await;
    let revoked = Instant::now();
    while sessions(&nscl).await > 0.0 {
        assert!(revoked.elapsed() < Duration::from_secs(1), "sessions stand after a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while is_ready(&admin).await {
        // It would not be without its registration, which lives longer.
        assert!(revoked.elapsed() < WITHIN / 6, "it is ready without a key\n{}", gateway.process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("not ready {:?} after the revocation", revoked.elapsed());
    assert!(sessions(&nscl).await == 0.0, "a new session with a revoked key");
}

#[test]
fn a_gateway_comes_in_by_its_root_key_and_is_out_without_it() {
    alone(Duration::from_secs(300), by_key);
}

/// Bootstraps that were taken, by the audit logs.
fn bootstraps(nscl: &Cluster) -> usize {
    let is_one = |line: &&str| line.contains("\"what\":\"bootstrap\"") && line.contains("accepted");
    let of = |node: usize| {
        let log = std::fs::read_to_string(nscl.data(node).join("audit.jsonl")).unwrap_or_default();
        log.lines().filter(is_one).count()
    };
    (0..3).map(of).sum()
}

async fn by_certificate() {
    let factory = Factory::new();
    factory.device("device", 2, &NODE);
    let config = Config { keys: true, devices: Some(factory.folder()), ..Config::default() };
    let nscl = cluster(config).await;
    // What the node is called; its key is its own business.
    let named = ProvisionedKey {
        node: NODE.to_vec().into(),
        scl_id: Some(ID.to_owned()),
        ..ProvisionedKey::default()
    };
    let import = ImportKeys { keys: vec![named], source: "test".to_owned() };
    let imported = nscl.keys(keys_question::Kind::Import(import)).await;
    let Some(keys_answer::Kind::Imported(imported)) = imported else { panic!("{imported:?}") };
    assert_eq!(imported.refused, [""]);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = format!("127.0.0.1:{}", free_ports(1)[0]);
    let mut gateway = Gateway::start_by_certificate(folder.path(), &address, &nscl, &factory);
    registered(&gateway, &nscl).await;
    prepare(&gateway, &nscl).await;
    both_ways(&gateway, &nscl, "one").await;

    // What it got it keeps.
    gateway.process.kill().expect("a child can be killed");
    gateway = Gateway::start_by_certificate(folder.path(), &address, &nscl, &factory);
    registered(&gateway, &nscl).await;
    both_ways(&gateway, &nscl, "two").await;
    assert_eq!(bootstraps(&nscl), 1);

    // A root key that is taken away is replaced by another one.
    let revoke = RevokeKeys { node: NODE.to_vec().into(), index: Some(1), source: "test".to_owned() };
    nscl.keys(keys_question::Kind::Revoke(revoke)).await;
    let begun = Instant::now();
    while bootstraps(&nscl) < 2 {
        assert!(begun.elapsed() < WITHIN, "no other key\n{}", gateway.process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    both_ways(&gateway, &nscl, "three").await;
    println!("it went on with another key {:?} after the revocation of the first", begun.elapsed());
}

#[test]
fn a_gateway_gets_its_root_key_by_its_certificate_and_another_one_when_that_is_revoked() {
    alone(Duration::from_secs(300), by_certificate);
}
