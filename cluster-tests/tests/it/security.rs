//! Security of mId (TS 102 690 clause 8) with TLS peers that are not ours, against a whole cluster.

mod peer;
mod provisioned;
mod tokens;

mod bootstrap;
mod certificates;
mod handover;
mod inventory;
mod leader_killed;
mod leaks;
mod refusals;
mod replaced_files;

use std::time::{Duration, Instant};

use banyan_binding::mid::{ConnectorConfig, PskConnector};
use banyan_binding::session::Key;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::repeat::value_of;

use tokio::net::TcpStream;

use self::provisioned::{Connected, Node, Psk, connect, import};
use crate::support::{alone, cluster};

const LIMIT: Duration = Duration::from_secs(120);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes of either kind by a peer that is not ours.
const TRIES_OF_OTHERS: usize = 5;
/// The same by ours, unless `BANYAN_REFUSALS` says otherwise.
const TRIES: u64 = 50;
/// Before this no failed handshake is told so.
const TOLD_AFTER: Duration = Duration::from_millis(50);
/// Alerts (RFC 5246 7.2): what a key that does not fit comes to in TLS 1.2, and in TLS 1.3.
const BAD_RECORD_MAC: u8 = 20;
const DECRYPT_ERROR: u8 = 51;

/// A cluster that keeps keys.
async fn keeping_keys() -> Cluster {
    cluster(Config { keys: true, ..Config::default() }).await
}

/// What the client of OpenSSL is told to offer.
const OF_OPENSSL: &[&[&str]] = &[
    &["-tls1_2", "-cipher", "PSK-AES128-CBC-SHA256:@SECLEVEL=0"],
    &["-tls1_2", "-cipher", "PSK-AES128-GCM-SHA256:@SECLEVEL=0"],
    &["-tls1_2", "-cipher", "PSK-AES128-CCM:@SECLEVEL=0"],
    &["-tls1_2", "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0"],
    &["-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305:@SECLEVEL=0"],
    &["-tls1_2", "-cipher", "ECDHE-PSK-AES128-CBC-SHA256:@SECLEVEL=0"],
    &["-tls1_3"],
];
/// What the client of GnuTLS is told to offer. Not ECDHE-PSK in TLS 1.2: release 3.7.9 dies of it, with any server.
const OF_GNUTLS: &[&str] =
    &["NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+PSK"];

/// A channel with Kmc that carries mId: it reads the SCL's own registration.
fn uses_kmc(what: &str, peer: &mut peer::Peer, scl: &str) {
    let asked = peer.ask(&format!("GET /m2m/scls/{scl} HTTP/1.1"), "");
    let (status, answer) = asked.unwrap_or_else(|said| panic!("{what}: no answer by Kmc\n{said}"));
    assert_eq!((status, body::element(&answer, "link")), (200, Some("http://gw.example.com/m2m")), "{what}");
}

#[test]
fn peers_of_others_share_kmc_by_every_suite() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let cluster = keeping_keys().await;
        let node = Node::new("gw");
        import(&cluster, std::slice::from_ref(&node)).await;
        let (one, other) = (cluster.mid(0).psk.clone(), cluster.mid(1).psk.clone());

        let mut first = node.kmr.s_client(&one, &[]);
        assert_eq!(connect("the first", &mut first, &node.kmr).scl, "gw");
        let scl = body::scl("gw", "http://gw.example.com/m2m");
        let registered = first.ask("POST /m2m/scls HTTP/1.1\nContent-Type: application/xml", &scl);
        let (status, answer) = registered.unwrap_or_else(|said| panic!("not registered\n{said}"));
        assert_eq!(status, 201, "{answer}");

        for offers in OF_OPENSSL {
            let what = offers.join(" ");
            let mut peer = node.kmr.s_client(&one, offers);
            let Connected { scl, kmc } = connect(&what, &mut peer, &node.kmr);
            assert_eq!(scl, "gw", "{what}");
            assert_eq!(peer.exported(), kmc.key, "{what}: both ends have the same Kmc");
            uses_kmc(&what, &mut peer, "gw");
            uses_kmc(&what, &mut kmc.s_client(&other, offers), "gw");
        }
        for offers in OF_GNUTLS {
            let mut peer = node.kmr.gnutls(&one, offers);
            let Connected { scl, kmc } = connect(offers, &mut peer, &node.kmr);
            assert_eq!(scl, "gw", "{offers}");
            uses_kmc(offers, &mut kmc.gnutls(&other, offers), "gw");
        }
        let stranger = Psk { key: [7; 32], ..node.kmr.clone() };
        let refused = stranger.s_client(&one, &[]).ask(provisioned::CONNECT, "");
        assert!(refused.is_err(), "{refused:?}");
    });
}

