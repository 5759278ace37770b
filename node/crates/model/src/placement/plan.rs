//! What to change next about where replicas are: one shard at a time, one replica at a time.
//!
//! What is worse is mended first: who shall lead on a node that is being emptied or is gone; replicas on such nodes,
//! or too few of them; two replicas in one zone; nodes with more replicas than others; nodes that lead more.
//!
//! Invariants: a shard keeps as many replicas as it has, a new one takes the place of an old one; nothing is begun for a
//! shard that is moving, unless a node that it is on must be left; each step makes the map better in the order above,
//! so there is a last one.

use super::{NodeId, Shard};
use std::{cmp::Reverse, collections::BTreeMap};

#[cfg(test)]
mod tests;

/// A member, as far as replicas are concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its failure zone; empty: none is known.
    pub zone: String,
    /// It may get replicas: it answers and is not being emptied.
    pub takes: bool,
    /// What it has may stay: it is not being emptied and not gone for too long.
    pub keeps: bool,
}

/// What a plan keeps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Replicas of a shard, as far as there are nodes.
    pub factor: usize,
    /// Shards that move at the same time.
    pub moves_max: usize,
}

/// The next shard to be placed otherwise, as it shall be; `None`: all is well, or nothing can be done now.
pub fn next(shards: &[Shard], nodes: &BTreeMap<NodeId, Standing>, limits: Limits) -> Option<Shard> {
    let plan = Plan { shards, nodes, limits };
    let may_begin = shards.iter().filter(|shard| shard.moving).count() < limits.moves_max;
    plan.lead_elsewhere()
        .or_else(|| plan.repair(may_begin))
        .or_else(|| plan.spread_zones().filter(|_| may_begin))
        .or_else(|| plan.level().filter(|_| may_begin))
        .or_else(|| plan.level_leaders())
}

struct Plan<'a> {
    shards: &'a [Shard],
    nodes: &'a BTreeMap<NodeId, Standing>,
    limits: Limits,
}

impl Plan<'_> {
    /// A node that will not stay hands over what it leads before anything else happens to it.
    fn lead_elsewhere(&self) -> Option<Shard> {
        self.shards.iter().find_map(|shard| {
            let first = shard.replicas.first()?;
            if self.keeps(*first) {
                return None;
            }
            let stay = shard.replicas.iter().copied().filter(|node| self.keeps(*node));
            Some(shard.led_by(stay.min_by_key(|node| (self.leads(*node), *node))?))
        })
    }

    /// Replaces a replica whose node will not stay, or adds one that is missing.
    fn repair(&self, may_begin: bool) -> Option<Shard> {
        let wanted = self.nodes.values().filter(|node| node.keeps).count().min(self.limits.factor);
        self.shards.iter().filter(|shard| may_begin || shard.moving).find_map(|shard| {
            match shard.replicas.iter().copied().find(|node| !self.keeps(*node)) {
                Some(bad) => Some(replaced(shard, bad, self.candidate(shard, bad)?)),
                None if shard.moving || shard.replicas.len() >= wanted => None,
                None => {
                    let added = self.candidate(shard, NodeId(0))?;
                    Some(shard.placed([shard.replicas.as_slice(), &[added]].concat()))
                }
            }
        })
    }

    /// Moves one of two replicas that share a zone to a zone that has none.
    fn spread_zones(&self) -> Option<Shard> {
        self.standing().find_map(|shard| {
            let crowded =
                shard.replicas.iter().copied().filter(|node| self.conflicts(shard, *node, *node) > 0);
            // Who shall lead stays if it can.
            let from = crowded.max_by_key(|node| (shard.replicas[0] != *node, self.load(*node), *node))?;
            let to = self.candidate(shard, from)?;
            let better = self.conflicts(shard, from, to) < self.conflicts(shard, from, from);
            better.then(|| replaced(shard, from, to))
        })
    }

    /// Moves a replica from a node that has two more than another one.
    fn level(&self) -> Option<Shard> {
        let mut from: Vec<NodeId> = self.nodes.keys().copied().filter(|node| self.keeps(*node)).collect();
        from.sort_by_key(|node| (Reverse(self.load(*node)), *node));
        let mut to: Vec<NodeId> = self.nodes.keys().copied().filter(|node| self.takes(*node)).collect();
        to.sort_by_key(|node| (self.load(*node), *node));
        let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        pairs.filter(|(from, to)| self.load(*from) >= self.load(*to) + 2).find_map(|(from, to)| {
            let movable = |shard: &&Shard| {
                shard.replicas.contains(&from)
                    && self.may_get(shard, to)
                    && self.conflicts(shard, from, to) <= self.conflicts(shard, from, from)
            };
            let shard =
                self.standing().filter(movable).min_by_key(|shard| (shard.replicas[0] == from, shard.id))?;
            Some(replaced(shard, from, to))
        })
    }

    /// Has another replica lead where one node shall lead two shards more than it.
    fn level_leaders(&self) -> Option<Shard> {
        let lower = |shard: &Shard| {
            let first = *shard.replicas.first()?;
            let others = shard.replicas.iter().copied().filter(|node| self.takes(*node));
            let to = others.min_by_key(|node| (self.leads(*node), *node))?;
            (self.leads(first) >= self.leads(to) + 2).then_some((Reverse(self.leads(first)), shard.id, to))
        };
        let (_, id, to) = self.standing().filter(|shard| !shard.pinned).filter_map(lower).min()?;
        let shard = self.shards.iter().find(|shard| shard.id == id)?;
        Some(shard.led_by(to))
    }

    /// Shards that do not move.
    fn standing(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| !shard.moving)
    }

    /// The node that should get what `from` has of the shard: first by zone, then by what it has already.
    fn candidate(&self, shard: &Shard, from: NodeId) -> Option<NodeId> {
        let may = self.nodes.keys().copied().filter(|node| self.takes(*node) && self.may_get(shard, *node));
        may.min_by_key(|node| (self.conflicts(shard, from, *node), self.load(*node), *node))
    }

    fn may_get(&self, shard: &Shard, node: NodeId) -> bool {
        !shard.is_on(node) && !shard.former.contains(&node)
    }

    /// With how many of the other replicas the zone would be shared, were the one at `from` at `to`.
    fn conflicts(&self, shard: &Shard, from: NodeId, to: NodeId) -> usize {
        let zone = |node: NodeId| {
            self.nodes.get(&node).map(|node| node.zone.as_str()).filter(|zone| !zone.is_empty())
        };
        let Some(own) = zone(to) else { return 0 };
        shard.replicas.iter().filter(|node| **node != from && zone(**node) == Some(own)).count()
    }

    fn load(&self, node: NodeId) -> usize {
        self.shards.iter().filter(|shard| shard.replicas.contains(&node)).count()
    }

    fn leads(&self, node: NodeId) -> usize {
        self.shards.iter().filter(|shard| shard.replicas.first() == Some(&node)).count()
    }

    fn takes(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.takes)
    }

    fn keeps(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.keeps)
    }
}

/// The shard with `to` in the place of `from`.
fn replaced(shard: &Shard, from: NodeId, to: NodeId) -> Shard {
    shard.placed(shard.replicas.iter().map(|node| if *node == from { to } else { *node }).collect())
}
