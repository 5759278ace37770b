//! Reads a node's `/metrics` (the Prometheus text format).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::http::{Connection, Error};

/// One reading: each sample by its name with labels, as written.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks `admin` (address and port).
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub async fn read(admin: &str) -> Result<Metrics, Error> {
        let within = Duration::from_secs(2);
        let mut connection = Connection::open(admin, within).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\n\r\n");
        let answer = tokio::time::timeout(within, connection.send(request.as_bytes(), false))
            .await
            .map_err(|_| Error::TimedOut(within))??;
        if answer.status != 200 {
            return Err(Error::Malformed("/metrics did not answer 200"));
        }
        Ok(Metrics::parse(&String::from_utf8_lossy(answer.body)))
    }

    fn parse(text: &str) -> Metrics {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.trim().to_owned(), value.parse().ok()?))
        });
        Metrics(samples.collect())
    }

    /// The sum of all samples of this metric, whatever their labels; `None` if there is none.
    pub fn sum(&self, metric: &str) -> Option<f64> {
        let mut matching = self
            .0
            .iter()
            .filter(|(name, _)| {
                name.strip_prefix(metric).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
            })
            .map(|(_, value)| *value)
            .peekable();
        matching.peek()?;
        Some(matching.sum())
    }

    /// The samples of one metric by the value of one label.
    pub fn by_label(&self, metric: &str, label: &str) -> BTreeMap<String, f64> {
        let wanted = format!("{label}=\"");
        self.0
            .iter()
            .filter_map(|(name, value)| {
                let labels = name.strip_prefix(metric)?.strip_prefix('{')?.strip_suffix('}')?;
                let found = labels.split(',').find_map(|pair| pair.strip_prefix(&wanted))?;
                Some((found.trim_end_matches('"').to_owned(), *value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_their_labels() {
        let metrics =
            Metrics::parse("# HELP x\nx{shard=\"1\",role=\"a\"} 2\nx{shard=\"2\",role=\"a\"} 3\nxy 7\n");
        assert_eq!(metrics.sum("x"), Some(5.0));
        assert_eq!(metrics.sum("xy"), Some(7.0));
        assert_eq!(metrics.sum("z"), None);
        assert_eq!(metrics.by_label("x", "shard")["2"], 3.0);
    }
}
