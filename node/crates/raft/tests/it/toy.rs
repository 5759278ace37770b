//! A replica for tests: a list of commands, each at most once per (writer, number).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use banyan_raft::{Replica, Stop};
use banyan_storage::{Batch, GroupState};
use bytes::Bytes;

/// A number that makes the replica say that it cannot go on.
pub(crate) const STOP: u64 = u64::MAX;
/// A number that makes it panic.
pub(crate) const PANIC: u64 = u64::MAX - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Command {
    pub(crate) writer: u64,
    pub(crate) number: u64,
}

impl Command {
    pub(crate) fn encode(self) -> Bytes {
        [self.writer.to_be_bytes(), self.number.to_be_bytes()].concat().into()
    }

    /// With so many bytes more, which the replica keeps and does not look at.
    pub(crate) fn encode_with(self, padding: usize) -> Bytes {
        [self.encode().as_ref(), &vec![0x5a; padding]].concat().into()
    }

    fn decode(bytes: &[u8]) -> Command {
        let (writer, number) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
        Command { writer: word(writer), number: word(number) }
    }
}

pub(crate) struct Toy {
    group: u64,
    state: GroupState,
}

impl Toy {
    pub(crate) fn new(group: u64, state: GroupState) -> Toy {
        Toy { group, state }
    }

    fn key(&self, kind: u8, number: u64) -> Vec<u8> {
        [&[0], self.group.to_be_bytes().as_slice(), &[kind], &number.to_be_bytes()].concat()
    }

    pub(crate) fn list(&self) -> Vec<Command> {
        let mut list = Vec::new();
        let view = self.state.view();
        view.scan(&self.key(b'e', 0), &self.key(b'e', u64::MAX), false, &mut |_, value| {
            list.push(Command::decode(value));
            ControlFlow::Continue(())
        })
        .unwrap();
        list
    }
}

impl Replica for Toy {
    fn apply(&self, commands: &[Bytes], batch: &mut Batch) -> Result<Vec<Bytes>, Stop> {
        let view = self.state.view();
        let mut staged: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut replies = Vec::new();
        for (at, bytes) in commands.iter().enumerate() {
            let command = Command::decode(bytes);
            match command.number {
                STOP => return Err(Stop::at(at, "cannot read my own state")),
                PANIC => panic!("a bug"),
                _ => {}
            }
            let get = |staged: &BTreeMap<Vec<u8>, u64>, key: &[u8]| {
                staged.get(key).copied().or_else(|| {
                    view.get(key).unwrap().map(|bytes| u64::from_be_bytes(bytes.as_ref().try_into().unwrap()))
                })
            };
            let (count_key, seen_key) = (self.key(b'c', 0), self.key(b'w', command.writer));
            let count = get(&staged, &count_key).unwrap_or(0);
            if get(&staged, &seen_key).is_none_or(|seen| seen < command.number) {
                batch.put(self.key(b'e', count), bytes.clone(), true);
                staged.insert(count_key, count + 1);
                staged.insert(seen_key, command.number);
            }
            replies.push(Bytes::copy_from_slice(&command.number.to_be_bytes()));
        }
        for (key, value) in staged {
            batch.put(key, Bytes::copy_from_slice(&value.to_be_bytes()), false);
        }
        Ok(replies)
    }

    fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(self.key(0, 0), self.key(u8::MAX, 0))]
    }
}
