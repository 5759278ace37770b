//! Errors, each with what to do next.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::ConfigError;

/// Storage no longer vouches for what it holds. Nothing can be tried again: the process must leave and find out at
/// its next start what the disk kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("storage failed to {action}")]
pub struct Fatal {
    pub(crate) action: &'static str,
    #[source]
    pub(crate) source: Arc<dyn Error + Send + Sync>,
}

impl Fatal {
    pub(crate) fn new(action: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Fatal {
        Fatal { action, source: Arc::from(source.into()) }
    }

    /// What was being done.
    pub fn action(&self) -> &'static str {
        self.action
    }
}

/// Why a node folder was not opened. None of them changed anything in the folder.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings that cannot work.
    #[error("storage setting refused")]
    Config(#[from] ConfigError),
    /// Another process works on the folder: stop it first.
    #[error("{} is in use by another process: stop it first, two nodes cannot share a folder", .dir.display())]
    Locked {
        /// The node folder.
        dir: PathBuf,
    },
    /// A later release wrote the folder: start that release again.
    #[error(
        "{} has format {found}, this release knows up to {known}: start the release that wrote it, or a newer one",
        .dir.display()
    )]
    Newer {
        /// The node folder.
        dir: PathBuf,
        /// The format that was found.
        found: u32,
        /// The newest format that this release reads.
        known: u32,
    },
    /// The folder is not what was written here.
    #[error(
        "{} is corrupt ({what}): set the folder aside and let the node come back empty under a new node id, as a \
         learner; do not delete parts of it",
        .dir.display()
    )]
    Corrupt {
        /// The node folder.
        dir: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The folder holds files of somebody else.
    #[error("{} is not empty and is no node folder: choose another one", .dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// The operating system refused: permissions, a full or read-only disk.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came back.
        #[source]
        source: io::Error,
    },
}

/// Why a snapshot was not written or not installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Storage ended trust.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The snapshot's own file failed; the state is untouched and another file may do.
    #[error("cannot {action} snapshot file {}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The snapshot file.
        path: PathBuf,
        /// What came back.
        #[source]
        source: io::Error,
    },
    /// The file is no whole snapshot of these ranges; the state is untouched. Have it sent again.
    #[error("snapshot file {} refused: {reason}", .path.display())]
    Malformed {
        /// The snapshot file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// More was written behind the copy than it could catch up with, several times over. Try again later.
    #[error("writes outran the snapshot {passes} times")]
    Overrun {
        /// How often the copy was begun.
        passes: u32,
    },
}
