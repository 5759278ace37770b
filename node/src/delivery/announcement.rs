//! One look at the announcements of a resource: what is missing is sent, and the log is told what came of it.
//!
//! | answer of the other SCL | CREATE | UPDATE | DELETE |
//! | --- | --- | --- | --- |
//! | 2xx | its address is remembered | what was sent is remembered | forgotten |
//! | 404 | the SCL leaves sclList | created anew | forgotten |
//! | 409 | ours already: its address is remembered; else the SCL leaves sclList | as other 4xx | as other 4xx |
//! | other 4xx, 501 | the SCL leaves sclList | taken as done | the SCL stays in sclList |
//! | 408, 5xx, none | tried again, ever more seldom, until [`Config::give_up_after`](super::Config), then as other 4xx |
//!
//! An SCL that is not registered any more loses its place in sclList and in the record, and nothing is sent.

use super::{
    attempt::{Next, TRIES_MIN},
    counters::Fate,
    courier::Room,
    source::{Source, SourceError},
};
use banyan_model::{
    Body, Entity, Method, Operation, Path, Refusal, RequestPrimitive, ResponsePrimitive, StatusCode,
    announce::{self, Action, Done, Step, Verdict},
    outbox::OutboxEntry,
    primitive::ReferencePoint,
};
use futures_util::{StreamExt, stream};
use std::time::{Duration, Instant};

/// SCLs that are asked at once about one resource.
const STEPS_MAX: usize = 8;

/// What is the same for all steps of one look.
struct Round<'a, S> {
    source: &'a S,
    room: &'a Room,
    original: &'a Path,
    entry: &'a OutboxEntry,
    entity: Entity,
    /// It is time to settle for what can be had.
    gives_up: bool,
}

/// Works off the entry that says that a resource and its announcements differ.
pub(super) async fn announce<S: Source>(
    source: &S,
    room: &Room,
    original: &Path,
    entry: &OutboxEntry,
    failures: u32,
) -> Result<Next, SourceError> {
    let Some(origin) = origin(source, room) else {
        tracing::warn!(
            shard = source.shard().0,
            %original,
            "announcement waits: neither public_uri nor an authority of this SCL is set"
        );
        return Ok(Next::Failed { retry_after: None });
    };
    let look = source.announcements(original, &origin)?;
    if look.steps.is_empty() {
        let done = Operation::Acknowledge { queue: original.clone(), up_to: entry.sequence };
        source.operate(done).await?;
        return Ok(Next::Again(Duration::ZERO));
    }
    let entity = match room.config.announce_all {
        true => source.scl().base.clone(),
        false => look.entity,
    };
    let round = Round {
        source,
        room,
        original,
        entry,
        entity: Entity(announce::absolute(source.scl(), &origin, &entity)),
        gives_up: source.since(entry.at) >= room.config.give_up_after && failures + 1 >= TRIES_MIN,
    };
    let mut taken = stream::iter(look.steps).map(|step| round.take(step)).buffer_unordered(STEPS_MAX);
    let (mut failed, mut retry_after) = (None, None);
    while let Some(step) = taken.next().await {
        match step {
            Ok(Taken::Done) => {}
            Ok(Taken::Again { after }) => {
                failed = failed.or(Some(Ok(())));
                retry_after = retry_after.max(after);
            }
            // The others go on: what they come to is not lost.
            Err(error) => failed = Some(Err(error)),
        }
    }
    match failed {
        None => Ok(Next::Again(Duration::ZERO)),
        Some(Ok(())) => Ok(Next::Failed { retry_after }),
        Some(Err(error)) => Err(error),
    }
}

enum Taken {
    Done,
    Again { after: Option<Duration> },
}

impl<S: Source> Round<'_, S> {
    async fn take(&self, step: Step) -> Result<Taken, SourceError> {
        let Some(link) = self.source.link(&announce::scl_path(&step.scl)).await? else {
            // Its registration is over.
            return self.done(&step, step.unregistered(), Fate::Refused).await;
        };
        let (verdict, answer) = self.ask(&step, &link).await;
        match verdict {
            Verdict::Done(done) => {
                let fate = match done {
                    Done::Refused | Done::Kept => Fate::Refused,
                    _ => Fate::Confirmed,
                };
                if fate == Fate::Refused {
                    self.log_refusal(&step, &answer);
                }
                self.done(&step, done, fate).await
            }
            _ if self.gives_up => {
                let (shard, original) = (self.source.shard().0, self.original);
                let (scl, status) = (&step.scl, answer.status);
                tracing::warn!(shard, %original, scl, ?status, why = answer.info, "announcement given up");
                self.done(&step, step.given_up(), Fate::GivenUp).await
            }
            _ => {
                let (shard, original) = (self.source.shard().0, self.original);
                let (scl, status) = (&step.scl, answer.status);
                tracing::debug!(shard, %original, scl, ?status, why = answer.info, "announcement to be tried again");
                self.room.counters.count(Fate::Failed);
                let after = answer.retry_after_ms.map(|ms| Duration::from_millis(ms.into()));
                Ok(Taken::Again { after })
            }
        }
    }

    async fn ask(&self, step: &Step, link: &str) -> (Verdict, ResponsePrimitive) {
        let scl = self.source.scl();
        let (method, uri, body) = match &step.action {
            Action::Create { body, .. } => {
                (Method::Create, step.collection_uri(scl, link), Body::Representation(body.clone()))
            }
            Action::Update { body, .. } => {
                (Method::Update, step.uri(scl, link), Body::Representation(body.clone()))
            }
            Action::Find => (Method::Retrieve, step.uri(scl, link), Body::None),
            Action::Delete { .. } => (Method::Delete, step.uri(scl, link), Body::None),
            Action::Wait => {
                let waiting = Refusal::new(
                    StatusCode::ServiceUnavailable,
                    "the announcement of the application comes first",
                );
                return (Verdict::Again, waiting.into());
            }
        };
        let answer = self.call(&uri, method, body).await;
        match announce::judge(step, scl, link, &answer) {
            Verdict::Verify => {
                let found = self.call(&step.uri(scl, link), Method::Retrieve, Body::None).await;
                (announce::verify(step, scl, link, &found), found)
            }
            verdict => (verdict, answer),
        }
    }

    async fn call(&self, uri: &str, method: Method, body: Body) -> ResponsePrimitive {
        let request = RequestPrimitive {
            body,
            reference_point: ReferencePoint::Mid,
            ..RequestPrimitive::new(method, Path::scl_base(), self.entity.clone())
        };
        self.source.call(uri, request, Instant::now() + self.room.config.timeout).await
    }

    async fn done(&self, step: &Step, done: Done, fate: Fate) -> Result<Taken, SourceError> {
        let operation = Operation::AnnouncementDone {
            path: self.original.clone(),
            sequence: self.entry.sequence,
            scl: step.scl.clone(),
            done,
        };
        self.source.operate(operation).await?;
        self.room.counters.count(fate);
        Ok(Taken::Done)
    }

    fn log_refusal(&self, step: &Step, answer: &ResponsePrimitive) {
        let (shard, original) = (self.source.shard().0, self.original);
        let (scl, status) = (&step.scl, answer.status);
        tracing::info!(shard, %original, scl, ?status, why = answer.info, "announcement refused");
    }
}

/// What stands before the addresses of this SCL for others.
fn origin<S: Source>(source: &S, room: &Room) -> Option<String> {
    let configured = room.config.public_uri.as_ref().map(|uri| uri.trim_end_matches('/').to_owned());
    configured.or_else(|| Some(format!("http://{}", source.scl().authorities.first()?)))
}

#[cfg(test)]
mod tests;
