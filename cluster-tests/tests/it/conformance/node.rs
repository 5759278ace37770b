//! A representation as a tree, written and read without the product's codec, so that an error of the codec cannot
//! hide itself.
//!
//! Cases write it once: `container(id=c1, searchStrings[a, b], maxNrOfInstances=5)`. `name=value` is a simple element or
//! an attribute, `name(...)` holds others, `name[...]` a list whose members have the one name that the schema gives
//! them, `#=text` is the text beside attributes. Which names are attributes, unqualified, lists, numbers or booleans
//! stands here once more, by hand from bindings.md 5 and 8b.

use std::fmt::Write;

use roxmltree::Document;
use serde_json::{Map, Value};

const M2M: &str = "http://uri.etsi.org/m2m";
const XMIME: &str = "http://www.w3.org/2005/05/xmlmime";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Wrappers and the name of what they list.
const LISTS: &[(&str, &str)] = &[
    ("searchStrings", "searchString"),
    ("contentTypes", "contentType"),
    ("members", "reference"),
    ("pocs", "reference"),
    ("sclList", "reference"),
    ("discoveryURI", "reference"),
    ("policyScope", "reference"),
    ("regTargetNsclList", "reference"),
    ("permissions", "permission"),
    ("selfPermissions", "permission"),
    ("permissionFlags", "flag"),
    ("holderRefs", "holderRef"),
    ("applicationIDs", "applicationID"),
    ("sclIDs", "sclID"),
    ("domains", "domain"),
    ("aPoCPaths", "aPoCPath"),
    ("schedule", "scheduleString"),
    ("execReqArgs", "execReqArg"),
    ("execResult", "execResultItem"),
    ("contentInstanceCollection", "contentInstance"),
    ("membersContentResponses", "status"),
    ("notifyCollection", "notify"),
    ("notifyCollectionResponse", "status"),
];

/// Names that may occur several times below an element which is no pure list.
const REPEATED: &[&str] = &["namedReference", "ifNoneMatch", "trapEventTimeStamp"];

const NUMBERS: &[&str] = &[
    "areaNwkID",
    "battLevel",
    "contentSize",
    "currentByteSize",
    "currentIndex",
    "currentNrOfInstances",
    "currentNrOfMembers",
    "failedAttempts",
    "ivalResults",
    "matchSize",
    "maxByteSize",
    "maxNrOfInstances",
    "maxNrOfMembers",
    "maxNumberOfDiscovRecords",
    "maxPendReqs",
    "maxSize",
    "maxSizeOfDiscovAnswer",
    "minimalTimeBetweenNotifications",
    "numOfAreaNwks",
    "progress",
    "ramAvailable",
    "ramTotal",
    "signedIvalResult",
    "sizeFrom",
    "sizeUntil",
    "sleepDuration",
    "sleepInterval",
    "standbyTime",
];

const BOOLEANS: &[&str] = &[
    "activated",
    "global",
    "memberTypeValidated",
    "metaDataOnly",
    "noRepresentation",
    "serverCapability",
    "truncated",
];

/// Elements whose children are in no namespace.
const UNQUALIFIED_BELOW: &[&str] = &[
    "filterCriteria",
    "requestNotify",
    "membersContentResponses",
    "status",
    "notifyCollectionResponse",
    "integrityValResults",
    "execReqArgs",
    "execReqArg",
    "execResult",
    "execResultItem",
];

/// An element, or an XML attribute, which is an element like any other to a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// The text; `None`: it holds others or nothing.
    pub(crate) text: Option<String>,
    pub(crate) children: Vec<Node>,
}

/// Which representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Xml,
    Json,
}

