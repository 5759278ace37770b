//! What goes into a shard's log.

use super::{Malformed, names, number, outbox, required, status};
use crate::v1;
use banyan_model::{
    Command, Entity, Execution, Operation, RequestId, Timestamp, command::QueueLimits, group::Verified,
    partial::Edit, placement::ShardId, primitive::Conditions,
};

impl From<&Command> for v1::Command {
    fn from(command: &Command) -> v1::Command {
        v1::Command {
            id: Some((&command.id).into()),
            at_ms: command.at.0,
            entity: command.entity.0.clone(),
            hops: command.hops,
            operation: Some((&command.operation).into()),
        }
    }
}

impl TryFrom<v1::Command> for Command {
    type Error = Malformed;

    fn try_from(command: v1::Command) -> Result<Command, Malformed> {
        Ok(Command {
            hops: command.hops,
            id: required("request id", command.id)?.into(),
            at: Timestamp(command.at_ms),
            entity: Entity(command.entity),
            operation: required("operation", command.operation)?.try_into()?,
        })
    }
}

impl From<&RequestId> for v1::RequestId {
    fn from(id: &RequestId) -> v1::RequestId {
        v1::RequestId { session: id.session, sequence: id.sequence, acked_below: id.acked_below }
    }
}

impl From<v1::RequestId> for RequestId {
    fn from(id: v1::RequestId) -> RequestId {
        RequestId { session: id.session, sequence: id.sequence, acked_below: id.acked_below }
    }
}

impl From<&Operation> for v1::command::Operation {
    fn from(operation: &Operation) -> v1::command::Operation {
        use v1::command::Operation as Wire;
        match operation {
            Operation::Create { path, representation, notify_media } => Wire::Create(v1::Create {
                path: Some(path.into()),
                representation: Some(representation.into()),
                notify_media: outbox::media_to_wire(*notify_media),
            }),
            Operation::CreateInstance { container, id, representation } => {
                Wire::CreateInstance(v1::CreateInstance {
                    container: Some(container.into()),
                    id: id.clone(),
                    representation: Some(representation.into()),
                })
            }
            Operation::StoreNotify { container, instances } => Wire::StoreNotify(v1::StoreNotify {
                container: Some(container.into()),
                instances: instances.iter().map(Into::into).collect(),
            }),
            Operation::Update { path, representation, conditions } => Wire::Update(v1::Update {
                path: Some(path.into()),
                representation: Some(representation.into()),
                conditions: Some(conditions.into()),
            }),
            Operation::UpdateAttribute { path, attribute, value, conditions } => {
                Wire::UpdateAttribute(v1::UpdateAttribute {
                    path: Some(path.into()),
                    attribute: (*attribute).to_owned(),
                    value: Some(value.into()),
                    conditions: Some(conditions.into()),
                })
            }
            Operation::UpdateMembers { group, verified, conditions } => {
                Wire::UpdateMembers(v1::UpdateMembers {
                    group: Some(group.into()),
                    members: verified.members.clone(),
                    member_type: verified.member_type.clone(),
                    validated: verified.validated,
                    conditions: Some(conditions.into()),
                })
            }
            Operation::AddMember { group, member, member_type, validated, conditions } => {
                Wire::AddMember(v1::AddMember {
                    group: Some(group.into()),
                    member: member.clone(),
                    member_type: member_type.clone(),
                    validated: *validated,
                    conditions: Some(conditions.into()),
                })
            }
            Operation::RemoveMembers { group, members } => {
                Wire::RemoveMembers(v1::RemoveMembers { group: Some(group.into()), members: members.clone() })
            }
            Operation::EditAttribute { path, attribute, at, edit, conditions } => {
                Wire::EditAttribute(v1::EditAttribute {
                    path: Some(path.into()),
                    attribute: (*attribute).to_owned(),
                    at: at.clone(),
                    edit: Some(match edit {
                        Edit::Add(value) => v1::edit_attribute::Edit::Add(value.into()),
                        Edit::Put(value) => v1::edit_attribute::Edit::Put(value.into()),
                        Edit::Remove => v1::edit_attribute::Edit::Remove(true),
                    }),
                    conditions: Some(conditions.into()),
                })
            }
            Operation::Delete { path, conditions } => {
                Wire::Delete(v1::Delete { path: Some(path.into()), conditions: Some(conditions.into()) })
            }
            Operation::Expire => Wire::Expire(true),
            Operation::Acknowledge { queue, up_to } => {
                Wire::Acknowledge(v1::Acknowledge { queue: Some(queue.into()), up_to: *up_to })
            }
            Operation::EndSubscription { path, final_status } => Wire::EndSubscription(v1::EndSubscription {
                path: Some(path.into()),
                final_status: final_status.map(number),
            }),
            Operation::Execute(execution) => Wire::Execute(execution.into()),
            Operation::AnnouncementDone { path, sequence, scl, done } => {
                Wire::AnnouncementDone(v1::AnnouncementDone {
                    path: Some(path.into()),
                    sequence: *sequence,
                    scl: scl.clone(),
                    done: Some(done.into()),
                })
            }
            Operation::Aggregate { path, representation, creator, notify_media } => {
                Wire::Aggregate(v1::Aggregate {
                    path: Some(path.into()),
                    representation: Some(representation.into()),
                    creator: creator.0.clone(),
                    notify_media: outbox::media_to_wire(*notify_media),
                })
            }
            Operation::Enqueue { channel, message, limits } => Wire::Enqueue(v1::Enqueue {
                channel: Some(channel.into()),
                message: Some(message.into()),
                entries_max: limits.entries_max,
                octets_max: limits.octets_max,
            }),
            Operation::Taken { channel, sequence } => {
                Wire::Taken(v1::Taken { channel: Some(channel.into()), sequence: *sequence })
            }
            Operation::Defer(deferral) => Wire::Defer(deferral.into()),
            Operation::Answered { place, sequence, answer } => Wire::Answered(v1::Answered {
                place: Some(place.into()),
                sequence: *sequence,
                answer: answer.clone(),
            }),
            Operation::CollectionChanged { collection, shard, sequence, at } => {
                Wire::CollectionChanged(v1::CollectionChanged {
                    collection: (*collection).to_owned(),
                    shard: shard.0,
                    sequence: *sequence,
                    at_ms: at.0,
                })
            }
        }
    }
}

