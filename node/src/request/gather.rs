//! The members of a root collection: every shard has some of them.

use super::Desk;
use crate::subtree::ShardError;
use banyan_client::RequestError;
use banyan_model::{
    Body, Refusal, ResourceType, ResponsePrimitive, StatusCode, Value, placement::ShardId, query,
    value::NamedReference,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::Instant;

/// Members that are asked for at once; a frame holds them easily.
const PAGE: u32 = 1_000;

type Members = Vec<(ResourceType, NamedReference)>;

/// Why a collection cannot be listed.
enum Unlisted {
    TooMany,
    Request(RequestError),
}

impl Desk {
    /// Completes the answer of sclBase's own shard by the members of all shards.
    pub(super) async fn with_members(
        &self,
        mut response: ResponsePrimitive,
        collection: &'static str,
        deadline: Instant,
    ) -> ResponsePrimitive {
        let lists = match &response.body {
            Body::Representation(body) => ResourceType::from_name(collection) == Some(body.resource_type),
            // attributeAccessor may ask for one of the lists alone.
            Body::Attribute { value, .. } => matches!(value, Value::References(_)),
            _ => false,
        };
        if response.status != StatusCode::Ok || !lists {
            return response;
        }
        match self.gather(collection, deadline).await {
            Ok(members) => {
                query::merge_members(&mut response, members);
                response
            }
            Err(Unlisted::TooMany) => Refusal::new(
                StatusCode::Forbidden,
                format!(
                    "{collection}: more than {} members cannot be listed in one answer",
                    self.inner.config.members_max
                ),
            )
            .into(),
            Err(Unlisted::Request(error)) => error.response(),
        }
    }

    async fn gather(&self, collection: &str, deadline: Instant) -> Result<Members, Unlisted> {
        let view = self.inner.views.borrow().clone();
        let shards: Vec<ShardId> =
            view.iter().flat_map(|view| &view.map.shards.shards).map(|shard| shard.id).collect();
        let mut parts = stream::iter(shards)
            .map(|shard| self.members_of(shard, collection, deadline))
            .buffer_unordered(self.inner.config.gather_max.max(1));
        let mut members = Members::new();
        while let Some(part) = parts.try_next().await? {
            members.extend(part);
            if members.len() > self.inner.config.members_max {
                return Err(Unlisted::TooMany);
            }
        }
        Ok(members)
    }

    /// The members of one shard, page by page.
    async fn members_of(
        &self,
        shard: ShardId,
        collection: &str,
        deadline: Instant,
    ) -> Result<Members, Unlisted> {
        let mut members = Members::new();
        loop {
            let after = members.last().map(|(_, member): &(_, NamedReference)| member.id.clone());
            let page = self.page_of(shard, collection, after.as_deref(), deadline).await;
            let page = page.map_err(Unlisted::Request)?;
            let is_last = page.len() < PAGE as usize;
            members.extend(page);
            if members.len() > self.inner.config.members_max {
                return Err(Unlisted::TooMany);
            }
            if is_last {
                return Ok(members);
            }
        }
    }

    async fn page_of(
        &self,
        shard: ShardId,
        collection: &str,
        after: Option<&str>,
        deadline: Instant,
    ) -> Result<Members, RequestError> {
        if let Some(here) = self.inner.shards.get(shard) {
            match here.members(collection, after, PAGE as usize) {
                Ok(page) => return Ok(page),
                // Another node leads.
                Err(ShardError::NotLeader { .. }) => {}
                Err(error) => {
                    tracing::debug!(
                        shard = shard.0,
                        error = &error as &dyn std::error::Error,
                        "members are asked for through the leader"
                    );
                }
            }
        }
        self.inner.client.members(shard, collection, after, PAGE, deadline.into()).await
    }
}
