//! Service bootstrap by TLS with the device's certificate (security.md 3.1): where the first Kmr of a node comes from.
//!
//! Invariant: nothing is taken from the channel before the answer. In TLS 1.3 a client is done before the server has judged
//! its certificate, so one that is refused has exported a key all the same.

use super::{
    connection::{RootKey, post, unwrapped},
    uplink::tcp,
};
use banyan_binding::{http::response, session::Key, tls::ClientConfig};
use banyan_codec::Limits;
use banyan_model::{
    Body, StatusCode, Value,
    security::{KEY_OCTETS, M2mNodeId},
    value::Struct,
};
use std::{io, sync::Arc};
use tokio_rustls::{TlsConnector, rustls};
use zeroize::Zeroizing;

/// The exporter's label (RFC 5705).
const LABEL: &[u8] = b"EXPORTER-ETSI-TC-M2M-Bootstrap";
/// Its context for the key under which a delivered Kmr is wrapped.
const WRAP: &[u8] = b"wrap";

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// `host:port` of the MSBF has no name that TLS takes.
    #[error("{0}: no name for TLS")]
    Name(String),
    /// No connection, or the certificate was refused on one side.
    #[error("no channel with the MSBF")]
    Channel(#[from] io::Error),
    /// The channel gives no key.
    #[error("the channel exports no key")]
    Exporter(#[from] rustls::Error),
    /// The MSBF answered something else.
    #[error("bootstrap was refused: {status:?} {info}")]
    Refused {
        /// The answer.
        status: StatusCode,
        /// additionalInfo.
        info: String,
    },
    /// The answer is no bootstrapParamSet.
    #[error("{0}: missing in bootstrapParamSet, or not what it should be")]
    Answer(&'static str),
}

/// Asks the MSBF at `host:port` for a root key, showing the certificate in `tls`. The caller keeps it.
///
/// # Errors
/// [`BootstrapError`]; no usable key is left on this side.
pub async fn bootstrap(address: &str, tls: Arc<ClientConfig>) -> Result<RootKey, BootstrapError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = rustls::pki_types::ServerName::try_from(host.clone());
    let name = name.map_err(|_| BootstrapError::Name(host.clone()))?;
    let stream = TlsConnector::from(tls).connect(name, tcp(address).await?).await?;
    let [exported, wrapping] = [None, Some(WRAP)].map(|context| {
        let secret = Zeroizing::new([0; KEY_OCTETS]);
        let mut secret = stream.get_ref().1.export_keying_material(secret, LABEL, context)?;
        let key = Key::new(*secret);
        secret.fill(0);
        Ok::<_, rustls::Error>(key)
    });
    let (exported, wrapping) = (exported?, wrapping?);
    let answer = response(post(Box::new(stream), "/m2m/bootstrap", &host).await?, &Limits::default());
    match answer.body {
        Body::Message(params) if answer.status == StatusCode::Ok => {
            taken(&params, exported, &wrapping, &host)
        }
        _ => Err(BootstrapError::Refused { status: answer.status, info: answer.info }),
    }
}

/// The root key of an answer: the exported one, unless another one was delivered.
fn taken(params: &Struct, exported: Key, wrapping: &Key, host: &str) -> Result<RootKey, BootstrapError> {
    if params.name != "BootstrapParamSet" {
        return Err(BootstrapError::Answer("bootstrapParamSet"));
    }
    let node = match params.get("securityM2MNodeId") {
        Some(Value::Binary { bytes, .. }) => <[u8; 16]>::try_from(bytes.as_ref()).ok().map(M2mNodeId),
        _ => None,
    };
    let index = match params.get("securityKmrIndex") {
        Some(Value::Long(index)) => u32::try_from(*index).ok(),
        _ => None,
    };
    let Some(Value::Datetime(expires)) = params.get("securityLifetime") else {
        return Err(BootstrapError::Answer("securityLifetime"));
    };
    let key = match params.get("securityEncryptedM2MKey") {
        None => exported,
        Some(Value::Binary { bytes, .. }) => {
            unwrapped(wrapping, bytes).ok_or(BootstrapError::Answer("securityEncryptedM2MKey"))?
        }
        Some(_) => return Err(BootstrapError::Answer("securityEncryptedM2MKey")),
    };
    Ok(RootKey {
        node: node.ok_or(BootstrapError::Answer("securityM2MNodeId"))?,
        index: index.ok_or(BootstrapError::Answer("securityKmrIndex"))?,
        mas: params.text("securityMasFqdn").unwrap_or(host).to_owned(),
        expires: Some(*expires),
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
    use banyan_binding::tls::{self, ClientFiles, KeyFiles};
    use banyan_codec::{Format, encode_message};
    use banyan_model::Timestamp;
    use bytes::Bytes;
    use std::path::Path;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::oneshot,
    };
    use tokio_rustls::TlsAcceptor;

    const NODE: [u8; 16] = [7; 16];

    fn params(delivered: Option<Bytes>) -> Struct {
        let binary = |bytes| Value::Binary { content_type: None, bytes };
        let mut fields = vec![
            ("securityM2MNodeId", binary(Bytes::from_static(&NODE))),
            ("securityKmrIndex", Value::Long(3)),
            ("securityLifetime", Value::Datetime(Timestamp(1_800_000_000_000))),
            ("securityMasFqdn", Value::Text("mas.example.com".to_owned())),
        ];
        fields.extend(delivered.map(|bytes| ("securityEncryptedM2MKey", binary(bytes))));
        Struct { name: "BootstrapParamSet", fields }
    }

    /// A self-signed certificate for localhost in files of this name.
    fn files(folder: &Path, name: &str) -> KeyFiles {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let files = KeyFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, made.cert.pem()).expect("a file");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("a file");
        files
    }

    /// Bootstraps at an MSBF that answers with this status and, if it has one, body; also gives what the MSBF exported.
    async fn play(
        status: &str,
        body: Option<Struct>,
        known: bool,
    ) -> (Result<RootKey, BootstrapError>, Option<Key>) {
        let folder = tempfile::tempdir().expect("a folder");
        let [server, device, other] = ["server", "device", "other"].map(|name| files(folder.path(), name));
        let roots = if known { &device } else { &other };
        let trusted = ClientFiles { roots: roots.certificate.clone(), revoked: None };
        let acceptor = TlsAcceptor::from(tls::server(&server, Some(&trusted)).expect("settings"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let body =
            body.map(|body| encode_message(Format::Xml, &body).expect("a message")).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("a client");
            let Ok(mut stream) = acceptor.accept(socket).await else { return };
            let key = stream.get_ref().1.export_keying_material([0; KEY_OCTETS], LABEL, None).expect("a key");
            let _ = tell.send(Key::new(key));
            let mut seen = vec![0; 4096];
            let length = stream.read(&mut seen).await.unwrap_or_default();
            assert!(seen[..length].starts_with(b"POST /m2m/bootstrap "));
            let whole = [answer.as_bytes(), &body].concat();
            stream.write_all(&whole).await.expect("it is read");
            stream.flush().await.expect("it is read");
        });
        let client = tls::client(&server.certificate, Some(&device)).expect("settings");
        let taken = bootstrap(&format!("localhost:{port}"), client).await;
        (taken, told.await.ok())
    }

    #[tokio::test]
    async fn both_sides_have_the_same_key_once_the_answer_has_come() {
        let (taken, exported) = play("200 OK", Some(params(None)), true).await;
        let taken = taken.expect("a key");
        assert_eq!((taken.node, taken.index, taken.mas.as_str()), (M2mNodeId(NODE), 3, "mas.example.com"));
        assert_eq!(taken.expires, Some(Timestamp(1_800_000_000_000)));
        assert_eq!(Some(taken.key), exported);
    }

    #[tokio::test]
    async fn a_refusal_leaves_no_key() {
        let (refused, _) = play("403 Forbidden", None, true).await;
        assert!(matches!(refused, Err(BootstrapError::Refused { .. })), "{refused:?}");
        let (unknown, exported) = play("200 OK", Some(params(None)), false).await;
        assert!(matches!(unknown, Err(BootstrapError::Channel(_))), "{unknown:?}");
        assert!(exported.is_none(), "the server never had a channel");
    }

    #[test]
    fn a_delivered_key_is_unwrapped_and_half_an_answer_is_none() {
        let (exported, wrapping) = (Key::new([1; KEY_OCTETS]), Key::new([2; KEY_OCTETS]));
        let kek = AesKek::new(&AES_256, wrapping.expose()).expect("32 octets");
        let mut out = [0; KEY_OCTETS + 8];
        let wrapped = Bytes::copy_from_slice(kek.wrap(&[5; KEY_OCTETS], &mut out).expect("32 octets"));
        let delivered = taken(&params(Some(wrapped)), exported.clone(), &wrapping, "msbf");
        assert_eq!(delivered.expect("a key").key, Key::new([5; KEY_OCTETS]));
        let broken = params(Some(Bytes::from_static(&[0; KEY_OCTETS + 8])));
        assert!(taken(&broken, exported.clone(), &wrapping, "msbf").is_err());
        for missing in ["securityM2MNodeId", "securityKmrIndex", "securityLifetime"] {
            let mut params = params(None);
            params.fields.retain(|(name, _)| *name != missing);
            let error = taken(&params, exported.clone(), &wrapping, "msbf").expect_err(missing).to_string();
            assert!(error.starts_with(missing), "{error}");
        }
    }
}
