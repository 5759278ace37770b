//! Random sequences of commands: against the naive tree, over several replicas, twice.

use crate::{
    naive::{Kind, Limits, Naive, Step, kind_of},
    support::{self, Shard, path, representation, status},
};
use banyan_model::{
    Command, Operation, RequestId, ResourceType, Scl, StatusCode, Timestamp, TreeView, Value,
    apply::{self, Change, Outcome},
    index::Term,
    key::{Key, Range},
    memory::Memory,
    primitive::Conditions,
    record::Record,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

const PATHS: &[&str] = &[
    "applications/a",
    "applications/b",
    "containers/c",
    "applications/a/containers/c",
    "applications/a/containers/c/subcontainers/d",
    "applications/a/accessRights/r",
    "applications/subscriptions/s",
    "applications/a/subscriptions/s",
    "applications/a/containers/subscriptions/s",
    "applications/a/containers/c/subscriptions/s",
    "applications/a/containers/c/contentInstances/subscriptions/s",
    "applications/a/containers/c/contentInstances/subscriptions/t",
    "containers/c/contentInstances/subscriptions/s",
];
const CONTAINERS: &[&str] =
    &["containers/c", "applications/a/containers/c", "applications/a/containers/c/subcontainers/d"];
const QUEUES: &[&str] = &[
    "applications",
    "containers",
    "applications/a/subscriptions/s",
    "applications/a/containers/c/contentInstances/subscriptions/s",
    "containers/c/contentInstances/subscriptions/s",
];

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let any_path = || prop::sample::select(PATHS);
    let container = || prop::sample::select(CONTAINERS);
    let id = || prop::option::of(prop::sample::select(&["x", "y"][..]));
    let expires = || prop::option::weighted(0.2, 1..3_000_i64);
    let limits = || {
        let limit = |max: usize| prop_oneof![2 => Just(0), 1 => 1..max];
        (limit(4), limit(20), prop_oneof![2 => Just(0), 1 => 1..2_000_i64])
            .prop_map(|(count, bytes, age)| Limits { count, bytes, age })
    };
    let step = prop_oneof![
        6 => (any_path(), expires(), limits())
            .prop_map(|(path, expires_in, limits)| Step::Create { path, expires_in, limits }),
        8 => (container(), id(), 0..9_usize)
            .prop_map(|(container, id, size)| Step::Instance { container, id, size }),
        2 => (any_path(), expires(), limits())
            .prop_map(|(path, expires_in, limits)| Step::Update { path, expires_in, limits }),
        1 => any_path().prop_map(|path| Step::Delete { path }),
        2 => (container(), id(), 1..6_u64)
            .prop_map(|(container, id, sequence)| Step::DeleteInstance { container, id, sequence }),
        2 => Just(Step::Expire),
        1 => (prop::sample::select(QUEUES), 1..4_usize)
            .prop_map(|(queue, entries)| Step::Acknowledge { queue, entries }),
        1 => (prop::sample::select(QUEUES), any::<bool>())
            .prop_map(|(path, told)| Step::End { path, told }),
        2 => (1..700_i64).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..most)
}

