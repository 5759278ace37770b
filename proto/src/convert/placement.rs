//! The shard map inside the directory's state.

use super::Malformed;
use crate::v1;
use banyan_model::{
    path::Slot,
    placement::{NodeId, Shard, ShardId, ShardMap},
};

impl From<&Shard> for v1::ShardInfo {
    fn from(shard: &Shard) -> v1::ShardInfo {
        v1::ShardInfo {
            shard: shard.id.0,
            first_slot: shard.first.0,
            last_slot: shard.last.0,
            replicas: numbers(&shard.replicas),
            moving: shard.moving,
            leaving: numbers(&shard.leaving),
            former: numbers(&shard.former),
            changes: shard.changes,
            members_at: shard.members_at,
            pinned: shard.pinned,
        }
    }
}

impl From<&v1::ShardInfo> for Shard {
    fn from(shard: &v1::ShardInfo) -> Shard {
        Shard {
            id: ShardId(shard.shard),
            first: Slot(shard.first_slot),
            last: Slot(shard.last_slot),
            replicas: nodes(&shard.replicas),
            moving: shard.moving,
            leaving: nodes(&shard.leaving),
            former: nodes(&shard.former),
            changes: shard.changes,
            members_at: shard.members_at,
            pinned: shard.pinned,
        }
    }
}

fn numbers(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}

fn nodes(numbers: &[u64]) -> Vec<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

impl TryFrom<&v1::DirectoryState> for ShardMap {
    type Error = Malformed;

    /// The map, which covers every slot exactly once; anything else is malformed.
    fn try_from(state: &v1::DirectoryState) -> Result<ShardMap, Malformed> {
        let shards: Vec<Shard> = state.shards.iter().map(Into::into).collect();
        let mut next = Some(0);
        for shard in &shards {
            if next != Some(shard.first.0) || shard.last < shard.first {
                return Err(Malformed::Limit("shard map"));
            }
            next = shard.last.0.checked_add(1);
        }
        if next.is_some() {
            return Err(Malformed::Limit("shard map"));
        }
        Ok(ShardMap { epoch: state.epoch, shards })
    }
}
