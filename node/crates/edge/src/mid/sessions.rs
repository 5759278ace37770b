//! Every session on mId of this edge, from its handshake to its end, by the keys that it stands on and by node.
//!
//! A session ends when one of its keys is closed, at the end of their life, or at `max_session_age`, so that a revocation
//! bites even where nobody told of it; and when its connection is gone. There are no more than connections.
//!
//! Invariant: what was closed while a key was being looked up makes no session: `open` refuses what was asked in an
//! earlier epoch.

use super::now;
use banyan_binding::session::{Known, Session};
use banyan_client::keys::Closed;
use banyan_model::{
    Timestamp,
    security::{KeyRef, M2mNodeId},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// What has been closed is known as of now if the keys' group said so within this time.
const HEARD: Duration = Duration::from_secs(2);

/// The sessions of an edge.
#[derive(Debug)]
pub(crate) struct Sessions {
    age_max: Duration,
    inner: Mutex<Inner>,
}

/// Counts what was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Epoch(u64);

/// Whose a session is.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) node: M2mNodeId,
    pub(crate) scl: Option<String>,
    pub(crate) key: KeyRef,
    pub(crate) expires: Timestamp,
    /// What the peer showed, by which its key can be looked up again.
    pub(crate) identity: Option<Arc<[u8]>>,
}

#[derive(Debug, Default)]
struct Inner {
    epoch: u64,
    heard: Option<Instant>,
    last: u64,
    sessions: HashMap<u64, Entry>,
    by_key: HashMap<KeyRef, BTreeSet<u64>>,
    by_node: HashMap<M2mNodeId, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Entry {
    node: M2mNodeId,
    keys: Vec<KeyRef>,
    identity: Option<Arc<[u8]>>,
    close: Arc<watch::Sender<bool>>,
    until: watch::Sender<Instant>,
}

impl Sessions {
    pub(crate) fn new(age_max: Duration) -> Arc<Sessions> {
        Arc::new(Sessions { age_max, inner: Mutex::default() })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.inner.lock().epoch)
    }

    /// Whether it is known what has been closed up to now.
    pub(crate) fn is_current(&self) -> bool {
        self.inner.lock().heard.is_some_and(|heard| heard.elapsed() < HEARD)
    }

    /// The keys' group told all that it closed up to when it was asked.
    pub(crate) fn heard(&self, asked: Instant) {
        self.inner.lock().heard = Some(asked);
    }

    /// A session of somebody who was looked up in this epoch. `None`: something was closed since.
    pub(crate) fn open(self: &Arc<Self>, owner: Owner, epoch: Epoch) -> Option<Known> {
        let Owner { node, scl, key, expires, identity } = owner;
        let (close, closed) = watch::channel(false);
        let close = Arc::new(close);
        let (until, mut end) = watch::channel(ends(self.age_max, expires));
        let id = {
            let mut inner = self.inner.lock();
            if inner.epoch != epoch.0 {
                return None;
            }
            inner.last += 1;
            let id = inner.last;
            inner.by_key.entry(key.clone()).or_default().insert(id);
            inner.by_node.entry(node).or_default().insert(id);
            let close = Arc::clone(&close);
            inner.sessions.insert(id, Entry { node, keys: vec![key.clone()], identity, close, until });
            id
        };
        let sessions = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let end_at = *end.borrow_and_update();
                tokio::select! {
                    () = close.closed() => break,
                    () = sleep_until(end_at) => {
                        close.send_replace(true);
                        break;
                    }
                    changed = end.changed() => if changed.is_err() {
                        break;
                    },
                }
            }
            sessions.inner.lock().forget(id);
        });
        Some(Known { node, scl, key, expires, closed })
    }

    /// A session stands on its connection's key, too, from now on.
    pub(crate) fn connected(&self, session: &Session, key: KeyRef, expires: Timestamp, epoch: Epoch) -> bool {
        let mut inner = self.inner.lock();
        if inner.epoch != epoch.0 {
            return false;
        }
        let of_node = inner.by_node.get(&session.node).into_iter().flatten().copied();
        let mut found = of_node.filter(|id| {
            let entry = inner.sessions.get(id);
            entry.is_some_and(|entry| entry.close.subscribe().same_channel(&session.closed))
        });
        let Some(id) = found.next() else { return false };
        drop(found);
        inner.by_key.entry(key.clone()).or_default().insert(id);
        if let Some(entry) = inner.sessions.get_mut(&id) {
            entry.keys.push(key);
            entry.until.send_if_modified(|until| {
                let end = ends(self.age_max, expires);
                let is_sooner = end < *until;
                *until = end.min(*until);
                is_sooner
            });
        }
        true
    }

    /// Ends what stands on what was closed; how many sessions that were.
    pub(crate) fn close(&self, closed: &[Closed]) -> usize {
        let mut inner = self.inner.lock();
        inner.epoch += 1;
        let mut ids = BTreeSet::new();
        for one in closed {
            let found = match one {
                Closed::Key(key) => inner.by_key.get(key),
                Closed::Node(node) => inner.by_node.get(node),
                Closed::Token(_) => None,
            };
            ids.extend(found.into_iter().flatten());
        }
        inner.end(&ids)
    }

    /// Nobody knows what was closed: the identities that have to be looked up again. Sessions that cannot be are ended.
    pub(crate) fn doubt(&self) -> HashSet<Arc<[u8]>> {
        let mut inner = self.inner.lock();
        inner.epoch += 1;
        let unknown = inner.sessions.iter().filter(|(_, entry)| entry.identity.is_none());
        let ids: BTreeSet<u64> = unknown.map(|(id, _)| *id).collect();
        inner.end(&ids);
        inner.sessions.values().filter_map(|entry| entry.identity.clone()).collect()
    }

    /// Ends the sessions of an identity.
    pub(crate) fn close_identity(&self, identity: &[u8]) -> usize {
        let mut inner = self.inner.lock();
        let its = inner.sessions.iter().filter(|(_, entry)| entry.identity.as_deref() == Some(identity));
        let ids: BTreeSet<u64> = its.map(|(id, _)| *id).collect();
        inner.end(&ids)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.inner.lock().sessions.len()
    }
}

