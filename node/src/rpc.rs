//! gRPC: the node's one port, and the streams it opens to its peers.
//!
//! | service | who may use it | what is behind it |
//! | --- | --- | --- |
//! | Submit | nodes, edges | the desk; `Internal` submissions only from nodes |
//! | RaftPeer | nodes | the links of the Raft groups |
//! | Directory | nodes; Watch: edges, too | the directory |
//! | Egress | nodes, edges | the couriers' edges |
//! | Admin | nodes; Status: edges, too | the operator's questions |
//!
//! Who asks is what the certificate says (`role`). Without TLS, which only an explicit flag allows, everybody is a
//! node. A service translates and hands over; nothing is decided here.
//!
//! Invariants: what is under way on a stream is bounded, and so is a message; when the node stops, streams take nothing
//! more, answer what they took, and end.

mod admin;
mod directory;
mod egress;
mod neighbours;
mod peers;
mod raft_peer;
mod role;
mod submit;
mod tls;

#[cfg(test)]
mod tests;

pub use admin::Operator;
pub use neighbours::Remote;
pub use peers::keep_linked;

use crate::{delivery::Edges, directory::Directory, request::Desk};
use banyan_client::{Client, Tls};
use banyan_proto::v1::{
    admin_server::AdminServer, directory_server::DirectoryServer, egress_server::EgressServer,
    raft_peer_server::RaftPeerServer, submit_server::SubmitServer,
};
use banyan_raft::Links;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tonic::transport::{Server, server::TcpIncoming};

/// Of the wire; a peer that speaks another one is refused.
const VERSION: u32 = 1;
/// The largest message that is read; far above a frame with one submission or entry of the largest size.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the services hand over to; cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Takes submissions.
    pub desk: Desk,
    /// Answers for the directory.
    pub directory: Directory,
    /// Takes the frames of peers.
    pub links: Arc<Links>,
    /// Takes edges that deliver.
    pub edges: Edges,
    /// Answers the operator.
    pub operator: Arc<dyn Operator>,
    /// Carries the operator's questions about keys to whom they concern.
    pub client: Client,
}

/// Why the port is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificates.
    #[error("TLS of the node's port")]
    Tls(#[from] banyan_binding::tls::TlsError),
    /// The listener or the server failed.
    #[error("the node's port cannot be served")]
    Transport(#[from] tonic::transport::Error),
    /// The listener cannot be used.
    #[error("the node's port cannot be used")]
    Listener(#[from] io::Error),
}

/// Serves on `listener` until `stopping` says so and every stream has ended. Plain text without `tls`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    services: Services,
    stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let Services { desk, directory, links, edges, operator, client } = services;
    let secure = tls.is_some();
    let guard = role::Guard { secure };
    let submit = submit::Service { desk, guard, stopping: stopping.clone() };
    let raft_peer =
        raft_peer::Service { directory: directory.clone(), links, guard, stopping: stopping.clone() };
    let copies = Arc::new(Semaphore::new(1));
    let admin = admin::Service {
        operator,
        client,
        directory: directory.clone(),
        guard,
        copies,
        stopping: stopping.clone(),
    };
    let watched = directory::Service { directory, guard, stopping: stopping.clone() };
    let egress = egress::Service { edges, guard, stopping: stopping.clone() };
    let router = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(SubmitServer::new(submit).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(RaftPeerServer::new(raft_peer).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(DirectoryServer::new(watched))
        .add_service(EgressServer::new(egress))
        .add_service(AdminServer::new(admin));
    match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, stopped(stopping)).await?;
        }
        Some(files) => {
            let incoming = tls::incoming(listener, files)?;
            router.serve_with_incoming_shutdown(incoming, stopped(stopping)).await?;
        }
    }
    Ok(())
}

/// Resolves once `true` was said, or nobody can say it any more.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
