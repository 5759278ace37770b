//! What a command does to the records of keys: pure, and the same on every replica.
//!
//! Invariants: an sclId belongs to one node; a key that is revoked, retired or past its time is never active again, and
//! nothing of it is left but its name; a connection outlives neither its root key nor its own time; what one node may
//! have stored is bounded, and so are tokens; a command that comes twice changes nothing the second time and has the same outcome.

use super::place;
use banyan_model::security::{IDENTITY_OCTETS_MAX, KeyRef, M2mNodeId};
use banyan_proto::{
    convert::{Malformed, node_id},
    v1::{self, KmrState, keys_command::Kind, keys_outcome},
};
use bytes::Bytes;
use prost::Message;

/// Root keys of one node, those that ended included.
const KMRS_MAX: usize = 8;
/// Service connections of one node; the oldest ends for a further one.
const CONNECTIONS_MAX: usize = 16;
/// Aliases of one node; the oldest goes for a further one.
const ALIASES_MAX: usize = 8;
/// Octets of an sclId.
const SCL_ID_OCTETS_MAX: usize = 128;
/// Records that one sweep removes.
pub(super) const SWEEP_MAX: usize = 256;

/// Whether this may be an sclId.
pub fn names_an_scl(id: &str) -> bool {
    (1..=SCL_ID_OCTETS_MAX).contains(&id.len()) && !id.contains(['/', '?', '#'])
}

/// The state as the commands before have left it.
pub(super) trait Records {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Malformed>;
    /// Keys from the first, included, to the second, excluded, in order, at most so many.
    fn keys(&self, range: (Vec<u8>, Vec<u8>), limit: usize) -> Result<Vec<Vec<u8>>, Malformed>;
    /// Sets a value.
    fn put(&mut self, key: Vec<u8>, value: Bytes);
    /// Removes one.
    fn delete(&mut self, key: Vec<u8>);
}

/// What came of a command.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) said: v1::KeysOutcome,
    /// What may not be used any more, in order.
    pub(super) closed: Vec<v1::Closed>,
}

/// A message under a key.
pub(super) fn find<R: Records + ?Sized, M: Message + Default>(
    records: &R,
    key: &[u8],
) -> Result<Option<M>, Malformed> {
    records.get(key)?.map(M::decode).transpose().map_err(Malformed::from)
}

/// Carries a command out.
///
/// # Errors
/// It or a record cannot be read: this replica must stop.
pub(super) fn apply<R: Records>(records: &mut R, command: Bytes) -> Result<Outcome, Malformed> {
    let v1::KeysCommand { at_ms, kind } = v1::KeysCommand::decode(command)?;
    let mut ledger = Ledger { records, now: at_ms, closed: Vec::new() };
    let said = match kind.ok_or(Malformed::Missing("keys command"))? {
        Kind::PutDataKey(key) => ledger.put_data_key(&key)?,
        Kind::RewrapDataKey(rewrap) => ledger.rewrap(rewrap)?,
        Kind::AddKmr(add) => ledger.add_kmr(add)?,
        Kind::AddConnection(add) => ledger.add_connection(add)?,
        Kind::Revoke(revoke) => ledger.revoke(&revoke)?,
        Kind::Sweep(v1::Sweep {}) => ledger.sweep()?,
        Kind::BindNode(bind) => ledger.bind(&bind)?,
        Kind::AddToken(add) => ledger.add_token(add)?,
        Kind::RevokeToken(digest) => ledger.revoke_token(digest)?,
    };
    let Ledger { closed, .. } = ledger;
    Ok(Outcome { said: v1::KeysOutcome { kind: Some(said) }, closed })
}

struct Ledger<'a, R> {
    records: &'a mut R,
    now: i64,
    closed: Vec<v1::Closed>,
}

use keys_outcome::Kind as Said;

fn refused(why: impl Into<String>) -> Said {
    Said::Refused(why.into())
}

