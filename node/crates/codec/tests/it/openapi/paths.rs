//! Paths of the tree with their operations.

use super::schemas::reference;
use banyan_model::{
    ResourceType,
    tables::{self, Allowed, Category, ChildDef, TypeDef},
};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What may stand at a path.
type Tree = BTreeMap<String, BTreeSet<ResourceType>>;

/// What any operation may answer besides its success: status, name, meaning.
const FAILURES: [(&str, &str, &str); 5] = [
    ("304", "NotModified", "If-None-Match or If-Modified-Since: the issuer has it already."),
    ("404", "NotFound", "STATUS_NOT_FOUND: absent, or not to be known by the requestingEntity."),
    ("405", "MethodNotAllowed", "STATUS_METHOD_NOT_ALLOWED: Allow lists the methods of this resource."),
    (
        "4XX",
        "Refused",
        "400 STATUS_BAD_REQUEST: syntax, an attribute missing or not permitted, named in additionalInfo. \
         401 STATUS_PERMISSION_DENIED: the requestingEntity lacks the flag. 402: no requestingEntity. \
         403 STATUS_FORBIDDEN: never allowed here. 406 STATUS_NOT_ACCEPTABLE. 408 STATUS_REQUEST_TIMEOUT: a write may \
         still be carried out. 409 STATUS_CONFLICT: the name is taken. 412: a condition does not hold. 413: the body is \
         larger than the limit. 415 STATUS_UNSUPPORTED_MEDIA_TYPE.",
    ),
    (
        "5XX",
        "Failed",
        "502 STATUS_BAD_GATEWAY: another SCL or an application did not answer. 503 STATUS_SERVICE_UNAVAILABLE: try \
         again after Retry-After seconds. 504 STATUS_GATEWAY_TIMEOUT.",
    ),
];

/// Criteria that make sense on any resource.
const CONDITIONAL: usize = 4;

/// filterCriteria and discovery criteria in the query: name, schema type, meaning.
const CRITERIA: [(&str, &str, &str); 13] = [
    ("ifModifiedSince", "date-time", "lastModifiedTime strictly after"),
    ("ifUnmodifiedSince", "date-time", "lastModifiedTime strictly before"),
    ("ifNoneMatch", "list", "eTag differs from all"),
    ("attributeAccessor", "string", "only this attribute"),
    ("searchString", "list", "every one stands in searchStrings"),
    ("createdAfter", "date-time", "creationTime strictly after"),
    ("createdBefore", "date-time", "creationTime strictly before"),
    ("sizeFrom", "integer", "contentSize strictly greater"),
    ("sizeUntil", "integer", "contentSize strictly smaller"),
    ("contentType", "list", "one of contentTypes matches; image/* matches image/png"),
    ("metaDataOnly", "boolean", "leaves content out"),
    ("searchPrefix", "string", "discovery: the URI of the subtree"),
    ("maxSize", "integer", "discovery: how many URIs at most"),
];

pub(super) fn all() -> Json {
    let mut tree = Tree::new();
    walk(&mut tree, "", ResourceType::SclBase, &mut Vec::new());
    let paths = tree.iter().map(|(path, types)| (path_of(path), item(path, types)));
    Json::Object(paths.collect())
}

