//! Counts what handshakes come to, and the sessions that stand.

use crate::metrics::{Metrics, Standing};
use banyan_binding::http::{Accepting, Channel, Stream};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A channel, counted.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) channel: Arc<dyn Channel>,
    /// Of which listener.
    pub(crate) listener: &'static str,
    pub(crate) metrics: Arc<Metrics>,
}

impl Channel for Measured {
    fn shakes_hands(&self) -> bool {
        self.channel.shakes_hands()
    }

    fn accept(&self, socket: TcpStream, address: SocketAddr) -> Accepting<'_> {
        Box::pin(async move {
            let mut outcome = Outcome { of: self, result: "abandoned" };
            match self.channel.accept(socket, address).await {
                Ok((stream, peer)) => {
                    outcome.result = "done";
                    let standing = Metrics::session_opens(&self.metrics, self.listener);
                    Ok((Box::new(Counted { stream, _standing: standing }) as Box<dyn Stream>, peer))
                }
                Err(failure) => {
                    outcome.result = "failed";
                    Err(failure)
                }
            }
        })
    }
}

/// Told when the handshake ends, in time or not.
struct Outcome<'a> {
    of: &'a Measured,
    result: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.of.metrics.handshake(self.of.listener, self.result);
    }
}

struct Counted {
    stream: Box<dyn Stream>,
    _standing: Standing,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
