//! What has to be sent so that the announcements of a resource are what it wishes.

use super::{Announced, Standing, digest, wish};
use crate::{
    Path, Representation, ResourceType, Scl, Timestamp, TreeView, Value, record::Resource, tree::Tree,
};

/// How a resource and its announcements differ.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Look {
    /// requestingEntity of what is sent: who created the resource.
    pub entity: String,
    /// At most one for each SCL; none: all is as it is wished.
    pub steps: Vec<Step>,
}

/// What one SCL is to be asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The id of the SCL.
    pub scl: String,
    /// What is asked.
    pub action: Action,
    /// The collection for the announcement, below this SCL's own scl resource at the other SCL.
    pub collection: Path,
    /// Its id there.
    pub id: String,
    /// What it links to.
    pub original: String,
}

/// The request of a step.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// CREATE it with this body; `sent` is what is remembered then, the address still missing.
    Create {
        /// The announcement.
        body: Representation,
        /// What it says.
        sent: Standing,
    },
    /// UPDATE it with this body.
    Update {
        /// The announcement.
        body: Representation,
        /// What it says, and where it is.
        sent: Standing,
    },
    /// DELETE it.
    Delete {
        /// Its address.
        uri: String,
    },
    /// RETRIEVE it, to see whether it has to be deleted: a CREATE may have been sent, and nobody knows its outcome.
    Find,
    /// The announcement of the application above is still to be made there.
    Wait,
}

/// Compares. `origin` is `http://host[:port]` of this SCL, for the addresses in what is sent.
pub fn look<V: TreeView>(tree: &Tree<'_, V>, path: &Path, origin: &str) -> Result<Look, V::Error> {
    let Some(announced) = tree.announced(path)? else { return Ok(Look::default()) };
    let resource = tree.resource(path)?;
    let wished = resource.as_ref().map_or(Vec::new(), |resource| wish(tree.scl, &resource.representation));
    let above = Above::read(tree, path)?;
    let mut steps = Vec::new();
    for announcement in &announced.at {
        let scl = &announcement.scl;
        let original = resource.as_ref().filter(|_| wished.contains(scl));
        let action = match (original, &announcement.stands) {
            (None, Some(standing)) => Action::Delete { uri: standing.uri.clone() },
            (None, None) => Action::Find,
            (Some(_), None) if above.is_to_come(scl) => Action::Wait,
            (Some(original), None) => {
                let body = body(tree.scl, original, path, origin, true);
                Action::Create { body, sent: standing(original, String::new()) }
            }
            (Some(original), Some(standing_now)) => {
                let sent = standing(original, standing_now.uri.clone());
                if sent.digest == standing_now.digest {
                    continue;
                }
                Action::Update { body: body(tree.scl, original, path, origin, false), sent }
            }
        };
        let collection = collection(announced.resource_type, &above, scl);
        let id = format!("{}Annc", path.name().unwrap_or_default());
        let original = absolute(tree.scl, origin, &tree.scl.address(path));
        steps.push(Step { scl: scl.clone(), action, collection, id, original });
    }
    Ok(Look { entity: announced.entity, steps })
}

impl Step {
    /// The address of the collection at an SCL whose sclBase is `link`.
    pub fn collection_uri(&self, scl: &Scl, link: &str) -> String {
        let own = Path::scl_base().child("scls").child(scl.id.as_str());
        format!("{}{own}{}", link.trim_end_matches('/'), self.collection)
    }

    /// Where the announcement stands, or would stand.
    pub fn uri(&self, scl: &Scl, link: &str) -> String {
        match &self.action {
            Action::Update { sent: Standing { uri, .. }, .. } | Action::Delete { uri } => uri.clone(),
            _ => {
                let id = Path::scl_base().child(self.id.as_str());
                format!("{}{id}", self.collection_uri(scl, link))
            }
        }
    }
}

/// The application that a resource stands below, if it does.
struct Above {
    application: Option<String>,
    wished: Vec<String>,
    announced: Option<Announced>,
}

