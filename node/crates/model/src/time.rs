//! Points and spans of time, as numbers. Nothing here reads a clock.
//!
//! The calendar is the proleptic Gregorian one in UTC, from year 1 to year 9999: what a dateTime of four digits can say.
//! A dateTime outside of it is a valid one nevertheless, and is taken for the end that is nearest (`for ever`).

use std::fmt;

/// A point in time, milliseconds since 1970-01-01T00:00:00Z; xsd:dateTime on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

/// The time a leader stamped on a log entry; never goes back within a shard.
pub type LogTime = Timestamp;

/// xsd:duration, split as the schema's value space does: months and milliseconds do not convert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[allow(missing_docs)]
pub struct XsdDuration {
    pub negative: bool,
    pub months: u32,
    pub millis: u64,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Timestamp {
    /// 0001-01-01T00:00:00Z: earlier is not written.
    pub const FIRST: Timestamp = Timestamp(-62_135_596_800_000);
    /// 9999-12-31T23:59:59Z: later is not written.
    pub const LAST: Timestamp = Timestamp(253_402_300_799_000);

    /// Reads an xsd:dateTime, `YYYY-MM-DDThh:mm:ss(.s+)?(Z|+hh:mm|-hh:mm)?`. A time without zone is taken as UTC, what
    /// is finer than a millisecond is dropped, what is beyond `FIRST` and `LAST` is these.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (date, time) = text.trim().split_once('T')?;
        let (clock, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
        let (clock, offset) = (clock_millis(clock)?, zone_millis(zone)?);
        Some(match date_days(date)? {
            Day::Before => Timestamp::FIRST,
            Day::After => Timestamp::LAST,
            Day::Of(days) => Timestamp(days * DAY + clock - offset).clamp(Timestamp::FIRST, Timestamp::LAST),
        })
    }

    /// This much later (or earlier), months by the calendar in UTC as XML Schema adds them. `None` out of range.
    pub fn checked_add(self, span: XsdDuration) -> Option<Timestamp> {
        let signed = |amount: i64| if span.negative { -amount } else { amount };
        let millis = signed(i64::try_from(span.millis).ok()?);
        let (days, of_day) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let months = year * 12 + (month - 1) + signed(span.months.into());
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let days = days_of(year, month, day.min(last_day(year, month)));
        let at = days.checked_mul(DAY)?.checked_add(of_day)?.checked_add(millis).map(Timestamp)?;
        (Timestamp::FIRST..=Timestamp::LAST).contains(&at).then_some(at)
    }
}

/// Reads an xsd:time as milliseconds after midnight, UTC; 24:00:00 is midnight.
pub fn time_of_day(text: &str) -> Option<u32> {
    let (clock, zone) = text.split_at(text.find(['Z', '+', '-']).unwrap_or(text.len()));
    u32::try_from((clock_millis(clock)? - zone_millis(zone)?).rem_euclid(DAY)).ok()
}

impl fmt::Display for Timestamp {
    /// UTC with `Z`, milliseconds only where they are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timestamp(at) = (*self).clamp(Timestamp::FIRST, Timestamp::LAST);
        let (days, millis) = (at.div_euclid(DAY), at.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        // Written at once: an answer may hold two of these for each of thousands of instances.
        let mut text = *b"0000-00-00T00:00:00.000";
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, millis / HOUR),
            (14, 2, millis / MINUTE % 60),
            (17, 2, millis / 1000 % 60),
            (20, 3, millis % 1000),
        ];
        for (at, digits, mut number) in fields {
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        let text = std::str::from_utf8(&text).map_err(|_| fmt::Error)?;
        let text = if millis % 1000 == 0 { &text[..19] } else { text.trim_end_matches('0') };
        write!(f, "{text}Z")
    }
}

/// A day, or on which side of the calendar it is.
enum Day {
    Before,
    /// Since 1970-01-01.
    Of(i64),
    After,
}

/// `YYYY-MM-DD`, with any number of further digits and a sign before the year.
fn date_days(text: &str) -> Option<Day> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, pair(parts.next()?, 12)?, pair(parts.next()?, 31)?);
    let leads = year.len().checked_sub(4)?;
    let is_year = is_digits(year) && (leads == 0 || !year.starts_with('0'));
    if !is_year || parts.next().is_some() {
        return None;
    }
    // Ten thousand years are a whole number of leap cycles, so these four tell how long the month is.
    let in_cycle: i64 = year[leads..].parse().ok()?;
    if month == 0 || day == 0 || day > last_day(in_cycle, month) {
        return None;
    }
    Some(match (negative, leads) {
        (true, _) => Day::Before,
        (false, 0) => Day::Of(days_of(in_cycle, month, day)),
        (false, _) => Day::After,
    })
}