/// The command of a step. Which sequences an acknowledgement means depends on what waits.
fn operation(shard: &Shard, step: &Step) -> Option<Operation> {
    let attributes = |at: &str, expires_in: &Option<i64>, limits: &Limits| {
        let (count, bytes, age) =
            (limits.count.to_string(), limits.bytes.to_string(), limits.age.to_string());
        let expires = expires_in.map(|ms| (shard.at.0 + ms).to_string());
        let mut list: Vec<(&str, &str)> = expires.iter().map(|at| ("expirationTime", at.as_str())).collect();
        let of = resource_type(at);
        if of != ResourceType::Subscription {
            list.push(("searchStrings", strings(limits)));
        }
        if of == ResourceType::Container {
            list.extend([
                ("maxNrOfInstances", count.as_str()),
                ("maxByteSize", bytes.as_str()),
                ("maxInstanceAge", age.as_str()),
            ]);
        }
        representation(of, &list)
    };
    Some(match step {
        Step::Create { path: at, expires_in, limits } => Operation::Create {
            path: path(at),
            representation: attributes(at, expires_in, limits),
            notify_media: Default::default(),
        },
        Step::Instance { container, id, size } => {
            let mut operation = support::instance(container, *id, &"x".repeat(*size));
            // Most instances have none.
            if let Operation::CreateInstance { representation, .. } = &mut operation
                && size % 3 == 0
            {
                representation.set("searchStrings", Value::List(vec!["p".to_owned(), format!("size{size}")]));
            }
            operation
        }
        Step::Update { path: at, expires_in, limits } => Operation::Update {
            path: path(at),
            representation: attributes(at, expires_in, limits),
            conditions: Conditions::default(),
        },
        Step::Delete { path: at } => support::delete(at),
        Step::DeleteInstance { container, id, sequence } => {
            let id = id.map_or_else(|| format!("ci-{sequence:016x}"), str::to_owned);
            support::delete(&format!("{container}/contentInstances/{id}"))
        }
        Step::Expire => Operation::Expire,
        Step::Acknowledge { queue, entries } => {
            let waiting = shard.queue(&path(queue));
            let up_to = waiting.iter().take(*entries).last().map_or(0, |entry| entry.sequence);
            Operation::Acknowledge { queue: path(queue), up_to }
        }
        Step::End { path: at, told } => Operation::EndSubscription {
            path: path(at),
            final_status: told.then_some(StatusCode::PermissionDenied),
        },
        Step::Wait { .. } => return None,
    })
}

/// Few, so that they meet and change.
fn strings(limits: &Limits) -> &'static str {
    match limits.count {
        0 => "p",
        1 => "p,q",
        2 => "",
        _ => "q,q,r",
    }
}

/// What discovery's index must hold, from all that is stored.
fn indexed(shard: &Shard) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for (key, record) in &shard.memory.records {
        match record {
            Record::Resource(resource) => {
                let of = resource.representation.resource_type;
                if !of.name().ends_with('s') {
                    keys.insert(Key::index(Term::Type(of), &resource.path));
                }
                if let Some(Value::List(strings)) = resource.representation.get("searchStrings") {
                    keys.extend(
                        strings.iter().map(|text| Key::index(Term::SearchString(text), &resource.path)),
                    );
                }
            }
            Record::Instance(one) => {
                let path = Key::container(&key.bytes).unwrap().child("contentInstances").child(&*one.id);
                let strings = one.search_strings.iter();
                keys.extend(strings.map(|text| Key::index(Term::InstanceSearchString(text), &path)));
            }
            _ => {}
        }
    }
    keys
}

fn resource_type(at: &str) -> ResourceType {
    match kind_of(at) {
        Kind::Application => ResourceType::Application,
        Kind::Container => ResourceType::Container,
        Kind::AccessRight => ResourceType::AccessRight,
        Kind::Subscription => ResourceType::Subscription,
    }
}

