//! The state machine: `(view, command) -> outcome`, the same on every replica, whatever the clock says.
//!
//! A command reads through the view and what it has staged itself, and hands back one write set. A refusal writes
//! nothing but its place in the reply table. The cost follows what a command changes, not what is stored.

mod acknowledge;
mod aggregation;
mod announcement;
mod channel;
mod collection;
mod create;
mod create_instance;
mod deferred;
mod delete;
mod execute;
mod expire;
mod group;
mod instances;
mod news;
mod online;
mod queue;
mod reply;
mod staged;
mod store_notify;
mod subscription;
mod update;
mod writer;

use crate::{
    Command, Operation, Path, Refusal, ResponsePrimitive, Scl, StatusCode, Timestamp, TreeView,
    aggregation::is_aggregation, key::Key, record::Record,
};
use writer::Writer;

pub use expire::next_due;
pub use reply::recorded;

/// What a command did.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The answer to the issuer; a refusal is one too. Not to be sent when `replayed` is there.
    pub response: ResponsePrimitive,
    /// The command's id had been applied before: this is the recorded answer, and nothing changes.
    pub replayed: Option<bytes::Bytes>,
    /// Where the replica writes the encoded `response` as `Record::Reply`, in the same write set (`new`): the core
    /// does not know the encoding. `None` for the leader's own commands and for whatever was answered before.
    pub reply: Option<Key>,
    /// The write set, one change a key, in key order; without the reply.
    pub changes: Vec<Change>,
    /// Hints for the leader; whatever must happen is in the changes.
    pub effects: Vec<Effect>,
}

/// One key's change.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)] // Nearly all are puts.
pub enum Change {
    /// Writes a record. `new`: the key cannot exist below (its name was never used), so that an overlay may drop
    /// it without a trace when it is deleted again before it was written.
    Put {
        /// Where.
        key: Key,
        /// What.
        record: Record,
        /// See above.
        new: bool,
    },
    /// Removes a record.
    Delete(Key),
}

/// Hints for the leader, each at most once in an outcome.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// A queue of the outbox has something.
    Deliver {
        /// The queue.
        queue: Path,
        /// Until when it may wait, and must be told then also where the subscription wants more time between its
        /// notifies. `None`: it is told as soon as that time is over.
        by: Option<Timestamp>,
    },
    /// Something falls due at this time.
    Due(Timestamp),
    /// An accessRight changed or went: cached copies are stale.
    AccessRightChanged(Path),
    /// A subtree root came or went.
    SubtreeChanged(Path),
    /// A channel's queue changed, or the channel went: polls that wait there look again.
    ChannelChanged(Path),
    /// A subscription was ended because its queue was full: an operator should know.
    SubscriptionEnded(Path),
}

/// What a command came to: the outer error is the replica's, the inner one the answer.
type Answer<V> = Result<Result<ResponsePrimitive, Refusal>, <V as TreeView>::Error>;

/// Applies one command. `scl` is configuration that all replicas share; `at` is the entry's time, which never goes back
/// within a shard.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn apply<V: TreeView>(
    view: &V,
    scl: &Scl,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, V::Error> {
    match reply::recall(view, command.id)? {
        reply::Recall::First => {}
        reply::Recall::Recorded(bytes) => {
            let response = ResponsePrimitive::status(StatusCode::Ok);
            return Ok(Outcome { replayed: Some(bytes), ..unchanged(response) });
        }
        reply::Recall::Forgotten => {
            // Only a duplicate that its client no longer waits for comes here; the status claims nothing about the
            // first one.
            let refusal =
                Refusal::new(StatusCode::RequestTimeout, "answered before; the answer is forgotten");
            return Ok(unchanged(refusal.into()));
        }
    }
    let mut writer = Writer::new(view, scl, at, command.hops);
    let response = match run(&mut writer, command)? {
        Ok(response) => response,
        Err(refusal) => {
            writer = Writer::new(view, scl, at, command.hops);
            refusal.into()
        }
    };
    let reply = reply::remember(&mut writer, command.id)?;
    let (changes, effects) = writer.finish();
    Ok(Outcome { response, replayed: None, reply, changes, effects })
}

fn run<V: TreeView>(writer: &mut Writer<'_, V>, command: &Command) -> Answer<V> {
    match &command.operation {
        Operation::Create { path, representation, notify_media } => {
            create::create(writer, &command.entity, path, representation, *notify_media)
        }
        Operation::CreateInstance { container, id, representation } => {
            create_instance::create_instance(writer, container, id.as_deref(), representation)
        }
        Operation::StoreNotify { container, instances } => {
            store_notify::store_notify(writer, container, instances)
        }
        Operation::Update { path, representation, conditions } => {
            update::update(writer, path, representation, conditions)
        }
        Operation::UpdateAttribute { path, attribute, value, conditions } => {
            update::update_attribute(writer, path, attribute, value, conditions)
        }
        Operation::UpdateMembers { group, verified, conditions } => {
            group::update_members(writer, group, verified, conditions)
        }
        Operation::AddMember { group, member, member_type, validated, conditions } => {
            let added = group::Added { member, member_type: member_type.as_deref(), validated: *validated };
            group::add_member(writer, group, &added, conditions)
        }
        Operation::RemoveMembers { group, members } => group::remove_members(writer, group, members),
        Operation::EditAttribute { path, attribute, at, edit, conditions } => {
            update::edit_attribute(writer, path, attribute, at, edit, conditions)
        }
        Operation::Delete { path, conditions } => delete::delete(writer, path, conditions),
        Operation::Expire => expire::expire(writer),
        Operation::Acknowledge { queue, up_to } => acknowledge::acknowledge(writer, queue, *up_to),
        Operation::EndSubscription { path, final_status } => {
            subscription::end_subscription(writer, path, *final_status)
        }
        Operation::Execute(execution) => execute::execute(writer, &command.entity, execution),
        Operation::AnnouncementDone { path, sequence, scl, done } => {
            announcement::done(writer, path, *sequence, scl, done)
        }
        Operation::CollectionChanged { collection, shard, sequence, at } => {
            collection::collection_changed(writer, collection, *shard, *sequence, *at)
        }
        Operation::Aggregate { path, representation, creator, notify_media } => {
            aggregation::begin(writer, path, representation, creator, *notify_media)
        }
        Operation::Enqueue { channel: path, message, limits } if is_aggregation(path) => {
            aggregation::collect(writer, path, message, *limits)
        }
        Operation::Enqueue { channel: path, message, limits } => {
            channel::enqueue(writer, path, message, *limits)
        }
        Operation::Defer(deferral) => deferred::defer(writer, &command.entity, deferral),
        Operation::Answered { place, sequence, answer } => {
            deferred::answered(writer, place, *sequence, answer)
        }
        Operation::Taken { channel: path, sequence } => channel::taken(writer, path, *sequence),
    }
}

fn unchanged(response: ResponsePrimitive) -> Outcome {
    Outcome { response, replayed: None, reply: None, changes: Vec::new(), effects: Vec::new() }
}
