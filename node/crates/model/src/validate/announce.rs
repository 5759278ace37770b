//! announceTo as it is stored (procedures.md 10.1, 10.2): what was asked for, or what the issuer's application or the
//! operator wants where nothing was, without the SCLs that are not registered here. Where nobody wants anything the
//! default of `assigned` says so.
//!
//! The SCLs and the issuer's application live in other subtrees, so whoever asks brings a lookup, which may end the
//! check to be repeated once the answer is there. Nothing of the request is changed before the end.

use super::{Policy, rules};
use crate::{
    Body, Method, Path, Refusal, Representation, RequestPrimitive, ResourceType, Scl, StatusCode, Value,
    admit::{Admission, Target},
    announce::{self, ANNOUNCE_TO, SCLS_MAX, Sought},
    entity::normal,
    route,
    value::Struct,
};
use std::sync::Arc;

/// Settles announceTo in a write of an announceable resource; leaves every other request alone. `lookup` gives what
/// is sought, wherever it lives; that there is none must be known for certain, for an SCL that is not registered is
/// dropped. The outer error is its.
///
/// # Errors
/// Those of `lookup`.
pub fn announcement<E>(
    scl: &Scl,
    policy: &Policy,
    request: &mut RequestPrimitive,
    admission: &mut Admission,
    lookup: impl FnMut(Sought<'_>) -> Result<Option<Arc<Representation>>, E>,
) -> Result<Result<(), Refusal>, E> {
    let mut settle = Settle { scl, lookup };
    if let Target::Attribute { path, attribute: ANNOUNCE_TO, rest, .. } = &mut admission.target
        && !rest.is_empty()
    {
        return settle.edited(request, path, rest);
    }
    let Some((written, sent)) = written(request, &admission.target) else { return Ok(Ok(())) };
    let settled = match sent {
        Some(Value::Struct(to)) if !announce::is_activated(to) => {
            let may = request.method == Method::Create || settle.is_stored(&admission.target, to)?;
            return Ok(if may { Ok(()) } else { Err(inactive()) });
        }
        Some(Value::Struct(to)) => match settle.asked(to)? {
            Ok(to) => Some(to),
            Err(refusal) => return Ok(Err(refusal)),
        },
        Some(_) => return Ok(Err(Refusal::attribute(ANNOUNCE_TO, "a value of another type was expected"))),
        None => settle.not_asked(policy, request, &admission.target, written)?,
    };
    if let Some(to) = settled {
        let to = Value::Struct(to);
        match &mut request.body {
            Body::Representation(representation) => representation.set(ANNOUNCE_TO, to),
            _ => put(request, to),
        }
    }
    Ok(Ok(()))
}

/// Has the request replace announceTo.
fn put(request: &mut RequestPrimitive, value: Value) {
    request.method = Method::Update;
    request.body = Body::Attribute { name: ANNOUNCE_TO.to_owned(), value };
}

fn inactive() -> Refusal {
    let why = format!("{ANNOUNCE_TO}: activated=FALSE is for a CREATE; an empty sclList ends announcements");
    Refusal::new(StatusCode::Forbidden, why)
}

/// The type that is written and the announceTo that was sent, if this is a write that says where to announce.
fn written<'a>(request: &'a RequestPrimitive, target: &Target) -> Option<(ResourceType, Option<&'a Value>)> {
    let of = |resource_type: ResourceType| resource_type.def().announceable.then_some(resource_type);
    match (request.method, target, &request.body) {
        (Method::Create, Target::Resource { .. }, Body::Representation(child)) => {
            Some((of(child.resource_type)?, child.get(ANNOUNCE_TO)))
        }
        (Method::Update, Target::Resource { resource_type, .. }, Body::Representation(whole)) => {
            (*resource_type == whole.resource_type).then_some(())?;
            Some((of(*resource_type)?, whole.get(ANNOUNCE_TO)))
        }
        (
            Method::Update,
            Target::Attribute { resource_type, attribute: ANNOUNCE_TO, rest, .. },
            Body::Attribute { name, value },
        ) if name == ANNOUNCE_TO && rest.is_empty() => Some((of(*resource_type)?, Some(value))),
        (Method::Delete, Target::Attribute { resource_type, attribute: ANNOUNCE_TO, rest, .. }, _)
            if rest.is_empty() =>
        {
            Some((of(*resource_type)?, None))
        }
        _ => None,
    }
}

struct Settle<'a, L> {
    scl: &'a Scl,
    lookup: L,
}

