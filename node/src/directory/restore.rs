//! A cluster that is founded from a backup: its shards, its settings and the state of its shards are the backup's, its
//! members, its number and where the replicas are, are new.
//!
//! Every founder is given the same backup. It reads all of it before anything is written; founders with different backups
//! refuse each other. With its cluster's number it writes down the whole founding state, and before it takes part in any
//! group it loads its replicas, each from its file, and then writes down that it has. After a crash before that it loads
//! what is missing (`Groups::load`) and needs the backup again; afterwards nobody looks at the backup any more.
//!
//! Invariants: no group of a restored cluster runs on a founder that has not loaded all its replicas; nothing is loaded into
//! a node that has a cluster already.

use super::{Config, Directory, DirectoryError, Founding, Shards, founding};
use banyan_backup::{Backup, Fault, OpenError};
use banyan_model::{
    path::Slot,
    placement::{NodeId, Shard, ShardId},
};
use banyan_proto::v1;
use banyan_storage::Store;
use bytes::Bytes;
use std::path::PathBuf;

/// Under which a founder writes down that it has loaded its replicas.
const LOADED: &str = "directory/loaded";

/// Why a backup is not restored. Nothing was written unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error("restore")]
    Open(#[from] OpenError),
    /// It is damaged.
    #[error("restore: the backup cannot be used: {}", list(.0))]
    Faults(Vec<Fault>),
    /// This node has a cluster.
    #[error(
        "restore: this node belongs to cluster {cluster:016x} already, and a backup is restored into new nodes only: \
         give it an empty data folder, or take `restore` out to go on with what it has"
    )]
    NotEmpty {
        /// The cluster.
        cluster: u64,
    },
    /// Another backup than the one that this cluster was restored from.
    #[error(
        "restore: cluster {cluster:016x} was restored from another backup: give the node an empty data folder, \
         or take `restore` out to go on with what it has"
    )]
    Another {
        /// The cluster.
        cluster: u64,
    },
    /// The backup is gone before everything was loaded.
    #[error(
        "the restore of cluster {cluster:016x} was interrupted on this node: set `restore` to the same backup again"
    )]
    Interrupted {
        /// The cluster.
        cluster: u64,
    },
    /// A founding setting says something else than the backup.
    #[error("{setting}: the backup has {kept}, and a restored cluster keeps it: leave the setting out")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What the backup has.
        kept: String,
    },
    /// A replica was not loaded.
    #[error("restore: {} was not loaded", file.display())]
    Load {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

/// What this node has to do with a backup.
#[derive(Default)]
pub(super) struct Restore {
    /// Which backup the cluster is or was founded from.
    pub(super) from: Option<v1::Restored>,
    /// The backup, as long as it has to be loaded.
    backup: Option<Backup>,
}

impl Restore {
    /// What is to be done, by the settings and by what is stored here.
    pub(super) fn plan(config: &Config, store: &Store) -> Result<Restore, DirectoryError> {
        let stored = founding::known(store)?;
        let backup = config.restore.as_deref().map(Backup::open);
        let Some(v1::DirectoryState { cluster, restored, .. }) = stored else {
            let Some(backup) = backup else { return Ok(Restore::default()) };
            let backup = backup.map_err(RestoreError::from)?;
            agree(&config.founding, &backup)?;
            let about = &backup.manifest().about;
            let from = v1::Restored { manifest: backup.digest().to_owned(), cluster: about.cluster };
            return Ok(Restore { from: Some(from), backup: Some(backup) });
        };
        let is_same =
            |backup: &Backup| restored.as_ref().is_some_and(|from| from.manifest == backup.digest());
        if restored.is_some() && store.meta(LOADED).is_none() {
            return match backup.transpose().map_err(RestoreError::from)?.filter(is_same) {
                None => Err(RestoreError::Interrupted { cluster }.into()),
                backup => Ok(Restore { from: restored, backup }),
            };
        }
        match backup {
            Some(_) if restored.is_none() => Err(RestoreError::NotEmpty { cluster }.into()),
            Some(Ok(backup)) if !is_same(&backup) => Err(RestoreError::Another { cluster }.into()),
            // The setting may stay, and the backup need not.
            _ => Ok(Restore { from: restored, backup: None }),
        }
    }
}

/// Founding settings that the backup decides: the default, or the same.
fn agree(founding: &Founding, backup: &Backup) -> Result<(), RestoreError> {
    let default = Founding::default();
    let settings = &backup.manifest().about.settings;
    let shards = backup.manifest().parts.iter().filter(|part| part.slots.is_some()).count();
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    let of = |setting, is_free: bool, kept: &str| match is_free {
        true => Ok(()),
        false => Err(RestoreError::Setting { setting, kept: kept.to_owned() }),
    };
    let free = |mine: &String, default: &String, kept: &String| mine == default || mine == kept;
    of("scl_id", free(&founding.scl_id, &default.scl_id, &settings.scl_id), &settings.scl_id)?;
    of("scl_base", free(&founding.scl_base, &default.scl_base, &settings.scl_base), &settings.scl_base)?;
    of("shards", [default.shards, shards].contains(&founding.shards), &shards.to_string())
}

impl Directory {
    /// Reads the whole backup that is to be restored, if one is.
    pub(super) async fn check_backup(&self) -> Result<(), DirectoryError> {
        let Some(backup) = self.inner.restore.backup.clone() else { return Ok(()) };
        tracing::info!(cluster = backup.manifest().about.cluster, "reading the backup");
        let faults = tokio::task::spawn_blocking(move || backup.faults());
        // The closure cannot panic and is not cancelled; if the runtime is going, so is this node.
        match faults.await.map_err(|_| DirectoryError::Stopped)? {
            faults if faults.is_empty() => Ok(()),
            faults => Err(RestoreError::Faults(faults).into()),
        }
    }

    /// The founding state of a restored cluster: what the backup says, on these founders. The same at all of them.
    pub(super) fn restored_state(
        &self,
        cluster: u64,
        members: Vec<v1::NodeInfo>,
    ) -> Option<v1::DirectoryState> {
        let (restore, founding) = (&self.inner.restore, &self.inner.config.founding);
        let manifest = restore.backup.as_ref()?.manifest();
        let nodes: Vec<NodeId> = members.iter().map(|member| NodeId(member.node)).collect();
        let factor = usize::try_from(founding.replication_factor).unwrap_or(usize::MAX).min(nodes.len());
        // In turn, as in a cluster that is founded empty.
        let replicas = |at: usize| (0..factor).map(|replica| nodes[(at + replica) % nodes.len()]).collect();
        let shards = manifest.parts.iter().filter_map(|part| Some((part, part.slots?))).enumerate();
        let shard = |(at, (part, slots)): (usize, (&banyan_backup::Part, banyan_backup::Slots))| {
            let (first, last) = (Slot(slots.first_slot), Slot(slots.last_slot));
            Shard::founded(ShardId(part.group), first, last, replicas(at))
        };
        let kept = &manifest.about.settings;
        let authorities = match founding.authorities.is_empty() {
            true => kept.authorities.clone(),
            false => founding.authorities.clone(),
        };
        let settings = v1::Settings {
            scl_id: kept.scl_id.clone(),
            scl_base: kept.scl_base.clone(),
            authorities,
            replication_factor: founding.replication_factor,
            founded_at_ms: kept.founded_at_ms,
        };
        let shards: Vec<Shard> = shards.map(shard).collect();
        Some(v1::DirectoryState {
            cluster,
            shards: shards.iter().map(Into::into).collect(),
            keys: Some(super::shards::keys_group(nodes.iter().take(factor))),
            members,
            settings: Some(settings),
            restored: restore.from.clone(),
            ..Default::default()
        })
    }

    /// Loads this node's replicas, if that has to be done. Nothing of them runs yet.
    pub(super) async fn load<S: Shards>(&self, shards: &S) -> Result<(), DirectoryError> {
        let inner = &self.inner;
        let (Some(backup), Some(state)) = (&inner.restore.backup, founding::known(&inner.store)?) else {
            return Ok(());
        };
        for part in &backup.manifest().parts {
            let known = state.shards.iter().chain(&state.keys).find(|shard| shard.shard == part.group);
            let Some(shard) = known.map(Shard::from) else { continue };
            if !shard.replicas.contains(&inner.node) {
                continue;
            }
            let file = backup.path(part);
            let loaded = shards.load(&shard, file.clone()).await;
            loaded.map_err(|source| RestoreError::Load { file, source })?;
            tracing::info!(
                group = part.group,
                term = part.term,
                index = part.index,
                "replica loaded from the backup"
            );
        }
        let (store, loaded) = (inner.store.clone(), Bytes::from_static(&[1]));
        let written = tokio::task::spawn_blocking(move || store.put_meta(LOADED, loaded)).await;
        Ok(written.map_err(|_| DirectoryError::Stopped)??)
    }
}
