//! Whatever the tables allow comes back as it was: model -> XML -> model and model -> JSON -> model, for all types.

use crate::sample;
use banyan_codec::{Expect, Format, Limits, decode, encode_attribute, encode_body};
use banyan_model::{
    Body, Content, Representation, ResourceType, Timestamp, Value,
    tables::{self, FieldDef, FieldKind, Shape},
    time::XsdDuration,
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn representations_come_back(representation in representations()) {
        check(Body::Representation(representation))?;
    }

    #[test]
    fn messages_come_back(message in messages()) {
        check(Body::Message(message))?;
    }

    #[test]
    fn attributes_come_back((name, value) in attributes()) {
        for format in [Format::Xml, Format::Json] {
            let document = encode_attribute(format, name, &value).expect("the tables have it");
            let read = decode(format, &document, &Limits::default(), Expect::Any);
            prop_assert_eq!(&read, &Body::Attribute { name: name.into(), value: value.clone() });
        }
    }

    #[test]
    fn a_shuffled_representation_is_written_in_the_order_of_the_schema(representation in representations()) {
        let mut shuffled = representation.clone();
        shuffled.attributes.reverse();
        for format in [Format::Xml, Format::Json] {
            prop_assert_eq!(
                encode_body(format, &Body::Representation(shuffled.clone())),
                encode_body(format, &Body::Representation(representation.clone()))
            );
        }
    }
}

fn check(body: Body) -> Result<(), TestCaseError> {
    for format in [Format::Xml, Format::Json] {
        let document = encode_body(format, &body).expect("a document");
        let read = decode(format, &document, &Limits::default(), Expect::Any);
        prop_assert_eq!(&read, &body, "{}", String::from_utf8_lossy(&document));
    }
    Ok(())
}

fn representations() -> impl Strategy<Value = Representation> {
    select(sample::types().collect::<Vec<_>>()).prop_flat_map(representation)
}

fn representation(resource_type: ResourceType) -> impl Strategy<Value = Representation> {
    let fields = resource_type.def().attributes.iter().map(|a| &a.field).collect();
    values(fields, false).prop_map(move |attributes| Representation { resource_type, attributes })
}

fn messages() -> impl Strategy<Value = Struct> {
    let names: Vec<&'static str> = sample::messages().map(|s| s.name).collect();
    select(names).prop_flat_map(structure)
}

fn attributes() -> impl Strategy<Value = (&'static str, Value)> {
    let fields = sample::types().flat_map(|t| t.def().attributes).map(|a| &a.field);
    let fields: Vec<&'static FieldDef> = fields.filter(|f| f.kind == FieldKind::Element).collect();
    select(fields).prop_flat_map(|field| value(field).prop_map(|value| (field.name, value)))
}

fn structure(name: &'static str) -> BoxedStrategy<Struct> {
    let derived = match name {
        "ChannelData" => "LongPollingChannelData",
        "FilterCriteriaType" => "ContentInstancesFilterCriteriaType",
        own => own,
    };
    let declared = tables::struct_def(name).expect("in the tables").fields;
    let fields = tables::struct_def(derived).expect("in the tables").fields.iter().collect();
    let named = move |fields: Vec<(&'static str, Value)>| {
        // Told by its fields: JSON has no xsi:type.
        let fits = !declared.is_empty() && fields.iter().all(|(f, _)| declared.iter().any(|d| d.name == *f));
        Struct { name: if fits { name } else { derived }, fields }
    };
    values(fields, true).prop_map(named).boxed()
}

