use super::*;
use crate::outbox::Notification;
use crate::{
    Method, admit,
    fixture::{self, path, put, scl},
    memory::Memory,
    record,
};

const C: &str = "applications/a/containers/c";

fn ask(memory: &Memory, target: &str, change: impl FnOnce(&mut RequestPrimitive)) -> ResponsePrimitive {
    let scl = fixture::scl();
    let mut request = fixture::request(Method::Retrieve, target, Body::None);
    change(&mut request);
    match admit::admit(memory, &scl, &request).expect("memory reads") {
        Ok(admission) => retrieve(memory, &scl, &request, &admission).expect("memory reads"),
        Err(refusal) => refusal.into(),
    }
}

/// The contents of the instances that a filter selects.
fn selected(memory: &Memory, filter: FilterCriteria) -> Result<String, StatusCode> {
    let answer = ask(memory, &format!("{C}/contentInstances"), |request| request.filter = Ok(filter));
    let Body::Representation(collection) = answer.body else { return Err(answer.status) };
    let Some(Value::Struct(list)) = collection.get("contentInstanceCollection") else { panic!("no list") };
    let mut contents = Vec::new();
    for instance in list.all("contentInstance") {
        let Value::Resource(instance) = instance else { panic!("not inline") };
        contents.push(match instance.get("content") {
            Some(Value::Content(content)) => String::from_utf8_lossy(&content.bytes).into_owned(),
            _ => "-".to_owned(),
        });
    }
    assert_eq!(collection.long("currentNrOfInstances"), i64::try_from(contents.len()).ok());
    Ok(contents.join(" "))
}

#[test]
fn filters_select_instances() {
    let memory = fixture::tree();
    let time = |ms| Some(Timestamp(ms));
    let none = FilterCriteria::default;
    for (filter, expected) in [
        (none(), "1 22 333 4444 55555"),
        (FilterCriteria { created_after: time(1_002_000), ..none() }, "333 4444 55555"),
        (FilterCriteria { created_after: time(0), ..none() }, "1 22 333 4444 55555"),
        (FilterCriteria { created_after: time(1_005_000), ..none() }, ""),
        (FilterCriteria { created_before: time(1_003_000), ..none() }, "1 22"),
        (
            FilterCriteria { created_after: time(1_001_000), created_before: time(1_004_500), ..none() },
            "22 333 4444",
        ),
        (FilterCriteria { size_from: Some(2), size_until: Some(5), ..none() }, "333 4444"),
        (FilterCriteria { content_type: vec!["image/*".into()], ..none() }, "22 4444"),
        (FilterCriteria { content_type: vec!["TEXT/plain; charset=x".into()], ..none() }, "1 333 55555"),
        (FilterCriteria { search_string: vec!["n3".into()], ..none() }, "333"),
        (FilterCriteria { search_string: vec!["n3".into(), "n4".into()], ..none() }, ""),
        (FilterCriteria { meta_data_only: true, ..none() }, "- - - - -"),
    ] {
        assert_eq!(selected(&memory, filter.clone()).as_deref(), Ok(expected), "{filter:?}");
    }
}

#[test]
fn time_filters_find_their_way_over_gaps() {
    let mut memory = fixture::tree();
    let path = fixture::path(C);
    for gone in [2, 3] {
        memory.records.remove(&Key::instance(&path, gone));
    }
    for (after, before, expected) in
        [(1_001_000, 1_004_500, "4444"), (1_000_500, 1_003_500, "1"), (1_003_000, 2_000_000, "4444 55555")]
    {
        let filter = FilterCriteria {
            created_after: Some(Timestamp(after)),
            created_before: Some(Timestamp(before)),
            ..FilterCriteria::default()
        };
        assert_eq!(selected(&memory, filter).as_deref(), Ok(expected), "{after} {before}");
    }
}

