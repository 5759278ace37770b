//! Requests of this shard that are answered later, as its leader knows them.

use super::{ShardError, ShardHandle, outbox::queues};
use banyan_model::{
    Path, Representation,
    deferred::{self, Deferred, Kept, Waiting, WaitingKey},
    key::Key,
    saf::{Rcat, policy},
};
use std::collections::BTreeMap;

impl ShardHandle {
    /// What is known of the request at a place.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn deferred(&self, place: &Path) -> Result<Option<Deferred>, ShardError> {
        self.inner.read(|view| deferred::find(view, place))
    }

    /// Which request goes first of those that wait in the same lane.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn first_in_lane(&self, place: &Path, target: &str) -> Result<Option<Path>, ShardError> {
        self.inner.read(|view| deferred::first_in_lane(view, place, target))
    }

    /// What waits for other SCLs, by category.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn stored(&self) -> Result<Vec<(Rcat, Kept)>, ShardError> {
        self.inner.read(|view| deferred::stored(view))
    }

    /// The same by the SCL that it is for and who asks, counted into `all`.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn waiting(&self, all: &mut BTreeMap<WaitingKey, Waiting>) -> Result<(), ShardError> {
        if self.stored()?.iter().all(|(_, kept)| kept.entries == 0) {
            return Ok(());
        }
        self.inner.read(|view| {
            for place in queues(view)?.into_iter().filter(deferred::is_place) {
                let found = deferred::find(view, &place)?;
                let Some((key, one)) = found.as_ref().and_then(Waiting::of) else { continue };
                all.entry(key).and_modify(|known| known.add(&one)).or_insert(one);
            }
            Ok(())
        })
    }

    /// The resources that hold the store-and-forward policies below a collection of management objects.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn policies(&self, mgmt_objs: &Path) -> Result<Vec<(Path, Representation)>, ShardError> {
        self.inner.read(|view| policy::resources(view, &self.inner.scl, mgmt_objs))
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