impl<R: Records> Ledger<'_, R> {
    fn put<M: Message>(&mut self, key: Vec<u8>, message: &M) {
        self.records.put(key, message.encode_to_vec().into());
    }

    fn put_data_key(&mut self, key: &v1::DataKey) -> Result<Said, Malformed> {
        if self.records.get(&place::data_key())?.is_none() {
            self.put(place::data_key(), key);
        }
        Ok(Said::Done(0))
    }

    fn rewrap(&mut self, rewrap: v1::RewrapDataKey) -> Result<Said, Malformed> {
        let stored: Option<v1::DataKey> = find(self.records, &place::data_key())?;
        match (stored, rewrap.to) {
            // Whoever led before may have done it.
            (Some(stored), Some(to)) if stored.kek == rewrap.from_kek => self.put(place::data_key(), &to),
            _ => {}
        }
        Ok(Said::Done(0))
    }

    /// What a node is called from now on.
    fn bind(&mut self, bind: &v1::BindNode) -> Result<Said, Malformed> {
        let node = node_id(&bind.node)?;
        let record: v1::NodeRecord = find(self.records, &place::node(node))?.unwrap_or_default();
        Ok(match self.named(node, record, Some(bind))? {
            Ok(mut record) => {
                record.barred = false;
                self.put(place::node(node), &record);
                Said::Done(0)
            }
            Err(why) => refused(why),
        })
    }

    /// The record with the names that `bind` gives, or the name that every node has: its id. Its index keys are written.
    fn named(
        &mut self,
        node: M2mNodeId,
        mut record: v1::NodeRecord,
        bind: Option<&v1::BindNode>,
    ) -> Result<Result<v1::NodeRecord, String>, Malformed> {
        let asked = bind.and_then(|bind| bind.scl_id.clone());
        let scl = match asked {
            Some(scl) => scl,
            None if record.scl_id.is_empty() => node.to_string(),
            None => record.scl_id.clone(),
        };
        let aliases = bind.map_or(&[][..], |bind| &bind.alias);
        if !names_an_scl(&scl) {
            return Ok(Err(format!("scl_id: must have 1 to {SCL_ID_OCTETS_MAX} octets and no / ? #")));
        }
        if M2mNodeId::parse(&scl).is_some_and(|other| other != node) {
            return Ok(Err(format!("scl_id: {scl} is the id of another node")));
        }
        let owner = |key: &[u8], records: &R| -> Result<bool, Malformed> {
            Ok(records.get(key)?.is_none_or(|owner| owner.as_ref() == node.0))
        };
        if !owner(&place::scl(&scl), self.records)? {
            return Ok(Err(format!("scl_id: {scl} belongs to another node")));
        }
        for alias in aliases {
            if alias.is_empty() || alias.len() > IDENTITY_OCTETS_MAX {
                return Ok(Err(format!("alias: must have 1 to {IDENTITY_OCTETS_MAX} octets")));
            }
            if !owner(&place::alias(alias.as_bytes()), self.records)? {
                return Ok(Err(format!("alias: {alias} belongs to another node")));
            }
        }
        if aliases.len() > ALIASES_MAX {
            return Ok(Err(format!("alias: a node has at most {ALIASES_MAX}")));
        }
        // What is named again is the newest again.
        let mut all = record.alias.clone();
        all.retain(|alias| !aliases.contains(alias));
        all.extend_from_slice(aliases);
        for gone in all.drain(..all.len().saturating_sub(ALIASES_MAX)) {
            self.records.delete(place::alias(gone.as_bytes()));
        }
        if !record.scl_id.is_empty() && record.scl_id != scl {
            self.records.delete(place::scl(&record.scl_id));
            // Sessions speak for the name they were made under.
            self.close_node(node);
        }
        let owner = Bytes::copy_from_slice(&node.0);
        self.records.put(place::scl(&scl), owner.clone());
        for alias in &all {
            self.records.put(place::alias(alias.as_bytes()), owner.clone());
        }
        (record.scl_id, record.alias) = (scl, all);
        Ok(Ok(record))
    }

    fn add_kmr(&mut self, add: v1::AddKmr) -> Result<Said, Malformed> {
        let record = add.record.ok_or(Malformed::Missing("record"))?;
        let node = node_id(&record.node)?;
        let mut of_node: v1::NodeRecord = find(self.records, &place::node(node))?.unwrap_or_default();
        if of_node.barred && add.bind.is_none() {
            return Ok(refused("all keys of this node were revoked"));
        }
        if let Some(key) = self.records.get(&place::fingerprint(&record.fingerprint))? {
            let known = find::<_, v1::KmrRecord>(self.records, &key)?;
            let is_same = |known: &v1::KmrRecord| known.node == record.node && !ended(known, self.now);
            let Some(known) = known.filter(is_same) else {
                return Ok(refused("another key record has this key"));
            };
            return Ok(match add.bind {
                Some(bind) => match self.bind(&bind)? {
                    Said::Done(_) => Said::Kmr(known.index),
                    refused => refused,
                },
                None => Said::Kmr(known.index),
            });
        }
        // An index means one key for ever, also after its record has gone.
        if record.index <= of_node.last_index {
            return Ok(Said::Taken(true));
        }
        if !self.room(node)? {
            return Ok(refused(format!("the node has {KMRS_MAX} root keys in use")));
        }
        of_node = match self.named(node, of_node, add.bind.as_ref())? {
            Ok(named) => named,
            Err(why) => return Ok(refused(why)),
        };
        (of_node.last_index, of_node.barred) = (of_node.last_index.max(record.index), false);
        self.put(place::node(node), &of_node);
        self.store_kmr(node, &record);
        Ok(Said::Kmr(record.index))
    }

    fn store_kmr(&mut self, node: M2mNodeId, record: &v1::KmrRecord) {
        let key = place::kmr(node, record.index);
        self.records.put(place::fingerprint(&record.fingerprint), key.clone().into());
        self.records.put(place::due(dies(record), &key), Bytes::new());
        self.put(key, record);
    }

    fn remove_kmr(&mut self, key: Vec<u8>, record: &v1::KmrRecord) {
        self.records.delete(place::fingerprint(&record.fingerprint));
        self.records.delete(place::due(dies(record), &key));
        self.records.delete(key);
    }

    /// Whether a further root key has room, once one that ended, or else waits for its first use, has gone.
    fn room(&mut self, node: M2mNodeId) -> Result<bool, Malformed> {
        let keys = self.records.keys(place::kmrs(node), KMRS_MAX + 1)?;
        if keys.len() < KMRS_MAX {
            return Ok(true);
        }
        let mut stored = Vec::with_capacity(keys.len());
        for key in keys {
            let record: v1::KmrRecord =
                find(self.records, &key)?.ok_or(Malformed::Missing("root key of the index"))?;
            stored.push((key, record));
        }
        let over = |record: &v1::KmrRecord| ended(record, self.now);
        let goes = stored.iter().position(|(_, record)| over(record));
        let goes = goes.or_else(|| stored.iter().position(|(_, record)| record.state() == KmrState::Pending));
        let Some(goes) = goes else { return Ok(false) };
        let (key, record) = stored.swap_remove(goes);
        self.remove_kmr(key, &record);
        self.close_kmr(node, record.index)?;
        Ok(true)
    }

    fn add_connection(&mut self, add: v1::AddConnection) -> Result<Said, Malformed> {
        let mut record = add.record.ok_or(Malformed::Missing("record"))?;
        let node = node_id(&record.node)?;
        let of_node: v1::NodeRecord = find(self.records, &place::node(node))?.unwrap_or_default();
        if of_node.barred || of_node.scl_id.is_empty() {
            return Ok(refused("the node is not known, or its keys were revoked"));
        }
        if let Some(key) = self.records.get(&place::fingerprint(&record.fingerprint))? {
            return Ok(match find::<_, v1::ConnectionRecord>(self.records, &key)? {
                Some(known) if known.node == record.node && known.expires_ms > self.now => {
                    Said::Connection(known)
                }
                _ => refused("another record has this key"),
            });
        }
        if self.records.get(&place::connection(record.connection))?.is_some() {
            return Ok(Said::Taken(true));
        }
        if let Some(index) = record.kmr_index {
            let kmr: Option<v1::KmrRecord> = find(self.records, &place::kmr(node, index))?;
            let Some(kmr) = kmr.filter(|kmr| !ended(kmr, self.now)) else {
                return Ok(refused("the root key is not in use"));
            };
            record.expires_ms = record.expires_ms.min(kmr.expires_ms);
            if kmr.state() == KmrState::Pending {
                self.first_use(node, kmr)?;
            }
        }
        let others = self.records.keys(place::connections_of(node), CONNECTIONS_MAX + 1)?;
        if others.len() >= CONNECTIONS_MAX
            && let Some(oldest) = others.first().and_then(|key| place::number_of(key))
        {
            self.end_connection(oldest)?;
        }
        let key = place::connection(record.connection);
        self.records.put(place::fingerprint(&record.fingerprint), key.clone().into());
        self.records.put(place::due(record.expires_ms, &key), Bytes::new());
        let of_its_node = place::connection_of(node, record.created_ms, record.connection);
        self.records.put(of_its_node, Bytes::new());
        self.put(key, &record);
        Ok(Said::Connection(record))
    }

    /// A pending root key was used: it is active, and those before it have had their time.
    fn first_use(&mut self, node: M2mNodeId, used: v1::KmrRecord) -> Result<(), Malformed> {
        for key in self.records.keys(place::kmrs(node), KMRS_MAX + 1)? {
            let Some(mut other) = find::<_, v1::KmrRecord>(self.records, &key)? else { continue };
            if other.index < used.index && !ended(&other, self.now) {
                other.set_state(KmrState::Retired);
                other.sealed = Bytes::new();
                self.put(key, &other);
            }
        }
        let key = place::kmr(node, used.index);
        self.records.delete(place::due(dies(&used), &key));
        let active = v1::KmrRecord { state: KmrState::Active.into(), pending_until_ms: 0, ..used };
        self.records.put(place::due(dies(&active), &key), Bytes::new());
        self.put(key, &active);
        Ok(())
    }

    fn revoke(&mut self, revoke: &v1::Revoke) -> Result<Said, Malformed> {
        let node = node_id(&revoke.node)?;
        let Some(mut of_node) = find::<_, v1::NodeRecord>(self.records, &place::node(node))? else {
            return Ok(refused("the node is not known"));
        };
        let mut revoked = 0;
        for key in self.records.keys(place::kmrs(node), KMRS_MAX + 1)? {
            let Some(mut record) = find::<_, v1::KmrRecord>(self.records, &key)? else { continue };
            let asked = revoke.index.is_none_or(|index| index == record.index);
            if !asked {
                continue;
            }
            revoked += 1;
            if record.state() != KmrState::Revoked {
                record.set_state(KmrState::Revoked);
                record.sealed = Bytes::new();
                let index = record.index;
                self.put(key, &record);
                self.close_kmr(node, index)?;
            }
        }
        match revoke.index {
            Some(index) if revoked == 0 => return Ok(refused(format!("the node has no root key {index}"))),
            Some(_) => {}
            None => {
                for key in self.records.keys(place::connections_of(node), CONNECTIONS_MAX + 1)? {
                    if let Some(number) = place::number_of(&key) {
                        self.end_connection(number)?;
                    }
                }
                of_node.barred = true;
                self.put(place::node(node), &of_node);
                self.close_node(node);
            }
        }
        Ok(Said::Done(revoked))
    }

    fn sweep(&mut self) -> Result<Said, Malformed> {
        let mut swept = 0;
        for due in self.records.keys(place::due_by(self.now), SWEEP_MAX)? {
            let key = place::record_of(&due).to_vec();
            if place::is_token(&key) {
                match find::<_, v1::TokenRecord>(self.records, &key)? {
                    Some(record) => self.remove_token(place::digest_of(&key), &record)?,
                    None => self.records.delete(due),
                }
            } else if place::is_connection(&key) {
                match find::<_, v1::ConnectionRecord>(self.records, &key)? {
                    Some(record) => self.end_connection(record.connection)?,
                    None => self.records.delete(due),
                }
            } else if let Some(record) = find::<_, v1::KmrRecord>(self.records, &key)? {
                let (node, index) = (node_id(&record.node)?, record.index);
                self.remove_kmr(key, &record);
                self.close_kmr(node, index)?;
            } else {
                self.records.delete(due);
            }
            swept += 1;
        }
        Ok(Said::Done(swept))
    }

    /// A root key has ended: what was made with it ends, too.
    fn close_kmr(&mut self, node: M2mNodeId, index: u32) -> Result<(), Malformed> {
        self.closed.push(v1::Closed {
            node: node.0.to_vec().into(),
            key: Some((&KeyRef::Kmr { node, index }).into()),
            ..Default::default()
        });
        for key in self.records.keys(place::connections_of(node), CONNECTIONS_MAX + 1)? {
            let Some(number) = place::number_of(&key) else { continue };
            let record: Option<v1::ConnectionRecord> = find(self.records, &place::connection(number))?;
            if record.is_some_and(|record| record.kmr_index == Some(index)) {
                self.end_connection(number)?;
            }
        }
        Ok(())
    }

    fn close_node(&mut self, node: M2mNodeId) {
        self.closed.push(v1::Closed { node: node.0.to_vec().into(), ..Default::default() });
    }

    fn end_connection(&mut self, number: u64) -> Result<(), Malformed> {
        let key = place::connection(number);
        let Some(record) = find::<_, v1::ConnectionRecord>(self.records, &key)? else { return Ok(()) };
        let node = node_id(&record.node)?;
        self.records.delete(place::fingerprint(&record.fingerprint));
        self.records.delete(place::due(record.expires_ms, &key));
        self.records.delete(place::connection_of(node, record.created_ms, number));
        self.records.delete(key);
        self.closed.push(v1::Closed {
            node: record.node,
            key: Some((&KeyRef::Kmc { connection: number, index: record.index }).into()),
            ..Default::default()
        });
        Ok(())
    }
}

/// When a root key's record may go: a pending one that nobody used, or at the end of its life.
fn dies(record: &v1::KmrRecord) -> i64 {
    match record.pending_until_ms {
        0 => record.expires_ms,
        pending => pending.min(record.expires_ms),
    }
}

/// Whether a root key may not be used (any more).
pub(super) fn ended(record: &v1::KmrRecord, now: i64) -> bool {
    !matches!(record.state(), KmrState::Pending | KmrState::Active) || dies(record) <= now
}

mod tokens;

#[cfg(test)]
mod tests;
