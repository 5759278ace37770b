//! What a secure channel on mId proved, whichever library did the handshake (TS 102 690 clause 8).
//!
//! The channel proves the M2M node; the SCL is the one that the record of its key names. Nothing above this room knows
//! how the handshake went.

use banyan_model::{
    Timestamp,
    security::{KEY_OCTETS, KeyRef, M2mNodeId},
};
use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
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
    /// The key that proved it.
    pub key: KeyRef,
    /// 32 octets of the TLS exporter (RFC 5705) under the listener's label, without a context: Kmr on the bootstrap
    /// listener (`EXPORTER-ETSI-TC-M2M-Bootstrap`), Kmc on the others (`EXPORTER-ETSI-TC-M2M-Connection`).
    pub exporter: Key,
    /// When the key's life ends, and with it the session.
    pub expires: Timestamp,
    /// Turns true when the key is revoked or the session ends otherwise: the connection is closed at once.
    pub closed: watch::Receiver<bool>,
    /// As the key record had it at the handshake.
    known_scl: Option<String>,
    connection: OnceLock<(Connection, Option<String>)>,
    /// Somebody makes on this channel what can be made there once.
    making: AtomicBool,
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
            let _ = connection.set((Connection { id, index }, None));
        }
        let making = AtomicBool::new(false);
        Session { node, key, exporter, expires, closed, known_scl: scl, connection, making }
    }

    /// The sclId that the key record allows to this node, as it was said last; `None`: none yet (bootstrap).
    pub fn scl(&self) -> Option<&str> {
        let connected = self.connection.get().and_then(|(_, scl)| scl.as_deref());
        connected.or(self.known_scl.as_deref())
    }

    /// Begins what can be made once on a channel, as its exporter gives one key: a root key or a service connection.
    /// `None`: it was made, or is being made. Dropped without [`Making::made`], it may be begun again.
    pub fn make(&self) -> Option<Making<'_>> {
        let begun = self.connection.get().is_none() && !self.making.swap(true, Ordering::AcqRel);
        begun.then_some(Making(Some(self)))
    }

    /// The service connection that this channel carries; without one it may carry nothing else than setting it up.
    pub fn connection(&self) -> Option<Connection> {
        self.connection.get().map(|(connection, _)| *connection)
    }

    /// The service connection was set up on this channel, for the SCL of this id. `false`: it had one already.
    pub fn connected(&self, connection: Connection, scl: String) -> bool {
        self.connection.set((connection, Some(scl))).is_ok()
    }
}

/// See [`Session::make`].
#[derive(Debug)]
pub struct Making<'a>(Option<&'a Session>);

impl Making<'_> {
    /// It is made; there will be no other.
    pub fn made(mut self) {
        self.0 = None;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.making.store(false, Ordering::Release);
        }
    }
}

/// What is known of whoever has a key.
#[derive(Clone, Debug)]
pub struct Known {
    /// See [`Session::node`].
    pub node: M2mNodeId,
    /// The sclId that the key record allows to this node, if it has one.
    pub scl: Option<String>,
    /// See [`Session::key`].
    pub key: KeyRef,
    /// See [`Session::expires`].
    pub expires: Timestamp,
    /// See [`Session::closed`].
    pub closed: watch::Receiver<bool>,
}
