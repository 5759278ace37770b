//! Certificates that are not a device's, at every listener that demands one: what each is told.

use cluster_tests::cluster::Config;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use super::LIMIT;
use super::peer::{self, Peer};
use super::provisioned::{BOOTSTRAP, CONNECT, CONNECTION_LABEL};
use crate::support::{alone, cluster};
use cluster_tests::factory::{Factory, dns};

/// Alerts (RFC 8446 6.2).
const UNSUPPORTED_CERTIFICATE: u8 = 43;
pub(super) const CERTIFICATE_REVOKED: u8 = 44;
const CERTIFICATE_EXPIRED: u8 = 45;
const UNKNOWN_CA: u8 = 48;
const DECRYPT_ERROR: u8 = 51;
pub(super) const CERTIFICATE_REQUIRED: u8 = 116;

#[test]
fn a_certificate_of_another_kind_gets_no_session() {
    if !peer::are_here() {
        return;
    }
    alone(LIMIT, || async {
        let factory = Factory::new();
        let (others, impostors) = (Factory::called("strangers"), Factory::new());
        let id = [0xD0; 16];
        factory.device("device", 2, &id);
        factory.device("revoked", 3, &id);
        factory.revoke(&[3]);
        others.device("device", 4, &id);
        impostors.device("device", 4, &id);
        factory.issue("expired", 5, |wanted| wanted.not_after = date_time_ymd(2020, 1, 1));
        factory.issue("to come", 6, |wanted| wanted.not_before = date_time_ymd(2090, 1, 1));
        // What a node and an edge of the cluster have, and what only a server has, should the factory ever sign them.
        factory.issue("role", 7, |wanted| {
            wanted.subject_alt_names = vec![dns(banyan_client::NODE_NAME), dns(banyan_client::EDGE_NAME)];
        });
        factory.issue("server", 8, |wanted| {
            wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        let devices = Some(factory.folder());
        let cluster = cluster(Config { keys: true, devices, edges: 1, ..Config::default() }).await;
        let mid = cluster.mid(0);

        let none: [String; 0] = [];
        let presented: [(&str, Vec<String>, Option<u8>); 9] = [
            ("none", none.to_vec(), Some(CERTIFICATE_REQUIRED)),
            ("of another CA", others.shows("device").to_vec(), Some(UNKNOWN_CA)),
            ("of a CA of the same name", impostors.shows("device").to_vec(), Some(DECRYPT_ERROR)),
            ("revoked", factory.shows("revoked").to_vec(), Some(CERTIFICATE_REVOKED)),
            ("expired", factory.shows("expired").to_vec(), Some(CERTIFICATE_EXPIRED)),
            ("not valid yet", factory.shows("to come").to_vec(), Some(CERTIFICATE_EXPIRED)),
            ("for servers only", factory.shows("server").to_vec(), Some(UNSUPPORTED_CERTIFICATE)),
            // These two are verified and then belong to no node: closed, for TLS has no word for it.
            ("a role of the cluster", factory.shows("role").to_vec(), None),
            ("an edge's own", factory.shows("edge").to_vec(), None),
        ];
        for (listener, address, head) in
            [("bootstrap", &mid.bootstrap, BOOTSTRAP), ("tls", &mid.tls, CONNECT)]
        {
            for (what, shows, alert) in &presented {
                for version in ["-tls1_2", "-tls1_3"] {
                    let more: Vec<&str> = shows.iter().map(String::as_str).chain([version]).collect();
                    let said = match Peer::s_client(address, CONNECTION_LABEL, &more).ask(head, "") {
                        Err(said) => said,
                        Ok(answer) => panic!("{listener}, {what}, {version}: {answer:?}"),
                    };
                    let told = peer::alert(&said);
                    println!("{listener} {version}, certificate {what}: alert {told:?}");
                    assert_eq!(told, *alert, "{listener}, {what}, {version}\n{said}");
                    assert!(!said.contains("HTTP/1.1"), "{listener}, {what}, {version}\n{said}");
                }
            }
            // And the right one.
            let shows = factory.shows("device");
            let more: Vec<&str> = shows.iter().map(String::as_str).collect();
            let (status, answer) =
                Peer::s_client(address, CONNECTION_LABEL, &more).ask(head, "").expect("an answer");
            assert_eq!(status, 200, "{listener}: {answer}");
        }
    });
}
