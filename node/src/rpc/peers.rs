//! Keeps a link to every peer that is ours to dial: of two nodes the one with the lower id does.

use super::{MESSAGE_BYTES_MAX, raft_peer};
use crate::directory::Directory;
use banyan_client::{Tls, TransportError};
use banyan_model::placement::NodeId;
use banyan_proto::v1::raft_peer_client::RaftPeerClient;
use banyan_raft::{Links, Outgoing};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeMap, future::ready, sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tonic::Status;

const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Short: a peer that came back should not be missed for an election.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A link that held this long was sound: the next pause begins small again.
const SOUND_AFTER: Duration = Duration::from_secs(5);

/// Dials every peer of the directory with a higher id than ours, again and again, as long as it is polled.
pub async fn keep_linked(directory: Directory, links: Arc<Links>, tls: Option<Tls>) {
    let mut peers = directory.peers();
    let mut tasks = JoinSet::new();
    let mut dialled: BTreeMap<NodeId, (String, AbortHandle)> = BTreeMap::new();
    loop {
        let wanted = peers.borrow_and_update().clone();
        // One that left, or moved: its link goes with its task.
        dialled.retain(|node, (address, task)| {
            let same = wanted.get(node) == Some(address);
            if !same {
                task.abort();
            }
            same
        });
        for (node, address) in wanted.into_iter().filter(|(node, _)| *node > directory.node()) {
            dialled.entry(node).or_insert_with(|| {
                let dial = Dial { directory: directory.clone(), links: links.clone(), tls: tls.clone() };
                let task = tasks.spawn(dial.keep(node, address.clone()));
                (address, task)
            });
        }
        while tasks.try_join_next().is_some() {}
        if peers.changed().await.is_err() {
            return;
        }
    }
}

struct Dial {
    directory: Directory,
    links: Arc<Links>,
    tls: Option<Tls>,
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("not reachable")]
    Transport(#[from] TransportError),
    #[error("{0}")]
    Status(String),
    #[error("no answer in time")]
    Timeout,
    #[error("it is node {0:016x}")]
    Another(u64),
}

impl From<Status> for DialError {
    fn from(status: Status) -> DialError {
        DialError::Status(format!("{}: {}", status.code(), status.message()))
    }
}

impl Dial {
    async fn keep(self, node: NodeId, address: String) {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = Instant::now();
            if let Err(error) = self.link(node, &address).await {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(peer = node.0, address, error, "peer not linked");
            }
            if begun.elapsed() >= SOUND_AFTER {
                pause = PAUSE_MIN;
            }
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Dials and stays until the link ends.
    async fn link(&self, node: NodeId, address: &str) -> Result<(), DialError> {
        let channel = banyan_client::connect(address, self.tls.as_ref()).await?;
        // Frames are sent on the stream that greets, but there is a link only when the other side has greeted, too.
        let (linked, outgoing) = oneshot::channel::<Outgoing>();
        let outgoing = stream::once(outgoing).filter_map(|outgoing| ready(outgoing.ok())).flatten();
        let sent = stream::iter([raft_peer::greeting(&self.directory)]).chain(outgoing);
        let mut client = RaftPeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let greeted = async {
            let mut frames = client.stream(sent).await?.into_inner();
            let peer = raft_peer::greeted(&self.directory, &mut frames).await?;
            Ok::<_, Status>((peer, frames))
        };
        let (peer, frames) =
            timeout(raft_peer::GREETING_TIMEOUT, greeted).await.map_err(|_| DialError::Timeout)??;
        if peer != node {
            return Err(DialError::Another(peer.0));
        }
        let link = self.links.attach(peer.0);
        if linked.send(link.outgoing).is_err() {
            return Err(DialError::Timeout);
        }
        tracing::info!(peer = peer.0, address, "linked to peer");
        raft_peer::receive(frames, link.incoming).await;
        tracing::info!(peer = peer.0, address, "link to peer ended");
        Ok(())
    }
}
