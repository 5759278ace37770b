//! `banyan ctl keys`: root keys of M2M nodes, as an operator handles them.
//!
//! A secret passes through here in two directions only: out of a sealed file into the cluster, and out of the cluster into a
//! file that nobody else may read. It is never printed unless standard output is what was asked for.

use crate::{
    CtlError, NodeArguments,
    sealed::{self, Keys},
    table,
};
use banyan_model::security::M2mNodeId;
use banyan_proto::v1::{
    ImportKeys, ListKeys, ListedNode, RevokeKeys, RotateKey, keys_answer::Kind as Answer,
    keys_question::Kind as Question,
};
use clap::Subcommand;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Keys of one question: each is synced to the audit log twice, and all within a minute.
const BATCH: usize = 200;
/// Nodes of one answer.
const PAGE: u32 = 500;
/// Who asks, in the audit log.
pub(crate) const SOURCE: &str = "ctl";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Gives the keys of a sealed file to the cluster. What is there already stays; ends with 1 if one was refused.
    Import {
        /// What `seal` made.
        file: PathBuf,
        /// The file with the transfer key: 32 octets in hexadecimal digits or Base64.
        #[arg(long)]
        transfer_key: PathBuf,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Seals a file with a line of JSON for each key: node, index, kmr; expires, scl_id, alias as wanted.
    Seal {
        /// The lines.
        plain: PathBuf,
        /// The sealed file; must not exist.
        out: PathBuf,
        /// The file with the transfer key: 32 octets in hexadecimal digits or Base64.
        #[arg(long)]
        transfer_key: PathBuf,
    },
    /// All nodes that have keys.
    List {
        #[command(flatten)]
        node: NodeArguments,
    },
    /// The keys and service connections of one node.
    Show {
        /// The M2M node's id, 32 hexadecimal digits.
        #[arg(value_parser = m2m_node)]
        m2m_node: M2mNodeId,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Makes a further root key for a node, to be brought to it. Its first use retires the older ones.
    Rotate {
        /// The M2M node's id, 32 hexadecimal digits.
        #[arg(value_parser = m2m_node)]
        m2m_node: M2mNodeId,
        /// Where the key is written; must not exist, and is readable by its owner only. `-`: standard output.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Ends a root key, or all keys of a node, and every session made with them.
    Revoke {
        /// The M2M node's id, 32 hexadecimal digits.
        #[arg(value_parser = m2m_node)]
        m2m_node: M2mNodeId,
        /// The root key's index. Without: all, and the node may not bootstrap again until a key is imported for it.
        #[arg(long)]
        index: Option<u32>,
        #[command(flatten)]
        node: NodeArguments,
    },
}

fn m2m_node(text: &str) -> Result<M2mNodeId, &'static str> {
    M2mNodeId::parse(text).ok_or("must be 32 hexadecimal digits")
}

pub(crate) async fn run(command: Command) -> Result<(), CtlError> {
    match command {
        Command::Seal { plain, out, transfer_key } => seal(&plain, &out, &transfer_key),
        Command::Import { file, transfer_key, node } => import(&file, &transfer_key, &node).await,
        Command::List { node } => {
            print!("{}", table::keys(&all(&node).await?));
            Ok(())
        }
        Command::Show { m2m_node, node } => {
            let list = ListKeys { only: octets(m2m_node), limit: 1, ..ListKeys::default() };
            match node.keys(Question::List(list)).await? {
                Some(Answer::Listed(listed)) => match listed.nodes.first() {
                    Some(listed) => print!("{}", table::keys_of(listed)),
                    None => return Err(CtlError::NoSuchNode(m2m_node.to_string())),
                },
                _ => return Err(node.unexpected()),
            }
            Ok(())
        }
        Command::Rotate { m2m_node, out, node } => rotate(m2m_node, &out, &node).await,
        Command::Revoke { m2m_node, index, node } => {
            let revoke = RevokeKeys { node: octets(m2m_node), index, source: SOURCE.to_owned() };
            match node.keys(Question::Revoke(revoke)).await? {
                None => println!("revoked"),
                Some(_) => return Err(node.unexpected()),
            }
            Ok(())
        }
    }
}

fn octets(node: M2mNodeId) -> bytes::Bytes {
    node.0.to_vec().into()
}

fn read(file: &Path) -> Result<Zeroizing<String>, CtlError> {
    let text = fs::read_to_string(file);
    text.map(Zeroizing::new).map_err(|source| CtlError::File { file: file.to_owned(), source })
}

fn transfer_key(file: &Path) -> Result<sealed::Secret, CtlError> {
    let key = sealed::transfer_key(&read(file)?);
    key.map_err(|source| CtlError::Keys { file: file.to_owned(), source })
}

/// A file that was not there, for its owner only.
pub(crate) fn create(file: &Path) -> Result<fs::File, CtlError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.map_err(|source| CtlError::File { file: file.to_owned(), source })
}

