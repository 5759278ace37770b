//! What an operator writes: TOML with these keys, the main ones as options of the command line too. A key that is not
//! known is refused, and everything is checked before the first port is bound.
//!
//! ```toml
//! data = "/var/lib/banyan"
//! listen = "0.0.0.0:7000"            # gRPC of nodes and edges
//! advertise = "node-0:7000"          # how the others reach it; default: listen
//! admin = "0.0.0.0:9090"             # /livez, /readyz, /metrics; left out: none
//! founders = ["node-0:7000", "node-1:7000", "node-2:7000"]
//! # join = ["node-0:7000"]           # instead, to join a running cluster
//!
//! [tls]                              # mutual TLS; `plaintext = true` instead for a closed network
//! ca = "cluster-ca.pem"
//! certificate = "node.pem"
//! key = "node.key"
//! ```

pub mod gateway;

use crate::{delivery, directory, handover, request, security, subtree};
use banyan_binding::tls::{ClientFiles, KeyFiles, TlsError};
use banyan_model::validate::Policy;
use clap::Args;
use serde::Deserialize;
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The settings of a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The node's folder; made if it is not there. Required.
    pub data: Option<PathBuf>,
    /// gRPC: the other nodes, edges, `banyan ctl`. Required.
    pub listen: Option<SocketAddr>,
    /// `host:port` at which the others reach `listen`. Default: `listen` itself.
    pub advertise: Option<String>,
    /// Liveness, readiness, metrics by HTTP. Default: none.
    pub admin: Option<SocketAddr>,
    /// The failure zone of this node; free text. Default: empty.
    pub zone: String,
    /// `advertise` of all founders, this node's included, the same at all. Looked at only by a node without a cluster.
    pub founders: Vec<String>,
    /// Members of a running cluster. Looked at only by a node without a cluster.
    pub join: Vec<String>,
    /// Folder of a backup that the cluster is founded from, the same backup at all founders. Looked at only by a node
    /// without a cluster. Default: the cluster is founded empty.
    pub restore: Option<PathBuf>,
    /// Of a cluster that is founded: shards. Default 16.
    pub shards: u64,
    /// Of a cluster that is founded: replicas of a shard. Default 3.
    pub replication_factor: u32,
    /// Of a cluster that is founded: the SCL's id. Default `nscl`.
    pub scl_id: String,
    /// Of a cluster that is founded: path of sclBase. Default `/m2m`.
    pub scl_base: String,
    /// Of a cluster that is founded: `host[:port]` values that mean this SCL. Default: every authority.
    pub authorities: Vec<String>,
    /// `http(s)://host[:port]` at which other SCLs reach this one: what announcements link to. Default: `http://` and the
    /// first authority.
    pub public_uri: Option<String>,
    /// Plain text on `listen` and towards the other nodes. Default false: `tls` is needed.
    pub plaintext: bool,
    /// Mutual TLS on `listen` and towards the other nodes.
    pub tls: Option<Tls>,
    /// Threads of the runtime. Default 0: one on a machine of up to two cores, else half of the cores, at most 8.
    pub worker_threads: usize,
    /// How long leaderships may take to be handed over when the node stops. Default 4,000.
    pub step_down_timeout_ms: u64,
    /// Consensus.
    pub raft: Raft,
    /// How shards are moved.
    pub placement: Placement,
    /// What is on disk.
    pub storage: Storage,
    /// The subtrees' actors.
    pub subtree: Subtree,
    /// What resources may be and cost.
    pub policy: PolicySettings,
    /// Admission of requests.
    pub request: Request,
    /// Outgoing notifications.
    pub delivery: Delivery,
    /// Keys of M2M nodes.
    pub keys: KeySettings,
}

