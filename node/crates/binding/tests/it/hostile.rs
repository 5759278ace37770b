//! Input that means harm, and limits that hold.

use crate::bench::{Answer, Bench, read_to_end, scl, wire};
use banyan_binding::{
    http::{Config, PerSecond, Server, ServerConfig},
    identity::Open,
};
use banyan_codec::Limits;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn limited() -> Bench {
    let server = Server {
        config: ServerConfig {
            idle_timeout: Duration::from_millis(400),
            drain_timeout: Duration::from_secs(5),
            ..ServerConfig::default()
        },
        ..Server::default()
    };
    let config = Config {
        limits: Limits { bytes_max: 1_000, ..Limits::default() },
        body_timeout: Duration::from_millis(300),
        bodies_bytes_max: 2_048,
        ..Config::new(scl())
    };
    Bench::start(server, config, Open { scl: scl() }).await
}

#[tokio::test]
async fn targets_that_are_no_paths() {
    let bench = Bench::open().await;
    for target in [
        "/m2m/a/../b",
        "/m2m/..",
        "/m2m/%2e%2e/x",
        "/m2m//a",
        "/m2m/a%00b",
        "/m2m/a%0a",
        "/m2m/%",
        "/m2m/%c3",
    ] {
        bench
            .check(
                &format!("GET {target} HTTP/1.1\nHost: h\nFrom: a"),
                "400\n| STATUS_BAD_REQUEST\n| targetID\n>",
            )
            .await;
    }
    let long = "x".repeat(257);
    bench.check(&format!("GET /m2m/{long} HTTP/1.1\nHost: h\nFrom: a"), "400\n| targetID\n>").await;
    let deep = "/x".repeat(65);
    bench.check(&format!("GET /m2m{deep} HTTP/1.1\nHost: h\nFrom: a"), "400\n| targetID\n>").await;
    // Not even HTTP.
    for rubbish in
        [&b"GET /m2m/\0 HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"\0\x01\x02\r\n\r\n", b"GET /m2m\r\n\r\n"]
    {
        let answer = Answer::read(bench.raw(rubbish).await);
        assert!(matches!(answer.status, 0 | 400), "{answer:?}");
    }
    assert!(bench.fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn headers_have_a_limit() {
    let bench = Bench::open().await;
    let large = "x".repeat(20_000);
    let answer =
        bench.raw(format!("GET /m2m HTTP/1.1\r\nHost: h\r\nFrom: a\r\nX: {large}\r\n\r\n").as_bytes()).await;
    assert_eq!(Answer::read(answer).status, 431);
    let many = "X: y\r\n".repeat(500);
    let answer = bench.raw(format!("GET /m2m HTTP/1.1\r\nHost: h\r\nFrom: a\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(Answer::read(answer).status, 431);
    assert!(bench.fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_have_a_limit_announced_or_not() {
    let bench = limited().await;
    let head = "POST /m2m/containers/c/contentInstances HTTP/1.1\nHost: h\nFrom: a\nContent-Type: text/plain";
    let (fits, over) = ("x".repeat(1_000), "x".repeat(1_001));
    bench.check(&format!("{head}\n\n{fits}"), "201").await;
    bench.check(&format!("{head}\n\n{over}"), "413\n| STATUS_BAD_REQUEST\n| 1000 octets\n>").await;
    // The refusal does not wait for what was announced.
    bench.check(&format!("{head}\nContent-Length: 99999999999"), "413\n>").await;
    let mut chunked = wire(&format!("{head}\nTransfer-Encoding: chunked"));
    chunked.extend_from_slice(format!("3e8\r\n{fits}\r\n1\r\nx\r\n0\r\n\r\n").as_bytes());
    assert_eq!(Answer::read(bench.raw(&chunked).await).status, 413);
}

#[tokio::test]
async fn a_body_has_one_end_and_one_type() {
    let bench = Bench::open().await;
    let head = "POST /m2m/containers/c/contentInstances HTTP/1.1\nHost: h\nFrom: a";
    let plain = "Content-Type: text/plain";
    for (headers, expected) in [
        ("Content-Type: application/xml\nContent-Type: text/plain", "400\n| Content-Type: given twice\n>"),
        (&format!("{plain}\nContent-Encoding: gzip"), "415\n| Content-Encoding\n>"),
        (&format!("{plain}\nContent-Encoding: identity, br"), "415\n| Content-Encoding\n>"),
        (&format!("{plain}\nContent-Encoding: identity"), "201"),
    ] {
        bench.check(&format!("{head}\n{headers}\n\nx"), expected).await;
    }
    for framing in ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: gzip"] {
        let head = head.replace('\n', "\r\n");
        let request =
            format!("{head}\r\n{plain}\r\n{framing}\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        let answer = Answer::read(bench.raw(request.as_bytes()).await);
        assert_eq!(answer.status, 400, "{framing}: {answer:?}");
    }
    let delete = "DELETE /m2m/containers/c HTTP/1.1\nHost: h\nFrom: a\nContent-Encoding: gzip";
    bench.check(delete, "415\n>").await;
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let bench = limited().await;
    let head = "POST /m2m/containers/c/contentInstances HTTP/1.1\nHost: h\nFrom: a\nContent-Type: text/plain";
    let started = Instant::now();
    bench.check(&format!("{head}\nContent-Length: 10"), "408\n| STATUS_REQUEST_TIMEOUT\n>").await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn bodies_share_a_budget() {
    let bench = limited().await;
    let head = "POST /m2m/containers/c/slow HTTP/1.1\nHost: h\nFrom: a\nContent-Type: application/xml";
    let body = "x".repeat(900);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(bench.address).await.unwrap();
        socket.write_all(&wire(&format!("{head}\n\n{body}"))).await.unwrap();
        held.push(socket);
    }
    until(|| bench.fake.seen.lock().unwrap().len() == 2).await;
    bench.check(&format!("{head}\n\n{body}"), "503\nretry-after: 1\n| STATUS_SERVICE_UNAVAILABLE\n>").await;
    bench.fake.gate.0.add_permits(3);
    for socket in &mut held {
        assert_eq!(Answer::read(read_to_end(socket).await).status, 400);
    }
    bench
        .check(&format!("{head}\n\n{body}"), "400\n> Create /containers/c/slow by a: malformed BadRequest")
        .await;
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let bench = limited().await;
    // Nothing at all, half a header, half an HTTP/2 preface, a keep-alive connection after its request.
    for start in [
        "",
        "GET /m2m HTTP/1.1\r\nHost:",
        "PRI * HTTP/2.0\r\n",
        "GET /m2m HTTP/1.1\r\nHost: h\r\nFrom: a\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(bench.address).await.unwrap();
        socket.write_all(start.as_bytes()).await.unwrap();
        read_to_end(&mut socket).await;
    }
}

#[tokio::test]
async fn a_slow_tree_does_not_count_as_an_idle_client() {
    let bench = limited().await;
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    socket.write_all(&wire("GET /m2m/groups/slow HTTP/1.1\nHost: h\nFrom: a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    bench.fake.gate.0.add_permits(1);
    assert_eq!(Answer::read(read_to_end(&mut socket).await).status, 200);
}

#[tokio::test]
async fn connections_have_a_limit_and_the_next_one_waits() {
    let server = Server {
        config: ServerConfig { connections_max: 1, ..ServerConfig::default() },
        ..Server::default()
    };
    let bench = Bench::start(server, Config::new(scl()), Open { scl: scl() }).await;
    let mut first = TcpStream::connect(bench.address).await.unwrap();
    first.write_all(b"GET /m2m/scls HTTP/1.1\r\nHost: h\r\nFrom: a\r\n\r\n").await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = TcpStream::connect(bench.address).await.unwrap();
    second.write_all(&wire("GET /m2m/scls HTTP/1.1\nHost: h\nFrom: b")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), second.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    assert_eq!(Answer::read(read_to_end(&mut second).await).status, 200);
}

#[tokio::test]
async fn a_stop_lets_what_is_in_flight_end() {
    let mut bench = Bench::open().await;
    let mut idle = TcpStream::connect(bench.address).await.unwrap();
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    socket.write_all(b"GET /m2m/groups/slow HTTP/1.1\r\nHost: h\r\nFrom: a\r\n\r\n").await.unwrap();
    until(|| !bench.fake.seen.lock().unwrap().is_empty()).await;
    bench.stop.take().unwrap().send(()).unwrap();
    read_to_end(&mut idle).await;
    assert!(TcpStream::connect(bench.address).await.is_err(), "still listening");
    bench.fake.gate.0.add_permits(1);
    assert_eq!(Answer::read(read_to_end(&mut socket).await).status, 200);
    bench.served.await.unwrap();
}

#[tokio::test]
async fn a_stop_is_bounded() {
    let server = Server {
        config: ServerConfig { drain_timeout: Duration::from_millis(300), ..ServerConfig::default() },
        ..Server::default()
    };
    let mut bench = Bench::start(server, Config::new(scl()), Open { scl: scl() }).await;
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    socket.write_all(&wire("GET /m2m/groups/slow HTTP/1.1\nHost: h\nFrom: a")).await.unwrap();
    until(|| !bench.fake.seen.lock().unwrap().is_empty()).await;
    bench.stop.take().unwrap().send(()).unwrap();
    bench.served.await.unwrap();
    assert_eq!(read_to_end(&mut socket).await, b"");
}

#[tokio::test]
async fn a_request_with_two_readings_is_refused_after_the_answers_before_it() {
    let bench = Bench::open().await;
    let sound = "GET /m2m/scls HTTP/1.1\r\nHost: h\r\nFrom: a\r\n\r\n";
    let head =
        "POST /m2m/containers/c/contentInstances HTTP/1.1\r\nHost: h\r\nFrom: a\r\nContent-Type: text/plain";
    for rest in [
        "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "\r\nX: y\r\n z\r\nContent-Length: 1\r\n\r\nx",
        "\nContent-Length: 1\r\n\r\nx",
        "\r\nX : y\r\nContent-Length: 1\r\n\r\nx",
    ] {
        bench.fake.seen.lock().unwrap().clear();
        let answer = bench.raw(format!("{sound}{head}{rest}{sound}").as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "400"], "{rest:?}: {answer}");
        assert_eq!(bench.fake.seen.lock().unwrap().len(), 1, "{rest:?}");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let rated = |rates| Config { rates, ..Config::new(scl()) };
    let asks = |name: &str| format!("GET /m2m/scls HTTP/1.1\nHost: h\nFrom: {name}");
    let start = async |rates| Bench::start(Server::default(), rated(rates), Open { scl: scl() }).await;
    let refused = |who: &str| format!("429\nretry-after: 1\n| STATUS_SERVICE_UNAVAILABLE\n| {who}:\n>");

    let bench = start(PerSecond { identity: 1, ..PerSecond::default() }).await;
    for _ in 0..2 {
        bench.check(&asks("/m2m/scls/g/applications/a"), "200").await;
    }
    bench.check(&asks("/m2m/scls/g/applications/a"), &refused("requestingEntity")).await;
    bench.check(&asks("/m2m/scls/g/applications/b"), "200").await;

    let bench = start(PerSecond { tenant: 1, ..PerSecond::default() }).await;
    bench.check(&asks("/m2m/scls/g/applications/a"), "200").await;
    bench.check(&asks("/m2m/scls/g/applications/b"), "200").await;
    bench.check(&asks("/m2m/scls/g"), &refused("tenant")).await;
    bench.check(&asks("/m2m/scls/other"), "200").await;

    let bench = start(PerSecond { source: 1, ..PerSecond::default() }).await;
    bench.check(&asks("a"), "200").await;
    bench.check(&asks("b"), "200").await;
    bench.check(&asks("c"), &refused("source")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.check(&asks("c"), "200").await;
}

#[tokio::test]
async fn a_body_slower_than_the_rate_is_given_up_before_its_deadline() {
    let config = Config { body_rate_min: 1_000, ..Config::new(scl()) };
    let bench = Bench::start(Server::default(), config, Open { scl: scl() }).await;
    let head = "POST /m2m/containers/c/contentInstances HTTP/1.1\nHost: h\nFrom: a\nContent-Type: text/plain";
    bench.check(&format!("{head}\nContent-Length: 10"), "408\n| slower than 1000 octets a second\n>").await;
}

/// A server whose limits of one source are small.
async fn guarded(config: ServerConfig) -> Bench {
    let server = Server { config, ..Server::default() };
    Bench::start(server, Config::new(scl()), Open { scl: scl() }).await
}

/// Whether the server keeps a connection that says `start`.
async fn keeps(bench: &Bench, start: &str) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    // It may be reset before that.
    let _ = socket.write_all(start.as_bytes()).await;
    let ended = tokio::time::timeout(Duration::from_millis(200), socket.read_u8()).await;
    match ended {
        Err(_) => Some(socket),
        Ok(read) => read.is_ok().then_some(socket),
    }
}

const SOUND: &str = "GET /m2m/scls HTTP/1.1\r\nHost: h\r\nFrom: a\r\n\r\n";

#[tokio::test]
async fn slow_headers_hold_neither_the_listener_nor_their_places() {
    let bench = guarded(ServerConfig {
        connections_max: 8,
        source_half_open_max: 4,
        header_timeout: Duration::from_millis(1_500),
        ..ServerConfig::default()
    })
    .await;
    // An honest client that was there before is not concerned.
    let mut honest = keeps(&bench, SOUND).await.unwrap();
    let mut slow = Vec::new();
    for start in ["", "G", "GET /m2m HTTP/1.1\r\nHost: h\r\nX", "PRI * HTTP/2.0\r\n"] {
        slow.push(keeps(&bench, start).await.unwrap_or_else(|| panic!("{start:?} was reset")));
    }
    for _ in 0..20 {
        assert!(keeps(&bench, "GET").await.is_none(), "more half-open connections than allowed");
    }
    honest.write_all(SOUND.as_bytes()).await.unwrap();
    honest.read_u8().await.unwrap();
    for socket in &mut slow {
        assert_eq!(read_to_end(socket).await, b"", "a slow header is no request");
    }
    assert!(keeps(&bench, SOUND).await.is_some(), "the places were not given back");
}

/// The slowest but one in a hundred of 2,000 requests one after the other on one connection.
async fn p99(socket: &mut TcpStream) -> Duration {
    let mut took = Vec::new();
    let mut answer = [0; 4_096];
    for _ in 0..2_000 {
        let began = Instant::now();
        socket.write_all(SOUND.as_bytes()).await.unwrap();
        assert!(socket.read(&mut answer).await.unwrap() > 0);
        took.push(began.elapsed());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

#[tokio::test]
#[ignore = "a measurement, of 2,000 sockets: docs/testing.md"]
async fn two_thousand_slow_sockets_and_an_honest_client() {
    let bench = guarded(ServerConfig::default()).await;
    let mut honest = TcpStream::connect(bench.address).await.unwrap();
    let before = p99(&mut honest).await;
    let address = bench.address;
    let slow: Vec<_> = (0..2_000)
        .map(|_| {
            tokio::spawn(async move {
                // Comes again as soon as it is sent away.
                loop {
                    if let Ok(mut socket) = TcpStream::connect(address).await {
                        while socket.write_all(b"G").await.is_ok() {
                            tokio::time::sleep(Duration::from_secs(1)).await;
                        }
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let during = p99(&mut honest).await;
    println!("p99 before {before:?}, during {during:?}: {:.2}", during.as_secs_f64() / before.as_secs_f64());
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(during < before * 20, "{before:?} became {during:?}");
}

#[tokio::test]
async fn a_source_has_so_many_connections_and_no_more() {
    let bench = guarded(ServerConfig { source_connections_max: 2, ..ServerConfig::default() }).await;
    let first = keeps(&bench, SOUND).await.unwrap();
    let _second = keeps(&bench, SOUND).await.unwrap();
    assert!(keeps(&bench, SOUND).await.is_none());
    drop(first);
    for _ in 0..50 {
        if keeps(&bench, SOUND).await.is_some() {
            return;
        }
    }
    panic!("a connection that ended counts still");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends frames after the preface until the server ends the connection; whether it did.
async fn flood(bench: &Bench, frames: impl Iterator<Item = Vec<u8>>) -> bool {
    let (mut read, mut write) = TcpStream::connect(bench.address).await.unwrap().into_split();
    let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    start.extend(frame(4, 0, 0, &[]));
    let ended = tokio::spawn(async move {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
    });
    let mut refused = write.write_all(&start).await.is_err();
    for frame in frames {
        refused |= write.write_all(&frame).await.is_err();
        if refused {
            break;
        }
    }
    tokio::time::timeout(Duration::from_secs(3), ended).await.is_ok()
}

#[tokio::test]
async fn floods_of_http2_end_their_connection() {
    let bench = guarded(ServerConfig::default()).await;
    // GET http://h/ ; its fields are in the static table but for the authority.
    let headers = [0x82, 0x84, 0x86, 0x41, 1, b'h'];
    let streams = (0..20_000_u32).map(|n| 1 + 2 * n);
    let reset = |stream| [frame(1, 5, stream, &headers), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
    assert!(!flood(&bench, streams.clone().map(reset).take(5)).await, "a few resets are no flood");
    assert!(flood(&bench, streams.clone().map(reset)).await, "rapid reset");
    // A window that overflows makes the server reset the stream itself.
    let broken =
        |stream| [frame(1, 4, stream, &headers), frame(8, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat();
    assert!(!flood(&bench, streams.clone().map(broken).take(5)).await, "a few errors are no flood");
    assert!(flood(&bench, streams.map(broken)).await, "resets that the server is made to send");
    let start = std::iter::once(frame(1, 0, 1, &headers));
    let part = || frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y']);
    assert!(!flood(&bench, start.clone().chain([part(), part()])).await, "a header in parts is no flood");
    let endless = std::iter::repeat_with(part).take(100_000);
    assert!(flood(&bench, start.chain(endless)).await, "a header without end");
    assert!(keeps(&bench, SOUND).await.is_some());
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