impl Form {
    pub(crate) const BOTH: [Form; 2] = [Form::Xml, Form::Json];

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Form::Xml => "application/xml",
            Form::Json => "application/json",
        }
    }

    /// By the value of a Content-Type.
    pub(crate) fn of(media_type: &str) -> Option<Form> {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        Form::BOTH.into_iter().find(|form| form.media_type() == bare)
    }

    pub(crate) fn write(self, node: &Node) -> String {
        match self {
            Form::Xml => {
                let mut xml = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
                write_xml(node, None, &mut xml);
                xml
            }
            Form::Json => {
                let root = Map::from_iter([(node.name.clone(), write_json(node))]);
                Value::Object(root).to_string()
            }
        }
    }

    /// Reads what the product wrote. Strict: a list of one that is no array in JSON, or a number in quotes, is an error.
    pub(crate) fn read(self, text: &str) -> Result<Node, String> {
        match self {
            Form::Xml => {
                let document = Document::parse(text).map_err(|e| format!("not well-formed XML: {e}"))?;
                let root = document.root_element();
                if root.tag_name().namespace() != Some(M2M) {
                    return Err(format!("<{}> is not in the m2m namespace", root.tag_name().name()));
                }
                Ok(read_xml(root))
            }
            Form::Json => {
                let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
                let Value::Object(members) = value else { return Err("not a JSON object".to_owned()) };
                let mut members = members.into_iter();
                match (members.next(), members.next()) {
                    (Some((name, value)), None) => read_json(name, value),
                    _ => Err("a JSON representation has exactly one member, its type".to_owned()),
                }
            }
        }
    }
}

fn list_item(wrapper: &str) -> Option<&'static str> {
    LISTS.iter().find(|(name, _)| *name == wrapper).map(|(_, item)| *item)
}

fn is_list_member(parent: &str, name: &str) -> bool {
    list_item(parent) == Some(name)
        || REPEATED.contains(&name)
        || (parent == "filterCriteria" && matches!(name, "searchString" | "contentType"))
}

fn is_attribute(parent: Option<&str>, name: &str) -> bool {
    match name {
        "id" | "appId" | "sclId" | "href" => true,
        "type" => {
            parent.is_some_and(|p| matches!(p, "filterCriteria" | "channelData" | "mgmtObj" | "parameters"))
        }
        "contentType" => parent.is_some_and(|p| matches!(p, "content" | "representation" | "resultBody")),
        _ => false,
    }
}

fn is_qualified(parent: &str, name: &str) -> bool {
    !(matches!(name, "reference" | "tolerableDelay" | "tolerableTime")
        || UNQUALIFIED_BELOW.contains(&parent)
        || parent.ends_with("ActionStatus")
        || (matches!(parent, "notify" | "responseNotify") && name != "statusCode"))
}

