//! The key-encryption key: wraps the data key that seals every other one.
//!
//! Here it comes from files (a Kubernetes Secret is one, too). [`KeyEncryption`] is the seam for a key that never leaves
//! its keeper, as that of a transit engine.

use super::seal;
use aws_lc_rs::digest::{SHA256, digest};
use banyan_model::security::read_hex;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A key of 32 octets, wiped when it is dropped.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// Wraps and unwraps the data key.
pub trait KeyEncryption: Send + Sync + 'static {
    /// Names the key that wraps now; whatever is wrapped with another one is wrapped anew.
    fn id(&self) -> Vec<u8>;

    /// Wraps a data key with that one.
    ///
    /// # Errors
    /// Why not, for the log.
    fn wrap(&self, data_key: &[u8; 32]) -> Result<Vec<u8>, String>;

    /// Unwraps what the key `id` has wrapped.
    ///
    /// # Errors
    /// Why not, for the log: that key is not known here, or it was another one.
    fn unwrap(&self, id: &[u8], wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, String>;
}

/// Key-encryption keys from files: the first wraps, the others unwrap what they wrapped before.
pub struct FileKeys {
    keys: Vec<(Vec<u8>, Secret)>,
}

/// A key-encryption key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// Its file.
    #[error("{} cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in it.
    #[error("{} must hold 32 octets in hexadecimal digits or Base64", file.display())]
    Form {
        /// The file.
        file: PathBuf,
    },
}

impl FileKeys {
    /// Reads them all.
    ///
    /// # Errors
    /// [`KekError`].
    pub fn read(newest: &Path, older: &[PathBuf]) -> Result<FileKeys, KekError> {
        let files = std::iter::once(newest).chain(older.iter().map(PathBuf::as_path));
        let keys = files.map(|file| read(file).map(named)).collect::<Result<_, _>>()?;
        Ok(FileKeys { keys })
    }

    /// A key that lives as long as this process: for data that is thrown away with it.
    pub fn of_this_process() -> FileKeys {
        FileKeys { keys: vec![named(Secret::new(rand::random()))] }
    }
}

fn named(key: Secret) -> (Vec<u8>, Secret) {
    (digest(&SHA256, key.as_ref()).as_ref()[..8].to_vec(), key)
}

/// Reads a secret of 32 octets, as hexadecimal digits or Base64.
///
/// # Errors
/// [`KekError`].
fn read(file: &Path) -> Result<Secret, KekError> {
    let text = fs::read_to_string(file).map_err(|source| KekError::Read { file: file.to_owned(), source })?;
    let text = Zeroizing::new(text);
    let (text, mut key) = (text.trim(), Secret::default());
    if read_hex(text, key.as_mut()) {
        return Ok(key);
    }
    let form = || KekError::Form { file: file.to_owned() };
    let octets = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| form())?);
    if octets.len() != key.len() {
        return Err(form());
    }
    key.copy_from_slice(&octets);
    Ok(key)
}

impl KeyEncryption for FileKeys {
    fn id(&self) -> Vec<u8> {
        self.keys.first().map(|(id, _)| id.clone()).unwrap_or_default()
    }

    fn wrap(&self, data_key: &[u8; 32]) -> Result<Vec<u8>, String> {
        let (id, key) = self.keys.first().ok_or("there is no key-encryption key")?;
        seal::seal(key, id, data_key).map_err(|error| error.to_string())
    }

    fn unwrap(&self, id: &[u8], wrapped: &[u8]) -> Result<Secret, String> {
        let known = self.keys.iter().find(|(known, _)| known == id);
        let (id, key) =
            known.ok_or("it is wrapped with a key-encryption key that this node does not have")?;
        seal::open(key, id, wrapped).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_either_form_and_wraps_only_under_its_name() {
        let folder = tempfile::tempdir().expect("writable");
        let file = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("writable");
            file
        };
        let (hex, base64) = ("ab".repeat(32), BASE64_STANDARD.encode([0xAB; 32]));
        let one = FileKeys::read(&file("hex", &format!("{hex}\n")), &[]).expect("sound");
        let same = FileKeys::read(&file("base64", &base64), &[]).expect("sound");
        let other = FileKeys::read(&file("other", &"01".repeat(32)), &[file("old", &hex)]).expect("sound");
        assert_eq!(one.id(), same.id());
        assert_ne!(one.id(), other.id());

        let wrapped = one.wrap(&[7; 32]).expect("wraps");
        assert_eq!(*same.unwrap(&one.id(), &wrapped).expect("the same key"), [7; 32]);
        assert_eq!(*other.unwrap(&one.id(), &wrapped).expect("as its older key"), [7; 32]);
        assert!(other.unwrap(&other.id(), &wrapped).is_err());
        assert!(one.unwrap(b"unknown!", &wrapped).is_err());

        for text in ["", "abcd", &"zz".repeat(32), &BASE64_STANDARD.encode([1; 31])] {
            assert!(matches!(FileKeys::read(&file("bad", text), &[]), Err(KekError::Form { .. })), "{text}");
        }
        assert!(matches!(FileKeys::read(Path::new("/nowhere"), &[]), Err(KekError::Read { .. })));
    }
}
