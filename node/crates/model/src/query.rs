//! RETRIEVE: pure, over a read view. Listings of root collections come in parts, one from each shard.

mod discover;
mod listing;
pub mod members;
mod told;

use crate::{
    Body, Path, Refusal, Representation, RequestPrimitive, ResourceType, ResponsePrimitive, Scl, StatusCode,
    Timestamp, TreeView, Value,
    admit::{Admission, Target},
    conditions,
    filter::FilterCriteria,
    key::{Key, Range},
    primitive::{Conditions, ListPlace, Listing},
    record::{Instance, InstancesState, Record},
    represent::{self, Accessor, part},
    tree::{Member, Members, Tree},
    value::{Content, ContentForm, NamedReference},
};
use std::ops::ControlFlow;

pub use discover::{Candidate, Cursor, Page, Search, discover};
pub use listing::{LISTED_BYTES_MAX, LISTED_INSTANCES_MAX, VISITED_INSTANCES_MAX};
pub use told::told;

/// Answers an authorised RETRIEVE from this shard's state. For sclBase's collections only this shard's members are
/// in the answer; `members` puts the parts together. A discovery is only checked here: what it finds stands in all
/// shards (`discover`).
pub fn retrieve<V: TreeView>(
    view: &V,
    scl: &Scl,
    request: &RequestPrimitive,
    admission: &Admission,
) -> Result<ResponsePrimitive, V::Error> {
    if let Some(elsewhere) = admission.retarget() {
        return Ok(elsewhere);
    }
    let tree = Tree::new(view, scl);
    let filter = match &request.filter {
        Ok(filter) => filter,
        Err(refusal) => return Ok(refusal.clone().into()),
    };
    // attributeAccessor says in the query what partial addressing says in the path.
    let selected = match filter.accessor() {
        Ok(selected) => selected,
        Err(refusal) => return Ok(refusal.into()),
    };
    let selected = represent::accessor(&selected);
    let found = match &admission.target {
        Target::Resource { path, resource_type: ResourceType::ContentInstances } => {
            content_instances(&tree, path, filter, selected)?
        }
        Target::Attribute { path, resource_type: ResourceType::ContentInstances, attribute, rest } => {
            content_instances(&tree, path, filter, Some((attribute, rest)))?
        }
        Target::Resource { resource_type: ResourceType::Discovery, .. } => {
            return Ok(match Search::new(scl, filter) {
                Ok(_) => discovered(Vec::new(), false),
                Err(refusal) => refusal.into(),
            });
        }
        // Whoever can wait asks at the shard's door; here nothing waits.
        Target::Contact { .. } | Target::Poll { .. } | Target::Answer { .. } => {
            Err(Refusal::new(StatusCode::RequestTimeout, "nothing waits in the channel"))
        }
        Target::Resource { path, .. } => resource(&tree, path, selected, &request.listing)?,
        Target::Attribute { path, attribute, rest, .. } => {
            resource(&tree, path, Some((attribute, rest)), &request.listing)?
        }
        // What goes elsewhere was answered above, and what may is settled before anything is read.
        Target::Apoc { .. } | Target::Retarget { .. } => Err(Refusal::not_found()),
        // Fanned out before it comes here; no replica answers it alone.
        Target::MembersContent { .. } => {
            Err(Refusal::new(StatusCode::InternalServerError, "membersContent: was not fanned out"))
        }
        Target::Instance { container, sequence, accessor } => {
            let selected = selected.filter(|_| accessor.is_empty());
            instance(&tree, container, *sequence, selected.or(represent::accessor(accessor)), filter)?
        }
    };
    Ok(found.and_then(|found| found.answer(request, filter)).unwrap_or_else(ResponsePrimitive::from))
}

