//! Turns the ETSI tables (tables/*.csv) into Rust constants, so that codec, validation, documentation and tests
//! read the same rows. Only V2.1.1 rows and those shared with V1 become entries; V1 spellings ride along.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

type Row = BTreeMap<String, String>;

fn main() {
    println!("cargo:rerun-if-changed=tables");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("tables.rs");
    let mut code = String::new();
    types(&mut code);
    structs(&mut code);
    enums(&mut code);
    fs::write(out, code).expect("OUT_DIR is writable");
}

fn rows(file: &str) -> Vec<Row> {
    let path = format!("tables/{file}.csv");
    let mut reader = csv::Reader::from_path(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    reader.deserialize().collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn types(code: &mut String) {
    let attributes = rows("attributes");
    let methods = rows("methods");
    let tree = rows("tree");
    let types: Vec<Row> = rows("types").into_iter().filter(|r| r["edition"] != "v1").collect();

    code.push_str(
        "/// A resource type of the standard, named as its XML element.\n\
         #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]\n#[allow(missing_docs)]\npub enum ResourceType {\n",
    );
    for t in &types {
        writeln!(code, "    {},", camel(&t["type"])).expect("a string takes all");
    }
    code.push_str(
        "}\n\n/// Every resource type, in the order of types.csv.\npub static TYPES: &[TypeDef] = &[\n",
    );
    for t in &types {
        let name = &t["type"];
        let method =
            methods.iter().find(|m| &m["type"] == name).unwrap_or_else(|| panic!("methods.csv: no {name}"));
        writeln!(
            code,
            "TypeDef {{ resource_type: ResourceType::{}, name: {name:?}, category: Category::{}, root_element: {:?}, \
             xsi_type: {:?}, specialises: {:?}, clause: {:?}, create: {}, create_in: {}, retrieve: {}, update: {}, \
             delete: {}, execute: {}, subscribable: {}, announceable: {}, attributes: &[",
            camel(name),
            camel(&t["category"].replace('-', "_")),
            t["root_element"],
            t["xsi_type"],
            t["specialises"],
            t["clause"],
            allowed(&method["create"]),
            allowed(&method["create_in"]),
            allowed(&method["retrieve"]),
            allowed(&method["update"]),
            allowed(&method["delete"]),
            allowed(&method["execute"]),
            method["subscribable"] == "yes",
            method["announceable"] != "no",
        )
        .expect("a string takes all");
        let siblings: Vec<&Row> = attributes.iter().filter(|a| &a["type"] == name).collect();
        let mut own: Vec<&Row> = siblings.iter().filter(|a| a["edition"] != "v1").copied().collect();
        own.sort_by_key(|a| a["position"].parse::<u32>().expect("a position is a number"));
        for a in own {
            writeln!(
                code,
                "    AttributeDef {{ create: Mode::{}, update: Mode::{}, response: Mode::{}, field: {} }},",
                mode(&a["create"]),
                mode(&a["update"]),
                mode(&a["response"]),
                field(a, &siblings)
            )
            .expect("a string takes all");
        }
        code.push_str("], children: &[\n");
        for c in tree.iter().filter(|r| &r["parent"] == name && r["edition"] != "v1") {
            let holds: Vec<String> = c["holds"]
                .split(';')
                .filter(|h| !h.is_empty())
                .map(|h| format!("ResourceType::{}", camel(h)))
                .collect();
            writeln!(
                code,
                "    ChildDef {{ segment: {:?}, holds: &[{}], implicit: {} }},",
                c["child"],
                holds.join(", "),
                c["implicit"] == "yes"
            )
            .expect("a string takes all");
        }
        code.push_str("] },\n");
    }
    code.push_str("];\n\n");
}

fn structs(code: &mut String) {
    let mut by_name: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows("structs") {
        by_name.entry(row["struct"].clone()).or_default().push(row);
    }
    by_name.retain(|_, fields| fields.iter().any(|f| f["edition"] != "v1"));
    code.push_str(
        "/// Every nested complex type and message body, by name.\npub static STRUCTS: &[StructDef] = &[\n",
    );
    for (name, all) in by_name {
        let siblings: Vec<&Row> = all.iter().collect();
        let mut fields: Vec<&Row> = siblings.iter().filter(|f| f["edition"] != "v1").copied().collect();
        fields.sort_by_key(|f| f["position"].parse::<u32>().expect("a position is a number"));
        writeln!(
            code,
            "StructDef {{ name: {name:?}, root_element: {:?}, fields: &[",
            fields.first().map(|f| f["root_element"].as_str()).unwrap_or_default()
        )
        .expect("a string takes all");
        for f in fields.iter().filter(|f| f["kind"] != "none") {
            writeln!(code, "    {},", field(f, &siblings)).expect("a string takes all");
        }
        code.push_str("] },\n");
    }
    code.push_str("];\n\n");
}

fn enums(code: &mut String) {
    let mut by_name: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows("enums").into_iter().filter(|r| r["edition"] != "v1") {
        by_name.entry(row["enum"].clone()).or_default().push(row);
    }
    code.push_str("/// Every enumeration, by name: the V2.1.1 spelling and, where it differs, the V1 one.\npub static ENUMS: &[EnumDef] = &[\n");
    for (name, values) in by_name {
        let values: Vec<String> =
            values.iter().map(|v| format!("({:?}, {:?})", v["value"], v["value_v1"])).collect();
        writeln!(code, "EnumDef {{ name: {name:?}, values: &[{}] }},", values.join(", "))
            .expect("a string takes all");
    }
    code.push_str("];\n");
}

fn field(row: &Row, siblings: &[&Row]) -> String {
    let name = row["name"].strip_prefix("xmime:").unwrap_or(&row["name"]);
    let kind = match row["kind"].as_str() {
        "element" => "Element",
        "xml-attribute" => "XmlAttribute",
        "text" => "Text",
        "wildcard" => "Wildcard",
        other => panic!("unknown kind {other}"),
    };
    let namespace = match (row["name"].starts_with("xmime:"), row["qualified"].as_str()) {
        (true, _) => "Xmime",
        (false, "yes") => "M2m",
        _ => "None",
    };
    let max = if row["max"] == "unbounded" { "None".into() } else { format!("Some({})", row["max"]) };
    let choice = row["choice"].split(':').next().unwrap_or_default();
    format!(
        "FieldDef {{ name: {name:?}, kind: FieldKind::{kind}, namespace: Namespace::{namespace}, shape: {}, \
         xsd_type: {:?}, min: {}, max: {max}, choice: {:?}, facet: {:?}, v1: {} }}",
        shape(&row["value_shape"]),
        row["xsd_type"],
        row["min"],
        choice,
        row["facet"],
        v1(row, siblings)
    )
}

/// Fields that V2.1.1 renamed: (V2, V1).
const RENAMED: [(&str, &str); 2] = [("createdAfter", "createdSince"), ("createdBefore", "createdUntil")];

/// What V1 has in the place of a field: the same row, or that of its old name among its siblings.
fn v1(row: &Row, siblings: &[&Row]) -> String {
    let old = RENAMED.iter().find(|(new, _)| *new == row["name"]).map(|(_, old)| *old);
    let row = match (row["edition"].as_str(), old) {
        ("v2", Some(old)) => siblings.iter().find(|sibling| sibling["name"] == old).copied(),
        ("v2", None) => None,
        _ => Some(row),
    };
    let Some(row) = row else { return "None".into() };
    let pick = |v1: &str, v2: &str| if row[v1].is_empty() { row[v2].clone() } else { row[v1].clone() };
    let position = pick("position_v1", "position");
    let position: u32 = position.parse().unwrap_or_else(|_| panic!("{}: position_v1", row["name"]));
    format!(
        "Some(V1Def {{ name: {:?}, position: {position}, xsd_type: {:?}, qualified: {} }})",
        row["name"].strip_prefix("xmime:").unwrap_or(&row["name"]),
        pick("xsd_type_v1", "xsd_type"),
        pick("qualified_v1", "qualified") == "yes"
    )
}

fn shape(shape: &str) -> String {
    match shape.split_once(':') {
        Some(("enum", name)) => format!("Shape::Enum({name:?})"),
        Some(("struct", name)) => format!("Shape::Struct({name:?})"),
        Some(("resource", name)) => format!("Shape::Resource(ResourceType::{})", camel(name)),
        _ => format!("Shape::{}", camel(&shape.replace('-', "_"))),
    }
}

fn mode(mode: &str) -> &'static str {
    match mode {
        "M" => "Mandatory",
        "O" => "Optional",
        "NP" => "NotPermitted",
        "NA" => "NotApplicable",
        "M*" => "MandatoryIfAssigned",
        other => panic!("unknown mode {other}"),
    }
}

fn allowed(word: &str) -> &'static str {
    match word {
        "allowed" => "Allowed::Yes",
        "not" => "Allowed::No",
        "special" => "Allowed::Special",
        other => panic!("unknown method word {other}"),
    }
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        if let Some(first) = letters.next() {
            out.extend(first.to_uppercase());
            out.push_str(letters.as_str());
        }
    }
    out
}
