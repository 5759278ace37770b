//! `load compare attack`: what honest clients of mIa notice while an edge is attacked, and what the attackers are told.
//!
//! Honest clients come from 127.0.0.1: some over connections that stand, some with a new connection for each request,
//! both on a fixed schedule. Attackers come from 127.0.0.2, since limits are by source; they run in a thread of their own,
//! and what they take from the machine's cores is in the figures.

mod attackers;

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::binaries;
use crate::cluster::{Cluster, Config};
use crate::factory::Factory;
use crate::http::Connection;
use crate::load::pace::{Measured, Pace, Worker, drive};
use crate::load::work::{Container, HttpWorker, Work, set_up};

use self::attackers::{Attack, Attackers};

/// Connections of honest clients of either kind.
const CONNECTIONS: usize = 16;
/// Honest containers.
const CONTAINERS: usize = 16;
const BYTES: usize = 256;
/// Between two rows, for what the attackers left to go.
const REST: Duration = Duration::from_secs(3);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Longer than any honest answer should take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Measures honest clients before, during each attack, and after all of them, and prints the table.
///
/// # Errors
/// The cluster does not take honest requests.
pub async fn run(folder: &Path, duration: Duration, per_second: f64) -> Result<(), String> {
    let factory = Factory::new();
    let strangers = Factory::called("strangers");
    strangers.device("device", 2, &[0x66; 16]);
    let config = Config {
        edges: 1,
        keys: true,
        devices: Some(factory.folder()),
        folder: Some(folder.to_owned()),
        log: "warn".to_owned(),
        ..Config::default()
    };
    let cluster = Cluster::start(binaries::build(), config).await;
    let edge = cluster.edges()[0].clone();
    println!(
        "nodes and edge: {:?}; honest clients: {per_second} requests a second of each kind",
        cluster.pids()
    );
    let containers: Rc<[Container]> = set_up(&edge, "honest", CONTAINERS, BYTES).await?.into();
    let edges = std::slice::from_ref(&edge);
    let standing = HttpWorker::many(edges, &containers, Work::Mix { reads_percent: 80 }, CONNECTIONS, 1);
    let anew = (0..CONNECTIONS).map(|at| Anew::new(&edge, &containers, at)).collect();
    let mut honest = Honest { standing, anew, per_second };

    honest.measure(duration / 2).await;
    let before = honest.measure(duration).await;
    println!("{}\n{}", heading(), row("before", &before, &before));
    let mut answers = Vec::new();
    for attack in Attack::all(&edge, cluster.mid(0), &factory, &strangers)? {
        let (name, attackers) = (attack.name.clone(), Attackers::begin(attack)?);
        // It has to stand before it is measured.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let during = honest.measure(duration).await;
        println!("{}", row(&name, &during, &before));
        answers.push(format!("{name}: {}", attackers.end()?));
        tokio::time::sleep(REST).await;
    }
    println!("{}", row("after all", &honest.measure(duration).await, &before));
    println!("\nwhat attackers were told:\n{}", answers.join("\n"));
    Ok(())
}

struct Honest {
    /// Their connections stand from before the first attack.
    standing: Vec<HttpWorker>,
    anew: Vec<Anew>,
    per_second: f64,
}

/// Of clients with a connection that stands, and of clients that come anew.
struct Seen {
    standing: Measured,
    anew: Measured,
}

impl Honest {
    async fn measure(&mut self, duration: Duration) -> Seen {
        let pace = Pace::Fixed { per_second: self.per_second };
        let (standing, anew) =
            tokio::join!(drive(&mut self.standing, pace, duration), drive(&mut self.anew, pace, duration));
        Seen { standing, anew }
    }
}

/// Retrieves `latest` over a new connection each time.
struct Anew {
    edge: String,
    request: Vec<u8>,
}

impl Anew {
    fn new(edge: &str, containers: &[Container], at: usize) -> Anew {
        let path = &containers[at % containers.len()].path;
        let from = path.split("/containers/").next().unwrap_or_default();
        let request = format!(
            "GET {path}/contentInstances/latest HTTP/1.1\r\nhost: {edge}\r\nfrom: {from}\r\nconnection: close\r\n\r\n"
        );
        Anew { edge: edge.to_owned(), request: request.into_bytes() }
    }
}

impl Worker for Anew {
    async fn step(&mut self) -> Result<(), String> {
        let mut connection = Connection::open(&self.edge, CONNECT_WITHIN).await.map_err(|e| e.to_string())?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, connection.send(&self.request, false)).await;
        match answer.map_err(|_| "no answer in time")?.map_err(|e| e.to_string())?.status {
            200 => Ok(()),
            status => Err(format!("status {status}")),
        }
    }
}

fn heading() -> String {
    "| attack                   |  per s | p50 ms | p99 ms | p99/before | new p50 | new p99 | p99/before | errors |\n\
     |--------------------------|-------:|-------:|-------:|-----------:|--------:|--------:|-----------:|-------:|"
        .to_owned()
}

fn row(name: &str, seen: &Seen, before: &Seen) -> String {
    let ratio = |now: &Measured, before: &Measured| now.quantile_ms(0.99) / before.quantile_ms(0.99);
    let mut line = format!(
        "| {name:<24} | {:>6.0} | {:>6.2} | {:>6.2} | {:>10.2} | {:>7.2} | {:>7.2} | {:>10.2} | {:>6} |",
        seen.standing.rate() + seen.anew.rate(),
        seen.standing.quantile_ms(0.5),
        seen.standing.quantile_ms(0.99),
        ratio(&seen.standing, &before.standing),
        seen.anew.quantile_ms(0.5),
        seen.anew.quantile_ms(0.99),
        ratio(&seen.anew, &before.anew),
        seen.standing.failed() + seen.anew.failed(),
    );
    for (kind, measured) in [("standing", &seen.standing), ("new", &seen.anew)] {
        if measured.failed() > 0 {
            line.push_str(&format!("\nerrors of {name}, {kind} connections: {:?}", measured.errors));
        }
    }
    line
}
