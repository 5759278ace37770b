//! What a certificate says about whose it is (RFC 5280).
//!
//! rustls verifies a chain and tells no names; they are read here. Nothing is verified here: only what a handshake
//! proved may be asked about.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, X509Error},
};

/// A certificate that cannot be read, though it was verified.
#[derive(Debug, thiserror::Error)]
#[error("the certificate cannot be read")]
pub struct Unreadable(#[source] X509Error);

/// The URIs of its subjectAltName, as they stand there.
///
/// # Errors
/// [`Unreadable`].
pub fn uris(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Unreadable> {
    names(certificate, |name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    })
}

/// The DNS names of its subjectAltName, in lower case.
///
/// # Errors
/// [`Unreadable`].
pub fn dns_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Unreadable> {
    names(certificate, |name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    })
}

/// The commonName of its subject; `None` if there is none, or more than one: which would be meant?
///
/// # Errors
/// [`Unreadable`].
pub fn common_name(certificate: &CertificateDer<'_>) -> Result<Option<String>, Unreadable> {
    let certificate = parse(certificate)?;
    let mut names = certificate.subject().iter_common_name();
    let first = names.next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    Ok(first.filter(|_| names.next().is_none()))
}

/// Its serialNumber, the octets of the integer as they are signed.
///
/// # Errors
/// [`Unreadable`].
pub fn serial(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Unreadable> {
    Ok(parse(certificate)?.raw_serial().to_vec())
}

/// Its SHA-256, as `openssl x509 -fingerprint -sha256` shows it.
pub fn sha256(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    octets
}

fn names(
    certificate: &CertificateDer<'_>,
    wanted: impl Fn(&GeneralName<'_>) -> Option<String>,
) -> Result<Vec<String>, Unreadable> {
    let certificate = parse(certificate)?;
    let alternative = certificate.subject_alternative_name().map_err(Unreadable)?;
    Ok(alternative
        .map(|found| found.value.general_names.iter().filter_map(wanted).collect())
        .unwrap_or_default())
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unreadable> {
    match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => Ok(certificate),
        Err(failure) => Err(Unreadable(match failure {
            x509_parser::nom::Err::Error(why) | x509_parser::nom::Err::Failure(why) => why,
            x509_parser::nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut parameters);
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn names_are_read_by_their_kind() {
        let certificate = made(|wanted| {
            wanted.serial_number = Some(0x1_0203_u64.into());
            wanted.distinguished_name.push(DnType::CommonName, "meter 7");
            wanted.subject_alt_names = vec![
                SanType::URI("urn:banyan:app:a".try_into().unwrap()),
                SanType::DnsName("Host.Example.com".try_into().unwrap()),
                SanType::URI("https://h/m2m/applications/b".try_into().unwrap()),
            ];
        });
        assert_eq!(uris(&certificate).unwrap(), ["urn:banyan:app:a", "https://h/m2m/applications/b"]);
        assert_eq!(dns_names(&certificate).unwrap(), ["host.example.com"]);
        assert_eq!(common_name(&certificate).unwrap().as_deref(), Some("meter 7"));
        assert_eq!(serial(&certificate).unwrap(), [1, 2, 3]);
        assert_ne!(sha256(&certificate), sha256(&made(|_| {})));
    }

    #[test]
    fn nothing_is_no_name_and_garbage_no_certificate() {
        let bare = made(|_| {});
        assert_eq!(uris(&bare).unwrap(), Vec::<String>::new());
        assert_eq!(common_name(&bare).unwrap(), None);
        let garbage = CertificateDer::from(vec![0x30, 0x03, 0x02]);
        assert!(uris(&garbage).is_err() && common_name(&garbage).is_err() && serial(&garbage).is_err());
    }
}
