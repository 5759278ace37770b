//! A request that came by a communicationChannel: what its poller makes of a requestNotify, and answers with a
//! responseNotify (bindings.md 7.4). The reverse of `carried`.
//!
//! What stands in the message came from the SCL that is polled, which vouches for its requestingEntity; the target must
//! be this SCL's, for whoever polls passes nothing on.

use super::{conditions, criteria, intake};
use banyan_codec::{Format, Limits, tolerated_delay};
use banyan_model::{
    Method, Refusal, RequestPrimitive, Scl, StatusCode, Value,
    filter::FilterCriteria,
    primitive::{Correlation, NotifyMedia, ReferencePoint},
    saf::{Rcat, Trpdt},
    value::Struct,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// A request and where its answer goes.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    /// The request, or what its answer is already.
    pub request: Result<RequestPrimitive, Refusal>,
    /// The format that an answer should have.
    pub format: Format,
    /// Where the answer is posted.
    pub contact: String,
    /// Under which id.
    pub correlation_id: String,
}

/// Reads a requestNotify. `None`: it says not where it is answered.
pub fn asked(scl: &Scl, message: &Struct, limits: &Limits) -> Option<Asked> {
    let contact = message.text("xEtsiContactUriHeader")?.to_owned();
    let correlation_id = message.text("xEtsiCorrelationIDHeader")?.to_owned();
    let wants_json =
        message.text("acceptHeader").is_some_and(|accept| accept.starts_with("application/json"));
    let format = if wants_json { Format::Json } else { Format::Xml };
    Some(Asked { request: request(scl, message, limits), format, contact, correlation_id })
}

fn request(scl: &Scl, message: &Struct, limits: &Limits) -> Result<RequestPrimitive, Refusal> {
    let missing = |name: &str| Refusal::new(StatusCode::BadRequest, format!("{name}: missing"));
    let uri = message.text("targetID").ok_or_else(|| missing("targetID"))?;
    let (uri, query) = uri.split_once('?').unwrap_or((uri, ""));
    let target = scl
        .local_path(uri)
        .ok_or_else(|| Refusal::new(StatusCode::NotFound, "targetID: not a resource of this SCL"))?;
    let entity = message.text("requestingEntity").ok_or_else(|| missing("requestingEntity"))?;
    let entity = scl.normalise(entity);
    if entity.0 == scl.base {
        // Nobody but this SCL itself asks in its name.
        let why = "requestingEntity: is this SCL, which does not ask itself over mId";
        return Err(Refusal::new(StatusCode::PermissionDenied, why));
    }
    let method = message.text("method").ok_or_else(|| missing("method"))?;
    let method = METHODS.into_iter().find(|(name, _)| *name == method).map(|(_, method)| method);
    let method =
        method.ok_or_else(|| Refusal::new(StatusCode::BadRequest, "method: none of the standard's"))?;
    let headers = headers(message);
    let bytes = match message.get("representation") {
        Some(Value::Binary { bytes, .. }) => bytes.clone(),
        _ => Bytes::new(),
    };
    let mut request = RequestPrimitive {
        conditions: conditions::read(&headers),
        group_request: group_request(message),
        reference_point: ReferencePoint::Mid,
        ..RequestPrimitive::new(method, target, entity)
    };
    if method == Method::Retrieve {
        let (criteria, if_match) = criteria::read(query)?;
        request.conditions.if_match.extend(if_match);
        request.filter = Ok(with_criteria(message, criteria));
        return Ok(request);
    }
    let verb = if method == Method::Update { http::Method::PUT } else { http::Method::POST };
    // What its SCL has stored may come again, and is known by its id then.
    request.trpdt = trpdt(message);
    request.rcat = message.text("RCAT").and_then(Rcat::named);
    if request.trpdt.is_some() {
        let id = message.text("xEtsiCorrelationIDHeader").map(str::to_owned);
        request.correlation = id.map(|id| Correlation { id, contact: None });
    }
    request.body = intake::decode(&verb, &request.target, &headers, &bytes, limits);
    if intake::format(&headers) == Some(Format::Json) {
        request.notify_media = NotifyMedia::Json;
    }
    Ok(request)
}

const METHODS: [(&str, Method); 6] = [
    ("CREATE", Method::Create),
    ("RETRIEVE", Method::Retrieve),
    ("UPDATE", Method::Update),
    ("DELETE", Method::Delete),
    ("EXECUTE", Method::Execute),
    ("NOTIFY", Method::Notify),
];

fn headers(message: &Struct) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, text: Option<&str>| {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    };
    let carried = match message.get("representation") {
        Some(Value::Binary { content_type, .. }) => content_type.as_deref(),
        _ => None,
    };
    set(header::CONTENT_TYPE, carried);
    for (field, name) in [
        ("contentTypeHeader", header::CONTENT_TYPE),
        ("ifModifiedSinceHeader", header::IF_MODIFIED_SINCE),
        ("ifUnmodifiedSinceHeader", header::IF_UNMODIFIED_SINCE),
        ("ifMatchHeader", header::IF_MATCH),
        ("ifNoneMatchHeader", header::IF_NONE_MATCH),
    ] {
        set(name, message.text(field));
    }
    headers
}

fn trpdt(message: &Struct) -> Option<Trpdt> {
    let Some(Value::Struct(carried)) = message.get("TRPDT") else { return None };
    match (carried.get("tolerableDelay"), carried.text("tolerableTime")) {
        (Some(Value::Duration(delay)), _) if !delay.negative => Some(Trpdt::After(*delay)),
        (_, time) => time.and_then(tolerated_delay),
    }
}

/// groupRequestIdentifier as its header has it.
fn group_request(message: &Struct) -> Option<String> {
    let Some(Value::Binary { bytes, .. }) = message.get("groupRequestIdentifier") else { return None };
    let hex = bytes.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    Some(hex).filter(|hex| !hex.is_empty())
}

