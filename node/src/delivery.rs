//! Emptying the outbox: the only way out of the tree.
//!
//! For every shard that this node leads a courier knows the queues that hold something, and works them off one entry
//! after the other: a notify goes to an edge with a free slot, a message to another subtree goes by the client. What
//! was delivered, or refused for good, is acknowledged through the log, and only that removes it. So whatever breaks
//! in between is delivered again by whoever leads then: at least once, in order per subscription.
//!
//! What a contact's answer means (D-17):
//!
//! | answer | what happens |
//! | --- | --- |
//! | 2xx | the entries are acknowledged |
//! | 401, 403, 404, 410 | the subscription ends, nobody is told |
//! | anything else, none at all | tried again, ever more seldom, until [`Config::give_up_after`] |
//!
//! While no edge is connected nothing is tried and nothing is given up: that is our failure, not the contact's.
//!
//! A request that was accepted to be answered later is carried out here, too: its queue needs no edge, only the answer
//! to a contact does.
//!
//! Invariants: at most one delivery of a queue is under way; at most [`Config::deliveries_max`] a node; what is in
//! memory of a queue is its path and a counter, its entries stay in the outbox.
//!
//! Standard: ETSI TS 102 690 and TS 102 921, resource `subscription` and primitive notify.

mod announcement;
mod attempt;
mod counters;
mod courier;
mod deferred;
mod edges;
mod forward;
mod inside;
mod outside;
mod revocation;
mod shard;
mod source;

#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use edges::{Edges, Jobs, Results};

use crate::{
    request::Desk,
    subtree::{ShardHandle, Shards},
};
use banyan_client::Client;
use banyan_model::placement::ShardId;
use courier::{Courier, Room};
use outside::EgressOutside;
use shard::ShardSource;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// Settings of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Deliveries under way at once on this node. Default 1,024.
    pub deliveries_max: usize,
    /// How long a contact may take to answer. Default 10 s.
    pub timeout: Duration,
    /// The pause after a first failure; it doubles with each further one. Default 500 ms.
    pub retry_min: Duration,
    /// The longest pause between two tries. Default 30 s.
    pub retry_max: Duration,
    /// How old a notification may get before a contact that does not take it loses its subscription. Default 24 h.
    pub give_up_after: Duration,
    /// How often every subscription is asked whether its subscriber may still read what it watches; zero: only when a
    /// right changes that this node knows of, and before each notify. Default 10 s.
    pub rights_check: Duration,
    /// Asynchronous requests that are carried out at once on this node. Default 256.
    pub carry_out_max: usize,
    /// How long an aggregation without delayTolerance collects what a group's members notify. Default 10 s.
    pub aggregation_window: Duration,
    /// `http(s)://host[:port]` of this SCL for other SCLs: what announcements link to. Default: `http://` and the first
    /// authority; without either nothing is announced.
    pub public_uri: Option<String>,
    /// The operator announces on his own: this SCL is the requestingEntity then. Default false.
    pub announce_all: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            deliveries_max: 1_024,
            timeout: Duration::from_secs(10),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            give_up_after: Duration::from_secs(24 * 3600),
            rights_check: Duration::from_secs(10),
            carry_out_max: 256,
            aggregation_window: Duration::from_secs(10),
            public_uri: None,
            announce_all: false,
        }
    }
}

/// How often shards are looked for that started since.
const LOOK: Duration = Duration::from_millis(200);

/// The couriers of this node.
pub struct Delivery {
    shards: Shards,
    desk: Desk,
    client: Client,
    room: Arc<Room>,
}

impl Delivery {
    /// Nothing is delivered before [`Delivery::run`]; edges may connect already, and what the desk sends out goes by them.
    pub fn new(config: Config, shards: Shards, desk: Desk, client: Client) -> Delivery {
        let room = Room::new(config.clone());
        desk.connect(Arc::new(EgressOutside { edges: room.edges.clone(), config }));
        Delivery { shards, desk, client, room: Arc::new(room) }
    }

    /// Where edges connect.
    pub fn edges(&self) -> Edges {
        self.room.edges.clone()
    }

    /// What was delivered so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.room.counters.clone()
    }

    /// Runs a courier for every shard that starts on this node. When `stopping` says so, what is under way ends first,
    /// and nothing more is begun.
    pub async fn run(&self, mut stopping: watch::Receiver<bool>) {
        let mut couriers = JoinSet::new();
        let mut known: BTreeSet<ShardId> = BTreeSet::new();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                _ = stopping.wait_for(|stopping| *stopping) => break,
                Some(ended) = couriers.join_next(), if !couriers.is_empty() => match ended {
                    Ok(shard) => {
                        known.remove(&shard);
                    }
                    // Its shard stays known: nothing of it is delivered until another node leads, and the log says why.
                    Err(panic) => tracing::error!(%panic, "a courier failed"),
                },
            }
            for handle in self.shards.all() {
                if known.insert(handle.id()) {
                    couriers.spawn(self.serve(handle, stopping.clone()));
                }
            }
        }
        while couriers.join_next().await.is_some() {}
    }

    /// Delivers for one shard until its replica stops.
    fn serve(
        &self,
        handle: ShardHandle,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ShardId> + Send + use<> {
        let (id, deliveries) = (handle.id(), handle.deliveries());
        let source = ShardSource { handle, desk: self.desk.clone(), client: self.client.clone() };
        let (changes, every) = (source.handle.right_changes(), self.room.config.rights_check);
        let source = Arc::new(source);
        let courier = Courier::new(source.clone(), self.room.clone());
        async move {
            tokio::select! {
                () = courier.run(deliveries, stopping) => {}
                () = revocation::run(&*source, every, changes) => {}
            }
            id
        }
    }
}
