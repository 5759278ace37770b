//! The links to the other nodes: for each peer one queue out, one table of unanswered requests.
//!
//! Two lanes share a link: heartbeats, votes and answers overtake entries and snapshot chunks, so that a full queue
//! never costs a leader its lease. Entries wait for room before they are read from the log: the queue is bounded and
//! nothing in it is dropped while the link lives. When it ends, everything unanswered fails at once.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use banyan_proto::v1;
use banyan_proto::v1::raft_message::Body;
use futures_util::Stream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot};

/// A frame takes no further message once it holds this much. One message may be larger, if a single entry is.
pub(crate) const FRAME_BYTES: usize = 1 << 20;
/// Nor once it holds this many.
const FRAME_MESSAGES: usize = 512;
/// What a message takes besides its entries or chunk.
const MESSAGE_BYTES: usize = 64;

/// Whoever serves the requests that come in: the groups of this node.
pub(crate) trait Owner: Send + Sync {
    /// Must not block; answers through [`Connection::reply`].
    fn request(&self, connection: &Arc<Connection>, group: u64, correlation: u64, body: Body);
    fn up(&self, peer: u64);
    fn down(&self, peer: u64, connection: u64);
}

/// All links of a node to its peers.
pub struct Links {
    queue_bytes_max: usize,
    connections: RwLock<HashMap<u64, Arc<Connection>>>,
    owner: RwLock<Option<Weak<dyn Owner>>>,
    next: AtomicU64,
    /// Told whenever a link is attached.
    arrived: Notify,
}

impl Links {
    /// No links yet. `queue_bytes_max` bounds what may wait for one peer (see [`crate::Config::link_queue_bytes_max`]).
    pub fn new(queue_bytes_max: usize) -> Arc<Links> {
        Arc::new(Links {
            queue_bytes_max,
            connections: RwLock::default(),
            owner: RwLock::default(),
            next: AtomicU64::new(1),
            arrived: Notify::new(),
        })
    }

    /// A connection to `peer` is up. A newer link to the same peer replaces the older one, whose `outgoing` ends.
    pub fn attach(self: &Arc<Self>, peer: u64) -> Link {
        let connection = Arc::new(Connection {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            peer,
            queue_bytes_max: self.queue_bytes_max,
            state: Mutex::default(),
        });
        let older = self.connections.write().insert(peer, connection.clone());
        if let Some(older) = older {
            self.close(&older);
        }
        self.arrived.notify_waiters();
        if let Some(owner) = self.owner() {
            owner.up(peer);
        }
        let end = |connection: &Arc<Connection>| End { links: self.clone(), connection: connection.clone() };
        Link {
            outgoing: Outgoing { end: end(&connection), yielded: false },
            incoming: Incoming { end: end(&connection) },
        }
    }

    /// Whether a link to `peer` is attached.
    pub fn is_up(&self, peer: u64) -> bool {
        self.connections.read().contains_key(&peer)
    }

    pub(crate) fn get(&self, peer: u64) -> Option<Arc<Connection>> {
        self.connections.read().get(&peer).cloned()
    }

    /// The same, waiting until there is one, but not longer than `limit`.
    pub(crate) async fn wait_for(&self, peer: u64, limit: Duration) -> Option<Arc<Connection>> {
        let attached = async {
            loop {
                // Before the look, so that a link that comes after it is heard of.
                let arrived = self.arrived.notified();
                match self.get(peer) {
                    Some(connection) => return connection,
                    None => arrived.await,
                }
            }
        };
        tokio::time::timeout(limit, attached).await.ok()
    }

    pub(crate) fn set_owner(&self, owner: Weak<dyn Owner>) {
        *self.owner.write() = Some(owner);
    }

    fn owner(&self) -> Option<Arc<dyn Owner>> {
        self.owner.read().as_ref().and_then(Weak::upgrade)
    }

