//! What edges ask.

use super::{
    Inner, Keys, KeysError,
    audit::Event,
    closures::NONE_YET,
    kek::Secret,
    ledger, place,
    seal::{fingerprint, owner, seal},
};
use crate::clock;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use banyan_model::security::{KEY_OCTETS, KeyRef, M2mNodeId, PskIdentity};
use banyan_proto::{
    convert::{self, Malformed, node_id},
    v1::{self, KmrState, keys_answer::Kind as Answer, keys_command, keys_outcome, keys_question},
};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// How often a number that is taken is drawn again.
const DRAWS: usize = 8;
/// A bootstrapped key that nobody uses for this long is forgotten (security.md 3.1; ours).
pub(super) const PENDING_MS: i64 = 24 * 3_600_000;
/// Longer than this no poll is held.
const HOLD_MAX: Duration = Duration::from_secs(60);

impl Keys {
    /// Whether an edge may ask this.
    pub fn is_for_edges(question: &v1::KeysQuestion) -> bool {
        use keys_question::Kind;
        matches!(
            question.kind,
            Some(
                Kind::ResolveKey(_)
                    | Kind::Bootstrap(_)
                    | Kind::OpenConnection(_)
                    | Kind::AwaitClosures(_)
                    | Kind::Audit(_)
                    | Kind::ResolveToken(_)
            )
        )
    }

    /// Answers, if this node leads the group.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn answer(
        &self,
        question: v1::KeysQuestion,
        deadline: Instant,
    ) -> Result<v1::KeysAnswer, KeysError> {
        use keys_question::Kind;
        let inner = &*self.inner;
        inner.leading()?;
        let kind = match question.kind.ok_or(Malformed::Missing("question"))? {
            Kind::ResolveKey(question) => inner.resolve_key(question).await?.map(Answer::Resolved),
            Kind::Bootstrap(question) => Some(Answer::Bootstrapped(inner.bootstrap(question).await?)),
            Kind::OpenConnection(question) => Some(Answer::Opened(inner.open_connection(question).await?)),
            Kind::AwaitClosures(question) => {
                Some(Answer::Closures(inner.await_closures(question, deadline).await?))
            }
            Kind::Audit(event) => {
                inner.audit.record(&told(event)?).await?;
                None
            }
            Kind::ResolveToken(question) => inner.resolve_token(&question)?.map(Answer::Token),
            Kind::Import(keys) => Some(Answer::Imported(inner.import(keys).await?)),
            Kind::List(list) => Some(Answer::Listed(inner.list(&list)?)),
            Kind::Rotate(rotate) => Some(Answer::Rotated(inner.rotate(rotate).await?)),
            Kind::Revoke(revoke) => {
                inner.revoke(revoke).await?;
                None
            }
            Kind::CreateToken(create) => Some(Answer::TokenMade(inner.create_token(create).await?)),
            Kind::ListTokens(list) => Some(Answer::TokensListed(inner.list_tokens(&list)?)),
            Kind::RevokeToken(revoke) => Some(Answer::TokenRevoked(inner.revoke_token(revoke).await?)),
        };
        Ok(v1::KeysAnswer { kind })
    }
}

impl Inner {
    async fn resolve_key(&self, question: v1::ResolveKey) -> Result<Option<v1::ResolvedKey>, KeysError> {
        let v1::ResolveKey { identity, source } = question;
        let resolved = match self.named(&identity)? {
            Some(key) => self.usable(&key)?,
            None => None,
        };
        // Whether it is audited may take its time; what is told is what was true when it was asked.
        let shown = String::from_utf8_lossy(&identity).into_owned();
        match &resolved {
            Some(found) => {
                let event = Event {
                    what: "export".to_owned(),
                    result: "accepted".to_owned(),
                    node: shown_node(&found.node),
                    key: convert::key_ref(found.key.clone())?.to_string(),
                    source,
                    detail: String::new(),
                };
                self.audit.record(&event).await?;
            }
            None => {
                if let Some(without) = self.failures.line(clock::now()) {
                    let detail = match without {
                        0 => shown,
                        more => format!("{shown} (and {more} more failures without a line)"),
                    };
                    let (what, result) = ("resolve".to_owned(), "refused".to_owned());
                    self.audit.record(&Event { what, result, source, detail, ..Event::default() }).await?;
                }
            }
        }
        // A key that was revoked meanwhile must not be given out by who does not lead any more.
        self.leading()?;
        Ok(resolved)
    }

