//! Between openraft's types and `banyan.v1`, the only form that is stored or sent.

use std::collections::{BTreeMap, BTreeSet};

use banyan_proto::v1;
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use openraft::vote::RaftLeaderId;
use prost::Message;

use crate::types::{Command, Entry, LeaderId, LogId, Membership, StoredMembership, Types, Vote};

/// Bytes that are not what they should be: written by a newer release, or damaged.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("not a message: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("entry {0} has a payload of an unknown kind: it was written by a newer release")]
    UnknownPayload(u64),
    #[error("members: {0}")]
    Members(String),
}

impl From<Malformed> for std::io::Error {
    fn from(malformed: Malformed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, malformed)
    }
}

pub(crate) fn log_id_to(id: LogId) -> v1::LogId {
    v1::LogId { term: *id.leader_id, index: id.index }
}

pub(crate) fn log_id_from(id: v1::LogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

pub(crate) fn vote_to(vote: &Vote) -> v1::Vote {
    v1::Vote { term: vote.leader_id.term(), node: *vote.leader_id.node_id(), committed: vote.committed }
}

pub(crate) fn vote_from(vote: Option<v1::Vote>) -> Result<Vote, Malformed> {
    let vote = vote.ok_or(Malformed::Missing("vote"))?;
    Ok(Vote { leader_id: LeaderId::new(vote.term, vote.node), committed: vote.committed })
}

pub(crate) fn membership_to(membership: &Membership) -> v1::Membership {
    v1::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| v1::NodeSet { nodes: voters.iter().copied().collect() })
            .collect(),
        nodes: membership.nodes().map(|(node, ())| *node).collect(),
    }
}

pub(crate) fn membership_from(membership: v1::Membership) -> Result<Membership, Malformed> {
    let nodes: BTreeMap<u64, ()> = membership.nodes.into_iter().map(|node| (node, ())).collect();
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
    Membership::new(configs, nodes).map_err(|error| Malformed::Members(error.to_string()))
}

pub(crate) fn stored_membership_to(stored: &StoredMembership) -> v1::StoredMembership {
    v1::StoredMembership {
        id: stored.log_id().map(log_id_to),
        membership: Some(membership_to(stored.membership())),
    }
}

pub(crate) fn stored_membership_from(stored: v1::StoredMembership) -> Result<StoredMembership, Malformed> {
    let membership = membership_from(stored.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(stored.id.map(log_id_from), membership))
}

/// The bytes of an entry, made at most once.
pub(crate) fn entry_to(entry: Entry) -> Bytes {
    if !entry.encoded.is_empty() {
        return entry.encoded;
    }
    let payload = match entry.payload {
        EntryPayload::Blank => v1::entry::Payload::Blank(true),
        EntryPayload::Normal(command) => v1::entry::Payload::Normal(command.0),
        EntryPayload::Membership(membership) => v1::entry::Payload::Membership(membership_to(&membership)),
    };
    v1::Entry { id: Some(log_id_to(entry.log_id)), payload: Some(payload) }.encode_to_vec().into()
}

/// Reads an entry; a command is a slice of `encoded`, not a copy.
pub(crate) fn entry_from(encoded: Bytes) -> Result<Entry, Malformed> {
    let entry = v1::Entry::decode(encoded.clone())?;
    let log_id = log_id_from(entry.id.ok_or(Malformed::Missing("log id"))?);
    let payload = match entry.payload {
        Some(v1::entry::Payload::Blank(_)) => EntryPayload::Blank,
        Some(v1::entry::Payload::Normal(command)) => EntryPayload::Normal(Command(command)),
        Some(v1::entry::Payload::Membership(membership)) => {
            EntryPayload::Membership(membership_from(membership)?)
        }
        None => return Err(Malformed::UnknownPayload(log_id.index)),
    };
    Ok(Entry { log_id, payload, encoded })
}

pub(crate) fn append_to(request: AppendEntriesRequest<Types>, stream: u64, unary: bool) -> v1::AppendRequest {
    v1::AppendRequest {
        vote: Some(vote_to(&request.vote)),
        prev: request.prev_log_id.map(log_id_to),
        entries: request.entries.into_iter().map(entry_to).collect(),
        committed: request.leader_commit.map(log_id_to),
        unary,
        stream,
    }
}

pub(crate) fn append_from(request: v1::AppendRequest) -> Result<AppendEntriesRequest<Types>, Malformed> {
    Ok(AppendEntriesRequest {
        vote: vote_from(request.vote)?,
        prev_log_id: request.prev.map(log_id_from),
        entries: request.entries.into_iter().map(entry_from).collect::<Result<_, _>>()?,
        leader_commit: request.committed.map(log_id_from),
    })
}

/// How a follower answers an append: the last matching entry, or why the stream ends.
pub(crate) type AppendResult = Result<Option<LogId>, StreamAppendError<Types>>;

pub(crate) fn append_reply_to(result: AppendResult) -> v1::AppendReply {
    let (kind, last, vote) = match result {
        Ok(last) => (v1::append_reply::Kind::Success, last.map(log_id_to), None),
        Err(StreamAppendError::Conflict(at)) => (v1::append_reply::Kind::Conflict, Some(log_id_to(at)), None),
        Err(StreamAppendError::HigherVote(vote)) => {
            (v1::append_reply::Kind::HigherVote, None, Some(vote_to(&vote)))
        }
    };
    v1::AppendReply { kind: kind.into(), last, vote }
}

