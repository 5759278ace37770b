//! Requests that travel by a communicationChannel (bindings.md 7.4): a request becomes a requestNotify, the responseNotify
//! that answers it an HTTP answer.
//!
//! What filterCriteria of a requestNotify cannot hold (its schema knows no criteria of contentInstances) stays in the query
//! of targetID. The answer came from a peer: what cannot stand in an HTTP message is left out of it.

use super::{
    criteria,
    names::{GROUP_REQUEST, RCAT, TRPDT},
    response::http_status,
};
use banyan_codec::{status_of, tolerated_delay, write_tolerated_delay};
use banyan_model::{Method, Refusal, StatusCode, Value, filter::FilterCriteria, saf::Trpdt, value::Struct};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

/// A request on its way into a channel.
pub struct Carried<'a> {
    /// What is asked.
    pub method: Method,
    /// The absolute URI that it is for, without a query.
    pub target: &'a str,
    /// Its query.
    pub query: &'a str,
    /// requestingEntity, absolute.
    pub requesting_entity: &'a str,
    /// As they came.
    pub headers: &'a HeaderMap,
    /// The body as it came.
    pub bytes: Bytes,
    /// Where the answer is posted.
    pub contact: &'a str,
    /// Under which id.
    pub correlation_id: &'a str,
}

/// The requestNotify of a request.
///
/// # Errors
/// The query cannot be read.
pub fn request_notify(carried: Carried<'_>) -> Result<Struct, Refusal> {
    // V1.1.1's ifMatch is not written in a query: it travels as the header.
    let (mut criteria, _) = criteria::read(carried.query)?;
    let rest = criteria::write(&of_instances(&mut criteria));
    let target =
        if rest.is_empty() { carried.target.to_owned() } else { format!("{}?{rest}", carried.target) };
    let text = |text: &str| Value::Text(text.to_owned());
    let mut fields = vec![
        ("requestingEntity", text(carried.requesting_entity)),
        ("targetID", Value::Text(target)),
        ("method", text(name(carried.method))),
    ];
    let (max_size, search_prefix) = (criteria.max_size.take(), criteria.search_prefix.take());
    if criteria != FilterCriteria::default() {
        fields.push(("filterCriteria", Value::Struct(filter_criteria(criteria))));
    }
    fields.extend(max_size.map(|most| ("maxSize", Value::Long(most))));
    fields.extend(search_prefix.map(|prefix| ("searchPrefix", Value::Text(prefix))));
    let header = |name: &HeaderName| carried.headers.get(name).and_then(|value| value.to_str().ok());
    fields.extend(
        header(&GROUP_REQUEST)
            .and_then(hex)
            .map(|bytes| ("groupRequestIdentifier", Value::Binary { content_type: None, bytes })),
    );
    fields.extend(header(&TRPDT).and_then(tolerated_delay).and_then(trpdt).map(|trpdt| ("TRPDT", trpdt)));
    fields.extend(header(&RCAT).map(|rcat| ("RCAT", Value::Text(format!("RCAT_{rcat}")))));
    for (field, name) in [
        ("contentTypeHeader", header::CONTENT_TYPE),
        ("acceptHeader", header::ACCEPT),
        ("ifModifiedSinceHeader", header::IF_MODIFIED_SINCE),
        ("ifUnmodifiedSinceHeader", header::IF_UNMODIFIED_SINCE),
        ("ifMatchHeader", header::IF_MATCH),
        ("ifNoneMatchHeader", header::IF_NONE_MATCH),
    ] {
        fields.extend(header(&name).map(|value| (field, text(value))));
    }
    fields.push(("xEtsiContactUriHeader", text(carried.contact)));
    fields.push(("xEtsiCorrelationIDHeader", text(carried.correlation_id)));
    if !carried.bytes.is_empty() {
        let content_type = header(&header::CONTENT_TYPE).map(str::to_owned);
        fields.push(("representation", Value::Binary { content_type, bytes: carried.bytes }));
    }
    Ok(Struct { name: "RequestNotify", fields })
}

/// A `TrpdtType`; it has no form for a point in time.
fn trpdt(trpdt: Trpdt) -> Option<Value> {
    let field = match trpdt {
        Trpdt::After(delay) => ("tolerableDelay", Value::Duration(delay)),
        Trpdt::TimeOfDay(_) => ("tolerableTime", Value::Text(write_tolerated_delay(trpdt))),
        Trpdt::At(_) => return None,
    };
    Some(Value::Struct(Struct { name: "TrpdtType", fields: vec![field] }))
}

