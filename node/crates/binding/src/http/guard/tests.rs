//! The scanner beside hyper: neither sees a request where the other does not.

use super::{
    Guard, Pace,
    scanner::{Fault, Scanner},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use proptest::prelude::*;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PACE: Pace = Pace {
    header_timeout: Duration::from_secs(10),
    answer_grace: Duration::from_secs(10),
    answer_rate_min: 0,
};

fn verdict(scanner: &mut Scanner, octets: &[u8]) -> Result<u64, Fault> {
    scanner.feed(octets).map(|()| scanner.heads()).map_err(|(_, fault)| fault)
}

#[track_caller]
fn check(input: &str, expected: Result<u64, Fault>) {
    assert_eq!(verdict(&mut Scanner::new(), input.as_bytes()), expected, "{input:?}");
}

#[test]
fn what_has_one_reading_passes() {
    for (heads, input) in [
        (0, ""),
        (0, "GET / HTTP/1.1\r\nHost"),
        (1, "GET / HTTP/1.1\r\n\r\n"),
        (1, "POST / HTTP/1.1\r\nContent-Length:\t 5 \r\n\r\nGET /"),
        (2, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.0\r\nA:b\r\n\r\n"),
        (
            2,
            "PUT / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\nPRI / HTTP/1.1\r\n\r\n",
        ),
        (
            2,
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: x\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ),
        (1, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\n\r whatever"),
    ] {
        check(input, Ok(heads));
    }
}

#[test]
fn what_has_two_readings_is_refused() {
    let head = |lines: &str| format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
    for (lines, fault) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Fault::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Fault::LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 5", Fault::LengthTwice),
        ("Content-Length: 5, 5", Fault::Length),
        ("Content-Length: +5", Fault::Length),
        ("Content-Length: 0x5", Fault::Length),
        ("Content-Length:", Fault::Length),
        ("Content-Length: 5 5", Fault::Length),
        ("Content-Length: 99999999999999999999", Fault::Length),
        ("Content-Length: 00000000000000000000000000005", Fault::Length),
        ("Transfer-Encoding: gzip, chunked", Fault::Coding),
        ("Transfer-Encoding: chunked, chunked", Fault::Coding),
        ("Transfer-Encoding: xchunked", Fault::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Fault::Coding),
        ("Transfer-Encoding:", Fault::Coding),
        ("Transfer-Encoding: \"chunked\"", Fault::Coding),
        ("Transfer-Encoding : chunked", Fault::Name),
        (" Content-Length: 5", Fault::Fold),
        ("A: b\r\n\tc", Fault::Fold),
        (": b", Fault::Name),
        ("A b: c", Fault::Name),
        ("A\0: c", Fault::Name),
        ("A: b\0", Fault::Control),
        ("A: \x7f", Fault::Control),
        ("A: \x0b", Fault::Control),
        ("A: b\nContent-Length: 5", Fault::LineEnd),
        ("A: b\rContent-Length: 5", Fault::LineEnd),
        ("A: b\r\n\n", Fault::LineEnd),
        ("A: b\r\n\rX", Fault::LineEnd),
    ] {
        check(&head(lines), Err(fault));
    }
    for (input, fault) in [
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::Coding),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET  / HTTP/1.1\r\n\r\n", Fault::RequestLine),
        ("GET /a b HTTP/1.1\r\n\r\n", Fault::RequestLine),
        ("GET / HTTP/1.1 \r\n\r\n", Fault::RequestLine),
        ("GET / HTTP/2.0\r\n\r\n", Fault::RequestLine),
        ("GET /\r\n\r\n", Fault::RequestLine),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Fault::RequestLine),
        ("\nGET / HTTP/1.1\r\n\r\n", Fault::LineEnd),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Fault::LineEnd),
    ] {
        check(input, Err(fault));
    }
    let chunks = |text: &str| format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{text}");
    for (body, fault) in [
        ("3\nabc\r\n0\r\n\r\n", Fault::ChunkSize),
        ("3 \r\nabc\r\n0\r\n\r\n", Fault::ChunkSize),
        ("\r\nabc", Fault::ChunkSize),
        ("-3\r\nabc", Fault::ChunkSize),
        ("0x3\r\nabc", Fault::ChunkSize),
        ("10000000000000000\r\nabc", Fault::ChunkSize),
        ("3;a\nb\r\nabc", Fault::ChunkSize),
        ("3\r\nabcd\r\n", Fault::ChunkEnd),
        ("3\r\nabc\n0\r\n\r\n", Fault::ChunkEnd),
        ("3\rabc", Fault::LineEnd),
        ("0\r\nContent-Length: 5\r\n\r\n", Fault::Trailer),
        ("0\r\nA: b\n\r\n", Fault::LineEnd),
    ] {
        check(&chunks(body), Err(fault));
    }
}