fn path_of(path: &str) -> String {
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// Adds a type at a path and what stands below it; `above` are the types that were passed.
fn walk(tree: &mut Tree, path: &str, resource_type: ResourceType, above: &mut Vec<ResourceType>) {
    tree.entry(path.to_owned()).or_default().insert(resource_type);
    if above.contains(&resource_type) {
        return;
    }
    above.push(resource_type);
    let def = resource_type.def();
    for child in def.children {
        match ResourceType::from_name(child.segment) {
            Some(fixed) => walk_into(tree, &format!("{path}/{}", child.segment), fixed, child, above),
            None => {
                for member in members(child) {
                    walk(tree, &format!("{path}/{}", member_segment(path, def)), member, above);
                }
            }
        }
    }
    above.pop();
}

/// A collection: its parent's row narrows what it may hold.
fn walk_into(
    tree: &mut Tree,
    path: &str,
    collection: ResourceType,
    row: &'static ChildDef,
    above: &mut Vec<ResourceType>,
) {
    tree.entry(path.to_owned()).or_default().insert(collection);
    if above.contains(&collection) {
        return;
    }
    above.push(collection);
    for child in collection.def().children {
        match ResourceType::from_name(child.segment) {
            Some(fixed) => walk_into(tree, &format!("{path}/{}", child.segment), fixed, child, above),
            None => {
                let narrowed = if row.holds.is_empty() { child } else { row };
                for member in members(narrowed) {
                    walk(tree, &format!("{path}/{}", member_segment(path, collection.def())), member, above);
                }
            }
        }
    }
    above.pop();
}

/// Types that a row holds; those that specialise another are described by it.
fn members(row: &'static ChildDef) -> impl Iterator<Item = ResourceType> {
    row.holds
        .iter()
        .copied()
        .filter(|held| held.def().specialises.is_empty() || held.def().category == Category::Resource)
}

/// The segment for a member: `{container}` in `containers`, `{mgmtObj}` in `mgmtObjs`, and `{parameters}` below it.
fn member_segment(path: &str, of: &TypeDef) -> String {
    let name = match of.category {
        Category::Collection => of.name.strip_suffix('s').unwrap_or(of.name),
        _ => "parameters",
    };
    let segment = format!("{{{name}}}");
    if path.contains(&segment) { format!("{{{name}Below}}") } else { segment }
}

fn item(path: &str, types: &BTreeSet<ResourceType>) -> Json {
    let mut item = Map::new();
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Json> = names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), json!(parameters));
    }
    let defs: Vec<&TypeDef> = types.iter().map(|t| t.def()).collect();
    let allowed = |of: fn(&TypeDef) -> Allowed| {
        defs.iter().copied().filter(|def| of(def) != Allowed::No).collect::<Vec<_>>()
    };
    for (verb, of) in [
        ("get", (|def| def.retrieve) as fn(&TypeDef) -> Allowed),
        ("put", |def| def.update),
        ("delete", |def| def.delete),
    ] {
        let these = allowed(of);
        if !these.is_empty() {
            item.insert(verb.to_owned(), operation(verb, path, &these));
        }
    }
    let (holders, started) = (allowed(|def| def.create_in), allowed(|def| def.execute));
    if !holders.is_empty() {
        item.insert("post".to_owned(), operation("post", path, &holders));
    } else if !started.is_empty() {
        item.insert("post".to_owned(), operation("execute", path, &started));
    }
    Json::Object(item)
}

fn operation(verb: &str, path: &str, types: &[&TypeDef]) -> Json {
    let word: String = path.replace(['{', '}'], "").replace('/', ".");
    let clauses: BTreeSet<&str> = types.iter().map(|def| def.clause).collect();
    let names: Vec<&str> = types.iter().map(|def| def.name).collect();
    let mut operation = json!({
        "operationId": format!("{verb}{}", if word.is_empty() { ".sclBase" } else { &word }),
        "tags": [types[0].name],
        "summary": format!("{} {}", primitive(verb), names.join(", ")),
        "description": format!(
            "TS 102 921 clause {}",
            clauses.into_iter().filter(|clause| !clause.is_empty()).collect::<Vec<_>>().join(", ")
        ),
    });
    if verb == "get" {
        let listed = |def: &&TypeDef| {
            matches!(def.resource_type, ResourceType::ContentInstances | ResourceType::Discovery)
        };
        let most = if types.iter().any(listed) { CRITERIA.len() } else { CONDITIONAL };
        operation["parameters"] = CRITERIA[..most]
            .iter()
            .map(|(name, ..)| json!({"$ref": format!("#/components/parameters/{name}")}))
            .collect();
    }
    let request = match verb {
        "post" => Some(created_in(path, types)),
        "put" => {
            let described = types.iter().filter(|def| def.category != Category::Virtual);
            Some(described.map(|def| format!("{}.update", def.name)).collect())
        }
        _ => None,
    };
    if let Some(schemas) = request.filter(|schemas: &Vec<String>| !schemas.is_empty()) {
        let raw = types.iter().any(|def| def.resource_type == ResourceType::ContentInstances);
        operation["requestBody"] = json!({"required": true, "content": content(&schemas, raw)});
    }
    operation["responses"] = responses_of(verb, path, types);
    operation
}

fn primitive(verb: &str) -> &'static str {
    match verb {
        "get" => "RETRIEVE",
        "put" => "UPDATE",
        "delete" => "DELETE",
        "execute" => "EXECUTE",
        _ => "CREATE in",
    }
}

