//! What `banyan ctl` asks.

use super::{role::Guard, stopped};
use crate::directory::{ChangeRefused, Directory};
use banyan_client::{Client, RequestError};
use banyan_proto::v1::{self, admin_server::Admin};
use banyan_raft::{Copy, CopyError};
use futures_util::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
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

    /// A copy of a group's state, if this node leads it.
    fn copy(&self, group: u64) -> BoxFuture<'_, Result<Arc<Copy>, CopyError>>;

    /// The cluster's number; 0: none yet.
    fn cluster(&self) -> u64;
}

/// An import of many keys takes its time.
const KEYS_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Service {
    pub(super) operator: Arc<dyn Operator>,
    pub(super) client: Client,
    pub(super) directory: Directory,
    pub(super) guard: Guard,
    /// One copy at a time, from its making to its last octet: followers that need a snapshot come first.
    pub(super) copies: Arc<Semaphore>,
    pub(super) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Admin for Service {
    type CopyStream = BoxStream<'static, Result<v1::CopyPiece, Status>>;

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

    async fn copy(&self, request: Request<v1::CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
        self.guard.node(&request)?;
        let Ok(permit) = self.copies.clone().try_acquire_owned() else {
            return Err(Status::unavailable("this node is sending a copy to somebody else"));
        };
        let copy = self.operator.copy(request.into_inner().group).await.map_err(|error| match error {
            CopyError::NotLeader(_) => Status::failed_precondition("this node does not lead the group"),
            CopyError::Failed(_) => Status::unavailable(error.to_string()),
        })?;
        let (term, index) = copy.at();
        let start = v1::CopyStart {
            cluster: self.operator.cluster(),
            term,
            index,
            bytes: copy.bytes(),
            crc32: copy.checksum(),
        };
        let start = v1::CopyPiece { kind: Some(v1::copy_piece::Kind::Start(start)) };
        let pieces = stream::once(async { Ok(start) }).chain(pieces(copy, permit));
        Ok(Response::new(pieces.take_until(stopped(self.stopping.clone())).boxed()))
    }
}

/// The octets, read as the receiver takes them.
fn pieces(
    copy: Arc<Copy>,
    permit: OwnedSemaphorePermit,
) -> impl futures_util::Stream<Item = Result<v1::CopyPiece, Status>> {
    stream::try_unfold((copy, permit, 0), |(copy, permit, offset)| async move {
        let data = copy.read(offset).await.map_err(|error| Status::unavailable(error.to_string()))?;
        if data.is_empty() {
            return Ok(None);
        }
        let next = offset + data.len() as u64;
        let piece = v1::CopyPiece { kind: Some(v1::copy_piece::Kind::Data(data)) };
        Ok(Some((piece, (copy, permit, next))))
    })
}
