//! The bytes of every persisted message, as this release writes them, in `proto/golden/<name>.hex`.
//!
//! They are compared byte for byte and read back. A file that differs means that data on disk would be read wrongly:
//! only a message that was never released may change.
//! `BANYAN_GOLDEN=rewrite cargo test -p banyan-proto golden`, then read the difference before committing it.

use crate::{convert::*, v1};
use banyan_model::{
    Command, Content, Entity, Execution, Operation, Path, Representation, RequestId, ResourceType,
    StatusCode, Timestamp, Value,
    announce::{Announced, Announcement, Done, Standing},
    command::QueueLimits,
    deferred::{self, Deferral, Deferred, Kept, Limits},
    group::Verified,
    outbox::{Message as Promise, Notification, OutboxEntry},
    partial::Edit,
    path::Slot,
    placement::{NodeId, ShardId, ShardMap},
    primitive::{Conditions, NotifyMedia},
    record::{ChannelState, Instance, InstancesState, QueuedMessage, Record, Resource},
    saf::{Forwarding, Rcat, Storing},
    time::XsdDuration,
    value::{ContentForm, Element, NamedReference, Struct},
};
use bytes::Bytes;
use std::{collections::BTreeSet, fs, path::PathBuf};

const AT: Timestamp = Timestamp(1_370_001_720_123);

#[test]
fn commands_are_written_and_read_byte_for_byte() {
    for (name, operation) in operations() {
        let id = RequestId { session: 0x0123_4567_89ab_cdef, sequence: 300, acked_below: 298 };
        let entity = Entity("/m2m/applications/meterReader".to_owned());
        let command = Command { id, at: AT, entity, operation, hops: 0 };
        let bytes = check(&format!("command.{name}"), command_to_bytes(&command));
        assert_eq!(command_from_bytes(bytes), Ok(command), "{name}");
    }
}

#[test]
fn records_are_written_and_read_byte_for_byte() {
    for (name, record) in records() {
        let bytes = check(&format!("record.{name}"), record_to_bytes(&record));
        assert_eq!(record_from_bytes(bytes), Ok(record), "{name}");
    }
}

#[test]
fn a_recorded_reply_is_written_and_read_byte_for_byte() {
    let reply = banyan_model::ResponsePrimitive {
        status: StatusCode::Created,
        resource_uri: Some("/m2m/containers/c/contentInstances/ci-1".to_owned()),
        body: banyan_model::Body::Representation(every_value()),
        etag: Some("v7".to_owned()),
        last_modified: Some(AT),
        allow: vec![banyan_model::Method::Retrieve, banyan_model::Method::Notify],
        info: "name: taken".to_owned(),
        retry_after_ms: Some(1_500),
        retarget: None,
        next: None,
    };
    let bytes = check("reply", response_to_bytes(&reply));
    assert_eq!(response_from_bytes(bytes), Ok(reply));
}

#[test]
fn logs_votes_and_memberships_are_written_byte_for_byte() {
    let id = Some(v1::LogId { term: 3, index: 70_000 });
    let membership = v1::Membership {
        configs: vec![v1::NodeSet { nodes: vec![1, 2, u64::MAX] }, v1::NodeSet { nodes: vec![1, 2, 4] }],
        nodes: vec![1, 2, 4, 5, u64::MAX],
    };
    let entry = |payload| v1::Entry { id, payload: Some(payload) };
    message("entry.blank", &entry(v1::entry::Payload::Blank(true)));
    message("entry.normal", &entry(v1::entry::Payload::Normal(Bytes::from_static(b"\x00command\xff"))));
    message("entry.membership", &entry(v1::entry::Payload::Membership(membership.clone())));
    message("log_id", &v1::LogId { term: 3, index: 70_000 });
    message("vote", &v1::Vote { term: 3, node: 0x0123_4567_89ab_cdef, committed: true });
    let membership = v1::StoredMembership { id, membership: Some(membership) };
    message("stored_membership", &membership);
    let snapshot_id = "3-70000-1".to_owned();
    message("snapshot_meta", &v1::SnapshotMeta { last: id, membership: Some(membership), snapshot_id });
}

