//! Access rights (procedures.md 4; TS 102 921 10.3.2.5 to 10.3.2.7): which right governs, and what it says.

use crate::{Entity, Path, Refusal, Representation, Scl, StatusCode, Value, value::Struct};

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

impl Flag {
    /// As it stands in permissionFlags.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Read => "READ",
            Flag::Write => "WRITE",
            Flag::Discover => "DISCOVER",
            Flag::Delete => "DELETE",
            Flag::Create => "CREATE",
        }
    }
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
    /// A subscription: its creator may do everything; others may RETRIEVE it if they hold DELETE on what it watches.
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
    let entity = canonical(scl, &entity.0);
    if entity == scl.base {
        return Ok(());
    }
    decide_for(scl, governing, resolved, &entity, flag)
}

/// Whether an entity may know of a resource (D-26): DISCOVER, or any other flag, which refuses with
/// STATUS_PERMISSION_DENIED where a stranger hears STATUS_NOT_FOUND.
pub fn is_visible(
    scl: &Scl,
    governing: &Governing,
    resolved: Option<&Representation>,
    entity: &Entity,
) -> bool {
    match decide(scl, governing, resolved, entity, Flag::Discover) {
        Ok(()) => true,
        Err(refusal) => refusal.status == StatusCode::PermissionDenied,
    }
}

fn decide_for(
    scl: &Scl,
    governing: &Governing,
    resolved: Option<&Representation>,
    entity: &str,
    flag: Flag,
) -> Result<(), Refusal> {
    match governing {
        Governing::Everybody => Ok(()),
        Governing::Default(right) => by_default(scl, right, entity),
        Governing::SelfPermissions(access_right) => {
            by_permissions(scl, access_right.get("selfPermissions"), entity, flag)
        }
        Governing::AccessRight { otherwise, .. } => match resolved {
            Some(access_right) => by_permissions(scl, access_right.get("permissions"), entity, flag),
            None => by_default(scl, otherwise, entity),
        },
        Governing::Creator { creator, otherwise } => {
            if canonical(scl, &creator.0) == entity {
                return Ok(());
            }
            decide_for(scl, otherwise, resolved, entity, Flag::Delete)?;
            if flag == Flag::Read { Ok(()) } else { Err(denied()) }
        }
        Governing::RootCollection { otherwise, .. } => decide_for(scl, otherwise, resolved, entity, flag),
    }
}

/// The path a governing right is cached under, when it is local.
pub fn local_access_right(scl: &Scl, uri: &str) -> Option<Path> {
    scl.local_path(uri)
}

fn by_default(scl: &Scl, right: &DefaultRight, entity: &str) -> Result<(), Refusal> {
    let owner = right.owners.iter().any(|owner| canonical(scl, &owner.0) == entity);
    if owner { Ok(()) } else { Err(Refusal::not_found()) }
}

/// Every permission is looked at: one that lacks the flag does not hide a later one that has it.
fn by_permissions(scl: &Scl, permissions: Option<&Value>, entity: &str, flag: Flag) -> Result<(), Refusal> {
    let Some(Value::Struct(permissions)) = permissions else { return Err(Refusal::not_found()) };
    let mut known = false;
    for permission in structs(permissions, "permission") {
        let flags = || structs(permission, "permissionFlags").flat_map(|flags| texts(flags, "flag"));
        let holds = structs(permission, "permissionHolders").any(|holders| is_held_by(scl, holders, entity));
        if holds && flags().any(|held| held == flag.name()) {
            return Ok(());
        }
        // A permission without flags gives nothing, not even the right to know.
        known |= holds && flags().next().is_some();
    }
    Err(if known { denied() } else { Refusal::not_found() })
}

fn is_held_by(scl: &Scl, holders: &Struct, entity: &str) -> bool {
    let listed = |field: &str, id: Option<String>| match (holders.get(field), id) {
        (Some(Value::List(ids)), Some(id)) => ids.contains(&id),
        _ => false,
    };
    holders.get("all").is_some()
        || structs(holders, "holderRefs")
            .flat_map(|refs| texts(refs, "holderRef"))
            .any(|holder| canonical(scl, holder) == entity)
        || listed("applicationIDs", last_segment_after(entity, "/applications/"))
        || listed("sclIDs", last_segment_after(entity, "/scls/"))
        || structs(holders, "domains")
            .flat_map(|domains| texts(domains, "domain"))
            .any(|domain| is_in_domain(scl, domain, entity))
}

/// With a path, the entity stands at or below it; a bare host name covers itself and the hosts below it. Both end at
/// a border, so that `example.org` does not let `badexample.org` in.
fn is_in_domain(scl: &Scl, domain: &str, entity: &str) -> bool {
    let domain = domain.trim().trim_end_matches('/');
    let bare = domain.split_once("://").map_or(domain, |(_, rest)| rest);
    if bare.is_empty() {
        return false;
    }
    if bare.contains('/') {
        let domain = canonical(scl, domain);
        return entity
            .strip_prefix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    }
    let suffix = host(bare).trim_start_matches('.').to_ascii_lowercase();
    let within = |authority: &str| {
        let host = host(authority).to_ascii_lowercase();
        host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    match entity.split_once("://") {
        Some((_, rest)) => within(rest.split('/').next().unwrap_or_default()),
        // A local entity has every name of this SCL.
        None => scl.authorities.iter().any(|authority| within(authority)),
    }
}

/// Without user and port.
fn host(authority: &str) -> &str {
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    if authority.starts_with('[') {
        return authority.find(']').map_or(authority, |end| &authority[..=end]);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// The decoded id of `.../applications/<id>` and its kin, when nothing follows it.
fn last_segment_after(entity: &str, collection: &str) -> Option<String> {
    let (_, id) = entity.rsplit_once(collection)?;
    match Path::parse(id)?.segments() {
        [id] => Some(id.clone()),
        _ => None,
    }
}

/// One spelling for each entity: a local one as the SCL writes its addresses, any other as it came.
pub(crate) fn canonical(scl: &Scl, uri: &str) -> String {
    match scl.local_path(uri) {
        Some(path) => scl.address(&path),
        None => scl.normalise(uri).0,
    }
}

fn denied() -> Refusal {
    Refusal::new(StatusCode::PermissionDenied, "")
}

fn structs<'a>(outer: &'a Struct, field: &'a str) -> impl Iterator<Item = &'a Struct> {
    outer.all(field).filter_map(|value| match value {
        Value::Struct(inner) => Some(inner),
        _ => None,
    })
}

fn texts<'a>(outer: &'a Struct, field: &'a str) -> impl Iterator<Item = &'a str> {
    outer.all(field).filter_map(|value| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
