//! Values that the SCL chooses: defaults of what was left out, and what only the SCL may set.

use super::Policy;
use crate::{
    Entity, Path, Representation, ResourceType, Scl, Value, channel,
    tables::{AttributeDef, Mode, Shape},
    value::Struct,
};

/// The default of an attribute that the issuer may set and did not.
pub(super) fn default(policy: &Policy, attribute: &AttributeDef) -> Option<Value> {
    match (attribute.field.name, attribute.field.shape) {
        ("maxNrOfInstances", _) => {
            (policy.instances_default > 0).then_some(Value::Long(policy.instances_default))
        }
        // What every response has is an empty list when nobody gave one.
        (_, Shape::StringList | Shape::UriList) if attribute.response == Mode::Mandatory => {
            Some(Value::List(Vec::new()))
        }
        ("permissions", Shape::Struct(name)) => Some(Value::Struct(Struct { name, fields: Vec::new() })),
        _ => None,
    }
}

/// What only the SCL sets, on a new resource.
pub(super) fn at_create(scl: &Scl, path: &Path, representation: &mut Representation, creator: &Entity) {
    let text = |text: &str| Value::Text(text.to_owned());
    match representation.resource_type {
        ResourceType::Scl => {
            // No m2mPoc exists yet (D-14).
            representation.set("onlineStatus", text("OFFLINE"));
            representation.set("serverCapability", Value::Bool(false));
            representation.set("aPocHandling", text("SHALLOW"));
        }
        // Requests do not tell the interface; a network SCL is asked over mIa.
        ResourceType::Application => representation.set("referencePoint", text("MIA_REFERENCE_POINT")),
        ResourceType::Subscription => {
            // A polled channel is told by its address: it may be another SCL's, where only that tells.
            let contact = representation.text("contact").and_then(|contact| scl.local_path(contact));
            let polled = contact.is_some_and(|contact| channel::contacted_at(&contact).is_some());
            let kind = if polled { "SYNCHRONOUS" } else { "ASYNCHRONOUS" };
            representation.set("subscriptionType", text(kind));
            representation.set("subscriberId", text(&creator.0));
        }
        ResourceType::NotificationChannel | ResourceType::CommunicationChannel => {
            representation.set("contactURI", text(&scl.address(&path.child(channel::CONTACT))));
            let poll = text(&scl.address(&path.child(channel::POLL)));
            let data = Struct { name: "LongPollingChannelData", fields: vec![("longPollingURI", poll)] };
            representation.set("channelData", Value::Struct(data));
        }
        _ => {}
    }
}
