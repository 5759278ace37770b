//! The request door: one stream for each edge or node, many submissions under way on it.

use super::{
    role::{Guard, Role},
    stopped,
};
use crate::request::Desk;
use banyan_proto::v1::{self, answer, internal, keys_question, submission, submit_server::Submit};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use prost::Message;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

/// Submissions of one stream that are not answered yet; further ones wait in the stream's window.
const IN_FLIGHT_MAX: usize = 8_192;
/// Long polls of one stream that are not answered yet; further ones count as any submission.
const POLLS_MAX: usize = 16_384;
/// A frame takes no further answer once it holds this many bytes.
const FRAME_BYTES: usize = 1 << 20;

pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) guard: Guard,
    pub(super) stopping: watch::Receiver<bool>,
}

/// An answer on its way out, and its place among those under way.
type Answered = (v1::Answer, OwnedSemaphorePermit);

#[tonic::async_trait]
impl Submit for Service {
    type StreamStream = BoxStream<'static, Result<v1::AnswerFrame, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::SubmitFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let internal = self.guard.role(&request)? == Role::Node;
        // As many places as there are permits, so that an answer always finds one without waiting.
        let (answers, answered) = mpsc::channel(IN_FLIGHT_MAX + POLLS_MAX);
        tokio::spawn(read(request.into_inner(), self.desk.clone(), internal, answers, self.stopping.clone()));
        Ok(Response::new(frames(answered).map(Ok).boxed()))
    }
}

/// Hands submissions over until the stream ends or the node stops.
async fn read(
    mut frames: Streaming<v1::SubmitFrame>,
    desk: Desk,
    internal: bool,
    answers: mpsc::Sender<Answered>,
    stopping: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let polls = Arc::new(Semaphore::new(POLLS_MAX));
    let mut stop = std::pin::pin!(stopped(stopping));
    loop {
        let frame = tokio::select! {
            () = &mut stop => return,
            () = answers.closed() => return,
            frame = frames.message() => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(status) => return tracing::debug!(%status, "a submit stream broke"),
        };
        for submission in frame.submissions {
            let poll = is_poll(&submission).then(|| polls.clone().try_acquire_owned().ok()).flatten();
            let permit = match poll {
                Some(permit) => Ok(permit),
                None => tokio::select! {
                    () = answers.closed() => return,
                    permit = permits.clone().acquire_owned() => permit,
                },
            };
            let Ok(permit) = permit else { return };
            let answers = answers.clone();
            desk.submit(submission, internal, move |answer| {
                // The peer may be gone: it asks again elsewhere, under the same id.
                let _ = answers.try_send((answer, permit));
            });
        }
    }
}

/// A poll stays long, and must not keep a request from getting in.
fn is_poll(submission: &v1::Submission) -> bool {
    match &submission.what {
        Some(submission::What::Internal(question)) => match &question.kind {
            Some(internal::Kind::Poll(_)) => true,
            Some(internal::Kind::Keys(question)) => {
                matches!(question.kind, Some(keys_question::Kind::AwaitClosures(_)))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Cuts the answers into frames, each when the transport asks for one: they grow while it is busy.
fn frames(answered: mpsc::Receiver<Answered>) -> impl Stream<Item = v1::AnswerFrame> + Send + 'static {
    stream::unfold(answered, |mut answered| async move {
        let mut next = Some(answered.recv().await?);
        // One turn for everybody else who is about to answer: a third of the frames (spike-notes 3).
        tokio::task::yield_now().await;
        let (mut answers, mut bytes) = (Vec::new(), 0);
        while let Some((answer, permit)) = next {
            drop(permit);
            bytes += size(&answer);
            answers.push(answer);
            next = if bytes < FRAME_BYTES { answered.try_recv().ok() } else { None };
        }
        Some((v1::AnswerFrame { answers }, answered))
    })
}

fn size(answer: &v1::Answer) -> usize {
    match &answer.what {
        // By far the commonest: not measured field by field.
        Some(answer::What::Response(bytes)) => bytes.len() + 16,
        _ => answer.encoded_len(),
    }
}
