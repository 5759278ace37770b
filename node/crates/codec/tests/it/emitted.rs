//! What the SCL shows of every type keeps the schema: made by requests with the least and with everything that may be
//! sent, updated, executed, then retrieved and written.

use crate::{
    every_type::{World, minimal, value},
    schema_check::validate,
};
use banyan_codec::{
    Expect, Format, Limits, ResponseNotify, decode, encode_representation, error_info, response_notify,
};
use banyan_model::{
    Body, Method, Representation, ResourceType, StatusCode,
    tables::{AttributeDef, Category, Mode, TYPES},
};

/// Everything that this request may carry, but for what no document can: exclusive alternatives, and a pattern that no
/// value matches (tables/README.md, doubt 6).
fn full(of: ResourceType, mode: fn(&AttributeDef) -> Mode) -> Representation {
    let mut full = minimal(of, mode);
    for attribute in of.def().attributes.iter().filter(|attribute| mode(attribute) == Mode::Optional) {
        let field = &attribute.field;
        let taken = of.def().attributes.iter().any(|other| {
            !field.choice.is_empty()
                && other.field.choice == field.choice
                && full.get(other.field.name).is_some()
        });
        if !taken
            && field.xsd_type != "m2m:TFboolean"
            && Some(attribute.field.name) != of.id_attribute().map(|id| id.field.name)
        {
            full.set(field.name, value(attribute));
        }
    }
    full
}

#[test]
fn what_is_shown_of_every_type_keeps_the_schema() {
    let mut shown = Vec::new();
    for of in TYPES.iter().map(|def| def.resource_type) {
        // No representation of their own, or asked of the whole cluster.
        if of.def().category == Category::Virtual || of == ResourceType::Discovery {
            continue;
        }
        let mut world = World::new();
        let at = world.make(of);
        shown.push((format!("{}-least", of.name()), world.shown(&at)));
        let update = Body::Representation(full(of, |attribute| attribute.update));
        if world.admitted(Method::Update, &at).is_ok() {
            let response = world.send(Method::Update, &at, update);
            assert_eq!(response.status, StatusCode::Ok, "{}: {}", of.name(), response.info);
            shown.push((format!("{}-updated", of.name()), world.shown(&at)));
        }
        let made = of.id_attribute().is_some_and(|id| id.create != Mode::NotApplicable);
        if made && world.admitted(Method::Delete, &at).is_ok() {
            let holder = at.parent().expect("what can be deleted stands in something");
            world.send(Method::Delete, &at, Body::None);
            let everything = full(of, |attribute| attribute.create);
            let whole = world.create(&holder, everything).map_err(|refused| refused.info.clone());
            let whole = whole.unwrap_or_else(|refused| panic!("{}: {refused}", of.name()));
            shown.push((format!("{}-full", of.name()), world.shown(&whole)));
        }
    }
    let mut world = World::new();
    let object = world.make(ResourceType::EtsiReboot);
    let action = world.create(&object, minimal(ResourceType::RebootAction, |attribute| attribute.create));
    let action = action.expect("an etsiReboot has an action");
    let begun = world.send(Method::Execute, &action.child("reboot"), Body::None);
    assert_eq!(begun.status, StatusCode::Ok, "{}", begun.info);
    shown.push(("etsiReboot-running".to_owned(), world.shown(&object)));
    shown.push(("rebootAction-running".to_owned(), world.shown(&action)));

    let mut documents = Vec::new();
    for (name, representation) in &shown {
        let xml = encode_representation(Format::Xml, representation);
        let read = decode(Format::Xml, &xml, &Limits::default(), Expect::Any);
        assert_eq!(read, Body::Representation(representation.clone()), "{name}");
        documents.push((name.clone(), xml));
    }
    assert!(documents.len() > 150, "{} representations", documents.len());
    validate(documents.iter().map(|(name, xml)| (name.clone(), xml.as_ref())));
}

#[test]
fn a_response_notify_keeps_the_schema() {
    let created = ResponseNotify {
        status: StatusCode::Created,
        body: None,
        location: Some("http://gw42.example.net:8080/m2m/containers/CMD/contentInstances/ci-77".to_owned()),
        etag: Some("\"2013-05-31T12:07:00Z\"".to_owned()),
        last_modified: Some("Fri, 31 May 2013 12:07:00 GMT".to_owned()),
    };
    let written = response_notify(Format::Xml, created.clone());
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <m2m:responseNotify xmlns:m2m=\"http://uri.etsi.org/m2m\">\
        <m2m:statusCode>STATUS_OK</m2m:statusCode>\
        <locationHeader>http://gw42.example.net:8080/m2m/containers/CMD/contentInstances/ci-77</locationHeader>\
        <etagHeader>\"2013-05-31T12:07:00Z\"</etagHeader>\
        <lastModifiedHeader>Fri, 31 May 2013 12:07:00 GMT</lastModifiedHeader>\
        </m2m:responseNotify>";
    assert_eq!(String::from_utf8_lossy(&written), expected);
    let info = error_info(Format::Xml, StatusCode::NotFound, "no such resource");
    let body = Some((Format::Xml.media_type().to_owned(), info));
    let refused = ResponseNotify {
        status: StatusCode::NotFound,
        body,
        location: None,
        etag: None,
        last_modified: None,
    };
    let refused = response_notify(Format::Xml, refused);
    validate([("created".to_owned(), written.as_ref()), ("refused".to_owned(), refused.as_ref())]);
}
