//! What the operator of a gateway writes: TOML with these keys (docs/configuration.md has all of them, a test says so).
//!
//! ```toml
//! data = "/var/lib/banyan-gateway"
//! listen = "127.0.0.1:8080"                     # dIa, of device applications
//! scl_id = "gw-42"
//! public_uri = "http://gw-42.example.com"       # what others call this SCL; need not resolve when it polls
//! open = true                                   # or [[credentials]], as of an edge
//!
//! [nscl]
//! base = "http://nscl.example.com/m2m"
//! edges = ["edge-1.example.com:8445", "edge-2.example.com:8445"]
//!
//! [key]                                         # or [device] with nscl.bootstrap, or nscl.plaintext = true
//! node_id = "000102030405060708090a0b0c0d0e0f"
//! index = 1
//! kmr_file = "/etc/banyan/kmr.hex"
//!
//! [reach]
//! polling = true                                # or: poc = "http://10.0.0.7:8080"
//! ```

use super::{ConfigError, PolicySettings, Storage, is_origin, setting_error};
use crate::gateway::{
    self, Reach,
    bootstrapped::Msbf,
    connection::RootKey,
    root_key::{self, RootKeyError},
};
use banyan_binding::tls::{self, KeyFiles};
use banyan_model::security::M2mNodeId;
use serde::Deserialize;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The settings of a gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The gateway's folder; made if it is not there. Required.
    pub data: Option<PathBuf>,
    /// dIa: plain HTTP for device applications, on the loopback or the address of one interface. Required.
    pub listen: Option<SocketAddr>,
    /// Liveness, readiness, metrics by HTTP. Default: none.
    pub admin: Option<SocketAddr>,
    /// SCL-ID. Required.
    pub scl_id: String,
    /// Path of sclBase. Default `/m2m`. Counts when the data is new.
    pub scl_base: String,
    /// `http://host[:port]` that others write before addresses of this SCL. Required. Counts when the data is new.
    pub public_uri: String,
    /// Further `host[:port]` values that mean this SCL, besides those of `public_uri` and `listen`.
    pub authorities: Vec<String>,
    /// Believes `From` on `listen`. Default false: `credentials` are needed.
    pub open: bool,
    /// Announces what applications make, where nobody says where to, at the NSCL. Default false.
    pub announce_all: bool,
    /// Threads of the runtime. Default 0: one.
    pub worker_threads: usize,
    /// The NSCL.
    pub nscl: Nscl,
    /// The root key, provisioned by an operator.
    pub key: Option<Provisioned>,
    /// The certificate with which a root key is bootstrapped.
    pub device: Option<Device>,
    /// How the NSCL reaches this SCL.
    pub reach: ReachSettings,
    /// The registration at the NSCL.
    pub registration: Registration,
    /// Who may speak for which entity on `listen`, as for an edge.
    pub credentials: Vec<banyan_edge::config::CredentialEntry>,
    /// What resources may be and cost, as of a node.
    pub policy: PolicySettings,
    /// What is on disk, as of a node; the defaults of a gateway are smaller.
    pub storage: Storage,
}

/// The NSCL and the way to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nscl {
    /// Its sclBase, absolute. Required.
    pub base: String,
    /// Its SCL-ID: the name of the local scl that stands for it. Default: the host in `base`.
    pub scl_id: String,
    /// `host:port` of its edges, the best first: their `mid.listen_psk`, with `plaintext` their `mid.listen_plain`.
    /// Required.
    pub edges: Vec<String>,
    /// `host:port` of an edge's `mid.listen_bootstrap`; the host is what its certificate is for. With `[device]`.
    pub bootstrap: Option<String>,
    /// Plain TCP to the edges: the access network is trusted. Default false.
    pub plaintext: bool,
}

/// A root key that both sides were given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioned {
    /// M2M-Node-ID, 32 hexadecimal digits. Required.
    pub node_id: String,
    /// securityKmrIndex. Required.
    pub index: u32,
    /// File of Kmr, 64 hexadecimal digits. Required.
    pub kmr_file: PathBuf,
    /// FQDN of the MAS that knows it. Default: the host in `nscl.base`.
    pub mas: Option<String>,
}

