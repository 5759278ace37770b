//! `load compare discovery`: whether what a discovery, a listing and a create cost follows what they find, list and
//! change, or what there is.
//!
//! One cluster is filled twice, and asked the same after each: half of the resources stand in one collection, the others
//! are applications with a hundred resources each, so that they are in all shards. The resources that are looked for come
//! with the first filling. All of them have searchStrings that are not looked for, too.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::body;
use crate::cluster::Cluster;
use crate::device::Device;
use crate::http::Connection;
use crate::load::observe::Observed;
use crate::load::pace::{Measured, Worker};
use crate::load::report::{Row, row, table};
use crate::process::resident_bytes;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that fill.
const FILLING: usize = 96;
/// How often a resource is tried before the filling is given up.
const TRIES: usize = 50;
/// Connections that ask.
const ASKING: usize = 4;
/// How often the comparison within one filling alternates.
const ROUNDS: u64 = 3;
/// Resources from one application of its own to the next.
const STEP: u64 = 200;

const OWNER: &str = "/m2m/applications/owner";
const RIGHT: &str = "/m2m/applications/owner/accessRights/all";
/// The application with the one large collection.
const WIDE: &str = "wide";

/// What was measured at one size.
struct Size {
    resources: u64,
    /// Medians of the discoveries, by name.
    p50: Vec<(&'static str, f64)>,
}

/// Fills the cluster to each size in turn, asks, and prints.
///
/// # Errors
/// What could not be made or was answered wrongly.
pub async fn run(cluster: &Cluster, sizes: &[u64], duration: Duration) -> Result<Vec<Row>, String> {
    let [first, ..] = sizes else {
        return Err("discovery needs at least one number of resources".to_owned());
    };
    if !sizes.is_sorted() || sizes.iter().any(|size| size % STEP != 0) {
        return Err(format!("numbers of resources must grow, in steps of {STEP}"));
    }
    let edge = cluster.edges().swap_remove(0);
    owner(&edge).await?;
    let observed = Observed { pids: cluster.pids(), admins: cluster.node_admins() };
    let (mut rows, mut measured, mut filled, mut lines) = (Vec::new(), Vec::new(), 0, Vec::new());
    for &size in sizes {
        let start = Instant::now();
        fill(&edge, filled..size, *first).await?;
        let took = start.elapsed();
        lines.push(format!(
            "filled from {filled} to {size} resources in {:.1} s: {:.0} a second",
            took.as_secs_f64(),
            (size - filled) as f64 / took.as_secs_f64()
        ));
        eprintln!("{}", lines[lines.len() - 1]);
        filled = size;
        let (of_size, found) = ask(&edge, size, *first, &observed, duration).await?;
        rows.extend(found);
        measured.push(of_size);
        rows.extend(create(&edge, size, &observed, duration).await?);
        lines.push(list(cluster, &edge, &format!("/m2m/applications/{WIDE}/containers")).await?);
        lines.push(list(cluster, &edge, "/m2m/applications").await?);
    }
    println!("\n{}\n\n{}\n\n{}", table(&rows), lines.join("\n"), ratios(&measured).join("\n"));
    Ok(rows)
}

fn ratios(measured: &[Size]) -> Vec<String> {
    let mut lines = Vec::new();
    for Size { resources, p50 } in measured {
        let of = |name| p50.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, p50)| *p50);
        let (few, many) = (of(FEW.text), of(MANY.text));
        lines.push(format!("p50 at {resources} resources: hundred hits / ten hits = {:.2}", many / few));
    }
    if let [small, .., large] = measured {
        for ((name, before), (_, after)) in small.p50.iter().zip(&large.p50) {
            let sizes = (large.resources, small.resources);
            lines.push(format!("p50 of {name}: {} / {} resources = {:.2}", sizes.0, sizes.1, after / before));
        }
    }
    lines
}

/// A searchString and which resources of the first filling have it.
struct Hit {
    text: &'static str,
    every: u64,
    at: u64,
}

const FEW: Hit = Hit { text: "ten", every: 2_000, at: 3 };
const MANY: Hit = Hit { text: "hundred", every: 200, at: 5 };

