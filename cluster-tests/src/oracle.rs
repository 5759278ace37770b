//! What was sent and what was answered, so that the truth can be asked for afterwards.
//!
//! Every write carries a content that nobody else sends: `w<writer>-<sequence>-<random>`. The SCL names the instances,
//! so a write that was carried out twice shows as two instances of one content.

use std::time::{Duration, Instant};

use rand::Rng;

use crate::device::Device;
use crate::http::Error;
use crate::{body, subscriber};

/// What the writer knows about one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A 2xx answer: it must be there, for ever.
    Acknowledged,
    /// A 4xx answer: it must not be there.
    Refused(u16),
    /// A 5xx answer or none: it may or may not be there.
    Unknown(String),
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Position among the writer's writes, from 0.
    pub sequence: u64,
    /// Its content.
    pub content: String,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer was there, or its failure was known.
    pub answered: Instant,
    /// What came.
    pub answer: Answer,
}

/// One writer: creates contentInstances one after the other, each after the answer to the one before.
#[derive(Debug)]
pub struct Writer<R> {
    number: u64,
    device: Device,
    collection: String,
    rng: R,
    history: Vec<Write>,
}

impl<R: Rng> Writer<R> {
    /// A writer into the `contentInstances` collection at this path.
    pub fn new(number: u64, device: Device, collection: &str, rng: R) -> Writer<R> {
        Writer { number, device, collection: collection.to_owned(), rng, history: Vec::new() }
    }

    /// Sends one write and remembers it. After an answer that is none it goes to the next edge and waits `pause`, so
    /// that a cluster without a leader is not flooded.
    pub async fn write(&mut self, pause: Duration) -> &Write {
        let sequence = self.history.len() as u64;
        let content = format!("w{}-{sequence}-{:016x}", self.number, self.rng.next_u64());
        let sent = Instant::now();
        let reply = self.device.create(&self.collection, &body::content_instance(None, &content)).await;
        let answer = judge(&reply);
        let answered = Instant::now();
        self.history.push(Write { sequence, content, sent, answered, answer });
        if matches!(self.history[self.history.len() - 1].answer, Answer::Unknown(_)) {
            self.device.switch_edge();
            tokio::time::sleep(pause).await;
        }
        &self.history[self.history.len() - 1]
    }

    /// Its writes in order.
    pub fn into_history(self) -> Vec<Write> {
        self.history
    }
}

fn judge(reply: &Result<crate::device::Reply, Error>) -> Answer {
    match reply {
        Ok(reply) => match reply.status {
            200..300 => Answer::Acknowledged,
            status @ 400..500 => Answer::Refused(status),
            status => Answer::Unknown(format!("status {status}")),
        },
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// The contents of a container's instances in their stored order.
///
/// # Errors
/// What the cluster answered instead.
pub async fn stored(device: &mut Device, collection: &str) -> Result<Vec<String>, String> {
    let reply = device.retrieve(collection).await.map_err(|error| error.to_string())?;
    if reply.status != 200 {
        return Err(format!("GET {collection}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)));
    }
    Ok(subscriber::contents(reply.text()))
}

/// The same, asked again until it is answered 200.
///
/// # Panics
/// It is not within `within`.
pub async fn stored_within(device: &mut Device, collection: &str, within: Duration) -> Vec<String> {
    let until = Instant::now() + within;
    loop {
        match stored(device, collection).await {
            Ok(contents) => return contents,
            Err(why) => {
                assert!(Instant::now() < until, "{collection} cannot be read within {within:?}: {why}")
            }
        }
        device.switch_edge();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The longest time without a success that begins within three seconds after `moment`, or lasts at it.
pub fn gap_at(histories: &[Vec<Write>], moment: Instant) -> Duration {
    let near = |pair: &&[Instant]| pair[1] > moment && pair[0] < moment + Duration::from_secs(3);
    acknowledgements(histories)
        .windows(2)
        .filter(near)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or_default()
}

/// The longest time without a success: from one acknowledgement (of anybody) to the next.
pub fn longest_gap(histories: &[Vec<Write>]) -> Duration {
    acknowledgements(histories).windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// When each acknowledgement came, in order.
fn acknowledgements(histories: &[Vec<Write>]) -> Vec<Instant> {
    let mut acknowledged: Vec<Instant> = histories
        .iter()
        .flatten()
        .filter(|write| write.answer == Answer::Acknowledged)
        .map(|write| write.answered)
        .collect();
    acknowledged.sort_unstable();
    acknowledged
}
