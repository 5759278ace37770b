//! What the HTTP workers send: creates of contentInstances, retrieves of `latest`, a mix, or anything to a server that
//! does nothing.

use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::body;
use crate::device::Device;
use crate::http::{Connection, Error};
use crate::load::pace::Worker;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// 64 letters that need no escape in XML: one random byte gives one letter, and no compressor finds anything in them.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A container under load, with its requests already made.
#[derive(Clone, Debug)]
pub struct Container {
    /// Path of the container.
    pub path: String,
    create: Template,
    latest: Vec<u8>,
}

/// A request with a gap for random letters.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    gap: std::ops::Range<usize>,
}

impl Container {
    /// The container at `path`, which the application `from` owns; contents of `content_bytes`.
    pub fn new(host: &str, path: &str, from: &str, content_bytes: usize) -> Container {
        let placeholder = "~".repeat(content_bytes.max(1));
        let xml = body::content_instance(None, &placeholder);
        let request = format!(
            "POST {path}/contentInstances HTTP/1.1\r\nhost: {host}\r\nfrom: {from}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{xml}",
            xml.len()
        );
        let start = request.find(&placeholder).expect("the placeholder was just written");
        let latest = format!(
            "GET {path}/contentInstances/latest HTTP/1.1\r\nhost: {host}\r\nfrom: {from}\r\naccept: application/xml\r\n\r\n"
        );
        Container {
            path: path.to_owned(),
            create: Template { gap: start..start + placeholder.len(), bytes: request.into_bytes() },
            latest: latest.into_bytes(),
        }
    }
}

/// Creates `count` containers, each below an application of its own (so that they spread over the shards), and puts
/// one instance into each, so that `latest` exists. Those that are already there stay.
///
/// # Errors
/// What the cluster answered.
pub async fn set_up(
    edge: &str,
    run: &str,
    count: usize,
    content_bytes: usize,
) -> Result<Vec<Container>, String> {
    let mut containers = Vec::with_capacity(count);
    for index in 0..count {
        containers.push(make(edge, &format!("load-{run}-{index}"), None, content_bytes).await?);
    }
    Ok(containers)
}

/// One container in an application of its own that keeps at most `instances`.
///
/// # Errors
/// What the cluster answered.
pub async fn limited(
    edge: &str,
    name: &str,
    instances: u64,
    content_bytes: usize,
) -> Result<Container, String> {
    make(edge, &format!("load-{name}"), Some(instances), content_bytes).await
}

async fn make(
    edge: &str,
    application: &str,
    limit: Option<u64>,
    content_bytes: usize,
) -> Result<Container, String> {
    let from = format!("/m2m/applications/{application}");
    let mut device = Device::new([edge], &from);
    create(&mut device, "/m2m/applications", &body::application(application, None)).await?;
    create(&mut device, &format!("{from}/containers"), &body::container("data", None, limit)).await?;
    let path = format!("{from}/containers/data");
    create(&mut device, &format!("{path}/contentInstances"), &body::content_instance(None, "first")).await?;
    Ok(Container::new(edge, &path, &from, content_bytes))
}

async fn create(device: &mut Device, path: &str, xml: &str) -> Result<(), String> {
    let reply = device.create(path, xml).await.map_err(|e| format!("POST {path}: {e}"))?;
    match reply.status {
        201 | 409 => Ok(()),
        status => Err(format!("POST {path}: {status} {}", String::from_utf8_lossy(&reply.body))),
    }
}

/// What a worker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// CREATE of a contentInstance with random content.
    Create,
    /// RETRIEVE of `latest`.
    Latest,
    /// So many retrieves of `latest` in a hundred, the rest creates.
    Mix {
        /// Retrieves in a hundred requests.
        reads_percent: u8,
    },
}

/// One connection to an edge (or to the server that does nothing).
#[derive(Debug)]
pub struct HttpWorker {
    to: String,
    connection: Option<Connection>,
    containers: Rc<[Container]>,
    next: usize,
    work: Work,
    rng: SmallRng,
    request: Vec<u8>,
    random: Vec<u8>,
}

impl HttpWorker {
    /// `count` workers that spread over `addresses` and walk through the containers from different starts.
    pub fn many(
        addresses: &[String],
        containers: &Rc<[Container]>,
        work: Work,
        count: usize,
        seed: u64,
    ) -> Vec<HttpWorker> {
        (0..count)
            .map(|index| HttpWorker {
                to: addresses[index % addresses.len()].clone(),
                connection: None,
                containers: Rc::clone(containers),
                next: index % containers.len(),
                work,
                rng: SmallRng::seed_from_u64(seed.wrapping_add(index as u64)),
                request: Vec::new(),
                random: Vec::new(),
            })
            .collect()
    }

    async fn exchange(&mut self, expected: u16) -> Result<(), String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.to, CONNECT_TIMEOUT).await.map_err(|e| describe(&e))?,
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, connection.send(&self.request, false)).await;
        let status = match answer {
            Ok(Ok(answer)) => answer.status,
            Ok(Err(error)) => return Err(describe(&error)),
            Err(_) => return Err("no answer in time".to_owned()),
        };
        if connection.is_open() {
            self.connection = Some(connection);
        }
        if status == expected { Ok(()) } else { Err(format!("status {status}")) }
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::Connect { .. } => "cannot connect".to_owned(),
        other => other.to_string(),
    }
}

impl Worker for HttpWorker {
    async fn step(&mut self) -> Result<(), String> {
        let containers = Rc::clone(&self.containers);
        let container = &containers[self.next];
        self.next = (self.next + 1) % containers.len();
        let read = match self.work {
            Work::Create => false,
            Work::Latest => true,
            Work::Mix { reads_percent } => self.rng.random_range(0..100) < reads_percent,
        };
        self.request.clear();
        if read {
            self.request.extend_from_slice(&container.latest);
            return self.exchange(200).await;
        }
        self.request.extend_from_slice(&container.create.bytes);
        let gap = &mut self.request[container.create.gap.clone()];
        self.random.resize(gap.len(), 0);
        self.rng.fill_bytes(&mut self.random);
        for (letter, byte) in gap.iter_mut().zip(&self.random) {
            *letter = LETTERS[usize::from(byte & 63)];
        }
        self.exchange(201).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_create_is_a_whole_request() {
        let container = Container::new("h:1", "/m2m/applications/a/containers/c", "/m2m/applications/a", 256);
        let text = String::from_utf8(container.create.bytes.clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert_eq!(&text[container.create.gap], "~".repeat(256));
    }
}
