//! The operator's command line: asks a node over its gRPC port and prints what it says as a table.

mod backup;
mod keys;
mod place;
mod saf;
mod sealed;
mod table;
mod token;

#[cfg(test)]
mod tests;

pub use sealed::FileError;

use banyan_client::{Tls, TransportError};
use banyan_proto::v1::{
    KeysQuestion, NodeStatus, StatusRequest, StepDownRequest, admin_client::AdminClient, keys_answer,
    keys_question,
};
use clap::{Args, Subcommand};
use std::{io, path::PathBuf, time::Duration};
use tokio::time::timeout;
use tonic::{Status, transport::Channel};

/// For a question; a step-down takes its own time on top.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For a question about keys: a node gives itself a minute.
const KEYS_TIMEOUT: Duration = Duration::from_secs(70);

/// Options of `banyan ctl`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Members, shards, leaders and storage, as one node sees them.
    Status {
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Has a node hand its leaderships over, before it is taken away.
    StepDown {
        #[command(flatten)]
        node: NodeArguments,
        /// How long it may take, in milliseconds.
        #[arg(long, default_value_t = 5_000)]
        deadline_ms: u32,
    },
    /// Who leads a shard, and where its replicas are.
    #[command(subcommand)]
    Shard(place::ShardCommand),
    /// Takes members of the cluster away.
    #[command(subcommand)]
    Node(place::NodeCommand),
    /// Root keys of M2M nodes.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Bearer tokens of applications.
    #[command(subcommand)]
    Token(token::Command),
    /// What is stored for other SCLs and waits for them, by the SCL and who asked.
    Saf {
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Copies the state of the whole cluster into a folder, while it serves.
    Backup {
        /// The folder; made if it is not there, refused if it holds a backup.
        folder: PathBuf,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Reads a backup and says whether it is whole; ends with 1 if not.
    Verify {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Args, Clone, Debug)]
struct NodeArguments {
    /// The node's host:port (gRPC).
    #[arg(long, default_value = "127.0.0.1:7000")]
    node: String,
    /// Certificates of the cluster's CA, PEM. Plain text without the three.
    #[arg(long, requires_all = ["certificate", "key"])]
    ca: Option<PathBuf>,
    /// A node's or edge's certificate, PEM.
    #[arg(long, requires_all = ["ca", "key"])]
    certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, requires_all = ["ca", "certificate"])]
    key: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The node cannot be reached.
    #[error("{node} is not reachable")]
    Transport {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// It refused.
    #[error("{node} refuses: {}: {}", status.code(), status.message())]
    Refused {
        /// The node.
        node: String,
        /// What it said.
        status: Box<Status>,
    },
    /// It does not answer.
    #[error("{0} does not answer in time")]
    Timeout(String),
    /// It still leads something.
    #[error("the node still leads {0} groups")]
    StillLeads(usize),
    /// What they know is missing in what was printed.
    #[error("{0} members do not answer: what they lead is not in the list")]
    Silent(usize),
    /// Not an answer to what was asked: another release.
    #[error("{0} answers something else than was asked")]
    Unexpected(String),
    /// A file cannot be read or written.
    #[error("{} cannot be used", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in a file of keys.
    #[error("{} cannot be used", file.display())]
    Keys {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
    /// Some keys of an import.
    #[error("{0} keys were refused")]
    NotTaken(usize),
    /// Nothing is known of this M2M node.
    #[error("there is no M2M node {0}")]
    NoSuchNode(String),
    /// No member is called so.
    #[error("there is no member {0}: `banyan ctl status` shows their numbers and addresses")]
    NoSuchMember(String),
    /// A placement that cannot be.
    #[error("refused: {0}")]
    NotPlaced(String),
    /// It is written down and goes on, but was not done when the wait was over.
    #[error("not done yet, but it goes on: {0}")]
    NotDone(String),
    /// What an application's address begins with is not known yet.
    #[error("{0} has not heard of a cluster yet")]
    NotFounded(String),
    /// Nobody leads a group.
    #[error("no member leads group {0}")]
    NoLeader(u64),
    /// A copy did not come whole.
    #[error("the copy of group {group} from {node} broke off: {why}")]
    Broken {
        /// The group.
        group: u64,
        /// The node.
        node: String,
        /// Why.
        why: String,
    },
    /// The map is not what it was when the backup began.
    #[error("the shards were changed meanwhile, or it is another cluster: make the backup again")]
    ShardsChanged,
    /// The folder of a backup cannot be written.
    #[error("no backup was made")]
    Backup(#[from] banyan_backup::WriteError),
    /// There is no backup to be read.
    #[error("no backup")]
    NoBackup(#[from] banyan_backup::OpenError),
    /// Files of a backup are not what they should be.
    #[error("{0} files of the backup are missing or damaged: it cannot be restored")]
    Faults(usize),
    /// The machine gives no random numbers.
    #[error("no random numbers can be drawn")]
    Random,
}

/// Asks and prints.
///
/// # Errors
/// [`CtlError`].
pub async fn run(arguments: Arguments) -> Result<(), CtlError> {
    match arguments.command {
        Command::Status { node } => {
            let status = node.ask(TIMEOUT, None).await?;
            print!("{}", table::status(&status));
        }
        Command::Shard(command) => place::shard(command).await?,
        Command::Node(command) => place::node(command).await?,
        Command::Keys(command) => keys::run(command).await?,
        Command::Token(command) => token::run(command).await?,
        Command::Saf { node } => saf::run(&node).await?,
        Command::Backup { folder, node } => backup::run(&folder, &node).await?,
        Command::Verify { folder } => backup::verify(&folder)?,
        Command::StepDown { node, deadline_ms } => {
            let wait = TIMEOUT + Duration::from_millis(deadline_ms.into());
            let status = node.ask(wait, Some(StepDownRequest { deadline_ms })).await?;
            print!("{}", table::status(&status));
            let led = status.groups.iter().filter(|group| group.role == "Leader").count();
            if led > 0 {
                return Err(CtlError::StillLeads(led));
            }
        }
    }
    Ok(())
}

impl NodeArguments {
    /// The node's status, at once or after it stepped down.
    async fn ask(&self, wait: Duration, step_down: Option<StepDownRequest>) -> Result<NodeStatus, CtlError> {
        self.within(wait, async |mut admin| match step_down {
            None => admin.status(StatusRequest {}).await,
            Some(request) => admin.step_down(request).await,
        })
        .await
    }

    /// What the keys' group answers.
    async fn keys(&self, kind: keys_question::Kind) -> Result<Option<keys_answer::Kind>, CtlError> {
        let question = KeysQuestion { kind: Some(kind) };
        Ok(self.within(KEYS_TIMEOUT, async |mut admin| admin.keys(question).await).await?.kind)
    }

    async fn within<T>(
        &self,
        wait: Duration,
        question: impl AsyncFnOnce(AdminClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, CtlError> {
        let asked = async {
            let channel = self.connect().await?;
            let answer = question(AdminClient::new(channel)).await;
            Ok(answer.map_err(|status| self.refused(status))?.into_inner())
        };
        timeout(wait, asked).await.map_err(|_| CtlError::Timeout(self.node.clone()))?
    }

    async fn connect(&self) -> Result<Channel, CtlError> {
        let tls = match (&self.ca, &self.certificate, &self.key) {
            (Some(ca), Some(certificate), Some(key)) => {
                Some(Tls { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
            }
            _ => None,
        };
        banyan_client::connect(&self.node, tls.as_ref())
            .await
            .map_err(|source| CtlError::Transport { node: self.node.clone(), source })
    }

    fn refused(&self, status: Status) -> CtlError {
        CtlError::Refused { node: self.node.clone(), status: Box::new(status) }
    }

    fn unexpected(&self) -> CtlError {
        CtlError::Unexpected(self.node.clone())
    }
}
