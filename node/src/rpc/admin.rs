//! What `banyan ctl` asks.

use super::role::Guard;
use crate::directory::{ChangeRefused, Directory};
use banyan_client::{Client, RequestError};
use banyan_proto::v1::{self, admin_server::Admin};
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// Longer than this nobody waits for a node to step down.
const STEP_DOWN_MAX: Duration = Duration::from_secs(60);

/// Knows the node's condition; the composition root implements it.
pub trait Operator: Send + Sync + 'static {
    /// The node's condition now.
    fn status(&self) -> BoxFuture<'_, v1::NodeStatus>;

    /// Hands leaderships over; returns when this node leads nothing, at the latest after `deadline`.
    fn step_down(&self, deadline: Duration) -> BoxFuture<'_, v1::NodeStatus>;

    /// What is stored for other SCLs in the shards that this node leads.
    fn stored(&self) -> BoxFuture<'_, v1::StoredAnswer>;
}

/// An import of many keys takes its time.
const KEYS_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Service {
    pub(super) operator: Arc<dyn Operator>,
    pub(super) client: Client,
    pub(super) directory: Directory,
    pub(super) guard: Guard,
}

#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::NodeStatus>, Status> {
        self.guard.role(&request)?;
        Ok(Response::new(self.operator.status().await))
    }

    async fn step_down(
        &self,
        request: Request<v1::StepDownRequest>,
    ) -> Result<Response<v1::NodeStatus>, Status> {
        self.guard.node(&request)?;
        let deadline = Duration::from_millis(request.into_inner().deadline_ms.into()).min(STEP_DOWN_MAX);
        Ok(Response::new(self.operator.step_down(deadline).await))
    }

    async fn place(&self, request: Request<v1::PlaceQuestion>) -> Result<Response<v1::PlaceAnswer>, Status> {
        self.guard.node(&request)?;
        let answer = match self.directory.change(request.into_inner()).await {
            Ok(()) => v1::PlaceAnswer::default(),
            Err(ChangeRefused::NotLeader { leader }) => v1::PlaceAnswer {
                not_leader: true,
                leader_address: leader.unwrap_or_default(),
                ..Default::default()
            },
            Err(ChangeRefused::Refused(refused)) => v1::PlaceAnswer { refused, ..Default::default() },
            Err(error @ ChangeRefused::Unknown(_)) => return Err(Status::unavailable(error.to_string())),
        };
        Ok(Response::new(answer))
    }

    async fn stored(
        &self,
        request: Request<v1::StoredQuestion>,
    ) -> Result<Response<v1::StoredAnswer>, Status> {
        self.guard.node(&request)?;
        Ok(Response::new(self.operator.stored().await))
    }

    async fn keys(&self, request: Request<v1::KeysQuestion>) -> Result<Response<v1::KeysAnswer>, Status> {
        self.guard.node(&request)?;
        let kind = request.into_inner().kind.ok_or_else(|| Status::invalid_argument("nothing is asked"))?;
        match self.client.operate_keys(kind, tokio::time::Instant::now() + KEYS_WITHIN).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(RequestError::Refused(why)) => Err(Status::failed_precondition(why)),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}
