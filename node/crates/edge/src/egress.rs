//! The way out: one stream to each node, over which it hands out deliveries and learns what became of them.
//!
//! A delivery belongs to the node that handed it out. Whenever a stream ends, for whatever reason, the node takes back
//! what was not answered on it; so nothing is stored here, and a delivery that was cut off is made again: at least
//! once, never lost.

mod delivery;
mod stream;

pub(crate) use delivery::Courier;

use crate::{Config, config::millis, metrics::Metrics};
use banyan_client::Client;
use banyan_model::placement::NodeId;
use std::{collections::BTreeMap, sync::Arc};
use stream::Stream;
use tokio::{sync::watch, task::JoinHandle, time::timeout_at};
use tracing::warn;

/// Keeps a stream to every member of the map until the edge stops, then lets deliveries in flight end.
pub(crate) async fn run(
    client: Client,
    courier: Courier,
    metrics: Arc<Metrics>,
    config: &Config,
    mut stopping: watch::Receiver<bool>,
) {
    let stream = Arc::new(Stream {
        client: client.clone(),
        courier: Arc::new(courier),
        metrics,
        edge: format!("{:016x}", rand::random::<u64>()),
        slots: config.egress.slots,
    });
    let mut maps = client.map();
    let mut streams: BTreeMap<NodeId, JoinHandle<()>> = BTreeMap::new();
    while !*stopping.borrow() {
        let members =
            maps.borrow_and_update().as_ref().map(|map| map.members.keys().copied().collect::<Vec<_>>());
        // A stream to a member that left has ended by itself, or will.
        streams.retain(|_, task| !task.is_finished());
        for node in members.unwrap_or_default() {
            streams.entry(node).or_insert_with(|| {
                tokio::spawn(stream::keep_open(Arc::clone(&stream), node, stopping.clone()))
            });
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => {}
            changed = maps.changed() => if changed.is_err() { return },
        }
    }
    let deadline = tokio::time::Instant::now() + millis(config.drain_timeout_ms);
    for (node, mut task) in streams {
        if timeout_at(deadline, &mut task).await.is_err() {
            warn!(
                node = node.0,
                "deliveries were still in flight when the edge stopped; the node makes them again"
            );
            task.abort();
        }
    }
}
