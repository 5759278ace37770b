//! Where connections come from, and how many one source may hold.
//!
//! A source is what one subscriber of a network has: an IPv4 address or an IPv6 /64. The table of counts holds sources
//! of live connections alone, so it is bounded by those.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// One source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Source {
    V4(u32),
    V6(u64),
}

impl Source {
    pub(super) fn of(address: SocketAddr) -> Source {
        match address.ip().to_canonical() {
            IpAddr::V4(address) => Source::V4(address.to_bits()),
            IpAddr::V6(address) => Source::V6(u64::try_from(address.to_bits() >> 64).unwrap_or_default()),
        }
    }

    /// Its neighbours with it: IPv4 /24, IPv6 /64.
    pub(super) fn network(self) -> Source {
        match self {
            Source::V4(address) => Source::V4(address & !0xff),
            v6 @ Source::V6(_) => v6,
        }
    }
}

/// Things that sources hold, counted by source.
#[derive(Clone, Debug)]
pub(super) struct Held {
    counts: Arc<Mutex<HashMap<Source, usize>>>,
    /// 0: any number.
    most: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct One(Option<(Held, Source)>);

impl Held {
    pub(super) fn new(most: usize) -> Held {
        Held { counts: Arc::default(), most }
    }

    /// One more; `None`: the source has as many as it may.
    pub(super) fn take(&self, source: Source) -> Option<One> {
        if self.most == 0 {
            return Some(One(None));
        }
        let mut counts = self.counts.lock();
        let count = counts.entry(source).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(One(Some((self.clone(), source))))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let Some((held, source)) = self.0.take() else { return };
        let mut counts = held.counts.lock();
        if let Some(count) = counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Source {
        Source::of(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn a_source_is_what_a_subscriber_has() {
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("10.0.0.1").network(), of("10.0.0.2").network());
        assert_ne!(of("10.0.0.1").network(), of("10.0.1.1").network());
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1").network());
    }

    #[test]
    fn what_is_dropped_counts_no_more() {
        let held = Held::new(2);
        let one = held.take(of("10.0.0.1"));
        let two = held.take(of("10.0.0.1"));
        assert!(one.is_some() && two.is_some());
        assert!(held.take(of("10.0.0.1")).is_none());
        assert!(held.take(of("10.0.0.2")).is_some());
        drop(one);
        assert!(held.take(of("10.0.0.1")).is_some());
        drop(two);
        assert!(held.counts.lock().is_empty());
        assert!(Held::new(0).take(of("10.0.0.1")).is_some());
    }
}
