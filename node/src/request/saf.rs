//! Store and forward (procedures.md 16): which policies count for another SCL, whether a network may be used for it now,
//! and the way to it.
//!
//! Policies are read where they are stored, for a target that is in use and not more often than once in [`LEASE`]; nothing
//! of the tree is scanned. How often a network failed is this node's own knowledge: a new leader begins anew.
//!
//! Invariants: what is remembered is bounded; without an answer of whoever holds the policies nothing is decided.

use super::Desk;
use crate::clock;
use banyan_model::{
    Refusal, RequestPrimitive, ResponsePrimitive, StatusCode, Timestamp,
    primitive::Correlation,
    saf::{
        self, DELAY_MS_DEFAULT, Forwarding, Policies, Policy, Storing, Trpdt,
        policy::{self, Choice, UNLIMITED},
    },
    time::XsdDuration,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A change of a policy counts after this at the latest.
const LEASE: Duration = Duration::from_secs(1);
/// SCLs of which something is remembered.
const TARGETS_MAX: usize = 10_000;
/// Pauses between two questions for an answer that the next SCL still owes.
const ASK_MIN: Duration = Duration::from_millis(20);
const ASK_MAX: Duration = Duration::from_secs(1);

/// What this node knows of other SCLs, by [`saf::next_scl`].
#[derive(Default)]
pub(super) struct Targets(Mutex<HashMap<String, Target>>);

#[derive(Clone)]
struct Target {
    asked: Instant,
    /// `None`: no registered SCL has the address.
    policies: Option<Arc<Policies>>,
    /// Failures in a row of a network, and until when it rests.
    failed: HashMap<String, (u64, Timestamp)>,
}

/// What came of passing a stored request on.
#[derive(Clone, PartialEq, Debug)]
pub enum Forwarded {
    /// Its answer.
    Answer(ResponsePrimitive),
    /// Nobody could be asked, or nobody answered: again later.
    Failed(ResponsePrimitive),
    /// No network may be used for so long.
    Wait(Duration),
}

impl Desk {
    /// What is kept with a request for another SCL, and how much of its kind may be.
    pub(super) async fn storing(
        &self,
        uri: &str,
        request: &RequestPrimitive,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Storing, ResponsePrimitive> {
        let policies = self.policies(uri, deadline).await?.unwrap_or_default();
        let policy = self.scl().and_then(|scl| policies.of(&request.requesting_entity, &scl).cloned());
        let default_rcat = policy.as_ref().map(Policy::default_rcat).unwrap_or_default();
        let rcat = request.rcat.unwrap_or(default_rcat);
        let delay = XsdDuration { negative: false, months: 0, millis: DELAY_MS_DEFAULT.unsigned_abs() };
        let of_policy = || policy.as_ref().and_then(|policy| policy.trpdt(rcat));
        let trpdt = request.trpdt.or_else(of_policy).unwrap_or(Trpdt::After(delay));
        let limits = policy.as_ref().map_or(UNLIMITED, |policy| policy.limits(rcat));
        let target = saf::next_scl(uri).to_owned();
        Ok(Storing { forwarding: Forwarding { target, rcat, deadline: trpdt.deadline(now) }, limits })
    }

    /// Passes a stored request on under the correlationID `id`, which tells the next SCL a second attempt from a second
    /// request. `forced`: its delay is over, it goes whatever the policies say.
    pub async fn forward(
        &self,
        id: String,
        mut request: RequestPrimitive,
        forwarding: &Forwarding,
        forced: bool,
        deadline: Instant,
    ) -> Forwarded {
        let Some(uri) = saf::outward_uri(&request.target).map(str::to_owned) else {
            let info = "a stored request without an address";
            return Forwarded::Answer(Refusal::new(StatusCode::InternalServerError, info).into());
        };
        let policies = match self.policies(&uri, deadline).await {
            Ok(Some(policies)) => policies,
            Ok(None) => {
                let info = "no registered SCL has this address";
                return Forwarded::Answer(Refusal::new(StatusCode::NotFound, info).into());
            }
            Err(why) => return Forwarded::Failed(why),
        };
        let Some(scl) = self.scl() else {
            return Forwarded::Failed(ResponsePrimitive::status(StatusCode::ServiceUnavailable));
        };
        let policy = policies.of(&request.requesting_entity, &scl);
        let now = clock::now();
        let network = match self.choose(policy, forwarding, now) {
            Choice::Now(network) => network,
            Choice::Later(_) if forced => None,
            Choice::Later(at) => {
                let wait = at.map_or(u64::MAX, |at| u64::try_from(at.0 - now.0).unwrap_or_default());
                return Forwarded::Wait(Duration::from_millis(wait));
            }
        };
        let left = u64::try_from(forwarding.deadline.0 - now.0).unwrap_or_default();
        request.rcat = Some(forwarding.rcat);
        request.trpdt = Some(Trpdt::After(XsdDuration { negative: false, months: 0, millis: left }));
        request.correlation = Some(Correlation { id, contact: None });
        let answer = self.ask_until(&uri, request, deadline).await;
        let failed = is_transient(answer.status);
        if let Some(network) = network {
            self.inner.targets.tried(&forwarding.target, &network, policy, failed, clock::now());
        }
        if failed { Forwarded::Failed(answer) } else { Forwarded::Answer(answer) }
    }

    /// Asks, and again for the answer while the other SCL only says that it has accepted.
    async fn ask_until(&self, uri: &str, request: RequestPrimitive, deadline: Instant) -> ResponsePrimitive {
        let mut pause = ASK_MIN;
        loop {
            let answer = self.call_outside(uri, request.clone(), deadline).await;
            let again = Instant::now() + pause;
            if answer.status != StatusCode::Accepted || again >= deadline {
                return answer;
            }
            tokio::time::sleep_until(again.into()).await;
            pause = (pause * 2).min(ASK_MAX);
        }
    }

    fn choose(&self, policy: Option<&Policy>, forwarding: &Forwarding, now: Timestamp) -> Choice {
        let Some(policy) = policy else { return Choice::Now(None) };
        let targets = self.inner.targets.0.lock();
        let failed = targets.get(&forwarding.target).map(|target| &target.failed);
        policy.choose(forwarding.rcat, now, |network| failed?.get(network).map(|(_, until)| *until))
    }

    /// The policies for requests to an address; `None`: no registered SCL has it.
    async fn policies(
        &self,
        uri: &str,
        deadline: Instant,
    ) -> Result<Option<Arc<Policies>>, ResponsePrimitive> {
        let target = saf::next_scl(uri);
        if let Some(known) = self.inner.targets.0.lock().get(target)
            && known.asked.elapsed() < LEASE
        {
            return Ok(known.policies.clone());
        }
        let asked = Instant::now();
        let client = &self.inner.client;
        let routed = client.route(uri, deadline.into()).await.map_err(|error| error.response())?;
        let policies = match routed {
            None => None,
            Some(routed) => {
                let mut parts = Vec::new();
                for place in policy::places(&routed.scl) {
                    let found = client.policies(&place, deadline.into()).await;
                    parts = found.map_err(|error| error.response())?;
                    if !parts.is_empty() {
                        break;
                    }
                }
                Some(Arc::new(Policies::read(&parts)))
            }
        };
        self.inner.targets.learn(target, asked, policies.clone());
        Ok(policies)
    }
}

impl Targets {
    fn learn(&self, target: &str, asked: Instant, policies: Option<Arc<Policies>>) {
        let mut targets = self.0.lock();
        if targets.len() >= TARGETS_MAX && !targets.contains_key(target) {
            // What is in use comes back with the next question.
            targets.clear();
        }
        let known = targets.entry(target.to_owned());
        let known = known.or_insert_with(|| Target { asked, policies: None, failed: HashMap::new() });
        (known.asked, known.policies) = (asked, policies);
    }

    /// Counts what came of using a network.
    fn tried(&self, target: &str, network: &str, policy: Option<&Policy>, failed: bool, now: Timestamp) {
        let mut targets = self.0.lock();
        let Some(target) = targets.get_mut(target) else { return };
        if !failed {
            target.failed.remove(network);
            return;
        }
        let entry = target.failed.entry(network.to_owned()).or_insert((0, now));
        entry.0 += 1;
        if let Some(rest) = policy.and_then(|policy| policy.rests(network, entry.0)) {
            entry.1 = Timestamp(now.0.saturating_add(rest));
        }
    }
}

/// Whether another attempt may end otherwise: nobody was reached, or whoever was reached could not yet say. One whose
/// outcome is unknown (REQUEST_TIMEOUT, of our own cluster on the way too) tells it under the same id.
fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::Accepted
            | StatusCode::RequestTimeout
            | StatusCode::BadGateway
            | StatusCode::GatewayTimeout
            | StatusCode::ServiceUnavailable
    )
}
