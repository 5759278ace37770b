//! Sessions on mId: what makes one, what it may do, and what ends it.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be built is a failed test")]

use super::*;
use crate::node::FOREVER_MS;
use banyan_binding::{
    mid::{ConnectorConfig, PskConnector},
    session::Key,
    tls::{self, KeyFiles},
};
use banyan_model::security::M2mNodeId;
use banyan_proto::v1::{self, key_ref};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, date_time_ymd,
};
use std::{fs, io, path::PathBuf, sync::Arc, time::Instant};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

const NODE: &str = "000102030405060708090a0b0c0d0e0f";
const OTHER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const CONNECT: &str = "POST /m2m/connection HTTP/1.1";
const REGISTER: &str = "POST /m2m/scls HTTP/1.1\nContent-Type: application/xml";
const BOOTSTRAP_LABEL: &[u8] = b"EXPORTER-ETSI-TC-M2M-Bootstrap";
const CONNECTION_LABEL: &[u8] = b"EXPORTER-ETSI-TC-M2M-Connection";

/// The factory: a CA of devices, which signs the edge, too.
struct Factory {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Factory {
    fn new() -> Factory {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let factory = Factory { folder: tempfile::tempdir().unwrap(), ca };
        factory.write("ca.pem", &factory.ca.pem());
        factory.issue("localhost", 1, &[]);
        factory.issue("device", 2, &[&format!("urn:example:node:{NODE}")]);
        factory.issue("listed", 0xAB, &[]);
        factory.issue("nobody", 3, &["urn:example:node:none"]);
        factory.issue("two", 4, &[&format!("urn:a:{NODE}"), &format!("urn:a:{OTHER}")]);
        factory.revoke(&[]);
        factory
    }

    fn issue(&self, name: &str, serial: u64, uris: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        certificate.serial_number = Some(serial.into());
        certificate.subject_alt_names.extend(uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())));
        self.write(&format!("{name}.pem"), &certificate.signed_by(&key, &self.ca).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn revoke(&self, serials: &[u64]) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2036, 1, 1),
            crl_number: (serials.len() as u64).into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("revoked.pem", &list.signed_by(&self.ca).unwrap().pem().unwrap());
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, name: &str) -> Arc<tls::ClientConfig> {
        let files = KeyFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        };
        tls::client(&self.path("ca.pem"), Some(&files)).unwrap()
    }
}

async fn edge(factory: &Factory, change: impl FnOnce(&mut Config)) -> (Node, Running) {
    let node = Node::unfounded().await;
    node.found();
    let any: Option<SocketAddr> = Some("127.0.0.1:0".parse().expect("an address"));
    let edge = start_with(&node, |config| {
        let mid = &mut config.mid;
        (mid.listen_bootstrap, mid.listen_tls, mid.listen_psk) = (any, any, any);
        mid.certificate = Some(factory.path("localhost.pem"));
        mid.key = Some(factory.path("localhost.key"));
        mid.device_ca = Some(factory.path("ca.pem"));
        mid.device_crl = Some(factory.path("revoked.pem"));
        mid.nodes = vec![banyan_edge::config::NodeOfCertificate {
            serial: "00:AB".to_owned(),
            node: OTHER.to_owned(),
        }];
        change(config);
    })
    .await;
    until_ready(&edge).await;
    (node, edge)
}

/// One TLS channel, for one request after the other.
struct Channel<S = TlsStream<TcpStream>>(S);

impl Channel {
    async fn open(address: Option<SocketAddr>, client: Arc<tls::ClientConfig>) -> io::Result<Channel> {
        let socket = TcpStream::connect(address.expect("bound")).await?;
        let name = "localhost".try_into().expect("a name");
        Ok(Channel(TlsConnector::from(client).connect(name, socket).await?))
    }

