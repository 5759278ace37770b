//! Access rights (procedures.md 4; TS 102 921 10.3.2.5 to 10.3.2.7): which right governs, and what it says.

use crate::{
    Entity, Path, Refusal, Representation, ResourceType, Scl, StatusCode, Value, announce, group, route,
    value::Struct,
};
use std::{borrow::Cow, convert::Infallible, sync::Arc};

/// What the holders of one right may make a decision look up; what is beyond it holds nothing.
pub const HOLDERS_MAX: usize = 16;

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
    /// Of an announcement, and of a collection where one is to be created: the sclBase of the SCL that announces. Its
    /// applications count, for it announces in their names (procedures.md 10.1, 3b).
    pub announcer: Option<Entity>,
}

impl DefaultRight {
    /// Only the SCL itself may.
    pub fn nobody() -> DefaultRight {
        DefaultRight { owners: Vec::new(), announcer: None }
    }
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
            Some(uri) => Governing::AccessRight { uri: uri.to_owned(), otherwise: DefaultRight::nobody() },
            None => *otherwise,
        }
    }

    /// What governs where an announcement is to be created.
    #[must_use]
    pub(crate) fn announced_by(mut self, announcer: Option<Entity>) -> Governing {
        if let Governing::Default(right) | Governing::AccessRight { otherwise: right, .. } = &mut self {
            right.announcer = announcer;
        }
        self
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

/// Decides. `resolved`: the accessRight named by `governing`, `None` when it could not be retrieved. Holders that have
/// to be looked up (groups, registered SCLs) hold nothing here: see [`decide_with`].
pub fn decide(
    scl: &Scl,
    governing: &Governing,
    resolved: Option<&Representation>,
    entity: &Entity,
    flag: Flag,
) -> Result<(), Refusal> {
    match decide_with::<Infallible>(scl, governing, resolved, entity, flag, &mut |_| Ok(None)) {
        Ok(decision) => decision,
        Err(never) => match never {},
    }
}

/// Whether an entity may know of a resource (D-26): DISCOVER, or any other flag, which refuses with
/// STATUS_PERMISSION_DENIED where a stranger hears STATUS_NOT_FOUND. Holders are looked up as in [`decide_with`].
///
/// # Errors
/// Those of `find`.
pub fn is_visible<E>(
    scl: &Scl,
    governing: &Governing,
    resolved: Option<&Representation>,
    entity: &Entity,
    find: Find<'_, E>,
) -> Result<bool, E> {
    Ok(match decide_with(scl, governing, resolved, entity, Flag::Discover, find)? {
        Ok(()) => true,
        Err(refusal) => refusal.status == StatusCode::PermissionDenied,
    })
}

/// Decides, and asks `find` what stands at the address of a holder; its error ends the decision, which is made anew
/// once that is known.
///
/// # Errors
/// Those of `find`.
pub fn decide_with<E>(
    scl: &Scl,
    governing: &Governing,
    resolved: Option<&Representation>,
    entity: &Entity,
    flag: Flag,
    find: Find<'_, E>,
) -> Result<Result<(), Refusal>, E> {
    let entity = canonical(scl, &entity.0);
    if entity == scl.base {
        return Ok(Ok(()));
    }
    Asking { scl, entity: &entity, find, left: HOLDERS_MAX }.decide(governing, resolved, flag)
}

/// What a decision about holders asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    /// What stands at an address.
    At(&'a str),
    /// The SCLs that are registered here with this `link`: see [`announce::registered`].
    Linked(&'a str),
}

/// What was asked for; `None`: nothing, or nobody could say.
pub type Find<'a, E> = &'a mut dyn FnMut(Asked<'_>) -> Result<Option<Arc<Representation>>, E>;

/// One decision about one entity.
struct Asking<'a, E> {
    scl: &'a Scl,
    entity: &'a str,
    find: Find<'a, E>,
    left: usize,
}

impl<E> Asking<'_, E> {
    fn decide(
        &mut self,
        governing: &Governing,
        resolved: Option<&Representation>,
        flag: Flag,
    ) -> Result<Result<(), Refusal>, E> {
        match governing {
            Governing::Everybody => Ok(Ok(())),
            Governing::Default(right) => Ok(by_default(self.scl, right, self.entity)),
            Governing::SelfPermissions(access_right) => {
                self.by_permissions(access_right.get("selfPermissions"), flag)
            }
            // What is no accessRight is as good as none.
            Governing::AccessRight { otherwise, .. } => match resolved.filter(|found| is_right(found)) {
                Some(access_right) => self.by_permissions(access_right.get("permissions"), flag),
                None => Ok(by_default(self.scl, otherwise, self.entity)),
            },
            Governing::Creator { creator, otherwise } => {
                if canonical(self.scl, &creator.0) == self.entity {
                    return Ok(Ok(()));
                }
                let other = self.decide(otherwise, resolved, Flag::Delete)?;
                Ok(other.and_then(|()| if flag == Flag::Read { Ok(()) } else { Err(denied()) }))
            }
            Governing::RootCollection { otherwise, .. } => self.decide(otherwise, resolved, flag),
        }
    }

    /// Every permission is looked at: one that lacks the flag does not hide a later one that has it. What has to be
    /// looked up comes last, and first of that what would let the entity in.
    fn by_permissions(&mut self, permissions: Option<&Value>, flag: Flag) -> Result<Result<(), Refusal>, E> {
        let Some(Value::Struct(permissions)) = permissions else { return Ok(Err(Refusal::not_found())) };
        let mut known = false;
        let mut open: Vec<(&Struct, bool)> = Vec::new();
        for permission in structs(permissions, "permission") {
            let flags = || structs(permission, "permissionFlags").flat_map(|flags| texts(flags, "flag"));
            // A permission without flags gives nothing, not even the right to know.
            if flags().next().is_none() {
                continue;
            }
            let gives = flags().any(|held| held == flag.name());
            let mut holders = structs(permission, "permissionHolders");
            if holders.any(|holders| is_held_by(self.scl, holders, self.entity)) {
                if gives {
                    return Ok(Ok(()));
                }
                known = true;
            } else {
                open.push((permission, gives));
            }
        }
        open.sort_by_key(|(_, gives)| !gives);
        for (permission, gives) in open {
            if !gives && known {
                break;
            }
            for holder in holder_refs(permission) {
                if self.leads_to(holder)? {
                    if gives {
                        return Ok(Ok(()));
                    }
                    known = true;
                }
            }
        }
        Ok(Err(if known { denied() } else { Refusal::not_found() }))
    }

    /// Whether a holderRef names a group that the entity is a member of, or the SCL whose entity it is under another
    /// of its names. Groups within groups are not followed.
    fn leads_to(&mut self, holder: &str) -> Result<bool, E> {
        match collection_of(holder) {
            Some("groups") => {
                let found = self.look_up(holder)?;
                let group = found.filter(|found| found.resource_type == ResourceType::Group);
                Ok(group.is_some_and(|group| {
                    let mut members = group::members(&group).iter();
                    members
                        .any(|member| canonical(self.scl, &meant_at(self.scl, holder, member)) == self.entity)
                }))
            }
            Some("scls") => Ok(match self.link(holder)? {
                Some(base) => covers(&base, self.entity),
                None => false,
            }),
            // Of a registered SCL both its scl resource here and its own sclBase are names.
            _ if collection_of(self.entity) == Some("scls") => {
                let entity = self.entity;
                let holder = canonical(self.scl, holder);
                Ok(self.link(entity)?.is_some_and(|base| base == holder) && self.is_first(entity, &holder)?)
            }
            _ => Ok(false),
        }
    }

    /// The sclBase of an SCL that is registered here, by its scl resource.
    fn link(&mut self, scl: &str) -> Result<Option<String>, E> {
        if self.scl.local_path(scl).is_none() {
            return Ok(None);
        }
        let found = self.look_up(scl)?.filter(|found| found.resource_type == ResourceType::Scl);
        Ok(found.and_then(|found| found.text("link").map(|link| canonical(self.scl, link))))
    }

    /// Whether an scl has the rights of its `link`: not if an older one is registered with it.
    fn is_first(&mut self, entity: &str, link: &str) -> Result<bool, E> {
        let Some(linked) = self.find(Asked::Linked(link))? else { return Ok(false) };
        let scl = self.scl;
        let first = route::first(announce::registered_in(&linked), |path| self.look_up(&scl.address(path)))?;
        Ok(first.is_some_and(|id| scl.address(&announce::scl_path(&id)) == entity))
    }

    fn look_up(&mut self, uri: &str) -> Result<Option<Arc<Representation>>, E> {
        self.find(Asked::At(uri))
    }

    fn find(&mut self, asked: Asked<'_>) -> Result<Option<Arc<Representation>>, E> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        (self.find)(asked)
    }
}

/// What a reference in a resource means: a path in one of another SCL is a path there.
fn meant_at<'a>(scl: &Scl, resource: &str, reference: &'a str) -> Cow<'a, str> {
    let elsewhere = reference.starts_with('/') && scl.local_path(resource).is_none();
    let origin = resource.split_once("://").filter(|_| elsewhere).map(|(scheme, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        format!("{scheme}://{authority}{reference}")
    });
    origin.map_or(Cow::Borrowed(reference), Cow::Owned)
}

