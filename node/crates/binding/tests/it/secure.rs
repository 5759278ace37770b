//! TLS and HTTP/2.

use crate::bench::{Bench, scl};
use banyan_binding::{
    http::{Client, ClientConfig, Config, SendError, Server},
    identity::{Identity, Open, Peer},
    tls::{self, KeyFiles, TlsError},
};
use banyan_model::{Entity, Refusal, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{fs, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A CA with one certificate for localhost and one for a client, as files.
struct Keys {
    folder: TempDir,
}

impl Keys {
    fn new() -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
            fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Keys { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self, name: &str) -> KeyFiles {
        KeyFiles { certificate: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }
}

/// Believes a verified certificate and nothing else.
struct ByCertificate;

impl Identity for ByCertificate {
    fn identify(&self, peer: &Peer, _headers: &http::HeaderMap) -> Result<Entity, Refusal> {
        match peer.certificates.len() {
            0 => Err(Refusal::new(StatusCode::RequestingEntityMissing, "no certificate")),
            _ => Ok(Entity("/m2m/scls/by-certificate".to_owned())),
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
    let server =
        Server { tls: Some(tls::server(&keys.files("localhost"), None).unwrap()), ..Server::default() };
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
    let tls = tls::server(&keys.files("localhost"), Some(&keys.path("ca.pem"))).unwrap();
    let bench =
        Bench::start(Server { tls: Some(tls), ..Server::default() }, Config::new(scl()), ByCertificate).await;
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
    let server =
        Server { tls: Some(tls::server(&keys.files("localhost"), None).unwrap()), ..Server::default() };
    let bench = Bench::start(server, Config::new(scl()), Open { scl: scl() }).await;
    let mut trusted = (*tls::client(&keys.path("ca.pem"), None).unwrap()).clone();
    trusted.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(trusted));
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
}
