//! What the directory's leader does: asks every member how its replicas are, writes down what has arrived, and has the
//! next shard placed otherwise where the plan says so.
//!
//! It looks, plans and proposes; what it proposes is carried out by the nodes it concerns ([`super::tend`],
//! [`super::shards`]). Nothing but what the directory holds outlives it, so the next leader goes on.
//!
//! Invariants: a shard's members are known to be what they shall be only from its leader, and only when the change is
//! committed; a node that was let go of gets a replica again only when it has removed what it had.

use super::{Directory, DirectoryError, Neighbours, View, founding::propose};
use banyan_model::placement::{self, Limits, NodeId, Shard, Standing};
use banyan_proto::v1::{self, directory_command::Kind};
use banyan_raft::Group;
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error,
    time::Duration,
};
use tokio::time::Instant;

/// Between two rounds while something is on its way.
const PERIOD: Duration = Duration::from_secs(1);
/// Otherwise, unless the directory changes.
const IDLE_PERIOD: Duration = Duration::from_secs(5);
/// Members that are asked at once.
const ASKED_MAX: usize = 16;
/// Voters of the directory, where there are enough members.
const VOTERS: usize = 3;

/// What the members said in the last round.
#[derive(Default)]
struct Heard {
    answers: BTreeMap<NodeId, Vec<v1::ReplicaReport>>,
    /// When each was last heard of; at the latest when this node began to ask.
    last: BTreeMap<NodeId, Instant>,
}

impl Directory {
    /// Places shards whenever this node leads the directory.
    pub(super) async fn place_shards<N: Neighbours>(
        &self,
        group: &Group,
        neighbours: &N,
    ) -> Result<Infallible, DirectoryError> {
        let (mut views, mut leadership) = (self.views(), group.leadership());
        let mut heard = Heard::default();
        loop {
            if !leadership.borrow_and_update().ready {
                heard = Heard::default();
                leadership.changed().await.map_err(|_| DirectoryError::Stopped)?;
                continue;
            }
            let view = views.borrow_and_update().clone();
            let is_busy = view.as_ref().is_some_and(|view| view.is_changing());
            if let Some(view) = view {
                self.hear(&view, neighbours, &mut heard).await;
                if let Err(error) = self.place(group, &heard).await {
                    tracing::debug!(error = &error as &dyn Error, "placement not proposed");
                }
                self.tend_directory(&view, &self.directory_voters(group, &view, &heard)).await;
            }
            tokio::time::sleep(PERIOD).await;
            if !is_busy {
                tokio::select! {
                    changed = views.changed() => changed.map_err(|_| DirectoryError::Stopped)?,
                    () = tokio::time::sleep(IDLE_PERIOD - PERIOD) => {}
                }
            }
        }
    }

    /// One round of questions.
    async fn hear<N: Neighbours>(&self, view: &View, neighbours: &N, heard: &mut Heard) {
        let me = self.node();
        let others = view.map.members.iter().filter(|(node, _)| **node != me);
        let asked: Vec<_> = others
            .map(|(node, member)| async move { (*node, neighbours.replicas(&member.address).await) })
            .collect();
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(ASKED_MAX).collect().await;
        let now = Instant::now();
        heard.last.retain(|node, _| view.map.members.contains_key(node));
        for node in view.map.members.keys() {
            heard.last.entry(*node).or_insert(now);
        }
        heard.answers = BTreeMap::from([(me, self.replicas())]);
        for (node, answer) in answers {
            match answer {
                Ok(reply) => {
                    heard.answers.insert(node, reply.replicas);
                }
                Err(error) => tracing::debug!(error = &error as &dyn Error, "a member does not answer"),
            }
        }
        heard.last.extend(heard.answers.keys().map(|node| (*node, now)));
    }

    /// Proposes what has arrived, then as much of the plan as may be under way at once.
    async fn place(&self, group: &Group, heard: &Heard) -> Result<(), banyan_raft::ProposeError> {
        let mut views = self.views();
        loop {
            let Some(view) = views.borrow_and_update().clone() else { return Ok(()) };
            // An older release would stop at the command.
            if !view.is_of_one_release() {
                return Ok(());
            }
            let shards: Vec<Shard> = view.placed().cloned().collect();
            let arrived = shards.iter().find_map(|shard| heard.arrived(shard).map(|next| (shard, next)));
            let Some((from, to)) = arrived.or_else(|| {
                let next = placement::next(&shards, &self.standing(&view, heard), self.limits(&view))?;
                shards.iter().find(|shard| shard.id == next.id).map(|shard| (shard, next))
            }) else {
                return Ok(());
            };
            // What nobody leads is perhaps not founded yet, and would not be any more: see `start` in `super::shards`.
            if to.changes > 0 && from.changes == 0 && !heard.is_led(from) {
                return Ok(());
            }
            tracing::info!(
                shard = to.id.0,
                replicas = ?numbers(&to.replicas),
                leaving = ?numbers(&to.leaving),
                moving = to.moving,
                "places a shard"
            );
            propose(group, Kind::Place(v1::PlaceShard { from: Some(from.into()), to: Some((&to).into()) }))
                .await?;
            if self.views().borrow().as_ref().is_some_and(|now| now.state.epoch == view.state.epoch) {
                // Somebody else changed the shard meanwhile, and nothing happened: look again in the next round.
                return Ok(());
            }
        }
    }