    fn exported(&self, label: &[u8]) -> Vec<u8> {
        self.0.get_ref().1.export_keying_material(vec![0; 32], label, None).expect("a session")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    async fn ask(&mut self, lines: &str, body: &str) -> io::Result<String> {
        let head = lines.replace('\n', "\r\n");
        let request = format!("{head}\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                    return Ok(text);
                }
            }
            let mut chunk = [0; 4_096];
            match self.0.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => answer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// Asks, and takes the status line.
    async fn status(&mut self, lines: &str, body: &str) -> u16 {
        let answer = self.ask(lines, body).await.expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }
}

fn registration(scl: &str) -> String {
    format!(
        "<m2m:scl xmlns:m2m=\"http://uri.etsi.org/m2m\" m2m:sclId=\"{scl}\"><m2m:link>http://{scl}.example.org/m2m</m2m:link></m2m:scl>"
    )
}

/// Whether an answer is valid by the official schema, where that is at hand.
fn valid(answer: &str) {
    let checker = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/tools/xsd-check");
    if !checker.exists() {
        println!("not checked against the schema: no ../shared/tools/xsd-check here");
        return;
    }
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer.xml");
    fs::write(&file, body).unwrap();
    let checked = Command::new(checker).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.code() != Some(1), "{said}\n{body}");
}

#[tokio::test]
async fn a_bootstrap_makes_the_key_that_both_ends_exported() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |_| {}).await;
    let mut device = Channel::open(edge.addresses.mid_bootstrap, factory.client("device")).await.unwrap();
    let answer = device.ask("POST /m2m/bootstrap HTTP/1.1", "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("cache-control: no-store"), "{answer}");
    for text in [
        "<m2m:bootstrapParamSet xmlns:m2m=\"http://uri.etsi.org/m2m\"><m2m:securityM2MNodeId>000102030405060708090A0B0C0D0E0F<",
        "<m2m:securityKmrIndex>1</m2m:securityKmrIndex><m2m:securityLifetime>2096-",
        "<m2m:securityMasFqdn>mas.example.com</m2m:securityMasFqdn><m2m:sclId>gw</m2m:sclId></m2m:bootstrapParamSet>",
    ] {
        assert!(answer.contains(text), "{text} is not in\n{answer}");
    }
    valid(&answer);
    let made = node.keys.lock().unwrap().bootstraps[0].clone();
    assert_eq!(made.kmr.as_ref(), device.exported(BOOTSTRAP_LABEL));
    assert_eq!(made.node.as_ref(), M2mNodeId::parse(NODE).unwrap().0);
    assert_eq!(made.certificate.len(), 32);

    // Once a channel, one method, one resource; and a node that the operator wrote down.
    assert_eq!(device.status("POST /m2m/bootstrap HTTP/1.1", "").await, 409);
    assert_eq!(device.status("GET /m2m/bootstrap HTTP/1.1", "").await, 405);
    assert_eq!(device.status("GET /m2m HTTP/1.1", "").await, 404);
    assert_eq!(device.status(CONNECT, "").await, 404);
    let mut listed = Channel::open(edge.addresses.mid_bootstrap, factory.client("listed")).await.unwrap();
    let answer = listed.ask("POST /m2m/bootstrap HTTP/1.1\nAccept: application/json", "").await.unwrap();
    assert!(answer.contains("{\"bootstrapParamSet\":{\"securityM2MNodeId\":\"F0F1F2"), "{answer}");
}

