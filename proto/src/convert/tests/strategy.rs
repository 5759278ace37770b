//! Any model value, within what the tables name.

use banyan_model::{
    Body, Command, Content, Entity, Execution, Method, Operation, Path, Refusal, Representation, RequestId,
    RequestPrimitive, ResourceType, ResponsePrimitive, StatusCode, Timestamp, Value,
    announce::{Announced, Announcement, Done, Standing},
    command::QueueLimits,
    deferred::{Deferral, Deferred, Kept, Limits},
    filter::FilterCriteria,
    group::Verified,
    outbox::{Message, Notification, OutboxEntry},
    partial::Edit,
    path::{ROOT_COLLECTIONS, Slot},
    placement::{NodeId, Shard, ShardId, ShardMap},
    primitive::{Conditions, Correlation, ListPlace, Listing, NotifyMedia, ReferencePoint},
    query::{Cursor, Search},
    record::{ChannelState, Instance, InstancesState, QueuedMessage, Record, Resource},
    saf::{Forwarding, Rcat, Storing, Trpdt},
    tables,
    time::XsdDuration,
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9/ é<&]{0,12}"
}

fn octets() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

pub(super) fn status() -> impl Strategy<Value = StatusCode> {
    select(super::super::status::ALL)
}

fn method() -> impl Strategy<Value = Method> {
    select(vec![
        Method::Create,
        Method::Retrieve,
        Method::Update,
        Method::Delete,
        Method::Execute,
        Method::Notify,
    ])
}

fn media() -> impl Strategy<Value = NotifyMedia> {
    select(vec![NotifyMedia::Xml, NotifyMedia::Json])
}

fn path() -> impl Strategy<Value = Path> {
    vec("[a-zA-Z0-9 é]{1,8}", 0..5).prop_map(Path::from_segments)
}

fn resource_type() -> impl Strategy<Value = ResourceType> {
    select(tables::TYPES.iter().map(|t| t.resource_type).collect::<Vec<_>>())
}

fn collection() -> impl Strategy<Value = &'static str> {
    select(ROOT_COLLECTIONS.to_vec())
}

/// The name of an attribute or field, wherever it stands.
fn name() -> impl Strategy<Value = &'static str> {
    let attributes = tables::TYPES.iter().flat_map(|t| t.attributes).map(|a| a.field.name);
    let fields = tables::STRUCTS.iter().flat_map(|s| s.fields).map(|f| f.name);
    select(attributes.chain(fields).collect::<Vec<_>>())
}

fn reference() -> impl Strategy<Value = NamedReference> {
    (text(), text()).prop_map(|(id, uri)| NamedReference { id, uri })
}

fn content() -> impl Strategy<Value = Content> {
    let form = select(vec![ContentForm::Binary, ContentForm::Text]);
    (option::of(text()), octets(), form).prop_map(|(content_type, bytes, form)| Content {
        content_type,
        bytes,
        form,
    })
}

fn element() -> impl Strategy<Value = Element> {
    let leaf = (text(), text(), vec((text(), text()), 0..3), text())
        .prop_map(|(namespace, name, attributes, text)| Element {
            namespace,
            name,
            attributes,
            children: Vec::new(),
            text,
        })
        .boxed();
    leaf.clone().prop_recursive(4, 12, 3, move |inner| {
        (leaf.clone(), vec(inner, 0..3)).prop_map(|(leaf, children)| Element { children, ..leaf })
    })
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::Text),
        time().prop_map(Value::Datetime),
        (any::<bool>(), any::<u32>(), any::<u64>())
            .prop_map(|(negative, months, millis)| Value::Duration(XsdDuration { negative, months, millis })),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Long),
        (option::of(text()), octets())
            .prop_map(|(content_type, bytes)| Value::Binary { content_type, bytes }),
        vec(text(), 0..4).prop_map(Value::List),
        reference().prop_map(Value::Reference),
        vec(reference(), 0..4).prop_map(Value::References),
        content().prop_map(Value::Content),
        Just(Value::Empty),
        element().prop_map(Value::Any),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let fields = vec((name(), inner), 0..4).boxed();
        prop_oneof![
            (structure_name(), fields.clone())
                .prop_map(|(name, fields)| Value::Struct(Struct { name, fields })),
            (resource_type(), fields).prop_map(|(resource_type, attributes)| Value::Resource(Box::new(
                Representation { resource_type, attributes }
            ))),
        ]
    })
}

