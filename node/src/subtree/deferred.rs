//! Requests of this shard that are answered later, as its leader knows them.

use super::{ShardError, ShardHandle};
use banyan_model::{
    Path,
    deferred::{self, Deferred, Kept},
    key::Key,
};

impl ShardHandle {
    /// What is known of the request at a place.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn deferred(&self, place: &Path) -> Result<Option<Deferred>, ShardError> {
        self.inner.read(|view| deferred::find(view, place))
    }

    /// How much is kept of the entity to which a place belongs.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn kept(&self, place: &Path) -> Result<Kept, ShardError> {
        let kept = self.inner.read(|view| deferred::kept(view, &Key::kept_of_entity(place)))?;
        Ok(kept.unwrap_or_default())
    }
}