/// Files of mutual TLS, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Tls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Keys of M2M nodes; the same at every node, `audit` apart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// File of the key-encryption key: 32 octets, as hexadecimal digits or Base64. Without it the cluster keeps no keys.
    pub kek: Option<PathBuf>,
    /// Files of older ones, which may have wrapped the data key. Default: none.
    pub kek_old: Vec<PathBuf>,
    /// The audit log. Default: `audit.jsonl` in the node's folder.
    pub audit: Option<PathBuf>,
    /// FQDN of the MAS, in PSK identities with Kmr. Default `mas.example.com`.
    pub mas_fqdn: String,
    /// FQDN of the NSCL, in PSK identities with Kmc. Default `nscl.example.com`.
    pub nscl_fqdn: String,
    /// securityLifetime of a Kmr that names none, in days. Default 3,650.
    pub kmr_lifetime_days: u64,
    /// securityLifetime of a Kmc, in seconds. Default 86,400.
    pub connection_lifetime_s: u64,
    /// Where NAFs and AAA servers of operators hand keys over. Default: nowhere.
    pub handover_listen: Option<SocketAddr>,
    /// The certificate of that port, PEM. Required with it.
    pub handover_certificate: Option<PathBuf>,
    /// Its key.
    pub handover_key: Option<PathBuf>,
    /// Whose certificates may hand keys over.
    pub handover_ca: Option<PathBuf>,
}

impl Default for KeySettings {
    fn default() -> KeySettings {
        KeySettings {
            kek: None,
            kek_old: Vec::new(),
            audit: None,
            mas_fqdn: "mas.example.com".to_owned(),
            nscl_fqdn: "nscl.example.com".to_owned(),
            kmr_lifetime_days: 3_650,
            connection_lifetime_s: 86_400,
            handover_listen: None,
            handover_certificate: None,
            handover_key: None,
            handover_ca: None,
        }
    }
}

impl KeySettings {
    fn checked(&self, data: &Path) -> Result<security::Config, ConfigError> {
        let fqdns = [("keys.mas_fqdn", &self.mas_fqdn), ("keys.nscl_fqdn", &self.nscl_fqdn)];
        // Beside it an identity has up to 48 octets of its 128.
        let is_fqdn = |name: &str| {
            let of_names = |octet: u8| octet.is_ascii_alphanumeric() || b"-.".contains(&octet);
            (1..=64).contains(&name.len()) && name.bytes().all(of_names)
        };
        if let Some((setting, _)) = fqdns.into_iter().find(|(_, name)| !is_fqdn(name)) {
            return Err(setting_error(setting, "must be a host name of at most 64 octets"));
        }
        if !(1..=36_500).contains(&self.kmr_lifetime_days) {
            return Err(setting_error("keys.kmr_lifetime_days", "must be between 1 and 36500"));
        }
        if !(60..=31_536_000).contains(&self.connection_lifetime_s) {
            return Err(setting_error("keys.connection_lifetime_s", "must be between 60 and 31536000"));
        }
        if self.kek.is_none() && !self.kek_old.is_empty() {
            return Err(setting_error("keys.kek_old", "keys.kek must be set, too"));
        }
        let kek = match &self.kek {
            Some(file) => {
                let keys = security::FileKeys::read(file, &self.kek_old)?;
                Some(Arc::new(keys) as Arc<dyn security::KeyEncryption>)
            }
            None => None,
        };
        Ok(security::Config {
            kek,
            audit: self.audit.clone().unwrap_or_else(|| data.join("audit.jsonl")),
            mas_fqdn: self.mas_fqdn.clone(),
            nscl_fqdn: self.nscl_fqdn.clone(),
            kmr_lifetime: Duration::from_secs(self.kmr_lifetime_days * 86_400),
            connection_lifetime: Duration::from_secs(self.connection_lifetime_s),
        })
    }

    /// The hand-over port: whole, or not at all.
    fn handover(&self) -> Result<Option<handover::Config>, ConfigError> {
        let files = [
            ("keys.handover_certificate", &self.handover_certificate),
            ("keys.handover_key", &self.handover_key),
            ("keys.handover_ca", &self.handover_ca),
        ];
        let Some(listen) = self.handover_listen else {
            return match files.iter().any(|(_, file)| file.is_some()) {
                true => Err(setting_error("keys.handover_listen", "must be set, too")),
                false => Ok(None),
            };
        };
        if self.kek.is_none() {
            return Err(setting_error("keys.kek", "must be set where keys are handed over"));
        }
        let needed = files.map(|(setting, file)| {
            file.clone().ok_or_else(|| setting_error(setting, "must be set with keys.handover_listen"))
        });
        let [certificate, key, roots] = needed;
        let keys = KeyFiles { certificate: certificate?, key: key? };
        let clients = ClientFiles { roots: roots?, revoked: None };
        banyan_binding::tls::server(&keys, Some(&clients)).map_err(ConfigError::Handover)?;
        Ok(Some(handover::Config { listen, keys, clients }))
    }
}

