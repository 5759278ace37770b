//! Request ids: a random session for each shard, dense sequences in it, and the lowest one that is still unanswered.
//!
//! The shard remembers the reply of a sequence until it learns that the sequence was answered. A session of its own
//! for each shard keeps that table short: a shard without a majority holds back its own watermark, no other's.

use banyan_model::placement::ShardId;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

#[derive(Default)]
pub(crate) struct Sessions {
    by_shard: Mutex<HashMap<ShardId, Arc<Session>>>,
}

impl Sessions {
    /// An id for a new request to this shard; it is unanswered until the ticket is dropped.
    pub(crate) fn ticket(&self, shard: ShardId) -> Ticket {
        let session = self.by_shard.lock().entry(shard).or_default().clone();
        let sequence = session.open.lock().start();
        Ticket::Own(Arc::new(Held { session, sequence }))
    }
}

struct Session {
    /// Never 0: that is a leader's own command.
    id: u64,
    open: Mutex<Open>,
}

impl Default for Session {
    fn default() -> Session {
        Session { id: rand::random_range(1..=u64::MAX), open: Mutex::default() }
    }
}

/// Which sequences are unanswered: `answered[i]` tells of sequence `below + i`, and the first is unanswered.
#[derive(Default)]
struct Open {
    below: u64,
    answered: VecDeque<bool>,
}

impl Open {
    fn start(&mut self) -> u64 {
        // Sequences count from 1.
        self.below = self.below.max(1);
        self.answered.push_back(false);
        self.below + self.answered.len() as u64 - 1
    }

    fn end(&mut self, sequence: u64) {
        let at = usize::try_from(sequence - self.below).expect("an open sequence is within the queue");
        self.answered[at] = true;
        while self.answered.front() == Some(&true) {
            self.answered.pop_front();
            self.below += 1;
        }
    }
}

/// One request's id.
#[derive(Clone)]
pub(crate) enum Ticket {
    /// Of this process. The request counts as unanswered while a clone lives.
    Own(Arc<Held>),
    /// Given by the issuer, who will give the same again when it repeats the request.
    Given(banyan_model::RequestId),
}

pub(crate) struct Held {
    session: Arc<Session>,
    sequence: u64,
}

impl Ticket {
    /// The id as it is now: the watermark moves on between two sendings.
    pub(crate) fn id(&self) -> banyan_model::RequestId {
        let held = match self {
            Ticket::Own(held) => held,
            Ticket::Given(id) => return *id,
        };
        let Held { session, sequence } = &**held;
        let acked_below = session.open.lock().below;
        banyan_model::RequestId { session: session.id, sequence: *sequence, acked_below }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.session.open.lock().end(self.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermark_is_the_lowest_unanswered_sequence() {
        let sessions = Sessions::default();
        let [first, second, third] = [(); 3].map(|()| sessions.ticket(ShardId(1)));
        let below = |ticket: &Ticket| (ticket.id().sequence, ticket.id().acked_below);
        assert_eq!([&first, &second, &third].map(below), [(1, 1), (2, 1), (3, 1)]);
        drop(second);
        assert_eq!(below(&third), (3, 1));
        drop(first);
        assert_eq!(below(&third), (3, 3));
        drop(third);
        assert_eq!(below(&sessions.ticket(ShardId(1))), (4, 4));
    }

    #[test]
    fn shards_have_sessions_of_their_own() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.ticket(ShardId(1)), sessions.ticket(ShardId(2)));
        assert_ne!(one.id().session, other.id().session);
        assert_eq!(one.id().session, sessions.ticket(ShardId(1)).id().session);
        assert_eq!(other.id().sequence, 1);
    }
}
