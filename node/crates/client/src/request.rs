//! One request: asks the node that should lead, learns from what it answers, and asks again until the deadline.

use crate::{
    RequestError,
    client::Shared,
    link::{Question, Unanswered},
    map::Map,
};
use banyan_model::{
    path::Slot,
    placement::{NodeId, Shard, ShardId},
};
use banyan_proto::v1::{self, answer};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{future::Future, ops::ControlFlow, time::Duration};
use tokio::time::Instant;

/// A node that has not answered for this long may be frozen or cut off: another replica is asked who leads now.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Before asking again while nobody leads.
const PAUSE: Duration = Duration::from_millis(30);
/// Redirections that are followed at once; from then on with a pause, so that two nodes that name each other are not
/// asked in a tight loop.
const REDIRECTIONS: u32 = 3;
/// A failover takes less than two seconds: who has found no leader for this long will not find one soon.
const LEADERLESS_MAX: Duration = Duration::from_secs(4);
/// How long a busy node is asked again.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// When to try again after there was no leader.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where the answer is.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// With the leader of the shard that owns this slot.
    Slot(Slot),
    /// With the leader of this shard.
    Shard(ShardId),
    /// With the leader of the keys' group.
    Keys,
}

impl Place {
    pub(crate) fn shard(self, map: &Map) -> Option<&Shard> {
        match self {
            Place::Slot(slot) => map.shards.shard_of(slot),
            Place::Shard(id) => map.shards.shards.iter().find(|shard| shard.id == id),
            Place::Keys => map.keys.as_ref(),
        }
    }
}

/// Asks until there is an answer or the deadline of the question is near.
pub(crate) async fn ask(
    shared: &Shared,
    place: Place,
    question: Question,
    patience: Duration,
) -> Result<answer::What, RequestError> {
    let now = Instant::now();
    let give_up = give_up(question.deadline);
    let mut attempts = FuturesUnordered::new();
    let mut asking = Asking {
        shared,
        place,
        question,
        patience,
        started: now,
        next: now,
        asked: Vec::new(),
        avoid: None,
        turn: 0,
        redirections: 0,
        perhaps_done: false,
        leaderless: None,
        busy: None,
    };
    loop {
        let now = Instant::now();
        if now >= give_up {
            return Err(asking.verdict("no answer in time"));
        }
        if asking.asked.is_empty() && asking.leaderless.is_some_and(|since| now - since > LEADERLESS_MAX) {
            return Err(asking.verdict("no leader"));
        }
        if now >= asking.next
            && let Some((node, unanswered)) = asking.send()
        {
            attempts.push(attempt(node, unanswered));
        }
        tokio::select! {
            biased;
            Some((node, what)) = attempts.next(), if !attempts.is_empty() => {
                if let ControlFlow::Break(end) = asking.learn(node, what) {
                    return end;
                }
            }
            () = tokio::time::sleep_until(asking.next.min(give_up)) => {}
        }
    }
}

async fn attempt(node: NodeId, unanswered: Unanswered) -> (NodeId, Option<answer::What>) {
    (node, unanswered.await)
}

struct Asking<'a> {
    shared: &'a Shared,
    place: Place,
    question: Question,
    patience: Duration,
    started: Instant,
    /// When to ask the next node, if nothing happens before.
    next: Instant,
    /// Who has been asked and has not answered.
    asked: Vec<NodeId>,
    /// Who just could not help.
    avoid: Option<NodeId>,
    /// Where to begin among the replicas.
    turn: usize,
    redirections: u32,
    /// Some node may have carried it out without telling us.
    perhaps_done: bool,
    leaderless: Option<Instant>,
    /// Since when, and what the node last said.
    busy: Option<(Instant, Duration)>,
}

