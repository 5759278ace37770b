//! What is written, byte for byte, for the types served so far and for every message body.
//!
//! After a wanted change of the wire format:
//! `BANYAN_GOLDEN=rewrite cargo test -p banyan-codec --test it golden`, then read the difference before committing it.

use crate::{
    sample::{self, Extent},
    schema_check::validate,
};
use banyan_codec::{Expect, Format, Limits, decode, encode_body};
use banyan_model::{Body, ResourceType};
use std::{collections::BTreeSet, fs, path::PathBuf};

const TYPES: &[ResourceType] = &[
    ResourceType::SclBase,
    ResourceType::Scls,
    ResourceType::Scl,
    ResourceType::Applications,
    ResourceType::Application,
    ResourceType::AccessRights,
    ResourceType::AccessRight,
    ResourceType::Containers,
    ResourceType::Container,
    ResourceType::ContentInstances,
    ResourceType::ContentInstance,
    ResourceType::Subscriptions,
    ResourceType::Subscription,
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn bodies() -> Vec<(String, Body)> {
    let mut bodies = Vec::new();
    for (extent, suffix) in [(Extent::Full, "full"), (Extent::Minimal, "minimal")] {
        for &t in TYPES {
            bodies.push((
                format!("{}.{suffix}", t.name()),
                Body::Representation(sample::representation(t, extent)),
            ));
        }
        for def in sample::messages() {
            bodies.push((
                format!("{}.{suffix}", def.root_element),
                Body::Message(sample::message(def, extent)),
            ));
        }
    }
    bodies
}

#[test]
fn golden_files_are_written_and_read_byte_for_byte() {
    let rewrite = std::env::var("BANYAN_GOLDEN").is_ok_and(|v| v == "rewrite");
    let mut expected_files = BTreeSet::new();
    for (name, body) in bodies() {
        for (format, extension) in [(Format::Xml, "xml"), (Format::Json, "json")] {
            let file = folder().join(format!("{name}.{extension}"));
            let mut written = encode_body(format, &body).expect("a document").to_vec();
            // Text files end in a line end; the wire does not.
            written.push(b'\n');
            if rewrite {
                fs::write(&file, &written).expect("the golden folder is writable");
            }
            let golden = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert_eq!(
                String::from_utf8_lossy(&written),
                String::from_utf8_lossy(&golden),
                "{}",
                file.display()
            );
            assert_eq!(decode(format, &golden, &Limits::default(), Expect::Any), body, "{}", file.display());
            expected_files.insert(file.file_name().expect("a file").to_owned());
        }
    }
    let files: BTreeSet<_> =
        fs::read_dir(folder()).expect("readable").map(|f| f.expect("readable").file_name()).collect();
    assert_eq!(files, expected_files, "the folder holds exactly the golden files");
}

#[test]
fn golden_xml_is_valid_by_the_schemas() {
    let files = fs::read_dir(folder()).expect("readable").map(|f| f.expect("readable").path());
    let mut documents: Vec<(String, Vec<u8>)> = files
        .filter(|path| path.extension().is_some_and(|e| e == "xml"))
        .map(|path| {
            (
                path.file_stem().expect("a file").to_string_lossy().into_owned(),
                fs::read(&path).expect("readable"),
            )
        })
        .collect();
    documents.sort();
    validate(documents.iter().map(|(name, text)| (name.clone(), text.as_slice())));
}

#[test]
fn full_and_minimal_xml_of_every_type_is_valid_by_the_schemas() {
    let mut documents = Vec::new();
    for (extent, suffix) in [(Extent::Full, "full"), (Extent::Minimal, "minimal")] {
        for t in sample::types() {
            let body = Body::Representation(sample::representation(t, extent));
            documents.push((
                format!("{}-{suffix}", t.name()),
                encode_body(Format::Xml, &body).expect("a document"),
            ));
        }
    }
    validate(documents.iter().map(|(name, text)| (name.clone(), text.as_ref())));
}
