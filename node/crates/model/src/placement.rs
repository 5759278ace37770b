//! The shard map: which slots a shard owns and where its replicas are. Pure data; the directory keeps it.

use crate::path::Slot;

/// A cluster member; random, stored with its data, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// A Raft group. 0 is the directory, shards count from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u64);

/// One shard: slots `first..=last`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Shard {
    pub id: ShardId,
    pub first: Slot,
    pub last: Slot,
    pub replicas: Vec<NodeId>,
}

/// All shards in slot order, together covering every slot once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct ShardMap {
    pub epoch: u64,
    pub shards: Vec<Shard>,
}

impl ShardMap {
    /// Cuts the slots evenly into `count` shards, each on `factor` of the nodes, spread in turn.
    pub fn found(count: u64, nodes: &[NodeId], factor: usize) -> ShardMap {
        let width = u64::MAX / count.max(1);
        let shards = (0..count)
            .map(|i| Shard {
                id: ShardId(i + 1),
                first: Slot(if i == 0 { 0 } else { i * width + 1 }),
                last: Slot(if i + 1 == count { u64::MAX } else { (i + 1) * width }),
                replicas: (0..factor.min(nodes.len()))
                    .map(|r| nodes[(usize::try_from(i).unwrap_or(0) + r) % nodes.len()])
                    .collect(),
            })
            .collect();
        ShardMap { epoch: 1, shards }
    }

    /// The shard that owns a slot.
    pub fn shard_of(&self, slot: Slot) -> Option<&Shard> {
        let at = self.shards.partition_point(|s| s.last < slot);
        self.shards.get(at).filter(|s| s.first <= slot)
    }
}
