use super::*;
use banyan_model::tables::{FieldKind, Namespace};
use proptest::prelude::*;

fn field(shape: Shape, xsd_type: &'static str, facet: &'static str) -> FieldDef {
    FieldDef {
        name: "it",
        kind: FieldKind::Element,
        namespace: Namespace::M2m,
        shape,
        xsd_type,
        min: 0,
        max: Some(1),
        choice: "",
        facet,
        v1: None,
    }
}

/// What a text becomes when it is read and written again, or why not.
fn through(field: &FieldDef, text: &str) -> String {
    match read(field, text) {
        Ok(value) => {
            let mut out = String::new();
            write(&mut out, field, &value);
            out
        }
        Err(why) => format!("error: {why}"),
    }
}

#[track_caller]
fn check(field: FieldDef, pairs: &[(&str, &str)]) {
    for (text, expected) in pairs {
        assert_eq!(through(&field, text), *expected, "{text:?}");
    }
}

#[test]
fn durations_are_read_in_both_editions_forms_and_written_in_the_shortest() {
    const NO: &str = "error: not an xs:duration";
    check(
        field(Shape::Duration, "xs:duration", ""),
        &[
            ("P7D", "P7D"),
            ("PT10M", "PT10M"),
            ("P1Y2M3DT4H5M6.789S", "P1Y2M3DT4H5M6.789S"),
            ("P14M", "P1Y2M"),
            ("PT90M", "PT1H30M"),
            ("PT36H", "P1DT12H"),
            ("PT0.5S", "PT0.5S"),
            ("PT1H0.05S", "PT1H0.05S"),
            ("-P1D", "-P1D"),
            ("-PT0S", "PT0S"),
            (" P1M ", "P1M"),
            ("604800", "P7D"),
            ("0", "PT0S"),
            ("", NO),
            ("P", NO),
            ("PT", NO),
            ("P1DT", NO),
            ("P1H", NO),
            ("PT1D", NO),
            ("P1M1Y", NO),
            ("P1.5D", NO),
            ("PT.S", NO),
            ("PTS", NO),
            ("P1Y1Y", NO),
            ("-5", NO),
            ("P-1D", NO),
            ("P99999999999Y", NO),
            ("PT99999999999999999999S", NO),
        ],
    );
}

