//! What an operator writes: TOML with these keys (docs/configuration.md has all of them, a test says so), some of them
//! as options of the command line too. A key that is not
//! known is refused, and everything is checked before the first port is bound. What the SCL calls itself (sclBase, the
//! authorities that mean it) is not among them: the directory knows that, for all edges alike.
//!
//! ```toml
//! listen = "10.0.0.7:8080"           # plain HTTP; and/or:
//! listen_tls = "0.0.0.0:8443"        # HTTPS, with [tls]
//! admin = "127.0.0.1:9090"           # /healthz, /readyz, /metrics; left out: none
//! nodes = ["node-0:7000", "node-1:7000"]
//! public_uri = "http://nscl.example.com:8080"     # how subscribers reach this SCL
//!
//! [tls]
//! certificate = "edge.pem"
//! key = "edge.key"
//! client_ca = "devices-ca.pem"       # optional: demand client certificates
//!
//! [node_tls]                         # mutual TLS to the nodes; `plaintext = true` instead for a closed network
//! ca = "cluster-ca.pem"
//! certificate = "edge-role.pem"
//! key = "edge-role.key"
//!
//! [[credentials]]                    # `open = true` instead believes whatever From says
//! user = "meter"                     # taken over TLS only, unless `plaintext_credentials = true`
//! password = "..."
//! entity = "/m2m/applications/meterReader"
//!
//! [[credentials]]
//! token = "..."
//! entity = "/m2m/scls/gw-42"
//! ```

use crate::tokens::Tokens;
use banyan_binding::{
    http::Reach,
    identity::{Credential, CredentialError, Credentials, Identity, Open, Secret},
    tls::{self, KeyFiles, TlsError},
};
use banyan_client::{EDGE_NAME, NODE_NAME};
use banyan_model::Scl;
use serde::Deserialize;
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The settings of an edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Plain HTTP. At least one of `listen` and `listen_tls`.
    pub listen: Option<SocketAddr>,
    /// Whether `listen` may be for every address of the machine (`0.0.0.0`, `[::]`): whoever reaches any of them may then
    /// read and change what others send. Default false.
    pub plaintext_anywhere: bool,
    /// HTTPS; needs `tls`.
    pub listen_tls: Option<SocketAddr>,
    /// Health, readiness and metrics. Default: none.
    pub admin: Option<SocketAddr>,
    /// `host:port` of some nodes; the others are learned from the directory.
    pub nodes: Vec<String>,
    /// Talks to nodes in plain text. Default false: `node_tls` is needed.
    pub plaintext: bool,
    /// Believes `From` (or the user of HTTP Basic) without proof. Default false: `credentials`, `tokens` or client
    /// certificates are needed.
    pub open: bool,
    /// Takes the bearer tokens that the cluster keeps. Default true; without meaning if `open`.
    pub tokens: bool,
    /// Takes passwords and tokens over `listen`, too, where anybody on the way reads them. Default false.
    pub plaintext_credentials: bool,
    /// Scheme and authority under which subscribers reach this SCL; stands before addresses in notifications.
    /// Default: `http://` and the cluster's first authority, else the first listener's address.
    pub public_uri: Option<String>,
    /// The edition of TS 102 921 in which representations are written; either is read. Default 2.1.1.
    pub edition: Edition,
    /// Threads that serve; an edge scales by processes, so one a process is enough where several share a machine.
    /// Default 0: one for each core.
    pub worker_threads: usize,
    /// How long a request may take in all. Default 10,000.
    pub request_timeout_ms: u64,
    /// How long a long poll waits for something before it is answered 408; not bounded by `request_timeout_ms`.
    /// Default 60,000.
    pub poll_timeout_ms: u64,
    /// How long requests and deliveries in flight may take once the edge stops. Default 10,000.
    pub drain_timeout_ms: u64,
    /// Certificate and key of `listen_tls`.
    pub tls: Option<ServerTls>,
    /// Mutual TLS to the nodes.
    pub node_tls: Option<NodeTls>,
    /// Who may speak for which entity.
    pub credentials: Vec<CredentialEntry>,
    /// What requests may cost.
    pub limits: Limits,
    /// Outgoing notifications.
    pub egress: Egress,
    /// Sessions of other SCLs.
    pub mid: Mid,
}

/// An edition of TS 102 921.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Edition {
    /// V2.1.1.
    #[default]
    #[serde(rename = "2.1.1")]
    V2,
    /// V1.1.1.
    #[serde(rename = "1.1.1")]
    V1,
}

impl From<Edition> for banyan_codec::Edition {
    fn from(edition: Edition) -> banyan_codec::Edition {
        match edition {
            Edition::V2 => banyan_codec::Edition::V2,
            Edition::V1 => banyan_codec::Edition::V1,
        }
    }
}