#[test]
fn records_of_keys_are_written_byte_for_byte() {
    message("keys.kmr", &kmr());
    message("keys.connection", &connection());
    let alias = vec!["meter".to_owned()];
    message("keys.node", &v1::NodeRecord { scl_id: "gw".to_owned(), alias, last_index: 2, barred: true });
    message("keys.data_key", &data_key());
    message("keys.closure_count", &v1::ClosureCount { number: 300 });
    message("keys.token", &token());
    message("keys.token_count", &v1::TokenCount { tokens: 300 });
}

#[test]
fn commands_of_keys_are_written_byte_for_byte() {
    for (name, kind) in keys_commands() {
        let command = v1::KeysCommand { at_ms: AT.0, kind: Some(kind) };
        message(&format!("keys_command.{name}"), &command);
    }
}

const M2M_NODE: Bytes = Bytes::from_static(b"a gateway's node");
const DIGEST: Bytes = Bytes::from_static(b"thirty-two octets of some SHA256");

/// Each kind: one that is missing does not compile.
fn keys_commands() -> Vec<(&'static str, v1::keys_command::Kind)> {
    use v1::keys_command::Kind;
    let name = |kind: &Kind| match kind {
        Kind::PutDataKey(_) => "put_data_key",
        Kind::RewrapDataKey(_) => "rewrap_data_key",
        Kind::AddKmr(_) => "add_kmr",
        Kind::AddConnection(_) => "add_connection",
        Kind::Revoke(_) => "revoke",
        Kind::Sweep(_) => "sweep",
        Kind::BindNode(_) => "bind_node",
        Kind::AddToken(_) => "add_token",
        Kind::RevokeToken(_) => "revoke_token",
    };
    let bind = || v1::BindNode {
        node: M2M_NODE,
        scl_id: Some("gw".to_owned()),
        alias: vec!["meter".to_owned(), "m2".to_owned()],
    };
    let kinds = vec![
        Kind::PutDataKey(data_key()),
        Kind::RewrapDataKey(v1::RewrapDataKey { from_kek: Bytes::from_static(b"old"), to: Some(data_key()) }),
        Kind::AddKmr(v1::AddKmr { record: Some(kmr()), bind: Some(bind()) }),
        Kind::AddConnection(v1::AddConnection { record: Some(connection()) }),
        Kind::Revoke(v1::Revoke { node: M2M_NODE, index: Some(2) }),
        Kind::Sweep(v1::Sweep {}),
        Kind::BindNode(bind()),
        Kind::AddToken(v1::AddToken { digest: DIGEST, record: Some(token()) }),
        Kind::RevokeToken(DIGEST),
    ];
    kinds.into_iter().map(|kind| (name(&kind), kind)).collect()
}

fn kmr() -> v1::KmrRecord {
    v1::KmrRecord {
        node: M2M_NODE,
        index: 2,
        sealed: Bytes::from_static(b"sealed"),
        expires_ms: AT.0,
        state: v1::KmrState::Pending.into(),
        pending_until_ms: AT.0 - 1,
        created_by: "bootstrap".to_owned(),
        created_ms: AT.0 - 2,
        fingerprint: Bytes::from_static(b"print"),
    }
}

fn connection() -> v1::ConnectionRecord {
    v1::ConnectionRecord {
        connection: 0x0123_4567_89ab_cdef,
        index: 1,
        node: M2M_NODE,
        sealed: Bytes::from_static(b"sealed"),
        expires_ms: AT.0,
        kmr_index: Some(2),
        created_ms: AT.0 - 2,
        fingerprint: Bytes::from_static(b"print"),
    }
}

fn data_key() -> v1::DataKey {
    let kek = Bytes::from_static(b"kek");
    v1::DataKey { wrapped: Bytes::from_static(b"wrapped"), kek, made_ms: AT.0 }
}

fn token() -> v1::TokenRecord {
    v1::TokenRecord {
        entity: "/m2m/applications/na".to_owned(),
        label: "dashboard".to_owned(),
        created_ms: AT.0 - 2,
        created_by: "ctl".to_owned(),
        expires_ms: AT.0,
    }
}

