//! All groups of this node.

use std::sync::Arc;
use std::time::Duration;

use banyan_storage::Store;

use crate::{Config, Group, Links, Replica, StartError};

/// All groups of this node.
pub struct Groups {}

impl Groups {
    /// No group yet. `node` is this node's id: random, never reused, stored with the data.
    ///
    /// Must be called within a tokio runtime.
    pub fn new(node: u64, store: Store, links: Arc<Links>, config: Config) -> Arc<Groups> {
        let _ = (node, store, links, config);
        todo!()
    }

    /// Opens or creates the replica of `group` on this node. It serves nothing until it was founded or has joined.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self: &Arc<Self>, group: u64, replica: Arc<dyn Replica>) -> Result<Group, StartError> {
        let _ = (group, replica);
        todo!()
    }

    /// The running replica of `group`.
    pub fn get(&self, group: u64) -> Option<Group> {
        let _ = group;
        todo!()
    }

    /// Stops the replica of `group` on this node and leaves its data. Nothing happens if it does not run.
    pub async fn stop(&self, group: u64) {
        let _ = group;
        todo!()
    }

    /// Hands every leadership to a voter that is up and has the whole log, and waits until others lead. Returns how
    /// many groups this node still leads at the deadline.
    pub async fn step_down_all(&self, deadline: Duration) -> usize {
        let _ = deadline;
        todo!()
    }

    /// Stops all groups. The store may be closed afterwards.
    pub async fn shutdown(&self) {
        todo!()
    }
}
