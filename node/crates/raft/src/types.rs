//! What openraft is told about our types. A log entry carries its own encoded form: it is encoded once, on the
//! leader, and the same bytes go into the log, into the frames to the followers and into their logs.

use std::fmt;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::impls::{BoxedErrorSource, InlineBatch, TokioRuntime, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, RaftTypeConfig};

use crate::proposal::Answer;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = Reply;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type Committed = <LeaderId as RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::LogId<Committed>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type Payload = EntryPayload<Command, u64, ()>;
pub(crate) type Membership = openraft::Membership<u64, ()>;
pub(crate) type StoredMembership = openraft::StoredMembership<Committed, u64, ()>;

/// A command as the proposer gave it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a command is answered with; empty for entries that are not commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) Bytes);

/// A log entry and, once it has its log id, its bytes.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) log_id: LogId,
    pub(crate) payload: Payload,
    /// Empty while the log id may still change.
    pub(crate) encoded: Bytes,
}

impl RaftEntry for Entry {
    type CommittedLeaderId = Committed;
    type Payload = Payload;

    fn new(log_id: LogId, payload: Payload) -> Entry {
        Entry { log_id, payload, encoded: Bytes::new() }
    }

    fn log_id_parts(&self) -> (&Committed, u64) {
        (&self.log_id.leader_id, self.log_id.index)
    }

    fn set_log_id(&mut self, new: LogId) {
        self.log_id = new;
        self.encoded = Bytes::new();
    }

    fn get_membership(&self) -> Option<Membership> {
        match &self.payload {
            EntryPayload::Membership(membership) => Some(membership.clone()),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.log_id == other.log_id && self.payload == other.payload
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log_id, self.payload)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
