//! How long to wait after failures: twice as long after each, and never all gateways at the same moment.

use std::time::Duration;

/// The pauses of one kind of attempt.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// From `min` after the first failure up to `max`.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max, failures: 0 }
    }

    /// The pause after one more failure: between half of it and all of it, as `luck` (any number) says.
    pub fn failed(&mut self, luck: u32) -> Duration {
        let whole =
            self.min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        whole / 2 + whole.mul_f64(f64::from(luck) / f64::from(u32::MAX) / 2.0)
    }

    /// It went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_anew_after_a_success() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(10));
        let longest: Vec<Duration> = (0..6).map(|_| backoff.failed(u32::MAX)).collect();
        assert_eq!(longest, [1, 2, 4, 8, 10, 10].map(seconds));
        backoff.succeeded();
        assert_eq!(backoff.failed(0), seconds(1) / 2);
        for _ in 0..100 {
            backoff.failed(0);
        }
        assert_eq!(backoff.failed(0), seconds(5), "however often it failed");
    }
}