impl TryFrom<v1::command::Operation> for Operation {
    type Error = Malformed;

    fn try_from(operation: v1::command::Operation) -> Result<Operation, Malformed> {
        use v1::command::Operation as Wire;
        Ok(match operation {
            Wire::Create(v1::Create { path, representation, notify_media }) => Operation::Create {
                path: required("path", path)?.into(),
                representation: required("representation", representation)?.try_into()?,
                notify_media: outbox::media(notify_media)?,
            },
            Wire::CreateInstance(v1::CreateInstance { container, id, representation }) => {
                Operation::CreateInstance {
                    container: required("container", container)?.into(),
                    id,
                    representation: required("representation", representation)?.try_into()?,
                }
            }
            Wire::StoreNotify(v1::StoreNotify { container, instances }) => Operation::StoreNotify {
                container: required("container", container)?.into(),
                instances: instances.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            },
            Wire::Update(v1::Update { path, representation, conditions }) => Operation::Update {
                path: required("path", path)?.into(),
                representation: required("representation", representation)?.try_into()?,
                conditions: conditions.unwrap_or_default().into(),
            },
            Wire::UpdateAttribute(v1::UpdateAttribute { path, attribute, value, conditions }) => {
                Operation::UpdateAttribute {
                    path: required("path", path)?.into(),
                    attribute: names::any(&attribute)
                        .ok_or_else(|| Malformed::unknown("attribute", &attribute))?,
                    value: required("value", value)?.try_into()?,
                    conditions: conditions.unwrap_or_default().into(),
                }
            }
            Wire::UpdateMembers(v1::UpdateMembers { group, members, member_type, validated, conditions }) => {
                Operation::UpdateMembers {
                    group: required("group", group)?.into(),
                    verified: Verified { members, member_type, validated },
                    conditions: conditions.unwrap_or_default().into(),
                }
            }
            Wire::AddMember(v1::AddMember { group, member, member_type, validated, conditions }) => {
                Operation::AddMember {
                    group: required("group", group)?.into(),
                    member,
                    member_type,
                    validated,
                    conditions: conditions.unwrap_or_default().into(),
                }
            }
            Wire::RemoveMembers(v1::RemoveMembers { group, members }) => {
                Operation::RemoveMembers { group: required("group", group)?.into(), members }
            }
            Wire::EditAttribute(v1::EditAttribute { path, attribute, at, edit, conditions }) => {
                Operation::EditAttribute {
                    path: required("path", path)?.into(),
                    attribute: names::any(&attribute)
                        .ok_or_else(|| Malformed::unknown("attribute", &attribute))?,
                    at,
                    edit: match required("edit", edit)? {
                        v1::edit_attribute::Edit::Add(value) => Edit::Add(value.try_into()?),
                        v1::edit_attribute::Edit::Put(value) => Edit::Put(value.try_into()?),
                        v1::edit_attribute::Edit::Remove(_) => Edit::Remove,
                    },
                    conditions: conditions.unwrap_or_default().into(),
                }
            }
            Wire::Delete(v1::Delete { path, conditions }) => Operation::Delete {
                path: required("path", path)?.into(),
                conditions: conditions.unwrap_or_default().into(),
            },
            Wire::Expire(_) => Operation::Expire,
            Wire::Acknowledge(v1::Acknowledge { queue, up_to }) => {
                Operation::Acknowledge { queue: required("queue", queue)?.into(), up_to }
            }
            Wire::EndSubscription(v1::EndSubscription { path, final_status }) => Operation::EndSubscription {
                path: required("path", path)?.into(),
                final_status: final_status.map(status).transpose()?,
            },
            Wire::Execute(execute) => Operation::Execute(execute.try_into()?),
            Wire::AnnouncementDone(v1::AnnouncementDone { path, sequence, scl, done }) => {
                Operation::AnnouncementDone {
                    path: required("path", path)?.into(),
                    sequence,
                    scl,
                    done: required("done", done)?.into(),
                }
            }
            Wire::Aggregate(v1::Aggregate { path, representation, creator, notify_media }) => {
                Operation::Aggregate {
                    path: required("path", path)?.into(),
                    representation: required("representation", representation)?.try_into()?,
                    creator: Entity(creator),
                    notify_media: outbox::media(notify_media)?,
                }
            }
            Wire::Enqueue(v1::Enqueue { channel, message, entries_max, octets_max }) => Operation::Enqueue {
                channel: required("channel", channel)?.into(),
                message: required("message", message)?.try_into()?,
                limits: QueueLimits { entries_max, octets_max },
            },
            Wire::Taken(v1::Taken { channel, sequence }) => {
                Operation::Taken { channel: required("channel", channel)?.into(), sequence }
            }
            Wire::Defer(deferral) => Operation::Defer(deferral.try_into()?),
            Wire::Answered(v1::Answered { place, sequence, answer }) => {
                Operation::Answered { place: required("place", place)?.into(), sequence, answer }
            }
            Wire::CollectionChanged(v1::CollectionChanged { collection, shard, sequence, at_ms }) => {
                Operation::CollectionChanged {
                    collection: names::root_collection(&collection)?,
                    shard: ShardId(shard),
                    sequence,
                    at: Timestamp(at_ms),
                }
            }
        })
    }
}

