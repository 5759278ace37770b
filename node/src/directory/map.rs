//! The directory's state, and the map made of it.

use banyan_client::Map;
use banyan_proto::{convert::Malformed, v1};

/// The directory at one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// As it is stored and sent.
    pub state: v1::DirectoryState,
    /// As it is used: members, shards, the SCL's names.
    pub map: Map,
}

impl TryFrom<v1::DirectoryState> for View {
    type Error = Malformed;

    fn try_from(state: v1::DirectoryState) -> Result<View, Malformed> {
        let map = Map::try_from(&state)?;
        Ok(View { state, map })
    }
}