    /// The key that a PSK identity names, in the order of security.md 4.2: our form, the raw octets of the node's id,
    /// its digits, an alias.
    fn named(&self, identity: &[u8]) -> Result<Option<KeyRef>, KeysError> {
        let text = std::str::from_utf8(identity).ok();
        if let Some(identity) = text.and_then(PskIdentity::parse) {
            return Ok(Some(identity.key));
        }
        let raw = <[u8; 16]>::try_from(identity).ok().map(M2mNodeId);
        for node in raw.into_iter().chain(text.and_then(M2mNodeId::parse)) {
            if self.find::<v1::NodeRecord>(&place::node(node))?.is_some() {
                return self.newest(node);
            }
        }
        let aliased = self.state.view().get(&place::alias(identity)).map_err(super::replica::unreadable)?;
        match aliased {
            Some(node) => self.newest(node_id(&node)?),
            None => Ok(None),
        }
    }

    /// The newest root key of a node that may be used.
    fn newest(&self, node: M2mNodeId) -> Result<Option<KeyRef>, KeysError> {
        let now = clock::now().0;
        let in_use = |record: &v1::KmrRecord| !ledger::ended(record, now);
        let newest = self.kmrs(node)?.into_iter().filter(in_use).max_by_key(|record| {
            // One that was never used is not what an old device means.
            (record.state() == KmrState::Active, record.index)
        });
        Ok(newest.map(|record| KeyRef::Kmr { node, index: record.index }))
    }