/// `prev` is what the request named: a conflict is a conflict there.
pub(crate) fn append_reply_from(
    reply: v1::AppendReply,
    prev: Option<LogId>,
) -> Result<AppendResult, Malformed> {
    let kind =
        v1::append_reply::Kind::try_from(reply.kind).map_err(|_| Malformed::Missing("kind of reply"))?;
    Ok(match kind {
        v1::append_reply::Kind::Success => Ok(reply.last.map(log_id_from)),
        v1::append_reply::Kind::Conflict => Err(StreamAppendError::Conflict(
            prev.or(reply.last.map(log_id_from)).ok_or(Malformed::Missing("place of the conflict"))?,
        )),
        v1::append_reply::Kind::HigherVote => Err(StreamAppendError::HigherVote(vote_from(reply.vote)?)),
    })
}

pub(crate) fn vote_request_to(request: VoteRequest<Types>, pre_vote: bool) -> v1::VoteRequest {
    v1::VoteRequest {
        vote: Some(vote_to(&request.vote)),
        last: request.last_log_id.map(log_id_to),
        pre_vote,
        transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from(request: v1::VoteRequest) -> Result<VoteRequest<Types>, Malformed> {
    Ok(VoteRequest {
        vote: vote_from(request.vote)?,
        last_log_id: request.last.map(log_id_from),
        leadership_transfer: request.transfer,
    })
}

pub(crate) fn vote_reply_to(reply: VoteResponse<Types>) -> v1::VoteReply {
    v1::VoteReply {
        vote: Some(vote_to(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.map(log_id_to),
    }
}

pub(crate) fn vote_reply_from(reply: v1::VoteReply) -> Result<VoteResponse<Types>, Malformed> {
    Ok(VoteResponse {
        vote: vote_from(reply.vote)?,
        vote_granted: reply.granted,
        last_log_id: reply.last.map(log_id_from),
    })
}

pub(crate) fn transfer_to(request: &TransferLeaderRequest<Types>) -> v1::TransferLeader {
    v1::TransferLeader {
        from: Some(vote_to(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(log_id_to),
    }
}

pub(crate) fn transfer_from(request: v1::TransferLeader) -> Result<TransferLeaderRequest<Types>, Malformed> {
    Ok(TransferLeaderRequest::new(vote_from(request.from)?, request.to, request.last.map(log_id_from)))
}

pub(crate) fn transfer_reply_to(result: Result<(), TransferLeaderError<Types>>) -> v1::TransferReply {
    use v1::transfer_reply::Kind;
    match result {
        Ok(()) => v1::TransferReply { kind: Kind::Accepted.into(), vote: None, last: None },
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            v1::TransferReply { kind: Kind::VoteChanged.into(), vote: Some(vote_to(&actual)), last: None }
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            v1::TransferReply { kind: Kind::LogNotFlushed.into(), vote: None, last: actual.map(log_id_to) }
        }
    }
}

pub(crate) fn transfer_reply_from(
    reply: v1::TransferReply,
    request: &TransferLeaderRequest<Types>,
) -> Result<Result<(), TransferLeaderError<Types>>, Malformed> {
    use v1::transfer_reply::Kind;
    Ok(match Kind::try_from(reply.kind).map_err(|_| Malformed::Missing("kind of reply"))? {
        Kind::Accepted => Ok(()),
        Kind::VoteChanged => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: vote_from(reply.vote)?,
        }),
        Kind::LogNotFlushed => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: reply.last.map(log_id_from),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let members = Membership::new_with_defaults(vec![[1, 2].into(), [2, 3].into()], [4]);
        [
            EntryPayload::Blank,
            EntryPayload::Normal(Command(Bytes::from_static(b"set"))),
            EntryPayload::Membership(members),
        ]
        .into_iter()
        .zip(5..)
        .map(|(payload, index)| Entry {
            log_id: LogId::new_term_index(2, index),
            payload,
            encoded: Bytes::new(),
        })
        .collect()
    }

    #[test]
    fn an_entry_is_encoded_once_and_its_command_is_not_copied() {
        for entry in entries() {
            let bytes = entry_to(entry.clone());
            let read = entry_from(bytes.clone()).expect("our own bytes");
            assert_eq!(read, entry);
            if let EntryPayload::Normal(command) = &read.payload {
                assert!(bytes.as_ptr_range().contains(&command.0.as_ptr()), "a slice of what was read");
            }
            assert_eq!(entry_to(read).as_ptr(), bytes.as_ptr(), "the same bytes go on");
        }
    }

    /// What is in the logs of the first release; a change here makes them unreadable.
    #[test]
    fn the_bytes_of_entries_stay_as_they_are() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let bytes: Vec<String> = entries().into_iter().map(|entry| hex(&entry_to(entry))).collect();
        assert_eq!(
            bytes,
            [
                "0a04080218051001",
                "0a04080218061a03736574",
                "0a0408021807224a0a120a10010000000000000002000000000000000a120a1002000000000000000300000000000000\
                 12200100000000000000020000000000000003000000000000000400000000000000",
            ]
        );
    }

    #[test]
    fn an_entry_of_a_newer_release_is_refused_by_its_index() {
        let id = v1::LogId { term: 1, index: 9 };
        let mut newer = v1::Entry { id: Some(id), payload: None }.encode_to_vec();
        newer.extend([0x3a, 0x01, 0x00]); // field 7, of which this release knows nothing
        assert_eq!(entry_from(newer.into()), Err(Malformed::UnknownPayload(9)));
    }
}
