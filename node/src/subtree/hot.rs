//! What requests ask for again and again, so that none of it is looked for on the disk: the container of every create
//! and its accessRight, decoded; that there is nothing at a path; which requests were answered.
//!
//! The disk is not slow, but the writer behind the overlay holds it for milliseconds, and whoever looks for a key that
//! is not in memory waits for that.
//!
//! A view finds here what its own state says, never an older or newer one: what a batch changes is shut out from before
//! the commit until after it ([`Hot::shut`], [`Hot::open`]), and only a living view, while which nothing is committed,
//! fills it. Of replies only absence is told, and a reply that is not told of yet costs its request no more than a
//! second proposal, which `apply` finds.

use banyan_model::record::Record;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// How many records are kept; a full memory starts afresh.
const RECORDS_MAX: usize = 8_192;
/// How many sessions and, in all of them, how many replies are remembered.
const SESSIONS_MAX: usize = 1_024;
const REPLIES_MAX: usize = 262_144;

/// What a batch does to what is kept here.
#[derive(Default)]
pub(super) struct Touched {
    /// Physical keys of records.
    pub(super) records: Vec<Vec<u8>>,
    /// Session, sequence, and whether the reply is there afterwards.
    pub(super) replies: Vec<(u64, u64, bool)>,
}

#[derive(Default)]
pub(super) struct Hot {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By physical key.
    known: HashMap<Vec<u8>, Option<Arc<Record>>>,
    shut: HashSet<Vec<u8>>,
    /// Of the sessions whose replies were once read: all sequences with a reply.
    replies: HashMap<u64, HashSet<u64>>,
    replies_count: usize,
    changing: Vec<(u64, u64, bool)>,
}

impl Hot {
    /// The record under a key, `Some(None)` if there is none; `None` if that is not known here.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Arc<Record>>> {
        self.state.lock().known.get(key).cloned()
    }

    /// What a living view has found under a key.
    pub(super) fn learn(&self, key: Vec<u8>, record: Option<Arc<Record>>) {
        let mut state = self.state.lock();
        if state.shut.contains(&key) {
            return;
        }
        if state.known.len() >= RECORDS_MAX {
            state.known.clear();
        }
        state.known.insert(key, record);
    }

    /// Whether a session is known to have no reply of this sequence; `None` if its replies were not read yet.
    pub(super) fn is_unanswered(&self, session: u64, sequence: u64) -> Option<bool> {
        self.state.lock().replies.get(&session).map(|replies| !replies.contains(&sequence))
    }

    /// All replies of a session, as a living view has them.
    pub(super) fn learn_replies(&self, session: u64, replies: HashSet<u64>) {
        let mut state = self.state.lock();
        if state.replies.len() >= SESSIONS_MAX || state.replies_count + replies.len() >= REPLIES_MAX {
            state.replies.clear();
            state.replies_count = 0;
        }
        state.replies_count += replies.len();
        if let Some(before) = state.replies.insert(session, replies) {
            state.replies_count -= before.len();
        }
    }

    /// This is about to change.
    pub(super) fn shut(&self, touched: Touched) {
        let mut state = self.state.lock();
        for key in touched.records {
            state.known.remove(&key);
            state.shut.insert(key);
        }
        state.changing.extend(touched.replies);
    }

    /// What was about to change has changed.
    pub(super) fn open(&self) {
        let mut state = self.state.lock();
        let State { shut, replies, replies_count, changing, .. } = &mut *state;
        shut.clear();
        for (session, sequence, there) in changing.drain(..) {
            let Some(known) = replies.get_mut(&session) else { continue };
            if there && known.insert(sequence) {
                *replies_count += 1;
            } else if !there && known.remove(&sequence) {
                *replies_count -= 1;
            }
        }
        if *replies_count >= REPLIES_MAX {
            replies.clear();
            *replies_count = 0;
        }
    }

    /// The whole state was replaced.
    pub(super) fn clear(&self) {
        *self.state.lock() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(to: u64) -> Option<Arc<Record>> {
        Some(Arc::new(Record::Pointer(to)))
    }

    #[test]
    fn what_a_batch_changes_is_unknown_until_the_batch_is_visible() {
        let hot = Hot::default();
        let key = vec![1];
        hot.learn(key.clone(), pointer(1));
        hot.shut(Touched { records: vec![key.clone()], ..Touched::default() });
        assert!(hot.get(&key).is_none());
        hot.learn(key.clone(), pointer(1));
        assert!(hot.get(&key).is_none(), "a view of before the commit must not bring it back");
        hot.open();
        hot.learn(key.clone(), pointer(2));
        assert_eq!(hot.get(&key), Some(pointer(2)));
    }

    #[test]
    fn replies_come_and_go_with_the_batches_of_sessions_that_were_read() {
        let hot = Hot::default();
        assert_eq!(hot.is_unanswered(7, 1), None);
        hot.learn_replies(7, HashSet::from([1, 2]));
        hot.shut(Touched { replies: vec![(7, 3, true), (7, 1, false), (8, 1, true)], ..Touched::default() });
        assert_eq!(hot.is_unanswered(7, 3), Some(true), "not visible yet");
        hot.open();
        let seen = [1, 2, 3].map(|sequence| hot.is_unanswered(7, sequence));
        assert_eq!(seen, [Some(true), Some(false), Some(false)]);
        assert_eq!(hot.is_unanswered(8, 1), None, "a session that was not read is not known in part");
    }
}
