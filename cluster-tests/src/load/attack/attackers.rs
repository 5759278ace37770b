//! Those who mean harm: what they send, and what they are told.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use banyan_binding::mid::{ConnectorConfig, PskConnector};
use banyan_binding::session::Key;
use banyan_binding::tls::{self, ClientConfig, KeyFiles};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::cluster::Mid;
use crate::factory::Factory;

/// Of sockets that do nothing.
const SLOW: usize = 2_000;
/// Of those that work.
const BUSY: usize = 16;
const SOURCE: &str = "127.0.0.2:0";
/// A source that the honest clients share.
const SOURCE_OF_HONEST: &str = "127.0.0.1:0";
/// Before somebody who was turned away comes again.
const PAUSE: Duration = Duration::from_millis(250);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// One attack.
pub(super) struct Attack {
    pub(super) name: String,
    to: SocketAddr,
    source: SocketAddr,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// Sends this, then so many octets a second.
    Slow { begin: Vec<u8>, trickle: bool },
    /// Sends these in turn, each over a connection of its own.
    Requests(Arc<[(&'static str, Vec<u8>)]>),
    /// Makes handshakes with a certificate that nobody knows.
    Certificates(Arc<ClientConfig>),
    /// Makes handshakes with a key that is wrong.
    Keys(Arc<PskConnector>),
}

impl Attack {
    /// All of them.
    pub(super) fn all(
        edge: &str,
        mid: &Mid,
        factory: &Factory,
        strangers: &Factory,
    ) -> Result<Vec<Attack>, String> {
        let files = KeyFiles {
            certificate: strangers.path("device.pem").into(),
            key: strangers.path("device.key").into(),
        };
        let client =
            tls::client(Path::new(&factory.path("ca.pem")), Some(&files)).map_err(|e| e.to_string())?;
        let keys = PskConnector::new(&ConnectorConfig::default()).map_err(|e| e.to_string())?;
        let heads = Kind::Slow { begin: b"GET /m2m HTTP/1.1\r\nHost: nscl\r\nX: ".to_vec(), trickle: true };
        // The first half of a record with a ClientHello.
        let hello = Kind::Slow { begin: vec![22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], trickle: false };
        let rows = [
            ("slow heads", edge, SOURCE, heads.clone()),
            ("slow heads, same source", edge, SOURCE_OF_HONEST, heads),
            ("half handshakes, mid-psk", mid.psk.as_str(), SOURCE, hello.clone()),
            ("half handshakes, HTTPS", &mid.https, SOURCE, hello),
            ("two readings", edge, SOURCE, Kind::Requests(two_readings().into())),
            ("entity bombs", edge, SOURCE, Kind::Requests(bombs().into())),
            ("wrong certificates", &mid.tls, SOURCE, Kind::Certificates(client)),
            ("wrong keys", &mid.psk, SOURCE, Kind::Keys(Arc::new(keys))),
        ];
        let attack = |(name, to, source, kind): (&str, &str, &str, Kind)| {
            let address = |text: &str| text.parse().map_err(|e| format!("{text}: {e}"));
            Ok(Attack { name: name.to_owned(), to: address(to)?, source: address(source)?, kind })
        };
        rows.into_iter().map(attack).collect()
    }

    /// Goes on until it is dropped.
    async fn run(self, tally: &Tally) {
        let count = if matches!(self.kind, Kind::Slow { .. }) { SLOW } else { BUSY };
        let one = async |number: usize| {
            // Not all at the same moment, and not one after the other.
            sleep(Duration::from_micros(300) * u32::try_from(number).unwrap_or(u32::MAX)).await;
            for turn in number.. {
                let told = match self.once(turn, tally).await {
                    Ok(told) => told,
                    Err(failure) if failure.kind() == io::ErrorKind::ConnectionReset => "reset".to_owned(),
                    Err(failure) => failure.to_string(),
                };
                *tally.lock().entry(told).or_default() += 1;
                if count == SLOW {
                    sleep(PAUSE).await;
                }
            }
        };
        join_all((0..count).map(one)).await;
    }

    async fn once(&self, turn: usize, tally: &Tally) -> io::Result<String> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.source)?;
        let stream = socket.connect(self.to).await?;
        match &self.kind {
            Kind::Slow { begin, trickle } => slow(stream, begin, *trickle, tally).await,
            Kind::Requests(all) => {
                let (what, request) = &all[turn % all.len()];
                Ok(format!("{what}: {}", asked(stream, request).await?))
            }
            Kind::Certificates(client) => {
                let name = "nscl".try_into().map_err(io::Error::other)?;
                let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, stream).await?;
                // In TLS 1.3 the refusal comes afterwards.
                stream.read_exact(&mut [0]).await?;
                Ok("a session".to_owned())
            }
            Kind::Keys(connector) => {
                let identity = format!("kmr/{turn:032x}/1@mas.example.com");
                let made = connector.connect(stream, identity.as_bytes(), &Key::new([0x66; 32])).await;
                Ok(made.map_or_else(|_| "alert".to_owned(), |_| "a session".to_owned()))
            }
        }
    }
}

