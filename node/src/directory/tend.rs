//! What each node does for the groups that it leads: makes their members what the directory says they shall be, and
//! gives the leadership to whom it belongs.
//!
//! The directory says where a shard shall be; only the shard's leader can bring it there. It looks at what is and does
//! the next thing that brings it nearer: take in learners, wait until they have caught up, make them voters in the
//! place of those who leave. Nothing is remembered between two looks, so a leader that takes over goes on where the last
//! one stopped.
//!
//! Invariants: members change only towards what the directory says; a voter goes only when every one that shall vote
//! has the log up to a few entries; a leadership goes only to a voter that answers and is hardly behind.

use super::{Directory, DirectoryError, GROUP, View};
use banyan_model::placement::{NodeId, Shard, ShardId};
use banyan_raft::{ChangeError, Group, GroupStatus};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Between two looks when nothing wakes us.
const PERIOD: Duration = Duration::from_millis(500);
/// Groups that are tended at the same time.
const TENDED_MAX: usize = 8;
/// A change of members is committed in milliseconds, unless the others are not there.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// A learner that is fewer entries behind has caught up: what is missing is on its way.
const BEHIND_MAX: u64 = 500;
/// What a group may stand still for while its leadership goes to where it belongs.
const HAND_OVER_MAX: Duration = Duration::from_millis(400);

/// The shards that this node leads: who shall lead each, and from when on.
#[derive(Default)]
struct Lent {
    shards: BTreeMap<ShardId, (Wanted, Option<Instant>)>,
}

/// Who shall lead, and whether an operator said so.
type Wanted = (NodeId, bool);

impl Directory {
    /// Tends what this node leads, again and again.
    pub(super) async fn tend_groups(&self) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        let mut lent = Lent::default();
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(view) = view {
                self.tend_all(&view, &mut lent).await;
            }
            tokio::select! {
                changed = views.changed() => changed.map_err(|_| DirectoryError::Stopped)?,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    async fn tend_all(&self, view: &View, lent: &mut Lent) {
        let led: Vec<(&Shard, Group)> =
            view.placed().filter_map(|shard| Some((shard, self.led(shard.id.0)?))).collect();
        let now = Instant::now();
        let is_up = |node: NodeId| self.inner.groups.is_up(node.0);
        let wait = self.inner.config.placement.leader_return;
        let due = lent.due(led.iter().map(|(shard, _)| *shard), self.node(), is_up, wait, now);
        let tended = led.iter().map(|(shard, group)| self.tend(shard, group, due.contains(&shard.id)));
        stream::iter(tended).for_each_concurrent(TENDED_MAX, |tended| tended).await;
    }

    /// The group, if this node leads it and has everything that was ever acknowledged.
    fn led(&self, group: u64) -> Option<Group> {
        self.inner.groups.get(group).filter(|group| group.leadership().borrow().ready)
    }

    async fn tend(&self, shard: &Shard, group: &Group, due: bool) {
        let status = group.status();
        let wanted: BTreeSet<u64> = shard.replicas.iter().map(|node| node.0).collect();
        let to = shard.replicas.first().map(|node| node.0).filter(|_| due);
        if self.bring_in_time(group, &status, &wanted, &wanted).await
            && let Some(to) = to.filter(|to| self.can_lead(&status, *to))
        {
            let gone = self.inner.groups.hand_over(group.id(), to, HAND_OVER_MAX).await;
            tracing::info!(group = group.id(), to, gone, "leadership handed to whom it belongs");
        }
    }

    /// [`Directory::bring`], as far as it comes; what is missing the next look does. `true`: the members are right.
    async fn bring_in_time(
        &self,
        group: &Group,
        status: &GroupStatus,
        voters: &BTreeSet<u64>,
        members: &BTreeSet<u64>,
    ) -> bool {
        match timeout(CHANGE_MAX, self.bring(group, status, voters, members)).await {
            Ok(Ok(are_right)) => return are_right,
            // Another change is under way, or somebody else leads by now: the next look shows what came of it.
            Ok(Err(ChangeError::InProgress | ChangeError::NotLeader { .. } | ChangeError::Stopped)) => {}
            Ok(Err(error)) => {
                tracing::warn!(group = group.id(), error = &error as &dyn Error, "members are not changed");
            }
            Err(_) => tracing::warn!(group = group.id(), "a change of members is not committed"),
        }
        false
    }

    /// Does what brings the members nearer to `voters`, and the learners to the rest of `members`. `true`: they are that
    /// already.
    async fn bring(
        &self,
        group: &Group,
        status: &GroupStatus,
        voters: &BTreeSet<u64>,
        members: &BTreeSet<u64>,
    ) -> Result<bool, ChangeError> {
        let me = self.node().0;
        let known = |node: &&u64| !status.voters.contains(node) && !status.learners.contains(node);
        let missing: Vec<u64> = members.iter().filter(known).copied().collect();
        for node in &missing {
            tracing::info!(group = group.id(), node, "takes in a learner");
            group.add_learner(*node).await?;
        }
        if !missing.is_empty() || voters.is_empty() {
            return Ok(false);
        }
        if status.voters == *voters && status.settled {
            let idle: BTreeSet<u64> = status.learners.difference(members).copied().collect();
            if idle.is_empty() {
                return Ok(true);
            }
            tracing::info!(group = group.id(), ?idle, "lets go of learners");
            return group.remove_learners(idle).await.map(|()| false);
        }
        let has_log = |node: &u64| status.voters.contains(node) || is_level(status, *node);
        if !voters.iter().all(has_log) {
            return Ok(false);
        }
        if voters.contains(&me) {
            tracing::info!(group = group.id(), ?voters, "changes its voters");
            return group.change_voters(voters.clone()).await.map(|()| false);
        }
        // Whoever leads next lets go of this node.
        match voters.iter().find(|node| self.can_lead(status, **node)) {
            Some(heir) => {
                let gone = self.inner.groups.hand_over(group.id(), *heir, HAND_OVER_MAX).await;
                tracing::info!(group = group.id(), to = heir, gone, "a leader that leaves hands over");
                Ok(false)
            }
            None => {
                let with_me = voters.iter().copied().chain([me]).collect();
                group.change_voters(with_me).await.map(|()| false)
            }
        }
    }

    /// Whether a voter could take the lead now.
    fn can_lead(&self, status: &GroupStatus, node: u64) -> bool {
        node != self.node().0
            && status.voters.contains(&node)
            && self.inner.groups.is_up(node)
            && status.answering.contains(&node)
            && is_level(status, node)
    }

    /// Makes the directory's own group what the members are: all of them, some of them voters.
    pub(super) async fn tend_directory(&self, view: &View, voters: &BTreeSet<u64>) {
        let Some(group) = self.led(GROUP) else { return };
        let members: BTreeSet<u64> = view.map.members.keys().map(|node| node.0).collect();
        self.bring_in_time(&group, &group.status(), voters, &members).await;
    }
}

/// Whether a member has all but the newest entries.
fn is_level(status: &GroupStatus, node: u64) -> bool {
    let last = status.last_index.unwrap_or_default();
    status.matched.get(&node).is_some_and(|matched| matched + BEHIND_MAX >= last)
}

impl Lent {
    /// The shards whose leadership goes to their first replica now. It had to be up for a while, for a node that has just
    /// come back may go again; where the directory has changed its mind, at once.
    fn due<'a>(
        &mut self,
        led: impl Iterator<Item = &'a Shard>,
        me: NodeId,
        is_up: impl Fn(NodeId) -> bool,
        wait: Duration,
        now: Instant,
    ) -> BTreeSet<ShardId> {
        // Where nothing returns by itself, only what an operator wants does.
        let later = |pinned: bool| match wait.is_zero() {
            true => pinned.then_some(now),
            false => Some(now + wait),
        };
        let mut kept = BTreeMap::new();
        for shard in led {
            let Some(first) = shard.replicas.first().copied() else { continue };
            let (wanted, later) = ((first, shard.pinned), later(shard.pinned));
            let at = match self.shards.get(&shard.id) {
                _ if first != me && !is_up(first) => later,
                None => later,
                Some((known, _)) if *known != wanted => Some(now),
                Some((_, at)) => *at,
            };
            kept.insert(shard.id, (wanted, at));
        }
        self.shards = kept;
        let is_due =
            |((first, _), at): &(Wanted, Option<Instant>)| *first != me && at.is_some_and(|at| at <= now);
        self.shards.iter().filter(|(_, lent)| is_due(lent)).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_model::path::Slot;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);
    const WAIT: Duration = Duration::from_secs(10);

