//! The rules of key records, on records in memory.

#![allow(clippy::unwrap_used)]

use super::{
    tokens::{TOKENS_MAX, TOKENS_OF_ENTITY_MAX},
    *,
};
use banyan_proto::v1::keys_command::Kind;
use std::collections::BTreeMap;

const NODE: M2mNodeId = M2mNodeId([1; 16]);
const OTHER: M2mNodeId = M2mNodeId([2; 16]);
const DAY: i64 = 86_400_000;
const YEAR: i64 = 365 * DAY;

#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Bytes>);

impl Records for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Malformed> {
        Ok(self.0.get(key).cloned())
    }

    fn keys(&self, (from, to): (Vec<u8>, Vec<u8>), limit: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        Ok(self.0.range(from..to).take(limit).map(|(key, _)| key.clone()).collect())
    }

    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.0.insert(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.0.remove(&key);
    }
}

struct Applied {
    outcome: Said,
    closed: Vec<v1::Closed>,
}

impl Memory {
    fn apply(&mut self, at_ms: i64, kind: Kind) -> Applied {
        let command = v1::KeysCommand { at_ms, kind: Some(kind) }.encode_to_vec();
        let Outcome { said, closed } = apply(self, command.into()).unwrap();
        Applied { outcome: said.kind.unwrap(), closed }
    }

    fn find<M: Message + Default>(&self, key: &[u8]) -> Option<M> {
        find(self, key).unwrap()
    }

    fn bootstrap(&mut self, at: i64, node: M2mNodeId, index: u32, key: u8) -> Said {
        self.apply(at, Kind::AddKmr(v1::AddKmr { record: Some(kmr(at, node, index, key)), bind: None }))
            .outcome
    }

    fn connect(&mut self, at: i64, number: u64, kmr_index: Option<u32>, key: u8) -> Applied {
        let record = v1::ConnectionRecord {
            connection: number,
            index: 1,
            node: NODE.0.to_vec().into(),
            sealed: vec![key].into(),
            expires_ms: at + 2 * YEAR,
            kmr_index,
            created_ms: at,
            fingerprint: vec![key].into(),
        };
        self.apply(at, Kind::AddConnection(v1::AddConnection { record: Some(record) }))
    }

    fn states(&self) -> Vec<(u32, KmrState)> {
        let keys = self.keys(place::kmrs(NODE), usize::MAX).unwrap();
        let records = keys.iter().map(|key| self.find::<v1::KmrRecord>(key).unwrap());
        records.map(|kmr| (kmr.index, kmr.state())).collect()
    }
}

fn kmr(at: i64, node: M2mNodeId, index: u32, key: u8) -> v1::KmrRecord {
    v1::KmrRecord {
        node: node.0.to_vec().into(),
        index,
        sealed: vec![key].into(),
        expires_ms: at + YEAR,
        state: KmrState::Pending.into(),
        pending_until_ms: at + DAY,
        created_by: "bootstrap".to_owned(),
        created_ms: at,
        fingerprint: vec![key].into(),
    }
}

#[test]
fn the_first_use_of_a_key_activates_it_and_retires_the_older_ones() {
    let mut keys = Memory::default();
    assert_eq!(keys.bootstrap(1, NODE, 1, 10), Said::Kmr(1));
    assert!(
        matches!(keys.connect(2, 77, Some(1), 20).outcome, Said::Connection(made) if made.expires_ms == 1 + YEAR)
    );
    assert_eq!(keys.bootstrap(3, NODE, 2, 11), Said::Kmr(2));
    assert_eq!(keys.states(), [(1, KmrState::Active), (2, KmrState::Pending)], "the older one stays valid");
    keys.connect(4, 78, Some(2), 21);
    assert_eq!(keys.states(), [(1, KmrState::Retired), (2, KmrState::Active)]);
    assert!(matches!(keys.connect(5, 79, Some(1), 22).outcome, Said::Refused(_)));
}

#[test]
fn a_repetition_gets_the_same_answer_and_an_index_is_given_once() {
    let mut keys = Memory::default();
    keys.bootstrap(1, NODE, 1, 10);
    assert_eq!(keys.bootstrap(2, NODE, 2, 10), Said::Kmr(1), "the same key");
    assert_eq!(keys.bootstrap(2, NODE, 1, 11), Said::Taken(true));
    keys.connect(3, 77, Some(1), 20);
    assert!(
        matches!(keys.connect(4, 78, Some(1), 20).outcome, Said::Connection(made) if made.connection == 77)
    );
}

