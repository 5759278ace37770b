//! Who may speak for whom (bindings.md 3.2).

use crate::bench::{Bench, scl};
use banyan_binding::{
    http::{Config, Server},
    identity::{Credential, CredentialError, Credentials, Digest, LookingUp, Open, Secret, TokenLookup},
};
use banyan_model::{Entity, Refusal, Scl, StatusCode};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::sync::Arc;

fn basic(text: &str) -> String {
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(text))
}

fn user(user: &str, password: &str, entity: &str) -> Credential {
    Credential::Basic {
        user: user.to_owned(),
        password: Secret(password.to_owned()),
        entity: entity.to_owned(),
    }
}

fn token(token: &str, entity: &str) -> Credential {
    Credential::Bearer { token: Secret(token.to_owned()), entity: entity.to_owned() }
}

#[tokio::test]
async fn the_open_mode_believes_from_then_basic() {
    let config = Config::new(scl());
    let ours = Scl { authorities: vec!["nscl:8080".to_owned()], ..scl() };
    let bench = Bench::start(Server::default(), config, Open { scl: ours }).await;
    let by = |entity: &str| format!("200\n> Retrieve /scls by {entity}: no body");
    for (header, entity) in [
        ("From: http://nscl:8080/m2m/applications/a/", "/m2m/applications/a"),
        ("From: http://gw42/m2m/applications/a", "http://gw42/m2m/applications/a"),
        ("From: /m2m", "/m2m"),
        (&*basic("http%3A%2F%2Fnscl%3A8080%2Fm2m%2Fapplications%2Fa:secret"), "/m2m/applications/a"),
        (&*basic("admin/admin"), "admin/admin"),
        (&*format!("From: x\n{}", basic("y:z")), "x"),
    ] {
        bench.check(&format!("GET /m2m/scls HTTP/1.1\nHost: h\n{header}"), &by(entity)).await;
    }
    for header in ["X: y", "From: ", "Authorization: Bearer t", &*basic(":password")] {
        bench
            .check(
                &format!("GET /m2m/scls HTTP/1.1\nHost: h\n{header}"),
                "402\n| STATUS_PERMISSION_DENIED\n| requestingEntity\n>",
            )
            .await;
    }
    for header in
        ["From: a\nFrom: b", "Authorization: Basic ???", "From: \u{e9}", &*basic("a%4:"), &*basic("a%00:")]
    {
        bench.check(&format!("GET /m2m/scls HTTP/1.1\nHost: h\n{header}"), "400\n>").await;
    }
}

#[tokio::test]
async fn a_credential_speaks_for_its_entity_and_no_other() {
    let list = vec![
        user("meter", "s3:cret", "http://h/m2m/applications/meter"),
        user("http://h/m2m/applications/v1", "pw", "/m2m/applications/v1"),
        token("0123456789abcdef", "/m2m/scls/gw"),
        token("fedcba9876543210", "/m2m/applications/other"),
    ];
    let identity = Credentials::new(scl(), list).unwrap().in_plaintext(true);
    let bench = Bench::start(Server::default(), Config::new(scl()), identity).await;
    let by = |entity: &str| format!("200\n> Retrieve /scls by {entity}: no body");
    let denied =
        "401\nwww-authenticate: Basic realm=\"m2m\", charset=\"UTF-8\"\n| STATUS_PERMISSION_DENIED\n>";
    for (headers, expected) in [
        (basic("meter:s3:cret"), by("/m2m/applications/meter")),
        (basic("http%3A%2F%2Fh%2Fm2m%2Fapplications%2Fv1:pw"), by("/m2m/applications/v1")),
        ("Authorization: bearer 0123456789abcdef".to_owned(), by("/m2m/scls/gw")),
        ("Authorization: Bearer fedcba9876543210".to_owned(), by("/m2m/applications/other")),
        (format!("{}\nFrom: /m2m/applications/meter", basic("meter:s3:cret")), by("/m2m/applications/meter")),
        (
            format!("{}\nFrom: http://h/m2m/applications/meter/", basic("meter:s3:cret")),
            by("/m2m/applications/meter"),
        ),
        (format!("{}\nFrom: /m2m", basic("meter:s3:cret")), "403\n| STATUS_FORBIDDEN\n>".to_owned()),
        ("From: /m2m/applications/meter".to_owned(), denied.to_owned()),
        (basic("meter:s3:cre"), denied.to_owned()),
        (basic("meter:"), denied.to_owned()),
        (basic("nobody:s3:cret"), denied.to_owned()),
        ("Authorization: Bearer 0123456789abcde".to_owned(), denied.to_owned()),
        ("Authorization: Bearer".to_owned(), denied.to_owned()),
        ("Authorization: Digest x".to_owned(), denied.to_owned()),
        ("X: y".to_owned(), "402\n| STATUS_PERMISSION_DENIED\n>".to_owned()),
    ] {
        bench.check(&format!("GET /m2m/scls HTTP/1.1\nHost: h\n{headers}"), &expected).await;
    }
}

