//! What a secure channel on mId proved, whichever library did the handshake (TS 102 690 clause 8).
//!
//! The channel proves the M2M node; the SCL is the one that the record of its key names. Nothing above this room knows
//! how the handshake went.

use banyan_model::{
    Timestamp,
    security::{KEY_OCTETS, KeyRef, M2mNodeId},
};
use std::{fmt, sync::OnceLock};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// A secret of 32 octets that is wiped when it is dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY_OCTETS]>);

impl Key {
    /// Keeps a secret.
    pub fn new(secret: [u8; KEY_OCTETS]) -> Key {
        Key(Zeroizing::new(secret))
    }

    /// Keeps the secret in a slice; `None` unless it has 32 octets.
    pub fn from_slice(secret: &[u8]) -> Option<Key> {
        let mut key = Key::new([0; KEY_OCTETS]);
        (secret.len() == KEY_OCTETS).then(|| key.0.copy_from_slice(secret))?;
        Some(key)
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; KEY_OCTETS] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A channel on mId whose other end is known.
#[derive(Debug)]
pub struct Session {
    /// The D/G M2M Node at the other end.
    pub node: M2mNodeId,
    /// The sclId that the key record allows to this node; `None`: none yet (bootstrap).
    pub scl: Option<String>,
    /// The key that proved it.
    pub key: KeyRef,
    /// 32 octets of the TLS exporter (RFC 5705) under the listener's label, without a context: Kmr on the bootstrap
    /// listener (`EXPORTER-ETSI-TC-M2M-Bootstrap`), Kmc on the others (`EXPORTER-ETSI-TC-M2M-Connection`).
    pub exporter: Key,
    /// When the key's life ends, and with it the session.
    pub expires: Timestamp,
    /// Turns true when the key is revoked or the session ends otherwise: the connection is closed at once.
    pub closed: watch::Receiver<bool>,
    connection: OnceLock<Connection>,
}

/// A service connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// securityConnectionId.
    pub id: u64,
    /// securityKmcIndex.
    pub index: u32,
}

impl Session {
    /// A session as its handshake ended. One that was made with Kmc belongs to its service connection already.
    pub fn new(known: Known, exporter: Key) -> Session {
        let Known { node, scl, key, expires, closed } = known;
        let connection = OnceLock::new();
        if let KeyRef::Kmc { connection: id, index } = key {
            let _ = connection.set(Connection { id, index });
        }
        Session { node, scl, key, exporter, expires, closed, connection }
    }

    /// The service connection that this channel carries; without one it may carry nothing else than setting it up.
    pub fn connection(&self) -> Option<Connection> {
        self.connection.get().copied()
    }

    /// The service connection was set up on this channel. `false`: it had one already.
    pub fn connected(&self, connection: Connection) -> bool {
        self.connection.set(connection).is_ok()
    }
}

/// What is known of whoever has a key.
#[derive(Clone, Debug)]
pub struct Known {
    /// See [`Session::node`].
    pub node: M2mNodeId,
    /// See [`Session::scl`].
    pub scl: Option<String>,
    /// See [`Session::key`].
    pub key: KeyRef,
    /// See [`Session::expires`].
    pub expires: Timestamp,
    /// See [`Session::closed`].
    pub closed: watch::Receiver<bool>,
}
