//! The life of a service connection against an edge that pretends: its TLS is a line with the identity, and its keys are
//! given.

use super::*;
use banyan_codec::{Format, encode_message};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const SCL: &str = "gw-42";

fn root() -> RootKey {
    let node = M2mNodeId::parse("000102030405060708090a0b0c0d0e0f").expect("32 digits");
    RootKey {
        node,
        index: 7,
        mas: "mas.example.com".to_owned(),
        expires: None,
        key: Key::new([1; KEY_OCTETS]),
    }
}

fn wrapped(kmc: u8) -> Bytes {
    let kek = AesKek::new(&AES_256, root().key.expose()).expect("32 octets");
    let mut out = [0; WRAPPED_OCTETS];
    Bytes::copy_from_slice(kek.wrap(&[kmc; KEY_OCTETS], &mut out).expect("32 octets"))
}

fn params(connection: i64, kmc: u8, scl: &str, expires: Timestamp) -> Struct {
    let binary = |bytes| Value::Binary { content_type: None, bytes };
    Struct {
        name: "ConnectionParamSet",
        fields: vec![
            ("securityConnectionId", Value::Long(connection)),
            ("securityKmcIndex", Value::Long(1)),
            ("securityLifetime", Value::Datetime(expires)),
            ("securityEncryptedM2MKey", binary(wrapped(kmc))),
            ("sclId", Value::Text(scl.to_owned())),
            ("securitymIdFlags", binary(Bytes::from_static(&[0, 2]))),
        ],
    }
}

fn later() -> Timestamp {
    Timestamp(clock::now().0 + 60_000)
}

/// Takes what it is told in turn: whether the handshake goes well, and what the exporter says.
#[derive(Debug, Default)]
struct Pretender {
    refuse: Mutex<VecDeque<bool>>,
    shown: Mutex<Vec<String>>,
}

impl Handshake for Arc<Pretender> {
    fn shake(&self, socket: TcpStream, identity: PskIdentity, _key: Key) -> Shaking<'_> {
        let refused = self.refuse.lock().pop_front().unwrap_or(false);
        self.shown.lock().push(identity.to_string());
        Box::pin(async move {
            match refused {
                true => Err(io::Error::other("alert")),
                false => Ok((Box::new(socket) as Box<dyn Stream>, Key::new([9; KEY_OCTETS]))),
            }
        })
    }
}

/// An edge that answers each `POST` with the next connection of these, and its address and count of answers.
async fn edge(answers: Vec<Struct>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let answered = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (answers, answered) = (answers.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut seen = vec![0; 4096];
                let length = socket.read(&mut seen).await.unwrap_or_default();
                if !seen[..length].starts_with(b"POST /m2m/connection ") {
                    return;
                }
                let at = answered.fetch_add(1, Ordering::SeqCst);
                let body = encode_message(Format::Xml, &answers[at]).expect("a message");
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let whole = [head.as_bytes(), &body].concat();
                socket.write_all(&whole).await.expect("it is read");
            });
        }
    });
    (address, count)
}

fn connected(pretender: &Arc<Pretender>) -> Connected<Arc<Pretender>> {
    Connected::new(Arc::clone(pretender), root(), SCL, "nscl.example.com")
}

const KMR: &str = "kmr/000102030405060708090a0b0c0d0e0f/7@mas.example.com";
const KMC_255: &str = "kmc/00000000000000ff/1@nscl.example.com";
const KMC_256: &str = "kmc/0000000000000100/1@nscl.example.com";

#[tokio::test]
async fn a_service_connection_is_set_up_once_and_its_key_makes_all_channels() {
    let pretender = Arc::new(Pretender::default());
    let connected = connected(&pretender);
    let (edge, answered) = edge(vec![params(255, 9, SCL, later())]).await;
    let (one, other) = tokio::join!(connected.connect(&edge), connected.connect(&edge));
    assert!(one.is_ok() && other.is_ok());
    assert!(connected.connect(&edge).await.is_ok());
    assert_eq!(answered.load(Ordering::SeqCst), 1);
    assert_eq!(*pretender.shown.lock(), [KMR, KMC_255, KMC_255, KMC_255]);
}

#[tokio::test]
async fn a_refused_or_expired_connection_key_leads_back_to_the_root_key() {
    let pretender = Arc::new(Pretender::default());
    let connected = connected(&pretender);
    let ended = Timestamp(clock::now().0 - 1);
    let (edge, _) =
        edge(vec![params(255, 9, SCL, later()), params(256, 9, SCL, ended), params(255, 9, SCL, later())])
            .await;
    assert!(connected.connect(&edge).await.is_ok());
    pretender.refuse.lock().push_back(true);
    assert!(connected.connect(&edge).await.is_ok());
    assert_eq!(*pretender.shown.lock(), [KMR, KMC_255, KMC_255, KMR, KMC_256]);
    // Its life has ended meanwhile.
    assert!(connected.connect(&edge).await.is_ok());
    assert_eq!(pretender.shown.lock()[5..], [KMR, KMC_255]);
}

#[tokio::test]
async fn a_refused_root_key_is_a_failure_and_leaves_nothing() {
    let pretender = Arc::new(Pretender::default());
    pretender.refuse.lock().push_back(true);
    let connected = connected(&pretender);
    let (edge, answered) = edge(vec![]).await;
    assert!(connected.connect(&edge).await.is_err());
    assert_eq!(answered.load(Ordering::SeqCst), 0);
    assert!(connected.current.lock().is_none());
}

#[test]
fn a_key_that_is_not_the_exporters_is_never_used() {
    let exporter = Key::new([9; KEY_OCTETS]);
    let said = |params: &Struct| match confirmed(params, &root(), &exporter, SCL) {
        Ok(key) => key.name.to_string(),
        Err(error) => error.to_string().split(':').next().unwrap_or_default().to_owned(),
    };
    assert_eq!(said(&params(-1, 9, SCL, later())), "kmc/ffffffffffffffff/1");
    assert_eq!(said(&params(255, 8, SCL, later())), "securityEncryptedM2MKey");
    assert_eq!(said(&params(255, 9, "gw-43", later())), "sclId");
    for missing in
        ["securityConnectionId", "securityKmcIndex", "securityLifetime", "securityEncryptedM2MKey", "sclId"]
    {
        let mut params = params(255, 9, SCL, later());
        params.fields.retain(|(name, _)| *name != missing);
        assert_eq!(said(&params), missing);
    }
    assert!(!format!("{:?}", root()).contains("1, 1"), "no key is shown");
}