#[test]
fn a_wrong_key_and_an_unknown_identity_look_the_same() {
    if !peer::are_here() {
        return;
    }
    let tries = value_of("BANYAN_REFUSALS", TRIES);
    let limit = LIMIT + 8 * TOLD_AFTER * u32::try_from(tries).expect("a number of tries");
    alone(limit, || async {
        let cluster = keeping_keys().await;
        let node = Node::new("gw");
        import(&cluster, std::slice::from_ref(&node)).await;
        let address = cluster.mid(0).psk.clone();
        let wrong = Psk { key: [7; 32], ..node.kmr.clone() };
        // A new one each time: that an identity is unknown is remembered, as that it is known is.
        let unknown = || Node::new("nobody").kmr;
        connect("the right key", &mut node.kmr.s_client(&address, &[]), &node.kmr);

        for version in ["-tls1_2", "-tls1_3"] {
            for psk in (0..TRIES_OF_OTHERS).flat_map(|_| [wrong.clone(), unknown()]) {
                let key = peer::hex(&psk.key);
                let said = peer::probe(&address, &[version, "-psk_identity", &psk.identity, "-psk", &key]);
                let expected = if version == "-tls1_2" { BAD_RECORD_MAC } else { DECRYPT_ERROR };
                assert_eq!(peer::alert(&said), Some(expected), "{version} {}\n{said}", psk.identity);
            }
        }
        for tls_1_3 in [false, true] {
            let config = ConnectorConfig { tls_1_3, ..ConnectorConfig::default() };
            let connector = PskConnector::new(&config).expect("OpenSSL can be set up");
            let (mut of_wrong, mut of_unknown) = (Vec::new(), Vec::new());
            for _ in 0..tries {
                of_wrong.push(refused(&connector, &address, &wrong).await);
                of_unknown.push(refused(&connector, &address, &unknown()).await);
            }
            let version = if tls_1_3 { "TLS 1.3" } else { "TLS 1.2" };
            let medians = (median(&mut of_wrong), median(&mut of_unknown));
            println!(
                "{version}: refused after, median of {tries}: wrong key {:?}, unknown identity {:?}; quickest {:?}, {:?}",
                medians.0, medians.1, of_wrong[0], of_unknown[0]
            );
            // The one is in the edge's memory, the other is looked up: neither is told before the same time.
            assert!(of_wrong[0].min(of_unknown[0]) >= TOLD_AFTER, "{:?} {:?}", of_wrong[0], of_unknown[0]);
            let apart = medians.0.abs_diff(medians.1);
            assert!(apart < TOLD_AFTER / 2, "{apart:?} apart");
        }
    });
}

/// How long a handshake takes that is refused.
async fn refused(connector: &PskConnector, address: &str, psk: &Psk) -> Duration {
    let begun = Instant::now();
    assert!(handshake(connector, address, psk).await.is_err(), "{} came in", psk.identity);
    begun.elapsed()
}

async fn handshake(connector: &PskConnector, address: &str, psk: &Psk) -> std::io::Result<()> {
    let making = async {
        let socket = TcpStream::connect(address).await?;
        connector.connect(socket, psk.identity.as_bytes(), &Key::new(psk.key)).await
    };
    let made = tokio::time::timeout(HANDSHAKE_WITHIN, making).await;
    made.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map(drop)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_revoked_key_ends_its_sessions_at_every_edge() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let cluster = keeping_keys().await;
        let nodes = [Node::new("gw"), Node::new("other")];
        import(&cluster, &nodes).await;
        let [node, untouched] = &nodes;
        let (one, other) = (cluster.mid(0).psk.clone(), cluster.mid(1).psk.clone());
        let mut by_kmr = node.kmr.s_client(&one, &["-tls1_3"]);
        let Connected { kmc, .. } = connect("by Kmr", &mut by_kmr, &node.kmr);
        let mut by_kmc = kmc.s_client(&other, &["-tls1_2"]);
        let asked = by_kmc.ask("GET /m2m HTTP/1.1", "");
        assert!(asked.is_ok(), "{asked:?}");
        let mut stays = untouched.kmr.s_client(&other, &[]);
        connect("the other node", &mut stays, &untouched.kmr);

        let begun = Instant::now();
        provisioned::revoke(&cluster, node).await;
        let revoked = begun.elapsed();
        for (what, peer) in [("by Kmr", &mut by_kmr), ("by Kmc", &mut by_kmc)] {
            assert!(peer.wait_end(Duration::from_secs(5)).is_some(), "{what}: still open\n{}", peer.said());
            println!(
                "session {what} closed {:?} after the revocation was asked for (answered after {revoked:?})",
                begun.elapsed()
            );
        }
        assert!(begun.elapsed() < revoked + Duration::from_secs(1), "{:?}", begun.elapsed());
        for (psk, address) in [(&node.kmr, &one), (&node.kmr, &other), (&kmc, &one), (&kmc, &other)] {
            let again = psk.s_client(address, &[]).ask(provisioned::CONNECT, "");
            assert!(again.is_err(), "{}: {again:?}", psk.identity);
        }
        let asked = stays.ask("GET /m2m HTTP/1.1", "");
        assert!(asked.is_ok(), "another node's session stays: {asked:?}");

        let leader = cluster.leader_of_keys().await;
        let lines = cluster.audit(leader);
        let told = lines.lines().any(|line| {
            ["\"what\":\"revoke\"", "\"result\":\"accepted\"", &peer::hex(&node.id)]
                .iter()
                .all(|part| line.contains(part))
        });
        assert!(told, "{lines}");
    });
}
