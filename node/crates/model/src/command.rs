//! What goes into the log: a request that passed every check the leader can make, with all uncertainty decided.

use crate::{
    Entity, Path, Representation, Timestamp, Value,
    announce::Done,
    deferred::Deferral,
    group::Verified,
    partial::Edit,
    placement::ShardId,
    primitive::{Conditions, NotifyMedia},
    value::Struct,
};
use bytes::Bytes;

/// Names a request for ever: the same id is applied once, however often it is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RequestId {
    /// Random, one for each client process.
    pub session: u64,
    /// Counts the session's requests from 1.
    pub sequence: u64,
    /// Every sequence below this has been answered to the client: its reply may be forgotten.
    pub acked_below: u64,
}

/// How much may wait in a channel's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueLimits {
    /// Messages.
    pub entries_max: u64,
    /// About how many octets of them; a single message may be larger.
    pub octets_max: u64,
}

/// One log entry's command.
#[derive(Clone, PartialEq, Debug)]
pub struct Command {
    /// `RequestId::default()` (all zero) for the leader's own commands, which carry their own idempotence.
    pub id: RequestId,
    /// The leader's time.
    pub at: Timestamp,
    /// How many notifies led to it, each caused by the one before (`outbox::HOPS_MAX`).
    pub hops: u32,
    /// requestingEntity.
    pub entity: Entity,
    /// What to do.
    pub operation: Operation,
}

/// The operations of the state machine.
#[derive(Clone, PartialEq, Debug)]
pub enum Operation {
    /// CREATE of anything but a contentInstance, complete with defaults, negotiated times and name.
    Create {
        /// The new resource.
        path: Path,
        /// Its attributes, checked.
        representation: Representation,
        /// For subscriptions.
        notify_media: NotifyMedia,
    },
    /// CREATE of a contentInstance.
    CreateInstance {
        /// The container's path.
        container: Path,
        /// The name the client chose; otherwise made from the sequence at apply.
        id: Option<String>,
        /// Attributes as sent (delayTolerance, searchStrings, contentTypes, content).
        representation: Representation,
    },
    /// NOTIFY of a contentInstances collection: what it leaves there.
    StoreNotify {
        /// The container's path.
        container: Path,
        /// Attributes of the instances in their order; `id` and `creationTime` of those that have them already.
        instances: Vec<Representation>,
    },
    /// Full UPDATE: RW attributes are replaced, absent optional ones removed (D-12).
    Update {
        /// Addressed resource.
        path: Path,
        /// RW attributes, checked, expirationTime negotiated.
        representation: Representation,
        /// Checked again at apply.
        conditions: Conditions,
    },
    /// Partial UPDATE of one attribute.
    UpdateAttribute {
        /// Addressed resource.
        path: Path,
        /// ETSI name.
        attribute: &'static str,
        /// The new value.
        value: Value,
        /// Checked again at apply.
        conditions: Conditions,
    },
    /// A change below one attribute: an entry of a list, a field of what it holds, or its removal. The log carries the
    /// change, not the attribute that comes of it: of two issuers who add different entries at the same time neither
    /// must undo the other, nor be sent away to try again.
    EditAttribute {
        /// Addressed resource.
        path: Path,
        /// ETSI name.
        attribute: &'static str,
        /// The accessor below it.
        at: Vec<String>,
        /// What to do there.
        edit: Edit,
        /// Checked again at apply.
        conditions: Conditions,
    },
    /// DELETE with everything below.
    Delete {
        /// Addressed resource, or one contentInstance.
        path: Path,
        /// Checked again at apply.
        conditions: Conditions,
    },
    /// Partial UPDATE of a group's members, which were checked.
    UpdateMembers {
        /// The group.
        group: Path,
        /// What was found.
        verified: Verified,
        /// Checked again at apply.
        conditions: Conditions,
    },
    /// CREATE of one entry of a group's members, which was checked. Like [`Operation::EditAttribute`] it carries the
    /// change, so that of two members added at the same time both stay.
    AddMember {
        /// The group.
        group: Path,
        /// As it is listed.
        member: String,
        /// MIXED, where the strategy was to change the type.
        member_type: Option<String>,
        /// Whether it was checked.
        validated: bool,
        /// Checked again at apply.
        conditions: Conditions,
    },
    /// Takes members out of a group: they were deleted through it.
    RemoveMembers {
        /// The group.
        group: Path,
        /// As listed; what is not listed any more is passed over.
        members: Vec<String>,
    },
    /// Deletes what has fallen due, a bounded number at a time, forgets idle sessions; sent by the leader's timer.
    Expire,
    /// The subscriber (or the other subtree) has everything of this queue up to this sequence.
    Acknowledge {
        /// The queue: a subscription's path, or a root collection's.
        queue: Path,
        /// Inclusive.
        up_to: u64,
    },
    /// Ends a subscription whose contact refused for good or whose READ right is gone.
    EndSubscription {
        /// The subscription.
        path: Path,
        /// `None` when the contact itself refused: nobody is told.
        final_status: Option<crate::StatusCode>,
    },
    /// EXECUTE of something that is kept in this SCL.
    Execute(Execution),
    /// What came of an announcement at one SCL.
    AnnouncementDone {
        /// The original, which may be gone.
        path: Path,
        /// The outbox entry that was worked on: a refusal counts only while there is no newer wish.
        sequence: u64,
        /// The id of the SCL.
        scl: String,
        /// What came of it.
        done: Done,
    },
    /// Notifies of a group's members are to be sent on together. Idempotent.
    Aggregate {
        /// The new aggregation.
        path: Path,
        /// A subscription, complete.
        representation: Representation,
        /// Who subscribed at the members.
        creator: Entity,
        /// How the notifyCollections are written.
        notify_media: NotifyMedia,
    },
    /// NOTIFY of a channel's contact: waits for whoever polls the channel. At an aggregation's door: waits to be sent on
    /// with others.
    Enqueue {
        /// The channel, or the aggregation.
        channel: Path,
        /// The body as it came.
        message: Struct,
        /// How much may wait.
        limits: QueueLimits,
    },
    /// The owner of a channel has this message.
    Taken {
        /// The channel.
        channel: Path,
        /// The message.
        sequence: u64,
    },
    /// A request that is to be answered later. Carries its own idempotence: its place.
    Defer(Deferral),
    /// What came of it.
    Answered {
        /// The place of the request.
        place: Path,
        /// The outbox entry that was worked on.
        sequence: u64,
        /// The encoded `ResponsePrimitive`, opaque here.
        answer: Bytes,
    },
    /// To sclBase's subtree: a named child of a root collection came or went; applied once by `shard` and `sequence`.
    CollectionChanged {
        /// Root collection (`applications`).
        collection: &'static str,
        /// The child's shard.
        shard: ShardId,
        /// The entry of that shard's outbox.
        sequence: u64,
        /// When.
        at: Timestamp,
    },
}

/// What an EXECUTE starts.
#[derive(Clone, PartialEq, Debug)]
pub enum Execution {
    /// A mgmtCmd: this execInstance below it. Its representation carries the arguments (`execReqArgs`) for whoever talks
    /// to the device; no issuer is shown them.
    Command {
        /// The new execInstance.
        path: Path,
        /// Complete.
        representation: Representation,
    },
    /// The end of an execInstance.
    Cancel {
        /// The execInstance.
        path: Path,
    },
    /// An action of a management object.
    Action {
        /// The parameters resource that has the action.
        path: Path,
        /// The action.
        attribute: &'static str,
    },
}
