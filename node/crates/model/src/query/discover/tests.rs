use super::*;
use crate::{
    Command, Entity, Operation, RequestId, Timestamp, access, apply,
    fixture::{path, representation, scl, text},
    memory::Memory,
    primitive::NotifyMedia,
    value::{Content, ContentForm},
};

fn apply_all(operations: Vec<Operation>) -> Memory {
    let mut memory = Memory::default();
    for (n, operation) in (1..).zip(operations) {
        let at = Timestamp(n * 1_000);
        let command = Command {
            id: RequestId::default(),
            at,
            entity: Entity("/m2m/applications/a".into()),
            operation,
            hops: 0,
        };
        let outcome = apply::apply(&memory, &scl(), at, &command).expect("memory reads");
        assert!(outcome.response.info.is_empty(), "{}", outcome.response.info);
        memory.write(outcome.changes);
    }
    memory
}

fn create(at: &str, of: ResourceType, attributes: &[(&'static str, Value)]) -> Operation {
    let representation = representation(of, attributes);
    Operation::Create { path: path(at), representation, notify_media: NotifyMedia::Xml }
}

fn strings(list: &str) -> (&'static str, Value) {
    ("searchStrings", Value::List(list.split(' ').map(str::to_owned).collect()))
}

fn instance(container: &str, id: &str, content: &'static str, found_by: &str) -> Operation {
    let content =
        Content { content_type: Some("image/png".into()), bytes: content.into(), form: ContentForm::Binary };
    let mut attributes = vec![("content", Value::Content(content))];
    if !found_by.is_empty() {
        attributes.push(strings(found_by));
    }
    let representation = representation(ResourceType::ContentInstance, &attributes);
    Operation::CreateInstance { container: path(container), id: Some(id.to_owned()), representation }
}

/// Created one a second.
fn tree() -> Memory {
    let link = ("link", text("http://gw.example.org/m2m/applications/b"));
    apply_all(vec![
        create("applications/a", ResourceType::Application, &[strings("x y")]),
        create("applications/a/containers/c", ResourceType::Container, &[strings("x")]),
        create("containers/c", ResourceType::Container, &[strings("X y")]),
        create("scls/s", ResourceType::Scl, &[("link", text("http://gw.example.org/m2m"))]),
        create("scls/s/applications/b", ResourceType::ApplicationAnnc, &[link, strings("x z")]),
        instance("containers/c", "i1", "1", "x w"),
        instance("containers/c", "i2", "22", ""),
        instance("containers/c", "i3", "333", "x"),
    ])
}

/// What a query finds, a step of `visits` after the other.
fn found(memory: &Memory, criteria: &FilterCriteria, visits: usize) -> Vec<String> {
    let search = Search::new(&scl(), criteria).expect("sound criteria");
    let (mut uris, mut next) = (Vec::new(), None);
    for _ in 0..1_000 {
        let page = discover(memory, &scl(), &search, next, visits).expect("memory reads");
        uris.extend(page.candidates.into_iter().map(|candidate| candidate.uri));
        next = page.next;
        if next.is_none() {
            uris.sort();
            return uris;
        }
    }
    panic!("no end of {criteria:?}");
}

/// `query`: `name=value` words.
#[track_caller]
fn check(query: &str, expected: &str) {
    let mut criteria = FilterCriteria::default();
    for word in query.split_whitespace() {
        let (name, value) = word.split_once('=').expect("a name and a value");
        let number = || value.parse::<i64>().expect("a number");
        match name {
            "searchString" => criteria.search_string.push(value.to_owned()),
            "searchPrefix" => criteria.search_prefix = Some(format!("/m2m{value}")),
            "createdAfter" => criteria.created_after = Some(Timestamp(number())),
            "createdBefore" => criteria.created_before = Some(Timestamp(number())),
            "ifModifiedSince" => criteria.if_modified_since = Some(Timestamp(number())),
            "sizeFrom" => criteria.size_from = Some(number()),
            "contentType" => criteria.content_type.push(value.to_owned()),
            "attributeAccessor" => criteria.attribute_accessor = Some(value.to_owned()),
            "metaDataOnly" => criteria.meta_data_only = true,
            other => panic!("{other}"),
        }
    }
    let mut expected: Vec<&str> = expected.split_whitespace().collect();
    expected.sort_unstable();
    for visits in [1, 2, 3, 1_000] {
        assert_eq!(found(&tree(), &criteria, visits), expected, "{query}, {visits} at a time");
    }
}

const A: &str = "/m2m/applications/a";
const AC: &str = "/m2m/applications/a/containers/c";
const C: &str = "/m2m/containers/c";
const B: &str = "http://gw.example.org/m2m/applications/b";
const I: &str = "/m2m/containers/c/contentInstances";

#[test]
fn every_search_string_must_be_there_as_it_is_written() {
    check("searchString=x", &format!("{A} {AC} {B}"));
    check("searchString=x searchString=y", A);
    check("searchString=y searchString=x", A);
    check("searchString=X", C);
    check("searchString=none", "");
}

#[test]
fn a_prefix_ends_at_a_segment() {
    check("searchString=x searchPrefix=/applications", &format!("{A} {AC}"));
    check("searchString=x searchPrefix=/applications/a", &format!("{A} {AC}"));
    check("searchString=x searchPrefix=/applications/a/containers", AC);
    check("searchString=x searchPrefix=/applications/none", "");
    check("searchPrefix=/scls", &format!("/m2m/scls/s {B}"));
    check("", &format!("{A} {AC} {C} /m2m/scls/s {B}"));
}

#[test]
fn dates_are_strict_and_attributes_are_those_that_are_there() {
    check("createdAfter=2000 createdBefore=4000", C);
    check("ifModifiedSince=3000", "/m2m/scls/s");
    check("attributeAccessor=link", &format!("/m2m/scls/s {B}"));
    check("attributeAccessor=link searchString=z", B);
    check("attributeAccessor=accessRightID", "");
}

#[test]
fn instances_are_reported_when_they_are_asked_for() {
    check("searchString=w", "");
    check("searchString=w metaDataOnly=true", &format!("{I}/i1"));
    check("searchString=x sizeFrom=1", &format!("{I}/i3"));
    check("contentType=image/* createdAfter=6000", &format!("{I}/i2 {I}/i3"));
    check("searchPrefix=/containers/c/contentInstances", &format!("{I}/i1 {I}/i2 {I}/i3"));
    check("searchPrefix=/containers/c/contentInstances/i2", &format!("{I}/i2"));
    check("searchPrefix=/containers/c/contentInstances searchString=x", &format!("{I}/i1 {I}/i3"));
    check("attributeAccessor=contentSize searchPrefix=/containers", &format!("{I}/i1 {I}/i2 {I}/i3"));
    check("sizeFrom=0 searchPrefix=/applications", "");
}

#[test]
fn criteria_that_cannot_be_met_are_refused_by_name() {
    let refused = |change: fn(&mut FilterCriteria)| {
        let mut criteria = FilterCriteria::default();
        change(&mut criteria);
        let refusal = Search::new(&scl(), &criteria).expect_err("unsound criteria");
        (refusal.status, refusal.info)
    };
    for size in [0, -1] {
        let criteria = FilterCriteria { max_size: Some(size), ..FilterCriteria::default() };
        let refusal = Search::new(&scl(), &criteria).expect_err("nothing could be answered");
        assert_eq!(
            (refusal.status, refusal.info.as_str()),
            (StatusCode::BadRequest, "maxSize: must be above 0")
        );
    }
    let (status, info) = refused(|criteria| criteria.search_prefix = Some("http://other.example/m2m".into()));
    assert_eq!((status, info.as_str()), (StatusCode::NotFound, "searchPrefix: is not below this sclBase"));
}

#[test]
fn any_flag_makes_a_resource_visible() {
    let memory = tree();
    let search = Search::new(&scl(), &FilterCriteria::default()).expect("sound criteria");
    let page = discover(&memory, &scl(), &search, None, 1_000).expect("memory reads");
    let sees = |entity: &str| -> Vec<&str> {
        let entity = Entity(entity.to_owned());
        let visible = |one: &&Candidate| {
            let nobody = &mut |_: access::Asked<'_>| Ok::<_, std::convert::Infallible>(None);
            access::is_visible(&scl(), &one.governing, None, &entity, nobody).expect("infallible")
        };
        page.candidates.iter().filter(visible).map(|one| one.uri.as_str()).collect()
    };
    assert_eq!(sees("/m2m/applications/a"), [A, AC]);
    assert_eq!(sees("http://gw.example.org/m2m/applications/b"), [B]);
    assert_eq!(sees("/m2m/applications/c"), [""; 0]);
    assert_eq!(sees("/m2m").len(), 5);
}
