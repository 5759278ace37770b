//! Rights that live in other shards or at other SCLs, and the groups and SCLs that hold them: what the subtrees need of
//! whoever can get them.

use banyan_model::{Path, Representation, Scl, access::Asked};
use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Instant};
use tokio::sync::broadcast;

/// Where something stands that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// In this cluster.
    Here(Path),
    /// At another SCL, by its address.
    Elsewhere(String),
    /// The SCLs that are registered here with this `link`, as `announce::registered` has them.
    Linked(String),
    /// The SCLs whose `link` is this URI or stands above or below it, the same.
    Overlapping(String),
    /// All registered SCLs, the same.
    Registered,
}

impl Source {
    /// Where what a decision asks for is found out.
    pub fn asked(scl: &Scl, asked: Asked<'_>) -> Source {
        match asked {
            Asked::At(uri) => Source::of(scl, uri),
            Asked::Linked(link) => Source::Linked(link.to_owned()),
        }
    }

    /// What an address means.
    pub fn of(scl: &Scl, uri: &str) -> Source {
        match scl.local_path(uri) {
            Some(path) => Source::Here(path),
            None => Source::Elsewhere(uri.trim().to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Here(path) => path.fmt(f),
            Source::Elsewhere(uri) => uri.fmt(f),
            Source::Linked(link) => write!(f, "the SCL of {link}"),
            Source::Overlapping(uri) => write!(f, "the SCLs above or below {uri}"),
            Source::Registered => f.write_str("the registered SCLs"),
        }
    }
}

/// What stands elsewhere, true until the lease ends.
#[derive(Debug, Clone)]
pub struct Lease {
    /// `None`: nothing stands there.
    pub representation: Option<Arc<Representation>>,
    /// When the owner was asked.
    pub asked: Instant,
    /// Counted from then: a revocation takes effect everywhere within the lease.
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
#[error("the owner of {of} does not answer: {why}")]
pub struct RightsError {
    /// What was asked for.
    pub of: Source,
    /// Why, for the log.
    pub why: String,
}

/// A running question to the owner of a right.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Lease, RightsError>> + Send>>;

/// Gets accessRights, their holders and root collections from whoever has them.
pub trait Rights: Send + Sync + 'static {
    /// A fresh lease, if there is one. Does not wait.
    fn cached(&self, source: &Source) -> Option<Lease>;

    /// Asks the owner. The lease may be over when it comes.
    fn fetch(&self, source: &Source) -> Fetching;

    /// An accessRight of this node has changed: forget what is known of it.
    fn changed(&self, path: &Path);

    /// Tells each that changed, after it was forgotten.
    fn changes(&self) -> broadcast::Receiver<Path>;
}
