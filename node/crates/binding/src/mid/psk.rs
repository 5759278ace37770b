//! The server side of TLS-PSK.
//!
//! A peer that shows several identities (TLS 1.3) is who the first one is that is known. Of one that shows none that is
//! known the first is given a stand-in key, made from it and a secret of this process: the handshake then goes the way
//! of a wrong key, alert for alert and at the same time, and nobody learns which nodes exist.

use super::{
    KeyLookup,
    gate::Gate,
    scan::Shown,
    suites::{LEGACY_SUITE, PskError, SUITES, context, export, failed},
};
use crate::{
    http::{Accepting, Channel, Stream},
    identity::Peer,
    session::{Key, Known, Session},
};
use aws_lc_rs::hmac;
use openssl::{
    ex_data::Index,
    ssl::{AlpnError, Ssl, SslContext, SslMethod, select_next_proto},
};
use parking_lot::Mutex;
use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep_until},
};
use tokio_openssl::SslStream;
use tracing::debug;

/// A handshake that failed is told so no sooner; well above what looking an identity up takes, well below what an honest
/// peer that mistyped its key would mind.
const FAILED_AFTER: Duration = Duration::from_millis(50);

/// What a server may choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PskConfig {
    /// Whether [`LEGACY_SUITE`] is taken from peers that have nothing better. Default: no.
    pub legacy: bool,
}

/// Makes sessions of connections whose peer has a key that `L` knows.
pub struct Psk<L> {
    context: SslContext,
    answers: Index<Ssl, Arc<Mutex<Answers>>>,
    lookup: L,
    stand_in: hmac::Key,
}

/// What the look-ups of one handshake said; OpenSSL's callback reads it.
#[derive(Default)]
struct Answers {
    found: Vec<Answer>,
    /// The one that OpenSSL took.
    used: Option<usize>,
}

struct Answer {
    identity: Vec<u8>,
    key: Key,
    /// `None`: the key is a stand-in.
    known: Option<Known>,
}

enum Step {
    Shown(Shown),
    Over,
}

impl<L: KeyLookup> Psk<L> {
    /// A listener's channel. The look-up's time is the peer's to wait, within the server's time-out for handshakes.
    ///
    /// # Errors
    /// [`PskError`].
    pub fn new(lookup: L, config: PskConfig) -> Result<Psk<L>, PskError> {
        let answers = Ssl::new_ex_index::<Arc<Mutex<Answers>>>()?;
        let mut suites = SUITES.to_vec();
        suites.extend(config.legacy.then_some(LEGACY_SUITE));
        let mut context = context(SslMethod::tls_server(), &suites)?;
        // For TLS 1.3, too: without a callback of its own OpenSSL asks this one, and uses the key with SHA-256.
        context.set_psk_server_callback(move |ssl, identity, key| {
            let answers = ssl.ex_data(answers).zip(identity);
            Ok(answers.map_or(0, |(answers, identity)| answers.lock().give(identity, key)))
        });
        context.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x02h2\x08http/1.1", offered).ok_or(AlpnError::NOACK)
        });
        let mut secret = zeroize::Zeroizing::new([0; banyan_model::security::KEY_OCTETS]);
        openssl::rand::rand_bytes(secret.as_mut())?;
        let stand_in = hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref());
        Ok(Psk { context: context.build(), answers, lookup, stand_in })
    }

    async fn handshake(&self, socket: TcpStream, address: SocketAddr) -> io::Result<(Box<dyn Stream>, Peer)> {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_ex_data(self.answers, Arc::clone(&answers));
        let mut stream = SslStream::new(ssl, Gate::new(socket))?;
        let mut shown = None;
        loop {
            let identities = match poll_fn(|context| step(&mut stream, context)).await {
                Ok(Step::Shown(identities)) => identities,
                Ok(Step::Over) => break,
                Err(failure) => {
                    part(stream.get_mut(), shown).await;
                    return Err(failure);
                }
            };
            shown.get_or_insert_with(Instant::now);
            let answer = self.look_up(identities, address).await;
            answers.lock().found.extend(answer);
        }
        stream.get_mut().open();
        // There are no certificates here: a handshake that succeeded used a key, and only a known one can be shared.
        let known = answers.lock().take().ok_or_else(|| io::Error::other("handshake without a known key"))?;
        let session = Session::new(known, export(stream.ssl())?);
        let peer = Peer { address, certificates: Vec::new(), secure: true, session: Some(Arc::new(session)) };
        Ok((Box::new(stream), peer))
    }

    /// The first that is known, or the first.
    async fn look_up(&self, identities: Shown, peer: SocketAddr) -> Option<Answer> {
        // Made in any case, so that whoever is not known has not to wait for it.
        let first = identities.first()?.clone();
        let stand_in = Key::from_slice(hmac::sign(&self.stand_in, &first).as_ref())?;
        for identity in identities {
            if let Some((key, known)) = self.lookup.key(&identity, peer).await {
                return Some(Answer { identity, key, known: Some(known) });
            }
        }
        Some(Answer { identity: first, key: stand_in, known: None })
    }
}

impl<L: KeyLookup> Channel for Psk<L> {
    fn accept(&self, socket: TcpStream, address: SocketAddr) -> Accepting<'_> {
        Box::pin(self.handshake(socket, address))
    }
}

impl<L> fmt::Debug for Psk<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk")
    }
}

/// Goes on with the handshake until it is over or an identity is shown.
fn step(stream: &mut SslStream<Gate<TcpStream>>, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
    let accepted = Pin::new(&mut *stream).poll_accept(context);
    if let Some(identities) = stream.get_mut().shown() {
        return Poll::Ready(Ok(Step::Shown(identities)));
    }
    accepted.map(|ended| ended.map(|()| Step::Over).map_err(failed))
}

/// Tells the peer that its handshake failed, at a time that says nothing of how long its identity was looked up: whole
/// [`FAILED_AFTER`]s after it was shown.
async fn part(gate: &mut Gate<TcpStream>, shown: Option<Instant>) {
    let Some((socket, alert)) = gate.parting() else { return };
    if let Some(shown) = shown {
        let steps = shown.elapsed().as_nanos() / FAILED_AFTER.as_nanos() + 1;
        sleep_until(shown + FAILED_AFTER * u32::try_from(steps).unwrap_or(u32::MAX)).await;
    }
    // A peer that has gone is told nothing.
    if let Err(gone) = socket.write_all(&alert).await {
        debug!(%gone, "a peer did not wait for its alert");
    }
}

impl Answers {
    /// Writes the key of the identity that OpenSSL asks for, and returns its octets; none if it was not chosen.
    fn give(&mut self, asked: &[u8], key: &mut [u8]) -> usize {
        let chosen = self.found.iter().position(|answer| as_c_string(&answer.identity) == asked);
        let Some(secret) = chosen.map(|index| self.found[index].key.expose()) else { return 0 };
        let Some(room) = key.get_mut(..secret.len()) else { return 0 };
        room.copy_from_slice(secret);
        self.used = chosen;
        secret.len()
    }

    /// Whose key was used. The keys are forgotten.
    fn take(&mut self) -> Option<Known> {
        let Answers { mut found, used } = std::mem::take(self);
        found.get_mut(used?)?.known.take()
    }
}

/// What OpenSSL's callback sees of an identity: a C string ends at the first zero.
fn as_c_string(identity: &[u8]) -> &[u8] {
    identity.split(|octet| *octet == 0).next().unwrap_or_default()
}