#[tokio::test]
async fn a_refused_bootstrap_leaves_no_key() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |_| {}).await;
    let bootstrap = async |name: &str| {
        let mut device = Channel::open(edge.addresses.mid_bootstrap, factory.client(name)).await?;
        // In TLS 1.3 a device that is refused has exported a key by now.
        assert_eq!(device.exported(BOOTSTRAP_LABEL).len(), 32);
        device.ask("POST /m2m/bootstrap HTTP/1.1", "").await
    };
    assert!(bootstrap("nobody").await.is_err(), "its certificate names no node");
    assert!(bootstrap("two").await.is_err(), "its certificate names two");
    factory.revoke(&[2]);
    assert!(bootstrap("device").await.is_err(), "its certificate is revoked");
    factory.revoke(&[]);
    node.keys.lock().unwrap().refuses = true;
    let refused = bootstrap("device").await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("barred"), "{refused}");
    assert!(node.keys.lock().unwrap().bootstraps.is_empty());
    node.keys.lock().unwrap().refuses = false;
    assert!(bootstrap("device").await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_channel_carries_nothing_before_its_service_connection() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |_| {}).await;
    let mut gateway = Channel::open(edge.addresses.mid_tls, factory.client("device")).await.unwrap();
    let early = gateway.ask(REGISTER, &registration("gw")).await.unwrap();
    assert!(early.starts_with("HTTP/1.1 403") && early.contains("POST /m2m/connection first"), "{early}");
    assert!(node.seen().is_empty());
    assert_eq!(gateway.status("GET /m2m/connection HTTP/1.1", "").await, 405);

    let answer = gateway.ask(CONNECT, "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let expected = "<m2m:securityConnectionId>18446462598732840961</m2m:securityConnectionId><m2m:securityKmcIndex>1</m2m:securityKmcIndex>";
    assert!(answer.contains(expected), "{answer}");
    let rest = format!(
        "<m2m:securityEncryptedM2MKey>{}</m2m:securityEncryptedM2MKey><m2m:sclId>gw</m2m:sclId><m2m:securitymIdFlags>0002</m2m:securitymIdFlags>",
        "A5".repeat(40)
    );
    assert!(answer.contains(&rest), "{answer}");
    valid(&answer);
    let opened = node.keys.lock().unwrap().connections[0].clone();
    assert_eq!(opened.kmc.as_ref(), gateway.exported(CONNECTION_LABEL));
    assert_eq!(opened.kmr_index, None);
    assert_eq!(gateway.status(CONNECT, "").await, 409);

    assert_eq!(gateway.status(REGISTER, &registration("gw")).await, 201);
    assert_eq!(node.seen(), ["Create /scls by /m2m/scls/gw over Mid"]);
    let metrics = get(edge.admin, "/metrics").await;
    for line in [
        "banyan_edge_mid_handshakes_total{listener=\"tls\",result=\"done\"} 1\n",
        "banyan_edge_mid_sessions{listener=\"tls\"} 1\n",
        "banyan_edge_mid_made_total{what=\"connection\",result=\"done\"} 1\n",
        "banyan_edge_mid_closures_total 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

async fn connected(factory: &Factory, edge: &Running) -> Channel {
    let mut gateway = Channel::open(edge.addresses.mid_tls, factory.client("device")).await.unwrap();
    assert_eq!(gateway.status(CONNECT, "").await, 200);
    gateway
}

#[tokio::test]
async fn an_scl_speaks_for_itself_and_its_applications_and_registers_no_other() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |_| {}).await;
    let mut gateway = connected(&factory, &edge).await;
    let create = "POST /m2m/containers HTTP/1.1\nContent-Type: application/xml";
    let body = "<m2m:container xmlns:m2m=\"http://uri.etsi.org/m2m\" m2m:id=\"c\"/>";
    for (from, entity) in [
        ("", "/m2m/scls/gw"),
        ("\nFrom: /m2m/scls/gw", "/m2m/scls/gw"),
        ("\nFrom: /m2m/scls/gw/applications/meter", "/m2m/scls/gw/applications/meter"),
        (
            "\nFrom: http://gw.example.org/m2m/applications/meter",
            "http://gw.example.org/m2m/applications/meter",
        ),
    ] {
        assert_eq!(gateway.status(&format!("{create}{from}"), body).await, 201, "{from}");
        let last = node.seen().last().cloned();
        assert_eq!(last, Some(format!("Create /containers by {entity} over Mid")), "{from}");
    }
    let before = node.seen().iter().filter(|line| line.starts_with("Create")).count();
    for from in ["/m2m/scls/other", "/m2m", "/m2m/applications/a", "http://other.example.org/m2m"] {
        assert_eq!(gateway.status(&format!("{create}\nFrom: {from}"), body).await, 403, "{from}");
    }
    let denied = gateway.ask(REGISTER, &registration("other")).await.unwrap();
    assert!(denied.starts_with("HTTP/1.1 401") && denied.contains("sclId: "), "{denied}");
    // Whoever has a credential on mIa has none here.
    let basic = format!("{create}\nAuthorization: Basic YWRtaW46YWRtaW4=\nFrom: /m2m");
    assert_eq!(gateway.status(&basic, body).await, 403);
    let sealed = "<e:EncryptedData xmlns:e=\"http://www.w3.org/2001/04/xmlenc#\"/>";
    let after = node.seen().iter().filter(|line| line.starts_with("Create")).count();
    assert_eq!(after, before, "{:?}", node.seen());
    let sealed = gateway.ask(create, sealed).await.unwrap();
    assert!(sealed.starts_with("HTTP/1.1 501") && sealed.contains("XML security"), "{sealed}");

    let audited = async {
        loop {
            let events = node.keys.lock().unwrap().audited.clone();
            if events.len() == 6 {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let events = timeout(Duration::from_secs(5), audited).await.expect("all refusals are audited");
    let whats: Vec<&str> = events.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(whats.iter().filter(|what| **what == "requestingEntity").count(), 5, "{whats:?}");
    assert!(events.iter().all(|event| event.result == "refused" && event.node.len() == 16));
    let denied = events.iter().find(|event| event.what == "registration").expect("it");
    assert!(denied.detail.starts_with("other: PermissionDenied"), "{}", denied.detail);
}

#[tokio::test]
async fn integrity_is_looked_at_before_a_registration_reaches_the_tree() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |config| config.mid.ival = banyan_edge::config::Ival::Require).await;
    let mut gateway = connected(&factory, &edge).await;
    let refused = gateway.ask(REGISTER, &registration("gw")).await.unwrap();
    assert!(
        refused.starts_with("HTTP/1.1 403") && refused.contains("integrityValResults: missing"),
        "{refused}"
    );
    assert!(node.seen().is_empty());
}

/// security.md 8, test 6, as far as an edge goes.
#[tokio::test]
async fn a_closed_session_ends_at_once_whatever_it_waits_for() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |_| {}).await;
    let mut gateway = connected(&factory, &edge).await;
    let mut other = Channel::open(edge.addresses.mid_tls, factory.client("listed")).await.unwrap();
    let poll = "GET /m2m/scls/gw/notificationChannels/nc/poll HTTP/1.1";
    let waiting = tokio::spawn(async move { gateway.ask(poll, "").await });
    let asked = async {
        while !node.seen().iter().any(|line| line.starts_with("poll")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), asked).await.expect("the poll is on its way");
    assert!(!waiting.is_finished());

    let began = Instant::now();
    let key = v1::KeyRef {
        kind: Some(key_ref::Kind::Kmc(v1::KmcRef { connection: 0xFFFF_0000_0000_0001, index: 1 })),
    };
    node.keys.lock().unwrap().closed.push(v1::Closed { key: Some(key), ..v1::Closed::default() });
    let ended = timeout(Duration::from_secs(5), waiting).await.expect("it ends").expect("no panic");
    assert!(ended.is_err() && began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Another node's goes on; a node's closure ends all of its own, connected or not.
    assert_eq!(other.status(CONNECT, "").await, 200);
    let all =
        v1::Closed { node: M2mNodeId::parse(OTHER).unwrap().0.to_vec().into(), ..v1::Closed::default() };
    node.keys.lock().unwrap().closed.push(all);
    let gone = async { while other.ask("GET /m2m/connection HTTP/1.1", "").await.is_ok() {} };
    timeout(Duration::from_secs(1), gone).await.expect("closed");
    let metrics = get(edge.admin, "/metrics").await;
    assert!(metrics.contains("banyan_edge_mid_closures_total 2\n"), "{metrics}");
}

