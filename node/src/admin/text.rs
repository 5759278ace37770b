//! Metrics in the text format of Prometheus.

use super::{GroupReport, Report};
use std::{fmt::Write, fs};

/// Name, help and value of what each replica has.
type PerGroup = (&'static str, &'static str, fn(&GroupReport) -> u64);

const ROLES: [&str; 4] = ["Leader", "Follower", "Candidate", "Learner"];

pub(super) fn metrics(ready: bool, report: &Report) -> String {
    let mut text = Text::default();
    text.begin("ready", "gauge", "Whether this node can do its part.");
    text.line("ready", "", u64::from(ready));
    text.begin("groups", "gauge", "Replicas of this node by role.");
    for role in ROLES {
        let count = report.groups.iter().filter(|group| group.role == role).count();
        text.line("groups", &format!("{{role=\"{role}\"}}"), count as u64);
    }
    let per_group: [PerGroup; 5] = [
        ("group_term", "Raft term.", |group| group.term),
        ("group_applied_index", "Last applied entry.", |group| group.applied_index),
        ("group_committed_index", "Last entry known to be committed.", |group| group.committed_index),
        ("group_proposals_in_flight", "Proposals that wait.", |group| group.proposals_in_flight),
        ("group_stopped", "1: the replica stopped, see the log.", |group| u64::from(group.stopped)),
    ];
    for (name, help, value) in per_group {
        text.begin(name, "gauge", help);
        for group in &report.groups {
            text.line(name, &format!("{{group=\"{}\"}}", group.group), value(group));
        }
    }
    for metric in &report.values {
        let kind = if metric.name.ends_with("_total") { "counter" } else { "gauge" };
        text.begin(metric.name, kind, metric.help);
        text.line(metric.name, "", metric.value);
    }
    text.begin("deliveries_total", "counter", "Deliveries by result.");
    for (result, count) in &report.deliveries {
        text.line("deliveries_total", &format!("{{result=\"{result}\"}}"), *count);
    }
    text.begin("saf_requests", "gauge", "Requests stored for other SCLs, by category.");
    for (category, requests, _) in &report.stored {
        text.line("saf_requests", &format!("{{category=\"{category}\"}}"), *requests);
    }
    text.begin("saf_bytes", "gauge", "Octets of them.");
    for (category, _, octets) in &report.stored {
        text.line("saf_bytes", &format!("{{category=\"{category}\"}}"), *octets);
    }
    process(&mut text);
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP banyan_{name} {help}\n# TYPE banyan_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "banyan_{name}{labels} {value}");
    }
}

/// What the kernel says of this process; left out where there is no /proc.
fn process(text: &mut Text) {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        text.begin("process_resident_bytes", "gauge", "Resident memory of the process.");
        text.line("process_resident_bytes", "", bytes);
    }
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        text.begin("process_cpu_seconds_total", "counter", "Processor time of the process.");
        text.line("process_cpu_seconds_total", "", seconds);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name may hold spaces and brackets; the fields are counted behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    // USER_HZ is 100 on every Linux that Rust supports.
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Metric;

    #[test]
    fn a_report_is_written_as_prometheus_text() {
        let group = GroupReport {
            group: 3,
            role: "Leader",
            term: 2,
            applied_index: 40,
            committed_index: 41,
            proposals_in_flight: 1,
            stopped: false,
        };
        let syncs = Metric { name: "log_syncs_total", help: "Syncs.", value: 7 };
        let report = Report {
            groups: vec![group],
            values: vec![syncs],
            deliveries: vec![("confirmed", 5)],
            stored: vec![(3, 2, 90)],
        };
        let text = metrics(true, &report);
        for line in [
            "banyan_ready 1",
            "banyan_groups{role=\"Leader\"} 1",
            "banyan_groups{role=\"Learner\"} 0",
            "banyan_group_term{group=\"3\"} 2",
            "banyan_group_applied_index{group=\"3\"} 40",
            "# TYPE banyan_log_syncs_total counter",
            "banyan_log_syncs_total 7",
            "banyan_deliveries_total{result=\"confirmed\"} 5",
            "banyan_saf_requests{category=\"3\"} 2",
            "banyan_saf_bytes{category=\"3\"} 90",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 9 9 9";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }
}
