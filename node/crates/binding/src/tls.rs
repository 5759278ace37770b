//! TLS from PEM files, by rustls. Every error names the file it is about.

pub use rustls::{ClientConfig, ServerConfig};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
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
    #[error("the roots of {} make no client verifier", file.display())]
    Verifier {
        file: PathBuf,
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    #[error("TLS parameters")]
    Parameters(#[source] rustls::Error),
}

/// The server side for HTTP (ALPN h2 and http/1.1). With `client_roots` a client must show a certificate that one of
/// those signed; what it may say is still the identity's business.
pub fn server(files: &KeyFiles, client_roots: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Parameters)?;
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file)?), provider())
                .build()
                .map_err(|source| TlsError::Verifier { file: file.to_owned(), source })?;
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
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { file: file.to_owned(), source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    match chain.is_empty() {
        true => Err(TlsError::NoCertificate { file: file.to_owned() }),
        false => Ok(chain),
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
