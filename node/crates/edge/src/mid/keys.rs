//! The key of an identity, for a handshake: from the cache, or from the keys' group.
//!
//! A key that was found is kept for a minute at most, an identity that nobody has for five seconds, so that neither a
//! gateway that reconnects nor somebody who guesses costs a question each time. What is closed leaves the cache at once
//! (`closures`); while this edge does not hear what is closed, nothing kept counts. Handshakes that ask the same at the
//! same time ask once: the audit log has the address of the first.
//!
//! Invariants: each map has a bound, and a flood of unknown identities takes no place from known ones; a secret is wiped
//! when it is dropped.

use super::{
    KEYS_TIMEOUT, now,
    sessions::{Owner, Sessions},
};
use banyan_binding::{
    mid::KeyLookup,
    session::{Key, Known},
};
use banyan_client::{Client, RequestError, keys::ResolvedKey};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, warn};

const FOUND_FOR: Duration = Duration::from_secs(60);
const NOBODY_FOR: Duration = Duration::from_secs(5);
/// Entries of each map.
const ENTRIES_MAX: usize = 10_000;
/// How often a full map is looked through for what is past.
const SWEEP: Duration = Duration::from_secs(1);
/// Times that something may be closed during a look-up before it is given up.
const ATTEMPTS: u32 = 4;

/// Who asks, in the audit log, when it is this edge that wants to know and no peer.
const AGAIN: &str = "edge";

/// Who can be asked. `source`: for whom, for the audit log.
pub(crate) trait Resolve: Send + Sync + 'static {
    fn resolve(
        &self,
        identity: &[u8],
        source: &str,
    ) -> impl Future<Output = Result<Option<ResolvedKey>, RequestError>> + Send;
}

impl Resolve for Client {
    async fn resolve(&self, identity: &[u8], source: &str) -> Result<Option<ResolvedKey>, RequestError> {
        self.resolve_key(identity, source, Instant::now() + KEYS_TIMEOUT).await
    }
}

/// The look-up of keys.
pub(crate) struct Keys<R = Client> {
    asked: R,
    sessions: Arc<Sessions>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    found: HashMap<Arc<[u8]>, (ResolvedKey, Instant)>,
    nobody: HashMap<Arc<[u8]>, Instant>,
    /// Whoever asks holds the other end.
    asking: HashMap<Arc<[u8]>, watch::Receiver<()>>,
    swept: Option<Instant>,
}

enum Turn {
    Kept(Option<ResolvedKey>),
    Ask(watch::Sender<()>),
    Wait(watch::Receiver<()>),
}

impl<R: Resolve> Keys<R> {
    pub(crate) fn new(asked: R, sessions: Arc<Sessions>) -> Keys<R> {
        Keys { asked, sessions, cache: Mutex::default() }
    }

    /// Something was closed: what is kept is asked for again.
    pub(crate) fn forget(&self) {
        self.cache.lock().found.clear();
    }

    /// Whether an identity still has a key; not from the cache.
    pub(crate) async fn is_known(&self, identity: &[u8]) -> bool {
        matches!(self.asked.resolve(identity, AGAIN).await, Ok(Some(_)))
    }

    async fn find(&self, identity: &Arc<[u8]>, peer: SocketAddr) -> Option<ResolvedKey> {
        loop {
            let end = match self.turn(identity) {
                Turn::Kept(kept) => return kept,
                Turn::Wait(mut end) => {
                    // It only ever ends.
                    let _ = end.changed().await;
                    continue;
                }
                Turn::Ask(end) => Asking { keys: self, identity, _end: end },
            };
            let epoch = self.sessions.epoch();
            let answer = self.asked.resolve(identity, &peer.to_string()).await;
            let found = answer.unwrap_or_else(|failure| {
                warn!(%failure, "a key could not be looked up");
                None
            });
            // Not kept if it may have been closed meanwhile: whoever opens a session finds out.
            if self.sessions.epoch() == epoch {
                self.cache.lock().keep(identity, found.as_ref());
            }
            drop(end);
            return found;
        }
    }

    fn turn(&self, identity: &Arc<[u8]>) -> Turn {
        let is_current = self.sessions.is_current();
        let mut cache = self.cache.lock();
        if is_current && let Some((key, until)) = cache.found.get(identity) {
            if *until > Instant::now() && key.expires > now() {
                return Turn::Kept(Some(key.clone()));
            }
            cache.found.remove(identity);
        }
        if cache.nobody.get(identity).is_some_and(|until| *until > Instant::now()) {
            return Turn::Kept(None);
        }
        match cache.asking.entry(Arc::clone(identity)) {
            hash_map::Entry::Occupied(asking) => Turn::Wait(asking.get().clone()),
            hash_map::Entry::Vacant(free) => {
                let (end, ended) = watch::channel(());
                free.insert(ended);
                Turn::Ask(end)
            }
        }
    }
}

/// One who asks, until it has an answer or its handshake is gone.
struct Asking<'a, R> {
    keys: &'a Keys<R>,
    identity: &'a Arc<[u8]>,
    _end: watch::Sender<()>,
}

impl<R> Drop for Asking<'_, R> {
    fn drop(&mut self) {
        self.keys.cache.lock().asking.remove(self.identity);
    }
}

impl Cache {
    fn keep(&mut self, identity: &Arc<[u8]>, found: Option<&ResolvedKey>) {
        let at = Instant::now();
        if self.found.len().max(self.nobody.len()) >= ENTRIES_MAX
            && self.swept.is_none_or(|swept| at - swept > SWEEP)
        {
            self.swept = Some(at);
            self.found.retain(|_, (_, until)| *until > at);
            self.nobody.retain(|_, until| *until > at);
        }
        match found {
            Some(key) if self.found.len() < ENTRIES_MAX => {
                self.found.insert(Arc::clone(identity), (key.clone(), at + FOUND_FOR));
            }
            None if self.nobody.len() < ENTRIES_MAX => {
                self.nobody.insert(Arc::clone(identity), at + NOBODY_FOR);
            }
            _ => {}
        }
    }
}

/// What a listener asks.
pub(crate) struct Lookup<R = Client>(pub(crate) Arc<Keys<R>>);

impl<R: Resolve> KeyLookup for Lookup<R> {
    async fn key(&self, identity: &[u8], peer: SocketAddr) -> Option<(Key, Known)> {
        let Lookup(keys) = self;
        let identity: Arc<[u8]> = identity.into();
        for _ in 0..ATTEMPTS {
            let epoch = keys.sessions.epoch();
            let found = keys.find(&identity, peer).await?;
            if found.expires <= now() {
                return None;
            }
            let ResolvedKey { secret, key, node, scl, expires } = found;
            let owner = Owner { node, scl, key, expires, identity: Some(Arc::clone(&identity)) };
            if let Some(known) = keys.sessions.open(owner, epoch) {
                return Some((Key::from_slice(secret.as_slice())?, known));
            }
            debug!("something was closed during a look-up");
        }
        None
    }
}

#[cfg(test)]
mod tests;