/// The schemas of what may be created at a path.
fn created_in(path: &str, types: &[&TypeDef]) -> Vec<String> {
    let parents = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let segment = path.rsplit('/').next().unwrap_or_default();
    let mut tree = Tree::new();
    walk(&mut tree, "", ResourceType::SclBase, &mut Vec::new());
    let narrowed: BTreeSet<ResourceType> = tree
        .get(parents)
        .into_iter()
        .flatten()
        .flat_map(|parent| parent.def().children)
        .filter(|child| child.segment == segment)
        .flat_map(|child| child.holds.iter().copied())
        .collect();
    let own = types.iter().flat_map(|def| def.children).filter(|child| child.segment == "{id}");
    let own: BTreeSet<ResourceType> = own.flat_map(|child| child.holds.iter().copied()).collect();
    let held = if narrowed.is_empty() { own } else { narrowed };
    let specialised = |of: ResourceType| {
        tables::TYPES.iter().filter(move |def| def.specialises == of.name()).map(|def| def.resource_type)
    };
    let all: BTreeSet<ResourceType> = held
        .iter()
        .flat_map(|held| {
            let stands_for_others = matches!(held, ResourceType::MgmtObj | ResourceType::Parameters);
            std::iter::once(*held).chain(specialised(*held).filter(move |_| stands_for_others))
        })
        .collect();
    all.into_iter().map(|held| format!("{}.create", held.name())).collect()
}

fn content(schemas: &[String], raw: bool) -> Json {
    let schema = match schemas {
        [one] => reference(one),
        several => json!({"oneOf": several.iter().map(|name| reference(name)).collect::<Vec<_>>()}),
    };
    let mut content = json!({
        "application/json": {"schema": schema},
        "application/xml": {"schema": {"type": "string", "description": "by the XML schemas of TS 102 921 V2.1.1"}},
    });
    if raw {
        content["*/*"] = json!({"schema": {"description": "the content alone"}});
    }
    content
}

fn responses_of(verb: &str, path: &str, types: &[&TypeDef]) -> Json {
    let shown: Vec<String> = types
        .iter()
        .map(|def| match def.resource_type {
            ResourceType::Latest | ResourceType::Oldest => "contentInstance".to_owned(),
            ResourceType::MembersContent => "membersContentResponses".to_owned(),
            other => other.name().to_owned(),
        })
        .collect();
    let stamped = json!({
        "ETag": {"schema": {"type": "string"}},
        "Last-Modified": {"schema": {"type": "string"}},
    });
    let (status, success) = match verb {
        "post" => {
            let created: Vec<String> = created_in(path, types)
                .iter()
                .filter_map(|name| name.strip_suffix(".create").map(str::to_owned))
                .collect();
            if created.is_empty() {
                return answered(
                    "200",
                    json!({"description": "What each said.", "content": content(&shown, false)}),
                );
            }
            let location = json!({"Location": {"schema": {"type": "string"}, "description": "resourceURI"}});
            (
                "201",
                json!({"description": "Created.", "headers": location, "content": content(&created, false)}),
            )
        }
        "delete" => ("204", json!({"description": "Deleted, with all below it."})),
        "execute" => ("200", json!({"description": "Started."})),
        _ => (
            "200",
            json!({"description": "The resource.", "headers": stamped, "content": content(&shown, false)}),
        ),
    };
    answered(status, success)
}

fn answered(status: &str, success: Json) -> Json {
    let mut responses = Map::new();
    responses.insert(status.to_owned(), success);
    for (status, name, _) in FAILURES {
        responses.insert(status.to_owned(), json!({"$ref": format!("#/components/responses/{name}")}));
    }
    Json::Object(responses)
}

pub(super) fn parameters() -> Json {
    let schema = |of: &str| match of {
        "list" => json!({"type": "array", "items": {"type": "string"}}),
        "date-time" => json!({"type": "string", "format": "date-time"}),
        other => json!({"type": other}),
    };
    let parameter = |(name, of, meaning): (&str, &str, &str)| {
        (name.to_owned(), json!({"name": name, "in": "query", "description": meaning, "schema": schema(of)}))
    };
    Json::Object(CRITERIA.into_iter().map(parameter).collect())
}

pub(super) fn responses() -> Json {
    let response = |(status, name, meaning): (&str, &str, &str)| {
        let mut response = json!({"description": meaning});
        if status != "304" {
            response["content"] = content(&["errorInfo".to_owned()], false);
        }
        (name.to_owned(), response)
    };
    Json::Object(FAILURES.into_iter().map(response).collect())
}