impl Asking<'_> {
    /// Asks the next node, if there is one to be asked.
    fn send(&mut self) -> Option<(NodeId, Unanswered)> {
        let now = Instant::now();
        let sent = self.choose().and_then(|(node, shard)| {
            self.question.shard = shard.0;
            let unanswered = self.shared.link(node)?.send(self.question.clone())?;
            Some((node, unanswered))
        });
        match &sent {
            Some((node, _)) => {
                self.asked.push(*node);
                self.next = now + self.patience;
            }
            None => {
                self.next = now + jitter(PAUSE);
                if self.asked.is_empty() {
                    self.leaderless.get_or_insert(now);
                    self.avoid = None;
                }
            }
        }
        sent
    }

    /// The leader as far as we know, otherwise the replicas in turn; nobody twice at a time.
    fn choose(&mut self) -> Option<(NodeId, ShardId)> {
        let map = self.shared.map()?;
        let shard = self.place.shard(&map)?;
        let may_ask = |node: &NodeId| !self.asked.contains(node) && self.shared.is_up(*node);
        let leader =
            self.shared.leader(shard.id).filter(|leader| Some(*leader) != self.avoid && may_ask(leader));
        if let Some(leader) = leader {
            return Some((leader, shard.id));
        }
        let replicas = &shard.replicas;
        let in_turn = (0..replicas.len()).map(|i| replicas[(self.turn + i) % replicas.len()]);
        let up: Vec<NodeId> = in_turn.filter(may_ask).collect();
        let node = up.iter().find(|node| Some(**node) != self.avoid).or(up.first()).copied()?;
        self.turn += 1;
        Some((node, shard.id))
    }

    /// What an answer, or a broken stream, means for what to do next.
    fn learn(
        &mut self,
        node: NodeId,
        what: Option<answer::What>,
    ) -> ControlFlow<Result<answer::What, RequestError>> {
        let now = Instant::now();
        self.asked.retain(|asked| *asked != node);
        let shard = ShardId(self.question.shard);
        match what {
            Some(
                answer @ (answer::What::Response(_)
                | answer::What::Members(_)
                | answer::What::Discovered(_)
                | answer::What::Policies(_)
                | answer::What::Polled(_)
                | answer::What::Routed(_)
                | answer::What::Keys(_)),
            ) => {
                self.shared.leads(shard, node);
                return ControlFlow::Break(Ok(answer));
            }
            Some(answer::What::Refused(why)) => {
                // Another sending of the same may have been taken, or still be: that verdict goes first.
                let end = match self.verdict("refused") {
                    unknown @ RequestError::OutcomeUnknown { .. } => unknown,
                    _ => RequestError::Refused(why),
                };
                return ControlFlow::Break(Err(end));
            }
            Some(answer::What::NotLeader(hint)) => self.redirected(now, node, shard, &hint),
            Some(answer::What::Busy(v1::Busy { retry_after_ms, .. })) => {
                let retry_after = Duration::from_millis(u64::from(retry_after_ms.max(1)));
                let (since, _) = self.busy.unwrap_or((now, retry_after));
                self.busy = Some((since, retry_after));
                if self.asked.is_empty() && now + retry_after > since + BUSY_MAX {
                    return ControlFlow::Break(Err(self.verdict("busy")));
                }
                self.next = now + retry_after + jitter(retry_after);
            }
            Some(answer::What::OutcomeUnknown(why)) => {
                tracing::debug!(node = node.0, shard = shard.0, why, "outcome unknown, asking again");
                self.lost(now, node, shard);
            }
            None => self.lost(now, node, shard),
        }
        ControlFlow::Continue(())
    }

    /// The node does not lead. It was not done there.
    fn redirected(&mut self, now: Instant, node: NodeId, shard: ShardId, hint: &v1::NotLeader) {
        let leader = (hint.leader != 0).then_some(NodeId(hint.leader));
        match leader {
            // Who we are waiting for still leads: slow, not gone.
            Some(leader) if self.asked.contains(&leader) => self.next = now + self.patience,
            Some(leader) if leader != node && self.shared.is_up(leader) => {
                self.shared.leads(shard, leader);
                (self.avoid, self.leaderless) = (Some(node), None);
                self.redirections += 1;
                self.next = if self.redirections <= REDIRECTIONS { now } else { now + jitter(PAUSE) };
            }
            // Elected but not ready, unknown, or out of our reach.
            _ => {
                self.shared.does_not_lead(shard, node);
                self.avoid = (leader != Some(node)).then_some(node);
                self.next = now + if self.asked.is_empty() { jitter(PAUSE) } else { self.patience };
                if self.asked.is_empty() {
                    self.leaderless.get_or_insert(now);
                }
            }
        }
    }

    /// The node may or may not have done it: only the same id may be sent again.
    fn lost(&mut self, now: Instant, node: NodeId, shard: ShardId) {
        self.perhaps_done = true;
        self.shared.does_not_lead(shard, node);
        self.avoid = Some(node);
        self.next = now + jitter(PAUSE);
    }

    /// Why there is no answer.
    fn verdict(&self, why: &'static str) -> RequestError {
        let mutating = self.question.ticket.is_some();
        if mutating && (self.perhaps_done || !self.asked.is_empty()) {
            return RequestError::OutcomeUnknown { waited: self.started.elapsed() };
        }
        match self.busy {
            Some((_, retry_after)) => RequestError::Busy { retry_after },
            None => RequestError::Unavailable { why, retry_after: RETRY_AFTER },
        }
    }
}

/// Between half and all of it, so that those who failed together do not come back together.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..1.0))
}

/// The issuer wants an answer by the deadline, not at it.
fn give_up(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - (left / 20).min(Duration::from_millis(200))
}

/// Waits for what a request cannot begin without: not longer than for a leader.
pub(crate) async fn prerequisite<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let until = give_up(deadline).min(Instant::now() + LEADERLESS_MAX);
    tokio::time::timeout_at(until, future).await.ok()
}