#[test]
fn the_directory_is_written_byte_for_byte() {
    let nodes = [NodeId(1), NodeId(2), NodeId(3)];
    let map = ShardMap { epoch: 9, ..ShardMap::found(4, &nodes, 3) };
    let member = |node: u64| v1::NodeInfo {
        node,
        address: format!("node-{node}:7000"),
        zone: "a".to_owned(),
        version: "0.1.0".to_owned(),
        cluster: 0x0123_4567_89ab_cdef,
        founding: 7,
    };
    let state = v1::DirectoryState {
        cluster: 0x0123_4567_89ab_cdef,
        epoch: map.epoch,
        members: nodes.map(|node| member(node.0)).to_vec(),
        shards: map.shards.iter().map(Into::into).collect(),
        keys: None,
        settings: Some(v1::Settings {
            scl_id: "nscl".to_owned(),
            scl_base: "/m2m".to_owned(),
            authorities: vec!["nscl.example.com:8080".to_owned()],
            replication_factor: 3,
            founded_at_ms: AT.0,
        }),
        ..Default::default()
    };
    let read = message("directory_state", &state);
    assert_eq!(ShardMap::try_from(&read), Ok(map));
    let keys = v1::ShardInfo { shard: 1 << 32, replicas: vec![1, 2, 3], ..Default::default() };
    message("directory_state.keys", &v1::DirectoryState { keys: Some(keys.clone()), ..state.clone() });
    let restored = v1::Restored { manifest: "5a".repeat(32), cluster: 0xfedc_ba98_7654_3210 };
    message("directory_state.restored", &v1::DirectoryState { restored: Some(restored), ..state.clone() });
    let command = |kind| v1::DirectoryCommand { kind: Some(kind) };
    message("directory_command.found", &command(v1::directory_command::Kind::Found(state)));
    message(
        "directory_command.upsert_member",
        &command(v1::directory_command::Kind::UpsertMember(member(4))),
    );
    message("directory_command.found_keys", &command(v1::directory_command::Kind::FoundKeys(keys)));

    let from = &ShardMap::found(4, &nodes, 3).shards[1];
    let moving = from.placed(vec![NodeId(2), NodeId(3), NodeId(4)]);
    let (from, to) = (Some(from.into()), Some((&moving).into()));
    let place = v1::PlaceShard { from, to };
    message("directory_command.place", &command(v1::directory_command::Kind::Place(place)));
    let drain = v1::DrainMember { node: 2, draining: true };
    message("directory_command.drain", &command(v1::directory_command::Kind::Drain(drain)));
    let remove = v1::RemoveMember { node: 2 };
    message("directory_command.remove", &command(v1::directory_command::Kind::Remove(remove)));
    let changed = v1::DirectoryState {
        shards: vec![(&moving.arrived(77)).into()],
        draining: vec![3],
        removed: vec![2],
        ..Default::default()
    };
    message("directory_state.changed", &changed);
}

/// Every file belongs to a message above.
#[test]
fn the_folder_holds_exactly_the_golden_files() {
    let mut expected: BTreeSet<String> = operations().iter().map(|(n, _)| format!("command.{n}")).collect();
    expected.extend(records().iter().map(|(n, _)| format!("record.{n}")));
    expected.extend(keys_commands().iter().map(|(n, _)| format!("keys_command.{n}")));
    expected.extend(
        [
            "reply",
            "entry.blank",
            "entry.normal",
            "entry.membership",
            "log_id",
            "vote",
            "stored_membership",
            "snapshot_meta",
            "directory_state",
            "directory_state.changed",
            "directory_command.place",
            "directory_command.drain",
            "directory_command.remove",
            "directory_command.found",
            "directory_command.upsert_member",
            "directory_command.found_keys",
            "directory_state.keys",
            "directory_state.restored",
            "keys.token",
            "keys.token_count",
            "keys.kmr",
            "keys.connection",
            "keys.node",
            "keys.data_key",
            "keys.closure_count",
        ]
        .map(str::to_owned),
    );
    let found: BTreeSet<String> = fs::read_dir(folder())
        .expect("the golden folder")
        .map(|file| file.expect("readable").file_name().to_string_lossy().replace(".hex", ""))
        .collect();
    assert_eq!(found, expected);
}

