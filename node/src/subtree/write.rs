//! One write, from the actor's mailbox to the log.

use super::{
    ShardError, Source,
    authorise::{self, Leases, Settled, Verdict},
    handle::Inner,
    view::{View, ViewError},
};
use banyan_model::{
    Command, RequestId, RequestPrimitive, ResponsePrimitive, SubtreeRoot, apply,
    group::Verified,
    validate::{self, Policy},
};
use banyan_proto::convert;
use bytes::Bytes;
use std::{sync::Arc, time::Instant};
use tokio::sync::OwnedSemaphorePermit;

/// Takes the outcome of a write: the encoded `ResponsePrimitive`, or why there is none. Must not block.
pub type Answer = Box<dyn FnOnce(Result<Bytes, ShardError>) + Send>;

/// A write on its way to the log.
pub struct Write {
    /// The subtree that decides about it.
    pub subtree: SubtreeRoot,
    /// What is asked.
    pub request: RequestPrimitive,
    /// All zero: none, and a repetition is a second request.
    pub id: RequestId,
    /// What was found out about the members of the group that is written.
    pub verified: Option<Verified>,
    /// Not begun after this.
    pub deadline: Instant,
    /// Called exactly once.
    pub answer: Answer,
}

/// A write in the mailbox of its subtree.
pub(super) struct Job {
    pub(super) subtree: SubtreeRoot,
    request: RequestPrimitive,
    id: RequestId,
    verified: Option<Verified>,
    arrived: Instant,
    deadline: Instant,
    leases: Leases,
    pub(super) reply: Reply,
}

/// The way back of a write. If nobody answers, it answers itself when it is dropped.
pub(super) struct Reply {
    shard: Arc<Inner>,
    answer: Option<Answer>,
    /// The actor is at it.
    begun: bool,
    proposed: bool,
    /// A place in the subtree, held until the answer.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Reply {
    pub(super) fn answer(mut self, result: Result<Bytes, ShardError>) {
        if let Some(answer) = self.answer.take() {
            answer(result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        answer(Err(if self.proposed {
            ShardError::OutcomeUnknown("the entry may still be committed")
        } else if self.begun && std::thread::panicking() {
            // This very request broke its actor, not one before it in the mailbox. Sent again, it would break the next.
            ShardError::Defect
        } else if let Err(error) = self.shard.may_serve() {
            error
        } else {
            ShardError::busy("interrupted")
        }));
    }
}

impl Job {
    pub(super) fn new(shard: &Arc<Inner>, write: Write) -> Job {
        let Write { subtree, request, id, verified, deadline, answer } = write;
        let reply =
            Reply { shard: shard.clone(), answer: Some(answer), begun: false, proposed: false, permit: None };
        let arrived = Instant::now();
        Job { subtree, request, id, verified, arrived, deadline, leases: Leases::new(), reply }
    }

    /// Authorises and proposes, or answers at once. Does not wait for anything.
    pub(super) fn perform(self, shard: &Arc<Inner>) {
        if let Err(error) = shard.may_serve() {
            return self.reply.answer(Err(error));
        }
        if self.deadline <= Instant::now() {
            return self.reply.answer(Err(ShardError::busy("not begun before the deadline")));
        }
        let Job { subtree, request, id, verified, arrived, deadline, leases, mut reply } = self;
        reply.begun = true;
        let decision = decide(shard, &shard.view(), request, id, verified.as_ref(), &leases, arrived);
        match decision {
            Ok(Decision::Known(recorded)) => reply.answer(Ok(recorded)),
            Ok(Decision::Answer(response)) => reply.answer(Ok(convert::response_to_bytes(&response))),
            Ok(Decision::Propose(command)) => {
                reply.proposed = true;
                shard.group.propose(convert::command_to_bytes(&command), move |outcome| {
                    reply.answer(outcome.map_err(ShardError::from));
                });
            }
            Ok(Decision::Missing(source, request)) => {
                reply.begun = false;
                let request = *request;
                let job = Job { subtree, request, id, verified, arrived, deadline, leases, reply };
                tokio::spawn(job.fetch(shard.clone(), source));
            }
            Err(error) => reply.answer(Err(shard.fail(&error))),
        }
    }

    /// Gets what is missing and comes back as a message.
    async fn fetch(mut self, shard: Arc<Inner>, source: Source) {
        let fetched = tokio::time::timeout_at(self.deadline.into(), shard.rights.fetch(&source)).await;
        match fetched {
            Ok(Ok(lease)) => {
                self.leases.retain(|(known, _)| *known != source);
                self.leases.push((source, lease));
                shard.subtrees.send(&shard, self);
            }
            Ok(Err(error)) => {
                tracing::debug!(
                    shard = shard.shard.id.0,
                    error = &error as &dyn std::error::Error,
                    "no right"
                );
                self.reply.answer(Err(ShardError::busy("an access right cannot be had now")));
            }
            Err(_) => self.reply.answer(Err(ShardError::busy("an access right did not come in time"))),
        }
    }
}

enum Decision {
    /// Applied before: the recorded answer.
    Known(Bytes),
    Answer(ResponsePrimitive),
    Propose(Command),
    Missing(Source, Box<RequestPrimitive>),
}

fn decide(
    shard: &Inner,
    view: &View<'_>,
    mut request: RequestPrimitive,
    id: RequestId,
    verified: Option<&Verified>,
    leases: &Leases,
    arrived: Instant,
) -> Result<Decision, ViewError> {
    // Before anything else: what was applied has changed what the checks below would say.
    if let Some(recorded) = apply::recorded(view, id)? {
        return Ok(Decision::Known(recorded));
    }
    let mut admission = match authorise::authorise(shard, view, &request, leases)? {
        Verdict::Granted(admission) => admission,
        Verdict::Refused(refusal) => return Ok(Decision::Answer(refusal.into())),
        Verdict::Missing(source) => return Ok(Decision::Missing(source, Box::new(request))),
    };
    if let Some(elsewhere) = admission.retarget() {
        return Ok(Decision::Answer(elsewhere));
    }
    match authorise::registration(shard, view, &request, &admission, leases, arrived)? {
        Settled::Done => {}
        Settled::Refused(refusal) => return Ok(Decision::Answer(refusal.into())),
        Settled::Missing(source) => return Ok(Decision::Missing(source, Box::new(request))),
    }
    match authorise::announcement(shard, view, &mut request, &mut admission, leases, arrived)? {
        Settled::Done => {}
        Settled::Refused(refusal) => return Ok(Decision::Answer(refusal.into())),
        Settled::Missing(path) => return Ok(Decision::Missing(path, Box::new(request))),
    }
    let policy = Policy { name_seed: rand::random(), ..shard.config.policy.clone() };
    let at = shard.signals.stamp();
    let command = validate::group_command(view, &shard.scl, &policy, at, id, request, &admission, verified)?;
    Ok(match command {
        Ok(command) => Decision::Propose(command),
        Err(refusal) => Decision::Answer(refusal.into()),
    })
}
