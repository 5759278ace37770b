//! The body of a response, and word of it once the connection has the whole of it.

use crate::handler::{BrokenOff, Handed, Pages};
use banyan_codec::OpenDocument;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A body, bounded and whole, or a listing that is written as its pages come: then what stands here is one page, and
/// the next one is asked for when the connection has taken it.
///
/// One that somebody wants word of leaves in two parts: the last octet only after the connection was given a turn to
/// write the others out, so that a connection that is known to be broken never has the whole.
#[derive(Debug, Default)]
pub struct ResponseBody {
    first: Bytes,
    last: Bytes,
    /// The connection has had its turn.
    turn: bool,
    handed: Option<Handed>,
    rest: Option<Box<Rest>>,
}

/// What follows the first octets of a listing.
struct Rest {
    /// `None`: its end was written.
    document: Option<OpenDocument>,
    pages: Pages,
    /// Hears of each part that the connection takes.
    taken: Option<Box<dyn Fn() + Send>>,
}

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let Some(document) = &mut self.document else { return Poll::Ready(None) };
        loop {
            let part = match std::task::ready!(self.pages.poll_next(cx)) {
                Some(Ok(page)) => match document.entries(&page.list, &page.entries) {
                    // Nothing of it belongs to this document.
                    Some(part) if part.is_empty() => continue,
                    Some(part) => part,
                    None => return Poll::Ready(Some(Err(BrokenOff(format!("{} came again", page.list))))),
                },
                Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
                None => self.document.take().map(OpenDocument::end).unwrap_or_default(),
            };
            if let Some(taken) = &self.taken {
                taken();
            }
            return Poll::Ready(Some(Ok(part)));
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest")
    }
}

impl ResponseBody {
    /// A listing that begins with `first`.
    pub(super) fn listing(first: Bytes, document: OpenDocument, pages: Pages) -> ResponseBody {
        let rest = Rest { document: Some(document), pages, taken: None };
        ResponseBody { first, rest: Some(Box::new(rest)), ..ResponseBody::default() }
    }

    /// Calls `handed` once the connection took all of it, and not at all if it does not.
    pub(super) fn tell(&mut self, handed: Handed) {
        self.last = self.first.split_off(self.first.len().saturating_sub(1));
        self.handed = Some(handed);
    }

    /// Whether it is written as it comes.
    pub(super) fn is_listing(&self) -> bool {
        self.rest.is_some()
    }

    /// Calls `taken` for each part of a listing that the connection takes.
    pub(super) fn watch(&mut self, taken: impl Fn() + Send + 'static) {
        if let Some(rest) = &mut self.rest {
            rest.taken = Some(Box::new(taken));
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> ResponseBody {
        ResponseBody { first: bytes, ..ResponseBody::default() }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        if let Some(rest) = &mut self.rest {
            let part = std::task::ready!(rest.poll(cx));
            if !matches!(part, Some(Ok(_))) {
                self.rest = None;
            }
            return Poll::Ready(part.map(|part| part.map(Frame::data)));
        }
        if self.last.is_empty() {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.turn, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(handed) = self.handed.take() {
            handed.tell();
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.last.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            None => SizeHint::with_exact((self.first.len() + self.last.len()) as u64),
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    fn body(text: &'static str) -> (ResponseBody, Arc<AtomicBool>) {
        let (mut body, told) = (ResponseBody::from(Bytes::from_static(text.as_bytes())), Arc::default());
        let tell: Arc<AtomicBool> = Arc::clone(&told);
        body.tell(Handed::new(move || tell.store(true, Ordering::Relaxed)));
        (body, told)
    }

    #[tokio::test]
    async fn who_wants_word_gets_it_with_the_last_octet_and_not_before() {
        let (mut answer, told) = body("notify");
        assert_eq!(answer.size_hint().exact(), Some(6));
        let first = answer.frame().await.expect("a frame").expect("no error");
        assert_eq!(first.into_data().expect("data"), "notif");
        assert!(!told.load(Ordering::Relaxed));
        let last = answer.frame().await.expect("a frame").expect("no error");
        assert_eq!(last.into_data().expect("data"), "y");
        assert!(told.load(Ordering::Relaxed) && answer.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_was_not_taken_tells_nobody() {
        let (mut answer, told) = body("notify");
        let _ = answer.frame().await;
        drop(answer);
        assert!(!told.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_body_that_nobody_wants_word_of_is_one_frame() {
        let mut answer = ResponseBody::from(Bytes::from_static(b"x"));
        assert_eq!(answer.frame().await.expect("a frame").expect("ok").into_data().expect("data"), "x");
        assert!(answer.frame().await.is_none());
    }
}
