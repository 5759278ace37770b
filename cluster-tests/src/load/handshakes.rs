//! `load handshakes`: how many handshakes a second an edge makes, and what each costs it: with pre-shared keys suite by
//! suite, with certificates (both sides show one) by TLS 1.2 and 1.3.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_binding::mid::{ConnectorConfig, PskConnector, SUITES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::load::gateways::{channel, key, read};
use crate::load::observe::Observed;

/// Options of `load handshakes`.
#[derive(clap::Args)]
pub struct Options {
    /// The edge's `mid.listen_psk`.
    #[arg(long, default_value = "127.0.0.1:8445")]
    edge: String,
    /// Root keys that the cluster knows, as `load gateway-keys` wrote them.
    #[arg(long, required_unless_present = "certificates")]
    keys: Option<PathBuf>,
    /// The edge's `mid.listen_tls`.
    #[arg(long, default_value = "127.0.0.1:8446")]
    edge_tls: String,
    /// Folder with `ca.pem`, which signed the edge, and a device's `device.pem` and `device.key`.
    #[arg(long)]
    certificates: Option<PathBuf>,
    /// A name that the edge's certificate has.
    #[arg(long, default_value = "localhost")]
    name: String,
    /// Handshakes under way at the same time.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Seconds for each row.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Process id of the edge, whose CPU is reported.
    #[arg(long)]
    pid: u32,
}

/// Makes handshakes one after the other and prints a row for each suite, and for each version with certificates.
///
/// # Errors
/// The keys or files cannot be read, or a handshake fails.
pub async fn run(options: Options) -> Result<(), String> {
    if let Some(file) = &options.keys {
        let gateways: Arc<[_]> = read(file)?.into();
        for suite in SUITES.iter().copied().map(Some).chain([None]) {
            let connector = Arc::new(connector(suite)?);
            let (gateways, edge) = (Arc::clone(&gateways), options.edge.clone());
            let made = measure(&options, move |number| {
                let (connector, gateways) = (Arc::clone(&connector), Arc::clone(&gateways));
                let edge = edge.clone();
                async move {
                    let gateway = &gateways[number % gateways.len()];
                    let kmr = key(&gateway.kmr).ok_or("kmr: not 64 hexadecimal digits")?;
                    let identity = format!("kmr/{}/{}@mas.example.com", gateway.node, gateway.index);
                    channel(&connector, &edge, &identity, &kmr).await.map(drop)
                }
            });
            println!("{:<30} {}", suite.unwrap_or("TLS 1.3"), made.await?);
        }
    }
    if let Some(folder) = &options.certificates {
        for (what, version) in [("certificates, TLS 1.2", &TLS12), ("certificates, TLS 1.3", &TLS13)] {
            let client = Arc::new(client(folder, version)?);
            let (edge, name) = (options.edge_tls.clone(), options.name.clone());
            let made = measure(&options, move |_| certified(Arc::clone(&client), edge.clone(), name.clone()));
            println!("{what:<30} {}", made.await?);
        }
    }
    Ok(())
}

/// Makes them for a while: how many a second, and the edge's CPU for each.
async fn measure<F>(
    options: &Options,
    once: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<String, String>
where
    F: Future<Output = Result<(), String>> + Send,
{
    let observed = Observed { pids: vec![options.pid], admins: Vec::new() };
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let (before, began) = (observed.look().await.map_err(|e| e.to_string())?, Instant::now());
    let mut workers = JoinSet::new();
    for worker in 0..options.at_once {
        let once = once.clone();
        workers.spawn(async move {
            let mut made = 0_usize;
            while Instant::now() < until {
                once(worker + made).await?;
                made += 1;
            }
            Ok::<_, String>(made)
        });
    }
    let mut made = 0;
    while let Some(worker) = workers.join_next().await {
        made += worker.map_err(|e| e.to_string())??;
    }
    let took = began.elapsed().as_secs_f64();
    let after = observed.look().await.map_err(|e| e.to_string())?;
    let cpu = observed.spent(&before, &after).cpu.unwrap_or_default().as_secs_f64();
    let (rate, each) = (made as f64 / took, 1e6 * cpu / made as f64);
    Ok(format!("{rate:>6.0} handshakes/s, {each:>5.0} us of the edge's CPU each"))
}

/// Offers this suite of TLS 1.2 only, or TLS 1.3.
fn connector(suite: Option<&'static str>) -> Result<PskConnector, String> {
    let config = match suite {
        None => ConnectorConfig { suites: Vec::new(), ..ConnectorConfig::default() },
        Some(suite) => ConnectorConfig { tls_1_3: false, suites: vec![suite] },
    };
    PskConnector::new(&config).map_err(|error| error.to_string())
}

/// A client of one version that shows the device's certificate and never takes a session up again.
fn client(folder: &Path, version: &'static SupportedProtocolVersion) -> Result<ClientConfig, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{}/{what}: {error}", folder.display());
    let chain = |what: &str| -> Result<Vec<CertificateDer<'static>>, String> {
        let read = CertificateDer::pem_file_iter(folder.join(what)).and_then(Iterator::collect);
        read.map_err(|error| failed(what, &error))
    };
    let mut roots = RootCertStore::empty();
    for root in chain("ca.pem")? {
        roots.add(root).map_err(|error| failed("ca.pem", &error))?;
    }
    let key = PrivateKeyDer::from_pem_file(folder.join("device.key"));
    let key = key.map_err(|error| failed("device.key", &error))?;
    let mut client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain("device.pem")?, key)
        .map_err(|error| failed("device.pem", &error))?;
    client.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    Ok(client)
}

/// One handshake that the edge has ended, too: in TLS 1.3 it judges the client's certificate when the client is done.
async fn certified(client: Arc<ClientConfig>, edge: String, name: String) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{edge}: {error}");
    let socket = TcpStream::connect(&edge).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let name = name.clone().try_into().map_err(|_| format!("{name}: no name"))?;
    let mut stream = TlsConnector::from(client).connect(name, socket).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)?;
    match stream.read(&mut [0]).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(format!("{edge} said something without being asked")),
        Err(error) => Err(failed(error)),
    }
}
