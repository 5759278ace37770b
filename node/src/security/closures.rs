//! What may not be used any more, numbered, for edges that wait to hear of it.

use banyan_proto::v1;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::watch;

/// Closures that are remembered; who asks for older ones has to look at everything again.
const REMEMBERED: usize = 4_096;
/// Closures of one answer.
const ANSWERED_MAX: usize = 1_024;

/// The number of the newest closure before there is one: 0 is who asks for the first time.
pub(super) const NONE_YET: u64 = 1;

/// The newest closures.
pub(super) struct Ring {
    known: Mutex<Known>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    /// The number of the first that is remembered.
    first: u64,
    closed: VecDeque<v1::Closed>,
}

impl Default for Ring {
    fn default() -> Ring {
        Ring { known: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl Ring {
    /// Further closures, the first of them with this number.
    pub(super) fn add(&self, first: u64, closed: Vec<v1::Closed>) {
        let newest = first + closed.len() as u64 - 1;
        {
            let mut known = self.known.lock();
            if known.first + known.closed.len() as u64 != first {
                // Nothing is remembered yet, or a snapshot lies between.
                *known = Known { first, closed: VecDeque::new() };
            }
            known.closed.extend(closed);
            while known.closed.len() > REMEMBERED {
                known.closed.pop_front();
                known.first += 1;
            }
        }
        self.newest.send_replace(newest);
    }

    /// A snapshot has replaced the state.
    pub(super) fn forget(&self) {
        *self.known.lock() = Known::default();
    }

    /// Told of every further closure.
    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What was closed after `after`; `count`: the number of the newest, as the state has it. `None`: nothing.
    pub(super) fn after(&self, after: u64, count: u64) -> Option<v1::Closures> {
        if after == 0 {
            // Whoever begins to ask has no session yet.
            return Some(v1::Closures { number: count, ..Default::default() });
        }
        if after >= count {
            return None;
        }
        let known = self.known.lock();
        let remembered = known.first + known.closed.len() as u64 > count && known.first <= after + 1;
        if !remembered || known.closed.is_empty() {
            return Some(v1::Closures { number: count, everything: true, ..Default::default() });
        }
        let skipped = usize::try_from(after + 1 - known.first).unwrap_or(usize::MAX);
        let closed: Vec<_> = known.closed.iter().skip(skipped).take(ANSWERED_MAX).cloned().collect();
        Some(v1::Closures { number: after + closed.len() as u64, closed, everything: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(node: u8) -> v1::Closed {
        v1::Closed { node: vec![node].into(), ..Default::default() }
    }

    fn nodes(closures: &v1::Closures) -> Vec<u8> {
        closures.closed.iter().map(|closed| closed.node[0]).collect()
    }

    #[test]
    fn each_closure_is_told_once_to_who_asks_on() {
        let ring = Ring::default();
        assert_eq!(ring.after(0, 1).map(|found| found.number), Some(1));
        assert_eq!(ring.after(1, 1), None);
        ring.add(2, vec![closed(1), closed(2)]);
        assert_eq!(ring.after(0, 3).map(|found| found.number), Some(3), "what was before does not matter");
        ring.add(4, vec![closed(3)]);
        let found = ring.after(2, 4).expect("two are newer");
        assert_eq!((found.number, nodes(&found), found.everything), (4, vec![2, 3], false));
        assert_eq!(ring.after(4, 4), None);
    }

    #[test]
    fn what_is_not_remembered_is_everything() {
        let ring = Ring::default();
        ring.add(10, vec![closed(1)]);
        assert!(ring.after(5, 10).expect("newer").everything, "6 to 9 are not known");
        assert_eq!(nodes(&ring.after(9, 10).expect("newer")), [1]);
        ring.forget();
        assert!(ring.after(9, 10).expect("newer").everything);
        ring.add(11, (0..=u8::MAX).cycle().take(2 * REMEMBERED).map(closed).collect());
        let count = 10 + 2 * REMEMBERED as u64;
        assert!(ring.after(11, count).expect("newer").everything);
        let found = ring.after(count - REMEMBERED as u64, count).expect("newer");
        assert_eq!((found.closed.len(), found.everything), (ANSWERED_MAX, false));
    }
}
