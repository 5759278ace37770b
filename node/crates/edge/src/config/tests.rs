//! Settings as an operator writes them, and what is said about wrong ones.

use super::*;

const SOUND: &str = "listen = \"127.0.0.1:0\"\nnodes = [\"127.0.0.1:7000\"]\nplaintext = true\n";

fn check(text: &str) -> Result<(), String> {
    let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    config.validate().map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

#[test]
fn the_smallest_configurations_that_work() {
    assert_eq!(check(&format!("{SOUND}open = true")), Ok(()));
    let credentials = "[[credentials]]\nuser = \"u\"\npassword = \"p\"\nentity = \"/m2m/applications/a\"\n\
                       [[credentials]]\ntoken = \"t\"\nentity = \"/m2m/scls/s\"";
    let plain = "plaintext_credentials = true\n";
    assert_eq!(check(&format!("{SOUND}{plain}{credentials}")), Ok(()));
    assert_eq!(check(&format!("{SOUND}{plain}")), Ok(()), "tokens of the cluster");
    let gateways = SOUND.replace("listen = \"127.0.0.1:0\"\n", "") + "[mid]\nlisten_psk = \"127.0.0.1:0\"";
    assert_eq!(check(&gateways), Ok(()), "an edge for gateways alone");
}

#[test]
fn a_wrong_setting_is_named() {
    for (text, said) in [
        ("nodes = [\"127.0.0.1:7000\"]\nplaintext = true\nopen = true", "listen: "),
        ("listen = \"127.0.0.1:0\"\nplaintext = true\nopen = true", "nodes"),
        ("listen = \"127.0.0.1:0\"\nnodes = [\"h:1\"]\nopen = true", "node_tls: either"),
        ("listen = \"nowhere\"", "invalid socket address"),
        (&format!("{SOUND}tokens = false"), "credentials: there are none"),
        (SOUND, "plaintext_credentials: listen alone"),
        (
            &format!("{SOUND}open = true\n[[credentials]]\ntoken = \"t\"\nentity = \"e\""),
            "credentials: either",
        ),
        (&format!("{SOUND}[[credentials]]\ncertificate = \"c\"\nentity = \"e\""), "needs tls.client_ca"),
        (&format!("{SOUND}open = true\ncolour = \"red\""), "unknown field `colour`"),
        (&format!("{SOUND}open = true\n[limits]\ncolour = 1"), "unknown field `colour`"),
        (&format!("{SOUND}open = true\n[limits]\nheader_bytes_max = 100"), "limits.header_bytes_max"),
        (&format!("{SOUND}open = true\n[limits]\nbodies_bytes_max = 100"), "limits.bodies_bytes_max"),
        (&format!("{SOUND}open = true\nrequest_timeout_ms = 0"), "request_timeout_ms: must be more than 0"),
        (&format!("{SOUND}open = true\npublic_uri = \"nscl.example.com\""), "public_uri"),
        (&format!("{SOUND}open = true\npublic_uri = \"http://h/m2m\""), "public_uri"),
        (&format!("{SOUND}open = true\nlisten_tls = \"127.0.0.1:0\""), "tls: listen_tls and [tls]"),
        (
            &format!(
                "{SOUND}open = true\nlisten_tls = \"127.0.0.1:0\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_crl = \"r\""
            ),
            "tls.client_crl: tls.client_ca",
        ),
        (
            "listen = \"0.0.0.0:0\"\nnodes = [\"127.0.0.1:1\"]\nplaintext = true\nopen = true",
            "listen: plain HTTP",
        ),
        (
            "listen = \"[::]:0\"\nnodes = [\"127.0.0.1:1\"]\nplaintext = true\nopen = true",
            "listen: plain HTTP",
        ),
        (&format!("{SOUND}open = true\n[mid]\nlisten_bootstrap = \"127.0.0.1:0\""), "mid.device_ca: "),
        (&format!("{SOUND}open = true\n[mid]\nlisten_plain = \"127.0.0.1:0\""), "mid.i_trust_this_network"),
        (
            &format!("{SOUND}open = true\n[mid]\nlisten_plain = \"0.0.0.0:0\"\ni_trust_this_network = true"),
            "mid.listen_plain: plaintext mId on every address",
        ),
        (
            &format!(
                "{SOUND}open = true\n[mid]\nlisten_plain = \"127.0.0.1:0\"\ni_trust_this_network = true"
            ),
            "mid.plain: ",
        ),
        (&format!("{SOUND}open = true\n[mid]\nival_mask = 1"), "mid.ival: "),
        (&format!("{SOUND}open = true\n[mid]\nmax_session_age_s = 0"), "mid.max_session_age_s"),
        (
            &format!("{SOUND}open = true\n[[mid.nodes]]\nserial = \"0a\"\nnode = \"07\""),
            "mid.nodes: serial is hexadecimal",
        ),
        (&format!("{SOUND}open = true\nedition = \"3.1.1\""), "unknown variant `3.1.1`"),
        (&format!("{SOUND}open = true\n[egress]\nreach = \"far\""), "unknown variant `far`"),
        (
            &format!("{SOUND}open = true\n[egress]\ntrusted = \"/absent.pem\""),
            "egress.trusted: failed to read /absent.pem",
        ),
        (
            &format!("{SOUND}plaintext_credentials = true\n[[credentials]]\nuser = \"u\"\nentity = \"e\""),
            "credentials: each has",
        ),
        (
            &format!("{SOUND}plaintext_credentials = true\n[[credentials]]\ntoken = \"\"\nentity = \"e\""),
            "credentials: credential 1: token is empty",
        ),
    ] {
        let seen = check(text).unwrap_err();
        assert!(seen.contains(said), "{text}\nsays {seen:?}, not {said:?}");
    }
}

#[test]
fn a_configuration_shows_no_secret() {
    let text = format!("{SOUND}[[credentials]]\nuser = \"u\"\npassword = \"hush\"\nentity = \"e\"");
    let config: Config = toml::from_str(&text).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

/// The keys of a table, as the reader itself names them when it meets another one.
fn keys<T: serde::de::DeserializeOwned + std::fmt::Debug>(prefix: &str) -> Vec<String> {
    let refusal = toml::from_str::<T>("no_such_key = 1").expect_err("an unknown key").message().to_owned();
    let (_, listed) = refusal.split_once("expected ").expect("what may stand there");
    listed.split('`').skip(1).step_by(2).map(|key| format!("{prefix}{key}")).collect()
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let page = include_str!("../../../../../docs/configuration.md");
    let (_, page) = page.split_once("## banyan-edge").expect("the edge has a section");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `") && !line.starts_with("| `--"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();

    let tables = ["tls", "node_tls", "credentials", "limits", "egress", "mid", "mid.nodes", "mid.plain"];
    let mut expected: Vec<String> =
        keys::<Config>("").into_iter().filter(|key| !tables.contains(&key.as_str())).collect();
    expected.extend(keys::<ServerTls>("tls."));
    expected.extend(keys::<NodeTls>("node_tls."));
    expected.extend(keys::<CredentialEntry>("credentials."));
    expected.extend(keys::<Limits>("limits."));
    expected.extend(keys::<Egress>("egress."));
    expected.extend(keys::<Mid>("mid.").into_iter().filter(|key| !tables.contains(&key.as_str())));
    expected.extend(keys::<NodeOfCertificate>("mid.nodes."));
    expected.extend(keys::<SclOfAddress>("mid.plain."));
    let documented: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(documented, expected, "docs/configuration.md, in the order of the code");

    // The defaults it names, as a file, are the defaults.
    let named: String = rows
        .iter()
        .filter(|row| row[2] != "-")
        .map(|row| format!("{} = {}\n", row[0].trim_matches('`'), row[2].trim_matches('`')))
        .collect();
    let read: Config = toml::from_str(&named).expect("defaults that can be written");
    assert_eq!(format!("{read:?}"), format!("{:?}", Config::default()));
    // A row has a default exactly when it is not an optional one.
    for row in rows.iter().filter(|row| row[2] == "-") {
        assert!(!row[0].starts_with("`limits."), "{row:?} has no default");
    }
}