#[tokio::test]
async fn a_session_ends_at_its_age() {
    let factory = Factory::new();
    let (_node, edge) = edge(&factory, |config| config.mid.max_session_age_s = 1).await;
    let mut gateway = connected(&factory, &edge).await;
    let gone = async { while gateway.ask("GET /m2m/connection HTTP/1.1", "").await.is_ok() {} };
    timeout(Duration::from_secs(3), gone).await.expect("closed");
}

#[tokio::test]
async fn plaintext_is_whose_the_address_is() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |config| {
        config.mid.listen_plain = Some("127.0.0.1:0".parse().expect("an address"));
        config.mid.i_trust_this_network = true;
        let source = "127.0.0.1".parse().expect("an address");
        config.mid.plain = vec![banyan_edge::config::SclOfAddress { source, scl: "gw".to_owned() }];
    })
    .await;
    let plain = edge.addresses.mid_plain.expect("bound");
    assert!(ask(plain, REGISTER, &registration("gw")).await.starts_with("HTTP/1.1 201"));
    assert_eq!(node.seen(), ["Create /scls by /m2m/scls/gw over Mid"]);
    assert!(ask(plain, REGISTER, &registration("other")).await.starts_with("HTTP/1.1 401"));
    assert!(ask(plain, &format!("{REGISTER}\nFrom: /m2m"), "").await.starts_with("HTTP/1.1 403"));
    assert!(ask(plain, CONNECT, "").await.starts_with("HTTP/1.1 404"));
}

