//! Who may speak for whom (bindings.md 3.2).

use crate::bench::{Bench, scl};
use banyan_binding::{
    http::{Config, Server},
    identity::{Credential, CredentialError, Credentials, Open, Secret},
};
use banyan_model::Scl;
use base64::{Engine, prelude::BASE64_STANDARD};

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
    let identity = Credentials::new(scl(), list).unwrap();
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
