//! security.md 8, test 9: a key that is known to the test stands nowhere where it has no business.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::Device;

use super::LIMIT;
use super::peer::{self, Peer, hex};
use super::provisioned::{self, BOOTSTRAP, BOOTSTRAP_LABEL, Node, Psk, connect, import, kmr};
use crate::support::{alone, cluster};
use cluster_tests::factory::Factory;

/// Everything that ours say, and what libraries say of TLS.
const LOG: &str =
    "info,banyan=trace,banyan_edge=trace,banyan_binding=trace,banyan_client=trace,rustls=trace,hyper=debug";

/// A key in every form in which it might be written.
struct Secret {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    fn new(what: &'static str, octets: &[u8]) -> Secret {
        let lower = hex(octets);
        let colons: Vec<&str> = (0..octets.len()).map(|at| &lower[2 * at..2 * at + 2]).collect();
        let debug = format!("{octets:?}");
        let texts = [
            lower.to_uppercase(),
            colons.join(":"),
            STANDARD.encode(octets),
            // The last digit is also of what follows.
            STANDARD_NO_PAD.encode(&octets[..30]),
            URL_SAFE_NO_PAD.encode(&octets[..30]),
            debug.trim_matches(['[', ']']).to_owned(),
            octets.escape_ascii().to_string(),
            lower,
        ];
        let forms = texts.into_iter().map(String::into_bytes).chain([octets.to_vec()]).collect();
        Secret { what, forms }
    }

    fn is_in(&self, octets: &[u8]) -> bool {
        self.forms.iter().any(|form| octets.windows(form.len()).any(|window| window == form))
    }
}

/// Every file below a folder.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry that can be read").path();
        match path.is_dir() {
            true => files(&path, into),
            false => into.push(path),
        }
    }
}

/// Looks for the secrets in all that the cluster wrote: logs, data, audit. The id of a node may be written: it must be
/// found in both of its forms, or nothing was looked at.
fn look_in_files(cluster: &Cluster, secrets: &[Secret], node: &[u8; 16]) {
    let mut all = Vec::new();
    files(cluster.folder(), &mut all);
    let witnesses = [hex(node).into_bytes(), node.to_vec()];
    let (mut octets, mut seen) = (0, [0; 2]);
    for file in &all {
        let content = match fs::read(file) {
            Ok(content) => content,
            // Merged away meanwhile.
            Err(gone) if gone.kind() == ErrorKind::NotFound => continue,
            Err(failure) => panic!("{}: {failure}", file.display()),
        };
        octets += content.len();
        for (witness, seen) in witnesses.iter().zip(&mut seen) {
            *seen += usize::from(content.windows(witness.len()).any(|window| window == *witness));
        }
        for secret in secrets {
            assert!(!secret.is_in(&content), "{} stands in {}", secret.what, file.display());
        }
    }
    println!(
        "{} keys stand in none of {} files of {} KiB; the node's id stands in {seen:?}",
        secrets.len(),
        all.len(),
        octets >> 10
    );
    assert!(seen.iter().all(|count| *count > 0), "what may be written was not found");
}

async fn look_in_metrics(cluster: &Cluster, secrets: &[Secret]) {
    for admin in cluster.node_admins().into_iter().chain(cluster.edge_admins()) {
        let mut device = Device::new([&admin], "");
        let reply = device.request("GET", "/metrics", &[], b"").await.expect("an answer");
        assert!(reply.status == 200 && reply.text().contains("banyan_"), "{}", reply.text());
        for secret in secrets {
            assert!(!secret.is_in(&reply.body), "{} stands in the metrics of {admin}", secret.what);
        }
    }
}

#[test]
fn a_key_stands_in_no_log_no_metric_and_no_file() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        let made = [0xB1; 16];
        factory.device("device", 2, &made);
        let (devices, log) = (Some(factory.folder()), LOG.to_owned());
        let mut cluster = cluster(Config { keys: true, devices, log, ..Config::default() }).await;
        let node = Node::new("gw");
        import(&cluster, std::slice::from_ref(&node)).await;
        let (one, other) = (cluster.mid(0).clone(), cluster.mid(1).clone());

        let shows = factory.shows("device");
        let more: Vec<&str> = shows.iter().map(String::as_str).collect();
        let mut device = Peer::s_client(&one.bootstrap, BOOTSTRAP_LABEL, &more);
        assert_eq!(device.ask(BOOTSTRAP, "").expect("an answer").0, 200);
        let bootstrapped = kmr(&made, 1, device.exported());
        let mut secrets =
            vec![Secret::new("Kmr", &node.kmr.key), Secret::new("the bootstrapped Kmr", &bootstrapped.key)];
        for (what, psk) in [("Kmc", &node.kmr), ("Kmc of the bootstrapped", &bootstrapped)] {
            for version in ["-tls1_2", "-tls1_3"] {
                let connected = connect(what, &mut psk.s_client(&one.psk, &[version]), psk);
                let mut later = connected.kmc.s_client(&other.psk, &[version]);
                assert!(later.ask("GET /m2m HTTP/1.1", "").is_ok(), "{what}\n{}", later.said());
                secrets.push(Secret::new(what, &connected.kmc.key));
            }
        }
        let wrong = Psk { key: [7; 32], ..node.kmr.clone() };
        assert!(wrong.s_client(&other.psk, &[]).ask(provisioned::CONNECT, "").is_err());
        look_in_metrics(&cluster, &secrets).await;
        look_in_files(&cluster, &secrets, &node.id);

        provisioned::revoke(&cluster, &node).await;
        assert!(node.kmr.s_client(&other.psk, &[]).ask(provisioned::CONNECT, "").is_err());
        look_in_metrics(&cluster, &secrets).await;
        // All that waited to be written is there once they have left in order.
        for index in 0..cluster.len() {
            cluster.stop_node(index, std::time::Duration::from_secs(30));
        }
        look_in_files(&cluster, &secrets, &node.id);
    });
}

#[test]
fn a_key_is_found_in_every_form() {
    let key: Vec<u8> = (0..32).map(|number| number * 7 + 3).collect();
    let secret = Secret::new("it", &key);
    let written = [hex(&key), hex(&key).to_uppercase(), STANDARD.encode(&key), format!("Key({key:?})")];
    for text in written {
        assert!(secret.is_in(format!("before {text} after").as_bytes()), "{text}");
    }
    assert!(secret.is_in(&[&[1, 2], &key[..], &[3]].concat()));
    assert!(!secret.is_in(hex(&key[1..]).as_bytes()));
}
