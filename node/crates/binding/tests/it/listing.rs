//! Listings that are written as their pages come.

use crate::bench::{read_to_end, scl};
use banyan_binding::{
    Handler,
    handler::{BrokenOff, Exchange, Page, Pages},
    http::{Binding, Config, Server, ServerConfig, serve},
    identity::{Open, Peer},
};
use banyan_codec::{Expect, Format, Limits, decode};
use banyan_model::{
    Body, Representation, RequestPrimitive, ResourceType, ResponsePrimitive, StatusCode, Value,
    primitive::ListPlace, value::NamedReference,
};
use futures_util::stream;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const LIST: &str = "containerCollection";

/// A collection of so many pages.
#[derive(Clone)]
struct Long {
    pages: usize,
    entries: usize,
    /// This page does not come.
    broken_at: Option<usize>,
    pause: Duration,
    /// Pages that were asked for.
    asked: Arc<AtomicUsize>,
}

impl Long {
    fn of(pages: usize, entries: usize) -> Long {
        Long { pages, entries, broken_at: None, pause: Duration::ZERO, asked: Arc::default() }
    }

    fn entries(&self, page: usize) -> Vec<NamedReference> {
        let name = |n| format!("c{page:05}-{n:05}");
        let entry = |n| NamedReference { id: name(n), uri: format!("/m2m/containers/{}", name(n)) };
        (0..self.entries).map(entry).collect()
    }

    fn all(&self) -> Vec<NamedReference> {
        (0..=self.pages).flat_map(|page| self.entries(page)).collect()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Handler for Long {
    async fn handle(&self, _: RequestPrimitive) -> ResponsePrimitive {
        let mut whole = Representation::new(ResourceType::Containers);
        whole.set(LIST, Value::References(self.entries(0)));
        whole.set("subscriptionsReference", Value::Text("/m2m/containers/subscriptions".to_owned()));
        ResponsePrimitive {
            body: Body::Representation(whole),
            etag: Some("v7".to_owned()),
            next: Some(ListPlace { list: LIST.to_owned(), after: None }),
            ..ResponsePrimitive::status(StatusCode::Ok)
        }
    }

    async fn exchange(&self, request: RequestPrimitive, _: &Peer) -> Exchange {
        let response = self.handle(request.clone()).await;
        if request.target.name() == Some("endless") {
            return response.into();
        }
        let pages = stream::unfold((self.clone(), 1), |(long, page)| async move {
            if page > long.pages {
                return None;
            }
            long.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(long.pause).await;
            let entries = match long.broken_at {
                Some(at) if at == page => Err(BrokenOff("the leader is gone".to_owned())),
                _ => Ok(Page { list: LIST.to_owned(), entries: long.entries(page) }),
            };
            Some((entries, (long, page + 1)))
        });
        Exchange { response, handed: None, rest: Some(Pages::new(pages)) }
    }
}

async fn start(long: &Long, config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let binding = Arc::new(Binding::new(Config::new(scl()), Open { scl: scl() }, long.clone()));
    tokio::spawn(serve(listener, Server { config, ..Server::default() }, binding, std::future::pending()));
    address
}

/// The head and the body as it came, chunks and all.
async fn get(address: SocketAddr, target: &str, format: Format) -> (String, Vec<u8>) {
    let mut socket = begin(address, target, format).await;
    let answer = read_to_end(&mut socket).await;
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase(), answer[at + 4..].to_vec())
}

async fn begin(address: SocketAddr, target: &str, format: Format) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let accept = format.media_type();
    let head = format!(
        "GET /m2m/{target} HTTP/1.1\r\nHost: h\r\nFrom: /m2m\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

/// The chunks put together; `None`: the last one is missing.
fn whole(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let at = chunks.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..at]).unwrap(), 16).unwrap();
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(at + 2..at + 2 + length)?);
        chunks = chunks.get(at + 4 + length..)?;
    }
}

#[tokio::test]
async fn a_long_listing_is_one_document_in_chunks() {
    let long = Long::of(50, 20);
    let address = start(&long, ServerConfig::default()).await;
    for format in [Format::Xml, Format::Json] {
        let (head, body) = get(address, "containers", format).await;
        let tag = format!("etag: {}", banyan_codec::entity_tag("v7", Some(format)));
        assert!(head.starts_with("http/1.1 200") && head.contains(&tag), "{head}");
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        assert!(head.contains(&format!("content-type: {}", format.media_type())), "{head}");
        let body = whole(&body).expect("a whole body");
        let read = decode(format, &body, &Limits::default(), Expect::Any);
        let Body::Representation(read) = read else { panic!("{}", String::from_utf8_lossy(&body)) };
        assert_eq!(read.get(LIST), Some(&Value::References(long.all())));
        assert_eq!(read.text("subscriptionsReference"), Some("/m2m/containers/subscriptions"));
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_never_looks_like_a_whole_one() {
    let long = Long { broken_at: Some(3), ..Long::of(10, 20) };
    let address = start(&long, ServerConfig::default()).await;
    for format in [Format::Xml, Format::Json] {
        let (head, body) = get(address, "containers", format).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains("c00002-00019") && !text.contains("c00003-"), "{text}");
        assert_eq!(whole(&body), None, "the last chunk must not come");
        assert!(!text.contains("subscriptionsReference"), "{text}");
    }
    // Somebody who says that there is more and does not bring it is not believed.
    let (head, _) = get(address, "endless", Format::Xml).await;
    assert!(head.starts_with("http/1.1 500"), "{head}");
}

#[tokio::test]
async fn pages_are_asked_for_as_the_reader_takes_them_and_one_who_reads_nothing_is_let_go() {
    // 1 GiB in pages of about 100 KB.
    let long = Long::of(10_000, 1_000);
    let config = ServerConfig { idle_timeout: Duration::from_millis(1_500), ..ServerConfig::default() };
    let address = start(&long, config).await;
    let mut socket = begin(address, "containers", Format::Xml).await;
    let mut some = vec![0; 1 << 20];
    socket.read_exact(&mut some).await.unwrap();
    let settled = async {
        let mut before = 0;
        while long.asked() == 0 || long.asked() != before {
            before = long.asked();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("it asks on and on");
    // What the kernel's buffers hold, and one page.
    assert!(long.asked() < 200, "{} pages for a reader who stopped", long.asked());
    let broken = async {
        while socket.read(&mut some).await.is_ok_and(|length| length > 0) {
            // Less than the rest, in the time in which nothing more was asked for.
        }
    };
    tokio::time::sleep(Duration::from_millis(8_000)).await;
    let asked = long.asked();
    tokio::time::timeout(Duration::from_secs(20), broken).await.expect("the connection was closed");
    assert_eq!(long.asked(), asked, "nothing is asked for a connection that was let go");
}

#[tokio::test]
async fn a_listing_that_takes_longer_than_a_connection_may_idle_is_not_cut_off() {
    let long = Long { pause: Duration::from_millis(150), ..Long::of(10, 20) };
    let config = ServerConfig { idle_timeout: Duration::from_millis(500), ..ServerConfig::default() };
    let address = start(&long, config).await;
    let (_, body) = get(address, "containers", Format::Json).await;
    assert!(whole(&body).is_some());
    assert_eq!(long.asked(), 10);
}
