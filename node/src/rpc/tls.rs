//! Mutual TLS of the node's port. The files are looked at for every connection and read again when they changed, so a
//! renewed certificate needs no restart; files that make no sense any more leave the last good ones in use.

use banyan_binding::tls::{self, KeyFiles, TlsError};
use banyan_client::Tls;
use futures_util::{Stream, stream};
use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

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
    let keys = Keys::read(files)?;
    let (sender, receiver) = mpsc::channel(HANDSHAKES_MAX);
    let accepting = Accepting(tokio::spawn(accept(listener, keys, sender)));
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

async fn accept(listener: TcpListener, mut keys: Keys, ready: mpsc::Sender<TlsStream<TcpStream>>) {
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
        let (acceptor, ready) = (TlsAcceptor::from(keys.current()), ready.clone());
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

/// The files, as they were last read.
struct Keys {
    files: Tls,
    changed: Option<[SystemTime; 3]>,
    config: Arc<ServerConfig>,
}

impl Keys {
    fn read(files: Tls) -> Result<Keys, TlsError> {
        let changed = changed(&files);
        Ok(Keys { config: config(&files)?, changed, files })
    }

    fn current(&mut self) -> Arc<ServerConfig> {
        let changed = changed(&self.files);
        if changed != self.changed {
            match config(&self.files) {
                Ok(config) => {
                    tracing::info!("TLS files were read again");
                    self.config = config;
                    self.changed = changed;
                }
                // Perhaps one of them is just being replaced: the next connection looks again.
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "changed TLS files cannot be used"
                    );
                }
            }
        }
        self.config.clone()
    }
}

fn config(files: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let keys = KeyFiles { certificate: files.certificate.clone(), key: files.key.clone() };
    tls::server(&keys, Some(&files.ca))
}

fn changed(files: &Tls) -> Option<[SystemTime; 3]> {
    let at = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
    Some([at(&files.ca)?, at(&files.certificate)?, at(&files.key)?])
}
