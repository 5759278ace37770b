//! security.md 8, test 8: certificate, key and revocation list of running edges are replaced.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use banyan_binding::tls::{self, ClientConfig, KeyFiles};
use cluster_tests::cluster::{Cluster, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::peer::{self, Peer};
use super::provisioned::{BOOTSTRAP, CONNECT, CONNECTION_LABEL, Node, import};
use super::{LIMIT, certificates::CERTIFICATE_REVOKED};
use crate::support::{alone, cluster};
use cluster_tests::factory::Factory;

/// Serial numbers: of whom is let in all the time, of whom is revoked meanwhile.
const GOOD: u64 = 4;
const REVOKED: u64 = 5;
const ROUNDS: u64 = 5;

#[test]
fn replaced_files_count_for_the_next_handshake_and_refuse_nobody() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        let nodes = [Node::new("good"), Node::new("revoked")];
        factory.device("good", GOOD, &nodes[0].id);
        factory.device("revoked", REVOKED, &nodes[1].id);
        let devices = Some(factory.folder());
        let cluster = cluster(Config { keys: true, devices, ..Config::default() }).await;
        import(&cluster, &nodes).await;
        let before = cluster.pids();
        let first = shown(&factory, &cluster.mid(0).https);

        let mut standing: Vec<(&str, Peer)> = Vec::new();
        for (what, address) in listeners(&cluster) {
            let head = if what == "bootstrap" { BOOTSTRAP } else { CONNECT };
            let mut peer = open(&factory, address, "revoked");
            assert!(peer.ask(head, "").is_ok(), "{what}\n{}", peer.said());
            standing.push((what, peer));
        }

        // Somebody comes in all the time.
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let files =
            KeyFiles { certificate: factory.path("good.pem").into(), key: factory.path("good.key").into() };
        let client = tls::client(Path::new(&factory.path("ca.pem")), Some(&files)).expect("sound files");
        let coming: Vec<_> = listeners(&cluster)
            .into_iter()
            .map(|(what, address)| {
                let (client, address) = (Arc::clone(&client), address.to_owned());
                let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let came = comes_in(Arc::clone(&client), &address).await;
                        came.unwrap_or_else(|failure| panic!("{what}: {failure}"));
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();

        for round in 0..ROUNDS {
            factory.edge(100 + round);
            factory.revoke(if round % 2 == 0 { &[REVOKED] } else { &[] });
            let so_far = made.load(Ordering::Relaxed);
            let until = Instant::now() + Duration::from_secs(20);
            while made.load(Ordering::Relaxed) < so_far + 12 && !coming.iter().any(|one| one.is_finished()) {
                assert!(Instant::now() < until, "nobody comes in any more");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for one in coming {
            one.await.expect("no connection was refused");
        }
        println!("{} connections while the files were replaced {ROUNDS} times", made.load(Ordering::Relaxed));

        let file = std::fs::read_to_string(factory.path("edge.pem")).expect("it was just written");
        for (what, address) in listeners(&cluster) {
            let now = shown(&factory, address);
            assert_eq!(now.trim(), file.trim(), "{what} shows the new certificate");
            assert_ne!(now, first);
            let said = open(&factory, address, "revoked").ask("GET /m2m HTTP/1.1", "");
            let said = said.expect_err("it is on the list now");
            assert_eq!(peer::alert(&said), Some(CERTIFICATE_REVOKED), "{what}\n{said}");
        }
        for (what, peer) in &mut standing {
            let asked = peer.ask("GET /m2m/connection HTTP/1.1", "");
            assert!(asked.is_ok(), "{what}: a session that stands goes on\n{asked:?}");
        }
        assert_eq!(cluster.pids(), before, "nothing was started again");
    });
}

/// The listeners that watch files, some of each edge.
fn listeners(cluster: &Cluster) -> [(&'static str, &str); 4] {
    [
        ("bootstrap", &cluster.mid(0).bootstrap),
        ("tls", &cluster.mid(0).tls),
        ("https", &cluster.mid(0).https),
        ("tls of the other edge", &cluster.mid(1).tls),
    ]
}

fn open(factory: &Factory, address: &str, name: &str) -> Peer {
    let shows = factory.shows(name);
    let more: Vec<&str> = shows.iter().map(String::as_str).collect();
    Peer::s_client(address, CONNECTION_LABEL, &more)
}

/// The certificate that a listener shows, PEM.
fn shown(factory: &Factory, address: &str) -> String {
    let shows = factory.shows("good");
    let said = peer::probe(address, &shows.each_ref().map(String::as_str));
    let begin = said.find("-----BEGIN CERTIFICATE-----");
    let end = said.find("-----END CERTIFICATE-----");
    match (begin, end) {
        (Some(begin), Some(end)) => format!("{}-----END CERTIFICATE-----\n", &said[begin..end]),
        _ => panic!("no certificate in\n{said}"),
    }
}

/// A new connection that is answered, whatever the answer: in TLS 1.3 a refusal shows only then.
async fn comes_in(client: Arc<ClientConfig>, address: &str) -> std::io::Result<()> {
    let socket = TcpStream::connect(address).await?;
    let name = "nscl".try_into().expect("a name");
    let mut stream = TlsConnector::from(client).connect(name, socket).await?;
    stream.write_all(b"GET /m2m HTTP/1.1\r\nHost: nscl\r\nFrom: /m2m\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    match answer.starts_with(b"HTTP/1.1 ") {
        true => Ok(()),
        false => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}
