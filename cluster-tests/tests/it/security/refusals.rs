//! security.md 8, test 10: nobody is somebody else, and what is not TLS is not read.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::process::POLL;
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::LIMIT;
use super::keeping_keys;
use super::peer::{self, hex};
use super::provisioned::{Node, connect, import};
use crate::support::{alone, cluster, expect};
use cluster_tests::factory::Factory;

const REGISTER: &str = "POST /m2m/scls HTTP/1.1\nContent-Type: application/xml";
/// Half-open connections are given up after 10 s.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn an_scl_of_another_node_is_denied_and_audited() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let cluster = keeping_keys().await;
        let nodes = [Node::new("gw"), Node::new("other")];
        import(&cluster, &nodes).await;
        let address = &cluster.mid(0).psk;
        let mut other = nodes[1].kmr.s_client(&cluster.mid(1).psk, &[]);
        connect("other", &mut other, &nodes[1].kmr);
        let scl = |id: &str| body::scl(id, &format!("http://{id}.example.com/m2m"));
        assert_eq!(other.ask(REGISTER, &scl("other")).expect("an answer").0, 201);

        for version in ["-tls1_2", "-tls1_3"] {
            let mut gw = nodes[0].kmr.s_client(address, &[version]);
            connect(version, &mut gw, &nodes[0].kmr);
            for id in ["other", "nobody"] {
                let (status, answer) = gw.ask(REGISTER, &scl(id)).expect("an answer");
                assert_eq!(status, 401, "{version} {id}: {answer}");
                assert_eq!(
                    body::element(&answer, "statusCode"),
                    Some("STATUS_PERMISSION_DENIED"),
                    "{answer}"
                );
            }
            for (head, from) in [
                ("GET /m2m/scls/other HTTP/1.1", "/m2m/scls/other"),
                ("DELETE /m2m/scls/other HTTP/1.1", "/m2m/scls/other"),
                ("GET /m2m HTTP/1.1", "/m2m"),
                ("GET /m2m HTTP/1.1", "http://other.example.com/m2m/applications/a"),
            ] {
                let asked = gw.ask(&format!("{head}\nFrom: {from}"), "");
                let (status, answer) = asked.expect("an answer");
                assert_eq!(status, 403, "{version} {head} from {from}: {answer}");
            }
        }
        let mut device = cluster.device("/m2m");
        let found = expect("other", 200, device.retrieve("/m2m/scls/other").await);
        assert_eq!(body::element(found.text(), "link"), Some("http://other.example.com/m2m"));
        expect("nobody", 404, device.retrieve("/m2m/scls/nobody").await);

        let id = hex(&nodes[0].id);
        for (what, count) in [("registration", 4), ("requestingEntity", 8)] {
            audited(&cluster, what, &id, count).await;
        }
    });
}

/// Waits until so many refusals of a node stand in the audit log of the leader.
async fn audited(cluster: &Cluster, what: &str, node: &str, count: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let log = cluster.audit(cluster.leader_of_keys().await);
        let parts = [format!("\"what\":\"{what}\""), "\"result\":\"refused\"".to_owned(), node.to_owned()];
        let found = log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
        if found == count {
            return;
        }
        assert!(Instant::now() < until, "{found} of {count} refusals ({what}) of {node} in\n{log}");
        tokio::time::sleep(POLL).await;
    }
}

#[test]
fn plain_text_at_a_tls_port_is_closed_and_nothing_of_it_told() {
    alone(LIMIT, || async {
        let factory = Factory::new();
        let config = Config {
            keys: true,
            devices: Some(factory.folder()),
            log: "info,banyan_edge=trace,banyan_binding=trace,hyper=debug,rustls=debug".to_owned(),
            ..Config::default()
        };
        let cluster = cluster(config).await;
        let secret: u64 = rand::rng().random();
        let marker = format!("marker-{secret:016x}");
        for edge in 0..2 {
            let mid = cluster.mid(edge);
            for (what, address) in
                [("psk", &mid.psk), ("bootstrap", &mid.bootstrap), ("tls", &mid.tls), ("https", &mid.https)]
            {
                let scl = body::scl(&marker, &format!("http://{marker}.example.com/m2m"));
                let head = REGISTER.replace('\n', "\r\n");
                let request = format!(
                    "{head}\r\nHost: nscl\r\nFrom: {marker}\r\nContent-Length: {}\r\n\r\n{scl}",
                    scl.len()
                );
                let mut socket = TcpStream::connect(address).await.expect("it listens");
                socket.write_all(request.as_bytes()).await.expect("it is taken");
                let began = Instant::now();
                let mut answer = Vec::new();
                // A reset is as good an end: what was sent is not read.
                let ended = tokio::time::timeout(CLOSED_WITHIN, socket.read_to_end(&mut answer)).await;
                assert!(ended.is_ok(), "{what} of edge {edge} stays open");
                // At most an alert (RFC 8446 5.1): type 21.
                assert!(answer.is_empty() || answer[0] == 21, "{what} of edge {edge}: {answer:?}");
                println!("{what} of edge {edge} closed after {:?}, alert {answer:?}", began.elapsed());
            }
        }
        // A line that is told afterwards shows that logs hold what came before.
        for edge in 0..2 {
            let log = cluster.edge_log(edge);
            assert!(log.contains("cluster found"), "{log}");
            assert!(!log.contains(&marker), "edge {edge} told of a body");
        }
        for node in 0..cluster.len() {
            assert!(!cluster.node_log(node).contains(&marker), "node {node} told of a body");
        }
    });
}
