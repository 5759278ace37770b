//! The query of a RETRIEVE as filterCriteria (procedures.md 7). Unknown parameters are ignored; a single-valued one
//! given twice, or a value that cannot be read, is refused, after authorisation.

use crate::percent;
use banyan_model::{Refusal, Timestamp, filter::FilterCriteria};

pub(super) fn read(query: &str) -> Result<FilterCriteria, Refusal> {
    let mut criteria = FilterCriteria::default();
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
            "ifNoneMatch" => criteria.if_none_match.push(value),
            "searchString" => criteria.search_string.push(value),
            "contentType" => criteria.content_type.push(value),
            _ => {}
        }
    }
    criteria.meta_data_only = meta_data_only.unwrap_or(false);
    // The schema requires the element and lets it be empty: no accessor.
    criteria.attribute_accessor = criteria.attribute_accessor.filter(|accessor| !accessor.is_empty());
    Ok(criteria)
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
        assert_eq!(criteria, Ok(expected));
        assert_eq!(read(""), Ok(FilterCriteria::default()));
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
        ] {
            assert_eq!(read(query).map_err(|refusal| refusal.info), Err(info.to_owned()), "{query}");
        }
    }
}
