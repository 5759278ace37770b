//! Plans against the text files in `golden/`, and what must hold of every plan.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::placement::ShardMap;
use proptest::prelude::*;
use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

const STEPS_MAX: usize = 10_000;

/// Carries every step out at once, as if a move took no time. The shards at the end, and the steps.
fn carried_out(
    mut shards: Vec<Shard>,
    nodes: &BTreeMap<NodeId, Standing>,
    limits: Limits,
) -> (Vec<Shard>, Vec<(Shard, Shard)>) {
    let mut steps = Vec::new();
    while let Some(placed) = next(&shards, nodes, limits) {
        let shard = shards.iter_mut().find(|shard| shard.id == placed.id).unwrap();
        steps.push((shard.clone(), placed.clone()));
        *shard = Shard { former: Vec::new(), ..placed.arrived(0) };
        assert!(steps.len() < STEPS_MAX, "no end");
    }
    (shards, steps)
}

/// A file: `found SHARDS on NODES, factor N`, then a line a node: number, zone or `-`, and `draining` or `gone`; then
/// `---`, the steps, and what each node has and leads.
fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/placement/plan/golden").join(name);
    let text = fs::read_to_string(&file).unwrap();
    let (given, expected) = text.split_once("---\n").unwrap();
    let mut lines = given.lines();
    let head: Vec<&str> = lines.next().unwrap().split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let ["found", count, "on", founders, "factor", factor] = head[..] else { panic!("{head:?}") };
    let founders: Vec<NodeId> = (1..=founders.parse().unwrap()).map(NodeId).collect();
    let factor = factor.parse().unwrap();
    let nodes: BTreeMap<NodeId, Standing> = lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let stays = words.len() == 2;
            let zone = words[1].trim_matches('-').to_owned();
            (NodeId(words[0].parse().unwrap()), Standing { zone, takes: stays, keeps: stays })
        })
        .collect();
    let founded = ShardMap::found(count.parse().unwrap(), &founders, factor).shards;
    let (shards, steps) = carried_out(founded, &nodes, Limits { factor, moves_max: 2 });
    let list =
        |replicas: &[NodeId]| replicas.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(" ");
    let mut plan = String::new();
    for (from, to) in steps {
        writeln!(plan, "shard {}: {} -> {}", from.id.0, list(&from.replicas), list(&to.replicas)).unwrap();
    }
    for node in nodes.keys() {
        let has = shards.iter().filter(|shard| shard.replicas.contains(node)).count();
        let leads = shards.iter().filter(|shard| shard.replicas[0] == *node).count();
        writeln!(plan, "node {}: has {has}, leads {leads}", node.0).unwrap();
    }
    if std::env::var_os("BANYAN_GOLDEN").is_some_and(|how| how == "rewrite") {
        fs::write(&file, format!("{given}---\n{plan}")).unwrap();
    }
    assert_eq!(plan, expected, "{}", file.display());
}

#[test]
fn a_founded_map_is_left_alone() {
    check("founded.txt");
}

#[test]
fn new_nodes_get_their_share() {
    check("three_to_five.txt");
}

#[test]
fn a_node_that_drains_leads_nothing_first_and_then_has_nothing() {
    check("drain.txt");
}

#[test]
fn a_node_that_is_gone_is_replaced_within_its_zone() {
    check("gone.txt");
}

#[test]
fn zones_are_taken_one_replica_each() {
    check("zones.txt");
}

#[test]
fn too_few_nodes_leave_what_there_is() {
    check("too_few.txt");
}

#[test]
fn a_moving_shard_is_left_alone_unless_its_node_must_be_left() {
    let nodes = |gone: u64| -> BTreeMap<NodeId, Standing> {
        (1..=5)
            .map(|node| {
                let stays = node != gone;
                (NodeId(node), Standing { zone: String::new(), takes: stays, keeps: stays })
            })
            .collect()
    };
    let limits = Limits { factor: 3, moves_max: 1 };
    let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(NodeId);
    let founded = ShardMap::found(1, &[one, two, three], 3).shards.remove(0);
    let moving = founded.placed(vec![one, two, four]);
    assert_eq!((moving.moving, &moving.leaving, moving.changes), (true, &vec![three], 1));
    assert_eq!(next(std::slice::from_ref(&moving), &nodes(0), limits), None, "it has one too few nowhere");
    let again = next(std::slice::from_ref(&moving), &nodes(4), limits).unwrap();
    assert_eq!((&again.replicas, &again.leaving), (&vec![one, two, five], &vec![three, four]));
    let arrived = again.arrived(0);
    assert_eq!((arrived.moving, &arrived.leaving, &arrived.former), (false, &vec![], &vec![three, four]));
    // Who was let go of a moment ago gets nothing.
    assert_eq!(next(&[arrived], &nodes(5), limits), None);
}

