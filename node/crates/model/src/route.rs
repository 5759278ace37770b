//! The way to a resource of another SCL: which registered scl its URI belongs to, and who is called for it
//! (procedures.md 13, 15.1).
//!
//! An scl is found by its `link`, its `pocs` and the contactURI of its m2mPocs, all of which are terms of the index in
//! their normal form: what a search costs depends on the length of the URI, not on how many SCLs are registered.
//!
//! Invariant: who registers later takes nothing over. A link at, below or above that of another SCL is refused before the
//! log (`validate::registration`); where two shards took two of them at the same moment, the one that was created first
//! has the resources and the rights, then the first by name. A link comes before every point of contact.

use crate::{
    Path, Representation, ResourceType, Timestamp, TreeView, Value,
    announce::scl_path,
    channel,
    entity::normal,
    index::Term,
    key::{Key, Range},
    tree::Tree,
    value::NamedReference,
};
use std::{cmp::Ordering, ops::ControlFlow, sync::Arc};

/// How many SCLs may share an address before the others are not looked at.
const SHARED_MAX: usize = 100;

/// What one shard knows of the way to a URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Why the URI is taken for this SCL's.
    pub claim: Claim,
    /// Who is called; `None`: the SCL has points of contact, but none is online.
    pub next: Option<Next>,
}

/// Why a URI is taken for an SCL's; the greatest of all shards is the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// By its `link`, not by a point of contact.
    pub by_link: bool,
    /// How many octets of the URI the address covers.
    pub matched: u64,
    /// When the scl was created.
    pub since: Timestamp,
    /// Its id.
    pub scl: String,
}

impl Ord for Claim {
    fn cmp(&self, other: &Claim) -> Ordering {
        let older = || other.since.cmp(&self.since).then_with(|| other.scl.cmp(&self.scl));
        let longer = || self.matched.cmp(&other.matched);
        self.by_link.cmp(&other.by_link).then_with(|| match self.by_link {
            true => older().then_with(longer),
            false => longer().then_with(older),
        })
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Claim) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Who is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// An absolute URI at the point of contact; of the resource itself where a channel leads to it.
    pub uri: String,
    /// The communicationChannel by which the request travels: the SCL polls and is not called.
    pub channel: Option<Path>,
    /// The authority that the resource belongs to.
    pub host: String,
}