    fn limits(&self, view: &View) -> Limits {
        let factor = view.state.settings.as_ref().map_or(1, |settings| settings.replication_factor.max(1));
        Limits {
            factor: usize::try_from(factor).unwrap_or(usize::MAX),
            moves_max: self.inner.config.placement.moves_max,
        }
    }

    fn standing(&self, view: &View, heard: &Heard) -> BTreeMap<NodeId, Standing> {
        let gone_after = self.inner.config.placement.node_gone_after;
        let standing = |(node, member): (&NodeId, &banyan_client::Member)| {
            let drains = view.state.draining.contains(&node.0);
            let answers = heard.answers.contains_key(node);
            let is_there = answers || heard.last.get(node).is_some_and(|last| last.elapsed() < gone_after);
            let zone = member.zone.clone();
            (*node, Standing { zone, takes: answers && !drains, keeps: is_there && !drains })
        };
        view.map.members.iter().map(standing).collect()
    }

    /// Who shall vote in the directory: those who do, as long as they stay, and others up to three.
    fn directory_voters(&self, group: &Group, view: &View, heard: &Heard) -> BTreeSet<u64> {
        let standing = self.standing(view, heard);
        let status = group.status();
        let stays = |node: &u64| standing.get(&NodeId(*node)).is_some_and(|node| node.keeps);
        let mut voters: BTreeSet<u64> = status.voters.iter().copied().filter(stays).collect();
        let mut others: Vec<(&NodeId, &Standing)> =
            standing.iter().filter(|(node, standing)| standing.takes && !voters.contains(&node.0)).collect();
        while voters.len() < VOTERS
            && let Some(at) = (0..others.len()).min_by_key(|at| {
                let zone = &others[*at].1.zone;
                let shared = voters.iter().filter(|voter| {
                    !zone.is_empty()
                        && standing.get(&NodeId(**voter)).is_some_and(|other| other.zone == *zone)
                });
                (shared.count(), others[*at].0)
            })
        {
            voters.insert(others.swap_remove(at).0.0);
        }
        // Nobody is put in the place of the last one: it would be a directory without voters.
        if voters.is_empty() { status.voters } else { voters }
    }

    /// How this node's replicas are, those included that are not stopped or removed yet.
    pub fn replicas(&self) -> Vec<v1::ReplicaReport> {
        let mut reports: BTreeMap<u64, v1::ReplicaReport> = self
            .inner
            .store
            .groups()
            .into_iter()
            .map(|group| (group, v1::ReplicaReport { group, ..Default::default() }))
            .collect();
        for (group, report) in &mut reports {
            let Some(running) = self.inner.groups.get(*group) else { continue };
            let status = running.status();
            *report = v1::ReplicaReport {
                group: *group,
                term: status.term,
                leads: running.leadership().borrow().ready,
                voters: status.voters.into_iter().collect(),
                settled: status.settled,
                members_at: status.members_at,
            };
        }
        reports.into_values().collect()
    }
}

impl Heard {
    fn is_led(&self, shard: &Shard) -> bool {
        self.answers.values().flatten().any(|report| report.group == shard.id.0 && report.leads)
    }

    fn report(&self, node: NodeId, shard: &Shard) -> Option<&v1::ReplicaReport> {
        self.answers.get(&node)?.iter().find(|report| report.group == shard.id.0)
    }

    /// The shard as it is by now, if that is more than the directory says.
    fn arrived(&self, shard: &Shard) -> Option<Shard> {
        if shard.moving {
            let reports = self.answers.values().flatten();
            let leaders = reports.filter(|report| report.group == shard.id.0 && report.leads);
            let leader = leaders.max_by_key(|report| report.term)?;
            let wanted: BTreeSet<u64> = shard.replicas.iter().map(|node| node.0).collect();
            let is_so = leader.settled && leader.voters.iter().copied().collect::<BTreeSet<_>>() == wanted;
            return is_so.then(|| shard.arrived(leader.members_at));
        }
        // One that is no member any more is not let in again; nobody links to it.
        let has_something = |node: &NodeId| match self.answers.contains_key(node) {
            true => self.report(*node, shard).is_some(),
            false => self.last.contains_key(node),
        };
        let former: Vec<NodeId> = shard.former.iter().copied().filter(has_something).collect();
        (former != shard.former).then(|| Shard { former, ..shard.clone() })
    }
}

fn numbers(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}
