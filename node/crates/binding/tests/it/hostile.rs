//! Input that means harm, and limits that hold.

use crate::bench::{Answer, Bench, read_to_end, scl, wire};
use banyan_binding::{
    http::{Config, Server, ServerConfig},
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

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
