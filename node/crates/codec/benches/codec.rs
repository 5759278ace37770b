//! What a request pays for its representation: decode of a contentInstance POST of 256 octets, encode of the answer,
//! and the same for a container. `cargo bench -p banyan-codec`.

use banyan_codec::{Expect, Format, Limits, decode, encode_body};
use banyan_model::Body;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const DATA: &str = "PHQ+MjEuNTwvdD4=";

fn bodies() -> Vec<(&'static str, Format, String)> {
    let xml = |root: &str, inner: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<m2m:{root} xmlns:m2m=\"http://uri.etsi.org/m2m\" \
             xmlns:xmime=\"http://www.w3.org/2005/05/xmlmime\" m2m:id=\"ci-0001\">{inner}</m2m:{root}>"
        )
    };
    let text: String = "21.5 degrees at the north side of the house; ".chars().cycle().take(256).collect();
    let post = xml(
        "contentInstance",
        &format!(
            "<m2m:content xmime:contentType=\"text/plain\"><m2m:textContent>{text}</m2m:textContent></m2m:content>"
        ),
    );
    let instance = xml(
        "contentInstance",
        &format!(
            "<m2m:creationTime>2013-05-31T12:02:00.123Z</m2m:creationTime>\
         <m2m:lastModifiedTime>2013-05-31T12:02:00.123Z</m2m:lastModifiedTime>\
         <m2m:searchStrings><m2m:searchString>unit/celsius</m2m:searchString></m2m:searchStrings>\
         <m2m:contentTypes><m2m:contentType>application/xml</m2m:contentType></m2m:contentTypes>\
         <m2m:contentSize>11</m2m:contentSize><m2m:content xmime:contentType=\"application/xml\">\
         <m2m:binaryContent>{DATA}</m2m:binaryContent></m2m:content>"
        ),
    );
    let container = xml(
        "container",
        "<m2m:expirationTime>2013-06-01T12:00:00Z</m2m:expirationTime>\
         <m2m:searchStrings><m2m:searchString>type/temperature</m2m:searchString></m2m:searchStrings>\
         <m2m:creationTime>2013-05-31T12:01:00Z</m2m:creationTime>\
         <m2m:lastModifiedTime>2013-05-31T12:01:00Z</m2m:lastModifiedTime>\
         <m2m:announceTo><m2m:activated>false</m2m:activated><m2m:sclList/></m2m:announceTo>\
         <m2m:maxNrOfInstances>50</m2m:maxNrOfInstances><m2m:maxByteSize>1000000</m2m:maxByteSize>\
         <m2m:maxInstanceAge>P7D</m2m:maxInstanceAge>\
         <m2m:contentInstancesReference>/m2m/applications/m/containers/D/contentInstances</m2m:contentInstancesReference>\
         <m2m:subcontainersReference>/m2m/applications/m/containers/D/subcontainers</m2m:subcontainersReference>\
         <m2m:subscriptionsReference>/m2m/applications/m/containers/D/subscriptions</m2m:subscriptionsReference>",
    );
    let mut bodies = Vec::new();
    for (name, text) in [("post_256", post), ("instance", instance), ("container", container)] {
        let body = read(Format::Xml, &text);
        let json = encode_body(Format::Json, &body).expect("a document");
        bodies.push((name, Format::Xml, text));
        bodies.push((name, Format::Json, String::from_utf8(json.to_vec()).expect("JSON is UTF-8")));
    }
    bodies
}

fn read(format: Format, text: &str) -> Body {
    let body = decode(format, text.as_bytes(), &Limits::default(), Expect::Any);
    assert!(matches!(body, Body::Representation(_)), "{body:?}");
    body
}

fn codec(criterion: &mut Criterion) {
    for (name, format, text) in bodies() {
        criterion.bench_function(&format!("decode/{name}/{format:?}"), |b| {
            b.iter(|| read(format, black_box(&text)))
        });
        let body = read(format, &text);
        criterion.bench_function(&format!("encode/{name}/{format:?}"), |b| {
            b.iter(|| encode_body(format, black_box(&body)));
        });
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