/// The whole tree, every queue and every index, against the naive tree.
fn compare(shard: &Shard, naive: &Naive) -> Result<(), TestCaseError> {
    let mut due = BTreeSet::new();
    let mut stored = BTreeSet::new();
    for record in shard.memory.records.values() {
        if let Record::Resource(resource) = record
            && PATHS.contains(&&resource.path.to_string()[1..])
        {
            stored.insert(resource.path.to_string()[1..].to_owned());
        }
    }
    prop_assert_eq!(&stored, &naive.nodes.keys().cloned().collect::<BTreeSet<_>>());
    for (at, node) in &naive.nodes {
        let of = path(at);
        let resource = shard.tree().resource(&of).unwrap().unwrap();
        prop_assert_eq!(resource.subscriptions as usize, naive.subscriptions(at).len(), "{}", at);
        prop_assert_eq!(resource.representation.datetime("expirationTime").map(|at| at.0), node.expires);
        due.extend(node.expires.map(|time| Key::due(Timestamp(time), &of)));
        due.extend(node.due().map(|time| Key::due(Timestamp(time), &of.child("contentInstances"))));
        let listed = shard.memory.records.contains_key(&Key::listed(&of.segments()[0], &of.segments()[1]));
        prop_assert!(listed || at == "applications/subscriptions/s", "{} is listed", at);
        if node.kind != Kind::Container {
            continue;
        }
        let state = shard.instances(&of).unwrap();
        let kept = shard.kept(&of);
        prop_assert_eq!(
            kept.iter().map(|one| (one.id.as_str(), one.sequence)).collect::<Vec<_>>(),
            node.kept.iter().map(|one| (one.id.as_str(), one.sequence)).collect::<Vec<_>>()
        );
        prop_assert_eq!(state.count as usize, kept.len());
        prop_assert_eq!(state.bytes, kept.iter().map(|one| one.content_size).sum::<u64>());
        prop_assert_eq!(state.oldest, kept.first().map_or(0, |one| one.sequence));
        prop_assert_eq!(state.latest, kept.last().map_or(0, |one| one.sequence));
        prop_assert_eq!(state.next, node.next);
        let instances = format!("{at}/contentInstances");
        prop_assert_eq!(state.subscriptions as usize, naive.subscriptions(&instances).len());
        for one in kept.iter().filter(|one| !one.id.starts_with("ci-")) {
            let to = shard.tree().pointer(&Key::instance_id(&of, &one.id)).unwrap();
            prop_assert_eq!(to, Some(one.sequence));
        }
    }
    let armed: BTreeSet<Key> = shard
        .memory
        .records
        .iter()
        .filter(|(_, record)| matches!(record, Record::Due { .. }))
        .map(|(key, _)| key.clone())
        .collect();
    prop_assert_eq!(armed, due);
    let index: BTreeSet<Key> =
        shard.memory.records.keys().filter(|key| Key::indexed_path(&key.bytes).is_some()).cloned().collect();
    prop_assert_eq!(index, indexed(shard));
    for queue in PATHS.iter().chain(QUEUES) {
        let entries = shard.queue(&path(queue));
        let dense = entries.windows(2).all(|two| two[0].sequence + 1 == two[1].sequence);
        prop_assert!(dense, "{} is dense", queue);
        let said = shard.said(&path(queue));
        prop_assert_eq!(&said, &naive.queues.get(*queue).cloned().unwrap_or_default(), "{}", queue);
        let next = shard.tree().pointer(&Key::outbox_next(&path(queue))).unwrap();
        if let Some(last) = entries.last() {
            prop_assert_eq!(next, Some(last.sequence + 1), "{}", queue);
        }
        let gone = queue.contains('/') && !naive.nodes.contains_key(*queue);
        prop_assert!(!(gone && entries.is_empty() && next.is_some()), "{} has a counter for nothing", queue);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_what_a_naive_tree_is(steps in steps(120)) {
        let (mut shard, mut naive) = (Shard::default(), Naive { at: 1_000, ..Naive::default() });
        for step in &steps {
            let expected = naive.run(step);
            shard.at = Timestamp(naive.at);
            if let Some(operation) = operation(&shard, step) {
                let outcome = shard.apply(operation);
                prop_assert_eq!(status(&outcome), expected, "{:?}", step);
            }
            compare(&shard, &naive)?;
        }
    }

    #[test]
    fn nothing_stays_of_what_is_deleted(steps in steps(60)) {
        let mut shard = Shard::default();
        for step in &steps {
            if let Step::Wait { ms } = step {
                shard.at = Timestamp(shard.at.0 + ms);
            }
            operation(&shard, step).map(|operation| shard.apply(operation));
        }
        for at in PATHS {
            shard.apply(support::delete(at));
        }
        for queue in PATHS.iter().chain(QUEUES) {
            shard.apply(Operation::Acknowledge { queue: path(queue), up_to: u64::MAX });
        }
        let left = |key: &Key, record: &Record| match record {
            // sclBase's collections, and the counters of their queues.
            Record::Resource(resource) => resource.path.segments().len() > 2,
            Record::Pointer(_) => !["applications", "containers", "accessRights"]
                .iter()
                .any(|collection| *key == Key::outbox_next(&path(collection))),
            _ => true,
        };
        let orphans: Vec<&Key> =
            shard.memory.records.iter().filter(|(key, record)| left(key, record)).map(|(key, _)| key).collect();
        prop_assert!(orphans.is_empty(), "{:?}", orphans);
    }

    /// Sent twice, or applied by a replica that is behind: the same records, the same answers.
    #[test]
    fn a_command_applied_twice_is_applied_once(steps in steps(60), acked in 0..8_u64) {
        let (mut once, mut twice) = (Shard::default(), Shard::default());
        for (step, sequence) in steps.iter().zip(1..) {
            if let Step::Wait { ms } = step {
                once.at = Timestamp(once.at.0 + ms);
                twice.at = once.at;
            }
            let Some(operation) = operation(&once, step) else { continue };
            let id = RequestId { session: 5, sequence, acked_below: sequence.saturating_sub(acked) };
            let outcome = once.apply_as(id, operation.clone());
            prop_assert_eq!(&twice.apply_as(id, operation.clone()), &outcome);
            let again = twice.apply_as(id, operation);
            prop_assert_eq!(again.replayed, Some(format!("{:?}", outcome.response.status).into()));
            prop_assert!(again.changes.is_empty() && again.effects.is_empty());
            prop_assert_eq!(&once.memory, &twice.memory);
        }
    }

    /// A replica stages a batch over its store and writes the batch at once; where the batches are cut differs from
    /// replica to replica.
    #[test]
    fn replicas_agree_however_batches_are_cut(steps in steps(60), cuts in prop::collection::vec(any::<bool>(), 60)) {
        let mut shard = Shard::default();
        let mut replica = Replica::default();
        for ((step, sequence), cut) in steps.iter().zip(1..).zip(cuts) {
            if let Step::Wait { ms } = step {
                shard.at = Timestamp(shard.at.0 + ms);
            }
            let Some(operation) = operation(&shard, step) else { continue };
            let id = RequestId { session: 5, sequence, acked_below: sequence };
            let command = Command { id, at: shard.at, entity: support::issuer(), operation: operation.clone(), hops: 0 };
            let outcome = shard.apply_as(id, operation);
            prop_assert_eq!(replica.apply(&shard.scl, &command), outcome);
            if cut {
                replica.flush();
            }
        }
        replica.flush();
        prop_assert_eq!(replica.store, shard.memory);
    }
}

/// A store with the changes of a batch over it, which forgets what was born and died within the batch.
#[derive(Default)]
struct Replica {
    store: Memory,
    batch: BTreeMap<Key, (Option<Record>, bool)>,
}

impl Replica {
    fn apply(&mut self, scl: &Scl, command: &Command) -> Outcome {
        let outcome = apply::apply(self, scl, command.at, command).unwrap();
        let reply = outcome.reply.clone().map(|key| Change::Put {
            key,
            record: Record::Reply(format!("{:?}", outcome.response.status).into()),
            new: true,
        });
        for change in outcome.changes.iter().cloned().chain(reply) {
            match change {
                Change::Put { key, record, new } => {
                    let new = new || matches!(self.batch.get(&key), Some((Some(_), true)));
                    self.batch.insert(key, (Some(record), new));
                }
                Change::Delete(key) => match self.batch.get(&key) {
                    Some((Some(_), true)) => drop(self.batch.remove(&key)),
                    _ => drop(self.batch.insert(key, (None, false))),
                },
            }
        }
        outcome
    }

    fn flush(&mut self) {
        for (key, (record, _)) in std::mem::take(&mut self.batch) {
            self.store.write(vec![match record {
                Some(record) => Change::Put { key, record, new: false },
                None => Change::Delete(key),
            }]);
        }
    }

    fn whole(&self) -> Memory {
        let mut whole = self.store.clone();
        for (key, (record, _)) in &self.batch {
            match record {
                Some(record) => drop(whole.records.insert(key.clone(), record.clone())),
                None => drop(whole.records.remove(key)),
            }
        }
        whole
    }
}

impl TreeView for Replica {
    type Error = String;

    fn get(&self, key: &Key) -> Result<Option<Record>, String> {
        match self.batch.get(key) {
            Some((record, _)) => Ok(record.clone()),
            None => self.store.get(key),
        }
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), String> {
        self.whole().scan(range, reverse, visit)
    }

    fn corrupt(&self, key: &[u8]) -> String {
        self.store.corrupt(key)
    }
}
