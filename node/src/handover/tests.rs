//! Every answer of the port, by a client on a socket; who keeps the keys is played.

#![allow(clippy::unwrap_used)]

use super::*;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NODE: &str = "000102030405060708090a0b0c0d0e0f";
const IDENTITY: &str = "VGhlIG9wZXJhdG9y@bsf.operator.example.com";

/// Says the next of its answers.
#[derive(Default)]
struct Played {
    answers: Mutex<Vec<Result<&'static str, RequestError>>>,
    asked: Mutex<Vec<v1::ImportKeys>>,
}

impl Keeper for Played {
    fn import(&self, keys: v1::ImportKeys) -> BoxFuture<'_, Result<v1::ImportedKeys, RequestError>> {
        self.asked.lock().push(keys);
        let answer = self.answers.lock().pop().expect("nobody should be asked");
        Box::pin(async { answer.map(|why| v1::ImportedKeys { refused: vec![why.to_owned()] }) })
    }
}

async fn send(keeper: &Arc<Played>, request: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = Server { config: limits(), ..Server::default() };
    let serving = server.serve(listener, Port { keeper: keeper.clone() }, std::future::pending());
    let mut answer = String::new();
    let asking = async {
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.read_to_string(&mut answer).await.unwrap();
    };
    tokio::select! {
        () = serving => unreachable!("nobody stops it"),
        asked = timeout(Duration::from_secs(20), asking) => asked.expect("no answer"),
    }
    answer
}

async fn ask(keeper: &Arc<Played>, line: &str, body: &str) -> (u16, String) {
    let head = format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}", body.len());
    let answer = send(keeper, format!("{head}\r\n\r\n{body}")).await;
    (answer[9..12].parse().unwrap(), answer)
}

fn answers(answers: impl IntoIterator<Item = Result<&'static str, RequestError>>) -> Arc<Played> {
    Arc::new(Played { answers: Mutex::new(answers.into_iter().collect()), ..Played::default() })
}

fn sound() -> serde_json::Value {
    serde_json::json!({
        "node_id": NODE, "index": 3, "kmr": "2A".repeat(32), "identity": IDENTITY, "scl_id": "gw", "lifetime_s": 60,
    })
}

#[tokio::test]
async fn a_key_is_taken_with_its_names_and_lifetime() {
    let keeper = answers([Ok("")]);
    let begun = crate::clock::now().0;
    let (status, answer) = ask(&keeper, "POST /keys", &sound().to_string()).await;
    assert_eq!(status, 201, "{answer}");
    let asked = keeper.asked.lock().pop().unwrap();
    assert!(asked.source.starts_with("handover 127.0.0.1:"), "{}", asked.source);
    let [key] = asked.keys.as_slice() else { panic!("one key") };
    assert_eq!(
        (key.index, &key.kmr[..], key.alias.as_slice()),
        (3, &[0x2a; 32][..], &[IDENTITY.to_owned()][..])
    );
    assert_eq!((&key.node[..], key.scl_id.as_deref()), (&(0..16).collect::<Vec<u8>>()[..], Some("gw")));
    let lifetime = key.expires_ms - begun;
    assert!((60_000..90_000).contains(&lifetime), "{lifetime}");
}

#[tokio::test]
async fn names_and_lifetime_may_be_left_out() {
    let keeper = answers([Ok("")]);
    let body = serde_json::json!({ "node_id": NODE, "index": 1, "kmr": "2a".repeat(32) }).to_string();
    assert_eq!(ask(&keeper, "POST /keys", &body).await.0, 201);
    let key = keeper.asked.lock().pop().unwrap().keys.pop().unwrap();
    assert_eq!((key.expires_ms, key.scl_id, key.alias), (0, None, Vec::new()));
}