impl Hit {
    fn is_at(&self, n: u64) -> bool {
        n % self.every == self.at
    }

    fn count(&self, resources: u64) -> u64 {
        (0..resources).filter(|n| self.is_at(*n)).count() as u64
    }
}

async fn owner(edge: &str) -> Result<(), String> {
    let mut device = Device::new([edge], OWNER);
    let flags = ["READ", "WRITE", "CREATE", "DELETE", "DISCOVER"];
    let own = [body::permission("own", &flags, &[OWNER])];
    for (path, xml) in [
        ("/m2m/applications".to_owned(), body::application("owner", None)),
        (format!("{OWNER}/accessRights"), body::access_right(Some("all"), &own, &own)),
        ("/m2m/applications".to_owned(), body::application(WIDE, Some(RIGHT))),
    ] {
        let reply = device.create(&path, &xml).await.map_err(|e| format!("POST {path}: {e}"))?;
        if !matches!(reply.status, 201 | 409) {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            return Err(format!("POST {path}: {} {body}", reply.status));
        }
    }
    Ok(())
}

/// Whether the resource of this number is an application of its own, which those after it stand in.
fn is_application(n: u64) -> bool {
    n % STEP == 1
}

/// The request that creates resource `n`.
fn creation(host: &str, n: u64, hits_until: u64) -> String {
    if is_application(n) {
        let xml = body::application(&format!("narrow{}", n / STEP), Some(RIGHT));
        return post(host, "/m2m/applications", &xml);
    }
    let application = if n.is_multiple_of(2) { WIDE.to_owned() } else { format!("narrow{}", n / STEP) };
    let mut strings = vec![format!("group{}", n % 1_000)];
    strings.extend(
        [FEW, MANY].iter().filter(|hit| n < hits_until && hit.is_at(n)).map(|hit| hit.text.to_owned()),
    );
    post(host, &format!("/m2m/applications/{application}/containers"), &container(&format!("c{n}"), &strings))
}

fn container(id: &str, strings: &[String]) -> String {
    let strings: String =
        strings.iter().map(|text| format!("<m2m:searchString>{text}</m2m:searchString>")).collect();
    let end = "</m2m:container>";
    body::container(id, Some(RIGHT), None)
        .replace(end, &format!("<m2m:searchStrings>{strings}</m2m:searchStrings>{end}"))
}

fn post(host: &str, path: &str, xml: &str) -> String {
    let length = xml.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nfrom: {OWNER}\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\r\n{xml}"
    )
}

/// Makes the resources of these numbers: the applications first.
async fn fill(edge: &str, numbers: std::ops::Range<u64>, hits_until: u64) -> Result<(), String> {
    for applications in [true, false] {
        let next = Cell::new(numbers.start);
        let mut filling: FuturesUnordered<_> = (0..FILLING)
            .map(|_| async {
                let mut connection = None;
                loop {
                    let n = next.get();
                    if n >= numbers.end {
                        return Ok::<_, String>(());
                    }
                    next.set(n + 1);
                    if is_application(n) == applications {
                        made(edge, &mut connection, &creation(edge, n, hits_until)).await?;
                    }
                }
            })
            .collect();
        while let Some(ended) = filling.next().await {
            ended?;
        }
    }
    Ok(())
}

/// Sends a create until it is done: a shard may be busy, or without leader for a moment.
async fn made(edge: &str, connection: &mut Option<Connection>, request: &str) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match exchange(edge, connection, request.as_bytes()).await {
            Ok((201 | 409, _)) => return Ok(()),
            Ok((status, body)) => last = format!("{status} {body}"),
            Err(why) => last = why,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("{}: {last}", request.lines().next().unwrap_or_default()))
}

async fn exchange(
    edge: &str,
    kept: &mut Option<Connection>,
    request: &[u8],
) -> Result<(u16, String), String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(edge, TIMEOUT).await.map_err(|e| e.to_string())?,
    };
    let answer = tokio::time::timeout(TIMEOUT, connection.send(request, false)).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|e| e.to_string())?;
    let read = (answer.status, String::from_utf8_lossy(answer.body).into_owned());
    if connection.is_open() {
        *kept = Some(connection);
    }
    Ok(read)
}

