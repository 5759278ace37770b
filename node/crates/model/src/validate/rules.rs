//! Rules of single types that no table has.

use super::{Policy, quota};
use crate::{
    Refusal, Representation, ResourceType, Scl, Value, group,
    value::{Content, ContentForm, Struct},
};

/// Of any representation that is to be stored: what was sent (the RW attributes of an UPDATE), or the whole.
pub(super) fn check(scl: &Scl, policy: &Policy, representation: &Representation) -> Result<(), Refusal> {
    quota::lists(policy, representation)?;
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
        ResourceType::Application => match representation.get("aPoCPaths") {
            Some(Value::Struct(paths)) => apoc_paths(paths),
            _ => Ok(()),
        },
        of if of.is_container() => match representation.get("maxInstanceAge") {
            Some(Value::Duration(age)) if age.negative => {
                Err(Refusal::attribute("maxInstanceAge", "is negative"))
            }
            _ => Ok(()),
        },
        ResourceType::Subscription => subscription(scl, representation),
        ResourceType::Group => {
            group::check_count(group::members(representation).len(), representation.long("maxNrOfMembers"))
        }
        _ => Ok(()),
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
    let scheme = uri.split(':').next().unwrap_or_default();
    match CARRIED.iter().any(|carried| carried.eq_ignore_ascii_case(scheme)) {
        true => Ok(()),
        false => Err(Refusal::attribute(attribute, format_args!("nothing is sent by {scheme}"))),
    }
}

/// The schemes of the bindings that this SCL speaks.
const CARRIED: [&str; 2] = ["http", "https"];

/// A path may stand once, and must not hide a child or an attribute of the application.
fn apoc_paths(paths: &Struct) -> Result<(), Refusal> {
    let mut seen: Vec<&str> = Vec::new();
    for entry in paths.all("aPoCPath") {
        let Value::Struct(entry) = entry else { continue };
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
