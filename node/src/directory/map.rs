//! The directory's state, and the map made of it.

use banyan_client::Map;
use banyan_model::placement::Shard;
use banyan_proto::{convert::Malformed, v1};

/// The directory at one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// As it is stored and sent.
    pub state: v1::DirectoryState,
    /// As it is used: members, shards, the SCL's names.
    pub map: Map,
}

impl View {
    /// What has replicas that the directory places: every shard, and the keys' group.
    pub fn placed(&self) -> impl Iterator<Item = &Shard> {
        self.map.shards.shards.iter().chain(&self.map.keys)
    }

    /// Every member runs this release: an older one would stop at what it does not know.
    pub fn is_of_one_release(&self) -> bool {
        self.map.members.values().all(|member| member.version == env!("CARGO_PKG_VERSION"))
    }

    /// Some shard is not where it shall be yet, or some member is being emptied.
    pub fn is_changing(&self) -> bool {
        !self.state.draining.is_empty() || self.placed().any(|shard| shard.moving || !shard.former.is_empty())
    }
}

impl TryFrom<v1::DirectoryState> for View {
    type Error = Malformed;

    fn try_from(state: v1::DirectoryState) -> Result<View, Malformed> {
        let map = Map::try_from(&state)?;
        Ok(View { state, map })
    }
}
