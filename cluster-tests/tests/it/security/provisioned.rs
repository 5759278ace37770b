//! M2M nodes whose root keys an operator brought in, and what they need to open a channel.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use banyan_proto::v1::{ImportKeys, ProvisionedKey, RevokeKeys, keys_answer, keys_question};
use cluster_tests::body;
use cluster_tests::cluster::Cluster;
use rand::RngExt;

use super::peer::{Peer, hex, unhex};
use crate::support::check_schema;

pub(super) const CONNECTION_LABEL: &str = "EXPORTER-ETSI-TC-M2M-Connection";
pub(super) const BOOTSTRAP_LABEL: &str = "EXPORTER-ETSI-TC-M2M-Bootstrap";
pub(super) const BOOTSTRAP: &str = "POST /m2m/bootstrap HTTP/1.1";
pub(super) const CONNECT: &str = "POST /m2m/connection HTTP/1.1";

/// A key and the identity under which the cluster knows it.
#[derive(Clone)]
pub(super) struct Psk {
    pub(super) identity: String,
    pub(super) key: [u8; 32],
}

impl Psk {
    /// `openssl s_client` with this key.
    pub(super) fn s_client(&self, address: &str, more: &[&str]) -> Peer {
        let key = hex(&self.key);
        let own = ["-psk_identity", &self.identity, "-psk", &key];
        Peer::s_client(address, CONNECTION_LABEL, &[&own, more].concat())
    }

    /// `gnutls-cli` with this key.
    pub(super) fn gnutls(&self, address: &str, priority: &str) -> Peer {
        let (host, port) = address.split_once(':').expect("host and port");
        let key = hex(&self.key);
        let arguments =
            ["--pskusername", &self.identity, "--pskkey", &key, "--priority", priority, "-p", port, host];
        Peer::start("gnutls-cli", &arguments.map(str::to_owned))
    }
}

/// A D/G M2M Node with its first Kmr.
pub(super) struct Node {
    pub(super) id: [u8; 16],
    pub(super) scl: String,
    pub(super) kmr: Psk,
}

impl Node {
    /// With a random id and key.
    pub(super) fn new(scl: &str) -> Node {
        let mut random = rand::rng();
        let (id, key): ([u8; 16], [u8; 32]) = (random.random(), random.random());
        Node { id, scl: scl.to_owned(), kmr: kmr(&id, 1, key) }
    }
}

/// A root key's identity as the MAS gives it out.
pub(super) fn kmr(node: &[u8; 16], index: u32, key: [u8; 32]) -> Psk {
    Psk { identity: format!("kmr/{}/{index}@mas.example.com", hex(node)), key }
}

/// Brings the nodes' keys into the cluster.
pub(super) async fn import(cluster: &Cluster, nodes: &[Node]) {
    let key = |node: &Node| ProvisionedKey {
        node: node.id.to_vec().into(),
        index: 1,
        kmr: node.kmr.key.to_vec().into(),
        expires_ms: 0,
        scl_id: Some(node.scl.clone()),
        alias: Vec::new(),
    };
    let keys = ImportKeys { keys: nodes.iter().map(key).collect(), source: "test".to_owned() };
    match cluster.keys(keys_question::Kind::Import(keys)).await {
        Some(keys_answer::Kind::Imported(imported)) => {
            assert!(imported.refused.iter().all(String::is_empty), "{:?}", imported.refused);
        }
        other => panic!("not imported: {other:?}"),
    }
}

/// Revokes the first Kmr of a node.
pub(super) async fn revoke(cluster: &Cluster, node: &Node) {
    let keys = RevokeKeys { node: node.id.to_vec().into(), index: Some(1), source: "test".to_owned() };
    cluster.keys(keys_question::Kind::Revoke(keys)).await;
}

/// What a service connection gave.
pub(super) struct Connected {
    pub(super) scl: String,
    pub(super) kmc: Psk,
}

/// Asks for a service connection and checks the answer: Kmc came wrapped with Kmr.
pub(super) fn connect(what: &str, peer: &mut Peer, kmr: &Psk) -> Connected {
    let (status, answer) = peer.ask(CONNECT, "").unwrap_or_else(|said| panic!("{what}: no answer\n{said}"));
    assert_eq!(status, 200, "{what}: {answer}");
    assert!(answer.contains("<m2m:connectionParamSet "), "{what}: {answer}");
    check_schema("connectionParamSet", &answer);
    let text =
        |name: &str| body::element(&answer, name).unwrap_or_else(|| panic!("{what}: {name}: {answer}"));
    let connection: u64 = text("securityConnectionId").parse().expect("a number");
    let index: u32 = text("securityKmcIndex").parse().expect("a number");
    let wrapped = unhex(text("securityEncryptedM2MKey")).expect("hexadecimal digits");
    let kek = AesKek::new(&AES_256, &kmr.key).expect("32 octets");
    let mut key = [0; 32];
    kek.unwrap(&wrapped, &mut key).unwrap_or_else(|_| panic!("{what}: not wrapped with Kmr"));
    let identity = format!("kmc/{:016x}/{index}@nscl.example.com", connection);
    Connected { scl: text("sclId").to_owned(), kmc: Psk { identity, key } }
}
