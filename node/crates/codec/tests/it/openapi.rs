//! docs/openapi.json: the HTTP interface as OpenAPI 3.1, made of the tables alone and compared with the file.
//!
//! The tree has no end (a container may hold subcontainers, parameters may hold parameters); a path here passes each
//! type once. Management objects and parameters stand for all that specialise them.

mod paths;
mod schemas;

use crate::sample::{self, Extent};
use banyan_codec::{Format, encode_body};
use banyan_model::{Body, ResourceType};
use boon::{Compiler, Schemas};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, fs, path::PathBuf};

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../docs/openapi.json")
}

fn description() -> Json {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Banyan, an ETSI M2M Service Capability Layer",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "see LICENSE", "url": "https://spdx.org/licenses/"},
            "description": "The resource tree of ETSI TS 102 690 over HTTP (TS 102 921 annex C). Bodies are XML by \
                the schemas of V2.1.1 or the JSON described here; a contentInstance may be sent and read as its bare \
                content in any media type. Generated from the tables of the model; what a method answers besides \
                success stands once in each operation.",
        },
        "servers": [{
            "url": "http://{authority}{sclBase}",
            "variables": {
                "authority": {"default": "localhost:8080"},
                "sclBase": {"default": "/m2m", "description": "The path of sclBase, set when the cluster is founded."},
            },
        }],
        "security": [{"from": []}, {"basic": []}, {"bearer": []}],
        "paths": paths::all(),
        "components": {
            "securitySchemes": {
                "from": {"type": "apiKey", "in": "header", "name": "From",
                    "description": "The requestingEntity (C.2.3). Believed alone only by an open edge."},
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "parameters": paths::parameters(),
            "responses": paths::responses(),
            "schemas": schemas::all(),
        },
    })
}

#[test]
fn the_description_is_the_one_of_the_tables() {
    let written = text(&description());
    if std::env::var("BANYAN_GOLDEN").is_ok_and(|value| value == "rewrite") {
        fs::write(file(), &written).expect("docs is writable");
    }
    let golden = fs::read_to_string(file()).unwrap_or_else(|error| panic!("docs/openapi.json: {error}"));
    assert!(
        written == golden,
        "docs/openapi.json is not what the tables say: BANYAN_GOLDEN=rewrite writes it anew"
    );
}

/// JSON with a line for each thing that a reader or a diff looks for: three levels deep, the rest in one line.
fn text(whole: &Json) -> String {
    fn write(out: &mut String, value: &Json, depth: usize) {
        let Json::Object(members) = value else { return out.push_str(&value.to_string()) };
        if depth == 3 || members.is_empty() {
            return out.push_str(&value.to_string());
        }
        let indent = " ".repeat(depth + 1);
        for (at, (name, member)) in members.iter().enumerate() {
            out.push_str(if at == 0 { "{\n" } else { ",\n" });
            out.push_str(&indent);
            out.push_str(&json!(name).to_string());
            out.push_str(": ");
            write(out, member, depth + 1);
        }
        out.push('\n');
        out.push_str(&indent[1..]);
        out.push('}');
    }
    let mut out = String::new();
    write(&mut out, whole, 0);
    out.push('\n');
    out
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_is_named_once() {
    let whole = description();
    let (mut references, mut operations) = (Vec::new(), Vec::new());
    visit(&whole, &mut |key, value| match (key, value) {
        ("$ref", Json::String(to)) => references.push(to.clone()),
        ("operationId", Json::String(id)) => operations.push(id.clone()),
        _ => {}
    });
    assert!(references.len() > 1_000 && operations.len() > 100, "{} {}", references.len(), operations.len());
    for to in references {
        let pointer = to.strip_prefix('#').unwrap_or_else(|| panic!("{to} is not here"));
        assert!(whole.pointer(pointer).is_some(), "{to}");
    }
    let distinct: BTreeSet<&String> = operations.iter().collect();
    assert_eq!(distinct.len(), operations.len(), "an operationId stands twice");
    for (path, item) in whole["paths"].as_object().expect("paths") {
        let declared = item["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(path.matches('{').count(), declared, "{path}");
    }
}

/// The JSON that this SCL writes keeps the schemas that it publishes: for every type, with every attribute.
#[test]
fn what_is_written_keeps_the_published_schemas() {
    let mut compiler = Compiler::new();
    compiler.add_resource("http://banyan/openapi.json", description()).expect("one document");
    let mut compiled = Schemas::new();
    for resource_type in sample::types() {
        let name = resource_type.name();
        let schema = compiler
            .compile(&format!("http://banyan/openapi.json#/components/schemas/{name}"), &mut compiled)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut whole = sample::representation(resource_type, Extent::Full);
        // The pattern of its type admits no boolean (tables/README.md, doubt 6): the sample leaves it out.
        if resource_type == ResourceType::CapabilityInstance {
            whole.set("attached", banyan_model::Value::Bool(true));
        }
        let document = encode_body(Format::Json, &Body::Representation(whole)).expect("a document");
        let mut document: Json = serde_json::from_slice(&document).expect("JSON");
        compiled.validate(&document, schema).unwrap_or_else(|error| panic!("{name}: {error}\n{document}"));
        // And the check can fail.
        document[name]["noSuchAttribute"] = json!(1);
        let open = schemas::is_open(resource_type.def().attributes.iter().map(|a| &a.field));
        assert_eq!(compiled.validate(&document, schema).is_ok(), open, "{name} takes what it does not have");
    }
}

fn visit(value: &Json, see: &mut impl FnMut(&str, &Json)) {
    match value {
        Json::Object(members) => members.iter().for_each(|(key, value)| {
            see(key, value);
            visit(value, see);
        }),
        Json::Array(items) => items.iter().for_each(|item| visit(item, see)),
        _ => {}
    }
}
