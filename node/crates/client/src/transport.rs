//! Channels to nodes, plain or by mutual TLS.
//!
//! A certificate names its role, not its host: a node's is for [`NODE_NAME`], an edge's for [`EDGE_NAME`], both from
//! the cluster's own CA. So an address may change without a new certificate, and whoever answers a client has proved
//! that it is a node.

use std::{io, path::PathBuf, time::Duration};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// The DNS name in the certificate of every node.
pub const NODE_NAME: &str = "banyan-node";
/// The DNS name in the certificate of every edge.
pub const EDGE_NAME: &str = "banyan-edge";

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Files of mutual TLS, PEM. They are read for every new connection, so a renewed certificate needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the cluster's CA.
    pub ca: PathBuf,
    /// Our certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Not `host:port`.
    #[error("not an address: {0:?}")]
    Address(String),
    /// A TLS file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Refused, unreachable, or not what the certificates say.
    #[error("no connection")]
    Connection(#[from] tonic::transport::Error),
}

impl Tls {
    fn client(&self) -> Result<ClientTlsConfig, TransportError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| TransportError::File { path: path.clone(), source })
        };
        Ok(ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.ca)?))
            .identity(Identity::from_pem(read(&self.certificate)?, read(&self.key)?))
            .domain_name(NODE_NAME))
    }
}

/// How a node at `host:port` is reached. Nothing is connected yet.
///
/// # Errors
/// [`TransportError::Address`], [`TransportError::File`], or a certificate that cannot be used.
pub fn endpoint(address: &str, tls: Option<&Tls>) -> Result<Endpoint, TransportError> {
    // tonic chooses TLS by the scheme; a plain client of a TLS server is told no more than "operation was canceled".
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .ok()
        .filter(|endpoint| endpoint.uri().port().is_some() && endpoint.uri().path() == "/")
        .ok_or_else(|| TransportError::Address(address.to_owned()))?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(match tls {
        Some(tls) => endpoint.tls_config(tls.client()?)?,
        None => endpoint,
    })
}

/// Connects to the node at `host:port`: TCP, TLS and HTTP/2 are up when it returns.
///
/// # Errors
/// [`TransportError`].
pub async fn connect(address: &str, tls: Option<&Tls>) -> Result<Channel, TransportError> {
    let connecting = endpoint(address, tls)?;
    Ok(connecting.connect().await?)
}