    fn shard(first: NodeId) -> Shard {
        let last = if first == ME { OTHER } else { ME };
        Shard::founded(ShardId(7), Slot(0), Slot(u64::MAX), vec![first, last])
    }

    #[test]
    fn a_leadership_returns_when_its_owner_was_up_for_long_enough() {
        let (mut lent, begin) = (Lent::default(), Instant::now());
        let mut look = |up: bool, after: u64| {
            let now = begin + Duration::from_secs(after);
            !lent.due([&shard(OTHER)].into_iter(), ME, |_| up, WAIT, now).is_empty()
        };
        let seen = [(false, 0), (true, 1), (true, 9), (false, 9), (true, 10), (true, 18), (true, 19)];
        let due: Vec<bool> = seen.into_iter().map(|(up, after)| look(up, after)).collect();
        assert_eq!(
            due,
            [false, false, false, false, false, false, true],
            "ten seconds after it was last down"
        );
    }

    #[test]
    fn a_leadership_that_shall_be_elsewhere_goes_at_once() {
        for wait in [WAIT, Duration::ZERO] {
            let (mut lent, now) = (Lent::default(), Instant::now());
            let mut look = |first| !lent.due([&shard(first)].into_iter(), ME, |_| true, wait, now).is_empty();
            assert_eq!([ME, OTHER, OTHER, ME].map(&mut look), [false, true, true, false], "{wait:?}");
        }
    }

    #[test]
    fn what_an_operator_wants_is_not_waited_for_though_it_is_what_the_directory_said_before() {
        for wait in [WAIT, Duration::ZERO] {
            let (mut lent, now) = (Lent::default(), Instant::now());
            let mut look = |pinned| {
                let shard = Shard { pinned, ..shard(OTHER) };
                !lent.due([&shard].into_iter(), ME, |_| true, wait, now).is_empty()
            };
            assert_eq!([false, false, true, true].map(&mut look), [false, false, true, true], "{wait:?}");
        }
    }

    #[test]
    fn without_a_wait_nothing_returns_by_itself() {
        let mut lent = Lent::default();
        let begin = Instant::now();
        for after in [0, 1, 1_000] {
            let now = begin + Duration::from_secs(after);
            assert_eq!(
                lent.due([&shard(OTHER)].into_iter(), ME, |_| true, Duration::ZERO, now),
                BTreeSet::new()
            );
        }
    }
}
