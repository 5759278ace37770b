//! TLS and HTTP/2.

use crate::bench::{Bench, scl};
use banyan_binding::{
    http::{Client, ClientConfig, Config, SendError, Server},
    identity::{Credential, Credentials, Identity, Open, Peer, Said},
    tls::{self, ClientFiles, KeyFiles, TlsError, Watched},
};
use banyan_model::{Entity, Refusal, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, date_time_ymd,
};
use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A CA with one certificate for localhost and one for a client, as files.
struct Keys {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// Serial number of the client's certificate.
const CLIENT: u64 = 42;

impl Keys {
    fn new() -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let keys = Keys { folder, ca };
        keys.write("ca.pem", &keys.ca.pem());
        keys.issue("localhost", 1);
        keys.issue("client", CLIENT);
        keys
    }

    /// A new certificate and key in the files of this name.
    fn issue(&self, name: &str, serial: u64) {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        certificate.serial_number = Some(serial.into());
        let certificate = certificate.signed_by(&key, &self.ca).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A certificate with this commonName and these names: URIs, or DNS names after `dns:`.
    fn certify(&self, file: &str, common_name: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::default();
        certificate.distinguished_name = DistinguishedName::new();
        certificate.distinguished_name.push(DnType::CommonName, common_name);
        certificate.subject_alt_names = names
            .iter()
            .map(|name| match name.strip_prefix("dns:") {
                Some(name) => SanType::DnsName(name.try_into().unwrap()),
                None => SanType::URI((*name).try_into().unwrap()),
            })
            .collect();
        let certificate = certificate.signed_by(&key, &self.ca).unwrap();
        self.write(&format!("{file}.pem"), &certificate.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// The CA's revocation list with these serial numbers.
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

    /// Replaces a file at once, as an operator does.
    fn write(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self, name: &str) -> KeyFiles {
        KeyFiles { certificate: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }

    fn clients(&self, revoked: Option<&str>) -> ClientFiles {
        ClientFiles { roots: self.path("ca.pem"), revoked: revoked.map(|name| self.path(name)) }
    }

    /// A client that trusts the CA, with a certificate of this name; each makes its own connections.
    fn client(&self, name: &str) -> Client {
        let tls = tls::client(&self.path("ca.pem"), Some(&self.files(name))).unwrap();
        Client::new(ClientConfig { tls: Some(tls), ..ClientConfig::default() })
    }
}

fn watched(keys: &Keys, clients: Option<ClientFiles>) -> Arc<Watched> {
    Arc::new(Watched::read(keys.files("localhost"), clients).unwrap())
}

/// Believes a verified certificate and nothing else.
struct ByCertificate;

impl Identity for ByCertificate {
    fn identify(&self, peer: &Peer, _headers: &http::HeaderMap) -> Result<Said, Refusal> {
        match peer.certificates.len() {
            0 => Err(Refusal::new(StatusCode::RequestingEntityMissing, "no certificate")),
            _ => Ok(Said::Known(Entity("/m2m/scls/by-certificate".to_owned()))),
        }
    }
}

async fn get(client: &Client, uri: String) -> Result<http::Response<Bytes>, SendError> {
    let request = http::Request::get(uri).header("From", "a").body(Bytes::new()).unwrap();
    client.send(request, Duration::from_secs(10)).await
}

#[tokio::test]
async fn tls_from_files_and_an_https_location() {
    let keys = Keys::new();
    let server = Server { channel: watched(&keys, None), ..Server::default() };
    let bench = Bench::start(server, Config::new(scl()), Open { scl: scl() }).await;
    let uri = format!("https://localhost:{}/m2m/applications", bench.address.port());
    let trusted = tls::client(&keys.path("ca.pem"), None).unwrap();
    let client = Client::new(ClientConfig { tls: Some(trusted), ..ClientConfig::default() });
    assert_eq!(get(&client, uri.clone()).await.unwrap().status(), 200);
    let request = http::Request::post(&uri)
        .header("From", "a")
        .header("Content-Type", "application/json")
        .body(Bytes::from_static(br#"{"application":{"appId":"x"}}"#))
        .unwrap();
    let created = client.send(request, Duration::from_secs(10)).await.unwrap();
    assert_eq!(created.status(), 201);
    assert_eq!(created.headers()["location"], format!("{uri}/new%20one"));

    // Another CA is not trusted, no CA trusts nobody, and plain text is not spoken.
    let stranger = tls::client(&Keys::new().path("ca.pem"), None).unwrap();
    let stranger = Client::new(ClientConfig { tls: Some(stranger), ..ClientConfig::default() });
    assert!(matches!(get(&stranger, uri.clone()).await, Err(SendError::Transport(_))));
    let plain = Client::new(ClientConfig::default());
    let refused = get(&plain, uri.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("no trusted roots"), "{refused}");
    assert!(get(&plain, uri.replace("https", "http")).await.is_err());
}

#[tokio::test]
async fn mutual_tls_shows_the_certificate_to_the_identity() {
    let keys = Keys::new();
    let tls = watched(&keys, Some(keys.clients(None)));
    let bench =
        Bench::start(Server { channel: tls, ..Server::default() }, Config::new(scl()), ByCertificate).await;
    let uri = format!("https://localhost:{}/m2m/scls", bench.address.port());
    let known = tls::client(&keys.path("ca.pem"), Some(&keys.files("client"))).unwrap();
    let known = Client::new(ClientConfig { tls: Some(known), ..ClientConfig::default() });
    assert_eq!(get(&known, uri.clone()).await.unwrap().status(), 200);
    let seen = bench.fake.seen.lock().unwrap()[0].requesting_entity.0.clone();
    assert_eq!(seen, "/m2m/scls/by-certificate");
    let unknown = tls::client(&keys.path("ca.pem"), None).unwrap();
    let unknown = Client::new(ClientConfig { tls: Some(unknown), ..ClientConfig::default() });
    assert!(get(&unknown, uri).await.is_err());
}

/// Certificates by what they say, each alone and beside HTTP Basic for /m2m/applications/a.
#[tokio::test]
async fn a_certificate_speaks_for_its_application_and_another_role_for_nobody() {
    let keys = Keys::new();
    let tls = watched(&keys, Some(keys.clients(None)));
    let list = vec![
        Credential::Basic {
            user: "a".to_owned(),
            password: banyan_binding::identity::Secret("pw".to_owned()),
            entity: "/m2m/applications/a".to_owned(),
        },
        Credential::Certificate { subject: "listed".to_owned(), entity: "/m2m/applications/a".to_owned() },
    ];
    let identity = Credentials::new(scl(), list).unwrap().without(&["banyan-node", "banyan-edge"]);
    let server = Server { channel: tls, ..Server::default() };
    let bench = Bench::start(server, Config::new(scl()), identity).await;
    let port = bench.address.port();
    let device = "urn:example:000102030405060708090a0b0c0d0e0f";
    for (common_name, names, alone, with_basic) in [
        ("x", vec!["urn:banyan:app:a"], 200, 200),
        ("x", vec!["https://h/m2m/applications/a"], 200, 200),
        ("listed", vec![], 200, 200),
        ("x", vec!["urn:banyan:app:b"], 200, 403),
        ("x", vec!["urn:banyan:app:a/containers"], 401, 200),
        ("x", vec!["urn:banyan:app:"], 401, 200),
        ("x", vec!["https://h/m2m/scls/gw"], 401, 200),
        ("x", vec![], 401, 200),
        ("x", vec!["urn:banyan:app:a", "urn:banyan:app:b"], 403, 403),
        ("listed", vec!["dns:banyan-node"], 403, 403),
        ("x", vec!["dns:Banyan-Edge", "urn:banyan:app:a"], 403, 403),
        ("listed", vec![device], 403, 403),
    ] {
        keys.certify("peer", common_name, &names);
        let client = keys.client("peer");
        for (basic, expected) in [(None, alone), (Some("Basic YTpwdw=="), with_basic)] {
            bench.fake.seen.lock().unwrap().clear();
            let request = http::Request::get(format!("https://localhost:{port}/m2m/scls"));
            let request = match basic {
                Some(basic) => request.header("Authorization", basic),
                None => request,
            };
            let answer = client.send(request.body(Bytes::new()).unwrap(), Duration::from_secs(10)).await;
            let status = answer.unwrap().status();
            assert_eq!(status, expected, "{common_name} {names:?} {basic:?}");
            let seen = bench.fake.seen.lock().unwrap().first().map(|seen| seen.requesting_entity.0.clone());
            assert_eq!(seen.is_some(), expected == 200, "{common_name} {names:?} {basic:?}");
            let is_b = names == ["urn:banyan:app:b"];
            let whom = if is_b { "/m2m/applications/b" } else { "/m2m/applications/a" };
            assert!(seen.is_none_or(|seen| seen == whom), "{common_name} {names:?}");
        }
        // What From says never changes whom a certificate speaks for.
        let request = http::Request::get(format!("https://localhost:{port}/m2m/scls")).header("From", "/m2m");
        let answer = client.send(request.body(Bytes::new()).unwrap(), Duration::from_secs(10)).await.unwrap();
        assert!(matches!(answer.status().as_u16(), 401 | 403), "{common_name} {names:?}");
    }
}

/// security.md 8, test 8.
#[tokio::test]
async fn replaced_files_count_for_the_next_connection_and_no_other() {
    let keys = Keys::new();
    keys.revoke(&[]);
    keys.issue("other", CLIENT + 1);
    let tls = watched(&keys, Some(keys.clients(Some("revoked.pem"))));
    let server = Server { channel: tls, ..Server::default() };
    let bench = Bench::start(server, Config::new(scl()), ByCertificate).await;
    let uri = format!("https://localhost:{}/m2m/scls", bench.address.port());
    let ask = |client: &Client| get_status(client.clone(), uri.clone());
    let session = keys.client("client");
    assert_eq!(ask(&session).await, Some(200));

    // The client is revoked: its session goes on, it makes no other; others do.
    keys.revoke(&[CLIENT]);
    assert_eq!(ask(&session).await, Some(200));
    assert_eq!(ask(&keys.client("client")).await, None);
    assert_eq!(ask(&keys.client("other")).await, Some(200));

    // A list that makes no sense revokes the revocation of nobody, and locks nobody out.
    keys.write("revoked.pem", "nothing\n");
    assert_eq!(ask(&keys.client("client")).await, None);
    assert_eq!(ask(&keys.client("other")).await, Some(200));
    fs::remove_file(keys.path("revoked.pem")).unwrap();
    assert_eq!(ask(&keys.client("client")).await, None);
    assert_eq!(ask(&keys.client("other")).await, Some(200));
    keys.revoke(&[]);
    assert_eq!(ask(&keys.client("client")).await, Some(200));

    // A renewed certificate is shown, by a connection that is new.
    let before = shown(&keys, &bench).await;
    keys.issue("localhost", 2);
    let after = shown(&keys, &bench).await;
    assert_ne!(before, after);
    assert_eq!(after, shown(&keys, &bench).await);
    assert_eq!(ask(&session).await, Some(200));
}

/// Of a client's TLS session, made before its certificate was revoked, nothing is left to come back with.
#[tokio::test]
async fn a_revoked_client_does_not_come_back_by_an_old_session() {
    let keys = Keys::new();
    keys.revoke(&[]);
    let tls = watched(&keys, Some(keys.clients(Some("revoked.pem"))));
    let server = Server { channel: tls, ..Server::default() };
    let bench = Bench::start(server, Config::new(scl()), ByCertificate).await;
    // Keeps what it needs to resume.
    let config = tls::client(&keys.path("ca.pem"), Some(&keys.files("client"))).unwrap();
    assert!(connected(&config, &bench).await.is_ok());
    keys.revoke(&[CLIENT]);
    assert!(connected(&config, &bench).await.is_err());
}

/// A request over a connection of its own, made by this configuration.
async fn connected(config: &Arc<tls::ClientConfig>, bench: &Bench) -> io::Result<()> {
    let socket = TcpStream::connect(bench.address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await?;
    stream.write_all(b"GET /m2m/scls HTTP/1.1\r\nHost: h\r\nFrom: a\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// The certificate that the server shows to a new connection.
async fn shown(keys: &Keys, bench: &Bench) -> Vec<u8> {
    let config = tls::client(&keys.path("ca.pem"), Some(&keys.files("client"))).unwrap();
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// The status of the answer; `None`: no connection.
async fn get_status(client: Client, uri: String) -> Option<u16> {
    get(&client, uri).await.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn http_2_carries_requests_side_by_side() {
    let bench = Bench::open().await;
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| {
        let uri = format!("http://h{path}");
        let request = http::Request::get(uri).header("From", "a").body(Full::<Bytes>::default()).unwrap();
        sender.clone().send_request(request)
    };
    let slow = tokio::spawn(ask("/m2m/groups/slow"));
    let quick = ask("/m2m/applications/x").await.unwrap();
    assert_eq!((quick.version(), quick.status().as_u16()), (http::Version::HTTP_2, 200));
    let body = quick.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("meterReader"));
    bench.fake.gate.0.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(ask("/m2m/groups/hidden").await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_stop_lets_http_2_requests_in_flight_end() {
    let mut bench = Bench::open().await;
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://h/m2m/groups/slow").header("From", "a");
    let slow = tokio::spawn(sender.send_request(request.body(Full::<Bytes>::default()).unwrap()));
    while bench.fake.seen.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.stop.take().unwrap().send(()).unwrap();
    while TcpStream::connect(bench.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.fake.gate.0.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    // The server ends the connection, not the drain's time limit.
    bench.served.await.unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn tls_clients_choose_http_2_by_alpn() {
    let keys = Keys::new();
    let server = Server { channel: watched(&keys, None), ..Server::default() };
    let bench = Bench::start(server, Config::new(scl()), Open { scl: scl() }).await;
    let mut trusted = (*tls::client(&keys.path("ca.pem"), None).unwrap()).clone();
    trusted.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(trusted));
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/m2m/scls").header("From", "a");
    let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn an_error_names_the_file() {
    let keys = Keys::new();
    let absent = KeyFiles { certificate: keys.path("absent.pem"), ..keys.files("localhost") };
    let refused = tls::server(&absent, None).unwrap_err();
    assert!(
        matches!(refused, TlsError::Read { .. }) && refused.to_string().contains("absent.pem"),
        "{refused}"
    );

    let swapped = KeyFiles { key: keys.path("client.key"), ..keys.files("localhost") };
    let refused = tls::server(&swapped, None).unwrap_err();
    assert!(
        matches!(refused, TlsError::Identity { .. }) && refused.to_string().contains("client.key"),
        "{refused}"
    );

    let no_key = KeyFiles { key: keys.path("client.pem"), ..keys.files("localhost") };
    let refused = tls::server(&no_key, None).unwrap_err();
    assert!(
        matches!(refused, TlsError::Read { .. }) && refused.to_string().contains("client.pem"),
        "{refused}"
    );

    fs::write(keys.path("empty.pem"), "nothing\n").unwrap();
    let refused = tls::client(&keys.path("empty.pem"), None).unwrap_err();
    assert!(matches!(refused, TlsError::NoCertificate { .. }), "{refused}");

    let empty = ClientFiles { revoked: Some(keys.path("empty.pem")), ..keys.clients(None) };
    let refused = tls::server(&keys.files("localhost"), Some(&empty)).unwrap_err();
    assert!(matches!(refused, TlsError::NoRevocationList { .. }), "{refused}");
}
