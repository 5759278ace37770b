//! The keys' group of one node over a real store.

#![allow(clippy::unwrap_used)]

use super::*;
use banyan_model::security::{KeyRef, M2mNodeId};
use banyan_proto::v1::{keys_answer::Kind as Answer, keys_question::Kind as Question};
use banyan_raft::Links;
use std::{collections::BTreeSet, fs, path::Path, time::Instant};
use tempfile::TempDir;

const NODE: M2mNodeId = M2mNodeId(*b"a gateway's node");
const KMR: [u8; 32] = *b"the root key of a gateway's node";
const KMC: [u8; 32] = *b"a connection key of that gateway";

struct Bench {
    folder: TempDir,
    store: Store,
    groups: Arc<Groups>,
    keys: Keys,
}

fn kek(octet: u8) -> String {
    format!("{octet:02x}").repeat(32)
}

impl Bench {
    async fn start(folder: TempDir, newest: u8, older: &[u8]) -> Bench {
        let file = |octet: u8| {
            let file = folder.path().join(format!("kek-{octet}"));
            fs::write(&file, kek(octet)).unwrap();
            file
        };
        let older: Vec<_> = older.iter().map(|octet| file(*octet)).collect();
        let mut config = Config::new(folder.path().join("audit.jsonl"));
        config.kek = Some(Arc::new(FileKeys::read(&file(newest), &older).unwrap()));
        let store = Store::open(&folder.path().join("data"), banyan_storage::Config::default()).unwrap();
        let raft = banyan_raft::Config::default();
        let groups = Groups::new(1, store.clone(), Links::new(raft.link_queue_bytes_max), raft);
        let keys = Keys::new(config, &store, groups.clone()).unwrap();
        keys.start().await.unwrap().found(BTreeSet::from([1])).await.unwrap();
        let bench = Bench { folder, store, groups, keys };
        let until = Instant::now() + Duration::from_secs(30);
        while bench.keys.inner.leading().and_then(|_| bench.keys.inner.data_key()).is_err() {
            assert!(Instant::now() < until, "no data key: {:?}", bench.keys.inner.data_key().err());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench
    }

    async fn stop(self) -> TempDir {
        let Bench { folder, store, groups, keys } = self;
        groups.shutdown().await;
        drop((keys, groups));
        tokio::task::spawn_blocking(move || store.close().unwrap()).await.unwrap();
        folder
    }

    async fn ask(&self, kind: Question) -> Result<Option<Answer>, KeysError> {
        let question = v1::KeysQuestion { kind: Some(kind) };
        Ok(self.keys.answer(question, Instant::now() + Duration::from_secs(10)).await?.kind)
    }

    async fn bootstrap(&self) -> Result<v1::Bootstrapped, KeysError> {
        let asked = v1::Bootstrap {
            node: NODE.0.to_vec().into(),
            kmr: KMR.to_vec().into(),
            certificate: vec![5; 32].into(),
            source: "192.0.2.7:1".to_owned(),
        };
        match self.ask(Question::Bootstrap(asked)).await? {
            Some(Answer::Bootstrapped(made)) => Ok(made),
            other => panic!("{other:?}"),
        }
    }

    async fn connect(&self, kmr_index: u32) -> Result<v1::OpenedConnection, KeysError> {
        let asked = v1::OpenConnection {
            node: NODE.0.to_vec().into(),
            kmr_index: Some(kmr_index),
            kmc: KMC.to_vec().into(),
            source: "192.0.2.7:2".to_owned(),
        };
        match self.ask(Question::OpenConnection(asked)).await? {
            Some(Answer::Opened(opened)) => Ok(opened),
            other => panic!("{other:?}"),
        }
    }

    async fn resolve(&self, identity: &[u8]) -> Option<(Vec<u8>, KeyRef)> {
        let asked = v1::ResolveKey { identity: identity.to_vec().into(), source: String::new() };
        match self.ask(Question::ResolveKey(asked)).await.unwrap() {
            Some(Answer::Resolved(key)) => {
                Some((key.secret.to_vec(), banyan_proto::convert::key_ref(key.key).unwrap()))
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }

    async fn closures(&self, after: u64) -> v1::Closures {
        match self.ask(Question::AwaitClosures(v1::AwaitClosures { after, hold_ms: 5_000 })).await.unwrap() {
            Some(Answer::Closures(closures)) => closures,
            other => panic!("{other:?}"),
        }
    }

    fn audit(&self) -> String {
        fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap()
    }
}

/// Whether an octet string stands in any file below a folder.
fn stands_in(folder: &Path, octets: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => stands_in(&path, octets),
            false => fs::read(&path).unwrap().windows(octets.len()).any(|window| window == octets),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_its_bootstrap_to_its_revocation() {
    let bench = Bench::start(tempfile::tempdir().unwrap(), 1, &[]).await;
    let begin = bench.closures(0).await.number;
    assert_eq!(bench.resolve(&NODE.0).await, None, "nobody knows it yet");

    let made = bench.bootstrap().await.unwrap();
    assert_eq!((made.index, made.scl_id.clone()), (1, Some(NODE.to_string())));
    assert_eq!(bench.bootstrap().await.unwrap(), made, "a repetition makes nothing new");
    let kmr = KeyRef::Kmr { node: NODE, index: 1 };
    let identity = format!("kmr/{NODE}/1@mas.example.com");
    for shown in [identity.as_bytes(), &NODE.0, NODE.to_string().as_bytes()] {
        assert_eq!(bench.resolve(shown).await, Some((KMR.to_vec(), kmr.clone())));
    }
    assert_eq!(bench.resolve(format!("kmr/{NODE}/2@mas.example.com").as_bytes()).await, None);

    let opened = bench.connect(1).await.unwrap();
    assert_eq!(bench.connect(1).await.unwrap(), opened);
    assert_eq!(opened.wrapped_kmc.len(), 40);
    let identity = format!("kmc/{:016x}/1@nscl.example.com", opened.connection);
    let kmc = KeyRef::Kmc { connection: opened.connection, index: 1 };
    assert_eq!(bench.resolve(identity.as_bytes()).await, Some((KMC.to_vec(), kmc.clone())));

    let waits = bench.closures(begin);
    let revoke = v1::RevokeKeys { node: NODE.0.to_vec().into(), index: Some(1), source: "ctl".to_owned() };
    let (closures, revoked) = tokio::join!(waits, bench.ask(Question::Revoke(revoke)));
    revoked.unwrap();
    let closed = closures.closed.into_iter().map(|one| banyan_proto::convert::key_ref(one.key).unwrap());
    assert_eq!(closed.collect::<BTreeSet<_>>(), BTreeSet::from([kmr, kmc]));
    assert_eq!(bench.resolve(identity.as_bytes()).await, None);
    assert_eq!(bench.resolve(&NODE.0).await, None);
    assert!(matches!(bench.connect(1).await, Err(KeysError::Refused(_))));

    let told = bench.audit();
    for what in ["bootstrap", "connection", "export", "revoke", "resolve"] {
        assert!(told.contains(&format!("\"what\":\"{what}\"")), "{what}: {told}");
    }
    let folder = bench.stop().await;
    for secret in [&KMR, &KMC] {
        assert!(!stands_in(folder.path(), secret));
        let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        assert!(!stands_in(folder.path(), hex.as_bytes()));
    }
    assert!(stands_in(folder.path(), NODE.0.as_slice()), "the files were looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_survive_a_restart_and_another_key_encryption_key() {
    let bench = Bench::start(tempfile::tempdir().unwrap(), 1, &[]).await;
    bench.bootstrap().await.unwrap();
    let folder = bench.stop().await;

    let bench = Bench::start(folder, 2, &[1]).await;
    assert!(bench.resolve(&NODE.0).await.is_some());
    let newest = bench.keys.inner.config.kek.as_ref().unwrap().id();
    let until = Instant::now() + Duration::from_secs(30);
    while bench.keys.inner.find::<v1::DataKey>(&place::data_key()).unwrap().unwrap().kek != newest {
        assert!(Instant::now() < until, "not wrapped anew");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let folder = bench.stop().await;

    let bench = Bench::start(folder, 2, &[]).await;
    assert!(bench.resolve(&NODE.0).await.is_some(), "the older one is not needed any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_audited_is_not_done() {
    let bench = Bench::start(tempfile::tempdir().unwrap(), 1, &[]).await;
    // A folder in its place: nobody can write to it.
    let file = bench.folder.path().join("audit.jsonl");
    fs::rename(&file, bench.folder.path().join("audit.old")).unwrap();
    fs::create_dir(&file).unwrap();
    let refused = bench.bootstrap().await.unwrap_err();
    assert!(refused.to_string().contains("audit"), "{refused}");
    assert_eq!(bench.keys.inner.kmrs(NODE).unwrap(), []);
    fs::remove_dir(&file).unwrap();
    bench.bootstrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_keys_stand_each_for_itself() {
    let bench = Bench::start(tempfile::tempdir().unwrap(), 1, &[]).await;
    let key = |node: u8, octet: u8, scl: &str| v1::ProvisionedKey {
        node: vec![node; 16].into(),
        index: 1,
        kmr: vec![octet; 32].into(),
        expires_ms: 0,
        scl_id: Some(scl.to_owned()),
        alias: vec![format!("meter-{node}")],
    };
    let short = v1::ProvisionedKey { kmr: vec![1; 31].into(), ..key(9, 9, "gw9") };
    let keys = vec![key(1, 11, "gw1"), key(2, 12, "gw1"), short, key(2, 12, "gw2")];
    let import = v1::ImportKeys { keys, source: "ctl".to_owned() };
    let Some(Answer::Imported(imported)) = bench.ask(Question::Import(import.clone())).await.unwrap() else {
        panic!("not imported");
    };
    let taken: Vec<bool> = imported.refused.iter().map(String::is_empty).collect();
    assert_eq!(taken, [true, false, false, true], "{imported:?}");
    assert!(imported.refused[1].contains("scl_id"), "{imported:?}");
    let again = bench.ask(Question::Import(import)).await.unwrap();
    assert_eq!(again, Some(Answer::Imported(imported)), "a repetition changes nothing");
    assert_eq!(bench.resolve(b"meter-2").await.map(|(key, _)| key), Some(vec![12; 32]));

    let list = v1::ListKeys { limit: 1, ..Default::default() };
    let Some(Answer::Listed(page)) = bench.ask(Question::List(list)).await.unwrap() else {
        panic!("no list")
    };
    assert_eq!((page.nodes.len(), page.more, page.nodes[0].scl_id.as_str()), (1, true, "gw1"));
}

impl Bench {
    async fn create_token(&self, digest: u8, label: &str, lifetime_ms: u64) -> v1::TokenRecord {
        let create = v1::CreateToken {
            digest: vec![digest; 32].into(),
            entity: "/m2m/applications/na".to_owned(),
            label: label.to_owned(),
            lifetime_ms,
            source: "ctl".to_owned(),
        };
        match self.ask(Question::CreateToken(create)).await.unwrap() {
            Some(Answer::TokenMade(made)) => made.record.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn resolve_token(&self, digest: u8) -> Option<v1::Token> {
        let asked = v1::ResolveToken { digest: vec![digest; 32].into() };
        match self.ask(Question::ResolveToken(asked)).await.unwrap() {
            Some(Answer::Token(token)) => Some(token),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    async fn revoke_token(&self, named: &str) -> Result<v1::ListedToken, KeysError> {
        let revoke = v1::RevokeToken { named: named.to_owned(), source: "ctl".to_owned() };
        match self.ask(Question::RevokeToken(revoke)).await? {
            Some(Answer::TokenRevoked(revoked)) => Ok(revoked),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_speaks_for_its_entity_until_it_is_revoked_or_expires() {
    let bench = Bench::start(tempfile::tempdir().unwrap(), 1, &[]).await;
    let begin = bench.closures(0).await.number;
    assert_eq!(bench.resolve_token(1).await, None);
    assert_eq!(bench.create_token(1, "dashboard", 0).await.expires_ms, 0);
    let short = bench.create_token(2, "short", 300).await;
    assert!(short.expires_ms > short.created_ms && short.created_by == "ctl", "{short:?}");
    let entity = "/m2m/applications/na".to_owned();
    assert_eq!(bench.resolve_token(1).await, Some(v1::Token { entity, expires_ms: 0 }));
    assert!(bench.resolve_token(2).await.is_some_and(|token| token.expires_ms == short.expires_ms));
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(bench.resolve_token(2).await, None, "before it is swept");

    let list = |after: &[u8]| Question::ListTokens(v1::ListTokens { after: after.to_vec().into(), limit: 1 });
    let Some(Answer::TokensListed(page)) = bench.ask(list(&[])).await.unwrap() else { panic!("no list") };
    assert_eq!((page.tokens.len(), page.more, page.tokens[0].digest.as_ref()), (1, true, [1; 32].as_slice()));
    let Some(Answer::TokensListed(page)) = bench.ask(list(&[1; 32])).await.unwrap() else {
        panic!("no list")
    };
    assert_eq!((page.more, page.tokens[0].digest.as_ref()), (false, [2; 32].as_slice()));

    for named in ["", "0101010", "020202020203", "nothing"] {
        assert!(matches!(bench.revoke_token(named).await, Err(KeysError::Refused(_))), "{named}");
    }
    bench.create_token(3, "dashboard", 0).await;
    let refused = bench.revoke_token("dashboard").await.unwrap_err();
    assert!(refused.to_string().contains("several"), "{refused}");
    let (closures, revoked) = tokio::join!(bench.closures(begin), bench.revoke_token("01010101"));
    assert_eq!(revoked.unwrap().digest, vec![1; 32]);
    assert_eq!(closures.closed, [v1::Closed { token: vec![1; 32].into(), ..Default::default() }]);
    assert_eq!(bench.resolve_token(1).await, None);
    assert!(bench.resolve_token(3).await.is_some());
    assert_eq!(bench.revoke_token("dashboard").await.unwrap().digest, vec![3; 32], "one is left");

    let told = bench.audit();
    for what in ["create token", "revoke token"] {
        for result in ["requested", "accepted"] {
            let line =
                format!("\"what\":\"{what}\",\"result\":\"{result}\",\"key\":\"token 0101010101010101\"");
            assert!(told.contains(&line), "{line}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_audited_is_not_made() {
    let bench = Bench::start(tempfile::tempdir().unwrap(), 1, &[]).await;
    let file = bench.folder.path().join("audit.jsonl");
    fs::rename(&file, bench.folder.path().join("audit.old")).unwrap();
    fs::create_dir(&file).unwrap();
    let create = v1::CreateToken {
        digest: vec![1; 32].into(),
        entity: "/m2m/applications/na".to_owned(),
        ..Default::default()
    };
    let refused = bench.ask(Question::CreateToken(create)).await.unwrap_err();
    assert!(refused.to_string().contains("audit"), "{refused}");
    assert_eq!(bench.resolve_token(1).await, None);
}
