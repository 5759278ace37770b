//! Rules of single types that no table has.

use super::{Policy, quota};
use crate::{
    Path, Refusal, Representation, ResourceType, Scl, Value, group, partial, route,
    tables::{FieldDef, struct_def},
    value::{Content, ContentForm, Struct},
};

/// Of any representation that is to be stored: what was sent (the RW attributes of an UPDATE), or the whole.
pub(super) fn check(scl: &Scl, policy: &Policy, representation: &Representation) -> Result<(), Refusal> {
    quota::lists(policy, representation)?;
    entries(representation)?;
    for name in ["accessRightID", "membersContentAccessRightID"] {
        if let Some(uri) = representation.text(name) {
            access_right(scl, name, uri)?;
        }
    }
    match representation.resource_type {
        ResourceType::Scl => match representation.text("link") {
            Some(link) if !is_absolute(link) => Err(Refusal::attribute("link", "is not an absolute URI")),
            _ => Ok(()),
        },
        // It points, and a reader of any SCL follows it.
        announcement if announcement.is_announcement() => match representation.text("link") {
            Some(link) if !is_absolute(link) => Err(Refusal::attribute("link", "is not an absolute URI")),
            _ => Ok(()),
        },
        ResourceType::Application => {
            if let Some(base) = representation.text("aPoC") {
                carried("aPoC", base)?;
            }
            match representation.get("aPoCPaths") {
                Some(Value::Struct(paths)) => apoc_paths(scl, paths),
                _ => Ok(()),
            }
        }
        // What is said in another way than by a URI only its reader understands.
        ResourceType::M2mPoc => match route::contact(representation) {
            Some(uri) => reachable(scl, "contactURI", uri),
            None => Ok(()),
        },
        ResourceType::Subscription => subscription(scl, representation),
        ResourceType::Group => {
            group::check_count(group::members(representation).len(), representation.long("maxNrOfMembers"))
        }
        _ => Ok(()),
    }
}

/// An entry is addressed by its value or its id: without one its address would be that of the list.
pub(super) fn entries(representation: &Representation) -> Result<(), Refusal> {
    let is_nameless = |(name, value): &(&'static str, Value)| {
        let attribute = representation.resource_type.attribute(name);
        attribute.is_some_and(|attribute| has_nameless(&attribute.field, value))
    };
    match representation.attributes.iter().find(|attribute| is_nameless(attribute)) {
        Some((name, _)) => Err(Refusal::attribute(name, "has an empty entry")),
        None => Ok(()),
    }
}

fn has_nameless(field: &'static FieldDef, value: &Value) -> bool {
    match value {
        Value::List(entries) => entries.iter().any(String::is_empty),
        Value::Struct(inner) => {
            let is_list = partial::entry(field).is_some();
            let fields = struct_def(inner.name).map_or(&[][..], |def| def.fields);
            inner.fields.iter().any(|(name, value)| {
                // A path of nothing but its slash is one.
                let is_nameless = match value {
                    Value::Text(text) => text.is_empty(),
                    Value::Struct(entry) => {
                        entry.get("id").is_some_and(|id| *id == Value::Text(String::new()))
                    }
                    _ => false,
                };
                let below = fields.iter().find(|field| field.name == *name);
                (is_list && is_nameless) || below.is_some_and(|field| has_nameless(field, value))
            })
        }
        _ => false,
    }
}

/// Whoever creates an instance says what its content is; text that is not said to be anything else is plain
/// (resources.md 3.10).
pub(super) fn media_type(instance: &mut Representation) -> Result<(), Refusal> {
    let content = instance.attributes.iter_mut().find_map(|(_, value)| match value {
        Value::Content(content) => Some(content),
        _ => None,
    });
    let Some(content) = content else { return Ok(()) };
    if content.content_type.as_deref().is_some_and(|said| !said.trim().is_empty()) {
        return Ok(());
    }
    match content.form {
        ContentForm::Text => content.content_type = Some("text/plain".to_owned()),
        ContentForm::Binary => {
            return Err(Refusal::attribute("contentType", "is missing beside content that is not text"));
        }
    }
    Ok(())
}

/// The content of a new instance: within the limits; its media type becomes contentTypes where these are left out.
pub(super) fn content(
    policy: &Policy,
    container: Option<&Representation>,
    instance: &mut Representation,
) -> Result<(), Refusal> {
    let Some(Value::Content(Content { content_type, bytes, .. })) = instance.get("content") else {
        return Err(Refusal::attribute("content", "is missing"));
    };
    let size = bytes.len() as u64;
    let of_container = container.and_then(|container| container.long("maxByteSize"));
    let of_container = of_container.and_then(|bytes| u64::try_from(bytes).ok());
    for (limit, whose) in [(policy.content_bytes_max, "this SCL"), (of_container.unwrap_or(0), "maxByteSize")]
    {
        if limit > 0 && size > limit {
            let why = format_args!("{size} octets, {whose} allows {limit}");
            return Err(Refusal::attribute("content", why));
        }
    }
    let content_types = content_type.clone().map(|content_type| Value::List(vec![content_type]));
    if let (None, Some(content_types)) = (instance.get("contentTypes"), content_types) {
        instance.set("contentTypes", content_types);
    }
    if instance.get("searchStrings").is_none() {
        instance.set("searchStrings", Value::List(Vec::new()));
    }
    Ok(())
}