#[test]
fn a_pending_key_dies_and_leaves_no_row_but_its_node() {
    let mut keys = Memory::default();
    keys.bootstrap(1, NODE, 1, 10);
    assert!(matches!(keys.connect(1 + DAY, 77, Some(1), 20).outcome, Said::Refused(_)));
    assert_eq!(keys.apply(DAY, Kind::Sweep(v1::Sweep {})).outcome, Said::Done(0));
    assert_eq!(keys.apply(1 + DAY, Kind::Sweep(v1::Sweep {})).outcome, Said::Done(1));
    assert!(keys.states().is_empty());
    assert_eq!(keys.0.len(), 2, "the node and its sclId");
    assert_eq!(keys.bootstrap(2 + DAY, NODE, 1, 11), Said::Taken(true), "the index was given before");
}

#[test]
fn two_nodes_cannot_have_one_name() {
    let mut keys = Memory::default();
    let bind = |node: M2mNodeId, scl: &str| {
        Kind::BindNode(v1::BindNode {
            node: node.0.to_vec().into(),
            scl_id: Some(scl.to_owned()),
            alias: vec!["meter-7".to_owned()],
        })
    };
    assert_eq!(keys.apply(1, bind(NODE, "gw1")).outcome, Said::Done(0));
    assert!(matches!(keys.apply(1, bind(OTHER, "gw1")).outcome, Said::Refused(_)));
    assert!(matches!(keys.apply(1, bind(OTHER, "gw2")).outcome, Said::Refused(_)), "the alias is taken");
    assert!(matches!(keys.apply(1, bind(NODE, &OTHER.to_string())).outcome, Said::Refused(_)));
    assert_eq!(keys.0[&place::alias(b"meter-7")].as_ref(), NODE.0);
    assert_eq!(keys.apply(2, bind(NODE, "gw9")).closed.len(), 1, "another name ends the sessions");
    assert!(keys.0.contains_key(&place::scl("gw9")) && !keys.0.contains_key(&place::scl("gw1")));
}

#[test]
fn the_oldest_alias_makes_room() {
    let mut keys = Memory::default();
    let bind = |alias: &[usize]| {
        let alias = alias.iter().map(|number| format!("b-tid-{number}")).collect();
        Kind::BindNode(v1::BindNode { node: NODE.0.to_vec().into(), scl_id: None, alias })
    };
    for number in 0..ALIASES_MAX {
        assert_eq!(keys.apply(1, bind(&[number])).outcome, Said::Done(0));
    }
    assert_eq!(keys.apply(1, bind(&[0])).outcome, Said::Done(0), "named again, it is the newest");
    assert_eq!(keys.apply(1, bind(&[ALIASES_MAX])).outcome, Said::Done(0));
    let known = |number: usize| keys.0.contains_key(&place::alias(format!("b-tid-{number}").as_bytes()));
    assert_eq!((0..=ALIASES_MAX).filter(|number| !known(*number)).collect::<Vec<_>>(), [1]);
    let record: v1::NodeRecord = keys.find(&place::node(NODE)).unwrap();
    assert_eq!(record.alias.len(), ALIASES_MAX);
    let all: Vec<usize> = (0..=ALIASES_MAX).collect();
    assert!(matches!(keys.apply(1, bind(&all)).outcome, Said::Refused(_)), "at most so many at once");
}

#[test]
fn a_revoked_key_is_forgotten_with_its_connections_and_a_revoked_node_stays_out() {
    let mut keys = Memory::default();
    keys.bootstrap(1, NODE, 1, 10);
    keys.connect(2, 77, Some(1), 20);
    let revoke = |index| Kind::Revoke(v1::Revoke { node: NODE.0.to_vec().into(), index });
    assert_eq!(keys.apply(3, revoke(Some(1))).closed.len(), 2, "the key's sessions and the connection's");
    assert_eq!(keys.states(), [(1, KmrState::Revoked)]);
    assert!(keys.find::<v1::KmrRecord>(&place::kmr(NODE, 1)).unwrap().sealed.is_empty());
    assert!(!keys.0.contains_key(&place::connection(77)));
    keys.apply(4, revoke(None));
    assert!(matches!(keys.bootstrap(5, NODE, 2, 11), Said::Refused(_)));
    assert!(matches!(keys.connect(5, 78, None, 21).outcome, Said::Refused(_)));
    assert!(matches!(
        keys.apply(6, Kind::Revoke(v1::Revoke { node: OTHER.0.to_vec().into(), index: None })).outcome,
        Said::Refused(_)
    ));
}