#[test]
fn who_was_chosen_to_lead_does_so_until_it_goes() {
    let stays = Standing { zone: String::new(), takes: true, keeps: true };
    let mut nodes: BTreeMap<NodeId, Standing> = (1..=4).map(|node| (NodeId(node), stays.clone())).collect();
    let limits = Limits { factor: 3, moves_max: 1 };
    let mut shards = ShardMap::found(4, &[1, 2, 3, 4].map(NodeId), 3).shards;
    // All are led by node 4 that may be.
    for shard in &mut shards {
        if shard.replicas.contains(&NodeId(4)) {
            *shard = Shard { pinned: true, ..shard.led_by(NodeId(4)) };
        }
    }
    assert_eq!(next(&shards, &nodes, limits), None);
    nodes.insert(NodeId(4), Standing { takes: false, keeps: false, ..stays });
    let elsewhere = next(&shards, &nodes, limits).unwrap();
    assert!(elsewhere.replicas[0] != NodeId(4) && !elsewhere.pinned, "{elsewhere:?}");
}

fn zone() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())]
}

fn standing() -> impl Strategy<Value = Standing> {
    (zone(), prop_oneof![5 => Just((true, true)), 1 => Just((false, true)), 2 => Just((false, false))])
        .prop_map(|(zone, (takes, keeps))| Standing { zone, takes, keeps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_ends_and_makes_nothing_worse(
        count in 1..30_u64,
        founders in 1..6_u64,
        factor in 1..5_usize,
        standings in proptest::collection::vec(standing(), 1..9),
    ) {
        let nodes: BTreeMap<NodeId, Standing> = (1..).map(NodeId).zip(standings).collect();
        let founders: Vec<NodeId> = (1..=founders).map(NodeId).collect();
        let founded = ShardMap::found(count, &founders, factor).shards;
        let limits = Limits { factor, moves_max: 2 };
        let (shards, steps) = carried_out(founded.clone(), &nodes, limits);

        let stays = |node: &NodeId| nodes.get(node).is_some_and(|node| node.keeps);
        let sound = |shard: &Shard| shard.replicas.iter().filter(|node| stays(node)).count();
        for (from, to) in &steps {
            let distinct: BTreeSet<_> = to.replicas.iter().collect();
            prop_assert_eq!(distinct.len(), to.replicas.len(), "no node twice");
            prop_assert!(to.replicas.len() >= from.replicas.len());
            prop_assert!(sound(to) >= sound(from), "never fewer replicas that stay");
            let new: Vec<_> = to.replicas.iter().filter(|node| !from.replicas.contains(node)).collect();
            prop_assert!(new.len() <= 1, "one replica at a time");
            prop_assert!(new.iter().all(|node| nodes[node].takes));
        }

        let takers = nodes.values().filter(|node| node.takes).count();
        if takers == nodes.values().filter(|node| node.keeps).count() {
            let wanted = takers.min(factor);
            for shard in &shards {
                prop_assert!(sound(shard) >= wanted, "{shard:?} of {nodes:?}");
            }
        }
        let zoneless = nodes.values().all(|node| node.zone.is_empty());
        if zoneless {
            let load = |node: &NodeId| shards.iter().filter(|shard| shard.replicas.contains(node)).count();
            let takes = nodes.iter().filter(|(_, node)| node.takes).map(|(node, _)| load(node));
            let keeps = nodes.iter().filter(|(_, node)| node.keeps).map(|(node, _)| load(node));
            if let (Some(least), Some(most)) = (takes.min(), keeps.max()) {
                prop_assert!(most <= least + 1, "level: {most} and {least}");
            }
        }
        prop_assert_eq!(next(&shards, &nodes, limits), None);
    }

    #[test]
    fn a_new_node_costs_no_more_moves_than_its_share(each in 1..20_u64, founders in 3..7_u64) {
        // Founded evenly: what is not is levelled, too.
        let count = each * founders;
        let founded = ShardMap::found(count, &(1..=founders).map(NodeId).collect::<Vec<_>>(), 3).shards;
        let stays = Standing { zone: String::new(), takes: true, keeps: true };
        let nodes = (1..=founders + 1).map(|node| (NodeId(node), stays.clone())).collect();
        let (_, steps) = carried_out(founded, &nodes, Limits { factor: 3, moves_max: 1 });
        let moved = steps.iter().filter(|(_, to)| !to.leaving.is_empty()).count() as u64;
        prop_assert!(moved <= count * 3 / (founders + 1), "{moved}");
    }
}
