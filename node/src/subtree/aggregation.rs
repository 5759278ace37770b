//! The aggregations of a group, as the front desk begins and finds them.

use super::{ShardError, ShardHandle};
use banyan_model::{Path, RequestPrimitive, ResponsePrimitive, aggregation, key::Key, tree::Tree, validate};

impl ShardHandle {
    /// The aggregations of a group of this shard.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn aggregations(&self, group: &Path) -> Result<Vec<Path>, ShardError> {
        self.inner.read(|view| aggregation::listed(view, group))
    }

    /// Begins the aggregation of a request that subscribes at the members of a group; once, however often it is asked
    /// for. Anything but STATUS_OK is a refusal.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn aggregate(
        &self,
        group: &Path,
        path: &Path,
        request: &RequestPrimitive,
    ) -> Result<ResponsePrimitive, ShardError> {
        let (scl, policy) = (&self.inner.scl, &self.inner.config.policy);
        let at = self.inner.signals.stamp();
        let operation = self.inner.read(|view| {
            let mut others = aggregation::listed(view, group)?;
            others.retain(|other| other != path);
            let resources = Tree::new(view, scl).pointer(&Key::resources(&group.subtree()))?.unwrap_or(0);
            Ok(validate::aggregation(scl, policy, at, path, request, (others.len(), resources)))
        })?;
        match operation {
            Ok(operation) => self.operate(operation).await,
            Err(refusal) => Ok(refusal.into()),
        }
    }
}
