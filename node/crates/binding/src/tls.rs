//! TLS from PEM files, by rustls. Every error names the file it is about.

pub mod certificate;
mod certified;
mod watched;

pub use certified::{Certified, Owners};
pub use watched::Watched;

pub use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A certificate chain (leaf first) and its private key, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Which clients a server takes: those that show a certificate of one of these roots that is not revoked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientFiles {
    /// The roots, PEM.
    pub roots: PathBuf,
    /// Revocation lists (RFC 5280), PEM. With one, whoever issued a certificate of a client's chain must have a list
    /// here: a certificate of which nothing is known is refused. A list that is past its nextUpdate still counts.
    pub revoked: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TlsError {
    #[error("failed to read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("no certificate in {}", file.display())]
    NoCertificate { file: PathBuf },
    #[error("no revocation list in {}", file.display())]
    NoRevocationList { file: PathBuf },
    #[error("a certificate in {} cannot be trusted as a root", file.display())]
    Root {
        file: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("{} and {} do not make an identity", certificate.display(), key.display())]
    Identity {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("the roots of {} and their revocation lists make no client verifier", roots.display())]
    Verifier {
        roots: PathBuf,
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    #[error("TLS parameters")]
    Parameters(#[source] rustls::Error),
}

/// The server side for HTTP (ALPN h2 and http/1.1). With `clients` a client must show a certificate; what it may say is
/// still the identity's business.
pub fn server(files: &KeyFiles, clients: Option<&ClientFiles>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Parameters)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let roots = Arc::new(roots(&files.roots)?);
            let revoked = files.revoked.as_deref().map(revocation_lists).transpose()?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .with_crls(revoked.unwrap_or_default())
                .build()
                .map_err(|source| TlsError::Verifier { roots: files.roots.clone(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, key(&files.key)?)
        .map_err(|source| identity_error(files, source))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The client side for HTTP/1.1: trusts the roots of one file, shows `identity` when asked.
pub fn client(trusted: &Path, identity: Option<&KeyFiles>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Parameters)?
        .with_root_certificates(roots(trusted)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(files) => builder
            .with_client_auth_cert(certificates(&files.certificate)?, key(&files.key)?)
            .map_err(|source| identity_error(files, source))?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The one provider of this house, named so that no process-wide default has to be installed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    all_of(file, |file| TlsError::NoCertificate { file })
}

fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    all_of(file, |file| TlsError::NoRevocationList { file })
}

/// What a file has of a kind: something, or the error is `none`.
fn all_of<T: PemObject>(file: &Path, none: impl FnOnce(PathBuf) -> TlsError) -> Result<Vec<T>, TlsError> {
    let read = |source| TlsError::Read { file: file.to_owned(), source };
    let found: Vec<T> = T::pem_file_iter(file).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    match found.is_empty() {
        true => Err(none(file.to_owned())),
        false => Ok(found),
    }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|source| TlsError::Read { file: file.to_owned(), source })
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|source| TlsError::Root { file: file.to_owned(), source })?;
    }
    Ok(store)
}

fn identity_error(files: &KeyFiles, source: rustls::Error) -> TlsError {
    TlsError::Identity { certificate: files.certificate.clone(), key: files.key.clone(), source }
}
