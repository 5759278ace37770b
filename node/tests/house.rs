//! Which way the doors open, as a test: crates may depend only on what the first table lists, the rooms of the node
//! only on what the second lists, and every foreign library is named in its one room.
//!
//! A new arrow is rare: write a decision record, then change the table here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Crate folder, and ours it may depend on (`cluster-tests` sees everything, nothing sees it).
const CRATES: &[(&str, &[&str])] = &[
    ("node/crates/model", &[]),
    ("node/crates/storage", &[]),
    ("proto", &["model"]),
    ("node/crates/codec", &["model"]),
    ("node/crates/binding", &["model", "codec"]),
    ("node/crates/client", &["model", "proto"]),
    ("node/crates/raft", &["storage", "proto"]),
    ("node/crates/edge", &["model", "codec", "binding", "client", "proto"]),
    ("node/crates/backup", &["model"]),
    ("node/crates/ctl", &["model", "proto", "client", "backup"]),
    ("node", &["model", "proto", "codec", "binding", "client", "storage", "raft", "edge", "ctl", "backup"]),
];

/// Foreign libraries with one room: the crates (folders) that may name them.
const FOREIGN: &[(&str, &[&str])] = &[
    ("sled", &["node/crates/storage"]),
    ("raft-engine", &["node/crates/storage"]),
    ("openraft", &["node/crates/raft"]),
    ("ractor", &["node"]),
    ("quick-xml", &["node/crates/codec"]),
    ("openssl", &["node/crates/binding"]),
    ("tokio-openssl", &["node/crates/binding"]),
    ("rustix", &["node/crates/edge"]),
    (
        "tokio",
        &[
            "node",
            // Its channels (oneshot, watch), no runtime.
            "node/crates/storage",
            "node/crates/raft",
            "node/crates/binding",
            "node/crates/client",
            "node/crates/edge",
            "node/crates/ctl",
        ],
    ),
];

/// Room of the node, and the rooms it may use. `config`, `clock` and `telemetry` are open to all.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "config",
        &[
            "subtree",
            "directory",
            "security",
            "request",
            "delivery",
            "gateway",
            "rpc",
            "admin",
            "handover",
            "roles",
        ],
    ),
    ("clock", &[]),
    ("telemetry", &[]),
    ("subtree", &[]),
    ("directory", &[]),
    ("security", &["directory"]),
    ("request", &["subtree", "directory", "security"]),
    ("delivery", &["subtree", "request"]),
    ("gateway", &["request"]),
    ("rpc", &["request", "directory", "delivery"]),
    ("admin", &[]),
    ("handover", &["security"]),
    (
        "roles",
        &["subtree", "directory", "security", "request", "delivery", "gateway", "rpc", "admin", "handover"],
    ),
];

/// Names that belong to one room of the node: a path prefix in its sources, and the rooms that may write it.
const NAMES: &[(&str, &[&str])] = &[
    ("ractor::", &["subtree"]),
    ("tonic::transport::Server", &["rpc", "roles"]),
    ("clap::", &["config", "main", "roles"]),
    ("tracing_subscriber::", &["telemetry"]),
    ("banyan_edge::", &["roles", "main", "config"]),
    ("banyan_ctl::", &["main", "roles"]),
    ("banyan_backup::", &["directory"]),
    ("openraft::", &[]),
    ("sled::", &[]),
];

const OPEN_TO_ALL: &[&str] = &["config", "clock", "telemetry"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node stands in the workspace").to_owned()
}

/// The `[dependencies]` of a manifest, by name.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let manifest: toml::Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    match manifest.get("dependencies").and_then(toml::Value::as_table) {
        Some(table) => table.keys().cloned().collect(),
        None => BTreeSet::new(),
    }
}

#[test]
fn crates_depend_only_on_what_the_house_allows() {
    let mut wrong = Vec::new();
    for (folder, allowed) in CRATES {
        for name in dependencies(folder) {
            let Some(ours) = name.strip_prefix("banyan-") else { continue };
            if !allowed.contains(&ours) {
                wrong.push(format!("{folder} must not depend on {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_member_stands_in_the_table() {
    let mut members: Vec<String> = fs::read_dir(root().join("node/crates"))
        .expect("node/crates is there")
        .map(|e| format!("node/crates/{}", e.expect("readable").file_name().to_string_lossy()))
        .collect();
    members.extend(["node".to_owned(), "proto".to_owned()]);
    for member in members {
        assert!(CRATES.iter().any(|(folder, _)| *folder == member), "{member} is not in CRATES");
    }
}

#[test]
fn foreign_libraries_stay_in_their_room() {
    let mut wrong = Vec::new();
    for (library, rooms) in FOREIGN {
        for (folder, _) in CRATES {
            if dependencies(folder).contains(*library) && !rooms.contains(folder) {
                wrong.push(format!("{folder} must not name {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// (room, path of the file, its production text) of every source file of the node.
fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files
        .into_iter()
        .map(|file| {
            let first =
                file.strip_prefix(&src).expect("walked below src").iter().next().expect("a file has a name");
            let room = first.to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&file).expect("readable");
            let production = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (room, file, production)
        })
        .collect()
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

#[test]
fn rooms_use_only_what_the_house_allows() {
    let mut wrong = Vec::new();
    for (room, file, text) in sources() {
        if matches!(room.as_str(), "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: room {room} is not in ROOMS", file.display()));
            continue;
        };
        for line in code_lines(&text) {
            for (other, _) in ROOMS {
                let named = line.contains(&format!("crate::{other}::"))
                    || line.contains(&format!("crate::{other};"))
                    || line.contains(&format!("crate::{{{other}"));
                if named && *other != room && !allowed.contains(other) && !OPEN_TO_ALL.contains(other) {
                    wrong.push(format!("{}: {room} must not use {other}: {line}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_stay_in_their_room() {
    let mut wrong = Vec::new();
    for (room, file, text) in sources() {
        for (name, rooms) in NAMES {
            for line in code_lines(&text).filter(|line| line.contains(name)) {
                if !rooms.contains(&room.as_str()) {
                    wrong.push(format!("{}: {name} belongs to {rooms:?}: {line}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_module_files_named_mod() {
    for (_, file, _) in sources() {
        assert!(
            file.file_name().is_some_and(|name| name != "mod.rs"),
            "{} should stand beside its folder",
            file.display()
        );
    }
}
