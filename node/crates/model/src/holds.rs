//! What may be created where (tree.csv): one answer for the leader's checks and for `apply`.

use crate::{Refusal, ResourceType, StatusCode};

/// Where something is to be created.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The type above the one that takes the new resource; its row narrows what a collection may hold.
    pub above: Option<ResourceType>,
    /// The type of the collection, mgmtObj or parameters that takes it.
    pub holder: ResourceType,
    /// The last segment of the holder.
    pub segment: &'a str,
}

/// Whether a resource of this type may stand there; otherwise why not.
///
/// # Errors
/// BAD_REQUEST naming the type, or FORBIDDEN where the standard forbids a place that the tree would have.
pub fn holds(place: Place<'_>, member: ResourceType) -> Result<(), Refusal> {
    if fixed_name(place.holder, member).is_some() {
        return Ok(());
    }
    let of = |parent: ResourceType, segment| parent.def().child(segment);
    let narrowed =
        place.above.and_then(|above| of(above, place.segment)).filter(|child| !child.holds.is_empty());
    let held = narrowed.or_else(|| of(place.holder, "{id}")).map_or(&[][..], |child| child.holds);
    if held.iter().any(|held| member.is_a(*held)) {
        return Ok(());
    }
    let forbidden = match (place.holder, member) {
        // An scl announces its applications; registering one there would be a registration over mId (10.8.2).
        (ResourceType::Applications, ResourceType::Application) => {
            "registers with its own SCL; here it can only be announced"
        }
        (ResourceType::Containers | ResourceType::Subcontainers, ResourceType::LocationContainer) => {
            "stands in the containers of an application only"
        }
        _ => {
            let why = format_args!("cannot be created in {}", place.holder.name());
            return Err(Refusal::attribute(member.name(), why));
        }
    };
    Err(Refusal::new(StatusCode::Forbidden, format!("{}: {forbidden}", member.name())))
}

/// The name that a resource of this type has to have there: the actions of a management object stand under the resource
/// that carries their status, each under the name of its type.
pub fn fixed_name(holder: ResourceType, member: ResourceType) -> Option<&'static str> {
    let child = holder.def().child(member.name())?;
    (!child.implicit && child.holds.is_empty()).then_some(child.segment)
}

/// Whether a name is one of the holder's own children or attributes: no member may be called so.
pub fn is_reserved(holder: ResourceType, name: &str) -> bool {
    holder.def().child(name).is_some() || holder.attribute(name).is_some()
}
