//! What the parties send, written as a reader of the standard would write it.

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
const M2M: &str = r#"xmlns:m2m="http://uri.etsi.org/m2m""#;
const XMIME: &str = r#"xmlns:xmime="http://www.w3.org/2005/05/xmlmime""#;

/// A network application.
pub(super) fn application(id: &str) -> String {
    format!(
        r#"{HEAD}
<m2m:application {M2M} appId="{id}">
  <m2m:searchStrings>
    <m2m:searchString>demo</m2m:searchString>
  </m2m:searchStrings>
</m2m:application>"#
    )
}

/// A gateway's SCL. Its link leads nowhere: nobody retargets to it in this flow.
pub(super) fn scl(id: &str) -> String {
    format!(
        r#"{HEAD}
<m2m:scl {M2M} sclId="{id}">
  <m2m:link>http://{id}.example.net:8181/m2m</m2m:link>
  <m2m:mgmtProtocolType>OMA_DM</m2m:mgmtProtocolType>
  <m2m:sclType>GSCL</m2m:sclType>
</m2m:scl>"#
    )
}

/// All rights for the owner, READ and DISCOVER for the readers. An update carries no id.
pub(super) fn access_right(id: Option<&str>, owner: &str, readers: &[&str]) -> String {
    let id = id.map_or(String::new(), |id| format!(r#" m2m:id="{id}""#));
    let owns = permission("owner", &["CREATE", "READ", "WRITE", "DELETE", "DISCOVER"], &[owner]);
    let reads = permission("readers", &["READ", "DISCOVER"], readers);
    let own = permission("owner", &["READ", "WRITE", "DELETE"], &[owner]);
    format!(
        "{HEAD}
<m2m:accessRight {M2M}{id}>
  <m2m:permissions>
{owns}
{reads}
  </m2m:permissions>
  <m2m:selfPermissions>
{own}
  </m2m:selfPermissions>
</m2m:accessRight>"
    )
}

/// All rights for the owner; the sender may put something in.
pub(super) fn inbox_right(id: &str, owner: &str, sender: &str) -> String {
    let owns = permission("owner", &["CREATE", "READ", "WRITE", "DELETE", "DISCOVER"], &[owner]);
    let sends = permission("sender", &["CREATE"], &[sender]);
    let own = permission("owner", &["READ", "WRITE", "DELETE"], &[owner]);
    format!(
        r#"{HEAD}
<m2m:accessRight {M2M} m2m:id="{id}">
  <m2m:permissions>
{owns}
{sends}
  </m2m:permissions>
  <m2m:selfPermissions>
{own}
  </m2m:selfPermissions>
</m2m:accessRight>"#
    )
}

fn permission(id: &str, flags: &[&str], holders: &[&str]) -> String {
    let flags: String = flags.iter().map(|flag| format!("<m2m:flag>{flag}</m2m:flag>")).collect();
    let holders: String = holders.iter().map(|uri| format!("<m2m:holderRef>{uri}</m2m:holderRef>")).collect();
    format!(
        r#"    <m2m:permission m2m:id="{id}">
      <m2m:permissionFlags>{flags}</m2m:permissionFlags>
      <m2m:permissionHolders>
        <m2m:holderRefs>{holders}</m2m:holderRefs>
      </m2m:permissionHolders>
    </m2m:permission>"#
    )
}

/// A container governed by an accessRight.
pub(super) fn container(id: &str, access_right: &str) -> String {
    format!(
        r#"{HEAD}
<m2m:container {M2M} m2m:id="{id}">
  <m2m:accessRightID>{access_right}</m2m:accessRightID>
  <m2m:maxNrOfInstances>100</m2m:maxNrOfInstances>
</m2m:container>"#
    )
}

/// A measurement as XML.
pub(super) fn content_instance(text: &str) -> String {
    format!(
        r#"{HEAD}
<m2m:contentInstance {M2M} {XMIME}>
  <m2m:content xmime:contentType="text/plain">
    <m2m:textContent>{text}</m2m:textContent>
  </m2m:content>
</m2m:contentInstance>"#
    )
}

/// A measurement as JSON.
pub(super) fn content_instance_json(text: &str) -> String {
    format!(r#"{{"contentInstance":{{"content":{{"contentType":"text/plain","textContent":"{text}"}}}}}}"#)
}

/// A subscription that notifies `contact`.
pub(super) fn subscription(id: &str, contact: &str) -> String {
    format!(
        r#"{HEAD}
<m2m:subscription {M2M} m2m:id="{id}">
  <m2m:contact>{contact}</m2m:contact>
</m2m:subscription>"#
    )
}
