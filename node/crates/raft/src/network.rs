//! What openraft sends: each message becomes one request on the link to its node.
//!
//! Whatever goes wrong on the way is `Unreachable`: openraft then backs off, and the link's return ends the wait.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use banyan_proto::v1::raft_message::Body;
use futures_util::{Stream, StreamExt};
use openraft::RaftNetworkFactory;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::{Instant, Sleep};

use crate::link::{Connection, Links, Unanswered};
use crate::machine::Snapshot;
use crate::shared::Shared;
use crate::snapshot::{self, Content};
use crate::types::{LogId, Types, Vote};
use crate::wire;

/// Append requests of one stream that may be unanswered.
pub(crate) const APPENDS_IN_FLIGHT: usize = 32;
/// A stream whose oldest request is unanswered for so long is given up. openraft's own option carries the heartbeat
/// interval, which would cut streams under load.
const STREAM_IDLE: Duration = Duration::from_millis(1_500);

/// How long a stream of appends waits for the link of a node that is away: so often one is tried for it.
const ABSENT: Duration = Duration::from_secs(1);

/// Makes the clients of one group.
pub(crate) struct Network {
    pub(crate) links: Arc<Links>,
    pub(crate) shared: Arc<Shared>,
}

/// One group's way to one node.
pub(crate) struct Peer {
    links: Arc<Links>,
    shared: Arc<Shared>,
    target: u64,
    /// Single heartbeats instead of append streams.
    heartbeats: bool,
}

impl Network {
    fn peer(&self, target: u64, heartbeats: bool) -> Peer {
        Peer { links: self.links.clone(), shared: self.shared.clone(), target, heartbeats }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &()) -> Peer {
        self.peer(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &()) -> Peer {
        self.peer(target, true)
    }
}

fn unreachable(why: impl ToString) -> Unreachable<Types> {
    Unreachable::from_string(why)
}

impl Peer {
    fn connection(&self) -> Result<Arc<Connection>, Unreachable<Types>> {
        self.links.get(self.target).ok_or_else(|| unreachable("no link"))
    }

    async fn call(&self, body: Body, limit: Duration) -> Result<Body, Unreachable<Types>> {
        let request =
            self.connection()?.request(self.shared.group, body).ok_or_else(|| unreachable("link ended"))?;
        match tokio::time::timeout(limit, request).await {
            Ok(Some(Body::Refused(why))) => Err(unreachable(why)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(unreachable("link ended")),
            Err(_) => Err(unreachable("no answer")),
        }
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<Types>,
        pre_vote: bool,
        limit: Duration,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Body::Vote(wire::vote_request_to(request, pre_vote)), limit).await? {
            Body::VoteReply(reply) => Ok(wire::vote_reply_from(reply).map_err(unreachable)?),
            _ => Err(unreachable("an answer of another kind").into()),
        }
    }
}

impl NetVote<Types> for Peer {
    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(request, false, option.soft_ttl()).await
    }

    /// Not the trait's default, which grants for those who cannot be asked.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(request, true, option.soft_ttl()).await
    }
}

impl NetTransferLeader<Types> for Peer {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.call(Body::Transfer(wire::transfer_to(&request)), option.soft_ttl()).await? {
            Body::TransferReply(reply) => {
                Ok(wire::transfer_reply_from(reply, &request).map_err(unreachable)?)
            }
            _ => Err(unreachable("an answer of another kind").into()),
        }
    }
}

impl NetBackoff<Types> for Peer {
    /// A link that returns resets this; it only paces what happens while one is there and its node refuses.
    fn backoff(&self) -> Option<Backoff> {
        let waits = [50, 100, 200].map(Duration::from_millis);
        Some(Backoff::new(waits.into_iter().chain(std::iter::repeat(Duration::from_millis(400)))))
    }
}

impl NetSnapshot<Types> for Peer {
    type SnapshotData = Content;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let connection = self.connection()?;
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = snapshot::send(&self.shared, &connection, vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(why) => {
                    tracing::warn!(group = self.shared.group, peer = self.target, %why, "snapshot not sent");
                    Err(unreachable(why).into())
                }
            },
        }
    }
}

