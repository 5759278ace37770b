//! The keys of a try-out: a key-encryption key for the nodes and a root key for the gateway, drawn at random and kept
//! with the data.

use super::{DevError, GATEWAY, GATEWAY_NODE, KMR_INDEX, POLL, READY_WITHIN};
use crate::{
    gateway::root_key,
    security::{Keys, KeysError},
};
use banyan_proto::v1::{self, keys_answer, keys_question};
use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Instant,
};
use tokio::time::sleep;
use zeroize::Zeroizing;

/// Files of secrets.
pub(super) struct Provisioning {
    pub(super) kek: PathBuf,
    pub(super) kmr: PathBuf,
}

impl Provisioning {
    /// Makes what is not there.
    pub(super) fn new(folder: &Path) -> Result<Provisioning, DevError> {
        Ok(Provisioning { kek: secret(folder, "kek.hex")?, kmr: secret(folder, "gateway-kmr.hex")? })
    }

    /// Has the cluster know the gateway's root key; again is no harm.
    pub(super) async fn import(&self, keys: &[Keys]) -> Result<(), DevError> {
        let kmr = root_key::read_key(&self.kmr).map_err(|error| DevError::Keys(refused(error)))?;
        let key = v1::ProvisionedKey {
            node: GATEWAY_NODE.0.to_vec().into(),
            index: KMR_INDEX,
            kmr: kmr.expose().to_vec().into(),
            scl_id: Some(GATEWAY.to_owned()),
            ..v1::ProvisionedKey::default()
        };
        let import = v1::ImportKeys { keys: vec![key], source: "banyan dev".to_owned() };
        match ask(keys, keys_question::Kind::Import(import)).await? {
            Some(keys_answer::Kind::Imported(v1::ImportedKeys { refused: why })) => {
                match why.into_iter().find(|why| !why.is_empty()) {
                    Some(why) => Err(DevError::Keys(refused(why))),
                    None => Ok(()),
                }
            }
            _ => Err(DevError::Keys(KeysError::Unknown)),
        }
    }
}

/// The gateway's service connection, as the cluster has it.
pub(super) async fn service_connection(keys: &[Keys]) -> Result<String, DevError> {
    let list = v1::ListKeys { only: GATEWAY_NODE.0.to_vec().into(), ..v1::ListKeys::default() };
    let listed = match ask(keys, keys_question::Kind::List(list)).await? {
        Some(keys_answer::Kind::Listed(listed)) => listed,
        _ => return Err(DevError::Keys(KeysError::Unknown)),
    };
    let connections = listed.nodes.into_iter().flat_map(|node| node.connections);
    let made = connections.filter(|made| made.kmr_index == Some(KMR_INDEX));
    match made.max_by_key(|made| made.created_ms) {
        Some(made) => Ok(format!("{:016x}", made.connection)),
        None => Err(DevError::NotReady("the gateway has no service connection".to_owned())),
    }
}

/// Asks whoever leads the keys' group, once somebody does.
async fn ask(keys: &[Keys], kind: keys_question::Kind) -> Result<Option<keys_answer::Kind>, DevError> {
    let until = Instant::now() + READY_WITHIN;
    loop {
        let mut last = KeysError::NotLeader { leader: None };
        for one in keys {
            match one.answer(v1::KeysQuestion { kind: Some(kind.clone()) }, until).await {
                Ok(answer) => return Ok(answer.kind),
                Err(error @ (KeysError::Refused(_) | KeysError::Unable(_))) => {
                    return Err(DevError::Keys(error));
                }
                Err(error) => last = error,
            }
        }
        if Instant::now() > until {
            return Err(DevError::Keys(last));
        }
        sleep(POLL).await;
    }
}

fn refused(why: impl ToString) -> KeysError {
    KeysError::Refused(why.to_string())
}

/// A file of 32 random octets in hexadecimal digits, for its owner's eyes only.
fn secret(folder: &Path, name: &str) -> Result<PathBuf, DevError> {
    let path = folder.join(name);
    let failed = |source| DevError::Folder { action: "write", path: path.clone(), source };
    let mut made = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(made) => made,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(path),
        Err(error) => return Err(failed(error)),
    };
    let octets: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
    let mut text = Zeroizing::new(String::with_capacity(64));
    for octet in octets.iter() {
        // Writing into a string does not fail.
        let _ = write!(text, "{octet:02x}");
    }
    made.write_all(text.as_bytes()).map_err(failed)?;
    Ok(path)
}
