//! Discovery in one shard: what the criteria select, as far as the entity may know of it.
//!
//! A step reads a bounded part of the index and lets others go on before the next one, so it runs where it is asked.
//! The rights of a step that live in other shards are fetched together, each once.

use super::{
    ShardError, ShardHandle, Source,
    authorise::{self, Leases, Sight},
};
use banyan_model::{
    Entity,
    query::{self, Candidate, Cursor, Search},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{collections::HashSet, time::Instant};

/// Entries of the index that one step looks at.
const VISITS_MAX: usize = 256;
/// Steps of one answer: whoever asks has a deadline, and goes on from where it ends.
const STEPS_MAX: usize = 32;
/// Rights that are asked for at once.
const RIGHTS_MAX: usize = 16;

impl ShardHandle {
    /// What a search finds from a place on: addresses, at most a step's more than `limit`, and where to go on if that
    /// was not all.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub async fn discover(
        &self,
        entity: &Entity,
        search: &Search,
        from: Option<Cursor>,
        limit: usize,
        deadline: Instant,
    ) -> Result<(Vec<String>, Option<Cursor>), ShardError> {
        let (mut uris, mut next) = (Vec::new(), from);
        for _ in 0..STEPS_MAX {
            let scl = &self.inner.scl;
            let page = self.inner.read(|view| query::discover(view, scl, search, next.take(), VISITS_MAX))?;
            uris.extend(self.visible(entity, page.candidates, deadline).await?);
            next = page.next;
            if next.is_none() || uris.len() >= limit {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok((uris, next))
    }

    /// Those that the entity may know of.
    async fn visible(
        &self,
        entity: &Entity,
        mut candidates: Vec<Candidate>,
        deadline: Instant,
    ) -> Result<Vec<String>, ShardError> {
        let (mut uris, mut leases) = (Vec::new(), Leases::new());
        while !candidates.is_empty() {
            let (mut undecided, mut missing) = (Vec::new(), HashSet::<Source>::new());
            self.inner.read(|view| {
                for candidate in candidates.drain(..) {
                    match authorise::sight(&self.inner, view, &candidate.governing, entity, &leases)? {
                        Sight::Visible => uris.push(candidate.uri),
                        Sight::Hidden => {}
                        Sight::Missing(source) => {
                            missing.insert(source);
                            undecided.push(candidate);
                        }
                    }
                }
                Ok(())
            })?;
            let fetched = missing.into_iter().map(|source| async move {
                let lease = self.fetch(&source, deadline).await?;
                Ok::<_, ShardError>((source, lease))
            });
            let fetched: Leases = stream::iter(fetched).buffer_unordered(RIGHTS_MAX).try_collect().await?;
            leases.extend(fetched);
            candidates = undecided;
        }
        Ok(uris)
    }
}