/// A section of the file: each key with its default, and how the room it belongs to takes it.
macro_rules! section {
    (
        $(#[$outer:meta])*
        $name:ident = $room:path { $($(#[$doc:meta])* $key:ident: $kind:ident $($to:ident).+),* $(,)? }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$doc])* pub $key: Option<$kind>,)*
        }

        impl $name {
                fn over(&self, mut room: $room) -> $room {
                $(if let Some(value) = self.$key {
                    room.$($to).+ = Setting::new(value).into();
                })*
                room
            }
        }
    };
}

/// A number as it is written; durations are milliseconds.
struct Setting(u64);

impl Setting {
    fn new(value: impl Into<u64>) -> Setting {
        Setting(value.into())
    }
}

impl From<Setting> for Duration {
    fn from(setting: Setting) -> Duration {
        Duration::from_millis(setting.0)
    }
}

impl From<Setting> for u64 {
    fn from(setting: Setting) -> u64 {
        setting.0
    }
}

impl From<Setting> for usize {
    fn from(setting: Setting) -> usize {
        usize::try_from(setting.0).unwrap_or(usize::MAX)
    }
}

impl From<Setting> for u32 {
    fn from(setting: Setting) -> u32 {
        u32::try_from(setting.0).unwrap_or(u32::MAX)
    }
}

impl From<Setting> for bool {
    fn from(setting: Setting) -> bool {
        setting.0 != 0
    }
}

impl From<Setting> for i64 {
    fn from(setting: Setting) -> i64 {
        i64::try_from(setting.0).unwrap_or(i64::MAX)
    }
}

section! {
    /// Consensus; every node of a cluster should have the same.
    Raft = banyan_raft::Config {
        /// Default 200.
        heartbeat_ms: u64 heartbeat,
        /// Default 600.
        election_timeout_min_ms: u64 election_timeout_min,
        /// Also the leader's lease. Default 1,000.
        election_timeout_max_ms: u64 election_timeout_max,
        /// The state is made durable and the log may be purged after so many entries. Default 20,000.
        snapshot_after_entries: u64 snapshot_after_entries,
        /// Entries that stay in the log although the state holds them. Default 20,000.
        log_keep_entries: u64 log_keep_entries,
        /// Proposals of one group under way. Default 4,096.
        proposals_in_flight_max: u64 proposals_in_flight_max,
        /// Bytes of one group's proposals under way. Default 32 MiB.
        proposal_bytes_in_flight_max: u64 proposal_bytes_in_flight_max,
        /// Bytes that may wait for one peer. Default 16 MiB.
        link_queue_bytes_max: u64 link_queue_bytes_max,
        /// Snapshots on their way at once. Default 2.
        snapshots_in_transfer_max: u64 snapshots_in_transfer_max,
    }
}

section! {
    /// How shards are moved; every node of a cluster should have the same.
    Placement = directory::Placement {
        /// How long the replica that should lead must have been up before it leads again. 0: never by itself.
        /// Default 10,000.
        leader_return_ms: u64 leader_return,
        /// How long a member may be gone before its replicas are made elsewhere. Default 600,000.
        node_gone_after_ms: u64 node_gone_after,
        /// Shards that move at once. Default 2.
        moves_max: u64 moves_max,
    }
}

section! {
    /// What is on disk.
    Storage = banyan_storage::Config {
        /// How long applied changes stay in memory. Default 300.
        write_behind_ms: u64 write_behind,
        /// Bytes of applied changes in memory. Default 128 MiB.
        overlay_bytes_max: u64 overlay_bytes_max,
        /// Bytes of log entries kept for followers. Default 64 MiB.
        log_cache_bytes_max: u64 log_cache_bytes_max,
        /// Bytes of log writes that wait for the disk. Default 64 MiB.
        log_queue_bytes_max: u64 log_queue_bytes_max,
        /// Size of one log file. Default 16 MiB.
        log_file_bytes: u64 log_file_bytes,
        /// Size of all log files. Default 512 MiB.
        log_bytes_max: u64 log_bytes_max,
        /// Memory for the state's pages. Default 128 MiB.
        state_cache_bytes: u64 state_cache_bytes,
        /// Snapshots copied at once. Default 1.
        exports_max: u64 exports_max,
        /// Bytes a second that a snapshot's copy takes. Default 64 MiB.
        export_bytes_per_second_max: u64 export_bytes_per_second_max,
    }
}

section! {
    /// The subtrees' actors.
    Subtree = subtree::Config {
        /// Requests of one subtree under way. Default 512.
        requests_max: u64 requests_max,
        /// Subtrees of one shard with an actor. Default 4,096.
        subtrees_max: u64 subtrees_max,
        /// An actor without requests goes away after this long. Default 60,000.
        idle_ms: u64 idle,
        /// Listings at once. Default 16.
        listings_max: u64 listings_max,
    }
}

section! {
    /// What resources may be and cost. Times are milliseconds, 0: no limit.
    PolicySettings = Policy {
        /// expirationTime of a resource whose creator names none. Default 0: never.
        expiration_default_ms: u64 expiration_default_ms,
        /// The soonest expirationTime. Default 0.
        expiration_min_ms: u64 expiration_min_ms,
        /// The latest expirationTime. Default 0: no limit.
        expiration_max_ms: u64 expiration_max_ms,
        /// Bytes of one content. Default 1 MiB.
        content_bytes_max: u64 content_bytes_max,
        /// maxNrOfInstances of a container whose creator names none. Default 0: no limit.
        instances_default: u64 instances_default,
        /// The most that maxNrOfInstances may be; more, and no limit, are clipped to it. Default 10,000,000.
        instances_max: u64 instances_max,
        /// The most that maxByteSize may be, likewise. Default 16 GiB.
        container_bytes_max: u64 container_bytes_max,
        /// Subscriptions on one resource. Default 1,000.
        subscriptions_per_resource_max: u32 subscriptions_per_resource_max,
        /// Resources of one subtree, contentInstances not counted. Default 1,000,000.
        resources_per_subtree_max: u64 resources_per_subtree_max,
        /// searchStrings of one resource. Default 100.
        search_strings_max: u32 search_strings_max,
        /// Bytes of one of them. Default 256.
        search_string_bytes_max: u32 search_string_bytes_max,
        /// Members of one group. Default 10,000.
        members_per_group_max: u32 members_per_group_max,
        /// m2mPocs of one scl. Default 32.
        m2m_pocs_per_scl_max: u32 m2m_pocs_per_scl_max,
        /// Entries of any other list in a representation. Default 1,000.
        list_entries_max: u32 list_entries_max,
        /// Announces what applications make, where nobody says where to, at all registered SCLs. Default false.
        announce_all: bool announce_all,
        /// Messages that wait in one channel's queue. Default 1,000.
        channel_entries_max: u64 channel.entries_max,
        /// Octets of them. Default 8 MiB.
        channel_bytes_max: u64 channel.octets_max,
        /// Aggregations of one group. Default 64.
        aggregations_per_group_max: u32 aggregations_per_group_max,
        /// Notifies of members that wait in one aggregation. Default 1,000.
        aggregation_entries_max: u64 aggregation.entries_max,
        /// Octets of them. Default 8 MiB.
        aggregation_bytes_max: u64 aggregation.octets_max,
    }
}

section! {
    /// Admission of requests.
    Request = request::Config {
        /// Submissions that wait for their answer at this node. Default 16,384.
        requests_max: u64 requests_max,
        /// Members of a root collection that one answer lists for those who cannot ask for pages. Default 20,000.
        members_max: u64 members_max,
        /// Shards that are asked at once for their members, or for what they have of a discovery. Default 4.
        gather_max: u64 gather_max,
        /// Members that one fan-out of a group asks at once. Default 32.
        fan_out_concurrency: u64 fan_out_concurrency,
        /// Members that all fan-outs of this node ask at once. Default 512.
        fan_out_node_concurrency: u64 fan_out_node_concurrency,
        /// Fan-outs that this node remembers, so that no group is expanded twice for one of them; more are refused.
        /// Default 16,384.
        fan_outs_max: u64 fan_outs_max,
        /// Octets of members' answers in one aggregated answer. Default 8 MiB.
        fan_out_bytes_max: u64 fan_out_bytes_max,
        /// Members that a group may have. Default 10,000.
        group_members_max: u64 group_members_max,
        /// Addresses that one discovery answers with, whatever its maxSize. Default 1,000.
        discovered_max: u64 discovered_max,
        /// How long a right of another shard may be used: a revocation takes effect within it. Default 1,000.
        rights_lease_ms: u64 rights_lease,
        /// How long a right of another SCL may be used, or may count as one that cannot be retrieved. Default 10,000.
        rights_elsewhere_lease_ms: u64 rights_elsewhere_lease,
        /// How long the owner of a right is asked. Default 3,000.
        rights_timeout_ms: u64 rights_timeout,
        /// Rights of other shards that are remembered. Default 10,000.
        rights_max: u64 rights_max,
        /// Long polls that wait at this node, besides the requests. Default 16,384.
        polls_max: u64 polls_max,
        /// Long polls that wait at one channel. Default 4.
        polls_per_channel_max: u64 polls_per_channel_max,
        /// A message that a poll got and nobody confirmed is handed out again after this long. Default 5,000.
        poll_redelivery_ms: u64 poll_redelivery,
        /// How long the answer of an asynchronous request is kept for who repeats it. Default 300,000.
        async_lifetime_ms: u64 async_lifetime,
        /// Asynchronous requests, with their answers, that are kept of one requestingEntity. Default 1,000.
        async_entries_max: u64 async_limits.entity.entries_max,
        /// Octets of them. Default 8 MiB.
        async_bytes_max: u64 async_limits.entity.octets_max,
        /// The same of all in one shard. Default 100,000.
        async_shard_entries_max: u64 async_limits.shard.entries_max,
        /// Octets of them. Default 256 MiB.
        async_shard_bytes_max: u64 async_limits.shard.octets_max,
    }
}

section! {
    /// Outgoing notifications.
    Delivery = delivery::Config {
        /// Deliveries under way. Default 1,024.
        deliveries_max: u64 deliveries_max,
        /// How long a contact may take. Default 10,000.
        timeout_ms: u64 timeout,
        /// The pause after a first failure. Default 500.
        retry_min_ms: u64 retry_min,
        /// The longest pause. Default 30,000.
        retry_max_ms: u64 retry_max,
        /// How old a notification may get before a contact that does not take it loses its subscription.
        /// Default 86,400,000 (24 h).
        give_up_after_ms: u64 give_up_after,
        /// How often all subscriptions are asked whether their subscribers may still read; 0: only when a right
        /// changes of which this node holds a replica. Default 10,000.
        rights_check_ms: u64 rights_check,
        /// Asynchronous requests that are carried out at once. Default 256.
        carry_out_max: u64 carry_out_max,
        /// How long an aggregation without delayTolerance collects. Default 10,000.
        aggregation_window_ms: u64 aggregation_window,
    }
}

impl Default for Config {
    fn default() -> Config {
        let founding = directory::Founding::default();
        Config {
            data: None,
            listen: None,
            advertise: None,
            admin: None,
            zone: String::new(),
            founders: Vec::new(),
            join: Vec::new(),
            restore: None,
            shards: founding.shards,
            replication_factor: founding.replication_factor,
            scl_id: founding.scl_id,
            scl_base: founding.scl_base,
            authorities: founding.authorities,
            public_uri: None,
            plaintext: false,
            tls: None,
            worker_threads: 0,
            step_down_timeout_ms: 4_000,
            raft: Raft::default(),
            placement: Placement::default(),
            storage: Storage::default(),
            subtree: Subtree::default(),
            policy: PolicySettings::default(),
            request: Request::default(),
            delivery: Delivery::default(),
            keys: KeySettings::default(),
        }
    }
}

/// Why a node cannot start with these settings.
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
    Setting { setting: String, why: String },
    #[error("tls")]
    Tls(#[from] TlsError),
    #[error("keys.handover_listen")]
    Handover(#[source] TlsError),
    #[error("keys.kek")]
    Kek(#[from] security::KekError),
    #[error("addresses of nodes")]
    Client(#[from] banyan_client::ConfigError),
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
}

/// Settings that were checked, as the rooms take them.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Checked {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub tls: Option<banyan_client::Tls>,
    pub step_down_timeout: Duration,
    pub directory: directory::Config,
    pub raft: banyan_raft::Config,
    pub storage: banyan_storage::Config,
    pub subtree: subtree::Config,
    pub request: request::Config,
    pub delivery: delivery::Config,
    pub keys: security::Config,
    pub handover: Option<handover::Config>,
    pub client: banyan_client::Config,
}

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

    /// Threads of the runtime.
    pub fn workers(&self) -> usize {
        if self.worker_threads > 0 {
            return self.worker_threads;
        }
        match std::thread::available_parallelism().map_or(1, usize::from) {
            // A second one on such a machine costs more than it gives: the disk's threads need the other core.
            0..=2 => 1,
            cores => (cores / 2).min(8),
        }
    }

    /// Checks everything, certificates and addresses included.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting and what it must be.
    pub fn check(&self) -> Result<Checked, ConfigError> {
        let missing = |setting: &str| setting_error(setting, "must be set");
        let data = self.data.clone().ok_or_else(|| missing("data"))?;
        let listen = self.listen.ok_or_else(|| missing("listen"))?;
        if self.advertise.is_none() && listen.ip().is_unspecified() {
            return Err(setting_error("advertise", "must be set when listen is for every address"));
        }
        if self.plaintext == self.tls.is_some() {
            let why = "either [tls] or plaintext = true, not both and not neither";
            return Err(setting_error("tls", why));
        }
        if !self.founders.is_empty() && !self.join.is_empty() {
            return Err(setting_error("join", "a node is a founder or joins, not both"));
        }
        if self.worker_threads > 1_024 {
            return Err(setting_error("worker_threads", "must be at most 1024"));
        }
        if self.step_down_timeout_ms > 60_000 {
            return Err(setting_error("step_down_timeout_ms", "must be at most 60000"));
        }
        let tls = self.tls.as_ref().map(|files| banyan_client::Tls {
            ca: files.ca.clone(),
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        });
        if let Some(files) = &tls {
            let keys = KeyFiles { certificate: files.certificate.clone(), key: files.key.clone() };
            banyan_binding::tls::server(
                &keys,
                Some(&ClientFiles { roots: files.ca.clone(), revoked: None }),
            )?;
        }
        let directory = self.directory(listen);
        directory.validate()?;
        let raft = self.raft.over(banyan_raft::Config::default());
        raft.validate().map_err(|error| setting_error(&format!("raft.{}", error.setting), &error.reason))?;
        let storage = self.storage.over(banyan_storage::Config::default());
        storage
            .validate()
            .map_err(|error| setting_error(&format!("storage.{}", error.setting), &error.reason))?;
        let mut subtree = self.subtree.over(subtree::Config::default());
        subtree.policy = self.policy.over(subtree.policy);
        let mut request = self.request.over(request::Config::default());
        request.public_uri.clone_from(&self.public_uri);
        let mut delivery = self.delivery.over(delivery::Config::default());
        delivery.announce_all = subtree.policy.announce_all;
        delivery.public_uri.clone_from(&self.public_uri);
        let public_uri = self.public_uri.as_deref().map(|uri| uri.trim_end_matches('/'));
        subtree.policy.public_uri = public_uri.map(Arc::from);
        if self.public_uri.as_deref().is_some_and(|uri| !is_origin(uri)) {
            return Err(setting_error("public_uri", "must be http(s)://host[:port] with no path"));
        }
        let keys = self.keys.checked(&data)?;
        let handover = self.keys.handover()?;
        check_counts(&subtree, &request)?;
        check_delivery(&delivery)?;
        let client = self.client(&directory, tls.clone());
        client.validate()?;
        Ok(Checked {
            data,
            listen,
            admin: self.admin,
            tls,
            step_down_timeout: Duration::from_millis(self.step_down_timeout_ms),
            directory,
            raft,
            storage,
            subtree,
            request,
            delivery,
            keys,
            handover,
            client,
        })
    }

    fn directory(&self, listen: SocketAddr) -> directory::Config {
        directory::Config {
            address: self.advertise.clone().unwrap_or_else(|| listen.to_string()),
            zone: self.zone.clone(),
            founders: self.founders.clone(),
            join: self.join.clone(),
            placement: self.placement.over(directory::Placement::default()),
            restore: self.restore.clone(),
            founding: directory::Founding {
                shards: self.shards,
                replication_factor: self.replication_factor,
                scl_id: self.scl_id.clone(),
                scl_base: self.scl_base.clone(),
                authorities: self.authorities.clone(),
            },
        }
    }

    /// The way to the other nodes: by ourselves, and by whom we know from the settings.
    fn client(
        &self,
        directory: &directory::Config,
        tls: Option<banyan_client::Tls>,
    ) -> banyan_client::Config {
        let mut nodes = vec![directory.address.clone()];
        nodes.extend(
            self.founders.iter().chain(&self.join).filter(|node| **node != directory.address).cloned(),
        );
        banyan_client::Config { nodes, tls, ..banyan_client::Config::default() }
    }
}

fn check_counts(subtree: &subtree::Config, request: &request::Config) -> Result<(), ConfigError> {
    let counts = [
        ("subtree.requests_max", subtree.requests_max),
        ("subtree.subtrees_max", subtree.subtrees_max),
        ("subtree.listings_max", subtree.listings_max),
        ("request.requests_max", request.requests_max),
        ("request.members_max", request.members_max),
        ("request.gather_max", request.gather_max),
        ("request.discovered_max", request.discovered_max),
    ];
    match counts.into_iter().find(|(_, count)| *count == 0) {
        Some((setting, _)) => Err(setting_error(setting, "must be more than 0")),
        None => Ok(()),
    }
}

fn check_delivery(delivery: &delivery::Config) -> Result<(), ConfigError> {
    let refuse = |key: &str, why: &str| Err(setting_error(&format!("delivery.{key}"), why));
    if delivery.deliveries_max == 0 {
        return refuse("deliveries_max", "must be more than 0");
    }
    if delivery.timeout.is_zero() || delivery.retry_min.is_zero() {
        return refuse("timeout_ms", "it and retry_min_ms must be more than 0");
    }
    if delivery.retry_max < delivery.retry_min {
        return refuse("retry_max_ms", "must not be less than retry_min_ms");
    }
    Ok(())
}

fn is_origin(uri: &str) -> bool {
    let authority = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
    authority.is_some_and(|authority| !authority.is_empty() && !authority.contains(['/', '?', '#']))
}

fn setting_error(setting: &str, why: &str) -> ConfigError {
    ConfigError::Setting { setting: setting.to_owned(), why: why.to_owned() }
}

/// The main settings as options; they go before what stands in the file.
#[derive(Args, Debug, Default)]
pub struct Arguments {
    /// Settings in TOML (docs/configuration.md); options below go before what stands there.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The node's folder.
    #[arg(long)]
    data: Option<PathBuf>,
    /// gRPC address of this node.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// host:port at which the others reach this node; default: listen.
    #[arg(long)]
    advertise: Option<String>,
    /// Health, readiness and metrics.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// A founder's host:port, this node's included; stands once for each.
    #[arg(long = "founder")]
    founders: Vec<String>,
    /// A member's host:port, to join its cluster; may stand several times.
    #[arg(long)]
    join: Vec<String>,
    /// Plain text between nodes and from edges.
    #[arg(long)]
    plaintext: bool,
    /// Check the settings and end.
    #[arg(long)]
    pub check: bool,
}

impl Arguments {
    /// Threads of the runtime that is to run this node.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Parse`].
    pub fn workers(&self) -> Result<usize, ConfigError> {
        let file = self.config.as_deref().map(Config::read).transpose()?;
        Ok(file.unwrap_or_default().workers())
    }

    /// The file's settings, and the options over them.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Parse`].
    pub fn settings(self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        config.data = self.data.or(config.data);
        config.listen = self.listen.or(config.listen);
        config.advertise = self.advertise.or(config.advertise);
        config.admin = self.admin.or(config.admin);
        config.plaintext |= self.plaintext;
        if !self.founders.is_empty() {
            config.founders = self.founders;
        }
        if !self.join.is_empty() {
            config.join = self.join;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