    /// All root keys of a node.
    pub(super) fn kmrs(&self, node: M2mNodeId) -> Result<Vec<v1::KmrRecord>, KeysError> {
        let (from, to) = place::kmrs(node);
        let keys = super::replica::scan(&self.state.view(), &from, &to, usize::MAX)?;
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.extend(self.find::<v1::KmrRecord>(&key)?);
        }
        Ok(records)
    }

    /// The key of this name, if it may be used.
    fn usable(&self, key: &KeyRef) -> Result<Option<v1::ResolvedKey>, KeysError> {
        let now = clock::now().0;
        let (node, sealed, expires_ms) = match key {
            KeyRef::Kmr { node, index } => match self.find::<v1::KmrRecord>(&place::kmr(*node, *index))? {
                Some(record) if !ledger::ended(&record, now) => (*node, record.sealed, record.expires_ms),
                _ => return Ok(None),
            },
            KeyRef::Kmc { connection, index } => {
                match self.find::<v1::ConnectionRecord>(&place::connection(*connection))? {
                    Some(record) if record.index == *index && record.expires_ms > now => {
                        (node_id(&record.node)?, record.sealed, record.expires_ms)
                    }
                    _ => return Ok(None),
                }
            }
            KeyRef::Certificate(_) => return Ok(None),
        };
        let of_node: v1::NodeRecord = self.find(&place::node(node))?.unwrap_or_default();
        if of_node.barred {
            return Ok(None);
        }
        let secret = self.open(key, &sealed)?;
        Ok(Some(v1::ResolvedKey {
            secret: secret.to_vec().into(),
            key: Some(key.into()),
            node: node.0.to_vec().into(),
            scl_id: Some(of_node.scl_id).filter(|scl| !scl.is_empty()),
            expires_ms,
        }))
    }

    async fn bootstrap(&self, question: v1::Bootstrap) -> Result<v1::Bootstrapped, KeysError> {
        let v1::Bootstrap { node, kmr, certificate, source } = question;
        let (node, kmr) = (node_id(&node)?, secret(&kmr)?);
        let certificate: String = certificate.iter().map(|octet| format!("{octet:02x}")).collect();
        let event = Event {
            what: "bootstrap".to_owned(),
            node: node.to_string(),
            source,
            detail: format!("certificate {certificate}"),
            ..Event::default()
        };
        let new = NewKmr {
            node,
            key: &kmr,
            index: None,
            state: KmrState::Pending,
            expires_ms: 0,
            created_by: format!("bootstrap {certificate}"),
            bind: None,
        };
        let record = self.audited(event, self.add_kmr(new)).await?;
        let of_node: v1::NodeRecord = self.find(&place::node(node))?.unwrap_or_default();
        Ok(v1::Bootstrapped {
            index: record.index,
            expires_ms: record.expires_ms,
            mas_fqdn: self.config.mas_fqdn.clone(),
            scl_id: Some(of_node.scl_id),
        })
    }

    /// Adds a root key, under the next index if none is given. One that stands there already is the same.
    pub(super) async fn add_kmr(&self, new: NewKmr<'_>) -> Result<v1::KmrRecord, KeysError> {
        let NewKmr { node, key, index, state, expires_ms, created_by, bind } = new;
        let data_key = self.data_key()?;
        let now = clock::now().0;
        let expires_ms = match expires_ms {
            0 => now.saturating_add(millis(self.config.kmr_lifetime)),
            named if named <= now => return Err(KeysError::Refused("its lifetime has ended".to_owned())),
            named => named,
        };
        for _ in 0..DRAWS {
            let of_node: v1::NodeRecord = self.find(&place::node(node))?.unwrap_or_default();
            let next = of_node.last_index.checked_add(1);
            let drawn = index.or(next).ok_or(KeysError::Refused("no index is left".to_owned()))?;
            let name = KeyRef::Kmr { node, index: drawn };
            let record = v1::KmrRecord {
                node: node.0.to_vec().into(),
                index: drawn,
                sealed: seal(&data_key, &owner(&name), key)?.into(),
                expires_ms,
                state: state.into(),
                pending_until_ms: if state == KmrState::Pending { now + PENDING_MS } else { 0 },
                created_by: created_by.clone(),
                created_ms: now,
                fingerprint: fingerprint(&data_key, key).into(),
            };
            let add = v1::AddKmr { record: Some(record), bind: bind.clone() };
            match self.propose(keys_command::Kind::AddKmr(add)).await? {
                keys_outcome::Kind::Kmr(stands) if index.is_none_or(|index| index == stands) => {
                    let stored: Option<v1::KmrRecord> = self.find(&place::kmr(node, stands))?;
                    return stored.ok_or(KeysError::Unknown);
                }
                keys_outcome::Kind::Kmr(stands) => {
                    return Err(KeysError::Refused(format!("this key has index {stands}")));
                }
                keys_outcome::Kind::Taken(_) if index.is_some() => {
                    return Err(KeysError::Refused("another key has this index".to_owned()));
                }
                _ => {}
            }
        }
        Err(KeysError::Busy("several keys of this node are made at once"))
    }

    async fn open_connection(&self, question: v1::OpenConnection) -> Result<v1::OpenedConnection, KeysError> {
        let v1::OpenConnection { node, kmr_index, kmc, source } = question;
        let (node, kmc) = (node_id(&node)?, secret(&kmc)?);
        let by = kmr_index.map(|index| KeyRef::Kmr { node, index });
        let event = Event {
            what: "connection".to_owned(),
            node: node.to_string(),
            key: by.as_ref().map(ToString::to_string).unwrap_or_default(),
            source,
            ..Event::default()
        };
        self.audited(event, self.connect(node, kmr_index, by, &kmc)).await
    }

    async fn connect(
        &self,
        node: M2mNodeId,
        kmr_index: Option<u32>,
        by: Option<KeyRef>,
        kmc: &Secret,
    ) -> Result<v1::OpenedConnection, KeysError> {
        let wraps = match &by {
            Some(key) => {
                let resolved = self.usable(key)?;
                let used = resolved.ok_or(KeysError::Refused("the root key is not in use".to_owned()))?;
                secret(&used.secret)?
            }
            None => kmc.clone(),
        };
        let data_key = self.data_key()?;
        let now = clock::now().0;
        for _ in 0..DRAWS {
            let (connection, index) = (rand::random::<u64>(), 1);
            let name = KeyRef::Kmc { connection, index };
            let record = v1::ConnectionRecord {
                connection,
                index,
                node: node.0.to_vec().into(),
                sealed: seal(&data_key, &owner(&name), kmc)?.into(),
                expires_ms: now.saturating_add(millis(self.config.connection_lifetime)),
                kmr_index,
                created_ms: now,
                fingerprint: fingerprint(&data_key, kmc).into(),
            };
            let add = v1::AddConnection { record: Some(record) };
            match self.propose(keys_command::Kind::AddConnection(add)).await? {
                keys_outcome::Kind::Connection(stands) => {
                    let of_node: v1::NodeRecord = self.find(&place::node(node))?.unwrap_or_default();
                    return Ok(v1::OpenedConnection {
                        connection: stands.connection,
                        index: stands.index,
                        expires_ms: stands.expires_ms,
                        scl_id: of_node.scl_id,
                        wrapped_kmc: wrapped(&wraps, kmc)?.into(),
                        nscl_fqdn: self.config.nscl_fqdn.clone(),
                    });
                }
                keys_outcome::Kind::Taken(_) => {}
                _ => return Err(KeysError::Unknown),
            }
        }
        Err(KeysError::Busy("no number for a connection"))
    }

    async fn await_closures(
        &self,
        question: v1::AwaitClosures,
        deadline: Instant,
    ) -> Result<v1::Closures, KeysError> {
        let v1::AwaitClosures { after, hold_ms } = question;
        let hold = Duration::from_millis(hold_ms.into()).min(HOLD_MAX);
        let until = tokio::time::Instant::from_std(deadline.min(Instant::now() + hold));
        let mut newest = self.ring.newest();
        loop {
            let mut leadership = self.leading()?.leadership();
            leadership.mark_unchanged();
            newest.mark_unchanged();
            let count: Option<v1::ClosureCount> = self.find(&place::closures())?;
            let count = count.map_or(NONE_YET, |count| count.number);
            if let Some(closures) = self.ring.after(after, count) {
                return Ok(closures);
            }
            let changed = async {
                tokio::select! {
                    _ = newest.changed() => {}
                    _ = leadership.changed() => {}
                }
            };
            if timeout_at(until, changed).await.is_err() {
                return Ok(v1::Closures { number: after, ..Default::default() });
            }
        }
    }
}

