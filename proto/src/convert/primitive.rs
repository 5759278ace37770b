//! Requests and answers.

use super::{Malformed, deferred, names, number, outbox, required, status};
use crate::v1;
use banyan_model::{
    Body, Entity, Method, Refusal, RequestPrimitive, ResourceType, ResponsePrimitive, Timestamp, Value,
    filter::FilterCriteria,
    primitive::{Correlation, ListPlace, Listing, ReferencePoint},
    query::{Cursor, Search},
    value::{Element, NamedReference, Struct},
};

/// How deep a foreign element tree of a request may be. The persisted message that holds it nests a few levels more
/// and must stay below the 100 at which decoding ends.
pub const ELEMENT_DEPTH_MAX: usize = 64;
/// How many messages a value of a request may nest, for the same reason: an outbox entry adds seven levels around it.
const VALUE_DEPTH_MAX: usize = 80;

impl From<&RequestPrimitive> for v1::RequestPrimitive {
    fn from(request: &RequestPrimitive) -> v1::RequestPrimitive {
        let (filter, filter_refusal) = match &request.filter {
            Ok(filter) if *filter == FilterCriteria::default() => (None, None),
            Ok(filter) => (Some(filter.into()), None),
            Err(refusal) => (None, Some(refusal.into())),
        };
        v1::RequestPrimitive {
            method: method_to_wire(request.method),
            target: Some((&request.target).into()),
            requesting_entity: request.requesting_entity.0.clone(),
            body: body_to_wire(&request.body),
            filter,
            filter_refusal,
            conditions: Some((&request.conditions).into()),
            notify_media: outbox::media_to_wire(request.notify_media),
            reference_point: reference_point_to_wire(request.reference_point),
            via: request.via.clone(),
            correlation: request.correlation.as_ref().map(|correlation| v1::Correlation {
                id: correlation.id.clone(),
                contact: correlation.contact.clone(),
            }),
            group_request: request.group_request.clone(),
            rcat: request.rcat.map(|rcat| rcat.number().into()),
            trpdt: request.trpdt.map(deferred::trpdt_to_wire),
            listing: match &request.listing {
                Listing::Whole => None,
                Listing::First => Some(v1::Listing { from: None }),
                Listing::From(place) => Some(v1::Listing { from: Some(place.into()) }),
            },
            hops: request.hops,
            reached_at: request.reached_at.clone(),
        }
    }
}

impl TryFrom<v1::RequestPrimitive> for RequestPrimitive {
    type Error = Malformed;