fn subscription(scl: &Scl, representation: &Representation) -> Result<(), Refusal> {
    for name in ["contact", "aggregateURI"] {
        match representation.text(name) {
            // An empty aggregateURI means the contact.
            None => {}
            Some("") if name == "aggregateURI" => {}
            Some(uri) => reachable(scl, name, uri)?,
        }
    }
    // Empty: the aggregate goes to contact.
    let aggregate = representation.text("aggregateURI").filter(|uri| !uri.is_empty());
    if aggregate.is_some_and(|uri| !is_absolute(uri) && !is_local(scl, uri)) {
        let why = "is neither empty nor an absolute URI nor a path of this SCL";
        return Err(Refusal::attribute("aggregateURI", why));
    }
    let minimal = representation.get("minimalTimeBetweenNotifications");
    if minimal.is_some() && representation.get("delayTolerance").is_some() {
        let why = "excludes minimalTimeBetweenNotifications";
        return Err(Refusal::attribute("delayTolerance", why));
    }
    match minimal {
        Some(Value::Long(ms)) if *ms < 0 => {
            Err(Refusal::attribute("minimalTimeBetweenNotifications", "is negative"))
        }
        _ => Ok(()),
    }
}

/// What this SCL can notify: a resource of its own, or what the bindings carry to.
fn reachable(scl: &Scl, attribute: &str, uri: &str) -> Result<(), Refusal> {
    if is_local(scl, uri) {
        return Ok(());
    }
    if !is_absolute(uri) {
        return Err(Refusal::attribute(attribute, "is neither an absolute URI nor a path of this SCL"));
    }
    carried(attribute, uri)
}

/// An absolute URI that a binding carries to.
fn carried(attribute: &str, uri: &str) -> Result<(), Refusal> {
    if !is_absolute(uri) || uri.contains(char::is_whitespace) {
        return Err(Refusal::attribute(attribute, "is not an absolute URI"));
    }
    let scheme = uri.split(':').next().unwrap_or_default();
    match CARRIED.iter().any(|carried| carried.eq_ignore_ascii_case(scheme)) {
        true => Ok(()),
        false => Err(Refusal::attribute(attribute, format_args!("nothing is sent by {scheme}"))),
    }
}

/// What is of this SCL can be an accessRight only where accessRights are; whether there is one is found out when it is
/// used (procedures.md 4.1).
fn access_right(scl: &Scl, attribute: &str, uri: &str) -> Result<(), Refusal> {
    let path = scl.local_path(uri);
    let above = path.as_ref().map(|path| path.segments().iter().rev().nth(1));
    match above {
        Some(above) if above.map(String::as_str) != Some("accessRights") => {
            Err(Refusal::attribute(attribute, format_args!("{uri} is no accessRight")))
        }
        _ => Ok(()),
    }
}

/// The schemes of the bindings that this SCL speaks.
const CARRIED: [&str; 2] = ["http", "https"];

/// A notify that is stored in what it tells of would cause the next one.
pub(super) fn no_echo(scl: &Scl, subscriptions: &Path, subscription: &Representation) -> Result<(), Refusal> {
    let contact = subscription.text("contact").and_then(|contact| scl.local_path(contact));
    if contact.is_some() && contact == subscriptions.parent() {
        let why = "is what is subscribed to: each notify would cause the next";
        return Err(Refusal::attribute("contact", why));
    }
    Ok(())
}

/// filterCriteria of a subscription to something of this type.
pub(super) fn criteria(watched: Option<ResourceType>, subscription: &Representation) -> Result<(), Refusal> {
    let Some(Value::Struct(criteria)) = subscription.get("filterCriteria") else { return Ok(()) };
    if watched == Some(ResourceType::ContentInstances) {
        return Ok(());
    }
    let of_instances = ["sizeFrom", "sizeUntil", "contentType", "metaDataOnly"];
    match of_instances.into_iter().find(|name| criteria.get(name).is_some()) {
        Some(name) => Err(Refusal::attribute(name, "is a criterion of contentInstances")),
        None => Ok(()),
    }
}

/// A path may stand once, and must not hide a child or an attribute of the application.
fn apoc_paths(scl: &Scl, paths: &Struct) -> Result<(), Refusal> {
    let mut seen: Vec<&str> = Vec::new();
    for entry in paths.all("aPoCPath") {
        let Value::Struct(entry) = entry else { continue };
        if let Some(uri) = entry.text("accessRightID") {
            access_right(scl, "accessRightID", uri)?;
        }
        let Some(path) = entry.text("path") else { continue };
        let path = path.strip_prefix('/').unwrap_or(path);
        let first = path.split('/').next().unwrap_or_default();
        let application = ResourceType::Application;
        let taken = application.attribute(first).is_some()
            || application.def().children.iter().any(|child| child.segment == first);
        if taken {
            return Err(Refusal::attribute("aPoCPaths", format_args!("{first} is reserved")));
        }
        if seen.contains(&path) {
            return Err(Refusal::attribute("aPoCPaths", format_args!("{path} stands twice")));
        }
        seen.push(path);
    }
    Ok(())
}

pub(super) fn is_local(scl: &Scl, uri: &str) -> bool {
    uri.starts_with('/') && scl.local_path(uri).is_some()
}

/// `scheme://authority`.
pub(crate) fn is_absolute(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && !rest.starts_with('/')
}
