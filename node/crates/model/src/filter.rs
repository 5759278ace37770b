//! filterCriteria (procedures.md 7), parsed. A dateTime comparison is strict.

use crate::Timestamp;

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
}