fn write_xml(node: &Node, parent: Option<&str>, xml: &mut String) {
    let prefix = if parent.is_none_or(|parent| is_qualified(parent, &node.name)) { "m2m:" } else { "" };
    let _ = write!(xml, "<{prefix}{}", node.name);
    if parent.is_none() {
        let _ = write!(xml, r#" xmlns:m2m="{M2M}" xmlns:xmime="{XMIME}" xmlns:xsi="{XSI}""#);
    }
    let (attributes, elements): (Vec<&Node>, Vec<&Node>) =
        node.children.iter().partition(|child| is_attribute(Some(&node.name), &child.name));
    for attribute in attributes {
        let text = escape(attribute.text.as_deref().unwrap_or_default());
        let name = match (attribute.name.as_str(), node.name.as_str()) {
            ("type", _) => {
                let _ = write!(xml, r#" xsi:type="m2m:{text}""#);
                continue;
            }
            ("contentType", _) => "xmime:contentType",
            (
                "id",
                "namedReference" | "latest" | "oldest" | "applicationAnnc" | "sclAnnc" | "status"
                | "scheduleString",
            ) => "id",
            ("id", _) => "m2m:id",
            (name, _) => name,
        };
        let _ = write!(xml, r#" {name}="{text}""#);
    }
    xml.push('>');
    for element in elements {
        write_xml(element, Some(&node.name), xml);
    }
    if let Some(text) = &node.text {
        xml.push_str(&escape(text));
    }
    let _ = write!(xml, "</{prefix}{}>", node.name);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn write_json(node: &Node) -> Value {
    if node.children.is_empty()
        && let Some(text) = &node.text
    {
        return scalar(&node.name, text);
    }
    let mut members = Map::new();
    if let Some(item) = list_item(&node.name) {
        members.insert(item.to_owned(), Value::Array(Vec::new()));
    }
    for child in &node.children {
        // The kind of a polymorphic element is told by what it holds: JSON has no xsi:type.
        if child.name == "type" && is_attribute(Some(&node.name), "type") {
            continue;
        }
        let value = write_json(child);
        if !is_list_member(&node.name, &child.name) {
            members.insert(child.name.clone(), value);
        } else if let Some(Value::Array(items)) = members.get_mut(&child.name) {
            items.push(value);
        } else {
            members.insert(child.name.clone(), Value::Array(vec![value]));
        }
    }
    if let Some(text) = &node.text {
        members.insert("$t".to_owned(), Value::String(text.clone()));
    }
    Value::Object(members)
}

fn scalar(name: &str, text: &str) -> Value {
    match text {
        "true" | "false" if BOOLEANS.contains(&name) => Value::Bool(text == "true"),
        _ => match text.parse::<i64>() {
            Ok(number) if NUMBERS.contains(&name) => Value::from(number),
            // What is no number goes out as the case wrote it: it may be there to be refused.
            _ => Value::String(text.to_owned()),
        },
    }
}

fn read_xml(element: roxmltree::Node<'_, '_>) -> Node {
    let mut children: Vec<Node> = element
        .attributes()
        .map(|attribute| {
            let text = attribute.value();
            let text =
                if attribute.name() == "type" { text.rsplit(':').next().unwrap_or(text) } else { text };
            Node { name: attribute.name().to_owned(), text: Some(text.to_owned()), children: Vec::new() }
        })
        .collect();
    children.extend(element.children().filter(|child| child.is_element()).map(read_xml));
    let has_elements = element.children().any(|child| child.is_element());
    let text: String = element.children().filter_map(|child| child.text()).collect();
    let text = (!has_elements).then_some(text);
    Node { name: element.tag_name().name().to_owned(), text, children }
}

fn read_json(name: String, value: Value) -> Result<Node, String> {
    let leaf = |text: String, kind: &str, right: bool| match right {
        true => Ok(Node { name: name.clone(), text: Some(text), children: Vec::new() }),
        false => Err(format!("{name} is {kind} in JSON")),
    };
    let (number, boolean) = (NUMBERS.contains(&name.as_str()), BOOLEANS.contains(&name.as_str()));
    match value {
        Value::String(text) => leaf(text, "a string", !number && !boolean),
        Value::Number(digits) => leaf(digits.to_string(), "a number", number),
        Value::Bool(truth) => leaf(truth.to_string(), "a boolean", boolean),
        Value::Null => Err(format!("{name} is null")),
        Value::Array(_) => Err(format!("{name} is an array where only one is allowed")),
        Value::Object(members) => {
            let mut node = Node { name, text: None, children: Vec::new() };
            for (member, value) in members {
                match value {
                    Value::String(text) if member == "$t" => node.text = Some(text),
                    Value::Array(items) if is_list_member(&node.name, &member) => {
                        for item in items {
                            node.children.push(read_json(member.clone(), item)?);
                        }
                    }
                    _ if is_list_member(&node.name, &member) => {
                        return Err(format!("{member} below {} is no array", node.name));
                    }
                    value => node.children.push(read_json(member, value)?),
                }
            }
            Ok(node)
        }
    }
}

impl Node {
    /// Reads the notation of the cases.
    pub(crate) fn parse(text: &str) -> Result<Node, String> {
        let mut reader = Reader { rest: text.trim() };
        let node = reader.node(None)?;
        match reader.rest.trim() {
            "" => Ok(node),
            rest => Err(format!("left over after the representation: {rest}")),
        }
    }

    /// Everything below by a path of names; `*` is any name.
    pub(crate) fn find(&self, path: &str) -> Vec<&Node> {
        let mut found = vec![self];
        for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
            found = found
                .into_iter()
                .flat_map(|node| node.children.iter().filter(|child| name == "*" || child.name == name))
                .collect();
        }
        found
    }

    /// What the element says: its text, or nothing.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn node(&mut self, item: Option<&str>) -> Result<Node, String> {
        let end = self.rest.find(['(', '[', '=', ',', ')', ']']).unwrap_or(self.rest.len());
        let (name, rest) = (self.rest[..end].trim(), &self.rest[end..]);
        let named = |name: &str| Node { name: name.to_owned(), ..Node::default() };
        if let Some(after) = rest.strip_prefix('=') {
            self.rest = after;
            return Ok(Node { text: Some(self.value()?), ..named(name) });
        }
        if let Some(after) = rest.strip_prefix('(') {
            self.rest = after;
            let mut node = named(name);
            for child in self.children(')', None)? {
                match child.name.as_str() {
                    "#" => node.text = child.text,
                    _ => node.children.push(child),
                }
            }
            return Ok(node);
        }
        if let Some(after) = rest.strip_prefix('[') {
            self.rest = after;
            let item = list_item(name).ok_or_else(|| format!("{name} is no list"))?;
            return Ok(Node { children: self.children(']', Some(item))?, ..named(name) });
        }
        // Alone it is a member of a list, or an element that says all by being there.
        match item {
            Some(item) => Ok(Node { text: Some(self.value()?), ..named(item) }),
            None => {
                self.rest = rest;
                Ok(named(name))
            }
        }
    }

    fn children(&mut self, close: char, item: Option<&str>) -> Result<Vec<Node>, String> {
        let mut children = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if let Some(after) = self.rest.strip_prefix(close) {
                self.rest = after;
                return Ok(children);
            }
            if self.rest.is_empty() {
                return Err(format!("{close} is missing"));
            }
            let before = self.rest.len();
            children.push(self.node(item)?);
            self.rest = self.rest.trim_start();
            self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
            if self.rest.len() == before {
                return Err(format!("cannot be read: {}", self.rest));
            }
        }
    }

    /// Up to the next `,`, `)` or `]`, or what stands in quotes.
    fn value(&mut self) -> Result<String, String> {
        if let Some(after) = self.rest.trim_start().strip_prefix('"') {
            let end = after.find('"').ok_or("a quote is missing")?;
            self.rest = &after[end + 1..];
            return Ok(after[..end].to_owned());
        }
        let end = self.rest.find([',', ')', ']']).unwrap_or(self.rest.len());
        let value = self.rest[..end].trim().to_owned();
        self.rest = &self.rest[end..];
        Ok(value)
    }
}

#[test]
fn a_representation_is_written_and_read_in_both_forms() {
    let text = r#"accessRight(id=r, searchStrings[a, "b, c"], permissions[permission(id=p, permissionFlags[READ], permissionHolders(holderRefs[/m2m/applications/x], all))], selfPermissions[])"#;
    let node = Node::parse(text).unwrap();
    let xml = Form::Xml.write(&node);
    assert!(xml.contains(r#"<m2m:searchString>b, c</m2m:searchString>"#), "{xml}");
    assert!(xml.contains(r#"<m2m:permission m2m:id="p"><m2m:permissionFlags><m2m:flag>READ<"#), "{xml}");
    let json = Form::Json.write(&node);
    assert!(json.contains(r#""flag":["READ"]"#) && json.contains(r#""all":{}"#), "{json}");
    assert!(json.contains(r#""selfPermissions":{"permission":[]}"#), "{json}");
    for form in Form::BOTH {
        let read = form.read(&form.write(&node)).unwrap();
        let texts = |path| read.find(path).into_iter().map(Node::text).collect::<Vec<_>>();
        assert_eq!(texts("searchStrings/searchString"), ["a", "b, c"]);
        assert_eq!(
            texts("permissions/permission/permissionHolders/holderRefs/holderRef"),
            ["/m2m/applications/x"]
        );
        assert_eq!(texts("id"), ["r"]);
    }
    let filter = "subscription(filterCriteria(type=ContentInstancesFilterCriteriaType, attributeAccessor=, sizeFrom=1))";
    let filter = Form::Xml.write(&Node::parse(filter).unwrap());
    assert!(
        filter.contains(r#"xsi:type="m2m:ContentInstancesFilterCriteriaType"><attributeAccessor></attr"#),
        "{filter}"
    );
    for wrong in
        [r#"{"a":{"searchStrings":{"searchString":"x"}}}"#, r#"{"a":{"maxSize":"1"}}"#, r#"{"a":{},"b":{}}"#]
    {
        Form::Json.read(wrong).unwrap_err();
    }
}
