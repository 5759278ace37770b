//! What proves a D/G M2M Node on mId: its id, the names of its keys, and how a TLS peer says which one it uses
//! (TS 102 690 clause 8; the PSK identity is ours, as nothing public fixes its form).
//!
//! Names only: no key is ever in these types.

use std::fmt;

/// Octets of Kmr and Kmc.
pub const KEY_OCTETS: usize = 32;
/// Octets of a PSK identity that are taken (RFC 4279 5.3).
pub const IDENTITY_OCTETS_MAX: usize = 128;

/// A bearer token of the cluster begins with this ...
pub const TOKEN_PREFIX: &str = "bny_";
/// ... and goes on with so many characters of base64url, 256 random bits.
pub const TOKEN_CHARACTERS: usize = 43;

/// Reads hexadecimal digits of either case into octets that the caller owns, and wipes if they are secret. `false`: they are
/// not exactly as many; what was read so far stands there.
#[must_use]
pub fn read_hex(text: &str, into: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != 2 * into.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    };
    for (octet, pair) in into.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = value(pair[0]) << 4 | value(pair[1]);
    }
    true
}

/// M2M-Node-ID: 16 octets (`securityM2MNodeId`), written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct M2mNodeId(pub [u8; 16]);

impl M2mNodeId {
    /// Reads 32 hexadecimal digits of either case.
    pub fn parse(text: &str) -> Option<M2mNodeId> {
        let mut id = [0; 16];
        read_hex(text, &mut id).then_some(M2mNodeId(id))
    }
}

impl fmt::Display for M2mNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for M2mNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which key a session was made with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyRef {
    /// M2M Root Key: of a node, by `securityKmrIndex`.
    Kmr {
        /// Whose.
        node: M2mNodeId,
        /// Which of its root keys.
        index: u32,
    },
    /// M2M Connection Key: of a service connection (`securityConnectionId`), by `securityKmcIndex`.
    Kmc {
        /// The connection.
        connection: u64,
        /// Which of its keys.
        index: u32,
    },
    /// A certificate, by its SHA-256.
    Certificate([u8; 32]),
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyRef::Kmr { node, index } => write!(f, "kmr/{node}/{index}"),
            KeyRef::Kmc { connection, index } => write!(f, "kmc/{connection:016x}/{index}"),
            KeyRef::Certificate(digest) => {
                write!(f, "certificate/")?;
                digest.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

/// A PSK identity in the form that Banyan gives out: `kmr/<node>/<index>@<mas>` or `kmc/<connection>/<index>@<nscl>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PskIdentity {
    /// [`KeyRef::Kmr`] or [`KeyRef::Kmc`].
    pub key: KeyRef,
    /// FQDN of the MAS or NSCL that knows the key.
    pub authority: String,
}

impl PskIdentity {
    /// Reads an identity of this form; hexadecimal digits of lower case only, numbers without leading zeros, so that a
    /// key has one name.
    pub fn parse(text: &str) -> Option<PskIdentity> {
        if text.len() > IDENTITY_OCTETS_MAX {
            return None;
        }
        let (name, authority) = text.split_once('@')?;
        let mut parts = name.split('/');
        let (kind, owner, index, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let index: u32 = index.parse().ok()?;
        let key = match kind {
            "kmr" => KeyRef::Kmr { node: M2mNodeId::parse(owner)?, index },
            "kmc" => KeyRef::Kmc { connection: u64::from_str_radix(owner, 16).ok()?, index },
            _ => return None,
        };
        let identity = PskIdentity { key, authority: authority.to_owned() };
        (!authority.is_empty() && identity.to_string() == text).then_some(identity)
    }
}

impl fmt::Display for PskIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_one_spelling() {
        for text in [
            "kmr/000102030405060708090a0b0c0d0e0f/7@mas.example.com",
            "kmc/00000000000000ff/1@nscl.example.com",
        ] {
            assert_eq!(PskIdentity::parse(text).map(|identity| identity.to_string()).as_deref(), Some(text));
        }
        for text in [
            "kmr/000102030405060708090A0B0C0D0E0F/7@mas",
            "kmr/000102030405060708090a0b0c0d0e0f/07@mas",
            "kmr/000102030405060708090a0b0c0d0e0f/+7@mas",
            "kmr/000102030405060708090a0b0c0d0e0f/4294967296@mas",
            "kmr/000102030405060708090a0b0c0d0e/7@mas",
            "kmc/ff/1@nscl",
            "kmc/00000000000000ff/1@",
            "kmc/00000000000000ff/1",
            "kma/00000000000000ff/1@nscl",
            "kmc/00000000000000ff/1/2@nscl",
            "",
        ] {
            assert_eq!(PskIdentity::parse(text), None, "{text}");
        }
        let long = format!("kmc/00000000000000ff/1@{}", "n".repeat(IDENTITY_OCTETS_MAX));
        assert_eq!(PskIdentity::parse(&long), None);
    }

    #[test]
    fn a_node_id_is_read_in_either_case_and_written_in_one() {
        let id = M2mNodeId::parse("000102030405060708090A0B0C0D0E0F").expect("32 digits");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(M2mNodeId::parse("+00102030405060708090a0b0c0d0e0f"), None);
        let all: String = (0..=u8::MAX).map(|octet| format!("{octet:02x}")).collect();
        let mut octets = [0; 256];
        assert!(
            read_hex(&all, &mut octets)
                && octets.iter().enumerate().all(|(at, octet)| at == usize::from(*octet))
        );
        assert!(!read_hex("0\u{e9}0", &mut [0; 2]), "as long in octets, and no digit");
    }
}
