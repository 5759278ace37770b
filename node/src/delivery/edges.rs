//! The edges that are connected, and which of them carries what.
//!
//! An edge said how many jobs it takes at once. The next job goes to the edge with the largest share of free slots; so
//! a slow one gets less and a new one is used at once. When an edge's stream ends, what it had not answered goes to
//! another.

use banyan_proto::v1::{DeliveryJob, DeliveryResult};
use futures_util::Stream;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// More slots than this an edge is not believed to have.
const SLOTS_MAX: u32 = 65_536;
/// How many edges may lose a job before it counts as failed.
const EDGES_PER_TRY: usize = 3;

/// The edges that are connected to this node; cheap to clone.
#[derive(Clone, Default)]
pub struct Edges {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// A slot became free.
    room: Notify,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    next_edge: u64,
    next_job: u64,
    edges: BTreeMap<u64, Edge>,
}

struct Edge {
    slots: u32,
    /// The number of the last job it got, so that equals take turns.
    last: u64,
    /// Room for `slots` jobs, so that one with a free slot always takes one.
    jobs: mpsc::Sender<DeliveryJob>,
    unanswered: HashMap<u64, oneshot::Sender<DeliveryResult>>,
}

impl Edge {
    fn free(&self) -> u64 {
        u64::from(self.slots).saturating_sub(self.unanswered.len() as u64)
    }
}

impl Edges {
    /// An edge opened its stream. When either half is dropped the edge is gone.
    pub fn attach(&self, name: &str, slots: u32) -> (Jobs, Results) {
        let slots = slots.clamp(1, SLOTS_MAX);
        let (jobs, receiver) = mpsc::channel(slots as usize);
        let id = {
            let mut state = self.inner.state.lock();
            state.next_edge += 1;
            let id = state.next_edge;
            state.edges.insert(id, Edge { slots, last: 0, jobs, unanswered: HashMap::new() });
            self.inner.count.send_replace(state.edges.len());
            id
        };
        self.inner.room.notify_waiters();
        tracing::info!(edge = name, slots, "edge takes deliveries");
        let end = |_| End { edges: self.clone(), id };
        (Jobs { receiver, _end: end(()) }, Results { end: end(()) })
    }

    /// How many are connected, and every change of it.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.inner.count.subscribe()
    }

    /// Has an edge carry a job out, and waits for the result, at most `limit` from when an edge took it. `None`: there
    /// is no edge, or none answered.
    pub(super) async fn deliver(&self, job: &DeliveryJob, limit: Duration) -> Option<DeliveryResult> {
        for _ in 0..EDGES_PER_TRY {
            let result = self.hand_out(job).await?;
            match tokio::time::timeout(limit, result).await {
                Ok(Ok(result)) => return Some(result),
                // The stream ended: to the next one.
                Ok(Err(_)) => {}
                // The edge has it still: its slot stays taken until it answers.
                Err(_) => return None,
            }
        }
        None
    }

    /// Gives a job to an edge; waits for a free slot. `None`: there is no edge.
    async fn hand_out(&self, job: &DeliveryJob) -> Option<oneshot::Receiver<DeliveryResult>> {
        loop {
            let mut room = std::pin::pin!(self.inner.room.notified());
            room.as_mut().enable();
            {
                let mut state = self.inner.state.lock();
                if state.edges.is_empty() {
                    return None;
                }
                if let Some(result) = state.hand_out(job) {
                    return Some(result);
                }
            }
            room.await;
        }
    }

    fn answered(&self, edge: u64, result: DeliveryResult) {
        let waiting = {
            let mut state = self.inner.state.lock();
            state.edges.get_mut(&edge).and_then(|edge| edge.unanswered.remove(&result.job))
        };
        let Some(waiting) = waiting else {
            return tracing::debug!(job = result.job, "a result that nobody waits for");
        };
        // Whoever waited may have given up.
        let _ = waiting.send(result);
        self.inner.room.notify_one();
    }

    fn detach(&self, id: u64) {
        let gone = {
            let mut state = self.inner.state.lock();
            let gone = state.edges.remove(&id);
            self.inner.count.send_replace(state.edges.len());
            gone
        };
        if let Some(gone) = gone {
            tracing::info!(given_back = gone.unanswered.len(), "an edge's stream ended");
            drop(gone);
            self.inner.room.notify_waiters();
        }
    }
}

impl State {
    fn hand_out(&mut self, job: &DeliveryJob) -> Option<oneshot::Receiver<DeliveryResult>> {
        let number = self.next_job + 1;
        let share = |edge: &Edge| edge.free() * u64::from(SLOTS_MAX) / u64::from(edge.slots);
        let edge = self
            .edges
            .values_mut()
            .filter(|edge| edge.free() > 0)
            .max_by_key(|edge| (share(edge), std::cmp::Reverse(edge.last)))?;
        edge.jobs.try_send(DeliveryJob { job: number, ..job.clone() }).ok()?;
        self.next_job = number;
        edge.last = number;
        let (sender, receiver) = oneshot::channel();
        edge.unanswered.insert(number, sender);
        Some(receiver)
    }
}

/// What an edge is to deliver; ends when the edge is detached.
pub struct Jobs {
    receiver: mpsc::Receiver<DeliveryJob>,
    _end: End,
}

impl Stream for Jobs {
    type Item = DeliveryJob;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DeliveryJob>> {
        self.receiver.poll_recv(cx)
    }
}

/// Where an edge's results go.
pub struct Results {
    end: End,
}

impl Results {
    /// Hands in a result; its job's slot is free again.
    pub fn received(&self, result: DeliveryResult) {
        self.end.edges.answered(self.end.id, result);
    }
}

/// Detaches the edge when it goes.
struct End {
    edges: Edges,
    id: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        self.edges.detach(self.id);
    }
}
