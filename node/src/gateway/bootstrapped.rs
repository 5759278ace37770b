//! Channels of mId for a node that gets its root key by bootstrap: the first one when it has none, another one when the
//! NSCL does not take the one that it has (security.md 3.1).
//!
//! Invariants: a key is on disk before it is used; one bootstrap at a time, with growing pauses until a channel was made,
//! so that a node that is barred asks seldom.

use super::{
    backoff::Backoff,
    bootstrap::bootstrap,
    connection::{Connected, Handshake, RootKey, is_root_refused},
    root_key::{self, RootKeyError},
    uplink::{Secure, Securing},
};
use crate::clock;
use banyan_binding::{http::Stream, tls::ClientConfig};
use banyan_model::Timestamp;
use parking_lot::Mutex;
use std::{error::Error, fmt, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Refusals in a row after which a key is given up: an edge that loses its cluster refuses for a while, too.
const REFUSALS: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Whom to ask for a root key, and with what.
#[derive(Clone, Debug)]
pub struct Msbf {
    /// `host:port`.
    pub address: String,
    /// The device's certificate, and whose the MSBF's may be.
    pub tls: Arc<ClientConfig>,
}

/// Channels of mId by service connections, with a root key by bootstrap.
pub struct Bootstrapped<H> {
    msbf: Msbf,
    /// Where the root key is kept.
    file: PathBuf,
    handshake: H,
    scl_id: String,
    /// FQDN of the NSCL.
    nscl: String,
    state: Mutex<State<H>>,
    /// One bootstrap at a time.
    bootstrapping: Semaphore,
}

struct State<H> {
    connected: Option<Arc<Connected<H>>>,
    /// When the life of its root key ends.
    expires: Option<Timestamp>,
    refusals: u32,
    backoff: Backoff,
    not_before: Timestamp,
}

impl<H: Handshake + Clone> Bootstrapped<H> {
    /// Reads the root key that is kept in `file`, if there is one.
    ///
    /// # Errors
    /// There is one, and it cannot be read.
    pub fn new(
        msbf: Msbf,
        file: PathBuf,
        handshake: H,
        scl_id: &str,
        nscl: &str,
    ) -> Result<Bootstrapped<H>, RootKeyError> {
        let state = State {
            connected: None,
            expires: None,
            refusals: 0,
            backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX),
            not_before: Timestamp(0),
        };
        let known = root_key::read(&file)?;
        let bootstrapped = Bootstrapped {
            msbf,
            file,
            handshake,
            scl_id: scl_id.to_owned(),
            nscl: nscl.to_owned(),
            state: Mutex::new(state),
            bootstrapping: Semaphore::new(1),
        };
        if let Some(root) = known {
            bootstrapped.take(root);
        }
        Ok(bootstrapped)
    }

    async fn channel(&self, edge: &str) -> io::Result<Box<dyn Stream>> {
        let connected = match self.known() {
            Some(connected) => connected,
            None => self.bootstrap().await?,
        };
        let channel = connected.connect(edge).await;
        let mut state = self.state.lock();
        match &channel {
            Ok(_) => {
                state.refusals = 0;
                state.backoff.succeeded();
            }
            Err(error) if is_root_refused(error) => {
                let is_this = state.connected.as_ref().is_some_and(|known| Arc::ptr_eq(known, &connected));
                state.refusals += u32::from(is_this);
                if is_this && state.refusals >= REFUSALS {
                    tracing::warn!("the root key is refused again and again: bootstrap for another one");
                    state.connected = None;
                }
            }
            Err(_) => {}
        }
        channel
    }

    fn known(&self) -> Option<Arc<Connected<H>>> {
        let state = self.state.lock();
        let lives = state.expires.is_none_or(|expires| clock::now() < expires);
        state.connected.clone().filter(|_| lives)
    }

    fn take(&self, root: RootKey) -> Arc<Connected<H>> {
        let expires = root.expires;
        let connected = Connected::new(self.handshake.clone(), root, &self.scl_id, &self.nscl);
        let connected = Arc::new(connected);
        let mut state = self.state.lock();
        state.connected = Some(Arc::clone(&connected));
        (state.expires, state.refusals) = (expires, 0);
        connected
    }

    async fn bootstrap(&self) -> io::Result<Arc<Connected<H>>> {
        let _alone = self.bootstrapping.acquire().await.map_err(io::Error::other)?;
        // Somebody else may have done it meanwhile.
        if let Some(connected) = self.known() {
            return Ok(connected);
        }
        {
            let mut state = self.state.lock();
            let now = clock::now();
            if now < state.not_before {
                return Err(io::Error::other("there is no root key, and the next bootstrap is due later"));
            }
            let pause = state.backoff.failed(rand::random());
            let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            state.not_before = Timestamp(now.0.saturating_add(pause));
        }
        let Msbf { address, tls } = &self.msbf;
        let root = bootstrap(address, Arc::clone(tls)).await.map_err(|error| {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(msbf = address, %error, why, "no bootstrap");
            io::Error::other(error)
        })?;
        let (file, kept) = (self.file.clone(), root.clone());
        let written = spawn_blocking(move || root_key::write(&file, &kept)).await;
        written.map_err(io::Error::other)?.map_err(io::Error::other)?;
        tracing::info!(msbf = address, node = %root.node, index = root.index, "bootstrapped");
        Ok(self.take(root))
    }
}

