//! The subtrees that this node holds: replicas that apply the log, and actors that are the one door to each subtree.
//!
//! [`Shards`] has this node's replicas. A shard's leader has an actor for every subtree in use: it authorises and
//! orders the writes of its subtree and proposes each without waiting for the one before; the answer travels with the
//! log entry. Reads go past the actors: lease, then a short view of the local state on the caller's own thread.
//!
//! ```text
//! supervisor            one a node: starts a shard's actor again
//!   shard               one a replica: follows the leadership, starts a subtree's actor again
//!     subtree           one a subtree in use, on the leader only; goes away when idle
//! ```
//!
//! Invariants: an actor holds no truth; every request is answered exactly once, also when its actor panics; no mailbox
//! holds more than its permits; a state that cannot be read ends the replica, it is never guessed at.

mod config;
mod error;
mod handle;
mod rights;
mod shards;

mod actor;
mod registry;
mod shard;
mod supervisor;

mod aggregation;
mod authorise;
mod channel;
mod deferred;
mod discover;
mod read;
mod write;

mod expiry;
mod hot;
mod outbox;
mod replica;
mod signals;
mod view;

pub use channel::{Found, Waiting};
pub use config::{Config, ConfigError};
pub use error::{ShardError, StartError};
pub use handle::ShardHandle;
pub use rights::{Fetching, Lease, Rights, RightsError, Source};
pub use shards::{Shards, WeakShards};
pub use signals::Due;
pub use write::{Answer, Write};
