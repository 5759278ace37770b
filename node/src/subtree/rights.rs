//! Rights that live in other shards: what the subtrees need of whoever can get them.

use banyan_model::{Path, Representation};
use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

/// What stands at a path of another shard, true until the lease ends.
#[derive(Debug, Clone)]
pub struct Lease {
    /// `None`: nothing stands there.
    pub representation: Option<Arc<Representation>>,
    /// Counted from when the owner was asked: a revocation takes effect everywhere within the lease.
    pub until: Instant,
}

impl Lease {
    /// Whether it may still be used.
    pub fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

/// The owner of a right did not answer. Nobody may be let in, or told that there is nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the owner of {path} does not answer: {why}")]
pub struct RightsError {
    /// What was asked for.
    pub path: Path,
    /// Why, for the log.
    pub why: String,
}

/// A running question to the owner of a right.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Lease, RightsError>> + Send>>;

/// Gets accessRights and root collections from whichever shard has them.
pub trait Rights: Send + Sync + 'static {
    /// A fresh lease, if there is one. Does not wait.
    fn cached(&self, path: &Path) -> Option<Lease>;

    /// Asks the owner. The lease may be over when it comes.
    fn fetch(&self, path: &Path) -> Fetching;

    /// An accessRight of this node has changed: forget what is known of it.
    fn changed(&self, path: &Path);
}
