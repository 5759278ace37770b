//! A NAF hands a root key over, and the gateway comes in by its B-TID.

use std::path::Path;
use std::time::Duration;

use banyan_binding::mid::{ConnectorConfig, PskConnector};
use banyan_binding::tls::{self, KeyFiles};
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::factory::Factory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::peer::hex;
use super::provisioned::{Node, Psk};
use super::{LIMIT, handshake};
use crate::support::{alone, cluster};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Longer than an edge remembers that an identity is nobody's.
const KNOWN_WITHIN: Duration = Duration::from_secs(15);

/// What a client with the certificate `of` this factory is answered, status and all.
async fn post(address: &str, of: &Factory, trusts: &Factory, body: &str) -> std::io::Result<(u16, String)> {
    let files = KeyFiles { certificate: of.path("naf.pem").into(), key: of.path("naf.key").into() };
    let client = tls::client(Path::new(&trusts.path("ca.pem")), Some(&files)).expect("sound files");
    let asking = async {
        let socket = TcpStream::connect(address).await?;
        let name = "localhost".try_into().expect("a name");
        let mut stream = TlsConnector::from(client).connect(name, socket).await?;
        let head =
            format!("POST /keys HTTP/1.1\r\nhost: n\r\nconnection: close\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| std::io::Error::other(answer.clone()))?, answer))
    };
    tokio::time::timeout(ANSWER_WITHIN, asking).await.expect("an answer, or a refusal")
}

fn body(node: &Node, psk: &Psk, index: u32) -> String {
    serde_json::json!({
        "node_id": hex(&node.id), "index": index, "kmr": hex(&psk.key), "identity": psk.identity,
        "scl_id": node.scl, "lifetime_s": 3_600,
    })
    .to_string()
}

/// As soon as no edge remembers any more that the identity was nobody's.
async fn comes_in(cluster: &Cluster, edge: usize, psk: &Psk) {
    let connector = PskConnector::new(&ConnectorConfig::default()).expect("OpenSSL can be set up");
    let address = cluster.mid(edge).psk.clone();
    let coming = async {
        while handshake(&connector, &address, psk).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let came = tokio::time::timeout(KNOWN_WITHIN, coming).await;
    came.unwrap_or_else(|_| panic!("{} does not come in at edge {edge}", psk.identity));
}

#[test]
fn a_key_that_is_handed_over_opens_a_channel_under_its_b_tid() {
    alone(LIMIT, || async {
        let (factory, stranger) = (Factory::new(), Factory::called("stranger"));
        let named = |of: &Factory| of.issue("naf", 7, |_| {});
        named(&factory);
        named(&stranger);
        let config = Config { keys: true, handover: Some(factory.folder()), ..Config::default() };
        let cluster = cluster(config).await;
        let node = Node::new("gw");
        let first = Psk { identity: "Zmlyc3Q=@bsf.operator.example.com".to_owned(), ..node.kmr.clone() };
        let second = Psk { identity: "c2Vjb25k@bsf.operator.example.com".to_owned(), key: [9; 32] };
        let leader = cluster.leader_of_keys().await;
        let follower = (leader + 1) % cluster.len();

        let connector = PskConnector::new(&ConnectorConfig::default()).expect("OpenSSL can be set up");
        let early = handshake(&connector, &cluster.mid(0).psk, &first).await;
        assert!(early.is_err(), "nobody knows it yet");

        // Nothing of a client that another CA vouches for is even read.
        let other = post(cluster.handover(leader), &stranger, &factory, &body(&node, &first, 1)).await;
        assert!(other.is_err(), "{other:?}");

        for (attribute, from, to) in [
            ("index", "\"index\":1", "\"index\":0"),
            ("kmr", &hex(&first.key)[..], "2a"),
            ("node_id", &hex(&node.id)[..], "node"),
        ] {
            let bad = body(&node, &first, 1).replace(from, to);
            let (status, answer) =
                post(cluster.handover(follower), &factory, &factory, &bad).await.expect(to);
            assert_eq!(status, 400, "{attribute}: {answer}");
            assert!(answer.contains(&format!("\"attribute\":\"{attribute}\"")), "{answer}");
        }

        // By a node that does not lead, and once more by the one that does.
        for at in [follower, leader] {
            let answered = post(cluster.handover(at), &factory, &factory, &body(&node, &first, 1)).await;
            let (status, answer) = answered.expect("its certificate is good");
            assert_eq!(status, 201, "{answer}");
        }
        for edge in 0..2 {
            comes_in(&cluster, edge, &first).await;
        }
        let taken = body(&node, &second, 1);
        let (status, answer) =
            post(cluster.handover(leader), &factory, &factory, &taken).await.expect("good");
        assert_eq!(status, 409, "another key has this index: {answer}");

        // The next run of GBA: another key under another B-TID.
        let next = body(&node, &second, 2);
        let (status, answer) =
            post(cluster.handover(follower), &factory, &factory, &next).await.expect("good");
        assert_eq!(status, 201, "{answer}");
        comes_in(&cluster, 0, &second).await;

        let lines = cluster.audit(cluster.leader_of_keys().await);
        for result in ["accepted", "refused"] {
            let told = lines.lines().any(|line| {
                [
                    "\"what\":\"import\"",
                    &format!("\"result\":\"{result}\""),
                    "\"source\":\"handover naf\"",
                    &hex(&node.id),
                ]
                .iter()
                .all(|part| line.contains(part))
            });
            assert!(told, "{result}: {lines}");
        }
        let logs: String = (0..cluster.len()).map(|node| cluster.node_log(node)).collect();
        for key in [&first.key, &second.key] {
            assert!(!logs.contains(&hex(key)) && !lines.contains(&hex(key)), "a key was told");
        }
        assert!(logs.contains("a root key was handed over"), "{logs}");
    });
}
