//! Input that means harm is refused, quickly, and never panics.

use crate::sample::{self, Extent};
use banyan_codec::{Expect, Format, Limits, decode, encode_body};
use banyan_model::{Body, ResourceType, StatusCode};
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[track_caller]
fn refused(format: Format, bytes: &[u8], word: &str) {
    let limits = Limits { bytes_max: 64 << 20, ..Limits::default() };
    let started = Instant::now();
    let body = decode(format, bytes, &limits, Expect::Any);
    let Body::Malformed(refusal) = body else { panic!("read as {body:?}") };
    assert_eq!(refusal.status, StatusCode::BadRequest, "{}", refusal.info);
    assert!(refusal.info.contains(word), "{} does not say {word}", refusal.info);
    assert!(refusal.info.len() < 600, "{} octets come back", refusal.info.len());
    // Generous for a loaded machine in a debug build; a quadratic reader takes minutes.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

fn xml(text: impl AsRef<[u8]>, word: &str) {
    refused(Format::Xml, text.as_ref(), word);
}

fn json(text: impl AsRef<[u8]>, word: &str) {
    refused(Format::Json, text.as_ref(), word);
}

#[test]
fn document_types_and_entities_are_refused() {
    xml(
        "<!DOCTYPE lolz [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><container><searchStrings>\
         <searchString>&b;</searchString></searchStrings></container>",
        "DOCTYPE",
    );
    xml("<!DOCTYPE c SYSTEM 'file:///etc/passwd'><container/>", "DOCTYPE");
    xml(
        "<container><searchStrings><searchString>&b;</searchString></searchStrings></container>",
        "entity 'b'",
    );
    xml("<container id='&b;'/>", "b");
    xml("<?xml-stylesheet href='http://example.org'?><container/>", "processing instructions");
    xml("<container><?php ?></container>", "processing instructions");
    xml("<container id='&#0;'/>", "not well-formed");
    xml(
        "<container><searchStrings><searchString>&#1;</searchString></searchStrings></container>",
        "character",
    );
    xml(
        "<container><searchStrings><searchString>\u{1}</searchString></searchStrings></container>",
        "character",
    );
}

#[test]
fn size_depth_and_number_are_bounded() {
    let big = vec![b' '; Limits::default().bytes_max + 1];
    for format in [Format::Xml, Format::Json] {
        let Body::Malformed(refusal) = decode(format, &big, &Limits::default(), Expect::Any) else {
            panic!()
        };
        assert_eq!(refusal.status, StatusCode::PayloadTooLarge);
    }
    xml("<mgmtObj xmlns:v='urn:v'>".to_owned() + &"<v:a>".repeat(1_000_000), "nested deeper than 32");
    xml("<application><locRequestor>".to_owned() + &"<a>".repeat(1_000_000), "nested deeper than 32");
    json("[".repeat(1_000_000), "nested deeper than 32");
    json("{\"a\":".repeat(1_000_000), "nested deeper than 32");

    let attributes: String = (0..1_000_000).map(|n| format!(" a{n}='1'")).collect();
    xml(format!("<container{attributes}/>"), "more than 64 attributes");
    let namespaces: String = (0..64).map(|n| format!(" xmlns:n{n}='urn:{n}'")).collect();
    xml(
        format!("<container{namespaces}><searchStrings xmlns:m='urn:m'/></container>"),
        "more than 64 namespaces",
    );
    let strings = "<searchString/>".repeat(1_000_000);
    xml(
        format!("<container><searchStrings>{strings}</searchStrings></container>"),
        "more than 65536 elements",
    );
    json(format!("{{\"container\":[{}0]}}", "0,".repeat(1_000_000)), "more than 65536 values");

    // A caller's own depth cannot take the reader's stack.
    let deep = Limits { depth_max: usize::MAX, ..Limits::default() };
    let text = "<application><locRequestor>".to_owned() + &"<a>".repeat(60_000);
    assert!(matches!(decode(Format::Xml, text.as_bytes(), &deep, Expect::Any), Body::Malformed(_)));
    assert!(matches!(
        decode(Format::Json, "[".repeat(60_000).as_bytes(), &deep, Expect::Any),
        Body::Malformed(_)
    ));
}

#[test]
fn many_repeated_things_are_read_in_linear_time() {
    let permission = "<permission><permissionFlags/><permissionHolders/></permission>".repeat(20_000);
    let text = format!("<accessRight><permissions>{permission}</permissions></accessRight>");
    let started = Instant::now();
    let body = decode(Format::Xml, text.as_bytes(), &Limits::default(), Expect::Any);
    assert!(matches!(body, Body::Representation(_)), "{body:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());

    let members: String = (0..60_000).map(|n| format!("\"m{n}\":0,")).collect();
    json(format!("{{\"container\":{{{members}\"m7\":0}}}}"), "m7: stands more than once");
}

#[test]
fn broken_documents_are_refused() {
    for text in [
        " ",
        "container",
        "<",
        "<container",
        "<container>",
        "<container><id>",
        "</container>",
        "<container></other>",
        "<container/>text",
        "text<container/>",
        "<container id='a' id='b'/>",
        "<container id=a/>",
        "<container id/>",
        "<m2m:container/>",
        "<container a:id='x'/>",
        "<container xmlns:a=''/>",
        "<container id='<'/>",
        "<container><!-- -- --></container>",
        "<container>&</container>",
        "<container>&#xD800;</container>",
        "<container><![CDATA[</container>",
        "<container/><?xml version='1.0'?>",
        "<?xml version='1.1'?><container/>",
        "<?xml version='1.0' encoding='ISO-8859-1'?><container/>",
        "<!-- only -->",
        "<xmlns:a xmlns:xmlns='urn:x'/>",
    ] {
        xml(text, "");
    }
    for text in [
        " ",
        "{",
        "{\"container\"",
        "{\"container\":",
        "{\"container\":{}",
        "{\"container\":{}}}",
        "nul",
        "\"",
        "{'a':1}",
    ] {
        json(text, "not acceptable JSON");
    }
    xml(b"<container id='\xC3\x28'/>", "not UTF-8");
    xml(b"\xFF\xFE<\0c\0/\0>\0", "not UTF-8");
    json(b"{\"container\":{\"id\":\"\xFF\"}}", "not UTF-8");
    xml("<?xml version='1.0' encoding='UTF-16'?><container/>", "only UTF-8");
}

#[test]
fn a_long_or_strange_name_does_not_come_back_whole() {
    xml(format!("<{}/>", "n".repeat(100_000)), "...");
    json(format!("{{\"{}\":1}}", "é".repeat(100_000)), "...");
    let Body::Malformed(refusal) = decode(Format::Json, b"{\"a\\r\\nb\":1}", &Limits::default(), Expect::Any)
    else {
        panic!()
    };
    assert!(!refusal.info.contains(['\r', '\n']), "{:?}", refusal.info);
}

#[test]
fn every_truncation_is_refused() {
    for format in [Format::Xml, Format::Json] {
        let body = Body::Representation(sample::representation(ResourceType::Subscription, Extent::Full));
        let document = encode_body(format, &body).expect("a document");
        for length in 1..document.len() {
            let read = decode(format, &document[..length], &Limits::default(), Expect::Any);
            assert!(matches!(read, Body::Malformed(_)), "{}", String::from_utf8_lossy(&document[..length]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// A changed document is read or refused; it never takes the reader down.
    #[test]
    fn no_change_of_a_document_makes_the_reader_panic(
        kind in 0..71_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
        is_xml in any::<bool>(),
    ) {
        let types: Vec<ResourceType> = sample::types().collect();
        let body = Body::Representation(sample::representation(types[kind % types.len()], Extent::Full));
        let format = if is_xml { Format::Xml } else { Format::Json };
        let mut document = encode_body(format, &body).expect("a document").to_vec();
        for (at, byte, what) in changes {
            let at = at.index(document.len());
            match what {
                0 => document[at] = byte,
                1 => document.insert(at, byte),
                _ => { document.remove(at); }
            }
        }
        let read = decode(format, &document, &Limits::default(), Expect::Any);
        // And what was read can be written again.
        if let Body::Representation(_) = &read {
            let again = encode_body(format, &read).expect("a document");
            prop_assert_eq!(decode(format, &again, &Limits::default(), Expect::Any), read);
        }
    }

    #[test]
    fn no_octets_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
        for format in [Format::Xml, Format::Json] {
            let _ = decode(format, &bytes, &Limits::default(), Expect::Any);
        }
    }
}