impl NetStreamAppend<Types> for Peer {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        if self.heartbeats {
            let opened = self.connection().map(|connection| -> BoxStream<'s, _> {
                Box::pin(single(connection, self.shared.group, input, option.hard_ttl()))
            });
            return Box::pin(std::future::ready(opened.map_err(RPCError::from)));
        }
        Box::pin(async move {
            // openraft waits only while it reads a stream's requests: one that cannot be opened it would open again at once.
            let connection = self.links.wait_for(self.target, ABSENT).await;
            let connection = connection.ok_or_else(|| unreachable("no link"))?;
            let stream: BoxStream<'s, _> = Box::pin(AppendStream::new(connection, self.shared.group, input));
            Ok(stream)
        })
    }
}

type AppendItem = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// A heartbeat: one request, one answer, on the lane that nothing delays.
fn single<S>(
    connection: Arc<Connection>,
    group: u64,
    input: S,
    limit: Duration,
) -> impl Stream<Item = AppendItem> + Send
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    input.then(move |request| {
        let prev = request.prev_log_id;
        let sent = connection.request(group, Body::Append(wire::append_to(request, 0, true)));
        async move {
            let sent = sent.ok_or_else(|| unreachable("link ended"))?;
            match tokio::time::timeout(limit, sent).await {
                Ok(body) => append_answer(body, prev),
                Err(_) => Err(unreachable("no answer to a heartbeat").into()),
            }
        }
    })
}

fn append_answer(body: Option<Body>, prev: Option<LogId>) -> AppendItem {
    match body {
        Some(Body::AppendReply(reply)) => Ok(wire::append_reply_from(reply, prev).map_err(unreachable)?),
        Some(Body::Refused(why)) => Err(unreachable(why).into()),
        Some(_) => Err(unreachable("an answer of another kind").into()),
        None => Err(unreachable("link ended").into()),
    }
}

/// Appends in a pipeline, their answers in order.
struct AppendStream<S> {
    connection: Arc<Connection>,
    group: u64,
    stream: u64,
    /// `None` when it has ended.
    input: Option<S>,
    in_flight: VecDeque<InFlight>,
    idle: Pin<Box<Sleep>>,
    failed: bool,
}

struct InFlight {
    answer: Unanswered,
    prev: Option<LogId>,
}

impl<S> AppendStream<S> {
    fn new(connection: Arc<Connection>, group: u64, input: S) -> AppendStream<S> {
        static STREAMS: AtomicU64 = AtomicU64::new(1);
        AppendStream {
            connection,
            group,
            stream: STREAMS.fetch_add(1, Ordering::Relaxed),
            input: Some(input),
            in_flight: VecDeque::with_capacity(APPENDS_IN_FLIGHT),
            idle: Box::pin(tokio::time::sleep(STREAM_IDLE)),
            failed: false,
        }
    }

    fn fail(&mut self, why: &str) -> Poll<Option<AppendItem>> {
        self.failed = true;
        Poll::Ready(Some(Err(unreachable(why).into())))
    }
}

impl<S> Stream for AppendStream<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin,
{
    type Item = AppendItem;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AppendItem>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        while this.in_flight.len() < APPENDS_IN_FLIGHT && this.connection.has_room(cx) {
            let Some(input) = &mut this.input else { break };
            match input.poll_next_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => this.input = None,
                Poll::Ready(Some(request)) => {
                    let prev = request.prev_log_id;
                    let body = Body::Append(wire::append_to(request, this.stream, false));
                    let Some(answer) = this.connection.request(this.group, body) else {
                        return this.fail("link ended");
                    };
                    if this.in_flight.is_empty() {
                        this.idle.as_mut().reset(Instant::now() + STREAM_IDLE);
                    }
                    this.in_flight.push_back(InFlight { answer, prev });
                }
            }
        }
        let Some(oldest) = this.in_flight.front_mut() else {
            if this.input.is_none() {
                return Poll::Ready(None);
            }
            // Only a closed link says so: nothing is in flight whose answer could fail.
            return if this.connection.is_closed() { this.fail("link ended") } else { Poll::Pending };
        };
        if let Poll::Ready(body) = Pin::new(&mut oldest.answer).poll(cx) {
            let answer = append_answer(body, oldest.prev);
            this.in_flight.pop_front();
            // An answer is a sign of life: the next one has the whole limit again.
            this.idle.as_mut().reset(Instant::now() + STREAM_IDLE);
            this.failed = !matches!(answer, Ok(Ok(_)));
            return Poll::Ready(Some(answer));
        }
        if this.idle.as_mut().poll(cx).is_ready() {
            return this.fail("no answer to an append");
        }
        Poll::Pending
    }
}

impl<S> Drop for AppendStream<S> {
    fn drop(&mut self) {
        self.connection.end_stream(self.group, self.stream);
    }
}