fn operations() -> Vec<(&'static str, Operation)> {
    let path = || Path::parse("applications/meterReader/containers/DATA").expect("a path");
    let conditions = || Conditions {
        if_match: vec!["v1".to_owned(), "*".to_owned()],
        if_none_match: vec!["v2".to_owned()],
        if_modified_since: Some(AT),
        if_unmodified_since: Some(Timestamp(-1)),
    };
    let representation = every_value;
    vec![
        (
            "create",
            Operation::Create {
                path: path(),
                representation: representation(),
                notify_media: NotifyMedia::Json,
            },
        ),
        (
            "create_instance",
            Operation::CreateInstance {
                container: path(),
                id: Some("ci-1".to_owned()),
                representation: representation(),
            },
        ),
        (
            "create_instance_unnamed",
            Operation::CreateInstance { container: path(), id: None, representation: instance_as_sent() },
        ),
        ("store_notify", Operation::StoreNotify { container: path(), instances: vec![instance_as_sent()] }),
        (
            "store_notify_instances",
            Operation::StoreNotify {
                container: path(),
                instances: vec![instance_as_sent(), instance_as_sent()],
            },
        ),
        (
            "update",
            Operation::Update { path: path(), representation: representation(), conditions: conditions() },
        ),
        (
            "update_attribute",
            Operation::UpdateAttribute {
                path: path(),
                attribute: "maxNrOfInstances",
                value: Value::Long(-5),
                conditions: conditions(),
            },
        ),
        (
            "enqueue",
            Operation::Enqueue {
                channel: channel(),
                message: notify_body(),
                limits: QueueLimits { entries_max: 1_000, octets_max: 300 },
            },
        ),
        (
            "aggregate",
            Operation::Aggregate {
                path: channel(),
                representation: representation(),
                creator: Entity("/m2m/applications/na".to_owned()),
                notify_media: NotifyMedia::Json,
            },
        ),
        ("taken", Operation::Taken { channel: channel(), sequence: 300 }),
        ("defer", Operation::Defer(deferral())),
        ("defer_to_another_scl", Operation::Defer(storing())),
        (
            "answered",
            Operation::Answered { place: place(), sequence: 300, answer: Bytes::from_static(b"answer") },
        ),
        (
            "edit_attribute_add",
            Operation::EditAttribute {
                path: path(),
                attribute: "searchStrings",
                at: Vec::new(),
                edit: Edit::Add(Value::Text("x".to_owned())),
                conditions: conditions(),
            },
        ),
        (
            "edit_attribute_put",
            Operation::EditAttribute {
                path: path(),
                attribute: "announceTo",
                at: vec!["activated".to_owned()],
                edit: Edit::Put(Value::Bool(true)),
                conditions: Conditions::default(),
            },
        ),
        (
            "edit_attribute_remove",
            Operation::EditAttribute {
                path: path(),
                attribute: "searchStrings",
                at: vec!["a/b".to_owned()],
                edit: Edit::Remove,
                conditions: Conditions::default(),
            },
        ),
        ("delete", Operation::Delete { path: path(), conditions: Conditions::default() }),
        (
            "update_members",
            Operation::UpdateMembers {
                group: path(),
                verified: Verified {
                    members: vec!["/m2m/containers/c".to_owned()],
                    member_type: Some("MIXED".to_owned()),
                    validated: true,
                },
                conditions: conditions(),
            },
        ),
        (
            "add_member",
            Operation::AddMember {
                group: path(),
                member: "/m2m/containers/c".to_owned(),
                member_type: Some("MIXED".to_owned()),
                validated: true,
                conditions: conditions(),
            },
        ),
        (
            "remove_members",
            Operation::RemoveMembers { group: path(), members: vec!["/m2m/containers/c".to_owned()] },
        ),
        ("expire", Operation::Expire),
        (
            "acknowledge",
            Operation::Acknowledge { queue: path().child("subscriptions").child("s"), up_to: 300 },
        ),
        (
            "end_subscription",
            Operation::EndSubscription { path: path(), final_status: Some(StatusCode::Expired) },
        ),
        (
            "execute_command",
            Operation::Execute(Execution::Command {
                path: path().child("execInstances").child("x"),
                representation: {
                    let mut instance = Representation::new(ResourceType::ExecInstance);
                    instance.set("execStatus", Value::Text("INITIATED".into()));
                    instance
                },
            }),
        ),
        ("execute_cancel", Operation::Execute(Execution::Cancel { path: path() })),
        ("execute_action", Operation::Execute(Execution::Action { path: path(), attribute: "reboot" })),
        ("end_subscription_silently", Operation::EndSubscription { path: path(), final_status: None }),
        (
            "announcement_stands",
            Operation::AnnouncementDone {
                path: path(),
                sequence: 300,
                scl: "gw1".to_owned(),
                done: Done::Stands(standing()),
            },
        ),
        (
            "announcement_refused",
            Operation::AnnouncementDone {
                path: path(),
                sequence: 300,
                scl: "gw1".to_owned(),
                done: Done::Refused,
            },
        ),
        (
            "collection_changed",
            Operation::CollectionChanged {
                collection: "applications",
                shard: ShardId(16),
                sequence: 300,
                at: AT,
            },
        ),
    ]
}

