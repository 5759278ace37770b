//! The client side of TLS-PSK, of a gateway or a test.

use super::suites::{PskError, SUITES, context, export, failed};
use crate::session::Key;
use banyan_model::security::IDENTITY_OCTETS_MAX;
use openssl::{
    ex_data::Index,
    ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion},
};
use parking_lot::Mutex;
use std::{fmt, io, pin::Pin, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

/// What a client offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectorConfig {
    /// Whether TLS 1.3 is offered beside 1.2. Default: yes.
    pub tls_1_3: bool,
    /// The suites of TLS 1.2 as OpenSSL names them; none: TLS 1.3 only. Default: [`SUITES`].
    pub suites: Vec<&'static str>,
}

impl Default for ConnectorConfig {
    fn default() -> ConnectorConfig {
        ConnectorConfig { tls_1_3: true, suites: SUITES.to_vec() }
    }
}

/// Connects to a server that knows the same key.
pub struct PskConnector {
    context: SslContext,
    secret: Index<Ssl, Shared>,
}

/// Of one handshake; taken away at its end.
type Shared = Arc<Mutex<Option<Secret>>>;

struct Secret {
    identity: Vec<u8>,
    key: Key,
}

impl PskConnector {
    /// One for any number of connections.
    ///
    /// # Errors
    /// [`PskError`].
    pub fn new(config: &ConnectorConfig) -> Result<PskConnector, PskError> {
        let secret = Ssl::new_ex_index::<Shared>()?;
        let none = config.suites.is_empty();
        let mut context = context(SslMethod::tls_client(), if none { SUITES } else { &config.suites })?;
        if none {
            context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
        }
        if !config.tls_1_3 {
            context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        }
        // A server of TLS 1.3 may pass over the key and show a certificate. None is trusted here.
        context.set_verify(SslVerifyMode::PEER);
        context.set_psk_client_callback(move |ssl, _hint, identity, key| {
            let shared = ssl.ex_data(secret).map(|shared| shared.lock());
            let Some(Some(secret)) = shared.as_deref() else { return Ok(0) };
            Ok(secret.write(identity, key).unwrap_or(0))
        });
        Ok(PskConnector { context: context.build(), secret })
    }

    /// Makes the channel and returns it with Kmc, which this and the other side share by it. The caller bounds the time.
    ///
    /// # Errors
    /// `InvalidInput`: the identity is empty, too long or has a zero in it, which OpenSSL cannot send. Otherwise the
    /// handshake failed: the connection broke, or the server does not know this identity with this key.
    pub async fn connect<S>(&self, socket: S, identity: &[u8], key: &Key) -> io::Result<(SslStream<S>, Key)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if identity.is_empty() || identity.len() > IDENTITY_OCTETS_MAX || identity.contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no PSK identity that can be sent"));
        }
        let secret = Secret { identity: identity.to_vec(), key: key.clone() };
        let shared = Arc::new(Mutex::new(Some(secret)));
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_ex_data(self.secret, Arc::clone(&shared));
        let mut stream = SslStream::new(ssl, socket)?;
        let connected = Pin::new(&mut stream).connect().await;
        *shared.lock() = None;
        connected.map_err(failed)?;
        let exporter = export(stream.ssl())?;
        Ok((stream, exporter))
    }
}

impl Secret {
    /// The identity with a zero behind it, and the key, if there is room for both.
    fn write(&self, identity: &mut [u8], key: &mut [u8]) -> Option<usize> {
        let (name, end) = identity.split_at_mut_checked(self.identity.len())?;
        *end.first_mut()? = 0;
        name.copy_from_slice(&self.identity);
        let secret = self.key.expose();
        key.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(secret.len())
    }
}

impl fmt::Debug for PskConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PskConnector")
    }
}
