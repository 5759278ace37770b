//! V1.1.1 as it is written: valid by its own schemas, and read back as what it was, without what came with V2.1.1.

use crate::{
    sample::{self, Extent},
    schema_check::validate_in,
};
use banyan_codec::{Edition, Expect, Format, Limits, Style, decode, encode_body};
use banyan_model::{
    Body, Content, Representation, ResourceType, Value,
    tables::{Category, FieldDef, Shape},
    time::XsdDuration,
    value::{ContentForm, Struct},
};
use bytes::Bytes;

const V1_XML: Style = Style { format: Format::Xml, edition: Edition::V1 };
const V1_JSON: Style = Style { format: Format::Json, edition: Edition::V1 };

/// Types that V1 has.
fn types() -> impl Iterator<Item = ResourceType> {
    sample::types().filter(|t| t.def().attributes.iter().any(|a| a.field.v1.is_some()))
}

/// V1 declares these otherwise in a way that no value of V2.1.1 can be turned into.
fn is_convertible(field: &FieldDef) -> bool {
    // A whole parameters resource there, pairs of name and value here.
    !matches!(field.name, "areaNwkTypeInfo" | "areaNwkTypeInfoOfDevice")
}

fn sampled(resource_type: ResourceType, extent: Extent) -> Representation {
    let mut sampled = sample::representation(resource_type, extent);
    sampled.attributes.retain(|(name, _)| {
        resource_type.attribute(name).is_some_and(|attribute| is_convertible(&attribute.field))
    });
    sampled
}

#[test]
fn full_and_minimal_xml_of_every_v1_type_is_valid_by_the_v1_schemas() {
    let mut documents = Vec::new();
    for (extent, suffix) in [(Extent::Full, "full"), (Extent::Minimal, "minimal")] {
        // The checker's wrapper for management objects is made for V2.1.1, whose schemas lack their root elements.
        let is_managed =
            |t: &ResourceType| matches!(t.def().category, Category::MgmtObject | Category::MgmtParameters);
        for t in types().filter(|t| !is_managed(t)) {
            let body = Body::Representation(sampled(t, extent));
            let document = encode_body(V1_XML, &body).expect("a document");
            documents.push((format!("{}-{suffix}", t.name()), document));
        }
        for message in sample::messages().filter(|m| m.fields.iter().any(|f| f.v1.is_some())) {
            // Their keys are elements of another name and type there; they are the security room's business.
            if message.root_element.ends_with("ParamSet") {
                continue;
            }
            let body = Body::Message(sample::message(message, extent));
            let document = encode_body(V1_XML, &body).expect("a document");
            documents.push((format!("{}-{suffix}", message.root_element), document));
        }
    }
    validate_in("v111", documents.iter().map(|(name, text)| (name.clone(), text.as_ref())));
}

#[test]
fn what_v1_has_comes_back_in_both_formats() {
    for t in types() {
        let whole = sampled(t, Extent::Full);
        for style in [V1_XML, V1_JSON] {
            let document = encode_body(style, &Body::Representation(whole.clone())).expect("a document");
            let read = decode(style.format, &document, &Limits::default(), Expect::Any);
            let Body::Representation(read) = read else {
                panic!("{read:?}\n{}", String::from_utf8_lossy(&document));
            };
            for attribute in t.def().attributes.iter().filter(|a| whole.get(a.field.name).is_some()) {
                let there = read.get(attribute.field.name).is_some();
                assert_eq!(there, attribute.field.v1.is_some(), "{}: {}", t.name(), attribute.field.name);
                if matches!(
                    attribute.field.shape,
                    Shape::Uri | Shape::Datetime | Shape::Long | Shape::StringList
                ) && there
                {
                    assert_eq!(read.get(attribute.field.name), whole.get(attribute.field.name));
                }
            }
        }
    }
}

#[track_caller]
fn check(attribute: &'static str, of: ResourceType, value: Value, xml: &str, json: &str) {
    let body =
        Body::Representation(Representation { resource_type: of, attributes: vec![(attribute, value)] });
    for (style, expected) in [(V1_XML, xml), (V1_JSON, json)] {
        let document = encode_body(style, &body).expect("a document");
        let text = String::from_utf8_lossy(&document);
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

#[test]
fn v1_spells_values_its_own_way() {
    let text = |text: &str| Value::Text(text.to_owned());
    check(
        "mgmtProtocolType",
        ResourceType::Scl,
        text("OMA_DM"),
        ">OMA DM<",
        r#""mgmtProtocolType":"OMA DM""#,
    );
    check(
        "memberType",
        ResourceType::Group,
        text("SCL_BASE"),
        ">SERVER_CAPABILITY_LAYER<",
        r#":"SERVER_CAPABILITY_LAYER""#,
    );
    check(
        "maxInstanceAge",
        ResourceType::Container,
        Value::Duration(XsdDuration { negative: false, months: 0, millis: 90_500 }),
        ">91<",
        r#""maxInstanceAge":91"#,
    );
    let content = Content {
        content_type: Some("text/plain".to_owned()),
        bytes: Bytes::from_static(b"hello"),
        form: ContentForm::Text,
    };
    check(
        "content",
        ResourceType::ContentInstance,
        Value::Content(content),
        r#"<m2m:content xmime:contentType="text/plain">aGVsbG8=</m2m:content>"#,
        r#""content":{"contentType":"text/plain","$t":"aGVsbG8="}"#,
    );
    let criteria = Struct {
        name: "ContentInstancesFilterCriteriaType",
        fields: vec![
            ("createdAfter", Value::Datetime(banyan_model::Timestamp(0))),
            ("metaDataOnly", Value::Bool(true)),
        ],
    };
    check(
        "filterCriteria",
        ResourceType::Subscription,
        Value::Struct(criteria),
        r#"xsi:type="m2m:ContentInstanceFilterCriteriaType"><createdSince>1970-01-01T00:00:00Z</createdSince>"#,
        r#""createdSince":"1970-01-01T00:00:00Z""#,
    );
}
