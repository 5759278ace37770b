//! The file by which root keys travel to an operator: lines of JSON, one for each key, sealed by AES-256-GCM under a transfer
//! key that comes another way.
//!
//! Invariants: no error holds a piece of a key or of a line; keys are wiped when they are dropped; a file that was changed, or
//! cut, or sealed for something else does not open.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use banyan_model::{
    Timestamp,
    security::{KEY_OCTETS, M2mNodeId, read_hex},
};
use banyan_proto::v1::{ProvisionedKey, RotatedKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use zeroize::{Zeroize, Zeroizing};

/// Authenticated with every file, so that nothing else that this key sealed is taken for one.
const AAD: &[u8] = b"banyan keys v1";
const VERSION: u32 = 1;

/// A key of 32 octets, wiped when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY_OCTETS]>;

/// Why a file of keys cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The transfer key.
    #[error("a transfer key is {KEY_OCTETS} octets in hexadecimal digits or Base64")]
    TransferKey,
    /// It is no file of ours.
    #[error("this is no sealed file of keys (`banyan ctl keys seal` makes one)")]
    NotSealed,
    /// A later release made it.
    #[error("the file has version {0}, this release reads version {VERSION}")]
    Version(u32),
    /// It was changed, or this is not its key.
    #[error("the file cannot be opened: it was changed, or sealed with another transfer key")]
    Unopened,
    /// It cannot be sealed.
    #[error("the file cannot be sealed")]
    Unsealed,
    /// A line of the plain text.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing is in it.
    #[error("there is no key in the file")]
    Empty,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    banyan: String,
    version: u32,
    nonce: String,
    sealed: String,
}

/// One line of the plain text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kmr: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scl_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alias: Vec<String>,
}

/// Reads a key of 32 octets, as hexadecimal digits or Base64.
pub(crate) fn transfer_key(text: &str) -> Result<Secret, FileError> {
    let text = text.trim();
    if let Some(key) = from_hex(text) {
        return Ok(key);
    }
    let octets = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| FileError::TransferKey)?);
    secret(&octets).ok_or(FileError::TransferKey)
}

fn secret(octets: &[u8]) -> Option<Secret> {
    let mut secret = Secret::default();
    (octets.len() == secret.len()).then(|| secret.copy_from_slice(octets))?;
    Some(secret)
}

fn from_hex(text: &str) -> Option<Secret> {
    let mut key = Secret::default();
    read_hex(text, key.as_mut()).then_some(key)
}

fn to_hex(octets: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // As long as it will be: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * octets.len()));
    for octet in octets {
        text.push(DIGITS[usize::from(octet >> 4)].into());
        text.push(DIGITS[usize::from(octet & 15)].into());
    }
    text
}

fn cipher(key: &Secret) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?))
}

/// Seals lines.
pub(crate) fn seal(plain: &str, key: &Secret) -> Result<String, FileError> {
    let sealing = cipher(key).ok_or(FileError::Unsealed)?;
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| FileError::Unsealed)?;
    let mut text = Zeroizing::new(plain.as_bytes().to_vec());
    let tag = sealing
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(AAD), &mut text)
        .map_err(|_| FileError::Unsealed)?;
    let file = Sealed {
        banyan: "keys".to_owned(),
        version: VERSION,
        nonce: BASE64_STANDARD.encode(nonce),
        sealed: BASE64_STANDARD.encode([text.as_slice(), tag.as_ref()].concat()),
    };
    let mut json = serde_json::to_string(&file).map_err(|_| FileError::Unsealed)?;
    json.push('\n');
    Ok(json)
}

/// Opens a sealed file.
pub(crate) fn open(file: &str, key: &Secret) -> Result<Zeroizing<String>, FileError> {
    let file: Sealed = serde_json::from_str(file).map_err(|_| FileError::NotSealed)?;
    if file.banyan != "keys" {
        return Err(FileError::NotSealed);
    }
    if file.version != VERSION {
        return Err(FileError::Version(file.version));
    }
    let octets = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| FileError::NotSealed);
    let nonce = <[u8; NONCE_LEN]>::try_from(octets(&file.nonce)?).map_err(|_| FileError::NotSealed)?;
    let mut text = Zeroizing::new(octets(&file.sealed)?);
    let opening = cipher(key).ok_or(FileError::Unopened)?;
    let opened = opening
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(AAD), &mut text)
        .map_err(|_| FileError::Unopened)?;
    let text = std::str::from_utf8(opened).map_err(|_| FileError::NotSealed)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Keys to be sent, wiped when they are dropped. Each with the number of its line.
