//! When a network may be used: spans of time, and schedules in the form of cron (`minute hour day month weekday`).
//!
//! A schedule says minutes, in UTC, each from its first to its last millisecond. As in cron a day is said by the day of the
//! month or by the weekday where both are restricted. What cannot be read never opens.

use crate::{Timestamp, Value, time::civil, value::Struct};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// How far ahead an opening is looked for: 29 February comes once in eight years at worst.
const DAYS_AHEAD: i64 = 8 * 366 + 1;

/// A time of an `anpPolicy`: open in any of its parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    spans: Vec<(Timestamp, Timestamp)>,
    crons: Vec<Cron>,
}

/// The minutes that one scheduleString says, a bit for each number of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be of both, since one of them is not restricted.
    both: bool,
}

impl Schedule {
    /// Adds what a `schedItem` says.
    pub fn add(&mut self, item: &Struct) {
        for value in item.all("absTimeSpan") {
            let Value::Struct(span) = value else { continue };
            if let (Some(Value::Datetime(start)), Some(Value::Datetime(end))) =
                (span.get("startTime"), span.get("endTime"))
            {
                self.spans.push((*start, *end));
            }
        }
        for value in item.all("schedule") {
            let Value::Struct(schedule) = value else { continue };
            for string in schedule.all("scheduleString") {
                let text = match string {
                    Value::Struct(string) => string.text("#text"),
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                };
                self.crons.extend(text.and_then(Cron::parse));
            }
        }
    }

    /// Whether it is open.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.spans.iter().any(|(start, end)| *start <= at && at < *end)
            || self.crons.iter().any(|cron| cron.is_open(at))
    }

    /// When it is open next, now included; `None`: never that anybody would wait for.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let spans = self
            .spans
            .iter()
            .filter(|(start, end)| now < *end && start < end)
            .map(|(start, _)| now.max(*start));
        spans.chain(self.crons.iter().filter_map(|cron| cron.opens(now))).min()
    }
}

impl Cron {
    /// Reads `minute hour day month weekday`: each `*`, numbers, ranges and steps, with commas between. Sunday is 0 and 7.
    pub fn parse(text: &str) -> Option<Cron> {
        let mut fields = text.split_ascii_whitespace();
        let mut next = |least, most| field(fields.next()?, least, most);
        let (minutes, hours, days, months) = (next(0, 59)?, next(0, 23)?, next(1, 31)?, next(1, 12)?);
        let weekdays = next(0, 7)?;
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let mut words = text.split_ascii_whitespace();
        let is_any = |word: Option<&str>| word.is_some_and(|word| word.starts_with('*'));
        let both = is_any(words.nth(2)) || is_any(words.nth(1));
        fields.next().is_none().then_some(Cron { minutes, hours, days, months, weekdays, both })
    }

    /// Whether a time is in one of its minutes.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let minute = at.0.rem_euclid(DAY_MS) / MINUTE_MS;
        self.is_day(at.0.div_euclid(DAY_MS)) && has(self.hours, minute / 60) && has(self.minutes, minute % 60)
    }

    /// The first time of its minutes from `now` on.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) {
            return Some(now);
        }
        let (today, minute) = (now.0.div_euclid(DAY_MS), now.0.rem_euclid(DAY_MS) / MINUTE_MS);
        let later = (today + 1..=today + DAYS_AHEAD).map(|day| (day, 0));
        let days = std::iter::once((today, minute + 1)).chain(later);
        days.filter(|(day, _)| self.is_day(*day)).find_map(|(day, from)| {
            let minute = (from..24 * 60).find(|m| has(self.hours, m / 60) && has(self.minutes, m % 60))?;
            Some(Timestamp(day * DAY_MS + minute * MINUTE_MS))
        })
    }

    /// `day`: since 1970-01-01, a Thursday.
    fn is_day(&self, day: i64) -> bool {
        let (_, month, of_month) = civil(day);
        let (by_day, by_week) = (has(self.days, of_month), has(self.weekdays, (day + 4).rem_euclid(7)));
        has(self.months, month) && if self.both { by_day && by_week } else { by_day || by_week }
    }
}

