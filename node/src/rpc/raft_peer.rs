//! Raft between two nodes, the listening side and what both sides do: greet, then move frames.

use super::{VERSION, role::Guard, stopped};
use crate::directory::Directory;
use banyan_model::placement::NodeId;
use banyan_proto::v1::{self, raft_peer_server::RaftPeer};
use banyan_raft::{Incoming, Links};
use futures_util::{StreamExt, stream, stream::BoxStream};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Response, Status, Streaming};

pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Service {
    pub(super) directory: Directory,
    pub(super) links: Arc<Links>,
    pub(super) guard: Guard,
    pub(super) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl RaftPeer for Service {
    type StreamStream = BoxStream<'static, Result<v1::RaftFrame, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::RaftFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.guard.node(&request)?;
        let mut frames = request.into_inner();
        let peer = greeted(&self.directory, &mut frames).await?;
        if peer >= self.directory.node() {
            return Err(Status::failed_precondition("the node with the lower id dials"));
        }
        let link = self.links.attach(peer.0);
        tracing::info!(peer = peer.0, "peer linked");
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = receive(frames, link.incoming) => tracing::info!(peer = peer.0, "peer's link ended"),
                () = stopped(stopping) => {}
            }
        });
        let sent = stream::iter([greeting(&self.directory)]).chain(link.outgoing);
        Ok(Response::new(sent.map(Ok).boxed()))
    }
}

/// The first frame that a side sends.
pub(super) fn greeting(directory: &Directory) -> v1::RaftFrame {
    let hello = v1::Hello { cluster: directory.cluster(), node: directory.node().0, version: VERSION };
    v1::RaftFrame { hello: Some(hello), messages: Vec::new() }
}

/// Reads the other side's greeting. Only a node of the same cluster and of the same wire is let in.
pub(super) async fn greeted(
    directory: &Directory,
    frames: &mut Streaming<v1::RaftFrame>,
) -> Result<NodeId, Status> {
    let first = timeout(GREETING_TIMEOUT, frames.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no greeting"))??;
    let hello = first.and_then(|frame| frame.hello).ok_or(Status::invalid_argument("no greeting"))?;
    let cluster = directory.cluster();
    if cluster == 0 {
        return Err(Status::unavailable("not founded yet"));
    }
    if hello.cluster != cluster {
        return Err(Status::failed_precondition(format!("this is cluster {cluster:016x}")));
    }
    if hello.version != VERSION {
        return Err(Status::failed_precondition(format!("this node speaks version {VERSION}")));
    }
    if directory.is_removed(NodeId(hello.node)) {
        return Err(Status::failed_precondition("the node was removed from the cluster"));
    }
    if hello.node == 0 || hello.node == directory.node().0 {
        return Err(Status::failed_precondition("a node cannot link to itself"));
    }
    Ok(NodeId(hello.node))
}

/// Hands frames in until either side ends the link.
pub(super) async fn receive(mut frames: Streaming<v1::RaftFrame>, incoming: Incoming) {
    loop {
        match frames.message().await {
            Ok(Some(frame)) => {
                if !incoming.received(frame) {
                    return;
                }
            }
            Ok(None) => return,
            Err(status) => return tracing::debug!(%status, "a peer's stream broke"),
        }
    }
}
