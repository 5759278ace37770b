//! How a GSCL stays registered at its NSCL (procedures.md 2), as a machine without a clock or a socket: it says what to
//! do next, and is told what came of it.
//!
//! ```text
//! Register --ok--> Mirror --> Copy --> Reach --> (half the lifetime) --> Refresh --ok--> Mirror ...
//!    |409                                                                   |404
//!    v                                                                      v
//!  Adopt --ok--> Mirror                                                  Forget --> Register
//! ```
//!
//! Whatever fails is done again after a pause that grows. Each step may be repeated: a gateway that was restarted begins
//! anew and finds what is there already.

use super::backoff::Backoff;
use banyan_model::Timestamp;
use std::time::Duration;

/// Something to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// CREATE the own scl at the NSCL.
    Register,
    /// It is there already (409): RETRIEVE it and, if it is ours, UPDATE it.
    Adopt,
    /// The local scl that stands for the NSCL: CREATE or UPDATE, with the granted expirationTime.
    Mirror(Option<Timestamp>),
    /// RETRIEVE the NSCL's sclBase, and copy searchStrings and accessRightID of it.
    Copy,
    /// m2mPocs at the NSCL, and the channel where there is one.
    Reach,
    /// UPDATE the own scl at the NSCL.
    Refresh,
    /// DELETE the local scl: the NSCL does not know us any more.
    Forget,
}

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done; with the expirationTime that the NSCL granted, where it says one.
    Done(Option<Timestamp>),
    /// 409.
    Conflict,
    /// 404: what the step is about is not there (any more).
    Gone,
    /// Anything else, an answer or none.
    Failed,
}

/// What is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Do this.
    Do(Step),
    /// Nothing before then.
    Wait(Timestamp),
}

/// The machine.
#[derive(Debug)]
pub struct Registration {
    lifetime: Duration,
    backoff: Backoff,
    step: Step,
    not_before: Timestamp,
    /// Until when the NSCL holds the registration; `None`: it holds none.
    registered: Option<Timestamp>,
    /// Whether the NSCL reaches this SCL, too.
    reached: bool,
}

impl Registration {
    /// Not registered yet. `lifetime`: what is asked for; a refresh follows at half of what was granted.
    pub fn new(lifetime: Duration, backoff: Backoff) -> Registration {
        let not_before = Timestamp(0);
        Registration { lifetime, backoff, step: Step::Register, not_before, registered: None, reached: false }
    }

    /// What to do at this moment.
    pub fn next(&self, now: Timestamp) -> Next {
        match now < self.not_before {
            true => Next::Wait(self.not_before),
            false => Next::Do(self.step),
        }
    }

    /// The expirationTime to ask for.
    pub fn expires(&self, now: Timestamp) -> Timestamp {
        after(now, self.lifetime)
    }

    /// Until when the NSCL knows this SCL and the way to it; `None`: it does not.
    pub fn until(&self) -> Option<Timestamp> {
        self.registered.filter(|_| self.reached)
    }

