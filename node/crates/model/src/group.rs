//! Groups (procedures.md 9): what a membersContent address means, what may follow it, and which members a group keeps.
//!
//! Nothing here asks anybody: the front desk finds out what stands at each member and brings the answers as [`Fact`]s.

use crate::{
    Path, Refusal, Representation, RequestId, ResourceType, Scl, StatusCode, Value, access, tables::Category,
    validate,
};
use std::collections::HashSet;
use xxhash_rust::xxh3::Xxh3;

/// The segment of a group's fan-out point.
pub const MEMBERS_CONTENT: &str = "membersContent";
const GROUPS: &str = "groups";

/// Whether a path may lead through a group's membersContent; only the tree knows whether the group is one.
pub fn leads_to_members(path: &Path) -> bool {
    path.segments().windows(3).any(|three| three[0] == GROUPS && three[2] == MEMBERS_CONTENT)
}

/// The members of a group, as listed.
pub fn members(group: &Representation) -> &[String] {
    match group.get("members") {
        Some(Value::List(members)) => members,
        _ => &[],
    }
}

/// What `membersContent/<suffix>` asks of each member must be something that its type can have. A mixed group, and
/// types whose children the tables do not close (an application's aPoCPaths, an scl's remote tree, management
/// objects), take everything: their members answer themselves.
pub fn check_suffix(group: &Representation, suffix: &[String]) -> Result<(), Refusal> {
    let Some(member_type) = group.text("memberType").and_then(resource_type) else { return Ok(()) };
    if may_follow(member_type, suffix) {
        return Ok(());
    }
    let why = format_args!("no {} has {}", member_type.name(), suffix.join("/"));
    Err(Refusal::attribute(MEMBERS_CONTENT, why))
}

fn may_follow(of: ResourceType, suffix: &[String]) -> bool {
    let Some((first, rest)) = suffix.split_first() else { return true };
    let def = of.def();
    let is_open = matches!(of, ResourceType::Application | ResourceType::Scl)
        || matches!(def.category, Category::MgmtObject | Category::MgmtParameters)
        || of == ResourceType::MgmtObj;
    if is_open || of.attribute(first).is_some() {
        return true;
    }
    let below = |of: &ResourceType| may_follow(*of, rest);
    def.children.iter().any(|child| match ResourceType::from_name(child.segment) {
        Some(fixed) if child.segment == first => below(&fixed),
        Some(_) => false,
        None => child.segment.starts_with('{') && child.holds.iter().any(below),
    })
}

/// The type that a memberType stands for; `None` for MIXED.
fn resource_type(member_type: &str) -> Option<ResourceType> {
    Some(match member_type {
        "APPLICATION" => ResourceType::Application,
        "CONTAINER" => ResourceType::Container,
        "ACCESS_RIGHT" => ResourceType::AccessRight,
        "SCL_BASE" => ResourceType::SclBase,
        "SCL" => ResourceType::Scl,
        "LOCATION_CONTAINER" => ResourceType::LocationContainer,
        "MGMT_OBJ" => ResourceType::MgmtObj,
        "MGMT_CMD" => ResourceType::MgmtCmd,
        "ATTACHED_DEVICE" => ResourceType::AttachedDevice,
        _ => return None,
    })
}

/// The id under which a member's part of a fan-out is carried out: the same however often the fan-out is repeated and
/// whoever leads the group then, so that no member does it twice. A request without id has none for its parts.
pub fn part_id(whole: RequestId, group: &Path, member: &str) -> RequestId {
    if whole.session == 0 {
        return RequestId::default();
    }
    // One session a fan-out: the shards of its members remember each once.
    let mut session = Xxh3::new();
    session.update(b"fan-out");
    session.update(&whole.session.to_be_bytes());
    session.update(&whole.sequence.to_be_bytes());
    session.update(group.to_string().as_bytes());
    let sequence = xxhash_rust::xxh3::xxh3_64(member.as_bytes()) >> 1;
    RequestId { session: session.digest().max(1), sequence: sequence.max(1), acked_below: 0 }
}

/// The list without repetitions, in its order and the first spelling of each member.
///
/// # Errors
/// A member that is no address, or the group itself.
pub fn distinct(scl: &Scl, group: Option<&Path>, members: &[String]) -> Result<Vec<String>, Refusal> {
    let mut seen = HashSet::with_capacity(members.len());
    let mut kept = Vec::with_capacity(members.len());
    for member in members {
        let member = member.trim();
        let local = scl.local_path(member);
        if local.is_none() && !validate::is_absolute(member) {
            let why = format_args!("{member} is neither an absolute URI nor a path of this SCL");
            return Err(Refusal::attribute("members", why));
        }
        if let (Some(group), Some(local)) = (group, &local)
            && local.is_below_or_at(group)
        {
            return Err(Refusal::attribute("members", format_args!("{member} is the group itself")));
        }
        if seen.insert(access::canonical(scl, member)) {
            kept.push(member.to_owned());
        }
    }
    Ok(kept)
}