#[tokio::test]
async fn a_bad_attribute_is_named_and_no_key_is_quoted() {
    let keeper = answers([]);
    let bad: [(&str, serde_json::Value); 14] = [
        ("node_id", "00".into()),
        ("node_id", 7.into()),
        ("node_id", serde_json::Value::Null),
        ("index", 0.into()),
        ("index", (-1).into()),
        ("index", "1".into()),
        ("index", 4_294_967_296_u64.into()),
        ("kmr", "2a".repeat(31).into()),
        ("kmr", "2g".repeat(32).into()),
        ("kmr", "+a".repeat(32).into()),
        ("identity", "".into()),
        ("identity", "i".repeat(129).into()),
        ("scl_id", "a/b".into()),
        ("lifetime_s", 0.into()),
    ];
    for (attribute, value) in bad {
        let mut body = sound();
        body[attribute] = value.clone();
        let (status, answer) = ask(&keeper, "POST /keys", &body.to_string()).await;
        assert_eq!(status, 400, "{attribute} {value}: {answer}");
        assert!(answer.contains(&format!("\"attribute\":\"{attribute}\"")), "{value}: {answer}");
        assert!(!answer.contains("2a2a") && !answer.contains("2g2g"), "{answer}");
    }
    for attribute in ["node_id", "index", "kmr"] {
        let mut body = sound();
        body.as_object_mut().unwrap().remove(attribute);
        let (status, answer) = ask(&keeper, "POST /keys", &body.to_string()).await;
        assert!(status == 400 && answer.contains(&format!("\"attribute\":\"{attribute}\"")), "{answer}");
    }
    let mut more = sound();
    more["colour"] = "red".into();
    for body in [more.to_string(), "[]".to_owned(), "{".to_owned(), String::new()] {
        assert_eq!(ask(&keeper, "POST /keys", &body).await.0, 400, "{body}");
    }
    assert_eq!(keeper.asked.lock().len(), 0);
}

#[tokio::test]
async fn what_the_keys_group_says_becomes_a_status() {
    let refused = [
        ("another key has this index", None),
        ("alias: a belongs to another node", Some("identity")),
        ("scl_id: gw belongs to another node", Some("scl_id")),
    ];
    for (why, attribute) in refused {
        let (status, answer) = ask(&answers([Ok(why)]), "POST /keys", &sound().to_string()).await;
        assert_eq!(status, 409, "{why}: {answer}");
        let named = attribute.map(|name| format!("\"attribute\":\"{name}\""));
        assert!(named.map_or(!answer.contains("attribute"), |named| answer.contains(&named)), "{answer}");
    }
    let after = Duration::from_secs(7);
    let failures = [
        (RequestError::Unavailable { why: "no leader", retry_after: after }, "retry-after: 7\r\n"),
        (RequestError::OutcomeUnknown { waited: after }, "retry-after: 5\r\n"),
        (RequestError::Refused("keys.kek is not set".to_owned()), "retry-after: 5\r\n"),
    ];
    for (failure, after) in failures {
        let (status, answer) = ask(&answers([Err(failure)]), "POST /keys", &sound().to_string()).await;
        assert!(status == 503 && answer.contains(after), "{answer}");
    }
}

#[tokio::test]
async fn everything_else_is_refused_before_it_is_read() {
    let keeper = answers([]);
    assert_eq!(ask(&keeper, "POST /", "").await.0, 404);
    assert_eq!(ask(&keeper, "GET /keys/1", "").await.0, 404);
    let (status, answer) = ask(&keeper, "GET /keys", "").await;
    assert!(status == 405 && answer.contains("allow: POST\r\n"), "{answer}");
    let large = format!("{}{}", sound(), " ".repeat(BODY_MAX));
    assert_eq!(ask(&keeper, "POST /keys", &large).await.0, 413);
    // The same without saying so before.
    let head = "POST /keys HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked";
    let answer = send(&keeper, format!("{head}\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len())).await;
    assert_eq!(&answer[9..12], "413", "{answer}");
    assert_eq!(keeper.asked.lock().len(), 0);
}
