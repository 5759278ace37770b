//! TLS with pre-shared keys: our two sides against each other.

use banyan_binding::{
    http::{Channel, Stream},
    identity::Peer,
    mid::{ConnectorConfig, KeyLookup, LEGACY_SUITE, Psk, PskConfig, PskConnector, SUITES},
    session::{Key, Known},
};
use banyan_model::{
    Timestamp,
    security::{KeyRef, M2mNodeId},
};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};

pub(crate) const NODE: M2mNodeId = M2mNodeId([0xA1; 16]);
pub(crate) const IDENTITY: &str = "kmr/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1/3@mas.example";

pub(crate) fn kmr() -> Key {
    Key::new([0x5A; 32])
}

/// Knows what it is told; `slow` waits until its gate opens.
#[derive(Clone)]
pub(crate) struct Keys {
    known: Arc<BTreeMap<Vec<u8>, (M2mNodeId, Key)>>,
    gate: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl Keys {
    pub(crate) fn new() -> Keys {
        let one = |identity: &[u8], node| (identity.to_vec(), (node, kmr()));
        let known = [one(IDENTITY.as_bytes(), NODE), one(b"slow", NODE), one(b"other", M2mNodeId([2; 16]))];
        Keys { known: Arc::new(known.into()), gate: Arc::new(Semaphore::new(0)), asked: Arc::default() }
    }
}

impl KeyLookup for Keys {
    async fn key(&self, identity: &[u8], _: SocketAddr) -> Option<(Key, Known)> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if identity == b"slow" {
            self.gate.acquire().await.unwrap().forget();
        }
        let (node, key) = self.known.get(identity)?.clone();
        let (_, closed) = watch::channel(false);
        let (key_ref, expires) = (KeyRef::Kmr { node, index: 3 }, Timestamp(i64::MAX));
        Some((key, Known { node, scl: None, key: key_ref, expires, closed }))
    }
}

type Accepted = io::Result<(Box<dyn Stream>, Peer)>;

/// A listener whose handshakes come out at the other end.
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: mpsc::UnboundedReceiver<Accepted>,
    pub(crate) keys: Keys,
    task: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bench {
    pub(crate) async fn start(config: PskConfig) -> Bench {
        let keys = Keys::new();
        let channel = Arc::new(Psk::new(keys.clone(), config).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ended, accepted) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let (socket, peer) = listener.accept().await.unwrap();
                let (channel, ended) = (Arc::clone(&channel), ended.clone());
                tokio::spawn(async move { ended.send(channel.accept(socket, peer).await) });
            }
        });
        Bench { address, accepted, keys, task }
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn next(&mut self) -> Accepted {
        self.accepted.recv().await.unwrap()
    }
}

fn connector(tls_1_3: bool, suites: &[&'static str]) -> PskConnector {
    PskConnector::new(&ConnectorConfig { tls_1_3, suites: suites.to_vec() }).unwrap()
}

#[tokio::test]
async fn every_suite_makes_one_secret_of_one_key() {
    let mut bench = Bench::start(PskConfig { legacy: true }).await;
    let of_1_2 = SUITES.iter().chain([&LEGACY_SUITE]).map(|suite| (connector(false, &[suite]), *suite));
    let offers = of_1_2.chain([
        (connector(false, SUITES), SUITES[0]),
        (connector(true, &[]), "TLS_AES_128_GCM_SHA256"),
        (connector(true, SUITES), "TLS_AES_128_GCM_SHA256"),
    ]);
    let mut secrets = Vec::new();
    for (connector, suite) in offers {
        let (mut ours, kmc) =
            connector.connect(bench.socket().await, IDENTITY.as_bytes(), &kmr()).await.unwrap();
        let (mut theirs, peer) = bench.next().await.unwrap();
        let session = peer.session.unwrap();
        assert_eq!(ours.ssl().current_cipher().unwrap().name(), suite);
        assert_eq!((session.node, &session.exporter), (NODE, &kmc), "{suite}");
        assert_eq!(session.key, KeyRef::Kmr { node: NODE, index: 3 });
        assert!(peer.secure && session.connection().is_none());
        secrets.push(*kmc.expose());

        // Both ways, and more than a record.
        let (content, mut back) = (vec![7; 100_000], vec![0; 100_000]);
        let echo = async {
            let mut octets = vec![0; 100_000];
            theirs.read_exact(&mut octets).await.unwrap();
            theirs.write_all(&octets).await.unwrap();
            theirs.flush().await.unwrap();
        };
        let asked = async {
            ours.write_all(&content).await.unwrap();
            ours.read_exact(&mut back).await.unwrap();
        };
        tokio::join!(echo, asked);
        assert_eq!(back, content);
    }
    let count = secrets.len();
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), count, "each handshake makes its own");
}