/// The criteria of the query, and those that travel as elements over them.
fn with_criteria(message: &Struct, of_query: FilterCriteria) -> FilterCriteria {
    let mut criteria = of_query;
    if let Some(Value::Long(most)) = message.get("maxSize") {
        criteria.max_size = Some(*most);
    }
    if let Some(prefix) = message.text("searchPrefix") {
        criteria.search_prefix = Some(prefix.to_owned());
    }
    let Some(Value::Struct(carried)) = message.get("filterCriteria") else { return criteria };
    let time = |name| match carried.get(name) {
        Some(Value::Datetime(at)) => Some(*at),
        _ => None,
    };
    let texts = |name| {
        carried.all(name).filter_map(|value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    };
    criteria.if_modified_since = time("ifModifiedSince").or(criteria.if_modified_since);
    criteria.if_unmodified_since = time("ifUnmodifiedSince").or(criteria.if_unmodified_since);
    criteria.created_after = time("createdAfter").or(criteria.created_after);
    criteria.created_before = time("createdBefore").or(criteria.created_before);
    criteria.if_none_match.extend(texts("ifNoneMatch"));
    criteria.search_string.extend(texts("searchString"));
    if let Some(accessor) = carried.text("attributeAccessor").filter(|accessor| !accessor.is_empty()) {
        criteria.attribute_accessor = Some(accessor.to_owned());
    }
    criteria
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        Carried,
        names::{GROUP_REQUEST, RCAT, TRPDT},
        request_notify,
    };
    use banyan_model::{Body, Timestamp};

    fn scl() -> Scl {
        Scl {
            id: "gscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: vec!["gw.example.org".to_owned()],
            founded_at: Timestamp(0),
        }
    }

    fn sent(method: Method, target: &str, query: &str, entity: &str, body: &'static str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::IF_MATCH, HeaderValue::from_static("\"7\""));
        headers.insert(GROUP_REQUEST, HeaderValue::from_static("00ff"));
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        let message = request_notify(Carried {
            method,
            target,
            query,
            requesting_entity: entity,
            headers: &headers,
            bytes: Bytes::from_static(body.as_bytes()),
            contact: "http://nscl.example.org/m2m/scls/gw/communicationChannels/cc/answer",
            correlation_id: "9001",
        });
        asked(&scl(), &message.unwrap(), &Limits::default()).unwrap()
    }

    const ENTITY: &str = "http://nscl.example.org/m2m/applications/a";

    #[test]
    fn a_request_arrives_as_it_was_carried() {
        let query = "createdAfter=2013-05-31T12:00:00Z&sizeFrom=7&maxSize=3&searchString=x";
        let asked = sent(Method::Retrieve, "http://gw.example.org/m2m/containers/c", query, ENTITY, "");
        assert_eq!((asked.format, asked.correlation_id.as_str()), (Format::Json, "9001"));
        let request = asked.request.unwrap();
        assert_eq!(request.target.to_string(), "/containers/c");
        assert_eq!(request.requesting_entity.0, ENTITY);
        assert_eq!(request.reference_point, ReferencePoint::Mid);
        assert_eq!(request.conditions.if_match, ["7"]);
        assert_eq!(request.group_request.as_deref(), Some("00ff"));
        assert_eq!(request.filter, criteria::read(query).map(|(criteria, _)| criteria));

        let instances = "http://gw.example.org/m2m/containers/c/contentInstances";
        let request = sent(Method::Create, instances, "", ENTITY, "21.5").request.unwrap();
        let content = Bytes::from_static(b"21.5");
        assert_eq!(request.body, Body::Raw { content_type: "text/plain".to_owned(), bytes: content });
    }

    #[test]
    fn what_its_scl_has_stored_is_known_when_it_comes_again() {
        let instances = "http://gw.example.org/m2m/containers/c/contentInstances";
        let asked = |trpdt: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RCAT, HeaderValue::from_static("3"));
            headers.extend(trpdt.map(|trpdt| (TRPDT, HeaderValue::from_static(trpdt))));
            let message = request_notify(Carried {
                method: Method::Create,
                target: instances,
                query: "",
                requesting_entity: ENTITY,
                headers: &headers,
                bytes: Bytes::new(),
                contact: "http://nscl.example.org/m2m/scls/gw/communicationChannels/cc/answer",
                correlation_id: "9001",
            });
            asked(&scl(), &message.unwrap(), &Limits::default()).unwrap().request.unwrap()
        };
        let stored = asked(Some("PT5M"));
        assert_eq!(stored.correlation, Some(Correlation { id: "9001".to_owned(), contact: None }));
        assert_eq!((stored.trpdt, stored.rcat), (tolerated_delay("PT5M"), Rcat::new(3)));
        assert_eq!(asked(Some("13:00:00")).trpdt, tolerated_delay("13:00:00"));
        assert_eq!(asked(None).correlation, None, "it waits for its answer and comes once");
    }

    #[test]
    fn only_what_is_here_is_asked_and_nobody_asks_in_our_name() {
        let status = |target, entity| {
            sent(Method::Retrieve, target, "", entity, "").request.map_err(|refusal| refusal.status)
        };
        let elsewhere = status("http://other.example.org/m2m/containers/c", ENTITY);
        assert_eq!(elsewhere, Err(StatusCode::NotFound));
        let own = status("http://gw.example.org/m2m/containers/c", "http://gw.example.org/m2m");
        assert_eq!(own, Err(StatusCode::PermissionDenied));
        assert_eq!(
            asked(&scl(), &Struct { name: "RequestNotify", fields: vec![] }, &Limits::default()),
            None
        );
    }
}
