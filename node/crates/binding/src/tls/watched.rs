//! A server's files, looked at for every connection and read again when one of them changed: a renewed certificate or
//! revocation list needs no restart.
//!
//! Files that make no sense any more leave the last good ones in use until they change again; files that are there and
//! cannot be read just now are tried again with the next connection. Connections that are made
//! already stay as they are. TLS sessions made by the files before are not resumed: their certificates would not be
//! looked up in the new revocation lists.

use super::{ClientFiles, KeyFiles, ServerConfig, TlsError, server};
use parking_lot::Mutex;
use rustls::{pki_types::pem, server::NoServerSessionStorage};
use std::{fs, os::unix::fs::MetadataExt, sync::Arc, time::SystemTime};

/// TLS of a listener by files that may be replaced at any time.
#[derive(Debug)]
pub struct Watched {
    keys: KeyFiles,
    clients: Option<ClientFiles>,
    /// Whether TLS 1.2 is refused without extended master secret (RFC 7627): without it an exporter proves nothing.
    exports: bool,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    config: Arc<ServerConfig>,
    /// The files when they were last tried, used or not; `None`: one of them was missing.
    tried: Option<Vec<Stamp>>,
}

/// What a file that was replaced or written does not keep: inode, size, time.
type Stamp = (u64, u64, Option<SystemTime>);

impl Watched {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(keys: KeyFiles, clients: Option<ClientFiles>) -> Result<Watched, TlsError> {
        Watched::of(keys, clients, false)
    }

    /// Reads the files of a listener that uses the exporter of its sessions.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn exporting(keys: KeyFiles, clients: ClientFiles) -> Result<Watched, TlsError> {
        Watched::of(keys, Some(clients), true)
    }

    fn of(keys: KeyFiles, clients: Option<ClientFiles>, exports: bool) -> Result<Watched, TlsError> {
        // Looked at before they are read: what is replaced in between is read again.
        let tried = stamps(&keys, clients.as_ref());
        let config = read(&keys, clients.as_ref(), exports)?;
        Ok(Watched { keys, clients, exports, last: Mutex::new(Last { config, tried }) })
    }

    /// What the files say now.
    pub fn current(&self) -> Arc<ServerConfig> {
        let found = stamps(&self.keys, self.clients.as_ref());
        let mut last = self.last.lock();
        if found != last.tried {
            match read(&self.keys, self.clients.as_ref(), self.exports) {
                Ok(config) => {
                    tracing::info!(certificate = %self.keys.certificate.display(), "TLS files were read again");
                    last.config = config;
                }
                Err(error) => {
                    // Out of file descriptors, say: a revocation must not wait for the next one.
                    let passes = found.is_some() && is_io(&error);
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "changed TLS files cannot be used; those before stay in use");
                    if passes {
                        return Arc::clone(&last.config);
                    }
                }
            }
            last.tried = found;
        }
        Arc::clone(&last.config)
    }
}

fn read(
    keys: &KeyFiles,
    clients: Option<&ClientFiles>,
    exports: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let config = server(keys, clients)?;
    if !exports {
        return Ok(config);
    }
    let mut config = Arc::unwrap_or_clone(config);
    config.require_ems = true;
    // A session that is resumed would prove what was true once, by a certificate that may be revoked since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn is_io(error: &TlsError) -> bool {
    matches!(error, TlsError::Read { source: pem::Error::Io(_), .. })
}

fn stamps(keys: &KeyFiles, clients: Option<&ClientFiles>) -> Option<Vec<Stamp>> {
    let clients = clients.into_iter().flat_map(|files| std::iter::once(&files.roots).chain(&files.revoked));
    let stamp = |file| {
        let found = fs::metadata(file).ok()?;
        Some((found.ino(), found.len(), found.modified().ok()))
    };
    [&keys.certificate, &keys.key].into_iter().chain(clients).map(stamp).collect()
}
