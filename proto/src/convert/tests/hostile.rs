//! Bytes that nobody of this release wrote.

use super::strategy;
use crate::{convert::*, v1};
use banyan_model::{
    Body, Content, Entity, Method, Path, RequestPrimitive, Value,
    outbox::{Message as Promise, Notification, OutboxEntry},
    primitive::NotifyMedia,
    record::Record,
    value::{ContentForm, Element, Struct},
};
use proptest::prelude::*;

/// Reads bytes as each of the messages; only a panic or an endless loop would be wrong.
fn read_all(bytes: &Bytes) {
    let _ = record_from_bytes(bytes.clone());
    let _ = command_from_bytes(bytes.clone());
    let _ = request_from_bytes(bytes.clone());
    let _ = response_from_bytes(bytes.clone());
    if let Ok(state) = v1::DirectoryState::decode(bytes.clone()) {
        let _ = banyan_model::placement::ShardMap::try_from(&state);
    }
    let _ = v1::SubmitFrame::decode(bytes.clone());
    let _ = v1::RaftFrame::decode(bytes.clone());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_octets_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes.into());
    }

    #[test]
    fn no_change_of_a_message_makes_the_reader_panic(
        command in strategy::command(),
        record in strategy::record(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for original in [command_to_bytes(&command), record_to_bytes(&record)] {
            let mut bytes = original.to_vec();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            read_all(&bytes.into());
        }
    }

    #[test]
    fn what_a_request_may_hold_can_be_stored(request in strategy::request()) {
        if let Ok(RequestPrimitive { body: Body::Representation(body), .. }) =
            request_from_bytes(request_to_bytes(&request))
        {
            let stored = promise(body);
            prop_assert_eq!(record_from_bytes(record_to_bytes(&stored)), Ok(stored));
        }
    }
}

#[test]
fn a_depth_bomb_is_refused() {
    // Struct.fields, Field.value, Value.struct: each wraps what is within.
    let mut bytes = Vec::new();
    while bytes.len() < 10_000 {
        for tag in [0x5a_u8, 0x12, 0x12] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
    }
    let bytes = Bytes::from(bytes);
    read_all(&bytes);
    assert!(v1::Struct::decode(bytes).is_err());
}

#[test]
fn a_request_is_no_deeper_than_what_it_becomes_may_be() {
    let element = |depth: usize| {
        (1..depth)
            .fold(Element::default(), |inner, _| Element { children: vec![inner], ..Element::default() })
    };
    let structs = |depth: usize| {
        (0..depth).fold(Value::Empty, |inner, _| {
            Value::Struct(Struct { name: "PermissionType", fields: vec![("id", inner)] })
        })
    };
    let deepest = Value::Any(element(ELEMENT_DEPTH_MAX));
    for (value, fits) in [
        (deepest.clone(), true),
        (Value::Any(element(ELEMENT_DEPTH_MAX + 1)), false),
        (structs(5), true),
        (structs(28), false),
        (Value::Struct(Struct { name: "PermissionType", fields: vec![("id", deepest)] }), true),
    ] {
        let representation = banyan_model::Representation {
            resource_type: banyan_model::ResourceType::AccessRight,
            attributes: vec![("permissions", value)],
        };
        let request = request(Body::Representation(representation.clone()));
        let read = request_from_bytes(request_to_bytes(&request));
        match fits {
            true => {
                assert_eq!(read, Ok(request));
                let stored = promise(representation);
                assert_eq!(record_from_bytes(record_to_bytes(&stored)), Ok(stored));
            }
            false => {
                assert!(matches!(read, Err(Malformed::Limit("body") | Malformed::Undecodable(_))), "{read:?}")
            }
        }
    }
}

#[test]
fn an_unsound_target_is_refused() {
    for segment in ["", ".", "..", "a\0", &"x".repeat(257)] {
        let target = Path::from_segments(vec!["applications".to_owned(), segment.to_owned()]);
        let request = RequestPrimitive { target, ..request(Body::None) };
        assert_eq!(
            request_from_bytes(request_to_bytes(&request)),
            Err(Malformed::Limit("target")),
            "{segment:?}"
        );
    }
}

