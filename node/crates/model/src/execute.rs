//! What EXECUTE starts (procedures.md 19): a mgmtCmd by its execEnable, the end of an execInstance by its execDisable,
//! an action of an ETSI management object by its own address.
//!
//! Nothing here talks to a device. A device's command queue is the execInstances that are not FINISHED; the status of
//! an action is kept by the resource above it.

use crate::{
    ResourceType,
    tables::{Allowed, AttributeDef, Category, Shape},
};

/// Whether EXECUTE exists on an attribute.
pub fn is_executable(of: ResourceType, attribute: &AttributeDef) -> bool {
    match (of, attribute.field.name) {
        (ResourceType::MgmtCmd, "execEnable") | (ResourceType::ExecInstance, "execDisable") => true,
        _ => is_action(of, attribute),
    }
}

/// An anyURI of a parameters type whose row of methods.csv has EXECUTE, and not one that all parameters have.
fn is_action(of: ResourceType, attribute: &AttributeDef) -> bool {
    let def = of.def();
    def.category == Category::MgmtParameters
        && def.execute == Allowed::Special
        && attribute.field.shape == Shape::Uri
        && ResourceType::Parameters.attribute(attribute.field.name).is_none()
}

/// The attribute in which a type reports the actions below it.
pub fn action_status(of: ResourceType) -> Option<&'static AttributeDef> {
    of.def().attributes.iter().find(|attribute| attribute.field.shape == Shape::Struct("ActionStatus"))
}
