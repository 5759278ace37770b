//! What is posted, and what is said about it when it makes no sense.
//!
//! Nothing that is said quotes the body: it could be the key.

use crate::{clock, security::names_an_scl};
use banyan_model::security::{IDENTITY_OCTETS_MAX, KEY_OCTETS, M2mNodeId, read_hex};
use banyan_proto::v1;
use bytes::Bytes;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

const ATTRIBUTES: [&str; 6] = ["node_id", "index", "kmr", "identity", "scl_id", "lifetime_s"];
/// A hundred years.
const LIFETIME_MAX_S: u64 = 36_500 * 86_400;

/// A root key with its names.
pub(super) struct Posted {
    pub(super) node: M2mNodeId,
    pub(super) index: u32,
    kmr: Zeroizing<[u8; KEY_OCTETS]>,
    identity: Option<String>,
    scl_id: Option<String>,
    lifetime_s: Option<u64>,
}

/// Why it is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    why: String,
    attribute: Option<String>,
}

impl Refusal {
    pub(super) fn of(why: &str) -> Refusal {
        Refusal { why: why.to_owned(), attribute: None }
    }

    fn about(attribute: &str, why: &str) -> Refusal {
        Refusal { why: format!("{attribute}: {why}"), attribute: Some(attribute.to_owned()) }
    }

    /// In the words of the keys' group, which calls an identity an alias.
    pub(super) fn by_keeper(why: &str) -> Refusal {
        match why.split_once(": ") {
            Some(("alias", why)) => Refusal::about("identity", why),
            Some(("scl_id", why)) => Refusal::about("scl_id", why),
            _ => Refusal::of(why),
        }
    }

    pub(super) fn json(&self) -> Bytes {
        let mut said = Map::from_iter([("error".to_owned(), self.why.clone().into())]);
        said.extend(self.attribute.clone().map(|attribute| ("attribute".to_owned(), attribute.into())));
        Value::Object(said).to_string().into()
    }
}

/// The body's attributes, wiped when they are dropped.
struct Attributes(Map<String, Value>);

impl Drop for Attributes {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Attributes {
    fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::about(name, "must be a string")),
        }
    }

    fn number(&self, name: &str, max: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        match value.as_u64().filter(|number| (1..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::about(name, &format!("must be a number from 1 to {max}"))),
        }
    }
}

impl Posted {
    pub(super) fn read(body: &[u8]) -> Result<Posted, Refusal> {
        let read = serde_json::from_slice(body).map(Attributes);
        let given = read.map_err(|_| Refusal::of("the body must be a JSON object"))?;
        if given.0.keys().any(|name| !ATTRIBUTES.contains(&name.as_str())) {
            let known = ATTRIBUTES.join(", ");
            return Err(Refusal::of(&format!("there may be {known}, and nothing else")));
        }
        let node = given.text("node_id")?.and_then(M2mNodeId::parse);
        let node = node.ok_or_else(|| Refusal::about("node_id", "must be 32 hexadecimal digits"))?;
        let index = given.number("index", u32::MAX.into())?.and_then(|index| u32::try_from(index).ok());
        let index = index.ok_or_else(|| Refusal::about("index", "is missing"))?;
        let kmr = given.text("kmr")?.and_then(key);
        let kmr = kmr.ok_or_else(|| Refusal::about("kmr", "must be 64 hexadecimal digits"))?;
        let identity = given.text("identity")?;
        if identity.is_some_and(|identity| !(1..=IDENTITY_OCTETS_MAX).contains(&identity.len())) {
            let why = format!("must have 1 to {IDENTITY_OCTETS_MAX} octets");
            return Err(Refusal::about("identity", &why));
        }
        let scl_id = given.text("scl_id")?;
        if scl_id.is_some_and(|id| !names_an_scl(id)) {
            return Err(Refusal::about("scl_id", "must have 1 to 128 octets and no / ? #"));
        }
        let lifetime_s = given.number("lifetime_s", LIFETIME_MAX_S)?;
        let (identity, scl_id) = (identity.map(str::to_owned), scl_id.map(str::to_owned));
        Ok(Posted { node, index, kmr, identity, scl_id, lifetime_s })
    }

    pub(super) fn provisioned(self) -> v1::ProvisionedKey {
        let expires = |lifetime_s: u64| clock::now().0.saturating_add_unsigned(lifetime_s * 1_000);
        v1::ProvisionedKey {
            node: self.node.0.to_vec().into(),
            index: self.index,
            kmr: self.kmr.to_vec().into(),
            expires_ms: self.lifetime_s.map_or(0, expires),
            scl_id: self.scl_id,
            alias: self.identity.into_iter().collect(),
        }
    }
}

fn key(digits: &str) -> Option<Zeroizing<[u8; KEY_OCTETS]>> {
    let mut key = Zeroizing::new([0; KEY_OCTETS]);
    read_hex(digits, key.as_mut()).then_some(key)
}
