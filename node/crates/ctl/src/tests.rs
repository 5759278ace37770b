//! Commands against a node that remembers what it was asked.

#![allow(clippy::unwrap_used)]

use crate::{Arguments, CtlError, run};
use banyan_proto::v1::{
    self,
    admin_server::{Admin, AdminServer},
    keys_answer::Kind as Answer,
    keys_question::Kind as Question,
};
use clap::Parser;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

const NODE: &str = "000102030405060708090a0b0c0d0e0f";

type Asked = Arc<Mutex<Vec<Question>>>;

type Pieces = tokio_stream::Iter<std::vec::IntoIter<Result<v1::CopyPiece, Status>>>;

/// Takes every key but those of an index over 5, and leads the only shard.
struct Node {
    asked: Asked,
    address: String,
}

#[tonic::async_trait]
impl Admin for Node {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::NodeStatus>, Status> {
        let settings = v1::Settings { scl_base: "/m2m".to_owned(), ..Default::default() };
        let shard = v1::ShardInfo { shard: 1, last_slot: u64::MAX, ..Default::default() };
        let directory =
            v1::DirectoryState { settings: Some(settings), shards: vec![shard], ..Default::default() };
        let leads = v1::GroupStatus { group: 1, role: "Leader".to_owned(), ..Default::default() };
        let node = v1::NodeInfo { address: self.address.clone(), ..Default::default() };
        Ok(Response::new(v1::NodeStatus {
            node: Some(node),
            directory: Some(directory),
            groups: vec![leads],
            ..Default::default()
        }))
    }

    async fn step_down(&self, _: Request<v1::StepDownRequest>) -> Result<Response<v1::NodeStatus>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn place(&self, _: Request<v1::PlaceQuestion>) -> Result<Response<v1::PlaceAnswer>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    type CopyStream = Pieces;

    async fn copy(&self, request: Request<v1::CopyRequest>) -> Result<Response<Pieces>, Status> {
        assert_eq!(request.into_inner().group, 1);
        let start = v1::CopyStart { term: 3, index: 9, bytes: 9, crc32: 0xcbf4_3926, ..Default::default() };
        let data = |text: &'static str| v1::copy_piece::Kind::Data(text.as_bytes().into());
        let kinds = [v1::copy_piece::Kind::Start(start), data("12345"), data("6789")];
        let pieces: Vec<_> = kinds.map(|kind| Ok(v1::CopyPiece { kind: Some(kind) })).into();
        Ok(Response::new(tokio_stream::iter(pieces)))
    }

    async fn stored(&self, _: Request<v1::StoredQuestion>) -> Result<Response<v1::StoredAnswer>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn keys(&self, request: Request<v1::KeysQuestion>) -> Result<Response<v1::KeysAnswer>, Status> {
        let question = request.into_inner().kind.unwrap();
        self.asked.lock().unwrap().push(question.clone());
        let kind = match question {
            Question::Import(import) => {
                let said =
                    |key: &v1::ProvisionedKey| if key.index > 5 { "no".to_owned() } else { String::new() };
                Some(Answer::Imported(v1::ImportedKeys { refused: import.keys.iter().map(said).collect() }))
            }
            Question::Rotate(rotate) if rotate.node[0] == 0 => Some(Answer::Rotated(v1::RotatedKey {
                kmr: vec![0x2a; 32].into(),
                index: 2,
                expires_ms: 1_893_456_000_000,
                scl_id: None,
            })),
            Question::CreateToken(create) if create.label == "no" => {
                return Err(Status::failed_precondition("too many"));
            }
            Question::CreateToken(create) => {
                Some(Answer::TokenMade(v1::ListedToken { digest: create.digest, record: None }))
            }
            Question::Rotate(_) => return Err(Status::failed_precondition("the node is not known")),
            _ => None,
        };
        Ok(Response::new(v1::KeysAnswer { kind }))
    }
}

