//! What is stored.

use super::{Malformed, outbox, required};
use crate::v1;
use banyan_model::{
    Timestamp,
    deferred::Kept,
    path::Slot,
    record::{ChannelState, Instance, InstancesState, QueuedMessage, Record, Resource},
};

impl From<&Record> for v1::Record {
    fn from(record: &Record) -> v1::Record {
        use v1::record::Kind;
        let kind = match record {
            Record::Resource(resource) => Kind::Resource(resource.into()),
            Record::Instances(state) => Kind::Instances(state.into()),
            Record::Instance(instance) => Kind::Instance(instance.into()),
            Record::Pointer(to) => Kind::Pointer(*to),
            Record::Outbox(entry) => Kind::Outbox(entry.into()),
            Record::Reply(bytes) => Kind::Reply(bytes.clone()),
            Record::Session { last_used, acked_below, highest } => Kind::Session(v1::Session {
                last_used_ms: last_used.0,
                acked_below: *acked_below,
                highest: *highest,
            }),
            Record::Due { path } => Kind::Due(path.into()),
            Record::Listed { slot } => Kind::ListedSlot(slot.0),
            Record::Announced(announced) => Kind::Announced(announced.into()),
            Record::Channel(ChannelState { next, waiting, octets }) => {
                Kind::Channel(v1::ChannelState { next: *next, waiting: *waiting, octets: *octets })
            }
            Record::Queued(QueuedMessage { at, message }) => {
                Kind::Queued(v1::QueuedMessage { at_ms: at.0, message: Some(message.into()) })
            }
            Record::Deferred(deferred) => Kind::Deferred(deferred.into()),
            Record::Kept(Kept { entries, octets, next }) => {
                Kind::Kept(v1::Kept { entries: *entries, octets: *octets, next: *next })
            }
        };
        v1::Record { kind: Some(kind) }
    }
}

impl TryFrom<v1::Record> for Record {
    type Error = Malformed;

    fn try_from(record: v1::Record) -> Result<Record, Malformed> {
        use v1::record::Kind;
        Ok(match required("record", record.kind)? {
            Kind::Resource(resource) => Record::Resource(resource.try_into()?),
            Kind::Instances(state) => Record::Instances(state.into()),
            Kind::Instance(instance) => Record::Instance(instance.try_into()?),
            Kind::Pointer(to) => Record::Pointer(to),
            Kind::Outbox(entry) => Record::Outbox(entry.try_into()?),
            Kind::Reply(bytes) => Record::Reply(bytes),
            Kind::Session(v1::Session { last_used_ms, acked_below, highest }) => {
                Record::Session { last_used: Timestamp(last_used_ms), acked_below, highest }
            }
            Kind::Due(path) => Record::Due { path: path.into() },
            Kind::ListedSlot(slot) => Record::Listed { slot: Slot(slot) },
            Kind::Announced(announced) => Record::Announced(announced.try_into()?),
            Kind::Channel(v1::ChannelState { next, waiting, octets }) => {
                Record::Channel(ChannelState { next, waiting, octets })
            }
            Kind::Queued(v1::QueuedMessage { at_ms, message }) => Record::Queued(QueuedMessage {
                at: Timestamp(at_ms),
                message: required("message", message)?.try_into()?,
            }),
            Kind::Deferred(deferred) => Record::Deferred(deferred.try_into()?),
            Kind::Kept(v1::Kept { entries, octets, next }) => Record::Kept(Kept { entries, octets, next }),
        })
    }
}

impl From<&Resource> for v1::Resource {
    fn from(resource: &Resource) -> v1::Resource {
        v1::Resource {
            path: Some((&resource.path).into()),
            representation: Some((&resource.representation).into()),
            creator: resource.creator.clone(),
            version: resource.version,
            subscriptions: resource.subscriptions,
            notify_media: outbox::media_to_wire(resource.notify_media),
        }
    }
}

impl TryFrom<v1::Resource> for Resource {
    type Error = Malformed;

    fn try_from(resource: v1::Resource) -> Result<Resource, Malformed> {
        Ok(Resource {
            path: required("path", resource.path)?.into(),
            representation: required("representation", resource.representation)?.try_into()?,
            creator: resource.creator,
            version: resource.version,
            subscriptions: resource.subscriptions,
            notify_media: outbox::media(resource.notify_media)?,
        })
    }
}

impl From<&InstancesState> for v1::InstancesState {
    fn from(state: &InstancesState) -> v1::InstancesState {
        v1::InstancesState {
            count: state.count,
            bytes: state.bytes,
            next: state.next,
            oldest: state.oldest,
            latest: state.latest,
            creation_time_ms: state.creation_time.0,
            last_modified_time_ms: state.last_modified_time.0,
            version: state.version,
            subscriptions: state.subscriptions,
        }
    }
}

impl From<v1::InstancesState> for InstancesState {
    fn from(state: v1::InstancesState) -> InstancesState {
        InstancesState {
            count: state.count,
            bytes: state.bytes,
            next: state.next,
            oldest: state.oldest,
            latest: state.latest,
            creation_time: Timestamp(state.creation_time_ms),
            last_modified_time: Timestamp(state.last_modified_time_ms),
            version: state.version,
            subscriptions: state.subscriptions,
        }
    }
}

impl From<&Instance> for v1::Instance {
    fn from(instance: &Instance) -> v1::Instance {
        v1::Instance {
            id: instance.id.clone(),
            sequence: instance.sequence,
            creation_time_ms: instance.creation_time.0,
            last_modified_time_ms: instance.last_modified_time.0,
            delay_tolerance_ms: instance.delay_tolerance.map(|at| at.0),
            search_strings: instance.search_strings.clone(),
            content_types: instance.content_types.clone(),
            content_size: instance.content_size,
            content: Some((&instance.content).into()),
        }
    }
}

impl TryFrom<v1::Instance> for Instance {
    type Error = Malformed;

    fn try_from(instance: v1::Instance) -> Result<Instance, Malformed> {
        Ok(Instance {
            id: instance.id,
            sequence: instance.sequence,
            creation_time: Timestamp(instance.creation_time_ms),
            last_modified_time: Timestamp(instance.last_modified_time_ms),
            delay_tolerance: instance.delay_tolerance_ms.map(Timestamp),
            search_strings: instance.search_strings,
            content_types: instance.content_types,
            content_size: instance.content_size,
            content: required("content", instance.content)?.into(),
        })
    }
}
