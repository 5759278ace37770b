//! Points and spans of time, as numbers. Nothing here reads a clock.

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

impl Timestamp {
    /// Reads an xsd:dateTime. A time without zone is taken as UTC.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Some(Timestamp(at.as_millisecond()));
        }
        let zoneless: jiff::Timestamp = format!("{text}Z").parse().ok()?;
        Some(Timestamp(zoneless.as_millisecond()))
    }

    /// This much later (or earlier), months by the calendar in UTC as XML Schema adds them. `None` out of range.
    pub fn checked_add(self, span: XsdDuration) -> Option<Timestamp> {
        let utc = jiff::tz::Offset::UTC;
        let start = utc.to_datetime(jiff::Timestamp::from_millisecond(self.0).ok()?);
        let months = jiff::Span::new().try_months(i64::from(span.months)).ok()?;
        let months = if span.negative { months.negate() } else { months };
        let at = utc.to_timestamp(start.checked_add(months).ok()?).ok()?.as_millisecond();
        let millis = i64::try_from(span.millis).ok()?;
        let millis = if span.negative { -millis } else { millis };
        at.checked_add(millis).map(Timestamp)
    }
}

impl fmt::Display for Timestamp {
    /// UTC with `Z`, milliseconds only where they are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => f.write_str("9999-12-31T23:59:59Z"),
        }
    }
}