/// More members than the group says it may have. A negative maxNrOfMembers is no limit.
pub fn check_count(members: usize, max: Option<i64>) -> Result<(), Refusal> {
    match max.map(usize::try_from) {
        Some(Ok(max)) if members > max => {
            let info = format!("members: {members}, maxNrOfMembers allows {max}");
            Err(Refusal::new(StatusCode::Forbidden, info))
        }
        _ => Ok(()),
    }
}

/// What was found at a member's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// Something of this type.
    Is(ResourceType),
    /// Something that is no resource with a type of its own (a group's membersContent, contentInstances).
    Exists,
    /// Nothing.
    Missing,
    /// Another SCL did not say.
    Unknown,
}

/// The members that a group is to have, checked by whoever could ask; what the SCL alone writes comes from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// In the order they were sent, without repetition.
    pub members: Vec<String>,
    /// MIXED, where the strategy was to change the type.
    pub member_type: Option<String>,
    /// Whether every one was checked.
    pub validated: bool,
}

/// What becomes of a group whose members are these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Consistency {
    /// It is kept like this.
    Keep(Verified),
    /// ABANDON_GROUP: this member does not fit.
    Abandon(String),
}

/// Applies consistencyStrategy (9.1). `facts` has one for each member.
pub fn consistency(member_type: &str, strategy: &str, members: Vec<String>, facts: &[Fact]) -> Consistency {
    let wanted = resource_type(member_type);
    let fits = |fact: &Fact| match (wanted, fact) {
        (_, Fact::Unknown) | (None, Fact::Is(_) | Fact::Exists) => true,
        (Some(wanted), Fact::Is(found)) => is_a(*found, wanted),
        (_, Fact::Missing) | (Some(_), Fact::Exists) => false,
    };
    let mut kept =
        Verified { members: Vec::with_capacity(members.len()), member_type: None, validated: true };
    for (member, fact) in members.into_iter().zip(facts) {
        if !fits(fact) {
            match strategy {
                "ABANDON_GROUP" => return Consistency::Abandon(member),
                // What is not there has no type that the group could take over.
                "MODIFY_TYPE" if *fact != Fact::Missing => kept.member_type = Some("MIXED".to_owned()),
                _ => continue,
            }
        }
        kept.validated &= *fact != Fact::Unknown;
        kept.members.push(member);
    }
    Consistency::Keep(kept)
}

fn is_a(found: ResourceType, wanted: ResourceType) -> bool {
    found == wanted || (wanted == ResourceType::MgmtObj && found.def().category == Category::MgmtObject)
}

/// consistencyStrategy where none was sent.
pub const STRATEGY_DEFAULT: &str = "ABANDON_MEMBER";

/// Writes what the SCL says of a group's members.
pub(crate) fn assign(group: &mut Representation, verified: Option<&Verified>) {
    if let Some(verified) = verified {
        group.set("members", Value::List(verified.members.clone()));
        if let Some(member_type) = &verified.member_type {
            group.set("memberType", Value::Text(member_type.clone()));
        }
    }
    let validated = verified.map_or(members(group).is_empty(), |verified| verified.validated);
    group.set("memberTypeValidated", Value::Bool(validated));
    count(group);
}

/// Adds a member to a group.
///
/// # Errors
/// CONFLICT where it is one already, FORBIDDEN where the group may have no more.
pub(crate) fn add(scl: &Scl, group: &mut Representation, member: &str) -> Result<(), Refusal> {
    let wanted = access::canonical(scl, member);
    let mut listed = members(group).to_vec();
    if listed.iter().any(|known| access::canonical(scl, known) == wanted) {
        let info = format!("members: {member} is there already");
        return Err(Refusal::new(StatusCode::Conflict, info));
    }
    check_count(listed.len() + 1, group.long("maxNrOfMembers"))?;
    listed.push(member.to_owned());
    group.set("members", Value::List(listed));
    count(group);
    Ok(())
}

/// currentNrOfMembers follows members.
pub(crate) fn count(group: &mut Representation) {
    let count = i64::try_from(members(group).len()).unwrap_or(i64::MAX);
    group.set("currentNrOfMembers", Value::Long(count));
}

#[cfg(test)]
mod tests;
