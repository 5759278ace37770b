//! Mutual TLS of the node's port. The files are watched: a renewed certificate needs no restart.

use banyan_binding::tls::{ClientFiles, KeyFiles, TlsError, Watched};
use banyan_client::Tls;
use futures_util::{Stream, stream};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const HANDSHAKES_MAX: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections whose handshake is done: their certificates are signed by the cluster's CA.
///
/// # Errors
/// [`TlsError`] for files that cannot be used.
pub(super) fn incoming(
    listener: TcpListener,
    files: Tls,
) -> Result<impl Stream<Item = io::Result<TlsStream<TcpStream>>>, TlsError> {
    let clients = ClientFiles { roots: files.ca, revoked: None };
    let files = Watched::read(KeyFiles { certificate: files.certificate, key: files.key }, Some(clients))?;
    let (sender, receiver) = mpsc::channel(HANDSHAKES_MAX);
    let accepting = Accepting(tokio::spawn(accept(listener, files, sender)));
    Ok(stream::unfold((receiver, accepting), |(mut receiver, accepting)| async move {
        let connection = receiver.recv().await?;
        Some((Ok(connection), (receiver, accepting)))
    }))
}

/// Ends the accepting task with the stream.
struct Accepting(tokio::task::JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: TcpListener, files: Watched, ready: mpsc::Sender<TlsStream<TcpStream>>) {
    let permits = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let accepted = listener.accept().await.and_then(|(socket, from)| {
            socket.set_nodelay(true)?;
            Ok((socket, from))
        });
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            // Out of file descriptors, or a peer that was gone before it was accepted: not the listener's end.
            Err(failure) => {
                tracing::warn!(%failure, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready) = (TlsAcceptor::from(files.current()), ready.clone());
        handshakes.spawn(async move {
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
                // The server takes no more connections when it stops.
                Ok(Ok(connection)) => drop(ready.send(connection).await),
                Ok(Err(failure)) => tracing::debug!(%from, %failure, "TLS handshake failed"),
                Err(_) => tracing::debug!(%from, "TLS handshake took too long"),
            }
            drop(permit);
        });
    }
}