/// security.md 4: Kmr for the service connection, then Kmc for whatever channel follows.
#[tokio::test]
async fn a_gateway_connects_by_its_root_key_and_comes_back_by_its_connection_key() {
    let factory = Factory::new();
    let (node, edge) = edge(&factory, |_| {}).await;
    let id = M2mNodeId::parse(NODE).expect("an id").0.to_vec();
    let known = |secret: Vec<u8>, kind: key_ref::Kind| v1::ResolvedKey {
        secret: secret.into(),
        key: Some(v1::KeyRef { kind: Some(kind) }),
        node: id.clone().into(),
        scl_id: Some("gw".to_owned()),
        expires_ms: FOREVER_MS,
    };
    let kmr = key_ref::Kind::Kmr(v1::KmrRef { node: id.clone().into(), index: 7 });
    let kmc = key_ref::Kind::Kmc(v1::KmcRef { connection: 0xFFFF_0000_0000_0001, index: 1 });
    let by_kmr = format!("kmr/{NODE}/7@mas.example.com");
    let by_kmc = "kmc/ffff000000000001/1@nscl.example.com";
    node.keys.lock().unwrap().known.insert(by_kmr.clone().into(), known(vec![0x5A; 32], kmr.clone()));

    let connector = PskConnector::new(&ConnectorConfig::default()).expect("OpenSSL");
    let connect = async |identity: &str, key: &Key| {
        let socket = TcpStream::connect(edge.addresses.mid_psk.expect("bound")).await?;
        let (stream, exported) = connector.connect(socket, identity.as_bytes(), key).await?;
        io::Result::Ok((Channel(stream), exported))
    };
    let root = Key::new([0x5A; 32]);
    assert!(connect(&by_kmr, &Key::new([0; 32])).await.is_err(), "a wrong key");
    assert!(connect(by_kmc, &root).await.is_err(), "nobody has it yet");
    let sources = node.keys.lock().unwrap().sources.clone();
    let is_ours = |source: &String| source.parse().is_ok_and(|peer: SocketAddr| peer.ip().is_loopback());
    assert!(sources.len() >= 2 && sources.iter().all(is_ours), "the audit is told who tries: {sources:?}");
    let (mut gateway, exported) = connect(&by_kmr, &root).await.expect("a session");
    assert_eq!(gateway.status(REGISTER, &registration("gw")).await, 403);
    assert_eq!(gateway.status(CONNECT, "").await, 200);
    let opened = node.keys.lock().unwrap().connections[0].clone();
    assert_eq!((opened.kmr_index, opened.kmc.as_ref()), (Some(7), &exported.expose()[..]));
    assert_eq!(gateway.status(REGISTER, &registration("gw")).await, 201);

    // The identity that nobody had is remembered for a while; a gateway has its key only after the answer.
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.keys.lock().unwrap().known.insert(by_kmc.into(), known(opened.kmc.to_vec(), kmc));
    let (mut later, _) = connect(by_kmc, &exported).await.expect("a session by Kmc");
    assert_eq!(later.status(CONNECT, "").await, 409);
    let create = "POST /m2m/containers HTTP/1.1\nContent-Type: application/xml";
    let body = "<m2m:container xmlns:m2m=\"http://uri.etsi.org/m2m\" m2m:id=\"c\"/>";
    assert_eq!(later.status(create, body).await, 201);
    assert_eq!(node.seen().last().map(String::as_str), Some("Create /containers by /m2m/scls/gw over Mid"));

    // The root key is revoked: its session ends, the other stands on Kmc.
    let began = Instant::now();
    node.keys.lock().unwrap().known.remove(by_kmr.as_bytes());
    let closed = v1::Closed { key: Some(v1::KeyRef { kind: Some(kmr) }), ..v1::Closed::default() };
    node.keys.lock().unwrap().closed.push(closed);
    let gone = async { while gateway.ask(create, body).await.is_ok() {} };
    timeout(Duration::from_secs(1), gone).await.expect("closed");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(connect(&by_kmr, &root).await.is_err(), "what was kept is forgotten");
    assert_eq!(later.status(create, body).await, 201);
}
