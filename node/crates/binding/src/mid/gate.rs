//! The stream below OpenSSL: what the client sends in plaintext is looked at first, and the octets that show a PSK
//! identity are held back until the key is there.

use super::scan::{Scan, Shown};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Octets that a client may send until its handshake is over.
const HANDSHAKE_OCTETS_MAX: usize = 64 << 10;
/// Octets of one read: a handshake fits in.
const PIECE: usize = 4 << 10;

/// A stream with a gate in it, until [`Gate::open`].
#[derive(Debug)]
pub(super) struct Gate<S> {
    inner: S,
    /// `None`: open.
    scan: Option<Scan>,
    /// Read, and not all handed on.
    held: Vec<u8>,
    handed: usize,
    octets: usize,
    shown: VecDeque<Shown>,
    /// The alert that ends the handshake, until it is time.
    parting: Vec<u8>,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S) -> Gate<S> {
        let shown = VecDeque::new();
        let (held, parting) = (Vec::new(), Vec::new());
        Gate { inner, scan: Some(Scan::default()), held, handed: 0, octets: 0, shown, parting }
    }

    /// The identities that hold everything up. Once the last of them is taken, reading goes on.
    pub(super) fn shown(&mut self) -> Option<Shown> {
        self.shown.pop_front()
    }

    /// The alert that ends a handshake, which was held back; nothing if none was written.
    pub(super) fn parting(&mut self) -> Option<(&mut S, Vec<u8>)> {
        let parting = std::mem::take(&mut self.parting);
        (!parting.is_empty()).then_some((&mut self.inner, parting))
    }

    /// The handshake is over.
    pub(super) fn open(&mut self) {
        self.scan = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    /// While something is shown it is pending and wakes nobody: whoever drives the handshake takes it and polls again.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.handed == gate.held.len() {
            let Some(scan) = &mut gate.scan else {
                gate.held = Vec::new();
                gate.handed = 0;
                return Pin::new(&mut gate.inner).poll_read(context, into);
            };
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut gate.inner).poll_read(context, &mut piece))?;
            gate.octets += piece.filled().len();
            if gate.octets > HANDSHAKE_OCTETS_MAX {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "handshake is too long")));
            }
            gate.shown.extend(scan.read(piece.filled()));
            gate.held.clear();
            gate.held.extend_from_slice(piece.filled());
            gate.handed = 0;
        }
        if !gate.shown.is_empty() {
            return Poll::Pending;
        }
        let rest = &gate.held[gate.handed..];
        let part = &rest[..rest.len().min(into.remaining())];
        into.put_slice(part);
        gate.handed += part.len();
        Poll::Ready(Ok(()))
    }
}

/// Whether it is a record with a fatal alert in plaintext (RFC 5246 6.2.1 and 7.2, RFC 8446 5.1 and 6): nothing follows it.
fn is_fatal(record: &[u8]) -> bool {
    matches!(record, [21, _, _, 0, 2, 2, _])
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    /// Until the handshake is over the alert that ends it is taken and held back: it would say when OpenSSL gave up.
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gate = &mut *self;
        if gate.scan.is_some() && is_fatal(octets) {
            gate.parting.extend_from_slice(octets);
            return Poll::Ready(Ok(octets.len()));
        }
        Pin::new(&mut self.inner).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