#[test]
fn the_oldest_connection_makes_room() {
    let mut keys = Memory::default();
    keys.bootstrap(1, NODE, 1, 250);
    for number in 0..=CONNECTIONS_MAX as u64 {
        let closed =
            keys.connect(1 + number.cast_signed(), number, None, u8::try_from(number).unwrap()).closed;
        assert_eq!(closed.len(), usize::from(number == CONNECTIONS_MAX as u64));
    }
    assert!(!keys.0.contains_key(&place::connection(0)));
    assert_eq!(keys.keys(place::connections_of(NODE), usize::MAX).unwrap().len(), CONNECTIONS_MAX);
}

/// Whatever comes in whatever order: names and fingerprints lead to what there is, what is due is there, and nothing of
/// one node grows beyond its bounds.
#[test]
fn no_order_of_commands_leaves_a_loose_end() {
    let mut seed = 1_u64;
    let mut draw = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut keys = Memory::default();
    for at in 1..6_000_i64 {
        let at = at * (DAY / 40);
        let node = [NODE, OTHER][draw(2) as usize];
        let of = || node.0.to_vec().into();
        let last = keys.find::<v1::NodeRecord>(&place::node(node)).map_or(0, |record| record.last_index);
        match draw(12) {
            0..=3 => {
                let index = last + draw(2) as u32;
                let record = kmr(at, node, index, draw(250) as u8);
                let name = ["gw1", "gw2"][draw(2) as usize].to_owned();
                let bind = v1::BindNode { node: of(), scl_id: Some(name), alias: Vec::new() };
                let bind = (draw(4) == 0).then_some(bind);
                keys.apply(at, Kind::AddKmr(v1::AddKmr { record: Some(record), bind }));
            }
            4..=8 => {
                let record = v1::ConnectionRecord {
                    connection: draw(60),
                    index: 1,
                    node: of(),
                    sealed: Bytes::from_static(b"sealed"),
                    expires_ms: at + DAY,
                    kmr_index: (draw(4) > 0).then_some(last),
                    created_ms: at,
                    fingerprint: vec![251, draw(100) as u8].into(),
                };
                keys.apply(at, Kind::AddConnection(v1::AddConnection { record: Some(record) }));
            }
            9 => {
                let index = (draw(8) > 0).then_some(last);
                keys.apply(at, Kind::Revoke(v1::Revoke { node: of(), index }));
            }
            10 => {
                let bind = v1::BindNode { node: of(), ..Default::default() };
                keys.apply(at, Kind::BindNode(bind));
            }
            _ => {
                keys.apply(at, Kind::Sweep(v1::Sweep {}));
            }
        }
        keys.check();
    }
    assert!(keys.apply(i64::MAX / 2, Kind::Sweep(v1::Sweep {})).outcome != Said::Done(0));
    let names = keys.0.keys().filter(|key| matches!(key[9], b'n' | b's')).count();
    assert_eq!(keys.0.len(), names, "nothing but the nodes and their names is left");
}

impl Memory {
    fn check(&self) {
        let letter = |letter: u8| self.0.iter().filter(move |(key, _)| key[9] == letter);
        let (kmrs, connections) = (letter(b'k').count(), letter(b'c').count());
        assert_eq!(letter(b'f').count(), kmrs + connections);
        assert_eq!(letter(b'x').count(), kmrs + connections);
        assert_eq!(letter(b'o').count(), connections);
        assert_eq!(letter(b's').count(), letter(b'n').count());
        for (_, record) in letter(b'f') {
            assert!(self.0.contains_key(record.as_ref()), "a fingerprint leads nowhere");
        }
        for (due, _) in letter(b'x') {
            assert!(self.0.contains_key(place::record_of(due)), "something is due that is not there");
        }
        for (key, node) in letter(b's') {
            let record: v1::NodeRecord = self.find(&place::node(node_id(node).unwrap())).unwrap();
            assert_eq!(&place::scl(&record.scl_id), key);
        }
        for node in [NODE, OTHER] {
            assert!(self.keys(place::kmrs(node), usize::MAX).unwrap().len() <= KMRS_MAX);
            assert!(self.keys(place::connections_of(node), usize::MAX).unwrap().len() <= CONNECTIONS_MAX);
        }
    }
}