/// What an scl is found by, or an m2mPoc of it.
pub(crate) fn index(representation: &Representation, mut put: impl FnMut(Term<'_>)) {
    match representation.resource_type {
        ResourceType::Scl => {
            if let Some(link) = representation.text("link") {
                let link = normal(link);
                put(Term::Link(&link));
                prefixes(&link).skip(1).for_each(|above| put(Term::Within(above)));
            }
            if let Some(Value::List(pocs)) = representation.get("pocs") {
                pocs.iter().for_each(|poc| put(Term::Address(&normal(poc))));
            }
        }
        ResourceType::M2mPoc => {
            if let Some(contact) = contact(representation) {
                put(Term::Address(&normal(contact)));
            }
        }
        _ => {}
    }
}

/// The id of the SCL that `uri` begins with, if it is a path: only the shard of that scl knows the way.
pub fn id(uri: &str) -> Option<String> {
    named(uri)?.segments().first().cloned()
}

fn named(uri: &str) -> Option<Path> {
    Path::parse(uri).filter(|_| uri.starts_with('/'))
}

/// The way to `uri`, an absolute URI without a query or a path that begins with the id of an SCL that lives in this shard;
/// `None`: no scl of this shard has it.
pub fn find<V: TreeView>(tree: &Tree<'_, V>, uri: &str) -> Result<Option<Route>, V::Error> {
    if let Some(path) = named(uri) {
        let Some((id, below)) = path.segments().split_first() else { return Ok(None) };
        let scl = scl_path(id);
        let Some(link) = link(tree, &scl)? else { return Ok(None) };
        let target = format!("{link}{}", Path::from_segments(below.to_vec()));
        let Some(claim) = claim(tree, &scl, true, id)? else { return Ok(None) };
        return Ok(next(tree, &scl, &target)?.map(|next| Route { claim, next }));
    }
    let uri = normal(uri);
    let mut best: Option<(Claim, Path)> = None;
    for by_link in [true, false] {
        for prefix in prefixes(&uri) {
            let term = if by_link { Term::Link(prefix) } else { Term::Address(prefix) };
            for scl in scls(tree, term, SHARED_MAX)? {
                let Some(claim) = claim(tree, &scl, by_link, prefix)? else { continue };
                if best.as_ref().is_none_or(|(known, _)| claim > *known) {
                    best = Some((claim, scl));
                }
            }
        }
        if best.is_some() {
            break;
        }
    }
    let Some((claim, scl)) = best else { return Ok(None) };
    Ok(next(tree, &scl, &uri)?.map(|next| Route { claim, next }))
}

/// The way to `uri`, which no registered scl has, by one that is registered: a GSCL leaves the rest of the world to its NSCL
/// (procedures.md 13, 6). `None`: that scl is not registered either. Its claim gives way to any other.
pub fn by_way_of<V: TreeView>(tree: &Tree<'_, V>, scl: &str, uri: &str) -> Result<Option<Route>, V::Error> {
    let path = scl_path(scl);
    let Some(link) = link(tree, &path)? else { return Ok(None) };
    let target = match (named(uri), parts(&link)) {
        (Some(named), Some((scheme, authority, _))) => format!("{scheme}://{authority}{named}"),
        _ => normal(uri).into_owned(),
    };
    let Some(next) = next(tree, &path, &target)? else { return Ok(None) };
    let claim = Claim { by_link: false, matched: 1, since: Timestamp::default(), scl: scl.to_owned() };
    Ok(Some(Route { claim, next }))
}

/// The SCLs of this shard that are registered with this `link`, each with its id, at most `max`.
pub fn linked<V: TreeView>(
    tree: &Tree<'_, V>,
    uri: &str,
    max: usize,
) -> Result<Vec<NamedReference>, V::Error> {
    let uri = normal(uri);
    let mut found = registered(tree, Term::Link(&uri), max)?;
    // What only shares the hash of the term is not it.
    found.retain(|scl| scl.uri == uri);
    Ok(found)
}

/// The SCLs of this shard whose `link` is this URI or stands above or below it, at most `max` of each.
pub fn overlapping<V: TreeView>(
    tree: &Tree<'_, V>,
    uri: &str,
    max: usize,
) -> Result<Vec<NamedReference>, V::Error> {
    let uri = normal(uri);
    let mut found = registered(tree, Term::Within(&uri), max)?;
    for prefix in prefixes(&uri) {
        found.extend(registered(tree, Term::Link(prefix), max)?);
    }
    found.retain(|scl| is_at_or_below(&scl.uri, &uri) || is_at_or_below(&uri, &scl.uri));
    Ok(found)
}

/// Whether a URI is another one or stands below it, both in their normal form.
pub fn is_at_or_below(uri: &str, above: &str) -> bool {
    uri.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Which of SCLs with the same `link` has what it stands for: the one that was created first. `look_up` gives the scl at
/// a path, wherever it lives; it is not asked where there is but one.
///
/// # Errors
/// Those of `look_up`.
pub fn first<E>(
    scls: &[NamedReference],
    mut look_up: impl FnMut(&Path) -> Result<Option<Arc<Representation>>, E>,
) -> Result<Option<String>, E> {
    if let [only] = scls {
        return Ok(Some(only.id.clone()));
    }
    let mut first: Option<(Timestamp, &String)> = None;
    for scl in scls {
        let found = look_up(&scl_path(&scl.id))?;
        let Some(since) = found.and_then(|found| found.datetime("creationTime")) else { continue };
        if first.is_none_or(|first| (since, &scl.id) < first) {
            first = Some((since, &scl.id));
        }
    }
    Ok(first.map(|(_, id)| id.clone()))
}

/// The scls at or below which something has a term.
fn scls<V: TreeView>(tree: &Tree<'_, V>, term: Term<'_>, max: usize) -> Result<Vec<Path>, V::Error> {
    let (mut scls, mut corrupt) = (Vec::new(), None);
    let range = Range::index(term, &Path::scl_base(), None);
    tree.view.scan(&range, false, &mut |key, _| {
        match Key::indexed_path(key) {
            Some(path) => scls.push(Path::from_segments(path.segments().iter().take(2).cloned().collect())),
            None => corrupt = Some(tree.view.corrupt(key)),
        }
        if corrupt.is_some() || scls.len() >= max {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    match corrupt {
        Some(corrupt) => Err(corrupt),
        None => Ok(scls),
    }
}

fn registered<V: TreeView>(
    tree: &Tree<'_, V>,
    term: Term<'_>,
    max: usize,
) -> Result<Vec<NamedReference>, V::Error> {
    let mut found = Vec::new();
    for path in scls(tree, term, max)? {
        if let Some(id) = path.name()
            && let Some(uri) = link(tree, &path)?
        {
            found.push(NamedReference { id: id.to_owned(), uri });
        }
    }
    Ok(found)
}

fn claim<V: TreeView>(
    tree: &Tree<'_, V>,
    scl: &Path,
    by_link: bool,
    matched: &str,
) -> Result<Option<Claim>, V::Error> {
    let Some(resource) = tree.resource(scl)? else { return Ok(None) };
    Ok(Some(Claim {
        by_link,
        matched: matched.len() as u64,
        since: resource.representation.datetime("creationTime").unwrap_or_default(),
        scl: scl.name().unwrap_or_default().to_owned(),
    }))
}

/// Who is called for `target` at an scl: an online m2mPoc, else where there is none a poc, else the link itself. The outer
/// `None`: there is no such scl.
fn next<V: TreeView>(tree: &Tree<'_, V>, scl: &Path, target: &str) -> Result<Option<Option<Next>>, V::Error> {
    let Some(resource) = tree.resource(scl)? else { return Ok(None) };
    let pocs = tree.children(&scl.child("m2mPocs"))?;
    let contacts: Vec<&str> = pocs
        .iter()
        .map(|poc| &poc.representation)
        .filter(|poc| poc.text("onlineStatus") == Some("ONLINE"))
        .filter_map(contact)
        .collect();
    if let Some(channel) = contacts.iter().find_map(|contact| channel_of(tree, scl, contact)) {
        let host = parts(target).map(|(_, host, _)| host.to_owned()).unwrap_or_default();
        return Ok(Some(Some(Next { uri: target.to_owned(), channel: Some(channel), host })));
    }
    let online = contacts.into_iter().find(|uri| is_http(uri) && !is_polled(tree, uri));
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
    Ok(Some(Some(Next {
        uri: format!("{scheme}://{authority}{path}"),
        channel: None,
        host: host.to_owned(),
    })))
}

/// The scl's own communicationChannel whose contact this is.
fn channel_of<V: TreeView>(tree: &Tree<'_, V>, scl: &Path, contact: &str) -> Option<Path> {
    let channel = channel::contacted_at(&tree.scl.local_path(contact)?)?;
    (channel::carries_requests(&channel) && channel.is_below_or_at(scl)).then_some(channel)
}

fn link<V: TreeView>(tree: &Tree<'_, V>, scl: &Path) -> Result<Option<String>, V::Error> {
    let resource = tree.resource(scl)?;
    let link = resource.as_ref().and_then(|scl| scl.representation.text("link"));
    Ok(link.map(|link| normal(link).into_owned()))
}

/// Whether a request can be sent to the contactURI of an m2mPoc; one that says it in another way is believed.
pub(crate) fn is_usable(poc: &Representation) -> bool {
    contact(poc).is_none_or(|uri| is_http(uri) || uri.starts_with('/'))
}

pub(crate) fn contact(poc: &Representation) -> Option<&str> {
    let Some(Value::Struct(info)) = poc.get("contactInfo") else { return None };
    info.text("contactURI")
}

/// A channel of this SCL: who is behind it asks, and is not called.
fn is_polled<V: TreeView>(tree: &Tree<'_, V>, uri: &str) -> bool {
    tree.scl.local_path(uri).is_some_and(|path| channel::contacted_at(&path).is_some())
}

fn is_http(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(scheme, _)| {
        ["http", "https"].iter().any(|carried| carried.eq_ignore_ascii_case(scheme))
    })
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
        fixture::{self, put, text},
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
            Some(Route { next: Some(Next { uri, channel: Some(channel), .. }), .. }) => {
                format!("{uri} by {channel}")
            }
            Some(Route { next: Some(Next { uri, host, channel: None }), .. }) => format!("{uri} for {host}"),
        };
        assert_eq!(said, expected, "{uri}");
    }

    #[test]
    fn a_contact_is_called_for_the_resources_own_host() {
        let mut memory = Memory::default();
        scl(&mut memory, "a", &[("link", text("http://gw.example.org/m2m"))]);
        scl(&mut memory, "b", &[("link", text("HTTP://B.example.org:80/m2m/"))]);
        poc(&mut memory, "b", "p", "http://10.0.0.2:9000", "ONLINE");
        let memory = indexed(memory);
        check(
            &memory,
            "http://GW.example.org:80/m2m/applications/x",
            "http://gw.example.org/m2m/applications/x for gw.example.org",
        );
        check(&memory, "http://b.example.org/m2m/x", "http://10.0.0.2:9000/m2m/x for b.example.org");
        check(&memory, "http://10.0.0.2:9000/m2m/inner", "http://10.0.0.2:9000/m2m/inner for 10.0.0.2:9000");
        check(&memory, "http://gw.example.org/m2mother", "unknown");
        check(&memory, "http://other.example.org/m2m", "unknown");
        check(&memory, "/a/applications/x", "http://gw.example.org/m2m/applications/x for gw.example.org");
        check(&memory, "/nobody/applications/x", "unknown");
        check(&memory, "rubbish", "unknown");
    }

    #[test]
    fn the_rest_of_the_world_is_behind_the_scl_that_has_it() {
        let mut memory = Memory::default();
        scl(&mut memory, "nscl", &[("link", text("https://nscl.example.org/m2m"))]);
        let (memory, own) = (indexed(memory), fixture::scl());
        let by = |scl: &str, uri: &str| {
            let route = by_way_of(&Tree::new(&memory, &own), scl, uri).expect("memory reads");
            route.and_then(|route| route.next).map(|next| format!("{} for {}", next.uri, next.host))
        };
        for (uri, expected) in [
            ("http://GW.example.org:80/m2m/x", "https://nscl.example.org/m2m/x for gw.example.org"),
            ("/gw/applications/x", "https://nscl.example.org/gw/applications/x for nscl.example.org"),
        ] {
            assert_eq!(by("nscl", uri).as_deref(), Some(expected));
        }
        assert_eq!(by("other", "/gw/applications/x"), None, "it is not registered");
        assert_eq!(by("nscl", "rubbish"), None);
    }

    #[test]
    fn whoever_comes_later_takes_nothing_over() {
        let created = |at: i64| ("creationTime", Value::Datetime(Timestamp(at)));
        let link = |uri: &str| ("link", text(uri));
        let mut memory = Memory::default();
        let pocs = |uri: &str| ("pocs", Value::List(vec![uri.to_owned()]));
        scl(&mut memory, "victim", &[link("http://v.example.org/m2m"), created(5)]);
        // Equal, below, and by points of contact: the names are such that the index has them first.
        for (id, uri, at) in
            [("a", "http://v.example.org/m2m", 6), ("b", "http://v.example.org/m2m/applications", 7)]
        {
            scl(&mut memory, id, &[link(uri), created(at), pocs("http://evil.example.org")]);
        }
        let contact = "http://v.example.org/m2m/applications/x";
        scl(&mut memory, "c", &[link("http://c.example.org/m2m"), created(1), pocs(contact)]);
        poc(&mut memory, "c", "p", contact, "ONLINE");
        let memory = indexed(memory);
        check(&memory, contact, "http://v.example.org/m2m/applications/x for v.example.org");
        let own = fixture::scl();
        let overlapping = |uri: &str| -> Vec<String> {
            let found = overlapping(&Tree::new(&memory, &own), uri, 10).expect("memory reads");
            let mut ids: Vec<String> = found.into_iter().map(|scl| scl.id).collect();
            ids.sort();
            ids
        };
        assert_eq!(overlapping("http://V.example.org:80/m2m/"), ["a", "b", "victim"]);
        assert_eq!(overlapping("http://v.example.org/m2m/x"), ["a", "victim"]);
        assert_eq!(overlapping("http://v.example.org"), ["a", "b", "victim"]);
        assert!(overlapping("http://v.example.org/m2").is_empty());
    }

    #[test]
    fn of_claims_the_first_link_wins_then_the_longest_contact() {
        let claim = |by_link, matched, since, scl: &str| Claim {
            by_link,
            matched,
            since: Timestamp(since),
            scl: scl.to_owned(),
        };
        assert!(claim(true, 1, 9, "z") > claim(false, 9, 1, "a"));
        assert!(claim(true, 1, 1, "z") > claim(true, 9, 2, "a"));
        assert!(claim(true, 1, 1, "a") > claim(true, 1, 1, "b"));
        assert!(claim(false, 2, 9, "z") > claim(false, 1, 1, "a"));
        assert!(claim(false, 1, 1, "z") > claim(false, 1, 2, "a"));
    }

    #[test]
    fn an_scl_is_found_by_its_link_and_by_no_other_address() {
        let mut memory = Memory::default();
        let pocs = ("pocs", Value::List(vec!["http://a.example.org/m2m".to_owned()]));
        scl(&mut memory, "a", &[("link", text("http://a.example.org/m2m/"))]);
        scl(&mut memory, "b", &[("link", text("http://b.example.org/m2m")), pocs]);
        poc(&mut memory, "b", "p", "http://a.example.org/m2m", "ONLINE");
        let memory = indexed(memory);
        let own = fixture::scl();
        let linked = |uri: &str| -> Vec<String> {
            let found = linked(&Tree::new(&memory, &own), uri, 10).expect("memory reads");
            found.into_iter().map(|scl| scl.id).collect()
        };
        assert_eq!(linked("http://a.example.org/m2m"), ["a"]);
        assert_eq!(linked("http://b.example.org/m2m"), ["b"]);
        assert!(linked("http://b.example.org").is_empty());
    }

    #[test]
    fn an_scl_that_polls_is_reached_by_its_own_channel() {
        let mut memory = Memory::default();
        scl(&mut memory, "a", &[("link", text("http://a.example.org/m2m"))]);
        poc(&mut memory, "a", "p", "/m2m/scls/a/communicationChannels/cc/contact", "ONLINE");
        scl(&mut memory, "b", &[("link", text("http://b.example.org/m2m"))]);
        poc(&mut memory, "b", "p", "/m2m/scls/a/communicationChannels/cc/contact", "ONLINE");
        scl(&mut memory, "c", &[("link", text("http://c.example.org/m2m"))]);
        poc(&mut memory, "c", "p", "/m2m/scls/c/notificationChannels/nc/contact", "ONLINE");
        let memory = indexed(memory);
        let by_channel = "http://a.example.org/m2m/x by /scls/a/communicationChannels/cc";
        check(&memory, "http://a.example.org/m2m/x", by_channel);
        check(&memory, "/a/x", by_channel);
        check(&memory, "http://b.example.org/m2m/x", "unreachable");
        check(&memory, "http://c.example.org/m2m/x", "unreachable");
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
        check(
            &memory,
            "http://c.example.org/m2m",
            "http://c.example.org/m2m by /scls/c/communicationChannels/cc",
        );
        check(&memory, "http://a.example.org/m2m", "http://10.0.0.3:80/m2m for a.example.org");
        check(&memory, "http://b.example.org/m2m", "unreachable");
    }
}
