//! Which edge of the NSCL is called: the first of the list that has not failed lately.
//!
//! The list is in the operator's order, and a gateway goes back to an earlier edge once its pause is over. Where all have
//! failed lately the one whose pause ends first is tried: whoever asks waits for an answer now.

use super::backoff::Backoff;
use banyan_model::Timestamp;

/// The edges and how they did.
#[derive(Debug)]
pub struct Edges {
    edges: Vec<Edge>,
}

#[derive(Debug)]
struct Edge {
    address: String,
    backoff: Backoff,
    not_before: Timestamp,
}

impl Edges {
    /// Edges by `host:port`, the best first.
    pub fn new(addresses: &[String], backoff: &Backoff) -> Edges {
        let edge = |address: &String| Edge {
            address: address.clone(),
            backoff: backoff.clone(),
            not_before: Timestamp(0),
        };
        Edges { edges: addresses.iter().map(edge).collect() }
    }

    /// Whom to try now, in this order.
    pub fn order(&self, now: Timestamp) -> Vec<String> {
        let ready: Vec<String> = self
            .edges
            .iter()
            .filter(|edge| edge.not_before <= now)
            .map(|edge| edge.address.clone())
            .collect();
        if !ready.is_empty() {
            return ready;
        }
        self.edges
            .iter()
            .min_by_key(|edge| edge.not_before)
            .map(|edge| edge.address.clone())
            .into_iter()
            .collect()
    }

    /// What became of an attempt.
    pub fn tried(&mut self, address: &str, well: bool, now: Timestamp, luck: u32) {
        let Some(edge) = self.edges.iter_mut().find(|edge| edge.address == address) else { return };
        if well {
            edge.backoff.succeeded();
            edge.not_before = Timestamp(0);
            return;
        }
        let pause = i64::try_from(edge.backoff.failed(luck).as_millis()).unwrap_or(i64::MAX);
        edge.not_before = Timestamp(now.0.saturating_add(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_first_that_has_not_failed_lately_is_called() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        let mut edges = Edges::new(&["a".to_owned(), "b".to_owned()], &backoff);
        let at = |edges: &Edges, ms| edges.order(Timestamp(ms)).join(" ");
        assert_eq!(at(&edges, 10_000), "a b");
        edges.tried("a", false, Timestamp(10_000), u32::MAX);
        assert_eq!(at(&edges, 10_999), "b");
        assert_eq!(at(&edges, 11_000), "a b", "it goes back to the better one");
        edges.tried("a", false, Timestamp(11_000), u32::MAX);
        edges.tried("b", false, Timestamp(11_000), u32::MAX);
        assert_eq!(at(&edges, 11_500), "b", "of those that failed the one that is ready first");
        edges.tried("b", true, Timestamp(11_500), 0);
        assert_eq!(at(&edges, 11_500), "b");
        assert_eq!(at(&edges, 13_000), "a b");
    }
}