fn structure_name() -> impl Strategy<Value = &'static str> {
    select(tables::STRUCTS.iter().map(|s| s.name).collect::<Vec<_>>())
}

fn structure() -> impl Strategy<Value = Struct> {
    (structure_name(), vec((name(), value()), 0..5)).prop_map(|(name, fields)| Struct { name, fields })
}

fn representation() -> impl Strategy<Value = Representation> {
    (resource_type(), vec((name(), value()), 0..6))
        .prop_map(|(resource_type, attributes)| Representation { resource_type, attributes })
}

fn conditions() -> impl Strategy<Value = Conditions> {
    (vec(text(), 0..3), vec(text(), 0..3), option::of(time()), option::of(time())).prop_map(
        |(if_match, if_none_match, if_modified_since, if_unmodified_since)| Conditions {
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
        },
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![value().prop_map(Edit::Add), value().prop_map(Edit::Put), Just(Edit::Remove)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (path(), representation(), media()).prop_map(|(path, representation, notify_media)| {
            Operation::Create { path, representation, notify_media }
        }),
        (path(), option::of(text()), representation()).prop_map(|(container, id, representation)| {
            Operation::CreateInstance { container, id, representation }
        }),
        (path(), vec(representation(), 0..3))
            .prop_map(|(container, instances)| Operation::StoreNotify { container, instances }),
        (path(), representation(), conditions()).prop_map(|(path, representation, conditions)| {
            Operation::Update { path, representation, conditions }
        }),
        (path(), name(), value(), conditions()).prop_map(|(path, attribute, value, conditions)| {
            Operation::UpdateAttribute { path, attribute, value, conditions }
        }),
        (path(), vec(text(), 0..4), option::of(text()), any::<bool>(), conditions()).prop_map(
            |(group, members, member_type, validated, conditions)| Operation::UpdateMembers {
                group,
                verified: Verified { members, member_type, validated },
                conditions,
            },
        ),
        (path(), text(), option::of(text()), any::<bool>(), conditions()).prop_map(
            |(group, member, member_type, validated, conditions)| Operation::AddMember {
                group,
                member,
                member_type,
                validated,
                conditions,
            },
        ),
        (path(), vec(text(), 0..4)).prop_map(|(group, members)| Operation::RemoveMembers { group, members }),
        (path(), name(), vec(text(), 0..3), edit(), conditions()).prop_map(
            |(path, attribute, at, edit, conditions)| Operation::EditAttribute {
                path,
                attribute,
                at,
                edit,
                conditions
            }
        ),
        (path(), conditions()).prop_map(|(path, conditions)| Operation::Delete { path, conditions }),
        Just(Operation::Expire),
        (path(), any::<u64>()).prop_map(|(queue, up_to)| Operation::Acknowledge { queue, up_to }),
        (path(), option::of(status()))
            .prop_map(|(path, final_status)| Operation::EndSubscription { path, final_status }),
        execution().prop_map(Operation::Execute),
        (path(), any::<u64>(), text(), announcement_done()).prop_map(|(path, sequence, scl, done)| {
            Operation::AnnouncementDone { path, sequence, scl, done }
        }),
        (path(), structure(), any::<u64>(), any::<u64>()).prop_map(
            |(channel, message, entries_max, octets_max)| {
                let limits = QueueLimits { entries_max, octets_max };
                Operation::Enqueue { channel, message, limits }
            }
        ),
        (path(), representation(), text(), media()).prop_map(
            |(path, representation, creator, notify_media)| Operation::Aggregate {
                path,
                representation,
                creator: Entity(creator),
                notify_media
            }
        ),
        (path(), any::<u64>()).prop_map(|(channel, sequence)| Operation::Taken { channel, sequence }),
        deferral().prop_map(Operation::Defer),
        (path(), any::<u64>(), octets()).prop_map(|(place, sequence, answer)| Operation::Answered {
            place,
            sequence,
            answer
        }),
        (collection(), any::<u64>(), any::<u64>(), time()).prop_map(|(collection, shard, sequence, at)| {
            Operation::CollectionChanged { collection, shard: ShardId(shard), sequence, at }
        }),
    ]
}

fn deferral() -> impl Strategy<Value = Deferral> {
    let limits = any::<[u64; 4]>().prop_map(|[a, b, c, d]| Limits {
        entity: QueueLimits { entries_max: a, octets_max: b },
        shard: QueueLimits { entries_max: c, octets_max: d },
    });
    let storing = (forwarding(), any::<[u64; 2]>()).prop_map(|(forwarding, [a, b])| Storing {
        forwarding,
        limits: QueueLimits { entries_max: a, octets_max: b },
    });
    let saf = (option::of(time()), option::of(storing));
    (path(), octets(), any::<[u64; 2]>(), option::of(text()), media(), limits, saf).prop_map(
        |(place, request, [digest, lifetime_ms], contact, media, limits, (keep_until, storing))| Deferral {
            place,
            request,
            digest,
            contact,
            media,
            lifetime_ms,
            keep_until,
            storing,
            limits,
        },
    )
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    (text(), rcat(), time()).prop_map(|(target, rcat, deadline)| Forwarding { target, rcat, deadline })
}

fn rcat() -> impl Strategy<Value = Rcat> {
    (0_usize..8).prop_map(|number| Rcat::ALL[number])
}

fn trpdt() -> impl Strategy<Value = Trpdt> {
    prop_oneof![
        any::<(bool, u32, u64)>().prop_map(|(negative, months, millis)| {
            Trpdt::After(XsdDuration { negative, months, millis })
        }),
        any::<u32>().prop_map(Trpdt::TimeOfDay),
        time().prop_map(Trpdt::At),
    ]
}

fn deferred() -> impl Strategy<Value = Deferred> {
    let first = (text(), time(), any::<[u64; 4]>(), option::of(text()), media());
    let saf = (option::of(time()), option::of(forwarding()));
    (first, option::of(octets()), option::of(time()), saf).prop_map(
        |((entity, at, [number, digest, lifetime_ms, octets], contact, media), answer, expires, saf)| {
            Deferred {
                entity,
                at,
                number,
                digest,
                contact,
                media,
                lifetime_ms,
                octets,
                answer,
                expires,
                keep_until: saf.0,
                forwarding: saf.1,
            }
        },
    )
}

fn execution() -> impl Strategy<Value = Execution> {
    prop_oneof![
        (path(), representation())
            .prop_map(|(path, representation)| Execution::Command { path, representation }),
        path().prop_map(|path| Execution::Cancel { path }),
        (path(), name()).prop_map(|(path, attribute)| Execution::Action { path, attribute }),
    ]
}

fn standing() -> impl Strategy<Value = Standing> {
    (text(), any::<u64>(), option::of(time())).prop_map(|(uri, digest, expiration)| Standing {
        uri,
        digest,
        expiration,
    })
}

fn announcement_done() -> impl Strategy<Value = Done> {
    prop_oneof![standing().prop_map(Done::Stands), Just(Done::Gone), Just(Done::Refused), Just(Done::Kept),]
}

fn announced() -> impl Strategy<Value = Announced> {
    let at = (text(), option::of(standing())).prop_map(|(scl, stands)| Announcement { scl, stands });
    (resource_type(), text(), vec(at, 0..4)).prop_map(|(resource_type, entity, at)| Announced {
        resource_type,
        entity,
        at,
    })
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    let id = (any::<u64>(), any::<u64>(), any::<u64>())
        .prop_map(|(session, sequence, acked_below)| RequestId { session, sequence, acked_below });
    (id, time(), any::<u32>(), text(), operation()).prop_map(|(id, at, hops, entity, operation)| Command {
        id,
        at,
        hops,
        entity: Entity(entity),
        operation,
    })
}

fn instance() -> impl Strategy<Value = Instance> {
    let first = (text(), any::<u64>(), time(), time(), option::of(time()));
    let second = (vec(text(), 0..3), vec(text(), 0..3), any::<u64>(), content());
    (first, second).prop_map(
        |(
            (id, sequence, creation_time, last_modified_time, delay_tolerance),
            (search_strings, content_types, content_size, content),
        )| Instance {
            id,
            sequence,
            creation_time,
            last_modified_time,
            delay_tolerance,
            search_strings,
            content_types,
            content_size,
            content,
        },
    )
}

fn outbox_entry() -> impl Strategy<Value = OutboxEntry> {
    let notification = prop_oneof![
        representation().prop_map(Notification::Representation),
        (text(), value()).prop_map(|(name, value)| Notification::Attribute { name, value }),
        instance().prop_map(Notification::Instance),
        instance().prop_map(Notification::MetaData),
        (vec(any::<u64>(), 0..4), any::<u64>())
            .prop_map(|(sequences, octets)| Notification::Stored { sequences, octets }),
        any::<u64>().prop_map(|up_to| Notification::Present { up_to }),
        (structure(), any::<u64>())
            .prop_map(|(notify, octets_before)| Notification::Member { notify, octets_before }),
        Just(Notification::Bare),
        Just(Notification::Collection),
        status().prop_map(Notification::Final),
        text().prop_map(Notification::TimedOut),
    ];
    let message = prop_oneof![
        (text(), option::of(text()), media(), any::<u32>(), notification).prop_map(
            |(contact, creator, media, hops, notification)| Message::Notify {
                contact,
                creator,
                media,
                hops,
                notification
            }
        ),
        collection().prop_map(|collection| Message::CollectionChanged { collection }),
        Just(Message::Announce),
        octets().prop_map(|request| Message::CarryOut { request }),
        Just(Message::Answer),
    ];
    (path(), any::<u64>(), time(), message).prop_map(|(queue, sequence, at, message)| OutboxEntry {
        queue,
        sequence,
        at,
        message,
    })
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let state = (any::<[u64; 6]>(), time(), time(), any::<u32>()).prop_map(
        |(
            [count, bytes, next, oldest, latest, version],
            creation_time,
            last_modified_time,
            subscriptions,
        )| {
            InstancesState {
                count,
                bytes,
                next,
                oldest,
                latest,
                creation_time,
                last_modified_time,
                version,
                subscriptions,
            }
        },
    );
    let resource = (path(), representation(), text(), any::<u64>(), any::<u32>(), any::<bool>()).prop_map(
        |(path, representation, creator, version, subscriptions, json)| Resource {
            path,
            representation,
            creator,
            version,
            subscriptions,
            notify_media: if json { NotifyMedia::Json } else { NotifyMedia::Xml },
        },
    );
    prop_oneof![
        resource.prop_map(Record::Resource),
        state.prop_map(Record::Instances),
        instance().prop_map(Record::Instance),
        any::<u64>().prop_map(Record::Pointer),
        outbox_entry().prop_map(Record::Outbox),
        octets().prop_map(Record::Reply),
        (time(), any::<u64>(), any::<u64>()).prop_map(|(last_used, acked_below, highest)| {
            Record::Session { last_used, acked_below, highest }
        }),
        path().prop_map(|path| Record::Due { path }),
        any::<u64>().prop_map(|slot| Record::Listed { slot: Slot(slot) }),
        announced().prop_map(Record::Announced),
        any::<[u64; 3]>()
            .prop_map(|[next, waiting, octets]| { Record::Channel(ChannelState { next, waiting, octets }) }),
        (time(), structure()).prop_map(|(at, message)| Record::Queued(QueuedMessage { at, message })),
        deferred().prop_map(Record::Deferred),
        any::<[u64; 3]>().prop_map(|[entries, octets, next]| Record::Kept(Kept { entries, octets, next })),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (status(), text(), vec(method(), 0..4)).prop_map(|(status, info, allow)| Refusal { status, info, allow })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::None),
        representation().prop_map(Body::Representation),
        (text(), value()).prop_map(|(name, value)| Body::Attribute { name, value }),
        structure().prop_map(Body::Message),
        (text(), octets()).prop_map(|(content_type, bytes)| Body::Raw { content_type, bytes }),
        refusal().prop_map(Body::Malformed),
    ]
}

