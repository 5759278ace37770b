//! A data folder that is corrupt, newer than the program, or in use: the node refuses to start and says why.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_tests::binaries;
use cluster_tests::cluster::{Cluster, Config};

use crate::support::{alone, application, cluster, expect};

const WITHIN: Duration = Duration::from_secs(20);

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a data folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The node must end with an error, within the time, and its log must hold one of the words.
fn refuses(cluster: &mut Cluster, what: &str, words: &[&str]) {
    let (status, log) = cluster.start_node_to_fail(0, WITHIN);
    assert!(!status.success(), "{what}: it must not end with success");
    assert_ne!(status.code(), None, "{what}: it must end by itself, not by a signal:\n{log}");
    assert_ne!(status.code(), Some(101), "{what}: it must not panic:\n{log}");
    let lower = log.to_lowercase();
    assert!(
        words.iter().any(|word| lower.contains(word)),
        "{what}: the log must hold one of {words:?}:\n{log}"
    );
}

#[test]
fn an_unusable_data_folder_stops_the_node_with_a_reason() {
    alone(Duration::from_secs(150), || async {
        let mut cluster = cluster(Config { edges: 1, ..Config::default() }).await;
        let (mut device, instances) = application(&cluster, "keeper").await;
        for i in 0..50 {
            let xml = cluster_tests::body::content_instance(None, &format!("value {i}"));
            expect("a write", 201, device.create(&instances, &xml).await);
        }
        cluster.stop_node(0, Duration::from_secs(20));
        let data = cluster.data(0);
        let keep = cluster.folder().join("keep");
        copy(&data, &keep);

        // Newer: every file whose name or content tells a format is the storage room's business; it documents the one
        // that holds the format number.
        let header = files(&data)
            .into_iter()
            .find(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().to_uppercase().contains("FORMAT"))
            })
            .expect("the data folder says its format in a file of that name");
        let text = fs::read_to_string(&header).expect("the format file is text");
        let newer: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_ne!(text, newer, "the format file holds a number");
        fs::write(&header, newer).expect("the format file can be written");
        refuses(&mut cluster, "a newer folder", &["newer", "format"]);

        for (what, victim) in [("a corrupt state", "db"), ("a corrupt log", ".raftlog")] {
            restore(&keep, &data);
            let damaged = files(&data)
                .into_iter()
                .filter(|path| path.to_string_lossy().ends_with(victim))
                .max_by_key(|path| fs::metadata(path).map_or(0, |data| data.len()))
                .unwrap_or_else(|| panic!("the data folder has a file that ends in {victim}"));
            let mut bytes = fs::read(&damaged).expect("the file can be read");
            // From its head on, in the first part only: what a disk that lost a track would give back.
            let end = bytes.len().min(4096);
            for byte in &mut bytes[..end] {
                *byte ^= 0x5a;
            }
            fs::write(&damaged, bytes).expect("the file can be written");
            refuses(
                &mut cluster,
                what,
                &["corrupt", "damaged", "cannot be read", "not readable", "checksum"],
            );
        }

        restore(&keep, &data);
        cluster.start_node(0);
        cluster.wait_node(0).await;
        // A second process on the same folder.
        let second = second_process(&cluster);
        assert!(
            ["in use", "locked", "another process"].iter().any(|word| second.to_lowercase().contains(word)),
            "a folder in use: {second}"
        );
        // The first goes on.
        let reply = expect("still served", 200, device.retrieve(&format!("{instances}/latest")).await);
        assert_eq!(cluster_tests::subscriber::contents(reply.text()), ["value 49"]);
    });
}

/// Starts a second node on the first one's configuration, other ports aside, and gives what it says when it ends.
fn second_process(cluster: &Cluster) -> String {
    let config =
        fs::read_to_string(cluster.folder().join("node-0.toml")).expect("the configuration is there");
    let ports = cluster_tests::cluster::free_ports(2);
    let mut ports = ports.iter();
    let config: String = config
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((key @ ("listen" | "admin"), _)) => {
                format!("{key} = \"127.0.0.1:{}\"\n", ports.next().expect("two ports for two keys"))
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let file = cluster.folder().join("second.toml");
    fs::write(&file, config).expect("the folder can be written");
    let mut command = std::process::Command::new(&binaries::build().node);
    command.args(["node", "--config"]).arg(&file);
    let mut process = cluster_tests::process::Process::start("second", command, cluster.folder())
        .expect("it can be started");
    let status = process.wait(WITHIN).expect("a node on a folder in use ends");
    assert!(!status.success() && status.code() != Some(101), "it ends by itself, with an error: {status}");
    process.log()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("an entry can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

fn restore(keep: &Path, data: &Path) {
    fs::remove_dir_all(data).expect("the folder can be emptied");
    copy(keep, data);
}