    fn close(&self, connection: &Arc<Connection>) {
        if !connection.close() {
            return;
        }
        let mut connections = self.connections.write();
        if connections.get(&connection.peer).is_some_and(|current| current.id == connection.id) {
            connections.remove(&connection.peer);
        }
        drop(connections);
        if let Some(owner) = self.owner() {
            owner.down(connection.peer, connection.id);
        }
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.connections.read();
        f.debug_struct("Links").field("up", &connections.keys().collect::<Vec<_>>()).finish()
    }
}

/// Both halves of one link. When either half is dropped the link is down and whatever waited for an answer fails.
#[derive(Debug)]
pub struct Link {
    /// The frames to send, in order. The transport takes the next one when it can send it: frames grow while it
    /// cannot.
    pub outgoing: Outgoing,
    /// Where received frames go.
    pub incoming: Incoming,
}

/// The frames to send; a stream that ends when the link is replaced or closed. Frames hold about 1 MiB at most,
/// unless a single entry is larger; `hello` is never set.
#[derive(Debug)]
pub struct Outgoing {
    end: End,
    yielded: bool,
}

impl Stream for Outgoing {
    type Item = v1::RaftFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<v1::RaftFrame>> {
        let connection = self.end.connection.clone();
        let mut state = connection.state.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        if state.urgent.is_empty() && state.bulk.is_empty() {
            state.reader = Some(cx.waker().clone());
            self.yielded = false;
            return Poll::Pending;
        }
        if !self.yielded {
            // One turn for everybody else who is about to send: a third of the frames (spike-notes 3).
            self.yielded = true;
            drop(state);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.yielded = false;
        let (frame, room) = state.cut(connection.queue_bytes_max);
        drop(state);
        room.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(frame))
    }
}

/// Where received frames go.
#[derive(Debug)]
pub struct Incoming {
    end: End,
}

impl Incoming {
    /// Hands in a frame. Does not block; must be called in a tokio runtime. `false`: this link was replaced or
    /// closed, stop reading.
    pub fn received(&self, frame: v1::RaftFrame) -> bool {
        let connection = &self.end.connection;
        let mut owner = None;
        for message in frame.messages {
            let Some(body) = message.body else {
                tracing::warn!(peer = connection.peer, "raft message of an unknown kind");
                continue;
            };
            if message.reply {
                connection.answered(message.correlation, body);
                continue;
            }
            if owner.is_none() {
                owner = self.end.links.owner();
            }
            match &owner {
                Some(owner) => owner.request(connection, message.group, message.correlation, body),
                None => connection.reply(
                    message.group,
                    message.correlation,
                    Body::Refused("this node serves no groups".to_owned()),
                ),
            }
        }
        !connection.is_closed()
    }
}

/// Closes the link when it goes.
struct End {
    links: Arc<Links>,
    connection: Arc<Connection>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.links.close(&self.connection);
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} to {}", self.connection.id, self.connection.peer)
    }
}

/// One link while it lives.
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) peer: u64,
    queue_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    urgent: VecDeque<v1::RaftMessage>,
    bulk: VecDeque<(usize, v1::RaftMessage)>,
    bulk_bytes: usize,
    reader: Option<Waker>,
    room: Vec<Waker>,
    unanswered: HashMap<u64, oneshot::Sender<Body>>,
    next: u64,
}

impl State {
    fn push(&mut self, message: v1::RaftMessage) -> Option<Waker> {
        match &message.body {
            Some(Body::Append(append)) if !append.unary => {
                let bytes = MESSAGE_BYTES + append.entries.iter().map(|entry| entry.len() + 4).sum::<usize>();
                self.bulk_bytes += bytes;
                self.bulk.push_back((bytes, message));
            }
            Some(Body::Snapshot(chunk)) => {
                let bytes = MESSAGE_BYTES + chunk.data.len();
                self.bulk_bytes += bytes;
                self.bulk.push_back((bytes, message));
            }
            // Behind the appends of its stream.
            Some(Body::End(_)) => self.bulk.push_back((0, message)),
            _ => self.urgent.push_back(message),
        }
        self.reader.take()
    }

