//! What a node says as text for people: columns as wide as their widest cell.

use crate::keys::shown;
use banyan_backup::{Manifest, Part};
use banyan_model::Timestamp;
use banyan_proto::v1::{
    GroupStatus, KmrState, ListedKmr, ListedNode, ListedToken, NodeInfo, NodeStatus, StoredRequests,
};
use std::cmp::Reverse;

/// Digits of a digest that are shown: as the audit log has them.
const TOKEN_DIGITS: usize = 16;

pub(crate) fn status(status: &NodeStatus) -> String {
    let node = status.node.clone().unwrap_or_default();
    let mut text = format!(
        "node      {:016x} at {}, release {}{}\n",
        node.node,
        node.address,
        node.version,
        if node.zone.is_empty() { String::new() } else { format!(", zone {}", node.zone) },
    );
    match &status.directory {
        None => text.push_str("cluster   not founded, or not heard of yet\n"),
        Some(directory) => {
            let settings = directory.settings.clone().unwrap_or_default();
            text.push_str(&format!(
                "cluster   {:016x}, epoch {}, SCL {} at {}\n",
                directory.cluster, directory.epoch, settings.scl_id, settings.scl_base
            ));
            if let Some(restored) = &directory.restored {
                text.push_str(&format!("restored  from a backup of cluster {:016x}\n", restored.cluster));
            }
        }
    }
    if let Some(storage) = &status.storage {
        text.push_str(&format!(
            "storage   {} on disk, {} in memory, {} entries in {} syncs\n",
            bytes(storage.disk_bytes),
            bytes(storage.overlay_bytes),
            storage.appended_entries,
            storage.syncs
        ));
    }
    let members = status.directory.as_ref().map(|directory| directory.members.as_slice()).unwrap_or_default();
    text.push_str(&self::members(members, status));
    text.push_str(&groups(status));
    text
}

fn members(members: &[NodeInfo], status: &NodeStatus) -> String {
    let leads = |node: u64| status.groups.iter().filter(|group| group.leader == node).count().to_string();
    let state = status.directory.clone().unwrap_or_default();
    let shards = || state.shards.iter().chain(&state.keys);
    let replicas = |node: u64| {
        let has = shards().filter(|shard| shard.replicas.contains(&node)).count();
        match shards().filter(|shard| shard.leaving.contains(&node)).count() {
            0 => has.to_string(),
            leaving => format!("{has} and {leaving} leaving"),
        }
    };
    let is_draining = |node: u64| if state.draining.contains(&node) { "draining" } else { "member" };
    let row = |member: &NodeInfo| {
        vec![
            format!("{:016x}", member.node),
            member.address.clone(),
            or_dash(&member.zone),
            member.version.clone(),
            is_draining(member.node).to_owned(),
            replicas(member.node),
            leads(member.node),
        ]
    };
    let rows = members.iter().map(row).collect();
    table(&["MEMBER", "ADDRESS", "ZONE", "RELEASE", "STATE", "REPLICAS", "LEADS (seen from here)"], rows)
}

/// The directory, the keys' group, or a shard by its number.
fn named(group: u64) -> String {
    const KEYS: u64 = 1 << 32;
    match group {
        0 => "directory".to_owned(),
        KEYS => format!("keys ({KEYS})"),
        shard => format!("shard {shard}"),
    }
}

