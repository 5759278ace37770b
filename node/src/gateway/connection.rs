//! Service connection with Kmr, and the channel of mId with the Kmc that comes of it (security.md 4).
//!
//! A channel made with Kmr does nothing but set the service connection up: `POST /m2m/connection` is answered with a
//! connectionParamSet, whose key, wrapped with Kmr, must be the one that this side took from the TLS exporter. Whatever
//! else goes to the NSCL goes over channels made with Kmc, until its life ends or an edge refuses it; then Kmr again.
//!
//! Invariants: one service connection is set up at a time, whoever else needs one waits for it; a Kmc that was not
//! confirmed by the answer is never used; no key is ever in an error or a log line.

use super::uplink::{Secure, Securing, tcp};
use crate::clock;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use banyan_binding::{
    http::{Stream, response},
    mid::PskConnector,
    session::Key,
};
use banyan_codec::Limits;
use banyan_model::{
    Body, StatusCode, Timestamp, Value,
    security::{KEY_OCTETS, KeyRef, M2mNodeId, PskIdentity},
    value::Struct,
};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{fmt, io, pin::Pin, sync::Arc};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};
use zeroize::Zeroizing;

/// What [`Handshake::shake`] returns: the channel, and 32 octets of its exporter.
pub type Shaking<'a> = Pin<Box<dyn Future<Output = io::Result<(Box<dyn Stream>, Key)>> + Send + 'a>>;

/// Makes TLS channels with pre-shared keys; their exporter is that of service connections.
pub trait Handshake: fmt::Debug + Send + Sync + 'static {
    /// Makes a channel of a TCP connection.
    fn shake(&self, socket: TcpStream, identity: PskIdentity, key: Key) -> Shaking<'_>;
}

impl Handshake for Arc<PskConnector> {
    fn shake(&self, socket: TcpStream, identity: PskIdentity, key: Key) -> Shaking<'_> {
        Box::pin(async move {
            let (stream, exporter) = self.connect(socket, identity.to_string().as_bytes(), &key).await?;
            Ok((Box::new(stream) as Box<dyn Stream>, exporter))
        })
    }
}

/// M2M Root Key of this node.
#[derive(Clone, Debug)]
pub struct RootKey {
    /// M2M-Node-ID.
    pub node: M2mNodeId,
    /// securityKmrIndex.
    pub index: u32,
    /// FQDN of the MAS that knows it.
    pub mas: String,
    /// securityLifetime: when its life ends; `None`: the operator did not say.
    pub expires: Option<Timestamp>,
    /// Kmr.
    pub key: Key,
}

/// M2M Connection Key.
#[derive(Clone, Debug)]
struct ConnectionKey {
    name: KeyRef,
    key: Key,
    expires: Timestamp,
}

/// Why there is no service connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The edge answered something else.
    #[error("the service connection was refused: {status:?} {info}")]
    Refused {
        /// The answer.
        status: StatusCode,
        /// additionalInfo.
        info: String,
    },
    /// The answer is no connectionParamSet.
    #[error("{0}: missing in connectionParamSet, or not what it should be")]
    Answer(&'static str),
    /// The key in the answer is not the one of the exporter: somebody is between us, or it is another key.
    #[error("securityEncryptedM2MKey: not the key that this side has")]
    OtherKey,
    /// The key belongs to another SCL.
    #[error("sclId: the key is that of {0:?}, scl_id must be the same")]
    OtherScl(String),
    /// No channel can be made with the root key.
    #[error("the root key was refused")]
    RootRefused(#[source] io::Error),
}

/// Whether the root key is not, or no longer, good for anything.
pub(super) fn is_root_refused(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(
            ConnectionError::RootRefused(_) | ConnectionError::Refused { status: StatusCode::Forbidden, .. }
        )
    )
}

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// AES key wrap adds eight octets (RFC 3394).
const WRAPPED_OCTETS: usize = KEY_OCTETS + 8;

/// Channels of mId by service connections.
pub struct Connected<H> {
    handshake: H,
    root: RootKey,
    scl_id: String,
    /// FQDN of the NSCL.
    nscl: String,
    current: Mutex<Option<ConnectionKey>>,
    /// One set-up at a time.
    setting_up: Semaphore,
}

impl<H: Handshake> Connected<H> {
    /// For the SCL `scl_id`, whose node has this root key, at the NSCL of this FQDN.
    pub fn new(handshake: H, root: RootKey, scl_id: &str, nscl: &str) -> Connected<H> {
        Connected {
            handshake,
            root,
            scl_id: scl_id.to_owned(),
            nscl: nscl.to_owned(),
            current: Mutex::new(None),
            setting_up: Semaphore::new(1),
        }
    }

    async fn channel(&self, edge: &str) -> io::Result<Box<dyn Stream>> {
        if let Some(stream) = self.with_current(edge).await? {
            return Ok(stream);
        }
        let _alone = self.setting_up.acquire().await.map_err(io::Error::other)?;
        // Somebody else may have set one up meanwhile.
        if let Some(stream) = self.with_current(edge).await? {
            return Ok(stream);
        }
        let fresh = self.set_up(edge).await.inspect_err(|error| {
            if error.get_ref().is_some_and(|inner| inner.is::<ConnectionError>()) {
                tracing::warn!(edge, %error, "no service connection");
            }
        })?;
        tracing::info!(edge, connection = %fresh.name, "service connection set up");
        *self.current.lock() = Some(fresh.clone());
        self.with(edge, &fresh).await
    }

