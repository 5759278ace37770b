//! Bearer tokens of the cluster, as this edge remembers them.
//!
//! A token is asked for by its SHA-256 and remembered for a minute, that there is none for five seconds; while one
//! request asks, others with the same token wait for its answer. What the cluster says is closed (`closures`) is forgotten
//! at once, and an answer that was under way then is not remembered. Without the cluster's word a revoked token ends with its
//! minute. Both memories are bounded and separate, so that invented tokens drive no real one out.

use banyan_binding::identity::{Digest, LookingUp, TokenLookup};
use banyan_client::{Client, RequestError, keys::Token};
use banyan_model::{Entity, Refusal, Scl, StatusCode};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::OnceCell, time::Instant};
use tracing::{debug, warn};

const KNOWN_FOR: Duration = Duration::from_secs(60);
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
const REMEMBERED_MAX: usize = 8_192;
const ASKED_MAX: usize = 1_024;
/// A request that cannot say who asks is not worth its whole time.
const LOOK_UP_MAX: Duration = Duration::from_secs(2);

/// What became of a question.
type Asked = Result<Option<Token>, ()>;

/// See the module.
pub(crate) struct Tokens {
    client: Client,
    scl: Scl,
    timeout: Duration,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: Remembered<Entity>,
    unknown: Remembered<()>,
    asked: HashMap<Digest, Arc<OnceCell<Asked>>>,
}

impl Tokens {
    pub(crate) fn new(client: Client, scl: Scl, timeout: Duration) -> Tokens {
        Tokens { client, scl, timeout: timeout.min(LOOK_UP_MAX), memory: Mutex::default() }
    }

    /// The token was revoked.
    pub(crate) fn forget(&self, digest: &Digest) {
        let mut memory = self.memory.lock();
        memory.known.remove(digest);
        memory.asked.remove(digest);
    }

    /// Any token may have been revoked.
    pub(crate) fn forget_all(&self) {
        *self.memory.lock() = Memory::default();
    }

    async fn ask(&self, digest: Digest, cell: &OnceCell<Asked>) -> Asked {
        let deadline = Instant::now() + self.timeout;
        let asking = cell.get_or_init(|| async {
            let answer = self.client.resolve_token(digest, deadline).await;
            answer.map_err(|failure| match failure {
                RequestError::Refused(_) | RequestError::Answer(_) => {
                    warn!(%failure, "a token was not looked up")
                }
                _ => debug!(%failure, "a token was not looked up"),
            })
        });
        // Who waits for another's question does not wait longer than for his own.
        match tokio::time::timeout_at(deadline, asking).await {
            Ok(asked) => asked.clone(),
            Err(_) => Err(()),
        }
    }
}

impl TokenLookup for Tokens {
    fn look_up(&self, digest: Digest) -> LookingUp<'_> {
        Box::pin(async move {
            let unavailable = |info| Refusal::new(StatusCode::ServiceUnavailable, info);
            let cell = {
                let mut memory = self.memory.lock();
                let now = Instant::now();
                if let Some(entity) = memory.known.get(&digest, now) {
                    return Ok(Some(entity.clone()));
                }
                if memory.unknown.get(&digest, now).is_some() {
                    return Ok(None);
                }
                if memory.asked.len() >= ASKED_MAX && !memory.asked.contains_key(&digest) {
                    return Err(unavailable("Authorization: too many tokens are looked up at once"));
                }
                Arc::clone(memory.asked.entry(digest).or_default())
            };
            let question = Question { tokens: self, digest, cell };
            let token = self.ask(digest, &question.cell).await;
            let token =
                token.map_err(|()| unavailable("Authorization: the token cannot be looked up now"))?;
            Ok(question.answered(token))
        })
    }
}

/// One request that waits for an answer; the last one takes the question away, however it ended.
struct Question<'a> {
    tokens: &'a Tokens,
    digest: Digest,
    cell: Arc<OnceCell<Asked>>,
}

