//! Simple values as text: the lexical forms of XML Schema, shared by XML and by JSON strings.

mod uri;

use crate::{Edition, collect::Why};
use banyan_model::{
    Timestamp, Value,
    saf::Trpdt,
    tables::{self, FieldDef, Shape, V1Def},
    time::{XsdDuration, time_of_day},
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use std::fmt::Write as _;

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a simple value: the shapes that are one text. White space around anything but xs:string carries no meaning.
pub(crate) fn read(field: &FieldDef, text: &str) -> Result<Value, Why> {
    let value = match field.shape {
        Shape::String if !matches!(field.xsd_type, "xs:NMTOKEN" | "xs:token") => Value::Text(text.to_owned()),
        shape => {
            let text = text.trim_matches(is_space);
            match shape {
                Shape::String | Shape::Uri => Value::Text(string(field, text)?),
                Shape::Enum(name) => Value::Text(enumeration(name, text)?.to_owned()),
                Shape::Datetime => Value::Datetime(Timestamp::parse(text).ok_or("not an xs:dateTime")?),
                Shape::Time if is_time(text) => Value::Text(text.to_owned()),
                Shape::Time => return Err("not an xs:time".into()),
                Shape::Duration => Value::Duration(duration(text).ok_or("not an xs:duration")?),
                Shape::Bool => Value::Bool(boolean(text).ok_or("not an xs:boolean (true, false, 1, 0)")?),
                Shape::Long => Value::Long(integer(field, text)?),
                Shape::Hex => binary(hex(text).ok_or("not xs:hexBinary")?),
                Shape::Base64 => binary(base64(text)?),
                // Compound shapes never come here; the readers take them apart first.
                _ => return Err("not a simple value".into()),
            }
        }
    };
    facets(field, &value)?;
    Ok(value)
}

/// Writes a simple value; compound ones write nothing.
pub(crate) fn write(out: &mut String, field: &FieldDef, value: &Value) {
    // Writing to a String does not fail.
    let _ = match value {
        Value::Text(text) => out.write_str(text),
        Value::Datetime(at) => write!(out, "{at}"),
        Value::Duration(duration) => write_duration(out, *duration),
        Value::Bool(true) => out.write_str("true"),
        Value::Bool(false) => out.write_str("false"),
        Value::Long(n) if field.xsd_type == "xs:unsignedLong" => write!(out, "{}", n.cast_unsigned()),
        Value::Long(n) => write!(out, "{n}"),
        Value::Binary { bytes, .. } if field.shape == Shape::Hex => {
            bytes.iter().try_for_each(|b| write!(out, "{b:02X}"))
        }
        Value::Binary { bytes, .. } => {
            write_base64(out, bytes);
            Ok(())
        }
        _ => Ok(()),
    };
}

/// Writes a simple value as an edition has it: a duration that V1 gives in seconds (D-27).
pub(crate) fn write_in(out: &mut String, edition: Edition, field: &FieldDef, value: &Value) {
    match (edition, field.v1, value) {
        (Edition::V1, Some(V1Def { xsd_type: "xs:long", .. }), Value::Duration(duration)) => {
            // A month has no number of seconds: 30 days.
            const MONTH: u64 = 30 * 86_400;
            let seconds = u64::from(duration.months).saturating_mul(MONTH) + duration.millis.div_ceil(1_000);
            // Writing to a String does not fail.
            let _ = write!(out, "{}{seconds}", if duration.negative { "-" } else { "" });
        }
        _ => write(out, field, value),
    }
}

/// Whether XML 1.0 can carry this text: no control characters but tab and line ends, no U+FFFE and U+FFFF.
pub(crate) fn is_xml_text(text: &str) -> bool {
    let control = |b: u8| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r');
    !text.bytes().any(control) && !text.contains(['\u{FFFE}', '\u{FFFF}'])
}

/// XML's white space, which is narrower than Unicode's.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// Whether this may be the local part of an element's or attribute's name (Namespaces in XML 1.0, NCName).
pub(crate) fn is_ncname(name: &str) -> bool {
    name.starts_with(is_name_start) && name.chars().all(is_name_char)
}

fn is_name_start(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Standard alphabet; white space (ONG wraps at 76) is dropped first.
pub(crate) fn base64(text: &str) -> Result<Vec<u8>, Why> {
    let decoded = if text.contains(is_space) {
        BASE64.decode(text.split(is_space).collect::<String>())
    } else {
        BASE64.decode(text)
    };
    decoded.map_err(|e| format!("not base64: {e}").into())
}

pub(crate) fn write_base64(out: &mut String, bytes: &[u8]) {
    BASE64.encode_string(bytes, out);
}

fn binary(bytes: Vec<u8>) -> Value {
    Value::Binary { content_type: None, bytes: Bytes::from(bytes) }
}

fn string(field: &FieldDef, text: &str) -> Result<String, Why> {
    let is_nmtoken = |text: &str| !text.is_empty() && text.chars().all(|c| c == ':' || is_name_char(c));
    if field.xsd_type == "xs:NMTOKEN" && !is_nmtoken(text) {
        return Err("not an xs:NMTOKEN (letters, digits, '.', '-', '_', ':')".into());
    }
    if field.xsd_type == "xs:anyURI" && !uri::is_any_uri(text) {
        return Err("not an xs:anyURI".into());
    }
    Ok(text.to_owned())
}

/// The V2.1.1 spelling of a value given in either.
fn enumeration(name: &str, text: &str) -> Result<&'static str, Why> {
    let values = tables::enum_def(name).map_or(&[][..], |e| e.values);
    let found = values.iter().find(|(v2, v1)| *v2 == text || (!v1.is_empty() && *v1 == text));
    found.map(|(v2, _)| *v2).ok_or_else(|| {
        let known: Vec<&str> = values.iter().map(|(v2, _)| *v2).collect();
        format!("not one of {}", known.join(", ")).into()
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// An integer within the width of its xsd_type. xs:unsignedLong keeps its 64 bits in the i64.
fn integer(field: &FieldDef, text: &str) -> Result<i64, Why> {
    let number: i128 = text.parse().map_err(|_| "not an integer")?;
    let (min, max) = match field.xsd_type {
        "xs:unsignedLong" => (0, i128::from(u64::MAX)),
        "xs:unsignedInt" => (0, i128::from(u32::MAX)),
        "xs:short" => (i128::from(i16::MIN), i128::from(i16::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    if !(min..=max).contains(&number) {
        return Err(format!("out of range ({min} to {max})").into());
    }
    // The wrap is what unsignedLong wants; every other type is within i64 by the check above.
    Ok(number as i64)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// The facets of the tables. `pattern` is not applied: of the two that exist one refuses every value of its own type
/// (tables/README.md, doubt 6).
fn facets(field: &FieldDef, value: &Value) -> Result<(), Why> {
    for facet in field.facet.split(';').filter(|f| !f.is_empty()) {
        let Some((name, Ok(bound))) = facet.split_once('=').map(|(name, bound)| (name, bound.parse::<i64>()))
        else {
            continue;
        };
        let length = match value {
            Value::Text(text) => text.chars().count() as i64,
            Value::Binary { bytes, .. } => bytes.len() as i64,
            Value::Long(n) => *n,
            _ => continue,
        };
        let holds = match name {
            "min" => length >= bound,
            "max" | "maxLength" => length <= bound,
            "length" => length == bound,
            _ => true,
        };
        if !holds {
            return Err(format!("does not keep {facet}").into());
        }
    }
    Ok(())
}

/// Reads a TRPDT: tolerableDelay (xsd:duration, or a number of seconds as V1 has them), tolerableTime (xsd:time), or a
/// point in time (xsd:dateTime).
pub fn tolerated_delay(text: &str) -> Option<Trpdt> {
    if let Some(delay) = duration(text) {
        return (!delay.negative).then_some(Trpdt::After(delay));
    }
    match is_time(text) {
        true => time_of_day(text).map(Trpdt::TimeOfDay),
        false => Timestamp::parse(text).map(Trpdt::At),
    }
}

/// The same as text.
pub fn write_tolerated_delay(trpdt: Trpdt) -> String {
    match trpdt {
        Trpdt::At(at) => at.to_string(),
        Trpdt::TimeOfDay(ms) => {
            let seconds = ms / 1_000;
            format!("{:02}:{:02}:{:02}.{:03}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60, ms % 1_000)
        }
        Trpdt::After(delay) => {
            let mut text = String::new();
            // A String takes all.
            let _ = write_duration(&mut text, delay);
            text
        }
    }
}

/// `hh:mm:ss(.s+)?(Z|+hh:mm|-hh:mm)?` by form.
fn is_time(text: &str) -> bool {
    let pair = |text: &str, max: u8| {
        text.len() == 2 && is_digits(text) && text.parse::<u8>().is_ok_and(|n| n <= max)
    };
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, "Z"),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let mut next = |max| parts.next().is_some_and(|p| pair(p, max));
    let is_clock = next(24) && next(59) && next(60) && parts.next().is_none();
    let is_zone = zone == "Z"
        || zone
            .strip_prefix(['+', '-'])
            .and_then(|z| z.split_once(':'))
            .is_some_and(|(h, m)| pair(h, 14) && pair(m, 59));
    is_clock && is_zone && !fraction.is_empty() && is_digits(fraction)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// `PnYnMnDTnHnMnS`; a bare number is V1's form of maxInstanceAge: seconds.
fn duration(text: &str) -> Option<XsdDuration> {
    if !text.is_empty() && is_digits(text) {
        let millis = text.parse::<u64>().ok()?.checked_mul(1000)?;
        return Some(XsdDuration { negative: false, months: 0, millis });
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (date, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text.strip_prefix('P')?, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let [years, months, days] = amounts(date, ['Y', 'M', 'D'])?;
    let (time, seconds) = match time.strip_suffix('S') {
        // The seconds are what stands after the last other unit.
        Some(rest) => {
            let at = rest.rfind(['H', 'M']).map_or(0, |at| at + 1);
            (&rest[..at], Some(&rest[at..]))
        }
        None => (time, None),
    };
    let [hours, minutes, _] = amounts(time, ['H', 'M', '\0'])?;
    let seconds = seconds.map_or(Some(0), milliseconds)?;

    let months = u32::try_from(years.checked_mul(12)?.checked_add(months)?).ok()?;
    let minutes = days.checked_mul(24)?.checked_add(hours)?.checked_mul(60)?.checked_add(minutes)?;
    let millis = minutes.checked_mul(60_000)?.checked_add(seconds)?;
    Some(XsdDuration { negative: negative && (months, millis) != (0, 0), months, millis })
}

/// `12Y3M` with units in this order, each at most once.
fn amounts(mut text: &str, units: [char; 3]) -> Option<[u64; 3]> {
    let mut found = [0; 3];
    for (amount, unit) in found.iter_mut().zip(units) {
        if let Some((digits, rest)) = text.split_once(unit)
            && is_digits(digits)
        {
            *amount = digits.parse().ok()?;
            text = rest;
        }
    }
    text.is_empty().then_some(found)
}

/// `12.345` seconds; what is finer than a millisecond is dropped.
fn milliseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !is_digits(fraction) || !is_digits(whole) {
        return None;
    }
    let fraction: String = fraction.chars().chain("00".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

fn write_duration(out: &mut String, duration: XsdDuration) -> std::fmt::Result {
    if (duration.months, duration.millis) == (0, 0) {
        return out.write_str("PT0S");
    }
    out.push_str(if duration.negative { "-P" } else { "P" });
    let seconds = duration.millis / 1000;
    let date = [
        (u64::from(duration.months / 12), 'Y'),
        (u64::from(duration.months % 12), 'M'),
        (seconds / 86_400, 'D'),
    ];
    for (amount, unit) in date.into_iter().filter(|(amount, _)| *amount > 0) {
        write!(out, "{amount}{unit}")?;
    }
    if duration.millis.is_multiple_of(86_400_000) {
        return Ok(());
    }
    out.push('T');
    for (amount, unit) in [(seconds / 3600 % 24, 'H'), (seconds / 60 % 60, 'M')] {
        if amount > 0 {
            write!(out, "{amount}{unit}")?;
        }
    }
    match (seconds % 60, duration.millis % 1000) {
        (0, 0) => Ok(()),
        (whole, 0) => write!(out, "{whole}S"),
        (whole, millis) => {
            write!(out, "{whole}.{millis:03}")?;
            out.truncate(out.trim_end_matches('0').len());
            out.write_char('S')
        }
    }
}

#[cfg(test)]
mod tests;
