//! The shard map: which slots a shard owns and where its replicas are. Pure data; the directory keeps it.

mod plan;

pub use plan::{Limits, Standing, next};

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
    /// Who shall vote; the first shall lead.
    pub replicas: Vec<NodeId>,
    /// The group's members are being made what `replicas` says.
    pub moving: bool,
    /// Who has a replica still and shall have none, until the group has let go of it.
    pub leaving: Vec<NodeId>,
    /// Who was let go of and removes what it has: no new replica until then.
    pub former: Vec<NodeId>,
    /// How often other nodes were put into `replicas` since the founding.
    pub changes: u64,
    /// The index of the last change of members in the group's log.
    pub members_at: u64,
    /// An operator said who shall lead: it stays so for as long as that replica does.
    pub pinned: bool,
}

impl Shard {
    /// As it is founded.
    pub fn founded(id: ShardId, first: Slot, last: Slot, replicas: Vec<NodeId>) -> Shard {
        Shard {
            id,
            first,
            last,
            replicas,
            moving: false,
            leaving: Vec::new(),
            former: Vec::new(),
            changes: 0,
            members_at: 0,
            pinned: false,
        }
    }

    /// Whether a node has a replica, to stay or not.
    pub fn is_on(&self, node: NodeId) -> bool {
        self.replicas.contains(&node) || self.leaving.contains(&node)
    }

    /// The same with other replicas. Who is none of them any more leaves.
    #[must_use]
    pub fn placed(&self, replicas: Vec<NodeId>) -> Shard {
        let mut leaving = self.leaving.clone();
        leaving.extend(self.replicas.iter().filter(|node| !replicas.contains(node)));
        let is_same = self.replicas.len() == replicas.len() && leaving.len() == self.leaving.len();
        let (moving, changes) = if is_same { (self.moving, self.changes) } else { (true, self.changes + 1) };
        let pinned = self.pinned && self.replicas.first() == replicas.first();
        Shard { replicas, moving, leaving, changes, pinned, ..self.clone() }
    }

    /// The same, to be led by one of its replicas.
    #[must_use]
    pub fn led_by(&self, node: NodeId) -> Shard {
        let mut replicas = self.replicas.clone();
        if let Some(at) = replicas.iter().position(|replica| *replica == node) {
            replicas.swap(0, at);
        }
        self.placed(replicas)
    }

    /// The same once its group's members are what they shall be, since this index of its log.
    #[must_use]
    pub fn arrived(&self, members_at: u64) -> Shard {
        let mut former = self.former.clone();
        former.extend(&self.leaving);
        Shard { moving: false, leaving: Vec::new(), former, members_at, ..self.clone() }
    }
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
            .map(|i| {
                let first = Slot(if i == 0 { 0 } else { i * width + 1 });
                let last = Slot(if i + 1 == count { u64::MAX } else { (i + 1) * width });
                let replicas = (0..factor.min(nodes.len()))
                    .map(|r| nodes[(usize::try_from(i).unwrap_or(0) + r) % nodes.len()]);
                Shard::founded(ShardId(i + 1), first, last, replicas.collect())
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