#[test]
fn date_times_are_written_in_utc() {
    const NO: &str = "error: not an xs:dateTime";
    check(
        field(Shape::Datetime, "xs:dateTime", ""),
        &[
            ("2013-06-02T00:00:00Z", "2013-06-02T00:00:00Z"),
            ("2013-06-02T00:00:00", "2013-06-02T00:00:00Z"),
            ("2013-06-02T02:00:00+02:00", "2013-06-02T00:00:00Z"),
            ("2012-02-28T23:59:59.120-01:00", "2012-02-29T00:59:59.12Z"),
            ("\n 2013-06-02T00:00:00.123456789Z ", "2013-06-02T00:00:00.123Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("12013-06-02T00:00:00Z", "9999-12-31T23:59:59Z"),
            ("2013-06-02T24:00:00Z", "2013-06-03T00:00:00Z"),
            ("2013-06-02", NO),
            ("2013-06-02 00:00:00Z", NO),
            ("2013-06-02T00:00Z", NO),
            ("2013-02-29T00:00:00Z", NO),
            ("2013-13-01T00:00:00Z", NO),
            ("2013-06-02T25:00:00Z", NO),
            ("2013-06-02T00:00:00.Z", NO),
            ("2013-06-02T00:00:00Zulu", NO),
            ("2013-06-02T00:00:00+2", NO),
            ("2013-06-02T00:00:00+02:00[Europe/Paris]", NO),
            ("20130602T000000Z", NO),
            ("tomorrow", NO),
            ("", NO),
        ],
    );
}

#[test]
fn numbers_keep_to_the_width_of_their_type() {
    check(
        field(Shape::Long, "xs:long", ""),
        &[
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            (" +7 ", "7"),
            ("9223372036854775808", "error: out of range (-9223372036854775808 to 9223372036854775807)"),
            ("1.0", "error: not an integer"),
            ("1e3", "error: not an integer"),
            ("0x10", "error: not an integer"),
            ("", "error: not an integer"),
        ],
    );
    check(
        field(Shape::Long, "xs:unsignedLong", ""),
        &[
            ("18446744073709551615", "18446744073709551615"),
            ("-1", "error: out of range (0 to 18446744073709551615)"),
        ],
    );
    check(
        field(Shape::Long, "m2m:BatteryLevel", "min=0;max=100"),
        &[("100", "100"), ("101", "error: does not keep max=100"), ("-1", "error: does not keep min=0")],
    );
}

#[test]
fn binaries_are_read_with_white_space_and_without_padding() {
    check(
        field(Shape::Base64, "xs:base64Binary", ""),
        &[("PHQ+MjEuNTwvdD4=", "PHQ+MjEuNTwvdD4="), ("PHQ+\r\n  MjEuNTwvdD4", "PHQ+MjEuNTwvdD4="), ("", "")],
    );
    assert!(through(&field(Shape::Base64, "xs:base64Binary", ""), "a-_b").starts_with("error: not base64"));
    check(
        field(Shape::Hex, "xs:hexBinary", "length=2"),
        &[
            ("a5FF", "A5FF"),
            ("a5f", "error: not xs:hexBinary"),
            ("a5zz", "error: not xs:hexBinary"),
            ("a5", "error: does not keep length=2"),
        ],
    );
}

#[test]
fn enumerations_are_read_in_both_spellings_and_written_in_that_of_v2() {
    check(
        field(Shape::Enum("MgmtProtocolType"), "m2m:MgmtProtocolType", ""),
        &[
            ("OMA_DM", "OMA_DM"),
            ("OMA DM", "OMA_DM"),
            (" BBF TR 069\n", "BBF_TR069"),
            ("SNMP", "error: not one of OMA_DM, BBF_TR069"),
            ("", "error: not one of OMA_DM, BBF_TR069"),
        ],
    );
}

#[test]
fn names_and_short_strings_keep_their_facets() {
    check(
        field(Shape::String, "xs:NMTOKEN", ""),
        &[
            (" ci-0001 ", "ci-0001"),
            ("a b", "error: not an xs:NMTOKEN (letters, digits, '.', '-', '_', ':')"),
            ("a/b", "error: not an xs:NMTOKEN (letters, digits, '.', '-', '_', ':')"),
            ("", "error: not an xs:NMTOKEN (letters, digits, '.', '-', '_', ':')"),
        ],
    );
    check(
        field(Shape::String, "m2m:swVersion", "maxLength=3"),
        &[("é é", "é é"), ("1.20", "error: does not keep maxLength=3")],
    );
    check(
        field(Shape::Bool, "xs:boolean", ""),
        &[("1", "true"), ("false", "false"), ("TRUE", "error: not an xs:boolean (true, false, 1, 0)")],
    );
    check(
        field(Shape::Time, "xs:time", ""),
        &[
            ("12:30:00", "12:30:00"),
            ("12:30:00.5+01:00", "12:30:00.5+01:00"),
            ("12:30", "error: not an xs:time"),
            ("12:60:00", "error: not an xs:time"),
            ("25:00:00", "error: not an xs:time"),
        ],
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,30}", number in "[-+PTYMDHS0-9.:Z ]{0,20}") {
        for text in [text, number] {
            for shape in [
                Shape::Datetime, Shape::Time, Shape::Duration, Shape::Bool, Shape::Long, Shape::Hex, Shape::Base64,
                Shape::Uri, Shape::Enum("StatusCode"),
            ] {
                let _ = read(&field(shape, "xs:long", "min=1"), &text);
            }
        }
    }
}