fn filter() -> impl Strategy<Value = FilterCriteria> {
    let times = (option::of(time()), option::of(time()), option::of(time()), option::of(time()));
    let texts = (vec(text(), 0..3), vec(text(), 0..3), vec(text(), 0..3), option::of(text()));
    let discovery = (option::of(text()), option::of(any::<i64>()));
    (times, texts, option::of(any::<i64>()), option::of(any::<i64>()), any::<bool>(), discovery).prop_map(
        |(times, texts, size_from, size_until, meta_data_only, (search_prefix, max_size))| FilterCriteria {
            if_modified_since: times.0,
            if_unmodified_since: times.1,
            created_after: times.2,
            created_before: times.3,
            if_none_match: texts.0,
            search_string: texts.1,
            content_type: texts.2,
            attribute_accessor: texts.3,
            size_from,
            size_until,
            meta_data_only,
            search_prefix,
            max_size,
        },
    )
}

fn list_place() -> impl Strategy<Value = ListPlace> {
    (text(), option::of(text())).prop_map(|(list, after)| ListPlace { list, after })
}

pub(super) fn request() -> impl Strategy<Value = RequestPrimitive> {
    let filter = prop_oneof![filter().prop_map(Ok), refusal().prop_map(Err)];
    let point = prop_oneof![Just(ReferencePoint::Mia), Just(ReferencePoint::Dia), Just(ReferencePoint::Mid)];
    let correlation =
        option::of((text(), option::of(text())).prop_map(|(id, contact)| Correlation { id, contact }));
    let listing =
        prop_oneof![Just(Listing::Whole), Just(Listing::First), list_place().prop_map(Listing::From)];
    let reached_at = option::of(text());
    let passed_on =
        (point, vec(text(), 0..3), correlation, option::of(text()), listing, any::<u32>(), reached_at);
    let saf = (option::of(rcat()), option::of(trpdt()));
    (method(), path(), text(), body(), filter, conditions(), media(), passed_on, saf).prop_map(
        |(method, target, entity, body, filter, conditions, notify_media, passed_on, saf)| RequestPrimitive {
            method,
            target,
            requesting_entity: Entity(entity),
            body,
            filter,
            conditions,
            notify_media,
            reference_point: passed_on.0,
            via: passed_on.1,
            correlation: passed_on.2,
            group_request: passed_on.3,
            listing: passed_on.4,
            hops: passed_on.5,
            reached_at: passed_on.6,
            rcat: saf.0,
            trpdt: saf.1,
        },
    )
}

