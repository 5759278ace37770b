//! The bodies the project wrote after the standard (`../shared/etsi/samples/written`) are read and written again.

use crate::schema_check::{shared, validate};
use banyan_codec::{Expect, Format, Limits, decode, encode_body};
use banyan_model::Body;
use std::fs;

const XMIME: &str = " xmlns:xmime=\"http://www.w3.org/2005/05/xmlmime\"";

#[test]
fn samples_are_read_and_written_again() {
    let Some(folder) = shared("etsi/samples/written") else { return };
    let mut documents = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("UTF-8");
        let body = decode(Format::Xml, text.as_bytes(), &Limits::default(), Expect::Any);
        assert!(matches!(body, Body::Representation(_) | Body::Message(_)), "{name}: {body:?}");
        let xml = encode_body(Format::Xml, &body).expect("a document");
        // The V1 content is written as V2; everything else comes out as it stood, without the layout.
        if !name.ends_with("_v1") {
            let (xml, mut text) = (String::from_utf8_lossy(&xml), without_layout(&text));
            if !xml.contains(XMIME) {
                // 17 declares a prefix that it does not use.
                text = text.replace(XMIME, "");
            }
            assert_eq!(xml, text, "{name}");
        }
        let json = encode_body(Format::Json, &body).expect("a document");
        assert_eq!(decode(Format::Json, &json, &Limits::default(), Expect::Any), body, "{name}");
        documents.push((name, xml));
    }
    assert!(documents.len() >= 20, "only {} samples", documents.len());
    validate(documents.iter().map(|(name, text)| (name.clone(), text.as_ref())));
}

/// The lines joined, but for the one after the XML declaration.
fn without_layout(text: &str) -> String {
    let (declaration, rest) = text.split_once('\n').expect("the declaration has its line");
    format!("{declaration}\n{}", rest.lines().map(str::trim_start).collect::<String>())
}