pub(crate) fn write(mut to: fs::File, file: &Path, text: &str) -> Result<(), CtlError> {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.sync_all());
    written.map_err(|source| CtlError::File { file: file.to_owned(), source })
}

fn seal(plain: &Path, out: &Path, key: &Path) -> Result<(), CtlError> {
    let key = transfer_key(key)?;
    let lines = read(plain)?;
    let unusable = |source| CtlError::Keys { file: plain.to_owned(), source };
    let count = Keys::read(&lines).map_err(unusable)?.0.len();
    let sealed = sealed::seal(&lines, &key).map_err(unusable)?;
    write(create(out)?, out, &sealed)?;
    println!("{count} keys are sealed in {}", out.display());
    Ok(())
}

async fn import(file: &Path, key: &Path, node: &NodeArguments) -> Result<(), CtlError> {
    let key = transfer_key(key)?;
    let unusable = |source| CtlError::Keys { file: file.to_owned(), source };
    let lines = sealed::open(&read(file)?, &key).map_err(unusable)?;
    let keys = Keys::read(&lines).map_err(unusable)?;
    let mut refused = Vec::new();
    for batch in keys.0.chunks(BATCH) {
        let sent = batch.iter().map(|(_, key)| key.clone()).collect();
        let said =
            match node.keys(Question::Import(ImportKeys { keys: sent, source: SOURCE.to_owned() })).await? {
                Some(Answer::Imported(imported)) if imported.refused.len() == batch.len() => imported.refused,
                _ => return Err(node.unexpected()),
            };
        let not_taken = batch.iter().zip(said).filter(|(_, why)| !why.is_empty());
        refused.extend(not_taken.map(|((line, key), why)| table::NotTaken {
            line: *line,
            node: shown(&key.node),
            index: key.index,
            why,
        }));
    }
    println!("{} taken, {} refused", keys.0.len() - refused.len(), refused.len());
    if refused.is_empty() {
        return Ok(());
    }
    print!("{}", table::not_taken(&refused));
    Err(CtlError::NotTaken(refused.len()))
}

async fn all(node: &NodeArguments) -> Result<Vec<ListedNode>, CtlError> {
    let mut nodes: Vec<ListedNode> = Vec::new();
    loop {
        let after = nodes.last().map(|last| last.node.clone()).unwrap_or_default();
        let list = ListKeys { after, limit: PAGE, ..ListKeys::default() };
        let Some(Answer::Listed(page)) = node.keys(Question::List(list)).await? else {
            return Err(node.unexpected());
        };
        let is_last = !page.more || page.nodes.is_empty();
        nodes.extend(page.nodes);
        if is_last {
            return Ok(nodes);
        }
    }
}

async fn rotate(m2m_node: M2mNodeId, out: &Path, node: &NodeArguments) -> Result<(), CtlError> {
    // A key that has nowhere to go is not made.
    let to_stdout = out == Path::new("-");
    let file = if to_stdout { None } else { Some(create(out)?) };
    let rotated = rotated(m2m_node, node).await;
    let (line, index) = match rotated {
        Ok(rotated) => rotated,
        Err(error) => {
            if file.is_some() {
                fs::remove_file(out).map_err(|source| CtlError::File { file: out.to_owned(), source })?;
            }
            return Err(error);
        }
    };
    match file {
        Some(file) => {
            write(file, out, &line)?;
            println!("root key {index} of {m2m_node} is in {}", out.display());
            Ok(())
        }
        None => {
            let printed = io::stdout().write_all(line.as_bytes());
            printed.map_err(|source| CtlError::File { file: out.to_owned(), source })
        }
    }
}

async fn rotated(m2m_node: M2mNodeId, node: &NodeArguments) -> Result<(Zeroizing<String>, u32), CtlError> {
    let rotate = RotateKey { node: octets(m2m_node), source: SOURCE.to_owned() };
    let Some(Answer::Rotated(made)) = node.keys(Question::Rotate(rotate)).await? else {
        return Err(node.unexpected());
    };
    let line = sealed::line(m2m_node, &made).ok_or_else(|| node.unexpected())?;
    let index = made.index;
    sealed::wipe(made.kmr);
    Ok((line, index))
}

/// Octets as hexadecimal digits.
pub(crate) fn shown(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
