//! Drives workers for a while and measures each request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;

/// Longest latency the histogram holds; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(120);
/// A worker whose request failed waits this long, so that a dead server is not hammered.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// One connection that sends one request after the other.
pub trait Worker {
    /// Sends the next request and waits for its answer.
    ///
    /// # Errors
    /// What went wrong, in a few words; equal words are counted together.
    fn step(&mut self) -> impl Future<Output = Result<(), String>>;
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as the answer to the one before is there.
    Closed,
    /// So many a second over all workers, due at fixed times.
    Fixed {
        /// Requests a second.
        per_second: f64,
    },
}

/// What a run measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Latencies of the requests that succeeded, in microseconds.
    pub latency_us: Histogram<u64>,
    /// Failures by what was wrong.
    pub errors: BTreeMap<String, u64>,
}

impl Measured {
    fn new() -> Measured {
        let highest = LATENCY_MAX.as_micros() as u64;
        let latency_us = Histogram::new_with_bounds(1, highest, 3).expect("constant bounds are in order");
        Measured { elapsed: Duration::ZERO, latency_us, errors: BTreeMap::new() }
    }

    /// Requests that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.latency_us.len()
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Successes a second.
    pub fn rate(&self) -> f64 {
        self.succeeded() as f64 / self.elapsed.as_secs_f64()
    }

    /// A latency quantile in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Drives all workers at once for `duration`; requests in flight at the end are waited for and count.
pub async fn drive<W: Worker>(workers: &mut [W], pace: Pace, duration: Duration) -> Measured {
    let measured = RefCell::new(Measured::new());
    let count = workers.len();
    let start = Instant::now();
    let end = start + duration;
    let mut running: FuturesUnordered<_> = workers
        .iter_mut()
        .enumerate()
        .map(|(index, worker)| {
            let measured = &measured;
            async move {
                for step in 0_u64.. {
                    let due = match pace {
                        Pace::Closed => Instant::now(),
                        Pace::Fixed { per_second } => {
                            let position = step as f64 * count as f64 + index as f64;
                            start + Duration::from_secs_f64(position / per_second)
                        }
                    };
                    if due >= end {
                        break;
                    }
                    if due > Instant::now() {
                        tokio::time::sleep_until(due.into()).await;
                    }
                    match worker.step().await {
                        Ok(()) => {
                            let latency = due.elapsed().min(LATENCY_MAX).as_micros() as u64;
                            measured.borrow_mut().latency_us.saturating_record(latency.max(1));
                        }
                        Err(what) => {
                            *measured.borrow_mut().errors.entry(what).or_default() += 1;
                            tokio::time::sleep(AFTER_FAILURE).await;
                        }
                    }
                }
            }
        })
        .collect();
    while running.next().await.is_some() {}
    drop(running);
    let mut measured = measured.into_inner();
    measured.elapsed = start.elapsed();
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, except for the tenth request, which takes 300 ms.
    struct Stalling(u32);

    impl Worker for Stalling {
        async fn step(&mut self) -> Result<(), String> {
            self.0 += 1;
            let wait = if self.0 == 10 { Duration::from_millis(300) } else { Duration::from_micros(50) };
            tokio::time::sleep(wait).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_request_that_was_due_during_it() {
        let mut workers = [Stalling(0)];
        let measured = drive(&mut workers, Pace::Fixed { per_second: 100.0 }, Duration::from_secs(1)).await;
        let slow = measured.latency_us.count_between(100_000, 400_000);
        // Due each 10 ms, so about 20 of them waited over 100 ms although only one request was slow itself.
        assert!((15..=30).contains(&slow), "{slow} slow ones of {}", measured.succeeded());
    }

    #[tokio::test]
    async fn a_fixed_rate_is_kept() {
        let mut workers = [Stalling(100), Stalling(100), Stalling(100)];
        let measured = drive(&mut workers, Pace::Fixed { per_second: 200.0 }, Duration::from_secs(1)).await;
        assert_eq!(measured.succeeded(), 200);
    }

    /// Fails every other time.
    struct Failing(bool);

    impl Worker for Failing {
        async fn step(&mut self) -> Result<(), String> {
            self.0 = !self.0;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if self.0 { Err("status 503".to_owned()) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn failures_are_counted_and_not_timed() {
        let measured = drive(&mut [Failing(false)], Pace::Closed, Duration::from_millis(200)).await;
        assert!(measured.failed() > 0 && measured.errors.contains_key("status 503"));
        assert!(measured.succeeded().abs_diff(measured.failed()) <= 1);
    }
}