/// Asks the same, and looks whether the answer is right.
struct Asker {
    edge: String,
    connection: Option<Connection>,
    request: Vec<u8>,
    expected: String,
}

impl Worker for Asker {
    async fn step(&mut self) -> Result<(), String> {
        let (status, body) = exchange(&self.edge, &mut self.connection, &self.request).await?;
        if status == 200 && body.contains(&self.expected) { Ok(()) } else { Err(format!("{status} {body}")) }
    }
}

/// Discoveries of few and of many, and one RETRIEVE as the yardstick of the machine, in turn.
async fn ask(
    edge: &str,
    resources: u64,
    first: u64,
    observed: &Observed,
    duration: Duration,
) -> Result<(Size, Vec<Row>), String> {
    let discovery = |hit: Hit| {
        let target = format!("/m2m/discovery?searchString={}", hit.text);
        (hit.text, target, format!("matchSize>{}<", hit.count(first)))
    };
    let one = format!("/m2m/applications/{WIDE}/containers/c0");
    let questions = [discovery(FEW), discovery(MANY), ("retrieve", one, "searchStrings".to_owned())];
    let (mut rows, mut p50) = (Vec::new(), questions.each_ref().map(|(name, ..)| (*name, 0.0)));
    for _ in 0..ROUNDS {
        for (at, (name, target, expected)) in questions.iter().enumerate() {
            let request = format!(
                "GET {target} HTTP/1.1\r\nhost: {edge}\r\nfrom: {OWNER}\r\naccept: application/xml\r\n\r\n"
            );
            let asker = || Asker {
                edge: edge.to_owned(),
                connection: None,
                request: request.clone().into_bytes(),
                expected: expected.clone(),
            };
            let mut askers: Vec<Asker> = (0..ASKING).map(|_| asker()).collect();
            let (row, measured) =
                sound_row(&format!("{name}, {resources} resources"), &mut askers, observed, duration).await?;
            p50[at].1 += measured.quantile_ms(0.5) / ROUNDS as f64;
            rows.push(row);
        }
    }
    Ok((Size { resources, p50: p50.to_vec() }, rows))
}

/// Creates in the large collection and in one that was empty, in turn.
async fn create(
    edge: &str,
    resources: u64,
    observed: &Observed,
    duration: Duration,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        for large in [true, false] {
            let application = if large { WIDE.to_owned() } else { format!("empty-{resources}-{round}") };
            if !large {
                let request = post(edge, "/m2m/applications", &body::application(&application, Some(RIGHT)));
                made(edge, &mut None, &request).await?;
            }
            let (next, path) = (Rc::new(Cell::new(0)), format!("/m2m/applications/{application}/containers"));
            let creator = || Creator {
                edge: edge.to_owned(),
                connection: None,
                path: path.clone(),
                run: format!("{resources}-{round}"),
                next: Rc::clone(&next),
            };
            let mut creators: Vec<Creator> = (0..ASKING).map(|_| creator()).collect();
            let what = format!("create, {} members", if large { resources / 2 } else { 0 });
            rows.push(sound_row(&what, &mut creators, observed, duration).await?.0);
        }
    }
    Ok(rows)
}

struct Creator {
    edge: String,
    connection: Option<Connection>,
    path: String,
    run: String,
    next: Rc<Cell<u64>>,
}

