//! `[mid]`: where other SCLs come in, and what is demanded of them.

use super::ConfigError;
use crate::mid::IvalPolicy;
use banyan_binding::tls::{ClientFiles, KeyFiles, TlsError, Watched};
use banyan_model::security::M2mNodeId;
use serde::Deserialize;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

/// Sessions of other SCLs (TS 102 690 clause 8). Nothing listens unless it is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mid {
    /// TLS by pre-shared keys, Kmr or Kmc; customary port 8445.
    pub listen_psk: Option<SocketAddr>,
    /// Bootstrap by device certificates; customary port 8444. Needs the files.
    pub listen_bootstrap: Option<SocketAddr>,
    /// Service connections by device certificates, which strict ETSI does not have. Needs the files.
    pub listen_tls: Option<SocketAddr>,
    /// No protection at all, on a network that does it. One address, and `i_trust_this_network`.
    pub listen_plain: Option<SocketAddr>,
    /// Whoever can send from an address of `plain` is taken for its SCL. Default false.
    pub i_trust_this_network: bool,
    /// Whether the weakest suite is offered to peers that have nothing better. Default false.
    pub legacy_psk: bool,
    /// This edge's chain on `listen_bootstrap` and `listen_tls`, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Who signs device certificates.
    pub device_ca: Option<PathBuf>,
    /// Their revocation lists.
    pub device_crl: Option<PathBuf>,
    /// How long a session may stand. Default 86,400.
    pub max_session_age_s: u64,
    /// securitymIdFlags, 16 bits: what protects mId here. Default 2: the channel, by TLS.
    pub flags: u16,
    /// Whether registrations must have integrityValResults. Default `ignore`.
    pub ival: Ival,
    /// How far their secureTimeStamp may be from now. Default: any. Needs `ival = "require"`.
    pub ival_fresh_s: Option<u32>,
    /// Bits of ivalResults that must be 0. Default 0. Needs `ival = "require"`.
    pub ival_mask: u64,
    /// Nodes whose certificates do not name them.
    pub nodes: Vec<NodeOfCertificate>,
    /// The SCLs behind `listen_plain`.
    pub plain: Vec<SclOfAddress>,
}

/// See [`Mid::ival`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Ival {
    #[default]
    Ignore,
    Require,
}

/// Whose a certificate is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeOfCertificate {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// M2M-Node-ID, 32 hexadecimal digits.
    pub node: String,
}

/// Whose an address is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SclOfAddress {
    /// The address that it comes from.
    pub source: IpAddr,
    /// Its sclId.
    pub scl: String,
}

impl Default for Mid {
    fn default() -> Mid {
        Mid {
            listen_psk: None,
            listen_bootstrap: None,
            listen_tls: None,
            listen_plain: None,
            i_trust_this_network: false,
            legacy_psk: false,
            certificate: None,
            key: None,
            device_ca: None,
            device_crl: None,
            max_session_age_s: 86_400,
            flags: 2,
            ival: Ival::Ignore,
            ival_fresh_s: None,
            ival_mask: 0,
            nodes: Vec::new(),
            plain: Vec::new(),
        }
    }
}

/// What the parts take.
pub(crate) struct CheckedMid {
    /// For `listen_bootstrap`, for `listen_tls`.
    pub(crate) bootstrap: Option<Watched>,
    pub(crate) tls: Option<Watched>,
    pub(crate) nodes: Arc<HashMap<String, M2mNodeId>>,
    pub(crate) sources: Arc<HashMap<IpAddr, String>>,
    pub(crate) policy: IvalPolicy,
}

impl Mid {
    /// Whether anything of mId is open.
    pub(crate) fn listens(&self) -> bool {
        self.has_sessions() || self.listen_plain.is_some()
    }

    pub(crate) fn has_sessions(&self) -> bool {
        [self.listen_psk, self.listen_bootstrap, self.listen_tls].iter().any(Option::is_some)
    }

    pub(crate) fn check(&self) -> Result<CheckedMid, ConfigError> {
        let wrong = |setting, why| Err(ConfigError::Setting { setting, why });
        if let Some(address) = self.listen_plain {
            if address.ip().is_unspecified() {
                return wrong("mid.listen_plain", "plaintext mId on every address of the machine: name one");
            }
            if !self.i_trust_this_network {
                return wrong("mid.listen_plain", "plaintext mId needs mid.i_trust_this_network = true");
            }
        }
        if self.listen_plain.is_some() == self.plain.is_empty() {
            return wrong("mid.plain", "mid.listen_plain and [[mid.plain]] belong together");
        }
        if self.max_session_age_s == 0 {
            return wrong("mid.max_session_age_s", "must be more than 0");
        }
        if self.ival == Ival::Ignore && (self.ival_fresh_s.is_some() || self.ival_mask != 0) {
            return wrong("mid.ival", "must be \"require\" for mid.ival_fresh_s or mid.ival_mask");
        }
        let mut nodes = HashMap::new();
        for NodeOfCertificate { serial, node } in &self.nodes {
            let serial = serial.replace(':', "").to_ascii_lowercase();
            let serial = serial.trim_start_matches('0');
            let is_hex = !serial.is_empty() && serial.bytes().all(|digit| digit.is_ascii_hexdigit());
            let Some(node) = M2mNodeId::parse(node).filter(|_| is_hex) else {
                return wrong("mid.nodes", "serial is hexadecimal, node 32 hexadecimal digits");
            };
            if nodes.insert(serial.to_owned(), node).is_some() {
                return wrong("mid.nodes", "a serial number stands twice");
            }
        }
        let mut sources = HashMap::new();
        for SclOfAddress { source, scl } in &self.plain {
            if scl.is_empty() || scl.contains('/') {
                return wrong("mid.plain", "scl is an sclId");
            }
            if sources.insert(source.to_canonical(), scl.clone()).is_some() {
                return wrong("mid.plain", "an address stands twice");
            }
        }
        let files = |listens: Option<SocketAddr>| listens.map(|_| self.files()).transpose();
        Ok(CheckedMid {
            bootstrap: files(self.listen_bootstrap)?,
            tls: files(self.listen_tls)?,
            nodes: Arc::new(nodes),
            sources: Arc::new(sources),
            policy: IvalPolicy {
                require: self.ival == Ival::Require,
                fresh_ms: self.ival_fresh_s.map(|seconds| i64::from(seconds) * 1_000),
                mask: self.ival_mask,
            },
        })
    }

    fn files(&self) -> Result<Watched, ConfigError> {
        let (Some(certificate), Some(key), Some(roots)) =
            (self.certificate.clone(), self.key.clone(), self.device_ca.clone())
        else {
            let why =
                "mid.certificate, mid.key and mid.device_ca are needed by listen_bootstrap and listen_tls";
            return Err(ConfigError::Setting { setting: "mid.device_ca", why });
        };
        let devices = ClientFiles { roots, revoked: self.device_crl.clone() };
        let failed = |source: TlsError| ConfigError::Tls { setting: "mid", source: source.into() };
        Watched::exporting(KeyFiles { certificate, key }, devices).map_err(failed)
    }
}
