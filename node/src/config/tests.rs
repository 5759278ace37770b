//! Settings as an operator writes them, and what is said about wrong ones.

#![allow(clippy::unwrap_used)]

use super::*;

const SOUND: &str = "data = \"d\"\nlisten = \"127.0.0.1:7000\"\nfounders = [\"127.0.0.1:7000\"]\n";
const PLAIN: &str = "plaintext = true\n";

fn check(text: &str) -> Result<Checked, String> {
    let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    config.check().map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

#[test]
fn the_smallest_configuration_that_works() {
    let checked = check(&format!("{SOUND}{PLAIN}")).unwrap();
    assert_eq!(checked.directory.address, "127.0.0.1:7000");
    assert_eq!(checked.directory.founding, directory::Founding::default());
    assert_eq!(checked.client.nodes, ["127.0.0.1:7000"]);
    assert_eq!(checked.delivery, delivery::Config::default());
    assert_eq!(checked.storage, banyan_storage::Config::default());
}

#[test]
fn a_backup_is_restored_by_founders() {
    let checked = check(&format!("restore = \"b\"\n{SOUND}{PLAIN}")).unwrap();
    assert_eq!(
        checked.directory.restore.as_deref(),
        Some(Path::new("b")),
        "looked at when the store is open"
    );
    let joins = SOUND.replace("founders", "join");
    let refused = check(&format!("restore = \"b\"\n{joins}{PLAIN}")).unwrap_err();
    assert!(refused.starts_with("restore: "), "{refused}");
}

#[test]
fn what_is_written_reaches_its_room() {
    let text = format!(
        "{SOUND}{PLAIN}shards = 4\nzone = \"z\"\n[raft]\nsnapshot_after_entries = 50\nlog_keep_entries = 10\n\
         heartbeat_ms = 100\n[storage]\nwrite_behind_ms = 20\n[policy]\ncontent_bytes_max = 5\n\
         [subtree]\nidle_ms = 7\n[delivery]\ngive_up_after_ms = 9\n"
    );
    let checked = check(&text).unwrap();
    assert_eq!((checked.directory.founding.shards, checked.directory.zone.as_str()), (4, "z"));
    assert_eq!((checked.raft.snapshot_after_entries, checked.raft.log_keep_entries), (50, 10));
    assert_eq!(checked.raft.heartbeat, Duration::from_millis(100));
    assert_eq!(checked.storage.write_behind, Duration::from_millis(20));
    assert_eq!(checked.subtree.policy.content_bytes_max, 5);
    assert_eq!(checked.subtree.idle, Duration::from_millis(7));
    assert_eq!(checked.delivery.give_up_after, Duration::from_millis(9));
}

#[test]
fn a_wrong_setting_is_named() {
    let sound = format!("{SOUND}{PLAIN}");
    for (text, said) in [
        ("listen = \"127.0.0.1:7000\"\nplaintext = true", "data: must be set"),
        ("data = \"d\"\nplaintext = true", "listen: must be set"),
        ("data = \"d\"\nlisten = \"nowhere\"", "invalid socket address"),
        ("data = \"d\"\nlisten = \"0.0.0.0:1\"\nplaintext = true", "advertise: must be set"),
        (SOUND, "tls: either [tls] or plaintext"),
        (&format!("{sound}colour = \"red\""), "unknown field `colour`"),
        (&format!("{sound}[raft]\ncolour = 1"), "unknown field `colour`"),
        (&format!("{sound}[tls]\nca = \"a\""), "missing field `certificate`"),
        (&format!("{sound}join = [\"h:1\"]"), "join: a node is a founder or joins"),
        (&format!("{sound}shards = 0"), "shards: must be between 1 and 4096"),
        (&format!("{sound}shards = -1"), "invalid value"),
        (&format!("{sound}scl_base = \"m2m\""), "scl_base: must begin with a slash"),
        (
            &format!("{sound}[raft]\nelection_timeout_min_ms = 300"),
            "raft.election_timeout_min: must be at least",
        ),
        (&format!("{sound}[raft]\nsnapshot_after_entries = 0"), "raft.snapshot_after_entries: must not be 0"),
        (&format!("{sound}[storage]\nlog_bytes_max = 1"), "storage.log_bytes_max: is 1"),
        (&format!("{sound}[delivery]\nretry_max_ms = 1"), "delivery.retry_max_ms: must not be less"),
        (&format!("{sound}[delivery]\ndeliveries_max = 0"), "delivery.deliveries_max: must be more than 0"),
        (
            &format!(
                "{SOUND}[tls]\nca = \"/absent.pem\"\ncertificate = \"/absent.pem\"\nkey = \"/absent.pem\""
            ),
            "tls: failed to read /absent.pem",
        ),
        (&format!("{sound}[keys]\nhandover_ca = \"a\""), "keys.handover_listen: must be set, too"),
        (
            &format!("{sound}[keys]\nhandover_listen = \"127.0.0.1:1\""),
            "keys.kek: must be set where keys are handed over",
        ),
    ] {
        let seen = check(text).map(drop).expect_err(text);
        assert!(seen.contains(said), "{text}\nsays {seen:?}, not {said:?}");
    }
}

#[test]
fn the_port_for_keys_needs_all_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let kek = folder.path().join("kek");
    fs::write(&kek, "5a".repeat(32)).unwrap();
    let port = format!(
        "{SOUND}{PLAIN}[keys]\nkek = {:?}\nhandover_listen = \"127.0.0.1:1\"\n",
        kek.display().to_string()
    );
    let files = ["certificate", "key", "ca"].map(|file| format!("handover_{file} = \"/absent.pem\"\n"));
    for (at, missing) in ["certificate", "key", "ca"].iter().enumerate() {
        let others: String = (0..3).filter(|other| *other != at).map(|other| files[other].as_str()).collect();
        let said = check(&format!("{port}{others}")).unwrap_err();
        assert_eq!(said, format!("keys.handover_{missing}: must be set with keys.handover_listen"));
    }
    let said = check(&format!("{port}{}", files.concat())).unwrap_err();
    assert_eq!(said, "keys.handover_listen: failed to read /absent.pem");
}

#[test]
fn options_go_before_the_file() {
    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        node: Arguments,
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, format!("{SOUND}{PLAIN}admin = \"127.0.0.1:9\"\n")).unwrap();
    let options =
        ["banyan", "--config", file.to_str().unwrap(), "--listen", "127.0.0.1:1", "--founder", "127.0.0.1:1"];
    let program = <Program as clap::Parser>::try_parse_from(options).unwrap();
    let checked = program.node.settings().unwrap().check().unwrap();
    assert_eq!(checked.listen.port(), 1);
    assert_eq!(checked.directory.founders, ["127.0.0.1:1"]);
    assert_eq!(checked.admin.unwrap().port(), 9);
}
