//! Steps 4 and 5 of procedures.md 1.2: does the addressed resource exist, and does the method exist on its type.

use crate::{
    Path, Refusal, RequestPrimitive, ResourceType, Scl, TreeView,
    access::{Flag, Governing},
};

/// An existing addressed thing and what must be asked before touching it.
#[derive(Clone, PartialEq, Debug)]
pub struct Admission {
    /// What is addressed.
    pub target: Target,
    /// Whose rights decide.
    pub governing: Governing,
    /// The permission the method needs.
    pub flag: Flag,
}

/// What a target path turned out to be.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// A resource or collection.
    Resource {
        /// Where.
        path: Path,
        /// Its type.
        resource_type: ResourceType,
    },
    /// A contentInstance by sequence (`latest` and `oldest` resolved).
    Instance {
        /// The container.
        container: Path,
        /// Which one.
        sequence: u64,
        /// `content`, `content/textContent`, ... or an attribute, when addressed below the instance.
        accessor: Vec<String>,
    },
    /// An attribute, or an entry of one (partial addressing).
    Attribute {
        /// The resource.
        path: Path,
        /// Its type.
        resource_type: ResourceType,
        /// The attribute.
        attribute: &'static str,
        /// Further segments.
        rest: Vec<String>,
    },
}

/// Finds the target of a request and the right that governs it. The outer error is the replica's, the inner the answer.
pub fn admit<V: TreeView>(
    view: &V,
    scl: &Scl,
    request: &RequestPrimitive,
) -> Result<Result<Admission, Refusal>, V::Error> {
    let _ = (view, scl, request);
    todo!("model helper")
}