const NA: &str = "/m2m/applications/na";

fn token(number: u32) -> Vec<u8> {
    let mut digest = vec![0; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    digest
}

impl Memory {
    fn add_token(&mut self, at: i64, number: u32, entity: &str, expires_ms: i64) -> Said {
        let (label, created_by) = (format!("label {number}"), "ctl".to_owned());
        let record =
            v1::TokenRecord { entity: entity.to_owned(), label, created_ms: at, created_by, expires_ms };
        let add = v1::AddToken { digest: token(number).into(), record: Some(record) };
        self.apply(at, Kind::AddToken(add)).outcome
    }

    fn token_records(&self) -> usize {
        self.0.keys().filter(|key| matches!(key[9], b't' | b'e' | b'x')).count()
    }
}

#[test]
fn a_token_lives_until_it_is_revoked_or_expires_and_leaves_nothing() {
    let mut keys = Memory::default();
    let Said::Token(made) = keys.add_token(1, 1, NA, 0) else { panic!("refused") };
    assert_eq!(keys.add_token(9, 1, NA, 0), Said::Token(made), "a repetition has the first one's answer");
    assert!(matches!(keys.add_token(9, 1, "/m2m/applications/other", 0), Said::Refused(_)));
    keys.add_token(1, 2, NA, DAY);

    assert_eq!(keys.apply(DAY - 1, Kind::Sweep(v1::Sweep {})).outcome, Said::Done(0));
    let swept = keys.apply(DAY, Kind::Sweep(v1::Sweep {}));
    assert_eq!((swept.outcome, swept.closed), (Said::Done(1), Vec::new()));
    let revoked = keys.apply(DAY, Kind::RevokeToken(token(1).into()));
    assert_eq!(revoked.outcome, Said::Done(1));
    assert_eq!(revoked.closed, [v1::Closed { token: token(1).into(), ..Default::default() }]);
    assert!(matches!(keys.apply(DAY, Kind::RevokeToken(token(1).into())).outcome, Said::Refused(_)));
    assert_eq!(keys.token_records(), 0);
}

#[test]
fn tokens_are_bounded_for_each_entity_and_in_all() {
    let mut keys = Memory::default();
    let of_entity = u32::try_from(TOKENS_OF_ENTITY_MAX).unwrap();
    for number in 0..of_entity {
        assert!(matches!(keys.add_token(1, number, NA, 0), Said::Token(_)));
    }
    let refused = keys.add_token(1, of_entity, NA, 0);
    assert!(matches!(&refused, Said::Refused(why) if why.contains(NA)), "{refused:?}");
    // An entity whose name begins like another's has its own.
    assert!(matches!(keys.add_token(1, of_entity, "/m2m/applications/na2", 0), Said::Token(_)));
    keys.apply(2, Kind::RevokeToken(token(0).into()));
    assert!(matches!(keys.add_token(2, 0, NA, 0), Said::Token(_)), "one has gone");

    for number in of_entity + 1..TOKENS_MAX {
        let entity = format!("/m2m/applications/{}", number / of_entity);
        assert!(matches!(keys.add_token(3, number, &entity, 0), Said::Token(_)), "{number}");
    }
    let refused = keys.add_token(3, TOKENS_MAX, "/m2m/applications/one-more", 0);
    assert!(matches!(&refused, Said::Refused(why) if why.contains("10000")), "{refused:?}");
}

#[test]
fn a_token_that_makes_no_sense_is_refused() {
    let mut keys = Memory::default();
    for entity in ["", "na", "/m2m/applications/a\nb", &"/".repeat(2_000)] {
        assert!(matches!(keys.add_token(1, 1, entity, 0), Said::Refused(_)), "{entity:?}");
    }
    let record = v1::TokenRecord { entity: NA.to_owned(), ..Default::default() };
    let short = v1::AddToken { digest: vec![1; 31].into(), record: Some(record) };
    assert!(matches!(keys.apply(1, Kind::AddToken(short)).outcome, Said::Refused(_)));
    assert!(keys.0.is_empty());
}