fn channel() -> Path {
    Path::parse("applications/a%20b/notificationChannels/nc").expect("a path")
}

fn notify_body() -> Struct {
    let status = ("statusCode", Value::Text("STATUS_OK".to_owned()));
    let bytes = Bytes::from_static(b"<m2m:container/>");
    let representation = Value::Binary { content_type: Some("application/xml".to_owned()), bytes };
    Struct { name: "Notify", fields: vec![status, ("representation", representation)] }
}

fn records() -> Vec<(&'static str, Record)> {
    let path = || Path::parse("containers/a%20b").expect("a path");
    let instance = || Instance {
        id: "ci-1".to_owned(),
        sequence: 300,
        creation_time: AT,
        last_modified_time: Timestamp(AT.0 + 1),
        delay_tolerance: Some(Timestamp(AT.0 + 2)),
        search_strings: vec!["unit/celsius".to_owned(), String::new()],
        content_types: vec!["text/plain".to_owned()],
        content_size: 4,
        content: Content {
            content_type: Some("text/plain".to_owned()),
            bytes: Bytes::from_static(b"21.5"),
            form: ContentForm::Text,
        },
    };
    let notify_of = |creator: Option<&str>, notification| {
        Record::Outbox(OutboxEntry {
            queue: path().child("subscriptions").child("s"),
            sequence: 300,
            at: AT,
            message: Promise::Notify {
                contact: "http://na.example.org:9000/notify".to_owned(),
                creator: creator.map(str::to_owned),
                media: NotifyMedia::Json,
                hops: 0,
                notification,
            },
        })
    };
    let notify = |notification| notify_of(None, notification);
    vec![
        (
            "resource",
            Record::Resource(Resource {
                path: path(),
                representation: every_value(),
                creator: "/m2m/applications/meterReader".to_owned(),
                version: 300,
                subscriptions: 2,
                notify_media: NotifyMedia::Json,
            }),
        ),
        (
            "instances",
            Record::Instances(InstancesState {
                count: 1,
                bytes: 2,
                next: 300,
                oldest: 4,
                latest: 299,
                creation_time: AT,
                last_modified_time: Timestamp(AT.0 + 1),
                version: 5,
                subscriptions: 6,
            }),
        ),
        ("instance", Record::Instance(instance())),
        ("pointer", Record::Pointer(300)),
        ("outbox_representation", notify(Notification::Representation(every_value()))),
        ("outbox_instance", notify(Notification::Instance(instance()))),
        (
            "outbox_attribute",
            notify(Notification::Attribute {
                name: "searchStrings".into(),
                value: Value::List(vec!["a".into()]),
            }),
        ),
        ("outbox_meta_data", notify(Notification::MetaData(instance().without_content()))),
        ("outbox_stored", notify(Notification::Stored { sequences: vec![7, 9], octets: 300 })),
        ("outbox_present", notify(Notification::Present { up_to: 9 })),
        ("outbox_member", notify(Notification::Member { notify: notify_body(), octets_before: 300 })),
        ("outbox_bare", notify(Notification::Bare)),
        ("outbox_of_creator", notify_of(Some("/m2m/applications/na"), Notification::Bare)),
        (
            "outbox_of_hops",
            Record::Outbox(OutboxEntry {
                queue: path(),
                sequence: 300,
                at: AT,
                message: Promise::Notify {
                    contact: "/m2m/containers/c/contentInstances".to_owned(),
                    creator: None,
                    media: NotifyMedia::Xml,
                    hops: 3,
                    notification: Notification::Bare,
                },
            }),
        ),
        ("outbox_collection", notify(Notification::Collection)),
        ("outbox_timed_out", notify(Notification::TimedOut("too late".into()))),
        ("outbox_final", notify(Notification::Final(StatusCode::Deleted))),
        (
            "outbox_collection_changed",
            Record::Outbox(OutboxEntry {
                queue: Path::parse("applications").expect("a path"),
                sequence: 1,
                at: AT,
                message: Promise::CollectionChanged { collection: "applications" },
            }),
        ),
        (
            "outbox_announce",
            Record::Outbox(OutboxEntry { queue: path(), sequence: 1, at: AT, message: Promise::Announce }),
        ),
        (
            "announced",
            Record::Announced(Announced {
                resource_type: ResourceType::Container,
                entity: "/m2m/applications/meterReader".to_owned(),
                at: vec![
                    Announcement { scl: "gw1".to_owned(), stands: Some(standing()) },
                    Announcement { scl: "gw2".to_owned(), stands: None },
                ],
            }),
        ),
        ("reply", Record::Reply(Bytes::from_static(b"\x08\x02reply"))),
        ("session", Record::Session { last_used: AT, acked_below: 298, highest: 301 }),
        ("due", Record::Due { path: path() }),
        ("listed", Record::Listed { slot: Slot(0x0123_4567_89ab_cdef) }),
        ("channel", Record::Channel(ChannelState { next: 300, waiting: 2, octets: 1_000 })),
        ("queued", Record::Queued(QueuedMessage { at: AT, message: notify_body() })),
        (
            "outbox_carry_out",
            Record::Outbox(OutboxEntry {
                queue: place(),
                sequence: 1,
                at: AT,
                message: Promise::CarryOut { request: Bytes::from_static(b"request") },
            }),
        ),
        (
            "outbox_answer",
            Record::Outbox(OutboxEntry { queue: place(), sequence: 1, at: AT, message: Promise::Answer }),
        ),
        ("deferred", Record::Deferred(deferred())),
        ("stored_for_another_scl", Record::Deferred(stored())),
        ("kept", Record::Kept(Kept { entries: 2, octets: 1_000, next: 300 })),
    ]
}

