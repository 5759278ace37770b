//! Where an edge comes for deliveries.

use super::{role::Guard, stopped};
use crate::delivery::{Edges, Results};
use banyan_proto::v1::{self, edge_to_node::What, egress_server::Egress};
use futures_util::{StreamExt, stream::BoxStream};
use std::time::Duration;
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Response, Status, Streaming};

const READY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Service {
    pub(super) edges: Edges,
    pub(super) guard: Guard,
    pub(super) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Egress for Service {
    type StreamStream = BoxStream<'static, Result<v1::NodeToEdge, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::EdgeToNode>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.guard.role(&request)?;
        let mut frames = request.into_inner();
        let first = timeout(READY_TIMEOUT, frames.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the edge did not say that it is ready"))??;
        let Some(What::Ready(ready)) = first.and_then(|frame| frame.what) else {
            return Err(Status::invalid_argument("an edge first says that it is ready"));
        };
        if ready.slots == 0 {
            return Err(Status::invalid_argument("an edge without slots takes no deliveries"));
        }
        let (jobs, results) = self.edges.attach(&ready.edge, ready.slots);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = read(frames, results) => {}
                () = stopped(stopping) => {}
            }
        });
        Ok(Response::new(jobs.map(|job| Ok(v1::NodeToEdge { job: Some(job) })).boxed()))
    }
}

/// Takes results until the edge has no more; then the edge is detached, and its jobs end.
async fn read(mut frames: Streaming<v1::EdgeToNode>, results: Results) {
    loop {
        match frames.message().await {
            Ok(Some(v1::EdgeToNode { what: Some(What::Result(result)) })) => results.received(result),
            // Of a later release, or a second greeting: nothing that could be answered.
            Ok(Some(_)) => tracing::debug!("an edge's frame without a result"),
            Ok(None) => return,
            Err(status) => return tracing::debug!(%status, "an edge's stream broke"),
        }
    }
}
