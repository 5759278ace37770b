//! The factory of devices: a CA, certificates, a revocation list, all as files that can be replaced. What cannot be made
//! or written ends the test.

#![allow(clippy::missing_panics_doc, reason = "said above, once")]

use std::fmt;
use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, date_time_ymd,
};
use tempfile::TempDir;

/// Serial number of the edges' first certificate.
const OF_EDGE: u64 = 1;

/// A CA that signs devices and edges.
pub struct Factory {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Factory {
    /// With the files that edges need: `ca.pem`, `edge.pem`, `edge.key`, and `crl.pem` that lists nothing.
    #[allow(clippy::new_without_default, reason = "a new one differs from every other")]
    pub fn new() -> Factory {
        Factory::called("factory")
    }

    /// One whose CA has this name.
    pub fn called(name: &str) -> Factory {
        let mut ca = CertificateParams::new(Vec::new()).expect("no names");
        ca.distinguished_name = named(name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(ca, key).expect("a certificate");
        let factory = Factory { folder: tempfile::tempdir().expect("a temporary folder"), ca };
        factory.write("ca.pem", &factory.ca.pem());
        factory.edge(OF_EDGE);
        factory.revoke(&[]);
        factory
    }

    /// A new certificate and key of the edges.
    pub fn edge(&self, serial: u64) {
        self.issue("edge", serial, |wanted| wanted.subject_alt_names = vec![dns("nscl"), dns("localhost")]);
    }

    /// A certificate and key of an M2M node, in files of this name.
    pub fn device(&self, name: &str, serial: u64, node: &[u8; 16]) {
        let hex: String = node.iter().map(|octet| format!("{octet:02x}")).collect();
        let uri = format!("urn:example:node:{hex}");
        self.issue(name, serial, |wanted| {
            wanted.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().expect("ASCII"))];
        });
    }

    /// A certificate and key with whatever `change` says.
    pub fn issue(&self, name: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().expect("a key");
        let mut certificate = CertificateParams::new(Vec::new()).expect("no names");
        certificate.distinguished_name = named(name);
        certificate.serial_number = Some(serial.into());
        change(&mut certificate);
        // The key first: a chain without its key is what a reader in between would find, and keep the old ones.
        self.write(&format!("{name}.key"), &key.serialize_pem());
        let certificate = certificate.signed_by(&key, &self.ca).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
    }

    /// The list of all revoked serial numbers, anew.
    pub fn revoke(&self, serials: &[u64]) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2036, 1, 1),
            crl_number: (serials.len() as u64).into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("crl.pem", &list.signed_by(&self.ca).expect("a list").pem().expect("PEM"));
    }

    /// Where everything is.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Options of `openssl s_client` with which it shows this certificate.
    pub fn shows(&self, name: &str) -> [String; 4] {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        ["-cert".to_owned(), certificate, "-key".to_owned(), key]
    }

    /// At once, as an operator does it.
    fn write(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, text).expect("the folder can be written");
        fs::rename(new, self.path(name)).expect("the folder can be written");
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// A DNS name.
pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}