/// Files of the HTTPS listener, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// With it, a client must show a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of the clients' issuers; needs `client_ca`.
    pub client_crl: Option<PathBuf>,
}

impl ServerTls {
    fn clients(&self) -> Result<Option<tls::ClientFiles>, ConfigError> {
        let revoked = self.client_crl.clone();
        match &self.client_ca {
            Some(roots) => Ok(Some(tls::ClientFiles { roots: roots.clone(), revoked })),
            None if revoked.is_some() => {
                Err(ConfigError::Setting { setting: "tls.client_crl", why: "tls.client_ca must be set, too" })
            }
            None => Ok(None),
        }
    }
}

/// Files of mutual TLS to the nodes, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct NodeTls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// One credential: `user` and `password`, or `token`, or `certificate`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CredentialEntry {
    pub user: Option<String>,
    pub password: Option<String>,
    pub token: Option<String>,
    /// SHA-256 of a client's certificate in hexadecimal digits, else the commonName of its subject.
    pub certificate: Option<String>,
    /// Whom it speaks for: a URI or a local path.
    pub entity: String,
}

impl std::fmt::Debug for CredentialEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialEntry")
            .field("user", &self.user)
            .field("entity", &self.entity)
            .finish_non_exhaustive()
    }
}

/// What requests may cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests on their way at once; more are answered SERVICE_UNAVAILABLE with Retry-After. Default 4,096.
    pub in_flight_max: usize,
    /// Long polls that wait at once, besides the requests; more are answered SERVICE_UNAVAILABLE. Default 8,192.
    pub polls_max: usize,
    /// Listings of more than a page that are written at once, a page of each in memory; more are answered
    /// SERVICE_UNAVAILABLE. Default 256.
    pub listings_max: usize,
    /// Octets of one request body. Default 4 MiB.
    pub body_bytes_max: usize,
    /// Octets of all request bodies in memory at once. Default 256 MiB.
    pub bodies_bytes_max: usize,
    /// From the header to the end of the body. Default 30,000.
    pub body_timeout_ms: u64,
    /// Octets of a request's line and headers, at least 8,192. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Connections of one listener at once; more wait. Default 10,000.
    pub connections_max: usize,
    /// How long a connection may be without a request. Default 60,000.
    pub idle_timeout_ms: u64,
    /// From a request's first octet (on a new connection: from its handshake) to the end of its header. Default 10,000.
    pub header_timeout_ms: u64,
    /// Octets a second that a body must bring after its first 5 s; past it 408. Default 100; 0: any.
    pub body_rate_min: u64,
    /// Octets a second that a peer must take of answers once one waits for 60 s. Default 100; 0: any.
    pub answer_rate_min: u64,
    /// Connections of one source (IPv4 address, IPv6 /64) to one listener at once; more are reset. Default 5,000; 0: any.
    pub source_connections_max: usize,
    /// Those of them whose handshake or first header is not complete; more are reset. Default 1,024; 0: any.
    pub source_half_open_max: usize,
    /// TLS handshakes a second of one network (IPv4 /24, IPv6 /64), twice as many at once; more are reset. Default
    /// 1,000; 0: any.
    pub handshakes_per_second: u32,
    /// Requests a second of one source, twice as many at once; more are answered 429. Default 0: any.
    pub source_requests_per_second: u32,
    /// The same of one requestingEntity. Default 0: any.
    pub identity_requests_per_second: u32,
    /// The same of one tenant: the SCL or application registered here that a requestingEntity is or stands below, else
    /// the authority of its URI. Default 0: any.
    pub tenant_requests_per_second: u32,
}

/// Outgoing notifications.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Deliveries at once for each node. Default 256; 0: this edge delivers nothing.
    pub slots: u32,
    /// The longest a contact may take to answer, whatever the node allows. Default 30,000.
    pub timeout_max_ms: u64,
    /// Which addresses a contact may have: `any`, `routable` (no loopback or link-local) or `public` (no private
    /// ranges either). Subscribers choose contacts: an edge that faces strangers should not say `any`. Default `any`.
    pub reach: ReachSetting,
    /// PEM roots that `https` contacts are checked against. Default: none, `https` contacts fail.
    pub trusted: Option<PathBuf>,
}

