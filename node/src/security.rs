//! Keys of D/G M2M Nodes and what is made with them (TS 102 690 clause 8): the MAS of this cluster.
//!
//! They are the state of a Raft group of their own, sealed by a data key that is wrapped by a key-encryption key which
//! this cluster does not keep. Only the leader answers, and only while its lease holds, so that a revoked key is never
//! given out by one that was deposed. Everything that is done to a key stands in the audit log before it is answered.
//!
//! Invariants: no key is anywhere on disk but sealed, and in no log line, error or `Debug`; whoever holds the state
//! alone, or a backup of it, has no key; what the audit log does not take is not done.

mod answer;
mod audit;
mod closures;
mod kek;
mod ledger;
mod operator;
mod place;
mod replica;
mod seal;
mod tend;
mod tokens;

#[cfg(test)]
mod tests;

pub use kek::{FileKeys, KekError, KeyEncryption};
pub use ledger::names_an_scl;

use crate::{clock, directory::KEYS_GROUP};
use audit::{Audit, AuditError, Event};
use banyan_model::placement::{NodeId, Shard};
use banyan_proto::{
    convert::Malformed,
    v1::{self, keys_outcome},
};
use banyan_raft::{Group, Groups, ProposeError, StartError};
use banyan_storage::{GroupState, KeyRange, Store};
use closures::Ring;
use kek::Secret;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use replica::KeysReplica;
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Settings of the keys' group; the same at every node.
#[derive(Clone)]
pub struct Config {
    /// Wraps the data key. Without it no key can be used: every question is refused.
    pub kek: Option<Arc<dyn KeyEncryption>>,
    /// The audit log of this node.
    pub audit: PathBuf,
    /// FQDN of the MAS, in bootstrapParamSet and PSK identities with Kmr.
    pub mas_fqdn: String,
    /// FQDN of the NSCL, in PSK identities with Kmc.
    pub nscl_fqdn: String,
    /// securityLifetime of a Kmr that names none. Default 3,650 days.
    pub kmr_lifetime: Duration,
    /// securityLifetime of a Kmc. Default 24 h.
    pub connection_lifetime: Duration,
}

impl Config {
    /// The defaults, for this audit log.
    pub fn new(audit: PathBuf) -> Config {
        Config {
            kek: None,
            audit,
            mas_fqdn: "mas.example.com".to_owned(),
            nscl_fqdn: "nscl.example.com".to_owned(),
            kmr_lifetime: Duration::from_secs(3_650 * 86_400),
            connection_lifetime: Duration::from_secs(86_400),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("audit", &self.audit).finish_non_exhaustive()
    }
}

/// This node's part of the keys' group; cheap to clone.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    groups: Arc<Groups>,
    state: GroupState,
    ring: Arc<Ring>,
    audit: Audit,
    failures: audit::Failures,
    /// The unwrapped data key, and what it was unwrapped of.
    data_key: Mutex<Option<(Vec<u8>, Secret)>>,
    group: RwLock<Option<Group>>,
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Another node should be asked.
    #[error("this node does not lead the keys' group")]
    NotLeader {
        /// Which one, if it is known.
        leader: Option<NodeId>,
    },
    /// Too much at once, or not ready yet: ask again.
    #[error("{0}")]
    Busy(&'static str),
    /// It may still happen.
    #[error("the outcome is not known")]
    Unknown,
    /// It was understood and is refused.
    #[error("{0}")]
    Refused(String),
    /// Nothing of the kind can be done until an operator has seen to it.
    #[error("{0}")]
    Unable(String),
}

impl From<Malformed> for KeysError {
    fn from(error: Malformed) -> KeysError {
        KeysError::Refused(error.to_string())
    }
}

impl From<AuditError> for KeysError {
    fn from(error: AuditError) -> KeysError {
        KeysError::Unable(error.to_string())
    }
}

impl From<seal::SealError> for KeysError {
    fn from(error: seal::SealError) -> KeysError {
        KeysError::Unable(error.to_string())
    }
}

impl Keys {
    /// Nothing runs yet. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// No thread for the audit log.
    pub fn new(config: Config, store: &Store, groups: Arc<Groups>) -> io::Result<Keys> {
        let audit = Audit::open(&config.audit)?;
        let inner = Inner {
            groups,
            state: store.state(KEYS_GROUP),
            ring: Arc::default(),
            audit,
            failures: audit::Failures::default(),
            data_key: Mutex::default(),
            group: RwLock::default(),
            config,
        };
        Ok(Keys { inner: Arc::new(inner) })
    }

    /// Gives this node's replica its first state from the file of a backup, before it is started. What is sealed in it opens
    /// with the same key-encryption key only.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn load(&self, keys: &Shard, file: PathBuf) -> Result<(), StartError> {
        let voters = keys.replicas.iter().map(|node| node.0).collect();
        self.inner.groups.load(KEYS_GROUP, vec![place::everything()], file, voters).await
    }