struct Bench {
    folder: TempDir,
    asked: Asked,
    address: String,
    serving: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

impl Bench {
    async fn start() -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Asked::default();
        let node = AdminServer::new(Node { asked: asked.clone(), address: address.clone() });
        let serving = tokio::spawn(async move {
            let served = Server::builder().add_service(node);
            served.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Bench { folder: tempfile::tempdir().unwrap(), asked, address, serving }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.path(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run(&self, arguments: &[&str]) -> Result<(), CtlError> {
        let is_local = arguments.contains(&"seal") || arguments.contains(&"verify");
        let node = ["--node", &self.address];
        let all = ["ctl"].into_iter().chain(arguments.iter().copied());
        let all: Vec<&str> = all.chain(node.into_iter().filter(|_| !is_local)).collect();
        run(Program::try_parse_from(all).unwrap().arguments).await
    }

    fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[tokio::test]
async fn sealed_keys_are_imported_in_batches_and_what_is_refused_is_told() {
    let bench = Bench::start().await;
    let key = bench.file("transfer", &"07".repeat(32));
    let line = |index| format!("{{\"node\":\"{NODE}\",\"index\":{index},\"kmr\":\"{}\"}}\n", "2a".repeat(32));
    let plain = bench.file("plain", &(0..450).map(|at| line(at % 5 + 1)).collect::<String>());
    let sealed = bench.path("sealed").to_str().unwrap().to_owned();
    bench.run(&["keys", "seal", &plain, &sealed, "--transfer-key", &key]).await.unwrap();
    let again = bench.run(&["keys", "seal", &plain, &sealed, "--transfer-key", &key]).await;
    assert!(matches!(again, Err(CtlError::File { .. })), "nothing is overwritten: {again:?}");

    bench.run(&["keys", "import", &sealed, "--transfer-key", &key]).await.unwrap();
    let sent = bench.asked().into_iter().map(|asked| match asked {
        Question::Import(import) => import.keys,
        other => panic!("{other:?}"),
    });
    let sent: Vec<_> = sent.collect();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [200, 200, 50]);
    assert!(sent[0][0].kmr.iter().all(|octet| *octet == 0x2a));

    let plain = bench.file("more", &[line(1), line(6), line(7)].concat());
    let sealed = bench.path("more-sealed").to_str().unwrap().to_owned();
    bench.run(&["keys", "seal", &plain, &sealed, "--transfer-key", &key]).await.unwrap();
    let refused = bench.run(&["keys", "import", &sealed, "--transfer-key", &key]).await;
    assert!(matches!(refused, Err(CtlError::NotTaken(2))), "{refused:?}");

    bench.asked();
    let other = bench.file("other", &"08".repeat(32));
    let unopened = bench.run(&["keys", "import", &sealed, "--transfer-key", &other]).await;
    assert!(matches!(unopened, Err(CtlError::Keys { .. })), "{unopened:?}");
    assert_eq!(bench.asked(), [], "nothing was sent");
}

#[tokio::test]
async fn a_rotated_key_goes_to_a_file_of_its_owner_only() {
    let bench = Bench::start().await;
    let out = bench.path("key");
    let shown = out.to_str().unwrap();
    let unknown = NODE.replace("00", "ff");
    let refused = bench.run(&["keys", "rotate", &unknown, "--out", shown]).await;
    assert!(matches!(refused, Err(CtlError::Refused { .. })), "{refused:?}");
    assert!(!out.exists(), "no empty file is left");

    bench.run(&["keys", "rotate", NODE, "--out", shown]).await.unwrap();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let expected = format!(
        "{{\"node\":\"{NODE}\",\"index\":2,\"kmr\":\"{}\",\"expires\":\"2030-01-01T00:00:00Z\"}}\n",
        "2a".repeat(32)
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), expected);

    bench.asked();
    let again = bench.run(&["keys", "rotate", NODE, "--out", shown]).await;
    assert!(matches!(again, Err(CtlError::File { .. })), "{again:?}");
    assert_eq!(bench.asked(), [], "a key that has nowhere to go is not made");
}

#[tokio::test]
async fn a_revocation_names_what_it_ends() {
    let bench = Bench::start().await;
    bench.run(&["keys", "revoke", NODE, "--index", "3"]).await.unwrap();
    bench.run(&["keys", "revoke", NODE]).await.unwrap();
    let revoked = bench.asked().into_iter().map(|asked| match asked {
        Question::Revoke(revoke) => (revoke.node.len(), revoke.index),
        other => panic!("{other:?}"),
    });
    assert_eq!(revoked.collect::<Vec<_>>(), [(16, Some(3)), (16, None)]);
    assert!(Program::try_parse_from(["ctl", "keys", "revoke", "00"]).is_err());
}

#[tokio::test]
async fn a_token_goes_to_a_file_of_its_owner_and_only_its_digest_to_the_node() {
    let bench = Bench::start().await;
    let out = bench.path("token");
    let shown = out.to_str().unwrap();
    let refused = bench.run(&["token", "create", "--for", "na", "--label", "no", "--out", shown]).await;
    assert!(matches!(refused, Err(CtlError::Refused { .. })), "{refused:?}");
    assert!(!out.exists(), "no empty file is left");
    bench.asked();

    let create = ["token", "create", "--for", "a b", "--expires", "90d", "--label", "x", "--out", shown];
    bench.run(&create).await.unwrap();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&out).unwrap();
    let token = token.strip_suffix('\n').unwrap();
    let random = token.strip_prefix("bny_").unwrap();
    assert_eq!(random.len(), banyan_model::security::TOKEN_CHARACTERS);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let expected = v1::CreateToken {
        digest: digest.as_ref().to_vec().into(),
        entity: "/m2m/applications/a%20b".to_owned(),
        label: "x".to_owned(),
        lifetime_ms: 90 * 86_400_000,
        source: "ctl".to_owned(),
    };
    assert_eq!(bench.asked(), [Question::CreateToken(expected)]);

    let again = bench.run(&create).await;
    assert!(matches!(again, Err(CtlError::File { .. })), "{again:?}");
    assert_eq!(bench.asked(), [], "a token that has nowhere to go is not made");
}

#[tokio::test]
async fn a_backup_is_made_once_and_read_back() {
    let bench = Bench::start().await;
    let folder = bench.path("backup");
    let name = folder.to_str().unwrap();
    assert!(matches!(bench.run(&["verify", name]).await, Err(CtlError::NoBackup(_))));
    bench.run(&["backup", name]).await.unwrap();
    bench.run(&["verify", name]).await.unwrap();
    let file = folder.join("shard-1.snapshot");
    assert_eq!(fs::read(&file).unwrap(), b"123456789");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = bench.run(&["backup", name]).await;
    assert!(matches!(again, Err(CtlError::Backup(banyan_backup::WriteError::Taken { .. }))), "{again:?}");

    fs::write(&file, b"123456780").unwrap();
    assert!(matches!(bench.run(&["verify", name]).await, Err(CtlError::Faults(1))));
}