/// [`Reach`], as it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ReachSetting {
    #[default]
    Any,
    Routable,
    Public,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: None,
            plaintext_anywhere: false,
            listen_tls: None,
            admin: None,
            nodes: Vec::new(),
            plaintext: false,
            open: false,
            tokens: true,
            plaintext_credentials: false,
            public_uri: None,
            edition: Edition::default(),
            worker_threads: 0,
            request_timeout_ms: 10_000,
            poll_timeout_ms: 60_000,
            drain_timeout_ms: 10_000,
            tls: None,
            node_tls: None,
            credentials: Vec::new(),
            limits: Limits::default(),
            egress: Egress::default(),
            mid: Mid::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            in_flight_max: 4_096,
            polls_max: 8_192,
            listings_max: 256,
            body_bytes_max: 4 << 20,
            bodies_bytes_max: 256 << 20,
            body_timeout_ms: 30_000,
            header_bytes_max: 16 << 10,
            connections_max: 10_000,
            idle_timeout_ms: 60_000,
            header_timeout_ms: 10_000,
            body_rate_min: 100,
            answer_rate_min: 100,
            source_connections_max: 5_000,
            source_half_open_max: 1_024,
            handshakes_per_second: 1_000,
            source_requests_per_second: 0,
            identity_requests_per_second: 0,
            tenant_requests_per_second: 0,
        }
    }
}

impl Default for Egress {
    fn default() -> Egress {
        Egress { slots: 256, timeout_max_ms: 30_000, reach: ReachSetting::Any, trusted: None }
    }
}

impl From<ReachSetting> for Reach {
    fn from(setting: ReachSetting) -> Reach {
        match setting {
            ReachSetting::Any => Reach::Any,
            ReachSetting::Routable => Reach::Routable,
            ReachSetting::Public => Reach::Public,
        }
    }
}

