//! What comes in from other nodes for one group.
//!
//! Nothing here blocks the link: an append goes into the bounded channel of its stream, anything else gets a task.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use banyan_proto::v1;
use banyan_proto::v1::raft_message::Body;
use futures_util::{StreamExt, stream};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::group::Raft;
use crate::link::Connection;
use crate::network::APPENDS_IN_FLIGHT;
use crate::shared::Shared;
use crate::snapshot::Inbound;
use crate::types::Types;
use crate::wire;

/// The serving side of one group.
pub(crate) struct Server {
    raft: Raft,
    shared: Arc<Shared>,
    streams: Arc<Streams>,
    inbound: Arc<tokio::sync::Mutex<Inbound>>,
}

/// The open append streams, by link and number.
type Streams = Mutex<HashMap<(u64, u64), mpsc::Sender<Append>>>;
type Append = (u64, AppendEntriesRequest<Types>);

impl Server {
    pub(crate) fn new(raft: Raft, shared: Arc<Shared>) -> Server {
        Server { raft, shared, streams: Arc::default(), inbound: Arc::default() }
    }

    pub(crate) fn request(&self, connection: &Arc<Connection>, correlation: u64, body: Body) {
        match body {
            Body::Append(append) => self.append(connection, correlation, append),
            Body::End(stream) => {
                self.streams.lock().remove(&(connection.id, stream));
            }
            Body::Vote(vote) => {
                if self.shared.is_silent() && !vote.transfer {
                    self.refuse(connection, correlation, "just started: an older lease may hold");
                    return;
                }
                let last = self.raft.metrics().borrow_watched().last_log_index;
                if self.shared.votes_from > 0 && last < Some(self.shared.votes_from) {
                    self.refuse(
                        connection,
                        correlation,
                        "began anew: the log does not reach the last members",
                    );
                    return;
                }
                let raft = self.raft.clone();
                self.answer(connection, correlation, async move {
                    let pre_vote = vote.pre_vote;
                    let request = wire::vote_request_from(vote).map_err(text)?;
                    let reply =
                        if pre_vote { raft.pre_vote(request).await } else { raft.vote(request).await };
                    Ok(Body::VoteReply(wire::vote_reply_to(reply.map_err(text)?)))
                });
            }
            Body::Transfer(transfer) => {
                let raft = self.raft.clone();
                self.answer(connection, correlation, async move {
                    let request = wire::transfer_from(transfer).map_err(text)?;
                    let reply = raft.handle_transfer_leader(request).await.map_err(text)?;
                    Ok(Body::TransferReply(wire::transfer_reply_to(reply)))
                });
            }
            Body::Snapshot(chunk) => {
                let (raft, shared, inbound) = (self.raft.clone(), self.shared.clone(), self.inbound.clone());
                self.answer(connection, correlation, async move {
                    let mut inbound = inbound.lock().await;
                    Ok(Body::SnapshotReply(inbound.chunk(&shared, &raft, chunk).await))
                });
            }
            Body::AppendReply(_)
            | Body::VoteReply(_)
            | Body::SnapshotReply(_)
            | Body::TransferReply(_)
            | Body::Refused(_) => self.refuse(connection, correlation, "an answer is not a request"),
        }
    }

    /// The streams that came over a link that has ended.
    pub(crate) fn link_ended(&self, connection: u64) {
        self.streams.lock().retain(|(link, _), _| *link != connection);
    }

    fn append(&self, connection: &Arc<Connection>, correlation: u64, append: v1::AppendRequest) {
        let (unary, stream) = (append.unary, append.stream);
        let request = match wire::append_from(append) {
            Ok(request) => request,
            Err(error @ wire::Malformed::UnknownPayload(_)) => {
                // Skipping it would make this replica differ from the others; only a newer release can go on.
                self.shared.stop(error.to_string());
                self.refuse(connection, correlation, &error.to_string());
                let raft = self.raft.clone();
                tokio::spawn(async move { raft.shutdown().await });
                return;
            }
            Err(error) => return self.refuse(connection, correlation, &error.to_string()),
        };
        if unary {
            let raft = self.raft.clone();
            let (prev, last) = (request.prev_log_id, request.prev_log_id);
            self.answer(connection, correlation, async move {
                let reply = raft.append_entries(request).await.map_err(text)?;
                Ok(Body::AppendReply(wire::append_reply_to(reply.into_stream_result(prev, last))))
            });
            return;
        }
        let sender = {
            let mut streams = self.streams.lock();
            streams.entry((connection.id, stream)).or_insert_with(|| self.open(connection, stream)).clone()
        };
        if sender.try_send((correlation, request)).is_err() {
            self.refuse(connection, correlation, "append stream is closed or over its limit");
        }
    }

    /// A task that feeds one append stream to openraft and sends the answers back in order.
    fn open(&self, connection: &Arc<Connection>, stream: u64) -> mpsc::Sender<Append> {
        let (sender, receiver) = mpsc::channel::<Append>(2 * APPENDS_IN_FLIGHT);
        let (raft, connection, group) = (self.raft.clone(), connection.clone(), self.shared.group);
        let streams = Arc::downgrade(&self.streams);
        tokio::spawn(async move {
            let correlations = Arc::new(Mutex::new(VecDeque::with_capacity(APPENDS_IN_FLIGHT)));
            let taken = correlations.clone();
            let input = stream::unfold(receiver, move |mut receiver| {
                let taken = taken.clone();
                async move {
                    let (correlation, request) = receiver.recv().await?;
                    taken.lock().push_back(correlation);
                    Some((request, receiver))
                }
            });
            let mut answers = std::pin::pin!(raft.stream_append(input));
            while let Some(answer) = answers.next().await {
                let correlation = correlations.lock().pop_front();
                let Some(correlation) = correlation else { break };
                let body = match answer {
                    Ok(result) => Body::AppendReply(wire::append_reply_to(result)),
                    Err(fatal) => Body::Refused(fatal.to_string()),
                };
                connection.reply(group, correlation, body);
            }
            // A conflict or a higher vote ended it; the sender begins a new stream.
            if let Some(streams) = streams.upgrade() {
                streams.lock().remove(&(connection.id, stream));
            }
        });
        sender
    }

    fn answer(
        &self,
        connection: &Arc<Connection>,
        correlation: u64,
        work: impl Future<Output = Result<Body, String>> + Send + 'static,
    ) {
        let (connection, group) = (connection.clone(), self.shared.group);
        tokio::spawn(async move {
            connection.reply(group, correlation, work.await.unwrap_or_else(Body::Refused));
        });
    }

    fn refuse(&self, connection: &Connection, correlation: u64, why: &str) {
        connection.reply(self.shared.group, correlation, Body::Refused(why.to_owned()));
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// How long a chunk, or the installation behind the last one, may take before the transfer counts as broken.
pub(crate) const CHUNK_LIMIT: Duration = Duration::from_secs(10);
pub(crate) const INSTALL_LIMIT: Duration = Duration::from_secs(300);