impl<E, L: FnMut(Sought<'_>) -> Result<Option<Arc<Representation>>, E>> Settle<'_, L> {
    /// 10.1: as it was sent, with the registered SCLs only, each once, by their address.
    fn asked(&mut self, to: &Struct) -> Result<Result<Struct, Refusal>, E> {
        if !matches!(to.get("sclList"), Some(Value::List(_))) {
            return Ok(Err(Refusal::attribute(ANNOUNCE_TO, "sclList is missing")));
        }
        let known = match self.known(announce::scls(to))? {
            Ok(known) => known,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let kept = to.fields.iter().filter(|(name, _)| *name != "sclList").cloned();
        let mut fields: Vec<_> = kept.collect();
        let at = fields.iter().position(|(name, _)| *name == "global").unwrap_or(fields.len());
        fields.insert(at, ("sclList", Value::List(known)));
        Ok(Ok(Struct { name: to.name, fields }))
    }

    /// The registered SCLs among those that were named.
    fn known<'u>(&mut self, uris: impl Iterator<Item = &'u str>) -> Result<Result<Vec<String>, Refusal>, E> {
        let mut known = Vec::new();
        for (count, uri) in uris.map(str::trim).enumerate() {
            if count >= SCLS_MAX {
                return Ok(Err(too_many()));
            }
            if !rules::is_absolute(uri) && !rules::is_local(self.scl, uri) {
                let why = format_args!("{uri} in sclList is neither an absolute URI nor a path of this SCL");
                return Ok(Err(Refusal::attribute(ANNOUNCE_TO, why)));
            }
            if let Some(address) = self.registered(uri)?
                && !known.contains(&address)
            {
                known.push(address);
            }
        }
        Ok(Ok(known))
    }

    /// Whether what is not to be announced is stored just so: who sends back what was read changes nothing.
    fn is_stored(&mut self, target: &Target, to: &Struct) -> Result<bool, E> {
        let (Target::Resource { path, .. } | Target::Attribute { path, .. }) = target else {
            return Ok(false);
        };
        let stored = (self.lookup)(Sought::At(path))?;
        let Some(Value::Struct(stored)) = stored.as_deref().and_then(|stored| stored.get(ANNOUNCE_TO)) else {
            return Ok(false);
        };
        let listed = |to| announce::scls(to).map(|uri| self.scl.normalise(uri)).collect::<Vec<_>>();
        let is_global = |to: &Struct| to.get("global") == Some(&Value::Bool(true));
        Ok(!announce::is_activated(stored)
            && listed(stored) == listed(to)
            && is_global(stored) == is_global(to))
    }

    /// Partial addressing below announceTo (procedures.md 6) keeps to the rules of the whole. An SCL that is added must be
    /// registered: dropped, it would not be added at all. Edits stay edits, so that those of different entries that are
    /// made at the same time all survive; only what activates a list settles all of it.
    fn edited(
        &mut self,
        request: &mut RequestPrimitive,
        path: &Path,
        rest: &mut Vec<String>,
    ) -> Result<Result<(), Refusal>, E> {
        let stored = (self.lookup)(Sought::At(path))?;
        let Some(Value::Struct(before)) = stored.as_deref().and_then(|stored| stored.get(ANNOUNCE_TO)) else {
            return Ok(Ok(()));
        };
        let is_active = announce::is_activated(before);
        let field = rest.first().map_or("", String::as_str);
        match (request.method, field, &mut request.body) {
            (Method::Retrieve, ..) => {}
            (Method::Update, "activated", Body::Attribute { value: Value::Bool(false), .. }) => {
                return Ok(if is_active { Err(inactive()) } else { Ok(()) });
            }
            (Method::Update | Method::Delete, "activated", _) if !is_active && rest.len() == 1 => {
                let mut whole = before.clone();
                whole.fields.retain(|(name, _)| *name != "activated");
                if request.method == Method::Update {
                    whole.fields.insert(0, ("activated", Value::Bool(true)));
                }
                match self.asked(&whole)? {
                    Ok(to) => put(request, Value::Struct(to)),
                    Err(refusal) => return Ok(Err(refusal)),
                }
                rest.clear();
            }
            _ if !is_active => return Ok(Err(inactive())),
            (Method::Create, "sclList", Body::Attribute { value: Value::Text(uri), .. }) => {
                if announce::scls(before).count() >= SCLS_MAX {
                    return Ok(Err(too_many()));
                }
                match self.known([uri.as_str()].into_iter())?.map(|mut known| known.pop()) {
                    Ok(Some(address)) => *uri = address,
                    Ok(None) => {
                        let why = format_args!("{uri} is no SCL that is registered here");
                        return Ok(Err(Refusal::attribute(ANNOUNCE_TO, why)));
                    }
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            (Method::Update, "sclList", Body::Attribute { value: Value::List(scls), .. }) => {
                match self.known(scls.iter().map(String::as_str))? {
                    Ok(known) => *scls = known,
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            (Method::Delete, "sclList", _) => {
                if let Some(entry) = rest.get_mut(1)
                    && !announce::scls(before).any(|known| known == entry)
                    && let Some(address) = self.address(entry)?
                {
                    *entry = address;
                }
            }
            _ => {}
        }
        Ok(Ok(()))
    }

    /// 10.2: the default of the issuer's application, else the operator's.
    fn not_asked(
        &mut self,
        policy: &Policy,
        request: &RequestPrimitive,
        target: &Target,
        written: ResourceType,
    ) -> Result<Option<Struct>, E> {
        let issuer = self.scl.local_path(&request.requesting_entity.0).filter(
            |issuer| matches!(issuer.segments(), [applications, _] if applications == "applications"),
        );
        let Some(issuer) = issuer else { return Ok(None) };
        let own = match target {
            Target::Resource { path, .. } | Target::Attribute { path, .. } => *path == issuer,
            _ => false,
        };
        // Who registers is no application here yet, but becomes one; its own announceTo is no default for itself.
        let registers = request.method == Method::Create && written == ResourceType::Application;
        if !own && !registers {
            let Some(application) = (self.lookup)(Sought::At(&issuer))? else { return Ok(None) };
            if let Some(Value::Struct(to)) = application.get(ANNOUNCE_TO)
                && to.get("global") == Some(&Value::Bool(true))
            {
                return Ok(Some(match announce::is_activated(to) {
                    false => announce_to(Some(false), Vec::new()),
                    true => announce_to(None, self.registered_of(to)?),
                }));
            }
        }
        if !policy.announce_all {
            return Ok(None);
        }
        let all = (self.lookup)(Sought::Registered)?;
        let all = all.iter().flat_map(|all| announce::registered_in(all)).take(SCLS_MAX);
        let all = all.map(|known| self.scl.address(&announce::scl_path(&known.id))).collect();
        Ok(Some(announce_to(Some(true), all)))
    }

    fn registered_of(&mut self, to: &Struct) -> Result<Vec<String>, E> {
        let mut known = Vec::new();
        for uri in announce::scls(to) {
            known.extend(self.registered(uri)?);
        }
        Ok(known)
    }

    /// The address of the SCL that a URI names, though it may not be registered any more.
    fn address(&mut self, uri: &str) -> Result<Option<String>, E> {
        match announce::scl_id(self.scl, uri) {
            Some(id) => Ok(Some(self.scl.address(&announce::scl_path(&id)))),
            None => self.registered(uri),
        }
    }

    /// The address of the registered SCL that a URI names: its scl resource here, or the sclBase that this links to.
    fn registered(&mut self, uri: &str) -> Result<Option<String>, E> {
        if let Some(id) = announce::scl_id(self.scl, uri) {
            let path = announce::scl_path(&id);
            let found = (self.lookup)(Sought::At(&path))?;
            let is_scl = |found: Arc<Representation>| found.resource_type == ResourceType::Scl;
            return Ok(found.is_some_and(is_scl).then(|| self.scl.address(&path)));
        }
        if !rules::is_absolute(uri) {
            return Ok(None);
        }
        let uri = normal(uri);
        let Some(found) = (self.lookup)(Sought::Linked(&uri))? else { return Ok(None) };
        let first = route::first(announce::registered_in(&found), |path| (self.lookup)(Sought::At(path)))?;
        Ok(first.map(|id| self.scl.address(&announce::scl_path(&id))))
    }
}

fn too_many() -> Refusal {
    Refusal::attribute(ANNOUNCE_TO, format_args!("more than {SCLS_MAX} SCLs in sclList"))
}

fn announce_to(activated: Option<bool>, scls: Vec<String>) -> Struct {
    let activated = activated.map(|activated| ("activated", Value::Bool(activated)));
    let fields = activated.into_iter().chain([("sclList", Value::List(scls))]).collect();
    Struct { name: "AnnounceTo", fields }
}

#[cfg(test)]
mod tests;
