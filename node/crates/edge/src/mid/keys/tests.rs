//! The look-up of keys, against somebody who counts what is asked.

use super::*;
use banyan_client::keys::{Closed, Secret};
use banyan_model::{
    Timestamp,
    security::{KeyRef, M2mNodeId},
};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Knows the identity `known`; answers when it is let to.
struct Group {
    asked: AtomicUsize,
    gate: Semaphore,
    is_closed: Mutex<bool>,
}

const NODE: M2mNodeId = M2mNodeId([7; 16]);
const PEER: &str = "192.0.2.7:4711";
const KMR: KeyRef = KeyRef::Kmr { node: NODE, index: 1 };

impl Resolve for Arc<Group> {
    async fn resolve(&self, identity: &[u8], source: &str) -> Result<Option<ResolvedKey>, RequestError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(source, PEER, "who tries is told");
        let is_known = identity == b"known" && !*self.is_closed.lock();
        self.gate.acquire().await.expect("open").forget();
        let expires = Timestamp(now().0 + 3_600_000);
        let secret = Secret::new([9; 32]);
        Ok(is_known.then_some(ResolvedKey {
            secret,
            key: KMR,
            node: NODE,
            scl: Some("gw".to_owned()),
            expires,
        }))
    }
}

fn bench() -> (Arc<Group>, Arc<Sessions>, Arc<Keys<Arc<Group>>>) {
    let group = Arc::new(Group {
        asked: AtomicUsize::new(0),
        gate: Semaphore::new(1_000),
        is_closed: Mutex::new(false),
    });
    let sessions = Sessions::new(Duration::from_secs(3_600));
    let keys = Arc::new(Keys::new(Arc::clone(&group), Arc::clone(&sessions)));
    sessions.heard(Instant::now());
    (group, sessions, keys)
}

async fn is_found(keys: &Arc<Keys<Arc<Group>>>, identity: &[u8]) -> bool {
    Lookup(Arc::clone(keys)).key(identity, PEER.parse().expect("an address")).await.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_key_is_kept_for_a_minute_and_nobody_for_five_seconds() {
    let (group, sessions, keys) = bench();
    let asked = || group.asked.load(Ordering::SeqCst);
    for (identity, found, kept) in [(&b"known"[..], true, 60), (b"nobody", false, 5)] {
        let before = asked();
        assert_eq!(is_found(&keys, identity).await, found);
        tokio::time::advance(Duration::from_secs(kept - 1)).await;
        sessions.heard(Instant::now());
        assert_eq!(is_found(&keys, identity).await, found);
        assert_eq!(asked(), before + 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        sessions.heard(Instant::now());
        assert_eq!(is_found(&keys, identity).await, found);
        assert_eq!(asked(), before + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_does_not_count_while_nobody_tells_what_was_closed() {
    let (group, _, keys) = bench();
    assert!(is_found(&keys, b"known").await);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(is_found(&keys, b"known").await);
    assert_eq!(group.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_asks_the_same_at_the_same_time_asks_once_and_a_gone_asker_is_followed() {
    let (group, _, keys) = bench();
    group.gate.forget_permits(1_000);
    let first = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { is_found(&keys, b"known").await }
    });
    let others: Vec<_> = (0..50)
        .map(|_| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { is_found(&keys, b"known").await })
        })
        .collect();
    while group.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The handshake that asks breaks off: another one asks.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    group.gate.add_permits(1_000);
    for other in others {
        assert!(other.await.expect("no panic"));
    }
    assert_eq!(group.asked.load(Ordering::SeqCst), 2);
    assert!(keys.cache.lock().asking.is_empty());
}

#[tokio::test]
async fn a_key_that_is_closed_while_it_is_looked_up_opens_nothing() {
    let (group, sessions, keys) = bench();
    group.gate.forget_permits(1_000);
    let asking = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { is_found(&keys, b"known").await }
    });
    while group.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    *group.is_closed.lock() = true;
    sessions.close(&[Closed::Key(KMR)]);
    keys.forget();
    // What was on its way says that it is known.
    group.gate.add_permits(1_000);
    assert!(!asking.await.expect("no panic"));
    assert_eq!(group.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_identities_has_a_bound_and_displaces_nobody() {
    let (group, _, keys) = bench();
    group.gate.add_permits(ENTRIES_MAX * 2);
    assert!(is_found(&keys, b"known").await);
    for guess in 0..ENTRIES_MAX + 10 {
        assert!(!is_found(&keys, guess.to_string().as_bytes()).await);
    }
    assert!(keys.cache.lock().nobody.len() <= ENTRIES_MAX);
    let before = group.asked.load(Ordering::SeqCst);
    assert!(is_found(&keys, b"known").await);
    assert_eq!(group.asked.load(Ordering::SeqCst), before);
}
