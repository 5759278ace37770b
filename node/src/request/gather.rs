//! The members of a root collection: every shard has some of them.
//!
//! A page asks each shard for its share after the same name and ends where the first of them does, so what is held here
//! is a page and not the collection, whoever leads the shards between two pages.

use super::Desk;
use crate::subtree::ShardError;
use banyan_client::RequestError;
use banyan_model::{
    Body, RequestPrimitive, ResourceType, ResponsePrimitive, StatusCode, Value,
    placement::ShardId,
    primitive::{ListPlace, Listing},
    query::members,
    tree::{Member, Members},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::Instant;

/// Members that a shard is asked for at least: fewer would be more questions than answers.
const SHARE_MIN: usize = 16;

impl Desk {
    /// Completes the answer of sclBase's own shard by members of all shards.
    pub(super) async fn with_members(
        &self,
        mut response: ResponsePrimitive,
        collection: &'static str,
        request: &RequestPrimitive,
        deadline: Instant,
    ) -> ResponsePrimitive {
        let of = ResourceType::from_name(collection);
        let lists = match (&response.body, &request.listing, of) {
            (Body::Representation(body), _, Some(of)) if body.resource_type == of => members::lists(of, None),
            // attributeAccessor may ask for one of the lists alone.
            (Body::Attribute { name, value: Value::References(_) }, listing, Some(of)) => {
                let alone = !matches!(listing, Listing::From(_)) || has_accessor(request);
                members::lists(of, alone.then_some((name.as_str(), &[][..])))
            }
            _ => return response,
        };
        if response.status != StatusCode::Ok {
            return response;
        }
        let most = self.inner.config.members_max;
        let page = match &request.listing {
            Listing::Whole => self.all_members(collection, most, deadline).await,
            Listing::First => self.page_of_members(collection, None, deadline).await,
            Listing::From(ListPlace { after, .. }) => {
                self.page_of_members(collection, after.as_deref(), deadline).await
            }
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => return error.response(),
        };
        if request.listing == Listing::Whole && page.more {
            return members::too_long(most).into();
        }
        let (listed, next) = members::cut(&lists, &request.listing, page);
        members::put_members(&mut response, listed);
        response.next = next;
        response
    }

    /// All members, as long as they are not more than `most`.
    async fn all_members(
        &self,
        collection: &str,
        most: usize,
        deadline: Instant,
    ) -> Result<Members, RequestError> {
        let mut all = Members::default();
        loop {
            let after = all.members.last().map(|(_, member)| member.id.clone());
            let page = self.page_of_members(collection, after.as_deref(), deadline).await?;
            all.members.extend(page.members);
            all.more = page.more;
            if all.members.len() > most {
                return Ok(Members { more: true, ..all });
            }
            if !all.more {
                return Ok(all);
            }
        }
    }

    /// The members after a name, from all shards.
    async fn page_of_members(
        &self,
        collection: &str,
        after: Option<&str>,
        deadline: Instant,
    ) -> Result<Members, RequestError> {
        let view = self.inner.views.borrow().clone();
        let shards: Vec<ShardId> =
            view.iter().flat_map(|view| &view.map.shards.shards).map(|shard| shard.id).collect();
        // Names are spread over the shards by their hash: each has about as many of the next ones.
        let share = (members::PAGE.members / shards.len().max(1)).max(SHARE_MIN);
        let parts: Vec<Vec<Member>> = stream::iter(shards)
            .map(|shard| self.share_of(shard, collection, after, share, deadline))
            .buffer_unordered(self.inner.config.gather_max.max(1))
            .try_collect()
            .await?;
        Ok(members::joined(parts, share))
    }

    async fn share_of(
        &self,
        shard: ShardId,
        collection: &str,
        after: Option<&str>,
        share: usize,
        deadline: Instant,
    ) -> Result<Vec<Member>, RequestError> {
        if let Some(here) = self.inner.shards.get(shard) {
            match here.members(collection, after, share) {
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
        let limit = u32::try_from(share).unwrap_or(u32::MAX);
        self.inner.client.members(shard, collection, after, limit, deadline.into()).await
    }
}

fn has_accessor(request: &RequestPrimitive) -> bool {
    request.filter.as_ref().is_ok_and(|filter| filter.attribute_accessor.is_some())
}
