//! What stands between a connection's channel and hyper: it refuses what has two readings and gives up who is too slow.
//!
//! Requests are read along as they arrive ([`Scanner`]), without being kept. At the first octet that leaves a doubt the
//! rest is withheld and hyper gets something that it answers with 400 and the end of the connection, after the answers
//! to what came before. Time is looked at only while the peer lets us wait: a head that comes whole costs no timer.

mod scanner;
#[cfg(test)]
mod tests;

use scanner::Scanner;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tracing::debug;

/// How slow a peer may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From the start of a head (of the first one: of the connection) to its end.
    pub(super) header_timeout: Duration,
    /// How long it may leave an answer standing before its rate counts: it takes what its buffers held in leaps.
    pub(super) answer_grace: Duration,
    /// Octets of answers a second that it takes then; 0: any.
    pub(super) answer_rate_min: u64,
}

/// A stream whose requests have one reading each.
#[derive(Debug)]
pub(super) struct Guard<S, P> {
    stream: S,
    scanner: Scanner,
    pace: Pace,
    /// What hyper gets instead of the rest.
    poison: Option<&'static [u8]>,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Stall>,
    /// Held until the first head is whole.
    proving: Option<P>,
}

/// A peer that does not take what is written.
#[derive(Debug)]
struct Stall {
    /// When it will have taken too little.
    due: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S, P> Guard<S, P> {
    pub(super) fn new(stream: S, pace: Pace, proving: P) -> Guard<S, P> {
        let (scanner, proving) = (Scanner::new(), Some(proving));
        Guard { stream, scanner, pace, poison: None, head: None, stall: None, proving }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.scanner.in_head() && self.scanner.heads() > 0 {
            return Poll::Pending;
        }
        let until = Instant::now() + self.pace.header_timeout;
        let timer = self.head.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).map(|()| Err(too_slow("the header took too long")))
    }

    fn poll_stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.pace.answer_rate_min == 0 {
            return Poll::Pending;
        }
        let due = Instant::now() + self.pace.answer_grace;
        let stall = self.stall.get_or_insert_with(|| Stall { due, timer: Box::pin(sleep_until(due)) });
        loop {
            std::task::ready!(stall.timer.as_mut().poll(cx));
            if stall.due <= Instant::now() {
                return Poll::Ready(Err(too_slow("the answer was not read")));
            }
            stall.timer.as_mut().reset(stall.due);
        }
    }

    /// What is taken buys time, but never more than one that takes nothing has.
    fn wrote(&mut self, octets: usize) {
        let Pace { answer_grace: grace, answer_rate_min: rate, .. } = self.pace;
        if let Some(stall) = &mut self.stall
            && let Some(micros) = (octets as u64).saturating_mul(1_000_000).checked_div(rate)
        {
            let most = Instant::now() + grace;
            stall.due = stall.due.checked_add(Duration::from_micros(micros)).unwrap_or(most).min(most);
        }
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// Gives hyper as much of the poison as it takes now.
fn give(poison: &mut &'static [u8], buffer: &mut ReadBuf<'_>) {
    let (now, later) = poison.split_at(poison.len().min(buffer.remaining()));
    buffer.put_slice(now);
    *poison = later;
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Guard<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(poison) = &mut this.poison {
            if poison.is_empty() {
                // Not an end: hyper would take it for a client that is gone, and leave out what it owes to it.
                return Poll::Pending;
            }
            give(poison, buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if Pin::new(&mut this.stream).poll_read(cx, buffer)?.is_pending() {
            return this.poll_head(cx);
        }
        let heads = this.scanner.heads();
        if let Err((at, fault)) = this.scanner.feed(&buffer.filled()[before..]) {
            debug!(%fault, "a request has more than one reading");
            buffer.set_filled(before + at);
            give(this.poison.insert(this.scanner.poison()), buffer);
        }
        if this.scanner.heads() > heads {
            this.proving = None;
            this.head = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Guard<S, P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, octets) {
            Poll::Pending => self.poll_stalled(cx),
            Poll::Ready(written) => {
                self.wrote(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, parts) {
            Poll::Pending => self.poll_stalled(cx),
            Poll::Ready(written) => {
                self.wrote(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.poll_stalled(cx),
            // hyper flushes once all that it had was written.
            ready => {
                self.stall = None;
                ready
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => self.poll_stalled(cx),
            ready => ready,
        }
    }
}
