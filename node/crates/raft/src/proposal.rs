//! A proposal's way back. Whatever becomes of an entry, its proposer is answered exactly once: openraft drops the
//! responders of entries it can say nothing about, and a dropped one answers "outcome unknown".

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;

use crate::ProposeError;
use crate::types::Types;

/// The responder that openraft carries beside an entry. `None` tells that it was dropped.
pub(crate) struct Answer<T>(Option<Box<dyn FnOnce(Option<T>) + Send>>);

impl<T> Answer<T> {
    pub(crate) fn new(call: impl FnOnce(Option<T>) + Send + 'static) -> Answer<T> {
        Answer(Some(Box::new(call)))
    }
}

impl<T: Send + 'static> Responder<Types, T> for Answer<T> {
    fn on_complete(mut self, result: T) {
        if let Some(call) = self.0.take() {
            call(Some(result));
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call(None);
        }
    }
}

/// What openraft's answer means to a proposer.
pub(crate) fn outcome(result: Option<ClientWriteResult<Types>>) -> Result<Bytes, ProposeError> {
    match result {
        Some(Ok(response)) => Ok(response.data.0),
        Some(Err(ClientWriteError::ForwardToLeader(forward))) => {
            Err(ProposeError::NotLeader { leader: forward.leader_id })
        }
        // Appended here and cut off by another leader, or never looked at again: it may have been committed.
        Some(Err(ClientWriteError::LogEntryDiscarded(_))) | None => Err(ProposeError::Unknown),
        // Neither is asked of a plain command; unknown is the answer that is never wrong.
        Some(Err(ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_))) => {
            Err(ProposeError::Unknown)
        }
    }
}

/// How much one group has in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// One proposal's share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    /// `None` if either limit is reached. A single command may pass the limit of bytes when nothing else is in
    /// flight, or it could never be proposed.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, count_max: usize, bytes_max: usize) -> Option<Share> {
        let share = Share { of: self.clone(), bytes };
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // On refusal the share is dropped here, which gives both back.
        (count < count_max && (held == 0 || held + bytes <= bytes_max)).then_some(share)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.count.fetch_sub(1, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_refuse_and_a_share_comes_back() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.take(100, 2, 50).expect("alone, a command may be larger than the limit");
        assert!(in_flight.take(1, 2, 50).is_none(), "bytes");
        drop(first);
        let held: Vec<_> = (0..2).map(|_| in_flight.take(1, 2, 50).expect("room")).collect();
        assert!(in_flight.take(1, 2, 50).is_none(), "count");
        drop(held);
        assert_eq!(in_flight.count(), 0);
        assert!(in_flight.take(50, 2, 50).is_some());
    }

    #[test]
    fn a_dropped_answer_is_an_unknown_outcome() {
        let (tx, rx) = std::sync::mpsc::channel();
        drop(Answer::new(move |result| tx.send(outcome(result)).expect("the test listens")));
        assert_eq!(rx.recv(), Ok(Err(ProposeError::Unknown)));
    }
}
