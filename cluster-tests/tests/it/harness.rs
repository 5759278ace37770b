//! The harness itself, over programs that only pretend: a test of the product is worth what its harness is worth.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cluster_tests::binaries::Binaries;
use cluster_tests::cluster::{Cluster, Config, is_ready};
use cluster_tests::process::cpu_time;

use crate::support::alone;

/// A program that reads `admin` from its configuration and answers every request there with 200.
fn pretender(folder: &Path) -> Binaries {
    let load = env!("CARGO_BIN_EXE_load");
    script(
        folder,
        &format!(
            "for argument in \"$@\"; do file=$argument; done\n\
             exec '{load}' do-nothing --listen \"$(sed -n 's/^admin = \"\\(.*\\)\"/\\1/p' \"$file\")\"\n"
        ),
    )
}

fn script(folder: &Path, text: &str) -> Binaries {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}")).expect("the folder can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the script is ours");
    Binaries { node: path.clone(), edge: path }
}

#[test]
fn members_are_awaited_killed_started_again_and_never_left_behind() {
    alone(Duration::from_secs(60), || async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut cluster = Cluster::start(&pretender(folder.path()), Config::default()).await;
        let admins = cluster.node_admins();
        assert_eq!(cluster.pids().len(), 5);
        assert!(is_ready(&admins[1]).await);

        let before = cluster.node_pids();
        cluster.kill_node(1);
        assert!(!is_ready(&admins[1]).await);
        assert_eq!(cluster.node_pids().len(), 2);
        cluster.start_node(1);
        cluster.wait_node(1).await;
        assert!(is_ready(&admins[1]).await, "under the same address");
        assert_ne!(cluster.node_pids()[1], before[1]);

        cluster.kill_all();
        for admin in &admins {
            assert!(!is_ready(admin).await);
        }
        cluster.start_all();
        cluster.wait_ready().await;
        let (pids, data) = (cluster.pids(), cluster.folder().to_owned());
        drop(cluster);
        assert!(pids.iter().all(|&pid| cpu_time(pid).is_err()), "a dropped cluster leaves no process");
        assert!(!data.exists(), "and no file");
    });
}

#[test]
#[should_panic(expected = "disk on fire")]
fn a_program_that_ends_early_fails_the_test_with_its_log() {
    alone(Duration::from_secs(60), || async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kept = tempfile::tempdir().expect("a temporary folder");
        let config = Config { folder: Some(kept.path().to_owned()), ..Config::default() };
        Cluster::start(&script(folder.path(), "echo disk on fire; exit 3\n"), config).await;
    });
}
