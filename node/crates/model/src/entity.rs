//! Who asks: the requestingEntity, and what "ours" means for a URI.

/// A requestingEntity, holderRef or other absolute or local reference, normalised: an address of this SCL becomes
/// its path (`/m2m/applications/a`), anything else stays as it came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Entity(pub String);

/// What this SCL calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scl {
    /// SCL-ID.
    pub id: String,
    /// The path of sclBase, no trailing slash: `/m2m`.
    pub base: String,
    /// `host[:port]` values that mean this SCL. Empty: every authority (the open mode of `dev`).
    pub authorities: Vec<String>,
    /// When the cluster was founded: creationTime of sclBase and its collections.
    pub founded_at: crate::Timestamp,
}

impl Scl {
    /// Normalises a URI: `http://<one of ours>/m2m/x` and `/m2m/x` give `/m2m/x`. Trailing slashes go.
    pub fn normalise(&self, uri: &str) -> Entity {
        let uri = uri.trim().trim_end_matches('/');
        let local = match uri.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                let ours = self.authorities.is_empty()
                    || self.authorities.iter().any(|a| a.eq_ignore_ascii_case(authority));
                (ours && self.owns(path)).then_some(path)
            }
            None => None,
        };
        Entity(local.unwrap_or(uri).to_owned())
    }

    /// The path below sclBase of a local reference, `None` for another SCL's.
    pub fn local_path(&self, uri: &str) -> Option<crate::Path> {
        let Entity(local) = self.normalise(uri);
        self.owns(&local).then(|| crate::Path::parse(&local[self.base.len()..]))?
    }

    /// The address of a path as it is written into representations: `/m2m/applications/a`.
    pub fn address(&self, path: &crate::Path) -> String {
        format!("{}{path}", self.base)
    }

    fn owns(&self, path: &str) -> bool {
        path.strip_prefix(self.base.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}