    fn try_from(request: v1::RequestPrimitive) -> Result<RequestPrimitive, Malformed> {
        let target: banyan_model::Path = required("target", request.target)?.into();
        if !target.is_sound() {
            return Err(Malformed::Limit("target"));
        }
        let body = body(request.body)?;
        let fit = |fields: &[(&'static str, Value)]| fields.iter().all(|(_, v)| fits(v, VALUE_DEPTH_MAX));
        let shallow = match &body {
            Body::Representation(representation) => fit(&representation.attributes),
            Body::Attribute { value, .. } => fits(value, VALUE_DEPTH_MAX),
            Body::Message(message) => fit(&message.fields),
            Body::None | Body::Raw { .. } | Body::Malformed(_) => true,
        };
        if !shallow {
            return Err(Malformed::Limit("body"));
        }
        Ok(RequestPrimitive {
            method: method(request.method)?,
            target,
            requesting_entity: Entity(request.requesting_entity),
            body,
            filter: match request.filter_refusal {
                Some(refusal) => Err(refusal.try_into()?),
                None => Ok(request.filter.unwrap_or_default().into()),
            },
            conditions: request.conditions.unwrap_or_default().into(),
            notify_media: outbox::media(request.notify_media)?,
            reference_point: reference_point(request.reference_point)?,
            via: request.via,
            correlation: request.correlation.map(|c| Correlation { id: c.id, contact: c.contact }),
            group_request: request.group_request,
            rcat: request.rcat.map(deferred::rcat).transpose()?,
            trpdt: request.trpdt.map(deferred::trpdt).transpose()?,
            listing: match request.listing {
                None => Listing::Whole,
                Some(v1::Listing { from: None }) => Listing::First,
                Some(v1::Listing { from: Some(place) }) => Listing::From(place.into()),
            },
            hops: request.hops,
            reached_at: request.reached_at,
        })
    }
}

impl From<&ResponsePrimitive> for v1::ResponsePrimitive {
    fn from(response: &ResponsePrimitive) -> v1::ResponsePrimitive {
        v1::ResponsePrimitive {
            status: number(response.status),
            resource_uri: response.resource_uri.clone(),
            body: body_to_wire(&response.body),
            etag: response.etag.clone(),
            last_modified_ms: response.last_modified.map(|at| at.0),
            allow: response.allow.iter().copied().map(method_to_wire).collect(),
            info: response.info.clone(),
            retry_after_ms: response.retry_after_ms,
            retarget: response.retarget.clone(),
            next: response.next.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::ResponsePrimitive> for ResponsePrimitive {
    type Error = Malformed;

    fn try_from(response: v1::ResponsePrimitive) -> Result<ResponsePrimitive, Malformed> {
        Ok(ResponsePrimitive {
            status: status(response.status)?,
            resource_uri: response.resource_uri,
            body: body(response.body)?,
            etag: response.etag,
            last_modified: response.last_modified_ms.map(Timestamp),
            allow: response.allow.into_iter().map(method).collect::<Result<_, _>>()?,
            info: response.info,
            retry_after_ms: response.retry_after_ms,
            retarget: response.retarget,
            next: response.next.map(Into::into),
        })
    }
}

impl From<&ListPlace> for v1::ListPlace {
    fn from(place: &ListPlace) -> v1::ListPlace {
        v1::ListPlace { list: place.list.clone(), after: place.after.clone() }
    }
}

impl From<v1::ListPlace> for ListPlace {
    fn from(place: v1::ListPlace) -> ListPlace {
        ListPlace { list: place.list, after: place.after }
    }
}

impl From<&Refusal> for v1::Refusal {
    fn from(refusal: &Refusal) -> v1::Refusal {
        v1::Refusal {
            status: number(refusal.status),
            info: refusal.info.clone(),
            allow: refusal.allow.iter().copied().map(method_to_wire).collect(),
        }
    }
}

impl TryFrom<v1::Refusal> for Refusal {
    type Error = Malformed;

    fn try_from(refusal: v1::Refusal) -> Result<Refusal, Malformed> {
        Ok(Refusal {
            status: status(refusal.status)?,
            info: refusal.info,
            allow: refusal.allow.into_iter().map(method).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&FilterCriteria> for v1::FilterCriteria {
    fn from(filter: &FilterCriteria) -> v1::FilterCriteria {
        v1::FilterCriteria {
            if_modified_since_ms: filter.if_modified_since.map(|at| at.0),
            if_unmodified_since_ms: filter.if_unmodified_since.map(|at| at.0),
            if_none_match: filter.if_none_match.clone(),
            attribute_accessor: filter.attribute_accessor.clone(),
            search_string: filter.search_string.clone(),
            created_after_ms: filter.created_after.map(|at| at.0),
            created_before_ms: filter.created_before.map(|at| at.0),
            size_from: filter.size_from,
            size_until: filter.size_until,
            content_type: filter.content_type.clone(),
            meta_data_only: filter.meta_data_only,
            search_prefix: filter.search_prefix.clone(),
            max_size: filter.max_size,
        }
    }
}

impl From<v1::FilterCriteria> for FilterCriteria {
    fn from(filter: v1::FilterCriteria) -> FilterCriteria {
        FilterCriteria {
            if_modified_since: filter.if_modified_since_ms.map(Timestamp),
            if_unmodified_since: filter.if_unmodified_since_ms.map(Timestamp),
            if_none_match: filter.if_none_match,
            attribute_accessor: filter.attribute_accessor,
            search_string: filter.search_string,
            created_after: filter.created_after_ms.map(Timestamp),
            created_before: filter.created_before_ms.map(Timestamp),
            size_from: filter.size_from,
            size_until: filter.size_until,
            content_type: filter.content_type,
            meta_data_only: filter.meta_data_only,
            search_prefix: filter.search_prefix,
            max_size: filter.max_size,
        }
    }
}

/// Members of a root collection, as one shard lists them.
pub fn members_to_wire(members: &[(ResourceType, NamedReference)]) -> v1::Members {
    let member = |(resource_type, reference): &(ResourceType, NamedReference)| v1::Member {
        r#type: resource_type.name().to_owned(),
        reference: Some(reference.into()),
    };
    v1::Members { members: members.iter().map(member).collect() }
}

/// Reads a shard's part of a root collection.
///
/// # Errors
/// [`Malformed`].
pub fn members(members: v1::Members) -> Result<Vec<(ResourceType, NamedReference)>, Malformed> {
    let member = |member: v1::Member| {
        Ok((names::resource_type(&member.r#type)?, required("reference", member.reference)?.into()))
    };
    members.members.into_iter().map(member).collect()
}

/// A question about what a shard has, of at most `limit`.
pub fn discover_to_wire(entity: &Entity, search: &Search, from: Option<&Cursor>, limit: u32) -> v1::Discover {
    v1::Discover {
        requesting_entity: entity.0.clone(),
        criteria: Some((&search.criteria).into()),
        prefix: Some((&search.prefix).into()),
        from: from.map(cursor_to_wire),
        limit,
    }
}

/// Reads such a question, without its limit.
///
/// # Errors
/// [`Malformed`].
pub fn discover(question: v1::Discover) -> Result<(Entity, Search, Option<Cursor>), Malformed> {
    let search = Search {
        criteria: required("criteria", question.criteria)?.into(),
        prefix: required("prefix", question.prefix)?.into(),
    };
    Ok((Entity(question.requesting_entity), search, question.from.map(cursor)))
}

/// What a shard has found.
pub fn discovered_to_wire(uris: Vec<String>, next: Option<&Cursor>) -> v1::Discovered {
    v1::Discovered { uris, next: next.map(cursor_to_wire) }
}

/// Reads what a shard has found.
pub fn discovered(found: v1::Discovered) -> (Vec<String>, Option<Cursor>) {
    (found.uris, found.next.map(cursor))
}

fn cursor_to_wire(cursor: &Cursor) -> v1::DiscoveryCursor {
    let Cursor { stage, after, instance } = cursor;
    v1::DiscoveryCursor { stage: *stage, after: after.clone().into(), instance: *instance }
}

fn cursor(cursor: v1::DiscoveryCursor) -> Cursor {
    Cursor { stage: cursor.stage, after: cursor.after.into(), instance: cursor.instance }
}

fn body_to_wire(body: &Body) -> Option<v1::Body> {
    use v1::body::Kind;
    let kind = match body {
        Body::None => return None,
        Body::Representation(representation) => Kind::Representation(representation.into()),
        Body::Attribute { name, value } => {
            Kind::Attribute(v1::Field { name: name.clone(), value: Some(value.into()) })
        }
        Body::Message(message) => Kind::Message(message.into()),
        Body::Raw { content_type, bytes } => {
            Kind::Raw(v1::Raw { content_type: content_type.clone(), bytes: bytes.clone() })
        }
        Body::Malformed(refusal) => Kind::Malformed(refusal.into()),
    };
    Some(v1::Body { kind: Some(kind) })
}

fn body(body: Option<v1::Body>) -> Result<Body, Malformed> {
    use v1::body::Kind;
    let Some(body) = body else { return Ok(Body::None) };
    Ok(match required("body", body.kind)? {
        Kind::Representation(representation) => Body::Representation(representation.try_into()?),
        Kind::Attribute(field) => {
            Body::Attribute { name: field.name, value: required("attribute", field.value)?.try_into()? }
        }
        Kind::Message(message) => Body::Message(message.try_into()?),
        Kind::Raw(v1::Raw { content_type, bytes }) => Body::Raw { content_type, bytes },
        Kind::Malformed(refusal) => Body::Malformed(refusal.try_into()?),
    })
}

fn method_to_wire(method: Method) -> i32 {
    match method {
        Method::Create => v1::Method::Create,
        Method::Retrieve => v1::Method::Retrieve,
        Method::Update => v1::Method::Update,
        Method::Delete => v1::Method::Delete,
        Method::Execute => v1::Method::Execute,
        Method::Notify => v1::Method::Notify,
    }
    .into()
}

fn method(number: i32) -> Result<Method, Malformed> {
    match v1::Method::try_from(number) {
        Ok(v1::Method::Create) => Ok(Method::Create),
        Ok(v1::Method::Retrieve) => Ok(Method::Retrieve),
        Ok(v1::Method::Update) => Ok(Method::Update),
        Ok(v1::Method::Delete) => Ok(Method::Delete),
        Ok(v1::Method::Execute) => Ok(Method::Execute),
        Ok(v1::Method::Notify) => Ok(Method::Notify),
        Ok(v1::Method::Unspecified) | Err(_) => Err(Malformed::unknown("method", number)),
    }
}

fn reference_point_to_wire(point: ReferencePoint) -> i32 {
    match point {
        ReferencePoint::Mia => v1::ReferencePoint::Mia,
        ReferencePoint::Dia => v1::ReferencePoint::Dia,
        ReferencePoint::Mid => v1::ReferencePoint::Mid,
    }
    .into()
}

fn reference_point(number: i32) -> Result<ReferencePoint, Malformed> {
    match v1::ReferencePoint::try_from(number) {
        Ok(v1::ReferencePoint::Mia) => Ok(ReferencePoint::Mia),
        Ok(v1::ReferencePoint::Dia) => Ok(ReferencePoint::Dia),
        Ok(v1::ReferencePoint::Mid) => Ok(ReferencePoint::Mid),
        Err(_) => Err(Malformed::unknown("reference point", number)),
    }
}

/// Whether a value nests no more than `left` messages, and its element trees no more than their limit.
fn fits(value: &Value, left: usize) -> bool {
    fn within(element: &Element, left: usize) -> bool {
        left > 0 && element.children.iter().all(|child| within(child, left - 1))
    }
    // Struct or Representation, Field, Value.
    const NESTED: usize = 3;
    let all = |fields: &[(&'static str, Value)]| {
        left > NESTED && fields.iter().all(|(_, inner)| fits(inner, left - NESTED))
    };
    match value {
        Value::Any(element) => within(element, left.min(ELEMENT_DEPTH_MAX)),
        Value::Struct(Struct { fields, .. }) => all(fields),
        Value::Resource(inner) => all(&inner.attributes),
        _ => true,
    }
}