#[derive(Default)]
pub(crate) struct Keys(pub(crate) Vec<(usize, ProvisionedKey)>);

impl Keys {
    /// Reads lines; empty ones stand for nothing.
    pub(crate) fn read(plain: &str) -> Result<Keys, FileError> {
        let mut keys = Keys::default();
        for (at, line) in plain.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line_number = at + 1;
            let key = provisioned(line).map_err(|why| FileError::Line { line: line_number, why })?;
            keys.0.push((line_number, key));
        }
        if keys.0.is_empty() { Err(FileError::Empty) } else { Ok(keys) }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|(_, key)| wipe(key.kmr));
    }
}

/// Wipes octets, unless somebody else still has them.
pub(crate) fn wipe(octets: bytes::Bytes) {
    if let Ok(mut octets) = octets.try_into_mut() {
        octets.as_mut().zeroize();
    }
}

fn provisioned(line: &str) -> Result<ProvisionedKey, &'static str> {
    // What the reader says may quote the line, and so a key.
    let line: Line = serde_json::from_str(line).map_err(|error| match error.classify() {
        Category::Data => {
            "must have node, and may have index, kmr, expires, scl_id and alias, and nothing else"
        }
        _ => "is no JSON object",
    })?;
    let node = M2mNodeId::parse(&line.node).ok_or("node: must be 32 hexadecimal digits")?;
    let kmr = match line.kmr {
        Some(kmr) => from_hex(&kmr).ok_or("kmr: must be 64 hexadecimal digits")?.to_vec(),
        None => Vec::new(),
    };
    let index = match (line.index, kmr.is_empty()) {
        (Some(index @ 1..), false) => index,
        (None, true) => 0,
        (Some(0), false) => return Err("index: begins with 1"),
        (None, false) => return Err("index: is missing"),
        (Some(_), true) => return Err("kmr: is missing"),
    };
    let expires = line.expires.as_deref().map(Timestamp::parse);
    let expires_ms = match expires {
        Some(expires) => expires.ok_or("expires: must be a time such as 2030-01-01T00:00:00Z")?.0,
        None => 0,
    };
    let Line { scl_id, alias, .. } = line;
    Ok(ProvisionedKey { node: node.0.to_vec().into(), index, kmr: kmr.into(), expires_ms, scl_id, alias })
}

