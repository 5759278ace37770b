//! Kmr in a file of the gateway's folder, for its owner's eyes only. The secured environment of a device, where it has
//! one, is not ours: this file stands in its place (security.md 1).
//!
//! Invariant: the file is whole or not there; it is written beside its name and moved there once it is durable.

use super::connection::RootKey;
use banyan_binding::session::Key;
use banyan_model::{
    Timestamp,
    security::{KEY_OCTETS, M2mNodeId, read_hex},
};
use serde::Deserialize;
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Why a root key cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file.
    #[error("failed to {action} {}", file.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What stands in it. The text of the parser is left out, for it would show the line.
    #[error("{} holds no root key: {why}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    node: String,
    index: u32,
    mas: String,
    /// Milliseconds since 1970.
    expires: Option<i64>,
    key: String,
}

/// Reads a root key; `None`: there is no such file.
///
/// # Errors
/// [`RootKeyError`].
pub fn read(file: &Path) -> Result<Option<RootKey>, RootKeyError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(RootKeyError::File { action: "read", file: file.to_owned(), source });
        }
    };
    let wrong = |why| RootKeyError::Content { file: file.to_owned(), why };
    let written: Written =
        toml::from_str(&text).map_err(|_| wrong("not node, index, mas, expires and key"))?;
    // Wiped like the text that it came from.
    let key = Zeroizing::new(written.key);
    Ok(Some(RootKey {
        node: M2mNodeId::parse(&written.node).ok_or_else(|| wrong("node: not 32 hexadecimal digits"))?,
        index: written.index,
        mas: written.mas,
        expires: written.expires.map(Timestamp),
        key: key_of(&key).ok_or_else(|| wrong("key: not 64 hexadecimal digits"))?,
    }))
}

/// Reads the key alone, as an operator provisions it: 64 hexadecimal digits.
///
/// # Errors
/// [`RootKeyError`].
pub fn read_key(file: &Path) -> Result<Key, RootKeyError> {
    let failed = |source| RootKeyError::File { action: "read", file: file.to_owned(), source };
    let text = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    let wrong = || RootKeyError::Content { file: file.to_owned(), why: "not 64 hexadecimal digits" };
    key_of(text.trim()).ok_or_else(wrong)
}

/// Writes a root key durably, in place of the one before.
///
/// # Errors
/// [`RootKeyError`]; the one before is still there.
pub fn write(file: &Path, root: &RootKey) -> Result<(), RootKeyError> {
    let beside = file.with_extension("new");
    let failed = |action| {
        let file = beside.clone();
        move |source| RootKeyError::File { action, file, source }
    };
    let mut text = Zeroizing::new(String::with_capacity(256));
    let expires = root.expires.map_or(String::new(), |at| format!("expires = {}\n", at.0));
    let RootKey { node, index, mas, .. } = root;
    let mas = toml::Value::String(mas.clone());
    // Writing into a string does not fail.
    let _ = write!(text, "node = \"{node}\"\nindex = {index}\nmas = {mas}\n{expires}key = \"");
    for octet in root.key.expose() {
        let _ = write!(text, "{octet:02x}");
    }
    text.push_str("\"\n");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(error)),
        _ => {}
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    let mut made = made.map_err(failed("make"))?;
    made.write_all(text.as_bytes()).and_then(|()| made.sync_all()).map_err(failed("write"))?;
    fs::rename(&beside, file).map_err(failed("rename"))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("make durable"))
}

fn key_of(hex: &str) -> Option<Key> {
    let mut secret = Zeroizing::new([0; KEY_OCTETS]);
    read_hex(hex, secret.as_mut()).then(|| Key::from_slice(secret.as_slice()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_root_key_is_kept_for_its_owner_and_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("kmr.toml");
        assert!(read(&file).expect("no file is no error").is_none());
        for (index, expires) in [(1, None), (2, Some(Timestamp(1_800_000_000_000)))] {
            let node = M2mNodeId::parse("000102030405060708090a0b0c0d0e0f").expect("32 digits");
            let key = Key::new([index as u8; KEY_OCTETS]);
            let root = RootKey { node, index, mas: "mas.\"example\".com".to_owned(), expires, key };
            write(&file, &root).expect("it is written");
            let known = read(&file).expect("it is read").expect("it is there");
            assert_eq!((known.node, known.index, known.mas, known.expires), (node, index, root.mas, expires));
            assert_eq!(known.key, root.key);
        }
        let mode = fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "key = \"00\"").expect("a file");
        let error = read(&file).expect_err("half a key").to_string();
        assert!(error.ends_with("not node, index, mas, expires and key"), "{error}");
    }

    #[test]
    fn a_provisioned_key_is_64_digits() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("kmr.hex");
        fs::write(&file, format!("{}\n", "0F".repeat(32))).expect("a file");
        assert_eq!(read_key(&file).expect("a key"), Key::new([15; KEY_OCTETS]));
        for wrong in ["0f".repeat(31), "0g".repeat(32), "é".repeat(32)] {
            fs::write(&file, wrong).expect("a file");
            assert!(read_key(&file).is_err());
        }
    }
}
