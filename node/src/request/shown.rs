//! What the answer to an UPDATE shows besides what the log said.
//!
//! `apply` names no members: its cost follows the change. Where the schema can do without their list, the answer does,
//! too; where it cannot (parameters of a management object, a handful), they are read here once the write is done.

use super::{Desk, pending, response_of};
use crate::subtree::ShardHandle;
use banyan_model::{Body, Entity, Method, RequestPrimitive, ResponsePrimitive, StatusCode, query::members};
use banyan_proto::{convert, v1::answer::What};
use std::time::Instant;

impl Desk {
    /// Wraps the way back of a write so that it shows what it must.
    pub(super) fn showing(
        &self,
        request: &RequestPrimitive,
        shard: &ShardHandle,
        deadline: Instant,
        answer: pending::Answer,
    ) -> pending::Answer {
        let (Method::Update, Body::Representation(sent)) = (request.method, &request.body) else {
            return answer;
        };
        let lists = members::lists(sent.resource_type, None);
        let attributes = sent.resource_type.def().attributes;
        let is_required = |name: &str| attributes.iter().any(|a| a.field.name == name && a.field.min > 0);
        if !lists.iter().any(|(name, _)| is_required(name)) {
            return answer;
        }
        let (shard, path) = (shard.clone(), request.target.clone());
        Box::new(move |what| {
            let updated = match what {
                What::Response(bytes) => match convert::response_from_bytes(bytes.clone()) {
                    Ok(updated) if updated.status == StatusCode::Ok => updated,
                    _ => return answer(What::Response(bytes)),
                },
                what => return answer(what),
            };
            tokio::spawn(async move {
                // Whoever may write it was shown the rest of it.
                let issuer = Entity(shard.scl().base.clone());
                let retrieve = RequestPrimitive::new(Method::Retrieve, path, issuer);
                let read = shard.retrieve(&retrieve, deadline).await.ok();
                answer(response_of(&with_lists(updated, read)));
            });
        })
    }
}

/// Without the lists there is no document: what was written is written, and the answer says no more.
fn with_lists(mut updated: ResponsePrimitive, read: Option<ResponsePrimitive>) -> ResponsePrimitive {
    let read = read.and_then(|read| match read.body {
        Body::Representation(read) => Some(read),
        _ => None,
    });
    match (&mut updated.body, read) {
        (Body::Representation(shown), Some(mut read)) if shown.resource_type == read.resource_type => {
            for (list, _) in members::lists(read.resource_type, None) {
                if let Some(members) = read.remove(list) {
                    shown.set(list, members);
                }
            }
        }
        (body, _) => *body = Body::None,
    }
    updated
}
