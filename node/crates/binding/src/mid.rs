//! The secure channel of mId with pre-shared keys (TS 102 690 clause 8): TLS-PSK with Kmr or Kmc.

use crate::session::{Key, Known};

/// Knows keys by the PSK identity that a peer shows.
pub trait KeyLookup: Send + Sync + 'static {
    /// The key of an identity as it came (at most 128 octets, perhaps no UTF-8) and whose it is. `None`: nobody's, or
    /// its life has ended, or it was revoked; the peer must not be able to tell which. It may take its time: only the
    /// handshake that asks waits, and gives up after its own time-out.
    fn key(&self, identity: &[u8]) -> impl Future<Output = Option<(Key, Known)>> + Send;
}
