//! What an operator asks: import, list, rotate, revoke.

use super::{
    Inner, KeysError,
    answer::{NewKmr, secret},
    audit::Event,
    kek::Secret,
    place,
    replica::scan,
};
use banyan_model::security::{KeyRef, M2mNodeId};
use banyan_proto::{
    convert::node_id,
    v1::{self, KmrState, keys_command},
};

/// Keys of one import.
const IMPORT_MAX: usize = 1_000;
/// Nodes of one answer.
const LIST_MAX: u32 = 1_000;

impl Inner {
    pub(super) async fn import(&self, import: v1::ImportKeys) -> Result<v1::ImportedKeys, KeysError> {
        let v1::ImportKeys { keys, source } = import;
        if keys.len() > IMPORT_MAX {
            return Err(KeysError::Refused(format!("more than {IMPORT_MAX} keys at once")));
        }
        let mut refused = Vec::with_capacity(keys.len());
        for key in keys {
            refused.push(match self.import_one(key, &source).await {
                Ok(()) => String::new(),
                Err(KeysError::Refused(why)) => why,
                // The whole is sent again, and what was taken is taken.
                Err(error) => return Err(error),
            });
        }
        Ok(v1::ImportedKeys { refused })
    }

    async fn import_one(&self, provisioned: v1::ProvisionedKey, source: &str) -> Result<(), KeysError> {
        let v1::ProvisionedKey { node, index, kmr, expires_ms, scl_id, alias } = provisioned;
        let node = node_id(&node)?;
        let bind = v1::BindNode { node: node.0.to_vec().into(), scl_id, alias };
        let mut event = Event {
            what: "import".to_owned(),
            node: node.to_string(),
            source: source.to_owned(),
            ..Event::default()
        };
        if kmr.is_empty() {
            let bound = async { self.propose(keys_command::Kind::BindNode(bind)).await.map(drop) };
            return self.audited(event, bound).await;
        }
        event.key = KeyRef::Kmr { node, index }.to_string();
        let key = secret(&kmr)?;
        let new = NewKmr {
            node,
            key: &key,
            index: Some(index),
            state: KmrState::Active,
            expires_ms,
            created_by: "import".to_owned(),
            bind: Some(bind),
        };
        self.audited(event, self.add_kmr(new)).await.map(drop)
    }

    pub(super) fn list(&self, list: &v1::ListKeys) -> Result<v1::ListedKeys, KeysError> {
        if !list.only.is_empty() {
            let node = node_id(&list.only)?;
            let nodes = self.listed(node)?.into_iter().collect();
            return Ok(v1::ListedKeys { nodes, more: false });
        }
        let after = if list.after.is_empty() { None } else { Some(node_id(&list.after)?) };
        let limit = list.limit.clamp(1, LIST_MAX) as usize;
        let (from, to) = place::nodes_after(after);
        let keys = scan(&self.state.view(), &from, &to, limit + 1)?;
        let more = keys.len() > limit;
        let mut nodes = Vec::with_capacity(limit);
        for node in keys.iter().take(limit).filter_map(|key| place::node_of(key)) {
            nodes.extend(self.listed(node)?);
        }
        Ok(v1::ListedKeys { nodes, more })
    }

    fn listed(&self, node: M2mNodeId) -> Result<Option<v1::ListedNode>, KeysError> {
        let Some(of_node) = self.find::<v1::NodeRecord>(&place::node(node))? else { return Ok(None) };
        let kmrs = self.kmrs(node)?.into_iter().map(|record| v1::ListedKmr {
            index: record.index,
            state: record.state,
            expires_ms: record.expires_ms,
            created_ms: record.created_ms,
            created_by: record.created_by,
        });
        let (from, to) = place::connections_of(node);
        let keys = scan(&self.state.view(), &from, &to, usize::MAX)?;
        let mut connections = Vec::with_capacity(keys.len());
        for number in keys.iter().filter_map(|key| place::number_of(key)) {
            let record: Option<v1::ConnectionRecord> = self.find(&place::connection(number))?;
            connections.extend(record.map(|record| v1::ListedConnection {
                connection: record.connection,
                kmr_index: record.kmr_index,
                expires_ms: record.expires_ms,
                created_ms: record.created_ms,
            }));
        }
        Ok(Some(v1::ListedNode {
            node: node.0.to_vec().into(),
            scl_id: of_node.scl_id,
            alias: of_node.alias,
            barred: of_node.barred,
            kmrs: kmrs.collect(),
            connections,
        }))
    }

    pub(super) async fn rotate(&self, rotate: v1::RotateKey) -> Result<v1::RotatedKey, KeysError> {
        let node = node_id(&rotate.node)?;
        let of_node: Option<v1::NodeRecord> = self.find(&place::node(node))?;
        let of_node = of_node.ok_or(KeysError::Refused("the node is not known".to_owned()))?;
        let key = Secret::new(rand::random());
        let event = Event {
            what: "rotate".to_owned(),
            node: node.to_string(),
            source: rotate.source,
            ..Event::default()
        };
        let new = NewKmr {
            node,
            key: &key,
            index: None,
            state: KmrState::Pending,
            expires_ms: 0,
            created_by: "rotate".to_owned(),
            bind: None,
        };
        let record = self.audited(event, self.add_kmr(new)).await?;
        Ok(v1::RotatedKey {
            kmr: key.to_vec().into(),
            index: record.index,
            expires_ms: record.expires_ms,
            scl_id: Some(of_node.scl_id),
        })
    }

    pub(super) async fn revoke(&self, revoke: v1::RevokeKeys) -> Result<(), KeysError> {
        let v1::RevokeKeys { node, index, source } = revoke;
        let of = node_id(&node)?;
        let key = index.map(|index| KeyRef::Kmr { node: of, index }.to_string()).unwrap_or_default();
        let event =
            Event { what: "revoke".to_owned(), node: of.to_string(), key, source, ..Event::default() };
        let revoked =
            async { self.propose(keys_command::Kind::Revoke(v1::Revoke { node, index })).await.map(drop) };
        self.audited(event, revoked).await
    }
}
