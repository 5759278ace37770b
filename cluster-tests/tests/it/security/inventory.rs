//! What every TLS listener offers, asked by programs that are not ours: `sslscan`, and `openssl s_client` suite by suite
//! where sslscan does not come in, for it has neither pre-shared keys nor extended master secret. docs/security.md has
//! the table.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use banyan_binding::mid::{SUITES, SUITES_1_3};
use cluster_tests::cluster::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::LIMIT;
use super::certificates::CERTIFICATE_REQUIRED;
use super::peer::{self, Peer};
use super::provisioned::{CONNECTION_LABEL, Node, import};
use crate::support::{alone, cluster};
use cluster_tests::factory::{Factory, dns};

/// Of listeners with certificates (the certificates of this test are of ECDSA).
const BY_CERTIFICATE: [(&str, &str); 6] = [
    ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),
    ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
];

type Offered = BTreeSet<(String, String)>;

#[test]
fn listeners_offer_what_is_listed_and_nothing_else() {
    if !peer::are_here() || !sslscan_is_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        factory.device("device", 2, &[0xD1; 16]);
        let devices = Some(factory.folder());
        let cluster = cluster(Config { nodes: 1, edges: 1, keys: true, devices, ..Config::default() }).await;
        let node = Node::new("gw");
        import(&cluster, std::slice::from_ref(&node)).await;
        let mid = cluster.mid(0);
        let listed: Offered = owned(BY_CERTIFICATE);
        told("https", &scanned(&mid.https, &factory, "device"), &listed);
        let shows = factory.shows("device");
        let shows = shows.each_ref().map(String::as_str);
        for (what, address) in [("mid.tls", &mid.tls), ("mid.bootstrap", &mid.bootstrap)] {
            let found = scanned(address, &factory, "device");
            // What sslscan comes in by has no extended master secret, which an exporter needs in TLS 1.2.
            assert!(found.iter().all(|(version, _)| version == "TLSv1.3"), "{what}: {found:?}");
            told(what, &(&found | &tried(address, &shows)), &listed);
        }
        let suites = SUITES.iter().map(|&suite| ("TLSv1.2", suite));
        let listed: Offered = owned(suites.chain(SUITES_1_3.split(':').map(|suite| ("TLSv1.3", suite))));
        let key = peer::hex(&node.kmr.key);
        let knows = ["-psk_identity", &node.kmr.identity, "-psk", &key];
        told("mid.psk", &tried(&mid.psk, &knows), &listed);
        assert!(scanned(&mid.psk, &factory, "device").is_empty(), "mid.psk takes no certificates");
    });
}

#[test]
fn nodes_offer_mutual_tls_and_nothing_else() {
    if !peer::are_here() || !sslscan_is_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        for (serial, role) in [(10, banyan_client::NODE_NAME), (11, banyan_client::EDGE_NAME)] {
            factory.issue(role, serial, |wanted| wanted.subject_alt_names = vec![dns(role)]);
        }
        let mutual = Some(factory.folder());
        let cluster = cluster(Config { nodes: 1, edges: 1, mutual, ..Config::default() }).await;
        let address = cluster.rpc(0);
        told("a node's gRPC", &scanned(address, &factory, banyan_client::EDGE_NAME), &owned(BY_CERTIFICATE));
        for version in ["-tls1_2", "-tls1_3"] {
            // In TLS 1.3 the refusal comes when the client has ended its handshake: it has to ask for something.
            let asked = Peer::s_client(address, CONNECTION_LABEL, &[version]).ask("GET / HTTP/1.1", "");
            let said = asked.expect_err("it came in without a certificate");
            assert_eq!(peer::alert(&said), Some(CERTIFICATE_REQUIRED), "{version}\n{said}");
        }
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is taken");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == 21, "plain text is answered: {answer:?}");
    });
}

fn sslscan_is_here() -> bool {
    let found = Command::new("sslscan").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("skipped: there is no sslscan here");
    }
    found.is_ok()
}

fn owned<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Offered {
    all.into_iter().map(|(version, suite)| (version.to_owned(), suite.to_owned())).collect()
}

fn told(what: &str, offered: &Offered, listed: &Offered) {
    for (version, suite) in offered {
        println!("{what:<14} {version} {suite}");
    }
    let more: Vec<_> = offered.difference(listed).collect();
    assert!(more.is_empty(), "{what} offers {more:?} besides");
    // A scan that found nothing has not looked.
    for version in ["TLSv1.2", "TLSv1.3"] {
        assert!(offered.iter().any(|(found, _)| found == version), "{what}: nothing of {version}");
    }
}

/// What sslscan finds; it must find neither compression nor renegotiation.
fn scanned(address: &str, factory: &Factory, name: &str) -> Offered {
    let (certificate, key) = (factory.path(&format!("{name}.pem")), factory.path(&format!("{name}.key")));
    let output = Command::new("sslscan")
        .args(["--no-colour", "--xml=-", "--no-groups", "--sni-name=nscl"])
        .arg(format!("--certs={certificate}"))
        .arg(format!("--pk={key}"))
        .arg(address)
        .output()
        .expect("sslscan can be run");
    let xml = String::from_utf8_lossy(&output.stdout).into_owned();
    let document = roxmltree::Document::parse(&xml).unwrap_or_else(|e| panic!("{e} in\n{xml}"));
    let of = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
    for compression in of("compression") {
        assert_eq!(compression.attribute("supported"), Some("0"), "{address}: {xml}");
    }
    for renegotiation in of("renegotiation") {
        assert_ne!(
            (renegotiation.attribute("supported"), renegotiation.attribute("secure")),
            (Some("1"), Some("0")),
            "{address}: {xml}"
        );
    }
    for protocol in of("protocol").filter(|protocol| protocol.attribute("enabled") == Some("1")) {
        assert!(matches!(protocol.attribute("version"), Some("1.2" | "1.3")), "{address}: {xml}");
    }
    of("cipher")
        .filter_map(|cipher| {
            Some((cipher.attribute("sslversion")?.to_owned(), cipher.attribute("cipher")?.to_owned()))
        })
        .collect()
}

/// What `openssl s_client` comes in by, one suite at a time, with the right key or certificate.
fn tried(address: &str, with: &[&str]) -> Offered {
    let comes_in = |more: &[&str]| {
        // "New, TLSv1.2, Cipher is ...", or "New, (NONE), Cipher is (NONE)".
        let said = peer::probe(address, &[with, more].concat());
        said.contains("Cipher is ") && !said.contains("Cipher is (NONE)")
    };
    let output = Command::new("openssl").args(["ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]).output();
    let all = String::from_utf8(output.expect("openssl can be run").stdout).expect("names");
    let all: Vec<&str> = all.trim().split(':').collect();
    assert!(all.len() > 100, "{all:?}");
    let mut offered = Offered::new();
    for suite in all.iter().filter(|suite| !suite.starts_with("TLS_")) {
        if comes_in(&["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]) {
            offered.insert(("TLSv1.2".to_owned(), (*suite).to_owned()));
        }
    }
    for suite in [
        "AES_128_GCM_SHA256",
        "AES_256_GCM_SHA384",
        "CHACHA20_POLY1305_SHA256",
        "AES_128_CCM_SHA256",
        "AES_128_CCM_8_SHA256",
    ] {
        let suite = format!("TLS_{suite}");
        if comes_in(&["-tls1_3", "-ciphersuites", &suite]) {
            offered.insert(("TLSv1.3".to_owned(), suite));
        }
    }
    for version in ["-tls1", "-tls1_1"] {
        assert!(!comes_in(&[version, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]), "{version}");
    }
    offered
}