/// A root key that is to be added.
pub(super) struct NewKmr<'a> {
    pub(super) node: M2mNodeId,
    pub(super) key: &'a Secret,
    /// `None`: the next one.
    pub(super) index: Option<u32>,
    pub(super) state: KmrState,
    /// 0: as long as the settings say.
    pub(super) expires_ms: i64,
    pub(super) created_by: String,
    pub(super) bind: Option<v1::BindNode>,
}

pub(super) fn secret(octets: &[u8]) -> Result<Secret, KeysError> {
    let mut secret = Secret::default();
    if octets.len() != KEY_OCTETS {
        return Err(KeysError::Refused(format!("a key has {KEY_OCTETS} octets")));
    }
    secret.copy_from_slice(octets);
    Ok(secret)
}

/// RFC 3394.
fn wrapped(kek: &Secret, key: &Secret) -> Result<Vec<u8>, KeysError> {
    let failed = |_| KeysError::Refused("the key cannot be wrapped".to_owned());
    let kek = AesKek::new(&AES_256, kek.as_ref()).map_err(failed)?;
    let mut output = [0; KEY_OCTETS + 8];
    Ok(kek.wrap(key.as_ref(), &mut output).map_err(failed)?.to_vec())
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn shown_node(octets: &[u8]) -> String {
    node_id(octets).map(|node| node.to_string()).unwrap_or_default()
}

/// An event that an edge tells of.
fn told(event: v1::AuditEvent) -> Result<Event, KeysError> {
    let v1::AuditEvent { what, node, key, source, result, detail } = event;
    let key = match key {
        Some(key) => convert::key_ref(Some(key))?.to_string(),
        None => String::new(),
    };
    Ok(Event { what, result, node: shown_node(&node), key, source, detail })
}