/// What the device proves itself with before it has a root key. PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its chain, leaf first. Required.
    pub certificate: PathBuf,
    /// Its private key. Required.
    pub key: PathBuf,
    /// Whose certificates the MSBF may show. Required.
    pub trusted: PathBuf,
}

/// One of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReachSettings {
    /// `http://host[:port]` at which the NSCL calls this SCL. Needs `open`: who calls there is believed.
    pub poc: Option<String>,
    /// Polls a communicationChannel at the NSCL instead: nobody can call this SCL. Default false.
    pub polling: bool,
}

/// The registration at the NSCL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// What is asked for; it is refreshed at half of what is granted. Default 3,600,000 (an hour).
    pub lifetime_ms: u64,
    /// searchStrings of this SCL at the NSCL. Default: none.
    pub search_strings: Vec<String>,
    /// Whether it ends when the gateway is stopped. Default true.
    pub deregister_on_stop: bool,
}

impl Default for Registration {
    fn default() -> Registration {
        Registration { lifetime_ms: 3_600_000, search_strings: Vec::new(), deregister_on_stop: true }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data: None,
            listen: None,
            admin: None,
            scl_id: String::new(),
            scl_base: "/m2m".to_owned(),
            public_uri: String::new(),
            authorities: Vec::new(),
            open: false,
            announce_all: false,
            worker_threads: 0,
            nscl: Nscl::default(),
            key: None,
            device: None,
            reach: ReachSettings::default(),
            registration: Registration::default(),
            credentials: Vec::new(),
            policy: PolicySettings::default(),
            storage: Storage::default(),
        }
    }
}

/// Settings that were checked.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Checked {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub gateway: gateway::Config,
    /// Of `nscl.base`.
    pub nscl_scheme: String,
    pub nscl_authority: String,
    pub edges: Vec<String>,
    pub protection: Protection,
}

/// What protects mId.
#[derive(Clone, Debug)]
pub enum Protection {
    /// The access network.
    Network,
    /// TLS with keys of this root key.
    Key(RootKey),
    /// TLS with keys of a root key that is bootstrapped.
    Bootstrap(Msbf),
}

/// The shortest lifetime that can be refreshed in time over a slow link.
const LIFETIME_MS_MIN: u64 = 1_000;
const MIB: u64 = 1 << 20;
const MAS_OCTETS_MAX: usize = 64;

