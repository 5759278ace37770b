//! The way to a resource of another SCL: which registered scl its URI belongs to, and who is called for it
//! (procedures.md 13, 15.1).
//!
//! An scl is found by its `link`, its `pocs` and the contactURI of its m2mPocs, all of which are terms of the index: what a
//! search costs depends on the length of the URI, not on how many SCLs are registered.

use crate::{
    Path, Representation, ResourceType, TreeView, Value, channel,
    index::Term,
    key::{Key, Range},
    tree::Tree,
};
use std::ops::ControlFlow;

/// What one shard knows of the way to a URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// How many octets of the URI the scl's address covers: the longest is the right one.
    pub matched: u64,
    /// Who is called; `None`: the SCL has points of contact, but none is online.
    pub next: Option<Next>,
}

/// Who is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// An absolute URI at the point of contact.
    pub uri: String,
    /// The authority that the resource belongs to.
    pub host: String,
}

/// Addresses by which an scl is found: its own and its pocs, or of an m2mPoc its contact.
pub fn addresses(representation: &Representation) -> Vec<&str> {
    let mut found: Vec<&str> = match representation.resource_type {
        ResourceType::Scl => {
            let pocs = match representation.get("pocs") {
                Some(Value::List(pocs)) => pocs.as_slice(),
                _ => &[],
            };
            representation.text("link").into_iter().chain(pocs.iter().map(String::as_str)).collect()
        }
        ResourceType::M2mPoc => contact(representation).into_iter().collect(),
        _ => Vec::new(),
    };
    for address in &mut found {
        *address = address.trim_end_matches('/');
    }
    found
}

/// The way to `uri`, an absolute URI without a query or a path that begins with the id of an SCL; `None`: no scl of this
/// shard has it.
pub fn find<V: TreeView>(tree: &Tree<'_, V>, uri: &str) -> Result<Option<Route>, V::Error> {
    if let Some(path) = Path::parse(uri).filter(|_| uri.starts_with('/')) {
        let Some((id, below)) = path.segments().split_first() else { return Ok(None) };
        let scl = Path::scl_base().child("scls").child(id.as_str());
        let Some(link) = link(tree, &scl)? else { return Ok(None) };
        let target = format!("{link}{}", Path::from_segments(below.to_vec()));
        return Ok(next(tree, &scl, &target)?.map(|next| Route { matched: id.len() as u64, next }));
    }
    for prefix in prefixes(uri) {
        let (mut scl, mut corrupt) = (None, None);
        let range = Range::index(Term::Address(prefix), &Path::scl_base(), None);
        tree.view.scan(&range, false, &mut |key, _| {
            match Key::indexed_path(key) {
                Some(path) => {
                    scl = Some(Path::from_segments(path.segments().iter().take(2).cloned().collect()))
                }
                None => corrupt = Some(tree.view.corrupt(key)),
            }
            ControlFlow::Break(())
        })?;
        if let Some(corrupt) = corrupt {
            return Err(corrupt);
        }
        if let Some(scl) = scl
            && let Some(next) = next(tree, &scl, uri)?
        {
            return Ok(Some(Route { matched: prefix.len() as u64, next }));
        }
    }
    Ok(None)
}

/// Who is called for `target` at an scl: an online m2mPoc, else where there is none a poc, else the link itself. The outer
/// `None`: there is no such scl.
fn next<V: TreeView>(tree: &Tree<'_, V>, scl: &Path, target: &str) -> Result<Option<Option<Next>>, V::Error> {
    let Some(resource) = tree.resource(scl)? else { return Ok(None) };
    let pocs = tree.children(&scl.child("m2mPocs"))?;
    let online = pocs.iter().map(|poc| &poc.representation).find_map(|poc| {
        (poc.text("onlineStatus") == Some("ONLINE"))
            .then(|| contact(poc))
            .flatten()
            .filter(|uri| is_http(uri) && !is_polled(tree, uri))
    });
    let listed = match resource.representation.get("pocs") {
        Some(Value::List(listed)) => listed.iter().map(String::as_str).find(|uri| is_http(uri)),
        _ => None,
    };
    let called = match online {
        Some(online) => online,
        None if !pocs.is_empty() => return Ok(Some(None)),
        None => listed.or(resource.representation.text("link")).unwrap_or_default(),
    };
    let (Some((_, host, path)), Some((scheme, authority, _))) = (parts(target), parts(called)) else {
        return Ok(Some(None));
    };
    Ok(Some(Some(Next { uri: format!("{scheme}://{authority}{path}"), host: host.to_owned() })))
}

fn link<V: TreeView>(tree: &Tree<'_, V>, scl: &Path) -> Result<Option<String>, V::Error> {
    let resource = tree.resource(scl)?;
    let link = resource.as_ref().and_then(|scl| scl.representation.text("link"));
    Ok(link.map(|link| link.trim_end_matches('/').to_owned()))
}

fn contact(poc: &Representation) -> Option<&str> {
    let Some(Value::Struct(info)) = poc.get("contactInfo") else { return None };
    info.text("contactURI")
}

