//! One multiplexed stream to one node: requests of one tick in one frame, answers by their correlation.
//!
//! The stream is opened again, after a pause that grows, for as long as the link lives. When it breaks, everything
//! that was not answered is told so at once; what becomes of a request is not decided here.

use crate::{Tls, TransportError, connect, session::Ticket};
use banyan_proto::v1::{self, answer, submission, submit_client::SubmitClient};
use futures_util::{Stream, stream};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::Instant,
};

/// A frame takes no further submission once it holds this many bytes.
const FRAME_BYTES: usize = 1 << 20;
/// What a submission takes besides its request.
const SUBMISSION_BYTES: usize = 64;
/// The largest message that is read; far above a frame with one submission of the largest size.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A stream to a node that is kept open until this is dropped.
pub(crate) struct Link {
    pub(crate) address: String,
    current: Arc<RwLock<Option<Arc<Connection>>>>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked, ready to be sent as often as needed: copies share their bytes.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) shard: u64,
    pub(crate) deadline: Instant,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) what: submission::What,
    pub(crate) bytes: usize,
}

impl Link {
    /// Must be called in a tokio runtime. `queue_max` bounds what waits to be sent.
    pub(crate) fn new(address: String, tls: Option<Tls>, queue_max: usize) -> Link {
        let current = Arc::new(RwLock::new(None));
        let task = tokio::spawn(keep_open(address.clone(), tls, queue_max, current.clone())).abort_handle();
        Link { address, current, task }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.current.read().is_some()
    }

    /// Queues a question. `None`: there is no stream, or it takes nothing more.
    pub(crate) fn send(&self, question: Question) -> Option<Unanswered> {
        let connection = self.current.read().clone()?;
        connection.send(question)
    }
}

struct Connection {
    queue: mpsc::Sender<(u64, Question)>,
    waiting: Arc<Waiting>,
}

impl Connection {
    fn send(self: Arc<Self>, question: Question) -> Option<Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let correlation = self.waiting.add(sender)?;
        let unanswered = Unanswered { waiting: self.waiting.clone(), correlation, receiver };
        self.queue.try_send((correlation, question)).ok()?;
        Some(unanswered)
    }
}

/// Who waits for an answer on one stream.
struct Waiting(Mutex<Table>);

struct Table {
    next: u64,
    /// `None` once the stream has ended.
    senders: Option<HashMap<u64, oneshot::Sender<answer::What>>>,
}

impl Waiting {
    fn new() -> Waiting {
        Waiting(Mutex::new(Table { next: 1, senders: Some(HashMap::new()) }))
    }

    fn add(&self, sender: oneshot::Sender<answer::What>) -> Option<u64> {
        let mut table = self.0.lock();
        let correlation = table.next;
        table.senders.as_mut()?.insert(correlation, sender);
        table.next += 1;
        Some(correlation)
    }

    fn remove(&self, correlation: u64) -> Option<oneshot::Sender<answer::What>> {
        self.0.lock().senders.as_mut()?.remove(&correlation)
    }

    fn contains(&self, correlation: u64) -> bool {
        self.0.lock().senders.as_ref().is_some_and(|senders| senders.contains_key(&correlation))
    }

    fn end(&self) {
        self.0.lock().senders = None;
    }
}

/// An answer to come; `None` when the stream ends first.
pub(crate) struct Unanswered {
    waiting: Arc<Waiting>,
    correlation: u64,
    receiver: oneshot::Receiver<answer::What>,
}

impl Future for Unanswered {
    type Output = Option<answer::What>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<answer::What>> {
        Pin::new(&mut self.receiver).poll(cx).map(Result::ok)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.waiting.remove(self.correlation);
    }
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("not reachable")]
    Transport(#[from] TransportError),
    #[error("{0}")]
    Status(String),
    #[error("stream not opened in time")]
    Timeout,
    #[error("ended by the node")]
    Ended,
}

