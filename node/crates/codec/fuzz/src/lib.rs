//! What the targets of both formats ask: whatever is read is written again, in both formats, and read as the same.

use banyan_codec::{Edition, Expect, Format, Limits, Style, decode, encode_body};
use banyan_model::Body;

/// Reads octets as a body of `format`. Panics when what was read does not come back.
pub fn read(format: Format, octets: &[u8]) {
    let limits = Limits::default();
    let body = decode(format, octets, &limits, Expect::Any);
    if matches!(body, Body::None | Body::Malformed(_)) {
        return;
    }
    for format in [Format::Xml, Format::Json] {
        let Some(written) = encode_body(format, &body) else { continue };
        let again = decode(format, &written, &limits, Expect::Any);
        // What is longer or deeper when written out may pass a limit; all else must come back.
        if matches!(again, Body::Malformed(_)) && exceeds(&limits, &written) {
            continue;
        }
        // XML has fewer characters than JSON, and forms of content; once through, nothing changes any more.
        let settled = encode_body(format, &again).map(|written| decode(format, &written, &limits, Expect::Any));
        assert_eq!(settled.as_ref(), Some(&again), "{}", String::from_utf8_lossy(&written));
        let _ = encode_body(Style { format, edition: Edition::V1 }, &body);
    }
}

fn exceeds(limits: &Limits, written: &[u8]) -> bool {
    let opened = written.iter().filter(|octet| matches!(octet, b'<' | b'{' | b'[' | b',')).count();
    written.len() > limits.bytes_max || opened > limits.depth_max
}