impl From<&Execution> for v1::Execute {
    fn from(execution: &Execution) -> v1::Execute {
        use v1::execute::Execution as Wire;
        let execution = match execution {
            Execution::Command { path, representation } => Wire::Command(v1::ExecuteCommand {
                path: Some(path.into()),
                representation: Some(representation.into()),
            }),
            Execution::Cancel { path } => Wire::Cancel(path.into()),
            Execution::Action { path, attribute } => Wire::Action(v1::ExecuteAction {
                path: Some(path.into()),
                attribute: (*attribute).to_owned(),
            }),
        };
        v1::Execute { execution: Some(execution) }
    }
}

impl TryFrom<v1::Execute> for Execution {
    type Error = Malformed;

    fn try_from(execute: v1::Execute) -> Result<Execution, Malformed> {
        use v1::execute::Execution as Wire;
        Ok(match required("execution", execute.execution)? {
            Wire::Command(v1::ExecuteCommand { path, representation }) => Execution::Command {
                path: required("path", path)?.into(),
                representation: required("representation", representation)?.try_into()?,
            },
            Wire::Cancel(path) => Execution::Cancel { path: path.into() },
            Wire::Action(v1::ExecuteAction { path, attribute }) => Execution::Action {
                path: required("path", path)?.into(),
                attribute: names::any(&attribute)
                    .ok_or_else(|| Malformed::unknown("attribute", &attribute))?,
            },
        })
    }
}

impl From<&Conditions> for v1::Conditions {
    fn from(conditions: &Conditions) -> v1::Conditions {
        v1::Conditions {
            if_match: conditions.if_match.clone(),
            if_none_match: conditions.if_none_match.clone(),
            if_modified_since_ms: conditions.if_modified_since.map(|at| at.0),
            if_unmodified_since_ms: conditions.if_unmodified_since.map(|at| at.0),
        }
    }
}

impl From<v1::Conditions> for Conditions {
    fn from(conditions: v1::Conditions) -> Conditions {
        Conditions {
            if_match: conditions.if_match,
            if_none_match: conditions.if_none_match,
            if_modified_since: conditions.if_modified_since_ms.map(Timestamp),
            if_unmodified_since: conditions.if_unmodified_since_ms.map(Timestamp),
        }
    }
}
