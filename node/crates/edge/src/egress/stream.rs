//! One stream to one node: jobs in, results out, opened again with a growing pause for as long as the node is a member.

use super::Courier;
use crate::metrics::Metrics;
use banyan_client::{Client, TransportError};
use banyan_model::placement::NodeId;
use banyan_proto::v1::{
    DeliveryJob, EdgeToNode, EgressReady, NodeToEdge, edge_to_node::What, egress_client::EgressClient,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::{debug, info};

/// What all streams of an edge share.
pub(super) struct Stream {
    pub(super) client: Client,
    pub(super) courier: Arc<Courier>,
    pub(super) metrics: Arc<Metrics>,
    /// What this edge calls itself; new with each start.
    pub(super) edge: String,
    /// Jobs at once.
    pub(super) slots: u32,
}

/// A job carries one representation: the largest body, decoded, with room to spare.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the node may take to read the last results.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A stream that lived this long was sound: the next failure is a first one.
const SOUND_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("not reachable")]
    Connect(#[from] TransportError),
    #[error("{} {}", .0.code(), .0.message())]
    Status(Box<tonic::Status>),
    #[error("not opened in time")]
    Timeout,
    #[error("a delivery's task failed")]
    Delivery(#[from] tokio::task::JoinError),
}

impl From<tonic::Status> for StreamError {
    fn from(status: tonic::Status) -> StreamError {
        StreamError::Status(Box::new(status))
    }
}

/// Keeps a stream to a node open until the edge stops or the node is no member any more.
pub(super) async fn keep_open(stream: Arc<Stream>, node: NodeId, mut stopping: watch::Receiver<bool>) {
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        match stream.open(node, stopping.clone()).await {
            Ok(()) => debug!(node = node.0, "egress stream ended"),
            Err(failure) => {
                debug!(node = node.0, error = &failure as &dyn std::error::Error, "egress stream failed");
            }
        }
        let members = stream.client.map();
        let is_member = members.borrow().as_ref().is_some_and(|map| map.members.contains_key(&node));
        if *stopping.borrow() || !is_member {
            return;
        }
        if began.elapsed() >= SOUND_AFTER {
            pause = PAUSE_MIN;
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = sleep(pause.mul_f64(rand::random_range(0.5..1.5))) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Stream {
    /// Takes jobs until the stream ends or the edge stops; in the second case the deliveries in flight end first and
    /// their results are sent. Whatever ends this drops the deliveries that are left: the node makes them again.
    async fn open(&self, node: NodeId, stopping: watch::Receiver<bool>) -> Result<(), StreamError> {
        // Room for every result that can be on its way, so that no delivery waits for the node to read.
        let (results, outgoing) = mpsc::channel(self.slots as usize + 1);
        let ready = EgressReady { edge: self.edge.clone(), slots: self.slots };
        let opened = async {
            // The channel was just made with room for it.
            let _ = results.send(EdgeToNode { what: Some(What::Ready(ready)) }).await;
            let channel = self.client.connect(node).await?;
            let mut node = EgressClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok::<_, StreamError>(node.stream(ReceiverStream::new(outgoing)).await?.into_inner())
        };
        let mut jobs = timeout(OPEN_TIMEOUT, opened).await.map_err(|_| StreamError::Timeout)??;
        info!(node = node.0, slots = self.slots, "egress stream opened");
        let _open = self.metrics.stream_opens();

        let mut deliveries = JoinSet::new();
        let stopped = self.take_jobs(&mut jobs, &mut deliveries, &results, stopping).await?;
        if !stopped {
            return Ok(());
        }
        while let Some(delivered) = deliveries.join_next().await {
            delivered?;
        }
        drop(results);
        // The node ends its side once it has read the last result.
        let closed = timeout(CLOSE_TIMEOUT, async { while let Ok(Some(_)) = jobs.message().await {} });
        if closed.await.is_err() {
            debug!(node = node.0, "the node did not close the egress stream");
        }
        Ok(())
    }

    /// `true`: the edge stops; `false`: the node ended the stream.
    async fn take_jobs(
        &self,
        jobs: &mut Streaming<NodeToEdge>,
        deliveries: &mut JoinSet<()>,
        results: &mpsc::Sender<EdgeToNode>,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<bool, StreamError> {
        let slots = Arc::new(Semaphore::new(self.slots as usize));
        let mut slot = None;
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(true),
                Some(delivered) = deliveries.join_next(), if !deliveries.is_empty() => delivered?,
                // A node that hands out more than we said is read no further: the stream's window is its limit.
                Ok(free) = Arc::clone(&slots).acquire_owned(), if slot.is_none() => slot = Some(free),
                job = jobs.message(), if slot.is_some() => match job? {
                    None => return Ok(false),
                    Some(NodeToEdge { job: Some(job) }) => {
                        deliveries.spawn(self.deliver(job, slot.take(), results.clone()));
                    }
                    // A job of a later release; without its number it cannot even be answered.
                    Some(NodeToEdge { job: None }) => debug!("a frame without a job"),
                },
            }
        }
    }

    fn deliver(
        &self,
        job: DeliveryJob,
        slot: Option<OwnedSemaphorePermit>,
        results: mpsc::Sender<EdgeToNode>,
    ) -> impl Future<Output = ()> + use<> {
        let (courier, metrics) = (Arc::clone(&self.courier), Arc::clone(&self.metrics));
        async move {
            let (result, label) = courier.deliver(job).await;
            metrics.delivered(label);
            // A stream that ended takes no result; the node makes the delivery again.
            let _ = results.send(EdgeToNode { what: Some(What::Result(result)) }).await;
            drop(slot);
        }
    }
}