impl Above {
    fn read<V: TreeView>(tree: &Tree<'_, V>, path: &Path) -> Result<Above, V::Error> {
        let [applications, application, _, ..] = path.segments() else { return Ok(Above::none()) };
        if applications != "applications" {
            return Ok(Above::none());
        }
        let at = Path::scl_base().child("applications").child(application.as_str());
        let wished = tree.resource(&at)?.map(|found: Resource| wish(tree.scl, &found.representation));
        Ok(Above {
            application: Some(application.clone()),
            wished: wished.unwrap_or_default(),
            announced: tree.announced(&at)?,
        })
    }

    fn none() -> Above {
        Above { application: None, wished: Vec::new(), announced: None }
    }

    fn standing(&self, scl: &str) -> Option<&Standing> {
        let at = self.announced.as_ref()?.at.iter().find(|announcement| announcement.scl == scl)?;
        at.stands.as_ref()
    }

    /// It is wished there and not known to stand there.
    fn is_to_come(&self, scl: &str) -> bool {
        self.wished.iter().any(|wished| wished == scl) && self.standing(scl).is_none()
    }

    /// The id of its announcement.
    fn id(&self, scl: &str) -> Option<String> {
        let application = self.application.as_ref()?;
        let known = self.standing(scl).and_then(|standing| {
            let name = standing.uri.rsplit('/').next()?;
            Path::parse(name)?.name().map(str::to_owned)
        });
        Some(known.unwrap_or_else(|| format!("{application}Annc")))
    }
}

/// The collection below an scl that holds announcements of a type; that of the application's announcement, for what
/// stands below an application.
fn collection(of: ResourceType, above: &Above, scl: &str) -> Path {
    let below = match above.id(scl) {
        Some(id) => Path::scl_base().child("applications").child(id),
        None => Path::scl_base(),
    };
    let holds = |child: &&crate::tables::ChildDef| {
        of.announcement().is_some_and(|announcement| child.holds.contains(&announcement))
    };
    let segment = ResourceType::Scl.def().children.iter().find(holds).map_or("", |child| child.segment);
    // Every announceable type has one: see the test of this module.
    below.child(segment)
}

fn standing(original: &Resource, uri: String) -> Standing {
    let expiration: Option<Timestamp> = original.representation.datetime("expirationTime");
    Standing { uri, digest: digest(&original.representation), expiration }
}

/// The representation of the announcement: what points to the original, and what it is found by.
fn body(scl: &Scl, original: &Resource, path: &Path, origin: &str, create: bool) -> Representation {
    let resource_type = original.representation.resource_type;
    let mut body = Representation::new(resource_type.announcement().unwrap_or(resource_type));
    if create {
        if let Some(id) = body.resource_type.id_attribute() {
            body.set(id.field.name, Value::Text(format!("{}Annc", path.name().unwrap_or_default())));
        }
        body.set("link", Value::Text(absolute(scl, origin, &scl.address(path))));
    }
    let strings = original.representation.get("searchStrings").cloned();
    body.set("searchStrings", strings.unwrap_or(Value::List(Vec::new())));
    if let Some(right) = original.representation.text("accessRightID") {
        body.set("accessRightID", Value::Text(absolute(scl, origin, right)));
    }
    if let Some(at) = original.representation.datetime("expirationTime") {
        body.set("expirationTime", Value::Datetime(at));
    }
    body
}

/// A local address with `origin` before it; any other URI as it is.
pub fn absolute(scl: &Scl, origin: &str, uri: &str) -> String {
    let local = scl.normalise(uri).0;
    match local.starts_with('/') {
        true => format!("{origin}{local}"),
        false => local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TYPES;

    #[test]
    fn every_announceable_type_has_a_place_for_its_announcements() {
        let announceable: Vec<_> = TYPES.iter().filter(|def| def.announceable).collect();
        assert_eq!(announceable.len(), 6);
        for def in announceable {
            let path = collection(def.resource_type, &Above::none(), "gw");
            assert!(path.is_sound() && path.segments().len() == 1, "{}: {path}", def.name);
            let announcement = def.resource_type.announcement().expect("it has a type");
            assert!(announcement.is_announcement() && announcement.attribute("link").is_some());
        }
    }
}