pub(super) fn response() -> impl Strategy<Value = ResponsePrimitive> {
    let tags = (
        option::of(text()),
        option::of(text()),
        option::of(time()),
        option::of(any::<u32>()),
        option::of(text()),
        option::of(list_place()),
    );
    (status(), body(), tags, vec(method(), 0..4), text()).prop_map(|(status, body, tags, allow, info)| {
        ResponsePrimitive {
            status,
            body,
            resource_uri: tags.0,
            etag: tags.1,
            last_modified: tags.2,
            retry_after_ms: tags.3,
            retarget: tags.4,
            next: tags.5,
            allow,
            info,
        }
    })
}

pub(super) fn discovery() -> impl Strategy<Value = (Entity, Search, Option<Cursor>)> {
    let cursor = (any::<u32>(), vec(any::<u8>(), 0..40), any::<u64>())
        .prop_map(|(stage, after, instance)| Cursor { stage, after, instance });
    (text(), filter(), path(), option::of(cursor))
        .prop_map(|(entity, criteria, prefix, from)| (Entity(entity), Search { criteria, prefix }, from))
}

pub(super) fn members() -> impl Strategy<Value = Vec<(ResourceType, NamedReference)>> {
    vec((resource_type(), reference()), 0..5)
}

/// A map as the directory founds it.
pub(super) fn shard_map() -> impl Strategy<Value = ShardMap> {
    (1..40_u64, vec(any::<u64>().prop_map(NodeId), 1..6), 1..6_usize, any::<u64>()).prop_map(
        |(count, nodes, factor, epoch)| ShardMap { epoch, ..ShardMap::found(count, &nodes, factor) },
    )
}

/// One shard alone, whatever its slots.
pub(super) fn shard() -> impl Strategy<Value = Shard> {
    let nodes = || vec(any::<u64>().prop_map(NodeId), 0..5);
    (any::<[u64; 5]>(), [nodes(), nodes(), nodes()], any::<[bool; 2]>()).prop_map(
        |([id, first, last, changes, members_at], [replicas, leaving, former], [moving, pinned])| Shard {
            moving,
            pinned,
            leaving,
            former,
            changes,
            members_at,
            ..Shard::founded(ShardId(id), Slot(first), Slot(last), replicas)
        },
    )
}