/// `hh:mm:ss(.s+)?`; 24:00:00 is the end of the day, a leap second is the one before it.
fn clock_millis(text: &str) -> Option<i64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) if !fraction.is_empty() && is_digits(fraction) => (clock, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (pair(parts.next()?, 24)?, pair(parts.next()?, 59)?);
    let second = pair(parts.next()?, 60)?.min(59);
    if parts.next().is_some() {
        return None;
    }
    let millis = fraction.bytes().chain(*b"000").take(3).fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
    let clock = hour * HOUR + minute * MINUTE + second * 1000 + millis;
    (clock <= DAY && (clock < DAY || fraction.bytes().all(|digit| digit == b'0'))).then_some(clock)
}

/// `Z`, `+hh:mm`, `-hh:mm` up to 14:00, or nothing.
fn zone_millis(text: &str) -> Option<i64> {
    if matches!(text, "" | "Z") {
        return Some(0);
    }
    let (hour, minute) = text.strip_prefix(['+', '-'])?.split_once(':')?;
    let offset = pair(hour, 14)? * HOUR + pair(minute, 59)? * MINUTE;
    let offset = (offset <= 14 * HOUR).then_some(offset)?;
    Some(if text.starts_with('-') { -offset } else { offset })
}

fn pair(text: &str, most: i64) -> Option<i64> {
    if text.len() != 2 || !is_digits(text) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= most)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn last_day(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date, Howard Hinnant's algorithm: years begin in March, so that the leap day is their
/// last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year, month and day of days since 1970-01-01: the way back.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_valid_date_time_is_read() {
        let read = |text: &str| Timestamp::parse(text).map(|at| at.to_string());
        for (text, expected) in [
            ("2013-06-02T02:00:00+02:00", "2013-06-02T00:00:00Z"),
            ("2013-06-02T00:00:00", "2013-06-02T00:00:00Z"),
            ("9999-12-30T22:00:01Z", "9999-12-30T22:00:01Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T24:00:00Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"),
            ("10000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
            ("123456789012345678901234567890-02-28T00:00:00Z", "9999-12-31T23:59:59Z"),
            ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"),
            ("-0044-03-15T12:00:00Z", "0001-01-01T00:00:00Z"),
            ("2012-02-28T24:00:00Z", "2012-02-29T00:00:00Z"),
            ("2013-12-31T24:00:00.000", "2014-01-01T00:00:00Z"),
            ("2000-02-29T00:00:00.1Z", "2000-02-29T00:00:00.1Z"),
            ("1969-12-31T23:59:59.0019999999999999999999999Z", "1969-12-31T23:59:59.001Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_time_is_refused() {
        for text in [
            "",
            "T",
            "2013-06-02",
            "2013-06-02 00:00:00Z",
            "2013-06-02T00:00Z",
            "2013-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2013-13-01T00:00:00Z",
            "2013-00-01T00:00:00Z",
            "2013-01-00T00:00:00Z",
            "2013-06-02T24:00:01Z",
            "2013-06-02T24:00:00.0001Z",
            "2013-06-02T25:00:00Z",
            "2013-06-02T00:00:00.Z",
            "2013-06-02T00:00:00+14:01",
            "2013-06-02T00:00:00+2",
            "02013-06-02T00:00:00Z",
            "213-06-02T00:00:00Z",
            "+2013-06-02T00:00:00Z",
            "10001-02-29T00:00:00Z",
            "2013-06-02T00:00:00é",
            "é013-06-02T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn whatever_is_written_is_read_as_the_same() {
        let day_by_day = (Timestamp::FIRST.0..=Timestamp::LAST.0).step_by(86_399_923 * 13);
        for at in day_by_day.chain([Timestamp::LAST.0, -1, 0, 1]).map(Timestamp) {
            assert_eq!(Timestamp::parse(&at.to_string()), Some(at), "{at}");
        }
        assert_eq!(Timestamp(i64::MAX).to_string(), Timestamp::LAST.to_string());
        assert_eq!(Timestamp(i64::MIN).to_string(), Timestamp::FIRST.to_string());
    }

    #[test]
    fn months_are_added_by_the_calendar() {
        let add = |text: &str, negative, months, millis| {
            let at = Timestamp::parse(text).unwrap();
            at.checked_add(XsdDuration { negative, months, millis }).map(|at| at.to_string())
        };
        for (text, negative, months, millis, expected) in [
            ("2013-01-31T10:00:00Z", false, 1, 1, Some("2013-02-28T10:00:00.001Z")),
            ("2012-03-31T00:00:00Z", true, 1, 0, Some("2012-02-29T00:00:00Z")),
            ("2013-11-30T00:00:00Z", false, 14, 0, Some("2015-01-30T00:00:00Z")),
            ("1970-01-01T00:00:00Z", true, 0, 1, Some("1969-12-31T23:59:59.999Z")),
            ("9999-12-31T23:59:59Z", false, 0, 1, None),
            ("2013-01-01T00:00:00Z", false, u32::MAX, 0, None),
            ("2013-01-01T00:00:00Z", false, 0, u64::MAX, None),
            ("0001-01-01T00:00:00Z", true, 1, 0, None),
        ] {
            assert_eq!(add(text, negative, months, millis).as_deref(), expected, "{text} {months} {millis}");
        }
    }
}