impl<H: Handshake + Clone> Secure for Bootstrapped<H> {
    fn connect<'a>(&'a self, edge: &'a str) -> Securing<'a> {
        Box::pin(self.channel(edge))
    }
}

impl<H> fmt::Debug for Bootstrapped<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bootstrapped").field("msbf", &self.msbf.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::connection::Shaking;
    use banyan_binding::{session::Key, tls};
    use banyan_model::security::{KEY_OCTETS, M2mNodeId, PskIdentity};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::{TcpListener, TcpStream};

    /// Takes no key at all.
    #[derive(Clone, Debug, Default)]
    struct Refusing(Arc<AtomicUsize>);

    impl Handshake for Refusing {
        fn shake(&self, _: TcpStream, _: PskIdentity, _: Key) -> Shaking<'_> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Err(io::Error::other("alert")) })
        }
    }

    #[tokio::test]
    async fn a_key_that_is_refused_again_and_again_is_given_up_and_bootstraps_are_rare() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let trusted = folder.path().join("trusted.pem");
        std::fs::write(&trusted, made.cert.pem()).expect("a file");
        let edge = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = edge.local_addr().expect("bound").to_string();
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let msbf = Msbf {
            address: gone.local_addr().expect("bound").to_string(),
            tls: tls::client(&trusted, None).expect("settings"),
        };
        drop(gone);
        let file = folder.path().join("kmr.toml");
        let (node, key) = (M2mNodeId([7; 16]), Key::new([1; KEY_OCTETS]));
        let root = RootKey { node, index: 1, mas: "mas".to_owned(), expires: None, key };
        root_key::write(&file, &root).expect("it is written");
        let shaken = Refusing::default();
        let channels =
            Bootstrapped::new(msbf, file.clone(), shaken.clone(), "gw", "nscl").expect("a key is there");
        for _ in 0..REFUSALS {
            let refused = channels.connect(&address).await.err().expect("refused");
            assert!(is_root_refused(&refused), "{refused}");
        }
        assert!(channels.known().is_none(), "it is given up");
        for _ in 0..2 {
            assert!(channels.connect(&address).await.is_err(), "nobody bootstraps");
        }
        let pause = channels.state.lock().not_before.0 - clock::now().0;
        assert!(pause > 0 && pause <= PAUSE_MIN.as_millis() as i64, "one attempt and its pause: {pause}");
        assert_eq!(shaken.0.load(Ordering::SeqCst), REFUSALS as usize);
        assert!(root_key::read(&file).expect("it is read").is_some(), "only another key replaces it");
    }
}
