//! onlineStatus and serverCapability of an scl, which follow from its m2mPocs (procedures.md 15.1).

use super::{
    subscription::{self, News},
    writer::Writer,
};
use crate::{Path, ResourceType, TreeView, Value, record::Resource, route};

/// An m2mPoc of this collection came, changed or went. Reads all of them; their number has a quota.
pub(super) fn refresh<V: TreeView>(writer: &mut Writer<'_, V>, m2m_pocs: &Path) -> Result<(), V::Error> {
    let Some(path) = m2m_pocs.parent() else { return Ok(()) };
    let Some(mut scl) = writer.tree().resource(&path)? else { return Ok(()) };
    let pocs = writer.tree().children(m2m_pocs)?;
    let pocs: Vec<_> =
        pocs.iter().filter(|poc| poc.representation.resource_type == ResourceType::M2mPoc).collect();
    let any = |status: &str| pocs.iter().any(|poc| poc.representation.text("onlineStatus") == Some(status));
    let online = |poc: &Resource| poc.representation.text("onlineStatus") == Some("ONLINE");
    let status = if pocs.iter().any(|poc| online(poc) && route::is_usable(&poc.representation)) {
        "ONLINE"
    } else if pocs.is_empty() || any("OFFLINE") {
        "OFFLINE"
    } else {
        "NOT_REACHABLE"
    };
    let (status, capable) = (Value::Text(status.into()), Value::Bool(!pocs.is_empty()));
    if scl.representation.get("onlineStatus") == Some(&status)
        && scl.representation.get("serverCapability") == Some(&capable)
    {
        return Ok(());
    }
    scl.representation.set("onlineStatus", status);
    scl.representation.set("serverCapability", capable);
    writer.touch(&mut scl);
    writer.put_resource(scl)?;
    subscription::notify(writer, &path, News::Changed)
}
