//! The calling side: notifications to contacts, and whoever else here has to speak HTTP to the outside.
//!
//! Contacts are chosen by subscribers, so the connector can be told which addresses it may reach at all; the check is
//! made on the resolved address, where a name cannot lie. Redirects are not followed for the same reason.

mod connector;
mod uplink;

pub use uplink::{Connecting, UPLINK_TIMEOUT, Uplink};

use bytes::{Bytes, BytesMut};
use connector::Connector;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig as TlsConfig;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Which addresses may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    /// All of them.
    #[default]
    Any,
    /// None that is loopback, link-local (cloud metadata is there), unspecified, multicast or broadcast.
    Routable,
    /// As `Routable`, and none of the private ranges either.
    Public,
}

/// How the client calls.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Trust for `https` contacts; without it they are refused.
    pub tls: Option<Arc<TlsConfig>>,
    /// Which addresses may be called.
    pub reach: Reach,
    /// The way to the authorities that it covers; none of the above counts for them.
    pub uplink: Option<Arc<dyn Uplink>>,
    /// TCP connect and TLS handshake. Default 5 s.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept. Default 30 s.
    pub idle_timeout: Duration,
    /// Idle connections kept for one host. Default 16.
    pub idle_per_host_max: usize,
    /// Octets of an answer's body. Default 4 MiB.
    pub answer_bytes_max: usize,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            tls: None,
            reach: Reach::Any,
            uplink: None,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            idle_per_host_max: 16,
            answer_bytes_max: 4 << 20,
        }
    }
}

/// Why no answer came back.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not `http(s)://host...`: asking again cannot help.
    #[error("not an http or https address with a host: {uri}")]
    Address {
        /// As given.
        uri: String,
    },
    /// No connection or a broken one. The request may have arrived.
    #[error("{}", chain(.0))]
    Transport(#[source] legacy::Error),
    /// The answer broke off. The request did arrive.
    #[error("the answer broke off")]
    Answer(#[source] hyper::Error),
    /// The answer is larger than [`ClientConfig::answer_bytes_max`].
    #[error("the answer has more than {bytes_max} octets")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// No whole answer in time. The request may have arrived.
    #[error("no answer within {waited:?}")]
    Timeout {
        /// How long it was waited for.
        waited: Duration,
    },
}

/// hyper's text alone ("client error (Connect)") hides the one thing an operator asks for.
fn chain(error: &legacy::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// An HTTP/1.1 client over pooled keep-alive connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pool: legacy::Client<Connector, Full<Bytes>>,
    answer_bytes_max: usize,
}

impl Client {
    /// A client with no connections yet.
    pub fn new(config: ClientConfig) -> Client {
        let connector = Connector::new(config.tls, config.reach, config.uplink, config.connect_timeout);
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(config.idle_per_host_max)
            .build(connector);
        Client { pool, answer_bytes_max: config.answer_bytes_max }
    }

    /// Sends a request with an absolute URI and reads the whole answer, both within `limit`.
    pub async fn send(&self, request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, SendError> {
        let uri = request.uri();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(SendError::Address { uri: uri.to_string() });
        }
        let exchange = self.exchange(request.map(Full::new));
        timeout(limit, exchange).await.unwrap_or(Err(SendError::Timeout { waited: limit }))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, SendError> {
        let (head, mut body) = self.pool.request(request).await.map_err(SendError::Transport)?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(SendError::Answer)?.into_data() else { continue };
            if bytes.len() + data.len() > self.answer_bytes_max {
                return Err(SendError::TooLarge { bytes_max: self.answer_bytes_max });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Response::from_parts(head, bytes.freeze()))
    }
}
