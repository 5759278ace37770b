//! A replica whose first state is not empty: that of a group which is founded from a backup.
//!
//! Every founding replica loads the same file before its group starts. Afterwards it stands where a replica stands that
//! was founded as usual, has applied the founding entry (term 0, index 0: the members) and has purged it, only that its
//! state is not empty. To openraft that is a replica like any other: it has members, so nobody founds the group again; the
//! first leader writes at index 1; and the log begins after an entry that nobody can be sent any more, so whoever joins
//! later with an empty state is sent a snapshot, never the log alone.
//!
//! The purged id is written last and is on disk when [`Groups::load`] returns. A crash before it leaves a log in which
//! nothing is, and the load is done again from its beginning; after it, asking again changes nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use banyan_storage::{Batch, GroupState, KeyRange, SnapshotError};
use openraft::storage::RaftLogStorage;
use tokio::sync::mpsc;

use crate::log::Log;
use crate::machine::{Applied, meta_range};
use crate::types::{LogId, Membership, StoredMembership};
use crate::{Groups, StartError};

impl Groups {
    /// Gives this node's founding replica of `group` the state in `file`, a [`crate::Copy`] of the same group of any
    /// cluster. `ranges` are those of the replica, `voters` the founding members, which all must load the same file.
    /// To be called before [`Groups::start`]. Nothing happens if the replica is not new: it was loaded before.
    ///
    /// # Errors
    /// [`StartError`]; unless storage failed the replica is as new as before.
    pub async fn load(
        &self,
        group: u64,
        ranges: Vec<KeyRange>,
        file: PathBuf,
        voters: BTreeSet<u64>,
    ) -> Result<(), StartError> {
        let storage = |reason: String| StartError::Storage { group, reason };
        if self.get(group).is_some() {
            return Err(StartError::AlreadyStarted(group));
        }
        let store = self.store();
        // Nobody waits for this handle: it goes before the group starts.
        let (held, _handles) = mpsc::channel(1);
        let mut log = Log::open(store.log(group), held).map_err(|error| storage(error.to_string()))?;
        if !log.is_new() {
            return Ok(());
        }
        let founding = LogId::new_term_index(0, 0);
        let members = Membership::new_with_defaults(vec![voters], []);
        let applied =
            Applied { last: Some(founding), membership: StoredMembership::new(Some(founding), members) };
        let state = store.state(group);
        let loaded =
            tokio::task::spawn_blocking(move || install(group, &state, ranges, &file, &applied)).await;
        loaded.map_err(|panic| storage(panic.to_string()))?.map_err(|error| storage(chain(&error)))?;
        log.purge(founding).await.map_err(|error| storage(error.to_string()))
    }
}

/// The file says where its state stood in the log of another cluster, and who its members were: that is replaced.
fn install(
    group: u64,
    state: &GroupState,
    mut ranges: Vec<KeyRange>,
    file: &std::path::Path,
    applied: &Applied,
) -> Result<(), SnapshotError> {
    ranges.push(meta_range(group));
    state.import(ranges, file)?;
    let mut batch = Batch::default();
    applied.write(group, &mut batch);
    state.commit(batch);
    Ok(state.make_durable()?)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
