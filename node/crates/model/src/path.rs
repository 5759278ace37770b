//! Addresses inside one SCL: paths relative to sclBase, and the subtree each belongs to.

use crate::ResourceType;
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// A path below sclBase: percent-decoded segments, none empty. The empty path is sclBase itself. A segment may hold a
/// slash (`members/%2Fm2m%2Fx` names an entry by its value); the name of a resource may not.
/// At most `SEGMENTS_MAX` segments of at most `SEGMENT_BYTES_MAX` octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Path {
    segments: Vec<String>,
}

/// How deep a path may be.
pub const SEGMENTS_MAX: usize = 64;
/// How long one segment may be, in octets.
pub const SEGMENT_BYTES_MAX: usize = 256;

/// The unit of ownership: sclBase with its collections, or a named child of one of its collections.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SubtreeRoot {
    /// sclBase, its collections and the subscriptions on these (`subscriptions/<s>`, `applications/subscriptions/<s>`):
    /// a subscription belongs to the subtree of what it watches.
    SclBase,
    /// `<collection>/<name>`
    Named {
        /// scls, applications, containers, groups or accessRights.
        collection: &'static str,
        /// The id of the resource.
        name: String,
    },
}

/// The stable 64-bit position of a subtree; shards own contiguous ranges of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u64);

/// The collections of sclBase whose named children are subtrees of their own.
pub const ROOT_COLLECTIONS: [&str; 5] = ["scls", "applications", "containers", "groups", "accessRights"];

/// Their types, in the same order.
const ROOT_COLLECTION_TYPES: [ResourceType; 5] = [
    ResourceType::Scls,
    ResourceType::Applications,
    ResourceType::Containers,
    ResourceType::Groups,
    ResourceType::AccessRights,
];

/// Whether a segment below a root collection is no name but one of the collection's own children or attributes
/// (`subscriptions`, `accessRightID`): it belongs to sclBase's subtree, and no member may be called so.
fn is_collections_own(of: ResourceType, segment: &str) -> bool {
    of.attribute(segment).is_some() || of.def().children.iter().any(|child| child.segment == segment)
}

impl Path {
    /// sclBase.
    pub fn scl_base() -> Path {
        Path::default()
    }

    /// Reads the part of a request target below sclBase: percent-decodes each segment, ignores one trailing slash.
    /// `None` for an empty, `.` or `..` segment, a NUL or control character, broken escapes or a limit exceeded.
    pub fn parse(text: &str) -> Option<Path> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Some(Path::default());
        }
        let segments: Vec<String> = text.split('/').map(decode_segment).collect::<Option<_>>()?;
        (segments.len() <= SEGMENTS_MAX).then_some(Path { segments })
    }

    /// A path of decoded segments, taken as they are: what was checked when it was first read.
    pub fn from_segments(segments: Vec<String>) -> Path {
        Path { segments }
    }

    /// Whether `parse` could have made this path: every segment and their number within the limits.
    pub fn is_sound(&self) -> bool {
        self.segments.len() <= SEGMENTS_MAX && self.segments.iter().all(|segment| is_sound(segment))
    }

    /// The segments, decoded.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path one segment down. The segment is taken as it is (decoded).
    pub fn child(&self, segment: impl Into<String>) -> Path {
        let mut segments = self.segments.clone();
        segments.push(segment.into());
        Path { segments }
    }

    /// The path one segment up; `None` above sclBase.
    pub fn parent(&self) -> Option<Path> {
        let (_, rest) = self.segments.split_last()?;
        Some(Path { segments: rest.to_vec() })
    }

    /// The last segment.
    pub fn name(&self) -> Option<&str> {
        self.segments.last().map(String::as_str)
    }

    /// Whether `self` is `ancestor` or stands below it.
    pub fn is_below_or_at(&self, ancestor: &Path) -> bool {
        self.segments.starts_with(&ancestor.segments)
    }

    /// The subtree that owns this path.
    pub fn subtree(&self) -> SubtreeRoot {
        match self.root() {
            Some((collection, name)) => SubtreeRoot::Named { collection, name: name.to_owned() },
            None => SubtreeRoot::SclBase,
        }
    }

    /// The slot of the subtree that owns this path.
    pub fn slot(&self) -> Slot {
        slot_of(self.root())
    }

    /// The collection and name of the subtree; `None`: sclBase's own.
    fn root(&self) -> Option<(&'static str, &str)> {
        let [collection, name, ..] = self.segments.as_slice() else { return None };
        let at = ROOT_COLLECTIONS.iter().position(|known| known == collection)?;
        let is_name = !is_collections_own(ROOT_COLLECTION_TYPES[at], name);
        is_name.then_some((ROOT_COLLECTIONS[at], name.as_str()))
    }

    /// Whether subtrees of other slots stand below this path: sclBase and its collections.
    pub fn holds_subtrees(&self) -> bool {
        self.segments.is_empty() || self.root_collection().is_some()
    }

    /// The collection of sclBase that this path is, if it is one.
    pub fn root_collection(&self) -> Option<&'static str> {
        let [only] = self.segments.as_slice() else { return None };
        ROOT_COLLECTIONS.into_iter().find(|collection| collection == only)
    }
}