impl Question<'_> {
    fn is_current(&self, memory: &Memory) -> bool {
        memory.asked.get(&self.digest).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell))
    }

    /// Remembers the answer, unless it was forgotten before it came.
    fn answered(&self, token: Option<Token>) -> Option<Entity> {
        let left = token.as_ref().map(|token| left(token, SystemTime::now()));
        let entity = token
            .filter(|_| left.is_some_and(|left| !left.is_zero()))
            .map(|token| self.tokens.scl.normalise(&token.entity));
        let mut memory = self.tokens.memory.lock();
        if self.is_current(&memory) {
            let now = Instant::now();
            match &entity {
                Some(entity) => {
                    let left = left.unwrap_or_default().min(KNOWN_FOR);
                    memory.known.insert(self.digest, entity.clone(), now + left);
                }
                None => memory.unknown.insert(self.digest, (), now + UNKNOWN_FOR),
            }
            memory.asked.remove(&self.digest);
        }
        entity
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut memory = self.tokens.memory.lock();
        let is_failed = matches!(self.cell.get(), Some(Err(())));
        // The map's and ours: nobody else waits.
        let is_last = Arc::strong_count(&self.cell) <= 2;
        if self.is_current(&memory) && (is_failed || is_last) {
            memory.asked.remove(&self.digest);
        }
    }
}

/// How long a token may still be used.
fn left(token: &Token, now: SystemTime) -> Duration {
    let Some(expires) = token.expires else { return KNOWN_FOR };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(u64::try_from(expires.0).unwrap_or(0)).saturating_sub(now)
}

/// A bounded memory; what was learned first goes first.
struct Remembered<T> {
    values: HashMap<Digest, (T, Instant, u64)>,
    order: VecDeque<(Digest, u64)>,
    next: u64,
}

impl<T> Default for Remembered<T> {
    fn default() -> Remembered<T> {
        Remembered { values: HashMap::new(), order: VecDeque::new(), next: 0 }
    }
}

impl<T> Remembered<T> {
    fn get(&self, digest: &Digest, now: Instant) -> Option<&T> {
        self.values.get(digest).filter(|(_, until, _)| now < *until).map(|(value, ..)| value)
    }

    fn insert(&mut self, digest: Digest, value: T, until: Instant) {
        let number = self.next;
        self.next += 1;
        self.values.insert(digest, (value, until, number));
        self.order.push_back((digest, number));
        while self.order.len() > REMEMBERED_MAX {
            let Some((oldest, number)) = self.order.pop_front() else { return };
            // One that was learned again has a later place.
            if self.values.get(&oldest).is_some_and(|(.., last)| *last == number) {
                self.values.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, digest: &Digest) {
        self.values.remove(digest);
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_model::Timestamp;

    fn digest(number: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn a_memory_is_bounded_and_forgets_what_it_learned_first() {
        let (now, mut memory) = (Instant::now(), Remembered::default());
        let until = now + UNKNOWN_FOR;
        for number in 0..REMEMBERED_MAX {
            memory.insert(digest(number), number, until);
        }
        memory.insert(digest(0), 0, until);
        memory.insert(digest(REMEMBERED_MAX), 7, until);
        assert!(memory.values.len() <= REMEMBERED_MAX && memory.order.len() <= REMEMBERED_MAX);
        assert_eq!(memory.get(&digest(0), now), Some(&0), "it was learned again");
        assert_eq!(memory.get(&digest(1), now), None);
        assert_eq!(memory.get(&digest(REMEMBERED_MAX), now), Some(&7));
        assert_eq!(memory.get(&digest(REMEMBERED_MAX), until), None);
        memory.remove(&digest(0));
        assert_eq!(memory.get(&digest(0), now), None);
    }

    #[test]
    fn an_expired_token_has_no_time_left() {
        let at = UNIX_EPOCH + Duration::from_millis(1_000);
        let token = |expires: Option<i64>| Token { entity: String::new(), expires: expires.map(Timestamp) };
        assert_eq!(left(&token(None), at), KNOWN_FOR);
        assert_eq!(left(&token(Some(1_000)), at), Duration::ZERO);
        assert_eq!(left(&token(Some(-5)), at), Duration::ZERO);
        assert_eq!(left(&token(Some(1_250)), at), Duration::from_millis(250));
    }
}
