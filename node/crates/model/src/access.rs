//! Access rights (procedures.md 4; TS 102 921 10.3.2.5 to 10.3.2.7): which right governs, and what it says.

use crate::{Entity, Path, Refusal, Representation, Scl};

/// permissionFlags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Flag {
    Read,
    Write,
    Discover,
    Delete,
    Create,
}

/// Which right decides about a resource (procedures.md 4.1).
#[derive(Clone, PartialEq, Debug)]
pub enum Governing {
    /// The permissions of the accessRight at this URI; if it cannot be retrieved, the default right.
    AccessRight {
        /// As stored in accessRightID.
        uri: String,
        /// What applies when it is not found.
        otherwise: DefaultRight,
    },
    /// selfPermissions of an accessRight (the representation is that accessRight).
    SelfPermissions(Box<Representation>),
    /// The default access right (10.3.2.7).
    Default(DefaultRight),
    /// A subscription: its creator; READ of the subscribed-to resource for others' RETRIEVE.
    Creator {
        /// The creator.
        creator: Entity,
        /// Consulted for everyone else.
        otherwise: Box<Governing>,
    },
    /// CREATE in a root collection, which is another subtree: the accessRightID of the collection decides, if it has one.
    RootCollection {
        /// The collection's path.
        collection: Path,
        /// What applies when it has none.
        otherwise: Box<Governing>,
    },
    /// Registration: everybody may (procedures.md 2.1, 3.2).
    Everybody,
}

/// Who the default right lets in; everyone else sees NOT_FOUND.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefaultRight {
    /// The owners, normalised (registered SCL with its link, application). The SCL itself always counts.
    pub owners: Vec<Entity>,
}

impl Governing {
    /// The root collection whose representation has to be looked up first.
    pub fn root_collection(&self) -> Option<&Path> {
        match self {
            Governing::RootCollection { collection, .. } => Some(collection),
            _ => None,
        }
    }

    /// What governs once the root collection's representation is known (`None`: it could not be had).
    #[must_use]
    pub fn with_collection(self, representation: Option<&Representation>) -> Governing {
        let Governing::RootCollection { otherwise, .. } = self else { return self };
        match representation.and_then(|collection| collection.text("accessRightID")) {
            Some(uri) => {
                Governing::AccessRight { uri: uri.to_owned(), otherwise: DefaultRight { owners: Vec::new() } }
            }
            None => *otherwise,
        }
    }

    /// The accessRight that has to be looked up before `decide`.
    pub fn access_right_uri(&self) -> Option<&str> {
        match self {
            Governing::AccessRight { uri, .. } => Some(uri),
            Governing::Creator { otherwise, .. } => otherwise.access_right_uri(),
            _ => None,
        }
    }
}

/// Decides. `resolved`: the accessRight named by `governing`, `None` when it could not be retrieved.
pub fn decide(
    scl: &Scl,
    governing: &Governing,
    resolved: Option<&Representation>,
    entity: &Entity,
    flag: Flag,
) -> Result<(), Refusal> {
    let _ = (scl, governing, resolved, entity, flag);
    todo!("model helper")
}

/// The path a governing right is cached under, when it is local.
pub fn local_access_right(scl: &Scl, uri: &str) -> Option<Path> {
    scl.local_path(uri)
}