/// SHA-256 of `bny_` and 43 times `A`, as sha256sum says it.
const KNOWN: &str = "38ed2a0a95e22c05bdd11e9564a66d4e817289866261bcb6b19a3baf31d89ac6";

/// Knows one token; that with a digest that is not KNOWN is unknown, and the second question fails.
#[derive(Debug, Default)]
struct OneToken {
    asked: std::sync::atomic::AtomicUsize,
}

impl TokenLookup for OneToken {
    fn look_up(&self, digest: Digest) -> LookingUp<'_> {
        let known = digest.iter().map(|octet| format!("{octet:02x}")).collect::<String>() == KNOWN;
        let nth = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move {
            tokio::task::yield_now().await;
            match nth {
                1 => Err(Refusal::new(StatusCode::ServiceUnavailable, "the tokens cannot be looked up now")),
                _ => Ok(known.then(|| Entity("/m2m/applications/t".to_owned()))),
            }
        })
    }
}

#[tokio::test]
async fn a_token_that_only_the_cluster_knows_is_looked_up_by_its_digest() {
    let cluster = Arc::new(OneToken::default());
    let lookup = Arc::clone(&cluster) as Arc<dyn TokenLookup>;
    let identity = Credentials::new(scl(), Vec::new()).unwrap().in_plaintext(true).with_tokens(lookup);
    let bench = Bench::start(Server::default(), Config::new(scl()), identity).await;
    let known = format!("Authorization: Bearer bny_{}", "A".repeat(43));
    let denied =
        "401\nwww-authenticate: Basic realm=\"m2m\", charset=\"UTF-8\"\n| STATUS_PERMISSION_DENIED\n>";
    for (headers, expected, asked) in [
        (known.clone(), "200\n> Retrieve /scls by /m2m/applications/t: no body", 1),
        (known.clone(), "503\n| STATUS_SERVICE_UNAVAILABLE\n| cannot be looked up\n>", 2),
        (format!("Authorization: Bearer bny_{}", "B".repeat(43)), denied, 3),
        // Nobody is asked about what is no token of the cluster.
        (format!("Authorization: Bearer bny_{}", "A".repeat(42)), denied, 3),
        (format!("Authorization: Bearer bny_{}=", "A".repeat(42)), denied, 3),
        ("Authorization: Bearer other".to_owned(), denied, 3),
        (
            format!("{known}\nFrom: /m2m/applications/t"),
            "200\n> Retrieve /scls by /m2m/applications/t: no body",
            4,
        ),
        (format!("{known}\nFrom: /m2m"), "403\n| STATUS_FORBIDDEN\n| From\n>", 5),
    ] {
        bench.check(&format!("GET /m2m/scls HTTP/1.1\nHost: h\n{headers}"), expected).await;
        assert_eq!(cluster.asked.load(std::sync::atomic::Ordering::Relaxed), asked, "{headers}");
    }
}

#[tokio::test]
async fn a_secret_is_not_taken_in_plain_text_unless_that_is_wanted() {
    let list = vec![user("meter", "pw", "/m2m/applications/meter"), token("t", "/m2m/applications/t")];
    let identity = Credentials::new(scl(), list).unwrap();
    let bench = Bench::start(Server::default(), Config::new(scl()), identity).await;
    for header in [basic("meter:pw"), basic("meter:wrong"), "Authorization: Bearer t".to_owned()] {
        let request = format!("GET /m2m/scls HTTP/1.1\nHost: h\n{header}");
        bench.check(&request, "403\n| STATUS_FORBIDDEN\n| without TLS\n>").await;
    }
}

#[test]
fn a_list_that_cannot_work_is_refused_and_shows_no_secret() {
    let refused = |list| Credentials::new(scl(), list).unwrap_err().to_string();
    assert_eq!(
        refused(vec![user("a", "b", "c"), user("a", "d", "e")]),
        "credential 2: user \"a\" is listed twice"
    );
    assert_eq!(refused(vec![token("t", "a"), token("t", "b")]), "credential 2: the token is listed twice");
    assert_eq!(refused(vec![user("a", "", "c")]), "credential 1: password is empty");
    assert!(matches!(
        Credentials::new(scl(), vec![token("t", " ")]),
        Err(CredentialError::Empty { at: 1, what: "entity" })
    ));
    let shown =
        format!("{:?}", Credentials::new(scl(), vec![user("a", "hush", "c"), token("hush", "d")]).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}