#[tokio::test]
async fn the_legacy_suite_is_there_only_where_it_is_wanted() {
    let mut bench = Bench::start(PskConfig::default()).await;
    let legacy = connector(false, &[LEGACY_SUITE]);
    assert!(legacy.connect(bench.socket().await, IDENTITY.as_bytes(), &kmr()).await.is_err());
    assert!(bench.next().await.is_err());
}

#[tokio::test]
async fn an_identity_that_openssl_cannot_send_is_refused_before() {
    let bench = Bench::start(PskConfig::default()).await;
    for identity in [b"".as_slice(), b"a\0b", &[b'a'; 129]] {
        let refused = connector(true, SUITES).connect(bench.socket().await, identity, &kmr()).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

/// The records that the server sends, by kind and length, and the alert's content, which is in plaintext.
type Records = Vec<(u8, usize, Vec<u8>)>;

/// One handshake, with what the server said in it.
async fn overheard(bench: &mut Bench, connector: &PskConnector, identity: &str, key: &Key) -> Records {
    let (client, mut middle) = tokio::io::duplex(1 << 16);
    let server = bench.socket().await;
    let relay = tokio::spawn(async move {
        let ((mut from_server, mut to_server), mut heard) = (server.into_split(), Vec::new());
        let (mut from_client, mut to_client) = tokio::io::split(&mut middle);
        let up = copy(&mut from_client, &mut to_server);
        let down = async {
            let mut piece = [0; 4096];
            loop {
                match from_server.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(octets) => {
                        heard.extend_from_slice(&piece[..octets]);
                        to_client.write_all(&piece[..octets]).await.unwrap();
                    }
                }
            }
            to_client.shutdown().await.unwrap();
        };
        tokio::select! { _ = async { tokio::join!(up, std::future::pending::<()>()) } => {}, () = down => {} }
        heard
    });
    let failure = connector.connect(client, identity.as_bytes(), key).await.unwrap_err();
    assert!(bench.next().await.is_err(), "{failure}");
    let heard = relay.await.unwrap();
    let mut records = Vec::new();
    let mut rest = heard.as_slice();
    while let Some((&[kind, _, _, high, low], after)) = rest.split_first_chunk() {
        let (content, after) = after.split_at(u16::from_be_bytes([high, low]).into());
        let alert = if kind == 21 { content.to_vec() } else { Vec::new() };
        records.push((kind, content.len(), alert));
        rest = after;
    }
    records
}

/// security.md 8, test 4.
#[tokio::test]
async fn a_wrong_key_and_an_unknown_identity_look_the_same() {
    let mut bench = Bench::start(PskConfig::default()).await;
    let wrong = Key::new([1; 32]);
    // As long as the known one: lengths on the wire would tell nothing else.
    let unknown = IDENTITY.replace("/3@", "/4@");
    let of_1_2 = SUITES.iter().map(|suite| (connector(false, &[suite]), 20));
    for (connector, alert) in of_1_2.chain([(connector(true, SUITES), 51)]) {
        let for_wrong = overheard(&mut bench, &connector, IDENTITY, &wrong).await;
        let for_unknown = overheard(&mut bench, &connector, &unknown, &kmr()).await;
        assert_eq!(for_wrong, for_unknown);
        assert_eq!(for_wrong.last().unwrap(), &(21, 2, vec![2, alert]));
    }
}

/// Whatever it was that failed, and however long it took to look up: told at a time of its own. A success is not delayed.
#[tokio::test]
async fn a_failure_is_told_no_sooner_than_a_fixed_time() {
    const FAILED_AFTER: Duration = Duration::from_millis(50);
    let mut bench = Bench::start(PskConfig::default()).await;
    let wrong = Key::new([1; 32]);
    let unknown = IDENTITY.replace("/3@", "/4@");
    for tls_1_3 in [false, true] {
        let connector = connector(tls_1_3, SUITES);
        for (identity, key) in [(IDENTITY, &wrong), (&unknown, &kmr())] {
            let begun = Instant::now();
            assert!(connector.connect(bench.socket().await, identity.as_bytes(), key).await.is_err());
            assert!(begun.elapsed() >= FAILED_AFTER, "{identity}: {:?}", begun.elapsed());
            assert!(bench.next().await.is_err());
        }
        // The quickest of some: the machine has other things to do.
        let mut quickest = Duration::MAX;
        for _ in 0..20 {
            let begun = Instant::now();
            connector.connect(bench.socket().await, IDENTITY.as_bytes(), &kmr()).await.unwrap();
            quickest = quickest.min(begun.elapsed());
            assert!(bench.next().await.is_ok());
        }
        assert!(quickest < FAILED_AFTER, "{quickest:?}");
    }
}

/// security.md 8, test 5.
#[tokio::test]
async fn a_slow_look_up_holds_up_nobody_else() {
    let mut bench = Bench::start(PskConfig::default()).await;
    for tls_1_3 in [false, true] {
        let slow_socket = bench.socket().await;
        let slow = tokio::spawn(async move {
            connector(tls_1_3, SUITES).connect(slow_socket, b"slow", &kmr()).await.unwrap().1
        });
        let asked = Arc::clone(&bench.keys.asked);
        let before = asked.load(Ordering::SeqCst);
        while asked.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        let quick = connector(tls_1_3, SUITES);
        for _ in 0..200 {
            quick.connect(bench.socket().await, IDENTITY.as_bytes(), &kmr()).await.unwrap();
            assert_eq!(bench.next().await.unwrap().1.session.unwrap().node, NODE);
        }
        assert!(!slow.is_finished());
        bench.keys.gate.add_permits(1);
        let kmc = slow.await.unwrap();
        assert_eq!(bench.next().await.unwrap().1.session.unwrap().exporter, kmc);
    }
}

/// The server's time-out drops the future; nothing of the handshake is left.
#[tokio::test]
async fn a_handshake_that_is_given_up_leaves_nothing() {
    let keys = Keys::new();
    let channel = Psk::new(keys.clone(), PskConfig::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let before = Arc::strong_count(&keys.known);
    let client = tokio::spawn(async move {
        let socket = TcpStream::connect(address).await.unwrap();
        connector(true, SUITES).connect(socket, b"slow", &kmr()).await.is_err()
    });
    let (socket, peer) = listener.accept().await.unwrap();
    let mut handshake = channel.accept(socket, peer);
    tokio::select! {
        _ = &mut handshake => panic!("nobody answered"),
        () = async { while keys.asked.load(Ordering::SeqCst) == 0 { tokio::task::yield_now().await } } => {}
    }
    drop(handshake);
    assert!(client.await.unwrap(), "the connection is closed");
    assert_eq!(Arc::strong_count(&keys.known), before);
    // Nobody waits at the gate any more.
    keys.gate.add_permits(1);
    assert_eq!(keys.gate.available_permits(), 1);
}

#[tokio::test]
async fn what_is_no_handshake_is_closed() {
    let mut bench = Bench::start(PskConfig::default()).await;
    let (endless, mut messages) = (vec![0; 70 << 10], vec![22, 3, 1, 64, 0, 1, 0, 255, 255]);
    messages.extend_from_slice(&endless[..16_380]);
    for _ in 0..4 {
        messages.extend_from_slice(&[22, 3, 1, 64, 0]);
        messages.extend_from_slice(&endless[..16_384]);
    }
    let request = b"POST /m2m HTTP/1.1\r\nHost: h\r\n\r\nsecret body".to_vec();
    for sent in [request, endless, messages, vec![22]] {
        let (mut from, mut to) = bench.socket().await.into_split();
        let wrote = tokio::spawn(async move { (to.write_all(&sent).await, to.shutdown().await) });
        let failure = bench.next().await.err().unwrap().to_string();
        assert!(!failure.contains("secret"), "{failure}");
        let mut answer = Vec::new();
        let _reset = from.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
        let _broken = wrote.await.unwrap();
    }
    assert_eq!(bench.keys.asked.load(Ordering::SeqCst), 0);
}
