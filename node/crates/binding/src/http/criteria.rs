//! The query of a RETRIEVE as filterCriteria (procedures.md 7). Unknown parameters are ignored, for a query may be about
//! something else; a criterion that is not supported, a single-valued one
//! given twice, or a value that cannot be read, is refused, after authorisation.

use super::conditions;
use crate::percent;
use banyan_model::{Refusal, Timestamp, filter::FilterCriteria};

/// Beside the criteria V1.1.1's ifMatch, which says what the header of that name says.
pub(super) fn read(query: &str) -> Result<(FilterCriteria, Vec<String>), Refusal> {
    let mut criteria = FilterCriteria::default();
    let mut if_match = Vec::new();
    let mut meta_data_only = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text| percent::decode(text, true).ok_or_else(|| refuse(name, "broken escape"));
        let (name, value) = (&*decoded(name)?, decoded(value)?);
        match name {
            "ifModifiedSince" => once(&mut criteria.if_modified_since, name, time(name, &value)?)?,
            "ifUnmodifiedSince" => once(&mut criteria.if_unmodified_since, name, time(name, &value)?)?,
            // V1.1.1 spells these createdSince and createdUntil.
            "createdAfter" | "createdSince" => once(&mut criteria.created_after, name, time(name, &value)?)?,
            "createdBefore" | "createdUntil" => {
                once(&mut criteria.created_before, name, time(name, &value)?)?
            }
            "sizeFrom" => once(&mut criteria.size_from, name, long(name, &value)?)?,
            "sizeUntil" => once(&mut criteria.size_until, name, long(name, &value)?)?,
            "metaDataOnly" => once(&mut meta_data_only, name, boolean(name, &value)?)?,
            "attributeAccessor" => once(&mut criteria.attribute_accessor, name, value)?,
            "searchPrefix" => once(&mut criteria.search_prefix, name, value)?,
            "maxSize" => once(&mut criteria.max_size, name, long(name, &value)?)?,
            "ifNoneMatch" => criteria.if_none_match.extend(tags(value)),
            "ifMatch" => if_match.extend(tags(value)),
            // V1.1.1 again, dropped since: no instance says who made it.
            "creator" => return Err(refuse(name, "a criterion of V1.1.1 that is not supported")),
            "searchString" => criteria.search_string.push(value),
            "contentType" => criteria.content_type.push(value),
            _ => {}
        }
    }
    criteria.meta_data_only = meta_data_only.unwrap_or(false);
    // The schema requires the element and lets it be empty: no accessor.
    criteria.attribute_accessor = criteria.attribute_accessor.filter(|accessor| !accessor.is_empty());
    Ok((criteria, if_match))
}

/// A tag as it is, or as the header ETag shows it.
fn tags(value: String) -> Vec<String> {
    match value.starts_with('"') || value.starts_with("W/") {
        true => conditions::list(&value),
        false => vec![value],
    }
}

/// The query that `read` makes these criteria of; empty when there are none.
pub(super) fn write(criteria: &FilterCriteria) -> String {
    let FilterCriteria {
        if_modified_since,
        if_unmodified_since,
        if_none_match,
        attribute_accessor,
        search_string,
        created_after,
        created_before,
        size_from,
        size_until,
        content_type,
        meta_data_only,
        search_prefix,
        max_size,
    } = criteria;
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (name, at) in [
        ("ifModifiedSince", if_modified_since),
        ("ifUnmodifiedSince", if_unmodified_since),
        ("createdAfter", created_after),
        ("createdBefore", created_before),
    ] {
        pairs.extend(at.map(|at| (name, at.to_string())));
    }
    for (name, number) in [("sizeFrom", size_from), ("sizeUntil", size_until), ("maxSize", max_size)] {
        pairs.extend(number.map(|number| (name, number.to_string())));
    }
    for (name, text) in [("attributeAccessor", attribute_accessor), ("searchPrefix", search_prefix)] {
        pairs.extend(text.iter().map(|text| (name, text.clone())));
    }
    for (name, texts) in
        [("ifNoneMatch", if_none_match), ("searchString", search_string), ("contentType", content_type)]
    {
        pairs.extend(texts.iter().map(|text| (name, text.clone())));
    }
    if *meta_data_only {
        pairs.push(("metaDataOnly", "true".to_owned()));
    }
    let written = pairs.into_iter().map(|(name, value)| format!("{name}={}", percent::encode(&value)));
    written.collect::<Vec<_>>().join("&")
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Refusal> {
    match slot.replace(value) {
        Some(_) => Err(refuse(name, "given twice")),
        None => Ok(()),
    }
}

fn time(name: &str, text: &str) -> Result<Timestamp, Refusal> {
    // A space can only be the `+` of an offset that was not escaped.
    Timestamp::parse(&text.trim().replace(' ', "+")).ok_or_else(|| refuse(name, "not an xsd:dateTime"))
}

fn long(name: &str, text: &str) -> Result<i64, Refusal> {
    text.trim().parse().map_err(|_| refuse(name, "not an xsd:long"))
}

fn boolean(name: &str, text: &str) -> Result<bool, Refusal> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(refuse(name, "not an xsd:boolean")),
    }
}