#[test]
fn a_listing_stops_at_its_bound_and_says_how_to_narrow() {
    let mut memory = Memory::default();
    fixture::put(&mut memory, C, ResourceType::Container, &[]);
    fixture::put(&mut memory, "applications/a", ResourceType::Application, &[]);
    for n in 0..=LISTED_INSTANCES_MAX {
        fixture::put_instance(&mut memory, C, None, i64::try_from(n).expect("small"), "x");
    }
    let answer = ask(&memory, &format!("{C}/contentInstances"), |_| ());
    assert_eq!(answer.status, StatusCode::Forbidden);
    assert!(answer.info.contains("createdAfter"), "{}", answer.info);
    // The counters alone are no listing.
    let answer = ask(&memory, &format!("{C}/contentInstances/currentNrOfInstances"), |_| ());
    let count = i64::try_from(LISTED_INSTANCES_MAX + 1).expect("small");
    let expected = Body::Attribute { name: "currentNrOfInstances".to_owned(), value: Value::Long(count) };
    assert_eq!(answer.body, expected);
    let filter = FilterCriteria { created_after: Some(Timestamp(9_998)), ..FilterCriteria::default() };
    assert_eq!(selected(&memory, filter).as_deref(), Ok("x x"));
}

#[test]
fn content_is_answered_raw() {
    let memory = fixture::tree();
    for (below, expected) in [
        ("oldest/content", Ok(("text/plain", "1"))),
        ("two/content", Ok(("image/png", "22"))),
        ("latest/content/textContent", Ok(("text/plain", "55555"))),
        ("latest/content/binaryContent", Ok(("text/plain", "55555"))),
        ("two/content/textContent", Err(StatusCode::NotAcceptable)),
        ("two/content/other", Err(StatusCode::NotFound)),
    ] {
        let answer = ask(&memory, &format!("{C}/contentInstances/{below}"), |_| ());
        let found = match &answer.body {
            Body::Raw { content_type, bytes } => {
                Ok((content_type.as_str(), std::str::from_utf8(bytes).expect("text")))
            }
            _ => Err(answer.status),
        };
        assert_eq!(found, expected, "{below}");
    }
}

#[test]
fn partial_addressing_answers_the_attribute_alone() {
    let memory = fixture::tree();
    let list = Value::List(vec!["x".into()]);
    for (below, expected) in [
        ("searchStrings", Ok(Some(list.clone()))),
        ("searchStrings/x", Ok(None)),
        ("searchStrings/y", Err(StatusCode::NotFound)),
        ("maxNrOfInstances", Err(StatusCode::NotFound)),
        ("contentInstances/currentNrOfInstances", Ok(Some(Value::Long(5)))),
        ("contentInstances/two/contentSize", Ok(Some(Value::Long(2)))),
        (
            "contentInstancesReference",
            Ok(Some(fixture::text("/m2m/applications/a/containers/c/contentInstances"))),
        ),
    ] {
        let answer = ask(&memory, &format!("{C}/{below}"), |_| ());
        let found = match (answer.status, answer.body) {
            (StatusCode::Ok, Body::Attribute { value, .. }) => Ok(Some(value)),
            (StatusCode::Ok, Body::None) => Ok(None),
            (status, _) => Err(status),
        };
        assert_eq!(found, expected, "{below}");
    }
    let accessor =
        FilterCriteria { attribute_accessor: Some("searchStrings".into()), ..FilterCriteria::default() };
    let answer = ask(&memory, C, |request| request.filter = Ok(accessor));
    assert_eq!(answer.body, Body::Attribute { name: "searchStrings".into(), value: list });
}

#[test]
fn answers_carry_validators_that_make_the_next_one_short() {
    let memory = fixture::tree();
    for target in
        ["", "applications/a", C, &format!("{C}/contentInstances"), &format!("{C}/contentInstances/latest")]
    {
        let first = ask(&memory, target, |_| ());
        assert_eq!(first.status, StatusCode::Ok, "{target}");
        assert!(first.last_modified.is_some(), "{target}");
        let etag = first.etag.expect("every answer has an eTag");
        let again = ask(&memory, target, |request| request.conditions.if_none_match = vec![etag.clone()]);
        assert_eq!((again.status, again.body, again.etag), (StatusCode::NotModified, Body::None, Some(etag)));
    }
    let malformed = Refusal::attribute("createdAfter", "not an xs:dateTime");
    let answer = ask(&memory, C, |request| request.filter = Err(malformed.clone()));
    assert_eq!((answer.status, answer.info), (StatusCode::BadRequest, malformed.info));
}

