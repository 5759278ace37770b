//! The directory, asked from outside: the map and every newer one, who this node is, and to be let in.

use super::{
    role::{Guard, Role},
    stopped,
};
use crate::directory::Directory;
use banyan_proto::v1::{self, directory_server};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

pub(super) struct Service {
    pub(super) directory: Directory,
    pub(super) guard: Guard,
    pub(super) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl directory_server::Directory for Service {
    type WatchStream = BoxStream<'static, Result<v1::DirectoryState, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (Role::Node | Role::Edge) = self.guard.role(&request)?;
        let begin = (self.directory.views(), request.into_inner().after_epoch);
        let newer = stream::unfold(begin, |(mut views, seen)| async move {
            loop {
                let state = views.borrow_and_update().as_ref().map(|view| view.state.clone());
                if let Some(state) = state.filter(|state| state.epoch > seen) {
                    let epoch = state.epoch;
                    return Some((Ok(state), (views, epoch)));
                }
                views.changed().await.ok()?;
            }
        });
        Ok(Response::new(newer.take_until(stopped(self.stopping.clone())).boxed()))
    }

    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::NodeInfo>, Status> {
        self.guard.node(&request)?;
        Ok(Response::new(self.directory.info()))
    }

    async fn replicas(
        &self,
        request: Request<v1::ReplicasRequest>,
    ) -> Result<Response<v1::ReplicasReply>, Status> {
        self.guard.node(&request)?;
        Ok(Response::new(v1::ReplicasReply { replicas: self.directory.replicas() }))
    }

    async fn join(&self, request: Request<v1::NodeInfo>) -> Result<Response<v1::JoinReply>, Status> {
        self.guard.node(&request)?;
        let node = request.into_inner();
        if node.node == 0 || node.address.is_empty() {
            return Err(Status::invalid_argument("a node has an id and an address"));
        }
        Ok(Response::new(self.directory.admit(node).await))
    }
}
