//! Long listings: the leader is asked for a page when the connection has taken the one before (decision 19).
//!
//! Each page is a RETRIEVE of its own, authorised again, by whoever leads then: nothing but the name where the next page
//! begins is kept between two of them, and that is kept here. A page that does not come ends the connection.
//!
//! Invariant: a listing has its place until its last page was taken or its connection is gone.

use banyan_binding::handler::{BrokenOff, Page, Pages};
use banyan_client::Client;
use banyan_model::{
    Body, RequestPrimitive, ResponsePrimitive, StatusCode, Value,
    primitive::{ListPlace, Listing},
};
use futures_util::stream;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::debug;

/// When somebody who found no room may come again, milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

/// The listings of this edge.
#[derive(Clone)]
pub(crate) struct Listings {
    room: Arc<Semaphore>,
    /// How long a page may take.
    timeout: Duration,
}

/// A listing that has further pages.
struct Underway {
    client: Client,
    request: RequestPrimitive,
    next: Option<ListPlace>,
    timeout: Duration,
    _place: OwnedSemaphorePermit,
}

impl Listings {
    pub(crate) fn new(listings_max: usize, timeout: Duration) -> Listings {
        let room = Arc::new(Semaphore::new(listings_max.min(Semaphore::MAX_PERMITS)));
        Listings { room, timeout }
    }

    /// What follows the first page of `request`; `None`: there is no room for it.
    pub(crate) fn rest(&self, client: &Client, request: RequestPrimitive, next: ListPlace) -> Option<Pages> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let (client, timeout) = (client.clone(), self.timeout);
        let underway = Underway { client, request, next: Some(next), timeout, _place: place };
        Some(Pages::new(stream::try_unfold(underway, Underway::step)))
    }
}

/// The answer when there is no room.
pub(crate) fn full() -> ResponsePrimitive {
    ResponsePrimitive {
        info: "too many long listings at once".to_owned(),
        retry_after_ms: Some(RETRY_AFTER_MS),
        ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
    }
}

impl Underway {
    async fn step(mut self) -> Result<Option<(Page, Underway)>, BrokenOff> {
        let Some(place) = self.next.take() else { return Ok(None) };
        match self.page(place).await {
            Ok(page) => Ok(Some((page, self))),
            Err(why) => {
                debug!(target = %self.request.target, why, "a listing broke off");
                Err(BrokenOff(why))
            }
        }
    }

    async fn page(&mut self, place: ListPlace) -> Result<Page, String> {
        self.request.listing = Listing::From(place.clone());
        let answer = self.client.submit(self.request.clone(), Instant::now() + self.timeout).await;
        let answer = answer.map_err(|failure| failure.to_string())?;
        match (answer.status, answer.body) {
            (StatusCode::Ok, Body::Attribute { name, value: Value::References(entries) })
                if name == place.list && answer.next.as_ref() != Some(&place) =>
            {
                self.next = answer.next;
                Ok(Page { list: name, entries })
            }
            (StatusCode::Ok, _) => Err(format!("the answer is no page of {}", place.list)),
            (status, _) => Err(format!("{status:?} {}", answer.info)),
        }
    }
}