fn is_right(found: &Representation) -> bool {
    found.resource_type == ResourceType::AccessRight
}

/// The collection whose named child an address is, by its form.
fn collection_of(uri: &str) -> Option<&str> {
    let mut segments = uri.trim().trim_end_matches('/').rsplit('/');
    let (_, collection) = (segments.next()?, segments.next()?);
    ["groups", "scls"].into_iter().find(|known| *known == collection)
}

/// An sclBase covers its SCL and the applications that are registered there.
fn covers(base: &str, entity: &str) -> bool {
    let Some(rest) = entity.strip_prefix(base) else { return false };
    rest.is_empty()
        || last_segment_after(rest, "/applications/").is_some_and(|_| rest.starts_with("/applications/"))
}

fn holder_refs(permission: &Struct) -> impl Iterator<Item = &str> {
    structs(permission, "permissionHolders")
        .flat_map(|holders| structs(holders, "holderRefs"))
        .flat_map(|refs| texts(refs, "holderRef"))
}

fn by_default(scl: &Scl, right: &DefaultRight, entity: &str) -> Result<(), Refusal> {
    let owner = right.owners.iter().any(|owner| canonical(scl, &owner.0) == entity);
    let announces = || right.announcer.as_ref().is_some_and(|base| covers(&canonical(scl, &base.0), entity));
    if owner || announces() { Ok(()) } else { Err(Refusal::not_found()) }
}

fn is_held_by(scl: &Scl, holders: &Struct, entity: &str) -> bool {
    let listed = |field: &str, id: Option<String>| match (holders.get(field), id) {
        (Some(Value::List(ids)), Some(id)) => ids.contains(&id),
        _ => false,
    };
    holders.get("all").is_some()
        || structs(holders, "holderRefs")
            .flat_map(|refs| texts(refs, "holderRef"))
            .any(|holder| covers(&canonical(scl, holder), entity))
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
        // A local entity has every name of this SCL; what is no URI at all has none.
        None => scl.local_path(entity).is_some() && scl.authorities.iter().any(|authority| within(authority)),
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