/// A channel of this SCL: who is behind it asks, and is not called.
fn is_polled<V: TreeView>(tree: &Tree<'_, V>, uri: &str) -> bool {
    tree.scl.local_path(uri).is_some_and(|path| channel::contacted_at(&path).is_some())
}

fn is_http(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

/// The URI itself and what it begins with, up to scheme and authority, the longest first.
fn prefixes(uri: &str) -> impl Iterator<Item = &str> {
    let uri = uri.trim_end_matches('/');
    let least = parts(uri).map_or(usize::MAX, |(scheme, authority, _)| scheme.len() + 3 + authority.len());
    let borders = uri.char_indices().rev().filter(|(_, c)| *c == '/').map(|(at, _)| at);
    std::iter::once(uri.len()).chain(borders).filter(move |end| *end >= least).map(|end| &uri[..end])
}

/// Scheme, authority and path of an absolute URI.
fn parts(uri: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    (!authority.is_empty()).then_some((scheme, authority, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{self, put, representation, text},
        index,
        memory::Memory,
        record::Record,
        value::Struct,
    };

    fn scl(memory: &mut Memory, id: &str, attributes: &[(&'static str, Value)]) {
        put(memory, &format!("scls/{id}"), ResourceType::Scl, attributes);
    }

    fn poc(memory: &mut Memory, scl: &str, id: &str, contact: &str, status: &str) {
        let info = Struct { name: "ContactInfo", fields: vec![("contactURI", text(contact))] };
        let attributes = [("contactInfo", Value::Struct(info)), ("onlineStatus", text(status))];
        put(memory, &format!("scls/{scl}/m2mPocs/{id}"), ResourceType::M2mPoc, &attributes);
    }

    /// Indexes what stands there, as `apply` does.
    fn indexed(mut memory: Memory) -> Memory {
        let entries: Vec<Key> = memory
            .records
            .values()
            .filter_map(|record| match record {
                Record::Resource(resource) => Some(index::of_resource(resource)),
                _ => None,
            })
            .flatten()
            .collect();
        memory.records.extend(entries.into_iter().map(|key| (key, Record::Pointer(0))));
        memory
    }

    #[track_caller]
    fn check(memory: &Memory, uri: &str, expected: &str) {
        let scl = fixture::scl();
        let found = find(&Tree::new(memory, &scl), uri).expect("memory reads");
        let said = match found {
            None => "unknown".to_owned(),
            Some(Route { next: None, .. }) => "unreachable".to_owned(),
            Some(Route { next: Some(Next { uri, host }), .. }) => format!("{uri} for {host}"),
        };
        assert_eq!(said, expected, "{uri}");
    }

    #[test]
    fn the_longest_address_wins_and_a_contact_is_called_for_the_resources_own_host() {
        let mut memory = Memory::default();
        scl(&mut memory, "a", &[("link", text("http://gw.example.org/m2m"))]);
        scl(&mut memory, "b", &[("link", text("http://gw.example.org/m2m/inner/"))]);
        poc(&mut memory, "b", "p", "http://10.0.0.2:9000", "ONLINE");
        let memory = indexed(memory);
        check(
            &memory,
            "http://gw.example.org/m2m/applications/x",
            "http://gw.example.org/m2m/applications/x for gw.example.org",
        );
        check(
            &memory,
            "http://gw.example.org/m2m/inner/x",
            "http://10.0.0.2:9000/m2m/inner/x for gw.example.org",
        );
        check(&memory, "http://10.0.0.2:9000/m2m/inner", "http://10.0.0.2:9000/m2m/inner for 10.0.0.2:9000");
        check(&memory, "http://gw.example.org/m2mother", "unknown");
        check(&memory, "http://other.example.org/m2m", "unknown");
        check(&memory, "/a/applications/x", "http://gw.example.org/m2m/applications/x for gw.example.org");
        check(&memory, "/nobody/applications/x", "unknown");
        check(&memory, "rubbish", "unknown");
    }

    #[test]
    fn an_scl_whose_contacts_are_all_away_is_unreachable_and_one_without_contacts_is_called_at_a_poc() {
        let mut memory = Memory::default();
        let pocs = ("pocs", Value::List(vec!["http://10.0.0.3:80".to_owned()]));
        scl(&mut memory, "a", &[("link", text("http://a.example.org/m2m")), pocs]);
        scl(&mut memory, "b", &[("link", text("http://b.example.org/m2m"))]);
        poc(&mut memory, "b", "p", "http://10.0.0.2:9000", "NOT_REACHABLE");
        scl(&mut memory, "c", &[("link", text("http://c.example.org/m2m"))]);
        let channel = "http://nscl.example.net/m2m/scls/c/communicationChannels/cc/contact";
        poc(&mut memory, "c", "p", channel, "ONLINE");
        let memory = indexed(memory);
        check(&memory, "http://c.example.org/m2m", "unreachable");
        check(&memory, "http://a.example.org/m2m", "http://10.0.0.3:80/m2m for a.example.org");
        check(&memory, "http://b.example.org/m2m", "unreachable");
        let shown = representation(ResourceType::Scl, &[]);
        assert!(addresses(&shown).is_empty());
    }
}
