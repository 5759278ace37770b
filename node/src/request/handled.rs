//! Which fan-outs this node has begun: their answers for who asks again, and their identifiers so that no group is
//! expanded twice for one of them.
//!
//! This is no memory that safety rests on: another leader knows nothing of it. A repetition that comes there asks the
//! members again under the same ids, and those of this cluster have done it; a group that is met again by way of
//! another leader is expanded once more, and no more often than there were leaders in the time of one request.

use banyan_model::{Path, Refusal, RequestId, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long an answer is kept for who did not get it, and an identifier beyond the deadline of its request.
const KEEP: Duration = Duration::from_secs(5);
/// Octets of answers kept.
const ANSWERS_BYTES_MAX: usize = 32 << 20;

pub(super) struct Fanned {
    max: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    answers: HashMap<(u64, u64), Answer>,
    answers_bytes: usize,
    expanded: HashMap<(Path, String), RequestId>,
    /// When each of both is forgotten, the soonest first.
    forget: BTreeMap<(Instant, u64), Key>,
    next: u64,
}

enum Key {
    Answer((u64, u64)),
    Expanded((Path, String)),
}

type Answer = watch::Receiver<Option<Bytes>>;

/// What to do with a fan-out that may have come before.
pub(super) enum Handled {
    First(Running),
    Again(Waiting),
}

/// Gives its answer to all who asked again, and is forgotten if there is none.
pub(super) struct Running {
    fanned: Arc<Fanned>,
    key: (u64, u64),
    answer: watch::Sender<Option<Bytes>>,
}

pub(super) struct Waiting(Answer);

impl Fanned {
    /// Remembers at most `max` identifiers and `max` answers.
    pub(super) fn new(max: usize) -> Arc<Fanned> {
        Arc::new(Fanned { max, known: Mutex::default() })
    }

    /// Begins a fan-out under this id, or finds that it was begun.
    pub(super) fn begin(self: &Arc<Self>, id: RequestId) -> Handled {
        let key = (id.session, id.sequence);
        let mut known = self.known.lock();
        known.forget_until(Instant::now());
        if let Some(answer) = known.answers.get(&key) {
            return Handled::Again(Waiting(answer.clone()));
        }
        let (answer, waiting) = watch::channel(None);
        known.answers.insert(key, waiting);
        Handled::First(Running { fanned: self.clone(), key, answer })
    }

    /// Notes that `group` is expanded for this identifier.
    ///
    /// # Errors
    /// It was before, by another request than this one; or too many are under way.
    pub(super) fn expand(
        &self,
        group: &Path,
        identifier: &str,
        id: RequestId,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let mut known = self.known.lock();
        known.forget_until(Instant::now());
        let key = (group.clone(), identifier.to_owned());
        match known.expanded.get(&key) {
            Some(before) if id.session != 0 && same(*before, id) => return Ok(()),
            Some(_) => {
                let why = "this group has handled it";
                return Err(Refusal::attribute("groupRequestIdentifier", why));
            }
            None => {}
        }
        if known.expanded.len() >= self.max {
            return Err(Refusal::new(StatusCode::ServiceUnavailable, "too many fan-outs at this node"));
        }
        known.expanded.insert(key.clone(), id);
        known.forget_at(deadline + KEEP, Key::Expanded(key));
        Ok(())
    }
}

#[cfg(test)]
impl Fanned {
    /// As another node would know it.
    pub(super) fn forget_all(&self) {
        *self.known.lock() = Known::default();
    }
}

fn same(one: RequestId, other: RequestId) -> bool {
    (one.session, one.sequence) == (other.session, other.sequence)
}

impl Known {
    fn forget_at(&mut self, at: Instant, key: Key) {
        self.next += 1;
        self.forget.insert((at, self.next), key);
    }

    fn forget_until(&mut self, now: Instant) {
        while let Some(first) = self.forget.first_entry() {
            if first.key().0 > now {
                return;
            }
            match first.remove() {
                Key::Answer(key) => self.forget_answer(key),
                Key::Expanded(key) => drop(self.expanded.remove(&key)),
            }
        }
    }

    fn forget_answer(&mut self, key: (u64, u64)) {
        if let Some(answer) = self.answers.remove(&key) {
            self.answers_bytes -= answer.borrow().as_ref().map_or(0, Bytes::len);
        }
    }
}

impl Running {
    /// The answer is there.
    pub(super) fn end(self, answer: Bytes) {
        let mut known = self.fanned.known.lock();
        let fits =
            known.answers_bytes + answer.len() <= ANSWERS_BYTES_MAX && known.answers.len() <= self.fanned.max;
        if fits {
            known.answers_bytes += answer.len();
            known.forget_at(Instant::now() + KEEP, Key::Answer(self.key));
            self.answer.send_replace(Some(answer));
        } else {
            known.answers.remove(&self.key);
            drop(known);
            self.answer.send_replace(Some(answer));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.answer.borrow().is_none() {
            self.fanned.known.lock().answers.remove(&self.key);
        }
    }
}

impl Waiting {
    /// `None`: the fan-out ended without an answer.
    pub(super) async fn wait(mut self) -> Option<Bytes> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> RequestId {
        RequestId { session: 1, sequence, acked_below: 0 }
    }

    #[tokio::test]
    async fn who_asks_again_gets_the_answer_of_the_first() {
        let fanned = Fanned::new(8);
        let Handled::First(running) = fanned.begin(id(1)) else { panic!("the first is the first") };
        let Handled::Again(early) = fanned.begin(id(1)) else { panic!("the second is not") };
        running.end(Bytes::from_static(b"done"));
        let Handled::Again(late) = fanned.begin(id(1)) else { panic!("nor the third") };
        assert_eq!(early.wait().await.as_deref(), Some(&b"done"[..]));
        assert_eq!(late.wait().await.as_deref(), Some(&b"done"[..]));

        let Handled::First(given_up) = fanned.begin(id(2)) else { panic!("another is another") };
        let Handled::Again(waiting) = fanned.begin(id(2)) else { panic!("its second is not the first") };
        drop(given_up);
        assert_eq!(waiting.wait().await, None);
        assert!(matches!(fanned.begin(id(2)), Handled::First(_)), "without an answer it may begin again");
    }

    #[test]
    fn a_group_is_expanded_once_for_an_identifier_and_again_only_by_the_same_request() {
        let fanned = Fanned::new(2);
        let (g, h) = (Path::parse("groups/g").unwrap(), Path::parse("groups/h").unwrap());
        let soon = Instant::now() + Duration::from_secs(10);
        assert_eq!(fanned.expand(&g, "a1", id(1), soon), Ok(()));
        assert_eq!(fanned.expand(&g, "a1", id(1), soon), Ok(()), "sent again");
        let refused = fanned.expand(&g, "a1", id(2), soon).unwrap_err();
        assert_eq!(refused.status, StatusCode::BadRequest);
        assert_eq!(fanned.expand(&h, "a1", id(2), soon), Ok(()), "another group");
        let full = fanned.expand(&h, "a2", id(3), soon).unwrap_err();
        assert_eq!(full.status, StatusCode::ServiceUnavailable);

        let past = Fanned::new(1);
        assert_eq!(past.expand(&g, "a1", id(1), Instant::now() - 2 * KEEP), Ok(()));
        assert_eq!(past.expand(&g, "a1", id(2), soon), Ok(()), "forgotten after its time");
    }
}
