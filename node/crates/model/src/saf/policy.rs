//! The policies of store and forward, read from the resources that hold them (resources.md 5): `safPolicySet` below an
//! `etsiSclMo`, an `anpPolicy` for each access network, an `m2mSpPolicy` with a `rcatParamList` for each category.
//!
//! Those that count for requests to an SCL stand below the mgmtObjs of its scl; where there are none there, below those of
//! the collection of scls. A set is for the applications that its policyScope lists; the one that says `default` is for
//! all others. Without a set every network may be used at any time.
//!
//! What is incomplete restricts nothing that it does not name, save that a network whose schedules leave a category out
//! does not carry it: that is what leaving it out means.

use super::{Rcat, Trpdt, schedule::Schedule};
use crate::{
    Entity, Path, Representation, ResourceType, Scl, Timestamp, TreeView, Value,
    command::QueueLimits,
    time::{XsdDuration, time_of_day},
    tree::Tree,
    value::Struct,
};
use std::collections::BTreeMap;

/// Parameters that are read for one SCL; what is beyond them does not count.
const PARAMETERS_MAX: usize = 1_000;

/// All sets that count for one SCL.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    sets: Vec<Policy>,
}

/// One `safPolicySet`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    scope: Vec<String>,
    networks: BTreeMap<String, Network>,
    default_rcat: Rcat,
    categories: BTreeMap<Rcat, Category>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Network {
    schedules: BTreeMap<Rcat, Schedule>,
    blocks: Vec<(u64, XsdDuration)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Category {
    trpdt: Option<Trpdt>,
    limits: QueueLimits,
    ranked: Vec<String>,
}

/// Which network carries a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// This one, now; `None`: any, no policy says anything.
    Now(Option<String>),
    /// None before this time; `None`: none, as things stand.
    Later(Option<Timestamp>),
}

/// Where policies are looked for, the first place that has some first.
pub fn places(scl: &str) -> [Path; 2] {
    let scls = Path::scl_base().child("scls");
    [scls.child(scl).child("mgmtObjs"), scls.child("mgmtObjs")]
}

/// The resources of which the policies below a collection of management objects are made.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn resources<V: TreeView>(
    view: &V,
    scl: &Scl,
    mgmt_objs: &Path,
) -> Result<Vec<(Path, Representation)>, V::Error> {
    let tree = Tree::new(view, scl);
    let mut found = Vec::new();
    let mut parents = vec![mgmt_objs.clone()];
    while let Some(parent) = parents.pop() {
        for child in tree.children(&parent)? {
            let of = child.representation.resource_type;
            let is_part = is_part(of);
            if found.len() >= PARAMETERS_MAX || !(is_part || of == ResourceType::EtsiSclMo) {
                continue;
            }
            parents.push(child.path.clone());
            if is_part {
                found.push((child.path, child.representation));
            }
        }
    }
    Ok(found)
}

fn is_part(of: ResourceType) -> bool {
    use ResourceType::{AnpPolicy, M2mSpPolicy, RcatParamList, SafPolicySet};
    matches!(of, SafPolicySet | AnpPolicy | M2mSpPolicy | RcatParamList)
}

impl Policies {
    /// Reads the policies in resources.
    pub fn read(resources: &[(Path, Representation)]) -> Policies {
        let of_type = |of| resources.iter().filter(move |(_, found)| found.resource_type == of);
        let below = |parent: &Path, of| {
            let parent = parent.clone();
            of_type(of).filter(move |(path, _)| path.parent().as_ref() == Some(&parent))
        };
        let mut sets: Vec<(&Path, Policy)> = Vec::new();
        for (path, set) in of_type(ResourceType::SafPolicySet) {
            let scope = match set.get("policyScope") {
                Some(Value::List(scope)) => scope.clone(),
                _ => Vec::new(),
            };
            let mut policy = Policy { scope, ..Policy::default() };
            for (_, anp) in below(path, ResourceType::AnpPolicy) {
                if let Some(name) = anp.text("anName") {
                    policy.networks.insert(name.to_owned(), network(anp));
                }
            }
            for (path, m2m_sp) in below(path, ResourceType::M2mSpPolicy) {
                policy.default_rcat =
                    m2m_sp.text("defaultRcatValue").and_then(Rcat::named).unwrap_or_default();
                for (_, list) in below(path, ResourceType::RcatParamList) {
                    if let Some(rcat) = list.text("rcatValue").and_then(Rcat::named) {
                        policy.categories.insert(rcat, category(list));
                    }
                }
            }
            sets.push((path, policy));
        }
        // Of two sets for the same application the first by name counts, on every node.
        sets.sort_by_key(|(path, _)| *path);
        Policies { sets: sets.into_iter().map(|(_, policy)| policy).collect() }
    }

    /// The set for requests of an entity: one that lists it, else the default one.
    pub fn of(&self, entity: &Entity, scl: &Scl) -> Option<&Policy> {
        self.sets
            .iter()
            .find(|policy| policy.scope.iter().any(|listed| is_listed(listed, entity, scl)))
            .or_else(|| self.sets.iter().find(|policy| policy.scope.iter().any(|listed| listed == "default")))
    }
}