fn place() -> Path {
    deferred::place(&Entity("/m2m/applications/meterReader".to_owned()), "9001")
}

fn deferral() -> Deferral {
    Deferral {
        place: place(),
        request: Bytes::from_static(b"request"),
        digest: 0x0123_4567_89ab_cdef,
        contact: Some("http://dash.example.org/async".to_owned()),
        media: NotifyMedia::Json,
        lifetime_ms: 300_000,
        keep_until: None,
        storing: None,
        limits: Limits {
            entity: QueueLimits { entries_max: 10, octets_max: 20 },
            shard: QueueLimits { entries_max: 30, octets_max: 40 },
        },
    }
}

fn deferred() -> Deferred {
    Deferred {
        entity: "/m2m/applications/meterReader".to_owned(),
        at: AT,
        number: 300,
        digest: 0x0123_4567_89ab_cdef,
        contact: Some("http://dash.example.org/async".to_owned()),
        media: NotifyMedia::Json,
        lifetime_ms: 300_000,
        keep_until: None,
        forwarding: None,
        octets: 6,
        answer: Some(Bytes::from_static(b"answer")),
        expires: Some(AT),
    }
}

fn forwarding() -> Forwarding {
    Forwarding { target: "http://gw1.example.org".to_owned(), rcat: Rcat::ALL[3], deadline: AT }
}

fn storing() -> Deferral {
    let limits = QueueLimits { entries_max: 50, octets_max: 60 };
    Deferral {
        keep_until: Some(AT),
        storing: Some(Storing { forwarding: forwarding(), limits }),
        ..deferral()
    }
}

