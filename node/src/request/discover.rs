//! Discovery over the cluster: every shard is asked for what it has, and filters it by what the entity may know of.

use super::Desk;
use crate::subtree::ShardError;
use banyan_client::RequestError;
use banyan_model::{
    Entity, Path, Refusal, RequestPrimitive, ResponsePrimitive, StatusCode,
    placement::ShardId,
    query::{self, Cursor, Search},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeSet, time::Instant};

/// Addresses that are asked for at once; a frame holds them easily.
const PAGE: usize = 1_000;

impl Desk {
    /// Completes sclBase's own answer by what all shards have. Held here: for each shard that is asked at the moment,
    /// and for the answer, one address more than it may hold, which says that there is more.
    pub(super) async fn with_discovered(
        &self,
        response: ResponsePrimitive,
        request: &RequestPrimitive,
        deadline: Instant,
    ) -> ResponsePrimitive {
        let view = self.inner.views.borrow().clone();
        let (Some(view), Ok(criteria), StatusCode::Ok) = (view, &request.filter, response.status) else {
            return response;
        };
        let search = match Search::new(&view.map.scl, criteria) {
            Ok(search) => search,
            Err(refusal) => return refusal.into(),
        };
        let asked = criteria.max_size.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let most = asked.min(self.inner.config.discovered_max);
        let shards: Vec<ShardId> = if search.prefix.holds_subtrees() {
            view.map.shards.shards.iter().map(|shard| shard.id).collect()
        } else {
            view.map.shards.shard_of(search.prefix.slot()).map(|shard| shard.id).into_iter().collect()
        };
        match self.discover(&request.requesting_entity, &search, shards, most, deadline).await {
            Ok(mut found) => {
                let truncated = found.len() > most;
                while found.len() > most {
                    found.pop_last();
                }
                query::discovered(found.into_iter().collect(), truncated)
            }
            Err(error) => error.response(),
        }
    }

    /// Where a request to `discovery` is to be answered whose searchPrefix is not ours; `None`: it is.
    pub(super) async fn discovered_elsewhere(
        &self,
        request: &RequestPrimitive,
        deadline: Instant,
    ) -> Option<ResponsePrimitive> {
        let (scl, criteria) = (self.scl()?, request.filter.as_ref().ok()?);
        let prefix = Search::elsewhere(&scl, criteria)?;
        Some(match self.inner.client.route(prefix, deadline.into()).await {
            Ok(Some(routed)) => {
                let there = Path::scl_base().child(routed.scl).child("discovery").to_string();
                ResponsePrimitive { retarget: Some(there), ..ResponsePrimitive::status(StatusCode::Ok) }
            }
            Ok(None) => {
                let why = "searchPrefix: neither below this sclBase nor of a registered SCL";
                Refusal::new(StatusCode::NotFound, why).into()
            }
            Err(error) => error.response(),
        })
    }

    /// At least one more than `most` if there are so many. Each once: an original may have several announcements.
    async fn discover(
        &self,
        entity: &Entity,
        search: &Search,
        shards: Vec<ShardId>,
        most: usize,
        deadline: Instant,
    ) -> Result<BTreeSet<String>, RequestError> {
        let mut parts = stream::iter(shards)
            .map(|shard| self.discovered_in(shard, entity, search, most, deadline))
            .buffer_unordered(self.inner.config.gather_max.max(1));
        let mut found = BTreeSet::new();
        while found.len() <= most
            && let Some(part) = parts.try_next().await?
        {
            found.extend(part);
        }
        Ok(found)
    }

    async fn discovered_in(
        &self,
        shard: ShardId,
        entity: &Entity,
        search: &Search,
        most: usize,
        deadline: Instant,
    ) -> Result<BTreeSet<String>, RequestError> {
        let (mut found, mut from) = (BTreeSet::new(), None);
        loop {
            let limit = (most + 1 - found.len()).min(PAGE);
            let (uris, next) = self.discover_page(shard, entity, search, from, limit, deadline).await?;
            found.extend(uris);
            from = next;
            if from.is_none() || found.len() > most {
                return Ok(found);
            }
        }
    }

    async fn discover_page(
        &self,
        shard: ShardId,
        entity: &Entity,
        search: &Search,
        from: Option<Cursor>,
        limit: usize,
        deadline: Instant,
    ) -> Result<(Vec<String>, Option<Cursor>), RequestError> {
        if let Some(here) = self.inner.shards.get(shard) {
            match here.discover(entity, search, from.clone(), limit, deadline).await {
                Ok(page) => return Ok(page),
                // Another node leads.
                Err(ShardError::NotLeader { .. }) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(shard = shard.0, error, "the leader is asked what is discovered");
                }
            }
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.inner.client.discover(shard, entity, search, from.as_ref(), limit, deadline.into()).await
    }
}
