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
fn an_accessor_in_the_query_selects_of_an_instance_too() {
    let memory = fixture::tree();
    for (target, accessor, expected) in [
        ("latest", "contentSize", "contentSize"),
        ("two", "searchStrings", "searchStrings"),
        ("oldest", "content", "text/plain"),
        ("oldest", "content/textContent", "text/plain"),
        ("two", "colour", "NotFound"),
        // What the path says is more.
        ("two/contentSize", "searchStrings", "contentSize"),
    ] {
        let filter =
            FilterCriteria { attribute_accessor: Some(accessor.into()), ..FilterCriteria::default() };
        let answer =
            ask(&memory, &format!("{C}/contentInstances/{target}"), |request| request.filter = Ok(filter));
        let found = match answer.body {
            Body::Attribute { name, .. } => name,
            Body::Raw { content_type, .. } => content_type,
            _ => format!("{:?}", answer.status),
        };
        assert_eq!(found, expected, "{target} {accessor}");
    }
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
    let listed = list_members(&memory, &scl, "applications", None, 10).expect("memory reads");
    members::put_members(&mut answer, listed);
    let Body::Representation(collection) = answer.body else { panic!("no representation") };
    let Some(Value::References(members)) = collection.get("applicationCollection") else { panic!("no list") };
    assert_eq!(members.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!(collection.get("applicationAnncCollection"), Some(&Value::References(Vec::new())));
}

/// All entries of a collection's lists, asked for page by page, and how many pages that took.
fn paged(memory: &Memory, target: &str) -> (Vec<String>, usize) {
    let (mut listed, mut pages, mut listing) = (Vec::new(), 0, Listing::First);
    loop {
        let answer = ask(memory, target, |request| request.listing = listing.clone());
        pages += 1;
        let lists = match answer.body {
            Body::Representation(whole) => whole.attributes,
            Body::Attribute { name, value } => {
                let Listing::From(place) = &listing else { panic!("an attribute first") };
                assert_eq!(name, place.list);
                vec![("list", value)]
            }
            _ => panic!("{}", answer.info),
        };
        let before = listed.len();
        for (name, value) in lists {
            let Value::References(entries) = value else { continue };
            let list = match &listing {
                Listing::From(place) => place.list.as_str(),
                _ => name,
            };
            listed.extend(entries.iter().map(|entry| format!("{list} {}", entry.id)));
        }
        assert!(listed.len() - before <= members::PAGE.members);
        match answer.next {
            Some(place) => listing = Listing::From(place),
            None => return (listed, pages),
        }
    }
}

#[test]
fn pages_of_a_listing_show_every_member_once_in_the_list_of_its_type() {
    let mut memory = fixture::tree();
    // With `subscriptions`, which stands there too, two pages.
    let count = 2 * members::PAGE.members - 1;
    for n in 0..count {
        let of = if n % 3 == 0 { ResourceType::LocationContainer } else { ResourceType::Container };
        put(&mut memory, &format!("applications/b/containers/c{n:05}"), of, &[]);
    }
    put(&mut memory, "applications/b/containers", ResourceType::Containers, &[]);
    put(&mut memory, "applications/b", ResourceType::Application, &[]);
    let (listed, pages) = paged(&memory, "applications/b/containers");
    let expected = |list: &'static str, is_of: fn(usize) -> bool| {
        (0..count).filter(move |n| is_of(*n)).map(move |n| format!("{list} c{n:05}"))
    };
    let containers = expected("containerCollection", |n| n % 3 != 0);
    let expected: Vec<String> =
        containers.chain(expected("locationContainerCollection", |n| n % 3 == 0)).collect();
    assert!(listed == expected, "{} of {}", listed.len(), expected.len());
    assert_eq!(pages, 8);
    // One list alone is no longer than it is.
    let one = "applications/b/containers/locationContainerCollection";
    let first = ask(&memory, one, |request| request.listing = Listing::First);
    let place = ListPlace { list: "locationContainerCollection".into(), after: Some("c00999".into()) };
    assert_eq!(first.next.as_ref(), Some(&place));
    let last = ask(&memory, one, |request| request.listing = Listing::From(place));
    assert!(
        matches!(last.body, Body::Attribute { value: Value::References(listed), .. } if listed.len() == 333)
    );
    assert_eq!(last.next, None);
    // A page of what the request does not ask for is a refusal, not an end.
    let other = ListPlace { list: "containerCollection".into(), after: None };
    let refused = ask(&memory, one, |request| request.listing = Listing::From(other));
    assert_eq!(refused.status, StatusCode::BadRequest);
}

#[test]
fn a_few_members_are_one_page_with_its_validators() {
    let memory = fixture::tree();
    let whole = ask(&memory, "applications/a/containers", |_| ());
    let paged = ask(&memory, "applications/a/containers", |request| request.listing = Listing::First);
    assert!(whole.etag.is_some() && whole == paged);
}

#[test]
fn a_page_of_all_shards_ends_where_the_first_of_them_does() {
    let part = |names: &str| -> Vec<Member> {
        let member =
            |id: &str| (ResourceType::Container, NamedReference { id: id.into(), uri: String::new() });
        names.split_whitespace().map(member).collect()
    };
    let names = |page: Members| -> (String, bool) {
        let names: Vec<String> = page.members.into_iter().map(|(_, member)| member.id).collect();
        (names.join(" "), page.more)
    };
    let joined = |parts: &[&str]| names(members::joined(parts.iter().copied().map(part).collect(), 3));
    assert_eq!(joined(&["a d g", "b c e", "f"]), ("a b c d e".into(), true));
    assert_eq!(joined(&["a d", "b c", ""]), ("a b c d".into(), false));
    assert_eq!(joined(&["", ""]), (String::new(), false));
}

#[test]
fn a_collection_of_a_hundred_thousand_is_listed_in_pages_and_told_without_its_members() {
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
    // Whole it would be megabytes, so who cannot ask for pages is refused.
    let refused = ask(&memory, "applications/a/containers", |_| ());
    assert_eq!(refused.status, StatusCode::Forbidden);
    let (listed, pages) = paged(&memory, "applications/a/containers");
    assert_eq!(listed.iter().filter(|line| line.starts_with("containerCollection ")).count(), COUNT);
    assert_eq!(listed.len(), COUNT);
    assert!(listed.is_sorted(), "one list, in the order of names");
    // Each of the four lists is a walk of its own, past `subscriptions` too.
    assert_eq!(pages, 4 * (COUNT + 1).div_ceil(members::PAGE.members));

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