/// Holds a socket for as long as the other side lets it.
async fn slow(mut stream: TcpStream, begin: &[u8], trickle: bool, tally: &Tally) -> io::Result<String> {
    stream.write_all(begin).await?;
    let mut answer = [0; 64];
    for second in 0_u64.. {
        if second == 1 {
            *tally.lock().entry("held for a second or longer".to_owned()).or_default() += 1;
        }
        match timeout(Duration::from_secs(1), stream.read(&mut answer)).await {
            Ok(read) => return Ok(told(&answer[..read?])),
            Err(_) if trickle => stream.write_all(b"x").await?,
            Err(_) => {}
        }
    }
    Ok("held to the end".to_owned())
}

/// The answer to a request, to the end of the connection.
async fn asked(mut stream: TcpStream, request: &[u8]) -> io::Result<String> {
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    let ended = timeout(ANSWER_WITHIN, stream.read_to_end(&mut answer)).await;
    let end = match ended {
        Ok(Ok(_)) => "closed",
        Ok(Err(_)) => "reset",
        Err(_) => "left open",
    };
    Ok(format!("{}, {end}", told(&answer)))
}

fn told(answer: &[u8]) -> String {
    match answer.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => String::from_utf8_lossy(&rest[..rest.len().min(3)]).into_owned(),
        None if answer.first() == Some(&21) => "alert".to_owned(),
        None if answer.is_empty() => "closed without an answer".to_owned(),
        None => "something else".to_owned(),
    }
}

/// Heads that two parsers read differently.
fn two_readings() -> Vec<(&'static str, Vec<u8>)> {
    let head = "POST /m2m/applications HTTP/1.1\r\nHost: nscl\r\nFrom: /m2m/applications/mallory\r\nContent-Type: application/xml\r\n";
    let smuggled = "0\r\n\r\nGET /m2m HTTP/1.1\r\nHost: nscl\r\n\r\n";
    vec![
        (
            "CL and TE",
            format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}").into(),
        ),
        ("two CL", format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde").into()),
        ("bare LF", format!("{head}X: y\nContent-Length: 4\r\n\r\nabcd").into()),
        ("obs-fold", format!("{head}X: y\r\n z\r\nContent-Length: 4\r\n\r\nabcd").into()),
    ]
}

/// Bodies that grow or nest when they are read.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let m2m = r#"xmlns:m2m="http://uri.etsi.org/m2m""#;
    let entities: String = ('b'..='j')
        .map(|of| {
            let inner = format!("&{};", char::from(of as u8 - 1)).repeat(10);
            format!("<!ENTITY {of} \"{inner}\">")
        })
        .collect();
    let laughs =
        format!("<!DOCTYPE l [<!ENTITY a \"ha\">{entities}]><m2m:application {m2m}>&j;</m2m:application>");
    let outside = format!(
        "<!DOCTYPE l [<!ENTITY a SYSTEM \"file:///etc/hostname\">]><m2m:application {m2m}>&a;</m2m:application>"
    );
    let deep = format!("<m2m:application {m2m}>{}", "<m2m:searchStrings>".repeat(100_000));
    let arrays = "[".repeat(1_000_000);
    [
        ("entities", "xml", laughs),
        ("outside entity", "xml", outside),
        ("deep XML", "xml", deep),
        ("deep JSON", "json", arrays),
    ]
    .map(|(what, kind, text)| {
        let head = "POST /m2m/applications HTTP/1.1\r\nHost: nscl\r\nFrom: /m2m/applications/mallory\r\nConnection: close\r\n";
        let length = text.len();
        (
            what,
            format!("{head}Content-Type: application/{kind}\r\nContent-Length: {length}\r\n\r\n{text}")
                .into_bytes(),
        )
    })
    .into()
}

/// How often something was told.
type Tally = Mutex<BTreeMap<String, u64>>;

/// An attack that is under way, in a thread of its own.
pub(super) struct Attackers {
    tally: Arc<Tally>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Attackers {
    pub(super) fn begin(attack: Attack) -> Result<Attackers, String> {
        let (tally, (stop, stopped)) = (Arc::new(Tally::default()), oneshot::channel());
        let counted = Arc::clone(&tally);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    () = attack.run(&counted) => {}
                    // Stopped, or whoever would stop it has gone.
                    _ = stopped => {}
                }
            });
            Ok(())
        };
        let thread = std::thread::Builder::new().name("attackers".to_owned()).spawn(run);
        Ok(Attackers { tally, stop, thread: thread.map_err(|e| e.to_string())? })
    }

    /// Ends it: what they were told, and how often.
    pub(super) fn end(self) -> Result<String, String> {
        drop(self.stop);
        let ended = self.thread.join().map_err(|_| "an attacker panicked".to_owned())?;
        ended.map_err(|e| e.to_string())?;
        let told: Vec<String> =
            self.tally.lock().iter().map(|(what, count)| format!("{count} x {what}")).collect();
        Ok(told.join("; "))
    }
}
