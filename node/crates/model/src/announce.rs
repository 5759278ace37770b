//! announceTo: where a resource is to be announced, and what its announcements say (procedures.md 10; 10.3.2.8).
//!
//! The wish is the stored attribute: addresses of local scl resources (`/m2m/scls/gw1`), settled before the log
//! (`validate::announcement`). What was done about it stands beside the resource in an [`Announced`] record, which
//! `apply` begins together with the wish and which outlives the resource until the last announcement is deleted. An
//! entry of the outbox says that both differ; the courier asks [`look`] for the difference, sends what it says, and
//! tells the log what came of it. So whoever leads next goes on where the last one stopped: every step may be
//! repeated, and a CREATE whose answer was lost is found again by its CONFLICT.
//!
//! Invariants: a record names an SCL from before the first CREATE is sent there until the announcement is known to be
//! gone; one outbox entry a resource at most.

mod answer;
mod plan;

pub use answer::{Verdict, judge, verify};
pub use plan::{Action, Look, Step, absolute, look};

use crate::{
    Path, Representation, ResourceType, Scl, Timestamp, Value,
    value::{NamedReference, Struct},
};
use xxhash_rust::xxh3::xxh3_64;

/// The attribute.
pub const ANNOUNCE_TO: &str = "announceTo";
/// How many SCLs one resource may be announced to.
pub const SCLS_MAX: usize = 100;

/// What is known of a resource's announcements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// The type of the original, which may be gone.
    pub resource_type: ResourceType,
    /// Who created the original: the requestingEntity.
    pub entity: String,
    /// One for each SCL, in the order in which they were asked for.
    pub at: Vec<Announcement>,
}

/// One announcement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The id of the SCL.
    pub scl: String,
    /// `None`: perhaps it exists, its CREATE may have been sent.
    pub stands: Option<Standing>,
}

/// An announcement that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// resourceURI as the SCL answered it, made absolute.
    pub uri: String,
    /// [`digest`] of what was sent last; 0: unknown.
    pub digest: u64,
    /// The expirationTime that was sent last.
    pub expiration: Option<Timestamp>,
}

/// What came of a step at one SCL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// The announcement exists and says this.
    Stands(Standing),
    /// There is none, or none any more.
    Gone,
    /// It will not be made: the SCL leaves sclList. What an earlier attempt may have made is looked for then.
    Refused,
    /// It could not be deleted: the SCL stays in sclList, or is in it again.
    Kept,
}

/// The ids of the SCLs where this resource is to be announced.
pub fn wish(scl: &Scl, resource: &Representation) -> Vec<String> {
    match resource.get(ANNOUNCE_TO) {
        Some(Value::Struct(to)) if resource.resource_type.def().announceable && is_activated(to) => {
            scls(to).filter_map(|address| scl_id(scl, address)).collect()
        }
        _ => Vec::new(),
    }
}

/// activated; TRUE when absent.
pub fn is_activated(to: &Struct) -> bool {
    to.get("activated") != Some(&Value::Bool(false))
}

/// The entries of sclList.
pub fn scls(to: &Struct) -> impl Iterator<Item = &str> {
    match to.get("sclList") {
        Some(Value::List(list)) => list.as_slice(),
        _ => &[],
    }
    .iter()
    .map(String::as_str)
}

/// The path of a local scl resource.
pub fn scl_path(id: &str) -> Path {
    Path::scl_base().child("scls").child(id)
}

/// The id of the scl resource at an address of this SCL.
pub fn scl_id(scl: &Scl, address: &str) -> Option<String> {
    match scl.local_path(address)?.segments() {
        [scls, id] if scls == "scls" => Some(id.clone()),
        _ => None,
    }
}

/// What has to be looked up before a write is decided; it may live in other subtrees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought<'a> {
    /// The resource at a path.
    At(&'a Path),
    /// The SCLs that are registered with this `link`: see [`registered`].
    Linked(&'a str),
    /// The SCLs whose `link` is this URI or stands above or below it: see [`registered`].
    Overlapping(&'a str),
    /// All registered SCLs: see [`registered`].
    Registered,
}

/// Registered SCLs as a lookup gives them: each with its id and, other than in a representation, its `link`.
pub fn registered(mut scls: Vec<NamedReference>) -> Representation {
    scls.sort_by(|a, b| a.id.cmp(&b.id));
    let mut collection = Representation::new(ResourceType::Scls);
    collection.set("sclCollection", Value::References(scls));
    collection
}

/// The registered SCLs in what [`registered`] made.
pub fn registered_in(collection: &Representation) -> &[NamedReference] {
    match collection.get("sclCollection") {
        Some(Value::References(scls)) => scls,
        _ => &[],
    }
}

/// Names what an announcement says, but for `link`, which never changes. Only compared with what this very function
/// made, so that another one in a later release costs an UPDATE, nothing else.
pub fn digest(resource: &Representation) -> u64 {
    let mut bytes = Vec::new();
    let mut put = |part: &str| {
        bytes.extend_from_slice(&part.len().to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    };
    if let Some(Value::List(strings)) = resource.get("searchStrings") {
        strings.iter().for_each(|string| put(string));
    }
    put("\0");
    put(resource.text("accessRightID").unwrap_or("\0"));
    put(&resource.datetime("expirationTime").map_or(String::new(), |at| at.0.to_string()));
    // 0 is no digest.
    xxh3_64(&bytes).max(1)
}