/// What hyper makes of the octets behind the guard, and all that it answers.
async fn hyper(pieces: &[&[u8]]) -> (Vec<(String, Option<Vec<u8>>)>, Vec<u8>) {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let service = service_fn({
        let seen = Arc::clone(&seen);
        move |request: Request<hyper::body::Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let body = request.into_body().collect().await;
                seen.lock().unwrap().push((line, body.ok().map(|body| body.to_bytes().to_vec())));
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The client says that it has said everything while its last request may be on its way.
    builder.http1().half_close(true).timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5));
    let served = async {
        let guard = TokioIo::new(Guard::new(theirs, PACE, ()));
        let _ = builder.serve_connection(guard, service).await;
    };
    let asked = async {
        for piece in pieces {
            if ours.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = ours.shutdown().await;
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer).await;
        answer
    };
    let ((), answer) = tokio::join!(served, asked);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, answer)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Pieces of one or a few octets here, of many there.
fn split<'a>(octets: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = octets;
    let mut pieces = Vec::new();
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4_usize, 1..80_usize], 1..12)
}

/// A sound request, and what must be seen of it.
fn request() -> impl Strategy<Value = (Vec<u8>, String, Vec<u8>)> {
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let headers = prop::collection::vec(("[A-Z][a-z]{0,20}-X", "[ -~]{0,40}"), 0..4);
    ("[A-Z]{1,8}", "/[a-z]{0,20}", headers, body, prop::option::of(1..20_usize)).prop_map(
        |(method, target, headers, body, chunks)| {
            let mut octets = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n").into_bytes();
            for (name, value) in headers {
                octets.extend(format!("{name}: {value}\r\n").into_bytes());
            }
            match chunks {
                Some(size) => {
                    octets.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(size) {
                        octets.extend(format!("{:x};e=1\r\n", chunk.len()).into_bytes());
                        octets.extend(chunk);
                        octets.extend(b"\r\n");
                    }
                    octets.extend(b"0\r\nTrailer-X: y\r\n\r\n");
                }
                None if body.is_empty() => octets.extend(b"\r\n"),
                None => {
                    octets.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                    octets.extend(&body);
                }
            }
            (octets, format!("{method} {target}"), body)
        },
    )
}