fn stored() -> Deferred {
    Deferred {
        keep_until: Some(AT),
        forwarding: Some(forwarding()),
        answer: None,
        expires: None,
        ..deferred()
    }
}

fn standing() -> Standing {
    Standing {
        uri: "http://gw1.example.org/m2m/scls/nscl/containers/DATAAnnc".to_owned(),
        digest: 0x0123_4567_89ab_cdef,
        expiration: Some(AT),
    }
}

/// A representation that no type has, with a value of each kind.
fn every_value() -> Representation {
    let element = Element {
        namespace: "urn:vendor".to_owned(),
        name: "outer".to_owned(),
        attributes: vec![("unit".to_owned(), "C".to_owned())],
        children: vec![Element {
            name: "inner".to_owned(), text: "21.5 é".to_owned(), ..Element::default()
        }],
        text: String::new(),
    };
    let reference = |id: &str| NamedReference { id: id.to_owned(), uri: format!("/m2m/containers/{id}") };
    let duration = |negative| XsdDuration { negative, months: 14, millis: 93_784_500 };
    let permission = Struct {
        name: "PermissionType",
        fields: vec![("id", Value::Text("p1".to_owned())), ("permissionFlags", Value::Empty)],
    };
    Representation {
        resource_type: ResourceType::Container,
        attributes: vec![
            ("id", Value::Text("DATA é".to_owned())),
            ("expirationTime", Value::Datetime(AT)),
            ("creationTime", Value::Datetime(Timestamp(-62_135_596_800_000))),
            ("maxInstanceAge", Value::Duration(duration(false))),
            ("tolerableDelay", Value::Duration(duration(true))),
            ("activated", Value::Bool(false)),
            ("maxNrOfInstances", Value::Long(-1)),
            ("maxByteSize", Value::Long(i64::MAX)),
            (
                "representation",
                Value::Binary {
                    content_type: Some("application/xml".to_owned()),
                    bytes: Bytes::from_static(b"<a/>"),
                },
            ),
            (
                "groupRequestIdentifier",
                Value::Binary { content_type: None, bytes: Bytes::from_static(b"\xa5") },
            ),
            ("searchStrings", Value::List(vec!["type/temperature".to_owned(), String::new()])),
            ("latest", Value::Reference(reference("c1"))),
            ("containerCollection", Value::References(vec![reference("c1"), reference("c2")])),
            (
                "content",
                Value::Content(Content {
                    content_type: None,
                    bytes: Bytes::from_static(b"\x00\xff"),
                    form: ContentForm::Binary,
                }),
            ),
            ("permissions", Value::Struct(permission)),
            (
                "contentInstance",
                Value::Resource(Box::new(Representation {
                    resource_type: ResourceType::ContentInstance,
                    attributes: vec![("contentSize", Value::Long(0))],
                })),
            ),
            ("contentInstanceCollection", Value::Empty),
            ("originalMO", Value::Any(element)),
        ],
    }
}

fn instance_as_sent() -> Representation {
    let mut representation = Representation::new(ResourceType::ContentInstance);
    representation.set(
        "content",
        Value::Content(Content {
            content_type: Some("text/plain".to_owned()),
            bytes: Bytes::from_static(b"21.5"),
            form: ContentForm::Text,
        }),
    );
    representation
}

fn message<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, message: &M) -> M {
    let bytes = check(name, message.encode_to_vec().into());
    let read = M::decode(bytes).expect("just compared");
    assert_eq!(&read, message, "{name}");
    read
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Compares with the file, and hands out the file's bytes.
fn check(name: &str, bytes: Bytes) -> Bytes {
    let file = folder().join(format!("{name}.hex"));
    let lines: Vec<String> =
        bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    let written = format!("{}\n", lines.join("\n"));
    if std::env::var("BANYAN_GOLDEN").is_ok_and(|v| v == "rewrite") {
        fs::write(&file, &written).expect("the golden folder is writable");
    }
    let golden = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(written, golden, "{}", file.display());
    let digits: Vec<u8> = golden.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex digits");
        u8::from_str_radix(pair, 16).expect("hex digits")
    };
    digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
}