/// Values for fields, within occurrence and choice. `required`: what the schema requires is there (structs).
fn values(fields: Vec<&'static FieldDef>, required: bool) -> BoxedStrategy<Vec<(&'static str, Value)>> {
    let mut parts: Vec<BoxedStrategy<Vec<(&'static str, Value)>>> = Vec::new();
    let mut rest = fields.as_slice();
    while let Some((&field, after)) = rest.split_first() {
        let group = match field.choice {
            "" => 1,
            choice => 1 + after.iter().take_while(|f| f.choice == choice).count(),
        };
        let one_of = select(rest[..group].to_vec());
        rest = &rest[group..];
        parts.push(one_of.prop_flat_map(move |field| occurrences(field, required)).boxed());
    }
    parts.prop_map(|parts| parts.into_iter().flatten().collect()).boxed()
}

fn occurrences(field: &'static FieldDef, required: bool) -> BoxedStrategy<Vec<(&'static str, Value)>> {
    let min = if required { field.min as usize } else { 0 };
    let max = if field.kind == FieldKind::Wildcard { 1 } else { field.max.unwrap_or(3).min(3) as usize };
    vec(value(field), min..=max)
        .prop_map(|values| values.into_iter().map(|v| (field.name, v)).collect())
        .boxed()
}

fn value(field: &'static FieldDef) -> BoxedStrategy<Value> {
    match field.shape {
        Shape::Uri => uri().prop_map(Value::Text).boxed(),
        Shape::String => match field.xsd_type {
            "xs:NMTOKEN" => "[A-Za-z0-9._:é-]{1,12}".prop_map(Value::Text).boxed(),
            "xs:token" => token().prop_map(Value::Text).boxed(),
            _ => {
                let most = field
                    .facet
                    .strip_prefix("maxLength=")
                    .map_or(usize::MAX, |n| n.parse().expect("a number"));
                text().prop_map(move |t| Value::Text(t.chars().take(most).collect())).boxed()
            }
        },
        Shape::UriList => vec(uri(), 0..4).prop_map(Value::List).boxed(),
        Shape::StringList => vec(text(), 0..4).prop_map(Value::List).boxed(),
        // All that can be written.
        Shape::Datetime => {
            (Timestamp::FIRST.0..=Timestamp::LAST.0).prop_map(|t| Value::Datetime(Timestamp(t))).boxed()
        }
        Shape::Time => "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,3})?(Z|[+-]1[0-3]:[0-5][0-9])?"
            .prop_map(Value::Text)
            .boxed(),
        Shape::Duration => {
            (any::<bool>(), prop_oneof![Just(0), any::<u32>()], prop_oneof![Just(0), any::<u64>()])
                .prop_map(|(negative, months, millis)| {
                    let negative = negative && (months, millis) != (0, 0);
                    Value::Duration(XsdDuration { negative, months, millis })
                })
                .boxed()
        }
        Shape::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Shape::Long => long(field),
        Shape::Hex => {
            let length = field.facet.strip_prefix("length=").map_or(0..20, |n| {
                let n: usize = n.parse().expect("a number");
                n..n + 1
            });
            vec(any::<u8>(), length)
                .prop_map(|b| Value::Binary { content_type: None, bytes: b.into() })
                .boxed()
        }
        Shape::Base64 => (option::of(text()), octets())
            .prop_map(|(content_type, bytes)| Value::Binary { content_type, bytes })
            .boxed(),
        Shape::NamedReferenceCollection => vec(reference(), 0..4).prop_map(Value::References).boxed(),
        Shape::NamedReference => reference().prop_map(Value::Reference).boxed(),
        Shape::Content => content().prop_map(Value::Content).boxed(),
        Shape::Empty => Just(Value::Empty).boxed(),
        Shape::Any if field.kind == FieldKind::Wildcard => {
            let most = if field.max == Some(1) { 1 } else { 3 };
            vec(foreign(), 1..=most)
                .prop_map(|children| Value::Any(Element { children, ..Element::default() }))
                .boxed()
        }
        Shape::Any => foreign()
            .prop_map(|e| Value::Any(Element { namespace: String::new(), name: String::new(), ..e }))
            .boxed(),
        Shape::Enum(name) => {
            let values = tables::enum_def(name).expect("in the tables").values;
            select(values).prop_map(|(v2, _)| Value::Text(v2.into())).boxed()
        }
        Shape::Struct(name) => structure(name).prop_map(Value::Struct).boxed(),
        Shape::Resource(inner) => representation(inner).prop_map(|r| Value::Resource(Box::new(r))).boxed(),
    }
}

fn long(field: &'static FieldDef) -> BoxedStrategy<Value> {
    match (field.facet, field.xsd_type) {
        ("min=0;max=100", _) => (0..=100_i64).prop_map(Value::Long).boxed(),
        (_, "xs:unsignedInt") => any::<u32>().prop_map(|n| Value::Long(n.into())).boxed(),
        // All 64 bits: xs:unsignedLong keeps them as they are.
        _ => any::<i64>().prop_map(Value::Long).boxed(),
    }
}

/// What XML can carry: markup, quotes, line ends and a few planes of Unicode are likely.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~\\t\\n\\r]{0,20}",
        1 => "[<>&\"'\\]\\[{}$@\\\\é€\u{EF00}\u{FF21}\u{1F600}]{0,12}",
        1 => Just(String::new()),
    ]
}

/// Text without white space around it.
/// What xs:anyURI takes.
fn uri() -> impl Strategy<Value = String> {
    let beginnings = select(vec!["", "/m2m/", "http://h.example.org:80/", "urn:"]);
    (beginnings, "[A-Za-z0-9._~!$&'()*+,;=@{}|?é-]{0,12}")
        .prop_map(|(begin, rest)| format!("{begin}{rest}%20"))
}

fn token() -> impl Strategy<Value = String> {
    text().prop_map(|t| t.trim_matches([' ', '\t', '\n', '\r']).to_owned())
}

fn octets() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn reference() -> impl Strategy<Value = NamedReference> {
    (token(), token()).prop_map(|(id, uri)| NamedReference { id, uri })
}

fn content() -> impl Strategy<Value = Content> {
    let body = prop_oneof![
        octets().prop_map(|bytes| (ContentForm::Binary, bytes)),
        text().prop_map(|text| (ContentForm::Text, Bytes::from(text))),
    ];
    (option::of(text()), body).prop_map(|(content_type, (form, bytes))| Content { content_type, bytes, form })
}

/// An element of a foreign namespace with anything below it.
fn foreign() -> impl Strategy<Value = Element> {
    let namespace = || select(vec!["urn:example:a", "urn:example:b&c", "http://www.w3.org/2005/05/xmlmime"]);
    let below = move || prop_oneof![Just(""), Just("http://uri.etsi.org/m2m"), namespace()];
    let attribute_name =
        || select(vec!["a", "b", "{urn:example:a}a", "{http://www.w3.org/XML/1998/namespace}lang"]);
    let attributes = move || {
        proptest::collection::btree_map(attribute_name().prop_map(str::to_owned), text(), 0..3)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
    };
    let name = || "[a-z_][a-z0-9.-]{0,2}";
    let leaf = (below(), name(), attributes(), text()).prop_map(|(namespace, name, attributes, text)| {
        Element { namespace: namespace.into(), name, attributes, text, children: Vec::new() }
    });
    let tree = leaf.prop_recursive(3, 8, 3, move |inner| {
        (below(), name(), attributes(), text(), vec(inner, 1..4)).prop_map(
            |(namespace, name, attributes, text, children)| Element {
                namespace: namespace.into(),
                name,
                attributes,
                // White space between children is layout and does not come back.
                text: if text.trim().is_empty() { String::new() } else { text },
                children,
            },
        )
    });
    (namespace(), tree).prop_map(|(namespace, element)| Element { namespace: namespace.into(), ..element })
}
