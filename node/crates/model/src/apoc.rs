//! Retargeting to an application: which of its aPoCPaths opens a path below it, and where the request goes then
//! (procedures.md 12; TS 102 921 10.3.2.23). The longest match wins (D-22); a leading `/` of a path means nothing.

use crate::{Path, Representation, ResourceType, Value};

/// aPocHandling of sclBase: how much of a path must match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handling {
    /// The path itself; one that ends with `/` stands for exactly one further segment.
    Shallow,
    /// The path and all that stands below it.
    Deep,
}

impl Handling {
    /// What sclBase says; SHALLOW if it says nothing.
    pub fn of(scl_base: Option<&Representation>) -> Handling {
        match scl_base.and_then(|scl_base| scl_base.text("aPocHandling")) {
            Some("DEEP") => Handling::Deep,
            _ => Handling::Shallow,
        }
    }
}

/// Whether a resource is an application that opens anything at all.
pub fn is_open(resource: &Representation) -> bool {
    resource.resource_type == ResourceType::Application
        && resource.get("aPoC").is_some()
        && resource.get("aPoCPaths").is_some()
}

/// A way to the application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// aPoC and the path, without a query.
    pub uri: String,
    /// accessRightID of the aPoCPath.
    pub access_right: Option<String>,
}

/// The way that an application opens to `rest`, the segments below it. `None`: it opens none.
pub fn open(application: &Representation, rest: &[String], handling: Handling) -> Option<Opened> {
    let base = application.text("aPoC")?.trim_end_matches('/');
    let Some(Value::Struct(paths)) = application.get("aPoCPaths") else { return None };
    let entries = paths.all("aPoCPath").filter_map(|entry| match entry {
        Value::Struct(entry) => Some(entry),
        _ => None,
    });
    let matching = entries.filter_map(|entry| Some((matched(entry.text("path")?, rest, handling)?, entry)));
    let (_, entry) = matching.max_by_key(|(length, _)| *length)?;
    Some(Opened {
        uri: format!("{base}{}", Path::from_segments(rest.to_vec())),
        access_right: entry.text("accessRightID").map(str::to_owned),
    })
}

/// How many segments of `rest` a path names, if it opens it. One that names the last segment, too, is the longer one.
fn matched(path: &str, rest: &[String], handling: Handling) -> Option<usize> {
    let wanted = Path::parse(path)?;
    let wanted = wanted.segments();
    let is_open_ended = path.ends_with('/');
    let opens = !wanted.is_empty()
        && rest.starts_with(wanted)
        && match handling {
            Handling::Deep => true,
            Handling::Shallow => rest.len() == wanted.len() + usize::from(is_open_ended),
        };
    opens.then_some(wanted.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Struct;

    fn application(paths: &[&str]) -> Representation {
        let entry = |path: &&str| {
            let fields = vec![
                ("path", Value::Text((*path).to_owned())),
                ("accessRightID", Value::Text(format!("/m2m/accessRights/{}", path.replace('/', "_")))),
            ];
            ("aPoCPath", Value::Struct(Struct { name: "APoCPath", fields }))
        };
        let mut application = Representation::new(ResourceType::Application);
        application.set("aPoC", Value::Text("http://app.example.org:9000/meter/".to_owned()));
        let paths = Struct { name: "APoCPaths", fields: paths.iter().map(entry).collect() };
        application.set("aPoCPaths", Value::Struct(paths));
        application
    }

    /// Which of the paths opens `rest`, SHALLOW and DEEP.
    #[track_caller]
    fn check(paths: &[&str], rest: &str, shallow: Option<&str>, deep: Option<&str>) {
        let application = application(paths);
        let rest_segments = Path::parse(rest).expect("a path").segments().to_vec();
        for (handling, expected) in [(Handling::Shallow, shallow), (Handling::Deep, deep)] {
            let opened = open(&application, &rest_segments, handling);
            let right = expected.map(|path| format!("/m2m/accessRights/{}", path.replace('/', "_")));
            assert_eq!(
                opened.as_ref().and_then(|opened| opened.access_right.clone()),
                right,
                "{rest} {handling:?}"
            );
            if let Some(opened) = opened {
                assert_eq!(opened.uri, format!("http://app.example.org:9000/meter/{rest}"));
            }
        }
    }

    #[test]
    fn shallow_takes_the_path_or_one_more_segment_and_deep_all_below() {
        check(&["led"], "led", Some("led"), Some("led"));
        check(&["led"], "led/1", None, Some("led"));
        check(&["led/"], "led", None, Some("led/"));
        check(&["led/"], "led/1", Some("led/"), Some("led/"));
        check(&["led/"], "led/1/on", None, Some("led/"));
        check(&["/led"], "led", Some("/led"), Some("/led"));
        check(&["led"], "ledger", None, None);
        check(&["a%20b"], "a%20b", Some("a%20b"), Some("a%20b"));
        check(&[], "led", None, None);
        check(&["/"], "led", None, None);
    }

    #[test]
    fn the_longest_match_wins() {
        check(&["a/", "a/b/", "a"], "a/b/c", Some("a/b/"), Some("a/b/"));
        check(&["a/b", "a/"], "a/b", Some("a/b"), Some("a/b"));
    }

    #[test]
    fn without_an_apoc_nothing_is_open() {
        let mut application = application(&["led"]);
        application.remove("aPoC");
        assert_eq!(open(&application, &["led".to_owned()], Handling::Deep), None);
    }
}