/// The members of a root collection that live in this shard, in name order, from `after` (exclusive), at most `limit`.
pub fn list_members<V: TreeView>(
    view: &V,
    scl: &Scl,
    collection: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Member>, V::Error> {
    let (mut names, mut corrupt) = (Vec::new(), None);
    if limit == 0 {
        return Ok(Vec::new());
    }
    view.scan(&Range::listed(collection, after), false, &mut |key, record| {
        match (Key::name(key), record) {
            (Some(name), Record::Listed { .. }) => names.push(name.to_owned()),
            _ => {
                corrupt = Some(view.corrupt(key));
                return ControlFlow::Break(());
            }
        }
        if names.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if let Some(corrupt) = corrupt {
        return Err(corrupt);
    }

    let tree = Tree::new(view, scl);
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        let path = Path::scl_base().child(collection).child(name.as_str());
        // What is listed exists: both are written by the same command.
        let Some(resource) = tree.resource(&path)? else {
            return Err(view.corrupt(&Key::listed(collection, &name).bytes));
        };
        let reference = NamedReference { id: name, uri: scl.address(&path) };
        members.push((resource.representation.resource_type, reference));
    }
    Ok(members)
}

/// The answer of a discovery.
pub fn discovered(uris: Vec<String>, truncated: bool) -> ResponsePrimitive {
    let mut found = Representation::new(ResourceType::Discovery);
    found.set("matchSize", Value::Long(i64::try_from(uris.len()).unwrap_or(i64::MAX)));
    if truncated {
        found.set("truncated", Value::Bool(true));
    }
    found.set("discoveryURI", Value::List(uris));
    ResponsePrimitive { body: Body::Representation(found), ..ResponsePrimitive::status(StatusCode::Ok) }
}

/// What was found, before the conditions were asked.
struct Found {
    body: Body,
    next: Option<ListPlace>,
    etag: String,
    last_modified: Option<Timestamp>,
}

impl Found {
    fn answer(
        self,
        request: &RequestPrimitive,
        filter: &FilterCriteria,
    ) -> Result<ResponsePrimitive, Refusal> {
        if let Listing::From(_) = request.listing {
            // The conditions were asked with the first page.
            return Ok(ResponsePrimitive {
                body: self.body,
                next: self.next,
                ..ResponsePrimitive::status(StatusCode::Ok)
            });
        }
        let Found { body, next, etag, last_modified } = self;
        let stamped = |status, body| ResponsePrimitive {
            body,
            etag: Some(etag.clone()),
            last_modified,
            ..ResponsePrimitive::status(status)
        };
        let asked = [request.conditions.clone(), of_filter(filter)];
        let holds = asked.iter().try_for_each(|asked| conditions::for_read(asked, &etag, last_modified));
        match holds {
            Ok(()) => Ok(ResponsePrimitive { next, ..stamped(StatusCode::Ok, body) }),
            // 304 repeats the validators.
            Err(refusal) if refusal.status == StatusCode::NotModified => {
                Ok(stamped(StatusCode::NotModified, Body::None))
            }
            Err(refusal) => Err(refusal),
        }
    }
}

/// The conditional criteria are about the addressed resource, like the headers.
fn of_filter(filter: &FilterCriteria) -> Conditions {
    Conditions {
        if_match: Vec::new(),
        if_none_match: filter.if_none_match.clone(),
        if_modified_since: filter.if_modified_since,
        if_unmodified_since: filter.if_unmodified_since,
    }
}

fn resource<V: TreeView>(
    tree: &Tree<'_, V>,
    path: &Path,
    accessor: Accessor<'_>,
    listing: &Listing,
) -> Result<Result<Found, Refusal>, V::Error> {
    let Some(resource) = tree.resource(path)? else { return Ok(Err(Refusal::not_found())) };
    let lists = members::lists(resource.representation.resource_type, accessor);
    if let Listing::From(place) = listing
        && !lists.iter().any(|(name, _)| *name == place.list)
    {
        return Ok(Err(Refusal::attribute(&place.list, "is no list of what is asked for")));
    }
    let (after, most) = match listing {
        Listing::Whole => (None, members::WHOLE),
        Listing::First => (None, members::PAGE),
        Listing::From(place) => (place.after.as_deref(), members::PAGE),
    };
    // Who does not ask for a list pays for none.
    let page = if lists.is_empty() { Members::default() } else { tree.members(path, after, most)? };
    if page.more && *listing == Listing::Whole {
        return Ok(Err(members::too_long(format_args!("{} octets", most.bytes))));
    }
    let (members, next) = members::cut(&lists, listing, page);
    let body = match (listing, accessor) {
        (Listing::From(place), _) => Ok(members::page(place, members, None).body),
        (_, None) => Ok(Body::Representation(represent::resource(tree.scl, &resource, members))),
        (_, Some(_)) => part(represent::with_running(tree.scl, &resource, members), accessor),
    };
    Ok(body.map(|body| Found {
        body,
        next,
        etag: represent::etag(&resource),
        last_modified: resource.representation.datetime("lastModifiedTime"),
    }))
}

fn content_instances<V: TreeView>(
    tree: &Tree<'_, V>,
    path: &Path,
    filter: &FilterCriteria,
    accessor: Accessor<'_>,
) -> Result<Result<Found, Refusal>, V::Error> {
    let Some(container) = path.parent() else { return Ok(Err(Refusal::not_found())) };
    let Some(state) = tree.instances(&container)? else { return Ok(Err(Refusal::not_found())) };
    let whole = match accessor {
        // What the counters know costs the same in a container of ten and of ten million.
        Some((attribute, _))
            if attribute != "contentInstanceCollection" && *filter == FilterCriteria::default() =>
        {
            Ok(summary(tree, &container, &state)?)
        }
        _ => listing::select(tree, &container, &state, filter)?.map(|listed| {
            represent::instances(tree.scl, &container, &state, &listed, !filter.meta_data_only)
        }),
    };
    Ok(whole.and_then(|whole| {
        Ok(Found {
            body: part(whole, accessor)?,
            next: None,
            etag: represent::instances_etag(&state),
            last_modified: Some(state.last_modified_time),
        })
    }))
}

/// A contentInstances collection without the list of its instances.
fn summary<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    state: &InstancesState,
) -> Result<Representation, V::Error> {
    let mut ends = Vec::new();
    if state.count > 0 {
        for sequence in [state.oldest, state.latest] {
            ends.extend(tree.instance(container, sequence)?);
        }
    }
    let mut whole = represent::instances(tree.scl, container, state, &ends, false);
    let long = |number| Value::Long(i64::try_from(number).unwrap_or(i64::MAX));
    whole.remove("contentInstanceCollection");
    whole.set("currentNrOfInstances", long(state.count));
    whole.set("currentByteSize", long(state.bytes));
    Ok(whole)
}

fn instance<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    sequence: u64,
    accessor: Accessor<'_>,
    filter: &FilterCriteria,
) -> Result<Result<Found, Refusal>, V::Error> {
    let Some(instance) = tree.instance(container, sequence)? else { return Ok(Err(Refusal::not_found())) };
    let body = match accessor {
        Some(("content", form)) => raw(&instance, form),
        accessor => {
            let whole = represent::instance(tree.scl, container, &instance, !filter.meta_data_only);
            part(whole, accessor)
        }
    };
    Ok(body.map(|body| Found {
        body,
        next: None,
        etag: represent::instance_etag(&instance),
        last_modified: Some(instance.last_modified_time),
    }))
}

/// `content`: the octets as they are; `content/textContent` and `content/binaryContent`: as that alternative.
fn raw(instance: &Instance, form: &[String]) -> Result<Body, Refusal> {
    let Content { content_type, bytes, form: stored } = &instance.content;
    let default = match stored {
        ContentForm::Text => "text/plain; charset=utf-8",
        ContentForm::Binary => "application/octet-stream",
    };
    let content_type = content_type.as_deref().unwrap_or(default);
    match form {
        [] => {}
        [form] if form == "binaryContent" => {}
        [form] if form == "textContent" => {
            let text = *stored == ContentForm::Text || content_type.trim_start().starts_with("text/");
            if !text || std::str::from_utf8(bytes).is_err() {
                return Err(Refusal::new(StatusCode::NotAcceptable, "content: is not text"));
            }
        }
        _ => return Err(Refusal::not_found()),
    }
    Ok(Body::Raw { content_type: content_type.to_owned(), bytes: bytes.clone() })
}

#[cfg(test)]
mod tests;
