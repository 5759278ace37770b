//! Finds the PSK identities in what a client sends before it encrypts: `pre_shared_key` of the ClientHello in TLS 1.3
//! (RFC 8446 4.2.11), the ClientKeyExchange in TLS 1.2 (RFC 4279 2, RFC 5489 2; the identity comes first in both).
//!
//! It judges nothing. What it cannot read it stops looking at, and then nobody was found: OpenSSL reads the same octets
//! after it and refuses them, with the alert that they deserve.
//!
//! Invariants: any octets in any pieces are read without panic; one handshake names identities twice at most (a hello
//! of TLS 1.3, a key exchange of TLS 1.2), at most [`IDENTITIES_MAX`] each time.

use banyan_model::security::IDENTITY_OCTETS_MAX;

/// Identities that a ClientHello may offer. Of one that offers more none is looked up, and the handshake fails.
pub(super) const IDENTITIES_MAX: usize = 8;

const RECORD_HEADER: usize = 5;
const RECORD_OCTETS_MAX: usize = 1 << 14;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS_1_3: [u8; 2] = [3, 4];

/// The identities of one message, in the peer's order, without those that are empty or too long; at least one.
pub(super) type Shown = Vec<Vec<u8>>;

/// Where it stands in what the client sent.
#[derive(Debug, Default)]
pub(super) struct Scan {
    header: Vec<u8>,
    kind: u8,
    /// Octets of the record that are still to come.
    left: usize,
    /// The handshake message that is not complete yet.
    message: Vec<u8>,
    hellos: u8,
    ended: bool,
}

impl Scan {
    /// Reads on, and returns what the messages that these octets complete show.
    pub(super) fn read(&mut self, mut octets: &[u8]) -> Vec<Shown> {
        let mut found = Vec::new();
        while !self.ended && !octets.is_empty() {
            let wanted = if self.left == 0 { RECORD_HEADER - self.header.len() } else { self.left };
            let part;
            (part, octets) = octets.split_at(wanted.min(octets.len()));
            if self.left == 0 {
                self.header.extend_from_slice(part);
                self.begin_record();
            } else {
                self.left -= part.len();
                if self.kind == HANDSHAKE {
                    self.message.extend_from_slice(part);
                    self.messages(&mut found);
                }
            }
        }
        found
    }

    fn begin_record(&mut self) {
        let &[kind, major, _, high, low] = self.header.as_slice() else { return };
        self.header.clear();
        self.kind = kind;
        self.left = usize::from(u16::from_be_bytes([high, low]));
        let plain = matches!(kind, CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE);
        self.ended = !plain || major != 3 || self.left == 0 || self.left > RECORD_OCTETS_MAX;
    }

    fn messages(&mut self, found: &mut Vec<Shown>) {
        while !self.ended
            && let Some(&[kind, high, middle, low]) = self.message.first_chunk()
        {
            let end = 4 + u32::from_be_bytes([0, high, middle, low]) as usize;
            let Some(body) = self.message.get(4..end) else { return };
            match kind {
                // A second one answers a HelloRetryRequest and shows what the first one showed.
                CLIENT_HELLO if self.hellos < 2 => {
                    self.hellos += 1;
                    if self.hellos == 1 {
                        found.extend(hello(body));
                    }
                }
                CLIENT_KEY_EXCHANGE => {
                    found.extend(key_exchange(body));
                    self.ended = true;
                }
                _ => self.ended = true,
            }
            self.message.drain(..end);
        }
    }
}

fn key_exchange(body: &[u8]) -> Option<Shown> {
    shown(vec![Reader(body).list16()?])
}

/// What a ClientHello offers; nothing if it does not offer TLS 1.3 as well.
fn hello(body: &[u8]) -> Option<Shown> {
    let mut hello = Reader(body);
    let (_version, _random) = (hello.take(2)?, hello.take(32)?);
    let (_session, _suites, _compressions) = (hello.list8()?, hello.list16()?, hello.list8()?);
    let mut extensions = Reader(hello.list16()?);
    let (mut offers_1_3, mut identities) = (false, None);
    while !extensions.0.is_empty() {
        let (kind, content) = (extensions.u16()?, extensions.list16()?);
        match kind {
            SUPPORTED_VERSIONS => {
                offers_1_3 = Reader(content).list8()?.chunks(2).any(|version| version == TLS_1_3);
            }
            PRE_SHARED_KEY => identities = Some(offered(Reader(content).list16()?)?),
            _ => {}
        }
    }
    offers_1_3.then(|| shown(identities?))?
}

fn offered(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut list = Reader(list);
    let mut identities = Vec::new();
    while !list.0.is_empty() {
        identities.push(list.list16()?);
        let _ticket_age = list.take(4)?;
        if identities.len() > IDENTITIES_MAX {
            return None;
        }
    }
    Some(identities)
}

fn shown(identities: Vec<&[u8]>) -> Option<Shown> {
    let fits = |identity: &&[u8]| (1..=IDENTITY_OCTETS_MAX).contains(&identity.len());
    let shown: Shown = identities.into_iter().filter(fits).map(<[u8]>::to_vec).collect();
    (!shown.is_empty()).then_some(shown)
}

/// Takes parts from the front, none of which is longer than what is there.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(octets)?;
        self.0 = rest;
        Some(part)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn list8(&mut self) -> Option<&'a [u8]> {
        let octets = self.take(1)?[0];
        self.take(octets.into())
    }

    fn list16(&mut self) -> Option<&'a [u8]> {
        let octets = self.u16()?;
        self.take(octets.into())
    }
}

#[cfg(test)]
mod tests;