/// When a session ends by itself.
fn ends(age_max: Duration, expires: Timestamp) -> Instant {
    let left = u64::try_from(expires.0.saturating_sub(now().0)).unwrap_or_default();
    Instant::now() + age_max.min(Duration::from_millis(left))
}

impl Inner {
    fn end(&mut self, ids: &BTreeSet<u64>) -> usize {
        for id in ids {
            if let Some(entry) = self.forget(*id) {
                entry.close.send_replace(true);
            }
        }
        ids.len()
    }

    fn forget(&mut self, id: u64) -> Option<Entry> {
        let entry = self.sessions.remove(&id)?;
        for key in &entry.keys {
            without(&mut self.by_key, key, id);
        }
        without(&mut self.by_node, &entry.node, id);
        Some(entry)
    }
}

fn without<K: Hash + Eq>(map: &mut HashMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_binding::session::Key;

    fn owner(node: u8, index: u32) -> Owner {
        let node = M2mNodeId([node; 16]);
        let expires = Timestamp(now().0 + 3_600_000);
        Owner { node, scl: None, key: KeyRef::Kmr { node, index }, expires, identity: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_any_of_its_keys_its_node_its_life_or_its_connection() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let open = |owner| sessions.open(owner, sessions.epoch()).expect("nothing was closed");
        let (a1, a2, b) = (open(owner(1, 1)), open(owner(1, 2)), open(owner(2, 1)));
        let is_closed = |known: &Known| *known.closed.borrow();
        assert_eq!(sessions.close(&[Closed::Key(a1.key.clone())]), 1);
        assert_eq!((is_closed(&a1), is_closed(&a2), is_closed(&b)), (true, false, false));

        let session = Session::new(b, Key::new([0; 32]));
        let kmc = KeyRef::Kmc { connection: 7, index: 1 };
        assert!(sessions.connected(&session, kmc.clone(), session.expires, sessions.epoch()));
        sessions.close(&[Closed::Key(kmc)]);
        assert!(*session.closed.borrow() && !is_closed(&a2));
        sessions.close(&[Closed::Node(a2.node)]);
        assert!(is_closed(&a2));

        let mut old = open(owner(3, 1));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!is_closed(&old));
        tokio::time::timeout(Duration::from_secs(2), old.closed.wait_for(|closed| *closed))
            .await
            .expect("its age ends it")
            .expect("told");
        drop((old, open(owner(4, 1))));
        while sessions.count() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(sessions.inner.lock().by_key.is_empty() && sessions.inner.lock().by_node.is_empty());
    }

    #[tokio::test]
    async fn when_nobody_knows_what_was_closed_identities_are_looked_up_and_certificates_end() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let by_psk = |index| {
            let identity: Arc<[u8]> = Arc::from(format!("kmr/{index}").into_bytes());
            Owner { identity: Some(identity), ..owner(1, index) }
        };
        let open = |owner| sessions.open(owner, sessions.epoch()).expect("nothing was closed");
        let (certified, kept, gone) = (open(owner(2, 1)), open(by_psk(1)), open(by_psk(2)));
        let before = sessions.epoch();
        let doubtful = sessions.doubt();
        assert_eq!(doubtful.len(), 2);
        assert!(*certified.closed.borrow() && sessions.open(owner(3, 1), before).is_none());
        assert_eq!(sessions.close_identity(b"kmr/2"), 1);
        assert!(*gone.closed.borrow() && !*kept.closed.borrow());
    }

    #[tokio::test]
    async fn what_was_looked_up_before_something_was_closed_makes_no_session() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let before = sessions.epoch();
        sessions.close(&[]);
        assert!(sessions.open(owner(1, 1), before).is_none());
    }
}