/// Why an edge cannot start with these settings.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("failed to read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}", file.display())]
    Parse {
        file: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("{setting}: {why}")]
    Setting { setting: &'static str, why: &'static str },
    #[error("credentials")]
    Credentials(#[from] CredentialError),
    #[error("{setting}")]
    Tls {
        setting: &'static str,
        #[source]
        source: Box<TlsError>,
    },
    #[error("nodes")]
    Nodes(#[from] banyan_client::ConfigError),
}

const WORKER_THREADS_MAX: usize = 1_024;

/// Settings that were checked, as the parts take them.
pub(crate) struct Checked {
    pub(crate) server_tls: Option<Arc<tls::Watched>>,
    pub(crate) contact_tls: Option<Arc<tls::ClientConfig>>,
    pub(crate) client: banyan_client::Config,
    pub(crate) mid: CheckedMid,
}

impl Config {
    /// Reads a TOML file; nothing is checked yet but its keys and types.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let text =
            fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { file: file.to_owned(), source })
    }

    /// Checks everything, files and addresses of nodes included.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check().map(drop)
    }

    pub(crate) fn check(&self) -> Result<Checked, ConfigError> {
        let wrong = |setting, why| Err(ConfigError::Setting { setting, why });
        if self.listen.is_none() && self.listen_tls.is_none() && !self.mid.listens() {
            return wrong("listen", "neither it nor listen_tls nor a listener of [mid] is set");
        }
        if self.listen.is_some_and(|address| address.ip().is_unspecified()) && !self.plaintext_anywhere {
            let why =
                "plain HTTP on every address of the machine: name one, or set plaintext_anywhere = true";
            return wrong("listen", why);
        }
        if self.worker_threads > WORKER_THREADS_MAX {
            return wrong("worker_threads", "must be at most 1024");
        }
        if self.listen_tls.is_some() != self.tls.is_some() {
            return wrong("tls", "listen_tls and [tls] belong together");
        }
        if self.plaintext == self.node_tls.is_some() {
            return wrong("node_tls", "either [node_tls] or plaintext = true, not both and not neither");
        }
        if self.open && !self.credentials.is_empty() {
            return wrong("credentials", "either [[credentials]] or open = true, not both");
        }
        let certified = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !self.open && !self.tokens && self.credentials.is_empty() && !certified {
            return wrong(
                "credentials",
                "there are none, nor tokens, nor tls.client_ca, and open is not set",
            );
        }
        if !certified && self.credentials.iter().any(|entry| entry.certificate.is_some()) {
            return wrong("credentials", "a certificate needs tls.client_ca");
        }
        let is_plain_only = self.listen.is_some() && self.listen_tls.is_none();
        if !self.open && is_plain_only && !self.plaintext_credentials {
            return wrong(
                "plaintext_credentials",
                "listen alone lets nobody prove who it is: set it, or listen_tls",
            );
        }
        if let Some(uri) = &self.public_uri {
            let authority =
                uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://")).unwrap_or_default();
            if authority.is_empty() || authority.contains(['/', '?', '#', ' ', '@']) {
                return wrong("public_uri", "must be http(s)://host[:port] with no path");
            }
        }
        self.check_limits()?;

        // Any SCL shows whether the list is sound; the one that counts comes with the map.
        let scl = Scl {
            id: String::new(),
            base: "/m2m".to_owned(),
            authorities: Vec::new(),
            founded_at: banyan_model::Timestamp(0),
        };
        self.identity(scl, None)?;
        let server_tls = match &self.tls {
            None => None,
            Some(files) => {
                let keys = KeyFiles { certificate: files.certificate.clone(), key: files.key.clone() };
                let made = tls::Watched::read(keys, files.clients()?);
                let failed = |source: TlsError| ConfigError::Tls { setting: "tls", source: source.into() };
                Some(Arc::new(made.map_err(failed)?))
            }
        };
        let contact_tls = match &self.egress.trusted {
            None => None,
            Some(file) => {
                let made = tls::client(file, None);
                Some(made.map_err(|source| ConfigError::Tls {
                    setting: "egress.trusted",
                    source: source.into(),
                })?)
            }
        };
        let client = self.client();
        client.validate()?;
        let mid = self.mid.check()?;
        Ok(Checked { server_tls, contact_tls, client, mid })
    }

    /// Says who asks, for what the SCL calls itself.
    pub(crate) fn identity(
        &self,
        scl: Scl,
        tokens: Option<Arc<Tokens>>,
    ) -> Result<Arc<dyn Identity>, ConfigError> {
        Ok(match self.open {
            true => Arc::new(Open { scl }),
            false => {
                let listed = Credentials::new(scl, self.credential_list()?)?
                    .in_plaintext(self.plaintext_credentials)
                    .without(&[NODE_NAME, EDGE_NAME]);
                match tokens {
                    Some(tokens) => Arc::new(listed.with_tokens(tokens)),
                    None => Arc::new(listed),
                }
            }
        })
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let positive = [
            ("request_timeout_ms", self.request_timeout_ms),
            ("poll_timeout_ms", self.poll_timeout_ms),
            ("drain_timeout_ms", self.drain_timeout_ms),
            ("limits.in_flight_max", limits.in_flight_max as u64),
            ("limits.polls_max", limits.polls_max as u64),
            ("limits.listings_max", limits.listings_max as u64),
            ("limits.body_bytes_max", limits.body_bytes_max as u64),
            ("limits.body_timeout_ms", limits.body_timeout_ms),
            ("limits.connections_max", limits.connections_max as u64),
            ("limits.idle_timeout_ms", limits.idle_timeout_ms),
            ("limits.header_timeout_ms", limits.header_timeout_ms),
            ("egress.timeout_max_ms", self.egress.timeout_max_ms),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Setting { setting, why: "must be more than 0" });
        }
        if limits.bodies_bytes_max < limits.body_bytes_max.saturating_add(1024) {
            let why = "must leave room for one body of limits.body_bytes_max and 1 KiB";
            return Err(ConfigError::Setting { setting: "limits.bodies_bytes_max", why });
        }
        if limits.header_bytes_max < 8_192 {
            return Err(ConfigError::Setting {
                setting: "limits.header_bytes_max",
                why: "must be at least 8192",
            });
        }
        Ok(())
    }

    fn credential_list(&self) -> Result<Vec<Credential>, ConfigError> {
        let read = |entry: &CredentialEntry| {
            let entity = entry.entity.clone();
            match (&entry.user, &entry.password, &entry.token, &entry.certificate) {
                (Some(user), Some(password), None, None) => {
                    Ok(Credential::Basic { user: user.clone(), password: Secret(password.clone()), entity })
                }
                (None, None, Some(token), None) => {
                    Ok(Credential::Bearer { token: Secret(token.clone()), entity })
                }
                (None, None, None, Some(subject)) => {
                    Ok(Credential::Certificate { subject: subject.clone(), entity })
                }
                _ => Err(ConfigError::Setting {
                    setting: "credentials",
                    why: "each has user and password, or token, or certificate, and entity",
                }),
            }
        };
        self.credentials.iter().map(read).collect()
    }

    fn client(&self) -> banyan_client::Config {
        banyan_client::Config {
            nodes: self.nodes.clone(),
            tls: self.node_tls.as_ref().map(|files| banyan_client::Tls {
                ca: files.ca.clone(),
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            }),
            in_flight_max: self.limits.in_flight_max,
            ..banyan_client::Config::default()
        }
    }
}

mod mid;

pub(crate) use mid::CheckedMid;
pub use mid::{Ival, Mid, NodeOfCertificate, SclOfAddress};

/// A setting in milliseconds.
pub(crate) fn millis(setting: u64) -> Duration {
    Duration::from_millis(setting)
}

#[cfg(test)]
mod tests;