fn refuse(name: &str, why: &str) -> Refusal {
    // The name comes from outside when it is not one of ours: a broken escape is all that can be wrong with it then.
    Refusal::attribute(&name.chars().take(64).collect::<String>(), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<FilterCriteria, Refusal> {
        super::read(query).map(|(criteria, _)| criteria)
    }

    #[test]
    fn every_criterion_is_read() {
        let criteria = read(
            "ifModifiedSince=2013-05-31T12:00:00Z&ifUnmodifiedSince=2013-05-31T14:00:00%2B02:00&ifNoneMatch=a&\
             ifNoneMatch=b&attributeAccessor=searchStrings&searchString=unit%2Fcelsius&searchString=a+b&\
             createdAfter=2013-05-31T12:00:00.5Z&createdUntil=2013-05-31T14:00:00+02:00&sizeFrom=-1&sizeUntil=9&\
             contentType=image/*&metaDataOnly=true&searchPrefix=/m2m/a%20b&maxSize=7&unknown=%41&&",
        );
        let noon = Timestamp(1_370_001_600_000);
        let expected = FilterCriteria {
            if_modified_since: Some(noon),
            if_unmodified_since: Some(noon),
            if_none_match: vec!["a".to_owned(), "b".to_owned()],
            attribute_accessor: Some("searchStrings".to_owned()),
            search_string: vec!["unit/celsius".to_owned(), "a b".to_owned()],
            created_after: Some(Timestamp(noon.0 + 500)),
            created_before: Some(noon),
            size_from: Some(-1),
            size_until: Some(9),
            content_type: vec!["image/*".to_owned()],
            meta_data_only: true,
            search_prefix: Some("/m2m/a b".to_owned()),
            max_size: Some(7),
        };
        assert_eq!(read(&write(&expected)).as_ref(), Ok(&expected), "{}", write(&expected));
        assert_eq!(criteria, Ok(expected));
        assert_eq!(read(""), Ok(FilterCriteria::default()));
        assert_eq!(write(&FilterCriteria::default()), "");
    }

    #[test]
    fn tags_are_read_with_and_without_their_quotes() {
        let (criteria, if_match) =
            super::read("ifNoneMatch=%22a.xml%22&ifNoneMatch=b&ifMatch=W/%22c%22,%22d%22").unwrap();
        assert_eq!(criteria.if_none_match, ["a.xml", "b"]);
        assert_eq!(if_match, ["c", "d"]);
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        for (query, info) in [
            ("metaDataOnly=yes", "metaDataOnly: not an xsd:boolean"),
            ("metaDataOnly=true&metaDataOnly=true", "metaDataOnly: given twice"),
            (
                "createdAfter=2013-05-31T12:00:00Z&createdSince=2013-05-31T12:00:00Z",
                "createdSince: given twice",
            ),
            ("createdBefore=noon", "createdBefore: not an xsd:dateTime"),
            ("sizeFrom=", "sizeFrom: not an xsd:long"),
            ("sizeUntil=99999999999999999999", "sizeUntil: not an xsd:long"),
            ("maxSize=many", "maxSize: not an xsd:long"),
            ("maxSize=1&maxSize=2", "maxSize: given twice"),
            ("searchPrefix=/a&searchPrefix=/b", "searchPrefix: given twice"),
            ("searchString=%ff", "searchString: broken escape"),
            ("x%=1", "x%: broken escape"),
            ("creator=/m2m/applications/a", "creator: a criterion of V1.1.1 that is not supported"),
        ] {
            assert_eq!(read(query).map_err(|refusal| refusal.info), Err(info.to_owned()), "{query}");
        }
    }
}