    /// The next frame, and who can go on because of it: to be woken when the lock is free, since waking a task of a
    /// runtime that ends drops the task here and now.
    fn cut(&mut self, queue_bytes_max: usize) -> (v1::RaftFrame, Vec<Waker>) {
        let mut messages = Vec::with_capacity((self.urgent.len() + self.bulk.len()).min(FRAME_MESSAGES));
        let mut bytes = 0;
        while messages.len() < FRAME_MESSAGES && bytes < FRAME_BYTES {
            if let Some(message) = self.urgent.pop_front() {
                bytes += MESSAGE_BYTES;
                messages.push(message);
            } else if let Some((size, message)) =
                self.bulk.pop_front_if(|(size, _)| messages.is_empty() || bytes + *size <= FRAME_BYTES)
            {
                bytes += size;
                self.bulk_bytes -= size;
                messages.push(message);
            } else {
                break;
            }
        }
        let room =
            if self.bulk_bytes < queue_bytes_max { std::mem::take(&mut self.room) } else { Vec::new() };
        (v1::RaftFrame { hello: None, messages }, room)
    }
}

impl Connection {
    /// Sends a request. The answer resolves to an error when the link ends first. `None`: it has ended already.
    pub(crate) fn request(self: &Arc<Self>, group: u64, body: Body) -> Option<Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let (correlation, reader) = {
            let mut state = self.state.lock();
            if state.closed {
                return None;
            }
            state.next += 1;
            let correlation = state.next;
            state.unanswered.insert(correlation, sender);
            let message = v1::RaftMessage { group, correlation, reply: false, body: Some(body) };
            (correlation, state.push(message))
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(Unanswered { connection: self.clone(), correlation, receiver, answered: false })
    }

    pub(crate) fn reply(&self, group: u64, correlation: u64, body: Body) {
        self.send(v1::RaftMessage { group, correlation, reply: true, body: Some(body) });
    }

    /// An append stream that began on this link has no further requests.
    pub(crate) fn end_stream(&self, group: u64, stream: u64) {
        self.send(v1::RaftMessage { group, correlation: 0, reply: false, body: Some(Body::End(stream)) });
    }

    fn send(&self, message: v1::RaftMessage) {
        let reader = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            state.push(message)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether entries may be queued; if not, the task is woken when they may.
    pub(crate) fn has_room(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.closed || state.bulk_bytes < self.queue_bytes_max {
            return true;
        }
        if !state.room.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.room.push(cx.waker().clone());
        }
        false
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn answered(&self, correlation: u64, body: Body) {
        let sender = self.state.lock().unanswered.remove(&correlation);
        if let Some(sender) = sender {
            // Nobody waits any more when the request ran into its limit in this moment.
            let _ = sender.send(body);
        }
    }

    /// `false` if it was closed before.
    fn close(&self) -> bool {
        let state = {
            let mut state = self.state.lock();
            if state.closed {
                return false;
            }
            std::mem::replace(&mut *state, State { closed: true, ..State::default() })
        };
        // Outside the lock: dropping the senders wakes whoever waits for them.
        state.reader.into_iter().chain(state.room).for_each(Waker::wake);
        drop(state.unanswered);
        true
    }
}

/// A request that is not answered yet; forgotten when dropped.
pub(crate) struct Unanswered {
    connection: Arc<Connection>,
    correlation: u64,
    receiver: oneshot::Receiver<Body>,
    answered: bool,
}

impl Future for Unanswered {
    type Output = Option<Body>;

    /// `None`: the link ended.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        let answer = Pin::new(&mut self.receiver).poll(cx).map(Result::ok);
        self.answered |= answer.is_ready();
        answer
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.state.lock().unanswered.remove(&self.correlation);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt, StreamExt, poll};

    use super::*;