/// The line of a key that the cluster made.
pub(crate) fn line(node: M2mNodeId, made: &RotatedKey) -> Option<Zeroizing<String>> {
    let line = Line {
        node: node.to_string(),
        index: Some(made.index),
        kmr: Some(to_hex(&made.kmr)),
        expires: Some(Timestamp(made.expires_ms).to_string()),
        scl_id: made.scl_id.clone(),
        alias: Vec::new(),
    };
    let mut text = Zeroizing::new(String::with_capacity(1_024));
    text.push_str(&Zeroizing::new(serde_json::to_string(&line).ok()?));
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "{\"node\":\"000102030405060708090a0b0c0d0e0f\",\"index\":1,\"kmr\":\"2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a\",\
        \"expires\":\"2030-01-01T00:00:00Z\",\"scl_id\":\"gw1\",\"alias\":[\"meter\"]}\n\n\
        {\"node\":\"ff0102030405060708090A0B0C0D0E0F\",\"scl_id\":\"gw2\"}\n";

    fn key(octet: u8) -> Secret {
        Secret::new([octet; KEY_OCTETS])
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_only() {
        let file = seal(LINES, &key(1)).unwrap();
        assert!(!file.contains("gw1") && !file.contains("2a2a"), "{file}");
        assert_eq!(open(&file, &key(1)).unwrap().as_str(), LINES);
        assert_ne!(file, seal(LINES, &key(1)).unwrap(), "another nonce");
        assert_eq!(open(&file, &key(2)), Err(FileError::Unopened));
        assert_eq!(open(LINES, &key(1)), Err(FileError::NotSealed));
        assert_eq!(open(&file.replace(":1,", ":2,"), &key(1)), Err(FileError::Version(2)));
        assert_eq!(open(&file.replace("keys", "tokens"), &key(1)), Err(FileError::NotSealed));
    }

    #[test]
    fn no_changed_octet_and_no_cut_is_taken() {
        let file: Sealed = serde_json::from_str(&seal(LINES, &key(1)).unwrap()).unwrap();
        let sealed = BASE64_STANDARD.decode(&file.sealed).unwrap();
        let with = |sealed: &[u8]| {
            serde_json::json!({
                "banyan": "keys", "version": 1, "nonce": file.nonce, "sealed": BASE64_STANDARD.encode(sealed),
            })
            .to_string()
        };
        assert!(open(&with(&sealed), &key(1)).is_ok());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&with(&changed), &key(1)), Err(FileError::Unopened), "octet {at}");
            assert_eq!(open(&with(&sealed[..at]), &key(1)), Err(FileError::Unopened), "cut at {at}");
        }
    }

    #[test]
    fn a_transfer_key_is_hex_or_base64() {
        assert_eq!(transfer_key(&format!("{}\n", "07".repeat(32))), Ok(key(7)));
        assert_eq!(transfer_key(&BASE64_STANDARD.encode([7; 32])), Ok(key(7)));
        for bad in ["", "07", &"07".repeat(31), &"0g".repeat(32), &BASE64_STANDARD.encode([7; 31])] {
            assert_eq!(transfer_key(bad), Err(FileError::TransferKey), "{bad}");
        }
    }

    #[test]
    fn lines_become_keys() {
        let keys = Keys::read(LINES).unwrap();
        let (first, second) = (&keys.0[0], &keys.0[1]);
        assert_eq!((first.0, second.0, keys.0.len()), (1, 3, 2), "numbers of lines");
        let expected = ProvisionedKey {
            node: (0..16).collect::<Vec<u8>>().into(),
            index: 1,
            kmr: vec![0x2a; 32].into(),
            expires_ms: 1_893_456_000_000,
            scl_id: Some("gw1".to_owned()),
            alias: vec!["meter".to_owned()],
        };
        assert_eq!(first.1, expected);
        assert!(second.1.kmr.is_empty(), "only what the node is called");
    }

    #[test]
    fn a_bad_line_is_named_and_not_quoted() {
        let node = "\"node\":\"000102030405060708090a0b0c0d0e0f\"";
        let kmr = format!("\"kmr\":\"{}\"", "2a".repeat(32));
        let bad = [
            (format!("{{{node},{kmr},\"index\":1"), "is no JSON object"),
            (format!("{{{kmr},\"index\":1}}"), "must have node"),
            (format!("{{{node},{kmr},\"index\":1,\"more\":1}}"), "nothing else"),
            (format!("{{{node},\"index\":\"{}\"}}", "2a".repeat(32)), "must have node"),
            (format!("{{\"node\":\"00\",{kmr},\"index\":1}}"), "node: must"),
            (format!("{{{node},{kmr}}}"), "index: is missing"),
            (format!("{{{node},{kmr},\"index\":0}}"), "index: begins"),
            (format!("{{{node},\"index\":1}}"), "kmr: is missing"),
            (format!("{{{node},\"index\":1,\"kmr\":\"2a2a\"}}"), "kmr: must"),
            (format!("{{{node},{kmr},\"index\":1,\"expires\":\"soon\"}}"), "expires: must"),
        ];
        for (line, why) in bad {
            let said = Keys::read(&format!("{LINES}{line}\n")).err().unwrap().to_string();
            assert!(said.starts_with("line 4: ") && said.contains(why), "{line}: {said}");
            assert!(!said.contains("2a2a"), "{said}");
        }
        assert_eq!(Keys::read("\n \n").err(), Some(FileError::Empty));
    }

    #[test]
    fn a_key_that_the_cluster_made_is_a_line_that_can_be_imported() {
        let node = M2mNodeId([3; 16]);
        let scl_id = Some("gw3".to_owned());
        let made = RotatedKey { kmr: vec![9; 32].into(), index: 4, expires_ms: 1_893_456_000_000, scl_id };
        let keys = Keys::read(&line(node, &made).unwrap()).unwrap();
        assert_eq!((keys.0[0].1.kmr.as_ref(), keys.0[0].1.index), ([9; 32].as_slice(), 4));
        assert_eq!(keys.0[0].1.expires_ms, 1_893_456_000_000);
    }
}
