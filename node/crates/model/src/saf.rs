//! Store and forward (TS 102 690 9.3.1, procedures.md 16): what is asked of another SCL and may wait.
//!
//! A request for another SCL that has a correlationID is kept like every request that is answered later ([`crate::deferred`]),
//! with the address it is for in the place of a target ([`outward`]). It is tried until its answer has come, and at its
//! deadline once more whatever the policies say.
//!
//! Invariants: of what one requestingEntity sent to one SCL only the first is tried ([`crate::key::Key::lane`]): the highest
//! category before the others, within a category in the order of acceptance; what has reached its deadline is tried
//! whoever stands before it. The policies are those of the moment: nothing of them is kept with the request but its
//! category and its deadline.

pub mod policy;
pub mod schedule;

pub use policy::{Policies, Policy};

use crate::{Path, Timestamp, command::QueueLimits, time::XsdDuration};

/// The longest delay that is granted, thirty days: what is kept must be forgotten some day.
pub const DELAY_MS_MAX: i64 = 30 * 24 * 3_600_000;
/// The delay of a request that names none and for which no policy does.
pub const DELAY_MS_DEFAULT: i64 = 10 * 60_000;
/// For this long after the deadline of a request its answer is kept for the SCL that passed it on: the last attempt takes
/// its time, and so do clocks.
pub const REMEMBERED_MS: i64 = 60_000;

const DAY_MS: i64 = 24 * 3_600_000;

/// A request category, 0 to 7: the higher it is, the more urgent (decision 26).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rcat(u8);

impl Rcat {
    /// All of them.
    pub const ALL: [Rcat; 8] = [Rcat(0), Rcat(1), Rcat(2), Rcat(3), Rcat(4), Rcat(5), Rcat(6), Rcat(7)];

    /// The category of a number.
    pub fn new(number: u8) -> Option<Rcat> {
        (number < 8).then_some(Rcat(number))
    }

    /// `RCAT_3`, as documents have it.
    pub fn named(name: &str) -> Option<Rcat> {
        match name.strip_prefix("RCAT_")?.as_bytes() {
            [digit @ b'0'..=b'7'] => Rcat::new(digit - b'0'),
            _ => None,
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// The delay that an issuer tolerates (TRPDT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trpdt {
    /// tolerableDelay: from the acceptance on.
    After(XsdDuration),
    /// tolerableTime: this many milliseconds after midnight, UTC. What was within the last twelve hours is past.
    TimeOfDay(u32),
    /// A point in time.
    At(Timestamp),
}

impl Trpdt {
    /// When the delay is over for what is accepted now; never later than [`DELAY_MS_MAX`] allows.
    pub fn deadline(self, now: Timestamp) -> Timestamp {
        let at = match self {
            Trpdt::After(delay) => now.checked_add(delay).unwrap_or(Timestamp::LAST),
            Trpdt::At(at) => at,
            Trpdt::TimeOfDay(ms) => {
                let today = now.0.div_euclid(DAY_MS) * DAY_MS + i64::from(ms);
                let nearest = [today - DAY_MS, today, today + DAY_MS];
                Timestamp(nearest.into_iter().min_by_key(|at| (at - now.0).abs()).unwrap_or(today))
            }
        };
        at.min(Timestamp(now.0.saturating_add(DELAY_MS_MAX)))
    }
}

/// What is known of a stored request beside what every request has that is answered later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forwarding {
    /// Whom it is for ([`next_scl`]).
    pub target: String,
    /// Its category.
    pub rcat: Rcat,
    /// TRPDT, absolute.
    pub deadline: Timestamp,
}

/// A request that is to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storing {
    /// What is kept with it.
    pub forwarding: Forwarding,
    /// How much may wait of its category, of this entity.
    pub limits: QueueLimits,
}

/// The path in the place of a target of what is another SCL's: nothing can stand there, since no name holds a slash.
pub fn outward(uri: &str) -> Path {
    Path::scl_base().child(uri)
}

/// The address that such a path stands for: an absolute URI, or a path that begins with the id of an SCL (D-20).
pub fn outward_uri(target: &Path) -> Option<&str> {
    match target.segments() {
        [only] if only.contains('/') => Some(only),
        _ => None,
    }
}

/// The SCL that an address leads to, as far as the address says: scheme and authority, or a slash and the id.
pub fn next_scl(uri: &str) -> &str {
    let begin = uri.find("://").map_or(1, |at| at + 3).min(uri.len());
    uri[begin..].find('/').map_or(uri, |end| &uri[..begin + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_resource_and_comes_back() {
        for (uri, scl) in [
            ("http://gw.example.org:8080/m2m/containers/c", "http://gw.example.org:8080"),
            ("http://gw.example.org", "http://gw.example.org"),
            ("/gw/containers/c", "/gw"),
            ("/gw", "/gw"),
        ] {
            assert_eq!(outward_uri(&outward(uri)), Some(uri));
            assert_eq!(next_scl(uri), scl, "{uri}");
        }
        for ours in ["", "containers", "containers/c"] {
            assert_eq!(outward_uri(&Path::parse(ours).unwrap()), None, "{ours}");
        }
        assert_eq!(next_scl(""), "");
    }

    #[test]
    fn a_tolerated_delay_ends_where_it_says_and_not_beyond_the_longest() {
        let now = Timestamp::parse("2013-05-31T12:00:00Z").unwrap();
        let check = |trpdt: Trpdt, expected: &str| {
            assert_eq!(trpdt.deadline(now).to_string(), expected, "{trpdt:?}");
        };
        let hours = |hours: u32| hours * 3_600_000;
        let delay = |months, millis| Trpdt::After(XsdDuration { negative: false, months, millis });
        check(delay(0, 90_000), "2013-05-31T12:01:30Z");
        check(delay(1, 0), "2013-06-30T12:00:00Z");
        check(delay(2, 0), "2013-06-30T12:00:00Z");
        check(delay(u32::MAX, u64::MAX), "2013-06-30T12:00:00Z");
        check(Trpdt::TimeOfDay(hours(13)), "2013-05-31T13:00:00Z");
        check(Trpdt::TimeOfDay(hours(11)), "2013-05-31T11:00:00Z");
        check(Trpdt::TimeOfDay(hours(1)), "2013-05-31T01:00:00Z");
        check(Trpdt::At(Timestamp(7)), "1970-01-01T00:00:00.007Z");
        let late = Timestamp::parse("2013-05-31T23:30:00Z").unwrap();
        assert_eq!(Trpdt::TimeOfDay(hours(1)).deadline(late).to_string(), "2013-06-01T01:00:00Z");
        let early = Timestamp::parse("2013-05-31T00:30:00Z").unwrap();
        assert_eq!(Trpdt::TimeOfDay(hours(23)).deadline(early).to_string(), "2013-05-30T23:00:00Z");
    }

    #[test]
    fn categories_are_eight() {
        assert_eq!(Rcat::named("RCAT_7").map(Rcat::number), Some(7));
        for wrong in ["RCAT_8", "RCAT_", "RCAT_07", "7", ""] {
            assert_eq!(Rcat::named(wrong), None, "{wrong}");
        }
        assert_eq!(Rcat::new(8), None);
        assert!(Rcat::ALL.iter().enumerate().all(|(at, rcat)| usize::from(rcat.number()) == at));
    }
}