impl From<tonic::Status> for LinkError {
    fn from(status: tonic::Status) -> LinkError {
        LinkError::Status(format!("{}: {}", status.code(), status.message()))
    }
}

async fn keep_open(
    address: String,
    tls: Option<Tls>,
    queue_max: usize,
    current: Arc<RwLock<Option<Arc<Connection>>>>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let mut up = false;
        let Err(error) = serve(&address, tls.as_ref(), queue_max, &current, &mut up).await;
        if up {
            tracing::warn!(node = address, error = &error as &dyn std::error::Error, "stream to node broken");
            pause = PAUSE_MIN;
        } else {
            tracing::debug!(node = address, error = &error as &dyn std::error::Error, "no stream to node");
        }
        drop(error);
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Opens the stream and reads it to its end.
async fn serve(
    address: &str,
    tls: Option<&Tls>,
    queue_max: usize,
    current: &RwLock<Option<Arc<Connection>>>,
    up: &mut bool,
) -> Result<std::convert::Infallible, LinkError> {
    let channel = connect(address, tls).await?;
    let (queue, queued) = mpsc::channel(queue_max);
    let waiting = Arc::new(Waiting::new());
    let mut client = SubmitClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let opening = client.stream(frames(queued, waiting.clone()));
    let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await.map_err(|_| LinkError::Timeout)?;
    let mut answers = opened?.into_inner();

    let _published = Published::new(current, Arc::new(Connection { queue, waiting: waiting.clone() }));
    *up = true;
    tracing::debug!(node = address, "stream to node is open");
    while let Some(frame) = answers.message().await? {
        for answer in frame.answers {
            // An answer of a kind that this release does not know tells only that the request was taken.
            let what =
                answer.what.unwrap_or_else(|| answer::What::OutcomeUnknown("unknown answer".to_owned()));
            if let Some(sender) = waiting.remove(answer.correlation) {
                // Whoever asked may just have gone.
                let _ = sender.send(what);
            }
        }
    }
    Err(LinkError::Ended)
}

/// The connection is the link's as long as this lives.
struct Published<'a> {
    current: &'a RwLock<Option<Arc<Connection>>>,
    waiting: Arc<Waiting>,
}

impl<'a> Published<'a> {
    fn new(current: &'a RwLock<Option<Arc<Connection>>>, connection: Arc<Connection>) -> Published<'a> {
        let waiting = connection.waiting.clone();
        *current.write() = Some(connection);
        Published { current, waiting }
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        *self.current.write() = None;
        self.waiting.end();
    }
}

/// Cuts the queue into frames, each when the transport asks for one: they grow while it is busy.
fn frames(
    queued: mpsc::Receiver<(u64, Question)>,
    waiting: Arc<Waiting>,
) -> impl Stream<Item = v1::SubmitFrame> + Send + 'static {
    stream::unfold((queued, waiting), |(mut queued, waiting)| async move {
        loop {
            let mut next = Some(queued.recv().await?);
            // One turn for everybody else who is about to send: a third of the frames (spike-notes 3).
            tokio::task::yield_now().await;
            let (mut submissions, mut bytes) = (Vec::new(), 0);
            while let Some((correlation, question)) = next {
                // Nobody waits any more for what was given up while it stood here.
                if waiting.contains(correlation) {
                    bytes += SUBMISSION_BYTES + question.bytes;
                    submissions.push(submission(correlation, question));
                }
                next = if bytes < FRAME_BYTES { queued.try_recv().ok() } else { None };
            }
            if !submissions.is_empty() {
                return Some((v1::SubmitFrame { submissions }, (queued, waiting)));
            }
        }
    })
}

fn submission(correlation: u64, question: Question) -> v1::Submission {
    let left = question.deadline.saturating_duration_since(Instant::now());
    v1::Submission {
        correlation,
        shard: question.shard,
        deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        id: question.ticket.map(|ticket| (&ticket.id()).into()),
        traceparent: String::new(),
        what: Some(question.what),
    }
}
