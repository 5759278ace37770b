use super::*;
use crate::{
    Content, Entity, SubtreeRoot,
    access::{DefaultRight, Flag, Governing},
    fixture::{self, representation, text},
    tables::{AttributeDef, Shape},
    time::XsdDuration,
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;

const AT: Timestamp = Timestamp(2_000_000);

pub(super) fn policy() -> Policy {
    Policy {
        channel: QueueLimits { entries_max: 3, octets_max: 1_000 },
        aggregation: QueueLimits { entries_max: 4, octets_max: 2_000 },
        aggregations_per_group_max: 2,
        public_uri: None,
        expiration_default_ms: 10_000,
        expiration_min_ms: 1_000,
        expiration_max_ms: 100_000,
        content_bytes_max: 100,
        instances_default: 7,
        instances_max: 0,
        container_bytes_max: 0,
        subscriptions_per_resource_max: 0,
        resources_per_subtree_max: 0,
        search_strings_max: 2,
        search_string_bytes_max: 5,
        members_per_group_max: 3,
        m2m_pocs_per_scl_max: 0,
        list_entries_max: 4,
        announce_all: false,
        name_seed: 0xabc,
    }
}

fn send(policy: &Policy, request: RequestPrimitive) -> Result<Operation, Refusal> {
    send_to(&fixture::scl(), policy, request)
}

fn send_to(scl: &Scl, policy: &Policy, request: RequestPrimitive) -> Result<Operation, Refusal> {
    let memory = fixture::tree();
    let admission = admit::admit(&memory, scl, &request).expect("memory reads")?;
    let command = command(&memory, scl, policy, AT, RequestId::default(), request, &admission);
    command.expect("memory reads").map(|command| command.operation)
}

fn create(collection: &str, body: Representation) -> Result<Representation, Refusal> {
    let request = fixture::request(Method::Create, collection, Body::Representation(body));
    match send(&policy(), request)? {
        Operation::Create { path, mut representation, .. } => {
            let id = representation.resource_type.id_attribute().expect("it has an id").field.name;
            assert!(representation.get(id).is_none(), "the path says the name");
            representation.set(id, text(path.name().expect("a member has a name")));
            Ok(representation)
        }
        Operation::CreateInstance { representation, .. } => Ok(representation),
        other => panic!("not a create: {other:?}"),
    }
}

/// Any value of a shape.
fn value(attribute: &AttributeDef) -> Value {
    match attribute.field.shape {
        Shape::Uri if attribute.field.name == "link" || attribute.field.name == "contact" => {
            text("http://x/y")
        }
        Shape::Uri | Shape::String | Shape::Time | Shape::Enum(_) => text("n1"),
        Shape::UriList | Shape::StringList => Value::List(vec!["x".into()]),
        Shape::Datetime => Value::Datetime(Timestamp(AT.0 + 50_000)),
        Shape::Duration => Value::Duration(XsdDuration { negative: false, months: 0, millis: 1 }),
        Shape::Bool => Value::Bool(true),
        Shape::Long => Value::Long(3),
        Shape::Hex | Shape::Base64 => Value::Binary { content_type: None, bytes: Bytes::new() },
        Shape::NamedReferenceCollection => Value::References(Vec::new()),
        Shape::NamedReference => Value::Reference(NamedReference { id: "x".into(), uri: "/x".into() }),
        Shape::Content => Value::Content(Content {
            content_type: Some("text/plain".into()),
            bytes: Bytes::from_static(b"x"),
            form: ContentForm::Text,
        }),
        Shape::Struct(name) => Value::Struct(Struct { name, fields: Vec::new() }),
        Shape::Resource(resource_type) => Value::Resource(Box::new(Representation::new(resource_type))),
        Shape::Empty => Value::Empty,
        Shape::Any => Value::Any(Element::default()),
    }
}

fn minimal(resource_type: ResourceType, mode: fn(&AttributeDef) -> Mode) -> Representation {
    let mut minimal = Representation::new(resource_type);
    for attribute in resource_type.def().attributes {
        if mode(attribute) == Mode::Mandatory {
            minimal.set(attribute.field.name, value(attribute));
        }
    }
    minimal
}

#[test]
fn modes_of_every_type_hold_in_create_and_update() {
    let mut refused = 0;
    for def in crate::tables::TYPES {
        for mode in [(|a: &AttributeDef| a.create) as fn(&AttributeDef) -> Mode, |a| a.update] {
            let minimal = minimal(def.resource_type, mode);
            assert_eq!(modes(&minimal, mode), Ok(()), "{}", def.name);
            for attribute in def.attributes {
                let name = attribute.field.name;
                let mut other = minimal.clone();
                match mode(attribute) {
                    Mode::Mandatory => drop(other.remove(name)),
                    Mode::NotPermitted | Mode::NotApplicable => other.set(name, value(attribute)),
                    _ => continue,
                }
                let refusal = modes(&other, mode).expect_err(name);
                assert_eq!(refusal.status, StatusCode::BadRequest);
                assert!(
                    refusal.info.starts_with(&format!("{name}: ")),
                    "{} {name}: {}",
                    def.name,
                    refusal.info
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "the tables have hundreds of such rows, {refused} were tried");
}

#[test]
fn creatable_types_are_created_with_the_least() {
    for (collection, resource_type) in [
        ("scls", ResourceType::Scl),
        ("applications", ResourceType::Application),
        ("accessRights", ResourceType::AccessRight),
        ("applications/a/containers", ResourceType::Container),
        ("applications/a/containers/c/contentInstances", ResourceType::ContentInstance),
        ("applications/a/containers/c/subscriptions", ResourceType::Subscription),
    ] {
        let created = create(collection, minimal(resource_type, |a| a.create)).expect(collection);
        if resource_type == ResourceType::ContentInstance {
            assert_eq!(created.get("contentTypes"), Some(&Value::List(vec!["text/plain".into()])));
            continue;
        }
        assert_eq!(created.datetime("creationTime"), Some(AT), "{collection}");
        assert_eq!(created.datetime("expirationTime"), Some(Timestamp(AT.0 + 10_000)), "{collection}");
        // Everything that every response has is there, but what is added when it is represented.
        for attribute in resource_type.def().attributes {
            let name = attribute.field.name;
            if attribute.response == Mode::Mandatory && !name.ends_with("Reference") {
                assert!(created.get(name).is_some(), "{collection}: {name}");
            }
        }
    }
}

#[test]
fn what_a_collection_cannot_hold_is_refused() {
    for (collection, resource_type, expected) in [
        ("applications", ResourceType::Container, Some(StatusCode::BadRequest)),
        ("containers", ResourceType::LocationContainer, Some(StatusCode::Forbidden)),
        (
            "applications/a/containers/c/subcontainers",
            ResourceType::LocationContainer,
            Some(StatusCode::Forbidden),
        ),
        ("scls/s/applications", ResourceType::Application, Some(StatusCode::Forbidden)),
        ("scls/s/mgmtObjs", ResourceType::BatteryInstance, Some(StatusCode::BadRequest)),
        ("scls/s/m2mPocs", ResourceType::NotificationChannel, Some(StatusCode::BadRequest)),
        ("applications/a/containers", ResourceType::LocationContainer, None),
        ("scls/s/applications", ResourceType::ApplicationAnnc, None),
        ("groups", ResourceType::Group, None),
        ("applications/a/notificationChannels", ResourceType::NotificationChannel, None),
        ("scls/s/mgmtObjs", ResourceType::EtsiBattery, None),
        ("scls/mgmtObjs", ResourceType::MgmtObj, None),
    ] {
        let refused = create(collection, minimal(resource_type, |a| a.create)).err();
        assert_eq!(refused.map(|r| r.status), expected, "{resource_type:?} in {collection}");
    }
}

#[test]
fn an_application_is_told_its_reference_point() {
    let body = Body::Representation(Representation::new(ResourceType::Application));
    let mut request = fixture::request(Method::Create, "applications", body);
    request.reference_point = crate::primitive::ReferencePoint::Dia;
    let Ok(Operation::Create { representation, .. }) = send(&policy(), request) else { panic!("a create") };
    assert_eq!(representation.text("referencePoint"), Some("DIA_REFERENCE_POINT"));
}

#[test]
fn a_channel_gets_the_addresses_of_its_doors() {
    let nowhere = Scl { authorities: Vec::new(), ..fixture::scl() };
    let public = || Some(Arc::from("https://public.example.net"));
    for (scl, reached_at, public_uri, expected) in [
        (fixture::scl(), Some("https://edge.example.net:8443"), public(), "https://edge.example.net:8443"),
        (fixture::scl(), None, public(), "https://public.example.net"),
        (fixture::scl(), None, None, "http://nscl.example.net"),
        (nowhere, None, None, ""),
    ] {
        for (collection, resource_type) in [
            ("applications/a/notificationChannels", ResourceType::NotificationChannel),
            ("scls/s/communicationChannels", ResourceType::CommunicationChannel),
        ] {
            let attributes = [("channelType", text("LONG_POLLING")), ("id", text("ch"))];
            let body = Body::Representation(representation(resource_type, &attributes));
            let mut request = fixture::request(Method::Create, collection, body);
            request.reached_at = reached_at.map(str::to_owned);
            let policy = Policy { public_uri: public_uri.clone(), ..policy() };
            let Ok(Operation::Create { representation: made, .. }) = send_to(&scl, &policy, request) else {
                panic!("{collection}")
            };
            let door = |door| format!("{expected}/m2m/{collection}/ch/{door}");
            assert_eq!(made.text("contactURI"), Some(door("contact").as_str()));
            let Some(Value::Struct(data)) = made.get("channelData") else { panic!("{made:?}") };
            assert_eq!(data.name, "LongPollingChannelData");
            assert_eq!(data.get("longPollingURI"), Some(&text(&door("poll"))));
        }
    }
}

#[test]
fn only_a_notify_is_for_a_contact() {
    let contact = "applications/a/notificationChannels/nc/contact";
    let reference = ("subscriptionReference", text("/m2m/applications/a/subscriptions/s"));
    let notify = Struct { name: "Notify", fields: vec![reference] };
    let sent = send(&policy(), fixture::request(Method::Notify, contact, Body::Message(notify.clone())));
    let channel = fixture::path("applications/a/notificationChannels/nc");
    let limits = QueueLimits { entries_max: 3, octets_max: 1_000 };
    assert_eq!(sent, Ok(Operation::Enqueue { channel, message: notify.clone(), limits }));

    let asked = Struct { name: "RequestNotify", fields: Vec::new() };
    let malformed = Body::Malformed(Refusal::attribute("notify", "is broken"));
    for (method, target, body, expected) in [
        (Method::Notify, contact, Body::Message(asked), StatusCode::BadRequest),
        (Method::Execute, contact, Body::None, StatusCode::BadRequest),
        (Method::Create, contact, malformed, StatusCode::BadRequest),
        (Method::Retrieve, contact, Body::None, StatusCode::MethodNotAllowed),
        (Method::Delete, contact, Body::None, StatusCode::MethodNotAllowed),
        (
            Method::Notify,
            "applications/a/notificationChannels/nc/poll",
            Body::Message(notify.clone()),
            StatusCode::MethodNotAllowed,
        ),
        (
            Method::Notify,
            "applications/a/notificationChannels/other/contact",
            Body::Message(notify),
            StatusCode::NotFound,
        ),
    ] {
        let refused = send(&policy(), fixture::request(method, target, body)).expect_err(target);
        assert_eq!(refused.status, expected, "{method:?} {target}: {}", refused.info);
    }
}

#[test]
fn a_subscription_is_synchronous_when_its_contact_is_polled() {
    for (contact, expected) in [
        ("/m2m/applications/a/notificationChannels/nc/contact", "SYNCHRONOUS"),
        ("http://nscl.example.net/m2m/applications/a/notificationChannels/nc/contact", "SYNCHRONOUS"),
        ("http://elsewhere.example.net/m2m/applications/a/notificationChannels/nc/contact", "ASYNCHRONOUS"),
        ("http://contact.example.net/", "ASYNCHRONOUS"),
    ] {
        let body = representation(ResourceType::Subscription, &[("contact", text(contact))]);
        let made = create("applications/a/containers/e/subscriptions", body).expect(contact);
        assert_eq!(made.text("subscriptionType"), Some(expected), "{contact}");
    }
}

#[test]
fn names_are_checked() {
    let long = "x".repeat(257);
    for (name, expected) in [
        ("ok-1", None),
        ("ci-0000000000000001", None),
        ("", Some(StatusCode::BadRequest)),
        ("a/b", Some(StatusCode::BadRequest)),
        ("..", Some(StatusCode::BadRequest)),
        (&long, Some(StatusCode::BadRequest)),
        ("subscriptions", Some(StatusCode::BadRequest)),
        ("accessRightID", Some(StatusCode::BadRequest)),
        // Reserved below `applications` and `scls` only.
        ("mgmtObjs", None),
    ] {
        let body = representation(ResourceType::Container, &[("id", text(name))]);
        assert_eq!(create("containers", body).err().map(|r| r.status), expected, "{name:?}");
    }
    let content = value(ResourceType::ContentInstance.attribute("content").expect("it has content"));
    for (name, expected) in [
        ("mine", None),
        ("ci-000000000000000F", None),
        ("ci-0000000000000001", Some(StatusCode::Conflict)),
        ("latest", Some(StatusCode::BadRequest)),
    ] {
        let attributes = [("id", text(name)), ("content", content.clone())];
        let body = representation(ResourceType::ContentInstance, &attributes);
        let made = create("applications/a/containers/c/contentInstances", body);
        assert_eq!(made.err().map(|r| r.status), expected, "{name:?}");
    }
    let unnamed = create("applications/a/containers", Representation::new(ResourceType::Container));
    assert_eq!(unnamed.expect("created").text("id"), Some("0000000000000abc"));
}

#[test]
fn expiration_is_negotiated() {
    for (wanted, expected) in [
        (None, Ok(10_000)),
        (Some(50_000), Ok(50_000)),
        (Some(10), Ok(1_000)),
        (Some(500_000), Ok(100_000)),
        (Some(0), Err(StatusCode::BadRequest)),
        (Some(-5), Err(StatusCode::BadRequest)),
    ] {
        let mut body = Representation::new(ResourceType::Container);
        if let Some(wanted) = wanted {
            body.set("expirationTime", Value::Datetime(Timestamp(AT.0 + wanted)));
        }
        let found = create("containers", body).map(|r| r.datetime("expirationTime").expect("set").0 - AT.0);
        assert_eq!(found.map_err(|refusal| refusal.status), expected, "{wanted:?}");
    }
}

#[test]
fn for_ever_is_what_policy_allows() {
    let mut body = Representation::new(ResourceType::Container);
    for (text, most, expected) in [
        ("9999-12-31T23:59:59Z", 100_000, Timestamp(AT.0 + 100_000)),
        ("12000-01-01T00:00:00Z", 100_000, Timestamp(AT.0 + 100_000)),
        ("9999-12-31T23:59:59Z", 0, Timestamp::LAST),
        ("12000-01-01T00:00:00Z", 0, Timestamp::LAST),
    ] {
        let wanted = Timestamp::parse(text).expect("a dateTime");
        body.set("expirationTime", Value::Datetime(wanted));
        let policy = Policy { expiration_max_ms: most, ..policy() };
        let request = fixture::request(Method::Create, "containers", Body::Representation(body.clone()));
        let Ok(Operation::Create { representation, .. }) = send(&policy, request) else { panic!("{text}") };
        assert_eq!(representation.datetime("expirationTime"), Some(expected), "{text} {most}");
    }
}

#[test]
fn rules_of_single_types_name_the_attribute() {
    let scl = minimal(ResourceType::Scl, |a| a.create);
    let subscription = minimal(ResourceType::Subscription, |a| a.create);
    let with = |base: &Representation, attributes: &[(&'static str, Value)]| {
        let mut body = base.clone();
        attributes.iter().for_each(|(name, value)| body.set(name, value.clone()));
        body
    };
    let both = [("minimalTimeBetweenNotifications", Value::Long(1)), ("delayTolerance", Value::Datetime(AT))];
    let filtered = |name, value| {
        let criteria = Struct { name: "ContentInstancesFilterCriteriaType", fields: vec![(name, value)] };
        [("filterCriteria", Value::Struct(criteria))]
    };
    let apoc = Struct { name: "APoCPath", fields: vec![("path", text("/containers/x"))] };
    let apoc = Struct { name: "APoCPaths", fields: vec![("aPoCPath", Value::Struct(apoc))] };
    let octets = |content_type: Option<&str>, size| {
        let content_type = content_type.map(str::to_owned);
        let content = Content { content_type, bytes: Bytes::from(vec![0; size]), form: ContentForm::Binary };
        representation(ResourceType::ContentInstance, &[("content", Value::Content(content))])
    };
    let application = |name, uri| representation(ResourceType::Application, &[(name, text(uri))]);
    let poc = |uri| {
        let info = Struct { name: "ContactInfo", fields: vec![("contactURI", text(uri))] };
        representation(ResourceType::M2mPoc, &[("contactInfo", Value::Struct(info))])
    };
    let instances = "applications/a/containers/c/contentInstances";
    let subscriptions = "applications/a/containers/c/subscriptions";
    let bare = Representation::new(ResourceType::Application);
    for (collection, body, named) in [
        (
            "applications",
            with(&bare, &[("searchStrings", Value::List(vec!["a".into(), String::new()]))]),
            "searchStrings",
        ),
        ("scls", with(&scl, &[("pocs", Value::List(vec![String::new()]))]), "pocs"),
        ("scls", with(&scl, &[("link", text("/m2m"))]), "link"),
        (subscriptions, with(&subscription, &[("contact", text("b.example.org"))]), "contact"),
        (subscriptions, with(&subscription, &both), "delayTolerance"),
        (subscriptions, with(&subscription, &filtered("sizeUntil", Value::Long(9))), "sizeUntil"),
        (subscriptions, with(&subscription, &filtered("metaDataOnly", Value::Bool(true))), "metaDataOnly"),
        (
            "applications",
            representation(ResourceType::Application, &[("aPoCPaths", Value::Struct(apoc))]),
            "aPoCPaths",
        ),
        ("applications", application("aPoC", "not a uri"), "aPoC"),
        ("applications", application("aPoC", "/m2m/applications/a"), "aPoC"),
        ("applications", application("aPoC", "coap://b.example.org"), "aPoC"),
        ("applications", application("accessRightID", "/m2m/containers/c"), "accessRightID"),
        ("applications", application("accessRightID", "/m2m"), "accessRightID"),
        ("scls/s/m2mPocs", poc("foo"), "contactURI"),
        ("scls/s/m2mPocs", poc("http://not a uri"), "contactURI"),
        ("scls/s/m2mPocs", poc("ftp://b.example.org"), "contactURI"),
        (subscriptions, with(&subscription, &[("contact", text("ftp://b.example.org/n"))]), "contact"),
        (subscriptions, with(&subscription, &[("contact", text("mailto:b@example.org"))]), "contact"),
        (subscriptions, with(&subscription, &[("aggregateURI", text("b.example.org"))]), "aggregateURI"),
        (instances, octets(Some("image/png"), 11), "content"),
        (instances, octets(None, 1), "contentType"),
        (instances, octets(Some(" "), 1), "contentType"),
    ] {
        let refusal = create(collection, body).expect_err(named);
        assert_eq!(refusal.status, StatusCode::BadRequest);
        assert!(refusal.info.starts_with(&format!("{named}: ")), "{}", refusal.info);
    }
    for (collection, body) in [
        ("applications", application("aPoC", "http://b.example.org:9000/meter")),
        ("applications", application("accessRightID", "/m2m/applications/a/accessRights/none")),
        ("applications", application("accessRightID", "http://gw.example.org/m2m/containers/c")),
        ("scls/s/m2mPocs", poc("http://10.0.0.1:9000")),
        ("scls/s/m2mPocs", poc("/m2m/scls/s/notificationChannels/n/contact")),
    ] {
        assert_eq!(create(collection, body).map(drop), Ok(()), "{collection}");
    }
    let local = with(&subscription, &[("contact", text("/m2m/applications/a"))]);
    assert!(create(subscriptions, local).is_ok());
    let echo = with(&subscription, &[("contact", text("/m2m/applications/a/containers/c"))]);
    let refusal = create(subscriptions, echo).expect_err("a notify that causes the next");
    assert!(refusal.info.starts_with("contact: "), "{}", refusal.info);
    let of_instances = "applications/a/containers/c/contentInstances/subscriptions";
    let sized = with(&subscription, &filtered("sizeUntil", Value::Long(9)));
    assert!(create(of_instances, sized).is_ok());
    for (contact, aggregate) in
        [("/m2m/applications/a", ""), ("HTTPS://b.example.org/n", "/m2m/applications/a")]
    {
        let contacts = [("contact", text(contact)), ("aggregateURI", text(aggregate))];
        assert!(create(subscriptions, with(&subscription, &contacts)).is_ok(), "{contact}");
    }
}

#[test]
fn text_without_a_media_type_is_plain() {
    let content = Content { content_type: None, bytes: Bytes::from_static(b"21"), form: ContentForm::Text };
    let body = representation(ResourceType::ContentInstance, &[("content", Value::Content(content))]);
    let made = create("applications/a/containers/c/contentInstances", body).expect("it is text");
    let Some(Value::Content(content)) = made.get("content") else { panic!("{made:?}") };
    assert_eq!(content.content_type.as_deref(), Some("text/plain"));
    assert_eq!(made.get("contentTypes"), Some(&Value::List(vec!["text/plain".into()])));
}

#[test]
fn who_registers_says_who_it_is_and_an_application_may_be_given_a_name() {
    let mut unnamed = minimal(ResourceType::Scl, |a| a.create);
    unnamed.remove("sclId");
    let register =
        |collection, body| fixture::request(Method::Create, collection, Body::Representation(body));
    let request = register("scls", unnamed);
    assert_eq!(request.subtree(), Some(SubtreeRoot::SclBase), "no name is drawn for it");
    let refusal = send(&policy(), request).expect_err("who is it");
    assert_eq!((refusal.status, refusal.info.as_str()), (StatusCode::BadRequest, "sclId: is missing"));
    let application = register("applications", Representation::new(ResourceType::Application));
    assert_eq!(application.subtree(), None, "whoever routes it draws a name");
    assert!(send(&policy(), application).is_ok());
}

#[test]
fn raw_bodies_become_content_and_malformed_ones_are_refused_last() {
    let instances = "applications/a/containers/c/contentInstances";
    let body = Body::Raw { content_type: "image/png".into(), bytes: Bytes::from_static(b"abc") };
    match send(&policy(), fixture::request(Method::Create, instances, body)) {
        Ok(Operation::CreateInstance { container, id: None, representation }) => {
            assert_eq!(container, fixture::path("applications/a/containers/c"));
            assert_eq!(representation.get("contentTypes"), Some(&Value::List(vec!["image/png".into()])));
        }
        other => panic!("{other:?}"),
    }
    let refusal = Refusal::attribute("contact", "is odd");
    let malformed = fixture::request(Method::Update, "applications/a", Body::Malformed(refusal.clone()));
    assert_eq!(send(&policy(), malformed.clone()), Err(refusal));
    let mut stale = malformed;
    stale.conditions.if_match = vec!["other".into()];
    let status = send(&policy(), stale).map_err(|refusal| refusal.status);
    assert_eq!(status, Err(StatusCode::PreconditionFailed), "conditions come before syntax");
}

#[test]
fn a_notify_that_too_many_led_to_is_refused() {
    let instances = "applications/a/containers/c/contentInstances";
    let notify = |hops| {
        let fields = vec![("statusCode", text("STATUS_OK"))];
        let body = Body::Message(Struct { name: "Notify", fields });
        let request = RequestPrimitive { hops, ..fixture::request(Method::Notify, instances, body) };
        send(&policy(), request).map(|_| ()).map_err(|refusal| refusal.status)
    };
    assert_eq!(notify(outbox::HOPS_MAX), Ok(()));
    assert_eq!(notify(outbox::HOPS_MAX + 1), Err(StatusCode::Forbidden));
}

#[test]
fn a_notify_becomes_the_content_of_one_instance() {
    let instances = "applications/a/containers/c/contentInstances";
    let notify = |fields| Body::Message(Struct { name: "Notify", fields });
    let stored = |method, body| match send(&policy(), fixture::request(method, instances, body)) {
        Ok(Operation::StoreNotify { container, instances }) => {
            assert_eq!(container, fixture::path("applications/a/containers/c"));
            let [instance] = instances.as_slice() else { panic!("{instances:?}") };
            let Some(Value::Content(content)) = instance.get("content") else { panic!("content") };
            (content.content_type.clone(), content.bytes.clone())
        }
        other => panic!("{other:?}"),
    };
    let xml = || ("application/xml".to_owned(), Bytes::from_static(b"<x/>"));
    let carried = || {
        let (content_type, bytes) = xml();
        ("representation", Value::Binary { content_type: Some(content_type), bytes })
    };
    let status = || ("statusCode", text("STATUS_OK"));
    for method in [Method::Notify, Method::Create] {
        let (content_type, bytes) = xml();
        let body = notify(vec![status(), carried(), ("subscriptionReference", text("/m2m/s"))]);
        assert_eq!(stored(method, body), (Some(content_type), bytes));
    }
    assert_eq!(stored(Method::Notify, notify(vec![status()])), (None, Bytes::new()), "noRepresentation");

    let large = Value::Binary { content_type: None, bytes: Bytes::from(vec![0; 1_000_000]) };
    for body in [
        notify(vec![status(), ("representation", large)]),
        Body::Message(Struct { name: "NotifyCollection", fields: vec![("notify", text("x"))] }),
        Body::None,
    ] {
        let refused = send(&policy(), fixture::request(Method::Notify, instances, body));
        assert_eq!(refused.map_err(|refusal| refusal.status), Err(StatusCode::BadRequest));
    }
}

/// What a NOTIFY of a container leaves: id, creationTime and content of each instance.
fn left(body: Body) -> Vec<(Option<String>, Option<i64>, Bytes)> {
    let instances = "applications/a/containers/c/contentInstances";
    let Ok(Operation::StoreNotify { instances, .. }) =
        send(&policy(), fixture::request(Method::Notify, instances, body))
    else {
        panic!("nothing is stored");
    };
    let one = |instance: Representation| {
        let Some(Value::Content(content)) = instance.get("content") else { panic!("{instance:?}") };
        let created = instance.datetime("creationTime").map(|at| at.0);
        assert_eq!(instance.get("href"), None);
        (instance.text("id").map(str::to_owned), created, content.bytes.clone())
    };
    instances.into_iter().map(one).collect()
}

#[test]
fn a_notify_of_content_instances_leaves_each_of_them() {
    let memory = fixture::tree();
    let (scl, container) = (fixture::scl(), fixture::path("applications/a/containers/c"));
    let instance = |sequence| Tree::new(&memory, &scl).instance(&container, sequence).unwrap().unwrap();
    let state = Tree::new(&memory, &scl).instances(&container).unwrap().unwrap();
    let all = |with_content| {
        represent::instances(&scl, &container, &state, &[instance(1), instance(2)], with_content)
    };
    let notify = |carried: Representation| {
        let carried = ("representation", Value::Resource(Box::new(carried)));
        Struct { name: "Notify", fields: vec![("statusCode", text("STATUS_OK")), carried] }
    };
    let first = || (Some("ci-0000000000000001".to_owned()), Some(1_001_000), Bytes::from_static(b"1"));
    let second = || (Some("two".to_owned()), Some(1_002_000), Bytes::from_static(b"22"));
    assert_eq!(left(Body::Message(notify(all(true)))), [first(), second()]);
    let one = represent::instance(&scl, &container, &instance(2), true);
    assert_eq!(left(Body::Message(notify(one.clone()))), [second()]);

    let several = [all(true), one].map(|carried| ("notify", Value::Struct(notify(carried)))).to_vec();
    let several = Struct { name: "NotifyCollection", fields: several };
    assert_eq!(left(Body::Message(several)), [first(), second(), second()]);

    let mut foreign = represent::instance(&scl, &container, &instance(2), true);
    foreign.set("id", text("a/b"));
    assert_eq!(left(Body::Message(notify(foreign))), [(None, Some(1_002_000), Bytes::from_static(b"22"))]);

    assert!(carries_instances(&all(true)));
    assert!(!carries_instances(&all(false)), "without content there is nothing to keep");
    assert!(!carries_instances(&Representation::new(ResourceType::Container)));
}

#[test]
fn updates_are_full_or_of_one_attribute() {
    let whole = Body::Representation(Representation::new(ResourceType::Container));
    match send(&policy(), fixture::request(Method::Update, "applications/a/containers/c", whole)) {
        Ok(Operation::Update { representation, .. }) => {
            assert_eq!(representation.get("searchStrings"), Some(&Value::List(Vec::new())));
            assert_eq!(representation.datetime("expirationTime"), Some(Timestamp(AT.0 + 10_000)));
            assert_eq!(representation.long("maxNrOfInstances"), Some(7));
        }
        other => panic!("{other:?}"),
    }
    let c = "applications/a/containers/c";
    let one = |name: &str, value| Body::Attribute { name: name.into(), value };
    for (target, body, expected) in [
        ("maxByteSize", one("maxByteSize", Value::Long(5)), Ok(())),
        ("maxByteSize", one("maxByteSize", text("5")), Err(StatusCode::BadRequest)),
        ("maxByteSize", one("searchStrings", Value::List(Vec::new())), Err(StatusCode::BadRequest)),
        ("creationTime", one("creationTime", Value::Datetime(AT)), Err(StatusCode::BadRequest)),
        ("expirationTime", one("expirationTime", Value::Datetime(Timestamp(0))), Err(StatusCode::BadRequest)),
        ("searchStrings/x", one("searchString", text("y")), Err(StatusCode::BadRequest)),
        ("searchStrings/y", one("searchString", text("y")), Err(StatusCode::NotFound)),
    ] {
        let request = fixture::request(Method::Update, &format!("{c}/{target}"), body);
        let found = send(&policy(), request).map(drop).map_err(|refusal| refusal.status);
        assert_eq!(found, expected, "{target}");
    }
}

#[test]
fn entries_are_changed_by_their_element() {
    use Method::{Create, Delete, Update};
    use StatusCode::{BadRequest, Conflict, NotFound};
    let (c, r) = ("applications/a/containers/c", "accessRights/r");
    let one = |name: &str, value| Body::Attribute { name: name.into(), value };
    let permission = || fixture::permission("READ", "all");
    let named = |id: &str| {
        let Value::Struct(mut fields) = permission() else { panic!("a struct") };
        fields.fields.insert(0, ("id", text(id)));
        Value::Struct(fields)
    };
    for (method, target, body, expected) in [
        (Create, format!("{c}/searchStrings"), one("searchString", text("y")), Ok(())),
        (Create, format!("{c}/searchStrings"), one("searchString", text("x")), Err((Conflict, "x"))),
        (
            Create,
            format!("{c}/searchStrings"),
            one("searchStrings", Value::List(vec![])),
            Err((BadRequest, "searchString")),
        ),
        (
            Create,
            format!("{c}/searchStrings"),
            one("searchString", Value::Long(1)),
            Err((BadRequest, "searchString")),
        ),
        (Create, format!("{c}/searchStrings"), Body::None, Err((BadRequest, "searchString"))),
        (
            Create,
            format!("{c}/maxByteSize"),
            one("maxByteSize", Value::Long(1)),
            Err((BadRequest, "maxByteSize")),
        ),
        (
            Create,
            format!("{c}/creationTime"),
            one("creationTime", Value::Datetime(AT)),
            Err((BadRequest, "creationTime")),
        ),
        (Delete, format!("{c}/searchStrings/x"), Body::None, Ok(())),
        (Delete, format!("{c}/searchStrings/y"), Body::None, Err((NotFound, ""))),
        (Delete, format!("{c}/searchStrings"), Body::None, Ok(())),
        (Delete, format!("{c}/creationTime"), Body::None, Err((BadRequest, "creationTime"))),
        (Delete, format!("{c}/announceTo"), Body::None, Err((NotFound, ""))),
        (Create, format!("{r}/selfPermissions"), one("permission", permission()), Ok(())),
        (Delete, format!("{r}/selfPermissions"), Body::None, Err((BadRequest, "selfPermissions"))),
        (Create, format!("{r}/permissions"), one("permission", named("p")), Ok(())),
        (Update, format!("{r}/permissions/p"), one("permission", permission()), Err((NotFound, ""))),
    ] {
        let request = fixture::request(method, &target, body);
        match (send(&policy(), request), expected) {
            (Ok(_), Ok(())) => {}
            (Err(refusal), Err((status, names))) => {
                assert_eq!(refusal.status, status, "{method:?} {target}: {}", refusal.info);
                assert!(refusal.info.contains(names), "{method:?} {target}: {}", refusal.info);
            }
            (found, expected) => panic!("{method:?} {target}: {found:?}, {expected:?}"),
        }
    }
}

#[test]
fn an_entry_without_an_id_gets_one_before_the_log() {
    let body = Body::Attribute { name: "permission".into(), value: fixture::permission("READ", "all") };
    let added = send(&policy(), fixture::request(Method::Create, "accessRights/r/permissions", body));
    let Ok(Operation::EditAttribute { edit: Edit::Add(entry), .. }) = added else { panic!("{added:?}") };
    assert_eq!(partial::entry_name(&entry), Some("0000000000000abc"));
}

#[test]
fn a_removed_attribute_is_reset_as_by_an_update_that_leaves_it_out() {
    let c = "applications/a/containers/c";
    for (attribute, expected) in [("searchStrings", Some(Value::List(Vec::new()))), ("maxByteSize", None)] {
        let operation =
            send(&policy(), fixture::request(Method::Delete, &format!("{c}/{attribute}"), Body::None));
        let reset = match operation {
            Ok(Operation::UpdateAttribute { value, .. }) => Some(value),
            Ok(Operation::EditAttribute { edit: Edit::Remove, .. }) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(reset, expected, "{attribute}");
    }
}

#[test]
fn a_partial_update_keeps_the_rules_of_a_full_one() {
    let path = |path: &str| Value::Struct(Struct { name: "APoCPath", fields: vec![("path", text(path))] });
    let body = Body::Attribute { name: "aPoCPath".into(), value: path("containers/x") };
    let refused = send(&policy(), fixture::request(Method::Create, "applications/a/aPoCPaths", body));
    let refusal = refused.expect_err("it hides a child");
    assert!(refusal.info.starts_with("aPoCPaths: "), "{}", refusal.info);
}

#[test]
fn an_admission_does_not_weaken_the_checks() {
    // Whoever governs, what may be written stays the same.
    let request =
        fixture::request(Method::Notify, "applications/a/containers/c/contentInstances", Body::None);
    let admission = Admission {
        target: Target::Resource {
            path: fixture::path("applications/a/containers/c/contentInstances"),
            resource_type: ResourceType::ContentInstances,
        },
        governing: Governing::Default(DefaultRight { owners: vec![Entity("/m2m".into())], announcer: None }),
        flag: Flag::Create,
    };
    let refused =
        command(&fixture::tree(), &fixture::scl(), &policy(), AT, RequestId::default(), request, &admission)
            .expect("memory reads");
    assert_eq!(refused.map(drop).map_err(|refusal| refusal.status), Err(StatusCode::BadRequest));
}
