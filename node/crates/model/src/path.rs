//! Addresses inside one SCL: paths relative to sclBase, and the subtree each belongs to.

use crate::ResourceType;
use std::fmt;

/// A path below sclBase: percent-decoded segments, none empty. The empty path is sclBase itself.
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

/// Whether a segment below a root collection is no name but one of the collection's own children or attributes
/// (`subscriptions`, `accessRightID`): it belongs to sclBase's subtree, and no member may be called so.
fn is_collections_own(collection: &str, segment: &str) -> bool {
    ResourceType::from_name(collection).is_some_and(|of| {
        of.attribute(segment).is_some() || of.def().children.iter().any(|child| child.segment == segment)
    })
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
        let (Some(collection), Some(name)) = (self.segments.first(), self.segments.get(1)) else {
            return SubtreeRoot::SclBase;
        };
        match ROOT_COLLECTIONS.iter().find(|c| *c == collection) {
            Some(collection) if !is_collections_own(collection, name) => {
                SubtreeRoot::Named { collection, name: name.clone() }
            }
            _ => SubtreeRoot::SclBase,
        }
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
        Slot(match self {
            SubtreeRoot::SclBase => xxhash_rust::xxh3::xxh3_64(b""),
            SubtreeRoot::Named { collection, name } => {
                xxhash_rust::xxh3::xxh3_64(format!("{collection}/{name}").as_bytes())
            }
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

fn decode_segment(text: &str) -> Option<String> {
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
        && !segment.contains('/')
        && !segment.chars().any(char::is_control)
}

fn encode_segment(segment: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
            | b':'
            | b'@' => write!(f, "{}", char::from(byte))?,
            other => write!(f, "%{other:02X}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, owner: &str) {
        assert_eq!(Path::parse(path).expect("a sound path").subtree().path().to_string(), owner, "{path}");
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
