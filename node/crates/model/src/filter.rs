//! filterCriteria (procedures.md 7), parsed. A dateTime comparison is strict.

use crate::{Path, Refusal, Representation, Timestamp, Value, record::Instance, value::Struct};

/// The criteria of a RETRIEVE, a discovery or a subscription. Default: everything matches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct FilterCriteria {
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
    pub if_none_match: Vec<String>,
    pub attribute_accessor: Option<String>,
    pub search_string: Vec<String>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub size_from: Option<i64>,
    pub size_until: Option<i64>,
    pub content_type: Vec<String>,
    pub meta_data_only: bool,
    /// Discovery: the URI of the subtree to look in.
    pub search_prefix: Option<String>,
    /// Discovery: how many URIs to answer at most.
    pub max_size: Option<i64>,
}

impl FilterCriteria {
    /// Those of a subscription.
    pub(crate) fn of_subscription(subscription: &Representation) -> FilterCriteria {
        match subscription.get("filterCriteria") {
            Some(Value::Struct(criteria)) => FilterCriteria::of(criteria),
            _ => FilterCriteria::default(),
        }
    }

    fn of(criteria: &Struct) -> FilterCriteria {
        let time = |name| match criteria.get(name) {
            Some(Value::Datetime(at)) => Some(*at),
            _ => None,
        };
        let long = |name| match criteria.get(name) {
            Some(Value::Long(n)) => Some(*n),
            _ => None,
        };
        let texts = |name| {
            let text = |value: &Value| match value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            };
            criteria.all(name).filter_map(text).collect::<Vec<String>>()
        };
        FilterCriteria {
            if_modified_since: time("ifModifiedSince"),
            if_unmodified_since: time("ifUnmodifiedSince"),
            if_none_match: texts("ifNoneMatch"),
            attribute_accessor: texts("attributeAccessor").pop(),
            search_string: texts("searchString"),
            created_after: time("createdAfter"),
            created_before: time("createdBefore"),
            size_from: long("sizeFrom"),
            size_until: long("sizeUntil"),
            content_type: texts("contentType"),
            search_prefix: None,
            max_size: None,
            meta_data_only: criteria.get("metaDataOnly") == Some(&Value::Bool(true)),
        }
    }

    /// The segments of attributeAccessor, decoded; none where the whole is asked for.
    ///
    /// # Errors
    /// BAD_REQUEST naming attributeAccessor.
    pub fn accessor(&self) -> Result<Vec<String>, Refusal> {
        let text = self.attribute_accessor.as_deref().unwrap_or_default().trim_matches('/');
        let path = Path::parse(text);
        let malformed = || Refusal::attribute("attributeAccessor", "is no path below a resource");
        path.map(|path| path.segments().to_vec()).ok_or_else(malformed)
    }

    /// Whether an instance is selected. The conditional criteria are about the addressed resource, not its members.
    pub fn selects(&self, instance: &Instance) -> bool {
        let size = i64::try_from(instance.content_size).unwrap_or(i64::MAX);
        self.created_after.is_none_or(|bound| instance.creation_time > bound)
            && self.created_before.is_none_or(|bound| instance.creation_time < bound)
            && self.size_from.is_none_or(|bound| size > bound)
            && self.size_until.is_none_or(|bound| size < bound)
            && self.search_string.iter().all(|wanted| instance.search_strings.contains(wanted))
            && (self.content_type.is_empty()
                || self.content_type.iter().any(|range| {
                    instance.content_types.iter().any(|content_type| media_range_covers(range, content_type))
                }))
    }
}

/// `image/*` covers `image/png`; parameters do not count.
fn media_range_covers(range: &str, content_type: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (range, content_type) = (essence(range), essence(content_type));
    match range.strip_suffix('*') {
        Some("" | "*/") => true,
        Some(kind) if kind.ends_with('/') => content_type.starts_with(kind),
        _ => range == content_type,
    }
}