impl Config {
    /// Reads a TOML file; nothing is checked yet but its keys and types.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Parse`].
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let text =
            fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { file: file.to_owned(), source })
    }

    /// Threads of the runtime: a gateway is a small machine.
    pub fn workers(&self) -> usize {
        self.worker_threads.clamp(1, 1_024)
    }

    /// Checks everything that can be checked before anything is bound.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] names the setting and what it must be.
    pub fn check(&self) -> Result<Checked, ConfigError> {
        let wrong = |setting: &str, why: &str| Err(setting_error(setting, why));
        let Some(data) = self.data.clone() else { return wrong("data", "must be set") };
        let Some(listen) = self.listen else { return wrong("listen", "must be set") };
        if listen.ip().is_unspecified() {
            return wrong("listen", "plain HTTP: must be the loopback or the address of one interface");
        }
        if self.scl_id.is_empty() || self.scl_id.contains('/') {
            return wrong("scl_id", "must be set, without a slash");
        }
        if !self.scl_base.starts_with('/') || self.scl_base.len() < 2 || self.scl_base.ends_with('/') {
            return wrong("scl_base", "must be a path that begins with a slash and does not end with one");
        }
        if !is_origin(&self.public_uri) {
            return wrong("public_uri", "must be http(s)://host[:port] with no path");
        }
        if self.open != self.credentials.is_empty() {
            return wrong("credentials", "either [[credentials]] or open = true, not both and not neither");
        }
        let (nscl_scheme, nscl_authority) = match self.nscl.base.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => match rest.split_once('/') {
                Some((authority, path))
                    if !authority.is_empty() && !path.is_empty() && !path.ends_with('/') =>
                {
                    (scheme.to_owned(), authority.to_owned())
                }
                _ => return wrong("nscl.base", "must be the absolute address of an sclBase"),
            },
            _ => return wrong("nscl.base", "must be the absolute address of an sclBase"),
        };
        if self.nscl.edges.is_empty() || self.nscl.edges.iter().any(|edge| !edge.contains(':')) {
            return wrong("nscl.edges", "must name at least one edge, each as host:port");
        }
        let host = nscl_authority.split(':').next().unwrap_or_default();
        let protection = self.protection(host)?;
        let reach = match (&self.reach.poc, self.reach.polling) {
            (Some(poc), false) if !is_origin(poc) => {
                return wrong("reach.poc", "must be http(s)://host[:port] with no path");
            }
            (Some(_), false) if !self.open => {
                return wrong(
                    "reach.poc",
                    "needs open = true: who calls there is believed; or polling = true",
                );
            }
            (Some(poc), false) => Reach::Poc(poc.clone()),
            (None, true) => Reach::Polling,
            _ => return wrong("reach", "either poc or polling = true, not both and not neither"),
        };
        if self.registration.lifetime_ms < LIFETIME_MS_MIN {
            return wrong("registration.lifetime_ms", "must be at least 1000");
        }
        let nscl_id = if self.nscl.scl_id.is_empty() { host } else { &self.nscl.scl_id };
        if nscl_id == self.scl_id {
            return wrong("nscl.scl_id", "must be another one than scl_id");
        }
        let gateway = gateway::Config {
            scl_id: self.scl_id.clone(),
            public_uri: self.public_uri.clone(),
            scl_base: self.scl_base.clone(),
            nscl_base: self.nscl.base.clone(),
            nscl_id: nscl_id.to_owned(),
            lifetime: Duration::from_millis(self.registration.lifetime_ms),
            reach,
            search_strings: self.registration.search_strings.clone(),
            deregister_on_stop: self.registration.deregister_on_stop,
        };
        let edges = self.nscl.edges.clone();
        // The rest is a node's and an edge's: they say what is wrong with it.
        self.node(listen, listen).check()?;
        self.edge(&[listen.to_string()]).validate().map_err(|error| {
            let text =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            setting_error("credentials", &text)
        })?;
        let admin = self.admin;
        Ok(Checked { data, listen, admin, gateway, nscl_scheme, nscl_authority, edges, protection })
    }

    /// The one that is set. `nscl`: the host of its address.
    fn protection(&self, nscl: &str) -> Result<Protection, ConfigError> {
        if self.device.is_some() != self.nscl.bootstrap.is_some() {
            return Err(setting_error("nscl.bootstrap", "nscl.bootstrap and [device] belong together"));
        }
        match (&self.key, &self.device, self.nscl.plaintext) {
            (Some(key), None, false) => Ok(Protection::Key(key.read(nscl)?)),
            (None, Some(device), false) => {
                let address = self.nscl.bootstrap.clone().unwrap_or_default();
                if !address.contains(':') {
                    return Err(setting_error("nscl.bootstrap", "must be host:port"));
                }
                Ok(Protection::Bootstrap(Msbf { address, tls: device.read()? }))
            }
            (None, None, true) => Ok(Protection::Network),
            _ => {
                let why = "exactly one of [key], [device] and nscl.plaintext = true";
                Err(setting_error("key", why))
            }
        }
    }

    /// The node within: one replica, for nobody but this process. `rpc`: where it listens; `dia`: where the edge does.
    pub fn node(&self, rpc: SocketAddr, dia: SocketAddr) -> super::Config {
        let mut authorities: Vec<String> = self.public_uri.split("://").skip(1).map(str::to_owned).collect();
        authorities.push(dia.to_string());
        if dia.ip().is_loopback() {
            authorities.push(format!("localhost:{}", dia.port()));
        }
        authorities.extend(self.authorities.iter().cloned());
        let mut policy = self.policy.clone();
        policy.announce_all = Some(self.announce_all);
        super::Config {
            data: self.data.clone(),
            listen: Some(rpc),
            founders: vec![rpc.to_string()],
            shards: 1,
            replication_factor: 1,
            scl_id: self.scl_id.clone(),
            scl_base: self.scl_base.clone(),
            authorities,
            public_uri: Some(self.public_uri.clone()),
            plaintext: true,
            policy,
            storage: Storage {
                overlay_bytes_max: self.storage.overlay_bytes_max.or(Some(32 * MIB)),
                log_cache_bytes_max: self.storage.log_cache_bytes_max.or(Some(8 * MIB)),
                log_queue_bytes_max: self.storage.log_queue_bytes_max.or(Some(16 * MIB)),
                log_bytes_max: self.storage.log_bytes_max.or(Some(128 * MIB)),
                state_cache_bytes: self.storage.state_cache_bytes.or(Some(16 * MIB)),
                ..self.storage.clone()
            },
            ..super::Config::default()
        }
    }

    /// The edge within, for dIa.
    pub fn edge(&self, nodes: &[String]) -> banyan_edge::Config {
        banyan_edge::Config {
            listen: self.listen,
            nodes: nodes.to_vec(),
            plaintext: true,
            open: self.open,
            // dIa has no TLS, so it is the loopback or a network of the gateway's own (see `listen`).
            plaintext_credentials: true,
            public_uri: Some(self.public_uri.clone()),
            credentials: self.credentials.clone(),
            ..banyan_edge::Config::default()
        }
    }
}

