//! Model -> bytes -> model, for everything that is kept or sent.

use super::strategy;
use crate::{convert::*, v1};
use banyan_model::placement::{Shard, ShardMap};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn commands_come_back(command in strategy::command()) {
        prop_assert_eq!(command_from_bytes(command_to_bytes(&command)), Ok(command));
    }

    #[test]
    fn records_come_back(record in strategy::record()) {
        prop_assert_eq!(record_from_bytes(record_to_bytes(&record)), Ok(record));
    }

    #[test]
    fn requests_come_back(request in strategy::request()) {
        prop_assert_eq!(request_from_bytes(request_to_bytes(&request)), Ok(request));
    }

    #[test]
    fn responses_come_back(response in strategy::response()) {
        prop_assert_eq!(response_from_bytes(response_to_bytes(&response)), Ok(response));
    }

    #[test]
    fn members_come_back(list in strategy::members()) {
        prop_assert_eq!(members(members_to_wire(&list)), Ok(list));
    }

    #[test]
    fn discoveries_come_back((entity, search, from) in strategy::discovery(), uris: Vec<String>) {
        let question = discover_to_wire(&entity, &search, from.as_ref(), 7);
        prop_assert_eq!(discovered(discovered_to_wire(uris.clone(), from.as_ref())), (uris, from.clone()));
        prop_assert_eq!(discover(question), Ok((entity, search, from)));
    }

    #[test]
    fn shards_and_maps_come_back(shard in strategy::shard(), map in strategy::shard_map()) {
        prop_assert_eq!(Shard::from(&v1::ShardInfo::from(&shard)), shard);
        let shards = map.shards.iter().map(Into::into).collect();
        let state = v1::DirectoryState { epoch: map.epoch, shards, ..Default::default() };
        prop_assert_eq!(ShardMap::try_from(&state), Ok(map));
    }
}

#[test]
fn every_status_and_media_has_a_number_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for &one in super::super::status::ALL {
        assert!(number(one) != 0 && seen.insert(number(one)), "{one:?}");
        assert_eq!(status(number(one)), Ok(one));
    }
    assert!(status(0).is_err() && status(seen.len() as u32 + 1).is_err());
    assert_eq!(media(0).map(media_to_wire), Ok(0));
    assert_eq!(media(1).map(media_to_wire), Ok(1));
    assert!(media(2).is_err());
}

#[test]
fn a_map_with_a_hole_or_an_overlap_is_refused() {
    let shard =
        |first_slot, last_slot| v1::ShardInfo { shard: 1, first_slot, last_slot, ..Default::default() };
    for shards in [
        vec![],
        vec![shard(1, u64::MAX)],
        vec![shard(0, u64::MAX - 1)],
        vec![shard(0, 5), shard(7, u64::MAX)],
        vec![shard(0, 5), shard(5, u64::MAX)],
        vec![shard(0, u64::MAX), shard(0, u64::MAX)],
        vec![shard(0, 5), shard(6, 3), shard(4, u64::MAX)],
    ] {
        let state = v1::DirectoryState { shards, ..Default::default() };
        assert_eq!(ShardMap::try_from(&state), Err(Malformed::Limit("shard map")), "{state:?}");
    }
}