/// The answer in a responseNotify.
pub fn carried_answer(answer: &Struct) -> Response<Bytes> {
    let text = |name| match answer.get(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let status = match text("statusCode").and_then(status_of) {
        // The schema has no name for it (D-2).
        Some(StatusCode::Ok) if text("locationHeader").is_some() => StatusCode::Created,
        Some(status) => status,
        None => StatusCode::BadGateway,
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http_status(status);
    let mut set = |name: HeaderName, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::LOCATION, text("locationHeader"));
    set(header::ETAG, text("etagHeader"));
    set(header::LAST_MODIFIED, text("lastModifiedHeader"));
    match answer.get("representation") {
        Some(Value::Binary { content_type, bytes }) => {
            set(header::CONTENT_TYPE, Some(content_type.as_deref().unwrap_or("application/octet-stream")));
            *response.body_mut() = bytes.clone();
        }
        _ if status == StatusCode::Ok => *response.status_mut() = http::StatusCode::NO_CONTENT,
        _ => {}
    }
    response
}

/// Takes the criteria out that only contentInstances have.
fn of_instances(criteria: &mut FilterCriteria) -> FilterCriteria {
    FilterCriteria {
        size_from: criteria.size_from.take(),
        size_until: criteria.size_until.take(),
        content_type: std::mem::take(&mut criteria.content_type),
        meta_data_only: std::mem::take(&mut criteria.meta_data_only),
        ..FilterCriteria::default()
    }
}

fn filter_criteria(criteria: FilterCriteria) -> Struct {
    let mut fields = Vec::new();
    let time = |at: Option<banyan_model::Timestamp>| at.map(Value::Datetime);
    fields.extend(time(criteria.if_modified_since).map(|at| ("ifModifiedSince", at)));
    fields.extend(time(criteria.if_unmodified_since).map(|at| ("ifUnmodifiedSince", at)));
    fields.extend(criteria.if_none_match.into_iter().map(|tag| ("ifNoneMatch", Value::Text(tag))));
    // The schema requires the element.
    let accessor = criteria.attribute_accessor.unwrap_or_default();
    fields.push(("attributeAccessor", Value::Text(accessor)));
    fields.extend(criteria.search_string.into_iter().map(|text| ("searchString", Value::Text(text))));
    fields.extend(time(criteria.created_after).map(|at| ("createdAfter", at)));
    fields.extend(time(criteria.created_before).map(|at| ("createdBefore", at)));
    Struct { name: "FilterCriteriaType", fields }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Create => "CREATE",
        Method::Retrieve => "RETRIEVE",
        Method::Update => "UPDATE",
        Method::Delete => "DELETE",
        Method::Execute => "EXECUTE",
        Method::Notify => "NOTIFY",
    }
}

/// hexBinary; `None`: it is none.
fn hex(text: &str) -> Option<Bytes> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(high * 16 + low).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_codec::{Expect, Format, Limits, decode, encode_message};
    use banyan_model::Body;

    fn carried<'a>(headers: &'a HeaderMap, query: &'a str) -> Carried<'a> {
        Carried {
            method: Method::Retrieve,
            target: "http://gw.example.org/m2m/containers/c",
            query,
            requesting_entity: "http://nscl.example.org/m2m/applications/a",
            headers,
            bytes: Bytes::new(),
            contact: "http://nscl.example.org/m2m/scls/gw/communicationChannels/cc/answer",
            correlation_id: "9001",
        }
    }

    #[test]
    fn a_request_notify_holds_the_request_and_can_be_read_in_both_formats() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(GROUP_REQUEST, HeaderValue::from_static("00fF"));
        let query = "createdAfter=2013-05-31T12:00:00Z&sizeFrom=7&maxSize=3";
        let message = request_notify(carried(&headers, query)).unwrap();
        let text = |name| match message.get(name) {
            Some(Value::Text(text)) => text.as_str(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(text("method"), "RETRIEVE");
        assert_eq!(text("targetID"), "http://gw.example.org/m2m/containers/c?sizeFrom=7");
        assert_eq!(text("acceptHeader"), "application/json");
        assert_eq!(text("xEtsiCorrelationIDHeader"), "9001");
        assert_eq!(message.get("maxSize"), Some(&Value::Long(3)));
        for format in [Format::Xml, Format::Json] {
            let written = encode_message(format, &message).unwrap();
            let read = decode(format, &written, &Limits::default(), Expect::Message("requestNotify"));
            let Body::Message(read) = read else { panic!("{}", String::from_utf8_lossy(&written)) };
            assert_eq!(read.get("filterCriteria"), message.get("filterCriteria"));
            assert_eq!(read.get("groupRequestIdentifier"), message.get("groupRequestIdentifier"));
        }
        assert!(request_notify(carried(&headers, "createdAfter=yesterday")).is_err());
    }

    #[test]
    fn an_answer_becomes_the_answer_to_who_asked() {
        let text = |name, text: &str| (name, Value::Text(text.to_owned()));
        let answer = |fields| carried_answer(&Struct { name: "ResponseNotify", fields });
        let created = answer(vec![
            text("statusCode", "STATUS_OK"),
            text("locationHeader", "http://gw.example.org/m2m/containers/c"),
            text("etagHeader", "\"1\""),
        ]);
        assert_eq!(created.status(), 201);
        assert_eq!(created.headers()[header::ETAG], "\"1\"");
        assert_eq!(answer(vec![text("statusCode", "STATUS_OK")]).status(), 204);
        assert_eq!(answer(vec![text("statusCode", "STATUS_NOT_FOUND")]).status(), 404);
        assert_eq!(answer(vec![text("statusCode", "STATUS_UNHEARD_OF")]).status(), 502);
        assert_eq!(answer(Vec::new()).status(), 502);
        let bytes = Bytes::from_static(b"21.5");
        let content = Value::Binary { content_type: Some("text/plain".to_owned()), bytes: bytes.clone() };
        let read = answer(vec![text("statusCode", "STATUS_OK"), ("representation", content)]);
        assert_eq!((read.status().as_u16(), read.body()), (200, &bytes));
        assert_eq!(read.headers()[header::CONTENT_TYPE], "text/plain");
        let broken = answer(vec![text("statusCode", "STATUS_OK"), text("locationHeader", "a\nb")]);
        assert_eq!(broken.headers().get(header::LOCATION), None);
    }
}