#[test]
fn what_a_later_release_wrote_is_malformed_rather_than_misread() {
    let value = Some(v1::Value { kind: Some(v1::value::Kind::Long(1)) });
    let attributes = vec![v1::Field { name: "attributeOfALaterRelease".to_owned(), value: value.clone() }];
    let container = |attributes| v1::Representation { r#type: "container".to_owned(), attributes };
    let path = Some(v1::Path { segments: vec!["containers".to_owned(), "c".to_owned()] });
    let command =
        |operation| v1::Command { id: Some(v1::RequestId::default()), operation, ..v1::Command::default() };
    let create = |representation| {
        command(Some(v1::command::Operation::Create(v1::Create {
            path: path.clone(),
            representation: Some(representation),
            notify_media: 0,
        })))
    };
    for (command, said) in [
        (create(container(attributes.clone())), "attribute: unknown value \"attributeOfALaterRelease\""),
        (
            create(v1::Representation { r#type: "laterType".to_owned(), attributes: vec![] }),
            "resource type: unknown value \"laterType\"",
        ),
        (
            create(container(vec![v1::Field {
                name: "maxByteSize".to_owned(),
                value: Some(v1::Value { kind: None }),
            }])),
            "value: missing or unknown",
        ),
        (
            create(container(vec![v1::Field { name: "maxByteSize".to_owned(), value: None }])),
            "attribute: missing or unknown",
        ),
        (command(None), "operation: missing or unknown"),
        (v1::Command { id: None, ..command(None) }, "request id: missing or unknown"),
        (
            command(Some(v1::command::Operation::Create(v1::Create {
                path: path.clone(),
                representation: Some(container(vec![])),
                notify_media: 9,
            }))),
            "notify media: unknown value \"9\"",
        ),
        (
            command(Some(v1::command::Operation::EndSubscription(v1::EndSubscription {
                path: path.clone(),
                final_status: Some(99),
            }))),
            "status: unknown value \"99\"",
        ),
        (
            command(Some(v1::command::Operation::CollectionChanged(v1::CollectionChanged {
                collection: "laterCollection".to_owned(),
                ..Default::default()
            }))),
            "root collection: unknown value \"laterCollection\"",
        ),
        (
            command(Some(v1::command::Operation::UpdateAttribute(v1::UpdateAttribute {
                path: path.clone(),
                attribute: "attributeOfALaterRelease".to_owned(),
                value,
                conditions: None,
            }))),
            "attribute: unknown value \"attributeOfALaterRelease\"",
        ),
    ] {
        let read = command_from_bytes(command.encode_to_vec().into());
        assert_eq!(read.map_err(|malformed| malformed.to_string()), Err(said.to_owned()));
    }
    // An operation, and a kind of record, of numbers that this release does not have.
    let mut bytes = command(None).encode_to_vec();
    prost::encoding::encode_key(90, prost::encoding::WireType::Varint, &mut bytes);
    bytes.push(1);
    assert_eq!(command_from_bytes(bytes.into()), Err(Malformed::Missing("operation")));
    let mut bytes = Vec::new();
    prost::encoding::encode_key(90, prost::encoding::WireType::Varint, &mut bytes);
    bytes.push(1);
    assert_eq!(record_from_bytes(bytes.into()), Err(Malformed::Missing("record")));
    let resource = v1::Resource { path, representation: Some(container(attributes)), ..Default::default() };
    let record = v1::Record { kind: Some(v1::record::Kind::Resource(resource)) };
    let read = record_from_bytes(record.encode_to_vec().into());
    assert_eq!(read, Err(Malformed::unknown("attribute", "attributeOfALaterRelease")));
}

#[test]
fn contents_are_slices_of_what_was_read() {
    let bytes = Bytes::from(vec![7_u8; 4_096]);
    let content = Content { content_type: None, bytes, form: ContentForm::Binary };
    let mut representation = banyan_model::Representation::new(banyan_model::ResourceType::ContentInstance);
    representation.set("content", Value::Content(content));
    let encoded = request_to_bytes(&request(Body::Representation(representation)));
    let range = encoded.as_ptr_range();
    let read = request_from_bytes(encoded.clone()).expect("just written");
    let Body::Representation(representation) = read.body else { panic!("another body") };
    let Some(Value::Content(content)) = representation.get("content") else { panic!("no content") };
    assert!(range.contains(&content.bytes.as_ptr()), "copied");
}

fn request(body: Body) -> RequestPrimitive {
    let target = Path::parse("accessRights").expect("a path");
    let entity = Entity("/m2m/applications/a".to_owned());
    RequestPrimitive { body, ..RequestPrimitive::new(Method::Create, target, entity) }
}

/// The stored message that nests a representation deepest.
fn promise(representation: banyan_model::Representation) -> Record {
    Record::Outbox(OutboxEntry {
        queue: Path::default(),
        sequence: 1,
        at: banyan_model::Timestamp(0),
        message: Promise::Notify {
            contact: String::new(),
            creator: None,
            hops: 0,
            media: NotifyMedia::Xml,
            notification: Notification::Representation(representation),
        },
    })
}