    /// Whether it does so now.
    pub fn is_whole(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// Something showed that the NSCL may have lost the registration: find out now.
    pub fn doubted(&mut self) {
        if self.step == Step::Refresh {
            self.not_before = Timestamp(0);
        }
    }

    /// What came of the step that was to be done. `luck`: any number.
    pub fn did(&mut self, outcome: &Outcome, now: Timestamp, luck: u32) {
        let (step, at_once) = match (self.step, outcome) {
            (Step::Register | Step::Adopt | Step::Refresh, Outcome::Done(granted)) => {
                self.registered = Some(granted.unwrap_or_else(|| self.expires(now)));
                (Step::Mirror(*granted), true)
            }
            (Step::Register, Outcome::Conflict) => (Step::Adopt, true),
            // Somebody else's, or it went meanwhile.
            (Step::Adopt, _) => (Step::Register, false),
            (Step::Mirror(_), Outcome::Done(_)) => (Step::Copy, true),
            // It is tried again with every refresh.
            (Step::Copy, _) => (Step::Reach, true),
            (Step::Reach, Outcome::Done(_)) => {
                self.reached = true;
                self.backoff.succeeded();
                self.step = Step::Refresh;
                self.not_before = self.half_way(now);
                return;
            }
            (Step::Refresh | Step::Reach, Outcome::Gone) => {
                (self.registered, self.reached) = (None, false);
                (Step::Forget, true)
            }
            (Step::Forget, Outcome::Done(_) | Outcome::Gone) => (Step::Register, true),
            (step, _) => (step, false),
        };
        self.step = step;
        self.not_before = match at_once {
            true => now,
            false => after(now, self.backoff.failed(luck)),
        };
    }

    /// Half of what was granted, and no later than half of what was asked for: clocks differ.
    fn half_way(&self, now: Timestamp) -> Timestamp {
        let granted = self.registered.map_or(i64::MAX, |until| until.0.saturating_sub(now.0).max(0));
        let asked = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_add(granted.min(asked) / 2))
    }
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Conflict, Done, Failed, Gone};

    const LIFETIME: i64 = 60_000;

    fn machine() -> Registration {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        Registration::new(Duration::from_secs(60), backoff)
    }

    /// Plays outcomes; each line is the moment and the step that was done then.
    #[track_caller]
    fn check(machine: &mut Registration, mut now: i64, outcomes: &[Outcome], expected: &str) -> i64 {
        let mut seen = Vec::new();
        for outcome in outcomes {
            if let Next::Wait(until) = machine.next(Timestamp(now)) {
                now = until.0;
            }
            let Next::Do(step) = machine.next(Timestamp(now)) else { panic!("it waits on and on") };
            let name = format!("{step:?}");
            seen.push(format!("{now} {}", name.split('(').next().unwrap_or_default()));
            machine.did(outcome, Timestamp(now), u32::MAX);
        }
        assert_eq!(seen.join(", "), expected);
        now
    }

    #[test]
    fn it_registers_and_refreshes_at_half_of_what_was_granted() {
        let mut machine = machine();
        let granted = Done(Some(Timestamp(40_000)));
        assert!(!machine.is_whole(Timestamp(0)));
        let expected = "0 Register, 0 Mirror, 0 Copy, 0 Reach, 20000 Refresh, 20000 Mirror";
        let outcomes = [granted.clone(), Done(None), Failed, Done(None), granted, Done(None)];
        check(&mut machine, 0, &outcomes, expected);
        assert!(machine.is_whole(Timestamp(39_999)));
        assert!(!machine.is_whole(Timestamp(40_000)), "a registration ends");
        assert_eq!(machine.expires(Timestamp(1)), Timestamp(1 + LIFETIME));
    }

    #[test]
    fn a_registration_that_never_ends_is_refreshed_all_the_same() {
        let mut machine = machine();
        let all = [Done(None), Done(None), Done(None), Done(None), Failed, Failed, Gone];
        let expected = "0 Register, 0 Mirror, 0 Copy, 0 Reach, 30000 Refresh, 31000 Refresh, 33000 Refresh";
        check(&mut machine, 0, &all, expected);
        assert_eq!(machine.next(Timestamp(33_000)), Next::Do(Step::Forget));
    }

    #[test]
    fn what_the_nscl_has_lost_is_made_anew() {
        let mut machine = machine();
        let all = [Done(None), Done(None), Done(None), Done(None), Gone, Failed, Done(None), Done(None)];
        let expected = "0 Register, 0 Mirror, 0 Copy, 0 Reach, 30000 Refresh, 30000 Forget, 31000 Forget, \
                        31000 Register";
        check(&mut machine, 0, &all, expected);
        assert_eq!(machine.next(Timestamp(31_000)), Next::Do(Step::Mirror(None)));
    }

    #[test]
    fn a_conflict_is_an_earlier_registration_or_somebody_elses() {
        let expected = "0 Register, 0 Adopt, 0 Mirror";
        check(&mut machine(), 0, &[Conflict, Done(None), Done(None)], expected);
        let expected = "0 Register, 0 Adopt, 1000 Register, 1000 Adopt, 3000 Register";
        check(&mut machine(), 0, &[Conflict, Gone, Conflict, Failed, Failed], expected);
    }

    #[test]
    fn a_doubt_is_settled_at_once() {
        let mut machine = machine();
        check(
            &mut machine,
            0,
            &[Done(None), Done(None), Done(None), Done(None)],
            "0 Register, 0 Mirror, 0 Copy, 0 Reach",
        );
        assert_eq!(machine.next(Timestamp(1)), Next::Wait(Timestamp(30_000)));
        machine.doubted();
        assert_eq!(machine.next(Timestamp(1)), Next::Do(Step::Refresh));
    }

    #[test]
    fn failures_are_repeated_with_growing_pauses() {
        let expected = "0 Register, 1000 Register, 3000 Register, 7000 Register, 15000 Register";
        let end = check(&mut machine(), 0, &[Failed, Gone, Failed, Failed, Failed], expected);
        assert_eq!(end, 15_000);
    }
}