impl Provisioned {
    fn read(&self, nscl: &str) -> Result<RootKey, ConfigError> {
        let Some(node) = M2mNodeId::parse(&self.node_id) else {
            return Err(setting_error("key.node_id", "must be 32 hexadecimal digits"));
        };
        let mas = self.mas.clone().unwrap_or_else(|| nscl.to_owned());
        // With the rest of a PSK identity it has to fit into 128 octets.
        if mas.is_empty() || mas.len() > MAS_OCTETS_MAX || mas.contains('\0') {
            return Err(setting_error("key.mas", "must be a host name of at most 64 octets"));
        }
        let key = root_key::read_key(&self.kmr_file).map_err(|error| {
            let text = match &error {
                RootKeyError::File { source, .. } => format!("{error}: {source}"),
                RootKeyError::Content { .. } => error.to_string(),
            };
            setting_error("key.kmr_file", &text)
        })?;
        Ok(RootKey { node, index: self.index, mas, expires: None, key })
    }
}

impl Device {
    fn read(&self) -> Result<Arc<tls::ClientConfig>, ConfigError> {
        let files = KeyFiles { certificate: self.certificate.clone(), key: self.key.clone() };
        tls::client(&self.trusted, Some(&files)).map_err(|error| {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}"));
            setting_error("device", &format!("{error}{}", why.unwrap_or_default()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "data = \"d\"\nlisten = \"127.0.0.1:8080\"\nscl_id = \"gw\"\npublic_uri = \"http://gw.example.com\"\n\
        open = true\nnscl.base = \"http://nscl.example.com/m2m\"\nnscl.edges = [\"edge:8445\"]\nnscl.plaintext = true\n";

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("settings that can be read")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let seen = config(text).check().err().map(|error| error.to_string()).unwrap_or_default();
        let setting = seen.split(": ").next().unwrap_or_default();
        assert_eq!(setting, expected, "{text}: {seen}");
    }

    #[test]
    fn everything_is_checked_before_anything_is_bound() {
        let polling = format!("{SOUND}reach.polling = true\n");
        check(&polling, "");
        check(&format!("{SOUND}reach.poc = \"http://10.0.0.7:8080\""), "");
        check(SOUND, "reach");
        check(&format!("{polling}reach.poc = \"http://10.0.0.7:8080\""), "reach");
        check(&format!("{SOUND}reach.poc = \"10.0.0.7\""), "reach.poc");
        check(&polling.replace("127.0.0.1", "0.0.0.0"), "listen");
        check(&polling.replace("open = true", ""), "credentials");
        check(&polling.replace("http://nscl.example.com/m2m", "http://nscl.example.com"), "nscl.base");
        check(&polling.replace("edge:8445", "edge"), "nscl.edges");
        check(&polling.replace("http://gw.example.com", "gw.example.com"), "public_uri");
        check(&polling.replace("\"gw\"", "\"nscl.example.com\""), "nscl.scl_id");
        check(&polling.replace("scl_id = \"gw\"", ""), "scl_id");
        check(&format!("{polling}registration.lifetime_ms = 10"), "registration.lifetime_ms");
        check(
            &format!("{polling}policy.content_bytes_max = 10\nstorage.write_behind_ms = 0"),
            "storage.write_behind",
        );
        assert!(toml::from_str::<Config>("no_such_key = 1").is_err());
    }

    #[test]
    fn a_point_of_contact_is_for_those_who_believe_everybody() {
        let closed = SOUND.replace("open = true", "reach.poc = \"http://10.0.0.7:8080\"");
        let entry =
            "[[credentials]]\nuser = \"meter\"\npassword = \"p\"\nentity = \"/m2m/applications/meter\"";
        check(&format!("{closed}{entry}"), "reach.poc");
        check(
            &format!("{}\n{entry}", closed.replace("poc = \"http://10.0.0.7:8080\"", "polling = true")),
            "",
        );
    }

    #[test]
    fn one_thing_protects_mid() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("a file");
            file.display().to_string()
        };
        let open = format!("{SOUND}reach.polling = true\n");
        let bare = open.replace("nscl.plaintext = true", "");
        check(&bare, "key");
        let kmr = write("kmr", &"0a".repeat(32));
        let node = "000102030405060708090a0b0c0d0e0f";
        let key = format!("[key]\nnode_id = \"{node}\"\nindex = 1\nkmr_file = \"{kmr}\"\n");
        check(&format!("{bare}{key}"), "");
        check(&format!("{open}{key}"), "key");
        check(&format!("{bare}{}", key.replace(node, "07")), "key.node_id");
        check(&format!("{bare}{key}mas = \"\""), "key.mas");
        check(&format!("{bare}{}", key.replace(&kmr, &write("short", "0a"))), "key.kmr_file");
        let made = rcgen::generate_simple_self_signed(["gw".to_owned()]).expect("a certificate");
        let (chain, secret) =
            (write("pem", &made.cert.pem()), write("key", &made.signing_key.serialize_pem()));
        let device =
            format!("[device]\ncertificate = \"{chain}\"\nkey = \"{secret}\"\ntrusted = \"{chain}\"\n");
        check(&format!("{bare}{device}"), "nscl.bootstrap");
        let asked = format!("{bare}nscl.bootstrap = \"nscl.example.com:8444\"\n");
        check(&format!("{asked}{device}"), "");
        check(&asked, "nscl.bootstrap");
        check(&format!("{asked}{device}{key}"), "key");
        check(&format!("{asked}{}", device.replace(&secret, &chain)), "device");
        check(&format!("{}{device}", asked.replace(":8444", "")), "nscl.bootstrap");
        let read = config(&format!("{bare}{key}")).check().expect("sound").protection;
        let Protection::Key(root) = read else { panic!("a key") };
        assert_eq!(
            (root.node.to_string().as_str(), root.index, root.mas.as_str()),
            (node, 1, "nscl.example.com")
        );
    }

    /// The keys of a table, as the reader itself names them when it meets another one.
    fn keys<T: serde::de::DeserializeOwned + std::fmt::Debug>(prefix: &str) -> Vec<String> {
        let refusal =
            toml::from_str::<T>("no_such_key = 1").expect_err("an unknown key").message().to_owned();
        let (_, listed) = refusal.split_once("expected ").expect("what may stand there");
        listed.split('`').skip(1).step_by(2).map(|key| format!("{prefix}{key}")).collect()
    }

    #[test]
    fn every_setting_is_documented() {
        let page = include_str!("../../../docs/configuration.md");
        let (_, page) = page.split_once("## banyan gateway").expect("the gateway has a section");
        let page = page.split("\n## ").next().expect("a section");
        let documented: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('`').nth(1))
            .collect();
        let tables = ["nscl", "key", "device", "reach", "registration", "credentials", "policy", "storage"];
        let mut expected: Vec<String> =
            keys::<Config>("").into_iter().filter(|key| !tables.contains(&key.as_str())).collect();
        expected.extend(keys::<Nscl>("nscl."));
        expected.extend(keys::<Provisioned>("key."));
        expected.extend(keys::<Device>("device."));
        expected.extend(keys::<ReachSettings>("reach."));
        expected.extend(keys::<Registration>("registration."));
        assert_eq!(documented, expected, "docs/configuration.md, in the order of the code");
    }
}
