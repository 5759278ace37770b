//! What the outbox promises by reference, read when the notify is made: the members of a collection, and instances that
//! are kept anyway. So a promise costs the same however much it is about.
//!
//! What is read stands under the right of today, so nothing is read for a subscription that is gone.

use super::{listing, members};
use crate::{
    Path, Scl, TreeView,
    filter::FilterCriteria,
    key::Range,
    outbox::{NOTIFY_BYTES_MAX, NOTIFY_INSTANCES_MAX, Notification},
    record::{Instance, Record},
    represent,
    tree::Tree,
};
use std::ops::ControlFlow;

/// Instances that are looked at for a first notify, selected or not.
const VISITED_MAX: usize = 10_000;

/// What a subscription is told by this notification, whatever it refers to being read; any other as it is.
///
/// A collection is told as it stands; one whose members are more than a page, or that is gone, without
/// representation. Of instances those that are gone are left out; without any the notification is void
/// (`outbox::is_void`), unless it is a subscription's first.
pub fn told<V: TreeView>(
    view: &V,
    scl: &Scl,
    subscription: &Path,
    notification: Notification,
) -> Result<Notification, V::Error> {
    let by_reference = matches!(
        notification,
        Notification::Collection | Notification::Stored { .. } | Notification::Present { .. }
    );
    // `<watched>/subscriptions/<s>`
    let watched = subscription.parent().and_then(|collection| collection.parent()).unwrap_or_default();
    if !by_reference {
        return Ok(notification);
    }
    let tree = Tree::new(view, scl);
    let criteria = tree.resource(subscription)?;
    let criteria = criteria.map(|found| FilterCriteria::of_subscription(&found.representation));
    match (notification, criteria) {
        (Notification::Collection, Some(criteria)) => collection(&tree, &watched, &criteria),
        (Notification::Collection, None) => Ok(Notification::Bare),
        (Notification::Stored { sequences, .. }, Some(criteria)) => {
            let container = watched.parent().unwrap_or_default();
            let mut kept = Vec::with_capacity(sequences.len());
            for sequence in sequences {
                kept.extend(tree.instance(&container, sequence)?);
            }
            if kept.is_empty() { Ok(void()) } else { instances(&tree, &container, &kept, &criteria) }
        }
        (Notification::Present { up_to }, Some(criteria)) => {
            let container = watched.parent().unwrap_or_default();
            let present = present(&tree, &container, up_to, &criteria)?;
            instances(&tree, &container, &present, &criteria)
        }
        _ => Ok(void()),
    }
}

fn void() -> Notification {
    Notification::Stored { sequences: Vec::new(), octets: 0 }
}

fn collection<V: TreeView>(
    tree: &Tree<'_, V>,
    path: &Path,
    criteria: &FilterCriteria,
) -> Result<Notification, V::Error> {
    let Some(resource) = tree.resource(path)? else { return Ok(Notification::Bare) };
    let told = tree.members(path, None, members::PAGE)?;
    if told.more {
        return Ok(Notification::Bare);
    }
    let whole = represent::resource(tree.scl, &resource, told.members);
    let accessor = criteria.accessor().unwrap_or_default();
    let part = represent::part(whole, represent::accessor(&accessor));
    Ok(part.map_or(Notification::Bare, Notification::from))
}

fn instances<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    these: &[Instance],
    criteria: &FilterCriteria,
) -> Result<Notification, V::Error> {
    let Some(state) = tree.instances(container)? else { return Ok(void()) };
    let shown = represent::instances(tree.scl, container, &state, these, !criteria.meta_data_only);
    Ok(Notification::Representation(shown))
}

/// The newest that fit, oldest first.
fn present<V: TreeView>(
    tree: &Tree<'_, V>,
    container: &Path,
    up_to: u64,
    criteria: &FilterCriteria,
) -> Result<Vec<Instance>, V::Error> {
    let Some(state) = tree.instances(container)? else { return Ok(Vec::new()) };
    let to = state.next.min(up_to.saturating_add(1));
    let all = Range::instances(container, state.oldest, to);
    let (mut found, mut octets, mut visited, mut corrupt) = (Vec::new(), 0_u64, 0_usize, None);
    tree.view.scan(&all, true, &mut |key, record| {
        let Record::Instance(instance) = record else {
            corrupt = Some(tree.view.corrupt(key));
            return ControlFlow::Break(());
        };
        visited += 1;
        if criteria.selects(&instance) {
            octets = octets.saturating_add(listing::cost(&instance, !criteria.meta_data_only));
            if octets > NOTIFY_BYTES_MAX && !found.is_empty() {
                return ControlFlow::Break(());
            }
            found.push(instance);
        }
        match found.len() >= NOTIFY_INSTANCES_MAX || visited >= VISITED_MAX {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    found.reverse();
    corrupt.map_or(Ok(found), Err)
}
