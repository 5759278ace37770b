//! How the directory asks other nodes.

use crate::directory::{NeighbourError, Neighbours};
use banyan_client::{Tls, TransportError};
use banyan_proto::v1::{self, directory_client::DirectoryClient};
use std::{error::Error, future::Future, time::Duration};
use tokio::time::timeout;
use tonic::{Status, transport::Channel};

/// For one question, the connection included.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Other nodes by gRPC; a connection for each question, for they are few.
pub struct Remote {
    /// Plain text without.
    pub tls: Option<Tls>,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("not reachable")]
    Transport(#[from] TransportError),
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Box<Status>),
    #[error("no answer in time")]
    Timeout,
}

impl From<Status> for AskError {
    fn from(status: Status) -> AskError {
        AskError::Status(Box::new(status))
    }
}

impl Remote {
    async fn ask<T, F: Future<Output = Result<T, Status>>>(
        &self,
        address: &str,
        question: impl FnOnce(DirectoryClient<Channel>) -> F,
    ) -> Result<T, NeighbourError> {
        let asked = async {
            let channel = banyan_client::connect(address, self.tls.as_ref()).await?;
            Ok::<_, AskError>(question(DirectoryClient::new(channel)).await?)
        };
        let answer = match timeout(TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Timeout),
        };
        answer.map_err(|error| {
            let mut why = error.to_string();
            let mut inner = error.source();
            while let Some(source) = inner {
                why = format!("{why}: {source}");
                inner = source.source();
            }
            NeighbourError { address: address.to_owned(), why }
        })
    }
}

impl Neighbours for Remote {
    async fn identify(&self, address: &str, me: v1::NodeInfo) -> Result<v1::NodeInfo, NeighbourError> {
        self.ask(address, |mut node| async move {
            Ok(node.identify(v1::IdentifyRequest { from: Some(me) }).await?.into_inner())
        })
        .await
    }

    async fn join(&self, address: &str, me: v1::NodeInfo) -> Result<v1::JoinReply, NeighbourError> {
        self.ask(address, |mut node| async move { Ok(node.join(me).await?.into_inner()) }).await
    }

    async fn replicas(&self, address: &str) -> Result<v1::ReplicasReply, NeighbourError> {
        self.ask(
            address,
            |mut node| async move { Ok(node.replicas(v1::ReplicasRequest {}).await?.into_inner()) },
        )
        .await
    }

    async fn state(&self, address: &str) -> Result<v1::DirectoryState, NeighbourError> {
        self.ask(address, |mut node| async move {
            let mut states = node.watch(v1::WatchRequest { after_epoch: 0 }).await?.into_inner();
            states.message().await?.ok_or(Status::unavailable("the node is stopping"))
        })
        .await
    }
}
