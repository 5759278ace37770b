//! Bootstraps by OpenSSL: what it exports is the root key (security.md 8, tests 2 and 11).

use banyan_proto::v1::{ListKeys, ListedNode, keys_answer, keys_question};
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};

use super::LIMIT;
use super::certificates::CERTIFICATE_REVOKED;
use super::peer::{self, Peer, exported};
use super::provisioned::{self, BOOTSTRAP, BOOTSTRAP_LABEL, Psk, connect, kmr};
use crate::support::{alone, check_schema, cluster};
use cluster_tests::factory::Factory;

async fn with_devices(factory: &Factory) -> Cluster {
    cluster(Config { keys: true, devices: Some(factory.folder()), ..Config::default() }).await
}

/// `openssl s_client` with a certificate of the factory.
fn device(factory: &Factory, address: &str, name: &str, version: &str) -> Peer {
    let shows = factory.shows(name);
    let more: Vec<&str> = shows.iter().map(String::as_str).chain([version]).collect();
    Peer::s_client(address, BOOTSTRAP_LABEL, &more)
}

/// What an operator sees of the nodes that have keys.
async fn listed(cluster: &Cluster) -> Vec<ListedNode> {
    match cluster.keys(keys_question::Kind::List(ListKeys::default())).await {
        Some(keys_answer::Kind::Listed(listed)) => listed.nodes,
        other => panic!("not listed: {other:?}"),
    }
}

#[test]
fn what_openssl_exports_at_a_bootstrap_makes_its_service_connection() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        let id = [0xB0; 16];
        factory.device("device", 2, &id);
        let cluster = with_devices(&factory).await;
        // Another edge each time, and the second key takes the place of the first.
        for (index, (version, by)) in [("-tls1_2", "-tls1_3"), ("-tls1_3", "-tls1_2")].into_iter().enumerate()
        {
            let mut peer = device(&factory, &cluster.mid(index).bootstrap, "device", version);
            let asked = peer.ask(BOOTSTRAP, "");
            let (status, answer) = asked.unwrap_or_else(|said| panic!("{version}: no answer\n{said}"));
            assert_eq!(status, 200, "{version}: {answer}");
            check_schema("bootstrapParamSet", &answer);
            let of = |name: &str| body::element(&answer, name).map(str::to_ascii_lowercase);
            assert_eq!(of("securityM2MNodeId"), Some(peer::hex(&id)), "{answer}");
            assert_eq!(of("securityKmrIndex"), Some((index + 1).to_string()), "{answer}");
            let said = peer.said();
            // Without it an exporter of TLS 1.2 proves nothing (RFC 7627).
            assert!(version != "-tls1_2" || said.contains("Extended master secret: yes"), "{said}");

            let kmr = kmr(&id, index as u32 + 1, peer.exported());
            let other = Psk { key: [7; 32], ..kmr.clone() };
            let address = &cluster.mid(1 - index).psk;
            let refused = other.s_client(address, &[by]).ask(provisioned::CONNECT, "");
            assert!(refused.is_err(), "{refused:?}");
            let connected = connect(version, &mut kmr.s_client(address, &[by]), &kmr);
            assert_eq!(connected.scl, peer::hex(&id), "{version}");
        }
    });
}

#[test]
fn a_refused_bootstrap_leaves_no_key_on_either_side() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        let (revoked, good) = ([0xBA; 16], [0x60; 16]);
        factory.device("revoked", 3, &revoked);
        factory.device("good", 4, &good);
        factory.revoke(&[3]);
        let cluster = with_devices(&factory).await;
        for (edge, version) in [(0, "-tls1_2"), (1, "-tls1_2"), (0, "-tls1_3"), (1, "-tls1_3")] {
            let mid = cluster.mid(edge);
            let refused = device(&factory, &mid.bootstrap, "revoked", version).ask(BOOTSTRAP, "");
            let said = refused.expect_err("a revoked certificate came in");
            assert_eq!(peer::alert(&said), Some(CERTIFICATE_REVOKED), "{version}\n{said}");
            // In TLS 1.3 it has ended its handshake before it is judged; in TLS 1.2 it exports all the same.
            let exported = exported(&said).unwrap_or_else(|| panic!("no keying material in\n{said}"));
            let key = exported.try_into().expect("32 octets");
            for identity in [kmr(&revoked, 1, key).identity, peer::hex(&revoked)] {
                for by in ["-tls1_2", "-tls1_3"] {
                    let psk = Psk { identity: identity.clone(), key };
                    let asked = psk.s_client(&mid.psk, &[by]).ask(provisioned::CONNECT, "");
                    assert!(asked.is_err(), "{identity} by {by}: {asked:?}");
                }
            }
        }
        let (status, answer) = device(&factory, &cluster.mid(0).bootstrap, "good", "-tls1_3")
            .ask(BOOTSTRAP, "")
            .expect("an answer");
        assert_eq!(status, 200, "{answer}");
        let known: Vec<_> = listed(&cluster).await.into_iter().map(|node| node.node).collect();
        assert_eq!(known, [good.to_vec()], "only who was let in has a key");
    });
}