/// An application is listed by its address, absolute or local, or by its id alone.
fn is_listed(listed: &str, entity: &Entity, scl: &Scl) -> bool {
    let path = |uri: &str| scl.local_path(uri);
    if listed == entity.0 || path(listed).is_some_and(|listed| path(&entity.0) == Some(listed)) {
        return true;
    }
    let is_id = !listed.contains('/') && listed != "default";
    is_id && entity.0.rsplit_once("/applications/").is_some_and(|(_, id)| id == listed)
}

impl Policy {
    /// The category of requests that name none.
    pub fn default_rcat(&self) -> Rcat {
        self.default_rcat
    }

    /// The delay of requests of a category that name none.
    pub fn trpdt(&self, rcat: Rcat) -> Option<Trpdt> {
        self.categories.get(&rcat)?.trpdt
    }

    /// How much may wait of a category.
    pub fn limits(&self, rcat: Rcat) -> QueueLimits {
        self.categories.get(&rcat).map_or(UNLIMITED, |category| category.limits)
    }

    /// Which network carries requests of a category. `blocked`: until when a network rests after failures.
    pub fn choose(&self, rcat: Rcat, now: Timestamp, blocked: impl Fn(&str) -> Option<Timestamp>) -> Choice {
        let mut opens: Option<Timestamp> = None;
        let ranked =
            self.categories.get(&rcat).map(|category| category.ranked.as_slice()).unwrap_or_default();
        // Without a rank every network will do, by name.
        let all = self.networks.keys().filter(|_| ranked.is_empty());
        let mut any = false;
        for name in ranked.iter().chain(all) {
            any = true;
            let from = blocked(name).filter(|until| *until > now).unwrap_or(now);
            // A network for which there is no policy is not restricted.
            let next = match self.networks.get(name) {
                Some(network) => network.schedules.get(&rcat).and_then(|schedule| schedule.opens(from)),
                None => Some(from),
            };
            match next {
                Some(next) if next <= now => return Choice::Now(Some(name.clone())),
                Some(next) => opens = Some(opens.map_or(next, |known| known.min(next))),
                None => {}
            }
        }
        if any { Choice::Later(opens) } else { Choice::Now(None) }
    }

    /// How long a network rests after so many failures in a row, milliseconds: the longest of the blocks that it reached.
    pub fn rests(&self, network: &str, failures: u64) -> Option<i64> {
        let blocks = &self.networks.get(network)?.blocks;
        let reached = blocks.iter().filter(|(attempts, _)| failures >= *attempts).map(|(_, rest)| *rest);
        let epoch = Timestamp(0);
        reached.filter_map(|rest| epoch.checked_add(rest)).map(|end| end.0).filter(|ms| *ms > 0).max()
    }
}

/// No limit.
pub const UNLIMITED: QueueLimits = QueueLimits { entries_max: u64::MAX, octets_max: u64::MAX };

fn network(anp: &Representation) -> Network {
    let mut network = Network::default();
    if let Some(Value::Struct(list)) = anp.get("rcatSchedList") {
        for schedule in structs(list, "rcatSchedule") {
            let Some(rcat) = schedule.text("rcatValue").and_then(Rcat::named) else { continue };
            let times = network.schedules.entry(rcat).or_default();
            structs(schedule, "schedItem").for_each(|item| times.add(item));
        }
    }
    if let Some(Value::Struct(list)) = anp.get("blockPeriods") {
        for item in structs(list, "blockItem") {
            if let (Some(Value::Long(failures)), Some(Value::Duration(rest))) =
                (item.get("failedAttempts"), item.get("blockDuration"))
                && let Ok(failures @ 1..) = u64::try_from(*failures)
            {
                network.blocks.push((failures, *rest));
            }
        }
    }
    network
}

fn category(list: &Representation) -> Category {
    let trpdt = match list.get("defaultTrpdtValue") {
        Some(Value::Struct(trpdt)) => read_trpdt(trpdt),
        _ => None,
    };
    let ranked = match list.get("rankedAnList") {
        Some(Value::Struct(ranked)) => ranked
            .all("accessNetwork")
            .filter_map(|name| match name {
                Value::Text(name) => Some(name.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let entries_max = list.long("maxPendReqs").and_then(|most| u64::try_from(most).ok());
    let octets_max = list.text("maxPendData").and_then(octets);
    let limits = QueueLimits {
        entries_max: entries_max.unwrap_or(u64::MAX),
        octets_max: octets_max.unwrap_or(u64::MAX),
    };
    Category { trpdt, limits, ranked }
}

/// A `TrpdtType`.
pub fn read_trpdt(trpdt: &Struct) -> Option<Trpdt> {
    match (trpdt.get("tolerableDelay"), trpdt.text("tolerableTime")) {
        (Some(Value::Duration(delay)), _) => Some(Trpdt::After(*delay)),
        (_, Some(time)) => time_of_day(time).map(Trpdt::TimeOfDay),
        _ => None,
    }
}

fn structs<'a>(of: &'a Struct, field: &str) -> impl Iterator<Item = &'a Struct> {
    of.all(field).filter_map(|value| match value {
        Value::Struct(found) => Some(found),
        _ => None,
    })
}

/// `10M`: digits and a unit, powers of 1024.
fn octets(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.len().checked_sub(1)?);
    let power = ["B", "K", "M", "G", "T"].iter().position(|known| *known == unit)?;
    let number: u64 = digits.parse().ok()?;
    Some(number.saturating_mul(1024_u64.pow(u32::try_from(power).ok()?)))
}

#[cfg(test)]
mod tests;