impl fmt::Display for Path {
    /// `/applications/a%20b`; empty for sclBase. Prefix it with the sclBase path for an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            f.write_str("/")?;
            encode_segment(segment, f)?;
        }
        Ok(())
    }
}

impl SubtreeRoot {
    /// `stable_hash64("<collection>/<name>")`, xxh3 with seed 0; sclBase hashes the empty string. Never changes.
    pub fn slot(&self) -> Slot {
        slot_of(match self {
            SubtreeRoot::SclBase => None,
            SubtreeRoot::Named { collection, name } => Some((*collection, name.as_str())),
        })
    }

    /// The path of the subtree's root resource.
    pub fn path(&self) -> Path {
        match self {
            SubtreeRoot::SclBase => Path::default(),
            SubtreeRoot::Named { collection, name } => {
                Path { segments: vec![(*collection).to_owned(), name.clone()] }
            }
        }
    }
}

/// A segment without its escapes; `None`: it is none.
pub(crate) fn decode_segment(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    let segment = String::from_utf8(out).ok()?;
    is_sound(&segment).then_some(segment)
}

fn is_sound(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= SEGMENT_BYTES_MAX
        && segment != "."
        && segment != ".."
        && !segment.chars().any(char::is_control)
}

/// Every key of a subtree begins with this, so it is hashed where it stands.
fn slot_of(root: Option<(&str, &str)>) -> Slot {
    const BUFFER: usize = 32 + SEGMENT_BYTES_MAX;
    let Some((collection, name)) = root else { return Slot(xxh3_64(b"")) };
    let parts = [collection.as_bytes(), b"/", name.as_bytes()];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > BUFFER {
        return Slot(xxh3_64(&parts.concat()));
    }
    let mut buffer = [0; BUFFER];
    let mut at = 0;
    for part in parts {
        buffer[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Slot(xxh3_64(&buffer[..at]))
}

/// Whole runs at a time: every answer holds addresses.
fn encode_segment(segment: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = segment;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        f.write_str(&rest[..at])?;
        let escaped = rest[at..].chars().next().map_or(0, char::len_utf8);
        for byte in rest[at..at + escaped].bytes() {
            write!(f, "%{byte:02X}")?;
        }
        rest = &rest[at + escaped..];
    }
    f.write_str(rest)
}

/// What stands in a path segment as it is (RFC 3986, pchar).
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\''
        | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, owner: &str) {
        assert_eq!(Path::parse(path).expect("a sound path").subtree().path().to_string(), owner, "{path}");
    }

    #[test]
    fn an_address_escapes_what_a_segment_cannot_hold() {
        let path = Path::from_segments(vec!["containers".to_owned(), "a b\u{e9}%/c".to_owned()]);
        assert_eq!(path.to_string(), "/containers/a%20b%C3%A9%25%2Fc");
    }

    #[test]
    fn a_slot_is_the_same_by_path_and_by_root_and_never_changes() {
        let path = Path::parse("/applications/meter/containers/data").expect("a sound path");
        assert_eq!(path.slot(), path.subtree().slot());
        assert_eq!(path.slot(), Slot(xxh3_64(b"applications/meter")));
        assert_eq!(Path::scl_base().slot(), Slot(0x2d06_8005_38d3_94c2), "xxh3 of nothing");
    }

    #[test]
    fn a_named_child_of_a_root_collection_is_a_subtree_and_everything_else_is_sclbases() {
        check("/applications/meter/containers/data", "/applications/meter");
        check("/applications/meter", "/applications/meter");
        check("/containers/subscriptions/s1", "");
        check("/applications/accessRightID", "");
        check("/applications/mgmtObjs/o", "");
        check("/subscriptions/s1", "");
        check("/applications", "");
        check("/searchStrings", "");
        check("", "");
    }
}
