//! Values that the SCL chooses: defaults of what was left out, what its policy makes of what was sent, and what only
//! the SCL may set (resources.md 4).

use super::Policy;
use crate::{
    Path, Representation, RequestPrimitive, ResourceType, Scl, Value, channel,
    primitive::ReferencePoint,
    tables::{AttributeDef, Mode, Shape},
    value::Struct,
};
use std::collections::BTreeSet;

/// What a V1 issuer does not send and V2 wants: an SCL that registers and names no sclType is a gateway (D-1).
pub(super) fn before_create(representation: &mut Representation) {
    if representation.resource_type == ResourceType::Scl && representation.get("sclType").is_none() {
        representation.set("sclType", text("GSCL"));
    }
}

/// The default of an attribute that the issuer may set and did not.
pub(super) fn default(policy: &Policy, attribute: &AttributeDef) -> Option<Value> {
    match (attribute.field.name, attribute.field.shape) {
        ("maxNrOfInstances", _) => {
            let chosen = (policy.instances_default > 0).then_some(policy.instances_default);
            let most = (policy.instances_max > 0).then_some(policy.instances_max);
            chosen.into_iter().chain(most).min().map(Value::Long)
        }
        ("maxByteSize", _) => {
            (policy.container_bytes_max > 0).then_some(Value::Long(policy.container_bytes_max))
        }
        ("maxNrOfMembers", _) => Some(Value::Long(match policy.members_per_group_max {
            0 => UNLIMITED,
            most => most.into(),
        })),
        ("consistencyStrategy", _) => Some(text("ABANDON_MEMBER")),
        // Of an m2mPoc; an scl's is not for issuers to set.
        ("onlineStatus", _) => Some(text("ONLINE")),
        // What can be announced says whether it is; its Annc is no original. What applications or the operator want
        // announced was settled before (`announce`).
        ("announceTo", _) if attribute.response == Mode::MandatoryIfAssigned => Some(Value::Struct(Struct {
            name: "AnnounceTo",
            fields: vec![("activated", Value::Bool(false)), ("sclList", Value::List(Vec::new()))],
        })),
        // The device's own tree is not known yet.
        ("originalMO", _) if attribute.response == Mode::Mandatory => Some(text("")),
        // What every response has is an empty list when nobody gave one.
        (_, Shape::StringList | Shape::UriList) if attribute.response == Mode::Mandatory => {
            Some(Value::List(Vec::new()))
        }
        ("permissions", Shape::Struct(name)) => Some(Value::Struct(Struct { name, fields: Vec::new() })),
        _ => None,
    }
}

/// How OpenMTC writes that there is no limit.
const UNLIMITED: i64 = -1;

/// What the SCL makes of a value that was sent: limits clipped to what the operator allows (returned as M*), the
/// members of a group each once.
pub(super) fn within_policy(scl: &Scl, policy: &Policy, attribute: &str, sent: Value) -> Value {
    match (attribute, sent) {
        ("maxNrOfInstances", Value::Long(wanted)) => Value::Long(clipped(wanted, policy.instances_max)),
        ("maxByteSize", Value::Long(wanted)) => Value::Long(clipped(wanted, policy.container_bytes_max)),
        ("maxNrOfMembers", Value::Long(wanted)) if wanted < 0 => {
            Value::Long(clipped(wanted, policy.members_per_group_max.into()))
        }
        ("members", Value::List(members)) => {
            let mut seen = BTreeSet::new();
            Value::List(members.into_iter().filter(|member| seen.insert(scl.normalise(member))).collect())
        }
        (_, sent) => sent,
    }
}

/// Zero and less ask for no limit.
fn clipped(wanted: i64, most: i64) -> i64 {
    if most > 0 && (wanted <= 0 || wanted > most) { most } else { wanted }
}

/// What only the SCL sets, on a new resource.
pub(super) fn at_create(
    scl: &Scl,
    policy: &Policy,
    path: &Path,
    request: &RequestPrimitive,
    representation: &mut Representation,
) {
    let below = |segment: &str| Value::Text(scl.address(&path.child(segment)));
    match representation.resource_type {
        ResourceType::Scl => {
            // No m2mPoc exists yet (D-14). integrityValResults stay as they came: this SCL validates no integrity
            // (2.1, case d), so they decide nothing.
            representation.set("onlineStatus", text("OFFLINE"));
            representation.set("serverCapability", Value::Bool(false));
            representation.set("aPocHandling", text("SHALLOW"));
        }
        ResourceType::Application => {
            let over = match request.reference_point {
                ReferencePoint::Dia => "DIA_REFERENCE_POINT",
                ReferencePoint::Mia | ReferencePoint::Mid => "MIA_REFERENCE_POINT",
            };
            representation.set("referencePoint", text(over));
        }
        ResourceType::Subscription => {
            // A polled channel is told by its address: it may be another shard's, where only that tells.
            let contact = representation.text("contact").and_then(|contact| scl.local_path(contact));
            let polled = contact.is_some_and(|contact| channel::contacted_at(&contact).is_some());
            let how = if polled { "SYNCHRONOUS" } else { "ASYNCHRONOUS" };
            representation.set("subscriptionType", text(how));
            representation.set("subscriberId", text(&request.requesting_entity.0));
        }
        ResourceType::NotificationChannel | ResourceType::CommunicationChannel => {
            // Others are told them, who may be anywhere.
            let origin = origin(scl, policy, request);
            let door = |segment| Value::Text(format!("{origin}{}", scl.address(&path.child(segment))));
            representation.set("contactURI", door(channel::CONTACT));
            let data = Struct {
                name: "LongPollingChannelData",
                fields: vec![("longPollingURI", door(channel::POLL))],
            };
            representation.set("channelData", Value::Struct(data));
        }
        // Nobody knows the address of what has no name yet, so what the creator wrote is not it.
        ResourceType::MgmtCmd => representation.set("execEnable", below("execEnable")),
        _ => {}
    }
}

/// What stands before a local address that is told to others: where the issuer reached this SCL, since that is where it
/// can be reached; else what the operator says. Nothing, if nobody knows: such an address is good within this SCL.
fn origin(scl: &Scl, policy: &Policy, request: &RequestPrimitive) -> String {
    let said = policy.public_uri.as_deref().map(str::to_owned);
    let said = request.reached_at.clone().or(said);
    let first = || scl.authorities.first().map(|authority| format!("http://{authority}"));
    said.or_else(first).unwrap_or_default()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