    /// Starts this node's replica.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self) -> Result<Group, StartError> {
        let Inner { groups, state, ring, group, .. } = &*self.inner;
        let replica = Arc::new(KeysReplica::new(state.clone(), ring.clone()));
        let started = groups.start(KEYS_GROUP, replica).await?;
        *group.write() = Some(started.clone());
        tokio::spawn(tend::run(Arc::downgrade(&self.inner), started.leadership()));
        Ok(started)
    }
}

impl Keys {
    /// This node's replica, while it runs.
    pub fn group(&self) -> Option<Group> {
        self.inner.group.read().clone()
    }

    /// Lets go of the replica, if it runs. Its group goes on; stop it next. Returns where its records are.
    pub fn end(&self) -> Vec<KeyRange> {
        *self.inner.group.write() = None;
        *self.inner.data_key.lock() = None;
        self.inner.ring.forget();
        vec![place::everything()]
    }
}

impl Inner {
    /// The group, if this node leads it and may read its state now.
    fn leading(&self) -> Result<Group, KeysError> {
        let group = self.group.read().clone().ok_or(KeysError::NotLeader { leader: None })?;
        match group.serves_reads() {
            Ok(()) => Ok(group),
            Err(not) => Err(KeysError::NotLeader { leader: not.leader.map(NodeId) }),
        }
    }

    /// A message of the state.
    fn find<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, KeysError> {
        let found = self.state.view().get(key).map_err(replica::unreadable)?;
        Ok(found.map(M::decode).transpose().map_err(Malformed::from)?)
    }

    /// Proposes and waits until it is applied.
    async fn propose(&self, kind: v1::keys_command::Kind) -> Result<keys_outcome::Kind, KeysError> {
        let group = self.leading()?;
        let command = v1::KeysCommand { at_ms: clock::now().0, kind: Some(kind) }.encode_to_vec();
        let (sender, receiver) = oneshot::channel();
        group.propose(command.into(), move |outcome| {
            // Nobody waits any more when the request was given up.
            let _ = sender.send(outcome);
        });
        let said = match receiver.await.unwrap_or(Err(ProposeError::Unknown)) {
            Ok(said) => said,
            Err(ProposeError::NotLeader { leader }) => {
                return Err(KeysError::NotLeader { leader: leader.map(NodeId) });
            }
            Err(ProposeError::Busy) => return Err(KeysError::Busy("too many changes of keys at once")),
            Err(_) => return Err(KeysError::Unknown),
        };
        let outcome = v1::KeysOutcome::decode(said).map_err(Malformed::from)?;
        match outcome.kind.ok_or(Malformed::Missing("outcome"))? {
            keys_outcome::Kind::Refused(why) => Err(KeysError::Refused(why)),
            said => Ok(said),
        }
    }

    /// What opens sealed keys.
    fn data_key(&self) -> Result<Secret, KeysError> {
        let Some(kek) = &self.config.kek else {
            return Err(KeysError::Unable("keys.kek is not set: this cluster keeps no keys".to_owned()));
        };
        let stored: Option<v1::DataKey> = self.find(&place::data_key())?;
        let stored = stored.ok_or(KeysError::Busy("the data key is not made yet"))?;
        let mut cached = self.data_key.lock();
        if let Some((wrapped, key)) = &*cached
            && *wrapped == stored.wrapped
        {
            return Ok(key.clone());
        }
        let key = kek.unwrap(&stored.kek, &stored.wrapped).map_err(|why| {
            tracing::error!(why, "data key cannot be unwrapped");
            KeysError::Unable(format!("the data key cannot be unwrapped: {why}"))
        })?;
        *cached = Some((stored.wrapped.to_vec(), key.clone()));
        Ok(key)
    }

    /// Opens a sealed key; one that does not open was changed under our feet.
    fn open(&self, key: &banyan_model::security::KeyRef, sealed: &[u8]) -> Result<Secret, KeysError> {
        Ok(seal::open(&*self.data_key()?, &seal::owner(key), sealed).inspect_err(|_| {
            tracing::error!(%key, "a sealed key cannot be opened");
        })?)
    }

    /// Has an operation stand in the audit log before it is done and after; without the first it is not done, without
    /// the second it is not answered.
    async fn audited<T>(
        &self,
        event: Event,
        operation: impl Future<Output = Result<T, KeysError>>,
    ) -> Result<T, KeysError> {
        self.audit.record(&Event { result: "requested".to_owned(), ..event.clone() }).await?;
        let done = operation.await;
        let (result, detail) = match &done {
            Ok(_) => ("accepted", event.detail.clone()),
            Err(error @ KeysError::Refused(_)) => ("refused", error.to_string()),
            Err(error) => ("failed", error.to_string()),
        };
        self.audit.record(&Event { result: result.to_owned(), detail, ..event }).await?;
        done
    }
}
