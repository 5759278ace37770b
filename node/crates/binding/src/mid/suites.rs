//! What both sides of TLS-PSK agree on: versions, suites, and what OpenSSL must leave off.

use super::CONNECTION_LABEL;
use crate::session::Key;
use openssl::{
    error::ErrorStack,
    ssl::{
        SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
        SslVersion,
    },
};
use std::io;

/// The suites of TLS 1.2 in the server's order. The first two have forward secrecy: whoever gets the key later reads
/// nothing that was recorded before. The last one is the least that everybody has.
pub const SUITES: &[&str] = &[
    "ECDHE-PSK-CHACHA20-POLY1305",
    "ECDHE-PSK-AES128-CBC-SHA256",
    "PSK-AES128-GCM-SHA256",
    "PSK-AES128-CCM",
    "PSK-AES128-CCM8",
    "PSK-AES128-CBC-SHA256",
];
/// Added to [`SUITES`] for peers that are older than RFC 5487.
pub const LEGACY_SUITE: &str = "PSK-AES128-CBC-SHA";
/// The suites of TLS 1.3. Their hash must be the one that the key is used with, SHA-256; the key exchange is ECDHE.
pub const SUITES_1_3: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

const GROUPS: &str = "X25519:P-256:P-384";

/// OpenSSL could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum PskError {
    /// A suite that is not known, or no memory.
    #[error("failed to set up TLS with pre-shared keys")]
    OpenSsl(#[from] ErrorStack),
}

/// A context with everything off that this channel does not need: certificates, tickets, sessions that are resumed,
/// renegotiation, compression, early data.
pub(super) fn context(method: SslMethod, suites: &[&str]) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_options(
        SslOptions::NO_TICKET
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_COMPRESSION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_num_tickets(0)?;
    context.set_max_early_data(0)?;
    // Level 1 would drop CCM_8, whose tag has 64 bits and which constrained devices have. What is allowed is named
    // one by one here, so the level has nothing else to add.
    context.set_security_level(0);
    context.set_cipher_list(&suites.join(":"))?;
    context.set_ciphersuites(SUITES_1_3)?;
    context.set_groups_list(GROUPS)?;
    // A write that is tried again may come from another buffer; an idle connection keeps none.
    context.set_mode(
        SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::AUTO_RETRY
            | SslMode::RELEASE_BUFFERS,
    );
    Ok(context)
}

/// Kmc of a handshake that has ended.
pub(super) fn export(ssl: &SslRef) -> io::Result<Key> {
    let mut secret = zeroize::Zeroizing::new([0; banyan_model::security::KEY_OCTETS]);
    // Absent and empty are different contexts in TLS 1.2.
    ssl.export_keying_material(secret.as_mut(), CONNECTION_LABEL, None)?;
    Ok(Key::new(*secret))
}

/// A handshake's failure.
pub(super) fn failed(failure: openssl::ssl::Error) -> io::Error {
    failure.into_io_error().unwrap_or_else(io::Error::other)
}