/// What smuggling is made of.
fn shred() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just("\0"),
        Just(" "),
        Just("\t"),
        Just(":"),
        Just(";"),
        Just("0\r\n\r\n"),
        Just("GET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
        Just("Content-Length: 3\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Transfer-Encoding: x\r\n"),
        Just("HTTP/1.0"),
        Just("PRI * HTTP/2.0\r\n\r\n"),
    ]
    .prop_map(|text| text.as_bytes().to_vec())
    .boxed()
    .prop_union(prop::collection::vec(any::<u8>(), 1..4).boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sound_requests_reach_hyper_as_they_are(requests in prop::collection::vec(request(), 1..5), sizes in sizes()) {
        // A CONNECT ends what hyper reads.
        prop_assume!(requests.iter().all(|(_, line, _)| !line.starts_with("CONNECT ")));
        let octets: Vec<u8> = requests.iter().flat_map(|(octets, ..)| octets.clone()).collect();
        let (seen, _) = run(hyper(&split(&octets, &sizes)));
        let expected: Vec<_> = requests.into_iter().map(|(_, line, body)| (line, Some(body))).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn the_verdict_depends_on_the_octets_alone(
        requests in prop::collection::vec(request(), 1..4),
        shreds in prop::collection::vec((any::<prop::sample::Index>(), shred()), 0..3),
        sizes in sizes(),
    ) {
        let octets = torn(&requests, &shreds);
        let whole = verdict_at(&[&octets]);
        prop_assert_eq!(verdict_at(&split(&octets, &sizes)), whole);
        prop_assert_eq!(verdict_at(&split(&octets, &[1])), whole);
    }

    #[test]
    fn hyper_sees_no_request_where_the_scanner_sees_none(
        requests in prop::collection::vec(request(), 1..4),
        shreds in prop::collection::vec((any::<prop::sample::Index>(), shred()), 1..3),
        sizes in sizes(),
    ) {
        let octets = torn(&requests, &shreds);
        prop_assume!(!octets.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM"));
        let (lines, fault) = request_lines(&octets);
        let (seen, answer) = run(hyper(&split(&octets, &sizes)));
        // hyper may see fewer, where it is stricter still, and it tells what it takes no body of.
        prop_assert!(seen.len() <= lines.len(), "{seen:?} of {lines:?}, {fault:?}");
        for ((line, _), expected) in seen.iter().zip(&lines) {
            prop_assert_eq!(line, expected);
        }
        let answer = String::from_utf8_lossy(&answer);
        // HTTP/1.0 ends with its first request, and so does what has no whole body.
        let goes_on = !answer.contains("HTTP/1.0 200") && seen.iter().all(|(_, body)| body.is_some());
        if fault.is_some() && seen.len() == lines.len() && goes_on {
            prop_assert!(answer.contains("HTTP/1.1 400") || answer.contains("HTTP/1.1 505"), "{fault:?}: {answer}");
        }
    }

    #[test]
    fn nothing_panics(octets in prop::collection::vec(any::<u8>(), 0..400), sizes in sizes()) {
        verdict_at(&split(&octets, &sizes));
    }
}

fn torn(requests: &[(Vec<u8>, String, Vec<u8>)], shreds: &[(prop::sample::Index, Vec<u8>)]) -> Vec<u8> {
    let mut octets: Vec<u8> = requests.iter().flat_map(|(octets, ..)| octets.clone()).collect();
    for (at, shred) in shreds {
        let at = at.index(octets.len());
        octets.splice(at..at, shred.iter().copied());
    }
    octets
}

/// Heads, and where the fault stands in the whole.
fn verdict_at(pieces: &[&[u8]]) -> (u64, Option<(usize, Fault)>) {
    let mut scanner = Scanner::new();
    let mut before = 0;
    for piece in pieces {
        if let Err((at, fault)) = scanner.feed(piece) {
            return (scanner.heads(), Some((before + at, fault)));
        }
        before += piece.len();
    }
    (scanner.heads(), None)
}

/// The method and target of each head that the scanner lets through.
fn request_lines(octets: &[u8]) -> (Vec<String>, Option<Fault>) {
    let mut scanner = Scanner::new();
    let (mut lines, mut start) = (Vec::new(), None);
    for (at, octet) in octets.iter().enumerate() {
        let heads = scanner.heads();
        if let Err((_, fault)) = scanner.feed(&[*octet]) {
            return (lines, Some(fault));
        }
        if scanner.in_head() && start.is_none() {
            start = Some(at);
        }
        if scanner.heads() > heads {
            let head = String::from_utf8_lossy(&octets[start.take().unwrap()..]).into_owned();
            let mut words = head.trim_start().split(' ');
            lines.push(format!("{} {}", words.next().unwrap(), words.next().unwrap()));
        }
    }
    (lines, None)
}

#[tokio::test]
async fn a_slow_head_ends_the_connection() {
    let pace = Pace { header_timeout: Duration::from_millis(50), ..PACE };
    for start in ["", "G", "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET"] {
        let (mut ours, theirs) = tokio::io::duplex(1_000);
        ours.write_all(start.as_bytes()).await.unwrap();
        let mut guard = Guard::new(theirs, pace, ());
        let failure = guard.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(failure.kind(), std::io::ErrorKind::TimedOut, "{start:?}");
    }
}

#[tokio::test]
async fn a_connection_that_proved_itself_may_be_idle() {
    let pace = Pace { header_timeout: Duration::from_millis(50), ..PACE };
    let (mut ours, theirs) = tokio::io::duplex(1_000);
    let proving = Arc::new(());
    let mut guard = Guard::new(theirs, pace, Arc::clone(&proving));
    ours.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    guard.read_exact(&mut [0; 18]).await.unwrap();
    assert_eq!(Arc::strong_count(&proving), 1, "it counts as half-open still");
    let idle = tokio::time::timeout(Duration::from_millis(500), guard.read_u8()).await;
    assert!(idle.is_err(), "given up while idle");
}

#[tokio::test]
async fn an_answer_must_be_read_at_a_rate() {
    let pace = Pace { answer_grace: Duration::from_millis(200), answer_rate_min: 1_000, ..PACE };
    let (mut ours, theirs) = tokio::io::duplex(100);
    let mut guard = Guard::new(theirs, pace, ());
    // Slow beyond the grace, but fast enough.
    let reading = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ours.read_exact(&mut [0; 1_000]).await.unwrap();
        }
    };
    let (wrote, ()) = tokio::join!(guard.write_all(&[0; 10_000]), reading);
    wrote.unwrap();
    // Nothing is taken.
    let failure = guard.write_all(&[0; 1_000]).await.unwrap_err();
    assert_eq!(failure.kind(), std::io::ErrorKind::TimedOut);
}
