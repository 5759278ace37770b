//! The secure channel of mId with pre-shared keys (TS 102 690 clause 8): TLS-PSK with Kmr or Kmc.
//!
//! OpenSSL does the handshake, and does nothing else in this house (decision 22). It asks for keys in synchronous
//! callbacks; so that none of them waits, [`Psk`] reads the identity that a peer shows before OpenSSL does, asks
//! [`KeyLookup`], and lets OpenSSL go on when the answer is there. [`PskConnector`] is the other side, of a gateway.
//!
//! Invariants: without a key of [`KeyLookup`]'s no handshake succeeds; whose key it was is what the session says; a
//! peer cannot tell an identity that nobody has from a wrong key.

mod gate;
mod psk;
mod psk_connector;
mod scan;
mod suites;

pub use psk::{Psk, PskConfig};
pub use psk_connector::{ConnectorConfig, PskConnector};
pub use suites::{LEGACY_SUITE, PskError, SUITES, SUITES_1_3};

use crate::session::{Key, Known};
use std::net::SocketAddr;

/// Label of the exporter (RFC 5705) that makes Kmc from a service connection, without a context.
pub const CONNECTION_LABEL: &str = "EXPORTER-ETSI-TC-M2M-Connection";

/// Knows keys by the PSK identity that a peer shows.
pub trait KeyLookup: Send + Sync + 'static {
    /// The key of an identity as it came (1 to 128 octets, perhaps no UTF-8) and whose it is. `None`: nobody's, or
    /// its life has ended, or it was revoked; the peer must not be able to tell which. It may take its time: only the
    /// handshake that asks waits, and gives up after its own time-out. `peer`: who shows it.
    fn key(&self, identity: &[u8], peer: SocketAddr) -> impl Future<Output = Option<(Key, Known)>> + Send;
}
