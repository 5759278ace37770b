//! Counters of one edge, written as Prometheus text.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What an edge counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By verb and status. Both come from closed lists, so the map stays small.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    request_micros: AtomicU64,
    in_flight: AtomicI64,
    /// By result.
    deliveries: Mutex<BTreeMap<&'static str, u64>>,
    streams: AtomicI64,
    /// Of mId, by listener and result; by listener; by what was made and whether it was.
    handshakes: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    sessions: Mutex<BTreeMap<&'static str, i64>>,
    made: Mutex<BTreeMap<(&'static str, bool), u64>>,
    closures: AtomicU64,
    closures_heard: Mutex<Option<Instant>>,
    audit_lost: AtomicU64,
}

/// A session, for as long as it stands.
pub(crate) struct Standing {
    metrics: Arc<Metrics>,
    listener: &'static str,
}

impl Drop for Standing {
    fn drop(&mut self) {
        *self.metrics.sessions.lock().entry(self.listener).or_default() -= 1;
    }
}

/// One more of something for as long as it lives.
pub(crate) struct Gauge<'a>(&'a AtomicI64);

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn request_begins(&self) -> Gauge<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Gauge(&self.in_flight)
    }

    pub(crate) fn request_ended(&self, verb: &'static str, status: u16, took: Duration) {
        *self.requests.lock().entry((verb, status)).or_default() += 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.request_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn stream_opens(&self) -> Gauge<'_> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Gauge(&self.streams)
    }

    pub(crate) fn delivered(&self, result: &'static str) {
        *self.deliveries.lock().entry(result).or_default() += 1;
    }

    pub(crate) fn handshake(&self, listener: &'static str, result: &'static str) {
        *self.handshakes.lock().entry((listener, result)).or_default() += 1;
    }

    pub(crate) fn session_opens(this: &Arc<Metrics>, listener: &'static str) -> Standing {
        *this.sessions.lock().entry(listener).or_default() += 1;
        Standing { metrics: Arc::clone(this), listener }
    }

    /// A bootstrap or a service connection was made, or refused.
    pub(crate) fn made(&self, what: &'static str, is_done: bool) {
        *self.made.lock().entry((what, is_done)).or_default() += 1;
    }

    pub(crate) fn closures_applied(&self, number: usize) {
        self.closures.fetch_add(number as u64, Ordering::Relaxed);
    }

    pub(crate) fn closures_heard(&self) {
        *self.closures_heard.lock() = Some(Instant::now());
    }

    pub(crate) fn audit_lost(&self) {
        self.audit_lost.fetch_add(1, Ordering::Relaxed);
    }

    fn mid(&self, line: &mut impl FnMut(std::fmt::Arguments<'_>)) {
        line(format_args!("# TYPE banyan_edge_mid_handshakes_total counter\n"));
        for ((listener, result), number) in self.handshakes.lock().iter() {
            let name = "banyan_edge_mid_handshakes_total";
            line(format_args!("{name}{{listener=\"{listener}\",result=\"{result}\"}} {number}\n"));
        }
        line(format_args!("# TYPE banyan_edge_mid_sessions gauge\n"));
        for (listener, number) in self.sessions.lock().iter() {
            line(format_args!("banyan_edge_mid_sessions{{listener=\"{listener}\"}} {number}\n"));
        }
        line(format_args!("# TYPE banyan_edge_mid_made_total counter\n"));
        for ((what, is_done), number) in self.made.lock().iter() {
            let (name, result) = ("banyan_edge_mid_made_total", if *is_done { "done" } else { "refused" });
            line(format_args!("{name}{{what=\"{what}\",result=\"{result}\"}} {number}\n"));
        }
        // Without mId and tokens nobody listens for closures.
        let Some(heard) = *self.closures_heard.lock() else { return };
        let closures = self.closures.load(Ordering::Relaxed);
        line(format_args!("# TYPE banyan_edge_mid_closures_total counter\n"));
        line(format_args!("banyan_edge_mid_closures_total {closures}\n"));
        let age = heard.elapsed().as_secs_f64();
        line(format_args!("# TYPE banyan_edge_mid_closures_age_seconds gauge\n"));
        line(format_args!("banyan_edge_mid_closures_age_seconds {age:.3}\n"));
        let lost = self.audit_lost.load(Ordering::Relaxed);
        line(format_args!("# TYPE banyan_edge_audit_lost_total counter\n"));
        line(format_args!("banyan_edge_audit_lost_total {lost}\n"));
    }

    /// Everything, in the text format of Prometheus.
    pub(crate) fn text(&self, ready: bool) -> String {
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = String::write_fmt(&mut text, arguments);
        };
        line(format_args!("# TYPE banyan_edge_ready gauge\nbanyan_edge_ready {}\n", u8::from(ready)));
        line(format_args!("# TYPE banyan_edge_requests_total counter\n"));
        let mut count = 0;
        for ((verb, status), number) in self.requests.lock().iter() {
            count += number;
            let name = "banyan_edge_requests_total";
            line(format_args!("{name}{{method=\"{verb}\",status=\"{status}\"}} {number}\n"));
        }
        let micros = self.request_micros.load(Ordering::Relaxed);
        line(format_args!("# TYPE banyan_edge_request_seconds summary\n"));
        line(format_args!(
            "banyan_edge_request_seconds_sum {}.{:06}\n",
            micros / 1_000_000,
            micros % 1_000_000
        ));
        line(format_args!("banyan_edge_request_seconds_count {count}\n"));
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        line(format_args!("# TYPE banyan_edge_requests_in_flight gauge\n"));
        line(format_args!("banyan_edge_requests_in_flight {in_flight}\n"));
        line(format_args!("# TYPE banyan_edge_deliveries_total counter\n"));
        for (result, number) in self.deliveries.lock().iter() {
            line(format_args!("banyan_edge_deliveries_total{{result=\"{result}\"}} {number}\n"));
        }
        let streams = self.streams.load(Ordering::Relaxed);
        line(format_args!("# TYPE banyan_edge_egress_streams gauge\nbanyan_edge_egress_streams {streams}\n"));
        self.mid(&mut line);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_as_text() {
        let metrics = Metrics::default();
        let busy = metrics.request_begins();
        metrics.request_ended("GET", 200, Duration::from_micros(1_500_000));
        metrics.request_ended("GET", 200, Duration::from_micros(7));
        metrics.request_ended("POST", 409, Duration::ZERO);
        metrics.delivered("confirmed");
        let text = metrics.text(true);
        for line in [
            "banyan_edge_ready 1",
            "banyan_edge_requests_total{method=\"GET\",status=\"200\"} 2",
            "banyan_edge_requests_total{method=\"POST\",status=\"409\"} 1",
            "banyan_edge_request_seconds_sum 1.500007",
            "banyan_edge_request_seconds_count 3",
            "banyan_edge_requests_in_flight 1",
            "banyan_edge_deliveries_total{result=\"confirmed\"} 1",
            "banyan_edge_egress_streams 0",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is not in\n{text}");
        }
        drop(busy);
        assert!(metrics.text(false).contains("banyan_edge_requests_in_flight 0\n"));
    }
}
