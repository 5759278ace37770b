//! The lists of a collection, page by page: a listing costs memory for a page, however many members there are.
//!
//! A page looks at so many members in the order of their names, whatever their types, and shows those of one list: the
//! document names all of a collection's containers before its locationContainers. So each list is a walk of its own,
//! and where the next page begins is said by the list and the last name, which nobody has to remember between pages.
//!
//! Invariants: a member that is there from the first page to the last is listed once; one that comes or goes meanwhile
//! may be listed or not.

use crate::{
    Body, Refusal, ResourceType, ResponsePrimitive, StatusCode, Value,
    primitive::{ListPlace, Listing},
    represent,
    tree::{Member, Members, Most},
    value::NamedReference,
};

/// What one page looks at.
pub const PAGE: Most = Most { members: 1_000, bytes: 256 << 10 };
/// What is listed for whoever cannot ask for pages.
pub const WHOLE: Most = Most { members: usize::MAX, bytes: 4 << 20 };

/// The lists that an answer shows, in the order of the tables: (attribute, type of its entries). `accessor`: the
/// attribute that was asked for alone, and what of it.
pub fn lists(of: ResourceType, accessor: Option<(&str, &[String])>) -> Vec<(&'static str, ResourceType)> {
    let all = of.def().attributes.iter();
    let all = all.filter_map(|attribute| Some((attribute.field.name, represent::listed_type(attribute)?)));
    // A single entry of a list is nothing that an accessor can name.
    let wanted = |name: &str| accessor.is_none_or(|(wanted, rest)| wanted == name && rest.is_empty());
    all.filter(|(name, _)| wanted(name)).collect()
}

/// What of a page of members belongs to the answer, and where the next page begins.
pub fn cut(
    lists: &[(&'static str, ResourceType)],
    listing: &Listing,
    page: Members,
) -> (Vec<Member>, Option<ListPlace>) {
    let Members { mut members, more } = page;
    let at = match listing {
        Listing::From(place) => lists.iter().position(|(name, _)| *name == place.list),
        Listing::First if more => Some(0),
        // All there is.
        Listing::First | Listing::Whole => return (members, None),
    };
    let Some((at, (list, member_type))) = at.and_then(|at| Some((at, lists.get(at)?))) else {
        return (Vec::new(), None);
    };
    let last = members.last().map(|(_, member)| member.id.clone());
    members.retain(|(of, _)| of.is_a(*member_type));
    let next = match more {
        true => Some(ListPlace { list: (*list).to_owned(), after: last }),
        false => lists.get(at + 1).map(|(list, _)| ListPlace { list: (*list).to_owned(), after: None }),
    };
    (members, next)
}

/// A page that is not the first.
pub fn page(place: &ListPlace, members: Vec<Member>, next: Option<ListPlace>) -> ResponsePrimitive {
    let entries = members.into_iter().map(|(_, member)| member).collect();
    let body = Body::Attribute { name: place.list.clone(), value: Value::References(entries) };
    ResponsePrimitive { body, next, ..ResponsePrimitive::status(StatusCode::Ok) }
}

/// The refusal for a listing that is too long for whoever cannot ask for pages.
pub fn too_long(most: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::Forbidden, format!("more than {most} of members in one answer"))
}

/// One page of a root collection, made of the pages of all shards, each of which was asked for `share` members after
/// the same name. What one shard has not told yet may come before what another one has: the page ends where the first
/// shard's does.
pub fn joined(parts: Vec<Vec<Member>>, share: usize) -> Members {
    let ends = parts.iter().filter(|part| part.len() >= share).filter_map(|part| part.last());
    let end = ends.map(|(_, member)| member.id.clone()).min();
    let mut members: Vec<Member> = parts.into_iter().flatten().collect();
    if let Some(end) = &end {
        members.retain(|(_, member)| member.id <= *end);
    }
    members.sort_by(|(_, left), (_, right)| left.id.cmp(&right.id));
    Members { members, more: end.is_some() }
}

/// Puts members into a root collection's representation.
pub fn put_members(answer: &mut ResponsePrimitive, members: Vec<Member>) {
    let of = |wanted: ResourceType| -> Value {
        let found = members.iter().filter(|(found, _)| *found == wanted);
        Value::References(found.map(|(_, reference): &(_, NamedReference)| reference.clone()).collect())
    };
    match &mut answer.body {
        Body::Representation(collection) => {
            for (name, member_type) in lists(collection.resource_type, None) {
                collection.set(name, of(member_type));
            }
        }
        // One of the lists alone, by partial addressing.
        Body::Attribute { name, value: value @ Value::References(_) } => {
            if let Some(member_type) = name.strip_suffix("Collection").and_then(ResourceType::from_name) {
                *value = of(member_type);
            }
        }
        _ => {}
    }
}