    /// A channel with the Kmc that there is; `None`: there is none, or not any more.
    async fn with_current(&self, edge: &str) -> io::Result<Option<Box<dyn Stream>>> {
        let known = self.current.lock().clone().filter(|known| clock::now() < known.expires);
        let Some(known) = known else { return Ok(None) };
        let socket = tcp(edge).await?;
        match self.handshake.shake(socket, self.identity(&known), known.key.clone()).await {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(refused) => {
                tracing::info!(edge, connection = %known.name, %refused, "an edge did not take the connection key");
                let mut current = self.current.lock();
                if current.as_ref().is_some_and(|current| current.name == known.name) {
                    *current = None;
                }
                Ok(None)
            }
        }
    }

    async fn with(&self, edge: &str, key: &ConnectionKey) -> io::Result<Box<dyn Stream>> {
        let socket = tcp(edge).await?;
        Ok(self.handshake.shake(socket, self.identity(key), key.key.clone()).await?.0)
    }

    fn identity(&self, key: &ConnectionKey) -> PskIdentity {
        PskIdentity { key: key.name.clone(), authority: self.nscl.clone() }
    }

    async fn set_up(&self, edge: &str) -> io::Result<ConnectionKey> {
        let RootKey { node, index, mas, key, .. } = &self.root;
        let identity =
            PskIdentity { key: KeyRef::Kmr { node: *node, index: *index }, authority: mas.clone() };
        let socket = tcp(edge).await?;
        let shaken = self.handshake.shake(socket, identity, key.clone()).await;
        let (stream, exporter) = shaken.map_err(|failure| match failure.kind() {
            // An alert; any other kind says that the connection broke.
            io::ErrorKind::Other => io::Error::other(ConnectionError::RootRefused(failure)),
            _ => failure,
        })?;
        let answer = response(post(stream, "/m2m/connection", mas).await?, &Limits::default());
        let Body::Message(params) = answer.body else {
            let (status, info) = (answer.status, answer.info);
            return Err(io::Error::other(ConnectionError::Refused { status, info }));
        };
        confirmed(&params, &self.root, &exporter, &self.scl_id).map_err(io::Error::other)
    }
}

impl<H: Handshake> Secure for Connected<H> {
    fn connect<'a>(&'a self, edge: &'a str) -> Securing<'a> {
        Box::pin(self.channel(edge))
    }
}

impl<H: fmt::Debug> fmt::Debug for Connected<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("root", &self.root)
            .field("nscl", &self.nscl)
            .finish_non_exhaustive()
    }
}

/// The one request of a channel, which ends with it.
pub(super) async fn post(
    stream: Box<dyn Stream>,
    path: &str,
    host: &str,
) -> io::Result<http::Response<Bytes>> {
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/xml")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    Ok(http::Response::from_parts(head, body.to_bytes()))
}

/// The Kmc of an answer, if it is the one that the exporter says.
fn confirmed(
    params: &Struct,
    root: &RootKey,
    exporter: &Key,
    scl_id: &str,
) -> Result<ConnectionKey, ConnectionError> {
    let number = |name: &'static str| match params.get(name) {
        Some(Value::Long(number)) => Ok(*number),
        _ => Err(ConnectionError::Answer(name)),
    };
    if params.name != "ConnectionParamSet" {
        return Err(ConnectionError::Answer("connectionParamSet"));
    }
    let connection = number("securityConnectionId")?.cast_unsigned();
    let index = number("securityKmcIndex")?;
    let index = u32::try_from(index).map_err(|_| ConnectionError::Answer("securityKmcIndex"))?;
    let Some(Value::Datetime(expires)) = params.get("securityLifetime") else {
        return Err(ConnectionError::Answer("securityLifetime"));
    };
    match params.text("sclId") {
        Some(own) if own == scl_id => {}
        Some(other) => return Err(ConnectionError::OtherScl(other.to_owned())),
        None => return Err(ConnectionError::Answer("sclId")),
    }
    let Some(Value::Binary { bytes, .. }) = params.get("securityEncryptedM2MKey") else {
        return Err(ConnectionError::Answer("securityEncryptedM2MKey"));
    };
    match unwrapped(&root.key, bytes) {
        Some(key) if key == *exporter => {}
        _ => return Err(ConnectionError::OtherKey),
    }
    Ok(ConnectionKey { name: KeyRef::Kmc { connection, index }, key: exporter.clone(), expires: *expires })
}

/// RFC 3394: a key under the key that wraps it.
pub(super) fn unwrapped(wrapping: &Key, wrapped: &[u8]) -> Option<Key> {
    if wrapped.len() != WRAPPED_OCTETS {
        return None;
    }
    let kek = AesKek::new(&AES_256, wrapping.expose()).ok()?;
    let mut secret = Zeroizing::new([0; KEY_OCTETS]);
    Key::from_slice(kek.unwrap(wrapped, secret.as_mut_slice()).ok()?)
}

#[cfg(test)]
mod tests;
