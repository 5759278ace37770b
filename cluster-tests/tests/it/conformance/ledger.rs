//! What is known not to work yet: `not_yet.txt`, a line a case with its reason.
//!
//! Such a case is run like any other. It may fail; when it passes the line must go, so that the list only shrinks.

use std::collections::BTreeMap;
use std::path::Path;

/// Case and reason.
///
/// # Panics
/// A line is no `<case>: <reason>`.
pub(crate) fn not_yet() -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance/not_yet.txt");
    let text = std::fs::read_to_string(file).expect("the list stands beside the cases");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (case, reason) = line.split_once(" -- ").unwrap_or_else(|| panic!("no reason: {line}"));
            (case.trim().to_owned(), reason.trim().to_owned())
        })
        .collect()
}
