//! What the operator's quotas refuse: how much may stand in one place. 0 is no limit.
//!
//! The counts are those of the moment in which the leader looks: requests under way at the same time may go past a
//! quota by their number, which is bounded too.

use super::Policy;
use crate::{Refusal, Representation, StatusCode, Value};

/// `existing` named resources are in the subtree.
pub(super) fn resources(policy: &Policy, existing: u64) -> Result<(), Refusal> {
    room(existing, policy.resources_per_subtree_max, "resources in this subtree")
}

/// `existing` subscriptions stand on the resource.
pub(super) fn subscriptions(policy: &Policy, existing: u32) -> Result<(), Refusal> {
    let most = policy.subscriptions_per_resource_max;
    room(existing.into(), most.into(), "subscriptions on this resource")
}

/// `existing` m2mPocs belong to the scl.
pub(super) fn m2m_pocs(policy: &Policy, existing: usize) -> Result<(), Refusal> {
    room(existing as u64, policy.m2m_pocs_per_scl_max.into(), "m2mPocs of this scl")
}

fn room(existing: u64, most: u64, of: &str) -> Result<(), Refusal> {
    if most > 0 && existing >= most {
        return Err(Refusal::new(StatusCode::Forbidden, format!("{existing} {of}, {most} are allowed")));
    }
    Ok(())
}

/// No list of the representation is too long, however deep it stands.
pub(super) fn lists(policy: &Policy, representation: &Representation) -> Result<(), Refusal> {
    for (name, value) in &representation.attributes {
        let most = match *name {
            "searchStrings" => policy.search_strings_max,
            "members" => policy.members_per_group_max,
            _ => policy.list_entries_max,
        };
        value_fits(policy, name, value, most)?;
    }
    Ok(())
}

fn value_fits(policy: &Policy, name: &str, value: &Value, most: u32) -> Result<(), Refusal> {
    match value {
        Value::List(entries) => {
            entries_fit(name, entries.len(), most)?;
            let longest = entries.iter().map(String::len).max().unwrap_or(0);
            let allowed = policy.search_string_bytes_max;
            if name == "searchStrings" && allowed > 0 && longest > allowed as usize {
                let why = format_args!("one of {longest} octets, {allowed} are allowed");
                return Err(Refusal::attribute(name, why));
            }
            Ok(())
        }
        Value::Struct(list) => {
            entries_fit(name, list.fields.len(), most)?;
            list.fields.iter().try_for_each(|(_, entry)| {
                // Named by the attribute: that is what the issuer wrote.
                value_fits(policy, name, entry, policy.list_entries_max)
            })
        }
        Value::Resource(inline) => lists(policy, inline),
        _ => Ok(()),
    }
}

fn entries_fit(name: &str, entries: usize, most: u32) -> Result<(), Refusal> {
    if most > 0 && entries > most as usize {
        return Err(Refusal::attribute(name, format_args!("{entries} entries, {most} are allowed")));
    }
    Ok(())
}