#[test]
fn representations_are_complete_and_in_order() {
    let memory = fixture::tree();
    for target in [
        "",
        "scls",
        "applications/a",
        "applications/a/containers",
        C,
        "applications/a/containers/c/contentInstances",
    ] {
        let Body::Representation(whole) = ask(&memory, target, |_| ()).body else { panic!("{target}") };
        let def = whole.resource_type.def();
        let places: Vec<_> = whole
            .attributes
            .iter()
            .map(|(name, _)| def.attributes.iter().position(|a| a.field.name == *name).expect("of the type"))
            .collect();
        assert!(places.is_sorted(), "{target}: {:?}", whole.attributes);
        for attribute in def.attributes.iter().filter(|a| a.field.name.ends_with("Reference")) {
            assert!(whole.get(attribute.field.name).is_some(), "{target}: {}", attribute.field.name);
        }
    }
    let Body::Representation(list) = ask(&memory, "applications/a/containers", |_| ()).body else { panic!() };
    let Some(Value::References(members)) = list.get("containerCollection") else { panic!("no list") };
    assert_eq!(
        members.iter().map(|m| m.uri.as_str()).collect::<Vec<_>>(),
        ["/m2m/applications/a/containers/c", "/m2m/applications/a/containers/e",]
    );
}

#[test]
fn members_of_root_collections_are_merged_from_parts() {
    let (mut memory, scl) = (fixture::tree(), fixture::scl());
    for name in ["b", "d"] {
        fixture::put(&mut memory, &format!("applications/{name}"), ResourceType::Application, &[]);
    }
    let names = |after, limit| -> Vec<String> {
        let listed = list_members(&memory, &scl, "applications", after, limit).expect("memory reads");
        listed.into_iter().map(|(_, member)| member.id).collect()
    };
    assert_eq!(names(None, 10), ["a", "b", "d"]);
    assert_eq!(names(Some("a"), 1), ["b"]);
    assert!(names(Some("d"), 10).is_empty());

    let mut answer = ask(&memory, "applications", |_| ());
    let mut members = list_members(&memory, &scl, "applications", None, 10).expect("memory reads");
    members.reverse();
    merge_members(&mut answer, members);
    let Body::Representation(collection) = answer.body else { panic!("no representation") };
    let Some(Value::References(members)) = collection.get("applicationCollection") else { panic!("no list") };
    assert_eq!(members.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!(collection.get("applicationAnncCollection"), Some(&Value::References(Vec::new())));
}

#[test]
fn a_collection_of_a_hundred_thousand_is_listed_and_told_without_its_members() {
    const COUNT: usize = 100_000;
    let mut memory = Memory::default();
    put(&mut memory, "applications/a", ResourceType::Application, &[]);
    put(&mut memory, "applications/a/containers/c0", ResourceType::Container, &[]);
    let Some(Record::Resource(one)) =
        memory.records.get(&Key::resource(&path("applications/a/containers/c0"))).cloned()
    else {
        panic!("a container")
    };
    let containers = path("applications/a/containers");
    for n in 1..COUNT {
        let at = containers.child(format!("c{n}"));
        memory
            .records
            .insert(Key::resource(&at), Record::Resource(record::Resource { path: at, ..one.clone() }));
    }
    let answer = ask(&memory, "applications/a/containers", |_| {});
    let Body::Representation(whole) = answer.body else { panic!("{}", answer.info) };
    let Some(Value::References(listed)) = whole.get("containerCollection") else { panic!("a list") };
    assert_eq!(listed.len(), COUNT);
    assert!(listed.is_sorted_by(|left, right| left.id < right.id));

    // A notify does not carry so many, and says only that the collection changed.
    let subscription = containers.child("subscriptions").child("s");
    put(&mut memory, "applications/a/containers/subscriptions/s", ResourceType::Subscription, &[]);
    let told = |memory: &Memory| {
        told(memory, &scl(), &subscription, Notification::Collection).expect("memory reads")
    };
    assert_eq!(told(&memory), Notification::Bare);
    for n in 100..COUNT {
        memory.records.remove(&Key::resource(&containers.child(format!("c{n}"))));
    }
    let Notification::Representation(whole) = told(&memory) else { panic!("few members are told") };
    assert!(
        matches!(whole.get("containerCollection"), Some(Value::References(listed)) if listed.len() == 100)
    );
}
