//! Token buckets for very many askers in a fixed number of octets.
//!
//! A bucket is one number: when it would be full again (the generic cell rate algorithm). The table is an array of small
//! sets, found by a keyed hash; in a full set the bucket that is full first makes room, so an asker is at worst
//! forgotten, never taken for another. One asker costs one short lock and a look at eight slots; nothing is swept.

use parking_lot::Mutex;
use std::{
    hash::{BuildHasher, Hash, RandomState},
    time::{Duration, Instant},
};

/// Slots that one hash may have.
const WAYS: usize = 8;
/// Sets behind one lock each.
const SETS: usize = 4_096;

#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    tag: u64,
    /// Nanoseconds since the table was made; 0: as good as free.
    full_at: u64,
}

/// Who may do something how often.
#[derive(Debug)]
pub(super) struct Rates {
    born: Instant,
    hasher: RandomState,
    sets: Box<[Mutex<[Slot; WAYS]>]>,
    /// What one costs, in nanoseconds.
    each: u64,
    /// How far ahead a bucket may be filled.
    burst: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Rates {
    /// So many a second for each asker, twice as many at once. 0: `None`, there is no limit.
    pub(super) fn new(per_second: u32) -> Option<Rates> {
        let each = SECOND.checked_div(u64::from(per_second))?.max(1);
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        let burst = each.saturating_mul(u64::from(per_second)).saturating_mul(2);
        Some(Rates { born: Instant::now(), hasher: RandomState::new(), sets, each, burst })
    }

    /// One more by `asker`; `Err`: when it may ask again.
    pub(super) fn take(&self, asker: impl Hash) -> Result<(), Duration> {
        let now = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(self.hasher.hash_one(asker), now)
    }

    fn take_at(&self, tag: u64, now: u64) -> Result<(), Duration> {
        let at = usize::try_from(tag % SETS as u64).unwrap_or_default();
        let mut set = self.sets[at].lock();
        let known = set.iter().position(|slot| slot.tag == tag && slot.full_at > 0);
        let first = || (0..WAYS).min_by_key(|&at| set[at].full_at).unwrap_or_default();
        let (at, full_at) = match known {
            Some(at) => (at, set[at].full_at.max(now)),
            None => (first(), now),
        };
        let full_at = full_at.saturating_add(self.each);
        match full_at.saturating_sub(now).checked_sub(self.burst) {
            Some(over) if over > 0 => Err(Duration::from_nanos(over)),
            _ => {
                set[at] = Slot { tag, full_at };
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asker_has_its_rate_and_twice_as_many_at_once() {
        let rates = Rates::new(10).unwrap();
        let ask = |tag, now_ms: u64| rates.take_at(tag, now_ms * 1_000_000).is_ok();
        assert_eq!((0..30).filter(|_| ask(1, 0)).count(), 20);
        assert!(ask(2, 0), "another one is not held to account");
        assert_eq!(rates.take_at(1, 0), Err(Duration::from_millis(100)));
        assert!(!ask(1, 99) && ask(1, 100) && !ask(1, 100));
        assert_eq!((0..100).filter(|n| ask(1, 1_000 + n * 10)).count(), 9 + 9);
        assert_eq!((0..30).filter(|_| ask(1, 60_000)).count(), 20);
    }

    #[test]
    fn very_many_askers_cost_no_more_memory() {
        let rates = Rates::new(1).unwrap();
        for tag in 1..200_000_u64 {
            assert!(rates.take_at(tag, 1).is_ok(), "a new asker was refused");
        }
        // The greediest of a set is the last that is forgotten.
        assert!(rates.take_at(0, 1).is_ok() && rates.take_at(0, 1).is_ok());
        for other in 1..100 {
            assert!(rates.take_at(other * SETS as u64, 2).is_ok());
        }
        assert!(rates.take_at(0, 2).is_err());
        assert!(Rates::new(0).is_none());
    }

    #[test]
    fn the_table_is_taken_by_many_threads() {
        let rates = Rates::new(1_000_000).unwrap();
        let started = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let rates = &rates;
                scope.spawn(move || (0..50_000).for_each(|n| _ = rates.take((thread, n % 100))));
            }
        });
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
