//! A subscription at the members of a group that names an aggregateURI: its two halves.

use super::{Policy, Stored, Write, assigned, body, modes, quota, rules};
use crate::{
    Body, Operation, Path, Refusal, RequestPrimitive, ResourceType, Scl, StatusCode, Timestamp, Value,
};

/// The command that begins the aggregation of `request`, which subscribes at the members. `others`: how many this group
/// has, `resources`: how many its subtree has.
pub fn aggregation(
    scl: &Scl,
    policy: &Policy,
    at: Timestamp,
    path: &Path,
    request: &RequestPrimitive,
    (others, resources): (usize, u64),
) -> Result<Operation, Refusal> {
    let most = policy.aggregations_per_group_max;
    if most > 0 && others >= most as usize {
        let why = format!("aggregateURI: a group has at most {most} aggregations");
        return Err(Refusal::new(StatusCode::Forbidden, why));
    }
    quota::resources(policy, resources)?;
    let mut representation = body::resource(request.body.clone(), ResourceType::Subscription)?;
    modes(&representation, |attribute| attribute.create)?;
    representation.remove("id");
    // It selects what the members tell; what they told is sent on as it came.
    representation.remove("filterCriteria");
    for name in ["creationTime", "lastModifiedTime"] {
        representation.set(name, Value::Datetime(at));
    }
    let write = Write { scl, policy, at, stored: Stored::default(), verified: None };
    write.settle(&mut representation, |attribute| attribute.create)?;
    rules::check(scl, policy, &representation)?;
    assigned::at_create(scl, policy, path, request, &mut representation);
    Ok(Operation::Aggregate {
        path: path.clone(),
        representation,
        creator: request.requesting_entity.clone(),
        notify_media: request.notify_media,
    })
}

/// What the members are asked for then: to notify the aggregation at once. Whatever holds notifies back holds them back
/// there; how often one member notifies it says itself, too.
pub fn for_members(request: &mut RequestPrimitive, contact: Option<String>) {
    let Body::Representation(subscription) = &mut request.body else { return };
    subscription.remove("aggregateURI");
    subscription.remove("delayTolerance");
    if let Some(contact) = contact {
        subscription.set("contact", Value::Text(contact));
    }
}
