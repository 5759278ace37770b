//! The XML bodies that devices and the load generator send, in the form of TS 102 921 (schemas V2.1.1).

use std::fmt::Write;

use rand::RngExt;
use rand::distr::Alphanumeric;

const OPEN: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
const M2M: &str = r#"xmlns:m2m="http://uri.etsi.org/m2m""#;
const XMIME: &str = r#"xmlns:xmime="http://www.w3.org/2005/05/xmlmime""#;

/// An application of this appId; without `access_right` only the application itself has rights on it.
pub fn application(id: &str, access_right: Option<&str>) -> String {
    let right =
        access_right.map_or(String::new(), |uri| format!("<m2m:accessRightID>{uri}</m2m:accessRightID>"));
    format!(r#"{OPEN}<m2m:application {M2M} appId="{id}">{right}</m2m:application>"#)
}

/// A gateway's registration: an scl resource.
pub fn scl(id: &str, link: &str) -> String {
    format!(
        r#"{OPEN}<m2m:scl {M2M} sclId="{id}"><m2m:link>{link}</m2m:link><m2m:mgmtProtocolType>OMA_DM</m2m:mgmtProtocolType><m2m:sclType>GSCL</m2m:sclType></m2m:scl>"#
    )
}

/// A container, optionally governed by an accessRight and limited in its number of instances.
pub fn container(id: &str, access_right: Option<&str>, max_nr_of_instances: Option<u64>) -> String {
    let mut xml = format!(r#"{OPEN}<m2m:container {M2M} m2m:id="{id}">"#);
    if let Some(uri) = access_right {
        let _ = write!(xml, "<m2m:accessRightID>{uri}</m2m:accessRightID>");
    }
    if let Some(max) = max_nr_of_instances {
        let _ = write!(xml, "<m2m:maxNrOfInstances>{max}</m2m:maxNrOfInstances>");
    }
    xml.push_str("</m2m:container>");
    xml
}

/// A contentInstance with text content; without `id` the SCL names it.
pub fn content_instance(id: Option<&str>, text: &str) -> String {
    let id = id.map_or(String::new(), |id| format!(r#" m2m:id="{id}""#));
    format!(
        r#"{OPEN}<m2m:contentInstance {M2M} {XMIME}{id}><m2m:content xmime:contentType="text/plain"><m2m:textContent>{text}</m2m:textContent></m2m:content></m2m:contentInstance>"#
    )
}

/// A subscription that notifies `contact`.
pub fn subscription(id: &str, contact: &str) -> String {
    format!(
        r#"{OPEN}<m2m:subscription {M2M} m2m:id="{id}"><m2m:contact>{contact}</m2m:contact></m2m:subscription>"#
    )
}

/// One permission: which flags which holders have.
pub fn permission(id: &str, flags: &[&str], holders: &[&str]) -> String {
    let flags: String = flags.iter().map(|flag| format!("<m2m:flag>{flag}</m2m:flag>")).collect();
    let holders: String = holders.iter().map(|uri| format!("<m2m:holderRef>{uri}</m2m:holderRef>")).collect();
    format!(
        r#"<m2m:permission m2m:id="{id}"><m2m:permissionFlags>{flags}</m2m:permissionFlags><m2m:permissionHolders><m2m:holderRefs>{holders}</m2m:holderRefs></m2m:permissionHolders></m2m:permission>"#
    )
}

/// An accessRight from [`permission`]s. An update must not carry the id.
pub fn access_right(id: Option<&str>, permissions: &[String], self_permissions: &[String]) -> String {
    let id = id.map_or(String::new(), |id| format!(r#" m2m:id="{id}""#));
    format!(
        "{OPEN}<m2m:accessRight {M2M}{id}><m2m:permissions>{}</m2m:permissions><m2m:selfPermissions>{}</m2m:selfPermissions></m2m:accessRight>",
        permissions.concat(),
        self_permissions.concat()
    )
}

/// Text of `bytes` random letters and digits: safe in XML, and no compressor of ours makes it shorter.
pub fn random_text(rng: &mut impl rand::Rng, bytes: usize) -> String {
    rng.sample_iter(Alphanumeric).take(bytes).map(char::from).collect()
}

/// The text between the first `<prefix:name ...>` and its end tag, whatever the prefix; enough for the answers that
/// the tests look at, where names do not nest in themselves.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    elements(xml, name).next()
}

/// All texts of elements of this local name, in document order.
pub fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let mut rest = xml;
    let name = name.to_owned();
    std::iter::from_fn(move || {
        loop {
            let open = rest.find('<')?;
            rest = &rest[open + 1..];
            let tag_end = rest.find('>')?;
            let tag = &rest[..tag_end];
            let qualified = tag.split([' ', '/', '\n']).next().unwrap_or_default();
            let local = qualified.rsplit(':').next().unwrap_or_default();
            rest = &rest[tag_end + 1..];
            if local == name && !tag.starts_with('/') {
                if tag.ends_with('/') {
                    return Some("");
                }
                let end = rest.find(&format!("</{qualified}>"))?;
                let text = &rest[..end];
                rest = &rest[end..];
                return Some(text);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_whatever_the_prefix() {
        let xml = r#"<a:x xmlns:a="u"><a:y k="1">one</a:y><y/><a:y>two</a:y></a:x>"#;
        assert_eq!(elements(xml, "y").collect::<Vec<_>>(), ["one", "", "two"]);
        assert_eq!(element(xml, "z"), None);
    }
}
