//! A request for another SCL that tolerates a delay and names no correlationID: its connection is held up to the delay
//! (procedures.md 16, 4).
//!
//! It is stored under an id of ours, as one whose answer comes later, and asked for until the answer is there. Whoever
//! hangs up leaves it stored: it goes its way all the same.
//!
//! Limits: [`HOLD_MS_MAX`] of the delay count; [`HELD_MAX`] requests are held at once, one more is refused and not stored.

use crate::{Handler, handler::Exchange, identity::Peer};
use banyan_model::{
    Refusal, RequestPrimitive, ResponsePrimitive, StatusCode, Timestamp, primitive::Correlation, saf::Trpdt,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

const HELD_MAX: usize = 1_024;
/// Ten minutes.
const HOLD_MS_MAX: i64 = 600_000;
/// At the end of the delay the SCL tries once more, and says what came of it.
const LAST_WORD: Duration = Duration::from_secs(15);
const ASK_MIN: Duration = Duration::from_millis(5);
const ASK_MAX: Duration = Duration::from_millis(500);

/// Room for what is held.
#[derive(Debug)]
pub(super) struct Hold(Semaphore);

impl Default for Hold {
    fn default() -> Hold {
        Hold(Semaphore::new(HELD_MAX))
    }
}

impl Hold {
    /// The answer to a request that has no correlationID yet, and tolerates this delay.
    pub(super) async fn answer<H: Handler>(
        &self,
        handler: &H,
        mut request: RequestPrimitive,
        delay: Trpdt,
        peer: &Peer,
    ) -> Exchange {
        let Ok(_place) = self.0.try_acquire() else {
            let why = "X-etsi-trpdt: too many connections are held; send it with a X-etsi-correlationID";
            return ResponsePrimitive::from(Refusal::new(StatusCode::ServiceUnavailable, why)).into();
        };
        let now = now();
        let until = delay.deadline(now).min(Timestamp(now.0.saturating_add(HOLD_MS_MAX)));
        let left = Duration::from_millis(until.0.saturating_sub(now.0).max(0).unsigned_abs());
        let end = Instant::now() + left + LAST_WORD;
        request.trpdt = Some(Trpdt::At(until));
        request.correlation = Some(Correlation { id: handler.correlation_id(), contact: None });
        let (mut is_stored, mut pause) = (false, ASK_MIN);
        loop {
            let answer = handler.exchange(request.clone(), peer).await;
            is_stored |= answer.response.status == StatusCode::Accepted;
            if !(is_stored && may_change(answer.response.status)) {
                return answer;
            }
            if Instant::now() + pause >= end {
                let why = "the delay is over, and what came of the request is not known";
                return ResponsePrimitive::from(Refusal::new(StatusCode::GatewayTimeout, why)).into();
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_MAX);
        }
    }
}

/// Of one that is stored: its answer is not there, or whoever has it cannot be asked right now.
fn may_change(status: StatusCode) -> bool {
    matches!(status, StatusCode::Accepted | StatusCode::ServiceUnavailable | StatusCode::RequestTimeout)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_model::{Entity, Method, Path, time::XsdDuration};
    use parking_lot::Mutex;
    use std::collections::VecDeque;

    /// Says what it was told to, and remembers what it was asked.
    struct Answers(Mutex<VecDeque<StatusCode>>, Mutex<Vec<RequestPrimitive>>);

    impl Handler for Answers {
        async fn handle(&self, request: RequestPrimitive) -> ResponsePrimitive {
            self.1.lock().push(request);
            let mut left = self.0.lock();
            let status = if left.len() > 1 { left.pop_front() } else { left.front().copied() };
            ResponsePrimitive::status(status.expect("one at least"))
        }

        fn correlation_id(&self) -> String {
            "ours".to_owned()
        }
    }

    fn delay(ms: u64) -> Trpdt {
        Trpdt::After(XsdDuration { negative: false, months: 0, millis: ms })
    }

    /// The answer, what was asked and how long it took.
    async fn play(said: &[StatusCode], ms: u64) -> (StatusCode, Vec<RequestPrimitive>, Duration) {
        let answers = Answers(Mutex::new(said.iter().copied().collect()), Mutex::default());
        let target = Path::scl_base().child("applications");
        let request = RequestPrimitive::new(Method::Retrieve, target, Entity("/m2m/a".to_owned()));
        let address = ([127, 0, 0, 1], 1).into();
        let peer = Peer { address, certificates: Vec::new(), secure: false, session: None };
        let began = Instant::now();
        let answer = Hold::default().answer(&answers, request, delay(ms), &peer).await;
        (answer.response.status, answers.1.into_inner(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_request_is_asked_for_under_one_id_until_it_has_its_answer() {
        use StatusCode::{Accepted, Created, NotFound, ServiceUnavailable};
        let said = [Accepted, Accepted, ServiceUnavailable, Accepted, Created];
        let (status, asked, _) = play(&said, 60_000).await;
        assert_eq!((status, asked.len()), (Created, said.len()));
        let first = asked[0].correlation.as_ref().map(|correlation| correlation.id.as_str());
        assert_eq!(first, Some("ours"));
        assert!(asked.iter().all(|one| one == &asked[0]), "each is a repetition of the first");

        for refused in [ServiceUnavailable, NotFound] {
            let (status, asked, _) = play(&[refused], 60_000).await;
            assert_eq!((status, asked.len()), (refused, 1), "nothing was stored");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_held_as_long_as_its_delay_and_not_for_ever() {
        for (ms, held) in [(30_000, Duration::from_secs(30)), (u64::MAX, Duration::from_secs(600))] {
            let (status, asked, took) = play(&[StatusCode::Accepted], ms).await;
            assert_eq!(status, StatusCode::GatewayTimeout);
            assert!(took >= held && took <= held + LAST_WORD, "{took:?}");
            let Some(Trpdt::At(until)) = asked[0].trpdt else { panic!("{:?}", asked[0].trpdt) };
            let left = u128::try_from(until.0 - now().0).expect("it is to come");
            assert!(left <= held.as_millis(), "{left}");
        }
    }
}
