//! Which instances of a container a filter selects, without reading more than an answer may cost.

use crate::{
    Path, Refusal, StatusCode, Timestamp, TreeView,
    filter::FilterCriteria,
    key::Range,
    record::{Instance, InstancesState, Record},
    tree::Tree,
};
use std::ops::ControlFlow;

/// Instances in one answer.
pub const LISTED_INSTANCES_MAX: usize = 10_000;
/// Octets of content in one answer (of metadata, when it was asked for alone).
pub const LISTED_BYTES_MAX: u64 = 16 << 20;
/// Instances that are looked at for one answer, selected or not.
pub const VISITED_INSTANCES_MAX: usize = 100_000;

/// The selected instances, oldest first.
pub(super) fn select<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    state: &InstancesState,
    filter: &FilterCriteria,
) -> Result<Result<Vec<Instance>, Refusal>, V::Error> {
    if state.count == 0 {
        return Ok(Ok(Vec::new()));
    }
    let (mut from, mut to) = (state.oldest, state.next);
    if let Some(bound) = filter.created_after {
        from = first_not(tree, container, (from, to), |created| created <= bound)?;
    }
    if let Some(bound) = filter.created_before {
        to = first_not(tree, container, (from, to), |created| created < bound)?;
    }

    let (mut selected, mut bytes, mut visited) = (Vec::new(), 0_u64, 0_usize);
    let (mut corrupt, mut too_much) = (None, None);
    tree.view.scan(&Range::instances(container, from, to), false, &mut |key, record| {
        let Record::Instance(instance) = record else {
            corrupt = Some(tree.view.corrupt(key));
            return ControlFlow::Break(());
        };
        visited += 1;
        if filter.selects(&instance) {
            bytes = bytes.saturating_add(cost(&instance, !filter.meta_data_only));
            selected.push(instance);
        }
        too_much = excess(selected.len(), bytes, visited);
        if too_much.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match (corrupt, too_much) {
        (Some(corrupt), _) => Err(corrupt),
        (None, Some(refusal)) => Ok(Err(refusal)),
        (None, None) => Ok(Ok(selected)),
    }
}

fn excess(selected: usize, bytes: u64, visited: usize) -> Option<Refusal> {
    let what = if selected > LISTED_INSTANCES_MAX {
        format!("more than {LISTED_INSTANCES_MAX} instances in one answer")
    } else if bytes > LISTED_BYTES_MAX {
        format!("more than {LISTED_BYTES_MAX} octets in one answer")
    } else if visited > VISITED_INSTANCES_MAX {
        format!("more than {VISITED_INSTANCES_MAX} instances to look at")
    } else {
        return None;
    };
    let info = format!("{what}: narrow it with createdAfter and createdBefore, or ask for metaDataOnly");
    Some(Refusal::new(StatusCode::Forbidden, info))
}

pub(super) fn cost(instance: &Instance, with_content: bool) -> u64 {
    let texts = instance.search_strings.iter().chain(&instance.content_types);
    let metadata: usize = instance.id.len() + texts.map(String::len).sum::<usize>();
    metadata as u64 + if with_content { instance.content_size } else { 0 }
}

/// The first sequence of `from..to` whose instance's creationTime `before` does not accept; `to` if it accepts all.
/// Sequences are creation order and time never goes back in a shard, so halving finds it; where instances were
/// deleted the next existing one stands for the gap.
pub(super) fn first_not<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    (from, to): (u64, u64),
    before: impl Fn(Timestamp) -> bool,
) -> Result<u64, V::Error> {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        match next_from(tree, container, middle, high)? {
            Some((sequence, created)) if before(created) => low = sequence + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first existing instance of `from..to`.
fn next_from<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    from: u64,
    to: u64,
) -> Result<Option<(u64, Timestamp)>, V::Error> {
    let (mut found, mut corrupt) = (None, None);
    tree.view.scan(&Range::instances(container, from, to), false, &mut |key, record| {
        match record {
            Record::Instance(instance) => found = Some((instance.sequence, instance.creation_time)),
            _ => corrupt = Some(tree.view.corrupt(key)),
        }
        ControlFlow::Break(())
    })?;
    corrupt.map_or(Ok(found), Err)
}