    fn append(entry_bytes: usize) -> Body {
        let entries = vec![Bytes::from(vec![0; entry_bytes])];
        Body::Append(v1::AppendRequest { entries, ..v1::AppendRequest::default() })
    }

    fn heartbeat() -> Body {
        Body::Append(v1::AppendRequest { unary: true, ..v1::AppendRequest::default() })
    }

    async fn next_frame(link: &mut Link) -> Vec<v1::RaftMessage> {
        link.outgoing.next().await.expect("the link lives").messages
    }

    #[tokio::test]
    async fn heartbeats_overtake_entries_and_frames_are_limited_by_bytes() {
        let links = Links::new(usize::MAX);
        let mut link = links.attach(2);
        let connection = links.get(2).expect("attached");
        let sent: Vec<_> = [append(600 << 10), append(600 << 10), append(3 << 20), heartbeat()]
            .map(|body| connection.request(1, body).expect("the link lives"))
            .into();
        let frame = next_frame(&mut link).await;
        let order: Vec<u64> = frame.iter().map(|message| message.correlation).collect();
        assert_eq!(order, [4, 1], "the heartbeat first, and one of the large ones");
        assert_eq!(next_frame(&mut link).await.len(), 1);
        let large = next_frame(&mut link).await;
        assert_eq!((large.len(), large[0].correlation), (1, 3), "an entry above the limit travels alone");
        drop(sent);
    }

    #[tokio::test]
    async fn a_full_queue_says_so_and_wakes_who_waits() {
        let links = Links::new(1_000);
        let mut link = links.attach(2);
        let connection = links.get(2).expect("attached");
        let room = || {
            std::future::poll_fn(|cx| if connection.has_room(cx) { Poll::Ready(()) } else { Poll::Pending })
        };
        let mut waiting = room();
        assert!(poll!(&mut waiting).is_ready());
        let _sent = connection.request(1, append(2_000));
        assert!(room().now_or_never().is_none());
        let waiting = async { room().await };
        let (frame, ()) = tokio::join!(next_frame(&mut link), waiting);
        assert_eq!(frame.len(), 1);
    }

    #[tokio::test]
    async fn whatever_is_unanswered_fails_at_once_when_the_link_ends() {
        let links = Links::new(1_000);
        let Link { outgoing, incoming } = links.attach(2);
        let connection = links.get(2).expect("attached");
        let waiting = connection.request(1, heartbeat()).expect("the link lives");
        assert!(links.is_up(2));
        drop(outgoing);
        assert!(waiting.await.is_none());
        assert!(!links.is_up(2));
        assert!(connection.request(1, heartbeat()).is_none());
        assert!(!incoming.received(v1::RaftFrame::default()));
    }

    #[tokio::test]
    async fn a_newer_link_to_the_same_node_replaces_the_older_one() {
        let links = Links::new(1_000);
        let mut older = links.attach(2);
        let newer = links.attach(2);
        assert!(older.outgoing.next().await.is_none());
        drop(older);
        assert!(links.is_up(2), "the end of the older link does not close the newer one");
        drop(newer);
        assert!(!links.is_up(2));
    }

    #[tokio::test]
    async fn an_answer_finds_its_request_and_a_late_one_is_dropped() {
        let links = Links::new(1_000);
        let link = links.attach(2);
        let connection = links.get(2).expect("attached");
        let (first, second) = (connection.request(1, heartbeat()), connection.request(1, heartbeat()));
        drop(first);
        let answer = |correlation| {
            let body = Some(Body::Refused(format!("to {correlation}")));
            v1::RaftMessage { group: 1, correlation, reply: true, body }
        };
        let frame = v1::RaftFrame { hello: None, messages: vec![answer(1), answer(2)] };
        assert!(link.incoming.received(frame));
        let second = second.expect("the link lives").await;
        assert_eq!(second, Some(Body::Refused("to 2".to_owned())));
        assert!(connection.state.lock().unanswered.is_empty());
    }
}