fn has(set: u64, number: i64) -> bool {
    u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)).is_some_and(|bit| set & bit != 0)
}

fn field(text: &str, least: u32, most: u32) -> Option<u64> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten().filter(|number| (least..=most).contains(number))
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step_of(step, most)?),
            None => (part, 1),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (one, None) if part.contains('/') => (number(one)?, most),
            (one, None) => (number(one)?, number(one)?),
        };
        if from > to {
            return None;
        }
        (from..=to).step_by(step as usize).for_each(|number| set |= 1_u64 << number);
    }
    Some(set)
}

fn step_of(text: &str, most: u32) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|step| is_number && (1..=most).contains(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[track_caller]
    fn check(cron: &str, now: &str, opens: Option<&str>) {
        let cron = Cron::parse(cron).unwrap();
        assert_eq!(cron.opens(at(now)).map(|at| at.to_string()).as_deref(), opens, "{cron:?}");
    }

    #[test]
    fn a_schedule_opens_at_its_next_minute() {
        let now = "2013-05-31T12:07:30Z"; // a Friday
        check("* * * * *", now, Some(now));
        check("7 12 * * *", now, Some(now));
        check("0 2 * * *", now, Some("2013-06-01T02:00:00Z"));
        check("*/15 * * * *", now, Some("2013-05-31T12:15:00Z"));
        check("0 22-23,0-5 * * 1-5", now, Some("2013-05-31T22:00:00Z"));
        check("0 0 * * 7", now, Some("2013-06-02T00:00:00Z"));
        check("0 0 1 1 *", now, Some("2014-01-01T00:00:00Z"));
        check("0 0 29 2 *", now, Some("2016-02-29T00:00:00Z"));
        check("0 0 30 2 *", now, None);
        // Both days restricted: either will do.
        check("0 0 15 * 1", now, Some("2013-06-03T00:00:00Z"));
    }

    #[test]
    fn what_is_no_schedule_is_none() {
        for wrong in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "+1 * * * *",
        ] {
            assert_eq!(Cron::parse(wrong), None, "{wrong}");
        }
    }

    fn cron() -> impl Strategy<Value = String> {
        let of = |least: u32, most: u32| {
            prop_oneof![
                3 => Just("*".to_owned()),
                2 => (least..=most).prop_map(|n| n.to_string()),
                1 => (least..=most, least..=most).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
                1 => (1..=most).prop_map(|step| format!("*/{step}")),
            ]
        };
        (of(0, 59), of(0, 23), of(1, 31), of(1, 12), of(0, 7))
            .prop_map(|(minute, hour, day, month, week)| format!("{minute} {hour} {day} {month} {week}"))
    }

    proptest! {
        #[test]
        fn the_next_opening_is_open_and_nothing_before_it_is(text in cron(), now in 0_i64..4_000_000_000_000) {
            let (cron, now) = (Cron::parse(&text).unwrap(), Timestamp(now));
            match cron.opens(now) {
                None => prop_assert!(!cron.is_open(now)),
                Some(opens) => {
                    prop_assert!(opens >= now && cron.is_open(opens));
                    prop_assert!(opens == now || !cron.is_open(Timestamp(opens.0 - 1)));
                    // Minute by minute, as far as one has patience.
                    let minutes = (opens.0 - now.0) / MINUTE_MS;
                    for minute in 0..minutes.min(3_000) {
                        prop_assert!(!cron.is_open(Timestamp(now.0 + minute * MINUTE_MS)));
                    }
                }
            }
        }

        #[test]
        fn spans_and_schedules_open_when_one_of_them_does(
            spans in prop::collection::vec((0_i64..1_000, 0_i64..1_000), 0..4), now in 0_i64..1_000,
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(a, b)| (Timestamp(a), Timestamp(b))).collect();
            let schedule = Schedule { spans, crons: Vec::new() };
            let naive = (now..1_000).find(|at| schedule.is_open(Timestamp(*at)));
            prop_assert_eq!(schedule.opens(Timestamp(now)), naive.map(Timestamp));
        }
    }
}