impl Worker for Creator {
    async fn step(&mut self) -> Result<(), String> {
        let n = self.next.replace(self.next.get() + 1);
        let request = post(&self.edge, &self.path, &container(&format!("new-{}-{n}", self.run), &[]));
        match exchange(&self.edge, &mut self.connection, request.as_bytes()).await? {
            (201, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        }
    }
}

/// A row whose every request must succeed.
async fn sound_row<W: Worker>(
    what: &str,
    workers: &mut [W],
    observed: &Observed,
    duration: Duration,
) -> Result<(Row, Measured), String> {
    let (row, measured) = row(what, workers, observed, duration).await?;
    match measured.errors.first_key_value() {
        Some((why, count)) => Err(format!("{what}: {count} times {why}")),
        None => Ok((row, measured)),
    }
}

/// Lists a collection, as a line: how long until its first octet and its last, and what it took in memory meanwhile.
async fn list(cluster: &Cluster, edge: &str, path: &str) -> Result<String, String> {
    let pids = cluster.pids();
    let resident = || -> Result<Vec<u64>, String> {
        pids.iter().map(|pid| resident_bytes(*pid).map_err(|e| e.to_string())).collect()
    };
    let before = resident()?;
    let mut peak = before.clone();
    // sclBase's collections are shown to the SCL itself.
    let from = if path.starts_with("/m2m/applications/") { OWNER } else { "/m2m" };
    let reading = read_list(edge, path, from);
    tokio::pin!(reading);
    let Listed { first, took, bytes, members } = loop {
        tokio::select! {
            listed = &mut reading => break listed?,
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                for (peak, now) in peak.iter_mut().zip(resident()?) {
                    *peak = now.max(*peak);
                }
            }
        }
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let grown: Vec<String> = before
        .iter()
        .zip(&peak)
        .map(|(before, peak)| format!("{:.0}+{:.1}", mib(*before), mib(peak - before)))
        .collect();
    Ok(format!(
        "{path}: {members} members, {:.1} MiB; first octet after {:.1} ms, last after {:.0} ms; resident MiB of nodes, then edges: {}",
        mib(bytes),
        first.as_secs_f64() * 1e3,
        took.as_secs_f64() * 1e3,
        grown.join(" ")
    ))
}

struct Listed {
    first: Duration,
    took: Duration,
    bytes: u64,
    members: usize,
}

/// Reads a listing without keeping it, and counts its members.
async fn read_list(edge: &str, path: &str, from: &str) -> Result<Listed, String> {
    const MEMBER: &[u8] = b"<m2m:namedReference ";
    let broken = |e: std::io::Error| format!("GET {path}: {e}");
    let mut stream = TcpStream::connect(edge).await.map_err(broken)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {edge}\r\nfrom: {from}\r\naccept: application/xml\r\nconnection: close\r\n\r\n"
    );
    let start = Instant::now();
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    let (mut first, mut bytes, mut members) = (None, 0, 0);
    // What may be the beginning of a member stays in front of what comes next.
    let mut buffer = Vec::with_capacity(128 << 10);
    loop {
        let kept = buffer.len();
        let length = tokio::time::timeout(TIMEOUT, stream.read_buf(&mut buffer)).await;
        let length = length.map_err(|_| format!("GET {path}: stalled"))?.map_err(broken)?;
        if length == 0 {
            break;
        }
        if first.is_none() && !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(format!("GET {path}: {}", String::from_utf8_lossy(&buffer)));
        }
        first.get_or_insert_with(|| start.elapsed());
        bytes += length as u64;
        let count = |octets: &[u8]| octets.windows(MEMBER.len()).filter(|window| *window == MEMBER).count();
        // Those that lie in what was kept were counted before.
        members += count(&buffer) - count(&buffer[..kept]);
        let cut = buffer.len().saturating_sub(MEMBER.len() - 1);
        buffer.drain(..cut);
    }
    if !buffer.ends_with(b"0\r\n\r\n") && !buffer.ends_with(b">") {
        return Err(format!("GET {path}: broke off after {members} members"));
    }
    Ok(Listed { first: first.unwrap_or_default(), took: start.elapsed(), bytes, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_filling_has_ten_and_a_hundred_to_find_in_applications_of_their_own() {
        assert_eq!((FEW.count(20_000), MANY.count(20_000)), (10, 100));
        for n in (0..20_000).filter(|n| FEW.is_at(*n) || MANY.is_at(*n)) {
            let request = creation("h", n, 20_000);
            assert!(request.starts_with(&format!("POST /m2m/applications/narrow{}/containers ", n / STEP)));
            assert!(request.contains("searchString>ten<") || request.contains("searchString>hundred<"));
            assert!(!creation("h", n, 0).contains("hundred"));
        }
        assert_eq!((0..20_000).filter(|n| is_application(*n)).count(), 100);
    }
}