fn groups(status: &NodeStatus) -> String {
    let shards = status.directory.iter().flat_map(|directory| directory.shards.iter().chain(&directory.keys));
    let row = |group: &GroupStatus| {
        let replicas = shards.clone().find(|shard| shard.shard == group.group).map(|shard| {
            let moving = if shard.moving { ", moving" } else { "" };
            format!("{}{moving}", shard.replicas.len())
        });
        vec![
            named(group.group),
            group.role.clone(),
            if group.leader == 0 { "-".to_owned() } else { format!("{:016x}", group.leader) },
            group.term.to_string(),
            group.applied_index.to_string(),
            group.committed_index.to_string(),
            group.last_log_index.to_string(),
            replicas.unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let header = ["GROUP", "ROLE HERE", "LEADER", "TERM", "APPLIED", "COMMITTED", "LAST", "REPLICAS"];
    table(&header, status.groups.iter().map(row).collect())
}

/// By the SCL, then by who asks, the most urgent first.
pub(crate) fn stored(mut stored: Vec<StoredRequests>) -> String {
    stored.sort_by(|one, other| {
        let order = |of: &StoredRequests| (of.target.clone(), of.entity.clone(), Reverse(of.category));
        order(one).cmp(&order(other))
    });
    let row = |one: &StoredRequests| {
        vec![
            one.target.clone(),
            one.entity.clone(),
            one.category.to_string(),
            one.requests.to_string(),
            bytes(one.octets),
            Timestamp(one.oldest_ms).to_string(),
            Timestamp(one.deadline_ms).to_string(),
        ]
    };
    let header = ["SCL", "WHO ASKS", "CATEGORY", "REQUESTS", "SIZE", "OLDEST ACCEPTED", "FIRST DUE"];
    table(&header, stored.iter().map(row).collect())
}

/// What a backup is, and each of its files.
pub(crate) fn backup(manifest: &Manifest) -> String {
    let Manifest { about, parts } = manifest;
    let row = |part: &Part| {
        vec![part.file.clone(), part.term.to_string(), part.index.to_string(), bytes(part.bytes)]
    };
    let size = parts.iter().map(|part| part.bytes).sum();
    format!(
        "backup    of cluster {:016x}, SCL {} at {}, by release {}\nmade      {} to {}, {}\n{}",
        about.cluster,
        about.settings.scl_id,
        about.settings.scl_base,
        about.release,
        about.begun,
        about.ended,
        bytes(size),
        table(&["FILE", "TERM", "INDEX", "SIZE"], parts.iter().map(row).collect()),
    )
}

/// A key of an import that was refused.
pub(crate) struct NotTaken {
    /// Of the file.
    pub(crate) line: usize,
    pub(crate) node: String,
    pub(crate) index: u32,
    pub(crate) why: String,
}

pub(crate) fn not_taken(refused: &[NotTaken]) -> String {
    let row =
        |one: &NotTaken| vec![one.line.to_string(), one.node.clone(), one.index.to_string(), one.why.clone()];
    table(&["LINE", "M2M NODE", "INDEX", "REFUSED BECAUSE"], refused.iter().map(row).collect())
}

pub(crate) fn keys(nodes: &[ListedNode]) -> String {
    let row = |node: &ListedNode| {
        let in_use = |kmr: &&ListedKmr| matches!(kmr.state(), KmrState::Active | KmrState::Pending);
        let kmrs = node.kmrs.iter().filter(in_use).map(|kmr| format!("{} ({})", kmr.index, state(kmr)));
        vec![
            shown(&node.node),
            or_dash(&node.scl_id),
            or_dash(&kmrs.collect::<Vec<_>>().join(", ")),
            node.connections.len().to_string(),
            if node.barred { "revoked".to_owned() } else { "-".to_owned() },
        ]
    };
    table(&["M2M NODE", "SCL", "ROOT KEYS IN USE", "CONNECTIONS", "BAR"], nodes.iter().map(row).collect())
}

pub(crate) fn keys_of(node: &ListedNode) -> String {
    let mut text = format!(
        "node      {}{}\nscl       {}\nalias     {}\n",
        shown(&node.node),
        if node.barred { ", all its keys were revoked" } else { "" },
        or_dash(&node.scl_id),
        or_dash(&node.alias.join(", ")),
    );
    let kmrs = node.kmrs.iter().map(|kmr| {
        let (made, expires) = (time(kmr.created_ms), time(kmr.expires_ms));
        vec![kmr.index.to_string(), state(kmr).to_owned(), made, expires, or_dash(&kmr.created_by)]
    });
    text.push_str(&table(&["ROOT KEY", "STATE", "MADE", "EXPIRES", "BY"], kmrs.collect()));
    let connections = node.connections.iter().map(|connection| {
        let by = connection.kmr_index.map_or("certificate".to_owned(), |index| format!("root key {index}"));
        let (made, expires) = (time(connection.created_ms), time(connection.expires_ms));
        vec![format!("{:016x}", connection.connection), by, made, expires]
    });
    text.push_str(&table(&["CONNECTION", "BY", "MADE", "EXPIRES"], connections.collect()));
    text
}

pub(crate) fn tokens(tokens: &[ListedToken]) -> String {
    let row = |token: &ListedToken| {
        let record = token.record.clone().unwrap_or_default();
        let mut digits = shown(&token.digest);
        digits.truncate(TOKEN_DIGITS);
        let (made, expires) = (time(record.created_ms), time(record.expires_ms));
        vec![digits, record.entity, or_dash(&record.label), made, expires, or_dash(&record.created_by)]
    };
    table(&["TOKEN", "FOR", "LABEL", "MADE", "EXPIRES", "BY"], tokens.iter().map(row).collect())
}

fn state(kmr: &ListedKmr) -> &'static str {
    match kmr.state() {
        KmrState::Unspecified => "unknown",
        KmrState::Pending => "pending",
        KmrState::Active => "active",
        KmrState::Retired => "retired",
        KmrState::Revoked => "revoked",
    }
}

/// 0 is never.
fn time(at_ms: i64) -> String {
    if at_ms == 0 { "-".to_owned() } else { Timestamp(at_ms).to_string() }
}

fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all = vec![header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::from("\n");
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_proto::v1::{DirectoryState, ShardInfo, StorageStatus};

    #[test]
    fn what_is_stored_stands_by_its_scl_and_the_most_urgent_first() {
        let one = |target: &str, category| StoredRequests {
            target: target.to_owned(),
            entity: "/m2m/applications/a".to_owned(),
            category,
            requests: 2,
            octets: 3 << 10,
            oldest_ms: 0,
            deadline_ms: 60_000,
        };
        let shown = stored(vec![one("/gw-b", 3), one("/gw-a", 1), one("/gw-a", 7)]);
        let lines = |scl: &str, category: u32| {
            format!(
                "{scl}  /m2m/applications/a  {category}         2         3.0 KiB  1970-01-01T00:00:00Z  1970-01-01T00:01:00Z"
            )
        };
        let expected = [lines("/gw-a", 7), lines("/gw-a", 1), lines("/gw-b", 3)];
        assert_eq!(
            shown.lines().filter(|line| line.starts_with('/')).collect::<Vec<_>>(),
            expected,
            "{shown}"
        );
    }

    #[test]
    fn a_status_is_a_table() {
        let member = |node, address: &str| NodeInfo {
            node,
            address: address.to_owned(),
            version: "0.1.0".to_owned(),
            ..NodeInfo::default()
        };
        let group = |group, role: &str, leader| GroupStatus {
            group,
            role: role.to_owned(),
            leader,
            term: 2,
            applied_index: 10,
            committed_index: 11,
            last_log_index: 12,
            ..GroupStatus::default()
        };
        let shown = status(&NodeStatus {
            node: Some(member(1, "a:7000")),
            directory: Some(DirectoryState {
                cluster: 9,
                epoch: 3,
                members: vec![member(1, "a:7000"), member(2, "b:7000")],
                shards: vec![ShardInfo { shard: 1, replicas: vec![1, 2], ..ShardInfo::default() }],
                draining: vec![2],
                ..DirectoryState::default()
            }),
            groups: vec![group(0, "Leader", 1), group(1, "Follower", 2)],
            storage: Some(StorageStatus {
                syncs: 4,
                appended_entries: 8,
                overlay_bytes: 7,
                disk_bytes: 3 << 20,
            }),
        });
        for line in [
            "node      0000000000000001 at a:7000, release 0.1.0",
            "storage   3.0 MiB on disk, 7 B in memory, 8 entries in 4 syncs",
            "0000000000000002  b:7000   -     0.1.0    draining  1         1",
            "directory  Leader     0000000000000001  2     10       11         12    -",
            "shard 1    Follower   0000000000000002  2     10       11         12    2",
        ] {
            assert!(shown.lines().any(|seen| seen == line), "{line:?} is not in\n{shown}");
        }
    }
}
